"""What searches mean, as examples on five records: which are found, in which order, with which scores.

The records are in this order; all have the vectors, texts and metadata below, and four a sparse vector under ``sp``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from chroma_nb.schema import Schema, SparseVectorIndexConfig
from chroma_nb.search import GroupBy, K, Knn, MaxK, MinK, Rrf, Search, SparseVector, Val

IDS = ["a", "b", "c", "d", "e"]
EMBEDDINGS = [[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [0.0, 4.0]]
DOCUMENTS = ["red apple", "green apple", "red car", "blue car", "sky"]
METADATAS: list[dict[str, Any]] = [
    {"c": "x", "y": 1},
    {"c": "x", "y": 2},
    {"c": "y", "y": 3},
    {"c": "y"},
    {"y": 5},
]
SPARSE: list[SparseVector | None] = [
    SparseVector([1, 2], [1.0, 1.0]),
    SparseVector([2], [2.0]),
    SparseVector([3], [1.0]),
    SparseVector([1], [0.5]),
    None,
]


def indexed(weighted: bool) -> dict[str, Any]:
    """Return the schema of a collection whose sparse vectors are indexed, in Chroma's JSON.

    Args:
        weighted: Whether queries are weighted by how rare each index is.
    """
    config = SparseVectorIndexConfig(bm25=weighted)
    return Schema().create_index(config, key="sp").serialize_to_json()


class Case(NamedTuple):
    """A search, and its answer.

    Args:
        search: The search; its scores are selected.
        found: The ids with their scores, best first: ``"a 0, b 1"``.
        space: The collection's distance.
    """

    search: Search
    found: str
    space: str = "l2"


def q(**options: Any) -> Knn:
    """The distance to (0, 0): a 0, b 1, c 4, d 9, e 16."""
    return Knn([0.0, 0.0], **options)


def p(**options: Any) -> Knn:
    """The distance to (3, 0): d 0, b 4, a 9, c 13, e 25."""
    return Knn([3.0, 0.0], **options)


def s(**options: Any) -> Knn:
    """The sparse distance to {1: 1.0, 2: 0.5}: a -0.5, b 0, d 0.5."""
    return Knn(SparseVector([1, 2], [1.0, 0.5]), key="sp", **options)


_POSITION: dict[str, Any] = {"return_rank": True}
_LAST: dict[str, Any] = {"return_rank": True, "default": 1_000}
_TOP: dict[str, Any] = {"return_rank": True, "limit": 3, "default": 100}


def _groups(keys: list[str], aggregate: Any, **options: Any) -> Search:
    return Search(rank=q(**options), group_by=GroupBy([K(key) for key in keys], aggregate))


#: Searches by dense vectors.
DENSE_CASES = [
    Case(Search(rank=q()), "a 0, b 1, c 4, d 9, e 16"),
    Case(Search(rank=q(limit=2)), "a 0, b 1"),
    Case(Search(rank=q(limit=0)), ""),
    Case(Search(K.ID != "a", Knn([1.0, 0.0])), "b 0, d 0, c 1, e 1", "cosine"),
    Case(Search(rank=Knn([1.0, 1.0])), "e -3, d -2, c -1, b 0, a 1", "ip"),
    Case(Search(rank=q(return_rank=True)), "a 0, b 1, c 2, d 3, e 4"),
    Case(Search(rank=q()).limit(2, 1), "b 1, c 4"),
    Case(Search(rank=q()).limit(2, 9), ""),
    Case(Search(rank=q()).limit(0), ""),
    Case(Search().limit(2, 1), "b 0, c 1"),
    Case(Search(K("c") == "y"), "c 0, d 1"),
    Case(Search(rank=Val(1.0)), ""),
    Case(Search(rank=q(limit=0, default=1.0) + 1), ""),
    Case(Search(K("c") == "y", q(limit=1)), "c 4"),
    Case(Search(K.DOCUMENT.contains("car") & (K("y") == 3), q()), "c 4"),
    Case(Search(K("zz") == 1, q()), ""),
    Case(Search(K("zz") != 1, q(limit=2)), "a 0, b 1"),
    Case(Search(K.ID.is_in(["d", "b", "nobody"]), q()), "b 1, d 9"),
    Case(Search(rank=q(limit=2) + p(limit=2)), "b 5"),
    Case(Search(rank=q(limit=2) + p(limit=2, default=100)), "b 5, a 100"),
    Case(Search(rank=q(limit=2, default=50) + p(limit=2, default=100)), "b 5, d 50, a 100"),
    Case(Search(rank=q(limit=2, default=7)), "a 0, b 1"),
    Case(Search(rank=q() * 0.5 + p() * 0.25), "b 1.5, a 2.25, d 4.5, c 5.25, e 14.25"),
    Case(Search(rank=-q()), "e -16, d -9, c -4, b -1, a 0"),
    Case(Search(rank=1 / (1 + q(limit=3))), "c 0.2, b 0.5, a 1"),
    Case(Search(rank=q(limit=3).log()), "a -inf, b 0, c 1.3862944"),
    # The logarithm of a negative number is not a number, and comes last.
    Case(Search(rank=(q(limit=2) - 1).log()), "b -inf, a nan"),
    Case(Search(rank=q().max(2).min(10)), "a 2, b 2, c 4, d 9, e 10"),
    Case(Search(rank=abs(q() - p())), "b 3, a 9, c 9, d 9, e 9"),
    Case(
        Search(rank=Rrf([q(**_TOP), p(**_TOP)], k=10, weights=[3, 1], normalize=True)),
        "a -0.09583333, b -0.09090909, c -0.06477273, d -0.03181818",
    ),
    Case(
        Search(rank=Rrf([q(), p()])),
        "b -0.03201844, a -0.03115942, d -0.03115942, c -0.02932363, e -0.02492260",
    ),
    Case(_groups(["c"], MinK(K.SCORE, 1)), "a 0, c 4, e 16"),
    Case(_groups(["c"], MaxK(K("y"), 1)), "b 1, c 4, e 16"),
    Case(_groups(["c"], MinK(K("y"), 1)), "a 0, d 9, e 16"),
    Case(_groups(["c"], MinK(K.SCORE, 2)).limit(3), "a 0, b 1, c 4"),
    Case(_groups(["c"], MinK(K.SCORE, 1), limit=2), "a 0"),
    Case(_groups(["zzz"], MinK(K.SCORE, 2)), "a 0, b 1"),
    Case(_groups(["c", "y"], MinK(K.SCORE, 1)), "a 0, b 1, c 4, d 9, e 16"),
]
#: Searches that have sparse vectors as well.
SPARSE_CASES = [
    Case(
        Search(rank=Rrf([q(**_POSITION), s(**_POSITION)])),
        "a -0.03333333, b -0.03278688, d -0.03200205",
    ),
    Case(
        Search(rank=Rrf([q(**_LAST), s(**_LAST)])),
        "a -0.03333333, b -0.03278688, d -0.03200205, c -0.01707243, e -0.01656840",
    ),
    Case(Search(rank=s()), "a -0.5, b 0, d 0.5"),
    Case(Search(rank=s(limit=2)), "a -0.5, b 0"),
    Case(Search(K("c") == "y", s()), "d 0.5"),
    Case(Search(rank=q() + s(default=2)), "a -0.5, b 1, c 6, d 9.5, e 18"),
]
#: The same query where the values are weighted by how rare each index is: n = 5, idf 0.8754687.
WEIGHTED = Case(Search(rank=s()), "a -0.3132031, b 0.1245313, d 0.5622656")


def pairs(found: str) -> list[tuple[str, float]]:
    """Return what `Case.found` says as ids and scores."""
    words = [one.split() for one in found.split(", ")] if found else []
    return [(name, float(score)) for name, score in words]
