"""`Client`: collections by name, in one tenant's database of one store."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from uuid import UUID

from chroma_nb import factories, stores, validation
from chroma_nb.boundary import public_class
from chroma_nb.client.connection import Connection
from chroma_nb.client.memory import ClientMemory
from chroma_nb.client.places import with_path
from chroma_nb.client.workers import ClientWorkers
from chroma_nb.collection.collection import Collection, name_of
from chroma_nb.collection.configuration import (
    DEFAULT_EMBEDDING_FUNCTION,
    check_same_index,
    configuration_for,
    schema_to_json,
)
from chroma_nb.collection.embedder import hold_functions
from chroma_nb.collection.results import CollectionList
from chroma_nb.display.base import Displayed
from chroma_nb.embedding.conflicts import check_conflict_on_get
from chroma_nb.embedding.protocol import checked_embedding_function
from chroma_nb.errors import (
    InvalidArgumentError,
    InvalidUUIDError,
)
from chroma_nb.types import DEFAULT_DATABASE, DEFAULT_TENANT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    import pandas as pd

    from chroma_nb.check_report import CheckReport
    from chroma_nb.settings import Settings
    from chroma_nb.transfer import Transfers
    from chroma_nb.types import CollectionInfo, OnConflict, UserIdentity


@public_class
class ClientAPI(Connection, Displayed):
    """A client of a store.

    Args:
        settings: `Settings`, or the path of a folder: then the store persists there. None is a store in
            memory (or what the environment says).
        tenant: The tenant.
        database: The database.
        path: The path of a folder; the same as giving it first.

    Raises:
        NotFoundError: The tenant or the database does not exist.
        StoreLockedError: Another process has the folder open.
    """

    _view = "client"

    def __init__(
        self,
        settings: Settings | str | os.PathLike[str] | None = None,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
        *,
        path: str | os.PathLike[str] | None = None,
    ) -> None:
        if isinstance(settings, str | os.PathLike):
            settings, path = None, settings
        chosen = factories.get_settings() if settings is None else settings
        if path is not None:
            chosen = with_path(chosen, path)
        try:
            super().__init__(chosen)
            self.set_tenant(tenant, database)
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"Client({self._settings.place}, tenant={self.tenant!r}, database={self.database!r})"

    def __enter__(self) -> ClientAPI:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- the store ----------------------------------------------------------------------------

    def heartbeat(self) -> int:
        """Return the store's clock in nanoseconds since 1970."""
        return self.api.heartbeat()

    def get_version(self) -> str:
        """Return the version of the store's software."""
        return self.api.get_version()

    def get_max_batch_size(self) -> int:
        """Return how many records one call should hold; larger calls are accepted as well."""
        return self.api.get_max_batch_size()

    @property
    def max_batch_size(self) -> int:
        """The same as `get_max_batch_size()`."""
        return self.get_max_batch_size()

    def get_settings(self) -> Settings:
        """Return the settings of this client."""
        return self._settings

    def get_user_identity(self) -> UserIdentity:
        """Return the authenticated user."""
        return self.api.get_user_identity()

    def reset(self) -> bool:
        """Delete everything in the store.

        Raises:
            AuthorizationError: `Settings.allow_reset` is off.
        """
        return self.api.reset()

    @staticmethod
    def clear_system_cache() -> None:
        """Close every store of this process and forget it."""
        stores.close_all()

    def set_tenant(self, tenant: str, database: str = DEFAULT_DATABASE) -> None:
        """Go over to another tenant's database.

        Raises:
            NotFoundError: There is none of that name; nothing changes.
        """
        self.api.get_tenant(tenant)
        self.api.get_database(database, tenant)
        self.tenant = tenant
        self.database = database

    def set_database(self, database: str) -> None:
        """Go over to another database of the tenant; `NotFoundError` where there is none."""
        self.api.get_database(database, self.tenant)
        self.database = database

    # -- collections --------------------------------------------------------------------------

    def create_collection(
        self,
        name: str,
        schema: Any = None,
        configuration: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        embedding_function: Any = DEFAULT_EMBEDDING_FUNCTION,
        data_loader: Any = None,
        get_or_create: bool = False,
    ) -> Collection:
        """Make a collection.

        Args:
            name: 3 to 512 characters of ``[a-zA-Z0-9._-]``, the first and last a letter or digit.
            schema: Which indexes it has (`Schema`), its distance and its embedding function among them. Where it says
                more than the default one, it takes the place of `configuration` and `embedding_function`.
            configuration: ``{"hnsw": {"space": "l2" | "cosine" | "ip", "ef_search": ...}}``.
            metadata: About the collection as a whole.
            embedding_function: What embeds documents and query texts; None: you give embeddings.
            data_loader: Called with uris to get what they stand for.
            get_or_create: Return the collection as it is where the name is taken.

        Raises:
            UniqueConstraintError: The name is taken.
            InvalidArgumentError: The name, the metadata, the configuration or the schema cannot be used, or both the
                schema and the configuration say something.
        """
        validation.check_collection_name(name)
        metadata = validation.check_collection_metadata(metadata)
        embedding_function = checked_embedding_function(embedding_function)
        given = None if schema is None else schema_to_json(schema)
        info = self.api.create_collection(
            name,
            configuration_for(
                embedding_function,
                configuration,
                metadata,
                self._settings,
                has_schema=given is not None,
            ),
            metadata,
            schema=given,
            get_or_create=get_or_create,
            tenant=self.tenant,
            database=self.database,
        )
        if get_or_create:
            check_conflict_on_get(embedding_function, info.configuration["embedding_function"])
        if embedding_function is None or embedding_function is DEFAULT_EMBEDDING_FUNCTION:
            configured = (configuration or {}).get("embedding_function")
            embedding_function = configured or embedding_function
        collection = self.collection_of(info, embedding_function, data_loader)
        check_same_index(given, configuration, info.configuration)
        if given is not None:
            hold_functions(collection, schema, given)
        return collection

    def get_or_create_collection(
        self,
        name: str,
        schema: Any = None,
        configuration: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        embedding_function: Any = DEFAULT_EMBEDDING_FUNCTION,
        data_loader: Any = None,
    ) -> Collection:
        """Return the collection of that name, made if it is missing; see `create_collection`."""
        return self.create_collection(
            name,
            schema=schema,
            configuration=configuration,
            metadata=metadata,
            embedding_function=embedding_function,
            data_loader=data_loader,
            get_or_create=True,
        )

    def get_collection(
        self,
        name: str | Collection,
        embedding_function: Any = DEFAULT_EMBEDDING_FUNCTION,
        data_loader: Any = None,
    ) -> Collection:
        """Return the collection of that name.

        Raises:
            NotFoundError: There is none.
            InvalidArgumentError: `embedding_function` is another one than the collection records.
        """
        info = self.api.get_collection(
            self._name_now(name), tenant=self.tenant, database=self.database
        )
        check_conflict_on_get(embedding_function, info.configuration["embedding_function"])
        return self.collection_of(info, embedding_function, data_loader)

    def get_collection_by_id(
        self,
        id: UUID | str,
        embedding_function: Any = DEFAULT_EMBEDDING_FUNCTION,
        data_loader: Any = None,
    ) -> Collection:
        """Return the collection of that id; see `get_collection`."""
        if not isinstance(id, UUID):
            try:
                id = UUID(str(id))
            except ValueError:
                raise InvalidUUIDError(
                    f"Expected a collection id to be a UUID, got {id!r}"
                ) from None
        info = self.api.get_collection_by_id(id, tenant=self.tenant, database=self.database)
        check_conflict_on_get(embedding_function, info.configuration["embedding_function"])
        return self.collection_of(info, embedding_function, data_loader)

    def list_collections(
        self, limit: int | None = None, offset: int | None = None
    ) -> CollectionList:
        """Return the collections in order of creation."""
        limit, offset = validation.check_limit_offset(limit, offset)
        infos = self.api.list_collections(
            limit, offset or 0, tenant=self.tenant, database=self.database
        )
        return CollectionList(self.collection_of(info) for info in infos)

    def __getitem__(self, name: str) -> Collection:
        """Return the collection of that name, as `get_collection` does; Tab completes the names."""
        return self.get_collection(name)

    def __contains__(self, name: object) -> bool:
        return name in set(self)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the collections' names, in order of creation."""
        return iter([one.name for one in self.list_collections()])

    def _ipython_key_completions_(self) -> list[str]:
        # Tab completion must not raise.
        try:
            return [one.name for one in self.list_collections(limit=1_000)]
        except Exception:
            return []

    def count_collections(self) -> int:
        """Return how many collections there are."""
        return self.api.count_collections(tenant=self.tenant, database=self.database)

    def collection_of(
        self,
        info: CollectionInfo,
        embedding_function: Any = DEFAULT_EMBEDDING_FUNCTION,
        data_loader: Any = None,
    ) -> Collection:
        """Return the collection that the catalogue describes so; nothing is asked.

        Args:
            info: What `API.create_collection`, `API.get_collection` or `API.list_collections` returned.
            embedding_function: As for `get_collection`.
            data_loader: As for `get_collection`.
        """
        return Collection(self, info, embedding_function, data_loader)

    def _name_now(self, given: str | Collection) -> str:
        """Return a collection's present name: another client may have renamed it since the handle was made."""
        if not isinstance(given, Collection):
            return name_of(given)
        place = {"tenant": self.tenant, "database": self.database}
        return self.api.get_collection_by_id(given.id, **place).name

    def delete_collection(self, name: str | Collection) -> None:
        """Delete a collection with its records; the disk space comes back.

        Raises:
            NotFoundError: There is none of that name.
        """
        self.api.delete_collection(self._name_now(name), tenant=self.tenant, database=self.database)

    # -- beyond Chroma ------------------------------------------------------------------------

    @property
    def memory(self) -> ClientMemory:
        """The store's memory: budget, report, unloading, pinning; see `ClientMemory`."""
        return ClientMemory(self)

    @property
    def workers(self) -> ClientWorkers:
        """The workers that compute for the store, with ``Settings(api="celery")``; see `ClientWorkers`."""
        return ClientWorkers(self)

    def unload(self, name: str | Collection) -> int:
        """Free a collection's memory and return the bytes; see `Collection.unload`."""
        return self.get_collection(name, embedding_function=None).unload()

    def sql(self, query: str, parameters: Any = None) -> pd.DataFrame:
        """Run one SELECT over the collections, each a table of its name, in DuckDB's SQL; see docs/sql.md.

        A store in ClickHouse takes ClickHouse's SQL, with columns of other types; see "SQL" in docs/scaling.md.

        A table has the columns id, document, uri, metadata (JSON), embedding (``FLOAT[dimension]``, which ``*``
        leaves out), and one for each metadata key. Names count by their letters. ``SHOW TABLES``, ``DESCRIBE``,
        ``SUMMARIZE`` and plain ``EXPLAIN`` work; nothing can be written, and no file read.

        Args:
            query: ``SELECT pos, count(*) FROM glosses GROUP BY pos``
            parameters: A list for ``?`` and ``$1``, or a dict for ``$name``.

        Returns:
            One row for each row of the answer. Integers and bools with gaps have the dtypes Int64 and boolean,
            texts are objects, embeddings float32 arrays of shape (dimension,).

        Raises:
            InvalidArgumentError: Not one reading statement, a name that is not there or may mean two things, or a
                query that fails.
            MemoryBudgetError: The database, or the answer, needs more memory than there is.
            NotSupportedError: The store is at a server of chroma_nb's, or in a ClickHouse before 26.8.
        """
        return self.api.sql(query, parameters, tenant=self.tenant, database=self.database)

    def check(self) -> CheckReport:
        """Read everything that the database's collections have on the disk, and say what is whole.

        Records, vectors (each block of them against its checksum), graphs and snapshots. Nothing is changed.
        Writers of a collection wait while it is read. `chroma-nb check DIR` does it for a whole store.

        Raises:
            NotSupportedError: The store is at a server.
        """
        return self.api.check(tenant=self.tenant, database=self.database)

    def import_(
        self,
        path: str | os.PathLike[str],
        name: str | None = None,
        *,
        on_conflict: OnConflict = "skip",
    ) -> Collection:
        """Read a collection that `Collection.export` wrote; see `chroma_nb.transfer`."""
        from chroma_nb.transfer import import_collection

        return import_collection(self, path, name, on_conflict=on_conflict)

    def copy_to(
        self,
        other: ClientAPI,
        names: str | Sequence[str | Collection] | None = None,
        *,
        on_conflict: OnConflict = "skip",
        mirror: bool = False,
        verify: bool = False,
    ) -> Transfers:
        """Copy collections into another client's database.

        Args:
            other: The other client.
            names: Which collections, by name; None is all.
            on_conflict: ``"skip"`` leaves records whose ids are there as they are, ``"replace"`` writes over
                those that differ, ``"error"`` raises.
            mirror: Make the copy the same: changed records are written over, and what is not here is
                deleted there.
            verify: Read each collection and its copy again afterwards, and compare the number of their records and a
                checksum of them.

        Returns:
            Name -> records there afterwards; its `reports` say what was added, skipped, changed, removed.

        Raises:
            InternalError: With `verify`, a copy is not the same as its source.
            InvalidArgumentError: `other` is no client: open one with `chroma_nb.connect`.
        """
        from chroma_nb.transfer import copy_collections

        other = _checked_client(other)
        if names is None:
            chosen = None
        elif isinstance(names, str | Collection):
            chosen = [self._name_now(names)]
        else:
            chosen = [self._name_now(one) for one in names]
        return copy_collections(
            self, other, chosen, on_conflict=on_conflict, mirror=mirror, verify=verify
        )


def _checked_client(other: Any) -> ClientAPI:
    """Return the client that records are copied to.

    Raises:
        InvalidArgumentError: It is no client, but a path, an address or something else.
    """
    if isinstance(other, ClientAPI):
        return other
    if isinstance(other, str | os.PathLike):
        way_out = f"Open one: chroma_nb.connect({os.fspath(other)[:200]!r})."
    elif isinstance(getattr(other, "sync", None), ClientAPI):
        way_out = "The synchronous client behind it is one: other.sync."
    else:
        way_out = "Open one: chroma_nb.connect('./folder'), chroma_nb.connect('http://host:8000')."
    raise InvalidArgumentError(
        f"copy_to() wants a client of chroma_nb, got {str(other)[:200]!r} ({type(other).__name__}). {way_out}"
    )
