"""`VectorFunction`: embeddings as a column of SQL, read from the vector file.

DuckDB calls a Python function with the labels of the rows that are left after filtering, a few thousand at a
time. So embeddings are read only where a query uses them. All queries share one function, because DuckDB before
2 deadlocks when two threads create functions at once; its first argument says which query is reading.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.extras import is_installed

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb
    from numpy.typing import NDArray

#: A query that names one of these functions is refused (`allowed.REFUSED_FUNCTION`).
_NAME = "chroma_nb_vectors"
_NAME_ARROW = "chroma_nb_vectors_arrow"
#: From here on pyarrow is worth its import: 5,000 embeddings of 384 numbers take 0.19 s one by one, 0.01 s with it.
_MANY_RECORDS = 5_000
#: Vectors that are asked for one by one are read from the file in blocks of so many. Chosen, not measured.
_BLOCK = 64
#: Blocks that are kept: threads of DuckDB's are at work in different places. Chosen, not measured.
_BLOCKS = 4


class MovedError(Exception):
    """A collection was compacted or deleted while a query read its vectors."""


class QueryVectors:
    """The vectors of one collection, for one query.

    Args:
        read: Returns the vectors of labels, shape (n, dimension).
        is_there: Says whether what `read` has returned was the collection's.
    """

    def __init__(
        self,
        read: Callable[[NDArray[np.int64]], NDArray[np.float32]],
        is_there: Callable[[], bool],
    ) -> None:
        self._read = read
        self._is_there = is_there
        self._blocks: OrderedDict[int, NDArray[np.float32]] = OrderedDict()
        #: The error of a read. DuckDB raises one of its own in its place.
        self.error: BaseException | None = None

    def many(self, labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return vectors by label."""
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
        number, place = divmod(label, _BLOCK)
        block = self._blocks.get(number)
        if block is None or len(block) <= place:
            # Not those after it: the file may end here.
            block = self.many(np.arange(number * _BLOCK, label + 1, dtype=np.int64))
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

    def register(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make the function known to a DuckDB instance."""
        # Methods of the connection: duckdb.type() would open another instance.
        number, label = connection.type("BIGINT"), connection.type("BIGINT")
        vector = connection.list_type(connection.type("FLOAT"))
        opened = self._opened
        connection.create_function(
            _NAME, lambda of, one: opened[of].one(one), [number, label], vector
        )
        if self._has_arrow:
            connection.create_function(
                _NAME_ARROW,
                lambda of, labels: _arrow(opened, of, labels),
                [number, label],
                vector,
                type="arrow",
            )

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
        self._opened.pop(number, None)


def _arrow(opened: dict[int, QueryVectors], numbers: Any, labels: Any) -> Any:
    import pyarrow as pa

    if not len(labels):
        return pa.array([], type=pa.list_(pa.float32()))
    vectors = opened[numbers[0].as_py()].many(labels.to_numpy().astype(np.int64, copy=False))
    stops = np.arange(0, vectors.size + 1, vectors.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(stops), pa.array(vectors.reshape(-1)))
