"""`AsyncClientAPI` and `AsyncCollection`: every method of a client and its collections as a coroutine.

A notebook's kernel already runs an event loop, and `await` works in every cell. Each call is the
synchronous one in a thread of the client's own, so whatever a store can do, in process or at a server, it
can do here, and a slow answer never holds up the loop.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar

from chroma_nb import forked
from chroma_nb.client.client import ClientAPI
from chroma_nb.client.memory import ClientMemory
from chroma_nb.client.opening import Client
from chroma_nb.client.remote import HttpClient
from chroma_nb.collection.collection import Collection
from chroma_nb.errors import InternalError
from chroma_nb.types import DEFAULT_DATABASE, DEFAULT_TENANT
from chroma_nb.unpicklable import Unpicklable

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Coroutine
    from types import TracebackType

    from chroma_nb.client.workers import ClientWorkers
    from chroma_nb.schema import Schema
    from chroma_nb.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")

#: Calls of one client at a time; the connections that a remote client keeps.
_THREADS = 32


def _coroutine(
    method: Callable[Concatenate[S, P], R],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]:
    """Return a method that does the same in a thread."""

    @functools.wraps(method)
    async def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        result: R = await self._ask(functools.partial(method, self._sync, *args, **kwargs))
        return result

    return call


def _collection(
    method: Callable[Concatenate[S, P], Collection],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, AsyncCollection]]:
    """Return a method that does the same in a thread, and hands out an async collection."""

    @functools.wraps(method)
    async def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> AsyncCollection:
        found = await self._ask(functools.partial(method, self._sync, *args, **kwargs))
        return AsyncCollection(found, self._threads)

    return call


class _Threads:
    """The threads of one client."""

    def __init__(self) -> None:
        self.executor = self._new()
        forked.watch(self)

    @staticmethod
    def _new() -> concurrent.futures.ThreadPoolExecutor:
        return concurrent.futures.ThreadPoolExecutor(_THREADS, "chroma_nb async client")

    def on_fork(self) -> None:
        """In a forked child: the threads are gone."""
        forked.keep_for_ever(self.executor)
        self.executor = self._new()


class _Face(Unpicklable, Generic[S]):
    """What async objects share: the synchronous one behind, and the threads that it is asked in."""

    def __init__(self, sync: S, threads: _Threads) -> None:
        self._sync = sync
        self._threads = threads

    @property
    def sync(self) -> S:
        """The synchronous object behind this one; widgets want it."""
        return self._sync

    def __repr__(self) -> str:
        return f"Async{self._sync!r}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Face) and bool(self._sync == other._sync)

    __hash__ = None  # type: ignore[assignment]

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        return self._sync._repr_mimebundle_(include, exclude)  # type: ignore[attr-defined]

    async def _ask(self, work: Callable[[], R]) -> R:
        try:
            future = asyncio.get_running_loop().run_in_executor(self._threads.executor, work)
        except RuntimeError:
            raise InternalError("This client is closed. Open a new one to go on.") from None
        return await future


class AsyncCollection(_Face[Collection]):
    """A collection whose methods are coroutines; see `Collection`."""

    @property
    def id(self) -> Any:
        """The collection's id; its name may change, this does not."""
        return self._sync.id

    @property
    def name(self) -> str:
        """The collection's name."""
        return self._sync.name

    @property
    def metadata(self) -> dict[str, Any] | None:
        """What was said about the collection as a whole."""
        return self._sync.metadata

    @property
    def tenant(self) -> str:
        """The tenant that the collection belongs to."""
        return self._sync.tenant

    @property
    def database(self) -> str:
        """The database that the collection belongs to."""
        return self._sync.database

    @property
    def configuration(self) -> dict[str, Any]:
        """``{"hnsw", "spann", "embedding_function"}``; see `Collection.configuration`."""
        return self._sync.configuration

    @property
    def configuration_json(self) -> dict[str, Any]:
        """The configuration as plain values, as on Chroma's wire."""
        return self._sync.configuration_json

    @property
    def schema(self) -> Schema:
        """Which indexes the collection has; see `Collection.schema`."""
        return self._sync.schema

    @property
    def last_transfer(self) -> Any:
        """What the last `from_pandas` or `from_arrow` of this handle did."""
        return self._sync.last_transfer

    add = _coroutine(Collection.add)
    upsert = _coroutine(Collection.upsert)
    update = _coroutine(Collection.update)
    delete = _coroutine(Collection.delete)
    count = _coroutine(Collection.count)
    get = _coroutine(Collection.get)
    peek = _coroutine(Collection.peek)
    query = _coroutine(Collection.query)
    modify = _coroutine(Collection.modify)
    embed_documents = _coroutine(Collection.embed_documents)
    embed_queries = _coroutine(Collection.embed_queries)
    fork = _collection(Collection.fork)
    fork_count = _coroutine(Collection.fork_count)
    search = _coroutine(Collection.search)
    get_indexing_status = _coroutine(Collection.get_indexing_status)
    unload = _coroutine(Collection.unload)
    build_index = _coroutine(Collection.build_index)
    explain = _coroutine(Collection.explain)
    plot = _coroutine(Collection.plot)
    to_pandas = _coroutine(Collection.to_pandas)
    to_arrow = _coroutine(Collection.to_arrow)
    from_pandas = _collection(Collection.from_pandas)
    from_arrow = _collection(Collection.from_arrow)  # type: ignore[arg-type]
    export = _coroutine(Collection.export)


class AsyncClientMemory(_Face[ClientMemory]):
    """`client.memory` with coroutines; see `ClientMemory`."""

    @property
    def budget(self) -> Coroutine[Any, Any, int]:
        """Bytes that the loaded collections may hold together: ``await client.memory.budget``."""
        return self._ask(lambda: self._sync.budget)

    async def set_budget(self, value: int | float | str) -> int:
        """Set the budget, and return it in bytes."""

        def work() -> int:
            self._sync.budget = value
            return self._sync.budget

        return await self._ask(work)

    report = _coroutine(ClientMemory.report)
    load = _coroutine(ClientMemory.load)
    unload = _coroutine(ClientMemory.unload)
    unload_all = _coroutine(ClientMemory.unload_all)
    pin = _coroutine(ClientMemory.pin)
    unpin = _coroutine(ClientMemory.unpin)
    set_ttl = _coroutine(ClientMemory.set_ttl)
    preview = _coroutine(ClientMemory.preview)
    estimate = _coroutine(ClientMemory.estimate)
    plot = _coroutine(ClientMemory.plot)


class AsyncClientAPI(_Face[ClientAPI]):
    """A client whose methods are coroutines.

    Args:
        sync: The client behind it, of any store: ``AsyncClientAPI(chroma_nb.connect(url))``. It is closed
            with this one.
    """

    def __init__(self, sync: ClientAPI) -> None:
        super().__init__(sync, _Threads())

    @property
    def tenant(self) -> str:
        """The tenant."""
        return self._sync.tenant

    @property
    def database(self) -> str:
        """The database."""
        return self._sync.database

    @property
    def memory(self) -> AsyncClientMemory:
        """The store's memory: budget, report, unloading, pinning."""
        return AsyncClientMemory(self._sync.memory, self._threads)

    @property
    def workers(self) -> ClientWorkers:
        """The workers that compute for the store; see `ClientWorkers`. Nothing of it waits."""
        return self._sync.workers

    def get_settings(self) -> Settings:
        """Return the settings of this client."""
        return self._sync.get_settings()

    heartbeat = _coroutine(ClientAPI.heartbeat)
    get_version = _coroutine(ClientAPI.get_version)
    get_max_batch_size = _coroutine(ClientAPI.get_max_batch_size)
    get_user_identity = _coroutine(ClientAPI.get_user_identity)
    reset = _coroutine(ClientAPI.reset)
    set_tenant = _coroutine(ClientAPI.set_tenant)
    set_database = _coroutine(ClientAPI.set_database)
    create_collection = _collection(ClientAPI.create_collection)
    get_or_create_collection = _collection(ClientAPI.get_or_create_collection)
    get_collection = _collection(ClientAPI.get_collection)
    get_collection_by_id = _collection(ClientAPI.get_collection_by_id)
    collection_of = _collection(ClientAPI.collection_of)
    count_collections = _coroutine(ClientAPI.count_collections)
    delete_collection = _coroutine(ClientAPI.delete_collection)
    unload = _coroutine(ClientAPI.unload)
    sql = _coroutine(ClientAPI.sql)
    check = _coroutine(ClientAPI.check)
    import_ = _collection(ClientAPI.import_)
    copy_to = _coroutine(ClientAPI.copy_to)

    @functools.wraps(ClientAPI.list_collections)
    async def list_collections(
        self, limit: int | None = None, offset: int | None = None
    ) -> list[AsyncCollection]:
        """Return the collections in order of creation."""
        found = await self._ask(lambda: self._sync.list_collections(limit, offset))
        return [AsyncCollection(one, self._threads) for one in found]

    async def close(self) -> None:
        """Let go of the store, after the calls that are under way. Closing twice is allowed."""

        def work() -> None:
            self._threads.executor.shutdown(wait=True)
            self._sync.close()

        # Not in one of the threads that it waits for.
        await asyncio.to_thread(work)

    async def __aenter__(self) -> AsyncClientAPI:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


async def AsyncClient(
    settings: Settings | str | os.PathLike[str] | None = None,
    tenant: str = DEFAULT_TENANT,
    database: str = DEFAULT_DATABASE,
    *,
    path: str | os.PathLike[str] | None = None,
) -> AsyncClientAPI:
    """Open a store in this process, as `Client` does; what it returns has coroutines."""
    return AsyncClientAPI(await asyncio.to_thread(Client, settings, tenant, database, path=path))


async def AsyncHttpClient(
    host: str = "localhost",
    port: int = 8_000,
    ssl: bool = False,
    headers: dict[str, str] | None = None,
    settings: Settings | None = None,
    tenant: str = DEFAULT_TENANT,
    database: str = DEFAULT_DATABASE,
) -> AsyncClientAPI:
    """Return a client of a server, with coroutines; see `HttpClient`."""
    return AsyncClientAPI(
        await asyncio.to_thread(HttpClient, host, port, ssl, headers, settings, tenant, database)
    )


__all__ = [
    "AsyncClient",
    "AsyncClientAPI",
    "AsyncClientMemory",
    "AsyncCollection",
    "AsyncHttpClient",
]
