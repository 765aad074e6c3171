"""Filters, parsed once: Chroma's `where` and `where_document` become one small tree.

The nodes are frozen and hashable, and their values are of Python's own kinds. (Do not keep results by
expression: to Python 1, 1.0 and True are equal, so are the nodes that hold them.) Two compilers read them: `mask` (NumPy, for what is in memory) and
`sql` (for what is not). Negation is a flag of the leaves, and means "not": a record that has no
such field, or no document, matches it.

Metadata keys never begin with ``#``. In a filter ``#id`` is the record's id and ``#document`` its document;
any other such name is refused, as a condition on it would look like one that no record matches.
"""

from __future__ import annotations

import sys
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal, TypeAlias, TypeGuard

import numpy as np

from chroma_nb.errors import InvalidArgumentError, with_way_out
from chroma_nb.scalars import date_spellings, instant, plain_scalar
from chroma_nb.suggest import did_you_mean

Scalar: TypeAlias = str | int | float | bool
Comparison: TypeAlias = Literal["$eq", "$gt", "$gte", "$lt", "$lte"]


@dataclass(frozen=True)
class And:
    """All of them match."""

    children: tuple[Expression, ...]


@dataclass(frozen=True)
class Or:
    """One of them matches."""

    children: tuple[Expression, ...]


@dataclass(frozen=True)
class Compare:
    """The field's value compares so with `value`; numbers by value, bool apart from numbers."""

    asks: ClassVar[Literal["value"]] = "value"

    key: str
    op: Comparison
    value: Scalar
    negated: bool = False


@dataclass(frozen=True)
class CompareDate:
    """The field's value is a date in ISO form, and compares so with a moment.

    `moment` is in nanoseconds since 1970 UTC, as `scalars.instant` reads it.
    """

    asks: ClassVar[Literal["date"]] = "date"

    key: str
    op: Comparison
    moment: int
    negated: bool = False


@dataclass(frozen=True)
class Among:
    """The field's value equals one of these."""

    asks: ClassVar[Literal["values"]] = "values"

    key: str
    values: tuple[Scalar, ...]
    negated: bool = False


@dataclass(frozen=True)
class ListContains:
    """The field is a list that holds a value of exactly this kind."""

    asks: ClassVar[Literal["list"]] = "list"

    key: str
    value: Scalar
    negated: bool = False


@dataclass(frozen=True)
class IdAmong:
    """The record's id is one of these."""

    ids: tuple[str, ...]
    negated: bool = False


@dataclass(frozen=True)
class DocumentContains:
    """The document contains the text, case-sensitively."""

    text: str
    negated: bool = False


@dataclass(frozen=True)
class DocumentMatches:
    """The document matches the regular expression somewhere."""

    pattern: str
    negated: bool = False


Leaf: TypeAlias = (
    Compare | CompareDate | Among | ListContains | IdAmong | DocumentContains | DocumentMatches
)
Expression: TypeAlias = And | Or | Leaf


def patterns(expression: Expression | None) -> list[str]:
    """Return the regular expressions that are part of it."""
    if isinstance(expression, And | Or):
        return [pattern for child in expression.children for pattern in patterns(child)]
    return [expression.pattern] if isinstance(expression, DocumentMatches) else []


def contained_texts(expression: Expression | None) -> list[str]:
    """Return the texts that it wants documents to contain."""
    if isinstance(expression, And | Or):
        return [text for child in expression.children for text in contained_texts(child)]
    wanted = isinstance(expression, DocumentContains) and not expression.negated
    return [expression.text] if wanted else []  # type: ignore[union-attr]


FieldLeaf: TypeAlias = Compare | CompareDate | Among | ListContains


def field_conditions(expression: Expression | None) -> list[FieldLeaf]:
    """Return what it asks about metadata keys, in its order."""
    if isinstance(expression, And | Or):
        return [leaf for child in expression.children for leaf in field_conditions(child)]
    return [expression] if isinstance(expression, FieldLeaf) else []


LOGICAL = ("$and", "$or")
_ORDERED = ("$gt", "$gte", "$lt", "$lte")
_MEMBERSHIP = ("$in", "$nin")
_LISTS = ("$contains", "$not_contains")
_OPERATORS = (*_ORDERED, "$ne", "$eq", *_MEMBERSHIP, *_LISTS)
PATTERNS = ("$regex", "$not_regex")
_DOCUMENT_OPERATORS = (*_LISTS, *PATTERNS)
#: Every operator on a field or on the document.
OPERATORS = (*_OPERATORS, *PATTERNS)
#: The pseudo-fields of `where` that stand for the record's own parts.
ID_KEY = "#id"
DOCUMENT_KEY = "#document"
_INVALID = "Invalid where clause"


def plain_filter(value: Any) -> Any:
    """Return a filter of Python's own kinds, ready for JSON.

    NumPy's scalars and arrays, tuples, sets and pandas' Series become Python's, dates become ISO 8601 text.
    What a filter cannot hold stays as it is, for `parse_where` to refuse.
    """
    if isinstance(value, dict):
        return dict(_plain_condition(key, one) for key, one in value.items())
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, list | tuple | set | frozenset | range | np.ndarray):
        if is_plain_list(value):
            return list(value)
        return [plain_filter(one) for one in value]
    if (
        hasattr(value, "__array__")
        and hasattr(value, "tolist")
        and not isinstance(value, np.generic)
    ):
        # pandas' and other Series: iterating them keeps the values' own kinds.
        return [plain_filter(one) for one in value]
    return plain_scalar(value)


#: JSON's own kinds, of which nothing has to be made.
_PLAIN_KINDS = frozenset({str, int, float, bool, type(None)})


def is_plain_list(value: Any) -> bool:
    """Say whether a list holds scalars of Python's own kinds and nothing else: a long one costs a look at each."""
    return isinstance(value, list | tuple) and _PLAIN_KINDS.issuperset(map(type, value))


#: Operator of equality -> the one that takes several values.
_EQUALITIES = {"$eq": "$in", "$in": "$in", "$ne": "$nin", "$nin": "$nin"}


def _plain_condition(key: Any, value: Any) -> tuple[Any, Any]:
    """Return a key and its value as `plain_filter` does; a day equals that day's midnight.

    A date column may have been stored as '2024-05-01' or as '2024-05-01T00:00:00'.
    """
    plain = plain_filter(value)
    if isinstance(value, dict) or key in LOGICAL:
        return key, plain
    operator = _EQUALITIES.get(key) if isinstance(key, str) and key.startswith("$") else "$eq"
    if operator is None:
        return key, plain
    if isinstance(plain, list) and is_plain_list(value):
        return key, plain
    if isinstance(plain, list):
        return key, [text for one in value for text in date_spellings(one) or [plain_filter(one)]]
    texts = date_spellings(value)
    if len(texts) < 2:
        return key, plain
    return (operator, texts) if key in _EQUALITIES else (key, {"$in": texts})


def parse_where(where: Any) -> Expression | None:
    """Parse a metadata filter.

    Args:
        where: Chroma's grammar, or None.

    Raises:
        ValueError: It is not of the grammar; the text says where.
        InvalidArgumentError: It is, and means nothing (an order of texts, a list of mixed kinds).
    """
    return None if where is None else _parse_where(plain_filter(where))


def _parse_where(where: Any) -> Expression:
    if not isinstance(where, dict):
        raise with_way_out(
            ValueError(f"Expected where to be a dict, got {_short(where)}"),
            "Write {'key': value}, or K('key') == value.",
        )
    if len(where) != 1:
        raise with_way_out(
            ValueError(f"Expected where to have exactly one operator, got {_short(where)}"),
            f"Join conditions with $and: {_joined([{key: value} for key, value in where.items()])}."
            if where
            else "Without a condition leave it out: where=None.",
        )
    ((key, value),) = where.items()
    if not isinstance(key, str):
        raise ValueError(f"Expected where key to be a str, got {_short(key)}")
    if key in LOGICAL:
        if not isinstance(value, list):
            raise ValueError(
                f"Expected where value for $and or $or to be a list of where expressions, got {_short(value)}"
            )
        if len(value) < 2:
            raise with_way_out(
                ValueError(
                    "Expected where value for $and or $or to be a list with at least two where "
                    f"expressions, got {_short(value)}"
                ),
                f"Write one condition without {key}: where={_short(value[0])}."
                if value
                else "Without a condition leave it out: where=None.",
            )
        children = _with_lists(tuple(map(_parse_where, value)), negated=key == "$and")
        if len(children) == 1:
            return children[0]
        return And(children) if key == "$and" else Or(children)
    if key.startswith("$"):
        raise _operator_of_documents(
            key,
            "Expected where key to be a metadata field name or a logical operator ($and, $or), "
            f"got {_short(key)}",
            where,
        )
    key = _plain(key)
    if key.startswith("#") and key not in (ID_KEY, DOCUMENT_KEY):
        raise InvalidArgumentError(
            f"{_INVALID}: no metadata key begins with #, got {_short(key)}. Of a record's own parts a "
            "filter takes K.ID ('#id') and K.DOCUMENT ('#document')."
        )
    if isinstance(value, dict):
        return _parse_operator(key, value)
    if not isinstance(value, str | int | float | bool):
        error = ValueError(
            f"Expected where value to be a str, int, float, or operator expression, got {_short(value)}"
        )
        raise with_way_out(error, _instead_of(key, value))
    return _leaf(key, "$eq", value)


def _parse_operator(key: str, expression: dict[Any, Any]) -> Expression:
    if len(expression) != 1:
        parts = [{key: {operator: operand}} for operator, operand in expression.items()]
        raise with_way_out(
            ValueError(
                f"Expected operator expression to have exactly one operator, got {_short(expression)}"
            ),
            f"Join several with $and: {_joined(parts)}."
            if parts
            else f"Compare with a value, such as {{{key!r}: {{'$eq': 1}}}}, or leave the key out.",
        )
    ((operator, operand),) = expression.items()
    if key == DOCUMENT_KEY and operator in _DOCUMENT_OPERATORS and not isinstance(operand, str):
        raise ValueError(
            f"Expected operand value to be a str for operator {operator} on {DOCUMENT_KEY}, "
            f"got {_short(operand)}"
        )
    if key == DOCUMENT_KEY and operator in PATTERNS:
        if not operand:
            raise ValueError(
                f"Expected operand value for operator {operator} on {DOCUMENT_KEY} to be a non-empty str"
            )
        return DocumentMatches(_plain(operand), operator == "$not_regex")
    if operator in _ORDERED and not isinstance(operand, int | float):
        moment = instant(operand) if isinstance(operand, str) and key != ID_KEY else None
        if moment is None:
            raise with_way_out(
                ValueError(
                    f"Expected operand value to be an int or a float for operator {operator}, got "
                    f"{_short(operand)}"
                ),
                "A date is compared too: as a datetime, or as text in ISO form such as '2024-05-01' or "
                "'2024-05-01T12:30:00Z'.",
            )
    if operator in _LISTS and not isinstance(operand, str | int | float | bool):
        raise ValueError(
            "Expected operand value to be a str, int, float, or bool for operator "
            f"{operator}, got {_short(operand)}"
        )
    if operator in _MEMBERSHIP:
        if not isinstance(operand, list):
            raise with_way_out(
                ValueError(
                    f"Expected operand value to be an list for operator {operator}, got {_short(operand)}"
                ),
                f"Put it in a list: {{{operator!r}: [{_short(repr(operand), 80)}]}}.",
            )
        if not all(issubclass(one, str | int | float | bool) for one in set(map(type, operand))):
            raise _uneven(operand)
    if operator not in _OPERATORS:
        raise _operator_of_documents(
            operator,
            "Expected where operator to be one of $gt, $gte, $lt, $lte, $ne, $eq, $in, $nin, "
            f"$contains, $not_contains, got {_short(operator)}",
            expression,
        )
    if not isinstance(operand, str | int | float | bool | list):
        error = ValueError(
            "Expected where operand value to be a str, int, float, bool, or list of those type, "
            f"got {_short(operand)}"
        )
        raise with_way_out(error, _instead_of(key, operand))
    if isinstance(operand, list) and not (
        operand and all(issubclass(one, type(operand[0])) for one in set(map(type, operand)))
    ):
        raise _uneven(operand)
    return _leaf(key, operator, operand)


def _with_lists(children: tuple[Expression, ...], *, negated: bool) -> tuple[Expression, ...]:
    """Return conditions in which many equalities of one key are one list.

    Frameworks write one of many values as ``$or`` of ``$eq``, none of many as ``$and`` of ``$ne``. Each
    would be a mask of its own, or an expression of the database's.

    Args:
        children: What ``$or`` joins, or ``$and``.
        negated: It is ``$and``, which joins ``$ne``.
    """
    values: dict[tuple[str, type[Scalar]], list[Scalar]] = {}
    for one in children:
        if _is_equality(one, negated):
            values.setdefault((one.key, type(one.value)), []).append(one.value)
    out: list[Expression] = []
    for one in children:
        if not _is_equality(one, negated):
            out.append(one)
            continue
        # In the place of the first of its list; there is none left for the others.
        found = values.pop((one.key, type(one.value)), None)
        if found is not None:
            out.append(one if len(found) == 1 else Among(one.key, tuple(found), negated))
    return tuple(out)


def _is_equality(one: Expression, negated: bool) -> TypeGuard[Compare]:
    return isinstance(one, Compare) and one.op == "$eq" and one.negated == negated


def _operator_of_documents(operator: Any, sentence: str, expression: Any) -> ValueError:
    """Return the error for an operator that is out of place, with where it belongs or what was meant."""
    if operator in _DOCUMENT_OPERATORS:
        way_out = f"Documents are filtered by where_document={_short(expression)}."
        return with_way_out(ValueError(sentence), way_out)
    if operator in LOGICAL:
        way_out = (
            f"{operator} stands outside of the keys: {{{operator!r}: [{{'a': 1}}, {{'b': 2}}]}}."
        )
        return with_way_out(ValueError(sentence), way_out)
    instead = _INSTEAD.get(str(operator).lower().lstrip("$"))
    if instead is not None:
        return with_way_out(ValueError(sentence), instead)
    return ValueError(sentence + did_you_mean(operator, _OPERATORS, " (did you mean {}?)"))


_PIECES = (
    "A filter looks for no pieces of a metadata text. In documents: where_document={'$contains': 'text'}, or "
    "{'$regex': 'pattern'} (K.DOCUMENT.contains, K.DOCUMENT.regex). Of a key, {'$in': [...]} takes whole values."
)
_NEGATION = (
    "There is no negation of a whole condition: use $ne, $nin, $not_contains, or the opposite comparison ($lte "
    "for $gt)."
)
_PRESENCE = "A filter does not ask whether a key is there: store a value that says so, or ask client.sql() with IS NULL."
#: Operators of other languages, without their sign -> what there is here.
_INSTEAD = {
    **dict.fromkeys(("like", "ilike", "startswith", "endswith", "prefix", "match"), _PIECES),
    **dict.fromkeys(("text", "search", "icontains", "glob", "starts_with", "ends_with"), _PIECES),
    **dict.fromkeys(("not", "nor"), _NEGATION),
    **dict.fromkeys(("exists", "isnull", "is_null", "null", "exist", "missing"), _PRESENCE),
    **dict.fromkeys(
        ("between", "range"),
        "Write a range as two conditions: {'$and': [{'n': {'$gte': 1}}, {'n': {'$lte': 5}}]}.",
    ),
    **dict.fromkeys(
        ("all", "elemmatch", "any", "overlap"),
        "Ask for each item of a list: {'$and': [{'tags': {'$contains': 'a'}}, {'tags': {'$contains': 'b'}}]}.",
    ),
    "=": "Write $eq.",
    "==": "Write $eq.",
    "!=": "Write $ne.",
    "<>": "Write $ne.",
    ">": "Write $gt.",
    ">=": "Write $gte.",
    "<": "Write $lt.",
    "<=": "Write $lte.",
}


def _joined(conditions: list[Any]) -> str:
    """Return conditions joined as they have to be, cut to what a sentence can bear."""
    return _short(repr({"$and": conditions}))


def _instead_of(key: str, value: Any) -> str:
    """Return the way out for a value that no filter compares with."""
    name = repr(key)
    if value is None:
        return (
            f"No stored value is None: a record without a value lacks the key. {{{name}: {{'$ne': x}}}} matches "
            "records without it, too."
        )
    if isinstance(value, list):
        return (
            f"For one of several values: {{{name}: {{'$in': [...]}}}}; for a stored list that has a value: "
            f"{{{name}: {{'$contains': value}}}}."
        )
    return f"It is of the kind {type(value).__name__}. Compare with the text that was stored: str(value)."


def _uneven(operand: Any) -> ValueError:
    sentence = (
        "Expected where operand value to be a non-empty list, and all values to be of the "
        f"same type got {_short(operand)}"
    )
    if not operand:
        return with_way_out(
            ValueError(sentence), "An empty list matches nothing: leave the condition out."
        )
    way_out = "Join lists of one kind each with $or: {'$or': [{'k': {'$in': [1]}}, {'k': {'$in': ['a']}}]}."
    return with_way_out(ValueError(sentence), way_out)


def _leaf(key: str, operator: str, operand: Any) -> Expression:
    if key == ID_KEY:
        return _id_leaf(operator, operand)
    if key == DOCUMENT_KEY:
        if operator not in _LISTS or not isinstance(operand, str):
            raise InvalidArgumentError(
                f"Cannot filter using metadata key '{DOCUMENT_KEY}' with operator '{operator}' "
                "because indexing is disabled. Use where_document, or $contains with a text."
            )
        if not operand:
            raise ValueError(
                f"Expected operand value for operator {operator} on {DOCUMENT_KEY} to be a non-empty str"
            )
        return DocumentContains(_plain(operand), operator == "$not_contains")
    if operator in _MEMBERSHIP:
        values = _plain_values(operand)
        if len(set(map(type, values))) != 1:
            raise InvalidArgumentError(f"{_INVALID}: values of several kinds in {_short(operand)}")
        return Among(key, tuple(values), operator == "$nin")
    if isinstance(operand, list):
        raise InvalidArgumentError(
            f"{_INVALID}: {operator} takes one value, got {_short(operand)}. For one of several values: "
            f"{{{key!r}: {{'$in': [...]}}}}; for a stored list that has a value: {{{key!r}: {{'$contains': value}}}}."
        )
    operand = _plain(operand)
    if operator in _LISTS:
        return ListContains(key, operand, operator == "$not_contains")
    if operator == "$ne":
        return Compare(key, "$eq", operand, negated=True)
    if operator != "$eq" and isinstance(operand, bool):
        raise InvalidArgumentError(
            f"{_INVALID}: {operator} compares numbers, got {operand!r}. A bool is compared with $eq and $ne."
        )
    if operator != "$eq" and isinstance(operand, str):
        moment = instant(operand)
        assert moment is not None  # `_parse_operator` has looked
        return CompareDate(key, operator, moment)  # type: ignore[arg-type]
    return Compare(key, operator, operand)  # type: ignore[arg-type]


def _id_leaf(operator: str, operand: Any) -> IdAmong:
    ids = operand if operator in _MEMBERSHIP else [operand]
    if operator not in ("$eq", "$ne", *_MEMBERSHIP) or not all(isinstance(one, str) for one in ids):
        raise InvalidArgumentError(
            f"{_INVALID}: an id is a text, and is compared with $eq, $ne, $in and $nin; got {operator} "
            f"{_short(operand)}"
        )
    return IdAmong(tuple(_plain_values(ids)), operator in ("$ne", "$nin"))


def _plain_values(values: list[Any]) -> list[Any]:
    """Return scalars as `_plain` does, quickly where nothing has to be done."""
    kinds = set(map(type, values))
    if kinds <= {int, bool} or (kinds == {str} and all(map(str.isascii, values))):
        return values
    return list(map(_plain, values))


def _plain(value: Any) -> Any:
    """Return a scalar as Python's own kind: enumerations and NumPy's kinds derive from them.

    Raises:
        InvalidArgumentError: NaN, or text that UTF-8 cannot hold.
    """
    if isinstance(value, str):
        # Not str(value): that of an enumeration is its name.
        text = str.__str__(value)
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidArgumentError(
                f"{_INVALID}: {_short(ascii(text))} holds a lone surrogate, which no stored text can. Clean "
                "it with text.encode('utf-8', 'replace').decode()."
            ) from None
        return text
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    value = float(value)
    if value != value:
        raise InvalidArgumentError(f"{_INVALID}: NaN equals nothing. Leave the condition out.")
    return value


def parse_where_document(where_document: Any) -> Expression | None:
    """Parse a document filter.

    Args:
        where_document: Chroma's grammar, or None.

    Raises:
        ValueError: It is not of the grammar.
        InvalidArgumentError: A text that no document can hold.
    """
    return None if where_document is None else _parse_where_document(where_document)


def _parse_where_document(where_document: Any) -> Expression:
    if not isinstance(where_document, dict):
        raise with_way_out(
            ValueError(f"Expected where document to be a dictionary, got {_short(where_document)}"),
            "Write {'$contains': 'text'}.",
        )
    if len(where_document) != 1:
        parts = [{operator: operand} for operator, operand in where_document.items()]
        raise with_way_out(
            ValueError(
                f"Expected where document to have exactly one operator, got {_short(where_document)}"
            ),
            f"Join conditions with $and: {_joined(parts)}."
            if parts
            else "Without a condition leave it out: where_document=None.",
        )
    ((operator, operand),) = where_document.items()
    if operator in LOGICAL:
        if not isinstance(operand, list):
            raise ValueError(
                "Expected document value for $and or $or to be a list of where document "
                f"expressions, got {_short(operand)}"
            )
        if len(operand) < 2:
            raise with_way_out(
                ValueError(
                    "Expected document value for $and or $or to be a list with at least two where "
                    f"document expressions, got {_short(operand)}"
                ),
                f"Write one condition without {operator}: where_document={_short(operand[0])}."
                if operand
                else "Without a condition leave it out: where_document=None.",
            )
        children = tuple(map(_parse_where_document, operand))
        return And(children) if operator == "$and" else Or(children)
    if operator not in _DOCUMENT_OPERATORS:
        error = ValueError(
            "Expected where document operator to be one of $contains, $not_contains, $regex, "
            f"$not_regex, $and, $or, got {_short(operator)}"
        )
        raise with_way_out(error, _instead_in_documents(operator, where_document))
    if not isinstance(operand, str):
        error = ValueError(
            f"Expected where document operand value for operator {operator} to be a str, got {_short(operand)}"
        )
        way_out = "It is one text: join several with $and or $or, each with an operator of its own."
        raise with_way_out(error, way_out)
    if not operand:
        raise with_way_out(
            ValueError(
                f"Expected where document operand value for operator {operator} to be a non-empty str"
            ),
            "Every document contains the empty text: leave the condition out.",
        )
    operand = _plain(operand)
    if operator in ("$contains", "$not_contains"):
        return DocumentContains(operand, operator == "$not_contains")
    return DocumentMatches(operand, operator == "$not_regex")


def _instead_in_documents(operator: Any, where_document: Any) -> str:
    """Return the way out for what is no operator on documents."""
    if not str(operator).startswith("$"):
        return f"Metadata is filtered by where={_short(where_document)}."
    if str(operator).lower() in ("$not", "$nor", "$ne"):
        return "Negate each condition: $not_contains, $not_regex."
    return "For a piece of text use $contains, for a pattern $regex ('(?i)' in front of it ignores case)."


# -- regular expressions ----------------------------------------------------------------------

#: What Rust's ``\d``, ``\s`` and ``\w`` mean, as members of a class. The last range of the words holds the
#: circled letters, which are alphabetic and of no category that is.
_DIGITS = r"\p{Nd}"
_SPACES = r"\t-\r \x{85}\p{Z}"
_WORDS = r"\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{200C}\x{200D}\x{24B6}-\x{24E9}"
_NAMED = {"d": _DIGITS, "s": _SPACES, "w": _WORDS}
_WORD_CATEGORIES = frozenset(("Nd", "Nl", "Pc"))
#: Escapes that RE2 takes and Rust refuses; and Rust's that RE2 takes for something else.
_FOREIGN = frozenset("QECGKX<>")


def rust_regex_to_re2(pattern: str) -> str:
    r"""Return a regular expression in Rust's syntax, Chroma's, as one in RE2's, DuckDB's.

    ``\d``, ``\s`` and ``\w`` know all of Unicode in Rust and ASCII alone in RE2: they are spelt out.
    ``(?<name>`` and ``\u0041`` are spelt as RE2 has them. Where RE2 would take a pattern for something
    else than Rust does, it is refused. ``\b`` is ASCII's in RE2, and stays so.

    Raises:
        InvalidArgumentError: Operations between classes, nested classes, and escapes of the other dialect.
    """
    out: list[str] = []
    at, in_class = 0, False
    while at < len(pattern):
        sign = pattern[at]
        if sign == "\\" and at + 1 < len(pattern):
            text, at = _escape(pattern, at, in_class)
            out.append(text)
            continue
        if not in_class:
            if pattern.startswith("(?<", at) and pattern[at + 3 : at + 4] not in ("=", "!"):
                out.append("(?P<")
                at += 3
                continue
            if sign == "[":
                in_class = True
                # A bracket that closes at once is a member; so it is behind the sign of negation.
                length = 1 + pattern.startswith("^", at + 1)
                length += pattern.startswith("]", at + length)
                out.append(pattern[at : at + length])
                at += length
                continue
        elif sign == "]":
            in_class = False
        elif pattern.startswith("[:", at) and ":]" in pattern[at:]:
            end = pattern.index(":]", at) + 2
            out.append(pattern[at:end])
            at = end
            continue
        elif sign == "[":
            raise _other_dialect(pattern, "a class within a class")
        elif pattern[at : at + 2] in ("&&", "--", "~~"):
            raise _other_dialect(pattern, f"{pattern[at : at + 2]} within a class")
        out.append(sign)
        at += 1
    return "".join(out)


def _escape(pattern: str, at: int, in_class: bool) -> tuple[str, int]:
    """Return RE2's spelling of the escape at a place, and where it ends."""
    letter = pattern[at + 1]
    if letter in _NAMED:
        return (_NAMED[letter] if in_class else f"[{_NAMED[letter]}]"), at + 2
    if letter == "D":
        return r"\P{Nd}", at + 2
    if letter.lower() in _NAMED:
        members = _NAMED[letter.lower()]
        return (_complement(letter.lower()) if in_class else f"[^{members}]"), at + 2
    if letter in "uU":
        if pattern.startswith("{", at + 2):
            return "\\x", at + 2
        end = at + (6 if letter == "u" else 10)
        return f"\\x{{{pattern[at + 2 : end]}}}", end
    if letter in _FOREIGN or (letter == "b" and pattern.startswith("{", at + 2)):
        raise _other_dialect(pattern, pattern[at : at + 2])
    return pattern[at : at + 2], at + 2


@cache
def _complement(name: str) -> str:
    """Return the members of a class that are not those of a named one: RE2 cannot say so within."""
    ranges: list[str] = []
    start: int | None = None
    for point in range(sys.maxunicode + 2):
        outside = point <= sys.maxunicode and not _belongs(name, chr(point))
        if outside and start is None:
            start = point
        elif not outside and start is not None:
            ranges.append(f"\\x{{{start:X}}}-\\x{{{point - 1:X}}}")
            start = None
    return "".join(ranges)


def _belongs(name: str, sign: str) -> bool:
    category = unicodedata.category(sign)
    if name == "s":
        return category[0] == "Z" or sign in "\t\n\v\f\r\x85"
    return (
        category[0] in "LM"
        or category in _WORD_CATEGORIES
        or sign in "\u200c\u200d"
        or "\u24b6" <= sign <= "\u24e9"
    )


def _other_dialect(pattern: str, what: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"{_INVALID}: {what} is not supported in regular expressions, got {_short(pattern)}"
    )


def _short(value: Any, limit: int = 200) -> str:
    text = str(value)
    return text if len(text) <= limit else text[:limit] + "..."
