"""How memory is divided where nobody says it, and what a budget given in words comes to."""

from __future__ import annotations

from dataclasses import dataclass

from chroma_nb.memory.machine import MACHINE, Machine
from chroma_nb.memory.sizes import parse_bytes

#: Of what is free when a store is opened: most to the loaded collections, a little to the database, the
#: rest to the notebook's own data and to what answering a query takes for a moment.
_INDEX_SHARE = 0.6
_DATABASE_SHARE = 0.15
#: DuckDB needs some room to sort and to write in, and gains nothing from more than this here.
_DATABASE_LEAST = 32 << 20
_DATABASE_MOST = 256 << 20
#: While the machine's memory is short. Where it is not enough, the database gets more for a moment.
LEAST_DATABASE = 12 << 20


@dataclass(frozen=True)
class Shares:
    """Bytes for the loaded collections, and for the database."""

    index: int
    database: int


def default_budget(machine: Machine = MACHINE) -> Shares:
    """Divide what this process can still have."""
    free = machine.free()
    database = min(max(int(free * _DATABASE_SHARE), _DATABASE_LEAST), _DATABASE_MOST)
    return Shares(index_share(free), database)


def index_share(free: int) -> int:
    """Return the part of what is free that is for loaded collections."""
    return int(free * _INDEX_SHARE)


def database_share(budget: int) -> int:
    """Return the database's part beside a budget that somebody chose."""
    part = int(budget * _DATABASE_SHARE / _INDEX_SHARE)
    return min(max(part, _DATABASE_LEAST), _DATABASE_MOST)


def is_auto(value: object) -> bool:
    """Say whether a budget is to be found out."""
    return isinstance(value, str) and value.strip().lower() == "auto"


def read_budget(value: int | float | str, machine: Machine = MACHINE) -> int:
    """Return a budget in bytes: ``"auto"``, bytes, ``"2 GB"``, ``"25%"`` of the machine's limit.

    Raises:
        InvalidArgumentError: It cannot be read.
    """
    if is_auto(value):
        return default_budget(machine).index
    return parse_bytes(value, whole=machine.limit().total)
