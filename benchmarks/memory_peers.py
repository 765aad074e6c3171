"""Compare several stores where memory is short: ``python -m benchmarks.memory_peers``.

chroma_nb, chromadb, LanceDB and zvec hold the same records, each with its own defaults. Each trial runs for
each store in a fresh process, in a cgroup of its own, and all answers are checked by the same code. It prints
a table of the outcomes. ``--only M1,M5-ids`` chooses trials, ``--engines chromadb,zvec`` chooses stores, and
``--stores FOLDER`` keeps the stores for the next run. A store that is not installed is named, and left out.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import memory_trial_stores as stores
from benchmarks import memory_trials
from benchmarks.memory_limit import limit
from benchmarks.memory_peer_stores import PEERS, Peer, is_installed
from benchmarks.memory_trial_stage import (
    MB,
    Stage,
    Trial,
    Wrong,
    anonymous,
    check,
    check_query,
    check_record,
    check_records,
    chosen,
    find,
    grow,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.memory_trials import Row

    #: Asks a store, checks the answer, and returns what was seen in words.
    Question = Callable[[Stage, Peer], str]

MODULE = "benchmarks.memory_peers"
#: Records of one `add`, where records are added in pieces.
PIECE = 1_000
#: Words by which an error that is no MemoryError still means a lack of memory.
SAID = ("memory", "resources exhausted")


def asked(question: Question, afterwards: Question | None = None) -> Callable[[Stage], str]:
    """Return a trial of a question. If it is refused, the store still has to answer `afterwards`."""

    def trial(stage: Stage) -> str:
        with contextlib.closing(PEERS[stage.engine](stage.work / "store", stage.engine)) as peer:
            try:
                return question(stage, peer)
            except Wrong:
                raise
            except Exception as error:
                said = str(error).lower()
                if not isinstance(error, MemoryError) and not any(one in said for one in SAID):
                    raise
                stage.step(f"refused: {error}")
                (afterwards or _still_answers)(stage, peer)
                raise MemoryError(str(error)) from error

    return trial


def _still_answers(stage: Stage, peer: Peer) -> str:
    return _ask(stage, peer, stage.recipe.parts[0])


def _ask(
    stage: Stage,
    peer: Peer,
    part: stores.Part,
    first: int = 0,
    count: int = 1,
    top: int = 10,
    *,
    documents: bool = False,
) -> str:
    """Run queries whose answers are known, and check the answer.

    Args:
        stage: The trial's stage.
        peer: The store.
        part: The collection.
        first: The first query.
        count: Queries.
        top: Results of each query.
        documents: Return the documents, and check those of the first query.
    """
    known, at = stage.known(part.name), slice(first, first + count)
    answer = peer.query(part, known.queries[at], top, documents=documents)
    seen = check_query(answer, known, at, top)
    if documents:
        texts = {"ids": answer["ids"][0], "documents": answer["documents"][0], "metadatas": None}
        for place in range(top):
            check_record(part, texts, place)
    return seen


# -- the questions ----------------------------------------------------------------------------


def ties(stage: Stage, peer: Peer) -> str:
    """Query for ten of many equal records."""
    part = stage.recipe.parts[0]
    answer = peer.query(part, stage.known(part.name).queries[:1], 10)
    check(len(set(answer["ids"][0])) == 10, f"ids {answer['ids'][0]}")
    check(answer["distances"][0] == [0.0] * 10, f"distances {answer['distances'][0]}")
    return "ten ids"


def queries(count: int, top: int) -> Question:
    """Return a question of `count` queries at once, with `top` results each."""

    def question(stage: Stage, peer: Peer) -> str:
        return _ask(stage, peer, stage.recipe.parts[0], 0, count, top)

    return question


def index(stage: Stage, peer: Peer) -> str:
    """Add vectors in pieces, build a graph of them, and query."""
    part = stage.recipe.parts[0]
    vectors = np.load(stores.vectors_file(stage.original, part.name), mmap_mode="r")
    peer.create(part)
    for first in range(0, part.n, PIECE):
        stage.step(f"{first:,} added")
        rows = range(first, min(first + PIECE, part.n))
        peer.add(part, stores.records(part, rows, np.array(vectors[rows.start : rows.stop])))
    stage.step("all added")
    peer.build(part)
    stage.step("built")
    return _ask(stage, peer, part)


def export(stage: Stage, peer: Peer) -> str:
    """Export everything to a Parquet file, by the store's own means."""
    import pyarrow.parquet as pq

    part, path = stage.recipe.parts[0], stage.work / "out.parquet"
    peer.export(part, path)
    stage.step("written")
    with pq.ParquetFile(path) as file:
        check("embedding" in file.schema_arrow.names, f"columns {file.schema_arrow.names}")
        ids = [id for b in file.iter_batches(columns=["id"]) for id in b["id"].to_pylist()]
        texts = ["document"] if part.text else []
        first = next(file.iter_batches(batch_size=1, columns=["id", *texts]))
    answer: Any = {"ids": ids, "documents": None, "metadatas": None}
    check_records(part, answer, range(part.n), in_order=False)
    columns = first.to_pydict()
    answer = {"ids": columns["id"], "documents": columns.get("document"), "metadatas": None}
    check_record(part, answer, 0)
    return f"{path.stat().st_size / MB:.0f} MB"


def ids_alone(stage: Stage, peer: Peer) -> str:
    """Get all ids and nothing else."""
    part = stage.recipe.parts[0]
    check_records(part, peer.get(part), range(part.n), in_order=False)
    return f"{part.n:,} ids"


def get_all(stage: Stage, peer: Peer) -> str:
    """Get all documents and metadata."""
    part = stage.recipe.parts[0]
    check_records(part, peer.get(part, whole=True), range(part.n), in_order=False)
    return f"{part.n:,} records"


def _added(peer: Peer, name: str, step: int) -> str:
    part = stores.Part(name, 8_000, 64, text=5_000)
    vectors = np.random.default_rng(5).standard_normal((part.n, part.dimension), dtype=np.float32)
    peer.create(part)
    for first in range(0, part.n, step):
        rows = range(first, min(first + step, part.n))
        peer.add(part, stores.records(part, rows, vectors[rows.start : rows.stop]))
    check(peer.count(part) == part.n, f"{peer.count(part):,} records")
    last = range(part.n - 1, part.n)
    answer = peer.get(part, ids=[stores.record_id(last[0])], whole=True)
    check_records(part, answer, last)
    return f"{part.n:,} records"


def add_at_once(stage: Stage, peer: Peer) -> str:
    """Add 8,000 records in one call, or in as few calls as the store takes."""
    return _added(peer, "added", 8_000)


def add_in_parts(stage: Stage, peer: Peer) -> str:
    """Add 8,000 records in parts of 500."""
    return _added(peer, "parts", 500)


def key_filters(stage: Stage, peer: Peer) -> str:
    """Filter by five metadata keys, with a query and with a get of all matching ids each."""
    part = stage.recipe.parts[0]
    _ask(stage, peer, part)
    for key in (4, 7, 10, 13, 16):
        below = (f"k{key:02}", 12.5)
        rows = (row for row in range(part.n) if stores.value(row, key) < 12.5)  # type: ignore[operator]
        right = {stores.record_id(row) for row in rows}
        stage.step(f"filter on {below[0]}")
        ids = peer.query(part, stage.known(part.name).queries[:1], 10, below=below)["ids"][0]
        check(len(set(ids)) == 10 and right.issuperset(ids), f"{ids} for {below[0]}")
        found = peer.get(part, below=below)["ids"]
        check(set(found) == right, f"{len(found):,}, not {len(right):,} for {below[0]}")
    return "five keys"


def growing(stage: Stage, peer: Peer) -> str:
    """Query ten collections while the process's arrays grow, with a query after each step."""
    others = anonymous()
    parts = {part.name: part for part in stage.recipe.parts}
    for part in parts.values():
        _ask(stage, peer, part)

    def look() -> str:
        return f"{anonymous() / MB:.0f} MB in all"

    def ask_one(name: str, query: int) -> None:
        _ask(stage, peer, parts[name], query)

    arrays = grow(stage, others, look, ask_one, list(parts))
    return f"{sum(map(len, arrays)) // MB} MB of arrays"


def long_get(stage: Stage, peer: Peer) -> str:
    """Get one record with a long text."""
    part = stage.recipe.part("long-1m")
    check_records(part, peer.get(part, ids=["r17"], whole=True), range(17, 18))
    return "one record"


def long_query(stage: Stage, peer: Peer) -> str:
    """Query for the ten nearest, with their long texts."""
    return _ask(stage, peer, stage.recipe.part("long-1m"), documents=True)


def long_contains(stage: Stage, peer: Peer) -> str:
    """Find the one long text that contains these words."""
    part = stage.recipe.part("long-1m")
    ids = peer.get(part, contains=f"document 17 of {part.name}:")["ids"]
    check(ids == ["r17"], f"{ids}")
    return "one found"


def _trial(name: str, mb: int, store: str, title: str, *questions: Question) -> Trial:
    return Trial(name, mb, store, asked(*questions), seconds=300, title=title)


TRIALS = (
    _trial("M1-ties", 200, "SAME", "10 nearest of 100,000 equal vectors x 384", ties),
    _trial("M2-queries", 200, "B384", "100 queries at once, 100,000 x 384", queries(100, 10)),
    _trial("M2-results", 300, "B384", "60,000 results, 100,000 x 384", queries(1, 60_000)),
    *(
        _trial(
            f"M2-both-{mb}", mb, "B384", "300 queries of 1,000 results each", queries(300, 1_000)
        )
        for mb in (200, 300)
    ),
    _trial("M3-index", 300, "WIDE", "add and index 36,000 x 3,072, in pieces", index),
    _trial("M4-texts", 300, "TEXT", "export 20,000 documents of 5 kB to Parquet", export),
    _trial("M4-vectors", 200, "B384", "export 100,000 x 384 to Parquet", export),
    _trial("M5-ids", 200, "TEXT", "all ids of records with 100 MB of documents", ids_alone),
    _trial("M6-get-all", 350, "TEXT", "get all of 20,000 documents of 5 kB", get_all),
    _trial(
        "M7-add", 200, "EMPTY", "add 8,000 documents of 5 kB at once", add_at_once, add_in_parts
    ),
    _trial("M8-filters", 300, "KEYS", "filter by five of 20 keys, 100,000 records", key_filters),
    _trial("M10-growing", 400, "TEN", "query ten collections while arrays grow to 90 %", growing),
    _trial("M12-get", 300, "LONG", "get one of 300 documents of 1 MB by its id", long_get),
    _trial("M12-query", 300, "LONG", "the 10 nearest with documents of 1 MB", long_query),
    _trial("M12-contains", 300, "LONG", "search for words in 300 documents of 1 MB", long_contains),
)


# -- the stores -------------------------------------------------------------------------------


def prepare(store: Path, engine: str) -> None:
    """Make a store, by the same recipe for each engine."""
    if PEERS[engine].module == "chroma_nb":
        stores.prepare(store, engine)
        return
    stores.clear(store)
    with contextlib.closing(PEERS[engine](store, engine)) as peer:

        def write(part: stores.Part, pieces: Any) -> None:
            peer.create(part)
            for piece in pieces:
                peer.add(part, piece)

        stores.fill(store, write)
    stores.mark(store)


# -- the table --------------------------------------------------------------------------------


def label(engine: str) -> str:
    """Return the heading of an engine's column."""
    module = PEERS[engine].module
    return engine if engine == module else f"{module} ({engine})"


def _cell(row: Row) -> str:
    if row.outcome == "right":
        return f"right, {row.seconds:.1f} s"
    return f"**{row.outcome}**" if row.outcome == "killed" else row.outcome


def table(outcomes: dict[str, list[Row]]) -> str:
    """Return the outcomes of each engine as a Markdown table, with a note on each that is wrong or failed."""
    heads = ["asked", "limit", *(label(engine) for engine in outcomes)]
    lines = [heads, ["---"] * len(heads)]
    for rows in zip(*outcomes.values(), strict=True):
        trial = find(rows[0].trial, TRIALS)
        about = [f"{trial.title} (`{trial.name}`)", f"{rows[0].limit_mb} MB"]
        lines.append([*about, *(_cell(row) for row in rows)])
    notes = [
        f"* {row.trial}, {label(engine)}: {row.outcome}: {memory_trials.short(row.seen)}"
        for engine, rows in outcomes.items()
        for row in rows
        if row.outcome not in ("right", "killed", "refused")
    ]
    return "\n".join([*(f"| {' | '.join(line)} |" for line in lines), "", *notes])


def _about(engines: list[str]) -> str:
    from benchmarks.machine import machine

    found = machine()
    versions = dict.fromkeys(PEERS[engine].version() for engine in engines)
    with limit(100 * MB) as group:
        kind = group.kind
    return (
        f"Limits by {kind}. {', '.join(versions)}; {found['processor']}, {found['memory']}; "
        f"{found['system']}; {found['python']}."
    )


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    parser.add_argument("--only", default="", help="cases or trials, separated by commas")
    parser.add_argument("--engines", default=",".join(PEERS), help=f"of {', '.join(PEERS)}")
    parser.add_argument("--limit", type=int, help="MB for each, to see that all answer with room")
    parser.add_argument("--stores", type=Path, help="folder that keeps the stores")
    parser.add_argument("--json", type=Path, help="file for the outcomes")
    parser.add_argument("--list", action="store_true", help="print the trials and end")
    for name in ("--child", "--prepare", "--engine"):
        parser.add_argument(name, default="", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(given)
    unknown = set(options.engines.split(",")) - set(PEERS)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}: one of {', '.join(PEERS)}")
    return options


def main(given: list[str] | None = None) -> dict[str, list[Row]]:
    """Run the trials for the stores that are installed, and print the outcomes."""
    options = arguments(given)
    trials = chosen(options.only, TRIALS)
    if options.limit:
        trials = [dataclasses.replace(one, limit_mb=options.limit) for one in trials]
    if options.list:
        print("\n".join(f"{one.name}  {one.limit_mb} MB, {one.title}" for one in trials))
        return {}
    outcomes: dict[str, list[Row]] = {}
    absent = []
    for engine in options.engines.split(","):
        if not is_installed(engine):
            absent.append(f"* {label(engine)}: not installed (`pip install {engine}`)")
            continue
        outcomes[engine] = []
        with memory_trials.folder_of(options.stores, engine) as folder:
            memory_trials.prepare(trials, folder, engine, module=MODULE)
            for trial in trials:
                row = memory_trials.run(trial, folder, engine, module=MODULE)
                outcomes[engine].append(row)
                memory_trials.say(f"{engine} {trial.name}: {row.outcome} ({row.seconds} s)")
                if options.json:
                    found = {
                        e: [dataclasses.asdict(r) for r in rows] for e, rows in outcomes.items()
                    }
                    options.json.write_text(json.dumps(found, indent=1) + "\n")
    print("\n".join([_about(list(outcomes)), "", table(outcomes), *absent]))
    return outcomes


def _begin() -> int:
    options = arguments()
    if options.prepare:
        prepare(options.stores / options.prepare, options.engine)
        return 0
    if options.child:
        trial = find(options.child, TRIALS)
        original = options.stores / trial.store
        Stage(options.work, options.engine, original, "", (MemoryError,)).finish(trial)
        return 0
    # A store that is killed is a result like any other, chroma_nb's included: the status is 0.
    main()
    return 0


if __name__ == "__main__":
    sys.exit(_begin())
