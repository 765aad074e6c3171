"""Maps of points that nobody has had to lay out."""

from __future__ import annotations

import numpy as np

from chroma_nb.plotting.embedding_map import EmbeddingMap, MapPoints
from chroma_nb.plotting.projection import Projection

_WORDS = ("animal", "plant", "river", "music", "law", "city", "metal", "food", "ship", "number")


def map_of(n: int, *, color: str | None = "topic", scale: bool = False) -> EmbeddingMap:
    """Return a map of n records in ten clusters, with a question and the ten records nearest to it.

    Args:
        n: Records, at least ten.
        color: What their colours are called.
        scale: Whether their colours are those of numbers.
    """
    random = np.random.default_rng(7)
    centers = random.normal(0, 10, (len(_WORDS), 2))
    which = random.integers(0, len(_WORDS), n)
    places = (centers[which] + random.normal(0, 1.5, (n, 2))).astype(np.float32)
    ranks = np.zeros(n, dtype=np.int64)
    ranks[np.argsort(((places - centers[0]) ** 2).sum(axis=1))[:10]] = np.arange(1, 11)
    values = random.normal(size=n).tolist() if scale else [_WORDS[at] for at in which]
    points = MapPoints(
        ids=[str(at) for at in range(n)],
        documents=[f"the {_WORDS[at]} of {at}" for at in which],
        values=values if color else [None] * n,
        ranks=ranks,
        coordinates=places,
    )
    return EmbeddingMap(
        "glosses",
        points,
        Projection("tsne", places, explained=None),
        color=color,
        asked=centers[0].astype(np.float32),
        question="a large furry animal",
        n_records=n,
    )
