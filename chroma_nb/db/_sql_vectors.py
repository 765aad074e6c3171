"""`VectorFunction`: embeddings as a column of SQL, read from the vector file where a query wants them.

DuckDB calls a function of Python's with the labels of the records that are left when everything else is
decided, some thousands at a time. So a query that does not use the column reads nothing, and one that uses
it needs no more memory than a piece. There is one function for all queries, as DuckDB before 2 stands still
for good where two threads make functions at the same time; its first argument says for whom it reads.
"""

from __future__ import annotations

import importlib.util
import itertools
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb
    from numpy.typing import NDArray

#: Refused in a user's query.
_NAME = "chroma_nb_vectors"
_NAME_ARROW = "chroma_nb_vectors_arrow"
#: From here on pyarrow is worth its import, where it is installed.
_MANY_RECORDS = 5_000
#: Vectors are read from the file in blocks of so many, where they are wanted one by one.
_BLOCK = 64
#: Blocks that are kept.
_BLOCKS = 4


class MovedError(Exception):
    """A collection was compacted or deleted while a query read its vectors."""


class Reader:
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
        #: What went wrong; DuckDB makes an error of its own of it.
        self.error: BaseException | None = None

    def many(self, labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return vectors by label."""
        try:
            vectors = self._read(labels)
        except Exception as error:
            self.error = error if self._is_there() else MovedError()
            raise self.error from error
        if not self._is_there():
            # The file may have been closed, and another opened in its place.
            self.error = MovedError()
            raise self.error
        return vectors

    def one(self, label: int) -> NDArray[np.float32]:
        """Return one vector; as most come in order, those before it in its block are read along."""
        number, place = divmod(label, _BLOCK)
        block = self._blocks.get(number)
        if block is None or len(block) <= place:
            # Only up to this one: behind it may be nothing.
            block = self.many(np.arange(number * _BLOCK, label + 1, dtype=np.int64))
            self._blocks[number] = block
            while len(self._blocks) > _BLOCKS:
                self._blocks.popitem(last=False)
        vector: NDArray[np.float32] = block[place]
        return vector


class VectorFunction:
    """The function by which DuckDB reads vectors."""

    def __init__(self) -> None:
        self._readers: dict[int, Reader] = {}
        self._numbers = itertools.count()

    def register(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make the function known to a DuckDB instance."""
        # Of this connection: the functions of the module open an instance of their own.
        number, label = connection.type("BIGINT"), connection.type("BIGINT")
        vector = connection.list_type(connection.type("FLOAT"))
        readers = self._readers
        connection.create_function(
            _NAME, lambda of, one: readers[of].one(one), [number, label], vector
        )
        if importlib.util.find_spec("pyarrow") is not None:
            connection.create_function(
                _NAME_ARROW,
                lambda of, labels: _arrow(readers, of, labels),
                [number, label],
                vector,
                type="arrow",
            )

    def open(self, reader: Reader, n_records: int, dimension: int) -> tuple[int, str]:
        """Take up a reader; return its number, and the expression for a row ``r`` of the records."""
        number = next(self._numbers)
        self._readers[number] = reader
        name = _NAME
        if n_records >= _MANY_RECORDS and importlib.util.find_spec("pyarrow") is not None:
            name = _NAME_ARROW
        # A list until the end: DuckDB before 2 has no CASE of arrays.
        call = f"CASE WHEN r.label >= 0 THEN {name}({number}, r.label) END"
        return number, f"CAST({call} AS FLOAT[{dimension}])"

    def close(self, number: int) -> None:
        """Let go of a reader."""
        self._readers.pop(number, None)


def _arrow(readers: dict[int, Reader], numbers: Any, labels: Any) -> Any:
    import pyarrow as pa

    if not len(labels):
        return pa.array([], type=pa.list_(pa.float32()))
    reader = readers[numbers[0].as_py()]
    vectors = reader.many(labels.to_numpy().astype(np.int64, copy=False))
    stops = np.arange(0, vectors.size + 1, vectors.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(stops), pa.array(vectors.reshape(-1)))
