"""`no_formula`: somebody's text as a cell of a CSV that no spreadsheet runs."""

from __future__ import annotations

#: A text that begins so is a formula to a spreadsheet (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def no_formula(text: str) -> str:
    """Return a text; one that a spreadsheet would take for a formula gets an apostrophe before it, as OWASP advises."""
    return "'" + text if text.lstrip(" ").startswith(_FORMULA) else text
