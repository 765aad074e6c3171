"""The stores of `benchmarks.memory_trials`: generated, the same every time, with the answers of some queries.

A record's id, document and metadata follow from its number (row), so a trial can check an answer without reading
the store. The nearest records of some queries are found beforehand by comparing all records.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy.typing as npt

    import chroma_nb

    Vectors = npt.NDArray[np.float32]

#: Records of one `add`, at most.
PIECE = 5_000
#: A value of `Settings.graph_min_records` by which no collection gets a graph.
NO_GRAPH = 1_000_000_000
#: Raise it when the recipes below change: stores of another version are made again.
VERSION = 3
#: `float_list` repeats after this many rows.
LIST_STEPS = 500
LIST_LENGTH = 100
#: Every document is a part of one long text, from a place of its own.
_POOL_CHARACTERS = 1_500_000
_pool = ""


@dataclass(frozen=True)
class Part:
    """A collection.

    Args:
        name: Of the collection.
        n: Number of records.
        dimension: Floats of each embedding.
        space: The distance: ``l2``, ``cosine`` or ``ip``.
        text: Characters of each document; 0 is no document.
        keys: Metadata keys of each record.
        lists: Each record has a list of `LIST_LENGTH` floats.
        equal: All vectors are the same.
        graph: The graph is built beforehand.
        queries: Number of queries whose answers are known.
        top: Number of nearest records that are known of each query.
    """

    name: str
    n: int
    dimension: int
    space: str = "l2"
    text: int = 0
    keys: int = 1
    lists: bool = False
    equal: bool = False
    graph: bool = False
    queries: int = 20
    top: int = 10


@dataclass(frozen=True)
class Recipe:
    """A store.

    Args:
        parts: Its collections.
        graphs: They may have graphs.
        exported: There is a Parquet file of the first one next to the store.
        stored: False: the store is empty, and a file next to it has the vectors for a trial to add.
    """

    parts: tuple[Part, ...]
    graphs: bool = True
    exported: bool = False
    stored: bool = True

    def part(self, name: str) -> Part:
        """Return the collection with this name."""
        return next(one for one in self.parts if one.name == name)


TEN = tuple(
    Part(f"part-{i}", 20_000, 64, ("l2", "cosine", "ip")[i % 3], text=500, graph=True)
    for i in range(10)
)
STORES = {
    "TEXT": Recipe((Part("text", 20_000, 64, text=5_000, keys=50, graph=True),), exported=True),
    "COLS": Recipe(
        (
            Part("cols", 100_000, 32, keys=100, graph=True),
            Part("lists", 50_000, 8, lists=True, graph=True),
        )
    ),
    "KEYS": Recipe((Part("keys", 100_000, 32, keys=20, graph=True),)),
    "SAME": Recipe((Part("same", 100_000, 384, equal=True),)),
    "WIDE": Recipe((Part("wide", 36_000, 3_072),), stored=False),
    "D3072": Recipe((Part("wide", 36_000, 3_072),), exported=True),
    "D4096": Recipe((Part("wide", 6_000, 4_096),), graphs=False),
    "B384": Recipe((Part("many", 100_000, 384, graph=True, queries=300, top=1_000),)),
    "BIG": Recipe((Part("big", 200_000, 384, queries=100),), graphs=False),
    "DUP": Recipe((Part("dup", 200_000, 768, equal=True),), graphs=False),
    "LONG": Recipe(
        (Part("long-60k", 4_000, 32, text=60_000), Part("long-1m", 300, 32, text=1_000_000))
    ),
    "TEN": Recipe(TEN),
    "EMPTY": Recipe(()),
}


def record_id(row: int) -> str:
    """Return a record's id."""
    return f"r{row}"


def document(part: Part, row: int) -> str:
    """Return a record's document, `Part.text` characters."""
    global _pool
    if not _pool:
        words = np.random.default_rng(7).integers(0, 26**3, _POOL_CHARACTERS // 4)
        letters = "abcdefghijklmnopqrstuvwxyz"
        spelt = [letters[w // 676] + letters[w // 26 % 26] + letters[w % 26] for w in range(26**3)]
        _pool = " ".join(spelt[w] for w in words)
    head = f"document {row} of {part.name}: "
    start = row * 7_919 % (len(_pool) - part.text)
    return head + _pool[start : start + part.text - len(head)]


def metadata(part: Part, row: int) -> dict[str, Any]:
    """Return a record's metadata: whole numbers, fractions and short texts in turn."""
    found: dict[str, Any] = {"tenth": row % 10}
    for key in range(1, part.keys):
        found[f"k{key:02}"] = value(row, key)
    if part.lists:
        found["floats"] = float_list(row)
    return found


def value(row: int, key: int) -> int | float | str:
    """Return the value of a numbered metadata key."""
    if key % 3 == 0:
        return row * (key + 1) % 1_000
    if key % 3 == 1:
        return (row * (key + 1) % 1_000) / 8
    return f"v{(row + key) % 50}"


def float_list(row: int) -> list[float]:
    """Return a record's list of `LIST_LENGTH` floats."""
    return [row % LIST_STEPS + step + 0.125 for step in range(LIST_LENGTH)]


@dataclass
class Records:
    """The arguments of one `add`; embeddings are float32, shape (records, dimension)."""

    ids: list[str]
    embeddings: Vectors
    documents: list[str] | None
    metadatas: list[dict[str, Any]] | None


def records(part: Part, rows: range, embeddings: Vectors) -> Records:
    """Return the records with these numbers."""
    return Records(
        [record_id(row) for row in rows],
        embeddings,
        [document(part, row) for row in rows] if part.text else None,
        [metadata(part, row) for row in rows],
    )


@dataclass
class Known:
    """Queries with known answers: the numbers (rows) of the nearest records, and their distances.

    Shapes: queries (n, dimension), rows and distances (n, `Part.top`), the nearest first.
    """

    queries: Vectors
    rows: npt.NDArray[np.int64]
    distances: npt.NDArray[np.float64]


def known(store: Path, part: str) -> Known:
    """Return the known answers, which `prepare` has saved."""
    with np.load(store.with_name(f"{store.name}-{part}.npz")) as found:
        return Known(found["queries"], found["rows"], found["distances"])


def parquet(store: Path) -> Path:
    """Return the path of a store's exported collection."""
    return store.with_name(f"{store.name}.parquet")


def vectors_file(store: Path, part: str) -> Path:
    """Return the path of the vectors of a collection that is not stored."""
    return store.with_name(f"{store.name}-{part}.npy")


def is_prepared(store: Path) -> bool:
    """Say whether the store is there, complete and of the present `VERSION`."""
    mark = store.with_name(f"{store.name}.json")
    return mark.is_file() and json.loads(mark.read_text()) == VERSION


def fill(store: Path, write: Callable[[Part, Iterator[Records]], None]) -> None:
    """Give a store's records to `write`, one collection at a time, and save the known answers."""
    recipe = STORES[store.name]
    for number, part in enumerate(recipe.parts):
        vectors = _vectors(part, number)
        if recipe.stored:
            write(part, _pieces(part, vectors))
        else:
            np.save(vectors_file(store, part.name), vectors)
        _save_known(store, part, vectors)


def clear(store: Path) -> None:
    """Make a store's folder, and empty it."""
    shutil.rmtree(store, ignore_errors=True)
    store.mkdir(parents=True)


def mark(store: Path) -> None:
    """Write the file by which `is_prepared` knows that a store is complete."""
    store.with_name(f"{store.name}.json").write_text(json.dumps(VERSION))


def prepare(store: Path, engine: str) -> None:
    """Make a chroma_nb store, its graphs, and the files next to it."""
    import chroma_nb

    recipe = STORES[store.name]
    clear(store)
    settings = {"index_engine": engine, "progress": False, "fsync": False}
    quiet = chroma_nb.Settings(graph_min_records=NO_GRAPH, **settings)
    with chroma_nb.PersistentClient(store, quiet) as client:
        fill(store, lambda part, pieces: _write(client, part, pieces))
    with chroma_nb.PersistentClient(store, chroma_nb.Settings(**settings)) as client:
        for part in recipe.parts if recipe.stored else ():
            if part.graph:
                client.get_collection(part.name, embedding_function=None).build_index()
            client.unload(part.name)
    if recipe.exported:
        with chroma_nb.PersistentClient(store, quiet) as client:
            one = client.get_collection(recipe.parts[0].name, embedding_function=None)
            one.export(parquet(store))
    mark(store)


def _write(client: chroma_nb.ClientAPI, part: Part, pieces: Iterator[Records]) -> None:
    collection = client.create_collection(
        part.name, embedding_function=None, configuration={"hnsw": {"space": part.space}}
    )
    for piece in pieces:
        collection.add(piece.ids, piece.embeddings, piece.metadatas, piece.documents)


def _pieces(part: Part, vectors: Vectors) -> Iterator[Records]:
    step = max(1, min(PIECE, 20_000_000 // max(1, part.text)))
    for first in range(0, part.n, step):
        rows = range(first, min(first + step, part.n))
        yield records(part, rows, vectors[rows.start : rows.stop])


def _vectors(part: Part, number: int) -> Vectors:
    """Return float32 vectors, shape (n, dimension), in clusters, as real embeddings are."""
    if part.equal:
        return np.ones((part.n, part.dimension), dtype=np.float32)
    rng = np.random.default_rng([number, part.n, part.dimension])
    n_centres = max(1, part.n // 50)
    vectors = rng.standard_normal((part.n, part.dimension), dtype=np.float32)
    centres = rng.standard_normal((n_centres, part.dimension), dtype=np.float32)
    for first in range(0, part.n, PIECE):
        piece = vectors[first : first + PIECE]
        piece += centres[rng.integers(0, n_centres, len(piece))]
    return vectors


def _save_known(store: Path, part: Part, vectors: Vectors) -> None:
    asked = np.linspace(0, part.n - 1, part.queries).astype(np.int64)
    noise = np.random.default_rng(1).standard_normal((part.queries, part.dimension))
    queries = vectors[asked] + (0.0 if part.equal else 0.01) * noise.astype(np.float32)
    rows = np.empty((part.queries, part.top), dtype=np.int64)
    distances = np.empty((part.queries, part.top))
    squares = np.einsum("ij,ij->i", vectors, vectors)
    for at, query in enumerate(queries):
        near = _distances(part.space, vectors, squares, query)
        some = np.argpartition(near, part.top)[: part.top]
        chosen, exactly = vectors[some].astype(np.float64), query.astype(np.float64)
        exact = _distances(part.space, chosen, np.square(chosen).sum(axis=1), exactly)
        order = np.argsort(exact, kind="stable")
        rows[at], distances[at] = some[order], exact[order]
    np.savez(
        store.with_name(f"{store.name}-{part.name}.npz"),
        queries=queries,
        rows=rows,
        distances=distances,
    )


def _distances(space: str, vectors: Any, squares: Any, query: Any) -> Any:
    products = vectors @ query
    if space == "l2":
        return squares - 2 * products + query @ query
    if space == "ip":
        return 1 - products
    return 1 - products / np.sqrt(squares * (query @ query))
