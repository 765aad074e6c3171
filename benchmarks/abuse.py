"""Measure the worst requests that a server still accepts: ``python -m benchmarks.abuse``.

A tenant sends, one after the other, the dearest requests that the limits allow, each for some seconds. Another
tenant asks for the nearest ten all the time. Said of each: how long one takes, how far the server's memory
rises, and what the other's queries take against a server without such company.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import chroma_nb as chroma
from benchmarks.machine import machine
from benchmarks.servers import running, start_ours
from chroma_nb.errors import ChromaError
from chroma_nb.settings import Settings

DIMENSION = 64
MB = 1_000_000


def requests() -> dict[str, dict[str, Any]]:
    """Return arguments of `get` and `query` that are just within the limits."""
    limits = Settings()
    n, depth, length = (
        limits.max_filter_conditions,
        limits.max_filter_depth,
        limits.max_pattern_length,
    )
    deep: dict[str, Any] = {"n": 1}
    for _ in range(depth):
        deep = {"$or": [deep, {"n": 1}]}
    vectors = np.random.default_rng(1).standard_normal((1_000, DIMENSION)).astype(np.float32)
    return {
        f"{n:,} conditions on as many keys": {"where": {"$or": [{f"k{i}": i} for i in range(n)]}},
        f"{n:,} texts in documents": {
            "where_document": {"$or": [{"$contains": f"zz{i}"} for i in range(n)]}
        },
        f"{n // 10:,} regular expressions": {
            "where_document": {"$or": [{"$regex": f"z+{i}x*y"} for i in range(n // 10)]}
        },
        f"one regular expression of {length:,} characters": {
            "where_document": {"$regex": ".*a" * (length // 3)}
        },
        "negated classes in a class": {"where_document": {"$regex": r"[\W\W\W\W\W\W\W]{9}"}},
        f"a filter {depth:,} deep": {"where": deep},
        "1,000 queries of 100 results": {"query_embeddings": vectors, "n_results": 100},
        "an id list of 100,000": {"ids": [f"no such id {i}" for i in range(100_000)]},
    }


def measure(
    url: str, tokens: dict[str, str], seconds: float, n_records: int
) -> list[tuple[str, ...]]:
    """Return the rows of the table."""
    rng = np.random.default_rng(0)
    collections = {}
    for name, token in tokens.items():
        client = chroma.connect(url, token=token)
        docs = client.create_collection("docs", embedding_function=None)
        docs.add(
            ids=[str(i) for i in range(n_records)],
            embeddings=rng.standard_normal((n_records, DIMENSION)).astype(np.float32),
            metadatas=[{"n": i, "s": str(i)} for i in range(n_records)],
            documents=[
                f"some text number {i} of words, twice as long as that" for i in range(n_records)
            ],
        )
        docs.build_index()
        collections[name] = docs
    server = next(
        one
        for one in psutil.process_iter(["cmdline"])
        if "chroma_nb" in (one.info["cmdline"] or []) and "run" in one.info["cmdline"]
    )
    quiet = _p99(collections["other"], lambda: False, seconds)
    rows = [("nothing", "", "", f"{quiet:.1f}", "1.0 x")]
    for what, arguments in requests().items():
        ended = threading.Event()
        before = server.memory_info().rss
        peak, times, answers = [before], [], []

        def send(
            arguments: dict[str, Any] = arguments,
            times: list[float] = times,
            answers: list[str] = answers,
            ended: threading.Event = ended,
        ) -> None:
            until = time.monotonic() + seconds
            while not times or time.monotonic() < until:
                started = time.monotonic()
                try:
                    method = "query" if "query_embeddings" in arguments else "get"
                    getattr(collections["hostile"], method)(include=[], **arguments)
                    answers.append("")
                except ChromaError as error:
                    answers.append(type(error).__name__)
                times.append(time.monotonic() - started)
            ended.set()

        thread = threading.Thread(target=send)
        thread.start()

        def is_over(peak: list[int] = peak, ended: threading.Event = ended) -> bool:
            peak.append(server.memory_info().rss)
            return ended.is_set()

        p99 = _p99(collections["other"], is_over, 600)
        thread.join()
        refused = next((one for one in answers if one), "")
        took = f"{max(times):.2f}" + (f" ({refused})" if refused else "")
        rows.append(
            (what, took, f"{(max(peak) - before) / MB:.0f}", f"{p99:.1f}", f"{p99 / quiet:.1f} x")
        )
    return rows


def _p99(docs: Any, is_over: Any, seconds: float) -> float:
    """Return the 99th percentile of a tenant's queries, ms."""
    rng = np.random.default_rng(2)
    times = []
    until = time.monotonic() + seconds
    while not (is_over() if seconds == 600 else time.monotonic() > until):
        query = rng.standard_normal(DIMENSION).astype(np.float32)
        started = time.perf_counter()
        docs.query(query_embeddings=query, n_results=10)
        times.append(1e3 * (time.perf_counter() - started))
    return float(np.percentile(times, 99)) if times else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--records", type=int, default=20_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokens = {}
        for user in ("hostile", "other"):
            tokens[user] = _token(folder / "auth.json", user)
        with running(start_ours(folder, "--auth", str(folder / "auth.json"))) as server:
            rows = measure(server.url, tokens, options.seconds, options.records)
    print(f"{options.records:,} records of each tenant; {machine()}\n")
    print(
        "| a tenant sends | slowest, s | memory, + MB | another tenant's query, p99, ms | against quiet |"
    )
    print("| --- | ---: | ---: | ---: | ---: |")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def _token(file: Path, user: str) -> str:
    import subprocess

    command = [sys.executable, "-m", "chroma_nb", "auth", "add", str(file), user, "--tenant", user]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
