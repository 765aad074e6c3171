"""Measure chroma_nb's server beside Chroma's: ``python -m benchmarks.server``.

Both serve the same records to the same clients, one after the other, on one machine: rows added per
second, latency of a query, queries per second with 1, 8 and 32 clients (processes of their own), memory.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks import data
from benchmarks.machine import machine
from benchmarks.saying import say
from benchmarks.servers import Running, running, start_chromas, start_ours

#: Records sent in one call.
BATCH = 5_000
CLIENTS = (1, 8, 32)
K = 10
NAME = "glosses"
#: Whose client asks: the same one on both servers.
ASKERS = ("chromadb", "chroma_nb")
RESULTS = Path(__file__).parent / "server_results.json"


@dataclass
class Figures:
    """What was measured of one server."""

    server: str
    version: str = ""
    #: By client: rows per second until the last call returned.
    add_rows: dict[str, float] = field(default_factory=dict)
    #: By client: median and 95th percentile of one query after the other, ms.
    query_p50: dict[str, float] = field(default_factory=dict)
    query_p95: dict[str, float] = field(default_factory=dict)
    #: By client: number of clients -> queries per second.
    throughput: dict[str, dict[str, float]] = field(default_factory=dict)
    recall: float = 0.0
    #: Resident memory of the server, MB: empty, and after everything.
    empty_mb: float = 0.0
    full_mb: float = 0.0


def client_of(kind: str, port: int) -> Any:
    """Return a client of a server on this machine."""
    if kind == "chromadb":
        import chromadb

        return chromadb.HttpClient(port=port)
    import chroma_nb

    return chroma_nb.connect(f"http://127.0.0.1:{port}")


def start(server: str, folder: Path) -> Running:
    """Start a server that keeps its records in the folder."""
    if server == "chromadb":
        return start_chromas(folder)
    return start_ours(folder, "--path", str(folder / "store"), "--log-level", "warning")


def measure(
    server: str,
    records: data.Dataset,
    seconds: float,
    askers: tuple[str, ...],
    clients: tuple[int, ...] = CLIENTS,
) -> Figures:
    """Measure one server."""
    found = Figures(server)
    truth = _truth(records.vectors, records.queries[:200])
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        np.save(folder / "queries.npy", records.queries)
        process = stack.enter_context(running(start(server, folder)))
        found.empty_mb = _rss(process)
        for kind in askers:
            client = client_of(kind, process.port)
            found.version = str(client.get_version())
            with contextlib.suppress(Exception):
                client.delete_collection(NAME)
            found.add_rows[kind] = _add(client, records)
            say(f"{server}: {kind} adds {found.add_rows[kind]:,.0f} rows/s")
        collection = client.get_collection(NAME, embedding_function=None)
        _wait_for_the_graph(server, process.port)
        hits = 0
        for vector, nearest in zip(records.queries, truth, strict=False):
            ids = collection.query(query_embeddings=[vector], n_results=K)["ids"][0]
            hits += len(set(ids) & {records.ids[row] for row in nearest})
        found.recall = hits / truth.size
        for kind in askers:
            found.throughput[kind] = {}
            for n_clients in clients:
                each = _ask(kind, process.port, folder / "queries.npy", n_clients, seconds)
                total = sum(len(times) for times in each) / seconds
                found.throughput[kind][str(n_clients)] = total
                if n_clients == 1:
                    found.query_p50[kind] = statistics.median(each[0])
                    found.query_p95[kind] = float(np.percentile(each[0], 95))
                say(f"{server}: {n_clients} of {kind}'s clients get {total:,.0f} queries/s")
        found.full_mb = _rss(process)
    return found


def _add(client: Any, records: data.Dataset) -> float:
    collection = client.create_collection(
        NAME, embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
    )
    started = time.perf_counter()
    for at in range(0, len(records), BATCH):
        rows = slice(at, at + BATCH)
        collection.add(
            ids=records.ids[rows],
            embeddings=records.vectors[rows],
            documents=records.documents[rows],
            metadatas=records.metadatas[rows],
        )
    elapsed = time.perf_counter() - started
    assert collection.count() == len(records)
    return len(records) / elapsed


def _wait_for_the_graph(server: str, port: int) -> None:
    """Chroma's graph is there when add returns; ours is built beside, and waited for here."""
    if server == "chroma_nb":
        with client_of("chroma_nb", port) as client:
            client[NAME].build_index()


def _ask(kind: str, port: int, queries: Path, n_clients: int, seconds: float) -> list[list[float]]:
    """Let clients ask at the same time; return each one's latencies, ms."""
    command = [sys.executable, "-m", "benchmarks.server", "--ask", kind, str(port), str(queries)]
    clients = [
        subprocess.Popen(
            [*command, str(number), str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(n_clients)
    ]
    for one in clients:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in clients:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    return [json.loads(one.communicate()[0]) for one in clients]


def ask(kind: str, port: int, queries: str, number: int, seconds: float) -> None:
    """Be one of the clients: wait for the word, ask for some seconds, print the latencies."""
    vectors = np.load(queries)
    collection = client_of(kind, port).get_collection(NAME, embedding_function=None)
    order = np.random.default_rng(number).permutation(len(vectors))
    for row in order[:20]:
        collection.query(query_embeddings=[vectors[row]], n_results=K)
    print("ready", flush=True)
    sys.stdin.readline()
    times = []
    end = time.perf_counter() + seconds
    while (started := time.perf_counter()) < end:
        row = order[len(times) % len(order)]
        collection.query(query_embeddings=[vectors[row]], n_results=K)
        times.append(round((time.perf_counter() - started) * 1e3, 4))
    print(json.dumps(times))


def _truth(vectors: data.Vectors, queries: data.Vectors) -> np.ndarray[Any, Any]:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.argsort(-(queries @ unit.T), axis=1)[:, :K]


def _rss(server: Running) -> float:
    return psutil.Process(server.process.pid).memory_info().rss / 1e6


def table(results: dict[str, Any]) -> str:
    """Return the figures as a table in Markdown."""
    ours, theirs = (results["servers"][name] for name in ("chroma_nb", "chromadb"))
    lines = [
        "| | Chroma's server | chroma_nb's server | ratio |",
        "| --- | ---: | ---: | ---: |",
    ]

    def line(what: str, a: float, b: float, *, less: bool = False, digits: int = 0) -> None:
        ratio = a / b if less else b / a
        lines.append(f"| {what} | {a:,.{digits}f} | {b:,.{digits}f} | {ratio:.1f} x |")

    for kind in theirs["query_p50"]:
        whose = f"{kind}'s client"
        line(f"{whose}: rows added per second", theirs["add_rows"][kind], ours["add_rows"][kind])
        for name, label in (("query_p50", "p50"), ("query_p95", "p95")):
            a, b = theirs[name][kind], ours[name][kind]
            line(f"{whose}: one query, {label}, ms", a, b, less=True, digits=2)
        for n, a in theirs["throughput"][kind].items():
            b = ours["throughput"][kind][n]
            line(f"{whose}: queries per second, {n} client{'s' * (n != '1')}", a, b)
    line("memory of the server, MB", theirs["full_mb"], ours["full_mb"], less=True)
    lines.append(f"| recall@10 | {theirs['recall']:.4f} | {ours['recall']:.4f} | |")
    return "\n".join(lines)


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    data.add_arguments(parser)
    parser.add_argument("--seconds", type=float, default=8.0, help="how long clients ask")
    parser.add_argument("--quick", action="store_true", help="few records, little time")
    parser.add_argument("--ask", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args(given)
    if options.ask is not None:
        kind, port, queries, number, seconds = options.ask
        ask(kind, int(port), queries, int(number), float(seconds))
        return
    if options.quick:
        records, seconds, clients = data.synthetic(6_000), 0.5, (1, 2)
    else:
        clients = CLIENTS
        records = data.load(49_000, options.data, options.wordnet)
        seconds = options.seconds
    servers = {
        name: asdict(measure(name, records, seconds, ASKERS, clients))
        for name in ("chromadb", "chroma_nb")
    }
    results = {
        "machine": machine(),
        "records": len(records),
        "data": records.name,
        "servers": servers,
    }
    if not options.quick:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
