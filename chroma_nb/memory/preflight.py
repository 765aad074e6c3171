"""The check before something large: is there memory for it, and what else could be done?"""

from __future__ import annotations

from chroma_nb.errors import MemoryBudgetError
from chroma_nb.memory.lender import LENDERS
from chroma_nb.memory.machine import MACHINE
from chroma_nb.memory.sizes import format_bytes

#: Smaller needs are not looked at: reading the limits takes some 0.1 ms.
SMALL_NEED = 16 << 20
#: Left to the rest of the process: allocators and interpreters need room to work in.
_HEADROOM_BYTES = 8 << 20
_REASON = "something large needed room"


def require(n_bytes: int, what: str, *ways: str, budget: int | None = None) -> None:
    """Raise where the machine cannot give so much memory; before anything is allocated.

    What is loaded gives way first.

    Args:
        n_bytes: What is needed.
        what: Who needs it, as the start of the sentence: ``"get() of 1,000,000 records"``.
        ways: What to do instead, the best first.
        budget: The budget in force, where there is one.

    Raises:
        MemoryBudgetError: `n_bytes` are not free.
    """
    if n_bytes < SMALL_NEED:
        return
    free = _free()
    # For what will not fit even so nobody has to be loaded again.
    if free < n_bytes <= free + LENDERS.lendable():
        LENDERS.give_back(n_bytes - free, _REASON)
        free = _free()
    if n_bytes > free:
        raise over_budget(n_bytes, free, budget, what, *ways)


def _free() -> int:
    return max(0, MACHINE.free() - _HEADROOM_BYTES)


def over_budget(
    n_bytes: int, free: int, budget: int | None, what: str, *ways: str
) -> MemoryBudgetError:
    """Return the error that names need, free memory, budget and the ways out."""
    limit = MACHINE.limit()
    allowed = "" if budget is None else f", the budget {format_bytes(budget)}"
    return MemoryBudgetError(
        f"{what} needs about {format_bytes(n_bytes)}; {format_bytes(free)} are free{allowed}, the "
        f"limit {format_bytes(limit.total)} ({limit.source}). Nothing was allocated. "
        f"Ways out: {'; or '.join(ways)}.",
        need=n_bytes,
        free=free,
        budget=budget,
    )
