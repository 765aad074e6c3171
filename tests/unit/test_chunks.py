"""Padding between long texts: what it bounds, that nobody sees it, and which chroma_nb opens a store with it."""

from __future__ import annotations

import contextlib
import json
import random
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chroma_nb
from chroma_nb.db import chunks
from chroma_nb.db._versions import IS_OLD_DUCKDB
from chroma_nb.db.chunks import CHUNK_ROWS, Padding, chunk_text_bytes, padded_chunk_bytes
from tests.stores import private_settings
from tests.support.database_file import edited_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(IS_OLD_DUCKDB, reason="DuckDB before 2.0 writes no padding")

LENGTHS = (0, 1, 4_000, 4_096, 4_097, 9_000, 30_000)


@contextlib.contextmanager
def open_store(path: Path | None) -> Iterator[Any]:
    if path is None:
        with chroma_nb.EphemeralClient(private_settings()) as client:
            yield client
    else:
        with chroma_nb.PersistentClient(path, chroma_nb.Settings(progress=False)) as client:
            yield client


def entry_of(notes: Any) -> Any:
    return notes._client.api.db._database.entry(notes.id)


def rows_of(notes: Any) -> list[tuple[Any, ...]]:
    """Return (label, sequence, bytes of texts) of each row of the table, in the order in which they are stored."""
    database = notes._client.api.db._database
    with database.reading() as cursor:
        found: list[tuple[Any, ...]] = cursor.execute(
            f"SELECT label, sequence, {chunks._ROW_TEXT_BYTES} "
            f'FROM "{entry_of(notes).table}" ORDER BY rowid'
        ).fetchall()
    return found


def text(rng: random.Random, n_bytes: int) -> str:
    letters = rng.choice(("abc ", "äö €"))
    return (letters * n_bytes).encode()[:n_bytes].decode(errors="ignore")


def records(rng: random.Random, ids: list[str]) -> dict[str, Any]:
    return {
        "ids": ids,
        "embeddings": np.array([[rng.random(), rng.random()] for _ in ids]),
        "documents": [text(rng, rng.choice(LENGTHS)) for _ in ids],
        "uris": [text(rng, rng.choice(LENGTHS)) for _ in ids],
        "metadatas": [
            {"n": rng.randrange(100), "long": text(rng, rng.choice(LENGTHS))} for _ in ids
        ],
    }


def remember(known: dict[str, Any], given: dict[str, Any]) -> None:
    for row, record_id in enumerate(given["ids"]):
        known[record_id] = tuple(given[name][row] for name in ("documents", "uris", "metadatas"))


def place(notes: Any, is_loaded: bool) -> None:
    """Load or unload a collection."""
    if is_loaded:
        notes.query(query_embeddings=[[1.0, 1.0]], n_results=1)
    else:
        notes.unload()


def compact(notes: Any) -> None:
    notes._client.api.segments.compact(notes.id)


def check_everywhere(client: Any, notes: Any, known: dict[str, Any]) -> None:
    """Read the records in each way that there is, loaded and not."""
    word = "€ä"
    long = next(
        (record[2]["long"] for record in known.values() if len(record[2]["long"]) > 5_000), ""
    )
    for is_loaded in (True, False):
        place(notes, is_loaded)
        found = notes.get(include=["documents", "uris", "metadatas"])
        assert list(known) == found["ids"]
        assert list(known.values()) == list(
            zip(found["documents"], found["uris"], found["metadatas"], strict=True)
        )
        assert notes.count() == len(known)
        some = list(known)[::7]
        for where_document, is_wanted in (
            ({"$contains": word}, lambda document: word in document),
            ({"$not_contains": word}, lambda document: word not in document),
        ):
            place(notes, is_loaded)
            wanted = [one for one in known if is_wanted(known[one][0])]
            assert notes.get(where_document=where_document, include=[])["ids"] == wanted
        place(notes, is_loaded)
        assert notes.get(where={"n": {"$ne": 5}}, include=[])["ids"] == [
            one for one, record in known.items() if record[2]["n"] != 5
        ]
        place(notes, is_loaded)
        assert notes.get(where={"long": long}, include=[])["ids"] == [
            one for one, record in known.items() if record[2]["long"] == long
        ]
        assert notes.get(ids=some, include=["uris"])["uris"] == [known[one][1] for one in some]
        assert notes.get(limit=3, offset=2)["ids"] == list(known)[2:5]
    described = client.api.db.describe_fields(notes.id, 5)
    assert next(one for one in described if one.key == "n").n_records == len(known)
    frame = client.sql(f"SELECT id, document, uri, n FROM {notes.name}")
    assert frame["id"].tolist() == list(known)
    assert frame["document"].tolist() == [record[0] for record in known.values()]
    assert client.sql(f"SELECT count(*) AS n FROM {notes.name}")["n"].tolist() == [len(known)]
    assert client.check().is_whole


@pytest.mark.parametrize("place", ["memory", "folder"])
def test_nobody_sees_padding(tmp_path: Path, place: str) -> None:
    rng = random.Random(place)
    path = tmp_path / "store" if place == "folder" else None
    known: dict[str, Any] = {}
    with open_store(path) as client:
        notes = client.create_collection("notes", embedding_function=None)
        for start in (0, 40, 600):
            given = records(rng, [f"id{row}" for row in range(start, start + 50)])
            notes.upsert(**given)
            remember(known, given)
            check_everywhere(client, notes, known)
        assert entry_of(notes).padding == Padding.ALL
        gone = list(known)[10:60]
        notes.delete(ids=gone)
        known = {one: record for one, record in known.items() if one not in gone}
        check_everywhere(client, notes, known)
        compact(notes)
        check_everywhere(client, notes, known)
        assert entry_of(notes).padding == Padding.ALL
        check_everywhere(client, notes.fork("fork"), known)
        copy = chroma_nb.EphemeralClient(private_settings())
        client.copy_to(copy)
        check_everywhere(copy, copy.get_collection("notes", embedding_function=None), known)
        copy.close()
    if path is not None:
        with open_store(path) as client:
            notes = client.get_collection("notes", embedding_function=None)
            check_everywhere(client, notes, known)
            notes.delete(where={"n": {"$gte": 0}})
            assert rows_of(notes) == [], "padding is deleted with its record"


@given(st.lists(st.sampled_from((0, 10, 4_096, 4_097, 50_000, 300_000, 5_000_000)), max_size=60))
@settings(max_examples=10, deadline=None)
def test_a_chunk_has_little_more_than_eight_megabytes(lengths: list[int]) -> None:
    with open_store(None) as client:
        notes = client.create_collection("notes", embedding_function=None)
        for start in range(0, len(lengths), 20):
            some = lengths[start : start + 20]
            notes.add(
                ids=[f"id{start + row}" for row in range(len(some))],
                embeddings=np.ones((len(some), 1)),
                documents=["x" * n for n in some],
            )
        sizes = np.array([n for _, _, n in rows_of(notes)], dtype=np.int64)
        bound = padded_chunk_bytes(max(sizes, default=0))
        ends = np.concatenate([[0], np.cumsum(sizes)])
        for first in range(len(sizes)):
            stop = min(first + CHUNK_ROWS, len(sizes))
            assert ends[stop] - ends[first] <= bound
        assert chunk_text_bytes(sizes) <= bound
        assert notes.count() == len(lengths)


def test_a_store_without_long_texts_keeps_its_format(tmp_path: Path) -> None:
    with open_store(tmp_path / "store") as client:
        notes = client.create_collection("notes", embedding_function=None)
        notes.add(ids=["a", "b"], embeddings=[[1.0], [2.0]], documents=["x" * 4_000, "short"])
        assert entry_of(notes).padding == Padding.NONE
    assert format_of(tmp_path / "store") == "2"
    with open_store(tmp_path / "store") as client:
        client.get_collection("notes", embedding_function=None).update(
            ids=["a"], embeddings=[[1.0]], documents=["x" * 4_097]
        )
    assert format_of(tmp_path / "store") == "3", "an older chroma_nb would take padding for records"


def format_of(path: Path) -> str:
    with duckdb.connect(str(path / "records.duckdb"), read_only=True) as connection:
        rows = connection.execute("SELECT value FROM meta WHERE key = 'format_version'").fetchall()
    return str(rows[0][0])


def test_long_texts_of_an_older_store_get_padding_with_a_compaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(7)
    known: dict[str, Any] = {}
    with monkeypatch.context() as patched:
        # As before there was padding.
        patched.setattr("chroma_nb.db.duckdb.inserts.padding_rows", np.zeros_like)
        patched.setattr("chroma_nb.db.duckdb.store.WRITES_PADDING", False)
        with open_store(tmp_path / "store") as client:
            notes = client.create_collection("notes", embedding_function=None)
            given = records(rng, [f"id{row}" for row in range(30)])
            notes.add(**given)
            remember(known, given)
    assert format_of(tmp_path / "store") == "2"
    with edited_database(tmp_path / "store") as connection:
        connection.execute("ALTER TABLE collections DROP COLUMN padding")
    with open_store(tmp_path / "store") as client:
        notes = client.get_collection("notes", embedding_function=None)
        check_everywhere(client, notes, known)
        given = records(rng, [f"id{row}" for row in range(20, 40)])
        notes.upsert(**given)
        remember(known, given)
        assert entry_of(notes).padding == Padding.SOME
        check_everywhere(client, notes, known)
        compact(notes)
        assert entry_of(notes).padding == Padding.ALL
        check_everywhere(client, notes, known)


def test_sizes_without_the_longest_record_are_enough_to_know_that_there_are_long_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(9)
    given = records(rng, [f"id{row}" for row in range(30)])
    known: dict[str, Any] = {}
    remember(known, given)
    with monkeypatch.context() as patched:
        patched.setattr("chroma_nb.db.duckdb.inserts.padding_rows", np.zeros_like)
        patched.setattr("chroma_nb.db.duckdb.store.WRITES_PADDING", False)
        with open_store(tmp_path / "store") as client:
            client.create_collection("notes", embedding_function=None).add(**given)
    with edited_database(tmp_path / "store") as connection:
        ((stored,),) = connection.execute("SELECT text_sizes FROM collections").fetchall()
        older = json.dumps(json.loads(stored)[:6])
        connection.execute("UPDATE collections SET text_sizes = ?", [older])
    (tmp_path / "store" / "commits").unlink()
    with open_store(tmp_path / "store") as client:
        notes = client.get_collection("notes", embedding_function=None)
        compact(notes)
        assert entry_of(notes).padding == Padding.ALL
        check_everywhere(client, notes, known)
