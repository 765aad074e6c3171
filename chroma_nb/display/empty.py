"""`why_empty`: what may be behind an answer without records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chroma_nb.display.facts import within
from chroma_nb.display.words import clean, shorten
from chroma_nb.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection

    from chroma_nb.results import GetResult, QueryResult

#: Keys of Chroma's own words for a document, which are looked for in the metadata by mistake.
_DOCUMENT_WORDS = frozenset(("document", "documents", "text", "content", "page_content"))


def why_empty(shown: GetResult | QueryResult) -> str:
    """Return a sentence about the filter of an answer without records, an empty text where all is well."""
    asked = shown.asked_keys
    if not asked or shown.fields is None:
        return ""
    if not shown.fields.is_near:
        # Showing something asks no server.
        return "collection.fields.describe() lists the metadata keys that the records have."
    fields = shown.fields
    known = within(lambda: list(fields))
    if isinstance(known, Exception):
        return ""
    return " ".join(_missing(key, known) for key in asked if key not in known)


def _missing(key: str, known: Collection[str]) -> str:
    sentence = f"No record has the metadata key {shorten(clean(key), 60)!r}."
    if key in _DOCUMENT_WORDS:
        return sentence + ' Documents are filtered by where_document={"$contains": "..."}.'
    return sentence + clean(did_you_mean(key, known, " Did you mean {!r}?"))
