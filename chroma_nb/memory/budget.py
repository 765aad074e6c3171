"""The default budgets of the collections and of DuckDB, and how a budget given as text is read."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from chroma_nb.callers import level_outside
from chroma_nb.memory.machine import MACHINE, Machine
from chroma_nb.memory.sizes import format_bytes, parse_bytes

#: Shares of the free memory: most for the loaded collections, some for DuckDB. The rest is for the notebook's
#: own data and for temporary memory, such as that of a query.
_LOADED_SHARE = 0.6
_DATABASE_SHARE = 0.15
#: DuckDB needs the lower one to sort and to write. More than the upper one made nothing faster here.
_DATABASE_LEAST = 32 << 20
_DATABASE_MOST = 256 << 20
#: DuckDB's limit while the machine's memory is short. A statement that needs more gets it until it ends.
LEAST_DATABASE = 12 << 20


@dataclass(frozen=True)
class Shares:
    """Bytes for the loaded collections (`loaded`), and for DuckDB (`database`)."""

    loaded: int
    database: int


def default_budget(machine: Machine = MACHINE) -> Shares:
    """Return the shares of the memory that is free now."""
    free = machine.free()
    database = min(max(int(free * _DATABASE_SHARE), _DATABASE_LEAST), _DATABASE_MOST)
    return Shares(loaded_share(free), database)


def loaded_share(free: int) -> int:
    """Return how many of `free` bytes loaded collections may hold."""
    return int(free * _LOADED_SHARE)


def database_share(budget: int) -> int:
    """Return DuckDB's limit in bytes, in proportion to the budget of the collections."""
    part = int(budget * _DATABASE_SHARE / _LOADED_SHARE)
    return min(max(part, _DATABASE_LEAST), _DATABASE_MOST)


def is_auto(value: object) -> bool:
    """Say whether a budget is ``"auto"``."""
    return isinstance(value, str) and value.strip().lower() == "auto"


def read_budget(value: int | float | str, machine: Machine = MACHINE) -> int:
    """Return a budget in bytes: ``"auto"``, bytes, ``"2 GB"``, ``"25%"`` of the machine's limit.

    Warns of one above that limit.

    Raises:
        InvalidArgumentError: It cannot be read.
    """
    if is_auto(value):
        return default_budget(machine).loaded
    limit = machine.limit()
    budget = parse_bytes(value, whole=limit.total)
    if budget > limit.total:
        sizes = [format_bytes(size) for size in (budget, limit.total)]
        if sizes[0] == sizes[1]:
            sizes = [f"{size:,} bytes" for size in (budget, limit.total)]
        warnings.warn(
            f"A memory budget of {sizes[0]} is above what this process may have, {sizes[1]} "
            f"({limit.source}), so the system ends the process before anything is unloaded. Set less, or 'auto'.",
            UserWarning,
            stacklevel=level_outside(),
        )
    return budget
