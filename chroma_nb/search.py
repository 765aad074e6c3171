"""Chroma's expressions for hybrid search: `Search`, `K`, `Knn`, `Rrf`, and `SparseVector`, `Schema`.

They describe a search and become the JSON of Chroma's wire. No local store answers one, Chroma's own
included (`Collection.search` says so); conditions are useful everywhere:
``where=(K("pos") == "noun") & (K("words") > 1) & K.DOCUMENT.contains("bear")``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from chroma_nb.boundary import ends_at_caller, public_class
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.filters.expression import is_plain_list, plain_filter

if TYPE_CHECKING:
    from collections.abc import Sequence

# -- conditions on metadata ---------------------------------------------------------------------

_NEGATED = (
    "Negate each comparison: != for ==, K(...).not_in([...]) for is_in, not_contains for contains, not_regex "
    "for regex, <= for >; and what was joined with & is joined with | then."
)


@public_class
@dataclass(frozen=True)
class Condition:
    """A filter; join several with ``&`` and ``|``."""

    where: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return Chroma's `where`."""
        return self.where

    def __and__(self, other: Condition | dict[str, Any]) -> Condition:
        return _joined("$and", self, other)

    def __rand__(self, other: Condition | dict[str, Any]) -> Condition:
        return _joined("$and", other, self)

    def __or__(self, other: Condition | dict[str, Any]) -> Condition:
        return _joined("$or", self, other)

    def __ror__(self, other: Condition | dict[str, Any]) -> Condition:
        return _joined("$or", other, self)

    def __bool__(self) -> bool:
        # `a and b` would drop one of the two without a word, as would `1 < K("n") < 3`.
        raise InvalidArgumentError(
            "A condition has no truth value of its own. Join conditions with & and | instead of `and` "
            "and `or`, each in parentheses: (K('a') == 1) & (K('b') > 2); write a range as "
            "(K('n') > 1) & (K('n') < 3)."
        )

    def __invert__(self) -> Condition:
        raise InvalidArgumentError(f"A filter has no `not`, as in Chroma. {_NEGATED}")


def _joined(operator: str, *conditions: Condition | dict[str, Any]) -> Condition:
    parts: list[dict[str, Any]] = []
    for condition in conditions:
        where = condition.where if isinstance(condition, Condition) else condition
        if not isinstance(where, dict):
            raise InvalidArgumentError(
                f"Expected a condition on both sides of & and |, got {str(where)[:100]}. Put each comparison "
                "in parentheses: (K('a') == 1) & (K('b') > 2)."
            )
        # Flattened only where it is that operator alone: another key beside it has to be refused by name.
        parts.extend(where[operator] if list(where) == [operator] else [where])
    return Condition({operator: parts})


def as_filter(where: Any) -> Any:
    """Return a filter as Chroma's dict of plain values, with the conditions within it taken as such.

    Raises:
        InvalidArgumentError: It is nested more deeply than Python can follow.
    """
    try:
        return plain_filter(_without_conditions(where))
    except RecursionError:
        raise _too_deep() from None


def as_document_filter(where_document: Any) -> Any:
    """Return a document filter as Chroma's dict; ``K.DOCUMENT.contains("bear")`` is one, too.

    Raises:
        InvalidArgumentError: As `as_filter`.
    """
    try:
        return _of_documents(_without_conditions(where_document))
    except RecursionError:
        raise _too_deep() from None


def _too_deep() -> InvalidArgumentError:
    return InvalidArgumentError(
        "Invalid where clause: the filter is nested too deeply. A list of conditions under one $and or $or is flat: "
        "{'$or': [...]}."
    )


def _of_documents(filter: Any) -> Any:
    if isinstance(filter, list):
        return [_of_documents(part) for part in filter]
    if not isinstance(filter, dict):
        return filter
    if list(filter) == ["#document"]:
        return filter["#document"]
    return {
        key: _of_documents(value) if key in ("$and", "$or") else value
        for key, value in filter.items()
    }


def _without_conditions(where: Any) -> Any:
    if isinstance(where, Condition):
        return _without_conditions(where.to_dict())
    if isinstance(where, Key):
        raise InvalidArgumentError(
            f"{where!r} alone is no condition. Compare it: {where!r} == value, {where!r}.is_in([...])."
        )
    if isinstance(where, dict):
        return {key: _without_conditions(value) for key, value in where.items()}
    if isinstance(where, list | tuple):
        return where if is_plain_list(where) else [_without_conditions(value) for value in where]
    return where


class _KeyType(type):
    """The class of `Key`, to answer for ``K.year``: a key is named in parentheses."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"type object {cls.__name__!r} has no attribute {name!r}")
        raise ends_at_caller(
            AttributeError(
                f"K has no attribute {name!r}. A metadata key is named in parentheses: K({name!r}). With a dot "
                "there are K.ID and K.DOCUMENT, K.EMBEDDING, K.METADATA and K.SCORE."
            )
        )


@public_class
class Key(metaclass=_KeyType):
    """A metadata key, or one of the record's own fields, to compare and to select.

    Args:
        name: The key.
    """

    ID: ClassVar[Key]
    DOCUMENT: ClassVar[Key]
    EMBEDDING: ClassVar[Key]
    METADATA: ClassVar[Key]
    SCORE: ClassVar[Key]

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"K({self.name!r})"

    def _is(self, operator: str, value: Any) -> Condition:
        return Condition({self.name: {operator: value}})

    def __eq__(self, value: object) -> Condition:  # type: ignore[override]
        if isinstance(value, Key):
            # Two keys are looked up in sets and dicts; that is no condition.
            return self.name == value.name  # type: ignore[return-value]
        return self._is("$eq", value)

    def __ne__(self, value: object) -> Condition:  # type: ignore[override]
        if isinstance(value, Key):
            return self.name != value.name  # type: ignore[return-value]
        return self._is("$ne", value)

    def __bool__(self) -> bool:
        raise InvalidArgumentError(
            f"{self!r} alone is no condition. Compare it: {self!r} == value, {self!r}.is_in([...])."
        )

    def __invert__(self) -> Condition:
        raise InvalidArgumentError(
            f"{self!r} alone is no condition, and a filter has no `not`. {_NEGATED}"
        )

    def _not_joined(self, other: Any) -> Condition:
        return _joined("$and", {}, self)  # type: ignore[arg-type]

    # A key alone is nothing to join: `K("a") == 1 & K("b") == 2` lacks parentheses.
    __and__ = __rand__ = __or__ = __ror__ = _not_joined

    # Numbers, and dates: datetime, pandas.Timestamp or text in ISO form.
    def __gt__(self, value: Any) -> Condition:
        return self._is("$gt", value)

    def __ge__(self, value: Any) -> Condition:
        return self._is("$gte", value)

    def __lt__(self, value: Any) -> Condition:
        return self._is("$lt", value)

    def __le__(self, value: Any) -> Condition:
        return self._is("$lte", value)

    def __hash__(self) -> int:
        return hash(self.name)

    def is_in(self, values: Iterable[Any]) -> Condition:
        """The value is one of these."""
        return self._is("$in", _values(values))

    def not_in(self, values: Iterable[Any]) -> Condition:
        """The value is none of these, or missing."""
        return self._is("$nin", _values(values))

    def contains(self, value: Any) -> Condition:
        """The list holds the value; for `K.DOCUMENT`, the text contains it."""
        return self._is("$contains", value)

    def not_contains(self, value: Any) -> Condition:
        """The opposite of `contains`."""
        return self._is("$not_contains", value)

    def regex(self, pattern: str) -> Condition:
        """The document matches the pattern."""
        return self._is("$regex", pattern)

    def not_regex(self, pattern: str) -> Condition:
        """The document does not match the pattern."""
        return self._is("$not_regex", pattern)


def _values(values: Any) -> list[Any]:
    """Return what `is_in` is given as a list; a text would be taken apart, a dict or a table be its keys."""
    is_list = isinstance(values, Iterable) and not isinstance(
        values, str | bytes | bytearray | Mapping
    )
    if not is_list or hasattr(values, "columns") or isinstance(values, Key | Condition):
        raise ValueError(
            f"Expected the values to be a list, got {str(values)[:100]!r} ({type(values).__name__}). For one value: "
            "K('key') == value, or is_in([value])."
        )
    return list(values)


Key.ID, Key.DOCUMENT, Key.EMBEDDING = Key("#id"), Key("#document"), Key("#embedding")
Key.METADATA, Key.SCORE = Key("#metadata"), Key("#score")
K = Key


# -- ranks ----------------------------------------------------------------------------------------


class Rank:
    """A score to order by, lower is better; ranks and numbers combine with ``+ - * /``."""

    def __init__(self, node: dict[str, Any]) -> None:
        self._node = node

    def to_dict(self) -> dict[str, Any]:
        """Return the rank as on Chroma's wire."""
        return self._node

    def __repr__(self) -> str:
        return f"Rank({self.to_dict()!r})"

    def _many(self, operator: str, other: Rank | float) -> Rank:
        parts = []
        for part in (self.to_dict(), _node(other)):
            parts.extend(part.get(operator, [part]))
        return Rank({operator: parts})

    def __add__(self, other: Rank | float) -> Rank:
        return self._many("$sum", other)

    def __radd__(self, other: float) -> Rank:
        return Rank(_node(other))._many("$sum", self)

    def __mul__(self, other: Rank | float) -> Rank:
        return self._many("$mul", other)

    def __rmul__(self, other: float) -> Rank:
        return Rank(_node(other))._many("$mul", self)

    def __sub__(self, other: Rank | float) -> Rank:
        return Rank({"$sub": {"left": self.to_dict(), "right": _node(other)}})

    def __rsub__(self, other: float) -> Rank:
        return Rank({"$sub": {"left": _node(other), "right": self.to_dict()}})

    def __truediv__(self, other: Rank | float) -> Rank:
        return Rank({"$div": {"left": self.to_dict(), "right": _node(other)}})

    def __rtruediv__(self, other: float) -> Rank:
        return Rank({"$div": {"left": _node(other), "right": self.to_dict()}})

    def __neg__(self) -> Rank:
        return Rank(_node(-1))._many("$mul", self)

    def __abs__(self) -> Rank:
        return Rank({"$abs": self.to_dict()})

    def abs(self) -> Rank:
        """Return the absolute value."""
        return abs(self)

    def exp(self) -> Rank:
        """Return e to the power of this."""
        return Rank({"$exp": self.to_dict()})

    def log(self) -> Rank:
        """Return the natural logarithm."""
        return Rank({"$log": self.to_dict()})

    def max(self, other: Rank | float) -> Rank:
        """Return the larger of two."""
        return self._many("$max", other)

    def min(self, other: Rank | float) -> Rank:
        """Return the smaller of two."""
        return self._many("$min", other)


def _node(value: Rank | float) -> dict[str, Any]:
    return value.to_dict() if isinstance(value, Rank) else {"$val": value}


def Val(value: float) -> Rank:
    """Return a constant rank."""
    return Rank({"$val": value})


class Knn(Rank):
    """The distance to a query.

    Args:
        query: A text, an embedding or a `SparseVector`.
        key: Which embedding is compared.
        limit: Neighbours considered.
        default: The score of records that are not among them; None leaves them out.
        return_rank: Score by position (0, 1, ...) and not by distance.
    """

    def __init__(
        self,
        query: Any,
        key: Key | str = "#embedding",
        limit: int = 16,
        default: float | None = None,
        return_rank: bool = False,
    ) -> None:
        if isinstance(query, np.ndarray):
            query = query.tolist()
        elif isinstance(query, SparseVector):
            query = query.to_dict()
        name = key.name if isinstance(key, Key) else key
        node: dict[str, Any] = {"query": query, "key": name, "limit": limit}
        if default is not None:
            node["default"] = default
        if return_rank:
            node["return_rank"] = True
        super().__init__({"$knn": node})


@public_class
class Rrf(Rank):
    """Reciprocal rank fusion (Cormack, Clarke, Buettcher, SIGIR 2009): minus the sum of w / (k + rank).

    Args:
        ranks: What is fused, each with ``return_rank=True``.
        k: Dampens the first positions; 60 in the paper.
        weights: One for each rank; None is 1 each.
        normalize: Divide the weights by their sum.

    Raises:
        ValueError: No ranks, a `k` that is not positive, weights of another length or below zero.
    """

    def __init__(
        self,
        ranks: Sequence[Rank],
        k: int = 60,
        weights: Sequence[float] | None = None,
        normalize: bool = False,
    ) -> None:
        shares = [1.0] * len(ranks) if weights is None else list(weights)
        if not ranks or k <= 0 or len(shares) != len(ranks) or min(shares) < 0:
            raise ValueError(
                f"Rrf takes at least one rank, a positive k and one weight >= 0 for each rank, got "
                f"{len(ranks)} ranks, k={k}, weights={weights}"
            )
        if normalize:
            total = sum(shares)
            if total == 0:
                raise ValueError("Rrf weights must not all be 0 where they are normalized")
            shares = [share / total for share in shares]
        terms = [
            {"$div": {"left": {"$val": share}, "right": {"$sum": [{"$val": k}, rank.to_dict()]}}}
            for share, rank in zip(shares, ranks, strict=True)
        ]
        total_node = {"$sum": terms} if len(terms) > 1 else terms[0]
        super().__init__({"$mul": [{"$val": -1}, total_node]})


# -- a search ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Search:
    """One hybrid search, built step by step; each step returns a new one."""

    _filter: dict[str, Any] | None = None
    _rank: dict[str, Any] | None = None
    _limit: dict[str, int] = field(default_factory=lambda: {"offset": 0})
    _select: tuple[str, ...] = ()

    def where(self, condition: Condition | dict[str, Any]) -> Search:
        """Keep the records that match."""
        found = condition.to_dict() if isinstance(condition, Condition) else condition
        return replace(self, _filter=found)

    def rank(self, rank: Rank | dict[str, Any]) -> Search:
        """Order by this score, lowest first."""
        return replace(self, _rank=rank.to_dict() if isinstance(rank, Rank) else rank)

    def limit(self, limit: int, offset: int = 0) -> Search:
        """Return at most so many, leaving out `offset` first."""
        return replace(self, _limit={"offset": offset, "limit": limit})

    def select(self, *keys: Key | str) -> Search:
        """Return these fields."""
        names = {key.name if isinstance(key, Key) else key for key in keys}
        return replace(self, _select=tuple(sorted(names)))

    def to_dict(self) -> dict[str, Any]:
        """Return the search as on Chroma's wire."""
        return {
            "filter": self._filter,
            "rank": self._rank,
            "group_by": {},
            "limit": dict(self._limit),
            "select": {"keys": list(self._select)},
        }


# -- sparse vectors and schemas -----------------------------------------------------------------------


@public_class
@dataclass
class SparseVector:
    """A vector of which only some entries are not zero.

    Args:
        indices: Ascending, at least 0.
        values: One number for each index.
        labels: What each index stands for, or None.

    Raises:
        ValueError: Lengths that differ, or indices out of order.
    """

    indices: list[int]
    values: list[float]
    labels: list[str] | None = None

    def __post_init__(self) -> None:
        if len(self.indices) != len(self.values):
            raise ValueError(
                "SparseVector indices and values must have the same length, got "
                f"{len(self.indices)} indices and {len(self.values)} values"
            )
        if self.labels is not None and len(self.labels) != len(self.indices):
            raise ValueError(
                "SparseVector labels must have the same length as indices, got "
                f"{len(self.labels)} labels and {len(self.indices)} indices"
            )
        last = -1
        for position, index in enumerate(self.indices):
            if index < 0:
                raise ValueError(
                    f"SparseVector indices must be non-negative, got {index} at position {position}"
                )
            if index <= last:
                raise ValueError(
                    "SparseVector indices must be sorted in strictly ascending order, found "
                    f"indices[{position}]={index} <= indices[{position - 1}]={last}"
                )
            last = index

    def to_dict(self) -> dict[str, Any]:
        """Return the vector as on Chroma's wire."""
        out: dict[str, Any] = {
            "#type": "sparse_vector",
            "indices": self.indices,
            "values": self.values,
        }
        if self.labels is not None:
            out["tokens"] = self.labels
        return out

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SparseVector:
        """Read a vector from the wire's form."""
        if data.get("#type") != "sparse_vector":
            raise ValueError(f"Expected #type to be 'sparse_vector', got {data.get('#type')!r}")
        return cls(list(data["indices"]), list(data["values"]), data.get("tokens"))


class Schema:
    """Which indexes a collection of Chroma's distributed store has; carried as it is, not acted on.

    Args:
        definition: ``{"defaults": {...}, "keys": {...}}``; None is empty.
    """

    def __init__(self, definition: Mapping[str, Any] | None = None) -> None:
        given = dict(definition or {})
        self.defaults: dict[str, Any] = dict(given.get("defaults") or {})
        self.keys: dict[str, Any] = dict(given.get("keys") or {})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Schema):
            return NotImplemented
        return self.serialize_to_json() == other.serialize_to_json()

    __hash__ = None  # type: ignore[assignment]

    def serialize_to_json(self) -> dict[str, Any]:
        """Return the schema as on the wire."""
        return {"defaults": self.defaults, "keys": self.keys}

    @classmethod
    def deserialize_from_json(cls, data: Mapping[str, Any]) -> Schema:
        """Read a schema from the wire's form."""
        return cls(data)
