"""`Limit`: one limit of this process's memory; and the table that lists all of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from chroma_nb.display.base import Displayed
from chroma_nb.memory.sizes import format_bytes

#: Numbers from here on (bytes, an exabyte) mean "no limit": cgroup v1 writes the largest multiple of a page.
NO_LIMIT = 1 << 60


@dataclass(frozen=True)
class Limit:
    """One limit of this process's memory.

    Attributes:
        source: ``"cgroup v2"``, ``"cgroup v1"``, ``"MEM_LIMIT"``, ``"RLIMIT_AS"``, ``"RLIMIT_DATA"`` or
            ``"physical memory"``.
        total: The limit, bytes.
        used: What counts against it now, bytes.
        where: The file that the total was read from; where there is none, the function or ``"environment"``.
    """

    source: str
    total: int
    used: int
    where: str = field(default="", compare=False)

    @property
    def free(self) -> int:
        """Bytes that can still be allocated under this limit."""
        return max(0, self.total - self.used)


@dataclass(frozen=True)
class ExplainedLimit:
    """One row of `Machine.explain`: a limit, in bytes, and whether it is the one that is reached first."""

    source: str
    where: str
    total: int
    used: int
    free: int
    binds: bool

    def __str__(self) -> str:
        return "  ".join(cell.strip() for cell in self.cells() if cell)

    def cells(self) -> tuple[str, ...]:
        """Return the row in words, one for each column."""
        return (
            self.source,
            self.where,
            f"{format_bytes(self.total)},",
            f"{format_bytes(self.used)} used,",
            f"{format_bytes(self.free)} free",
            "<- binds" if self.binds else "",
        )


class ExplainedLimits(Displayed, list[ExplainedLimit]):
    """Every limit of this process's memory; shown as a table."""

    _view = "limits"

    def __str__(self) -> str:
        rows = [row.cells() for row in self]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        # Names are aligned left, sizes right.
        lines = (
            "  ".join(
                cell.rjust(width) if column in (2, 3, 4) else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        )
        return "\n".join(line.rstrip() for line in lines)

    __repr__ = __str__


def explained(limits: list[Limit]) -> ExplainedLimits:
    """Return a row for each limit; the one that leaves the least is marked, as it is reached first."""
    first = min(limits, key=lambda limit: (limit.free, limit.total), default=None)
    return ExplainedLimits(
        ExplainedLimit(
            limit.source, limit.where, limit.total, limit.used, limit.free, limit is first
        )
        for limit in limits
    )
