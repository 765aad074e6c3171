"""`count_parts`: how large a regular expression is when its repetitions are written out.

RE2 reads a text once, but for each byte it may have to follow every part of the pattern: ``(.{1,30}){1,30}`` has 16
characters and 900 parts, and took 25 s for one document of a megabyte. DuckDB cannot be interrupted within a document.
"""

from __future__ import annotations

import re

#: ``{n}``, ``{n,}`` or ``{n,m}``; everything else that begins with a brace is text.
_COUNTED = re.compile(r"\{(\d{1,9})(,(\d{0,9}))?\}")
#: An escape: a class by its name, a character by its number, or one character.
_ESCAPE = re.compile(
    r"\\(?:[pP]\{[^}]{0,60}\}|[pP][A-Za-z]|x\{[^}]{0,20}\}|x[0-9A-Fa-f]{2}|[0-7]{1,3}|.)", re.DOTALL
)
#: What follows the parenthesis of a group that has a name or flags.
_GROUP_HEAD = re.compile(r"\?(?:P?<[^>]{0,200}>|[A-Za-z-]{0,20}:|[A-Za-z-]{0,20}(?=\)))")
#: The members of a class may begin with a bracket that closes nothing, and hold classes such as ``[:alpha:]``.
_CLASS = re.compile(r"\[\^?\]?(?:\\.|\[:\^?[a-z]{1,10}:\]|[^\]\\])*\]?", re.DOTALL)


def count_parts(pattern: str) -> int:
    r"""Return how many characters, classes and groups a pattern has when its repetitions are written out.

    ``[a-z]{1,64}@`` has 65. ``*``, ``+`` and ``?`` repeat nothing: RE2 follows a part once, however often it may match.
    A pattern that cannot be read is counted somehow; the database refuses it.

    Args:
        pattern: In RE2's spelling.
    """
    #: The parts of each group that is open, and of the whole pattern first.
    open_groups = [0]
    #: The parts of what a repetition would repeat.
    last = 0
    at = 0
    while at < len(pattern):
        sign = pattern[at]
        length, size = 1, 1
        if sign == "\\":
            found = _ESCAPE.match(pattern, at)
            length = found.end() - at if found else 1
        elif sign == "[":
            found = _CLASS.match(pattern, at)
            length = found.end() - at if found else 1
        elif sign == "(":
            head = _GROUP_HEAD.match(pattern, at + 1)
            at = head.end() if head else at + 1
            open_groups.append(1)
            last = 0
            continue
        elif sign == ")":
            size = open_groups.pop() if len(open_groups) > 1 else 1
        elif sign in "*+?":
            at += 1
            continue
        elif sign == "{" and (found := _COUNTED.match(pattern, at)):
            least, most = int(found[1]), int(found[3] or 0)
            more = last * (max(1, most, least + (found[2] == ",")) - 1)
            open_groups[-1] += more
            last += more
            at = found.end()
            continue
        open_groups[-1] += size
        last = size
        at += length
    return sum(open_groups)
