"""`Extent`: how much of an object is shown."""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: An output that nobody asked to be larger.
MAX_BYTES = 64 << 10
#: One that was asked for. Jupyter's server stops outputs of more than 1 MB a second (`iopub_data_rate_limit`).
MOST_BYTES = 1_000_000
#: Rows of a table, where nothing else is wanted.
ROWS = 10
#: Characters of a column's name, and of that of a search's part.
HEAD_CHARACTERS = 40
PART_CHARACTERS = 24
#: The column of all metadata that has none of its own.
OTHER_KEYS = "other keys"
#: Characters of a text that are shown at once.
FIRST_CHARACTERS = 120
#: As many, and where its folded rest ends; the next where that is too much.
_CHARACTERS = ((FIRST_CHARACTERS, 2_000), (FIRST_CHARACTERS, 200), (40, 0), (12, 0))


def head_name(name: str, limit: int = HEAD_CHARACTERS) -> str:
    """Return a column's name as it stands above it."""
    return name if len(name) <= limit else name[: limit - 1].rstrip() + "…"


@dataclass(frozen=True)
class Extent:
    """How much of a result is shown.

    Attributes:
        rows: Records of each table; None is as many as the result says, from `Settings.display_rows`.
        columns: The columns, in this order; None is those that have room.
        characters: Of each text at once. None is as many as its column has by itself.
        first: Characters of a text that are shown at once at most.
        folded: Where the folded rest of a text ends.
        max_bytes: Of the output.
        is_cut: Whether fewer rows than wanted are shown, as the output would be too large.
    """

    rows: int | None = None
    columns: tuple[str, ...] | None = None
    characters: int | None = None
    first: int = _CHARACTERS[0][0]
    folded: int = _CHARACTERS[0][1]
    max_bytes: int = MAX_BYTES
    is_cut: bool = False

    @property
    def is_wanted(self) -> bool:
        """Whether somebody asked for it."""
        return self.max_bytes == MOST_BYTES

    @classmethod
    def wanted(
        cls, rows: int | None, columns: Sequence[str] | None, characters: int | None
    ) -> Extent:
        """Return what somebody asked for, who gets a larger output for it.

        Args:
            rows: As in the class.
            columns: As in the class.
            characters: Of each text. None is all of them, `FIRST_CHARACTERS` is what a column has by itself.
        """
        if characters == FIRST_CHARACTERS:
            characters = None
        elif characters is None:
            # All that an output has room for.
            characters = MOST_BYTES
        else:
            characters = min(characters, MOST_BYTES)
        chosen = None if columns is None else tuple(columns)
        return cls(rows, chosen, characters, max_bytes=MOST_BYTES)

    def ever_less(self, rows: int) -> Iterator[Extent]:
        """Yield this extent, and smaller ones for where the output is too large.

        Args:
            rows: As many as the result shows by itself.
        """
        less = replace(self, rows=self.rows or rows)
        if self.characters is None:
            # Texts get shorter before there are fewer rows than usual.
            *some, (first, folded) = _CHARACTERS[:2]
            yield from (replace(less, first=one, folded=end) for one, end in some)
            less = replace(less, first=first, folded=folded)
            fewer = list(less._fewer_rows(ROWS))
            yield from fewer
            for first, folded in _CHARACTERS[2:]:
                yield replace(fewer[-1], first=first, folded=folded)
        else:
            yield less
            fewer = list(replace(less, folded=0)._fewer_rows(ROWS))
            yield from fewer
            less, characters = fewer[-1], self.characters
            while characters > FIRST_CHARACTERS:
                # One text may be much longer than all others.
                characters = max(FIRST_CHARACTERS, characters // 2)
                less = replace(less, characters=characters, is_cut=True)
                yield less
            yield from less._fewer_rows(1)

    def _fewer_rows(self, fewest: int) -> Iterator[Extent]:
        """Yield this extent, and others with ever fewer rows."""
        yield self
        rows = self.rows or fewest
        while rows > fewest:
            rows = max(fewest, rows // 2)
            yield replace(self, rows=rows, is_cut=True)


_ORDINARY = Extent()
_current: ContextVar[Extent] = ContextVar("extent", default=_ORDINARY)


def current() -> Extent:
    """Return the extent of what is being shown."""
    return _current.get()


@contextlib.contextmanager
def showing(extent: Extent) -> Iterator[None]:
    """Let views and cells have this extent."""
    token = _current.set(extent)
    try:
        yield
    finally:
        _current.reset(token)
