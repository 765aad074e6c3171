"""Ranks: a score to order records by, as a tree of frozen nodes.

The leaves are `Knn`, the distance to a query, and `Val`, a number; the other nodes are arithmetic. `to_dict` is
Chroma's JSON and `Rank.from_dict` reads it; `evaluation` computes the scores.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from chroma_nb.boundary import public_call, public_class
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.search.conditions import Key
from chroma_nb.search.shown import check_members, shown
from chroma_nb.search.sparse import SparseVector
from chroma_nb.special_keys import EMBEDDING_KEY, SPARSE_VECTOR_TYPE_VALUE, TYPE_KEY
from chroma_nb.suggest import did_you_mean
from chroma_nb.words import brief

#: What a `Knn` may be asked: a text, an embedding of shape (dimension,), or a sparse vector.
Query: TypeAlias = str | Sequence[float] | NDArray[Any] | SparseVector | Mapping[str, Any]


@public_class
class Rank(ABC):
    """A score to order by, lower is better; ranks and numbers combine with ``+ - * /``."""

    #: NumPy leaves ``np.float64(2) * rank`` to `__rmul__`.
    __array_ufunc__: ClassVar[None] = None

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the rank as on Chroma's wire."""

    @staticmethod
    @public_call
    def from_dict(data: Mapping[str, Any]) -> Rank:
        """Read a rank from the wire's form: the opposite of `to_dict`.

        A nested sum stays nested, where Chroma's client makes one sum of both. `Rrf` comes back as what it is
        made of, since it has no form of its own.

        Raises:
            TypeError: Something of another kind than has its place there.
            ValueError: Not one operator, an unknown one, or one that lacks operands.
            InvalidArgumentError: It is nested more deeply than Python can follow.
        """
        try:
            return _read(data)
        except RecursionError:
            raise InvalidArgumentError(
                "The rank is nested too deeply. A list of ranks under one $sum or $mul is flat."
            ) from None

    def __add__(self, other: Rank | float) -> Sum:
        return _flat(Sum, self, other)

    def __radd__(self, other: float) -> Sum:
        return _flat(Sum, other, self)

    def __mul__(self, other: Rank | float) -> Mul:
        return _flat(Mul, self, other)

    def __rmul__(self, other: float) -> Mul:
        return _flat(Mul, other, self)

    def __sub__(self, other: Rank | float) -> Sub:
        return Sub(self, other)

    def __rsub__(self, other: float) -> Sub:
        return Sub(other, self)

    def __truediv__(self, other: Rank | float) -> Div:
        return Div(self, other)

    def __rtruediv__(self, other: float) -> Div:
        return Div(other, self)

    def __neg__(self) -> Mul:
        # A product in it stays one of its own, as in Chroma.
        return Mul((-1, self))

    def __abs__(self) -> Abs:
        return Abs(self)

    def abs(self) -> Abs:
        """Return the absolute value."""
        return Abs(self)

    def exp(self) -> Exp:
        """Return e to the power of this."""
        return Exp(self)

    def log(self) -> Log:
        """Return the natural logarithm."""
        return Log(self)

    def max(self, other: Rank | float) -> Max:
        """Return the larger of two."""
        return _flat(Max, self, other)

    def min(self, other: Rank | float) -> Min:
        """Return the smaller of two."""
        return _flat(Min, self, other)


@public_class
@dataclass(frozen=True, init=False)
class Val(Rank):
    """A constant."""

    value: float

    def __init__(self, value: float) -> None:
        plain: Any = value.item() if isinstance(value, np.generic) else value
        if not isinstance(plain, int | float):
            raise TypeError(f"Expected a rank or a number, got {shown(value)}")
        _set(self, value=plain)

    def to_dict(self) -> dict[str, Any]:
        """Return ``{"$val": value}``."""
        return {"$val": self.value}


@public_class
@dataclass(frozen=True, init=False, repr=False)
class Knn(Rank):
    """The distance to a query.

    Args:
        query: A text, an embedding of shape (dimension,) or a `SparseVector`.
        key: Which embedding is compared.
        limit: Neighbours considered.
        default: The score of records that are not among them; None leaves them out.
        return_rank: Score by position (0, 1, ...) and not by distance.

    Raises:
        TypeError: The query is none of these.
    """

    query: str | tuple[float, ...] | SparseVector
    key: str
    limit: int
    default: float | None
    return_rank: bool

    def __init__(
        self,
        query: Query,
        key: Key | str = EMBEDDING_KEY,
        limit: int = 16,
        default: float | None = None,
        return_rank: bool = False,
    ) -> None:
        _set(
            self,
            query=_plain_query(query),
            key=key.name if isinstance(key, Key) else key,
            limit=limit,
            default=default,
            return_rank=return_rank,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return ``{"$knn": {...}}``; `default` and `return_rank` are there only where they are set."""
        query: Any = self.query
        if isinstance(query, SparseVector):
            query = query.to_dict()
        elif isinstance(query, tuple):
            query = list(query)
        node: dict[str, Any] = {"query": query, "key": self.key, "limit": self.limit}
        if self.default is not None:
            node["default"] = self.default
        if self.return_rank:
            node["return_rank"] = True
        return {"$knn": node}

    def __repr__(self) -> str:
        query = self.query
        asked = f"<{len(query)} numbers>" if isinstance(query, tuple) else repr(query)
        others = (f"{name}={getattr(self, name)!r}" for name in _KNN_OPTIONS)
        return f"Knn(query={asked}, {', '.join(others)})"


@dataclass(frozen=True, init=False)
class _OfOne(Rank):
    """A node with one operand."""

    rank: Rank
    operator: ClassVar[str]

    def __init__(self, rank: Rank | float) -> None:
        _set(self, rank=_as_rank(rank))

    def to_dict(self) -> dict[str, Any]:
        """Return ``{operator: rank}``."""
        return {self.operator: self.rank.to_dict()}


@dataclass(frozen=True, init=False)
class _OfTwo(Rank):
    """A node with two operands, whose order counts."""

    left: Rank
    right: Rank
    operator: ClassVar[str]

    def __init__(self, left: Rank | float, right: Rank | float) -> None:
        _set(self, left=_as_rank(left), right=_as_rank(right))

    def to_dict(self) -> dict[str, Any]:
        """Return ``{operator: {"left": left, "right": right}}``."""
        return {self.operator: {"left": self.left.to_dict(), "right": self.right.to_dict()}}


@dataclass(frozen=True, init=False)
class _OfMany(Rank):
    """A node with any number of operands."""

    ranks: tuple[Rank, ...]
    operator: ClassVar[str]

    def __init__(self, ranks: Iterable[Rank | float]) -> None:
        _set(self, ranks=tuple(map(_as_rank, ranks)))

    def to_dict(self) -> dict[str, Any]:
        """Return ``{operator: [rank, ...]}``."""
        return {self.operator: [rank.to_dict() for rank in self.ranks]}


class Abs(_OfOne):
    """The absolute value."""

    operator = "$abs"


class Exp(_OfOne):
    """The number e to the power of a rank."""

    operator = "$exp"


class Log(_OfOne):
    """The natural logarithm: minus infinity of 0, NaN of what is below."""

    operator = "$log"


class Sub(_OfTwo):
    """The left rank minus the right one."""

    operator = "$sub"


class Div(_OfTwo):
    """The left rank divided by the right one."""

    operator = "$div"


class Sum(_OfMany):
    """The sum of ranks."""

    operator = "$sum"


class Mul(_OfMany):
    """The product of ranks."""

    operator = "$mul"


class Max(_OfMany):
    """The largest of ranks, which is a lower bound where one is a number."""

    operator = "$max"


class Min(_OfMany):
    """The smallest of ranks, which is an upper bound where one is a number."""

    operator = "$min"


#: The operations by the name that they have on the wire: of one operand, of two, of any number.
OF_ONE: dict[str, type[_OfOne]] = {kind.operator: kind for kind in (Abs, Exp, Log)}
OF_TWO: dict[str, type[_OfTwo]] = {kind.operator: kind for kind in (Sub, Div)}
OF_MANY: dict[str, type[_OfMany]] = {kind.operator: kind for kind in (Sum, Mul, Max, Min)}


@public_class
@dataclass(frozen=True, init=False)
class Rrf(Rank):
    """Reciprocal rank fusion (Cormack, Clarke, Buettcher, SIGIR 2009): minus the sum of w / (k + rank).

    Args:
        ranks: What is fused, each with ``return_rank=True``.
        k: Dampens the first positions; 60 in the paper.
        weights: One for each rank; None is 1 each.
        normalize: Divide the weights by their sum.

    Raises:
        ValueError: No ranks, a `k` that is not positive, weights of another length or below zero, or weights
            that are all 0 and to be normalized.
    """

    ranks: tuple[Rank, ...]
    k: int
    weights: tuple[float, ...] | None
    normalize: bool

    def __init__(
        self,
        ranks: Iterable[Rank],
        k: int = 60,
        weights: Iterable[float] | None = None,
        normalize: bool = False,
    ) -> None:
        fused = tuple(map(_as_rank, ranks))
        shares = None if weights is None else tuple(weights)
        _set(self, ranks=fused, k=k, weights=shares, normalize=normalize)
        given = self._shares()
        if not fused:
            raise ValueError("RRF requires at least one rank, got none")
        if k <= 0:
            raise ValueError(f"k must be positive, got Rrf(k={k})")
        if len(given) != len(fused):
            raise ValueError(
                f"Number of weights ({len(given)}) must match number of ranks ({len(fused)})"
            )
        if min(given) < 0:
            raise ValueError(f"All weights must be non-negative, got {brief(list(given))}")
        if normalize and sum(given) == 0:
            raise ValueError("Sum of weights must be positive where they are normalized, got 0")

    def expanded(self) -> Mul:
        """Return the arithmetic that it stands for."""
        shares = self._shares()
        if self.normalize:
            total = sum(shares)
            shares = tuple(share / total for share in shares)
        terms = [share / (self.k + rank) for share, rank in zip(shares, self.ranks, strict=True)]
        return -(terms[0] if len(terms) == 1 else Sum(terms))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON of `expanded`: Chroma's wire has no name for the fusion."""
        return self.expanded().to_dict()

    def _shares(self) -> tuple[float, ...]:
        return (1.0,) * len(self.ranks) if self.weights is None else self.weights


def operands(rank: Rank) -> tuple[Rank, ...]:
    """Return the ranks that a node is made of, from left to right; none of a leaf."""
    if isinstance(rank, _OfOne):
        return (rank.rank,)
    if isinstance(rank, _OfTwo):
        return (rank.left, rank.right)
    if isinstance(rank, _OfMany | Rrf):
        return rank.ranks
    return ()


def knn_leaves(rank: Rank) -> Iterator[Knn]:
    """Yield every `Knn` of a rank from left to right, as often as it stands there."""
    if isinstance(rank, Knn):
        yield rank
    for part in operands(rank):
        yield from knn_leaves(part)


def with_leaves(rank: Rank, leaf: Callable[[Knn], Knn]) -> Rank:
    """Return a rank with another `Knn` in the place of each of its own."""
    if isinstance(rank, Knn):
        return leaf(rank)
    if isinstance(rank, Rrf):
        fused = (with_leaves(part, leaf) for part in rank.ranks)
        return Rrf(fused, rank.k, rank.weights, rank.normalize)
    if isinstance(rank, _OfMany):
        return type(rank)(with_leaves(part, leaf) for part in rank.ranks)
    if isinstance(rank, _OfTwo):
        return type(rank)(with_leaves(rank.left, leaf), with_leaves(rank.right, leaf))
    if isinstance(rank, _OfOne):
        return type(rank)(with_leaves(rank.rank, leaf))
    return rank


# -- from numbers, lists and other objects ------------------------------------------------------

_Many = TypeVar("_Many", bound=_OfMany)


def _set(node: Rank, **values: Any) -> None:
    """Set the fields of a new node; the nodes are frozen."""
    for name, value in values.items():
        object.__setattr__(node, name, value)


def _as_rank(value: Rank | float) -> Rank:
    return value if isinstance(value, Rank) else Val(value)


def _flat(kind: type[_Many], *operands: Rank | float) -> _Many:
    """Return one node of operands, and of the operands of those that are of its kind themselves."""
    parts: list[Rank] = []
    for operand in map(_as_rank, operands):
        parts.extend(operand.ranks if isinstance(operand, kind) else (operand,))
    return kind(parts)


def _plain_query(query: Any) -> str | tuple[float, ...] | SparseVector:
    if isinstance(query, str | SparseVector):
        return query
    if isinstance(query, Mapping):
        return SparseVector.from_dict({TYPE_KEY: SPARSE_VECTOR_TYPE_VALUE, **query})
    if not isinstance(query, list | tuple) and hasattr(query, "__array__"):
        query = np.asarray(query).tolist()
    if not isinstance(query, list | tuple):
        raise TypeError(
            f"Expected the query of a Knn to be a text, an embedding or a SparseVector, got {shown(query)}"
        )
    return tuple(query)


# -- from JSON ----------------------------------------------------------------------------------

_KNN_OPTIONS = ("key", "limit", "default", "return_rank")
KNN_MEMBERS = ("query", *_KNN_OPTIONS)


def _read(data: Any) -> Rank:
    if not isinstance(data, Mapping):
        raise TypeError(f"Expected dict for a rank, got {shown(data)}")
    if not data:
        raise ValueError("A rank cannot be empty, got {}. No rank at all is None.")
    if len(data) != 1:
        raise ValueError(
            f"Expected a rank to have exactly one operator, got {len(data)}: {', '.join(map(str, data))[:100]}"
        )
    ((operator, operand),) = data.items()
    reader = _READERS.get(operator)
    if reader is None:
        raise ValueError(
            f"Unknown operator of ranks {shown(operator)}.{did_you_mean(operator, _READERS)}"
        )
    return reader(operator, operand)


def _read_val(operator: str, operand: Any) -> Val:
    if not isinstance(operand, int | float):
        raise TypeError(f"{operator} requires a number, got {shown(operand)}")
    return Val(operand)


def _read_knn(operator: str, operand: Any) -> Knn:
    if not isinstance(operand, Mapping):
        raise TypeError(f"Expected {operator} to be a dict, got {shown(operand)}")
    if "query" not in operand:
        raise ValueError(f"Expected {operator} to have a query, got {shown(operand)}")
    check_members(operator, operand, KNN_MEMBERS)
    options = {name: value for name, value in operand.items() if name != "query"}
    for name, value in options.items():
        kinds = _KNN_KINDS[name]
        if not isinstance(value, kinds) or (name == "limit" and isinstance(value, bool)):
            names = ", ".join(kind.__name__ for kind in kinds)
            raise TypeError(f"Expected {name} of {operator} to be of {names}, got {shown(value)}")
    query = operand["query"]
    if isinstance(query, list | tuple) and not all(
        isinstance(number, int | float) for number in query
    ):
        raise TypeError(f"Expected the query of {operator} to be numbers, got {shown(query)}")
    if options.get("limit", 1) <= 0:
        raise ValueError(f"Expected limit of {operator} to be positive, got {options['limit']}")
    return Knn(query, **options)


_KNN_KINDS: dict[str, tuple[type, ...]] = {
    "key": (str,),
    "limit": (int,),
    "default": (int, float, type(None)),
    "return_rank": (bool,),
}


def _read_one(operator: str, operand: Any) -> Rank:
    return OF_ONE[operator](_read(operand))


def _read_two(operator: str, operand: Any) -> Rank:
    if not isinstance(operand, Mapping):
        raise TypeError(f"Expected {operator} to be a dict of left and right, got {shown(operand)}")
    check_members(operator, operand, ("left", "right"))
    if set(operand) != {"left", "right"}:
        raise ValueError(f"Expected {operator} to have left and right, got {shown(operand)}")
    return OF_TWO[operator](_read(operand["left"]), _read(operand["right"]))


def _read_many(operator: str, operand: Any) -> Rank:
    if not isinstance(operand, list | tuple):
        raise TypeError(f"Expected {operator} to be a list of ranks, got {shown(operand)}")
    if len(operand) < 2:
        raise ValueError(f"Expected {operator} to have at least two ranks, got {len(operand)}")
    return OF_MANY[operator](map(_read, operand))


_READERS: dict[str, Callable[[str, Any], Rank]] = {
    "$val": _read_val,
    "$knn": _read_knn,
    **dict.fromkeys(OF_ONE, _read_one),
    **dict.fromkeys(OF_TWO, _read_two),
    **dict.fromkeys(OF_MANY, _read_many),
}
