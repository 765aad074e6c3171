"""`Service` and `RemoteAPI` without a wire between them: what every transport relies on."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb import Knn, Search, errors
from chroma_nb.api.remote import RemoteAPI
from chroma_nb.server.auth import ANONYMOUS, Identity
from chroma_nb.server.refusals import Refused
from chroma_nb.server.service import Service
from chroma_nb.types import RecordBatch
from chroma_nb.wire.operations import OPERATIONS
from chroma_nb.wire.requests import Name, Request, Target, Write
from tests.stores import private_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chroma_nb.api.base import API
    from chroma_nb.wire.operations import Operation

LONG = 60.0
N = 50
VECTORS = np.random.default_rng(0).normal(size=(N, 4)).astype(np.float32)


class Direct(RemoteAPI):
    """A transport that hands requests to a service as they are, from threads of its own."""

    def __init__(self, service: Service, identity: Identity = ANONYMOUS) -> None:
        self._service = service
        self._identity = identity
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.asked: set[str] = set()
        info = self._call(OPERATIONS["get_max_batch_size"], Target(), None)
        super().__init__(chroma_nb.Settings(progress=False), "direct", info)

    def _call(self, operation: Operation, target: Target, request: Request | None) -> Any:
        self.asked.add(operation.name)
        assert type(request) is (operation.request or type(None))
        work = functools.partial(self._service.answer, operation, target, request, self._identity)
        running = self._service.run(operation, self._identity.name, work)
        try:
            return asyncio.run_coroutine_threadsafe(running, self._loop).result(LONG)
        except Exception as error:
            raise self._service.error_for_client(error, operation.name, "trace-1") from error

    def close(self) -> None:
        super().close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(LONG)
        self._loop.close()


@pytest.fixture(scope="module")
def shared_store() -> Iterator[API]:
    """A store in which no test writes."""
    with chroma_nb.EphemeralClient(private_settings(progress=False)) as client:
        yield client.api


@pytest.fixture
def idle(shared_store: API) -> Iterator[Service]:
    """A service for what does not reach the store."""
    service = Service(shared_store, chroma_nb.Settings(server_threads=2))
    yield service
    service.close()


@pytest.fixture
def store() -> Iterator[API]:
    with chroma_nb.EphemeralClient(private_settings(progress=False, allow_reset=True)) as client:
        yield client.api


@pytest.fixture
def service(store: API) -> Iterator[Service]:
    service = Service(store, chroma_nb.Settings(allow_reset=True, server_threads=4))
    yield service
    service.close()


@pytest.fixture
def far(service: Service) -> Iterator[Direct]:
    with Direct(service) as far:
        yield far


def made(api: API, name: str) -> Any:
    configuration = {"hnsw": {"space": "l2"}, "spann": None, "embedding_function": None}
    return api.create_collection(name, configuration, None, get_or_create=True, **PLACE)


PLACE: Any = {"tenant": "default_tenant", "database": "default_database"}


def test_a_transport_without_a_wire_does_all_that_a_store_does(store: API, far: Direct) -> None:
    info = made(far, "docs")
    assert info == made(store, "docs")
    docs = info.id
    ids = [f"id{row}" for row in range(N)]
    batch = RecordBatch(ids, VECTORS, ["text"] * N, None, [{"n": row} for row in range(N)])
    far.add(docs, batch, **PLACE)
    far.update(docs, RecordBatch(["id0"], documents=["new"]), **PLACE)
    far.upsert(docs, RecordBatch(["more"], VECTORS[:1]), **PLACE)
    with pytest.raises(errors.IDAlreadyExistsError):
        far.add(docs, RecordBatch(["more"], VECTORS[:1]), on_conflict="error", **PLACE)
    assert far.delete(docs, where={"n": 3}, **PLACE) == 1
    changed = far.modify(docs, configuration={"hnsw": {"ef_search": 50}}, **PLACE)
    assert changed.configuration["hnsw"]["ef_search"] == 50
    assert far.set_ttl(docs, 60, **PLACE).ttl_seconds == 60

    include = ("documents", "metadatas", "embeddings")
    for found, wanted in zip(
        *(
            (
                api.get(docs, limit=5, offset=1, include=include, **PLACE),
                api.query(docs, VECTORS[:2], 3, include=(*include, "distances"), **PLACE),
                api.get_collection("docs", **PLACE),
                api.get_collection_by_id(docs, **PLACE),
                api.list_collections(**PLACE),
                api.count_collections(**PLACE),
                api.list_databases("default_tenant"),
                api.get_database("default_database", "default_tenant"),
                api.get_tenant("default_tenant"),
                api.describe_fields(docs, **PLACE),
                api.metadata_keys(docs, **PLACE),
                api.indexing_status(docs, **PLACE),
                api.count(docs, **PLACE),
                api.get_memory_budget(),
                api.estimate_memory(1_000, 4, changed.configuration),
                api.preview_memory_budget("64 MB", **PLACE),
                api.get_version(),
                api.get_max_batch_size(),
                {**api.explain(docs, VECTORS[:1], 2, **PLACE), "elapsed_ms": 0},
                api.search(docs, [Search(rank=Knn(VECTORS[0]), limit=3)], **PLACE)[0],
            )
            for api in (far, store)
        ),
        strict=True,
    ):
        np.testing.assert_equal(vars_of(found), vars_of(wanted))

    for one, other in zip(far.scan(docs, **PLACE), store.scan(docs, **PLACE), strict=True):
        np.testing.assert_equal(vars_of(one), vars_of(other))
    assert far.memory_report([docs], **PLACE).server == "direct"
    assert far.load(docs, **PLACE) > 0
    far.pin(docs, True, **PLACE)
    far.pin(docs, False, **PLACE)
    far.build_index(docs, **PLACE)
    assert far.unload(docs, **PLACE) > 0
    assert far.unload_all(**PLACE) == 0
    assert far.set_memory_budget(far.get_memory_budget()) == store.get_memory_budget()
    far.create_tenant("theirs")
    far.create_database("more", "theirs")
    far.delete_database("more", "theirs")
    assert far.fork(docs, "copy", **PLACE).name == "copy"
    far.delete_collection("copy", **PLACE)
    assert far.heartbeat() > 0
    assert far.get_user_identity().databases == ["default_database"]
    assert far.reset() is True
    assert far.asked == set(OPERATIONS)


def vars_of(value: Any) -> Any:
    """Return values that can be compared with arrays in them."""
    return vars(value) if hasattr(value, "__dict__") else value


def test_what_is_sent_in_parts_asks_for_the_limits_first(store: API) -> None:
    settings = chroma_nb.Settings(server_max_batch_size=1_000, server_max_body="3 MB")
    service = Service(store, settings)
    with Direct(service) as far:
        docs = made(far, "docs").id
        n = 3_500
        ids = [f"id{row}" for row in range(n)]
        far.asked.clear()
        far.add(docs, RecordBatch(ids, np.ones((n, 128), np.float32)), **PLACE)
        assert far.asked == {"get_max_batch_size", "add"}
        assert store.count(docs, **PLACE) == n
        # Whoever asks the service itself is held to the same limit.
        batch = RecordBatch(ids, np.ones((n, 128), np.float32))
        with pytest.raises(errors.BatchSizeExceededError, match="server_max_batch_size"):
            far._ask("upsert", Target(**PLACE, collection_id=docs), Write(batch))
        # All of it is done, and nothing is left over.
        with pytest.raises(errors.IDAlreadyExistsError, match="nothing was added"):
            far.add(docs, batch, on_conflict="error", **PLACE)
    service.close()


def test_a_closed_one_asks_nothing(idle: Service) -> None:
    far = Direct(idle)
    far.close()
    with pytest.raises(errors.InternalError, match="closed"):
        far.heartbeat()


# -- scopes and deadlines, as the table says --------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=list(OPERATIONS))
def test_a_service_keeps_the_scope_and_the_deadline_of_the_table(
    shared_store: API, operation: Operation
) -> None:
    service = Service(
        shared_store, chroma_nb.Settings(server_timeout_seconds=0.01, server_threads=2)
    )
    somebody = Identity("somebody", ("theirs",))
    may_not = {"tenant": "may use the tenants", "admin": "only an admin"}
    if operation.scope in may_not:
        with pytest.raises(errors.ChromaAuthError, match=may_not[operation.scope]):
            service.answer(operation, Target("others", "x"), None, somebody)
    service.check_scope(operation, "theirs", ANONYMOUS)

    begun, hold, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> str:
        begun.set()
        # What is open is answered at once, on the loop.
        assert operation.scope == "open" or hold.wait(LONG)
        return "done"

    async def main() -> str:
        answer = asyncio.create_task(service.run(operation, "somebody", work, ended.set))
        if operation.long:
            await asyncio.to_thread(begun.wait, LONG)
            # Many times the deadline of those that are not long.
            await asyncio.wait((answer,), timeout=0.1)
            hold.set()
        return await answer

    try:
        if operation.long or operation.scope == "open":
            assert asyncio.run(main()) == "done"
        else:
            with pytest.raises(Refused, match="still worked on") as refused:
                asyncio.run(main())
            assert refused.value.status == 504
            # It goes on, and what it holds is held until then.
            assert not ended.is_set()
    finally:
        hold.set()
        service.close()


def test_a_service_that_stops_begins_nothing(idle: Service) -> None:
    ended = threading.Event()
    idle.begin_stop()
    for name in ("count", "heartbeat"):
        ended.clear()
        with pytest.raises(Refused, match="stopping") as refused:
            asyncio.run(idle.run(OPERATIONS[name], "somebody", lambda: 1, ended.set))
        assert refused.value.status == 503
        assert ended.is_set()


def test_a_tenant_that_a_credential_names_is_made_on_its_first_use(
    store: API, service: Service
) -> None:
    with Direct(service, Identity("somebody", ("theirs",))) as far:
        assert far.list_collections(tenant="theirs", database="default_database") == []
        assert store.get_tenant("theirs") == "theirs"
        assert far.get_user_identity().tenant == "theirs"
        with pytest.raises(errors.NotFoundError):
            far.get_collection("none", tenant="theirs", database="default_database")
        with pytest.raises(errors.ChromaAuthError):
            far.get_tenant("default_tenant")
    with pytest.raises(errors.NotFoundError):
        service.answer(OPERATIONS["get_tenant"], Target("nobodys"), None, ANONYMOUS)


# -- what clients learn of errors -------------------------------------------------------------------


def test_a_client_learns_what_concerns_it(idle: Service, caplog: pytest.LogCaptureFixture) -> None:
    missing = errors.NotFoundError("Collection [a] does not exist")
    assert idle.error_for_client(missing, "count", "trace-1") is missing
    odd = TypeError("Expected a text")
    assert idle.error_for_client(odd, "count", "trace-1") is odd
    taken = errors.UniqueConstraintError("Collection [a] already exists")
    assert idle.error_for_client(taken, "create_collection", "trace-1") is taken
    assert not caplog.records
    full = errors.MemoryBudgetError("It does not fit")
    assert idle.error_for_client(full, "load", "trace-1") is full
    full.may_fit_later = True
    later = idle.error_for_client(full, "load", "trace-1")
    assert isinstance(later, Refused)
    assert (later.status, later.headers) == (503, {"Retry-After": "1"})


def test_what_is_none_of_a_clients_business_stays_in_the_log(
    shared_store: API, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service(shared_store, chroma_nb.Settings(path=str(tmp_path)))
    with caplog.at_level(logging.ERROR, "chroma_nb.server"):
        damaged = errors.StoreCorruptError(f"{tmp_path}/vectors.bin is damaged", ids=["a"])
        told = service.error_for_client(damaged, "get", "trace-1")
        assert isinstance(told, errors.StoreCorruptError)
        assert (str(told), told.ids) == (".../vectors.bin is damaged", ["a"])
        assert str(tmp_path) in str(damaged)
        failed = service.error_for_client(RuntimeError(f"a bug at {tmp_path}"), "get", "trace-2")
        assert isinstance(failed, errors.InternalError)
        assert "trace-2" in str(failed)
        assert str(tmp_path) not in str(failed)
    fields = [vars(one)["fields"] for one in caplog.records]
    assert fields == [
        {"trace_id": "trace-1", "operation": "get"},
        {"trace_id": "trace-2", "operation": "get"},
    ]
    assert all(one.exc_info for one in caplog.records)
    service.close()


def test_a_request_that_names_no_collection_is_refused(idle: Service) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="names its collection"):
        idle.answer(OPERATIONS["fork"], Target(**PLACE), Name("copy"), ANONYMOUS)
