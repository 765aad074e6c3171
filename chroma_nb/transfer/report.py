"""`TransferReport`: what became of the records that were moved."""

from __future__ import annotations

from dataclasses import dataclass, field

from chroma_nb.display.base import Displayed


@dataclass
class TransferReport(Displayed):
    """What a call that moves records did.

    Attributes:
        collection: The name of the collection that the records went into.
        added: Records that are new there.
        skipped: Records that were not written, as the collection has their ids.
        changed: Records that were written over others of their ids.
        removed: Records that were deleted, as the source does not have them.
        damaged: Records that were left out, as their embeddings are damaged; see `Collection.export`.
        ids: Where the ids come from, in words.
        left_out: Column -> values that were left out of the metadata: missing ones and empty lists.
        became_text: Column -> the kind of its values that are stored as text.
        became_float: Column -> the kind of its values that are stored as floats.
        seconds: How long it took.
        checksum: Of the records that both collections have, 32 hexadecimal digits, where they were compared afterwards
            (``verify=True``) and are the same; else empty.
        did: What was done with the `added` records, in a word: "exported" where they went into a file.
    """

    _view = "transfer"

    collection: str
    added: int = 0
    skipped: int = 0
    changed: int = 0
    removed: int = 0
    damaged: int = 0
    ids: str = ""
    left_out: dict[str, int] = field(default_factory=dict)
    became_text: dict[str, str] = field(default_factory=dict)
    became_float: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    did: str = "added"
    checksum: str = ""

    def __str__(self) -> str:
        return " ".join(f"{sentence}." for sentence in self.sentences())

    def sentences(self) -> list[str]:
        """Return what happened, without full stops; not how long it took, so that it reads the same again."""
        counts = [f"{self.added:,} {self.did}"]
        if self.skipped:
            counts.append(f"{self.skipped:,} skipped, as their ids exist")
        if self.changed:
            counts.append(f"{self.changed:,} changed")
        if self.removed:
            counts.append(f"{self.removed:,} removed")
        if self.damaged:
            counts.append(f"{self.damaged:,} left out, as their embeddings are damaged")
        found = [f"{self.collection}: {', '.join(counts)}"]
        if self.ids:
            found.append(f"The ids are {self.ids}")
        if self.checksum:
            found.append(f"Both were read again and are the same, checksum {self.checksum}")
        if self.left_out:
            values = ", ".join(f"{n:,} of {column}" for column, n in self.left_out.items())
            found.append(f"Values left out (missing ones and empty lists): {values}")
        for what, columns in (("text", self.became_text), ("floats", self.became_float)):
            if columns:
                named = ", ".join(f"{column} ({kind})" for column, kind in columns.items())
                found.append(f"Stored as {what}: {named}")
        return found


class Transfers(Displayed, dict[str, int]):
    """Name -> the number of records that the collection has in the target afterwards.

    Attributes:
        reports: Name -> what was done; see `TransferReport`.
    """

    _view = "transfers"

    def __init__(self) -> None:
        super().__init__()
        self.reports: dict[str, TransferReport] = {}
