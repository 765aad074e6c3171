"""Records: what is accepted, what add, update, upsert and delete do; sections 4.2, 6 and 7."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chroma_nb.testing.cases import MERGES

EVERYTHING = ["embeddings", "documents", "metadatas", "uris"]


def rows(collection: Any) -> dict[str, tuple[Any, ...]]:
    """The whole collection, by id, in storage order."""
    got = collection.get(include=EVERYTHING)
    parts = [got["embeddings"].tolist(), got["documents"], got["metadatas"], got["uris"]]
    return dict(zip(got["ids"], zip(*parts, strict=True), strict=True))


# -- forms of input ------------------------------------------------------------------------------


def test_single_items(create: Any) -> None:
    notes = create()
    notes.add(ids="a", embeddings=[1.0, 2.0], metadatas={"k": 1}, documents="x", uris="file:///x")
    assert rows(notes) == {"a": ([1.0, 2.0], "x", {"k": 1}, "file:///x")}
    notes.update(ids="a", documents="y", embeddings=[3, 4])
    assert rows(notes)["a"][:2] == ([3.0, 4.0], "y")
    assert notes.get(ids="a")["ids"] == ["a"]
    assert notes.query(query_embeddings=[1.0, 2.0], ids="a")["ids"] == [["a"]]
    assert notes.delete(ids="a") == {"deleted": 1}


@pytest.mark.parametrize(
    "embeddings",
    [
        pytest.param([[1, 2], [3, 4]], id="lists-of-int"),
        pytest.param([[1.0, 2.0], [3.0, 4.0]], id="lists-of-float"),
        pytest.param([[1, 2.0], [3.0, 4]], id="mixed-numbers"),
        pytest.param(np.array([[1, 2], [3, 4]], dtype=np.float16), id="float16"),
        pytest.param(np.array([[1, 2], [3, 4]], dtype=np.float32), id="float32"),
        pytest.param(np.array([[1, 2], [3, 4]], dtype=np.float64), id="float64"),
        pytest.param(np.array([[1, 2], [3, 4]], dtype=np.int32), id="int32"),
        pytest.param(np.array([[1, 2], [3, 4]], dtype=np.int64), id="int64"),
        pytest.param(np.array([[1, 9, 2], [3, 9, 4]], dtype=np.float32)[:, ::2], id="strided"),
        pytest.param(np.array([[1, 3], [2, 4]], dtype=np.float32).T, id="transposed"),
        pytest.param([np.array([1.0, 2.0]), np.array([3.0, 4.0])], id="list-of-arrays"),
        pytest.param([np.array([1, 2]), np.array([3.0, 4.0], dtype="f4")], id="arrays-of-kinds"),
    ],
)
def test_forms_of_embeddings(create: Any, embeddings: Any) -> None:
    notes = create()
    notes.add(ids=["a", "b"], embeddings=embeddings)
    assert notes.get(include=["embeddings"])["embeddings"].tolist() == [[1.0, 2.0], [3.0, 4.0]]
    found = notes.query(query_embeddings=embeddings, n_results=1)
    assert found["ids"] == [["a"], ["b"]]
    assert found["distances"] == [[0.0], [0.0]]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "int64"])
def test_a_flat_array_is_one_embedding(create: Any, dtype: str) -> None:
    notes = create()
    notes.add(ids="a", embeddings=np.array([1, 2, 3], dtype=dtype))
    assert notes.query(query_embeddings=np.array([1, 2, 3], dtype=dtype))["ids"] == [["a"]]


def test_the_callers_arrays_are_copied(create: Any) -> None:
    notes = create()
    vectors = np.array([[1.0, 2.0]], dtype=np.float32)
    metadata = {"tags": ["x"]}
    notes.add(ids=["a"], embeddings=vectors, metadatas=[metadata])
    vectors[:] = 9.0
    metadata["tags"].append("y")
    metadata["new"] = 1
    assert rows(notes)["a"] == ([1.0, 2.0], None, {"tags": ["x"]}, None)


def test_results_are_the_callers(create: Any) -> None:
    """Changing what get() returned changes nothing in the store."""
    notes = create()
    notes.add(
        ids=["a"], embeddings=[[1.0, 2.0]], metadatas=[{"tags": ["x"], "n": 1}], documents="d"
    )
    for _ in range(2):  # a second time: a cache would have kept the changed objects
        got = notes.get(include=EVERYTHING)
        assert got["metadatas"] == [{"tags": ["x"], "n": 1}]
        assert got["embeddings"].tolist() == [[1.0, 2.0]]
        got["metadatas"][0]["n"] = 2
        got["metadatas"][0]["tags"].append("y")
        got["embeddings"][:] = 0.0
        got["ids"].append("z")
        found = notes.query(query_embeddings=[1.0, 2.0], include=["metadatas", "embeddings"])
        assert found["ids"] == [["a"]]
        assert found["metadatas"] == [[{"tags": ["x"], "n": 1}]]
        assert found["embeddings"][0].tolist() == [[1.0, 2.0]]
        found["metadatas"][0][0]["tags"].append("y")
        found["embeddings"][0][:] = 0.0


def test_embeddings_are_kept_as_float32(create: Any) -> None:
    notes = create()
    notes.add(ids="a", embeddings=[0.1, 1e-40, 3.4e38])
    stored = notes.get(include=["embeddings"])["embeddings"]
    assert stored.tolist() == np.array([[0.1, 1e-40, 3.4e38]], dtype=np.float32).tolist()


@pytest.mark.parametrize("space", ["cosine", "ip"])
def test_embeddings_come_back_as_given(create: Any, space: str) -> None:
    notes = create(configuration={"hnsw": {"space": space}})
    notes.add(ids=["a", "b"], embeddings=[[1.0, 1.0, 0.0], [0.3, 0.2, 9.0]])
    stored = notes.get(include=["embeddings"])["embeddings"]
    assert stored == pytest.approx(np.array([[1, 1, 0], [0.3, 0.2, 9.0]]), rel=1e-6)


@pytest.mark.quirk(
    "cosine vectors come back rounded; advice: exactly what was stored", always=False, by="server"
)
def test_cosine_embeddings_come_back_exactly(create: Any) -> None:
    notes = create(configuration={"hnsw": {"space": "cosine"}})
    vectors = np.random.default_rng(7).normal(size=(20, 5)).astype(np.float32)
    notes.add(ids=[str(i) for i in range(20)], embeddings=vectors)
    stored = notes.get(include=["embeddings"])["embeddings"]
    assert stored.tolist() == vectors.tolist()


@pytest.mark.parametrize(
    "text", ["", "a'b\"c", "näïve 😀", "line\nbreak\ttab\\", "%_", "null", "\x01"]
)
def test_any_text_survives(create: Any, text: str) -> None:
    notes = create()
    notes.add(
        ids=["id-" + text],
        embeddings=[[1.0]],
        documents=[text],
        metadatas=[{"key-" + text: text, "list": [text, "x"]}],
        uris=[text],
    )
    assert rows(notes) == {
        "id-" + text: ([1.0], text, {"key-" + text: text, "list": [text, "x"]}, text)
    }
    assert notes.get(ids="id-" + text)["documents"] == [text]
    assert notes.get(where={"key-" + text: text})["ids"] == ["id-" + text]
    assert notes.get(where={"list": {"$contains": text}})["ids"] == ["id-" + text]
    assert notes.query(query_embeddings=[1.0], where={"key-" + text: text})["documents"] == [[text]]


def test_numpy_scalars_in_lists(create: Any) -> None:
    notes = create()
    notes.add(ids=["a"], embeddings=[list(np.array([1.0, 2.0]))])  # np.float64 is a float
    assert rows(notes)["a"][0] == [1.0, 2.0]


# -- metadata ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        "text",
        "",
        1,
        0,
        -5,
        2**62,
        -(2**63),
        1.5,
        1.0,
        -0.0,
        1e300,
        True,
        False,
        ["x", "y"],
        ["x"],
        [1, 2, 1],
        [1.5, 2.0],
        [True, False],
    ],
    ids=repr,
)
def test_metadata_values_keep_value_and_kind(create: Any, value: Any) -> None:
    notes = create()
    notes.add(ids="a", embeddings=[1.0], metadatas={"k": value})
    found = notes.get()["metadatas"][0]["k"]
    assert found == value
    assert type(found) is type(value)
    if isinstance(value, list):
        assert [type(item) for item in found] == [type(item) for item in value]
    assert notes.query(query_embeddings=[1.0])["metadatas"] == [[{"k": value}]]


def test_many_keys(create: Any) -> None:
    notes = create()
    metadata = {f"key-{i}": i for i in range(300)}
    notes.add(ids="a", embeddings=[1.0], metadatas=metadata)
    assert notes.get()["metadatas"] == [metadata]


def test_keys_that_only_look_special(create: Any) -> None:
    notes = create()
    metadata = {"a.b": 1, "id": "x", "document": "y", "rowid": 1, "label": 2, "a'b\"c": 3, "a b": 4}
    notes.add(ids="a", embeddings=[1.0], metadatas=metadata)
    assert notes.get()["metadatas"] == [metadata]
    for key in metadata:
        assert notes.get(where={key: metadata[key]})["ids"] == ["a"], key


@pytest.mark.quirk("TypeError on None in add; advice: leave the key out", by="both")
def test_none_in_metadata_of_add_is_left_out(create: Any) -> None:
    notes = create()
    notes.add(
        ids=["a", "b"], embeddings=[[1.0], [2.0]], metadatas=[{"k": None, "l": 1}, {"k": None}]
    )
    assert notes.get()["metadatas"] == [{"l": 1}, None]


@pytest.mark.parametrize("value", [2**63, 2**70, -(2**64)], ids=["2**63", "2**70", "-2**64"])
def test_ints_beyond_64_bits_are_kept_or_refused_or_floats(
    create: Any, refused: Any, value: int
) -> None:
    """Upstream makes them floats without a word; refusing is allowed, another number is not."""
    notes = create()
    try:
        notes.add(ids="a", embeddings=[1.0], metadatas={"k": value})
    except refused:
        assert notes.count() == 0
    else:
        assert notes.get()["metadatas"][0]["k"] == pytest.approx(value, rel=1e-15)


@pytest.mark.quirk("NaN is dropped without a word; advice: keep or refuse, say which", by="client")
def test_a_nan_is_kept_or_refused(create: Any) -> None:
    notes = create()
    try:
        notes.add(ids="a", embeddings=[1.0], metadatas={"k": float("nan")})
    except ValueError:
        assert notes.count() == 0
    else:
        assert np.isnan(notes.get()["metadatas"][0]["k"])


# -- add -----------------------------------------------------------------------------------------


def test_add_returns_none_and_counts(create: Any) -> None:
    notes = create()
    assert notes.add(ids=["a", "b"], embeddings=[[1.0], [2.0]]) is None
    assert notes.count() == 2
    assert rows(notes) == {"a": ([1.0], None, None, None), "b": ([2.0], None, None, None)}


def test_add_ignores_an_id_that_is_there(notes: Any) -> None:
    before = rows(notes)
    notes.add(
        ids=["a", "new"],
        embeddings=[[9.0, 9.0], [8.0, 8.0]],
        metadatas=[{"k": "other", "z": 1}, {"z": 2}],
        documents=["other", "new"],
        uris=["u", "v"],
    )
    after = rows(notes)
    assert list(after) == ["a", "b", "c", "new"]
    assert {key: after[key] for key in before} == before
    assert after["new"] == ([8.0, 8.0], "new", {"z": 2}, "v")
    assert notes.query(query_embeddings=[9.0, 9.0], n_results=4)["ids"][0][0] == "new"


def test_add_may_mix_records_with_and_without_parts(create: Any) -> None:
    notes = create()
    notes.add(
        ids=["a", "b", "c"],
        embeddings=[[1.0], [2.0], [3.0]],
        metadatas=[None, {"k": 1}, None],
        documents=["x", None, ""],
    )
    assert rows(notes) == {
        "a": ([1.0], "x", None, None),
        "b": ([2.0], None, {"k": 1}, None),
        "c": ([3.0], "", None, None),
    }


@pytest.mark.quirk("a record with a uri and no metadata shows {}; advice: None", by="both")
def test_a_uri_is_no_metadata(create: Any) -> None:
    notes = create()
    notes.add(ids=["a", "b"], embeddings=[[1.0], [2.0]], uris=["file:///a", None])
    assert notes.get(include=["uris", "metadatas"])["uris"] == ["file:///a", None]
    assert notes.get()["metadatas"] == [None, None]


# -- on_conflict ---------------------------------------------------------------------------------


@pytest.mark.beyond_chroma("add(on_conflict=...)")
class TestOnConflict:
    def test_skip_is_the_default(self, notes: Any) -> None:
        before = rows(notes)
        notes.add(ids=["a"], embeddings=[[9.0, 9.0]], documents=["z"], on_conflict="skip")
        assert rows(notes) == before

    @pytest.mark.beyond_chroma("add(on_conflict=...)", by="server")
    def test_error_writes_nothing(self, notes: Any, errors: Any) -> None:
        before = rows(notes)
        with pytest.raises(errors.IDAlreadyExistsError, match=r"\bb\b"):
            notes.add(
                ids=["new", "b", "newer"],
                embeddings=[[9.0, 9.0], [8.0, 8.0], [7.0, 7.0]],
                on_conflict="error",
            )
        assert rows(notes) == before
        found = notes.query(query_embeddings=[9.0, 9.0], n_results=9)["ids"][0]
        assert sorted(found) == ["a", "b", "c"]

    @pytest.mark.beyond_chroma("add(on_conflict=...)", by="server")
    def test_error_without_a_conflict_adds(self, notes: Any) -> None:
        notes.add(ids=["d"], embeddings=[[9.0, 9.0]], on_conflict="error")
        assert notes.count() == 4

    @pytest.mark.beyond_chroma("add(on_conflict=...)", by="server")
    def test_replace_replaces_the_record_whole(self, notes: Any) -> None:
        notes.update(ids="a", uris="file:///a")
        notes.add(
            ids=["a", "d"],
            embeddings=[[9.0, 9.0], [8.0, 8.0]],
            metadatas=[{"z": 1}, {"z": 2}],
            on_conflict="replace",
        )
        after = rows(notes)
        assert after["a"] == ([9.0, 9.0], None, {"z": 1}, None)  # no document, no k, no n, no uri
        assert after["d"] == ([8.0, 8.0], None, {"z": 2}, None)
        assert notes.count() == 4
        found = notes.query(query_embeddings=[9.0, 9.0], n_results=9)
        assert found["ids"] == [["a", "d", "c", "b"]]
        assert notes.get(where={"k": "v"})["ids"] == []
        assert notes.get(where={"z": 1})["ids"] == ["a"]
        assert notes.get(where_document={"$contains": "alpha"})["ids"] == []

    def test_another_word_is_refused(self, notes: Any) -> None:
        with pytest.raises(ValueError, match="on_conflict"):
            notes.add(ids=["d"], embeddings=[[1.0, 1.0]], on_conflict="ignore")
        assert notes.count() == 3


# -- update --------------------------------------------------------------------------------------


def test_update_ignores_an_unknown_id(notes: Any) -> None:
    before = rows(notes)
    assert notes.update(ids=["nope"], embeddings=[[1.0, 1.0]], metadatas=[{"k": 1}]) is None
    assert rows(notes) == before


def test_update_changes_what_is_given(notes: Any) -> None:
    notes.update(ids="a", embeddings=[5.0, 5.0])
    assert rows(notes)["a"] == ([5.0, 5.0], "alpha", {"k": "v", "n": 1}, None)
    notes.update(ids="a", embeddings=[6.0, 6.0], documents="beta")
    assert rows(notes)["a"] == ([6.0, 6.0], "beta", {"k": "v", "n": 1}, None)
    notes.update(ids="a", metadatas={"n": 5})
    assert rows(notes)["a"] == ([6.0, 6.0], "beta", {"k": "v", "n": 5}, None)
    notes.update(ids="a", uris="file:///a")
    assert rows(notes)["a"] == ([6.0, 6.0], "beta", {"k": "v", "n": 5}, "file:///a")
    assert list(rows(notes)) == ["a", "b", "c"]
    assert notes.query(query_embeddings=[6.0, 6.0], n_results=1)["distances"] == [[0.0]]
    assert notes.query(query_embeddings=[1.0, 0.0], n_results=1)["ids"] == [["b"]]


def test_update_with_ids_only_changes_nothing(notes: Any) -> None:
    before = rows(notes)
    notes.update(ids=["a", "b"])
    assert rows(notes) == before


def test_update_several_with_parts_left_out(notes: Any) -> None:
    notes.update(
        ids=["a", "nope", "b"],
        embeddings=[[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]],
        metadatas=[None, {"x": 1}, {"k": "z"}],
        documents=[None, "no", "beta"],
    )
    assert rows(notes) == {
        "a": ([1.0, 1.0], "alpha", {"k": "v", "n": 1}, None),
        "b": ([3.0, 3.0], "beta", {"k": "z", "n": 2}, None),
        "c": ([2.0, 2.0], "gamma", None, None),
    }


@pytest.mark.parametrize("method", ["update", "upsert"])
@pytest.mark.parametrize(
    ("given", "expected"), [pytest.param(*rest, id=name) for name, *rest in MERGES]
)
def test_metadata_is_merged(create: Any, method: str, given: Any, expected: Any) -> None:
    notes = create()
    notes.add(ids="i", embeddings=[1.0], metadatas={"a": 1, "b": "x", "l": ["p"]}, documents="d")
    getattr(notes, method)(ids="i", embeddings=[1.0], metadatas=given)
    found = notes.get()["metadatas"][0]
    assert found == expected
    if expected is not None:
        assert {k: type(v) for k, v in found.items()} == {k: type(v) for k, v in expected.items()}
    assert notes.get()["documents"] == ["d"]


def test_filters_see_merged_metadata(create: Any) -> None:
    notes = create()
    notes.add(ids="i", embeddings=[1.0], metadatas={"a": 1, "b": "x", "l": ["p"]}, documents="old")
    notes.update(ids="i", metadatas={"a": "one", "b": None, "l": ["q"]})
    assert notes.get(where={"a": 1})["ids"] == []
    assert notes.get(where={"a": "one"})["ids"] == ["i"]
    assert notes.get(where={"b": "x"})["ids"] == []
    assert notes.get(where={"b": {"$ne": "x"}})["ids"] == ["i"]
    assert notes.get(where={"l": {"$contains": "p"}})["ids"] == []
    assert notes.get(where={"l": {"$contains": "q"}})["ids"] == ["i"]
    notes.update(ids="i", documents="new", embeddings=[1.0])
    assert notes.get(where_document={"$contains": "old"})["ids"] == []
    assert notes.get(where_document={"$contains": "new"})["ids"] == ["i"]


def test_update_gives_metadata_to_a_record_without(notes: Any) -> None:
    notes.update(ids="c", metadatas={"k": "new"})
    assert notes.get(ids="c")["metadatas"] == [{"k": "new"}]
    assert notes.get(where={"k": "new"})["ids"] == ["c"]


def test_update_with_none_document_keeps_it(notes: Any) -> None:
    notes.update(ids=["a"], documents=[None], embeddings=[[1.0, 0.0]])
    assert notes.get(ids="a")["documents"] == ["alpha"]


def test_update_never_changes_the_dimension(notes: Any, errors: Any) -> None:
    before = rows(notes)
    with pytest.raises(errors.InvalidArgumentError, match="dimension of 2, got 3"):
        notes.update(ids=["a"], embeddings=[[1.0, 2.0, 3.0]])
    assert rows(notes) == before


# -- upsert --------------------------------------------------------------------------------------


def test_upsert_inserts_and_merges(notes: Any) -> None:
    assert (
        notes.upsert(
            ids=["d", "a"],
            embeddings=[[4.0, 4.0], [5.0, 5.0]],
            metadatas=[{"k": "new"}, {"z": 1}],
            documents=["delta", "other"],
        )
        is None
    )
    assert rows(notes) == {
        "a": ([5.0, 5.0], "other", {"k": "v", "n": 1, "z": 1}, None),
        "b": ([0.0, 1.0], None, {"k": "w", "n": 2}, None),
        "c": ([2.0, 2.0], "gamma", None, None),
        "d": ([4.0, 4.0], "delta", {"k": "new"}, None),
    }
    assert list(rows(notes)) == ["a", "b", "c", "d"]
    assert notes.count() == 4


def test_upsert_without_document_keeps_the_old_one(notes: Any) -> None:
    notes.upsert(ids="a", embeddings=[7.0, 7.0])
    assert rows(notes)["a"] == ([7.0, 7.0], "alpha", {"k": "v", "n": 1}, None)
    assert notes.query(query_embeddings=[7.0, 7.0], n_results=1)["ids"] == [["a"]]


def test_upsert_twice_is_upsert_once(notes: Any) -> None:
    for _ in range(2):
        notes.upsert(ids=["a", "x"], embeddings=[[7.0, 7.0], [8.0, 8.0]], documents=["p", "q"])
        assert notes.count() == 4
    assert notes.query(query_embeddings=[7.0, 7.0], n_results=9)["ids"][0].count("a") == 1


# -- delete --------------------------------------------------------------------------------------


def test_delete_by_ids(notes: Any) -> None:
    assert notes.delete(ids=["a", "c"]) == {"deleted": 2}
    assert notes.get()["ids"] == ["b"]
    assert notes.count() == 1
    assert notes.query(query_embeddings=[1.0, 0.0])["ids"] == [["b"]]


@pytest.mark.quirk(
    "counts the ids asked for, not those deleted; advice: the real number", by="both"
)
def test_delete_counts_what_was_deleted(notes: Any) -> None:
    assert notes.delete(ids=["a", "nope"]) == {"deleted": 1}
    assert notes.delete(ids=["a"]) == {"deleted": 0}


def test_delete_by_filter(notes: Any) -> None:
    assert notes.delete(where={"k": "v"}) == {"deleted": 1}
    assert notes.get()["ids"] == ["b", "c"]
    assert notes.delete(where_document={"$contains": "gamma"}) == {"deleted": 1}
    assert notes.get()["ids"] == ["b"]
    assert notes.delete(where={"k": "nope"}) == {"deleted": 0}


def test_delete_combines_with_and(notes: Any) -> None:
    assert notes.delete(ids=["a", "b"], where={"k": "w"}) == {"deleted": 1}
    assert notes.get()["ids"] == ["a", "c"]
    assert notes.delete(ids=["a"], where={"k": "v"}, where_document={"$contains": "zz"}) == {
        "deleted": 0
    }
    assert notes.count() == 2


def test_delete_with_limit_takes_the_first(notes: Any) -> None:
    assert notes.delete(where={"n": {"$gte": 0}}, limit=0) == {"deleted": 0}
    assert notes.delete(where={"n": {"$gte": 0}}, limit=1) == {"deleted": 1}
    assert notes.get()["ids"] == ["b", "c"]
    assert notes.delete(where={"n": {"$gte": 0}}, limit=10) == {"deleted": 1}


@pytest.mark.quirk(
    "ValueError; advice (LlamaIndex): [] beside a filter is 'no ids given'", by="client"
)
def test_delete_with_empty_ids_and_a_filter(notes: Any) -> None:
    assert notes.delete(ids=[], where={"k": "v"}) == {"deleted": 1}
    assert notes.get()["ids"] == ["b", "c"]


def test_a_deleted_record_can_come_back_as_another(notes: Any) -> None:
    notes.delete(ids=["a"])
    notes.add(ids=["a"], embeddings=[[3.0, 3.0]])
    assert rows(notes)["a"] == ([3.0, 3.0], None, None, None)
    assert notes.get()["ids"] == ["b", "c", "a"]
    assert notes.get(where={"k": "v"})["ids"] == []
    assert notes.get(where_document={"$contains": "alpha"})["ids"] == []


def test_the_dimension_survives_the_last_record(notes: Any, errors: Any) -> None:
    notes.delete(ids=["a", "b", "c"])
    assert notes.count() == 0
    with pytest.raises(errors.InvalidArgumentError, match="dimension of 2, got 3"):
        notes.add(ids="a", embeddings=[1.0, 2.0, 3.0])
    notes.add(ids="a", embeddings=[1.0, 2.0])
    assert notes.count() == 1


# -- order ---------------------------------------------------------------------------------------


def test_many_records_of_which_some_have_no_texts(create: Any) -> None:
    """An engine that looks at every twelfth value to guess a type sees nothing here."""
    n = 12_000
    notes = create()
    columns = {
        "documents": [f"text {i}" if i % 3 else None for i in range(n)],
        "metadatas": [{"n": i} if i % 2 else None for i in range(n)],
    }
    for start in range(0, n, 4_000):
        part = slice(start, start + 4_000)
        notes.add(
            ids=[f"id-{i}" for i in range(n)[part]],
            embeddings=[[float(i), 1.0] for i in range(n)[part]],
            **{name: column[part] for name, column in columns.items()},
        )
    found = [notes.get(limit=4_000, offset=at) for at in range(0, n, 4_000)]
    for name, column in columns.items():
        assert [one for page in found for one in page[name]] == column


@pytest.mark.beyond_chroma("calls of more than 5,461 records", by="client")
def test_a_large_call_of_which_some_have_no_texts(create: Any) -> None:
    n = 12_000
    notes = create()
    metadatas = [{"n": i} if i % 2 else None for i in range(n)]
    notes.add(ids=[str(i) for i in range(n)], embeddings=[[1.0]] * n, metadatas=metadatas)
    assert notes.get(limit=5_000)["metadatas"] == metadatas[:5_000]


def test_storage_order_is_the_order_of_first_insertion(create: Any) -> None:
    notes = create()
    ids = ["m", "z", "a", "q", "b"]
    notes.add(
        ids=ids, embeddings=[[float(i)] for i in range(5)], metadatas=[{"n": i} for i in range(5)]
    )
    assert notes.get()["ids"] == ids
    assert notes.get(ids=["b", "m", "a"])["ids"] == ["m", "a", "b"]
    notes.update(ids="m", embeddings=[9.0], metadatas={"n": 9})
    notes.upsert(ids=["z", "new"], embeddings=[[8.0], [7.0]])
    notes.add(ids=["m"], embeddings=[[1.0]])
    assert notes.get()["ids"] == ["m", "z", "a", "q", "b", "new"]
    assert notes.get(where={"n": {"$gte": 3}})["ids"] == ["m", "q", "b"]
    assert notes.peek(limit=3)["ids"] == ["m", "z", "a"]
    notes.delete(ids="z")
    notes.add(ids="z", embeddings=[0.0])
    assert notes.get()["ids"] == ["m", "a", "q", "b", "new", "z"]


# -- get -----------------------------------------------------------------------------------------


def test_limit_and_offset_apply_after_the_filter(create: Any) -> None:
    notes = create()
    notes.add(
        ids=[f"i{i}" for i in range(10)],
        embeddings=[[float(i)] for i in range(10)],
        metadatas=[{"odd": bool(i % 2)} for i in range(10)],
    )
    odd = {"odd": True}
    assert notes.get(where=odd)["ids"] == ["i1", "i3", "i5", "i7", "i9"]
    assert notes.get(where=odd, limit=2)["ids"] == ["i1", "i3"]
    assert notes.get(where=odd, offset=3)["ids"] == ["i7", "i9"]
    assert notes.get(where=odd, limit=2, offset=1)["ids"] == ["i3", "i5"]
    assert notes.get(where=odd, limit=2, offset=4)["ids"] == ["i9"]
    assert notes.get(limit=0)["ids"] == []
    assert notes.get(offset=10)["ids"] == []
    assert notes.get(offset=1000, limit=5)["ids"] == []
    assert notes.get(limit=1000)["ids"] == [f"i{i}" for i in range(10)]
    assert notes.get(ids=["i8", "i2", "i4"], limit=2)["ids"] == ["i2", "i4"]


def test_ids_and_filters_are_combined_with_and(notes: Any) -> None:
    assert notes.get(ids=["a", "b"], where={"k": "w"})["ids"] == ["b"]
    assert notes.get(ids=["a", "c"], where_document={"$contains": "gamma"})["ids"] == ["c"]
    assert notes.get(where={"k": "v"}, where_document={"$contains": "gamma"})["ids"] == []
    assert notes.get(ids=["b"], where={"k": "v"})["ids"] == []


def test_unknown_ids_are_left_out(notes: Any) -> None:
    assert notes.get(ids=["nope"])["ids"] == []
    assert notes.get(ids=["nope", "b"])["ids"] == ["b"]


def test_explicit_nones(notes: Any) -> None:
    """LangChain passes every argument."""
    got = notes.get(ids=None, where=None, limit=None, offset=None, where_document=None)
    assert got["ids"] == ["a", "b", "c"]
    found = notes.query(
        query_texts=None,
        query_embeddings=[[1.0, 0.0]],
        n_results=2,
        where=None,
        where_document=None,
    )
    assert found["ids"] == [["a", "b"]]


# -- big calls -----------------------------------------------------------------------------------


@pytest.mark.quirk(
    "InternalError above 5,461; advice (LlamaIndex sends 41,665): split inside", by="client"
)
def test_a_batch_of_41665_is_accepted(create: Any) -> None:
    n = 41_665
    notes = create()
    vectors = np.arange(n * 2, dtype=np.float32).reshape(n, 2)
    ids = [f"id-{i}" for i in range(n)]
    notes.add(ids=ids, embeddings=vectors, metadatas=[{"n": i} for i in range(n)])
    assert notes.count() == n
    got = notes.get(where={"n": {"$in": [0, 5_461, n - 1]}}, include=["embeddings"])
    assert got["ids"] == ["id-0", "id-5461", f"id-{n - 1}"]
    assert got["embeddings"].tolist() == vectors[[0, 5_461, n - 1]].tolist()
    assert notes.get(include=[])["ids"] == ids
    assert notes.delete(ids=ids) == {"deleted": n}
    assert notes.count() == 0


def test_a_batch_that_fails_writes_nothing(create: Any, errors: Any) -> None:
    """Wrong input in the last record: the records before it are not written either."""
    notes = create()
    notes.add(ids="first", embeddings=[0.0, 0.0])
    vectors = [[float(i), 1.0] for i in range(50)]
    with pytest.raises(errors.InvalidArgumentError):
        notes.add(ids=[str(i) for i in range(50)], embeddings=[*vectors[:-1], [1.0, float("nan")]])
    with pytest.raises(ValueError, match="Expected metadata value"):
        notes.add(
            ids=[str(i) for i in range(50)],
            embeddings=vectors,
            metadatas=[{"n": 1}] * 49 + [{"n": object()}],
        )
    assert notes.get()["ids"] == ["first"]
