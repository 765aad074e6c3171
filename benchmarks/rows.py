"""The rows of the table: what each figure is, and what chroma_nb has to reach."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

#: The raw graph that each chroma_nb is measured against.
RAW = {"chroma_nb_turbovec": "hnswlib", "chroma_nb": "hnswlib", "chroma_nb_usearch": "usearch"}

Figures = Mapping[str, Mapping[str, float]]
#: (figures of every engine, the chroma_nb column, the run's results) -> (bound, its derivation)
Bound = Callable[[Figures, str, Mapping[str, Any]], "tuple[float, str] | None"]


def _absolute(value: float) -> Bound:
    return lambda figures, name, run: (value, "")


def _of_engine(engine: str, key: str, factor: float = 1.0) -> Bound:
    def bound(figures: Figures, name: str, run: Mapping[str, Any]) -> tuple[float, str] | None:
        value = figures.get(engine, {}).get(key)
        return None if value is None else (value * factor, "")

    return bound


def _of_raw(key: str, factor: float) -> Bound:
    return lambda figures, name, run: _of_engine(RAW[name], key, factor)(figures, name, run)


def _memory(figures: Figures, name: str, run: Mapping[str, Any]) -> tuple[float, str] | None:
    value = figures.get(RAW[name], {}).get("memory")
    if value is None:
        return None
    return 1.15 * value + run["record_mb"], ""


@dataclass(frozen=True)
class Row:
    """One row.

    Args:
        key: Name of the figure.
        title: What stands in the first column.
        digits: Decimals shown.
        more_is_better: Which way the ratio and the target point.
        target: The target in words, empty if the row has none.
        bound: The target as a number.
        about: What is measured, in a sentence or two.
    """

    key: str
    title: str
    digits: int
    more_is_better: bool
    target: str
    bound: Bound | None
    about: str


ROWS = (
    Row(
        "add",
        "add, durable and searchable, rows/s",
        0,
        True,
        ">= LanceDB",
        _of_engine("lancedb", "add"),
        "The time from the first call of `add` until a query finds the last record. All records are "
        "added in one call if the engine accepts it (chroma_nb, LanceDB, the raw graphs), else in "
        "batches of 5,000. chromadb and the raw graphs build their graph during this time. The "
        "others scan, or build it later in the background.",
    ),
    Row(
        "add_batches",
        "the same in batches of 5,000, rows/s",
        0,
        True,
        "",
        None,
        "The same records in 20 calls of 5,000. A batch is durable when its call returns.",
    ),
    Row(
        "graph",
        "graph built, vectors/s",
        0,
        True,
        ">= 0.9 x raw, same engine",
        _of_raw("graph", 0.9),
        "The number of records divided by the time from the end of `add` until the graph covers all "
        "of them (chroma_nb: `build_index()`, LanceDB: `create_index`). For engines that build the "
        "graph inside `add`, it is the time of `add`.",
    ),
    Row(
        "complete",
        "added and graph built, rows/s",
        0,
        True,
        "",
        None,
        "The number of records divided by the time of both steps. It does not matter here in which "
        "step an engine does the work.",
    ),
    Row(
        "plain",
        "query p50, ms",
        2,
        False,
        "<= 1.5 x raw, same engine and ef",
        _of_raw("plain", 1.5),
        "The ten records nearest to one held-out gloss, one query per call. Documents, metadata and "
        "distances are returned (the raw graphs return only row numbers and distances).",
    ),
    Row(
        "plain_p95", "query p95, ms", 2, False, "", None, "The 95th percentile of the same queries."
    ),
    Row(
        "plain_recall",
        "recall@10",
        4,
        True,
        ">= 0.99",
        _absolute(0.99),
        "The share of the exact ten nearest records (float32, NumPy) that the ten returned ones "
        "contain. Records with the same gloss count as equal. All graphs have M = 16, "
        "ef_construction = 100, ef_search = 100.",
    ),
    Row(
        "shard",
        "filtered query (9 % match) p50, ms",
        2,
        False,
        "<= 2.5",
        _absolute(2.5),
        'The same with `where={"shard": k}`, which 9.1 % of the records match. k changes from '
        "query to query. For the raw graphs, the matching rows are taken from the caller's array "
        "and searched exactly in NumPy.",
    ),
    Row(
        "shard_recall",
        "filtered query, recall@10",
        4,
        True,
        "",
        None,
        "Recall of the filtered queries among the records that match.",
    ),
    Row(
        "contains",
        "`where_document $contains` query p50, ms",
        2,
        False,
        "<= 20",
        _absolute(20),
        "The same with a word that 1 to 2 % of the documents contain, another word each time. "
        "LanceDB uses `LIKE '%word%'`. Qdrant's local text filter matches only whole words, so it "
        "is left out.",
    ),
    Row(
        "contains_recall",
        "`$contains` query, recall@10",
        4,
        True,
        "",
        None,
        "Recall of the `$contains` queries among the records that match.",
    ),
    Row(
        "many",
        "500 queries in one call, queries/s",
        0,
        True,
        ">= 0.8 x raw, same engine",
        _of_raw("many", 0.8),
        "One call with 500 query vectors that returns documents and metadata. Engines whose single "
        "query takes more than 50 ms get 20 vectors.",
    ),
    Row(
        "add_one",
        "one record added, ms",
        2,
        False,
        "<= 2",
        _absolute(2),
        "The median of 200 calls. Each adds one record to the full, persistent collection.",
    ),
    Row(
        "get_all",
        "`get()` of everything, s",
        2,
        False,
        "works, <= 1",
        _absolute(1),
        "All ids, documents and metadata as Python objects, in one call.",
    ),
    Row(
        "memory",
        "growth of RSS, MB",
        0,
        False,
        "<= 1.15 x raw + the records' text",
        _memory,
        "Resident memory (RSS) after adding, building and 100 queries, minus the RSS of the same "
        "process before. Even earlier, the engine was imported and used on 200 records, so its code "
        "is not counted. `add` gets a copy of the vectors, which is deleted after the call.",
    ),
    Row(
        "memory_trimmed",
        "... after `malloc_trim`, MB",
        0,
        False,
        "",
        None,
        "The same after the C library has returned freed memory to the system.",
    ),
    Row(
        "memory_file",
        "... of it files mapped into memory, MB",
        0,
        False,
        "",
        None,
        "The part of the growth that the system can free without swapping.",
    ),
    Row(
        "import",
        "`import`, s",
        2,
        False,
        "<= 0.3",
        _absolute(0.3),
        "`import` in a fresh interpreter, the median of five.",
    ),
    Row(
        "first",
        "`import` to first answer, s",
        2,
        False,
        "",
        None,
        "In a fresh interpreter with NumPy imported: import, a new persistent store, ten records "
        "with embeddings, one query. It includes work that `import` postpones.",
    ),
)
