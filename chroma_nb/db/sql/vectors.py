"""`VectorFunction`: embeddings as a column of SQL, read from the vector file.

DuckDB calls a Python function with the labels of the rows that are left after filtering, a few thousand at a
time. So embeddings are read only where a query uses them. All queries share one function, because DuckDB before
2 deadlocks when two threads create functions at once; its first argument says which query is reading.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np

from chroma_nb.db.chunks import CHUNK_ROWS
from chroma_nb.errors import MemoryBudgetError
from chroma_nb.lazy import is_installed
from chroma_nb.memory.preflight import over_budget
from chroma_nb.memory.workspace import WORKSPACE

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

#: A query that names one of these functions is refused (`allowed.REFUSED_FUNCTION`).
_NAME = "chroma_nb_vectors"
_NAME_ARROW = "chroma_nb_vectors_arrow"
#: From here on pyarrow is worth its import: 5,000 embeddings of 384 numbers take 0.19 s one by one, 0.01 s with it.
_MANY_RECORDS = 5_000
#: Vectors that are asked for one by one are read from the file in blocks of this many. Chosen, not measured.
_BLOCK = 64
#: Blocks that are kept: threads of DuckDB's are at work in different places. Chosen, not measured.
_BLOCKS = 4
#: More than these bytes are much.
_MANY_BYTES = 16 << 20
#: What to do about embeddings that do not fit.
_WAYS_OUT = (
    "read fewer of them at once: FROM (SELECT id, embedding FROM ... LIMIT ...)",
    "compute with collection.query() and collection.get(include=['embeddings'])",
)


class MovedError(Exception):
    """A collection was compacted or deleted while a query read its vectors."""


class QueryVectors:
    """The vectors of one collection, for one query.

    Args:
        read: Returns the vectors of labels, shape (n, dimension).
        is_there: Says whether what `read` has returned was the collection's.
        n_records: Records of the collection.
        row_bytes: What the query takes for each embedding that a thread of DuckDB's has at once.
        what: What takes it, as the start of a sentence.
    """

    def __init__(
        self,
        read: Callable[[NDArray[np.int64]], NDArray[np.float32]],
        is_there: Callable[[], bool],
        *,
        n_records: int = 0,
        row_bytes: int = 0,
        what: str = "",
    ) -> None:
        self._read = read
        self._is_there = is_there
        self._n_records = n_records
        self._row_bytes = row_bytes
        self._what = what
        #: What is held for each thread of DuckDB's, which keeps the memory of its rows until the query has ended.
        self._held: dict[int, contextlib.ExitStack] = {}
        self._held_rows: dict[int, int] = {}
        #: How many embeddings each thread has read one by one.
        self._n_read: dict[int, int] = {}
        #: There was too little memory for several threads; there may be enough for one.
        self.too_many_threads = False
        #: It took so much that freed memory is given back to the system, which takes some 10 ms.
        self.took_much = False
        self._blocks: OrderedDict[int, NDArray[np.float32]] = OrderedDict()
        #: The error of a read. DuckDB raises one of its own in its place.
        self.error: BaseException | None = None

    def many(self, labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return vectors by label."""
        self._take_room(len(labels))
        return self._read_some(labels)

    def _take_room(self, n_rows: int) -> None:
        """Take the memory that DuckDB needs for so many rows in this thread, if more than before.

        Raises:
            MemoryBudgetError: It is not free.
        """
        thread = threading.get_ident()
        more = n_rows - self._held_rows.get(thread, 0)
        if more <= 0:
            return
        held = self._held.setdefault(thread, contextlib.ExitStack())
        what = self._what.format(n_rows)
        try:
            # Nobody waits for other threads of this query, which give nothing back before it has ended.
            waits = not self._held_rows
            grant = WORKSPACE.take_all(more * self._row_bytes, what, *_WAYS_OUT, waits=waits)
        except MemoryBudgetError as error:
            self.too_many_threads = len(self._held) > 1
            before = self._held_rows.get(thread, 0) * self._row_bytes
            need = n_rows * self._row_bytes
            self.error = over_budget(need, error.free + before, None, what, *_WAYS_OUT)
            raise self.error from None
        held.enter_context(grant)
        self._held_rows[thread] = n_rows

    def close(self) -> None:
        """Give the memory back."""
        self.took_much = sum(self._held_rows.values()) * self._row_bytes > _MANY_BYTES
        for held in list(self._held.values()):
            held.close()
        self._held, self._held_rows = {}, {}
        self._blocks.clear()

    def _read_some(self, labels: NDArray[np.int64]) -> NDArray[np.float32]:
        try:
            vectors = self._read(labels)
        except Exception as error:
            self.error = error if self._is_there() else MovedError()
            raise self.error from error
        if not self._is_there():
            # The file may have been closed, and its descriptor given to another.
            self.error = MovedError()
            raise self.error
        return vectors

    def one(self, label: int) -> NDArray[np.float32]:
        """Return one vector. The ones before it in its block are read with it, as most come in order."""
        # How many rows DuckDB has at once is not told: all that were read, up to 2,048.
        thread = threading.get_ident()
        n_read = self._n_read[thread] = self._n_read.get(thread, 0) + 1
        if n_read <= min(CHUNK_ROWS, self._n_records) and n_read & (n_read - 1) == 0:
            self._take_room(min(2 * n_read, CHUNK_ROWS, self._n_records))
        number, place = divmod(label, _BLOCK)
        block = self._blocks.get(number)
        if block is None or len(block) <= place:
            # Not those after it: the file may end here.
            block = self._read_some(np.arange(number * _BLOCK, label + 1, dtype=np.int64))
            self._blocks[number] = block
            while len(self._blocks) > _BLOCKS:
                self._blocks.popitem(last=False)
        vector: NDArray[np.float32] = block[place]
        return vector


class VectorFunction:
    """The function by which DuckDB reads vectors."""

    def __init__(self) -> None:
        #: By number: the vectors of collections in queries that run.
        self._opened: dict[int, QueryVectors] = {}
        self._numbers = itertools.count()
        # Decided once: pyarrow may be installed while the store is open, when no function uses it.
        self._has_arrow = is_installed("pyarrow")
        opened = self._opened
        #: Kept here, since DuckDB drops them with the connection that made them known, while a query of another thread
        #: may still call them.
        self._functions: dict[str, tuple[Any, Any]] = {
            _NAME: (lambda of, one: opened[of].one(one), "native")
        }
        if self._has_arrow:
            self._functions[_NAME_ARROW] = (lambda of, labels: _arrow(opened, of, labels), "arrow")

    def register(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make the function known to a DuckDB instance."""
        # Methods of the connection: duckdb.type() would open another instance.
        number, label = connection.type("BIGINT"), connection.type("BIGINT")
        vector = connection.list_type(connection.type("FLOAT"))
        for name, (function, kind) in self._functions.items():
            try:
                connection.create_function(name, function, [number, label], vector, type=kind)
            except duckdb.CatalogException as error:
                # Another thread's query keeps the instance open that was to be reopened. Its function reads the same.
                if "already exists" not in str(error):
                    raise

    def open(self, vectors: QueryVectors, n_records: int, dimension: int) -> tuple[int, str]:
        """Return a number for these vectors, and the expression that reads them for a row ``r`` of the records."""
        number = next(self._numbers)
        self._opened[number] = vectors
        name = _NAME_ARROW if self._has_arrow and n_records >= _MANY_RECORDS else _NAME
        # The CASE is of lists: DuckDB before 2 has no CASE of arrays.
        call = f"CASE WHEN r.label >= 0 THEN {name}({number}, r.label) END"
        return number, f"CAST({call} AS FLOAT[{dimension}])"

    def close(self, number: int) -> None:
        """Forget the vectors of this number."""
        vectors = self._opened.pop(number, None)
        if vectors is not None:
            vectors.close()


def _arrow(opened: dict[int, QueryVectors], numbers: Any, labels: Any) -> Any:
    import pyarrow as pa

    if not len(labels):
        return pa.array([], type=pa.list_(pa.float32()))
    vectors = opened[numbers[0].as_py()].many(labels.to_numpy().astype(np.int64, copy=False))
    stops = np.arange(0, vectors.size + 1, vectors.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(stops), pa.array(vectors.reshape(-1)))
