"""Searching by words, beside other libraries: ``python -m benchmarks.words``.

It needs texts: WordNet's glosses (Debian: ``apt-get install wordnet-base``, or ``--wordnet FOLDER``), or a folder of
prepared ones (``--data``). Peers are measured where they are installed (``pip install bm25s lancedb``).

Times are medians, of `add` the least of several. Of each step the processor's time is printed as well, which a busy machine
disturbs less.
"""

from __future__ import annotations

import argparse
import math
import platform
import random
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import data
from benchmarks.saying import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUERIES, TOP = 300, 10
#: Queries that the plain referee answers, too.
REFEREED = 20
PIECE = 5_000
#: How often records are added in each way.
ADDED_TIMES = 15


def timed(call: Callable[[], Any]) -> tuple[float, float, Any]:
    """Return seconds on the clock, of the processor, and what the call returns."""
    clock, processor = time.perf_counter(), time.process_time()
    found = call()
    return time.perf_counter() - clock, time.process_time() - processor, found


def texts_of(n: int, folder: Path | None, wordnet: Path | None) -> tuple[list[str], list[str]]:
    """Return n glosses, and queries: some words of glosses that are not among them."""
    found = [record["document"] for record in data.read_glosses(folder, wordnet)]
    if len(found) < n + QUERIES:
        raise SystemExit(f"{n + QUERIES:,} glosses are needed and {len(found):,} are there.")
    dice = random.Random(7)
    dice.shuffle(found)
    queries = [
        " ".join(dice.sample(text.split(), min(4, len(text.split()))))
        for text in found[n : n + QUERIES]
    ]
    return found[:n], queries


def filled(notes: Any, texts: list[str], vectors: Any = None) -> Any:
    """Return a collection with the texts as its records, and their embeddings where they are given."""
    for start in range(0, len(texts), PIECE):
        some = texts[start : start + PIECE]
        ids = [str(start + row) for row in range(len(some))]
        notes.add(
            ids=ids,
            embeddings=None if vectors is None else vectors[start : start + PIECE],
            documents=some,
            metadatas=[{"n": start + row} for row in range(len(some))],
        )
    return notes


def best(distances: Any) -> list[int]:
    """Return the rows of the smallest distances."""
    found = np.flatnonzero(~np.isnan(distances))
    return found[np.argsort(distances[found], kind="stable")[:TOP]].tolist()


def ours(texts: list[str], queries: list[str]) -> Iterator[tuple[str, str]]:
    """Yield what is measured of chroma_nb, and its figure."""
    import chroma_nb
    from chroma_nb.embedding import ChromaBm25EmbeddingFunction
    from chroma_nb.segment.stored import StoredMetadata

    bm25 = ChromaBm25EmbeddingFunction()
    with chroma_nb.Client(chroma_nb.Settings(memory_budget="4 GB", progress=False)) as client:
        notes = client.create_collection("notes", embedding_function=None)
        filled(notes, texts, np.ones((len(texts), 2), dtype=np.float32))
        client.memory.load("notes")

        def search(query: str) -> Any:
            with client.api.segments.present(notes.id) as segment:
                return segment.metadata.sparse_distances(
                    "#document", bm25([query])[0], idf=True, mask=None
                )

        clock, processor, _ = timed(lambda: search(queries[0]))
        yield (
            "index built, documents/s",
            f"{len(texts) / clock:,.0f} (processor: {len(texts) / processor:,.0f})",
        )
        (memory,) = client.memory.report().collections
        text_bytes = sum(len(text.encode()) for text in texts)
        yield "index, share of the texts", f"{memory.parts['sparse'] / text_bytes:.1%}"
        yield "query, p50 / p95, ms", _times(lambda query: best(search(query)), queries)
        reader = StoredMetadata(client.api.db, notes.id)
        whole = [search(query) for query in queries[:REFEREED]]
        stored = reader.sparse_distances("#document", bm25([queries[0]])[0], idf=True, mask=None)
        assert np.array_equal(stored, whole[0], equal_nan=True)
        clock, processor, _ = timed(
            lambda: reader.sparse_distances("#document", bm25([queries[1]])[0], idf=True, mask=None)
        )
        yield (
            "query of a collection that is not loaded, s",
            f"{clock:.2f} (processor: {processor:.2f})",
        )
        yield "equal to the referee", _refereed(bm25, texts, queries, whole)
    yield from _hybrid(texts, queries)
    yield from _adding(texts[:PIECE], bm25)


def _hybrid(texts: list[str], queries: list[str]) -> Iterator[tuple[str, str]]:
    """Yield how long `collection.search` takes, whose embeddings are the static model's."""
    import chroma_nb

    embed = chroma_nb.utils.embedding_functions.StaticEmbeddingFunction()
    with chroma_nb.Client(chroma_nb.Settings(memory_budget="4 GB", progress=False)) as client:
        notes = filled(client.create_collection("notes", embedding_function=embed), texts)
        notes.build_index()
        for what, call in (
            ("embedding of a query, static model", notes.embed_queries),
            ("search(text, by='meaning')", lambda text: notes.search(text, by="meaning")),
            ("search(text, by='words')", lambda text: notes.search(text, by="words")),
            ("search(text), by both", notes.search),
        ):
            yield f"{what}, p50 / p95, ms", _times(call, queries)


def _times(call: Callable[[str], Any], queries: list[str]) -> str:
    for query in queries[:20]:
        call(query)
    spent = [timed(lambda query=query: call(query))[:2] for query in queries]  # type: ignore[misc]
    clock, processor = (np.sort(column) * 1e3 for column in zip(*spent, strict=True))
    middle, late = len(queries) // 2, len(queries) * 95 // 100
    return f"{clock[middle]:.2f} / {clock[late]:.2f} (processor: {processor[middle]:.2f} / {processor[late]:.2f})"


def _refereed(bm25: Any, texts: list[str], queries: list[str], whole: list[Any]) -> str:
    """Compare all distances with those that plain Python computes, record by record."""
    vectors = [dict(zip(one.indices, one.values, strict=True)) for one in bm25(texts)]
    n_with: dict[int, int] = {}
    for vector in vectors:
        for index in vector:
            n_with[index] = n_with.get(index, 0) + 1
    n_compared = 0
    for query, found in zip(queries, whole, strict=False):
        asked = bm25([query])[0]
        weights = [
            (
                index,
                value
                * math.log1p(
                    (len(texts) - n_with.get(index, 0) + 0.5) / (n_with.get(index, 0) + 0.5)
                ),
            )
            for index, value in zip(asked.indices, asked.values, strict=True)
        ]
        wanted = np.full(len(texts), np.nan, dtype=np.float32)
        for row, vector in enumerate(vectors):
            shared = [
                weight * float(np.float32(vector[index]))
                for index, weight in weights
                if index in vector
            ]
            if shared:
                wanted[row] = 1.0 - sum(shared)
                n_compared += 1
        assert np.array_equal(wanted, found, equal_nan=True), query
    return f"all of {n_compared:,} distances of {len(whole)} queries, to the last bit"


def _adding(texts: list[str], bm25: Any) -> Iterator[tuple[str, str]]:
    """Yield what `add` takes with a sparse vector for each document, as the schema says, and without."""
    import chroma_nb
    from chroma_nb import K, Schema, SparseVectorIndexConfig, VectorIndexConfig

    embed = chroma_nb.utils.embedding_functions.StaticEmbeddingFunction()
    plain = Schema().create_index(VectorIndexConfig(embedding_function=embed))
    stored = Schema().create_index(VectorIndexConfig(embedding_function=embed))
    words = SparseVectorIndexConfig(source_key=K.DOCUMENT, embedding_function=bm25)
    stored.create_index(words, key="sp")
    ids = list(map(str, range(len(texts))))
    metadatas = [{"n": row} for row in range(len(texts))]
    spent: dict[str, list[float]] = {"plain": [], "stored": []}
    # Models and words are known before.
    embed(texts[:10])
    bm25(texts)
    for _ in range(ADDED_TIMES):
        for kind, schema in (("plain", plain), ("stored", stored)):
            with (
                tempfile.TemporaryDirectory() as folder,
                chroma_nb.PersistentClient(folder, chroma_nb.Settings(progress=False)) as client,
            ):
                notes = client.create_collection("notes", schema=schema)
                # In one call: between two of them a graph begins to be built in the background.
                call = lambda: notes.add(ids=ids, documents=texts, metadatas=metadatas)  # noqa: B023, E731
                spent[kind].append(timed(call)[1])
    # The least disturbed ones.
    each = {kind: 1e6 * min(some) / len(texts) for kind, some in spent.items()}
    yield (
        "add with the static model, processor's microseconds a document",
        f"{each['plain']:.1f}; with stored BM25 vectors {each['stored']:.1f}: "
        f"{each['stored'] / each['plain'] - 1:.0%} more",
    )


def of_bm25s(texts: list[str], queries: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the same of bm25s, with the same stemmer."""
    import bm25s
    import Stemmer

    stemmer = Stemmer.Stemmer("english")

    def build() -> Any:
        index = bm25s.BM25(k1=1.2, b=0.75)
        index.index(
            bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False),
            show_progress=False,
        )
        return index

    clock, processor, index = timed(build)
    yield (
        "index built, documents/s",
        f"{len(texts) / clock:,.0f} (processor: {len(texts) / processor:,.0f})",
    )
    held = sum(array.nbytes for array in index.scores.values() if hasattr(array, "nbytes"))
    yield "index, share of the texts", f"{held / sum(len(text.encode()) for text in texts):.1%}"

    def search(query: str) -> Any:
        tokens = bm25s.tokenize([query], stopwords="en", stemmer=stemmer, show_progress=False)
        return index.retrieve(tokens, k=TOP, show_progress=False)

    yield "query, p50 / p95, ms", _times(search, queries)


def of_lancedb(texts: list[str], queries: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the same of LanceDB's full-text search."""
    import lancedb
    from lancedb.index import FTS

    with tempfile.TemporaryDirectory() as folder:
        table = lancedb.connect(folder).create_table("notes", [{"text": text} for text in texts])
        clock, processor, _ = timed(lambda: table.create_index("text", config=FTS()))
        yield (
            "index built, documents/s",
            f"{len(texts) / clock:,.0f} (processor: {len(texts) / processor:,.0f})",
        )

        def search(query: str) -> Any:
            return table.search(query.replace('"', " "), query_type="fts").limit(TOP).to_list()

        yield "query, p50 / p95, ms", _times(search, queries)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--wordnet", type=Path, help="folder of WordNet's data.noun etc.")
    parser.add_argument("--data", type=Path, default=data.DEFAULT_FOLDER, help="prepared glosses")
    given = parser.parse_args()
    texts, queries = texts_of(
        given.records, given.data if given.data.is_dir() else None, given.wordnet
    )
    print(
        f"{len(texts):,} glosses of WordNet; {platform.machine()}, CPython {platform.python_version()}\n"
    )
    print("| library | measured | figure |\n| --- | --- | --- |")
    for name, measure in (
        ("chroma_nb", ours),
        ("bm25s", of_bm25s),
        ("LanceDB", of_lancedb),
    ):
        try:
            for what, figure in measure(texts, queries):  # type: ignore[operator]
                print(f"| {name} | {what} | {figure} |", flush=True)
        except ImportError as error:
            say(f"{name} is not installed: {error}")


if __name__ == "__main__":
    main()
