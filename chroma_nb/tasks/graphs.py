"""What a worker does with a graph: it reads the vectors in a store's file, and writes the graph beside the store's own.

It opens no store. Vectors are compared with the checksums in the message, which are those of the store, and the graph is checked
by the store before it is used.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import struct
import time
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.db.block_sums import BlockSums, sum_of
from chroma_nb.db.file_io import read_into
from chroma_nb.db.own_file import COLLECTION_PREFIX, open_plain
from chroma_nb.db.vector_file import FORMAT_VERSION, HEADER_BYTES, MAGIC
from chroma_nb.errors import StoreCorruptError
from chroma_nb.index import ENGINES, GraphParameters, load_engine
from chroma_nb.segment.index_file import save_graph
from chroma_nb.settings import real_path
from chroma_nb.tasks.messages import VERSION, RefusedError, refusal, unpacked_body
from chroma_nb.types import SPACES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

_HEADER = struct.Struct("<8sII")
#: The name of a vector file, and that of a graph that a worker writes, without its suffix.
_VECTORS_NAME = re.compile(COLLECTION_PREFIX + r"f32")
_GRAPH_NAME = re.compile(COLLECTION_PREFIX + r"built-[0-9a-f]{32}")
#: Vectors of one step, and how often the store hears how far it is.
_STEP_BYTES = 6 << 20
_TELL_SECONDS = 1.0
#: What a graph may have at most in a message: it is computed with, not believed.
_MOST = 1 << 40


def answer(
    message: Any, stores: Sequence[str], on_progress: Callable[[int], object]
) -> dict[str, Any]:
    """Build a graph, and return where its tail begins, or why there is none. Raises nothing that a message can bring about.

    Args:
        message: What the store sent, or anything that somebody has put into the queue.
        stores: The folders in which this worker may read and write.
        on_progress: Called with the labels that are done, now and then.
    """
    try:
        end = _build(unpacked_body(message), stores, on_progress)
    except RefusedError as error:
        return refusal(error)
    except Exception as error:
        return refusal(RefusedError(f"{type(error).__name__}: {str(error)[:300]}", lasting=False))
    return {"version": VERSION, "end": end}


def _build(
    body: dict[str, Any], stores: Sequence[str], on_progress: Callable[[int], object]
) -> int:
    vectors = _allowed(body.get("vectors"), _VECTORS_NAME, stores)
    prefix = _allowed(body.get("prefix"), _GRAPH_NAME, stores)
    name = body.get("engine")
    if not isinstance(name, str) or name not in ENGINES:
        raise RefusedError(f"There is no engine {str(name)[:40]!r}.")
    end, dimension = (_count(body, name) for name in ("end", "dimension"))
    if body.get("space") not in SPACES:
        raise RefusedError("The message has no space.")
    m, construction, search = (_count(body, name) for name in ("m", "ef_construction", "ef_search"))
    parameters = GraphParameters(body["space"], dimension, m, construction, search)
    try:
        sums = BlockSums(
            4 * dimension,
            base64.b64decode(body["sums"], validate=True),
            _count(body, "tail_rows", least=0),
            _count(body, "tail_sum", least=0, most=1 << 64),
        )
        alive = _alive(body["dead"], end)
    except (KeyError, TypeError, ValueError, binascii.Error, zlib.error) as error:
        raise RefusedError(f"The message is not one of a graph ({error}).") from error
    if end > sums.n_rows:
        raise RefusedError("The message has fewer checksums than vectors.")
    try:
        engine = load_engine(name)
    except ImportError as error:
        raise RefusedError(str(error)) from error
    assert engine is not None
    graph = engine.create(parameters, end + end // 8)
    step = max(1, _STEP_BYTES // (sums.row_bytes * sums.block_rows)) * sums.block_rows
    told = time.monotonic()
    with _Rows(vectors, sums) as rows:
        if rows.digest(end) != body.get("digest"):
            raise RefusedError("The file has other vectors than the store.", lasting=False)
        for start in range(0, end, step):
            stop = min(start + step, end)
            labels = np.flatnonzero(alive[start:stop]) + start
            block = rows.read(start, stop)
            if len(labels) < len(block):
                block = block[labels - start]
            graph.add(labels, block, 0)
            if time.monotonic() - told > _TELL_SECONDS:
                told = time.monotonic()
                on_progress(stop)
    if not save_graph(prefix, graph, end, body["digest"]):
        raise RefusedError("The graph could not be written.", lasting=False)
    return end


def _allowed(path: Any, name: re.Pattern[str], stores: Sequence[str]) -> str:
    """Return a path if it is one of a store's own files, in a folder that this worker may use.

    Raises:
        RefusedError: It is not.
    """
    if not stores:
        raise RefusedError("This worker builds no graphs: chroma-nb worker --stores DIR")
    if not isinstance(path, str) or "\0" in path or not name.fullmatch(os.path.basename(path)):
        raise RefusedError("The message names no file of a collection.")
    folder = real_path(os.path.dirname(path))
    if not any(os.path.commonpath([folder, root]) == root for root in stores):
        raise RefusedError(
            "The store's folder is not one of those that this worker may use (--stores)."
        )
    if not os.path.isdir(folder):
        raise RefusedError("The store's folder is not on this machine.")
    return os.path.join(folder, os.path.basename(path))


def _count(body: dict[str, Any], name: str, *, least: int = 1, most: int = _MOST) -> int:
    value = body.get(name)
    if type(value) is not int or not least <= value < most:
        raise RefusedError(f"The message has no {name}.")
    return value


def packed_dead(alive: NDArray[np.bool_]) -> str:
    """Return which labels are deleted as a text.

    Args:
        alive: bool, shape (labels,).
    """
    return base64.b64encode(zlib.compress(np.packbits(~alive).tobytes())).decode("ascii")


def _alive(packed: str, end: int) -> NDArray[np.bool_]:
    n_bytes = (end + 7) // 8
    reader = zlib.decompressobj()
    data = reader.decompress(base64.b64decode(packed, validate=True), n_bytes + 1)
    if len(data) != n_bytes:
        raise ValueError("another number of labels")
    return ~np.unpackbits(np.frombuffer(data, np.uint8), count=end).astype(bool)


class _Rows:
    """The rows of a vector file, each checked when it is read. The file is never written to."""

    def __init__(self, path: str, sums: BlockSums) -> None:
        self._sums = sums
        self._fd = open_plain(path, os.O_RDONLY)
        header = bytearray(_HEADER.size)
        read_into(self._fd, memoryview(header), 0)
        magic, version, dimension = _HEADER.unpack(header)
        if (magic, version, 4 * dimension) != (MAGIC, FORMAT_VERSION, sums.row_bytes):
            os.close(self._fd)
            raise RefusedError("The file is not one of these vectors.", lasting=False)

    def __enter__(self) -> _Rows:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def _read(self, start: int, stop: int) -> NDArray[np.float32]:
        out = np.empty((stop - start, self._sums.row_bytes // 4), np.float32)
        if out.size:
            read_into(self._fd, out.data.cast("B"), HEADER_BYTES + start * self._sums.row_bytes)
        return out

    def digest(self, end: int) -> int:
        """Return the checksum of rows 0 .. end - 1."""
        return self._sums.digest(end, lambda a, b: self._read(a, b).tobytes())

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return rows start .. stop - 1, float32, shape (n, dimension); `start` is the first of a block.

        Raises:
            StoreCorruptError: They are not what their checksums say.
        """
        sums, last = self._sums, (stop - 1) // self._sums.block_rows
        numbers = np.arange(start // sums.block_rows, last + 1, dtype=np.int64)
        starts, stops, expected = sums.bounds_and_sums(numbers)
        rows = self._read(start, max(stop, stops[-1]))
        for first, end, value in zip(starts, stops, expected, strict=True):
            if sum_of(rows[first - start : end - start].data.cast("B")) != value:
                raise StoreCorruptError(f"Vectors {first:,} to {end - 1:,} are damaged.")
        return rows[: stop - start]
