"""What checksums cost: ``python -m benchmarks.sums BEFORE AFTER`` compares two checkouts of chroma_nb.

Each round opens both, one after the other and each in a process of its own, on stores of their own with the
same records; so what else the machine does meets both. Printed are medians of the time on the clock and of
the processor's, which a busy machine disturbs less, and their ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.checkouts import run

N, DIMENSION = 100_000, 384
MORE = 20_000
ADDS = 200


def vectors(seed: int, n: int) -> np.ndarray:
    found = np.random.default_rng(seed).standard_normal((n, DIMENSION)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def open_store(path: str, graph: bool) -> Any:
    import chroma_nb

    settings = chroma_nb.Settings(
        graph_min_records=1_000 if graph else 10**9, memory_budget="2 GB", progress=False
    )
    return chroma_nb.PersistentClient(path, settings)


def make(path: str, n: int) -> None:
    with open_store(path, True) as client:
        notes = client.create_collection(
            "notes", embedding_function=None, configuration={"hnsw": {"ef_construction": 40}}
        )
        rows = vectors(0, n)
        for start in range(0, n, 20_000):
            piece = rows[start : start + 20_000]
            ids = [f"id-{i}" for i in range(start, start + len(piece))]
            notes.add(ids=ids, embeddings=piece, documents=[f"document {one}" for one in ids])
        notes.build_index()


Times = tuple[float, float]


def timed(call: Any) -> Times:
    clock, processor = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - clock, time.process_time() - processor


def medians(found: list[Times]) -> Times:
    clock, processor = zip(*found, strict=True)
    return statistics.median(clock), statistics.median(processor)


def leave_to_the_disk(path: str) -> None:
    """Have the system forget what it has in memory of a folder's files: as after a restart of the machine."""
    for one in Path(path).rglob("*"):
        if one.is_file() and hasattr(os, "posix_fadvise"):
            with one.open("r+b") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(path: str) -> dict[str, Times]:
    query = vectors(1, 21)
    times: dict[str, Times] = {}
    for name, saved, graph in (
        ("load from the records, first exact query", False, False),
        ("load from a snapshot, first exact query", True, False),
        ("the same, nothing of it in memory", True, False),
        ("load with its graph, first query", True, True),
    ):
        if "nothing" in name:
            leave_to_the_disk(path)
        if not saved:
            for one in Path(path, "indexes").glob("*.segment"):
                one.unlink()
        with open_store(path, graph) as client:
            notes = client.get_collection("notes", embedding_function=None)
            times[name] = timed(lambda n=notes: n.query(query_embeddings=query[0], n_results=10))
            # A graph's neighbours are anywhere: its first queries look at blocks that are new.
            for when in ("next ones", "again"):
                found = [
                    timed(lambda n=notes, at=at: n.query(query_embeddings=query[at], n_results=10))
                    for at in range(1, 21)
                ]
                what = "graph" if graph else "exact"
                times[f"{what} query, {when}"] = medians(found)
    with tempfile.TemporaryDirectory() as other, open_store(other, False) as client:
        notes = client.create_collection("notes", embedding_function=None)
        rows = vectors(2, MORE)
        ids = [f"m-{i}" for i in range(MORE)]
        times[f"add of {MORE:,}"] = timed(lambda: notes.add(ids=ids, embeddings=rows))
        single = [
            timed(lambda i=i: notes.add(ids=[f"s-{i}"], embeddings=rows[i : i + 1]))
            for i in range(ADDS)
        ]
        times["add of one"] = medians(single)
    return times


def child(tree: str, *arguments: str) -> str:
    return run(Path(tree).resolve(), "-m", "benchmarks.sums", "--child", *arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trees", nargs="*", help="folders of two checkouts")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--records", type=int, default=N)
    parser.add_argument("--child", nargs=2, metavar=("WHAT", "FOLDER"))
    options = parser.parse_args()
    if options.child:
        what, folder = options.child
        if what == "make":
            make(folder, options.records)
        else:
            print(json.dumps(measure(folder)))
        return
    size = ["--records", str(options.records)]
    with tempfile.TemporaryDirectory() as folder:
        stores = [os.path.join(folder, str(at)) for at in range(2)]
        for tree, store in zip(options.trees, stores, strict=True):
            child(tree, "make", store, *size)
        found: list[list[dict[str, Times]]] = [[], []]
        for number in range(options.rounds):
            for at in (0, 1) if number % 2 else (1, 0):
                text = child(options.trees[at], "measure", stores[at], *size)
                found[at].append(json.loads(text))
    print(
        f"| {options.records:,} x {DIMENSION}, {options.rounds} rounds | before | after | ratio "
        "| processor, before | after | ratio |"
    )
    print("| --- " + "| ---: " * 6 + "|")
    for name in found[0][0]:
        cells = []
        before, after = (medians([one[name] for one in times]) for times in found)
        for one, other in zip(before, after, strict=True):
            cells += [f"{one * 1e3:.2f} ms", f"{other * 1e3:.2f} ms", f"{other / one:.2f}"]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
