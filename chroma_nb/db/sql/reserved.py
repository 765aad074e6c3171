"""`quote_reserved`: finds the reserved words of SQL that a query uses as names."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from chroma_nb.db.sql.names import sql_identifier
from chroma_nb.db.sql.tokens import Token, tokens

if TYPE_CHECKING:
    import duckdb

#: Words that are quoted to see whether a text can be read then. Chosen, not measured.
_MOST_QUOTED = 5
_NEAR = re.compile('at or near "(.*)"', re.DOTALL)


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
