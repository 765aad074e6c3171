"""How well each layout keeps neighbourhoods, and what it takes: ``python -m benchmarks.maps``.

Each layout is made in a process of its own. Trustworthiness is that of scikit-learn
(`sklearn.manifold.trustworthiness`), which would need a matrix of records x records: here it is the mean over some of
the records, each compared with all.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from typing import Any

import numpy as np

N_NEIGHBORS = 12
METHODS = ("pca", "tsne", "umap", "pacmap", "localmap")
#: What is compared at a time.
_STEP = 250


def trustworthiness(vectors: Any, layout: Any, rows: Any, k: int = N_NEIGHBORS) -> float:
    """Return how far the neighbours in a layout are neighbours among the vectors: 1 is best.

    Args:
        vectors: Unit vectors, shape (n, dimension).
        layout: Shape (n, 2).
        rows: The records that are looked at.
        k: Neighbours.
    """
    n = len(vectors)
    penalty = 0
    for start in range(0, len(rows), _STEP):
        some = rows[start : start + _STEP]
        every = np.arange(len(some))
        away = 1 - vectors[some] @ vectors.T
        on_map = ((layout[some][:, None] - layout[None]) ** 2).sum(axis=2)
        away[every, some] = on_map[every, some] = np.inf
        near = np.argpartition(on_map, k, axis=1)[:, :k]
        for at in range(k):
            its = away[every, near[:, at]]
            ranks = (away < its[:, None]).sum(axis=1) + 1
            penalty += int(np.maximum(0, ranks - k).sum())
    return 1 - penalty * 2 / (len(rows) * k * (2 * n - 3 * k - 1))


def measure(method: str, n: int, path: str | None) -> dict[str, Any]:
    """Make one map and return what it took."""
    import psutil

    import chroma_nb
    from chroma_nb import datasets

    client = chroma_nb.EphemeralClient(chroma_nb.Settings(embedding="static", progress=False))
    if path is None:
        data: dict[str, Any] = datasets.glosses(n)
        texts = client.create_collection("texts")
        texts.add(**data)
        got = texts.get(include=["embeddings"])
        ids, vectors = got["ids"], got["embeddings"].astype(np.float32)
    else:
        vectors = np.load(path, mmap_mode="r")[:n].astype(np.float32)
        ids = [str(row) for row in range(len(vectors))]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    settings = {"hnsw": {"space": "cosine"}}
    maps = client.create_collection("maps", embedding_function=None, configuration=settings)
    for start in range(0, len(ids), 5_000):
        part = slice(start, start + 5_000)
        maps.add(ids=ids[part], embeddings=vectors[part])
    maps.build_index()
    process = psutil.Process()
    before, started = process.cpu_times(), time.perf_counter()
    made = _layout(method, maps, vectors)
    seconds, after = time.perf_counter() - started, process.cpu_times()
    rows = np.random.default_rng(0).choice(len(vectors), min(len(vectors), 4_000), replace=False)
    return {
        "method": method,
        "records": len(vectors),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(after.user + after.system - before.user - before.system, 1),
        "trustworthiness": round(trustworthiness(vectors, made, rows), 3),
    }


def _layout(method: str, maps: Any, vectors: Any) -> Any:
    if method in ("pacmap", "localmap"):
        import pacmap

        kind = pacmap.PaCMAP if method == "pacmap" else pacmap.LocalMAP
        return np.asarray(kind(random_state=0).fit_transform(vectors), dtype=np.float32)
    return maps.plot(method=method, limit=len(vectors)).points.coordinates


def main() -> None:
    """Measure every method whose library is installed, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--vectors", help="a .npy file; without it, the project's own glosses")
    parser.add_argument("--method", choices=METHODS, help="measure this one alone, as JSON")
    given = parser.parse_args()
    if given.method:
        print(json.dumps(measure(given.method, given.records, given.vectors)))
        return
    print("| method | records | trustworthiness | seconds | CPU seconds |")
    print("| --- | --- | --- | --- | --- |")
    for method in METHODS:
        command = [sys.executable, "-m", "benchmarks.maps", "--method", method]
        command += ["--records", str(given.records)]
        command += ["--vectors", given.vectors] if given.vectors else []
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = done.stderr.strip().splitlines()[-1:] or ["failed"]
            print(f"| {method} | not measured: {reason[0][:100]} | | | |")
            continue
        found = json.loads(done.stdout.strip().splitlines()[-1])
        print(
            f"| {method} | {found['records']:,} | {found['trustworthiness']} "
            f"| {found['seconds']} | {found['cpu_seconds']} |"
        )


if __name__ == "__main__":
    main()
