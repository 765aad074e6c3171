"""`GraphTables`: ClickHouse's own HNSW, each in a table beside the log that it is derived from.

An index of vectors cannot be in a log itself: it refuses rows without a vector, which removed records, changed texts and
heads are (error 117), and it would be built again with every merge of commits. So the vectors are copied into a second
table, in the order of labels, and only this one has the index. It has them with the labels of the log and nothing else:
which of them are records, and which match, is asked of the log. So no commit makes it wrong. Labels from its end on are
its *tail*, which is compared exactly.

A piece is one INSERT of one block, which is there as a whole or not at all. Two servers that build at the same time copy
some vectors twice, which changes no answer.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from chroma_nb.db.clickhouse.blocks import RECORD
from chroma_nb.db.clickhouse.errors import NoTableError
from chroma_nb.db.clickhouse.literals import identifier, vector

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from chroma_nb.db.clickhouse.connection import Connection
    from chroma_nb.db.clickhouse.views import View
    from chroma_nb.types import Space

#: Behind the name of a log's table.
GRAPH = "_graph"
#: The distances of graphs. With `dotProduct`, ClickHouse 26.9 builds one, and it finds none of the nearest.
_DISTANCES = {"l2": "L2Distance", "cosine": "cosineDistance"}
#: What is stored of each number. With i8 recall is below 0.99 whatever else is done.
_QUANTIZATION = "bf16"
#: Links of a vector, and candidates while it is linked: those of hnswlib's graphs here.
_LINKS, _CANDIDATES = 16, 100
#: Candidates of a search: ClickHouse's own number at least, and so many times as many as are wanted (100,000 vectors around
#: 1,000 centres, 10 of the tenth that matches, 373 wanted: recall 0.992 with 1, 0.998 with 2, 1.0 with 4 in a quarter more time).
_LEAST_CANDIDATES, _CANDIDATES_OF = 256, 4
#: Numbers of vectors that are copied by the first statement, and seconds that one should take: far fewer than an answer may
#: (`Settings.timeout_seconds`). Each piece has a graph of its own; 5 of them are asked in twice the time of 1, 20 in 4 times.
_PIECE_NUMBERS, _PIECE_SECONDS = 1_000 * 384, 10.0
#: Rows that are read together at least. Few, as those that a graph finds are far from each other.
_GRANULE_ROWS = 64
#: For so long a known end of a graph is not asked for again. One that has grown meanwhile is used a little later.
_LOOK_SECONDS = 30.0
#: Vectors of other lengths are not compared in float32, as the graph does it; see `index.exact.are_ordinary`.
_SHORTEST, _LONGEST = 1e-15, 1e15
#: One block, and so one part and one graph.
_ONE_BLOCK = (
    "max_block_size = 16777216, max_insert_block_size = 16777216, min_insert_block_size_rows = 16777216, "
    "min_insert_block_size_bytes = 1099511627776, max_insert_threads = 1, async_insert = 0"
)


class GraphTables:
    """The tables with graphs.

    Args:
        connection: The way to ClickHouse.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        #: The log's table -> below which label its graph has all records, and when that was asked.
        self._ends: dict[str, tuple[int, float]] = {}

    def end(self, view: View, *, again: bool = False) -> int:
        """Return below which label the graph has all vectors of the view's records; 0: there is none.

        Args:
            view: The view.
            again: Ask ClickHouse, however lately it was asked.
        """
        table = view.log.table
        end, at = self._ends.get(table, (0, None))
        if again or at is None or time.monotonic() - at > _LOOK_SECONDS:
            at = time.monotonic()
            try:
                sql = f"SELECT toInt64(max(label) + 1) FROM {self.table(view)} HAVING count() > 0"
                rows = self._connection.rows(sql)
                end = rows[0][0] if rows else 0
            except NoTableError:
                end = 0
            self._ends[table] = (end, at)
        # The graph may have been built by another server, up to later commits.
        return min(end, view.counters.next_label)

    def table(self, view: View) -> str:
        """Return the table of a view's graph, as SQL."""
        return identifier(view.log.table + GRAPH)

    def found(self, view: View, space: Space, query: NDArray[np.float32], fetch: int) -> str:
        """Return a query of the labels that a graph finds nearest.

        Args:
            view: The view.
            space: The distance, of which there is a graph.
            query: Shape (dimension,), float32.
            fetch: How many.
        """
        distance = f"{_DISTANCES[space]}(embedding, {vector(query.astype('<f4'))})"
        # Without a condition: ClickHouse would return too few then.
        return (
            f"SELECT label FROM {self.table(view)} ORDER BY {distance} LIMIT {fetch} "
            f"SETTINGS max_limit_for_vector_search_queries = {max(1_000, fetch)}, "
            f"hnsw_candidate_list_size_for_search = {max(_LEAST_CANDIDATES, _CANDIDATES_OF * fetch)}"
        )

    def build(self, view: View, space: Space, on_labels: Callable[[int], object]) -> bool:
        """Make the view's graph, or bring it up to date; say whether there is one.

        Args:
            view: The view.
            space: The distance.
            on_labels: Called with the number of labels that it covers more.
        """
        dimension = view.counters.dimension
        if space not in _DISTANCES or dimension is None:
            return False
        start, stop = self.end(view, again=True), view.counters.next_label
        on_labels(start)
        if start < stop and self._lengths_vary(view, start, stop):
            return start > 0
        table = self.table(view)
        index = f"vector_similarity('hnsw', '{_DISTANCES[space]}', {dimension}, '{_QUANTIZATION}', {_LINKS}, {_CANDIDATES})"
        # Parts are not merged, as the graph of a merged part would be built anew.
        self._connection.command(
            f"CREATE TABLE IF NOT EXISTS {table} (label Int64, embedding Array(Float32) CODEC(NONE), "
            f"INDEX by_embedding embedding TYPE {index} GRANULARITY 100000000) ENGINE = MergeTree ORDER BY label "
            f"SETTINGS index_granularity = {_GRANULE_ROWS}, max_bytes_to_merge_at_max_space_in_pool = 1, "
            "max_bytes_to_merge_at_min_space_in_pool = 1"
        )
        step = max(1, _PIECE_NUMBERS // dimension)
        while start < stop:
            end, started = min(start + step, stop), time.monotonic()
            between = f"label >= {start} AND label < {end}"
            live = f"SELECT label FROM {view.log.sql} WHERE {view.records} AND {between}"
            self._connection.command(
                f"INSERT INTO {table} SELECT label, embedding FROM {view.log.sql} WHERE {view.vectors} AND {between} "
                f"AND label IN ({live}) ORDER BY label SETTINGS {_ONE_BLOCK}"
            )
            on_labels(end - start)
            start = end
            seconds = time.monotonic() - started
            if seconds < _PIECE_SECONDS / 2:
                step *= 2
            else:
                step = max(1, int(step * _PIECE_SECONDS / seconds))
        return self.end(view, again=True) > 0

    def _lengths_vary(self, view: View, start: int, stop: int) -> bool:
        """Say whether a vector of these labels is too long or too short for float32."""
        length = "L2Norm(CAST(embedding, 'Array(Float64)'))"
        rows = self._connection.rows(
            f"SELECT toInt64(count()) FROM {view.log.sql} WHERE {view.vectors} AND kind = {RECORD} AND label >= {start} "
            f"AND label < {stop} AND {length} != 0 AND ({length} < {_SHORTEST!r} OR {length} > {_LONGEST!r})"
        )
        return bool(rows[0][0])

    def drop(self, table: str) -> None:
        """Delete the graph of a log's table, where it has one."""
        self._ends.pop(table, None)
        self._connection.command(f"DROP TABLE IF EXISTS {identifier(table + GRAPH)} SYNC")
