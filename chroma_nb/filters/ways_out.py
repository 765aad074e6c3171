"""What to do instead: the second half of errors about filters that are not of the grammar."""

from __future__ import annotations

from typing import Any

from chroma_nb.errors import with_way_out
from chroma_nb.filters.operators import DOCUMENT_OPERATORS, FIELD_OPERATORS, LOGICAL
from chroma_nb.suggest import did_you_mean
from chroma_nb.words import brief

_PIECES = (
    "A filter looks for no pieces of a metadata text. In documents: where_document={'$contains': 'text'}, or "
    "{'$regex': 'pattern'} (K.DOCUMENT.contains, K.DOCUMENT.regex). Of a key, {'$in': [...]} takes whole values."
)
_NEGATION = (
    "There is no negation of a whole condition: use $ne, $nin, $not_contains, or the opposite comparison ($lte "
    "for $gt)."
)
_PRESENCE = "A filter does not ask whether a key is there: store a value that says so, or ask client.sql() with IS NULL."
#: Operators of other languages, without a leading $ -> what to use here.
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


def wrong_operator(operator: Any, sentence: str, expression: Any) -> ValueError:
    """Return the error for an unknown operator of a field, or for one that belongs elsewhere.

    Args:
        operator: The operator.
        sentence: Chroma's sentence.
        expression: The part of the filter that has the operator.
    """
    if operator in DOCUMENT_OPERATORS:
        way_out = f"Documents are filtered by where_document={brief(expression)}."
        return with_way_out(ValueError(sentence), way_out)
    if operator in LOGICAL:
        way_out = (
            f"{operator} stands outside of the keys: {{{operator!r}: [{{'a': 1}}, {{'b': 2}}]}}."
        )
        return with_way_out(ValueError(sentence), way_out)
    instead = _INSTEAD.get(str(operator).lower().lstrip("$"))
    if instead is not None:
        return with_way_out(ValueError(sentence), instead)
    return ValueError(sentence + did_you_mean(operator, FIELD_OPERATORS, " (did you mean {}?)"))


def joined(conditions: list[Any]) -> str:
    """Return conditions joined with $and, shortened for a message."""
    return brief(repr({"$and": conditions}))


def instead_of_value(key: str, value: Any) -> str:
    """Return what to write instead of a value that no filter compares with."""
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


def mixed_list(operand: Any) -> ValueError:
    """Return the error for a list that is empty or has values of several types."""
    sentence = (
        "Expected where operand value to be a non-empty list, and all values to be of the "
        f"same type got {brief(operand)}"
    )
    if not operand:
        return with_way_out(
            ValueError(sentence), "An empty list matches nothing: leave the condition out."
        )
    way_out = "Join lists of one kind each with $or: {'$or': [{'k': {'$in': [1]}}, {'k': {'$in': ['a']}}]}."
    return with_way_out(ValueError(sentence), way_out)


def instead_in_documents(operator: Any, where_document: Any) -> str:
    """Return what to write instead of an operator that documents do not have."""
    name = brief(operator)
    if not name.startswith("$"):
        return f"Metadata is filtered by where={brief(where_document)}."
    if name.lower() in ("$not", "$nor", "$ne"):
        return "Negate each condition: $not_contains, $not_regex."
    return "For a piece of text use $contains, for a pattern $regex ('(?i)' in front of it ignores case)."
