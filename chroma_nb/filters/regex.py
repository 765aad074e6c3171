"""Regular expressions: from Rust's syntax, which Chroma uses, to RE2's, which databases use."""

from __future__ import annotations

import sys
import unicodedata
from functools import cache

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.words import brief

#: What Rust's ``\d``, ``\s`` and ``\w`` match, as members of a character class. The last range of ``\w`` has the
#: circled letters, which are alphabetic, although their category (So) is not.
_DIGITS = r"\p{Nd}"
_SPACES = r"\t-\r \x{85}\p{Z}"
_WORDS = r"\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{200C}\x{200D}\x{24B6}-\x{24E9}"
_NAMED = {"d": _DIGITS, "s": _SPACES, "w": _WORDS}
_WORD_CATEGORIES = frozenset(("Nd", "Nl", "Pc"))
#: Letters of escapes that RE2 accepts and Rust does not, and of those that mean something else in RE2.
_FOREIGN = frozenset("QECGKX<>")


def rust_regex_to_re2(pattern: str) -> str:
    r"""Translate a regular expression from Rust's syntax, which Chroma has, to RE2's, which DuckDB has.

    ``\d``, ``\s`` and ``\w`` match all of Unicode in Rust and only ASCII in RE2, so they become classes.
    ``(?<name>`` and ``\u0041`` are written in RE2's way. A pattern that would mean something else in RE2 is
    refused, with one exception: the word boundary ``\b`` is that of ASCII in RE2.

    Raises:
        InvalidArgumentError: Operations between classes, nested classes, and escapes that only one of the two
            has.
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
                # In "[]" and "[^]" the closing bracket is a member of the class.
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
    """Return RE2's spelling of the escape that begins at `at`, and the index after it."""
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
    """Return all characters outside a named class: within a class RE2 has no way to negate another."""
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
    r"""Say whether a character is in the class ``\s`` or ``\w`` of Rust."""
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
        f"Invalid where clause: {what} is not supported in regular expressions, got {brief(pattern)}"
    )
