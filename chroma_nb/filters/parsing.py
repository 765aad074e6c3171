"""Chroma's `where` and `where_document`, parsed once into the tree of `expression`.

Metadata keys never begin with ``#``. In a filter ``#id`` is the record's id and ``#document`` its document. Any
other such name is refused, because it would look like a condition that no record matches.
"""

from __future__ import annotations

from typing import Any, TypeGuard

from chroma_nb.errors import InvalidArgumentError, with_way_out
from chroma_nb.filters.expression import (
    Among,
    And,
    Compare,
    CompareDate,
    DocumentContains,
    DocumentMatches,
    Expression,
    IdAmong,
    ListContains,
    Or,
    Scalar,
)
from chroma_nb.filters.operators import (
    DOCUMENT_OPERATORS,
    FIELD_OPERATORS,
    LISTS,
    LOGICAL,
    MEMBERSHIP,
    ORDERED,
    PATTERNS,
)
from chroma_nb.filters.plain_values import plain_filter
from chroma_nb.filters.ways_out import (
    instead_in_documents,
    instead_of_value,
    joined,
    mixed_list,
    wrong_operator,
)
from chroma_nb.scalars import instant
from chroma_nb.special_keys import DOCUMENT_KEY, ID_KEY
from chroma_nb.words import brief

_INVALID = "Invalid where clause"


def parse_where(where: Any) -> Expression | None:
    """Parse a metadata filter.

    Args:
        where: Chroma's grammar, or None.

    Raises:
        ValueError: It is not of the grammar; the text says where.
        InvalidArgumentError: It is, but means nothing (an order of texts, a list of mixed types).
    """
    return None if where is None else _parse_where(plain_filter(where))


def _parse_where(where: Any) -> Expression:
    if not isinstance(where, dict):
        raise with_way_out(
            ValueError(f"Expected where to be a dict, got {brief(where)}"),
            "Write {'key': value}, or K('key') == value.",
        )
    if len(where) != 1:
        raise with_way_out(
            ValueError(f"Expected where to have exactly one operator, got {brief(where)}"),
            f"Join conditions with $and: {joined([{key: value} for key, value in where.items()])}."
            if where
            else "Without a condition leave it out: where=None.",
        )
    ((key, value),) = where.items()
    if not isinstance(key, str):
        raise ValueError(f"Expected where key to be a str, got {brief(key)}")
    if key in LOGICAL:
        if not isinstance(value, list):
            raise ValueError(
                f"Expected where value for $and or $or to be a list of where expressions, got {brief(value)}"
            )
        if len(value) < 2:
            raise with_way_out(
                ValueError(
                    "Expected where value for $and or $or to be a list with at least two where "
                    f"expressions, got {brief(value)}"
                ),
                f"Write one condition without {key}: where={brief(value[0])}."
                if value
                else "Without a condition leave it out: where=None.",
            )
        children = _with_lists(tuple(map(_parse_where, value)), negated=key == "$and")
        if len(children) == 1:
            return children[0]
        return And(children) if key == "$and" else Or(children)
    if key.startswith("$"):
        raise wrong_operator(
            key,
            "Expected where key to be a metadata field name or a logical operator ($and, $or), "
            f"got {brief(key)}",
            where,
        )
    key = _plain(key)
    if key.startswith("#") and key not in (ID_KEY, DOCUMENT_KEY):
        raise InvalidArgumentError(
            f"{_INVALID}: no metadata key begins with #, got {brief(key)}. Of a record's own parts a "
            "filter takes K.ID ('#id') and K.DOCUMENT ('#document')."
        )
    if isinstance(value, dict):
        return _parse_operator(key, value)
    if not isinstance(value, str | int | float | bool):
        error = ValueError(
            f"Expected where value to be a str, int, float, or operator expression, got {brief(value)}"
        )
        raise with_way_out(error, instead_of_value(key, value))
    return _leaf(key, "$eq", value)


def _parse_operator(key: str, expression: dict[Any, Any]) -> Expression:
    if len(expression) != 1:
        parts = [{key: {operator: operand}} for operator, operand in expression.items()]
        raise with_way_out(
            ValueError(
                f"Expected operator expression to have exactly one operator, got {brief(expression)}"
            ),
            f"Join several with $and: {joined(parts)}."
            if parts
            else f"Compare with a value, such as {{{key!r}: {{'$eq': 1}}}}, or leave the key out.",
        )
    ((operator, operand),) = expression.items()
    if key == DOCUMENT_KEY and operator in DOCUMENT_OPERATORS and not isinstance(operand, str):
        raise ValueError(
            f"Expected operand value to be a str for operator {operator} on {DOCUMENT_KEY}, "
            f"got {brief(operand)}"
        )
    if key == DOCUMENT_KEY and operator in PATTERNS:
        if not operand:
            raise ValueError(
                f"Expected operand value for operator {operator} on {DOCUMENT_KEY} to be a non-empty str"
            )
        return DocumentMatches(_plain(operand), operator == "$not_regex")
    if operator in ORDERED and not isinstance(operand, int | float):
        moment = instant(operand) if isinstance(operand, str) and key != ID_KEY else None
        if moment is None:
            raise with_way_out(
                ValueError(
                    f"Expected operand value to be an int or a float for operator {operator}, got "
                    f"{brief(operand)}"
                ),
                "A date is compared too: as a datetime, or as text in ISO form such as '2024-05-01' or "
                "'2024-05-01T12:30:00Z'.",
            )
    if operator in LISTS and not isinstance(operand, str | int | float | bool):
        raise ValueError(
            "Expected operand value to be a str, int, float, or bool for operator "
            f"{operator}, got {brief(operand)}"
        )
    if operator in MEMBERSHIP:
        if not isinstance(operand, list):
            raise with_way_out(
                ValueError(
                    f"Expected operand value to be an list for operator {operator}, got {brief(operand)}"
                ),
                f"Put it in a list: {{{operator!r}: [{brief(repr(operand), 80)}]}}.",
            )
        if not all(issubclass(kind, str | int | float | bool) for kind in set(map(type, operand))):
            raise mixed_list(operand)
    if operator not in FIELD_OPERATORS:
        raise wrong_operator(
            operator,
            "Expected where operator to be one of $gt, $gte, $lt, $lte, $ne, $eq, $in, $nin, "
            f"$contains, $not_contains, got {brief(operator)}",
            expression,
        )
    if not isinstance(operand, str | int | float | bool | list):
        error = ValueError(
            "Expected where operand value to be a str, int, float, bool, or list of those type, "
            f"got {brief(operand)}"
        )
        raise with_way_out(error, instead_of_value(key, operand))
    if isinstance(operand, list) and not (
        operand and all(issubclass(kind, type(operand[0])) for kind in set(map(type, operand)))
    ):
        raise mixed_list(operand)
    return _leaf(key, operator, operand)


def _with_lists(children: tuple[Expression, ...], *, negated: bool) -> tuple[Expression, ...]:
    """Merge equalities of the same key into one list of values.

    Frameworks write "one of many values" as ``$or`` of ``$eq``, and "none of many" as ``$and`` of ``$ne``. As they
    are, each would need a mask or an SQL expression of its own.

    Args:
        children: The conditions that ``$or`` or ``$and`` joins.
        negated: They are joined by ``$and``: merge ``$ne`` instead of ``$eq``.
    """
    values: dict[tuple[str, type[Scalar]], list[Scalar]] = {}
    for child in children:
        if _is_equality(child, negated):
            values.setdefault((child.key, type(child.value)), []).append(child.value)
    out: list[Expression] = []
    for child in children:
        if not _is_equality(child, negated):
            out.append(child)
            continue
        # The list takes the place of its first equality; the others find no values left.
        found = values.pop((child.key, type(child.value)), None)
        if found is not None:
            out.append(child if len(found) == 1 else Among(child.key, tuple(found), negated))
    return tuple(out)


def _is_equality(condition: Expression, negated: bool) -> TypeGuard[Compare]:
    return isinstance(condition, Compare) and condition.op == "$eq" and condition.negated == negated


def _leaf(key: str, operator: str, operand: Any) -> Expression:
    if key == ID_KEY:
        return _id_leaf(operator, operand)
    if key == DOCUMENT_KEY:
        if operator not in LISTS or not isinstance(operand, str):
            raise InvalidArgumentError(
                f"Cannot filter using metadata key '{DOCUMENT_KEY}' with operator '{operator}' "
                "because indexing is disabled. Use where_document, or $contains with a text."
            )
        if not operand:
            raise ValueError(
                f"Expected operand value for operator {operator} on {DOCUMENT_KEY} to be a non-empty str"
            )
        return DocumentContains(_plain(operand), operator == "$not_contains")
    if operator in MEMBERSHIP:
        values = _plain_values(operand)
        if len(set(map(type, values))) != 1:
            raise InvalidArgumentError(f"{_INVALID}: values of several kinds in {brief(operand)}")
        return Among(key, tuple(values), operator == "$nin")
    if isinstance(operand, list):
        raise InvalidArgumentError(
            f"{_INVALID}: {operator} takes one value, got {brief(operand)}. For one of several values: "
            f"{{{key!r}: {{'$in': [...]}}}}; for a stored list that has a value: {{{key!r}: {{'$contains': value}}}}."
        )
    operand = _plain(operand)
    if operator in LISTS:
        return ListContains(key, operand, operator == "$not_contains")
    if operator == "$ne":
        return Compare(key, "$eq", operand, negated=True)
    if operator != "$eq" and isinstance(operand, bool):
        raise InvalidArgumentError(
            f"{_INVALID}: {operator} compares numbers, got {operand!r}. A bool is compared with $eq and $ne."
        )
    if operator != "$eq" and isinstance(operand, str):
        moment = instant(operand)
        assert moment is not None  # `_parse_operator` has checked it
        return CompareDate(key, operator, moment)  # type: ignore[arg-type]
    return Compare(key, operator, operand)  # type: ignore[arg-type]


def _id_leaf(operator: str, operand: Any) -> IdAmong:
    ids = operand if operator in MEMBERSHIP else [operand]
    if operator not in ("$eq", "$ne", *MEMBERSHIP) or not all(isinstance(id, str) for id in ids):
        raise InvalidArgumentError(
            f"{_INVALID}: an id is a text, and is compared with $eq, $ne, $in and $nin; got {operator} "
            f"{brief(operand)}"
        )
    return IdAmong(tuple(_plain_values(ids)), operator in ("$ne", "$nin"))


def _plain_values(values: list[Any]) -> list[Any]:
    """Do the same as `_plain` for a list, quickly if no value needs a conversion."""
    kinds = set(map(type, values))
    if kinds <= {int, bool} or (kinds == {str} and all(map(str.isascii, values))):
        return values
    return list(map(_plain, values))


def _plain(value: Any) -> Any:
    """Return a scalar as Python's own type, from which enumerations and some of NumPy's types derive.

    Raises:
        InvalidArgumentError: NaN, or text that UTF-8 cannot encode.
    """
    if isinstance(value, str):
        # Not str(value), which is the name of an enumeration's member.
        text = str.__str__(value)
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidArgumentError(
                f"{_INVALID}: {brief(ascii(text))} holds a lone surrogate, which no stored text can. Clean "
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
            ValueError(f"Expected where document to be a dictionary, got {brief(where_document)}"),
            "Write {'$contains': 'text'}.",
        )
    if len(where_document) != 1:
        parts = [{operator: operand} for operator, operand in where_document.items()]
        raise with_way_out(
            ValueError(
                f"Expected where document to have exactly one operator, got {brief(where_document)}"
            ),
            f"Join conditions with $and: {joined(parts)}."
            if parts
            else "Without a condition leave it out: where_document=None.",
        )
    ((operator, operand),) = where_document.items()
    if operator in LOGICAL:
        if not isinstance(operand, list):
            raise ValueError(
                "Expected document value for $and or $or to be a list of where document "
                f"expressions, got {brief(operand)}"
            )
        if len(operand) < 2:
            raise with_way_out(
                ValueError(
                    "Expected document value for $and or $or to be a list with at least two where "
                    f"document expressions, got {brief(operand)}"
                ),
                f"Write one condition without {operator}: where_document={brief(operand[0])}."
                if operand
                else "Without a condition leave it out: where_document=None.",
            )
        children = tuple(map(_parse_where_document, operand))
        return And(children) if operator == "$and" else Or(children)
    if operator not in DOCUMENT_OPERATORS:
        error = ValueError(
            "Expected where document operator to be one of $contains, $not_contains, $regex, "
            f"$not_regex, $and, $or, got {brief(operator)}"
        )
        raise with_way_out(error, instead_in_documents(operator, where_document))
    if not isinstance(operand, str):
        error = ValueError(
            f"Expected where document operand value for operator {operator} to be a str, got {brief(operand)}"
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
