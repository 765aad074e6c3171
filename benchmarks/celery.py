"""What workers cost and how soon they notice: ``python -m benchmarks.celery [texts] [graph records]``.

Real brokers (RabbitMQ and Redis, as Debian has them) on loopback, and workers on the same machine. So it says what the way
through a broker costs, not what other machines' cores gain.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

import chroma_nb
from chroma_nb.embedding import DefaultEmbeddingFunction, embed_documents
from chroma_nb.embedding._minilm import find_minilm
from chroma_nb.tasks.line import Line
from tests.support.brokers import PROGRAMS, Broker, Worker, missing, running_broker, running_worker
from tests.support.slow_functions import Slow

if TYPE_CHECKING:
    from collections.abc import Iterator

SLOW = ("--functions", "tests.support.slow_functions")
ROUNDS = 3
WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "while",
    "it",
    "rains",
    "on",
    "hills",
    "of",
    "green",
    "grass",
]


def texts_of(n: int) -> list[str]:
    random = np.random.default_rng(1)
    return [" ".join(random.choice(WORDS, 12 + int(random.integers(20)))) for _ in range(n)]


@contextlib.contextmanager
def client_of(broker: str, **values: Any) -> Iterator[Any]:
    settings = chroma_nb.Settings(
        api="celery", celery_broker=broker, progress=False, index_engine="usearch", **values
    )
    with chroma_nb.Client(settings) as client:
        yield client


def say(what: str, value: str) -> None:
    print(f"| {what} | {value} |", flush=True)


def overhead(kind: str, broker: Broker, folder: Path, n: int) -> None:
    """Embed with MiniLM here and in one worker, by turns: the ratio of the shortest times, and of the processor's."""
    texts, function = texts_of(n), DefaultEmbeddingFunction()
    with (
        running_worker(broker.url, folder / "overhead.log", "--nice", "0") as worker,
        client_of(broker.url) as client,
    ):
        (at_work,) = (psutil.Process(one.pid) for one in worker.children())

        def used() -> float:
            """Return the processor's time of this process and the one that computes, which a busy machine does not change."""
            found = at_work.cpu_times()
            return time.process_time() + found.user + found.system

        client.api.embed(function, texts[:256], lambda n: None)
        embed_documents(function, texts[:256])
        times: dict[str, list[float]] = {"here": [], "there": []}
        work: dict[str, list[float]] = {"here": [], "there": []}
        for _ in range(ROUNDS):
            for name in times:
                started, before = time.perf_counter(), used()
                if name == "here":
                    here = embed_documents(function, texts)
                else:
                    there = client.api.embed(function, texts, lambda n: None)
                times[name].append(time.perf_counter() - started)
                work[name].append(used() - before)
        ratios = [min(one["there"]) / min(one["here"]) for one in (times, work)]
        rates = (f"{n / min(one):.0f}" for one in times.values())
        say(
            f"{kind}: MiniLM, {n:,} texts, in a worker against in process",
            f"{ratios[1]:.2f} x the processor's time, {ratios[0]:.2f} x the time "
            f"({' and '.join(rates)} texts/s here and there)",
        )
        say(f"{kind}: vectors that differ in a bit", f"{int((here != there).any(axis=1).sum())}")


def killed(kind: str, broker: Broker, folder: Path) -> None:
    """Kill a worker in the middle of a piece; how long until another one begins it?"""
    began: list[tuple[float, int]] = []
    receive = Line.receive

    def watched(self: Line, seconds: float) -> Any:
        found = receive(self, seconds)
        for _, state, result in found:
            if state == "STARTED":
                began.append((time.monotonic(), int(result["pid"])))
        return found

    Line.receive = watched  # type: ignore[method-assign]
    took = []
    try:
        for turn in range(ROUNDS):
            began.clear()
            workers = [
                Worker(broker.url, folder / f"killed{turn}{one}.log", SLOW) for one in range(2)
            ]
            with client_of(broker.url) as client:
                for one in workers:
                    one.start()
                thread = threading.Thread(
                    target=client.api.embed, args=(Slow(0.03), texts_of(100), lambda n: None)
                )
                thread.start()
                while not began:
                    time.sleep(0.01)
                time.sleep(0.5)
                victim = next(
                    one for one in workers if began[0][1] in [c.pid for c in one.children()]
                )
                at = time.monotonic()
                victim.stop()
                thread.join()
                again = [when - at for when, pid in began if pid != began[0][1]]
                took.append(again[0] if again else float("nan"))
            for one in workers:
                one.stop()
    finally:
        Line.receive = receive  # type: ignore[method-assign]
    say(f"{kind}: a killed worker's piece begins again after", f"{spread(took)} s")


def interrupted(kind: str, broker: Broker, folder: Path) -> None:
    """Interrupt an embedding; how long until the call has ended, and until the worker has dropped its piece?"""
    ended, dropped = [], []
    with (
        running_worker(broker.url, folder / "interrupted.log", *SLOW) as worker,
        client_of(broker.url) as client,
    ):
        for _ in range(ROUNDS):
            at = [0.0]

            def stop(n: int, at: list[float] = at) -> None:
                # Until it is at the next piece.
                time.sleep(0.5)
                at[0] = time.monotonic()
                raise KeyboardInterrupt

            before = {one.pid for one in worker.children()}
            with contextlib.suppress(KeyboardInterrupt):
                client.api.embed(Slow(0.005), texts_of(256 * 3), stop)
            ended.append(time.monotonic() - at[0])
            while before & {one.pid for one in worker.children() if one.status() != "zombie"}:
                assert time.monotonic() - at[0] < 30, "the piece was not dropped"
                time.sleep(0.005)
            dropped.append(time.monotonic() - at[0])
            time.sleep(1)
    say(f"{kind}: an interrupted call ends after", f"{spread(ended)} s")
    say(f"{kind}: ... and the worker has dropped its piece after", f"{spread(dropped)} s")


def dead(kind: str, broker: Broker, folder: Path) -> None:
    """Kill the broker between two calls and in the middle of one; how long until a warning says so?"""
    with running_worker(broker.url, folder / "dead.log", *SLOW), client_of(broker.url) as client:
        noticed: list[float] = []
        show = warnings.showwarning
        warnings.showwarning = lambda *_, **__: noticed.append(time.monotonic())  # type: ignore[assignment]
        warnings.simplefilter("always")
        try:

            def cut() -> None:
                while not client.workers.report().pieces_in_flight:
                    time.sleep(0.01)
                time.sleep(0.5)
                at.append(time.monotonic())
                broker.stop()

            at: list[float] = []
            thread = threading.Thread(target=cut)
            thread.start()
            client.api.embed(Slow(0.01), texts_of(600), lambda n: None)
            thread.join()
            say(
                f"{kind}: a broker killed in the middle of a call is noticed after",
                f"{noticed[0] - at[0]:.2f} s",
            )
        finally:
            warnings.showwarning = show
    with client_of(broker.url, celery_fallback=False) as client:
        started = time.monotonic()
        with contextlib.suppress(chroma_nb.errors.ServerUnavailableError):
            client.api.embed(Slow(), texts_of(600), lambda n: None)
        say(f"{kind}: a broker that is not there", f"{time.monotonic() - started:.2f} s")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = broker.url.replace(str(broker.port), str(silent.getsockname()[1]))
        with client_of(url, celery_fallback=False) as client:
            started = time.monotonic()
            with contextlib.suppress(chroma_nb.errors.ServerUnavailableError):
                client.api.embed(Slow(), texts_of(600), lambda n: None)
            say(
                f"{kind}: one that takes connections and says nothing",
                f"{time.monotonic() - started:.2f} s",
            )
    broker.start()


def building(broker: Broker, folder: Path, n: int) -> None:
    """Query one collection while the graph of another is built: by a worker, and in this process."""
    random = np.random.default_rng(1)
    centres = random.normal(size=(500, 384))
    large = centres[random.integers(500, size=n)] + 0.5 * random.normal(size=(n, 384))
    found: dict[str, tuple[float, float, float]] = {}
    for name in ("worker", "process"):
        stores = folder / name
        stores.mkdir()
        with contextlib.ExitStack() as opened:
            if name == "worker":
                arguments = ("--stores", str(stores))
                opened.enter_context(running_worker(broker.url, folder / "graph.log", *arguments))
                client = opened.enter_context(client_of(broker.url, path=str(stores / "store")))
            else:
                settings = chroma_nb.Settings(
                    path=str(stores / "store"), progress=False, index_engine="usearch"
                )
                client = opened.enter_context(chroma_nb.Client(settings))
            small = client.create_collection("small", embedding_function=None)
            small.add(ids=[str(i) for i in range(10_000)], embeddings=large[:10_000])
            small.build_index()
            quiet = p99_of(small, large, lambda done: done >= 3_000)
            notes = client.create_collection("large", embedding_function=None)
            notes.add(ids=[str(i) for i in range(n)], embeddings=large)
            started = time.monotonic()
            builder = threading.Thread(target=notes.build_index)
            builder.start()
            busy = p99_of(small, large, lambda done, one=builder: not one.is_alive())
            builder.join()
            found[name] = (quiet, busy, time.monotonic() - started)
    for name, (quiet, busy, seconds) in found.items():
        say(
            f"query p99 while a graph of {n:,} x 384 is built in a {name}",
            f"{busy:.1f} ms, {busy / quiet:.1f} x quiet ({quiet:.1f} ms); built in {seconds:.0f} s",
        )


def p99_of(collection: Any, vectors: Any, is_done: Any) -> float:
    took: list[float] = []
    while not is_done(len(took)):
        query = vectors[len(took) % 1_000][None].astype(np.float32)
        started = time.perf_counter()
        collection.query(query_embeddings=query, n_results=10, include=["distances"])
        took.append(time.perf_counter() - started)
    return float(np.percentile(took, 99) * 1e3)


def spread(values: list[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    n_graph = int(sys.argv[2]) if len(sys.argv) > 2 else 50_000
    warnings.simplefilter("ignore")
    print("| what | measured |\n| --- | --- |")
    for kind in PROGRAMS:
        if why := missing(kind):
            say(kind, why)
            continue
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            with running_broker(kind, folder / "broker") as broker:
                if find_minilm() is not None and n:
                    overhead(kind, broker, folder, n)
                killed(kind, broker, folder)
                interrupted(kind, broker, folder)
                dead(kind, broker, folder)
                if kind == "rabbitmq" and n_graph:
                    building(broker, folder, n_graph)


if __name__ == "__main__":
    main()
