"""`Stage`: what a trial of `benchmarks.memory_trials` is given; and the checks of answers."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import memory_trial_stores as stores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import chroma_nb

MB = 1_000_000
#: The least recall, as a graph finds most of the nearest records, not all.
LEAST_RECALL = 0.9
#: `grow` adds arrays of this many bytes ...
ARRAY = 10 * MB
#: ... until the process's own data have this share of the limit, ...
FULL = 0.9
#: ... with a pause after each (seconds), in which the store may unload.
IDLE = 0.2


class Wrong(Exception):
    """An answer is wrong."""


class Skipped(Exception):
    """The trial needs something that is not here, such as a model."""


def check(right: object, otherwise: str) -> None:
    """Raise `Wrong` with the text `otherwise` unless `right` is true."""
    if not right:
        raise Wrong(otherwise)


@dataclass(frozen=True)
class Trial:
    """A trial.

    Args:
        name: The case, a hyphen, and more: ``M5-ids-TEXT``.
        limit_mb: The limit of the process's memory, MB (1,000,000 bytes); 0 is none.
        store: A name in `memory_trial_stores.STORES`.
        function: Runs the trial, and returns what it saw in words.
        seconds: It is killed after this long.
        server: It asks a server, and the limit is the server's.
        title: What it does, in words.
    """

    name: str
    limit_mb: int
    store: str
    function: Callable[[Stage], str]
    seconds: float = 120.0
    server: bool = False
    title: str = ""

    @property
    def case(self) -> str:
        """The part of the name before the first hyphen."""
        return self.name.partition("-")[0]


class Stage:
    """What a trial is given.

    Args:
        work: A folder that is deleted after the trial; ``store`` in it is a copy of the trial's store.
        engine: The engine of graphs.
        original: The store as it was prepared; the files with its known answers are next to it.
        url: The server's address, for the trials that have one.
        refusals: Errors by which a store refuses what there is no memory for.
    """

    def __init__(
        self,
        work: Path,
        engine: str,
        original: Path,
        url: str,
        refusals: tuple[type[Exception], ...],
    ) -> None:
        self.work = work
        self.engine = engine
        self.original = original
        self.url = url
        self._refusals = refusals
        self.recipe = stores.STORES[original.name]
        #: The limit of the trial's process, bytes.
        self.limit = 0
        self._log = (work / "log.jsonl").open("w", encoding="utf-8")

    def step(self, text: str) -> None:
        """Log how far the trial has come; of a trial that is killed, the last step is reported."""
        self._say(step=text)

    def finish(self, trial: Trial) -> None:
        """Run the trial, and log its outcome."""
        self.limit = trial.limit_mb * MB
        try:
            self._say(outcome="right", seen=trial.function(self) or "")
        except self._refusals as error:
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
        import chroma_nb

        if not self.recipe.graphs:
            settings.setdefault("graph_min_records", stores.NO_GRAPH)
        chosen = chroma_nb.Settings(index_engine=self.engine, progress=False, **settings)
        return chroma_nb.PersistentClient(self.work / folder, chosen)

    def known(self, name: str) -> stores.Known:
        """Return the queries of a collection whose answers are known."""
        return stores.known(self.original, name)


def collection_of(client: chroma_nb.ClientAPI, name: str) -> chroma_nb.Collection:
    """Return a collection without an embedding function."""
    return client.get_collection(name, embedding_function=None)


def check_query(answer: Any, known: stores.Known, at: slice, n_results: int) -> str:
    """Check an answer against the known ones; return the recall in words.

    Args:
        answer: As by `chroma_nb.Collection.query`, with distances.
        known: The known answers.
        at: The queries that were asked.
        n_results: Results that were asked for.
    """
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
    """Run some of the known queries in one call, and check the answer."""
    at = slice(first, first + count)
    answer = collection.query(query_embeddings=known.queries[at], n_results=top)
    return check_query(answer, known, at, top)


def check_records(part: stores.Part, answer: Any, rows: range, *, in_order: bool = True) -> None:
    """Check the ids of an answer, and the first, middle and last record in whole.

    Args:
        part: Their collection.
        answer: As by `chroma_nb.Collection.get`.
        rows: The numbers of the records that were asked for.
        in_order: They have to come in this order.
    """
    ids = answer["ids"]
    expected = [stores.record_id(row) for row in rows]
    found, right = (ids, expected) if in_order else (sorted(ids), sorted(expected))
    check(found == right, f"{len(ids):,} ids, not those of {rows}")
    for row in sorted({rows[0], rows[len(rows) // 2], rows[-1]}):
        check_record(part, answer, ids.index(stores.record_id(row)))


def check_record(part: stores.Part, answer: Any, place: int) -> None:
    """Check document and metadata of the record at `place` of an answer, as far as they are in it."""
    one = answer["ids"][place]
    row = int(one[1:])
    if answer["documents"] is not None and part.text:
        right = answer["documents"][place] == stores.document(part, row)
        check(right, f"the document of {one} differs")
    if answer["metadatas"] is not None:
        right = answer["metadatas"][place] == stores.metadata(part, row)
        check(right, f"the metadata of {one} differs")


def anonymous() -> int:
    """Return this process's resident anonymous memory (without mapped files), bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def grow(
    stage: Stage,
    others: int,
    look: Callable[[], str],
    ask_one: Callable[[str, int], Any],
    names: Sequence[str],
) -> list[Any]:
    """Add arrays until they and `others` together have `FULL` of the limit; return them.

    Args:
        stage: The trial's stage.
        others: Bytes that the process had before anything was loaded.
        look: Returns what the store holds, in words.
        ask_one: Called after each step with a collection's name and the number of a query.
        names: The collections, which are queried in turn.
    """
    arrays: list[Any] = []
    while others + len(arrays) * ARRAY < FULL * stage.limit:
        arrays.append(np.ones(ARRAY, dtype=np.uint8))
        time.sleep(IDLE)
        step = len(arrays)
        stage.step(f"{step * ARRAY // MB} MB of arrays, {look()}")
        ask_one(names[step % len(names)], step % 20)
    return arrays


def chosen(only: str, trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that `only` names: cases or trials, separated by commas; empty is all.

    Raises:
        SystemExit: A name is unknown.
    """
    names = [one.strip() for one in only.split(",") if one.strip()]
    unknown = [n for n in names if not any(n in (one.name, one.case) for one in trials)]
    if unknown:
        raise SystemExit(f"There is no case or trial {', '.join(unknown)}; --list names them.")
    return [one for one in trials if not names or one.name in names or one.case in names]


def find(name: str, trials: Sequence[Trial]) -> Trial:
    """Return the trial with this name."""
    return next(one for one in trials if one.name == name)
