"""`distinct_names`: the columns of an answer of SQL, of which several may have one name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def distinct_names(names: Sequence[str]) -> list[str]:
    """Return distinct names: of equal ones, the second has _1 at its end, the third _2, as in DuckDB."""
    out: list[str] = []
    for name in names:
        shown, number = name, 0
        while shown in out or (number and shown in names):
            number += 1
            shown = f"{name}_{number}"
        out.append(shown)
    return out
