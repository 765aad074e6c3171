"""`SharedView`: sees what other processes have committed to a shared DB, and brings loaded segments up to date.

A process has one view of each collection (`DB`). It is moved by a thread that holds the slot's `write_lock`; and where
no segment is loaded, `lock` for writing, too, as an answer from the DB then takes several queries. So a segment and the
view differ only while that thread brings the one to the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chroma_nb.errors import NotFoundError

if TYPE_CHECKING:
    from uuid import UUID

    from chroma_nb.db.base import DB
    from chroma_nb.segment.commit_room import CommitRoom
    from chroma_nb.segment.derived_files import DerivedFiles
    from chroma_nb.segment.resident_set import ResidentSet
    from chroma_nb.segment.scans import Scans
    from chroma_nb.segment.segment import LoadedSegment
    from chroma_nb.segment.slot import Slot, Slots


class SharedView:
    """What this process sees of a shared DB.

    Args:
        db: A DB that other processes may write to.
        slots: The collections' slots.
        residents: The loaded collections.
        room: Reserves the memory by which segments grow.
        derived: The derived files of collections.
        scans: The scans that are under way.
    """

    def __init__(
        self,
        db: DB,
        slots: Slots,
        residents: ResidentSet,
        room: CommitRoom,
        derived: DerivedFiles,
        scans: Scans,
    ) -> None:
        self._db = db
        self._slots = slots
        self._residents = residents
        self._room = room
        self._derived = derived
        self._scans = scans

    def catch_up(self, slot: Slot) -> bool:
        """See what is committed now; say whether that moved the view.

        Takes no lock where others have committed nothing.

        Raises:
            NotFoundError: Another process has deleted the collection.
        """
        try:
            if not self._is_behind(slot):
                return False
            with slot.write_lock:
                self.catch_up_locked(slot)
        except NotFoundError:
            self.free_deleted(slot.collection_id)
            raise
        return True

    def _is_behind(self, slot: Slot) -> bool:
        if self._db.is_behind(slot.collection_id):
            return True
        segment = slot.segment
        if segment is None:
            return False
        # The two differ where a thread was stopped between moving the view and applying the changes.
        return not self._has_state_of_view(segment) or segment.info != self._db.get_collection(
            slot.collection_id
        )

    def catch_up_locked(self, slot: Slot) -> None:
        """See what is committed now. The caller holds `write_lock`.

        Raises:
            NotFoundError: Another process has deleted the collection.
        """
        # A segment in doubt may have the version of a commit that was applied to it only in part. Once newer commits
        # are applied, nothing would show that it lacks the rest.
        self._residents.drop_if_in_doubt(slot)
        # The view moves to what was looked at before the scans were told.
        with self._db.one_look(joins=True):
            self._move(slot)

    def _move(self, slot: Slot) -> None:
        if slot.scans and self._db.is_behind(slot.collection_id):
            # Which records the others have removed is known only when those are gone from the view.
            self._scans.before_refresh(slot)
        segment = slot.segment
        if segment is None:
            with slot.lock.write():
                self._db.refresh(slot.collection_id)
            slot.least_bytes = None
            return
        info = self._db.get_collection(slot.collection_id)
        self._db.refresh(slot.collection_id)
        self._bring_up(slot, segment)
        if slot.segment is not None and segment.info != info:
            self._residents.configure(slot)

    def _bring_up(self, slot: Slot, segment: LoadedSegment) -> None:
        """Apply to a segment the commits that it lacks; drop it where they are not known or there is no room."""
        if self._has_state_of_view(segment):
            return
        extent = self._db.extent(slot.collection_id)
        lacking = None
        if segment.generation == extent.generation:
            lacking = self._db.changes_since(slot.collection_id, segment.version)
        if lacking is None:
            self._drop(slot, "others have written to it")
            return
        try:
            slot.in_doubt = True
            for changes in lacking:
                counted = self._room.for_segment(slot, segment, changes)
                if counted is None:
                    self._drop(slot, "others have written to it, and it did not fit any more")
                    return
                self._room.use(slot, segment, changes, extent.version, counted)
            segment.version = extent.version
            slot.in_doubt = False
        except BaseException:
            self._residents.drop_if_in_doubt(slot)
            raise
        finally:
            self._residents.ledger.set_held(slot.growth_account, 0)

    def _has_state_of_view(self, segment: LoadedSegment) -> bool:
        extent = self._db.extent(segment.info.id)
        return (segment.version, segment.generation) == (extent.version, extent.generation)

    def _drop(self, slot: Slot, reason: str) -> None:
        with slot.lock.write():
            self._residents.drop(slot, save=False, reason=reason)

    def free_deleted(self, collection_id: UUID) -> None:
        """Free what is held of a collection that another process has deleted."""
        slot = self._slots.find(collection_id)
        if slot is None:
            return
        with slot.write_lock:
            self._drop(slot, "deleted by another process")
            with slot.lock.write():
                self._scans.end(slot, "its collection was deleted")
            self._slots.remove(collection_id)
        self._derived.remove([collection_id])
