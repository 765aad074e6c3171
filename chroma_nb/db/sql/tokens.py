"""Words and signs of a query's text, for what DuckDB's tree of it does not hold: EXPLAIN, places, and what cannot be read."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import duckdb

from chroma_nb.db.sql.allowed import REFUSED_EXPLAIN_OPTIONS
from chroma_nb.db.sql.names import sql_identifier
from chroma_nb.errors import InvalidArgumentError

_BEFORE_WORDS = re.compile(r"(?:\s+|--[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)
#: Characters that `first_word` looks at: the words that it is compared with are shorter.
_LONGEST_WORD = 20
#: Words that are quoted to see whether a text can be read then. Chosen, not measured.
_MOST_QUOTED = 5
_NEAR = re.compile('at or near "(.*)"', re.DOTALL)


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


def quote_reserved(cursor: duckdb.DuckDBPyConnection, text: str) -> tuple[str, list[str]]:
    """Return a text that cannot be read with the words quoted that are in the way, and these words.

    There are none where quotes do not make a query of it.
    """
    rows = cursor.execute(
        "SELECT upper(keyword_name) FROM duckdb_keywords() WHERE keyword_category != 'unreserved'"
    ).fetchall()
    reserved = {word for (word,) in rows}
    words: list[str] = []
    for _ in range(_MOST_QUOTED):
        place = _error_place(cursor, text)
        if place is None:
            return text, words
        found = tokens(text)
        at = next((at for at, one in enumerate(found) if one.start == place), None)
        if at is None:
            break
        # DuckDB stumbles over the word itself, or over what comes after it: SELECT case FROM notes.
        tries = [
            _with_quotes(text, one)
            for one in (found[at], *found[max(0, at - 1) : at])
            if one.head in reserved
        ]
        if not tries:
            break
        # The one that gets furthest.
        text, word = max(tries, key=lambda one: _reach(cursor, one[0]))
        words.append(word)
    return text, []


def _with_quotes(text: str, token: Token) -> tuple[str, str]:
    data = text.encode()
    stop = token.start + len(token.head)
    word = data[token.start : stop].decode()
    before, after = data[: token.start].decode(), data[stop:].decode()
    return f"{before}{sql_identifier(word)}{after}", word


def _reach(cursor: duckdb.DuckDBPyConnection, text: str) -> int:
    """Return how far into a text, counted from its end, DuckDB can read it: 1 is all of it."""
    place = _error_place(cursor, text)
    return 1 if place is None else place - len(text.encode())


def _error_place(cursor: duckdb.DuckDBPyConnection, text: str) -> int | None:
    """Return at which byte DuckDB stops to understand a text; None where it understands all of it."""
    parsed = json.loads(cursor.execute("SELECT json_serialize_sql(?)", [text]).fetchall()[0][0])
    if not parsed["error"] or parsed.get("error_type") != "parser":
        return None
    place = int(parsed.get("position", 0))
    # DuckDB before 2 counts characters. The word that it names tells which it is.
    near = _NEAR.search(parsed["error_message"])
    characters = len(text[:place].encode())
    is_there = near and text.encode()[place:].startswith(near[1].encode())
    return place if is_there else characters
