"""Chroma's expressions for hybrid search: `Search`, `K`, `Knn`, `Rrf`, and `SparseVector`.

They are trees that become the JSON of Chroma's wire (`to_dict`) and come from it (`from_dict`). Conditions are useful
everywhere, not in searches alone:
``where=(K("pos") == "noun") & (K("words") > 1) & K.DOCUMENT.contains("bear")``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.lazy import lazy_attributes

if TYPE_CHECKING:
    from chroma_nb.search.conditions import And as And
    from chroma_nb.search.conditions import Condition as Condition
    from chroma_nb.search.conditions import Contains as Contains
    from chroma_nb.search.conditions import Eq as Eq
    from chroma_nb.search.conditions import Gt as Gt
    from chroma_nb.search.conditions import Gte as Gte
    from chroma_nb.search.conditions import In as In
    from chroma_nb.search.conditions import K as K
    from chroma_nb.search.conditions import Key as Key
    from chroma_nb.search.conditions import Lt as Lt
    from chroma_nb.search.conditions import Lte as Lte
    from chroma_nb.search.conditions import Ne as Ne
    from chroma_nb.search.conditions import Nin as Nin
    from chroma_nb.search.conditions import NotContains as NotContains
    from chroma_nb.search.conditions import NotRegex as NotRegex
    from chroma_nb.search.conditions import Or as Or
    from chroma_nb.search.conditions import Regex as Regex
    from chroma_nb.search.conditions import as_document_filter as as_document_filter
    from chroma_nb.search.conditions import as_filter as as_filter
    from chroma_nb.search.evaluation import Scores as Scores
    from chroma_nb.search.evaluation import evaluate as evaluate
    from chroma_nb.search.expression import Limit as Limit
    from chroma_nb.search.expression import Search as Search
    from chroma_nb.search.expression import Select as Select
    from chroma_nb.search.grouping import Aggregate as Aggregate
    from chroma_nb.search.grouping import GroupBy as GroupBy
    from chroma_nb.search.grouping import MaxK as MaxK
    from chroma_nb.search.grouping import MinK as MinK
    from chroma_nb.search.ranks import Abs as Abs
    from chroma_nb.search.ranks import Div as Div
    from chroma_nb.search.ranks import Exp as Exp
    from chroma_nb.search.ranks import Knn as Knn
    from chroma_nb.search.ranks import Log as Log
    from chroma_nb.search.ranks import Max as Max
    from chroma_nb.search.ranks import Min as Min
    from chroma_nb.search.ranks import Mul as Mul
    from chroma_nb.search.ranks import Rank as Rank
    from chroma_nb.search.ranks import Rrf as Rrf
    from chroma_nb.search.ranks import Sub as Sub
    from chroma_nb.search.ranks import Sum as Sum
    from chroma_nb.search.ranks import Val as Val
    from chroma_nb.search.ranks import knn_leaves as knn_leaves
    from chroma_nb.search.sparse import SparseVector as SparseVector

# Filters need conditions alone.
_ATTRIBUTES = {
    **dict.fromkeys(
        (
            "And",
            "Condition",
            "Contains",
            "Eq",
            "Gt",
            "Gte",
            "In",
            "K",
            "Key",
            "Lt",
            "Lte",
            "Ne",
            "Nin",
            "NotContains",
            "NotRegex",
            "Or",
            "Regex",
            "as_document_filter",
            "as_filter",
        ),
        "chroma_nb.search.conditions",
    ),
    **dict.fromkeys(("Scores", "evaluate"), "chroma_nb.search.evaluation"),
    **dict.fromkeys(("Limit", "Search", "Select"), "chroma_nb.search.expression"),
    **dict.fromkeys(("Aggregate", "GroupBy", "MaxK", "MinK"), "chroma_nb.search.grouping"),
    **dict.fromkeys(
        (
            "Abs",
            "Div",
            "Exp",
            "Knn",
            "Log",
            "Max",
            "Min",
            "Mul",
            "Rank",
            "Rrf",
            "Sub",
            "Sum",
            "Val",
            "knn_leaves",
        ),
        "chroma_nb.search.ranks",
    ),
    "SparseVector": "chroma_nb.search.sparse",
}
__all__ = [*_ATTRIBUTES]


def __getattr__(name: str) -> Any:
    return lazy_attributes(__name__, _ATTRIBUTES, name)
