"""`StoredCatalogue`: tenants, databases and collections, in a log that all servers over the store share.

A change is committed on the state that it was checked against, or is checked again: so a name is unique, whoever takes
it first.
"""

from __future__ import annotations

import dataclasses
import json
import random
import re
import threading
import time
from abc import abstractmethod
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from chroma_nb.compact_json import json_text
from chroma_nb.db.base import DB
from chroma_nb.db.clickhouse.connection import Connection
from chroma_nb.db.clickhouse.graph_tables import GRAPH, GraphTables
from chroma_nb.db.clickhouse.literals import text
from chroma_nb.db.clickhouse.log import NO_LOOK, Log, Look, LostError, new_stamp
from chroma_nb.db.clickhouse.state import FORMAT, Entry, State, info_values
from chroma_nb.errors import ConflictError, NotFoundError, UniqueConstraintError

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from chroma_nb.db.clickhouse.errors import NoTableError
    from chroma_nb.db.clickhouse.log import Head
    from chroma_nb.db.clickhouse.views import View
    from chroma_nb.settings import Settings
    from chroma_nb.types import CollectionInfo

#: How all names of tables begin.
PREFIX = "chroma_nb_"
_CATALOGUE = PREFIX + "catalogue"
#: The name of a collection's table: the collection, the generation, when it was made, and a random number.
_TABLE = re.compile(PREFIX + "[0-9a-f]{32}_[0-9]+_([0-9a-f]+)_[0-9a-f]+")
#: Every so many commits one has a snapshot of the whole state, so that opening reads no more changes than that.
_SNAPSHOT_EVERY = 256
#: How often a change is checked and committed again where another server was first.
_MOST_TRIES = 200
_LONGEST_WAIT = 0.2
#: A table that was left by a compaction stays for so long: views of other servers may still be at it.
GRACE_SECONDS = 3_600.0
#: A table at a server that no collection names is deleted after so long. Making one, and filling it, has to take less.
ABANDONED_SECONDS = 86_400.0


class _Call(threading.local):
    """What a call of this thread has looked at already (`DB.one_look`)."""

    def __init__(self) -> None:
        self.is_open = False
        #: The catalogue was looked at.
        self.has_state = False
        #: Collection -> the view of its newest commit, as a look has found it, until `refresh` has used it.
        self.seen: dict[UUID, View] = {}


class _OneLook:
    """Opens a call, and ends it."""

    def __init__(self, call: _Call, *, joins: bool) -> None:
        self._call = call
        self._is_part = joins and call.is_open

    def __enter__(self) -> None:
        if not self._is_part:
            # An interrupted call may have left something.
            self._call.seen.clear()
            self._call.has_state = False
            self._call.is_open = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._is_part:
            self._call.is_open = False
            self._call.seen.clear()


class StoredCatalogue(DB):
    """The part of the DB that keeps the catalogue.

    Args:
        settings: Where the store is.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._staleness = settings.clickhouse_staleness_seconds
        self._connection = Connection(settings)
        self._log = Log(self._connection, _CATALOGUE)
        self._graphs = GraphTables(self._connection)
        #: Held while the state in memory is moved.
        self._moving = threading.RLock()
        #: What is committed, as far as it was read: the state, its number, and the look that has found it.
        self._known: tuple[State, int, Look] = (State(), 0, NO_LOOK)
        self._call = _Call()
        try:
            self._log.create(fsync=settings.fsync)
            found = self._log.snapshot()
            if found is not None:
                head, said = found
                self._known = (State.of_text(said), head.number, NO_LOOK)
            if not self._look()[1]:
                self._change_if(
                    lambda state: None if state.tenants else reset_change(self._now()),
                    tries=_MOST_TRIES,
                )
            self._sweep()
        except BaseException:
            self._connection.close()
            raise

    # -- the state ------------------------------------------------------------------------------

    def _look(self) -> tuple[State, int]:
        """Return what is committed now, and the number of its last commit."""
        look = self._log.look()
        state, number, last = self._known
        if last.holds(look):
            self._connection.check_open()
            self._call.has_state = True
            return state, number
        return self._take(state, number, self._log.after(number), look)

    def _take(
        self, state: State, number: int, changes: Sequence[Head], look: Look
    ) -> tuple[State, int]:
        """Take in the changes that a look has found after a state; return the newest state and its number."""
        for head in changes:
            state, number = state.after(json.loads(head.said)), head.number
        with self._moving:
            known = self._known
            if (number, look.at) > (known[1], known[2].at):
                self._known = (state, number, look)
            self._call.has_state = True
            return self._known[:2]

    def _state(self) -> State:
        """Return what is committed now, or what was when this call first looked, or within `clickhouse_staleness_seconds`."""
        state, _, last = self._known
        is_enough = self._call.is_open and self._call.has_state
        if is_enough or (self._staleness and time.monotonic() - last.at < self._staleness):
            self._connection.check_open()
            return state
        return self._look()[0]

    def one_look(self, *, joins: bool = False) -> contextlib.AbstractContextManager[None]:
        return _OneLook(self._call, joins=joins)

    def _change_if(
        self, decide: Callable[[State], dict[str, Any] | None], tries: int = _MOST_TRIES
    ) -> State:
        """Commit the change that `decide` returns for the present state; again where another server was first.

        Args:
            decide: Checks the state and returns the change; None changes nothing.
            tries: How often.

        Raises:
            ConflictError: Others were first each time.
        """
        wait = 0.001
        for _ in range(tries):
            state, number = self._look()
            change = decide(state)
            if change is None:
                return state
            after = state.after(change)
            snapshot = after.to_text() if (number + 1) % _SNAPSHOT_EVERY == 0 else None
            try:
                look = self._log.append(
                    number + 1, new_stamp(), json_text(change), snapshot=snapshot
                )
            except LostError:
                time.sleep(random.uniform(0, wait))
                wait = min(2 * wait, _LONGEST_WAIT)
                continue
            with self._moving:
                if number + 1 > self._known[1]:
                    self._known = (after, number + 1, look)
            return after
        raise ConflictError(
            f"The catalogue was changed by others each of the {tries} times that this was tried; nothing was written. Repeat "
            "the call when less is created and deleted."
        )

    def _entry(self, collection_id: UUID) -> Entry:
        return self._entry_in(self._state(), collection_id)

    def _known_entry(self, collection_id: UUID) -> Entry:
        """Return the entry as this process has seen it last."""
        return self._known[0].entries.get(collection_id) or self._entry(collection_id)

    def _entry_in(self, state: State, collection_id: UUID) -> Entry:
        entry = state.entries.get(collection_id)
        if entry is None:
            raise NotFoundError(f"Collection [{collection_id}] does not exist.")
        return entry

    # -- tenants and databases ------------------------------------------------------------------

    def create_tenant(self, name: str) -> None:
        def decide(state: State) -> dict[str, Any]:
            if name in state.tenants:
                raise UniqueConstraintError(f"Tenant [{name}] already exists")
            return {"do": "tenant", "name": name}

        self._change_if(decide)

    def has_tenant(self, name: str) -> bool:
        return name in self._state().tenants

    def create_database(self, name: str, tenant: str) -> UUID:
        made = uuid4()

        def decide(state: State) -> dict[str, Any]:
            if (tenant, name) in state.databases:
                raise UniqueConstraintError(f"Database [{name}] already exists")
            return {"do": "database", "tenant": tenant, "name": name, "id": str(made)}

        self._change_if(decide)
        return made

    def find_database(self, name: str, tenant: str) -> UUID | None:
        return self._state().databases.get((tenant, name))

    def list_databases(self, tenant: str) -> list[tuple[UUID, str]]:
        databases = self._state().databases.items()
        return [(found, name) for (owner, name), found in databases if owner == tenant]

    def delete_database(self, name: str, tenant: str) -> None:
        tables: list[str] = []

        def decide(state: State) -> dict[str, Any]:
            if (tenant, name) not in state.databases:
                raise NotFoundError(f"Database [{name}] not found for tenant [{tenant}]")
            tables[:] = [
                entry.table
                for entry in state.entries.values()
                if (entry.info.tenant, entry.info.database) == (tenant, name)
            ]
            return {"do": "drop_database", "tenant": tenant, "name": name, "now": self._now()}

        self._change_if(decide)
        self._drop_tables(tables)

    # -- collections ----------------------------------------------------------------------------

    def create_collection(self, info: CollectionInfo) -> None:
        def check(state: State) -> None:
            if state.named(info.name, info.tenant, info.database) is not None:
                raise UniqueConstraintError(f"Collection [{info.name}] already exists")
            if (info.tenant, info.database) not in state.databases:
                raise NotFoundError(
                    f"Database [{info.database}] not found for tenant [{info.tenant}]"
                )

        def decide(state: State) -> dict[str, Any]:
            check(state)
            return {"do": "create", **info_values(info), "table": log.table}

        check(self._state())
        # The table first: a collection that is listed has one. Where this process dies before that, the table is empty,
        # and is deleted in a day.
        log = self.new_log(info.id, 0)
        log.create(fsync=self._settings.fsync)
        try:
            self._change_if(decide)
        except UniqueConstraintError:
            log.drop()
            raise

    def new_log(self, collection_id: UUID, generation: int) -> Log:
        """Return a log in a table with a new name, which says when that was; the table is yet to be made."""
        name = f"{PREFIX}{collection_id.hex}_{generation}_{self._now():x}_{new_stamp():x}"
        return Log(self._connection, name)

    def _now(self) -> int:
        """Return the time of ClickHouse's clock, which all servers share: seconds since 1970."""
        now: int = self._connection.rows("SELECT toInt64(toUnixTimestamp(now())) AS now")[0][0]
        return now

    def find_collection(self, name: str, tenant: str, database: str) -> CollectionInfo | None:
        entry = self._state().named(name, tenant, database)
        return None if entry is None else self._described(entry)

    def get_collection(self, collection_id: UUID) -> CollectionInfo:
        return self._described(self._entry(collection_id))

    def list_collections(
        self, tenant: str | None = None, database: str | None = None
    ) -> list[CollectionInfo]:
        return [
            self._described(entry)
            for entry in self._state().entries.values()
            if tenant is None or (entry.info.tenant, entry.info.database) == (tenant, database)
        ]

    def _described(self, entry: Entry) -> CollectionInfo:
        """Return a collection's description, with what its own log says of it and the catalogue has not yet."""
        return entry.info

    @abstractmethod
    def _change_schema(self, collection_id: UUID, schema: dict[str, Any] | None) -> int:
        """Commit a schema to a collection's own log, which decides about it; return the number of the commit."""

    def update_collection(
        self, collection_id: UUID, change: Callable[[CollectionInfo], CollectionInfo]
    ) -> CollectionInfo:
        found: CollectionInfo | None = None

        def decide(state: State) -> dict[str, Any] | None:
            nonlocal found
            entry = self._entry_in(state, collection_id)
            old = self._described(entry)
            new = dataclasses.replace(change(old), dimension=old.dimension)
            other = state.named(new.name, new.tenant, new.database)
            if other is not None and other.info.id != collection_id:
                raise UniqueConstraintError(f"Collection [{new.name}] already exists")
            found = new
            if new == entry.info:
                return None
            number = entry.schema_number
            if new.schema != old.schema:
                number = self._change_schema(collection_id, new.schema)
            return {"do": "update", **info_values(new), "schema_number": number}

        self._change_if(decide)
        assert found is not None
        return found

    def delete_collection(self, collection_id: UUID) -> None:
        tables: list[str] = []

        def decide(state: State) -> dict[str, Any]:
            tables[:] = [self._entry_in(state, collection_id).table]
            return {"do": "drop", "id": str(collection_id), "now": self._now()}

        self._change_if(decide)
        self._drop_tables(tables)

    # -- tables that nobody needs any more ------------------------------------------------------

    def _drop_tables(self, tables: list[str]) -> None:
        for table in tables:
            Log(self._connection, table).drop()
            self._graphs.drop(table)

    def _sweep(self) -> None:
        """Delete the tables that collections have left, and those that a process has left that was killed."""
        state = self._state()
        grace = 0.0 if self._connection.is_alone else GRACE_SECONDS
        abandoned = GRACE_SECONDS if self._connection.is_embedded else ABANDONED_SECONDS
        now = self._now()
        gone = [table for table, at in state.dead.items() if now - at >= grace]
        self._drop_tables(gone)
        named = {*state.dead, *(entry.table for entry in state.entries.values())}
        found = self._connection.rows(
            f"SELECT name FROM system.tables WHERE database = currentDatabase() AND startsWith(name, {text(PREFIX)})"
        )
        names = {name for (name,) in found}
        for name in names:
            # A graph without its log: a process was killed after it had dropped the log.
            log = name.removesuffix(GRAPH)
            if log != name and log not in names:
                self._graphs.drop(log)
        unnamed = []
        for name in sorted(names):
            made = _TABLE.fullmatch(name)
            if made is not None and name not in named and now - int(made[1], 16) >= abandoned:
                unnamed.append(name)
        if unnamed:
            # A table that a compaction has moved a collection to may be named by the collection's old log alone.
            moved = {self._moved_to(entry) for entry in state.entries.values()}
            self._drop_tables([name for name in unnamed if name not in moved])
        if gone:
            self._change_if(lambda _: {"do": "swept", "tables": gone})

    @abstractmethod
    def _moved_to(self, entry: Entry) -> str | None:
        """Return the table that a compaction has moved a collection to, where the catalogue does not know yet."""

    def _check_not_deleted(self, collection_id: UUID, error: NoTableError) -> None:
        """Raise NotFoundError where a table is not there because the collection was deleted."""
        if collection_id not in self._look()[0].entries:
            raise NotFoundError(f"Collection [{collection_id}] does not exist.") from error


def reset_change(now: int) -> dict[str, Any]:
    """Return the change that deletes everything, and makes the default tenant and database."""
    return {"do": "reset", "format": FORMAT, "id": str(uuid4()), "now": now}
