"""Untrusted text, made safe for a page, a terminal or an error message."""

from __future__ import annotations

import re

#: Characters that no page can hold or that turn the text around them about: control characters, lone
#: surrogates, and explicit directions. A terminal obeys some of them.
_UNSHOWABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufffe\uffff]"
)
#: Stands for what cannot be shown or decoded.
UNREADABLE = "\ufffd"


def clean(text: str) -> str:
    """Replace what cannot be shown by U+FFFD."""
    return _UNSHOWABLE.sub(UNREADABLE, text)


def said(untrusted: object, limit: int) -> str:
    """Return untrusted text as a message may quote it: harmless, and of bounded length."""
    text = str(untrusted)
    # A carriage return writes over what stands in the line. The rest is for nobody: it may be megabytes.
    text = clean(text[: limit + 1].replace("\r\n", "\n").replace("\r", " "))
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def said_in_line(untrusted: object, limit: int) -> str:
    """Return the same in one line."""
    return said(" ".join(str(untrusted).split()), limit)
