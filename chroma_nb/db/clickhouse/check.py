"""`check_collection`: reads all of a collection and reports what is damaged.

ClickHouse compares every block that it reads with its checksum. So reading everything is the check of the disk; what is
compared beside that is whether the rows are those that the commits have said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chroma_nb.check_report import CollectionCheck, some_ids
from chroma_nb.db.clickhouse.blocks import HEAD
from chroma_nb.db.stored_metadata import read_metadata
from chroma_nb.errors import InternalError, StoreCorruptError
from chroma_nb.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from chroma_nb.db.base import RecordRows
    from chroma_nb.db.clickhouse.views import View
    from chroma_nb.types import CollectionInfo

#: Vectors are read in pieces of so many labels, to say how far it is.
_PIECE_ROWS = 20_000


def check_collection(
    info: CollectionInfo,
    view: View,
    records: Iterator[RecordRows],
    read: Callable[[str], pa.Table],
    on_bytes: Callable[[int], object],
) -> CollectionCheck:
    """Check one collection; see `DB.check`.

    Args:
        info: Its description.
        view: What is checked.
        records: All of its records.
        read: Asks ClickHouse.
        on_bytes: Called with the bytes of each piece that was read.
    """
    problems: list[str] = []
    checks: list[Callable[[], list[str]]] = [
        lambda: _check_records(view, records, read, on_bytes),
        lambda: _check_vectors(info, view, read, on_bytes),
        lambda: _check_commits(view, read),
    ]
    for check in checks:
        try:
            problems += check()
        except (InternalError, StoreCorruptError) as error:
            problems.append(str(error))
    return CollectionCheck(
        info.name, info.tenant, info.database, view.counters.n_records, problems=problems
    )


def _check_records(
    view: View,
    records: Iterator[RecordRows],
    read: Callable[[str], pa.Table],
    on_bytes: Callable[[int], object],
) -> list[str]:
    problems = []
    unreadable: list[str] = []
    for rows in records:
        for record_id, text in zip(rows.ids, rows.metadatas, strict=True):
            try:
                read_metadata(text)
            except StoreCorruptError:
                unreadable.append(record_id)
        on_bytes(16 * len(rows) + int(rows.text_bytes.sum()))
    if unreadable:
        n = counted(len(unreadable), "record")
        problems.append(f"the metadata of {n} ({some_ids(unreadable)})")
    (found,) = read(
        "SELECT toInt64(count()) AS n, toInt64(uniqExact(label)) AS labels, toInt64(uniqExact(id)) AS ids, min(label) AS first, "
        f"max(label) AS last FROM {view.log.sql} WHERE {view.records}"
    ).to_pylist()
    said = view.counters
    if found["n"] != said.n_records:
        problems.append(
            f"the last commit counts {said.n_records:,} records, there are {found['n']:,}"
        )
    if min(found["labels"], found["ids"]) < found["n"]:
        problems.append("an id or a label is there twice")
    if found["n"] and (found["first"] < 0 or found["last"] >= said.next_label):
        problems.append("a record names a vector that was never written")
    return problems


def _check_vectors(
    info: CollectionInfo,
    view: View,
    read: Callable[[str], pa.Table],
    on_bytes: Callable[[int], object],
) -> list[str]:
    dimension, n_labels = view.counters.dimension, view.counters.next_label
    if not n_labels:
        return []
    if dimension is None or info.dimension != dimension:
        return [f"the catalogue says {info.dimension} dimensions, and the last commit {dimension}"]
    n_found = n_wrong = 0
    for start in range(0, n_labels, _PIECE_ROWS):
        stop = min(n_labels, start + _PIECE_ROWS)
        (found,) = read(
            f"SELECT toInt64(count()) AS n, toInt64(countIf(length(embedding) != {dimension} OR "
            "arrayExists(x -> NOT isFinite(x), embedding))) AS wrong "
            f"FROM {view.log.sql} WHERE {view.vectors} AND label >= {start} AND label < {stop}"
        ).to_pylist()
        n_found, n_wrong = n_found + found["n"], n_wrong + found["wrong"]
        on_bytes(4 * dimension * found["n"])
    problems = []
    if n_found != n_labels:
        problems.append(f"{n_labels:,} vectors were written, there are {n_found:,}")
    if n_wrong:
        problems.append(f"{n_wrong:,} vectors are not of {dimension:,} finite numbers")
    return problems


def _check_commits(view: View, read: Callable[[str], pa.Table]) -> list[str]:
    """Look whether each commit is there once."""
    (found,) = read(
        f"SELECT toInt64(count()) AS n, toInt64(uniqExact(label)) AS numbers FROM {view.log.sql} "
        f"WHERE kind = {HEAD} AND label <= {view.number}"
    ).to_pylist()
    problems = []
    if found["numbers"] != view.number:
        problems.append(f"{view.number:,} commits were made, there are {found['numbers']:,}")
    if found["n"] != found["numbers"]:
        problems.append("a commit is there twice")
    return problems
