"""`APIContract`: what every `API` has to do, in ids, arrays and filters.

What a person meets above it, the client and the collection, is the same for every API.
"""

from __future__ import annotations

import json
import threading
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from chroma_nb.api.base import API
from chroma_nb.embedding import StaticEmbeddingFunction, embed_documents
from chroma_nb.errors import (
    ChromaError,
    IDNotFoundError,
    InvalidArgumentError,
    NotFoundError,
    NotSupportedError,
    UniqueConstraintError,
)
from chroma_nb.testing._api_base import (
    CALLS,
    DATABASE,
    EVERYTHING,
    PLACE,
    TENANT,
    batch_of,
    configuration_of,
    create,
    rows,
    vectors_of,
)
from chroma_nb.testing._api_records import RecordTests
from chroma_nb.testing._api_scans import ScanTests
from chroma_nb.testing._api_search import SearchTests
from chroma_nb.types import UserIdentity

if TYPE_CHECKING:
    from collections.abc import Callable


class APIContract(RecordTests, SearchTests, ScanTests):
    """The tests of every `API`.

    A subclass says how one is made::

        class TestMine(chroma_nb.testing.APIContract):
            def make_api(self, settings):
                return MyAPI(settings)
    """

    # -- the store ----------------------------------------------------------------------------

    def test_others_embed_as_this_process_does_or_not_at_all(self, api: API) -> None:
        function, done = StaticEmbeddingFunction(), list[int]()
        texts = [f"the {n}th text of {n * n}" for n in range(600)]
        found = api.embed(function, texts, done.append)
        if found is None:
            assert not done
        else:
            assert sum(done) == len(texts)
            assert found.dtype == np.float32
            assert np.array_equal(found, embed_documents(function, texts))

    def test_it_says_what_it_is(self, api: API) -> None:
        assert isinstance(api, API)
        assert type(api.needs_db) is bool
        assert type(api.is_near) is bool
        assert isinstance(api.get_version(), str)
        assert api.get_version()
        assert api.get_max_batch_size() > 0
        assert isinstance(api.get_user_identity(), UserIdentity)

    def test_it_can_be_asked_briefly(self, api: API) -> None:
        for each in (600.0, None):
            with api.briefly(600.0, each):
                assert api.heartbeat() > 0
        assert api.heartbeat() > 0

    def test_the_clock_is_in_nanoseconds(self, api: API) -> None:
        first, second = api.heartbeat(), api.heartbeat()
        year_2020, year_2100 = 1_577_836_800 * 10**9, 4_102_444_800 * 10**9
        assert year_2020 < first <= second < year_2100

    def test_a_reset_store_is_new(self, api: API, notes: uuid.UUID) -> None:
        api.create_tenant("acme")
        assert api.reset() is True
        assert api.list_collections(**PLACE) == []
        assert [name for _, name in api.list_databases(TENANT)] == [DATABASE]
        with pytest.raises(NotFoundError):
            api.get_tenant("acme")
        with pytest.raises(NotFoundError):
            api.count(notes, **PLACE)
        assert api.count(create(api, "notes").id, **PLACE) == 0

    def test_a_closed_one_says_so(self, api: API, notes: uuid.UUID) -> None:
        with api as same:
            assert same is api
        api.close()
        for call in (
            lambda: api.list_collections(**PLACE),
            lambda: api.count(notes, **PLACE),
            lambda: api.get(notes, **PLACE),
            lambda: api.add(notes, batch_of(["d"], [[1.0, 1.0]]), **PLACE),
        ):
            with pytest.raises(ChromaError, match=self.says_closed):
                call()

    def test_one_that_is_abandoned_is_closed(self, api: API, notes: uuid.UUID) -> None:
        api.abandon()
        api.close()
        with pytest.raises(ChromaError, match=self.says_closed):
            api.count(notes, **PLACE)

    # -- tenants and databases ----------------------------------------------------------------

    def test_tenants(self, api: API) -> None:
        assert api.get_tenant(TENANT) == TENANT
        with pytest.raises(NotFoundError, match=r"Tenant \[acme\] not found"):
            api.get_tenant("acme")
        api.create_tenant("acme")
        assert api.get_tenant("acme") == "acme"
        with pytest.raises(UniqueConstraintError, match=r"Tenant \[acme\] already exists"):
            api.create_tenant("acme")

    def test_databases(self, api: API) -> None:
        api.create_tenant("acme")
        names = ["db3", "db1", "db2"]
        for name in names:
            api.create_database(name, "acme")
        with pytest.raises(UniqueConstraintError, match=r"Database \[db1\] already exists"):
            api.create_database("db1", "acme")
        listed = api.list_databases("acme")
        assert [name for _, name in listed] == names, "in order of creation"
        assert [api.get_database(name, "acme") for name in names] == [id for id, _ in listed]
        assert all(isinstance(id, uuid.UUID) for id, _ in listed)
        assert api.list_databases("acme", 1, 1) == listed[1:2]
        assert api.list_databases("acme", offset=2) == listed[2:]
        api.delete_database("db1", "acme")
        assert [name for _, name in api.list_databases("acme")] == ["db3", "db2"]
        calls: tuple[Callable[[], object], ...] = (
            lambda: api.get_database("db1", "acme"),
            lambda: api.delete_database("db1", "acme"),
            lambda: api.get_database("db2", TENANT),
        )
        for call in calls:
            with pytest.raises(NotFoundError, match=r"Database \[db[12]\] not found"):
                call()
        calls = (
            lambda: api.create_database("db1", "none"),
            lambda: api.list_databases("none"),
            lambda: api.get_database(DATABASE, "none"),
        )
        for call in calls:
            with pytest.raises(NotFoundError, match=r"Tenant \[none\] not found"):
                call()

    def test_a_database_goes_with_its_collections(self, api: API) -> None:
        at: Any = {"tenant": TENANT, "database": "more"}
        api.create_database("more", TENANT)
        docs = create(api, "docs", **at)
        api.add(docs.id, batch_of(["a"], [[1.0]]), **at)
        api.delete_database("more", TENANT)
        with pytest.raises(NotFoundError):
            api.list_collections(**at)
        with pytest.raises(NotFoundError):
            api.count(docs.id, **at)
        api.create_database("more", TENANT)
        assert api.list_collections(**at) == []

    # -- collections --------------------------------------------------------------------------

    def test_a_collection_is_created_and_found(self, api: API) -> None:
        metadata = {"s": "x", "i": 1, "f": 1.5, "b": True}
        made = api.create_collection(
            "docs", configuration_of("cosine"), metadata, get_or_create=False, **PLACE
        )
        assert isinstance(made.id, uuid.UUID)
        assert (made.name, made.tenant, made.database) == ("docs", TENANT, DATABASE)
        assert (made.space, made.dimension, made.ttl_seconds) == ("cosine", None, None)
        assert made.metadata == metadata
        assert {key: type(value) for key, value in made.metadata.items()} == {
            key: type(value) for key, value in metadata.items()
        }
        assert api.get_collection("docs", **PLACE) == made
        assert api.get_collection_by_id(made.id, **PLACE) == made
        for name in ("Docs", "doc", str(made.id)):
            with pytest.raises(NotFoundError, match=rf"Collection \[{name}\] does not exist"):
                api.get_collection(name, **PLACE)
        with pytest.raises(NotFoundError, match="does not exist"):
            api.get_collection_by_id(uuid.uuid4(), **PLACE)

    def test_collections_are_listed_in_order_of_creation(self, api: API) -> None:
        assert api.list_collections(**PLACE) == []
        made = [create(api, f"docs-{i}") for i in (5, 3, 9, 1, 7)]
        assert api.list_collections(**PLACE) == made
        assert api.count_collections(**PLACE) == 5
        assert api.list_collections(2, 1, **PLACE) == made[1:3]
        assert api.list_collections(offset=4, **PLACE) == made[4:]
        assert api.list_collections(limit=0, **PLACE) == []
        assert api.list_collections(offset=100, **PLACE) == []

    def test_a_name_that_is_taken(self, api: API, notes: uuid.UUID) -> None:
        with pytest.raises(UniqueConstraintError, match=r"Collection \[notes\] already exists"):
            create(api, "notes")
        found = api.create_collection(
            "notes", configuration_of("ip"), {"other": 1}, get_or_create=True, **PLACE
        )
        assert (found.id, found.space, found.metadata) == (notes, "l2", None), "it is unchanged"
        assert api.count(notes, **PLACE) == 3

    def test_a_collection_is_changed(self, api: API, notes: uuid.UUID) -> None:
        create(api, "taken")
        changed = api.modify(notes, name="renamed", metadata={"a": 1, "b": "x"}, **PLACE)
        assert (changed.id, changed.name, changed.metadata) == (
            notes,
            "renamed",
            {"a": 1, "b": "x"},
        )
        changed = api.modify(notes, metadata={"c": 2}, **PLACE)
        assert changed.metadata == {"c": 2}, "metadata is replaced whole"
        changed = api.modify(notes, configuration={"hnsw": {"ef_search": 77}}, **PLACE)
        assert (changed.configuration["hnsw"]["ef_search"], changed.space) == (77, "l2")
        assert (changed.name, changed.metadata) == ("renamed", {"c": 2})
        with pytest.raises(UniqueConstraintError):
            api.modify(notes, name="taken", **PLACE)
        with pytest.raises(InvalidArgumentError):
            api.modify(notes, configuration={"hnsw": {"space": "ip"}}, **PLACE)
        assert api.get_collection_by_id(notes, **PLACE) == changed
        assert api.get_collection("renamed", **PLACE) == changed
        with pytest.raises(NotFoundError):
            api.get_collection("notes", **PLACE)
        assert api.count(notes, **PLACE) == 3

    @pytest.mark.parametrize("name", CALLS)
    def test_a_collection_is_not_reached_through_another_database(
        self, api: API, notes: uuid.UUID, name: str
    ) -> None:
        before = rows(api, notes)
        api.create_database("more", TENANT)
        api.create_tenant("acme")
        api.create_database(DATABASE, "acme")
        for at in (
            {"tenant": TENANT, "database": "more"},
            {"tenant": "acme", "database": DATABASE},
        ):
            with pytest.raises(NotFoundError, match=rf"{notes}.*does not exist"):
                CALLS[name](api, notes, at)
        assert rows(api, notes) == before

    def test_a_deleted_collection_is_gone(self, api: API, notes: uuid.UUID) -> None:
        api.delete_collection("notes", **PLACE)
        for call in CALLS.values():
            with pytest.raises(NotFoundError, match=rf"{notes}.*does not exist"):
                call(api, notes, PLACE)
        with pytest.raises(NotFoundError, match=r"Collection \[notes\] does not exist"):
            api.delete_collection("notes", **PLACE)
        again = create(api, "notes")
        assert again.id != notes
        assert api.count(again.id, **PLACE) == 0
        # Of another dimension: nothing was left behind.
        api.add(again.id, batch_of(["a"], [[1.0, 2.0, 3.0]]), **PLACE)
        assert api.get(again.id, **PLACE).ids == ["a"]

    def test_a_fork_is_a_collection_of_its_own(self, api: API, notes: uuid.UUID) -> None:
        before = rows(api, notes)
        copy = api.fork(notes, "copy", **PLACE)
        assert copy == api.get_collection("copy", **PLACE)
        assert (copy.id != notes, copy.dimension) == (True, 2)
        assert rows(api, copy.id) == before
        api.delete(copy.id, ids=["a"], **PLACE)
        api.upsert(notes, batch_of(["b"], [[5.0, 5.0]]), **PLACE)
        assert list(rows(api, copy.id)) == ["b", "c"]
        assert rows(api, copy.id)["b"] == before["b"]
        assert rows(api, notes)["a"] == before["a"]
        with pytest.raises(UniqueConstraintError, match="notes"):
            api.fork(copy.id, "notes", **PLACE)

    # -- nearest neighbours -------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("space", "expected"),
        [
            ("l2", {"a": 0.0, "c": 2.0, "b": 5.0}),
            ("cosine", {"a": 0.0, "c": 1 - 2 / np.sqrt(5), "b": 1.0}),
            ("ip", {"c": -1.0, "a": 0.0, "b": 1.0}),
        ],
    )
    def test_distances(self, api: API, space: str, expected: dict[str, float]) -> None:
        docs = create(api, "docs", space).id
        api.add(docs, batch_of(["a", "b", "c"], [[1.0, 0.0], [0.0, 2.0], [2.0, 1.0]]), **PLACE)
        found = api.query(docs, vectors_of([[1.0, 0.0]]), 3, **PLACE)
        assert found.ids == [list(expected)]
        assert found.distances is not None
        assert found.distances[0] == pytest.approx(list(expected.values()), abs=1e-6)
        assert all(type(one) is float for one in found.distances[0])

    def test_each_query_has_its_answer(self, api: API, notes: uuid.UUID) -> None:
        queries = vectors_of([[1.0, 0.0], [2.0, 2.0], [0.0, 1.0]])
        include = (*EVERYTHING, "distances")
        found = api.query(notes, queries, 2, include=include, **PLACE)
        assert [ids[0] for ids in found.ids] == ["a", "c", "b"]
        assert [len(ids) for ids in found.ids] == [2, 2, 2]
        everything = rows(api, notes)
        assert found.embeddings is not None
        for at, ids in enumerate(found.ids):
            vectors = found.embeddings[at]
            assert (str(vectors.dtype), vectors.shape) == ("float32", (2, 2))
            columns: Any = (found.documents, found.metadatas, found.uris)
            parts = [vectors.tolist(), *(column[at] for column in columns)]
            assert dict(zip(ids, zip(*parts, strict=True), strict=True)) == {
                id: everything[id] for id in ids
            }

    def test_a_query_is_restricted(self, api: API, notes: uuid.UUID) -> None:
        near = vectors_of([[1.0, 0.0]])
        assert api.query(notes, near, 99, **PLACE).ids == [["a", "b", "c"]]
        assert api.query(notes, near, 2, ids=["c", "b"], **PLACE).ids == [["b", "c"]]
        with pytest.raises(IDNotFoundError, match="none"):
            api.query(notes, near, 2, ids=["c", "none"], **PLACE)
        # Beside a filter an id that is not there is one more record that does not match.
        found = api.query(notes, near, 2, ids=["b", "none"], where={"k": "w"}, **PLACE)
        assert found.ids == [["b"]]
        assert api.query(notes, near, 2, where={"k": "w"}, **PLACE).ids == [["b"]]
        gamma: Any = {"$contains": "gamma"}
        assert api.query(notes, near, 2, where_document=gamma, **PLACE).ids == [["c"]]
        assert api.query(notes, near, 2, where={"k": "none"}, **PLACE).ids == [[]]
        assert api.query(notes, near, 2, ids=["c"], where={"k": "w"}, **PLACE).ids == [[]]

    def test_an_empty_collection_answers(self, api: API) -> None:
        docs = create(api, "docs").id
        found = api.get(docs, include=EVERYTHING, **PLACE)
        assert (found.ids, found.documents, found.metadatas, found.uris) == ([], [], [], [])
        assert api.query(docs, vectors_of([[1.0], [2.0]]), 3, **PLACE).ids == [[], []]
        assert api.delete(docs, where={"k": 1}, **PLACE) == 0
        assert api.describe_fields(docs, **PLACE) == []
        assert api.metadata_keys(docs, **PLACE) == []

    # -- memory and graphs --------------------------------------------------------------------

    def test_unloading_changes_no_answer(self, api: API, notes: uuid.UUID) -> None:
        before = rows(api, notes)
        assert api.load(notes, **PLACE) > 0
        assert rows(api, notes) == before
        assert api.unload(notes, **PLACE) > 0
        assert api.unload(notes, **PLACE) == 0
        assert rows(api, notes) == before
        assert api.query(notes, vectors_of([[2.0, 2.0]]), 1, **PLACE).ids == [["c"]]

    def test_what_is_pinned_stays(self, api: API, notes: uuid.UUID) -> None:
        other = create(api, "other").id
        api.add(other, batch_of(["a"], [[1.0]]), **PLACE)
        api.load(other, **PLACE)
        api.pin(notes, True, **PLACE)
        assert api.unload_all(**PLACE) > 0
        held = {one.name: one for one in api.memory_report(**PLACE).collections}
        assert list(held) == ["notes", "other"]
        assert held["notes"].resident_bytes > 0
        assert held["other"].resident_bytes == 0
        api.pin(notes, False, **PLACE)
        assert api.unload_all(**PLACE) > 0

    def test_a_collection_has_a_time_to_live(self, api: API, notes: uuid.UUID) -> None:
        assert api.set_ttl(notes, 60, **PLACE).ttl_seconds == 60
        assert api.get_collection_by_id(notes, **PLACE).ttl_seconds == 60
        assert api.set_ttl(notes, None, **PLACE).ttl_seconds is None
        for wrong in (-1, float("nan")):
            with pytest.raises(ValueError, match=r"ttl|TTL|seconds"):
                api.set_ttl(notes, wrong, **PLACE)

    def test_the_memory_is_reported(self, api: API, notes: uuid.UUID) -> None:
        create(api, "other")
        api.load(notes, **PLACE)
        report = api.memory_report([notes, uuid.uuid4()], **PLACE)
        assert [one.name for one in report.collections] == ["notes"]
        assert report.collections[0].resident_bytes > 0
        assert report.used >= report.collections[0].resident_bytes
        assert report.budget == api.get_memory_budget()
        assert api.memory_report([], **PLACE).collections == []

    def test_the_budget_is_set_and_previewed(self, api: API, notes: uuid.UUID) -> None:
        at_first = api.get_memory_budget()
        try:
            # A number: "auto" changes with what else the machine does.
            before = api.set_memory_budget("512 MB")
            api.load(notes, **PLACE)
            assert api.preview_memory_budget("1 GB", **PLACE) == []
            (eviction,) = api.preview_memory_budget(1, **PLACE)
            assert eviction.collection == "notes"
            assert eviction.n_bytes > 0
            assert api.get_memory_budget() == before, "a preview changes nothing"
            assert api.set_memory_budget("64 MB") == api.get_memory_budget() == 64 * 10**6
            with pytest.raises(InvalidArgumentError):
                api.set_memory_budget("much")
            assert api.get_memory_budget() == 64 * 10**6
        finally:
            api.set_memory_budget(at_first)

    def test_memory_is_estimated(self, api: API) -> None:
        small = api.estimate_memory(1_000, 16, configuration_of())
        large = api.estimate_memory(10_000, 16, configuration_of(), 100)
        longer = api.estimate_memory(10_000, 16, configuration_of(), 1_000)
        assert (small.n_records, small.dimension) == (1_000, 16)
        assert 0 < small.n_bytes < large.n_bytes < longer.n_bytes

    def test_an_average_record_has_a_size(self, api: API, notes: uuid.UUID) -> None:
        size = api.record_bytes(notes, **PLACE)
        # Two floats, at least; None is "not known".
        assert size is None or size >= 8

    def test_metadata_is_described(self, api: API, notes: uuid.UUID) -> None:
        assert api.metadata_keys(notes, **PLACE) == ["k", "n"]
        fields = {field.key: field for field in api.describe_fields(notes, **PLACE)}
        assert list(fields) == ["k", "n"]
        assert (fields["n"].n_records, fields["n"].minimum, fields["n"].maximum) == (2, 1, 2)
        assert (fields["k"].kinds, fields["k"].n_distinct) == (("str",), 2)
        assert dict(fields["k"].values) == {"v": 1, "w": 1}
        few = {field.key: field for field in api.describe_fields(notes, 1, **PLACE)}
        assert few["k"].values == [], "there are more than one"

    def test_a_graph_covers_what_was_built(self, api: API, notes: uuid.UUID) -> None:
        api.build_index(notes, **PLACE)
        status = api.indexing_status(notes, **PLACE)
        assert status.total_ops == status.num_indexed_ops + status.num_unindexed_ops
        assert 0 <= status.op_indexing_progress <= 1
        assert api.query(notes, vectors_of([[2.0, 2.0]]), 1, **PLACE).ids == [["c"]]

    def test_it_explains_how_a_query_is_answered(self, api: API, notes: uuid.UUID) -> None:
        found = api.explain(notes, vectors_of([[1.0, 0.0]]), 2, where={"k": "v"}, **PLACE)
        assert found["collection"] == "notes"
        assert json.loads(json.dumps(found)) == found

    # -- beyond Chroma ------------------------------------------------------------------------

    def test_a_check_says_what_is_whole(self, api: API, notes: uuid.UUID) -> None:
        if "check" in self.lacks:
            with pytest.raises(NotSupportedError):
                api.check(**PLACE)
            return
        for place in (PLACE, {"tenant": None, "database": None}):
            report = api.check(**place)
            assert [(one.name, one.n_records) for one in report.collections] == [("notes", 3)]
            assert report.is_whole

    def test_sql_reads_the_collections_of_one_database(self, api: API, notes: uuid.UUID) -> None:
        query = "SELECT id FROM notes WHERE n > ?"
        if "sql" in self.lacks:
            with pytest.raises(NotSupportedError):
                api.sql(query, [1], **PLACE)
            return
        assert api.sql(query, [1], **PLACE)["id"].tolist() == ["b"]
        with pytest.raises(InvalidArgumentError):
            api.sql("DELETE FROM notes", **PLACE)

    # -- threads ------------------------------------------------------------------------------

    def test_threads_write_and_read_at_once(self, api: API, notes: uuid.UUID) -> None:
        n_threads, n_steps = 4, 5
        barrier = threading.Barrier(n_threads)
        failures: list[BaseException] = []

        def work(number: int) -> None:
            try:
                barrier.wait(60)
                for step in range(n_steps):
                    vector = [float(10 + number), float(step)]
                    api.add(notes, batch_of([f"t{number}-{step}"], [vector]), **PLACE)
                    api.upsert(
                        notes, batch_of([f"t{number}-0"], [[float(10 + number), 0.0]]), **PLACE
                    )
                    found = api.query(notes, vectors_of([vector]), 1, **PLACE)
                    assert found.ids == [[f"t{number}-{step}"]], found
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(n_threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert not failures, failures
        expected = {f"t{number}-{step}" for number in range(n_threads) for step in range(n_steps)}
        assert set(api.get(notes, **PLACE).ids) == {"a", "b", "c", *expected}
