"""A server's process, as far as its writes go: writes to one collection until it is told to stop, and notes down what it does.

``python -m tests.durability.clickhouse_writer URL COLLECTION_ID NAME LOG SHARE``. SHARE is how many of its calls compact the
collection. Each line of the log is JSON: what was begun or
ended, and when (`time.monotonic`, which all processes of a machine share).
"""

from __future__ import annotations

import contextlib
import json
import random
import sys
import time
import uuid
from typing import Any

import numpy as np

from chroma_nb.errors import ChromaError
from chroma_nb.settings import Settings
from chroma_nb.testing import local_api
from chroma_nb.types import RecordBatch

PLACE: dict[str, str] = {"tenant": "default_tenant", "database": "default_database"}
#: An id that all writers write to.
SHARED = "shared"


def batch_of(name: str, number: int, n: int) -> RecordBatch:
    """A batch with ids that say whose it is, and a shared record that says who was last."""
    ids = [f"{name}-{number}-{part}" for part in range(n)] + [SHARED]
    vectors = np.full((len(ids), 8), number, dtype=np.float32)
    metadatas: list[Any] = [{"op": f"{name}-{number}", "n": n} for _ in ids]
    return RecordBatch(ids, vectors, documents=[f"text {one}" for one in ids], metadatas=metadatas)


def main(url: str, collection: str, name: str, log: str, compacting: str) -> None:
    # Here, as the test imports this module where the extra `clickhouse` is not installed, to be skipped.
    from chroma_nb.db import Clickhouse

    settings = Settings(db="clickhouse", clickhouse_url=url, progress=False)
    api = local_api(Clickhouse(settings), settings)
    collection_id, walk = uuid.UUID(collection), random.Random(name)
    with open(log, "a", buffering=1) as file:

        def note(**what: Any) -> None:
            file.write(json.dumps({**what, "at": time.monotonic()}) + "\n")

        note(do="ready")
        for number in range(1_000_000):
            n, op = walk.randrange(1, 6), f"{name}-{number}"
            is_read = walk.random() < 0.3
            if walk.random() < float(compacting):
                # Another one may have written meanwhile, or the engine is away.
                with contextlib.suppress(ChromaError):
                    api.segments.compact(collection_id)
            note(do="begin", op=op, n=0 if is_read else n)
            try:
                if is_read:
                    note(do="read", op=op, count=api.count(collection_id, **PLACE))
                else:
                    api.upsert(collection_id, batch_of(name, number, n), **PLACE)
                    note(do="done", op=op)
            except ChromaError as error:
                note(do="failed", op=op, why=f"{type(error).__name__}: {error}"[:300])
                # The engine is away for a second or two.
                time.sleep(0.1)


if __name__ == "__main__":
    main(*sys.argv[1:])
