"""What a trial of `benchmarks.memory_trials` is given, and how it looks at answers."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import chroma_nb
from benchmarks import memory_trial_stores as stores
from chroma_nb.errors import MemoryBudgetError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MB = 1_000_000
#: A graph finds most of the nearest records, an exact answer all of them.
LEAST_RECALL = 0.9


class Wrong(Exception):
    """An answer is not what is known to be right."""


class Skipped(Exception):
    """The trial needs what is not here."""


def check(right: object, otherwise: str) -> None:
    """Raise where something is not as it should be."""
    if not right:
        raise Wrong(otherwise)


@dataclass(frozen=True)
class Trial:
    """A trial.

    Args:
        name: Begins with its case's.
        limit_mb: Of the process's memory; 0 is none.
        store: One of `memory_trial_stores.STORES`.
        function: What is done.
        seconds: It is given up after so long.
        server: Does it ask a server? Then that is what is under the limit.
    """

    name: str
    limit_mb: int
    store: str
    function: Callable[[Stage], str]
    seconds: float = 120.0
    server: bool = False

    @property
    def case(self) -> str:
        """The case that it belongs to."""
        return self.name.partition("-")[0]


class Stage:
    """What a trial is given.

    Args:
        work: A folder that goes with the trial; ``store`` in it is a copy of the trial's store.
        engine: The engine of graphs.
        original: The store as it was made; what is known of it lies beside it.
        url: The server's, for the trials that have one.
    """

    def __init__(self, work: Path, engine: str, original: Path, url: str) -> None:
        self.work = work
        self.engine = engine
        self.original = original
        self.url = url
        self.recipe = stores.STORES[original.name]
        #: Bytes that the trial's process may have.
        self.limit = 0
        self._log = (work / "log.jsonl").open("w", encoding="utf-8")

    def step(self, text: str) -> None:
        """Say how far the trial came: the last thing that is known of one that is killed."""
        self._say(step=text)

    def finish(self, trial: Trial) -> None:
        """Do the trial, and say what became of it."""
        self.limit = trial.limit_mb * MB
        try:
            self._say(outcome="right", seen=trial.function(self) or "")
        except MemoryBudgetError as error:
            self._say(outcome="refused", seen=str(error))
        except Wrong as error:
            self._say(outcome="wrong", seen=str(error))
        except Skipped as error:
            self._say(outcome="skipped", seen=str(error))
        except Exception as error:  # a row of the table
            self._say(outcome="error", seen=f"{type(error).__name__}: {error}")

    def _say(self, **values: str) -> None:
        self._log.write(json.dumps(values) + "\n")
        self._log.flush()

    def open(self, folder: str = "store", **settings: Any) -> chroma_nb.ClientAPI:
        """Open the trial's store, or one in another folder."""
        if not self.recipe.graphs:
            settings.setdefault("graph_min_records", stores.NO_GRAPH)
        chosen = chroma_nb.Settings(index_engine=self.engine, progress=False, **settings)
        return chroma_nb.PersistentClient(self.work / folder, chosen)

    def known(self, name: str) -> stores.Known:
        """Return what is known of a collection."""
        return stores.known(self.original, name)


def collection_of(client: chroma_nb.ClientAPI, name: str) -> chroma_nb.Collection:
    """Return a collection that is given its embeddings."""
    return client.get_collection(name, embedding_function=None)


def check_query(answer: Any, known: stores.Known, at: slice, n_results: int) -> str:
    """Compare an answer with what is known of these queries; return the recall."""
    top = min(n_results, known.rows.shape[1])
    found = 0
    rows, distances = known.rows[at, :top], known.distances[at, :top]
    for ids, lengths, nearest, right in zip(
        answer["ids"], answer["distances"], rows, distances, strict=True
    ):
        check(len(set(ids)) == n_results, f"{len(set(ids)):,} ids instead of {n_results:,}")
        check(ids[0] == stores.record_id(nearest[0]), f"{ids[0]} first, not r{nearest[0]}")
        check(abs(lengths[0] - right[0]) < 1e-3, f"distance {lengths[0]}, not {right[0]}")
        check(all(a <= b for a, b in itertools.pairwise(lengths)), "distances do not ascend")
        found += len({stores.record_id(row) for row in nearest}.intersection(ids[:top]))
    recall = found / rows.size
    check(recall >= LEAST_RECALL, f"recall {recall:.3f}")
    return f"recall {recall:.3f}"


def ask(collection: Any, known: stores.Known, first: int = 0, count: int = 1, top: int = 10) -> str:
    """Ask some of the known queries in one call, and compare the answer."""
    at = slice(first, first + count)
    answer = collection.query(query_embeddings=known.queries[at], n_results=top)
    return check_query(answer, known, at, top)


def check_records(part: stores.Part, answer: Any, rows: range) -> None:
    """Compare the records of an answer with what they were made of."""
    expected = [stores.record_id(row) for row in rows]
    check(answer["ids"] == expected, f"{len(answer['ids']):,} ids, not those of {rows}")
    for place in sorted({0, len(rows) // 2, len(rows) - 1}):
        row = rows[place]
        if answer["documents"] is not None and part.text:
            right = answer["documents"][place] == stores.document(part, row)
            check(right, f"the document of {stores.record_id(row)} differs")
        if answer["metadatas"] is not None:
            right = answer["metadatas"][place] == stores.metadata(part, row)
            check(right, f"the metadata of {stores.record_id(row)} differs")
