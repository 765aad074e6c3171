"""`GraphBuilder`: has a worker build a collection's graph, and waits for it."""

from __future__ import annotations

import base64
import contextlib
import os
import time
import uuid
from typing import TYPE_CHECKING, Any

from chroma_nb.db.vector_file import VectorFile
from chroma_nb.errors import ServerUnavailableError
from chroma_nb.index.base import VectorIndex
from chroma_nb.tasks.graphs import packed_dead
from chroma_nb.tasks.messages import GRAPH_QUEUE, GRAPH_TASK, VERSION, packed_body
from chroma_nb.tasks.pieces import SILENT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from chroma_nb.db.vector_source import VectorSource
    from chroma_nb.index.base import GraphParameters
    from chroma_nb.tasks.line import Line
    from chroma_nb.tasks.workers import Workers

#: How long it is listened for answers before anything else is looked at, seconds.
_LISTEN_SECONDS = 0.2
#: A message with more checksums than this is not sent: some 3 TB of vectors.
_MOST_SUMS_BYTES = 16 << 20


class GraphBuilder:
    """Has workers build graphs.

    Args:
        workers: The workers of the store.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    def build(
        self,
        source: VectorSource,
        form: type[VectorIndex],
        parameters: GraphParameters,
        alive: NDArray[np.bool_],
        prefix: str,
        on_progress: Callable[[int], object],
        is_wanted: Callable[[], bool],
    ) -> str | None:
        """Have a graph built by a worker: see `Elsewhere.build`.

        Raises:
            ServerUnavailableError: Workers cannot do it, and the settings do not allow to do it here.
        """
        message = _message(source, form, parameters, alive)
        if message is None:
            return None
        _remove(prefix, "")
        token = uuid.uuid4().hex
        built = f"{prefix}.built-{token}"
        message["prefix"] = os.path.abspath(built)
        line: Line | None = None
        try:
            line = self._workers.take_line()
            if not self._workers.roster.wait() or not self._workers.roster.builds_graphs:
                why = "no worker that builds graphs answers (chroma-nb worker --stores DIR)"
                self._fall_back("graphs", why)
            elif self._wait(line, message, on_progress, is_wanted):
                self._workers.tally.count(graphs=1)
                self._workers.give_line(line)
                return built
        except ServerUnavailableError as error:
            if line is not None:
                line.close()
            self._fall_back("broker", str(error))
        except BaseException:
            if line is not None:
                line.close()
            raise
        else:
            self._workers.give_line(line)
        _remove(prefix, token)
        return None

    def _fall_back(self, kind: str, why: str) -> None:
        self._workers.fall_back(kind, why, "A graph is built")

    def _wait(
        self,
        line: Line,
        message: dict[str, Any],
        on_progress: Callable[[int], object],
        is_wanted: Callable[[], bool],
    ) -> bool:
        """Send the message, and say whether the graph was built."""
        task, end = str(uuid.uuid4()), message["end"]
        line.send(GRAPH_TASK, packed_body(message), task, queue=GRAPH_QUEUE)
        heard = time.monotonic()
        try:
            while is_wanted():
                for one, state, result in line.receive(_LISTEN_SECONDS):
                    if one != task:
                        continue
                    heard = time.monotonic()
                    if state == "SUCCESS":
                        task = ""
                        return self._is_done(result, end, on_progress)
                    if state in ("FAILURE", "REVOKED", "REJECTED"):
                        self._fall_back("failed graph", f"a worker could not build it ({state})")
                        return False
                    done = result.get("done") if isinstance(result, dict) else None
                    if type(done) is int and 0 <= done <= end:
                        on_progress(done)
                self._workers.roster.look()
                if time.monotonic() - heard > SILENT_SECONDS:
                    why = f"nothing was heard of a graph for {SILENT_SECONDS:.0f} s"
                    self._fall_back("silent graph", why)
                    return False
            return False
        finally:
            if task:
                self._workers.revoke([task])

    def _is_done(self, result: Any, end: int, on_progress: Callable[[int], object]) -> bool:
        found = result if isinstance(result, dict) else {}
        if found.get("version") == VERSION and found.get("end") == end:
            on_progress(end)
            return True
        self._fall_back("failed graph", f"a worker has answered: {str(found.get('refused'))[:300]}")
        return False


def _message(
    source: VectorSource,
    form: type[VectorIndex],
    parameters: GraphParameters,
    alive: NDArray[np.bool_],
) -> dict[str, Any] | None:
    """Return what a worker needs to know; None where the vectors are in no file that another process can read.

    Nor are codes made elsewhere: they are there before a worker has read the vectors.
    """
    if form.code_bytes is not VectorIndex.code_bytes:
        return None
    if not isinstance(source, VectorFile) or source.path is None or source.is_temporary:
        return None
    sums = source.sums
    if sums is None or len(sums.stored()) > _MOST_SUMS_BYTES:
        return None
    stored, (tail_rows, tail_sum) = sums.stored(), sums.tail
    while (stored, (tail_rows, tail_sum)) != (sums.stored(), sums.tail):
        # A commit has completed a block meanwhile.
        stored, (tail_rows, tail_sum) = sums.stored(), sums.tail
    return {
        "vectors": os.path.abspath(source.path),
        "end": len(alive),
        "dimension": parameters.dimension,
        "space": parameters.space,
        "m": parameters.m,
        "ef_construction": parameters.ef_construction,
        "ef_search": parameters.ef_search,
        "engine": form.engine,
        "sums": base64.b64encode(stored).decode("ascii"),
        "tail_rows": tail_rows,
        "tail_sum": tail_sum,
        "digest": source.digest(len(alive)),
        "dead": packed_dead(alive),
    }


def _remove(prefix: str, token: str) -> None:
    """Delete what workers have left of a collection's graphs: of one task, or of all."""
    folder, name = os.path.split(prefix)
    with contextlib.suppress(OSError):
        for found in os.listdir(folder):
            if found.startswith(f"{name}.built-{token}"):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(folder, found))
