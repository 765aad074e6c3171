"""The rows, queries and true answers of the memory benchmark.

Real embeddings are not enough for ten collections, so each row is one of them with seeded noise
of its own: no two rows and no two collections are the same. Whoever needs the rows makes them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import data as benchmark_data

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.data import Vectors

#: Length of the noise beside vectors of length one; neighbouring glosses are 0.5 and more apart.
ROW_NOISE, QUERY_NOISE = 0.15, 0.1
#: Different glosses; collections of more take each several times, with other noise.
BASE = 49_000
#: The number of the first collection of `Plan.ladder`, for its seed.
LADDER = 1_000


@dataclass(frozen=True)
class Plan:
    """What is stored and asked; the same in every process."""

    #: The collections that are asked in turn, and records in each.
    collections: int = 10
    size: int = 20_000
    rounds: int = 3
    queries: int = 10
    #: Sizes of the collections that are loaded and unloaded. The first one only warms up code.
    ladder: tuple[int, ...] = (200, 5_000, 20_000, 50_000)
    #: chroma_nb's setting: smaller collections have no graph.
    graph_min_records: int = 5_000

    @property
    def names(self) -> list[str]:
        """The collections that are asked in turn."""
        return [f"part-{number}" for number in range(self.collections)]

    @property
    def pair(self) -> tuple[str, str]:
        """Two collections of `size` records, for a budget that holds one."""
        return f"size-{self.size}", f"size-{self.size}-twin"

    def stored(self, kind: str) -> list[tuple[str, int, int]]:
        """Return (name, number, records) of the collections of one store."""
        if kind == "parts":
            return [(name, number, self.size) for number, name in enumerate(self.names)]
        sizes = [(f"size-{size}", LADDER + i, size) for i, size in enumerate(self.ladder)]
        return [*sizes, (self.pair[1], LADDER + len(sizes), self.size)]

    def save(self, folder: Path) -> None:
        """Write the plan for the other processes."""
        (folder / "plan.json").write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Plan:
        """Return the plan that was saved."""
        values = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
        return cls(**{**values, "ladder": tuple(values["ladder"])})


#: Small enough for a minute, chromadb included.
QUICK = Plan(collections=3, size=4_000, ladder=(200, 1_000, 4_000), graph_min_records=1_000)


def prepare(folder: Path, plan: Plan, data: Path | None, *, made_up: bool) -> str:
    """Write the embeddings, queries and true answers; return a name for the data."""
    given = data or benchmark_data.DEFAULT_FOLDER
    if made_up or not given.is_dir():
        base = benchmark_data.synthetic(plan.size)
    else:
        # Naming the same folder for WordNet: what it lacks is not embedded now.
        base = benchmark_data.load(BASE, given, wordnet=given)
    np.save(folder / "base.npy", base.vectors)
    (folder / "documents.json").write_text(json.dumps(base.documents), encoding="utf-8")
    plan.save(folder)
    asked: dict[str, Any] = {}
    for name, number, size in [*plan.stored("parts"), *plan.stored("ladder")]:
        vectors, _ = rows(folder, number, size)
        random = np.random.default_rng([benchmark_data.SEED, number, 1])
        chosen = random.integers(0, size, plan.rounds * plan.queries)
        queries = _with_noise(vectors[chosen], QUERY_NOISE, random)
        asked[f"{name}-queries"] = queries
        # By NumPy, not by construction: another row might have come nearer.
        asked[f"{name}-nearest"] = np.argmax(queries @ vectors.T, axis=1)
    np.savez(folder / "queries.npz", **asked)
    return f"{base.name}, with noise"


def rows(folder: Path, number: int, size: int) -> tuple[Vectors, list[str]]:
    """Return the vectors and documents of one collection."""
    base: Vectors = np.load(folder / "base.npy", mmap_mode="r")
    documents = json.loads((folder / "documents.json").read_text(encoding="utf-8"))
    taken = (number * size + np.arange(size)) % len(base)
    random = np.random.default_rng([benchmark_data.SEED, number, 0])
    return _with_noise(base[taken], ROW_NOISE, random), [documents[i] for i in taken.tolist()]


def queries(folder: Path, name: str) -> tuple[Vectors, list[str]]:
    """Return the queries of one collection and the ids of their true nearest records."""
    with np.load(folder / "queries.npz") as asked:
        return asked[f"{name}-queries"], [row_id(i) for i in asked[f"{name}-nearest"].tolist()]


def row_id(number: int) -> str:
    """Return the id of a row."""
    return f"row-{number:06d}"


def _with_noise(vectors: Vectors, length: float, random: np.random.Generator) -> Vectors:
    noise = random.standard_normal(vectors.shape, dtype=np.float32)
    noise *= length / np.sqrt(vectors.shape[1])
    noise += vectors
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    return noise
