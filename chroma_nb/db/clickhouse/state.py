"""`State`: the catalogue after some commits. Each commit is one *change*, a JSON object, which makes the next state.

A state is never changed once it is made, so it can be read while another thread makes the next one.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from uuid import UUID

from chroma_nb.compact_json import json_text
from chroma_nb.errors import StoreCorruptError, VersionMismatchError
from chroma_nb.types import DEFAULT_DATABASE, DEFAULT_TENANT, CollectionInfo

#: The form of the changes, the heads and the tables.
FORMAT = 1


@dataclass(frozen=True)
class Entry:
    """One collection."""

    info: CollectionInfo
    #: The table that has its records.
    table: str
    generation: int = 0
    #: The commit of that table from which the schema is.
    schema_number: int = 0


@dataclass(frozen=True)
class State:
    """Tenants, databases and collections."""

    tenants: dict[str, None] = field(default_factory=dict)
    #: (tenant, name) -> id, in order of creation.
    databases: dict[tuple[str, str], UUID] = field(default_factory=dict)
    #: In order of creation.
    entries: dict[UUID, Entry] = field(default_factory=dict)
    #: Tables that no collection has any more -> when that was, seconds since 1970.
    dead: dict[str, float] = field(default_factory=dict)

    def named(self, name: str, tenant: str, database: str) -> Entry | None:
        """Return the collection of this name, or None."""
        return self._by_name.get((tenant, database, name))

    @cached_property
    def _by_name(self) -> dict[tuple[str, str, str], Entry]:
        return {
            (entry.info.tenant, entry.info.database, entry.info.name): entry
            for entry in self.entries.values()
        }

    def after(self, change: dict[str, Any]) -> State:
        """Return the next state.

        Raises:
            StoreCorruptError: The change does not fit this state, or is none.
            VersionMismatchError: A later version of chroma_nb has written it.
        """
        kind = change.get("do")
        work = getattr(self, f"_{kind}", None) if isinstance(kind, str) else None
        if work is None:
            raise VersionMismatchError(
                f"The catalogue has a change of the kind {kind!r}, which this version of chroma_nb does not know. A later one "
                "has written it: pip install -U chroma-nb."
            )
        try:
            found: State = work(change)
        except (KeyError, TypeError, ValueError) as error:
            raise StoreCorruptError(
                f"A change of the catalogue ({kind}) does not fit what was there before ({error!r}). Restore the store from "
                "a backup."
            ) from error
        return found

    # -- the kinds of changes -------------------------------------------------------------------

    def _reset(self, change: dict[str, Any]) -> State:
        _check_format(change["format"])
        dead = dict(self.dead)
        dead.update({entry.table: change["now"] for entry in self.entries.values()})
        database = {(DEFAULT_TENANT, DEFAULT_DATABASE): UUID(change["id"])}
        return State({DEFAULT_TENANT: None}, database, {}, dead)

    def _tenant(self, change: dict[str, Any]) -> State:
        return dataclasses.replace(self, tenants={**self.tenants, change["name"]: None})

    def _database(self, change: dict[str, Any]) -> State:
        key = (change["tenant"], change["name"])
        return dataclasses.replace(self, databases={**self.databases, key: UUID(change["id"])})

    def _drop_database(self, change: dict[str, Any]) -> State:
        key = (change["tenant"], change["name"])
        databases, entries, dead = dict(self.databases), dict(self.entries), dict(self.dead)
        del databases[key]
        for collection_id, entry in self.entries.items():
            if (entry.info.tenant, entry.info.database) == key:
                dead[entries.pop(collection_id).table] = change["now"]
        return dataclasses.replace(self, databases=databases, entries=entries, dead=dead)

    def _create(self, change: dict[str, Any]) -> State:
        info = read_info(change)
        return self._with(Entry(info, change["table"]))

    def _update(self, change: dict[str, Any]) -> State:
        info = read_info(change)
        entry = self.entries[info.id]
        return self._with(
            dataclasses.replace(entry, info=info, schema_number=change["schema_number"])
        )

    def _settle(self, change: dict[str, Any]) -> State:
        """A collection's own log has said something that the catalogue has a copy of."""
        entry = self.entries.get(UUID(change["id"]))
        if entry is None or entry.generation > change["generation"]:
            return self
        info, dead = entry.info, self.dead
        schema_number = entry.schema_number
        is_moved = change["generation"] > entry.generation
        if is_moved or change["schema_number"] > schema_number:
            schema_number = change["schema_number"]
            info = dataclasses.replace(info, schema=change["schema"])
        if info.dimension is None:
            info = dataclasses.replace(info, dimension=change["dimension"])
        if is_moved:
            dead = {**dead, entry.table: change["now"]}
        entry = Entry(info, change["table"], change["generation"], schema_number)
        return dataclasses.replace(self, entries={**self.entries, info.id: entry}, dead=dead)

    def _drop(self, change: dict[str, Any]) -> State:
        entries = dict(self.entries)
        table = entries.pop(UUID(change["id"])).table
        return dataclasses.replace(self, entries=entries, dead={**self.dead, table: change["now"]})

    def _swept(self, change: dict[str, Any]) -> State:
        dead = {table: at for table, at in self.dead.items() if table not in change["tables"]}
        return dataclasses.replace(self, dead=dead)

    def _with(self, entry: Entry) -> State:
        return dataclasses.replace(self, entries={**self.entries, entry.info.id: entry})

    # -- a snapshot -----------------------------------------------------------------------------

    def to_text(self) -> str:
        """Return the whole state as JSON."""
        return json_text(
            {
                "format": FORMAT,
                "tenants": list(self.tenants),
                "databases": [[*key, str(one)] for key, one in self.databases.items()],
                "entries": [
                    {
                        **info_values(entry.info),
                        "table": entry.table,
                        "generation": entry.generation,
                        "schema_number": entry.schema_number,
                    }
                    for entry in self.entries.values()
                ],
                "dead": self.dead,
            }
        )

    @classmethod
    def of_text(cls, text: str) -> State:
        """Return the state of a snapshot."""
        found = json.loads(text)
        _check_format(found["format"])
        entries = [
            Entry(read_info(one), one["table"], one["generation"], one["schema_number"])
            for one in found["entries"]
        ]
        return cls(
            dict.fromkeys(found["tenants"]),
            {(tenant, name): UUID(one) for tenant, name, one in found["databases"]},
            {entry.info.id: entry for entry in entries},
            found["dead"],
        )


def _check_format(number: int) -> None:
    if number > FORMAT:
        raise VersionMismatchError(
            f"The store is of format {number}, and this version of chroma_nb reads formats up to {FORMAT}. A later one has "
            "written it: pip install -U chroma-nb."
        )


_FIELDS = (
    "name",
    "tenant",
    "database",
    "configuration",
    "metadata",
    "dimension",
    "ttl_seconds",
    "schema",
)


def info_values(info: CollectionInfo) -> dict[str, Any]:
    """Return a collection's description as values of JSON."""
    return {"id": str(info.id), **{name: getattr(info, name) for name in _FIELDS}}


def read_info(values: dict[str, Any]) -> CollectionInfo:
    """Return the description again."""
    return CollectionInfo(UUID(values["id"]), **{name: values[name] for name in _FIELDS})
