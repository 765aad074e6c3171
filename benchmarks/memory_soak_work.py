"""The process of `benchmarks.memory_soak`: two stores, threads that do anything to them, arrays of its own."""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import json
import os
import random
import sys
import threading
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import chroma_nb
from benchmarks.memory_soak_model import (
    BLOCK_BYTES,
    EVERYTHING,
    OWNERS,
    PARTS,
    Filter,
    Model,
    Place,
    Reading,
    by_group,
    by_owner_and_value,
    by_tag,
    distances,
)
from benchmarks.memory_trial_stage import Wrong, check
from chroma_nb.errors import MemoryBudgetError
from chroma_nb.memory.lender import LENDERS
from chroma_nb.memory.machine import MACHINE
from chroma_nb.memory.workspace import WORKSPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType

    from numpy.typing import NDArray

MB = 1_000_000
PLACES = (
    (
        Place("bytes", 8, "l2", 16_000),
        Place("words", 96, "cosine", 12_000, ties=True),
        Place("sentences", 384, "l2", 12_000),
        Place("pages", 1_536, "cosine", 4_000),
        Place("books", 32, "ip", 6_000, long=True),
    ),
    (
        Place("small", 16, "cosine", 16_000),
        Place("middle", 256, "l2", 8_000, ties=True),
        Place("large", 768, "cosine", 6_000),
        Place("papers", 64, "l2", 6_000, long=True),
    ),
)
#: The notebook leaves so much free, whatever it takes for itself.
LEFT_FREE = 40 * MB
#: One call is given so much at most.
MOST_GIVEN = 8 * MB
#: A need that is less than what was free by so much should not have been refused: the store keeps a reserve,
#: and what is free changes all the time.
SLACK = 80 * MB
#: A graph finds most of the nearest records; an exact answer all of them.
LEAST_RECALL = 0.9
#: Whoever takes longer for one call, seconds, is taken to hang.
HANGS = 600.0
#: Kept of what went wrong.
MOST_PROBLEMS = 40
BUDGETS: tuple[Any, ...] = (
    "auto",
    "auto",
    "auto",
    0,
    2_000_000,
    10_000_000,
    "30 MB",
    "25%",
    "1 GB",
)
PAGE = 250
#: With less free, what each thread does is logged so often, seconds.
LITTLE_FREE = 60 * MB
WATCH_SECONDS = 0.1
#: Names of copies begin with one of these.
COPIES = ("imported-", "forked-")


@dataclass
class Book:
    """What was done, and what went wrong."""

    done: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    #: Records that were found, and that were looked for.
    nearest: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    #: Something is wrong that makes all that follows doubtful.
    stops: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
    most_arrays: int = 0

    def note(self, kind: str, seconds: float, *, refused: bool) -> None:
        """Count a call."""
        with self.lock:
            (self.refused if refused else self.done)[kind] += 1
            self.seconds[kind] += seconds

    def look(self, what: str, found: int, wanted: int) -> None:
        """Count what a graph has found."""
        with self.lock:
            self.nearest[f"{what} found"] += found
            self.nearest[f"{what} wanted"] += wanted

    def recall(self, what: str) -> float:
        """Return the share that was found."""
        wanted = self.nearest[f"{what} wanted"]
        return self.nearest[f"{what} found"] / wanted if wanted else 1.0


class Notebook:
    """What the notebook holds itself, beside the stores: arrays, and what it gives to calls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._given = 0
        self.arrays: list[NDArray[np.float64]] = []

    @property
    def held(self) -> int:
        """Bytes of the arrays."""
        return sum(array.nbytes for array in self.arrays)

    def room(self) -> int:
        """Return what it may take. What is promised already, but not yet written to, counts as used."""
        return MACHINE.free() - WORKSPACE.used - self._given - LEFT_FREE

    @contextlib.contextmanager
    def giving(self, wanted: int) -> Iterator[int]:
        """Hold the bytes of a call's arguments: those wanted or fewer, some in any case."""
        with self._lock:
            n_bytes = max(min(wanted, self.room()), 50_000)
            self._given += n_bytes
        try:
            yield n_bytes
        finally:
            with self._lock:
                self._given -= n_bytes

    def grow(self, n_bytes: int, *, counts_loaded: bool) -> bool:
        """Make an array, as far as there is room for it; say whether it has the whole size.

        Args:
            n_bytes: Its size.
            counts_loaded: What the stores could give back is room as well: they are to do it in time.
        """
        with self._lock:
            room = self.room() + (LENDERS.lendable() if counts_loaded else 0)
            size = min(n_bytes, room)
            if size >= 4096:
                self.arrays.append(np.empty(size // 8))
                self.arrays[-1].fill(1.0)
        return size == n_bytes


def _innermost(frame: FrameType | None) -> str:
    """Return where a thread is: the innermost two functions of the package."""
    found: list[str] = []
    while frame is not None and len(found) < 2:
        path, _, name = frame.f_code.co_filename.rpartition("chroma_nb/")
        if path:
            found.append(f"{name}:{frame.f_lineno}")
        frame = frame.f_back
    return " < ".join(found)


class Soak:
    """All of it.

    Args:
        folder: For the stores and the log.
        seed: Of everything that is left to chance.
        engine: Of graphs.
        seconds: How long.
    """

    def __init__(self, folder: Path, seed: int, engine: str, seconds: float) -> None:
        self.folder = folder
        self.seed = seed
        self.book = Book()
        self.notebook = Notebook()
        self._began = time.monotonic()
        self._log = os.open(folder / "operations.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._settings = chroma_nb.Settings(
            index_engine=engine, progress=False, graph_min_records=1_500, idle_unload_seconds=20.0
        )
        #: Every other seed has its second store in memory.
        self.places = [folder / "first", folder / "second" if seed % 2 else None]
        self.clients = [self.open(path) for path in self.places]
        self.models = [[Model(place) for place in places] for places in PLACES]
        for client, models in zip(self.clients, self.models, strict=True):
            for model in models:
                client.create_collection(
                    model.place.name,
                    embedding_function=None,
                    configuration={"hnsw": {"space": model.place.space}},
                )
        # Once for all: what these take is not given back. After the stores, which choose how pyarrow takes memory.
        for module in ("pandas", "pyarrow.parquet", engine):
            importlib.import_module(module)
        self.until = time.monotonic() + seconds

    def open(self, path: Path | None) -> chroma_nb.ClientAPI:
        """Open a store, in a folder or in memory."""
        if path is None:
            return chroma_nb.EphemeralClient(self._settings)
        return chroma_nb.PersistentClient(path, self._settings)

    def say(self, text: str) -> None:
        """Write a line to the log, which outlives this process."""
        os.write(self._log, f"{time.monotonic() - self._began:9.3f} {text}\n".encode())

    def memory(self) -> str:
        """Return what is held and what is free, in words."""
        loaded = [client.memory.report().used for client in self.clients]
        return f"loaded {loaded}, granted {WORKSPACE.used:,}, {MACHINE.free():,} free"

    @property
    def over(self) -> bool:
        """Whether to come to an end."""
        return time.monotonic() > self.until or self.book.stops

    def run(self) -> dict[str, Any]:
        """Do all of it; return what was found."""
        workers = [Worker(self, number) for number in range(OWNERS)]
        for worker in workers:
            worker.start()
        threading.Thread(target=self._watch, name="watch", daemon=True).start()
        self._use_memory(workers)
        self.notebook.arrays.clear()
        for worker in workers:
            worker.join(HANGS)
            self._see_that_none_hangs(workers)
        for what in ("planted", "nearest"):
            if self.book.recall(what) < LEAST_RECALL:
                self.book.problems.append(f"recall {self.book.recall(what):.3f} ({what})")
        if not self.book.stops:
            self._guarded("verify", self.verify)
        return {
            "done": dict(self.book.done),
            "refused": dict(self.book.refused),
            "seconds": {kind: round(value, 1) for kind, value in self.book.seconds.items()},
            "records": sum(model.n_records for models in self.models for model in models),
            "recall": {what: self.book.recall(what) for what in ("planted", "nearest")},
            "most_arrays": self.book.most_arrays,
            "problems": self.book.problems,
        }

    def _watch(self) -> None:
        """While little is free, say what each thread does and what it was granted."""
        while not self.over:
            free = MACHINE.free()
            if free < LITTLE_FREE:
                granted: Counter[int] = Counter()
                for grant in WORKSPACE._outstanding():
                    granted[grant.thread] += grant.n_bytes
                names = {thread.ident: thread.name for thread in threading.enumerate()}
                frames = sys._current_frames()
                threads = [
                    f"{names.get(ident, ident)}: {granted[ident] / MB:.1f} MB in {_innermost(frame)}"
                    for ident, frame in frames.items()
                    if ident != threading.get_ident() and (granted[ident] or _innermost(frame))
                ]
                self.say(f"watch {free / MB:.0f} MB free; {'; '.join(threads)}")
            time.sleep(WATCH_SECONDS)

    def _guarded(self, what: str, work: Callable[[], None]) -> None:
        started = time.perf_counter()
        self.say(f"main > {what}")
        try:
            work()
        except Exception:
            self.book.problems.append(f"{what}: {traceback.format_exc()}")
        self.book.note(what, time.perf_counter() - started, refused=False)

    def _use_memory(self, workers: list[Worker]) -> None:
        """Have the notebook's own arrays grow and shrink, until the end."""
        chance, notebook = random.Random(self.seed), self.notebook
        while not self.over:
            goal = int(chance.random() * (notebook.held + max(0, notebook.room())) * 1.3)
            small = chance.random() < 0.5
            step = chance.randrange(MB // 2, 4 * MB) if small else goal
            pause = chance.choice([0.0, 0.002, 0.02]) if small else 0.0
            self.say(f"main > arrays to {goal:,} in steps of {step:,}, from {notebook.held:,}")
            while notebook.held < goal and not self.over:
                left = min(step, goal - notebook.held)
                if not notebook.grow(left, counts_loaded=small):
                    break
                time.sleep(pause)
            while notebook.arrays and notebook.held > goal and not self.over:
                notebook.arrays.pop()
                time.sleep(pause)
            self.book.most_arrays = max(self.book.most_arrays, notebook.held)
            self.say(f"main < arrays of {notebook.held:,}, {self.memory()}")
            time.sleep(chance.choice([0.05, 0.5, 3.0]))
            self._see_that_none_hangs(workers)

    def _see_that_none_hangs(self, workers: list[Worker]) -> None:
        now = time.monotonic()
        stuck = [one.name for one in workers if one.is_alive() and now - one.begun > HANGS]
        if stuck:
            self.say(f"main ! {stuck} hang")
            faulthandler.dump_traceback()
            os._exit(3)

    # -- the end ------------------------------------------------------------------------------

    def verify(self) -> None:
        """Compare every record, close what persists, open it again, and compare once more."""
        for number, path in enumerate(self.places):
            self.clients[number].memory.budget = "auto"
            for beginning in COPIES:
                drop_copies(self.clients[number], beginning)
            self._verify_store(number)
            if path is not None:
                self.clients[number].close()
                self.clients[number] = self.open(path)
                self._verify_store(number)
                self.clients[number].close()

    def _verify_store(self, number: int) -> None:
        client = self.clients[number]
        names = {model.place.name for model in self.models[number]}
        check(set(client) == names, f"collections: {sorted(client)}")
        for model in self.models[number]:
            collection = client.get_collection(model.place.name, embedding_function=None)
            check_copy(collection, model)
        report = client.check()
        check(report.is_whole, f"not whole: {report}")


def check_copy(collection: Any, model: Model, reading: Reading | None = None) -> None:
    """Compare all records of a collection with a model, or with what was there in the time of a reading.

    The collection is not written to meanwhile.
    """
    with contextlib.ExitStack() as stack:
        if reading is None:
            reading = stack.enter_context(model.reading())
            reading.end()
        rows: list[NDArray[np.int64]] = []
        for offset in range(0, model.place.capacity, PAGE):
            answer = collection.get(limit=PAGE, offset=offset, include=list(PARTS))
            rows.append(reading.check_ids(answer["ids"], EVERYTHING))
            contents = {part: answer[part] for part in PARTS}
            reading.check_contents(rows[-1], every=True, **contents)
            if len(rows[-1]) < PAGE:
                break
        found = np.concatenate(rows)
        check(len(np.unique(found)) == len(found), "an id is on two pages")
        reading.check_all(found, EVERYTHING)
        check(collection.count() == len(found), f"count {collection.count()}, not {len(found)}")


def drop_copies(client: Any, beginning: str) -> None:
    """Delete copies of collections; what was refused while memory was short is left for the end."""
    for name in list(client):
        if name.startswith(beginning):
            client.delete_collection(name)


class Worker(threading.Thread):
    """Does what comes to mind, and looks at the answers.

    Args:
        soak: All of it.
        number: Whose records it writes to.
    """

    def __init__(self, soak: Soak, number: int) -> None:
        super().__init__(name=f"thread {number}", daemon=True)
        self.soak = soak
        self.number = number
        self.chance = random.Random(1_000 * soak.seed + number)
        self.rng = np.random.default_rng([soak.seed, number])
        #: When the call began that goes on.
        self.begun = time.monotonic()
        #: Pinned collections, and for how many calls more.
        self._pins: dict[tuple[int, str], int] = {}
        self._copies = 0
        weights: dict[Callable[[], None], float] = {
            self.add: 8,
            self.upsert: 6,
            self.update: 6,
            self.delete: 4,
            self.get: 8,
            self.get_ids: 8,
            self.query: 12,
            self.count: 2,
            self.fields: 1,
            self.to_pandas: 1,
            self.transfer: 0.4,
            self.fork: 0.4,
            self.build_index: 1,
            self.unload: 2,
            self.pin: 1,
            self.budget: 1,
        }
        self._kinds, self._weights = list(weights), list(weights.values())

    def run(self) -> None:
        while not self.soak.over:
            (work,) = self.chance.choices(self._kinds, self._weights)
            self.call(work.__name__, work)
            for key in [key for key, left in self._pins.items() if left <= 0]:
                self.call("unpin", partial(self.unpin, key))
            self._pins = {key: left - 1 for key, left in self._pins.items()}
        for key in list(self._pins):
            self.call("unpin", partial(self.unpin, key))

    def call(self, kind: str, work: Callable[[], None]) -> None:
        """Do something, and note what became of it."""
        self.begun, started = time.monotonic(), time.perf_counter()
        before, refused = MACHINE.free(), False
        try:
            work()
            became = "done"
        except MemoryBudgetError as error:
            refused, became = True, f"refused: {error}"
            untrue = untrue_refusal(error, min(before, MACHINE.free()) - WORKSPACE.used)
            if untrue:
                self._failed(kind, f"{untrue}\n{traceback.format_exc()}", stops=False)
        except Exception as error:
            became = f"failed: {type(error).__name__}: {error}"
            self._failed(kind, traceback.format_exc())
        self.begun = time.monotonic()
        seconds = time.perf_counter() - started
        free = f"{MACHINE.free() / MB:.0f} MB free"
        self.say(f"< {kind} {seconds:.3f} s, {free}, {became}"[:400])
        self.soak.book.note(kind, seconds, refused=refused)

    def _failed(self, kind: str, what: str, *, stops: bool = True) -> None:
        """Note a failure; the log shows where."""
        self.say(f"! {kind} failed")
        book = self.soak.book
        with book.lock:
            book.stops |= stops
            if len(book.problems) < MOST_PROBLEMS:
                book.problems.append(f"{self.name}, {kind}: {what}")

    def say(self, text: str) -> None:
        """Write a line to the log."""
        self.soak.say(f"{self.number} {text}")

    # -- what is chosen -----------------------------------------------------------------------

    def choose(self) -> tuple[int, Model, Any]:
        """Return a store's number, the model of a collection, and the collection."""
        store = self.chance.randrange(len(PLACES))
        model = self.chance.choice(self.soak.models[store])
        name = model.place.name
        client = self.soak.clients[store]
        return store, model, client.get_collection(name, embedding_function=None)

    def size(self, most: int) -> int:
        """Return a number from 1 to `most`, small ones as likely as large ones."""
        return min(most, int(np.exp(self.chance.random() * np.log(most + 1))))

    def some(self, rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
        """Return some of the records, in any order."""
        n = min(self.size(most), len(rows))
        return self.rng.permutation(rows)[:n]

    def filter(self) -> Filter:
        """Return a condition, or none."""
        chance = self.chance
        return chance.choice(
            [
                EVERYTHING,
                by_group(chance.randrange(7)),
                by_group(*chance.sample(range(7), 3)),
                by_owner_and_value(chance.randrange(OWNERS), chance.choice([0.0, 60.0, 115.0])),
                by_tag(chance.randrange(40)),
                by_tag(chance.randrange(40), regex=True),
            ]
        )

    def include(self, *more: str) -> list[str]:
        """Return what an answer is to have."""
        return [part for part in (*PARTS, "uris", *more) if self.chance.random() < 0.5]

    # -- writing ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def given(
        self, model: Model, rows: NDArray[np.int64], parts: tuple[int, ...] = (0, 1, 2)
    ) -> Iterator[tuple[NDArray[np.int64], Callable[[int], dict[str, Any]]]]:
        """Give records that there is room for, and what makes a call's arguments of a version."""
        place = model.place
        each = place.sizes(rows, 1) + 120 * place.n_keys(rows, 1) + 4 * place.dimension + 400
        most = MOST_GIVEN if self.chance.random() < 0.1 else MOST_GIVEN // 8
        with self.soak.notebook.giving(min(int(each.sum()), most)) as n_bytes:
            fit = max(1, int(np.searchsorted(np.cumsum(each), n_bytes)))
            rows = rows[:fit]

            def make(version: int) -> dict[str, Any]:
                versions = np.full(len(rows), version)
                made = {PARTS[part]: getattr(place, PARTS[part])(rows, versions) for part in parts}
                return {"ids": names(rows), **made}

            yield rows, make

    def add(self) -> None:
        """Add records; some may be there already, and are left as they are."""
        _, model, collection = self.choose()
        there, missing = model.mine(self.number)
        if not len(missing):
            return
        again = there[: self.chance.choice([0, 0, 0, 3])]
        with self.given(model, self.some(missing, 3_000)) as (rows, make):
            self.say(f"> add {len(rows)} and {len(again)} again to {model.place.name}")
            with model.writing(rows) as version:
                arguments = make(version)
                if len(again):
                    more = {part: getattr(model.place, part)(again, again) for part in PARTS}
                    arguments = {
                        name: [*value, *more.get(name, names(again))]
                        for name, value in arguments.items()
                    }
                collection.add(**arguments)

    def upsert(self) -> None:
        """Write records whether they are there or not."""
        _, model, collection = self.choose()
        rows = np.arange(self.number, model.place.capacity, OWNERS)
        with self.given(model, self.some(rows, 1_500)) as (rows, make):
            self.say(f"> upsert {len(rows)} to {model.place.name}")
            self._change(model, rows, (0, 1, 2), make, collection.upsert)

    def update(self) -> None:
        """Change some parts of records; those that are not there stay away."""
        _, model, collection = self.choose()
        there, missing = model.mine(self.number)
        parts = self.chance.choice([(0, 1, 2), (1,), (2,), (0, 2), (1, 2)])
        if not len(there):
            return
        with self.given(model, self.some(there, 1_500), parts) as (rows, make):
            self.say(f"> update {len(rows)} in {model.place.name}, parts {parts}")
            self._change(model, rows, parts, make, collection.update, unknown=missing[:2])

    def _change(
        self,
        model: Model,
        rows: NDArray[np.int64],
        parts: tuple[int, ...],
        make: Callable[[int], dict[str, Any]],
        change: Callable[..., None],
        unknown: NDArray[np.int64] | None = None,
    ) -> None:
        # Metadata is merged: what is to go has to be named.
        before: list[Any] = [None] * len(rows)
        if 1 in parts:
            versions = model.versions(rows)[1]
            there = np.flatnonzero(versions >= 0)
            found = model.place.metadatas(rows[there], versions[there])
            for at, metadata in zip(there.tolist(), found, strict=True):
                before[at] = metadata
        with model.writing(rows, parts) as version:
            arguments = make(version)
            if 1 in parts:
                arguments["metadatas"] = [
                    {**dict.fromkeys(old or {}), **(new or {})} or None
                    for old, new in zip(before, arguments["metadatas"], strict=True)
                ]
            if unknown is not None and len(unknown):
                for name, value in arguments.items():
                    arguments[name] = [*value, *[value[0]] * len(unknown)]
                arguments["ids"][-len(unknown) :] = names(unknown)
            change(**arguments)

    def delete(self) -> None:
        """Delete records by id, or by a filter that only its own meet."""
        _, model, collection = self.choose()
        there, _ = model.mine(self.number)
        if not len(there):
            return
        if self.chance.random() < 0.7:
            rows = self.some(there, 1_500 if model.n_records > model.place.capacity // 2 else 100)
            arguments: dict[str, Any] = {"ids": names(rows)}
        else:
            wanted = by_owner_and_value(self.number, self.chance.choice([60.0, 100.0, 120.0]))
            rows = there[wanted.meets(model.place, there, model.versions(there))]
            arguments = wanted.arguments()
        self.say(f"> delete {len(rows)} of {model.place.name} by {next(iter(arguments))}")
        with model.writing(rows, deletes=True):
            deleted = collection.delete(**arguments)["deleted"]
        check(deleted == len(rows), f"{deleted:,} deleted, not {len(rows):,}")

    # -- reading ------------------------------------------------------------------------------

    def get(self) -> None:
        """Get what meets a condition, or a page of it."""
        _, model, collection = self.choose()
        wanted, include = self.filter(), self.include()
        limit = self.chance.choice([None, 1, self.size(3_000), self.size(3_000)])
        offset = self.chance.choice([None, None, self.size(3_000)])
        self.say(f"> get {model.place.name} {wanted.arguments()} {limit} {offset} {include}")
        with model.reading() as reading:
            answer = collection.get(
                limit=limit, offset=offset, include=include, **wanted.arguments()
            )
            reading.end()
        rows = self._check_records(reading, answer, wanted, include)
        must, may = (int(np.count_nonzero(one)) for one in reading.matching(wanted))
        skipped = offset or 0
        most = len(rows) if limit is None else limit
        least, possible = (min(max(0, one - skipped), most) for one in (must, may))
        check(least <= len(rows) <= max(possible, least), f"{len(rows)} of {must} to {may} records")
        if limit is None and not skipped:
            reading.check_all(rows, wanted)

    def get_ids(self) -> None:
        """Get records by id; some are of other threads, some are not there."""
        _, model, collection = self.choose()
        include = self.include()
        asked = self.some(np.arange(model.place.capacity), 1_000)
        self.say(f"> get {len(asked)} ids of {model.place.name} {include}")
        with model.reading() as reading:
            answer = collection.get(ids=names(asked), include=include)
            reading.end()
        rows = self._check_records(reading, answer, EVERYTHING, include)
        check(bool(np.isin(rows, asked).all()), "records that were not asked for")
        lost = ~reading.may_lack[asked] & ~np.isin(asked, rows)
        check(not lost.any(), f"{np.count_nonzero(lost)} records are missing")

    def _check_records(
        self, reading: Reading, answer: Any, wanted: Filter, include: list[str]
    ) -> NDArray[np.int64]:
        rows = reading.check_ids(answer["ids"], wanted)
        for part in PARTS:
            check((answer[part] is not None) == (part in include), f"{part} and {include}")
        reading.check_contents(rows, **{part: answer[part] for part in PARTS})
        return rows

    def query(self) -> None:
        """Ask for the nearest records of some queries; the first is a record's own embedding."""
        _, model, collection = self.choose()
        there, _ = model.mine(self.number)
        if not len(there):
            return
        planted = self.some(there, 1)
        place, wanted, include = model.place, self.filter(), [*self.include(), "distances"]
        n_results = self.size(2_000)
        most = max(1, 100_000 // n_results)
        n_queries = self.chance.choice([1, 1, min(self.size(50), most)])
        queries = self.rng.standard_normal((n_queries, place.dimension)).astype(np.float32)
        queries[0] = place.embeddings(planted, model.versions(planted)[2])[0]
        self.say(f"> query {place.name} {n_queries} x {n_results} {wanted.arguments()} {include}")
        with model.reading() as reading:
            answer = collection.query(
                query_embeddings=queries,
                n_results=n_results,
                include=include,
                **wanted.arguments(),
            )
            reading.end()
        check(len(answer["ids"]) == n_queries, f"{len(answer['ids'])} answers")
        must, may = reading.matching(wanted)
        least, most = (min(n_results, int(np.count_nonzero(one))) for one in (must, may))
        for at, (ids, lengths) in enumerate(zip(answer["ids"], answer["distances"], strict=True)):
            rows = reading.check_ids(ids, wanted)
            check(least <= len(rows) <= most, f"{len(rows)} results, not {least} to {most}")
            parts = {part: answer[part][at] for part in PARTS if answer[part] is not None}
            if at < 3:
                reading.check_contents(rows, **parts)
                self._check_distances(reading, rows, np.asarray(lengths), queries[at])
        first, lengths = answer["ids"][0], answer["distances"][0]
        if place.space != "ip" and must[planted[0]]:
            hit = f"r{planted[0]}" in first or (len(lengths) > 0 and lengths[-1] < 1e-5)
            self.soak.book.look("planted", int(hit), 1)
        if self.chance.random() < 0.2 and len(first) and place.space != "ip":
            self._compare_all(reading, must, queries[0], first, lengths[-1])

    def _check_distances(
        self,
        reading: Reading,
        rows: NDArray[np.int64],
        lengths: NDArray[np.float64],
        query: NDArray[np.float32],
    ) -> None:
        check(bool((np.diff(lengths) >= 0).all()), "distances do not ascend")
        still = np.flatnonzero(reading.still(rows))[:100]
        if len(still):
            vectors = reading.embeddings(rows[still])
            right = distances(reading.model.place.space, query, vectors)
            off = np.abs(right - lengths[still]) / np.maximum(1.0, np.abs(right))
            check(bool((off < 1e-5).all()), f"a distance is off by {off.max():.2g}")

    def _compare_all(
        self,
        reading: Reading,
        must: NDArray[np.bool_],
        query: NDArray[np.float32],
        ids: list[str],
        last: float,
    ) -> None:
        """Compute all distances, and count how many of the nearest records were found."""
        rows, place = np.flatnonzero(must), reading.model.place
        block = max(1, BLOCK_BYTES // (16 * place.dimension))
        nearer: set[str] = set()
        for start in range(0, len(rows), block):
            of = rows[start : start + block]
            lengths = distances(place.space, query, reading.embeddings(of))
            nearer.update(names(of[lengths < last - 1e-5]))
        self.soak.book.look("nearest", len(nearer.intersection(ids)), len(nearer))

    def count(self) -> None:
        """Count the records."""
        _, model, collection = self.choose()
        self.say(f"> count {model.place.name}")
        with model.reading() as reading:
            found = collection.count()
            reading.end()
        self._check_number(reading, found)

    def _check_number(
        self, reading: Reading, found: int, wanted: Filter = EVERYTHING, name: str = "records"
    ) -> None:
        must, may = (int(np.count_nonzero(one)) for one in reading.matching(wanted))
        check(must <= found <= may, f"{found:,} {name}, not {must:,} to {may:,}")

    def fields(self) -> None:
        """Describe the metadata."""
        _, model, collection = self.choose()
        self.say(f"> fields {model.place.name}")
        with model.reading() as reading:
            found = {one.key: one for one in collection.fields.describe()}
            reading.end()
        summary = found.get("group")
        has_keys = by_group(*range(7))
        self._check_number(reading, summary.n_records if summary else 0, has_keys, "with a group")
        for value, count in summary.values if summary else []:
            self._check_number(reading, count, by_group(int(value)), f"of group {value}")

    def to_pandas(self) -> None:
        """Make a table of what meets a condition."""
        _, model, collection = self.choose()
        wanted = self.filter()
        self.say(f"> to_pandas {model.place.name} {wanted.arguments()}")
        with model.reading() as reading:
            frame = collection.to_pandas(**wanted.arguments())
            reading.end()
        rows = reading.check_ids(frame["id"].tolist(), wanted)
        reading.check_all(rows, wanted)
        reading.check_contents(rows, documents=frame["document"].tolist() if len(frame) else [])

    # -- copies -------------------------------------------------------------------------------

    def transfer(self) -> None:
        """Export a collection, and import it into one of the stores under another name."""
        _, model, collection = self.choose()
        other = self.chance.choice(self.soak.clients)
        name = self._new_name("imported", model)
        path = self.soak.folder / f"{name}.parquet"
        self.say(f"> transfer {model.place.name} as {name}")
        try:
            with model.reading() as reading:
                collection.export(path)
                reading.end()
            with self._going(other, name):
                check_copy(other.import_(path, name), model, reading)
        finally:
            path.unlink(missing_ok=True)

    def fork(self) -> None:
        """Copy a collection within its store."""
        store, model, collection = self.choose()
        name = self._new_name("forked", model)
        self.say(f"> fork {model.place.name} as {name}")
        with self._going(self.soak.clients[store], name):
            with model.reading() as reading:
                copy = collection.fork(name)
                reading.end()
            check_copy(copy, model, reading)

    def _new_name(self, how: str, model: Model) -> str:
        self._copies += 1
        return f"{how}-{model.place.name}-{self.number}-{self._copies}"

    @contextlib.contextmanager
    def _going(self, client: Any, name: str) -> Iterator[None]:
        """Delete a collection in the end, if it has come to be."""
        try:
            yield
        finally:
            self.call("drop", partial(drop_copies, client, name))

    # -- memory -------------------------------------------------------------------------------

    def build_index(self) -> None:
        """Build a graph."""
        _, model, collection = self.choose()
        self.say(f"> build_index {model.place.name}")
        collection.build_index()

    def unload(self) -> None:
        """Unload a collection, or all."""
        store, model, collection = self.choose()
        everything = self.chance.random() < 0.2
        self.say(f"> unload {'all' if everything else model.place.name}")
        released = (
            self.soak.clients[store].memory.unload_all() if everything else collection.unload()
        )
        check(released >= 0, f"{released:,} bytes released")

    def pin(self) -> None:
        """Pin a collection for some time."""
        store, model, _ = self.choose()
        self.say(f"> pin {model.place.name}")
        self.soak.clients[store].memory.pin(model.place.name)
        self._pins[store, model.place.name] = self.chance.randrange(20)

    def unpin(self, key: tuple[int, str]) -> None:
        """Let it go again."""
        self._pins.pop(key, None)
        self.say(f"> unpin {key[1]}")
        self.soak.clients[key[0]].memory.unpin(key[1])

    def budget(self) -> None:
        """Choose another budget."""
        client, budget = self.chance.choice(self.soak.clients), self.chance.choice(BUDGETS)
        self.say(f"> budget {budget}")
        client.memory.budget = budget


def names(rows: NDArray[np.int64]) -> list[str]:
    """Return the ids of records."""
    return [f"r{row}" for row in rows.tolist()]


def untrue_refusal(error: MemoryBudgetError, free: int) -> str:
    """Return what is untrue of a refusal; nothing where it is right.

    Args:
        error: The refusal.
        free: The least that was known to be free on the machine meanwhile.
    """
    said = str(error)
    if "Ways out: " not in said:
        return "a refusal without ways out"
    if error.need <= error.free:
        return f"a refusal of {error.need:,} bytes with {error.free:,} free"
    if error.budget is None and error.need + SLACK < free:
        return f"a refusal of {error.need:,} bytes with {free:,} free on the machine"
    return ""


def work(folder: Path, seed: int, engine: str, seconds: float) -> None:
    """Do all of it in this process; what was found is in ``found.json`` afterwards."""
    faulthandler.enable()
    found = Soak(folder, seed, engine, seconds).run()
    (folder / "found.json").write_text(json.dumps(found, indent=1) + "\n")


__all__ = ["Wrong", "work"]
