"""Results: shapes, kinds and order of what get, peek and query return; sections 4.1 and 7."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

GET_KEYS = {"ids", "embeddings", "documents", "uris", "included", "data", "metadatas"}
QUERY_KEYS = {*GET_KEYS, "distances"}
ALL_PARTS = ["embeddings", "documents", "metadatas", "uris", "distances"]


# -- get -----------------------------------------------------------------------------------------


def test_get_by_default(notes: Any) -> None:
    assert notes.get() == {
        "ids": ["a", "b", "c"],
        "embeddings": None,
        "documents": ["alpha", None, "gamma"],
        "uris": None,
        "included": ["metadatas", "documents"],
        "data": None,
        "metadatas": [{"k": "v", "n": 1}, {"k": "w", "n": 2}, None],
    }
    assert isinstance(notes.get(), dict)


@pytest.mark.parametrize(
    "include",
    [[], ["documents"], ["metadatas"], ["embeddings"], ["uris"], ["documents", "embeddings"]],
    ids=lambda include: "+".join(include) or "nothing",
)
def test_get_has_every_key_and_fills_what_is_included(notes: Any, include: list[str]) -> None:
    got = notes.get(include=list(include))
    assert set(got) == GET_KEYS
    assert got["ids"] == ["a", "b", "c"]
    assert got["included"] == include
    for part in ("documents", "metadatas", "embeddings", "uris"):
        assert (got[part] is not None) == (part in include), part
    assert got["data"] is None


def test_included_echoes_the_request_in_its_order(notes: Any) -> None:
    assert notes.get(include=["embeddings", "documents"])["included"] == ["embeddings", "documents"]
    found = notes.query(query_embeddings=[1.0, 0.0], include=["distances", "documents"])
    assert found["included"] == ["distances", "documents"]


def test_embeddings_of_get_are_one_float64_array(notes: Any) -> None:
    notes.upsert(ids="d", embeddings=[0.1, 0.2])
    embeddings = notes.get(include=["embeddings"])["embeddings"]
    assert isinstance(embeddings, np.ndarray)
    assert embeddings.dtype == np.float64
    assert embeddings.shape == (4, 2)
    assert embeddings[3].tolist() == [0.10000000149011612, 0.20000000298023224]


def test_get_of_nothing(create: Any) -> None:
    notes = create()
    for got in (notes.get(include=["embeddings", "documents", "metadatas", "uris"]),):
        assert isinstance(got["embeddings"], np.ndarray)
        assert got["embeddings"].shape == (0,)
        assert got["embeddings"].dtype == np.float64
        assert (got["ids"], got["documents"], got["metadatas"], got["uris"]) == ([], [], [], [])
    notes.add(ids="a", embeddings=[1.0, 2.0])
    got = notes.get(ids=["nope"], include=["embeddings", "documents", "metadatas"])
    assert got["embeddings"].shape == (0,)
    assert (got["ids"], got["documents"], got["metadatas"]) == ([], [], [])


def test_uris(create: Any) -> None:
    notes = create()
    notes.add(ids=["a", "b"], embeddings=[[1.0], [2.0]], uris=["file:///a", None])
    assert notes.get(include=["uris"])["uris"] == ["file:///a", None]
    found = notes.query(query_embeddings=[[1.0]], include=["uris"])
    assert found["uris"] == [["file:///a", None]]
    assert notes.get()["uris"] is None


def test_kinds_in_results(notes: Any) -> None:
    got = notes.get()
    assert all(type(part) is list for part in (got["ids"], got["documents"], got["metadatas"]))
    assert type(got["ids"][0]) is str
    assert type(got["metadatas"][0]) is dict
    assert type(got["metadatas"][0]["n"]) is int


# -- peek ----------------------------------------------------------------------------------------


def test_peek(notes: Any) -> None:
    got = notes.peek(limit=2)
    assert set(got) == GET_KEYS
    assert got["ids"] == ["a", "b"]
    assert got["documents"] == ["alpha", None]
    assert got["metadatas"] == [{"k": "v", "n": 1}, {"k": "w", "n": 2}]
    assert isinstance(got["embeddings"], np.ndarray)
    assert got["embeddings"].tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert got["uris"] is None
    assert set(got["included"]) == {"metadatas", "documents", "embeddings"}
    assert notes.peek(0)["ids"] == []


def test_peek_shows_ten(create: Any) -> None:
    notes = create()
    notes.add(ids=[f"i{i}" for i in range(15)], embeddings=[[float(i)] for i in range(15)])
    assert notes.peek()["ids"] == [f"i{i}" for i in range(10)]
    assert notes.peek(100)["ids"] == [f"i{i}" for i in range(15)]


def test_peek_into_nothing(create: Any) -> None:
    got = create().peek()
    assert got["ids"] == []
    assert got["embeddings"].shape == (0,)
    assert got["documents"] == []


# -- query ---------------------------------------------------------------------------------------


def test_query_by_default(notes: Any) -> None:
    assert notes.query(query_embeddings=[[1.0, 0.0], [2.0, 1.5]], n_results=2) == {
        "ids": [["a", "b"], ["c", "a"]],
        "embeddings": None,
        "documents": [["alpha", None], ["gamma", "alpha"]],
        "uris": None,
        "included": ["metadatas", "documents", "distances"],
        "data": None,
        "metadatas": [
            [{"k": "v", "n": 1}, {"k": "w", "n": 2}],
            [None, {"k": "v", "n": 1}],
        ],
        "distances": [[0.0, 2.0], [0.25, 3.25]],
    }


@pytest.mark.parametrize(
    "include",
    [[], *[[part] for part in ALL_PARTS], ["documents", "distances"], ALL_PARTS],
    ids=lambda include: "+".join(include) or "nothing",
)
def test_query_has_every_key_and_fills_what_is_included(notes: Any, include: list[str]) -> None:
    found = notes.query(query_embeddings=[[1.0, 0.0]], n_results=2, include=list(include))
    assert set(found) == QUERY_KEYS
    assert found["ids"] == [["a", "b"]]
    assert found["included"] == include
    for part in ALL_PARTS:
        assert (found[part] is not None) == (part in include), part
        if part in include:
            assert len(found[part]) == 1
            assert len(found[part][0]) == 2


def test_embeddings_of_query_are_a_list_of_arrays(notes: Any) -> None:
    """LlamaIndex asks for the truth of it: an array of two rows would raise."""
    found = notes.query(
        query_embeddings=[[1.0, 0.0], [0.0, 1.0]], n_results=2, include=["embeddings"]
    )
    assert type(found["embeddings"]) is list
    assert [type(e) for e in found["embeddings"]] == [np.ndarray, np.ndarray]
    assert [e.dtype for e in found["embeddings"]] == [np.float64, np.float64]
    assert found["embeddings"][1].tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert bool(found["embeddings"])


def test_query_of_nothing(create: Any) -> None:
    notes = create()
    found = notes.query(query_embeddings=[[1.0, 2.0], [3.0, 4.0]], include=list(ALL_PARTS))
    assert found["ids"] == [[], []]
    assert found["documents"] == found["metadatas"] == found["distances"] == [[], []]
    assert found["uris"] == [[], []]
    assert type(found["embeddings"]) is list
    assert [e.shape for e in found["embeddings"]] == [(0,), (0,)]
    notes.add(ids="a", embeddings=[1.0, 2.0])
    found = notes.query(query_embeddings=[[1.0, 2.0]], where={"k": 1}, include=list(ALL_PARTS))
    assert (found["ids"], found["distances"]) == ([[]], [[]])
    assert [e.shape for e in found["embeddings"]] == [(0,)]


def test_distances_are_plain_floats_nearest_first(create: Any) -> None:
    notes = create()
    vectors = np.random.default_rng(3).normal(size=(40, 4)).astype(np.float32)
    notes.add(ids=[str(i) for i in range(40)], embeddings=vectors)
    found = notes.query(query_embeddings=vectors[:3], n_results=40)
    for row, (ids, distances) in enumerate(zip(found["ids"], found["distances"], strict=True)):
        assert type(distances) is list
        assert all(type(d) is float for d in distances)
        assert distances == sorted(distances)
        assert len(set(ids)) == 40
        expected = ((vectors[[int(i) for i in ids]] - vectors[row]) ** 2).sum(axis=1)
        assert distances == pytest.approx(expected.tolist(), rel=1e-4, abs=1e-5)


def test_more_results_than_there_are(notes: Any) -> None:
    assert len(notes.query(query_embeddings=[1.0, 0.0], n_results=100)["ids"][0]) == 3


def test_query_is_restricted_to_ids(notes: Any) -> None:
    assert notes.query(query_embeddings=[1.0, 0.0], ids=["b", "c"])["ids"] == [["b", "c"]]
    assert notes.query(query_embeddings=[1.0, 0.0], ids=["c", "b"], n_results=1)["ids"] == [["b"]]
    assert notes.query(query_embeddings=[1.0, 0.0], ids=[])["ids"] == [[]]
    found = notes.query(query_embeddings=[1.0, 0.0], ids=["a", "b"], where={"k": "w"})
    assert found["ids"] == [["b"]]


def test_a_query_within_ids_that_are_not_there(notes: Any, errors: Any) -> None:
    for ids in (["nope", "b"], ["nope"]):
        with pytest.raises(errors.InternalError, match="Error finding id"):
            notes.query(query_embeddings=[1.0, 0.0], ids=ids)
    assert notes.query(query_embeddings=[1.0, 0.0], ids=["b", "c"])["ids"] == [["b", "c"]]
    assert notes.query(query_embeddings=[1.0, 0.0], ids=[])["ids"] == [[]]
    # Beside a filter an id that is not there is one more record that does not match.
    found = notes.query(query_embeddings=[1.0, 0.0], ids=["nope", "b"], where={"k": "w"})
    assert found["ids"] == [["b"]]


@pytest.mark.quirk("does not say which; advice: name them", by="both")
def test_ids_that_are_not_there_are_named(notes: Any) -> None:
    with pytest.raises(Exception, match=r"1 of 2 ids are not in collection .notes.: 'nope'"):
        notes.query(query_embeddings=[1.0, 0.0], ids=["nope", "b"])


def test_a_query_within_ids_of_an_empty_collection(create: Any) -> None:
    assert create().query(query_embeddings=[1.0, 0.0], ids=["nope"])["ids"] == [[]]


def test_a_narrow_filter_returns_every_match(create: Any) -> None:
    """An exact store returns exactly min(n_results, matches), however narrow the filter is."""
    notes = create()
    n = 2_000
    vectors = np.random.default_rng(5).normal(size=(n, 8)).astype(np.float32)
    notes.add(
        ids=[str(i) for i in range(n)],
        embeddings=vectors,
        metadatas=[{"rare": i % 400 == 7} for i in range(n)],
    )
    found = notes.query(query_embeddings=vectors[0], n_results=10, where={"rare": True})
    assert sorted(found["ids"][0], key=int) == ["7", "407", "807", "1207", "1607"]


def test_a_query_leaves_its_arguments_alone(notes: Any) -> None:
    include = ["documents"]
    where = {"k": {"$in": ["v", "w"]}}
    vectors = [[1.0, 0.0]]
    notes.query(query_embeddings=vectors, include=include, where=where)
    notes.get(include=include, where=where)
    assert (include, where, vectors) == (["documents"], {"k": {"$in": ["v", "w"]}}, [[1.0, 0.0]])


# -- distances -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ("l2", {"a": 2.0, "b": 5.0, "z": 5.0, "n": 41.0}),
        ("cosine", {"a": 0.20000005, "b": 0.2928933, "z": 1.0, "n": 1.8}),
        ("ip", {"a": -3.0, "b": -4.0, "z": 1.0, "n": 9.0}),
    ],
)
def test_distances(create: Any, space: str, expected: dict[str, float]) -> None:
    notes = create(configuration={"hnsw": {"space": space}})
    notes.add(
        ids=["a", "b", "z", "n"],
        embeddings=[[1.0, 2.0], [3.0, -1.0], [0.0, 0.0], [-2.0, -4.0]],
    )
    found = notes.query(query_embeddings=[2.0, 1.0])
    assert dict(zip(found["ids"][0], found["distances"][0], strict=True)) == {
        key: pytest.approx(value, abs=1e-6) for key, value in expected.items()
    }
    assert found["distances"][0] == sorted(found["distances"][0])


def test_a_zero_query_in_cosine_is_one_from_everything(create: Any) -> None:
    notes = create(configuration={"hnsw": {"space": "cosine"}})
    notes.add(ids=["a", "z"], embeddings=[[1.0, 2.0], [0.0, 0.0]])
    assert notes.query(query_embeddings=[0.0, 0.0])["distances"] == [[1.0, 1.0]]


def test_ties_are_all_found(create: Any) -> None:
    notes = create()
    notes.add(ids=["p", "q", "r"], embeddings=[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    found = notes.query(query_embeddings=[0.0, 0.0])
    assert sorted(found["ids"][0]) == ["p", "q", "r"]
    assert found["distances"] == [[1.0, 1.0, 1.0]]


@pytest.mark.quirk(
    "unspecified with a graph; advice: storage order where the search is exact",
    always=False,
    by="server",
)
def test_ties_come_in_storage_order(create: Any) -> None:
    notes = create()
    notes.add(ids=["r", "p", "q"], embeddings=[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    notes.update(ids="r", embeddings=[0.0, -1.0])
    assert notes.query(query_embeddings=[0.0, 0.0])["ids"] == [["r", "p", "q"]]
    assert notes.query(query_embeddings=[0.0, 0.0], n_results=2)["ids"] == [["r", "p"]]


def test_what_was_added_is_found_at_once(create: Any) -> None:
    notes = create()
    for i in range(30):
        notes.add(ids=str(i), embeddings=[float(i), 1.0])
        assert notes.query(query_embeddings=[float(i), 1.0], n_results=1)["ids"] == [[str(i)]]
        assert notes.count() == i + 1


# -- data loaders --------------------------------------------------------------------------------


class Loader:
    def __init__(self) -> None:
        self.asked: list[Any] = []

    def __call__(self, uris: Any) -> list[Any]:
        self.asked.append(list(uris))
        return [None if uri is None else np.array([len(uri)]) for uri in uris]


def test_data_needs_a_loader(notes: Any) -> None:
    with pytest.raises(ValueError, match="You must set a data loader on the collection if loading"):
        notes.get(include=["data"])


def test_data_are_loaded_from_uris(client: Any) -> None:
    loader = Loader()
    notes = client.create_collection("docs", embedding_function=None, data_loader=loader)
    notes.add(ids=["a", "b"], embeddings=[[1.0], [2.0]], uris=["xx", "xxx"])
    got = notes.get(include=["data"])
    assert [int(item[0]) for item in got["data"]] == [2, 3]
    found = notes.query(query_embeddings=[[2.0]], include=["data", "distances"])
    assert [[int(item[0]) for item in row] for row in found["data"]] == [[3, 2]]
    assert loader.asked == [["xx", "xxx"], ["xxx", "xx"]]
    again = client.get_collection("docs", embedding_function=None, data_loader=loader)
    assert again.get(ids="a", include=["data"])["data"][0].tolist() == [2]
