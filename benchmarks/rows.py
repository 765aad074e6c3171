"""The rows of the table: what each figure is, and what chroma_nb has to reach."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

#: The raw graph that each chroma_nb is measured against.
RAW = {"chroma_nb": "hnswlib", "chroma_nb_usearch": "usearch"}

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
        "From the first call of `add` until a query has found the last record: everything in one "
        "call where an engine takes that (chroma_nb, LanceDB, the raw graphs), else in batches of "
        "5,000. chromadb's and the raw graphs' time holds their graph as well; the others have "
        "none yet and scan, or build it in the background.",
    ),
    Row(
        "add_batches",
        "the same in batches of 5,000, rows/s",
        0,
        True,
        "",
        None,
        "The same records in 20 calls of 5,000; a batch is durable when its call returns.",
    ),
    Row(
        "graph",
        "graph built, vectors/s",
        0,
        True,
        ">= 0.9 x raw, same engine",
        _of_raw("graph", 0.9),
        "Records divided by the time from the end of `add` until the graph covers all of them "
        "(chroma_nb: `build_index()`, LanceDB: `create_index`). For engines that build inside "
        "`add` it is the time of `add`.",
    ),
    Row(
        "complete",
        "added and graph built, rows/s",
        0,
        True,
        "",
        None,
        "Records divided by the time of both together, which no engine can shift from one row to "
        "the other.",
    ),
    Row(
        "plain",
        "query p50, ms",
        2,
        False,
        "<= 1.5 x raw, same engine and ef",
        _of_raw("plain", 1.5),
        "The ten nearest of one held-out gloss, with documents, metadata and distances (the raw "
        "graphs return numbers and distances only), one query per call.",
    ),
    Row("plain_p95", "query p95, ms", 2, False, "", None, "The same queries' 95th percentile."),
    Row(
        "plain_recall",
        "recall@10",
        4,
        True,
        ">= 0.99",
        _absolute(0.99),
        "The share of the exact ten nearest (float32, NumPy) among the ten returned; equal glosses "
        "count for each other. All graphs have M = 16, ef_construction = 100, ef_search = 100.",
    ),
    Row(
        "shard",
        "filtered query (9 % match) p50, ms",
        2,
        False,
        "<= 2.5",
        _absolute(2.5),
        'As above with `where={"shard": k}`, which 9.1 % of the records match; k changes from '
        "query to query. For the raw graphs: the matching rows gathered from the caller's array "
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
        "As above with a word that 1 to 2 % of the documents contain, another word each time "
        "(LanceDB: `LIKE '%word%'`; Qdrant's local text filter matches whole words only and is "
        "left out).",
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
        "One call with 500 vectors, documents and metadata returned (engines whose single query "
        "takes more than 50 ms get 20).",
    ),
    Row(
        "add_one",
        "one record added, ms",
        2,
        False,
        "<= 2",
        _absolute(2),
        "Median of 200 calls that add one record each to the full, persistent collection.",
    ),
    Row(
        "get_all",
        "`get()` of everything, s",
        2,
        False,
        "works, <= 1",
        _absolute(1),
        "Every id, document and metadata as Python objects, in one call.",
    ),
    Row(
        "memory",
        "growth of RSS, MB",
        0,
        False,
        "<= 1.15 x raw + the records' text",
        _memory,
        "Resident memory after adding, building and 100 queries, less that of the same process "
        "before (with the engine imported and tried on 200 records, so that its code is not "
        "counted). The vectors handed to `add` are a copy that is dropped after the call.",
    ),
    Row(
        "memory_trimmed",
        "... after `malloc_trim`, MB",
        0,
        False,
        "",
        None,
        "The same after the C library has returned what was freed: what the engine holds.",
    ),
    Row(
        "memory_file",
        "... of it files mapped into memory, MB",
        0,
        False,
        "",
        None,
        "The part that the system can drop without swapping; it is contained in the growth.",
    ),
    Row(
        "import",
        "`import`, s",
        2,
        False,
        "<= 0.3",
        _absolute(0.3),
        "`import` in a fresh interpreter, median of five.",
    ),
    Row(
        "first",
        "`import` to first answer, s",
        2,
        False,
        "",
        None,
        "In a fresh interpreter that has NumPy: import, a new persistent store, ten records with "
        "their embeddings, one query. It shows what an `import` puts off.",
    ),
)
