"""`Log`: numbered commits in one table, each all or nothing, by any number of writers.

A commit is one block, which ClickHouse writes whole or not at all: records, removed labels, and a *head* with the
commit's number and its random stamp. All writers give the block of commit n the same deduplication token, so ClickHouse
takes only the first: a compare-and-swap. Whose it was is read back, which settles what a lost answer has left open, too.
In this process that is spared where nobody else can have had the token.

The tokens of the last `WINDOW` commits are known. A writer must have read the head within `FRESH_SECONDS`, so that its
token cannot be older.
"""

from __future__ import annotations

import dataclasses
import math
import random
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chroma_nb.db.clickhouse.blocks import HEAD, create_table, head_row, joined
from chroma_nb.db.clickhouse.engine import INSERT_COUNTS
from chroma_nb.db.clickhouse.errors import NoAnswerError
from chroma_nb.db.clickhouse.literals import identifier
from chroma_nb.errors import InternalError, StoreCorruptError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from chroma_nb.db.clickhouse.connection import Connection

#: For how many commits ClickHouse knows their tokens.
WINDOW = 10_000
#: How old what a writer knows of the head may be. `WINDOW` commits take as long, as each takes 3 ms and more.
FRESH_SECONDS = 30.0
#: How long a commit is tried where ClickHouse does not answer, or where its outcome is not known.
PATIENCE_SECONDS = 60.0
#: How long a writer waits before it looks again, at most.
_LONGEST_WAIT = 1.0
#: How often a head is looked for that should be there, as ClickHouse has taken its token, and how long between.
_LOOKS, _LOOK_SECONDS = 20, 0.1


class LostError(Exception):
    """Another writer has made the commit of this number; nothing was written."""


@dataclass(frozen=True)
class Head:
    """The row of a commit."""

    number: int
    stamp: int
    #: The JSON text of what it says.
    said: str


@dataclass(frozen=True)
class Look:
    """A look at a log, which has found its newest commit: when it began, and what is known of writes until then."""

    #: By `time.monotonic`.
    at: float = -math.inf
    #: `Connection.n_writes` of its table; None where that is not known, in a server.
    n_writes: tuple[int, int] | None = None
    #: It was made with a commit of this process.
    is_own: bool = False

    def holds(self, now: Look) -> bool:
        """Say whether nothing can have been committed between this look and a later one."""
        return self.n_writes is not None and self.n_writes == now.n_writes

    def is_followed_by(self, now: Look) -> bool:
        """Say whether one insert was all that has happened since, and no earlier process can have taken its token.

        An earlier process has tried no commit after one of this process, and of this process an insert that has failed counts.
        """
        if not self.is_own or self.n_writes is None or now.n_writes is None:
            return False
        of_any, of_table = self.n_writes
        return now.n_writes == (of_any, of_table + INSERT_COUNTS)


#: Nothing was looked at, or later commits were seen.
NO_LOOK = Look()


def new_stamp() -> int:
    """Return a random number for a commit; never 0."""
    return secrets.randbits(62) + 1


class Log:
    """The log in one table.

    Args:
        connection: The way to ClickHouse.
        table: The table's name.
    """

    def __init__(self, connection: Connection, table: str) -> None:
        self._connection = connection
        self.table = table
        #: The name as SQL.
        self.sql = identifier(table)

    def create(self, *, fsync: bool) -> None:
        """Make the table, where it is missing."""
        self._connection.command(create_table(self.sql, fsync=fsync, window=WINDOW))

    def drop(self) -> None:
        """Delete the table, where it is there."""
        self._connection.command(f"DROP TABLE IF EXISTS {self.sql} SYNC")

    def look(self) -> Look:
        """Return what `Look` has to say of a look that begins now."""
        return Look(time.monotonic(), self._connection.n_writes(self.table))

    def newest(self, since: int = 0) -> Head | None:
        """Return the newest head; None where there is none from `since` on.

        Raises:
            StoreCorruptError: Two commits have its number.
        """
        return self._newest_of(self._connection.rows(self._newest_heads(since)))

    def newest_and_after(
        self, since: int, other: Log, after: int
    ) -> tuple[Head | None, list[Head]]:
        """Return `newest(since)` and `other.after(after)`, by one query."""
        rows = self._connection.rows(
            f"{self._newest_heads(since, '0 AS place, ')} UNION ALL {other._heads_after(after, '1 AS place, ')}"
        )
        own, others = ([row[1:] for row in rows if row[0] == place] for place in (0, 1))
        return self._newest_of(own), other._following(after, sorted(others))

    def _newest_heads(self, since: int, first: str = "") -> str:
        """Return the query of the heads from `since` on; for 0, of the newest ones alone."""
        # There are few, and sorting them takes longer than reading them.
        newest = "" if since else " ORDER BY label DESC LIMIT 2"
        heads = f"SELECT {first}label, stamp, metadata FROM {self.sql} WHERE kind = {HEAD} AND label >= {since}"
        return f"({heads}{newest})"

    def _newest_of(self, rows: Sequence[tuple[int, int, str]]) -> Head | None:
        if not rows:
            return None
        ascending = sorted(rows)
        newest = Head(*ascending[-1])
        if len(ascending) > 1 and ascending[-2][0] == newest.number:
            raise self._doubled(newest.number)
        return newest

    def between(self, after: int, until: int) -> list[Head]:
        """Return the heads of the commits after + 1 .. until, in their order.

        Raises:
            StoreCorruptError: One is missing or doubled.
        """
        heads = self.after(after, until)
        if len(heads) != until - after:
            raise self.lacking(after + len(heads) + 1)
        return heads

    def after(self, after: int, until: int | None = None) -> list[Head]:
        """Return the heads of the commits after a number, in their order.

        Raises:
            StoreCorruptError: One is missing or doubled.
        """
        limit = "" if until is None else f" AND label <= {until}"
        rows = self._connection.rows(f"{self._heads_after(after)}{limit} ORDER BY label")
        return self._following(after, rows)

    def _heads_after(self, after: int, first: str = "") -> str:
        return f"SELECT {first}label, stamp, metadata FROM {self.sql} WHERE kind = {HEAD} AND label > {after}"

    def _following(self, after: int, rows: Sequence[tuple[int, int, str]]) -> list[Head]:
        for expected, (number, *_) in enumerate(rows, start=after + 1):
            if number != expected:
                raise self._doubled(number) if number < expected else self.lacking(expected)
        return [Head(*row) for row in rows]

    def find(self, stamp: int) -> int | None:
        """Return the number of the commit with this stamp."""
        rows = self._connection.rows(
            f"SELECT label FROM {self.sql} WHERE kind = {HEAD} AND stamp = {stamp}"
        )
        return rows[0][0] if rows else None

    def snapshot(self) -> tuple[Head, str] | None:
        """Return the newest head that has a snapshot, and the snapshot."""
        rows = self._connection.rows(
            f"SELECT label, stamp, metadata, document FROM {self.sql} WHERE kind = {HEAD} AND document IS NOT NULL "
            "ORDER BY label DESC LIMIT 1"
        )
        return (Head(*rows[0][:3]), rows[0][3]) if rows else None

    def stage(self, stamp: int, number: int, block: pa.RecordBatch) -> None:
        """Insert a block of a commit that is larger than one; nobody sees it before the commit's head is there."""
        token = f"stage-{stamp}-{number}"
        until = time.monotonic() + PATIENCE_SECONDS
        wait = 0.05
        while True:
            try:
                self._connection.insert(self.table, block, token)
                return
            except NoAnswerError:
                if time.monotonic() > until:
                    raise
            wait = _rest(wait)

    def append(
        self,
        number: int,
        stamp: int,
        said: str,
        blocks: Sequence[pa.RecordBatch] = (),
        *,
        snapshot: str | None = None,
        staged: bool = False,
        last: Look = NO_LOOK,
    ) -> Look:
        """Make commit `number`, with these rows. The head was read within `FRESH_SECONDS`.

        Args:
            number: One more than the newest head's.
            stamp: The commit's random number.
            said: What its head says.
            blocks: Its rows, which have the same number and stamp.
            snapshot: Text of the head, for `snapshot`.
            staged: It has staged blocks as well.
            last: The look that has found the commit before it.

        Returns:
            The look that has found it to be the newest commit; `NO_LOOK` where there are later ones.

        Raises:
            LostError: Another writer was first; nothing was written.
            InternalError: ClickHouse has refused it, and nothing was written; or it is not known whether it was written.
            StoreCorruptError: Two commits have this number.
        """
        head = head_row(number, stamp, said, snapshot, staged=staged)
        whole = joined([*blocks, head])
        until = time.monotonic() + PATIENCE_SECONDS
        wait, n_burned = 0.05, 0
        while True:
            token = f"commit-{number}" + (f".{n_burned}" if n_burned else "")
            failure: Exception | None = None
            is_answered = True
            try:
                self._connection.insert(self.table, whole, token)
            except NoAnswerError as error:
                failure, is_answered = error, False
            except Exception as error:
                failure = error
            look = self.look()
            if failure is None and last.is_followed_by(look):
                return dataclasses.replace(look, is_own=True)
            owner, look = self._owner(number, until)
            if owner is None and failure is None:
                # ClickHouse knows the token, and has no rows: it was stopped between the two.
                owner, look = self._look_for(number, until)
            if owner == stamp:
                return look if look is NO_LOOK else dataclasses.replace(look, is_own=True)
            if owner is not None:
                raise LostError
            if failure is None:
                # The token is used up, and the commit is not there: another token.
                n_burned += 1
            elif is_answered:
                raise failure
            elif time.monotonic() > until:
                raise self._unknown(failure)
            # After a failure the same block with the same token: where the first one is only late, this one is refused.
            wait = _rest(wait)

    def _look_for(self, number: int, until: float) -> tuple[int | None, Look]:
        """Return `_owner` of a commit that should be there; it has none where it is not there after a while."""
        for _ in range(_LOOKS):
            time.sleep(_LOOK_SECONDS)
            owner, look = self._owner(number, until)
            if owner is not None:
                return owner, look
        return None, NO_LOOK

    def _owner(self, number: int, until: float) -> tuple[int | None, Look]:
        """Return the stamp of a commit, None where there is none. Asks again where there is no answer.

        With it comes the look, `NO_LOOK` where there are later commits.
        """
        wait = 0.05
        while True:
            look = self.look()
            try:
                rows = self._connection.rows(
                    f"SELECT label, stamp FROM {self.sql} WHERE kind = {HEAD} AND label >= {number}"
                )
            except NoAnswerError as error:
                if time.monotonic() > until:
                    raise self._unknown(error) from error
                wait = _rest(wait)
                continue
            owners = [stamp for label, stamp in rows if label == number]
            if len(owners) > 1:
                raise self._doubled(number)
            return (owners[0] if owners else None), (look if len(rows) == 1 else NO_LOOK)

    def _unknown(self, error: Exception) -> InternalError:
        return InternalError(
            f"It is not known whether this was written: {error} It was asked again for {PATIENCE_SECONDS:.0f} s. Either all of "
            "it is there or nothing. When ClickHouse answers again, look (get, count) before you repeat the call; upsert() "
            "can be repeated in any case."
        )

    def lacking(self, number: int) -> StoreCorruptError:
        """Return the error of a commit that is not there."""
        return StoreCorruptError(
            f"The log {self.table} lacks commit {number:,}. Restore the store from a backup."
        )

    def _doubled(self, number: int) -> StoreCorruptError:
        return StoreCorruptError(
            f"The log {self.table} has two commits of number {number:,}: a writer was stopped for longer than ClickHouse "
            f"knows tokens ({WINDOW:,} commits). Restore the store from a backup."
        )


def _rest(wait: float) -> float:
    """Wait a random while, and return for how long to wait next time."""
    time.sleep(wait * random.uniform(0.5, 1.0))
    return min(2 * wait, _LONGEST_WAIT)
