"""Measure HTTP beside Arrow Flight: ``python -m benchmarks.transports``.

One process serves one store over both, and one client asks over one and then the other, round by round, so that what else
the machine does meets both. Chroma's server, with its own client, is measured in the same rounds, and a store in the client's
own process: what a transport cannot be faster than.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

import chroma_nb
from benchmarks import data
from benchmarks.machine import machine
from benchmarks.saying import say
from benchmarks.servers import HAS_CHROMA, Running, free_port, running, start_chromas, start_ours

if TYPE_CHECKING:
    from collections.abc import Callable

RESULTS = Path(__file__).parent / "transports_results.json"
NAME = "glosses"
#: Records sent in one call.
BATCH = 5_000
#: Queries of a call that asks many.
QUERIES = 500
#: Threads that ask at the same time.
THREADS = 8
#: Results of a query.
K = 10
#: In each round everything is read, and questions are asked, so often over each: what else the machine does lasts seconds.
PASSES = 5
#: The lines of the table: figure -> what it is, and whether less is better.
LINES = {
    "add": ("records added a second", False),
    "get": ("everything read with `get()`, records a second", False),
    "get_growth": ("... growth of the server's memory meanwhile, MB", True),
    "arrow": ("everything read with `to_arrow()`, records a second", False),
    "arrow_growth": ("... growth of the server's memory meanwhile, MB", True),
    "query": ("one query after the other, median, ms", True),
    "batch": (f"{QUERIES} queries in one call, ms", True),
    "threads": (f"{THREADS} threads, queries a second", False),
}
#: What Chroma's client has, too.
OF_CHROMAS = ("add", "get", "query", "batch", "threads")
#: What a store without a server has.
IN_PROCESS = tuple(name for name in LINES if not name.endswith("growth"))


@dataclass
class Transport:
    """A way to a server, and what was measured of it: figure -> its value of each round."""

    name: str
    server: Running | None
    connect: Callable[[], Any]
    lines: tuple[str, ...] = tuple(LINES)
    found: dict[str, list[float]] = field(default_factory=dict)
    client: Any = None
    collection: Any = None

    def note(self, name: str, value: float) -> None:
        self.found.setdefault(name, []).append(value)

    def rows_a_second(self, name: str, n_rows: int, work: Callable[[], object]) -> None:
        started = time.perf_counter()
        work()
        self.note(name, n_rows / (time.perf_counter() - started))

    def median(self, name: str) -> float:
        return statistics.median(self.found[name])


def add(transport: Transport, records: data.Dataset) -> None:
    """Write everything into a new collection."""
    with contextlib.suppress(Exception):
        transport.client.delete_collection(NAME)
    collection = transport.collection = transport.client.create_collection(
        NAME, embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
    )

    def work() -> None:
        for at in range(0, len(records), BATCH):
            rows = slice(at, at + BATCH)
            collection.add(
                ids=records.ids[rows],
                embeddings=records.vectors[rows],
                documents=records.documents[rows],
                metadatas=records.metadatas[rows],
            )

    transport.rows_a_second("add", len(records), work)
    assert collection.count() == len(records)


def read(transport: Transport, records: data.Dataset) -> None:
    """Read everything, as lists and as a table."""

    include = ["embeddings", "documents", "metadatas"]

    def get() -> None:
        n_found = 0
        # Chroma's server takes no more than some thousands at a time.
        step = BATCH if transport.name == "Chroma's" else len(records)
        for at in range(0, len(records), step):
            found = transport.collection.get(include=include, limit=step, offset=at)
            n_found += len(found["ids"])
        assert n_found == len(records)

    def to_arrow() -> None:
        assert transport.collection.to_arrow().num_rows == len(records)

    for name, work in (("get", get), ("arrow", to_arrow)):
        if name in transport.lines:
            with _growth(transport, f"{name}_growth"):
                transport.rows_a_second(name, len(records), work)


def ask(transport: Transport, records: data.Dataset, n_queries: int) -> None:
    """Ask one query after the other, many in one call, and from threads."""
    queries = np.resize(records.queries, (max(QUERIES, n_queries), records.queries.shape[1]))
    collection = transport.collection

    def query(row: int) -> None:
        collection.query(query_embeddings=[queries[row]], n_results=K)

    for row in range(10):
        query(row)
    times = []
    for row in range(n_queries):
        started = time.perf_counter()
        query(row)
        times.append(time.perf_counter() - started)
    transport.note("query", statistics.median(times) * 1e3)
    started = time.perf_counter()
    collection.query(query_embeddings=queries[:QUERIES], n_results=K)
    transport.note("batch", (time.perf_counter() - started) * 1e3)

    def many() -> None:
        threads = [
            threading.Thread(target=lambda: [query(row) for row in range(n_queries)])
            for _ in range(THREADS)
        ]
        for one in threads:
            one.start()
        for one in threads:
            one.join()

    transport.rows_a_second("threads", THREADS * n_queries, many)


@contextlib.contextmanager
def _growth(transport: Transport, name: str) -> Any:
    """Note by how much the server's memory grows in the block at most, MB; Linux alone says it."""
    server = transport.server
    if server is None or name not in transport.lines:
        yield
        return
    status = Path(f"/proc/{server.process.pid}/status")
    if not status.exists():
        yield
        return
    (status.parent / "clear_refs").write_text("5")
    before = psutil.Process(server.process.pid).memory_info().rss
    yield
    (peak,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    transport.note(name, (int(peak.split()[1]) * 1024 - before) / 1e6)


def measure(records: data.Dataset, rounds: int, n_queries: int) -> list[Transport]:
    """Measure all transports, in turn."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "ours").mkdir()
        (folder / "chromas").mkdir()
        port = free_port()
        ours = start_ours(
            folder / "ours",
            f"--path={folder / 'ours' / 'store'}",
            f"--flight-port={port}",
            "--log-level=warning",
        )
        stack.enter_context(running(ours))
        transports = [
            Transport("HTTP", ours, lambda: chroma_nb.connect(ours.url)),
            Transport("Flight", ours, lambda: chroma_nb.connect(f"grpc://127.0.0.1:{port}")),
        ]
        if HAS_CHROMA:
            theirs = start_chromas(folder / "chromas")
            stack.enter_context(running(theirs))
            transports.append(Transport("Chroma's", theirs, lambda: _chromas(theirs), OF_CHROMAS))
        near = stack.enter_context(chroma_nb.PersistentClient(folder / "near"))
        transports.append(Transport("in process", None, lambda: near, IN_PROCESS))
        for one in transports:
            one.client = one.connect()
        for number in range(rounds):
            for one in transports:
                say(f"round {number + 1} of {rounds}: {one.name}")
                add(one, records)
                if one.name != "Chroma's":
                    # Its graph is there when add returns; ours is built beside, and waited for here.
                    one.collection.build_index()
            for one in transports:
                if one.name != "Chroma's":
                    # The other transport has written the collection anew.
                    one.collection = one.client.get_collection(NAME, embedding_function=None)
            for _ in range(PASSES):
                for one in transports:
                    read(one, records)
                    ask(one, records, n_queries // PASSES)
    return transports


def _chromas(server: Running) -> Any:
    import chromadb

    return chromadb.HttpClient(port=server.port)


def table(transports: list[Transport]) -> str:
    """Return the figures as a table in Markdown; the ratios say how many times as good Flight is."""
    http, flight, *others = transports
    heads = [one.name for one in transports]
    heads += [f"{flight.name} : {one.name}" for one in (http, *others)]
    lines = [f"| | {' | '.join(heads)} |", "| --- |" + " ---: |" * len(heads)]
    for name, (what, less) in LINES.items():
        if name not in flight.found:
            continue
        values = [one.median(name) if name in one.found else None for one in transports]
        ratios = []
        for other in (http, *others):
            if name not in other.found or name.endswith("growth"):
                ratios.append("")
                continue
            a, b = flight.median(name), other.median(name)
            ratios.append(f"{b / a if less else a / b:.2f} x")
        shown = ["" if one is None else f"{one:,.{2 if name == 'query' else 0}f}" for one in values]
        lines.append(f"| {what} | {' | '.join([*shown, *ratios])} |")
    return "\n".join(lines)


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    data.add_arguments(parser)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="few records, one round")
    options = parser.parse_args(given)
    if options.quick:
        transports = measure(data.synthetic(2_000), 1, 20)
    else:
        records = data.load(50_000 - data.QUERIES, options.data, options.wordnet)
        transports = measure(records, options.rounds, 300)
        results = {
            "machine": machine(),
            "records": len(records),
            "transports": {one.name: one.found for one in transports},
        }
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(table(transports))


if __name__ == "__main__":
    main()
