"""`why_empty`: what may be behind an answer without records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chroma_nb.display.facts import within
from chroma_nb.display.words import shorten
from chroma_nb.harmless import clean
from chroma_nb.scalars import instant
from chroma_nb.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from chroma_nb.collection.results import GetResult, QueryResult
    from chroma_nb.collection.search_result import SearchResult
    from chroma_nb.filters.expression import FieldLeaf, Scalar
    from chroma_nb.types import FieldSummary

#: Keys of Chroma's own words for a document, which are looked for in the metadata by mistake.
_DOCUMENT_WORDS = frozenset(("document", "documents", "text", "content", "page_content"))
_ID_WORDS = frozenset(("id", "ids", "_id", "uuid"))
#: Kind of a stored value -> what such values are called.
_WORDS = {
    "str": "texts",
    "int": "numbers",
    "float": "numbers",
    "bool": "bools",
    "list": "lists",
    "SparseVector": "sparse vectors",
}
#: What a filter asks for -> what one such value is called.
_ONE = {"texts": "a text", "numbers": "a number", "bools": "a bool", "lists": "a list"}


def why_empty(shown: GetResult | QueryResult | SearchResult) -> str:
    """Return a sentence about the filter of an answer without records, an empty text where all is well."""
    asked = list(dict.fromkeys(leaf.key for leaf in shown.conditions))
    if not asked or shown.fields is None:
        return ""
    fields = shown.fields
    if not fields.is_near:
        # Showing something asks no server.
        hints = [_no_metadata(key) for key in asked]
        hints.append(
            "collection.fields.describe() lists the metadata keys that the records have, and the kinds of their "
            "values: 9 and '9' are two kinds."
        )
        return " ".join(filter(None, hints))
    known = within(lambda: list(fields))
    if isinstance(known, Exception):
        return ""
    hints = [_missing(key, known) for key in asked if key not in known]
    there = [leaf for leaf in shown.conditions if leaf.key in known]
    # As many values as `fields` itself shows, as such an answer is kept.
    described = within(fields.describe) if there else []
    if not isinstance(described, Exception):
        by_key = {field.key: field for field in described}
        hints += [_other_kind(leaf, by_key[leaf.key]) for leaf in there if leaf.key in by_key]
    return " ".join(dict.fromkeys(filter(None, hints)))


def _missing(key: str, known: Collection[str]) -> str:
    sentence = f"No record has the metadata key {_shown(key)}."
    about = _no_metadata(key)
    if about:
        return f"{sentence} {about}"
    return sentence + clean(did_you_mean(key, known, " Did you mean {!r}?"))


def _no_metadata(key: str) -> str:
    """Return how a record's own parts are asked for, which are no metadata."""
    if key in _DOCUMENT_WORDS:
        return 'Documents are filtered by where_document={"$contains": "..."}.'
    if key in _ID_WORDS:
        return "A record's id is no metadata: ids=[...], or where=K.ID.is_in([...])."
    return ""


def _other_kind(leaf: FieldLeaf, field: FieldSummary) -> str:
    """Return a sentence where a condition asks for another kind of value than the key has."""
    if leaf.negated:
        # It matches what has another kind.
        return ""
    has = list(dict.fromkeys(_WORDS[kind] for kind in field.kinds))
    wanted, value, operator = _wanted(leaf)
    if not has or set(wanted) & set(has):
        return ""
    values = " and ".join(has)
    asked = "looks into lists" if operator == "$contains" else f"asks for {_ONE[wanted[0]]}"
    sentence = (
        f"The values of the metadata key {_shown(leaf.key)} are {values}, and {operator} {asked}."
    )
    return clean(f"{sentence} {_way_out(leaf, value, operator, has, field)}".rstrip())


def _wanted(leaf: FieldLeaf) -> tuple[list[str], Scalar | None, str]:
    """Return which kinds of values may match, one value that is asked for, and the operator."""
    if leaf.asks == "list":
        return ["lists"], leaf.value, "$contains"
    if leaf.asks == "date":
        return ["texts"], None, leaf.op
    if leaf.asks == "values":
        return [_kind(value) for value in leaf.values], leaf.values[0], "$in"
    return [_kind(leaf.value)], leaf.value, leaf.op


def _kind(value: Scalar) -> str:
    return _WORDS[type(value).__name__]


def _way_out(
    leaf: FieldLeaf,
    value: Scalar | None,
    operator: str,
    has: Sequence[str],
    field: FieldSummary,
) -> str:
    if "lists" in has and operator in ("$eq", "$in"):
        return f'A list that has the value: {{"$contains": {_shown(value)}}}.'
    if operator == "$contains":
        return (
            f"Whole values are compared with {_shown(leaf.key)}: value, pieces of documents with "
            'where_document={"$contains": "..."}.'
        )
    if "texts" in has and operator in ("$gt", "$gte", "$lt", "$lte"):
        texts = [text for text, _ in field.values if isinstance(text, str)]
        date = next((text for text in texts if instant(text) is not None), None)
        if date is not None:
            return f"They are dates: compare with a datetime, or with text such as {_shown(date)}."
        return "Store numbers to compare them, or dates in ISO form: '2024-05-01'."
    if "texts" in has:
        return f"Compare with the text: {_shown(str(value))}."
    if isinstance(value, str):
        if "bools" in has and value.lower() in ("true", "false"):
            return f"Compare with the bool: {value.capitalize()}, without quotes."
        if "numbers" in has and _is_number(value):
            return f"Compare with the number: {shorten(value.strip(), 60)}, without quotes."
    if isinstance(value, bool) and "numbers" in has:
        return f"{value} and {int(value)} are two kinds."
    if "bools" in has and value in (0, 1):
        return f"{value} and {bool(value)} are two kinds."
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _shown(value: object) -> str:
    return repr(shorten(clean(value), 60)) if isinstance(value, str) else repr(value)
