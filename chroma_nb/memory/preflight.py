"""`require`: refuse something large before it is allocated, with an error that names the ways out."""

from __future__ import annotations

from chroma_nb.errors import MemoryBudgetError
from chroma_nb.memory.lender import LENDERS
from chroma_nb.memory.machine import MACHINE
from chroma_nb.memory.sizes import format_bytes

#: Smaller needs (bytes) are not checked: reading the limits takes some 0.1 ms.
SMALL_NEED = 16 << 20
#: Not given out: allocators and the interpreter need room to work in.
_HEADROOM_BYTES = 8 << 20
_WAYS_OUT = "Ways out: "
#: A way out where the machine, and not the budget, has too little.
MAKE_ROOM = "make room on the machine: delete arrays, or restart notebooks that are not used"
_REASON = "something large needed room"


def require(n_bytes: int, what: str, *ways: str, budget: int | None = None) -> None:
    """Raise where the machine does not have that much free memory, before anything is allocated.

    Loaded collections are unloaded for it first.

    Args:
        n_bytes: Bytes that are needed.
        what: What needs them, as the start of a sentence: ``"get() of 1,000,000 records"``.
        ways: What to do instead, the best first.
        budget: The budget in force in bytes, where there is one.

    Raises:
        MemoryBudgetError: `n_bytes` are not free.
    """
    if n_bytes < SMALL_NEED:
        return
    free = _free()
    # Nothing is unloaded where it would not fit even then.
    if free < n_bytes <= free + LENDERS.lendable():
        LENDERS.give_back(n_bytes - free, _REASON)
        free = _free()
    if n_bytes > free:
        raise over_budget(n_bytes, free, budget, what, *ways)


def _free() -> int:
    return max(0, MACHINE.free() - _HEADROOM_BYTES)


def over_budget(
    n_bytes: int,
    free: int,
    budget: int | None,
    what: str,
    *ways: str,
    may_fit_later: bool = False,
) -> MemoryBudgetError:
    """Return the error that names the need, what is free, the budget (all in bytes) and the ways out."""
    limit = MACHINE.limit()
    allowed = "" if budget is None else f", the budget {format_bytes(budget)}"
    error = MemoryBudgetError(
        f"{what} needs about {format_bytes(n_bytes)}; {format_bytes(free)} are free{allowed}, the "
        f"limit {format_bytes(limit.total)} ({limit.source}). Nothing was allocated. "
        f"{_joined(ways)}",
        need=n_bytes,
        free=free,
        budget=budget,
    )
    error.may_fit_later = may_fit_later
    return error


def with_ways(error: MemoryBudgetError, *ways: str) -> None:
    """Give an error other ways out: who reads for somebody else knows theirs."""
    refused, named, _ = error.message().partition(_WAYS_OUT)
    if named:
        error.args = (f"{refused}{_joined(ways)}",)


def _joined(ways: tuple[str, ...]) -> str:
    return f"{_WAYS_OUT}{'; or '.join(ways)}."
