"""One engine in one fresh process: it does what the parent asks, and answers with figures."""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from benchmarks.data import WORDS
from benchmarks.engines import engine_class
from benchmarks.engines.base import Payload, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from pathlib import Path

    from benchmarks.data import Vectors

#: Queries before each measured series, so that no engine pays for another's turn.
WARM_UP = 3
MB = 1e6


@dataclass(frozen=True)
class Spec:
    """What a child is told at its start. `data` holds what `write_data` left there."""

    engine: str
    data: Path
    work: Path
    records: int
    threads: int


class Records:
    """Reads the records one after another, so that nobody holds them longer than an `add`."""

    def __init__(self, data: Path, vectors: Vectors) -> None:
        self._vectors = vectors
        self._lines = (data / "records.jsonl").open(encoding="utf-8")
        self._next = 0

    def take(self, count: int) -> Payload:
        """Return the next `count` records."""
        rows = [json.loads(line) for line in itertools.islice(self._lines, count)]
        first, self._next = self._next, self._next + len(rows)
        return Payload(
            ids=[r[0] for r in rows],
            vectors=self._vectors[first : self._next].copy(),
            documents=[r[1] for r in rows],
            metadatas=[r[2] for r in rows],
            first=first,
        )

    def close(self) -> None:
        """Close the file."""
        self._lines.close()


class Session:
    """The commands: each public method is one."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._vectors: Vectors = np.load(spec.data / "vectors.npy")
        self._queries: Vectors = np.load(spec.data / "queries.npy")
        self._shards = np.load(spec.data / "shards.npy")
        self._rss_data = _memory()["rss"]
        self._class = engine_class(spec.engine)
        self._try_out()
        self._rss_ready = _memory()
        self._engine = self._open("store", spec.records)
        self._engine.lend(self._vectors, self._shards)

    def _open(self, name: str, capacity: int) -> Any:
        folder = self._spec.work / name
        folder.mkdir(parents=True)
        engine = self._class(folder, self._vectors.shape[1], self._spec.threads)
        engine.open(capacity)
        return engine

    def _try_out(self) -> None:
        """Use a store of 200 records once: code that is loaded late is not counted as data."""
        engine = self._open("warm", 200)
        records = Records(self._spec.data, self._vectors)
        engine.add(records.take(200))
        records.close()
        engine.query(self._queries[0])
        engine.close()

    def ingest(self, batch: int | None = None, build: bool = True) -> dict[str, Any]:
        """Add everything, ask for the last record, and complete the graph."""
        total = self._spec.records
        size = (self._engine.batch if batch is None else batch) or total
        records = Records(self._spec.data, self._vectors)
        adding = 0.0
        for _ in range(0, total, size):
            payload = records.take(size)
            start = time.perf_counter()
            self._engine.add(payload)
            adding += time.perf_counter() - start
            last = payload.ids[-1]
            del payload
        records.close()
        added = time.perf_counter()
        answer = self._engine.query(self._vectors[total - 1])
        searchable = time.perf_counter() - added
        found = last in self._engine.ids(answer) or total - 1 in self._engine.ids(answer)
        built: float | None = None
        if build and not self._engine.builds_in_add:
            with contextlib.suppress(UnsupportedError):
                self._engine.build()
                built = time.perf_counter() - added
        return {"add_s": adding + searchable, "build_s": built, "last_found": found}

    def memory(self) -> dict[str, float]:
        """Run 100 queries and return the growth of memory since the store was empty, in MB."""
        for query in self._queries[:100]:
            self._engine.query(query)
        gc.collect()
        now = _memory()
        _trim()
        trimmed = _memory()
        ready = self._rss_ready
        return {
            "growth": (now["rss"] - ready["rss"]) / MB,
            "growth_trimmed": (trimmed["rss"] - ready["rss"]) / MB,
            "growth_file": (now["file"] - ready["file"]) / MB,
            "code": (ready["rss"] - self._rss_data) / MB,
        }

    def query(self, kind: str, first: int, count: int, budget: float) -> dict[str, Any]:
        """Time single queries; stop early when `budget` seconds are over (but not before five)."""
        ask = self._asker(kind)
        for number in range(WARM_UP):
            ask(len(self._queries) - 1 - number)
        times: list[float] = []
        ids: list[Any] = []
        begin = time.perf_counter()
        for number in range(first, first + count):
            start = time.perf_counter()
            answer = ask(number)
            now = time.perf_counter()
            times.append(now - start)
            ids.append(self._engine.ids(answer))
            if now - begin > budget and len(times) >= 5:
                break
        return {"times": times, "ids": ids}

    def _asker(self, kind: str) -> Callable[[int], Any]:
        engine, queries = self._engine, self._queries
        if kind == "plain":
            return lambda i: engine.query(queries[i])
        if kind == "shard":
            shards = int(self._shards.max()) + 1
            return lambda i: engine.query_shard(queries[i], i % shards)
        return lambda i: engine.query_contains(queries[i], WORDS[i % len(WORDS)])

    def many(self, count: int) -> dict[str, Any]:
        """Time `count` queries in one call."""
        self._engine.query_many(self._queries[-WARM_UP:])
        start = time.perf_counter()
        answer = self._engine.query_many(self._queries[:count])
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "ids": self._engine.ids_many(answer)}

    def get_all(self) -> dict[str, float]:
        """Time getting every record."""
        start = time.perf_counter()
        count = self._engine.get_all()
        return {"seconds": time.perf_counter() - start, "count": count}

    def add_one(self, first: int, count: int) -> list[float]:
        """Time additions of one record each."""
        if not self._engine.is_store:
            raise UnsupportedError("not a store")
        times = []
        for number in range(first, first + count):
            payload = Payload(
                ids=[f"new.{number}"],
                vectors=self._queries[number : number + 1].copy(),
                documents=[f"a new record, number {number}"],
                metadatas=[{"pos": "new", "lexname": 99, "words": 1, "shard": 99}],
                first=self._spec.records + number,
            )
            start = time.perf_counter()
            self._engine.add_one(payload)
            times.append(time.perf_counter() - start)
        return times

    def close(self) -> None:
        """Close the store."""
        self._engine.close()


def first_answer(name: str, folder: Path, data: Path) -> float:
    """Return the seconds from importing an engine until ten records answer a query."""
    vectors = np.load(data / "vectors.npy", mmap_mode="r")
    records = Records(data, vectors)
    payload = records.take(10)
    records.close()
    folder.mkdir()
    start = time.perf_counter()
    engine = engine_class(name)(folder, vectors.shape[1], 1)
    engine.open(10)
    engine.add(payload)
    engine.query(payload.vectors[0])
    return time.perf_counter() - start


def write_data(folder: Path, dataset: Any) -> None:
    """Write a data set where children read it."""
    np.save(folder / "vectors.npy", dataset.vectors)
    np.save(folder / "queries.npy", dataset.queries)
    np.save(folder / "shards.npy", np.array([m["shard"] for m in dataset.metadatas]))
    with (folder / "records.jsonl").open("w", encoding="utf-8") as lines:
        for record in zip(dataset.ids, dataset.documents, dataset.metadatas, strict=True):
            lines.write(json.dumps(record) + "\n")


def serve(connection: Connection, spec: Spec) -> None:
    """Answer commands until the parent goes away or says close."""
    session: Session | None = None
    for command, arguments in _commands(connection):
        try:
            if command == "start":
                session = Session(spec)
                result: Any = None
            else:
                result = getattr(session, command)(**arguments)
            connection.send(("ok", result))
        except UnsupportedError as error:
            connection.send(("unsupported", str(error)))
        except Exception as error:  # the parent reports it in the engine's column
            connection.send(("failed", f"{type(error).__name__}: {error}"))
    connection.close()
    # Some engines' threads hold up a normal exit.
    os._exit(0)


def _commands(connection: Connection) -> Iterator[tuple[str, dict[str, Any]]]:
    while True:
        try:
            command, arguments = connection.recv()
        except EOFError:
            return
        yield command, arguments
        if command == "close":
            return


def _memory() -> dict[str, int]:
    info = psutil.Process().memory_info()
    # `shared`, where the system has it, is what files mapped into memory take of the RSS.
    return {"rss": info.rss, "file": getattr(info, "shared", 0)}


def _trim() -> None:
    """Return freed memory to the operating system, where the C library can."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
