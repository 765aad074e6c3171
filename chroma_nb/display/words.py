"""Untrusted text: shortened, and its matching words marked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from chroma_nb.harmless import clean

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Too common to mark.
_COMMON = frozenset(
    "the and for are was were with that this from what which who how why when where does has have "  # noqa: SIM905
    "had its his her our not but you can into about something any all some".split()
)
_WORD = re.compile(r"\w{3,}")


def shorten(text: str, limit: int) -> str:
    """Return at most `limit` characters, an ellipsis for the rest."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def words_of(asked: str) -> list[str]:
    """Return the words of a question that are worth finding again in an answer."""
    found = dict.fromkeys(word.casefold() for word in _WORD.findall(asked[:2_000]))
    return [word for word in found if word not in _COMMON][:32]


def marker(words: Iterable[str], exact: Iterable[str] = ()) -> re.Pattern[str] | None:
    """Return a pattern for whole words, in any case and with a plural s, and for exact pieces of text."""
    parts = [re.escape(piece) for piece in exact if piece]
    parts += [rf"(?i:\b{re.escape(word)}(?:e?s)?\b)" for word in words]
    return re.compile("|".join(parts)) if parts else None


def marked(text: str, pattern: re.Pattern[str] | None) -> Markup:
    """Return the text escaped, with what the pattern finds in ``<mark>``."""
    text = clean(text)
    if pattern is None:
        return escape(text)
    out, at = [], 0
    for found in pattern.finditer(text):
        if found.end() > found.start():
            out.append(escape(text[at : found.start()]))
            out.append(Markup("<mark>{}</mark>").format(found[0]))
            at = found.end()
    out.append(escape(text[at:]))
    return Markup("").join(out)
