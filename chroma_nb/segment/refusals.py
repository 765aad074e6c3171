"""What is said where memory is refused: what needs it, how much there is, and the ways out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chroma_nb.memory.preflight import MAKE_ROOM, over_budget
from chroma_nb.memory.sizes import format_bytes

if TYPE_CHECKING:
    from collections.abc import Hashable

    from chroma_nb.errors import MemoryBudgetError
    from chroma_nb.segment.resident_set import ResidentSet
    from chroma_nb.segment.slot import Slot

#: Collections that an error names.
_NAMED = 5


def _more(n: int) -> str:
    return f" and {n - _NAMED:,} more" if n > _NAMED else ""


def pinned_too_large(residents: ResidentSet, pinned: int, budget: int) -> MemoryBudgetError:
    """Return the error for a budget below what is pinned (both in bytes)."""
    held = [slot for slot in residents.slots.pins() if slot.segment]
    # The largest first: unpinning these frees the most.
    held.sort(key=lambda slot: residents.ledger.held(slot.collection_id), reverse=True)
    names = [str(residents.slots.name_of(slot)) for slot in held]
    return over_budget(
        pinned,
        budget,
        residents.budget,
        f"A budget of {format_bytes(budget)} is too small: what is pinned "
        f"({', '.join(names[:_NAMED])}{_more(len(names))})",
        "unpin one of them: client.memory.unpin(name)",
        f"choose a budget that has room for it: client.memory.budget = {pinned:_}",
    )


def still_held(residents: ResidentSet, budget: int) -> MemoryBudgetError:
    """Return the error for a budget (bytes) that is smaller than what is in use."""
    accounts = residents.ledger.accounts()
    used = sum(accounts.values())
    largest = sorted(accounts, key=lambda owner: accounts[owner], reverse=True)
    held = [
        f"{_account_name(residents, owner)}: {format_bytes(accounts[owner])}"
        for owner in largest[:_NAMED]
    ]
    return over_budget(
        max(used, budget + 1),
        budget,
        residents.budget,
        f"A budget of {format_bytes(budget)} is too small at the moment: what is in use "
        f"({', '.join(held)}{_more(len(largest))})",
        "repeat the call when nobody builds an index, writes or reads there",
        f"choose a budget that has room for it: client.memory.budget = {used:_}",
    )


def _account_name(residents: ResidentSet, owner: Hashable) -> str:
    collection_id, doing = owner if isinstance(owner, tuple) else (owner, "")
    slot = residents.slots.find(collection_id)
    if slot is None:
        return f"a deleted collection ({collection_id})"
    what = {"graph": ", its graph being built", "growth": ", a write to it"}.get(doing, "")
    return f"{residents.slots.name_of(slot)}{what}"


def no_room(
    residents: ResidentSet, slot: Slot, need: int, what: str, otherwise: str, held: int = 0
) -> MemoryBudgetError:
    """Return the error for bytes that a collection cannot get, because of the budget or of the machine.

    Args:
        residents: The store's loaded collections.
        slot: The collection's slot.
        need: Bytes that it would have taken.
        what: What needs them, as the start of a sentence.
        otherwise: A way out that needs no more memory.
        held: Bytes that the collection holds already, and goes on holding.
    """
    room = max(0, residents.room_for(slot) - held)
    if need > room:
        budget = held + need + residents.pinned_bytes(but=slot)
        way = f"raise the budget: client.memory.budget = {budget:_}"
        if need > residents.machine_room() + residents.lendable:
            way = f"{MAKE_ROOM}; then {way}"
    else:
        there = residents.machine_room()
        way = "make room on the machine, such as by deleting arrays, and repeat the call"
        if need <= there:
            way = "repeat the call: others are in use at this moment, and could not go"
        # More may be free by now than when it was refused; the error has to name less than the need.
        room = max(0, min(room, there, residents.ledger.free, need - 1))
    return over_budget(need, room, residents.budget, what, way, otherwise)
