"""The part of `APIContract` about records: adding, changing, deleting, reading."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from chroma_nb.errors import (
    IDAlreadyExistsError,
    InvalidArgumentError,
)
from chroma_nb.testing import cases
from chroma_nb.testing._api_base import (
    EVERYTHING,
    PLACE,
    APITests,
    batch_of,
    create,
    rows,
    vectors_of,
)
from chroma_nb.types import RecordBatch

if TYPE_CHECKING:
    import uuid

    from chroma_nb.api.base import API


class RecordTests(APITests):
    """Tests of what an API does with records."""

    # -- adding -------------------------------------------------------------------------------

    def test_what_was_added_is_there_when_it_returns(self, api: API, notes: uuid.UUID) -> None:
        assert api.count(notes, **PLACE) == 3
        assert rows(api, notes) == {
            "a": ([1.0, 0.0], "alpha", {"k": "v", "n": 1}, "file:///a"),
            "b": ([0.0, 1.0], None, {"k": "w", "n": 2}, None),
            "c": ([2.0, 2.0], "gamma", None, None),
        }
        assert api.get_collection_by_id(notes, **PLACE).dimension == 2

    def test_an_id_that_is_there_is_skipped(self, api: API, notes: uuid.UUID) -> None:
        before = rows(api, notes)
        batch = batch_of(["a", "d"], [[9.0, 9.0], [8.0, 8.0]], documents=["other", "new"])
        api.add(notes, batch, **PLACE)
        after = rows(api, notes)
        assert after == {**before, "d": ([8.0, 8.0], "new", None, None)}
        assert list(after) == ["a", "b", "c", "d"]

    def test_an_id_that_is_there_is_an_error(self, api: API, notes: uuid.UUID) -> None:
        before = rows(api, notes)
        batch = batch_of(["d", "b", "e"], [[9.0, 9.0], [8.0, 8.0], [7.0, 7.0]])
        with pytest.raises(IDAlreadyExistsError, match=r"\bb\b"):
            api.add(notes, batch, on_conflict="error", **PLACE)
        assert rows(api, notes) == before
        api.add(notes, batch_of(["d"], [[9.0, 9.0]]), on_conflict="error", **PLACE)
        assert api.count(notes, **PLACE) == 4

    def test_an_id_that_is_there_is_replaced_whole(self, api: API, notes: uuid.UUID) -> None:
        batch = batch_of(["a", "d"], [[9.0, 9.0], [8.0, 8.0]], metadatas=[{"z": 1}, {"z": 2}])
        api.add(notes, batch, on_conflict="replace", **PLACE)
        after = rows(api, notes)
        assert list(after) == ["a", "b", "c", "d"], "it keeps its place"
        assert after["a"] == ([9.0, 9.0], None, {"z": 1}, None)
        assert api.get(notes, where={"k": "v"}, **PLACE).ids == []
        assert api.get(notes, where_document={"$contains": "alpha"}, **PLACE).ids == []
        assert api.query(notes, vectors_of([[9.0, 9.0]]), 9, **PLACE).ids == [["a", "d", "c", "b"]]

    def test_a_vector_of_another_dimension_is_refused(self, api: API, notes: uuid.UUID) -> None:
        before = rows(api, notes)
        batch = batch_of(["d", "a"], [[1.0, 2.0, 3.0]] * 2)
        for call in (api.add, api.update, api.upsert):
            with pytest.raises(InvalidArgumentError, match="dimension of 2, got 3"):
                call(notes, batch, **PLACE)
        with pytest.raises(InvalidArgumentError, match="dimension of 2, got 3"):
            api.query(notes, vectors_of([[1.0, 2.0, 3.0]]), 1, **PLACE)
        assert rows(api, notes) == before
        api.delete(notes, ids=["a", "b", "c"], **PLACE)
        with pytest.raises(InvalidArgumentError, match="dimension of 2, got 3"):
            api.add(notes, batch, **PLACE)

    def test_texts_and_values_are_returned_unchanged(self, api: API) -> None:
        docs = create(api, "docs").id
        texts = ["", "a'b\"c", "näïve 😀", "line\nbreak\ttab\\", "%_", "null", "\x01", "a\0b"]
        values = ["", 1, 0, -5, 2**62, -(2**63), 1.5, 1.0, 1e300, True, False]
        lists = [["x", "y"], [1, 2, 1], [1.5, 2.0], [True, False]]
        metadata = {f"{at}": value for at, value in enumerate([*texts, *values, *lists])}
        ids = [f"id-{text}" for text in texts]
        batch = batch_of(
            ids,
            [[float(at)] for at in range(len(texts))],
            documents=texts,
            uris=texts,
            metadatas=[{**metadata, f"key-{text}": text} for text in texts],
        )
        api.add(docs, batch, **PLACE)
        found = api.get(docs, include=EVERYTHING, **PLACE)
        assert (found.ids, found.documents, found.uris) == (ids, texts, texts)
        assert found.metadatas == batch.metadatas
        for row in found.metadatas or ():
            assert row is not None
            assert {key: type(row[key]) for key in metadata} == {
                key: type(value) for key, value in metadata.items()
            }
        for id, text in zip(ids, texts, strict=True):
            assert api.get(docs, ids=[id], **PLACE).documents == [text]
            assert api.get(docs, where={f"key-{text}": text}, **PLACE).ids == [id]

    def test_vectors_are_kept_as_float32(self, api: API) -> None:
        for space in ("l2", "cosine", "ip"):
            docs = create(api, f"docs-{space}", space).id
            vectors = np.random.default_rng(7).normal(size=(20, 5)).astype(np.float32)
            api.add(docs, batch_of([str(at) for at in range(20)], vectors), **PLACE)
            found = api.get(docs, include=("embeddings",), **PLACE).embeddings
            assert found is not None
            assert (str(found.dtype), found.shape) == ("float32", (20, 5))
            np.testing.assert_array_equal(found, vectors, err_msg=space)

    def test_what_the_caller_has_is_the_callers(self, api: API) -> None:
        docs = create(api, "docs").id
        batch = batch_of(["a"], [[1.0, 2.0]], metadatas=[{"tags": ["x"]}], documents=["d"])
        api.add(docs, batch, **PLACE)
        assert batch.embeddings is not None
        batch.embeddings[:] = 9.0
        batch.metadatas[0]["tags"].append("y")  # type: ignore[index]
        expected = {"a": ([1.0, 2.0], "d", {"tags": ["x"]}, None)}
        # A second time: a cache would have kept what was changed.
        for _ in range(2):
            assert rows(api, docs) == expected
            found: Any = api.get(docs, include=EVERYTHING, **PLACE)
            found.embeddings[:] = 0.0
            found.metadatas[0]["tags"].append("y")
            found.ids.append("z")

    # -- changing and deleting ----------------------------------------------------------------

    def test_an_update_changes_what_is_given(self, api: API, notes: uuid.UUID) -> None:
        before = rows(api, notes)
        api.update(notes, batch_of(["a", "b"]), **PLACE)
        api.update(notes, batch_of(["nope"], [[1.0, 1.0]], metadatas=[{"k": 1}]), **PLACE)
        assert rows(api, notes) == before
        api.update(notes, batch_of(["a"], [[6.0, 6.0]]), **PLACE)
        assert rows(api, notes)["a"] == ([6.0, 6.0], *before["a"][1:])
        batch = batch_of(
            ["a", "nope", "b"],
            metadatas=[None, {"x": 1}, {"k": "z"}],
            documents=[None, "no", "beta"],
        )
        api.update(notes, batch, **PLACE)
        assert rows(api, notes) == {
            "a": ([6.0, 6.0], *before["a"][1:]),
            "b": ([0.0, 1.0], "beta", {"k": "z", "n": 2}, None),
            "c": before["c"],
        }
        assert list(rows(api, notes)) == ["a", "b", "c"]
        assert api.query(notes, vectors_of([[6.0, 6.0]]), 1, **PLACE).distances == [[0.0]]
        some = RecordBatch(
            ["a", "b"],
            vectors_of([[7.0, 7.0], [8.0, 8.0]]),
            documents=["new", None],
            embedded=np.array([False, True]),
        )
        api.update(notes, some, **PLACE)
        assert rows(api, notes)["a"][:2] == ([6.0, 6.0], "new"), "its embedding was not given"
        assert rows(api, notes)["b"][:2] == ([8.0, 8.0], "beta")

    def test_metadata_is_merged(self, api: API) -> None:
        docs = create(api, "docs").id
        ways = ("update", "upsert")
        names = [f"{name} {way}" for name, _, _ in cases.MERGES for way in ways]
        old = {"a": 1, "b": "x", "l": ["p"]}
        n = len(names)
        api.add(
            docs, batch_of(names, [[1.0]] * n, metadatas=[old] * n, documents=["d"] * n), **PLACE
        )
        for name, given, _ in cases.MERGES:
            api.update(docs, batch_of([f"{name} update"], metadatas=[given]), **PLACE)
            api.upsert(docs, batch_of([f"{name} upsert"], [[1.0]], metadatas=[given]), **PLACE)
        found = rows(api, docs)
        expected = {f"{name} {way}": then for name, _, then in cases.MERGES for way in ways}
        assert {name: row[2] for name, row in found.items()} == expected
        kinds = {name: _kinds(row[2]) for name, row in found.items()}
        assert kinds == {name: _kinds(then) for name, then in expected.items()}
        assert {row[1] for row in found.values()} == {"d"}

    def test_a_sparse_vector_is_a_value(self, api: API) -> None:
        docs = create(api, "docs").id
        vector = {"#type": "sparse_vector", "indices": [1, 2**32 - 1], "values": [0.5, -1.0]}
        labelled = {**vector, "tokens": ["<b>", "x"]}
        metadatas = [{"sp": vector, "k": 1}, {"sp": labelled}, {"k": 2}]
        api.add(docs, batch_of(["a", "b", "c"], [[1.0]] * 3, metadatas=metadatas), **PLACE)
        api.update(docs, batch_of(["a"], metadatas=[{"k": 3}]), **PLACE)
        assert [row[2] for row in rows(api, docs).values()] == [
            {"sp": vector, "k": 3},
            *metadatas[1:],
        ]
        for condition in ({"$eq": "x"}, {"$gt": 0}, {"$contains": 1}, {"$in": [0.5]}):
            assert api.get(docs, where={"sp": condition}, **PLACE).ids == []
        assert api.get(docs, where={"sp": {"$ne": "x"}}, **PLACE).ids == ["a", "b", "c"]
        fields = {field.key: field for field in api.describe_fields(docs, **PLACE)}
        assert (fields["sp"].kinds, fields["sp"].n_records) == (("SparseVector",), 2)
        assert (fields["sp"].values, fields["sp"].n_distinct) == ([], 0)

    def test_filters_see_what_was_changed(self, api: API, notes: uuid.UUID) -> None:
        def found(where: Any = None, where_document: Any = None) -> list[str]:
            return api.get(notes, where=where, where_document=where_document, **PLACE).ids

        assert found({"k": "v"}) == ["a"]
        assert found(None, {"$contains": "alpha"}) == ["a"]
        batch = batch_of(["a"], metadatas=[{"k": "new", "n": None}], documents=["other"])
        api.update(notes, batch, **PLACE)
        assert found({"k": "v"}) == []
        assert found({"k": "new"}) == ["a"]
        assert found({"n": {"$gte": 0}}) == ["b"]
        assert found(None, {"$contains": "alpha"}) == []
        assert found(None, {"$contains": "other"}) == ["a"]

    def test_an_upsert_inserts_and_updates(self, api: API, notes: uuid.UUID) -> None:
        before = rows(api, notes)
        batch = batch_of(
            ["d", "a"],
            [[4.0, 4.0], [5.0, 5.0]],
            metadatas=[{"k": "new"}, {"z": 1}],
            documents=["delta", None],
        )
        for _ in range(2):
            api.upsert(notes, batch, **PLACE)
            assert rows(api, notes) == {
                **before,
                "a": ([5.0, 5.0], "alpha", {"k": "v", "n": 1, "z": 1}, "file:///a"),
                "d": ([4.0, 4.0], "delta", {"k": "new"}, None),
            }
        assert list(rows(api, notes)) == ["a", "b", "c", "d"]

    def test_a_deletion_says_how_many_there_were(self, api: API, notes: uuid.UUID) -> None:
        assert api.delete(notes, ids=["a", "nope"], **PLACE) == 1
        assert api.delete(notes, ids=["a"], **PLACE) == 0
        assert api.delete(notes, ids=["b", "c"], where={"k": "v"}, **PLACE) == 0
        assert api.delete(notes, where_document={"$contains": "gamma"}, **PLACE) == 1
        assert api.get(notes, **PLACE).ids == ["b"]
        many = batch_of([f"m{at}" for at in range(4)], [[1.0, 1.0]] * 4, metadatas=[{"m": 1}] * 4)
        api.add(notes, many, **PLACE)
        assert api.delete(notes, where={"m": 1}, limit=0, **PLACE) == 0
        assert api.delete(notes, where={"m": 1}, limit=3, **PLACE) == 3
        assert api.get(notes, **PLACE).ids == ["b", "m3"], "the first ones went"
        assert api.count(notes, **PLACE) == 2
        assert api.query(notes, vectors_of([[1.0, 1.0]]), 9, **PLACE).ids == [["m3", "b"]]

    def test_a_deleted_record_comes_back_as_another(self, api: API, notes: uuid.UUID) -> None:
        api.delete(notes, ids=["a"], **PLACE)
        api.add(notes, batch_of(["a"], [[3.0, 3.0]]), **PLACE)
        assert rows(api, notes)["a"] == ([3.0, 3.0], None, None, None)
        assert api.get(notes, **PLACE).ids == ["b", "c", "a"]
        assert api.get(notes, where={"k": "v"}, **PLACE).ids == []

    # -- reading ------------------------------------------------------------------------------

    def test_what_is_not_asked_for_is_none(self, api: API, notes: uuid.UUID) -> None:
        found = api.get(notes, **PLACE)
        assert found.ids == ["a", "b", "c"]
        assert (found.embeddings, found.uris) == (None, None)
        assert found.documents == ["alpha", None, "gamma"]
        matches = api.query(notes, vectors_of([[1.0, 0.0]]), 2, **PLACE)
        assert (matches.embeddings, matches.uris) == (None, None)
        assert (matches.documents, matches.distances) == ([["alpha", None]], [[0.0, 2.0]])
        for name in EVERYTHING:
            found = api.get(notes, include=(name,), **PLACE)
            matches = api.query(notes, vectors_of([[1.0, 0.0]]), 1, include=(name,), **PLACE)
            for answer in (found, matches):
                there = [one for one in EVERYTHING if getattr(answer, one) is not None]
                assert there == [name]
            assert matches.distances is None

    def test_records_come_in_storage_order(self, api: API) -> None:
        docs = create(api, "docs").id
        ids = ["m", "z", "a", "q", "b"]
        numbers = [{"n": at} for at in range(5)]
        api.add(docs, batch_of(ids, [[float(at)] for at in range(5)], metadatas=numbers), **PLACE)
        api.update(docs, batch_of(["m"], [[9.0]], metadatas=[{"n": 9}]), **PLACE)
        api.upsert(docs, batch_of(["z", "new"], [[8.0], [7.0]]), **PLACE)
        assert api.get(docs, **PLACE).ids == [*ids, "new"]
        assert api.get(docs, ids=["b", "m", "none", "a"], **PLACE).ids == ["m", "a", "b"]
        assert api.get(docs, limit=2, offset=3, **PLACE).ids == ["q", "b"]
        assert api.get(docs, limit=0, **PLACE).ids == []
        assert api.get(docs, offset=100, **PLACE).ids == []
        where: Any = {"n": {"$gte": 2}}
        assert api.get(docs, where=where, **PLACE).ids == ["m", "a", "q", "b"]
        assert api.get(docs, where=where, limit=2, offset=1, **PLACE).ids == ["a", "q"]
        assert api.get(docs, where=where, ids=["q", "z"], **PLACE).ids == ["q"]

    @pytest.mark.parametrize("is_loaded", [False, True], ids=["not loaded", "loaded"])
    def test_conditions_of_metadata(self, api: API, is_loaded: bool) -> None:
        docs = create(api, "docs").id
        vectors = [[float(at), 0.0] for at in range(len(cases.IDS))]
        api.add(docs, batch_of(cases.IDS, vectors, metadatas=cases.METADATAS), **PLACE)
        self._move(api, docs, is_loaded)
        near = vectors_of([[0.0, 0.0]])
        expected = [(where, ids.split()) for where, ids in cases.MEANINGS]
        assert [
            (where, api.get(docs, where=where, include=(), **PLACE).ids) for where, _ in expected
        ] == expected
        self._move(api, docs, is_loaded)
        # Distances grow in storage order.
        assert [
            (where, api.query(docs, near, 10, where=where, include=(), **PLACE).ids[0])
            for where, _ in expected
        ] == expected

    @pytest.mark.parametrize("is_loaded", [False, True], ids=["not loaded", "loaded"])
    def test_conditions_of_documents(self, api: API, is_loaded: bool) -> None:
        docs = create(api, "docs").id
        vectors = [[float(at), 0.0] for at in range(len(cases.DOCS))]
        api.add(docs, batch_of(cases.DOCS, vectors, documents=cases.TEXTS), **PLACE)
        self._move(api, docs, is_loaded)
        near = vectors_of([[0.0, 0.0]])
        expected = [(where, ids.split()) for where, ids in cases.DOCUMENT_MEANINGS]
        assert [
            (where, api.get(docs, where_document=where, include=(), **PLACE).ids)
            for where, _ in expected
        ] == expected
        assert [
            (where, api.query(docs, near, 10, where_document=where, include=(), **PLACE).ids[0])
            for where, _ in expected
        ] == expected

    def _move(self, api: API, collection_id: uuid.UUID, is_loaded: bool) -> None:
        move = api.load if is_loaded else api.unload
        move(collection_id, **PLACE)

    def test_conditions_that_are_refused(self, api: API, notes: uuid.UUID) -> None:
        refused = [("where", *case) for case in cases.REFUSED]
        refused += [("where", where, "") for where in cases.MEANINGLESS]
        refused += [("where_document", *case) for case in cases.DOCUMENT_REFUSED]
        near = vectors_of([[1.0, 0.0]])
        for name, condition, message in refused:
            given: Any = {name: condition}
            for call in (
                lambda given=given: api.get(notes, **given, **PLACE),
                lambda given=given: api.query(notes, near, 1, **given, **PLACE),
                lambda given=given: api.delete(notes, **given, **PLACE),
            ):
                with pytest.raises(ValueError, match=re.escape(message) or None):
                    call()
        assert api.count(notes, **PLACE) == 3


def _kinds(metadata: dict[str, Any] | None) -> dict[str, type]:
    return {key: type(value) for key, value in (metadata or {}).items()}
