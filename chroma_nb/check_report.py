"""What a check of a store has found: plain values."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import Any

from chroma_nb.display.base import Displayed
from chroma_nb.words import counted

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
        """No record is damaged. Damaged graphs and snapshots do not count: they are made from the records."""
        return not (self.damaged_ids or self.problems)

    @property
    def found(self) -> str:
        """What is damaged, in words."""
        damaged = list(self.problems)
        if self.damaged_ids:
            n = counted(len(self.damaged_ids), "record")
            damaged.append(f"the vectors of {n} ({some_ids(self.damaged_ids)})")
        if damaged:
            said = "damaged: " + "; ".join(damaged)
        else:
            said = (
                "whole" if self.has_checksums else "whole, as far as can be said: no checksums yet"
            )
        again = ", ".join(os.path.basename(one) for one in self.derived)
        return f"{said}; made again when next used: {again}" if again else said


@dataclass(frozen=True)
class CheckReport(Displayed):
    """What of a store is whole.

    Attributes:
        place: Where the store is.
        collections: One entry for each, in order of creation.
        n_bytes: What was read.
        seconds: How long that took.
        unnamed: Files of vectors that no collection names: a process was killed before it had written their
            records, or the database is older than they are. The next write to the store deletes them.
    """

    _view = "check"

    place: str
    collections: list[CollectionCheck]
    n_bytes: int = 0
    seconds: float = 0.0
    unnamed: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """No record is damaged."""
        return all(one.is_whole for one in self.collections)

    def __repr__(self) -> str:
        named = zip(self.names(), self.collections, strict=True)
        damaged = [name for name, one in named if not one.is_whole]
        said = f"damaged: {', '.join(damaged[:5])}" if damaged else "whole"
        if len(damaged) > 5:
            said += f" and {len(damaged) - 5:,} more"
        return f"CheckReport({counted(len(self.collections), 'collection')}, {said})"

    def __str__(self) -> str:
        names = self.names()
        width = max(map(len, names), default=0)
        lines = [
            f"{name:{width}}  {one.n_records:>9,} records  {one.n_blocks:>6,} blocks  {one.found}"
            for name, one in zip(names, self.collections, strict=True)
        ] or ["There is no collection."]
        return "\n".join(filter(None, [*lines, self.about_unnamed]))

    @property
    def about_unnamed(self) -> str:
        """What is said of files that no collection names; empty where there are none."""
        n = len(self.unnamed)
        if not n:
            return ""
        named = ", ".join(map(os.path.basename, self.unnamed[:_NAMED]))
        more = f" and {n - _NAMED:,} more" if n > _NAMED else ""
        return (
            f"No collection names {'this file' if n == 1 else 'these files'} of vectors, which the next write deletes: {named}{more}. "
            "Either a process was killed before it had written the records, or the database is older than the vectors."
        )

    def names(self) -> list[str]:
        """Return what each collection is called here: with tenant and database where there are several."""
        one_place = len({(one.tenant, one.database) for one in self.collections}) < 2
        return [
            one.name if one_place else f"{one.tenant}/{one.database}/{one.name}"
            for one in self.collections
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {**asdict(self), "is_whole": self.is_whole}
