"""`local_api`: the API that clients get over a DB, without a client."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from chroma_nb.api._local import Local
from chroma_nb.index import load_engine
from chroma_nb.segment.manager import SegmentManager

if TYPE_CHECKING:
    from chroma_nb.db.base import DB
    from chroma_nb.settings import Settings


def local_api(db: DB, settings: Settings) -> Local:
    """Return the API over an open DB, with segments of its own. Closing it closes the DB."""
    engine = partial(load_engine, settings.index_engine)
    return Local(db, SegmentManager(db, engine, settings), settings)
