"""Words and signs of a query's text, for what DuckDB's tree of it does not hold: EXPLAIN and places."""

from __future__ import annotations

import re
from dataclasses import dataclass

import duckdb

from chroma_nb.db.sql.allowed import REFUSED_EXPLAIN_OPTIONS
from chroma_nb.errors import InvalidArgumentError

_BEFORE_WORDS = re.compile(r"(?:\s+|--[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)
#: `first_word` looks at so many characters: the words that it is compared with are shorter.
_LONGEST_WORD = 20


@dataclass(frozen=True)
class Token:
    """A word or a sign: where it begins and the next one begins, in bytes of UTF-8."""

    start: int
    stop: int
    #: A word in capitals, or a sign's first character; empty for texts and quoted names.
    head: str


def tokens(text: str) -> list[Token]:
    """Return the words and signs of a text, without comments."""
    data = text.encode()
    try:
        found = duckdb.tokenize(text)
    except duckdb.Error:
        # The parser reads the same text and reports what is wrong with it.
        return []
    stops = [start for start, _ in found] + [len(data)]
    out = []
    for (start, kind), stop in zip(found, stops[1:], strict=True):
        # Some versions have no tokens for comments: there a comment belongs to the word before it.
        if "comment" not in str(kind):
            word = re.match(rb"\w*", data[start:stop], re.ASCII)
            head = word[0] if word and word[0] else data[start : start + 1]
            out.append(Token(start, stop, "" if head in b"\"'$" else head.decode().upper()))
    return out


def first_word(text: str) -> str:
    """Return the first word of a text in capitals, or its first sign."""
    start = _BEFORE_WORDS.match(text)
    assert start is not None
    word = re.match(r"\w+|.", text[start.end() : start.end() + _LONGEST_WORD], re.ASCII)
    return word[0].upper() if word else ""


def without_explain(query: str) -> tuple[str, bool]:
    """Return a query without EXPLAIN, and whether it began with it.

    Raises:
        InvalidArgumentError: EXPLAIN has options. ANALYZE, one of them, runs the statement.
    """
    if first_word(query) != "EXPLAIN":
        return query, False
    found = tokens(query)
    if len(found) < 2 or found[0].head != "EXPLAIN":
        return query, False
    option = found[2].head if found[1].head == "(" and len(found) > 2 else found[1].head
    if option in REFUSED_EXPLAIN_OPTIONS:
        raise InvalidArgumentError(
            f"client.sql() has EXPLAIN without options: EXPLAIN SELECT ... Got {query[:80]!r}."
        )
    return query.encode()[found[1].start :].decode(), True
