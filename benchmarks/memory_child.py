"""The measured process of the memory benchmark: one task with one engine, then it ends.

It writes a line of JSON for each step as it goes, so that its parent knows how far it came when the
kernel kills it. Nothing heavy is imported before it has put itself under its limit.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import memory_limit

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.data import Vectors
    from benchmarks.memory_data import Plan

#: chromadb, and chroma_nb with each of its engines (`Settings.index_engine`).
ENGINES = ("chromadb", "hnswlib", "usearch", "turbovec", "exact")
TOP_K = 10
#: Rows per call of chromadb's `add`, which takes no more than 5,461.
BATCH = 5_000
#: Loads timed in one process.
TURNS = 20
MS = 1e3


class TaskError(Exception):
    """The task cannot be done; the text says why."""


class Task:
    """One engine's store and what is done with it: each public method is a task."""

    def __init__(self, given: argparse.Namespace) -> None:
        from benchmarks.memory_data import Plan

        self.plan: Plan = Plan.read(given.data)
        self.engine: str = given.engine
        self._given = given
        self._log = given.log.open("w", encoding="utf-8")
        self._start = time.perf_counter()

    def say(self, **values: Any) -> None:
        """Write one line for the parent, at once."""
        values["at"] = time.perf_counter() - self._start
        self._log.write(json.dumps(values) + "\n")
        self._log.flush()

    def write(self) -> None:
        """Fill a store and, for chroma_nb, complete its graphs."""
        from benchmarks import memory_data

        client = self._open()
        for name, number, size in self.plan.stored(self._given.kind):
            vectors, documents = memory_data.rows(self._given.data, number, size)
            ids = [memory_data.row_id(i) for i in range(size)]
            collection = client.create_collection(
                name, embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
            )
            step = BATCH if self.engine == "chromadb" else size
            for first in range(0, size, step):
                part = slice(first, first + step)
                collection.add(
                    ids=ids[part],
                    embeddings=vectors[part],
                    documents=documents[part],
                    metadatas=[{"shard": i % 11} for i in range(*part.indices(size))],
                )
            if self.engine not in ("chromadb", "exact"):
                collection.build_index()
            self.say(written=name)
        client.close()

    def visit(self) -> None:
        """Query the collections in turn, under a limit."""
        client = self._open()
        collections = {name: self._get(client, name) for name in self.plan.names}
        asked = {name: self._queries(name) for name in self.plan.names}
        self.say(opened=True)
        for turn in range(self.plan.rounds):
            for number, (name, collection) in enumerate(collections.items(), 1):
                self.say(round=turn + 1, collection=number)
                times: list[float] = []
                correct = 0
                first = turn * self.plan.queries
                for query in range(first, first + self.plan.queries):
                    seconds, answer = _timed(_ask(collection, asked[name][0][query]))
                    times.append(seconds * MS)
                    correct += answer["ids"][0][0] == asked[name][1][query]
                self.say(
                    first_ms=times[0],
                    later_ms=times[1:],
                    correct=correct,
                    **memory(),
                )
        client.close()

    def unload(self) -> None:
        """Load one collection and let go of it again."""
        client = self._open()
        # A small collection first: code that is loaded late is not counted as data.
        self._use(client, f"size-{self.plan.ladder[0]}")
        gc.collect()
        self.say(state="opened", **memory())
        name = self._given.collection
        collection = self._get(client, name)
        accounted = None if self.engine == "chromadb" else client.memory.load(name)
        vectors, _ = self._queries(name)
        for vector in vectors:
            _ask(collection, vector)()
        self.say(state="loaded", accounted=accounted, **memory())
        freed = None if self.engine == "chromadb" else collection.unload()
        del collection
        gc.collect()
        self.say(state="unloaded", freed=freed, **memory())
        client.close()
        del client
        gc.collect()
        self.say(state="closed", **memory())

    def first(self) -> None:
        """Time the first answer of this process, and the later ones."""
        client = self._open()
        name = self.plan.pair[0]
        collection = self._get(client, name)
        vectors, _ = self._queries(name)
        cold, *warm = [_timed(_ask(collection, v))[0] * MS for v in vectors]
        client.close()
        self.say(first_ms=cold, warm_ms=statistics.median(warm))

    def reload(self) -> None:
        """Time the first answer after `unload`, and loads that evict another collection."""
        client = self._open()
        both = [self._get(client, name) for name in self.plan.pair]
        vectors = [self._queries(name)[0] for name in self.plan.pair]
        for collection in both:
            _ask(collection, vectors[0][0])()
        unloaded, warm = [], []
        for turn in range(TURNS):
            both[0].unload()
            ask = _ask(both[0], vectors[0][turn % len(vectors[0])])
            unloaded.append(_timed(ask)[0] * MS)
            warm += [_timed(_ask(both[0], v))[0] * MS for v in vectors[0]]
        sizes = [client.memory.load(name) for name in self.plan.pair]
        client.memory.budget = int(1.5 * max(sizes))
        evicting = []
        for turn in range(TURNS):
            name, ask = self.plan.pair[turn % 2], _ask(both[turn % 2], vectors[turn % 2][turn // 2])
            start = time.perf_counter()
            client.memory.load(name)
            ask()
            evicting.append((time.perf_counter() - start) * MS)
        client.close()
        self.say(
            unloaded_ms=statistics.median(unloaded),
            warm_ms=statistics.median(warm),
            evicting_ms=statistics.median(evicting),
        )

    def _open(self) -> Any:
        if self.engine == "chromadb":
            _need("chromadb")
            import chromadb
            from chromadb.config import Settings

            return chromadb.PersistentClient(
                str(self._given.store), settings=Settings(anonymized_telemetry=False)
            )
        if self.engine != "exact":
            _need(self.engine)
        import chroma_nb

        settings = chroma_nb.Settings(
            index_engine=self.engine,
            graph_min_records=self.plan.graph_min_records,
            progress=False,
        )
        return chroma_nb.PersistentClient(str(self._given.store), settings=settings)

    def _get(self, client: Any, name: str) -> Any:
        return client.get_collection(name, embedding_function=None)

    def _queries(self, name: str) -> tuple[Vectors, list[str]]:
        from benchmarks import memory_data

        return memory_data.queries(self._given.data, name)

    def _use(self, client: Any, name: str) -> None:
        collection = self._get(client, name)
        for vector in self._queries(name)[0]:
            _ask(collection, vector)()
        if self.engine != "chromadb":
            collection.unload()


def memory() -> dict[str, int]:
    """Return what this process has in RAM: all of it, and what of it files are mapped."""
    import psutil

    info = psutil.Process().memory_info()
    return {"rss": info.rss, "file": getattr(info, "shared", 0)}


def _ask(collection: Any, vector: Vectors) -> Callable[[], Any]:
    return lambda: collection.query(query_embeddings=[vector], n_results=TOP_K)


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def _need(module: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise TaskError(f"{module} is not installed")


TASKS = {t.__name__: t for t in (Task.write, Task.visit, Task.unload, Task.first, Task.reload)}


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.memory_child", description="One task of benchmarks.memory."
    )
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--engine", choices=ENGINES, required=True)
    parser.add_argument("--data", type=Path, required=True, help="what memory_data.prepare wrote")
    parser.add_argument("--store", type=Path, required=True, help="folder of the engine's store")
    parser.add_argument("--log", type=Path, required=True, help="file for the lines of JSON")
    parser.add_argument("--kind", choices=("parts", "ladder"), default="parts", help="for write")
    parser.add_argument("--collection", help="for unload")
    parser.add_argument("--cgroup-procs", help="the file that takes this process's number")
    parser.add_argument("--data-limit", type=int, help="bytes of RLIMIT_DATA")
    options = parser.parse_args(given)
    if options.task == "unload" and not options.collection:
        parser.error("unload needs --collection")
    if not (options.data / "plan.json").is_file():
        parser.error("--data names no folder with a plan.json")
    if options.task != "write" and not options.store.is_dir():
        parser.error("--store names no folder")
    return options


def main(given: list[str] | None = None) -> int:
    """Do one task; what goes wrong becomes a line in the log and on stderr."""
    options = arguments(given)
    try:
        memory_limit.join(options.cgroup_procs, options.data_limit)
        task = Task(options)
    except (OSError, ValueError, ImportError, MemoryError) as error:
        print(f"memory_child: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    try:
        TASKS[options.task](task)
        task.say(done=True)
    except TaskError as error:
        return _fail(task, str(error))
    except Exception as error:  # the parent reports it in the engine's row
        return _fail(task, f"{type(error).__name__}: {error}")
    return 0


def _fail(task: Task, text: str) -> int:
    line = " ".join(text.split())
    task.say(error=line)
    print(f"memory_child: {line}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
