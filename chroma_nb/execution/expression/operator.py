"""Chroma's import path of what a search is made of: ``from chroma_nb.execution.expression.operator import Knn``."""

from __future__ import annotations

from chroma_nb.search import Abs as Abs
from chroma_nb.search import Aggregate as Aggregate
from chroma_nb.search import And as And
from chroma_nb.search import Contains as Contains
from chroma_nb.search import Div as Div
from chroma_nb.search import Eq as Eq
from chroma_nb.search import Exp as Exp
from chroma_nb.search import GroupBy as GroupBy
from chroma_nb.search import Gt as Gt
from chroma_nb.search import Gte as Gte
from chroma_nb.search import In as In
from chroma_nb.search import K as K
from chroma_nb.search import Key as Key
from chroma_nb.search import Knn as Knn
from chroma_nb.search import Limit as Limit
from chroma_nb.search import Log as Log
from chroma_nb.search import Lt as Lt
from chroma_nb.search import Lte as Lte
from chroma_nb.search import Max as Max
from chroma_nb.search import MaxK as MaxK
from chroma_nb.search import Min as Min
from chroma_nb.search import MinK as MinK
from chroma_nb.search import Mul as Mul
from chroma_nb.search import Ne as Ne
from chroma_nb.search import Nin as Nin
from chroma_nb.search import NotContains as NotContains
from chroma_nb.search import NotRegex as NotRegex
from chroma_nb.search import Or as Or
from chroma_nb.search import Rank as Rank
from chroma_nb.search import Regex as Regex
from chroma_nb.search import Rrf as Rrf
from chroma_nb.search import Select as Select
from chroma_nb.search import Sub as Sub
from chroma_nb.search import Sum as Sum
from chroma_nb.search import Val as Val
from chroma_nb.search.conditions import Condition

#: Chroma's name of the class of all conditions. (`chroma_nb.types.Where` is the type of a dict.)
Where = Condition
