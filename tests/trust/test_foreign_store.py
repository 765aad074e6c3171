"""A store whose database somebody else has written: no value of it becomes a path, a size or a statement unchecked."""

from __future__ import annotations

import contextlib
import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb as chroma
from chroma_nb.errors import StoreCorruptError
from tests.stores import private_settings
from tests.support.database_file import edited_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Leads out of the folder, to files that a store must not touch.
_OUTSIDE = "0/../../../victim/precious"
_GENERATION = (
    "ALTER TABLE collections ALTER generation TYPE VARCHAR",
    f"UPDATE collections SET generation = '{_OUTSIDE}'",
)
#: What is done to a store that must not be opened at all.
REFUSED = {
    "the generation leads outside": _GENERATION,
    "so do table and checksums": (
        *_GENERATION,
        "ALTER TABLE vector_sums ALTER generation TYPE VARCHAR",
        f"UPDATE vector_sums SET generation = '{_OUTSIDE}'",
        'ALTER TABLE "{table}" RENAME TO "{table}/../../../victim/precious"',
    ),
    "meta is a view": (
        "CREATE TABLE m2 AS FROM meta",
        "DROP TABLE meta",
        "CREATE VIEW meta AS SELECT m2.* FROM m2, range(1000000000000)",
    ),
    "a table of records is a view": (
        'ALTER TABLE "{table}" RENAME TO r0',
        'CREATE VIEW "{table}" AS SELECT * FROM r0 UNION ALL SELECT * FROM r0',
    ),
    "macros are named like functions": (
        "CREATE MACRO count(x) AS 0",
        "CREATE MACRO duckdb_functions() AS TABLE SELECT 1 AS x",
    ),
    "a type of its own": ("CREATE TYPE kind AS ENUM ('a')",),
    "a database without a UUID": ("UPDATE databases SET id = '../../victim'",),
    "a database at the end of all numbers": ("UPDATE databases SET created = 9223372036854775807",),
    "a number of commits that is none": ("UPDATE meta SET value = 'many' WHERE key = 'commits'",),
}
#: What is done to one of two collections. The other one can be used.
DAMAGED = {
    "id": "UPDATE collections SET id = '../../../victim/precious' WHERE name = 'notes'",
    "spelling of the id": "UPDATE collections SET id = upper(id) WHERE name = 'notes'",
    "generation": "UPDATE collections SET generation = -1 WHERE name = 'notes'",
    "dimension": "UPDATE collections SET dimension = 1000000000 WHERE name = 'notes'",
    "negative dimension": "UPDATE collections SET dimension = -1 WHERE name = 'notes'",
    "no dimension": "UPDATE collections SET dimension = NULL WHERE name = 'notes'",
    "labels": "UPDATE collections SET next_label = 4000000000000 WHERE name = 'notes'",
    "labels and records": (
        "UPDATE collections SET next_label = 4000000000000, n_records = 4000000000000, "
        "next_sequence = 4000000000000 WHERE name = 'notes'"
    ),
    "records": "UPDATE collections SET n_records = 4000000000000 WHERE name = 'notes'",
    "negative records": "UPDATE collections SET n_records = -3 WHERE name = 'notes'",
    "sequence": "UPDATE collections SET next_sequence = -1 WHERE name = 'notes'",
    "version": "UPDATE collections SET version = -1 WHERE name = 'notes'",
    "order": "UPDATE collections SET created = 9223372036854775807 WHERE name = 'notes'",
    "ttl": "UPDATE collections SET ttl_seconds = 'nan'::DOUBLE WHERE name = 'notes'",
    "rows of the tail": "UPDATE collections SET tail_rows = 999999 WHERE name = 'notes'",
    "sum of the tail": "UPDATE collections SET tail_sum = NULL WHERE name = 'notes'",
    "a list as configuration": "UPDATE collections SET configuration = '[1]' WHERE name = 'notes'",
    "no function": (
        """UPDATE collections SET configuration = '{{"hnsw": {{"space": "l2"}}}}' WHERE name = 'notes'"""
    ),
    "distance": (
        """UPDATE collections SET configuration = replace(configuration, '"l2"', '"evil"') WHERE name = 'notes'"""
    ),
    "nested configuration": (
        """UPDATE collections SET configuration = repeat('{{"a":', 100000) WHERE name = 'notes'"""
    ),
    "metadata": "UPDATE collections SET metadata = '{{no json' WHERE name = 'notes'",
    "nested metadata": """UPDATE collections SET metadata = '{{"a": {{"b": 1}}}}' WHERE name = 'notes'""",
    "infinite metadata": """UPDATE collections SET metadata = '{{"a": 1e999}}' WHERE name = 'notes'""",
    "no table": 'DROP TABLE "{table}"',
    "columns of the table": 'ALTER TABLE "{table}" ALTER label TYPE VARCHAR',
    "a computed column": 'ALTER TABLE "{table}" ALTER label SET DEFAULT 7',
}
#: What is done to records, and what then raises.
RECORDS = {
    "label twice": 'UPDATE "{table}" SET label = 0',
    "negative label": 'UPDATE "{table}" SET label = -5',
    "label beyond the vectors": 'UPDATE "{table}" SET label = 9000000000000000000',
    "no label": 'UPDATE "{table}" SET label = NULL',
    "no id": 'UPDATE "{table}" SET id = NULL',
    "metadata": "UPDATE \"{table}\" SET metadata = '{{no json'",
    "nested metadata": "UPDATE \"{table}\" SET metadata = repeat('[', 200000)",
    "a list as metadata": "UPDATE \"{table}\" SET metadata = '[1]'",
}
SUMS = {
    "bytes": "UPDATE vector_sums SET sums = '\\x01\\x02\\x03'::BLOB",
    "rows": "UPDATE vector_sums SET sums = repeat('\\xFF'::BLOB, 12)",
}


@pytest.fixture
def forged(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Return a maker of a store with the collections notes and others, whose database is then changed by statements."""
    victim = tmp_path / "victim"
    victim.mkdir()
    for name in ("precious", "precious.f32", "precious.txt"):
        (victim / name).write_text("precious")

    def make(*statements: str, dimension: int = 2, n_records: int = 2) -> str:
        path = tmp_path / "store"
        with chroma.Client(path) as client:
            for name in ("notes", "others"):
                collection = client.create_collection(name, embedding_function=None)
                ids = [f"{name}{i}" for i in range(n_records)]
                collection.add(
                    ids=ids,
                    embeddings=[[float(i)] * dimension for i in range(n_records)],
                    documents=["text"] * n_records,
                    metadatas=[{"k": 1}] * n_records,
                )
            key = client.get_collection("notes", embedding_function=None).id
        # As a foreign store may come without it, and without snapshots.
        os.unlink(path / "commits")
        for folder in ("vectors", "indexes"):
            # Linux goes through the folder of a path even where ".." follows.
            (path / folder / f"{key}.0").mkdir()
        for name in os.listdir(path / "indexes"):
            if os.path.isfile(path / "indexes" / name):
                os.unlink(path / "indexes" / name)
        with edited_database(path) as con:
            for statement in statements:
                con.execute(statement.format(table=f"records_{key.hex}_0"))
        # Python frees what other tests have left at any allocation, also at the deepest level of a text that is nested
        # too deeply. What runs there fails, and pytest would count it as this test's failure.
        gc.collect()
        return str(path)

    yield make
    assert {one.name: one.read_text() for one in victim.iterdir()} == dict.fromkeys(
        ("precious", "precious.f32", "precious.txt"), "precious"
    )


@pytest.mark.parametrize("name", REFUSED)
def test_a_store_with_tables_that_are_not_ours_is_not_opened(
    forged: Callable[..., str], name: str
) -> None:
    path = forged(*REFUSED[name])
    with pytest.raises(StoreCorruptError, match=r"Restore|do not use"):
        chroma.Client(path)


@pytest.mark.parametrize("name", DAMAGED)
def test_a_collection_whose_entry_cannot_be_right_is_named_and_the_others_are_usable(
    forged: Callable[..., str], caplog: pytest.LogCaptureFixture, name: str
) -> None:
    path = forged(DAMAGED[name])
    with chroma.Client(path) as client:
        assert "[notes]" in caplog.text
        assert [one.name for one in client.list_collections()] == ["others"]
        for call in (
            client.get_collection,
            client.create_collection,
            client.get_or_create_collection,
            client.delete_collection,
        ):
            with pytest.raises(StoreCorruptError, match=r"\[notes\].*cannot be right"):
                call("notes")
        others = client.get_collection("others", embedding_function=None)
        others.add(ids=["new"], embeddings=[[7.0, 8.0]])
        assert others.query(query_embeddings=[[7.0, 8.0]], n_results=1)["ids"] == [["new"]]
        with pytest.raises(StoreCorruptError, match=r"\[notes\]"):
            others.modify(name="notes")
        assert client.sql("SELECT count(*) AS n FROM others")["n"].tolist() == [3]
        with pytest.raises(StoreCorruptError, match=r"\[notes\].*cannot be right"):
            client.sql("SELECT count(*) FROM notes")
        report = client.check()
        assert [one.name for one in report.collections if not one.is_whole] == ["notes"]
        # `forged` has made a folder with the name of the damaged collection's file.
        vectors = os.listdir(os.path.join(path, "vectors"))
        (damaged,) = (one for one in vectors if one.endswith(".0"))
        assert f"{damaged}.f32" in vectors, "the vectors of the damaged collection were deleted"
    with chroma.Client(path) as client:
        assert client.get_collection("others", embedding_function=None).count() == 3


@pytest.mark.parametrize("name", ["", "../../x", "a" * 513, "\x1b[31mred", "two words"])
def test_a_name_that_no_collection_has_hides_no_other(
    forged: Callable[..., str], name: str
) -> None:
    path = forged(f"UPDATE collections SET name = '{name}' WHERE name = 'notes'")
    with chroma.Client(path) as client, chroma.EphemeralClient(private_settings()) as other:
        assert [one.name for one in client.list_collections()] == ["others"]
        assert client.sql("SELECT count(*) AS n FROM others")["n"].tolist() == [2]
        assert client.copy_to(other) == {"others": 2}
        (damaged,) = (one for one in client.check().collections if not one.is_whole)
        assert (damaged.name, damaged.problems[0][:11]) == (name, "its name is")


def test_of_two_collections_of_one_name_one_is_damaged(forged: Callable[..., str]) -> None:
    path = forged("UPDATE collections SET name = 'others' WHERE name = 'notes'")
    with chroma.Client(path) as client:
        (listed,) = client.list_collections()
        # The one that was made first.
        assert listed.get(ids=["notes0"])["ids"] == ["notes0"]
        assert client.sql("SELECT id FROM others ORDER BY id")["id"].tolist() == [
            "notes0",
            "notes1",
        ]
        (damaged,) = (one for one in client.check().collections if not one.is_whole)
        assert damaged.problems == ["its name is there twice"]
        client.delete_collection("others")
        with pytest.raises(StoreCorruptError, match="its name is there twice"):
            client.get_collection("others")


@pytest.mark.parametrize("call", ["reset", "delete_database"])
def test_a_database_is_deleted_with_its_damaged_collections(
    forged: Callable[..., str], call: str
) -> None:
    path = forged("UPDATE collections SET generation = -1 WHERE name = 'notes'")
    with chroma.Client(settings=chroma.Settings(path=path, allow_reset=True)) as client:
        if call == "reset":
            client.reset()
        else:
            client.api.delete_database("default_database", "default_tenant")
            client.api.create_database("default_database", "default_tenant")
        client.create_collection("notes", embedding_function=None)
    with chroma.Client(path) as client:
        assert [one.name for one in client.list_collections()] == ["notes"]
        assert client.check().is_whole
    with edited_database(Path(path)) as con:
        tables = con.execute("SELECT table_name FROM duckdb_tables()").fetchall()
    assert len([name for (name,) in tables if name.startswith("records_")]) == 1


def test_records_that_cannot_be_read_hide_no_damaged_vectors(forged: Callable[..., str]) -> None:
    path = forged('UPDATE "{table}" SET id = NULL WHERE label = 0')
    with chroma.Client(path) as client:
        key = client.get_collection("notes", embedding_function=None).id
    file = Path(path) / "vectors" / f"{key}.0.f32"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with chroma.Client(path) as client:
        (damaged,) = (one for one in client.check().collections if not one.is_whole)
        assert (damaged.name, damaged.n_damaged_blocks) == ("notes", 1)
        assert "notes1" in damaged.damaged_ids
        assert any("a record has no id" in one for one in damaged.problems)


@pytest.mark.parametrize("load", [False, True])
@pytest.mark.parametrize("name", RECORDS)
def test_records_that_cannot_be_right_are_an_error_of_ours(
    forged: Callable[..., str], name: str, load: bool
) -> None:
    path = forged(RECORDS[name])
    with chroma.Client(path) as client:
        notes = client.get_collection("notes", embedding_function=None)
        if load:
            # The labels are noticed at once, the metadata when it is read.
            with contextlib.suppress(StoreCorruptError):
                client.memory.load("notes")
        with pytest.raises(StoreCorruptError):
            notes.get()
        assert not client.check().is_whole
        assert len(client.get_collection("others", embedding_function=None).get()["ids"]) == 2


@pytest.mark.parametrize("name", SUMS)
def test_checksums_that_are_none_are_an_error_of_ours(
    forged: Callable[..., str], name: str
) -> None:
    # 20,000 dimensions: a block has one row, so each of the two has a checksum.
    path = forged(SUMS[name], dimension=20_000)
    with chroma.Client(path) as client:
        notes = client.get_collection("notes", embedding_function=None)
        with pytest.raises(StoreCorruptError, match=r"\[notes\]"):
            notes.get(include=["embeddings"])
        with pytest.raises(StoreCorruptError, match=r"\[notes\]"):
            notes.add(ids=["new"], embeddings=[[0.0] * 20_000])


@pytest.mark.parametrize("sizes", ["'[0]'", "'no json'", "repeat('[', 100000)", "'[-1, -1, 1e99]'"])
def test_sizes_of_texts_that_cannot_be_right_are_measured_again(
    forged: Callable[..., str], sizes: str
) -> None:
    path = forged(f"UPDATE collections SET text_sizes = {sizes}")
    with chroma.Client(path) as client:
        assert client.get_collection("notes", embedding_function=None).count() == 2
        assert client.check().is_whole


def test_no_file_is_named_after_what_is_no_id_and_no_number() -> None:
    from uuid import uuid4

    from chroma_nb.db.own_file import collection_stem

    key = uuid4()
    assert collection_stem(key, 3) == f"{key}.3"
    bad: list[tuple[Any, Any]] = [
        (key, _OUTSIDE),
        (key, -1),
        (key, True),
        ("../x", 0),
        (str(key), 0),
    ]
    for collection_id, generation in bad:
        with pytest.raises(StoreCorruptError):
            collection_stem(collection_id, generation)


def test_a_column_of_a_later_version_does_no_harm(forged: Callable[..., str]) -> None:
    path = forged("ALTER TABLE collections ADD COLUMN something VARCHAR")
    with chroma.Client(path) as client:
        assert client.get_collection("notes", embedding_function=None).count() == 2
        assert client.check().is_whole
