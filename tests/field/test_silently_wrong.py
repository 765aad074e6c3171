"""Nothing that a user gives is dropped, changed or answered from elsewhere without an error that names it."""

from __future__ import annotations

import datetime
import decimal
import shutil
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import chroma_nb as chroma
from chroma_nb import K
from chroma_nb.errors import (
    DuplicateIDError,
    IDAlreadyExistsError,
    InvalidArgumentError,
)
from chroma_nb.transfer import PIECE_RECORDS
from tests.field.conftest import vectors
from tests.stores import private_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pa = pytest.importorskip("pyarrow", reason="the extra 'arrow' is not installed")

BIG = 1745078214713458777


class EmbedTwo(chroma.EmbeddingFunction[Any]):
    """Two numbers for each text."""

    def __call__(self, input: Any) -> Any:
        return vectors(len(input))

    @staticmethod
    def name() -> str:
        return "two numbers"

    def get_config(self) -> dict[str, Any]:
        return {}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> Any:
        return EmbedTwo()


def made(client: Any, name: str = "notes", **options: Any) -> Any:
    return client.create_collection(name, embedding_function=None, **options)


# -- one check over all ids before the first piece is written ------------------------------------------------


def by_pandas(notes: Any, ids: list[str]) -> None:
    notes.from_pandas(pd.DataFrame({"id": ids, "embedding": vectors(len(ids))}))


def by_the_index(notes: Any, ids: list[str]) -> None:
    notes.from_pandas(pd.DataFrame({"embedding": vectors(len(ids))}, index=ids))


def by_polars(notes: Any, ids: list[str]) -> None:
    notes.from_pandas(pl.DataFrame({"id": ids, "embedding": vectors(len(ids))}))


def by_arrow(notes: Any, ids: list[str]) -> None:
    notes.from_arrow(pa.table({"id": ids, "embedding": vectors(len(ids))}))


def by_our_own_arrow(notes: Any, ids: list[str]) -> None:
    notes.from_arrow(own_table(notes, ids))


def by_parquet(notes: Any, ids: list[str]) -> None:
    import pyarrow.parquet as parquet

    parquet.write_table(own_table(notes, ids), "ids.parquet", row_group_size=3_000)
    notes.client.import_("ids.parquet", notes.name)


def by_add(notes: Any, ids: list[str]) -> None:
    notes.add(ids=ids, embeddings=vectors(len(ids)))


def own_table(notes: Any, ids: list[str]) -> Any:
    """A table as `to_arrow` makes it, with other ids."""
    template = notes.to_arrow().schema
    schema = pa.schema(
        [*list(template)[:4], pa.field("embedding", pa.list_(pa.float32(), 2))], template.metadata
    )
    nothing = pa.nulls(len(ids), pa.string())
    flat = pa.array(np.ones(2 * len(ids), dtype=np.float32))
    embeddings = pa.FixedSizeListArray.from_arrays(flat, 2)
    return pa.table([pa.array(ids), nothing, nothing, nothing, embeddings], schema=schema)


BULK: list[Callable[[Any, list[str]], None]] = [
    *(by_pandas, by_the_index, by_polars, by_arrow, by_our_own_arrow, by_parquet, by_add)
]
#: (place of the second occurrence, place of the first): on either side of a piece's edge, and at the ends.
EDGES = [
    (1, 0),
    (PIECE_RECORDS, PIECE_RECORDS - 1),
    (PIECE_RECORDS + 1, PIECE_RECORDS),
    (PIECE_RECORDS, 0),
    (2 * PIECE_RECORDS, PIECE_RECORDS - 1),
    (2 * PIECE_RECORDS + 2, 0),
]


@pytest.mark.parametrize("bulk", BULK)
def test_an_id_that_stands_twice_is_found_wherever_it_stands(
    local: Any, bulk: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    notes = made(local)
    for again, first in EDGES:
        ids = [f"i{n}" for n in range(2 * PIECE_RECORDS + 3)]
        ids[again] = ids[first]
        with pytest.raises(DuplicateIDError, match=f"duplicates of: i{first}"):
            bulk(notes, ids)
        assert notes.count() == 0, "nothing is written before all ids were looked at"


@pytest.mark.parametrize("bulk", [by_pandas, by_arrow, by_our_own_arrow, by_parquet])
def test_as_many_records_as_rows(
    local: Any, bulk: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    notes = made(local)
    ids = [f"i{n}" for n in range(2 * PIECE_RECORDS + 3)]
    bulk(notes, ids)
    assert notes.get(include=[])["ids"] == ids
    bulk(notes, ids)
    assert notes.count() == len(ids)


def test_frames_that_were_joined_repeat_their_index(local: Any) -> None:
    part = pd.DataFrame({"embedding": vectors(3)})
    for frame in (pd.concat([part, part]), pd.concat([part] * 4_000)):
        notes = made(local)
        with pytest.raises(DuplicateIDError, match="reset_index"):
            notes.from_pandas(frame)
        assert notes.count() == 0
        local.delete_collection("notes")


def test_error_on_conflict_is_said_before_the_first_piece(local: Any, server: Any) -> None:
    """Also where a write is sent to a server in parts."""
    n = 2 * PIECE_RECORDS + 3
    ids = [f"i{n}" for n in range(n)]
    with chroma.connect(server.url) as far:
        far.reset()
        for client in (local, far):
            notes = made(client)
            notes.add(ids=[ids[-1]], embeddings=vectors(1))
            frame = pd.DataFrame({"id": ids, "embedding": vectors(n)})
            with pytest.raises(IDAlreadyExistsError, match="1 of 10,003 ids exist"):
                notes.from_pandas(frame, on_conflict="error")
            assert notes.count() == 1
        # The server would take less in one request: the client looks before the first part.
        limit = far.api.server
        object.__setattr__(limit, "max_records", 1_000)
        with pytest.raises(IDAlreadyExistsError, match="1 of 10,003 ids exist"):
            notes.add(ids=ids, embeddings=vectors(n), on_conflict="error")
        assert notes.count() == 1


# -- str() of anything is no id ------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [np.nan, None, pd.NA, pd.NaT])
def test_a_missing_id_is_named_by_its_row(local: Any, missing: Any) -> None:
    notes = made(local)
    frame = pd.DataFrame({"id": pd.Series([1, 2, missing], dtype=object), "embedding": vectors(3)})
    with pytest.raises(InvalidArgumentError, match=r"Row 2, column 'id': the id is missing"):
        notes.from_pandas(frame)
    table = pa.table({"id": ["a", None], "embedding": vectors(2)})
    with pytest.raises(InvalidArgumentError, match=r"Row 1, column 'id': the id is missing"):
        notes.from_arrow(table)
    own = own_table(notes, ["a", "b"]).to_pydict() | {"id": ["a", None]}
    with pytest.raises(InvalidArgumentError, match=r"Row 1, column 'id': the id is missing"):
        notes.from_arrow(pa.table(own, schema=own_table(notes, ["a", "b"]).schema))
    assert notes.count() == 0


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ([1, 2], ["1", "2"]),
        ([1.0, 2.0], ["1", "2"]),
        (np.array([1, 2], dtype=np.uint8), ["1", "2"]),
        (["01", "2.0"], ["01", "2.0"]),
        (pd.Categorical(["x", "y"]), ["x", "y"]),
        (
            [uuid.UUID(int=1), uuid.UUID(int=2)],
            [str(uuid.UUID(int=1)), str(uuid.UUID(int=2))],
        ),
        (
            pd.to_datetime(["2024-01-02", "2024-01-03"]),
            ["2024-01-02T00:00:00", "2024-01-03T00:00:00"],
        ),
    ],
)
def test_what_is_an_id(local: Any, given: Any, stored: list[str]) -> None:
    notes = made(local).from_pandas(pd.DataFrame({"id": given, "embedding": vectors(2)}))
    assert notes.get()["ids"] == stored


@pytest.mark.parametrize(
    "given", [[1.5, 2], [True, False], [b"a", b"b"], [("a", 1), ("b", 2)], ["", "b"]]
)
def test_what_is_no_id(local: Any, given: Any) -> None:
    notes = made(local)
    frame = pd.DataFrame({"embedding": vectors(2)})
    frame["id"] = pd.Series(given, dtype=object)
    with pytest.raises(InvalidArgumentError, match="Row 0, column 'id'"):
        notes.from_pandas(frame)
    assert notes.count() == 0


def test_an_index_that_counts_from_elsewhere_is_the_ids(local: Any) -> None:
    notes = made(local)
    frame = pd.DataFrame({"embedding": vectors(3)}, index=pd.RangeIndex(10, 13))
    assert notes.from_pandas(frame).get()["ids"] == ["10", "11", "12"]
    named = pd.DataFrame({"embedding": vectors(2)}, index=pd.RangeIndex(2, name="key"))
    assert notes.from_pandas(named).count() == 5
    levels = pd.DataFrame(
        {"embedding": vectors(2)}, index=pd.MultiIndex.from_product([["a"], [1, 2]])
    )
    with pytest.raises(InvalidArgumentError, match="reset_index"):
        notes.from_pandas(levels)


def test_a_frame_without_ids_can_be_added_again(client: Any) -> None:
    frame = pd.DataFrame({"embedding": vectors(3), "n": [1, 1, 2], "t": ["a", "a", "b"]})
    notes = made(client).from_pandas(frame)
    ids = notes.get()["ids"]
    assert len(set(ids)) == 3, "rows that are alike stay as many"
    notes.from_pandas(frame)
    assert notes.last_transfer.added == 0
    assert notes.last_transfer.skipped == 3
    # Another file's rows have ids of their own, though they are counted from 0 as well.
    notes.from_pandas(pd.DataFrame({"embedding": vectors(1), "n": [9], "t": ["z"]}))
    assert notes.count() == 4
    assert notes.get()["ids"][:3] == ids


def test_random_ids_are_no_names_by_content(client: Any) -> None:
    notes = made(client)
    notes.add(ids=[uuid.UUID(int=n, version=4).hex for n in range(9)], embeddings=vectors(9))
    notes.from_pandas(pd.DataFrame({"embedding": vectors(2)}, index=[7, 9]))
    assert notes.get()["ids"][-2:] == ["7", "9"]


def test_rows_of_other_files_are_not_taken_for_those_that_are_there(client: Any) -> None:
    """Files read in chunks: pandas counts on, and the next file's chunks have the same numbers."""
    notes = made(client)
    files = [
        pd.DataFrame({"embedding": vectors(30), "t": [f"{f}{n}" for n in range(30)]}) for f in "AB"
    ]
    # As ids, the numbers of the second chunk are refused where the first chunk's rows are named by their content.
    notes.from_pandas(files[0][:10])
    with pytest.raises(InvalidArgumentError, match=r"index \(from 10\).*reset_index.*rename_axis"):
        notes.from_pandas(files[0][10:20])
    assert notes.count() == 10
    notes.from_pandas(files[0][10:20].rename_axis("id"))
    assert notes.count() == 20
    client.delete_collection(notes.name)
    # Where a name is among those that are there, it is one.
    notes = made(client)
    for at in (10, 20, 0):
        notes.from_pandas(files[0][at : at + 10])
    notes.from_pandas(files[1][:10])
    with pytest.raises(InvalidArgumentError, match=r"Row 0 has the id '10' .*reset_index"):
        notes.from_pandas(files[1][10:20])
    assert notes.last_transfer is None
    assert notes.count() == 40
    for at in range(10, 30, 10):
        notes.from_pandas(files[1][at : at + 10].reset_index(drop=True))
    assert notes.count() == 60
    notes.from_pandas(files[0][20:])
    assert notes.last_transfer.skipped == 10


@pytest.mark.parametrize(
    "again",
    [
        lambda frame: frame.sample(frac=1, random_state=1),
        lambda frame: frame[::-1],
        lambda frame: frame[frame["n"] > 20],
        lambda frame: frame.astype({"n": float}),
        lambda frame: frame.astype({"n": "Int64"}),
    ],
)
def test_the_same_rows_again_add_nothing(client: Any, again: Any) -> None:
    frame = pd.DataFrame({"embedding": vectors(30), "n": range(30)})
    notes = made(client).from_pandas(frame)
    notes.from_pandas(again(frame))
    assert notes.last_transfer.added == 0
    assert notes.count() == 30


def test_a_uri_beside_a_document_is_the_records_uri(client: Any) -> None:
    frame = pd.DataFrame({"id": ["a", "b"], "text": ["x", "y"], "uri": ["file:a", None]})
    notes = client.create_collection("notes", embedding_function=EmbedTwo())
    notes.from_pandas(frame)
    assert notes.get(include=["uris", "documents"])["uris"] == ["file:a", None]
    again = client.create_collection("again", embedding_function=None)
    again.from_pandas(notes.to_pandas(include=["documents", "uris", "embeddings"]))
    assert again.get(include=["uris"])["uris"] == ["file:a", None]
    with pytest.raises(
        InvalidArgumentError, match=r"column 'uri': expected a text, got '1' \(int\)"
    ):
        notes.from_pandas(pd.DataFrame({"text": ["z"], "uri": [1]}))


def test_a_narrow_table_comes_back_whole(client: Any) -> None:
    notes = made(client)
    metadata = {f"k{n}": n for n in range(60)}
    notes.add(ids=["a"], embeddings=vectors(1), metadatas=[metadata])
    frame = notes.get(include=["metadatas", "embeddings"]).to_pandas(max_columns=10)
    again = client.create_collection("again", embedding_function=None).from_pandas(frame)
    assert again.get()["metadatas"] == [metadata]


def test_an_export_that_pandas_has_read_is_read_as_one(client: Any, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    notes = made(client)
    notes.add(
        ids=["a", "b"], embeddings=vectors(2), metadatas=[{"n": 2**60 + 1, "tags": ["x"]}, None]
    )
    notes.export(tmp_path / "notes.parquet")
    frame = pd.read_parquet(tmp_path / "notes.parquet")
    again = client.create_collection("again", embedding_function=None).from_pandas(frame)
    assert again.get()["metadatas"] == [{"n": 2**60 + 1, "tags": ["x"]}, None]


def test_a_day_equals_its_midnight(client: Any) -> None:
    day, other = datetime.date(2024, 5, 1), datetime.date(2024, 5, 2)
    frame = pd.DataFrame(
        {"id": ["a", "b"], "embedding": vectors(2), "when": pd.to_datetime([day, other])}
    )
    notes = made(client).from_pandas(frame)
    notes.add(ids=["c", "d"], embeddings=vectors(2), metadatas=[{"when": day}, {"when": "x"}])
    for given in (day, datetime.datetime(2024, 5, 1), pd.Timestamp(day), np.datetime64(day)):
        for where, ids in (
            ({"when": given}, "ac"),
            ({"when": {"$eq": given}}, "ac"),
            ({"when": {"$ne": given}}, "bd"),
            ({"when": {"$in": [given, other]}}, "abc"),
            ({"when": {"$nin": [given]}}, "bd"),
            (K("when") == given, "ac"),
            (K("when").is_in([given, other]), "abc"),
        ):
            assert sorted(notes.get(where=where)["ids"]) == list(ids), where
    assert notes.get(where={"when": "2024-05-01"})["ids"] == ["c"], "a text is that text"


# -- values keep their kind and digits -----------------------------------------------------------------------


def test_integers_beside_gaps_keep_their_digits(client: Any) -> None:
    notes = made(client)
    rows = [{"n": BIG, "b": True, "f": 1.0}, {"x": 1}, {"n": 1, "f": 0.5}]
    notes.add(ids=["a", "b", "c"], embeddings=vectors(3), metadatas=rows)
    for frame in (
        notes.to_pandas(),
        notes.get().to_pandas(),
        notes.query(query_embeddings=vectors(1), n_results=3).to_pandas().sort_values("id"),
    ):
        assert frame["n"].tolist() == [BIG, pd.NA, 1] or frame["n"].isna().tolist() == [
            False,
            True,
            False,
        ]
        assert frame["n"].tolist()[0] == BIG
        assert str(frame["n"].dtype) == "Int64"
        assert str(frame["b"].dtype) == "boolean"
        assert str(frame["f"].dtype) == "float64"
    again = made(client, "again").from_pandas(notes.to_pandas(include=["metadatas", "embeddings"]))
    assert again.get()["metadatas"] == rows
    arrow = made(client, "arrow")
    arrow.from_arrow(pa.table({"id": ["a", "b"], "embedding": vectors(2), "n": [BIG, None]}))
    assert arrow.get()["metadatas"] == [{"n": BIG}, None]
    polars = made(client, "polars")
    polars.from_pandas(pl.DataFrame({"id": ["a", "b"], "embedding": vectors(2), "n": [None, BIG]}))
    assert polars.get()["metadatas"] == [None, {"n": BIG}]


def test_a_key_of_several_kinds_stays_one(local: Any) -> None:
    notes = made(local)
    values = [1, 1.0, True, "1", [1], BIG]
    notes.add(ids=list("abcdef"), embeddings=vectors(6), metadatas=[{"k": one} for one in values])
    column = notes.to_pandas()["k"].tolist()
    assert [type(one) for one in column] == [type(one) for one in values]
    assert column == values


@pytest.mark.parametrize(
    "key", ["id", "document", "uri", "embedding", "metadata.id", "text", "vector", "ids"]
)
def test_a_key_that_is_named_as_a_column_comes_back(local: Any, key: str) -> None:
    notes = made(local)
    notes.add(ids=["a"], embeddings=vectors(1), documents=["d"], metadatas=[{key: "mine", "n": 1}])
    frame = notes.to_pandas(include=["documents", "metadatas", "embeddings"])
    assert made(local, "again").from_pandas(frame).get() == notes.get()


def test_values_left_out_are_counted(local: Any) -> None:
    frame = pd.DataFrame(
        {
            "embedding": vectors(3),
            "tags": [["x"], [], None],
            "n": [1, None, 2],
            "when": [datetime.date(2024, 5, 1), None, pd.NaT],
            "price": [decimal.Decimal("1.25"), None, decimal.Decimal(2)],
            "took": [pd.Timedelta("1h"), pd.NaT, None],
        }
    )
    notes = made(local).from_pandas(frame)
    report = notes.last_transfer
    assert report.left_out == {"tags": 2, "n": 1, "when": 2, "price": 1, "took": 2}
    assert report.became_text == {"when": "date", "took": "duration"}
    assert report.became_float == {"price": "Decimal"}
    assert report.added == 3
    assert "2 of tags" in str(report)
    shown = notes._repr_html_()
    assert "Values left out" in shown
    assert notes.get()["metadatas"][0] == {
        "tags": ["x"],
        "n": 1.0,
        "when": "2024-05-01",
        "price": 1.25,
        "took": "P0DT1H0M0S",
    }


def test_a_column_that_was_added_to_our_own_table_is_metadata(local: Any) -> None:
    notes = made(local)
    notes.add(ids=["a", "b"], embeddings=vectors(2), metadatas=[{"n": 1}, None])
    table = notes.to_arrow().append_column("lang", pa.array(["en", None]))
    copy = made(local, "copy").from_arrow(table)
    assert copy.get()["metadatas"] == [{"n": 1, "lang": "en"}, None]
    clash = notes.to_arrow().append_column("n", pa.array([2, 3]))
    with pytest.raises(InvalidArgumentError, match=r"column 'n'.*says 1 for the same key"):
        made(local, "clash").from_arrow(clash)


# -- conditions mean the same everywhere ---------------------------------------------------------------------


@pytest.fixture
def notes(client: Any) -> Any:
    notes = made(client)
    notes.add(
        ids=["a", "b", "c"],
        embeddings=vectors(3),
        documents=["xyz", "yes", None],
        metadatas=[{"n": 1, "s": "p"}, {"n": 2}, {"s": "q"}],
    )
    return notes


CONDITIONS: list[tuple[Any, list[str]]] = [
    (K.ID == "a", ["a"]),
    (K.ID != "a", ["b", "c"]),
    (K.ID.is_in(["a", "c", "no"]), ["a", "c"]),
    (K.ID.not_in(["a", "c"]), ["b"]),
    ((K.ID == "a") | (K("n") == 2), ["a", "b"]),
    ((K.ID == "a") & (K("n") == 2), []),
    (K.DOCUMENT.contains("y"), ["a", "b"]),
    (K.DOCUMENT.not_contains("y"), ["c"]),
    (K.DOCUMENT.regex("^y"), ["b"]),
    (K.DOCUMENT.not_regex("^y"), ["a", "c"]),
    ((K.DOCUMENT.regex("s$")) & (K("n") > 1), ["b"]),
    ((K("n") == 1) | {"s": "q"}, ["a", "c"]),
    ({"$and": [K("n") == 1, {"s": "p"}]}, ["a"]),
]


@pytest.mark.parametrize(("condition", "ids"), CONDITIONS, ids=str)
def test_a_condition_means_the_same_everywhere(notes: Any, condition: Any, ids: list[str]) -> None:
    assert notes.get(where=condition)["ids"] == ids
    found = notes.query(query_embeddings=vectors(1), where=condition, n_results=3)
    assert sorted(found["ids"][0]) == ids
    assert notes.explain(query_embeddings=vectors(1), where=condition)["n_found"] == len(ids)
    notes.unload()
    assert notes.get(where=condition)["ids"] == ids
    assert notes.delete(where=condition) == {"deleted": len(ids)}
    assert notes.count() == 3 - len(ids)


@pytest.mark.parametrize(
    "condition",
    [
        K.SCORE > 1,
        K.EMBEDDING == 1,
        K.METADATA == "a",
        K.ID > 1,
        K.ID == 5,
        K.ID.contains("a"),
        {"#x": 1},
    ],
    ids=str,
)
def test_a_condition_that_cannot_be_evaluated_is_refused(notes: Any, condition: Any) -> None:
    with pytest.raises(ValueError, match=r"#|an id is a text|Expected operand"):
        notes.get(where=condition)


def test_a_condition_on_documents_is_one_in_either_place(notes: Any) -> None:
    assert notes.get(where_document=K.DOCUMENT.contains("y"))["ids"] == ["a", "b"]
    both = K.DOCUMENT.contains("y") & K.DOCUMENT.not_contains("z")
    assert notes.get(where_document=both)["ids"] == ["b"]


def test_and_drops_no_condition(notes: Any) -> None:
    field = notes.fields
    with pytest.raises(ValueError, match=r"Join conditions with & and \|"):
        notes.get(where=(field["n"] == 1) and (field["s"] == "p"))
    with pytest.raises(ValueError, match="a range"):
        notes.get(where=0 < field["n"] < 3)
    with pytest.raises(ValueError, match="in parentheses"):
        notes.get(where=field["n"] == 1 & field["s"])


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ({"posx": "noun"}, "No record has the metadata key 'posx'"),
        ({"nn": 1}, "Did you mean 'n'?"),
        ({"document": {"$contains": "x"}}, "where_document"),
        ({"$and": [{"n": 1}, {"sx": "p"}]}, "'sx'"),
    ],
)
def test_an_empty_answer_says_which_key_no_record_has(
    local: Any, where: Any, sentence: str
) -> None:
    notes = made(local)
    notes.add(ids=["a"], embeddings=vectors(1), metadatas=[{"n": 1, "s": "p"}])
    for result in (notes.get(where=where), notes.query(query_embeddings=vectors(1), where=where)):
        assert sentence in result._repr_mimebundle_()["text/plain"]
        assert "No record has the metadata key" in result._repr_html_()
    empty = notes.get(where={"n": 2})
    assert "metadata key" not in empty._repr_html_(), "nothing is wrong with this one"


def test_a_filter_of_documents_among_those_of_metadata(notes: Any) -> None:
    with pytest.raises(ValueError, match=r"where_document=\{'\$contains': 'x'\}"):
        notes.get(where={"$contains": "x"})
    with pytest.raises(ValueError, match=r"where_document=\{'\$regex': 'x'\}"):
        notes.get(where={"s": {"$regex": "x"}})


# -- two models in one collection ----------------------------------------------------------------------------


class Mine:
    """A function that nobody can build again."""

    def __call__(self, input: Any) -> Any:
        return [[float(len(text)), 1.0] for text in input]


@pytest.mark.filterwarnings("ignore:Embedding function 'Mine':DeprecationWarning")
def test_another_model_never_answers(client: Any) -> None:
    client.create_collection("mine", embedding_function=Mine()).add(ids=["a"], documents=["xx"])
    handle = client.get_collection("mine")
    for call in (
        lambda: handle.query(query_texts=["yy"]),
        lambda: handle.add(ids=["b"], documents=["b"]),
    ):
        with pytest.raises(ValueError, match="does not say what embedded them"):
            call()
    assert handle.query(query_embeddings=[[2.0, 1.0]])["ids"] == [["a"]]
    again = client.get_collection("mine", embedding_function=Mine())
    assert again.query(query_texts=["yy"])["ids"] == [["a"]]


def test_embeddings_of_ones_own_are_not_mixed_with_a_model(client: Any) -> None:
    made(client).add(ids=["a"], embeddings=vectors(1))
    with pytest.raises(ValueError, match="does not say what embedded them"):
        client.get_collection("notes").query(query_texts=["y"])


# -- a path means a folder, a url a server -------------------------------------------------------------------


@pytest.mark.parametrize("path", [None, "", "  "])
def test_no_path_is_no_folder(path: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="EphemeralClient"):
        chroma.PersistentClient(path)


def test_settings_that_name_a_place_are_followed(tmp_path: Path) -> None:
    kept = str(tmp_path / "kept")
    for client in (
        chroma.Client(chroma.Settings(path=kept)),
        chroma.Client(chroma.Settings(persist_directory=kept)),
        chroma.PersistentClient(settings=chroma.Settings(path=kept)),
    ):
        with client:
            notes = client.get_or_create_collection("notes", embedding_function=None)
            notes.add(ids=[str(notes.count())], embeddings=vectors(1))
    with chroma.PersistentClient(kept) as client:
        assert client.get_collection("notes").count() == 3


def test_a_url_in_the_settings_is_a_server(server: Any) -> None:
    settings = chroma.Settings(url=server.url)
    with chroma.Client(settings) as client:
        client.reset()
        made(client)
    admin = chroma.AdminClient(settings)
    admin.create_tenant("acme")
    admin.create_database("lists", "acme")
    with chroma.connect(server.url, tenant="acme", database="lists") as client:
        assert client.list_collections() == []
        client.reset()
    admin.close()


def test_settings_that_contradict_each_other_are_refused() -> None:
    for values in (
        {"path": "a", "url": "http://h"},
        {"path": "a", "is_persistent": False},
        {"api": "local", "url": "http://h"},
        {"api": "fastapi", "path": "a"},
    ):
        with pytest.raises(ValueError, match="contradict each other"):
            chroma.Settings(**values)
    with pytest.raises(InvalidArgumentError, match="store in memory"):
        chroma.EphemeralClient(chroma.Settings(path="a"))
    with pytest.raises(InvalidArgumentError, match="one place, and two are given"):
        chroma.PersistentClient("b", chroma.Settings(path="a"))
    with pytest.raises(InvalidArgumentError, match="one place, and two are given"):
        chroma.connect("http://127.0.0.1:9", settings=chroma.Settings(path="a"))


def test_the_environment_may_name_a_folder_and_a_server(
    tmp_path: Path, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHROMA_NB_PATH", str(tmp_path / "kept"))
    monkeypatch.setenv("CHROMA_NB_URL", server.url)
    with chroma.Client() as client:
        assert client.get_settings().place == str(tmp_path / "kept")
    with chroma.connect() as client:
        assert client.get_settings().place == server.url
    with chroma.connect(settings=chroma.Settings(path=str(tmp_path / "other"))) as client:
        assert client.get_settings().place == str(tmp_path / "other")
    with chroma.EphemeralClient() as client:
        assert client.get_settings().place == "in memory"


@pytest.mark.parametrize("name", ["chroma.sqlite3", "thesis.tex", "vectors/a.f32"])
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(
        (InvalidArgumentError, chroma.errors.StoreCorruptError), match="nothing was changed"
    ):
        chroma.PersistentClient(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_folder_becomes_a_store(tmp_path: Path) -> None:
    (tmp_path / ".gitkeep").touch()
    (tmp_path / "lost+found").mkdir()
    with chroma.PersistentClient(tmp_path) as client:
        made(client).add(ids=["a"], embeddings=vectors(1))
    (tmp_path / "README").write_text("a store, and what its owner put beside it")
    with chroma.PersistentClient(tmp_path) as client:
        assert client.get_collection("notes").count() == 1


# -- half a sync that looks like one -------------------------------------------------------------------------


def test_a_copy_says_what_it_did(client: Any, tmp_path: Path) -> None:
    notes = made(client)
    ids = [f"i{n}" for n in range(6)]
    notes.add(ids=ids, embeddings=vectors(6), documents=ids)
    with chroma.Client(tmp_path / "copy") as other:
        first = client.copy_to(other)
        assert first == {"notes": 6}
        assert first.reports["notes"].added == 6
        notes.update(ids=["i0"], uris=["changed"])
        notes.update(ids=["i1"], embeddings=[[0.0, 5.0]])
        notes.update(ids=["i2"], metadatas=[{"n": 1}])
        notes.delete(ids=["i5"])
        notes.add(ids=["new"], embeddings=vectors(1))
        skipped = client.copy_to(other).reports["notes"]
        assert (skipped.added, skipped.skipped, skipped.changed, skipped.removed) == (1, 5, 0, 0)
        assert "skipped, as their ids exist" in str(skipped)
        with pytest.raises(IDAlreadyExistsError):
            client.copy_to(other, on_conflict="error")
        replaced = client.copy_to(other, on_conflict="replace").reports["notes"]
        assert (replaced.added, replaced.skipped, replaced.changed) == (0, 3, 3)
        assert other.get_collection("notes").count() == 7, "what was deleted here is still there"
        mirrored = client.copy_to(other, mirror=True)
        assert mirrored.reports["notes"].removed == 1
        everything = ["documents", "metadatas", "embeddings", "uris"]
        here, there = (
            one.get_collection("notes", embedding_function=None).get(include=everything)
            for one in (client, other)
        )
        assert sorted(here["ids"]) == sorted(there["ids"])
        order = [there["ids"].index(one) for one in here["ids"]]
        for part in ("documents", "metadatas"):
            assert here[part] == [there[part][row] for row in order]
        np.testing.assert_array_equal(here["embeddings"], there["embeddings"][order])


def test_a_copy_into_another_distance_is_refused(local: Any, tmp_path: Path) -> None:
    made(local, configuration={"hnsw": {"space": "cosine"}})
    with chroma.Client(tmp_path / "copy") as other:
        made(other, configuration={"hnsw": {"space": "l2"}})
        with pytest.raises(InvalidArgumentError, match="distance cosine"):
            local.copy_to(other)


# -- figures -------------------------------------------------------------------------------------------------


def test_there_are_never_more_values_than_records(local: Any) -> None:
    n = 2_000
    notes = made(local)
    notes.add(
        ids=[str(i) for i in range(n)],
        embeddings=vectors(n),
        metadatas=[{"k": i} for i in range(n)],
    )
    (field,) = notes.fields.describe()
    assert field.n_distinct <= n


# -- dates ---------------------------------------------------------------------------------------------------

UTC = datetime.timezone.utc


def test_dates_are_stored_compared_and_come_back(client: Any) -> None:
    notes = made(client)
    given = [
        datetime.datetime(2024, 5, 1, 12, tzinfo=UTC),
        pd.Timestamp("2024-05-02 00:00:00.123456789"),
        "2024-05-03",
        datetime.date(2024, 5, 4),
        np.datetime64("2024-05-05T06:00"),
        "2024-05-06T01:00:00+02:00",
        "the day after",
    ]
    ids = list("abcdefg")
    notes.add(ids=ids, embeddings=vectors(7), metadatas=[{"when": one} for one in given])
    stored = [one["when"] for one in notes.get()["metadatas"]]
    assert all(type(one) is str for one in stored), "text, which Chroma's clients read as well"
    for one, text in zip(given[:6], stored[:6], strict=True):
        assert pd.Timestamp(one) == pd.Timestamp(text)
    assert stored[6] == "the day after"
    when = K("when")
    for operand in (
        "2024-05-03",
        datetime.date(2024, 5, 3),
        datetime.datetime(2024, 5, 3, tzinfo=UTC),
        pd.Timestamp("2024-05-03"),
        np.datetime64("2024-05-03"),
    ):
        assert notes.get(where=when > operand)["ids"] == ["d", "e", "f"]
        assert notes.get(where=when >= operand)["ids"] == ["c", "d", "e", "f"]
        assert notes.get(where=when < operand)["ids"] == ["a", "b"]
        assert notes.get(where=when <= operand)["ids"] == ["a", "b", "c"]
        between = {"$and": [{"when": {"$gt": "2024-05-01"}}, {"when": {"$lte": operand}}]}
        assert notes.get(where=between)["ids"] == ["a", "b", "c"]
    assert notes.get(where=when == given[0])["ids"] == ["a"]
    assert notes.get(where=when < "2024-05-05T23:30:00Z")["ids"] == ["a", "b", "c", "d", "e", "f"]
    frame = notes.to_pandas()
    assert frame["when"].tolist() == stored


@pytest.mark.parametrize(
    "value", [pd.NaT, np.datetime64("NaT", "ns"), datetime.time(1, 2), datetime.timedelta(1)]
)
def test_what_is_no_moment_is_refused(local: Any, value: Any) -> None:
    with pytest.raises(ValueError, match=r"finite|metadata value"):
        made(local).add(ids=["a"], embeddings=vectors(1), metadatas=[{"when": value}])


def test_text_that_is_no_date_has_no_order(notes: Any) -> None:
    with pytest.raises(
        ValueError, match=r"an int or a float for operator \$gt, got p.*in ISO form"
    ):
        notes.get(where={"s": {"$gt": "p"}})


# -- whole-call checks are those of the write ----------------------------------------------------------------


LAST = 2 * PIECE_RECORDS


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"text": "half \ud800"}, r"Row 10,000.*'text'.*surrogate"),
        ({"uri": "half \ud800"}, r"Row 10,000.*'uri'.*surrogate"),
        ({"embedding": [1.0]}, r"Row 10,000.*'embedding'"),
        ({"embedding": [float("nan"), 1.0]}, r"Row 10,000.*'embedding'"),
        ({"#k": 1}, r"'#k'.*Rename"),
        ({"": 1}, r"''.*Rename"),
        ({"chroma:document": "x"}, "reserved key chroma:document.*Rename"),
    ],
)
def test_the_last_row_is_checked_before_the_first_is_written(
    local: Any, change: dict[str, Any], says: str
) -> None:
    rows: list[dict[str, Any]] = [
        {"id": f"r{n}", "text": "t", "uri": None, "embedding": [1.0, 0.0]} for n in range(LAST + 1)
    ]
    rows[LAST].update(change)
    notes = made(local)
    columns = {key: [row.get(key) for row in rows] for key in {**rows[0], **change}}
    frame = pd.DataFrame({key: pd.Series(cells, dtype="object") for key, cells in columns.items()})
    with pytest.raises(ValueError, match=says):
        notes.from_pandas(frame)
    assert notes.count() == 0


@pytest.mark.parametrize("bad", [None, [float("nan"), 1.0], [1.0, None]])
def test_the_last_embedding_of_an_own_table_is_checked_first(
    local: Any, bad: Any, tmp_path: Path
) -> None:
    from pyarrow import parquet

    notes = made(local)
    notes.add(ids=[f"r{n}" for n in range(LAST + 1)], embeddings=vectors(LAST + 1))
    table = notes.to_arrow()
    cells = [*vectors(LAST), bad]
    column = pa.array(cells, pa.list_(pa.float32()))
    at = table.column_names.index("embedding")
    table = table.set_column(at, "embedding", column)
    other = made(local, "other")
    with pytest.raises(ValueError, match=r"Row 10,000 \(id 'r10000'\), column 'embedding'"):
        other.from_arrow(table)
    assert other.count() == 0
    short = pa.array([*vectors(LAST), [1.0]], pa.list_(pa.float32()))
    with pytest.raises(ValueError, match="Rows 10,000 to 10,000 have embeddings of dimension 1"):
        other.from_arrow(table.set_column(at, "embedding", short))
    assert other.count() == 0
    parquet.write_table(table, tmp_path / "other.parquet")
    with pytest.raises(ValueError, match=r"Row 10,000 \(id 'r10000'\), column 'embedding'"):
        local.import_(tmp_path / "other.parquet", "other")
    assert other.count() == 0


def test_vectors_of_uneven_lengths_are_not_cut_up_anew(local: Any) -> None:
    notes = made(local)
    notes.add(ids=list("abcd"), embeddings=vectors(4))
    table = notes.to_arrow()
    at = table.column_names.index("embedding")
    for cells, kind, says in (
        ([[1.0, 2.0], [3.0, 4.0, 5.0, 6.0], [7.0], [8.0]], pa.list_(pa.float32()), "Row 1 .*4 dim"),
        (["a", "b", "c", "d"], pa.string(), "'embedding' has the type string"),
        ([1.0, 2.0, 3.0, 4.0], pa.float32(), "'embedding' has the type float"),
    ):
        changed = table.set_column(at, "embedding", pa.array(cells, kind))
        other = made(local, "other")
        with pytest.raises(InvalidArgumentError, match=says):
            other.from_arrow(changed)
        assert other.count() == 0
        local.delete_collection("other")


# -- conditions say what they say ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values", ["noun", b"noun", {"noun": 1}, 5, None, pd.DataFrame({"a": [1]})]
)
def test_is_in_takes_a_list_and_not_a_texts_letters(client: Any, values: Any) -> None:
    notes = made(client)
    notes.add(ids=["n", "o"], embeddings=vectors(2), metadatas=[{"pos": "noun"}, {"pos": "verb"}])
    for make in (K("pos").is_in, K("pos").not_in, K.ID.is_in, K.ID.not_in):
        with pytest.raises(ValueError, match="Expected the values to be a list"):
            notes.delete(where=make(values))
    assert notes.count() == 2


def test_a_condition_joined_with_a_dict_of_two_keys_is_refused(client: Any) -> None:
    notes = made(client)
    two = {"$and": [{"x": {"$gt": 0}}, {"x": {"$lt": 9}}], "pos": "noun"}
    for condition in ((K("x") > 0) & two, two & (K("x") > 0), (K("x") > 0) | {**two, "$or": []}):
        with pytest.raises(ValueError, match="exactly one operator"):
            notes.get(where=condition)


def test_an_empty_text_matches_nothing_by_accident(client: Any) -> None:
    notes = made(client)
    notes.add(ids=["a"], embeddings=vectors(1), documents=["x"])
    for condition in (K.DOCUMENT.contains(""), K.DOCUMENT.not_contains("")):
        with pytest.raises(ValueError, match="non-empty str"):
            notes.delete(where=condition)
    assert notes.count() == 1


# -- two models, two distances, two kinds --------------------------------------------------------------------


class Other(EmbedTwo):
    """Another model."""

    @staticmethod
    def name() -> str:
        return "other numbers"

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> Any:
        return Other()


def test_copies_and_imports_do_not_mix_models_or_distances(client: Any, tmp_path: Path) -> None:
    with chroma.Client(private_settings()) as source:
        one = source.create_collection("notes", embedding_function=EmbedTwo())
        one.add(ids=["a"], documents=["x"])
        one.export(tmp_path / "notes.parquet")
        there = client.create_collection("notes", embedding_function=Other())
        for call in (
            lambda: source.copy_to(client, ["notes"]),
            lambda: client.import_(tmp_path / "notes.parquet"),
            lambda: there.from_arrow(one.to_arrow()),
        ):
            with pytest.raises(InvalidArgumentError, match="embedding function two numbers"):
                call()
        assert there.count() == 0
        client.delete_collection("notes")
        near = client.create_collection(
            "notes", embedding_function=EmbedTwo(), configuration={"hnsw": {"space": "cosine"}}
        )
        with pytest.raises(InvalidArgumentError, match="distance l2"):
            client.import_(tmp_path / "notes.parquet")
        assert near.count() == 0


def test_another_model_of_the_same_name_is_refused_when_its_class_says_so(client: Any) -> None:
    from chroma_nb.embedding import OllamaEmbeddingFunction

    client.create_collection("notes", embedding_function=OllamaEmbeddingFunction(model_name="one"))
    two = OllamaEmbeddingFunction(model_name="two")
    for get in (client.get_collection, client.get_or_create_collection):
        with pytest.raises(ValueError, match="Cannot change model_name from 'one' to 'two'"):
            get("notes", embedding_function=two)


def test_a_copied_folder_is_another_store(tmp_path: Path) -> None:
    with chroma.PersistentClient(tmp_path / "a") as first:
        made(first).add(ids=["a"], embeddings=vectors(1))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with chroma.PersistentClient(tmp_path / "a") as a, chroma.PersistentClient(tmp_path / "b") as b:
        a.get_collection("notes", embedding_function=None).add(ids=["b"], embeddings=vectors(1))
        assert a.copy_to(b) == {"notes": 2}
        with pytest.raises(InvalidArgumentError, match="onto itself"):
            a.copy_to(a)


def test_a_mirror_has_the_same_kinds_of_values(client: Any, local: Any) -> None:
    values = [1.0, True, [True], -0.0]
    others = [1, 1, [1], 0.0]
    for store, given in ((local, values), (client, others)):
        store.create_collection("kinds", embedding_function=None).add(
            ids=list("abcd"), embeddings=vectors(4), metadatas=[{"k": one} for one in given]
        )
    copies = local.copy_to(client, ["kinds"], mirror=True)
    assert copies.reports["kinds"].changed == 4
    got = client.get_collection("kinds", embedding_function=None).get()["metadatas"]
    assert [repr(one["k"]) for one in got] == [repr(one) for one in values]


# -- digits ----------------------------------------------------------------------------------------------------


def test_polars_nanoseconds_are_kept(client: Any) -> None:
    count = 1704067200123456789
    frame = pl.DataFrame({"id": ["a", "b"], "embedding": vectors(2), "n": [count, None]})
    frame = frame.with_columns(
        when=pl.col("n").cast(pl.Datetime("ns")),
        zoned=pl.col("n").cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone("Europe/Paris"),
        long=pl.col("n").cast(pl.Duration("ns")),
        many=pl.concat_list(pl.col("n").cast(pl.Datetime("ns"))),
    ).drop("n")
    got = made(client).from_pandas(frame.head(1)).get()["metadatas"][0]
    assert got["when"] == "2024-01-01T00:00:00.123456789"
    assert got["zoned"] == "2024-01-01T01:00:00.123456789+01:00"
    assert got["long"].endswith("0.123456789S")
    assert got["many"] == ["2024-01-01T00:00:00.123456789"]


def test_whole_decimals_and_hugeints_keep_their_digits(client: Any) -> None:
    import duckdb

    notes = made(client)
    relation = duckdb.sql(
        "SELECT 'a' AS id, [1.0, 0.0]::FLOAT[] AS embedding, 9007199254740993::HUGEINT AS huge, "
        "9007199254740993::DECIMAL(38, 0) AS whole, 1.25::DECIMAL(5, 2) AS price"
    )
    got = notes.from_pandas(relation).get()["metadatas"][0]
    assert (got["huge"], got["whole"], got["price"]) == (2**53 + 1, 2**53 + 1, 1.25)
    frame = pd.DataFrame({"id": ["b"], "embedding": vectors(1), "n": [decimal.Decimal(2**53 + 1)]})
    assert notes.from_pandas(frame).get(ids=["b"])["metadatas"] == [{"n": 2**53 + 1}]


@pytest.mark.parametrize(
    "bad",
    [1745078214713458777.0, float("inf"), decimal.Decimal("Infinity")],
)
def test_numbers_that_are_no_ids_are_refused_with_their_row(client: Any, bad: Any) -> None:
    notes = made(client)
    with pytest.raises(InvalidArgumentError, match="Row 1, column 'id'"):
        notes.from_pandas(
            pd.DataFrame({"id": pd.Series([1, bad], dtype="object"), "embedding": vectors(2)})
        )
    assert notes.count() == 0


def test_columns_that_would_be_one_key_are_refused(client: Any) -> None:
    notes = made(client)
    notes.add(ids=["a"], embeddings=vectors(1), metadatas=[{"distance": 2}])
    frame = notes.to_pandas(include=["metadatas", "embeddings"])
    frame["distance"] = [9]
    with pytest.raises(InvalidArgumentError, match="would both be the metadata key 'distance'"):
        notes.from_pandas(frame, on_conflict="replace")
    odd = pd.DataFrame([["b", [1.0, 0.0], "lost", 2]], columns=["id", "embedding", None, 1])
    assert notes.from_pandas(odd).get(ids=["b"])["metadatas"] == [{"None": "lost", "1": 2}]


def test_columns_added_to_an_own_table_are_in_the_report(client: Any) -> None:
    notes = made(client)
    notes.add(ids=["a"], embeddings=vectors(1), metadatas=[{"n": 0}])
    table = notes.to_arrow()
    more = table.append_column("when", pa.array([datetime.date(2024, 5, 1)]))
    more = more.append_column("gap", pa.array([None], pa.int64()))
    other = made(client, "other").from_arrow(more)
    assert other.last_transfer.became_text == {"when": "date"}
    assert other.last_transfer.left_out == {"gap": 1}
    with pytest.raises(InvalidArgumentError, match="its metadata says 0 for the same key"):
        notes.from_arrow(table.append_column("n", pa.array([False])), on_conflict="replace")


def test_the_vector_is_part_of_a_rows_content(client: Any) -> None:
    notes = made(client)
    for vector in ([1.0, 0.0], [0.0, 1.0]):
        notes.from_pandas(pd.DataFrame({"text": ["same"], "embedding": [vector]}))
    assert notes.count() == 2


def test_masked_values_are_no_numbers(client: Any) -> None:
    masked = np.ma.masked_array([[1.0, 2.0]], mask=[[False, True]])
    with pytest.raises(InvalidArgumentError, match="masked"):
        made(client).add(ids=["a"], embeddings=masked)


@pytest.mark.parametrize("engine", ["turbovec", "hnswlib", "usearch"])
@pytest.mark.parametrize("dead", [1, 9, 200])
def test_a_graph_is_built_though_the_first_records_are_dead(engine: str, dead: int) -> None:
    pytest.importorskip(engine)
    settings = private_settings(graph_min_records=100, index_engine=engine)
    with chroma.Client(settings) as client:
        notes = made(client)
        points = np.random.default_rng(0).standard_normal((2_000, 8)).astype(np.float32)
        ids = [f"r{n}" for n in range(2_000)]
        notes.add(ids=ids, embeddings=points)
        notes.delete(ids=ids[:dead])
        notes.build_index()
        assert notes.explain(query_embeddings=points[-1])["n_indexed"] == 2_000 - dead
        assert notes.query(query_embeddings=points[-1], n_results=1)["ids"] == [["r1999"]]
