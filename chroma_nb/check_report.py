"""What a check of a store has found: plain values."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import Any

from chroma_nb.displayed import Displayed

#: Ids that a sentence names.
_NAMED = 3


def some_ids(ids: list[str]) -> str:
    """Return the first of some ids, in words."""
    named = ", ".join(repr(one[:80]) for one in ids[:_NAMED])
    return f"{named} and {len(ids) - _NAMED:,} more" if len(ids) > _NAMED else named


@dataclass(frozen=True)
class CollectionCheck:
    """What of one collection is whole."""

    name: str
    tenant: str
    database: str
    n_records: int
    #: Blocks of vectors that were compared with their checksums.
    n_blocks: int = 0
    n_damaged_blocks: int = 0
    #: False: written by a version before checksums; its vectors get them when it is next written to.
    has_checksums: bool = True
    #: The records whose vectors are damaged; their documents and metadata are not.
    damaged_ids: list[str] = field(default_factory=list)
    #: What else is damaged, in words.
    problems: list[str] = field(default_factory=list)
    #: Files of graphs and snapshots that are damaged: they are dropped and made again, and nothing is lost.
    derived: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Nothing is damaged."""
        return not (self.damaged_ids or self.problems or self.derived)

    @property
    def found(self) -> str:
        """What is damaged, in words."""
        parts = list(self.problems)
        if self.damaged_ids:
            n = len(self.damaged_ids)
            parts.append(
                f"the vectors of {n:,} record{'' if n == 1 else 's'} ({some_ids(self.damaged_ids)})"
            )
        parts += [
            f"{os.path.basename(one)} (made again when it is next used)" for one in self.derived
        ]
        if not parts:
            return (
                "whole" if self.has_checksums else "whole, as far as can be said: no checksums yet"
            )
        return "damaged: " + "; ".join(parts)


@dataclass(frozen=True)
class CheckReport(Displayed):
    """What of a store is whole.

    Attributes:
        place: Where the store is.
        collections: One entry for each, in order of creation.
        n_bytes: What was read.
        seconds: How long that took.
    """

    place: str
    collections: list[CollectionCheck]
    n_bytes: int = 0
    seconds: float = 0.0

    @property
    def is_whole(self) -> bool:
        """Nothing is damaged."""
        return all(one.is_whole for one in self.collections)

    def __repr__(self) -> str:
        damaged = [one.name for one in self.collections if not one.is_whole]
        n = len(self.collections)
        said = f"damaged: {', '.join(damaged[:5])}" if damaged else "whole"
        if len(damaged) > 5:
            said += f" and {len(damaged) - 5:,} more"
        return f"CheckReport({n:,} collection{'' if n == 1 else 's'}, {said})"

    def __str__(self) -> str:
        if not self.collections:
            return "There is no collection."
        width = max(len(one.name) for one in self.collections)
        lines = [
            f"{one.name:{width}}  {one.n_records:>9,} records  {one.n_blocks:>6,} blocks  {one.found}"
            for one in self.collections
        ]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {**asdict(self), "is_whole": self.is_whole}
