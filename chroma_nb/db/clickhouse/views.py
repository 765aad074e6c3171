"""`View`: what one process has seen of one collection last, from which all its reads are answered.

A commit's head says how large the collection is after it (`Counters`). A view is a head and the table that it is in.
The records of a view are those of its own commit and of earlier ones that no commit up to it has removed; later commits
add rows, which the view does not see.
"""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass, field
from typing import TYPE_CHECKING, Any

from chroma_nb.compact_json import json_text
from chroma_nb.db.base import NO_TEXTS, Extent, TextSizes
from chroma_nb.db.clickhouse.blocks import HEAD, RECORD, REMOVED, VECTOR
from chroma_nb.db.clickhouse.log import NO_LOOK, Look
from chroma_nb.errors import StoreCorruptError

if TYPE_CHECKING:
    from chroma_nb.db.clickhouse.log import Head, Log


@dataclass(frozen=True)
class Counters:
    """What a head says of its collection."""

    n_records: int = 0
    next_label: int = 0
    next_sequence: int = 0
    #: Rows that were removed.
    n_removed: int = 0
    #: Commits with staged blocks.
    n_staged: int = 0
    dimension: int | None = None
    #: The commit that has the schema; 0: none has.
    schema_number: int = 0
    texts: TextSizes = NO_TEXTS
    #: A compaction has moved the collection: (table, generation). Nothing is committed here any more.
    moved_to: tuple[str, int] | None = None

    def to_text(self, schema: dict[str, Any] | None = None, *, has_schema: bool = False) -> str:
        """Return what the head says; with `has_schema`, the schema as well."""
        values: dict[str, Any] = {
            "n": [
                self.n_records,
                self.next_label,
                self.next_sequence,
                self.n_removed,
                self.n_staged,
            ],
            "dimension": self.dimension,
            "texts": astuple(self.texts),
            "schema_number": self.schema_number,
        }
        if self.moved_to is not None:
            values["moved_to"] = self.moved_to
        if has_schema:
            values["schema"] = schema
        return json_text(values)

    @classmethod
    def of_text(cls, said: str) -> Counters:
        """Return what a head says.

        Raises:
            StoreCorruptError: It is not as we write it.
        """
        try:
            found = json.loads(said)
            moved = found.get("moved_to")
            n_records, next_label, next_sequence, n_removed, n_staged = map(int, found["n"])
            return cls(
                n_records,
                next_label,
                next_sequence,
                n_removed,
                n_staged,
                dimension=found["dimension"],
                schema_number=found["schema_number"],
                texts=TextSizes(*found["texts"]),
                moved_to=None if moved is None else (str(moved[0]), int(moved[1])),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise StoreCorruptError(
                f"A commit says of its collection what cannot be read: {said[:200]!r}. Restore the store from a backup."
            ) from error


#: The state of a collection that nothing was committed to.
NO_COMMIT = Counters()


@dataclass(frozen=True)
class View:
    """A collection as this process has seen it last."""

    log: Log
    generation: int
    #: The number of its last commit, and that one's stamp; 0: there is none.
    number: int = 0
    stamp: int = 0
    counters: Counters = NO_COMMIT
    #: The look that has found this to be the newest commit.
    look: Look = field(default=NO_LOOK, compare=False)

    @classmethod
    def at(cls, log: Log, generation: int, head: Head | None, look: Look) -> View:
        """Return the view of a head; None: nothing was committed yet."""
        if head is None:
            return cls(log, generation, look=look)
        counters = Counters.of_text(head.said)
        return cls(log, generation, head.number, head.stamp, counters, look)

    def is_of(self, head: Head) -> bool:
        """Say whether its last commit is this one."""
        return (self.number, self.stamp) == (head.number, head.stamp)

    def is_later_than(self, other: View) -> bool:
        """Say whether it has commits that another view of the collection lacks."""
        return (self.generation, self.number) > (other.generation, other.number)

    @property
    def extent(self) -> Extent:
        """Its counters."""
        one = self.counters
        return Extent(
            n_records=one.n_records,
            next_label=one.next_label,
            next_sequence=one.next_sequence,
            generation=self.generation,
            version=self.stamp,
        )

    @property
    def _seen(self) -> str:
        """The condition of rows that its commits have written."""
        seen = f"version <= {self.number}"
        if not self.counters.n_staged:
            return f"{seen} AND staged = 0"
        heads = f"SELECT stamp FROM {self.log.sql} WHERE kind = {HEAD} AND staged = 1 AND label <= {self.number}"
        return f"{seen} AND (staged = 0 OR stamp IN ({heads}))"

    @property
    def records(self) -> str:
        """The condition of the rows that are its records."""
        live = f"kind = {RECORD} AND {self._seen}"
        if self.counters.n_removed:
            removed = f"SELECT label, sequence FROM {self.log.sql} WHERE kind = {REMOVED} AND {self._seen}"
            live += f" AND (label, version) NOT IN ({removed})"
        return live

    @property
    def vectors(self) -> str:
        """The condition of the rows that have a vector, whether its record is still there or not."""
        return f"kind IN ({RECORD}, {VECTOR}) AND {self._seen} AND notEmpty(embedding)"

    def rows_after(self, number: int) -> str:
        """The condition of the rows that commits after this number have written, up to the view's own."""
        return f"kind != {HEAD} AND version > {number} AND {self._seen}"
