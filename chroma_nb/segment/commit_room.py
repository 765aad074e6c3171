"""`CommitRoom`: the memory of a commit, reserved before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chroma_nb.errors import MemoryBudgetError
from chroma_nb.memory.lender import LENDERS
from chroma_nb.memory.preflight import MAKE_ROOM
from chroma_nb.memory.workspace import NOTHING, SMALL_BYTES, WORKSPACE
from chroma_nb.segment.refusals import no_room

if TYPE_CHECKING:
    from chroma_nb.db.base import DB, Changes
    from chroma_nb.memory.workspace import Grant
    from chroma_nb.segment.resident_set import ResidentSet
    from chroma_nb.segment.segment import LoadedSegment
    from chroma_nb.segment.slot import Slot

#: Texts of up to this many bytes are written however little is free, unless that is next to nothing: imports and copies send
#: pieces of about this size.
_ALWAYS_WRITTEN_BYTES = 8 << 20


class CommitRoom:
    """Finds the memory that a commit takes in the DB, and by which it makes a loaded segment grow.

    Args:
        db: What is written to.
        residents: The loaded collections.
    """

    def __init__(self, db: DB, residents: ResidentSet) -> None:
        self._db = db
        self._residents = residents

    def for_db(self, slot: Slot, changes: Changes) -> Grant:
        """Take what the DB needs for a commit; one of a few megabytes has to do with what there is, if there is anything.

        The collection itself is unloaded for it where nothing else is left.

        Raises:
            MemoryBudgetError: It is not free.
        """
        text_bytes = changes.rows.text_bytes
        n_bytes = self._db.commit_bytes(text_bytes)
        is_critical = len(text_bytes) > 0 and WORKSPACE.is_critical
        if not is_critical:
            if n_bytes <= SMALL_BYTES:
                return NOTHING
            if text_bytes.sum() <= _ALWAYS_WRITTEN_BYTES:
                return WORKSPACE.take(n_bytes)
        name = self._db.get_collection(slot.collection_id).name
        what = f"Writing {len(text_bytes):,} records to collection [{name}]"
        if is_critical:
            # What was written last may not be out of memory yet.
            self._db.settle()
            return WORKSPACE.take_all(n_bytes, what, MAKE_ROOM)
        try:
            return WORKSPACE.take_all(n_bytes, what)
        except MemoryBudgetError:
            pass
        if slot.segment is not None and not slot.pinned:
            with slot.lock.write():
                self._residents.drop(slot, save=True, reason="a write needed room")
        longest = text_bytes.max(keepdims=True)
        # Half of what is free: what was written last may not be out of memory yet.
        half = (WORKSPACE.free() + LENDERS.lendable()) // 2
        n_rows = max(
            _ALWAYS_WRITTEN_BYTES // int(longest[0]), half // self._db.commit_bytes(longest)
        )
        ways = [f"write them in parts of {n_rows:,}"] if 0 < n_rows < len(text_bytes) else []
        return WORKSPACE.take_all(
            n_bytes,
            what,
            *ways,
            *(() if ways else ("split the longest texts into several records",)),
            MAKE_ROOM,
        )

    def for_segment(
        self, slot: Slot, segment: LoadedSegment, changes: Changes
    ) -> frozenset[str] | None:
        """Reserve the bytes that a commit will add to a segment, on the slot's `growth_account`.

        Where they do not fit, the columns that filters have made are dropped first.

        Returns:
            The keys of the columns whose growth is included; None where there is no room even without columns.
        """
        counted = self._reserve(slot, segment, changes)
        if counted is None:
            with slot.lock.write():
                segment.metadata.forget_columns()
                self._correct_account(slot, segment)
            counted = self._reserve(slot, segment, changes)
        return counted

    def _reserve(
        self, slot: Slot, segment: LoadedSegment, changes: Changes
    ) -> frozenset[str] | None:
        # Read before reserving: readers may make more columns until the commit, whose growth is not included.
        counted = segment.metadata.column_keys
        is_had = self._residents.reserve(slot, segment.growth(changes), slot.growth_account)
        return counted if is_had else None

    def by_dropping_graph(
        self, slot: Slot, segment: LoadedSegment, changes: Changes
    ) -> frozenset[str]:
        """Reserve as `for_segment`, after dropping the graph of a pinned collection.

        The graph is built again in a form that fits.

        Returns:
            The keys of the columns whose growth is included.

        Raises:
            MemoryBudgetError: It does not fit without a graph; nothing is written.
        """
        vectors = segment.vectors
        if vectors is not None and vectors.graph is not None:
            self._residents.saved_graphs.save(segment)
            with slot.lock.write():
                vectors.drop_graph()
                self._correct_account(slot, segment)
        counted = self._reserve(slot, segment, changes)
        if counted is None:
            raise no_room(
                self._residents,
                slot,
                segment.growth(changes),
                f"This write of {len(changes.rows):,} records to collection [{segment.info.name}], which is pinned,",
                f"unpin it: client.memory.unpin({segment.info.name!r})",
                self._residents.ledger.held(slot.collection_id),
            )
        return counted

    def use(
        self,
        slot: Slot,
        segment: LoadedSegment,
        changes: Changes,
        version: int,
        counted: frozenset[str],
    ) -> None:
        """Apply a commit to a segment with the bytes that were reserved.

        Args:
            slot: The collection's slot.
            segment: Its segment.
            changes: What the DB has committed.
            version: The version of the collection after it.
            counted: The keys of the columns for whose growth bytes were reserved.
        """
        with slot.lock.write():
            if slot.segment is not segment:
                # The DB needed room for the commit, and the collection was evicted for it.
                return
            # No room was reserved for the growth of columns that readers have made since.
            segment.metadata.forget_columns(but=counted)
            segment.apply(self._db, changes, version)
            self._residents.ledger.hand_over(slot.growth_account, slot.collection_id)
            self._residents.ledger.set_held(slot.collection_id, segment.resident_bytes)

    def _correct_account(self, slot: Slot, segment: LoadedSegment) -> None:
        """Set the account to what the segment holds, if it is still the loaded one."""
        if slot.segment is segment:
            self._residents.ledger.set_held(slot.collection_id, segment.resident_bytes)
