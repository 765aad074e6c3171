"""This version beside another checkout of chroma_nb: ``python -m benchmarks.versions DIR``.

Both do the same work in turn, each time in a fresh process, on made-up records. Printed is the processor time of each
kind of work, the least of all rounds, and the ratio: above 1 this version takes more. Processor time is of all threads of the
process, with a server's where one is asked; on a machine with other work it is steadier than time by the clock.

`--worse 1.03` ends with status 1 where a ratio is above that.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.checkouts import ROOT, run

if TYPE_CHECKING:
    from collections.abc import Callable

DIMENSION, PIECE, QUERIES = 384, 2_000, 200


class Work:
    """What one process does: `seconds` has the processor time of each kind of work.

    Args:
        folder: Where its stores are.
        records: How many it adds.
    """

    def __init__(self, folder: Path, records: int) -> None:
        import numpy as np

        self.folder, self.n = folder, records
        self.seconds: dict[str, float] = {}
        random = np.random.default_rng(0)
        self.vectors = random.standard_normal((records, DIMENSION), dtype=np.float32)
        self.queries = random.standard_normal((QUERIES, DIMENSION), dtype=np.float32)
        self.ids = [f"id-{row}" for row in range(records)]
        self.documents = [
            f"the {row % 97} bears of river {row} sleep in winter" for row in range(records)
        ]
        self.metadatas = [
            {"n": row, "share": row % 10, "kind": "abc"[row % 3]} for row in range(records)
        ]

    def measure(self, name: str, work: Callable[[], object], server: Any = None) -> None:
        """Note the processor time of some work, with that of a server (a `psutil.Process`)."""
        others = 0.0 if server is None else sum(server.cpu_times()[:2])
        started = time.process_time()
        work()
        taken = time.process_time() - started
        if server is not None:
            taken += sum(server.cpu_times()[:2]) - others
        self.seconds[name] = taken

    def add_all(self, collection: Any) -> None:
        for first in range(0, self.n, PIECE):
            rows = slice(first, first + PIECE)
            collection.add(
                ids=self.ids[rows],
                embeddings=self.vectors[rows],
                documents=self.documents[rows],
                metadatas=self.metadatas[rows],
            )

    def ask(self, collection: Any, **conditions: Any) -> None:
        for query in self.queries:
            collection.query(query_embeddings=query, n_results=10, **conditions)

    def add_singly(self, collection: Any) -> None:
        for row in range(100):
            collection.add(
                ids=[f"single-{row}"], embeddings=self.vectors[row], documents=["a text"]
            )

    def in_process(self) -> None:
        import chroma_nb

        # A graph would be built in the background, whenever the builder gets a core.
        settings = chroma_nb.Settings(progress=False, index_engine="exact")
        client = chroma_nb.PersistentClient(str(self.folder / "exact"), settings)
        collection = client.create_collection("some", embedding_function=None)
        self.measure("add", lambda: self.add_all(collection))
        client.close()
        client = chroma_nb.PersistentClient(str(self.folder / "exact"), settings)
        collection = client.get_collection("some", embedding_function=None)
        first = self.queries[:1]
        self.measure("load: first query", lambda: collection.query(query_embeddings=first))
        self.ask(collection)
        self.measure("query", lambda: self.ask(collection))
        self.measure("query, where", lambda: self.ask(collection, where={"share": 3}))
        contains = {"$contains": "river 12"}
        self.measure("query, $contains", lambda: self.ask(collection, where_document=contains))
        self.measure(
            "queries in a call",
            lambda: collection.query(query_embeddings=self.queries, n_results=10),
        )
        self.measure(
            "get all",
            lambda: collection.get(include=["documents", "metadatas", "embeddings"]),
        )
        self.measure("get by id", lambda: [collection.get(ids=[one]) for one in self.ids[:500]])
        self.measure("add one", lambda: self.add_singly(collection))
        self.measure(
            "update",
            lambda: collection.update(
                ids=self.ids[:PIECE], metadatas=[{"n": -1} for _ in self.ids[:PIECE]]
            ),
        )
        self.measure("delete", lambda: collection.delete(ids=self.ids[:PIECE]))
        client.close()

        settings = chroma_nb.Settings(progress=False, graph_min_records=self.n // 2)
        with chroma_nb.EphemeralClient(settings) as client:
            collection = client.create_collection("some", embedding_function=None)

            def add_and_build() -> None:
                self.add_all(collection)
                collection.build_index()

            # Both together, as a background thread may build the graph meanwhile.
            self.measure("add, build a graph", add_and_build)
            self.ask(collection)
            self.measure("query, graph", lambda: self.ask(collection))

    def over_http(self) -> None:
        import psutil

        import chroma_nb
        from benchmarks.servers import running, start_ours

        home = self.folder / "served"
        home.mkdir()
        arguments = ("--path", str(home / "store"))
        server = start_ours(home, *arguments, CHROMA_NB_INDEX_ENGINE="exact")
        with running(server), chroma_nb.connect(server.url) as client:
            process = psutil.Process(server.process.pid)
            collection = client.create_collection("some", embedding_function=None)
            self.measure("HTTP: add", lambda: self.add_all(collection), process)
            self.ask(collection)
            self.measure("HTTP: query", lambda: self.ask(collection), process)
            self.measure(
                "HTTP: get all",
                lambda: collection.get(include=["documents", "metadatas", "embeddings"]),
                process,
            )


def child(folder: str, records: int) -> None:
    work = Work(Path(folder), records)
    work.in_process()
    with contextlib.suppress(ImportError):
        work.over_http()
    print(json.dumps(work.seconds))


def start_seconds(code: Path) -> float:
    """Return the processor time of a process that imports the package, opens a store and adds a record."""
    script = (
        "import chroma_nb, resource\n"
        "client = chroma_nb.EphemeralClient()\n"
        "client.create_collection('some', embedding_function=None).add(ids=['a'], embeddings=[[1.0, 2.0]])\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print(used.ru_utime + used.ru_stime)\n"
    )
    return float(run(code, "-c", script))


def main() -> None:
    """Measure both versions in turn, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path, help="a checkout of another version")
    parser.add_argument("now", type=Path, nargs="?", default=ROOT, help="this one, if not given")
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--worse", type=float, default=0.0, help="the highest ratio that passes")
    given = parser.parse_args()
    versions = {"before": given.before.resolve(), "now": given.now.resolve()}
    found: dict[str, dict[str, list[float]]] = {name: {} for name in versions}
    for turn in range(given.rounds):
        order = list(versions) if turn % 2 else list(versions)[::-1]
        for name in order:
            folder = tempfile.mkdtemp()
            code = versions[name]
            seconds = {"start": start_seconds(code)}
            said = run(code, "-m", "benchmarks.versions", "--child", folder, str(given.records))
            seconds |= json.loads(said.splitlines()[-1])
            for kind, one in seconds.items():
                found[name].setdefault(kind, []).append(one)
            shutil.rmtree(folder)
    print("| | before, s | now, s | ratio |\n| --- | ---: | ---: | ---: |")
    worst = 0.0
    for kind, times in found["now"].items():
        before, now = min(found["before"][kind]), min(times)
        worst = max(worst, now / before)
        print(f"| {kind} | {before:.3f} | {now:.3f} | {now / before:.2f} |")
    if given.worse and worst > given.worse:
        raise SystemExit(f"{worst:.2f} is above {given.worse}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], int(sys.argv[3]))
    else:
        main()
