"""`checked_store`: everything that is on the disk, read and compared with its checksums."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from chroma_nb.check_report import CheckReport, CollectionCheck
from chroma_nb.errors import NotFoundError
from chroma_nb.progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chroma_nb.segment.manager import SegmentManager
    from chroma_nb.settings import Settings
    from chroma_nb.types import CollectionInfo


def checked_store(
    segments: SegmentManager,
    infos: Sequence[CollectionInfo],
    settings: Settings,
    tenant: str | None,
    database: str | None,
) -> CheckReport:
    """Read collections, and say what of them is whole.

    Args:
        segments: The store's.
        infos: The collections.
        settings: `place` and `progress` are used.
        tenant: Of damaged collections that have no entry of their own, those of this tenant; None is all.
        database: And of this database.
    """
    db = segments.db
    started = time.monotonic()
    found: list[CollectionCheck] = []
    n_derived = sum(segments.residents.derived.sizes([info.id for info in infos]))
    with progress_bar(
        sum(db.bytes_on_disk(info.id) for info in infos) + n_derived,
        "Checking the store",
        unit="B",
        did="read",
        enabled=settings.progress,
    ) as bar:
        for info in infos:
            # Deleted meanwhile.
            with contextlib.suppress(NotFoundError):
                found.append(segments.check(info.id, bar.update))
        n_bytes = bar.done
    for one in db.damaged_collections():
        if tenant is None or (one.tenant, one.database) == (tenant, database):
            found.append(one)
    return CheckReport(
        settings.place,
        found,
        n_bytes,
        time.monotonic() - started,
        unnamed=db.unnamed_files(),
    )
