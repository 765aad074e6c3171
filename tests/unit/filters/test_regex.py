"""Regular expressions in Rust's syntax, as DuckDB evaluates their translation."""

from __future__ import annotations

import pytest

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.filters.expression import DocumentMatches
from chroma_nb.filters.regex import rust_regex_to_re2
from chroma_nb.filters.sql import DuckDBDialect, compile_sql
from tests.unit.filters.matching_rows import matching_rows

DOCUMENTS = [
    "alpha 5",
    "٣",
    "é",
    "_",
    "\u2003x",
    "line\nbreak",
    "ⅷ",
    "Ⓐ",
    "中文",
    "a\u0301",
    "x\0y",
]
DOCUMENTS += ["\xa0", ""]


@pytest.mark.parametrize(
    ("pattern", "rows"),
    # The rows are chromadb 1.5.9's answers.
    [
        (r"^\d$", [1]),
        (r"^[\d]$", [1]),
        (r"^\w$", [1, 2, 3, 6, 7]),
        (r"^[\w-]+$", [1, 2, 3, 6, 7, 8, 9]),
        (r"^[^\W_]$", [1, 2, 6, 7]),
        (r"^\W$", [11]),
        (r"^[\W]$", [11]),
        (r"^\s$", [11]),
        (r"^\S$", [1, 2, 3, 6, 7]),
        (r"^[^\d]$", [2, 3, 6, 7, 11]),
        (r"^[\Dx]$", [2, 3, 6, 7, 11]),
        (r"^[^\S]$", [11]),
        (r"(?<first>al)", [0]),
        (r"(?P<first>al)", [0]),
        (r"\u0061l", [0]),
        (r"\u{61}l", [0]),
        (r"\x61l", [0]),
        (r"\U00000061l", [0]),
        (r"line.break", []),
        (r"(?s)line.break", [5]),
        (r"^break", []),
        (r"(?m)^break", [5]),
        (r"x\x00y", [10]),
        ("x\0y", [10]),
        (r"\p{Han}", [8]),
        (r"[[:digit:]]", [0]),
        (r"(?i)ALPHA", [0]),
        (r"[]x]\x00", [10]),
        (r"^[^]x\\]$", [1, 2, 3, 6, 7, 11]),
        (r"\\", []),
        (r"^$", [12]),
    ],
)
def test_regular_expressions(pattern: str, rows: list[int]) -> None:
    assert matching_rows(DocumentMatches(pattern), "document", DOCUMENTS) == rows
    others = [row for row in range(len(DOCUMENTS)) if row not in rows]
    assert matching_rows(DocumentMatches(pattern, negated=True), "document", DOCUMENTS) == others


@pytest.mark.parametrize(
    "pattern",
    ["[a-z&&b]", "[a-z--b]", "[a~~b]", "[a[bc]]", r"\Qa.c\E", r"\C", r"\<a", r"\b{start}a"],
)
def test_what_would_mean_something_else_is_refused(pattern: str) -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"Invalid where clause.*regular expressions"
    ) as caught:
        compile_sql(DocumentMatches(pattern), DuckDBDialect())
    assert pattern in str(caught.value)


@pytest.mark.parametrize(
    "pattern",
    ["abc", "a|b", "(?:a)+?", r"\.", "[a-z]", "^.*$", "\\", "[", "(", "é{2}", "(?<=a)", ""],
)
def test_what_is_common_to_both_dialects_stays(pattern: str) -> None:
    assert rust_regex_to_re2(pattern) == pattern
