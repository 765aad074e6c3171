"""`MetadataCache`: what is known of the collections' metadata, kept as long as it is true."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from chroma_nb.segment.locks import Mutex
from chroma_nb.types import MOST_METADATA_KEYS

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from uuid import UUID

    from chroma_nb.db.base import DB, Extent
    from chroma_nb.types import FieldSummary

#: Collections of which something is kept; of each at most `MOST_METADATA_KEYS` keys.
_COLLECTIONS = 64
#: Descriptions kept of one collection: people ask for different numbers of values.
_DESCRIPTIONS = 4


@dataclass(eq=False)
class _Known:
    """What is known of one collection: the keys and the descriptions, each with its version."""

    #: Held by whoever asks the DB, so that the others wait for the same answer.
    keys_lock: Mutex = field(default_factory=Mutex)
    fields_lock: Mutex = field(default_factory=Mutex)
    #: Replaced as a whole: a stopped cell leaves the old or the new.
    keys: tuple[int, frozenset[str]] | None = None
    fields: tuple[int, dict[int, list[FieldSummary]]] = (-1, {})


class MetadataCache:
    """Keys and descriptions of metadata, by the version of the collection that they were made from.

    Args:
        db: The truth; it says which version is the last.
    """

    def __init__(self, db: DB) -> None:
        self._db = db
        self._lock = threading.Lock()
        self._known: OrderedDict[UUID, _Known] = OrderedDict()

    def _of(self, collection_id: UUID) -> _Known:
        with self._lock:
            known = self._known.setdefault(collection_id, _Known())
            self._known.move_to_end(collection_id)
            while len(self._known) > _COLLECTIONS:
                self._known.popitem(last=False)
        return known

    def keys(self, collection_id: UUID) -> list[str]:
        """Return the metadata keys; see `API.metadata_keys`."""
        version = self._db.extent(collection_id).version
        known = self._of(collection_id)
        kept = known.keys
        if kept is None or kept[0] != version:
            with known.keys_lock:
                # Somebody may have asked meanwhile. The version is read before the keys are: should they be
                # newer than it, the next look finds another version and asks again.
                extent = self._db.extent(collection_id)
                kept = known.keys
                if kept is None or kept[0] != extent.version:
                    found = self._db.metadata_keys(collection_id) if extent.n_records else []
                    kept = known.keys = (extent.version, frozenset(found))
        return sorted(kept[1])

    def grown(
        self, collection_id: UUID, before: Extent, after: Extent, keys: AbstractSet[str]
    ) -> None:
        """Take notice of a commit that took no key away.

        Called by the collection's only writer after the commit, so that the next look at the keys is
        quick: nothing has to be read again.

        Args:
            collection_id: The collection.
            before: Its extent before the commit.
            after: Its extent after the commit.
            keys: The keys of what was written.
        """
        known = self._of(collection_id)
        if not before.n_records:
            had: frozenset[str] = frozenset()
        elif known.keys is not None and known.keys[0] == before.version:
            had = known.keys[1]
        else:
            return
        now = had if keys <= had else had | keys
        # More than are listed: which ones, the DB says.
        if len(now) < MOST_METADATA_KEYS:
            known.keys = (after.version, now)

    def fields(self, collection_id: UUID, n_values: int) -> list[FieldSummary]:
        """Return a description of the metadata; see `API.describe_fields`."""
        self._db.extent(collection_id)
        known = self._of(collection_id)
        version, kept = known.fields
        if version != self._db.extent(collection_id).version or n_values not in kept:
            with known.fields_lock:
                extent = self._db.extent(collection_id)
                version, kept = known.fields
                if version != extent.version:
                    kept = {}
                if n_values not in kept:
                    found = self._db.describe_fields(collection_id, n_values)
                    others = list(kept.items())[-(_DESCRIPTIONS - 1) :]
                    kept = {**dict(others), n_values: found}
                    known.fields = (extent.version, kept)
        # The caller's own: a list can be changed.
        return [replace(summary, values=list(summary.values)) for summary in kept[n_values]]
