"""Conditions: `Condition`, what `K` makes, and what `where=` and `where_document=` take.

A condition keeps Chroma's `where` as it was written, as errors name it and Chroma's own servers read it. It is
read as the tree of `filters.expression` and written from it; there is no second tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from chroma_nb.boundary import ends_at_caller, public_call, public_class
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.filters.operators import LOGICAL, OPERATORS
from chroma_nb.filters.parsing import parse_where
from chroma_nb.filters.plain_values import is_plain_list, plain_filter
from chroma_nb.filters.where import where_of
from chroma_nb.search.shown import shown
from chroma_nb.special_keys import DOCUMENT_KEY, EMBEDDING_KEY, ID_KEY, METADATA_KEY, SCORE_KEY
from chroma_nb.suggest import did_you_mean

if TYPE_CHECKING:
    from chroma_nb.filters.expression import Expression

_NEGATED = (
    "Negate each comparison: != for ==, K(...).not_in([...]) for is_in, not_contains for contains, not_regex "
    "for regex, <= for >; and what was joined with & is joined with | then."
)


@public_class
@dataclass(frozen=True, eq=False, repr=False)
class Condition:
    """A filter; join several with ``&`` and ``|``. Two are equal that are written alike.

    `Eq`, `And` and the others are its classes under Chroma's names: ``Eq("a", 1)`` is ``K("a") == 1``.

    Attributes:
        where: Chroma's `where` as it was written; `expression` reads it.
    """

    where: dict[str, Any]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Condition):
            return NotImplemented
        return self.where == other.where

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Condition(where={self.where!r})"

    @staticmethod
    @public_call
    def from_dict(where: Mapping[str, Any]) -> Condition:
        """Read Chroma's `where`: ``{"a": 1}`` is ``{"a": {"$eq": 1}}``, and one condition needs no ``$and``.

        Operands are checked where the filter is used, as those of `K` are.

        Raises:
            TypeError: Something of another kind than the grammar has in its place.
            ValueError: No condition, several in one dict, or an unknown operator.
            InvalidArgumentError: It is nested more deeply than Python can follow.
        """
        try:
            return _read(_without_conditions(where))
        except RecursionError:
            raise _too_deep() from None

    @staticmethod
    def from_expression(expression: Expression) -> Condition:
        """Write a tree of `filters.expression` as a condition; its `expression` is the same tree again.

        Raises:
            ValueError: A tree that Chroma's grammar cannot say (`filters.where.where_of`).
        """
        return Condition(where_of(expression))

    @property
    def expression(self) -> Expression:
        """The tree that `filters.mask` and `filters.sql` compile, as `get` and `query` read the condition.

        Raises:
            ValueError: It is not of Chroma's grammar; the text says where.
            InvalidArgumentError: It is, and means nothing (an order of texts, `K.SCORE`).
        """
        expression = parse_where(as_filter(self))
        assert expression is not None  # Only None is no filter.
        return expression

    def to_dict(self) -> dict[str, Any]:
        """Return Chroma's `where`; the dicts and lists are new."""
        where: dict[str, Any] = _without_conditions(self.where)
        return where

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


class _Joined(Condition):
    """Several conditions under one operator.

    Args:
        conditions: Conditions, or dicts of Chroma's `where`.
    """

    operator: ClassVar[str]

    def __init__(self, conditions: Iterable[Condition | dict[str, Any]]) -> None:
        parts = [part.where if isinstance(part, Condition) else part for part in conditions]
        super().__init__({self.operator: parts})

    @property
    def conditions(self) -> list[Condition]:
        """The conditions that it joins."""
        parts: list[Condition | dict[str, Any]] = self.where[self.operator]
        return [part if isinstance(part, Condition) else _condition(part) for part in parts]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.conditions!r})"


class And(_Joined):
    """All of them match."""

    operator = "$and"


class Or(_Joined):
    """One of them matches."""

    operator = "$or"


class _OfField(Condition):
    """A condition on one field.

    Args:
        key: A metadata key, or one of the record's own fields.
        operand: What its value is compared with.
    """

    operator: ClassVar[str]

    def __init__(self, key: Key | str, operand: Any) -> None:
        super().__init__({key.name if isinstance(key, Key) else key: {self.operator: operand}})

    @property
    def key(self) -> str:
        """The key's name."""
        (key,) = self.where
        return key

    @property
    def _operand(self) -> Any:
        return self.where[self.key][self.operator]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.key!r}, {self._operand!r})"


class _OfValue(_OfField):
    """A comparison with one value."""

    def __init__(self, key: Key | str, value: Any) -> None:
        super().__init__(key, value)

    @property
    def value(self) -> Any:
        """What is compared with."""
        return self._operand


class _OfValues(_OfField):
    """A comparison with several values."""

    def __init__(self, key: Key | str, values: list[Any]) -> None:
        super().__init__(key, values)

    @property
    def values(self) -> list[Any]:
        """What is compared with."""
        values: list[Any] = self._operand
        return values


class _OfPattern(_OfField):
    """A comparison with a regular expression."""

    def __init__(self, key: Key | str, pattern: str) -> None:
        super().__init__(key, pattern)

    @property
    def pattern(self) -> str:
        """The regular expression."""
        pattern: str = self._operand
        return pattern


class Eq(_OfValue):
    """The field equals the value."""

    operator = "$eq"


class Ne(_OfValue):
    """The field does not equal the value, or is missing."""

    operator = "$ne"


class Gt(_OfValue):
    """The field is greater than the value."""

    operator = "$gt"


class Gte(_OfValue):
    """The field is greater than the value, or equals it."""

    operator = "$gte"


class Lt(_OfValue):
    """The field is less than the value."""

    operator = "$lt"


class Lte(_OfValue):
    """The field is less than the value, or equals it."""

    operator = "$lte"


class In(_OfValues):
    """The field is one of the values."""

    operator = "$in"


class Nin(_OfValues):
    """The field is none of the values, or is missing."""

    operator = "$nin"


class Contains(_OfValue):
    """The list holds the value; of ``#document``, the text contains it."""

    operator = "$contains"


class NotContains(_OfValue):
    """The list does not hold the value; of ``#document``, the text does not contain it."""

    operator = "$not_contains"


class Regex(_OfPattern):
    """The document matches the pattern."""

    operator = "$regex"


class NotRegex(_OfPattern):
    """The document does not match the pattern."""

    operator = "$not_regex"


_JOINED: dict[str, type[_Joined]] = {kind.operator: kind for kind in (And, Or)}
_OF_FIELD: dict[str, type[_OfField]] = {
    kind.operator: kind
    for kind in (Eq, Ne, Gt, Gte, Lt, Lte, In, Nin, Contains, NotContains, Regex, NotRegex)
}


def _condition(where: dict[str, Any]) -> Condition:
    """Return a filter as one of the classes above; as a plain `Condition` what none of them can say."""
    if isinstance(where, dict) and len(where) == 1:
        ((key, value),) = where.items()
        if key in _JOINED:
            return _JOINED[key](value) if isinstance(value, list) else Condition(where)
        if isinstance(value, dict) and len(value) == 1:
            ((operator, operand),) = value.items()
            if operator in _OF_FIELD:
                return _OF_FIELD[operator](key, operand)
        elif isinstance(key, str) and not isinstance(value, dict | Condition):
            return Eq(key, value)
    return Condition(where)


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
        is_that_alone = list(where) == [operator] and isinstance(where[operator], list)
        parts.extend(where[operator] if is_that_alone else [where])
    return _JOINED[operator](parts)


def _read(where: Any) -> Condition:
    """Return a condition of what `_without_conditions` returned."""
    if not isinstance(where, dict):
        raise TypeError(f"Expected dict for a condition, got {shown(where)}")
    if not where:
        raise ValueError("A condition cannot be empty, got {}. No filter at all is None.")
    if len(where) != 1:
        raise ValueError(
            f"Expected one condition in a dict, got {shown(where)}. Join several with $and: "
            "{'$and': [{'a': 1}, {'b': 2}]}."
        )
    ((key, value),) = where.items()
    if not isinstance(key, str):
        raise TypeError(f"Expected the key of a condition to be a str, got {shown(key)}")
    if key in LOGICAL:
        if not isinstance(value, list):
            raise TypeError(f"Expected {key} to have a list of conditions, got {shown(value)}")
        if not value:
            raise ValueError(f"{key} requires at least one condition, got []")
        parts = [_read(part) for part in value]
        return parts[0] if len(parts) == 1 else _joined(key, *parts)
    if not isinstance(value, dict):
        return Eq(key, value)
    if len(value) != 1:
        raise ValueError(
            f"Expected one operator for {key!r}, got {shown(value)}. Join several conditions with $and."
        )
    ((operator, operand),) = value.items()
    if operator not in OPERATORS:
        raise ValueError(
            f"Unknown operator {shown(operator)} for {key!r}.{did_you_mean(operator, OPERATORS)}"
        )
    kinds = _OPERAND_KINDS.get(operator)
    if kinds is not None and not isinstance(operand, kinds):
        names = ", ".join(kind.__name__ for kind in kinds)
        raise TypeError(f"{operator} requires an operand of {names}, got {shown(operand)}")
    return _OF_FIELD[operator](key, operand)


#: What the operators take that take one kind of operand.
_OPERAND_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("$in", "$nin"), (list,)),
    **dict.fromkeys(("$contains", "$not_contains"), (str, int, float, bool)),
    **dict.fromkeys(("$regex", "$not_regex"), (str,)),
}


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
    if list(filter) == [DOCUMENT_KEY]:
        return filter[DOCUMENT_KEY]
    return {
        key: _of_documents(value) if key in ("$and", "$or") else value
        for key, value in filter.items()
    }


def _without_conditions(where: Any) -> Any:
    if isinstance(where, Condition):
        return _without_conditions(where.where)
    if isinstance(where, Key):
        raise InvalidArgumentError(
            f"{where!r} alone is no condition. Compare it: {where!r} == value, {where!r}.is_in([...])."
        )
    if isinstance(where, dict):
        return {key: _without_conditions(value) for key, value in where.items()}
    if isinstance(where, list | tuple):
        # A list of plain values has no condition in it, and may be long.
        return (
            list(where) if is_plain_list(where) else [_without_conditions(value) for value in where]
        )
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
        return _OF_FIELD[operator](self.name, value)

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
        return self._is("$contains", self._contained("$contains", value))

    def not_contains(self, value: Any) -> Condition:
        """The opposite of `contains`."""
        return self._is("$not_contains", self._contained("$not_contains", value))

    def _contained(self, operator: str, value: Any) -> Any:
        if self.name == DOCUMENT_KEY and not isinstance(value, str):
            raise TypeError(f"{operator} on #document requires a string, got {shown(value)}")
        return value

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


Key.ID, Key.DOCUMENT, Key.EMBEDDING = Key(ID_KEY), Key(DOCUMENT_KEY), Key(EMBEDDING_KEY)
Key.METADATA, Key.SCORE = Key(METADATA_KEY), Key(SCORE_KEY)
K = Key
