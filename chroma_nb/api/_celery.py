"""`Celery`: the API in this process, with workers that compute what takes long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.api._local import Local
from chroma_nb.shielded import finish
from chroma_nb.tasks import pieces
from chroma_nb.tasks.graph_builder import GraphBuilder
from chroma_nb.tasks.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from chroma_nb.db.base import DB
    from chroma_nb.segment.manager import SegmentManager
    from chroma_nb.settings import Settings


class Celery(Local):
    """Answers in this process, and has workers embed texts and build graphs. What counts is committed here.

    Args:
        db: Holds all records.
        segments: The collections that are in memory, and the background work.
        settings: As for `Local`; `celery_broker`, `celery_backend`, `celery_fallback` and `tls_verify` say where the workers are.

    Raises:
        InvalidArgumentError: The broker's address is missing, or is none.
    """

    def __init__(self, db: DB, segments: SegmentManager, settings: Settings) -> None:
        super().__init__(db, segments, settings)
        self.workers: Workers = Workers(settings)
        segments.residents.saved_graphs.elsewhere = GraphBuilder(self.workers)

    def embed(
        self, function: Any, texts: Sequence[Any], on_progress: Callable[[int], object]
    ) -> NDArray[np.float32] | None:
        self._check_usable()
        if len(texts) < pieces.FEW_TEXTS or not all(isinstance(one, str) for one in texts):
            return None
        at_most = self.settings.max_batch_size or None
        return pieces.Embedding(self.workers, function, texts, on_progress, at_most).run()

    def close(self) -> None:
        finish(super().close, self.workers.close)

    def abandon(self) -> None:
        finish(super().abandon, self.workers.close)
