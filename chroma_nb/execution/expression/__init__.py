"""Chroma's import path of search expressions: ``from chroma_nb.execution.expression import K, Knn, Search``."""

from __future__ import annotations

from chroma_nb.execution.expression.operator import Abs as Abs
from chroma_nb.execution.expression.operator import Aggregate as Aggregate
from chroma_nb.execution.expression.operator import And as And
from chroma_nb.execution.expression.operator import Contains as Contains
from chroma_nb.execution.expression.operator import Div as Div
from chroma_nb.execution.expression.operator import Eq as Eq
from chroma_nb.execution.expression.operator import Exp as Exp
from chroma_nb.execution.expression.operator import GroupBy as GroupBy
from chroma_nb.execution.expression.operator import Gt as Gt
from chroma_nb.execution.expression.operator import Gte as Gte
from chroma_nb.execution.expression.operator import In as In
from chroma_nb.execution.expression.operator import K as K
from chroma_nb.execution.expression.operator import Key as Key
from chroma_nb.execution.expression.operator import Knn as Knn
from chroma_nb.execution.expression.operator import Limit as Limit
from chroma_nb.execution.expression.operator import Log as Log
from chroma_nb.execution.expression.operator import Lt as Lt
from chroma_nb.execution.expression.operator import Lte as Lte
from chroma_nb.execution.expression.operator import Max as Max
from chroma_nb.execution.expression.operator import MaxK as MaxK
from chroma_nb.execution.expression.operator import Min as Min
from chroma_nb.execution.expression.operator import MinK as MinK
from chroma_nb.execution.expression.operator import Mul as Mul
from chroma_nb.execution.expression.operator import Ne as Ne
from chroma_nb.execution.expression.operator import Nin as Nin
from chroma_nb.execution.expression.operator import NotContains as NotContains
from chroma_nb.execution.expression.operator import NotRegex as NotRegex
from chroma_nb.execution.expression.operator import Or as Or
from chroma_nb.execution.expression.operator import Rank as Rank
from chroma_nb.execution.expression.operator import Regex as Regex
from chroma_nb.execution.expression.operator import Rrf as Rrf
from chroma_nb.execution.expression.operator import Select as Select
from chroma_nb.execution.expression.operator import Sub as Sub
from chroma_nb.execution.expression.operator import Sum as Sum
from chroma_nb.execution.expression.operator import Val as Val
from chroma_nb.execution.expression.operator import Where as Where
from chroma_nb.execution.expression.plan import Search as Search

SearchWhere = Where

__all__ = [
    "Abs",
    "Aggregate",
    "And",
    "Contains",
    "Div",
    "Eq",
    "Exp",
    "GroupBy",
    "Gt",
    "Gte",
    "In",
    "K",
    "Key",
    "Knn",
    "Limit",
    "Log",
    "Lt",
    "Lte",
    "Max",
    "MaxK",
    "Min",
    "MinK",
    "Mul",
    "Ne",
    "Nin",
    "NotContains",
    "NotRegex",
    "Or",
    "Rank",
    "Regex",
    "Rrf",
    "Search",
    "SearchWhere",
    "Select",
    "Sub",
    "Sum",
    "Val",
    "Where",
]
