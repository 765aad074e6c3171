"""The trials of `benchmarks.memory_trials`: what a store is asked to do where memory is short.

A trial's function runs in a fresh process. It returns what it saw, in words, and raises where something is
wrong. `TRIALS`, at the end, lists them all.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import memory_trial_budgets as budgets
from benchmarks import memory_trial_servers as servers
from benchmarks import memory_trial_stores as stores
from benchmarks.memory_trial_stage import (
    MB,
    Skipped,
    Stage,
    Trial,
    ask,
    check,
    check_records,
    collection_of,
)
from chroma_nb.errors import MemoryBudgetError

if TYPE_CHECKING:
    from collections.abc import Callable

    import chroma_nb

# -- M1: ties ---------------------------------------------------------------------------------


def ties(stage: Stage) -> str:
    """Query for ten of 200,000 equal records."""
    with stage.open() as client:
        answer = collection_of(client, "dup").query(
            query_embeddings=stage.known("dup").queries[:1], n_results=10
        )
    check(len(set(answer["ids"][0])) == 10, f"ids {answer['ids'][0]}")
    check(answer["distances"][0] == [0.0] * 10, f"distances {answer['distances'][0]}")
    return "ten ids"


# -- M2: many queries, many results -----------------------------------------------------------


def queries(name: str, count: int, n_results: int) -> Callable[[Stage], str]:
    """Return a trial of `count` queries with `n_results` each, in one call."""

    def trial(stage: Stage) -> str:
        with stage.open() as client:
            return ask(collection_of(client, name), stage.known(name), 0, count, n_results)

    return trial


# -- M3: building, compacting -----------------------------------------------------------------


def build(stage: Stage) -> str:
    """Build a graph; if that is refused, the collection still answers."""
    known = stage.known("wide")
    with stage.open() as client:
        collection = collection_of(client, "wide")
        try:
            collection.build_index()
        except MemoryBudgetError:
            stage.step("refused: " + ask(collection, known))
            raise
        stage.step("built")
        return ask(collection, known)


def background_build(stage: Stage) -> str:
    """Open, query once and wait, so that the graph is built in the background."""
    known = stage.known("wide")
    with stage.open() as client:
        collection = collection_of(client, "wide")
        ask(collection, known)
        until = time.monotonic() + 150
        status = collection.get_indexing_status()
        while status.num_unindexed_ops and time.monotonic() < until:
            stage.step(f"{status.num_indexed_ops:,} indexed")
            time.sleep(0.5)
            status = collection.get_indexing_status()
        form = client.memory.report().collections[0].form
        return f"{ask(collection, known, 1)}, {form}, {status.num_indexed_ops:,} indexed"


def compaction(stage: Stage) -> str:
    """Delete 55 %, and wait until the files are rewritten."""
    gone = [row for row in range(36_000) if _is_deleted(row)]
    with stage.open() as client:
        collection = collection_of(client, "wide")
        before = _size(stage.work / "store")
        collection.delete(ids=[stores.record_id(row) for row in gone])
        stage.step("deleted")
        until = time.monotonic() + 60
        while _size(stage.work / "store") > 0.7 * before and time.monotonic() < until:
            time.sleep(0.5)
        stage.step("waited")
        check(collection.count() == 36_000 - len(gone), f"{collection.count():,} records are left")
        known = stage.known("wide")
        at = next(at for at, row in enumerate(known.rows[:, 0]) if not _is_deleted(row))
        ids = collection.query(query_embeddings=known.queries[at : at + 1])["ids"][0]
        check(ids[0] == stores.record_id(known.rows[at, 0]), f"{ids[0]} comes first")
        check(not any(_is_deleted(int(one[1:])) for one in ids), "a deleted record comes")
        form = client.memory.report().collections[0].form
    return f"{form}, {before / MB:.0f} MB on the disk, then {_size(stage.work / 'store') / MB:.0f}"


def _is_deleted(row: int) -> bool:
    return row % 20 < 11


def _size(folder: Path) -> int:
    return sum(one.stat().st_size for one in folder.rglob("*") if one.is_file())


# -- M4: export and import --------------------------------------------------------------------


def export(stage: Stage) -> str:
    """Export everything to a Parquet file."""
    import pyarrow.parquet as pq

    part = stage.recipe.parts[0]
    path = stage.work / "out.parquet"
    with stage.open() as client:
        written = collection_of(client, part.name).export(path)
    stage.step("written")
    check(written == part.n, f"{written:,} written")
    with pq.ParquetFile(path) as file:
        check(file.metadata.num_rows == part.n, f"{file.metadata.num_rows:,} in the file")
        ids = next(file.iter_batches(batch_size=10, columns=["id"]))["id"].to_pylist()
    check(ids == [stores.record_id(row) for row in range(10)], f"ids {ids}")
    return f"{path.stat().st_size / MB:.0f} MB"


def import_(stage: Stage) -> str:
    """Import a Parquet file into a new store."""
    part = stage.recipe.parts[0]
    with stage.open("imported") as client:
        client.import_(stores.parquet(stage.original), "again")
        collection = collection_of(client, "again")
        stage.step("imported")
        check(collection.count() == part.n, f"{collection.count():,} records")
        last = range(part.n - 1, part.n)
        check_records(part, collection.get(ids=[stores.record_id(last[0])]), last)
        return ask(collection, stage.known(part.name))


def to_arrow(stage: Stage) -> str:
    """Get a tenth of a collection as an Arrow table."""
    part = stage.recipe.parts[0]
    with stage.open() as client:
        table = collection_of(client, part.name).to_arrow(where={"tenth": 3})
    expected = [stores.record_id(row) for row in range(3, part.n, 10)]
    check(table["id"].to_pylist() == expected, f"{table.num_rows:,} rows")
    if part.text:
        right = table["document"][-1].as_py() == stores.document(part, part.n - 7)
        check(right, "a document differs")
    return f"{table.num_rows:,} rows, {table.nbytes / MB:.0f} MB"


def to_pandas(stage: Stage) -> str:
    """Get a whole collection as a DataFrame, without its embeddings."""
    part = stage.recipe.parts[0]
    with stage.open() as client:
        frame = collection_of(client, part.name).to_pandas()
    check(len(frame) == part.n, f"{len(frame):,} rows")
    check((frame["tenth"] == np.arange(part.n) % 10).all(), "a column differs")
    if part.text:
        check(frame["document"].iloc[-1] == stores.document(part, part.n - 1), "a text differs")
    return f"{len(frame):,} rows, {frame.shape[1]} columns"


def plot(stage: Stage) -> str:
    """Draw a map of 5,000 records."""
    with stage.open() as client:
        drawn = collection_of(client, stage.recipe.parts[0].name).plot()
        points = drawn.to_pandas()
        check(len(points) == 5_000, f"{len(points):,} points")
        check(np.isfinite(points[["x", "y"]].to_numpy()).all(), "a point is nowhere")
        bundle: Any = drawn._repr_mimebundle_()
    return f"{len(bundle[0]['image/png']):,} bytes of PNG"


# -- M5, M6: get ------------------------------------------------------------------------------


def ids_alone(stage: Stage) -> str:
    """Get only the ids of a collection that is not loaded."""
    part = stage.recipe.parts[0]
    with stage.open() as client:
        answer = collection_of(client, part.name).get(include=[])
        held = client.memory.report().used
    check_records(part, answer, range(part.n))
    return f"{len(answer['ids']):,} ids, {held / MB:.0f} MB held"


def get_all(stage: Stage) -> str:
    """Get all documents and metadata; if that is refused, 100 records."""
    part = stage.recipe.parts[0]
    with stage.open() as client:
        collection = collection_of(client, part.name)
        try:
            answer = collection.get()
        except MemoryBudgetError:
            check_records(part, collection.get(limit=100), range(100))
            raise
        check_records(part, answer, range(part.n))
    return f"{len(answer['ids']):,} records"


# -- M7: add ----------------------------------------------------------------------------------


def add_at_once(stage: Stage) -> str:
    """Add 8,000 documents of 5 kB in one call; if that is refused, in parts."""
    part = stores.STORES["TEXT"].parts[0]
    ids = [stores.record_id(row) for row in range(8_000)]
    texts = [stores.document(part, row) for row in range(8_000)]
    vectors = np.random.default_rng(5).standard_normal((8_000, 64), dtype=np.float32)
    refused = None
    with stage.open() as client:
        collection = client.create_collection("added", embedding_function=None)
        stage.step("the call")
        try:
            collection.add(ids=ids, embeddings=vectors, documents=texts)
        except MemoryBudgetError as error:
            refused = error
            for first in range(0, 8_000, 500):
                rows = slice(first, first + 500)
                collection.add(ids=ids[rows], embeddings=vectors[rows], documents=texts[rows])
        stage.step("added")
        check(collection.count() == 8_000, f"{collection.count():,} records")
        answer = collection.get(ids=ids[7_999:], include=["documents"])
        check(answer["documents"] == texts[7_999:], "the last document differs")
    if refused is not None:
        raise refused
    return "8,000 records"


def add_long_texts(stage: Stage) -> str:
    """Add 20 documents of 100 kB, sixty times."""
    part = stores.Part("added", 1_200, 64, text=100_000)
    rng = np.random.default_rng(5)
    with stage.open() as client:
        collection = client.create_collection("added", embedding_function=None)
        for first in range(0, part.n, 20):
            stage.step(f"{first:,} added")
            rows = range(first, first + 20)
            collection.add(
                ids=[stores.record_id(row) for row in rows],
                embeddings=rng.standard_normal((20, part.dimension), dtype=np.float32),
                documents=[stores.document(part, row) for row in rows],
                metadatas=[stores.metadata(part, row) for row in rows],
            )
        check(collection.count() == part.n, f"{collection.count():,} records")
        last = range(part.n - 1, part.n)
        check_records(part, collection.get(ids=[stores.record_id(last[0])]), last)
    return f"{part.n:,} records"


# -- M8: filters on metadata ------------------------------------------------------------------


def key_filters(stage: Stage) -> str:
    """Filter by five keys of a loaded collection, each twice."""
    part, known = stage.recipe.part("cols"), stage.known("cols")
    times: tuple[list[float], list[float]] = ([], [])
    with stage.open() as client:
        collection = collection_of(client, "cols")
        ask(collection, known)
        for key in (4, 7, 10, 13, 16):
            where: Any = {f"k{key:02}": {"$lt": 12.5}}
            right = {
                stores.record_id(row)
                for row in range(part.n)
                if stores.value(row, key) < 12.5  # type: ignore[operator]
            }
            for turn in range(2):
                stage.step(f"filter on k{key:02}, turn {turn + 1}")
                started = time.perf_counter()
                answer = collection.query(query_embeddings=known.queries[:1], where=where)
                times[turn].append(time.perf_counter() - started)
                ids = answer["ids"][0]
                check(len(ids) == 10 and right.issuperset(ids), f"{ids} for k{key:02}")
            found = collection.get(where=where, include=[])["ids"]
            check(set(found) == right, f"{len(found):,} instead of {len(right):,} for k{key:02}")
    shown = [", ".join(f"{one:.2f}" for one in each) for each in times]
    return f"first filters {shown[0]} s, again {shown[1]} s"


def list_filter(stage: Stage) -> str:
    """Filter by a number in lists of 100, twice."""
    part, known = stage.recipe.part("lists"), stage.known("lists")
    where: Any = {"floats": {"$contains": 250.125}}
    right = [
        stores.record_id(row) for row in range(part.n) if 151 <= row % stores.LIST_STEPS <= 250
    ]
    with stage.open() as client:
        collection = collection_of(client, "lists")
        ask(collection, known)
        for turn in range(2):
            stage.step(f"turn {turn + 1}")
            found = collection.get(where=where, include=[])["ids"]
            check(found == right, f"{len(found):,} instead of {len(right):,}")
            ids = collection.query(query_embeddings=known.queries[:1], where=where)["ids"][0]
            check(len(ids) == 10 and set(ids) <= set(right), f"{ids}")
    return f"{len(right):,} found"


# -- M9: the model ----------------------------------------------------------------------------


def embed(stage: Stage) -> str:
    """Embed 200 documents of 400 words with MiniLM, and query for one of them."""
    beside = Path(__file__).parents[2] / "shared/models/all-MiniLM-L6-v2/onnx"
    model = Path(os.environ.get("CHROMA_NB_MINILM_PATH") or beside)
    if not (model / "model.onnx").is_file():
        raise Skipped("MiniLM is not here: set CHROMA_NB_MINILM_PATH")
    rng = np.random.default_rng(6)
    known_words = (model / "vocab.txt").read_text(encoding="utf-8").split()
    words = [one for one in known_words if one.isalpha() and len(one) > 3]
    texts = [" ".join(words[at] for at in rng.integers(0, len(words), 400)) for _ in range(200)]
    with stage.open(minilm_path=str(model), embedding="minilm", offline=True) as client:
        collection = client.create_collection("texts")
        collection.add(ids=[stores.record_id(row) for row in range(200)], documents=texts)
        stage.step("added")
        check(collection.count() == 200, f"{collection.count()} records")
        answer = collection.query(query_texts=[texts[17]], n_results=1)
    check(answer["ids"] == [["r17"]], f"{answer['ids']} comes first")
    check(answer["distances"][0][0] < 1e-3, f"at a distance of {answer['distances'][0][0]}")
    return "200 documents"


# -- SQL ----------------------------------------------------------------------------------------


def sql_embeddings(stage: Stage) -> str:
    """Read all embeddings with SQL; if that is refused, those of 100 records."""
    part = stage.recipe.parts[0]
    query = f"SELECT id, embedding FROM {part.name}"
    with stage.open() as client:
        try:
            frame = client.sql(query)
        except MemoryBudgetError:
            few = client.sql(f"{query} LIMIT 100")
            check(len(few) == 100, f"{len(few)} rows")
            raise
        right = collection_of(client, part.name).get(
            ids=[str(frame["id"].iloc[-1])], include=["embeddings"]
        )
    check(len(frame) == part.n, f"{len(frame):,} rows")
    check((frame["embedding"].iloc[-1] == right["embeddings"][0]).all(), "an embedding differs")
    return f"{len(frame):,} rows"


# -- M12: long texts --------------------------------------------------------------------------


def long_query(stage: Stage, collection: chroma_nb.Collection, part: stores.Part) -> str:
    """Query for the ten nearest, with their texts."""
    return ask(collection, stage.known(part.name))


def long_get(stage: Stage, collection: chroma_nb.Collection, part: stores.Part) -> str:
    """Get one record."""
    check_records(part, collection.get(limit=1), range(1))
    return "one record"


def long_contains(stage: Stage, collection: chroma_nb.Collection, part: stores.Part) -> str:
    """Find the one text that contains these words."""
    words: Any = {"$contains": f"document 17 of {part.name}:"}
    ids = collection.get(where_document=words, include=[])["ids"]
    check(ids == ["r17"], f"{ids}")
    return "one found"


def long_peek(stage: Stage, collection: chroma_nb.Collection, part: stores.Part) -> str:
    """Peek at the first ten."""
    check_records(part, collection.peek(), range(10))
    return "ten records"


LONG_ACTIONS: dict[str, Callable[[Stage, chroma_nb.Collection, stores.Part], str]] = {
    "query": long_query,
    "get": long_get,
    "contains": long_contains,
    "peek": long_peek,
}


def long_texts(name: str, action: str, budget: str) -> Callable[[Stage], str]:
    """Return a trial of a collection of long texts; if it is refused, it is repeated with a larger budget."""

    def trial(stage: Stage) -> str:
        part = stage.recipe.part(name)
        try:
            with stage.open(memory_budget=budget) as client:
                return LONG_ACTIONS[action](stage, collection_of(client, name), part)
        except MemoryBudgetError as error:
            refused = error
        stage.step(f"refused: {refused} Then its ways out")
        wider: dict[str, str] = {"memory_budget": "400 MB"}
        if "duckdb_memory_limit" in str(refused):
            wider["duckdb_memory_limit"] = "1 GB"
        try:
            with stage.open(**wider) as client:
                LONG_ACTIONS[action](stage, collection_of(client, name), part)
        except MemoryBudgetError as error:
            raise MemoryBudgetError(f"{refused} After its ways out: {error}") from error
        raise MemoryBudgetError(f"{refused} After its ways out: right.")

    return trial


# -- all trials -------------------------------------------------------------------------------

TRIALS = (
    *(Trial(f"M1-ties-{mb}", mb, "DUP", ties) for mb in (200, 300, 400, 600)),
    *(Trial(f"M2-100-queries-{mb}", mb, "BIG", queries("big", 100, 10)) for mb in (160, 200)),
    Trial("M2-300-times-1000-results", 200, "B384", queries("many", 300, 1_000)),
    *(Trial(f"M2-60000-results-{mb}", mb, "B384", queries("many", 1, 60_000)) for mb in (220, 300)),
    *(Trial(f"M3-build-index-{mb}", mb, "D3072", build, seconds=240) for mb in (250, 300)),
    *(Trial(f"M3-builder-{mb}", mb, "D3072", background_build, seconds=240) for mb in (250, 300)),
    Trial("M3-compaction", 200, "D3072", compaction),
    *(
        Trial(f"M4-{function.__name__.strip('_')}-{store}-{mb}", mb, store, function)
        for mb in (300, 500)
        for store in ("D3072", "TEXT")
        for function in (export, import_, to_arrow, to_pandas, plot)
    ),
    Trial("M5-ids-TEXT", 200, "TEXT", ids_alone),
    Trial("M5-ids-COLS", 200, "COLS", ids_alone),
    *(Trial(f"M6-get-all-{mb}", mb, "TEXT", get_all) for mb in (300, 350)),
    Trial("M7-add-at-once", 200, "EMPTY", add_at_once),
    *(Trial(f"M7-long-texts-{mb}", mb, "EMPTY", add_long_texts) for mb in (200, 220)),
    Trial("M7-server-upserts", 300, "EMPTY", servers.upserts, server=True),
    Trial("M8-key-filters", 300, "COLS", key_filters),
    Trial("M8-list-filter", 200, "COLS", list_filter),
    Trial("M9-minilm", 300, "EMPTY", embed),
    Trial("M10-growing", 400, "TEN", budgets.growing),
    Trial("M10-growing-at-once-150", 400, "TEN", budgets.growing_at_once(150 * MB)),
    Trial("M10-growing-at-once-200", 400, "TEN", budgets.growing_at_once(200 * MB)),
    Trial("M10-shrinking", 400, "TEN", budgets.shrinking),
    Trial("M11-server-gets", 400, "TEXT", servers.gets, server=True),
    Trial("SQL-embeddings", 220, "D4096", sql_embeddings),
    *(
        Trial(
            f"M12-{name}-{action}-{'300' if mb else 'budget-50'}",
            mb,
            "LONG",
            long_texts(name, action, "auto" if mb else "50 MB"),
        )
        for mb in (300, 0)
        for name in ("long-60k", "long-1m")
        for action in LONG_ACTIONS
    ),
    Trial("M13-two-stores", 300, "EMPTY", budgets.two_stores),
    Trial("M15-room-again", 0, "TEN", budgets.room_again),
    Trial(
        "M16-bits-TEN",
        0,
        "TEN",
        budgets.same_answers(
            ("part-0", "part-1", "part-2"),
            ("400 MB", "18.5 MB", "17 MB", "13 MB", "8 MB"),
            build=True,
        ),
    ),
    Trial(
        "M16-bits-B384",
        0,
        "B384",
        budgets.same_answers(("many",), ("400 MB", "90 MB", "40 MB", "4 MB", "1 MB"), build=False),
    ),
    Trial(
        "M16-bits-D3072",
        0,
        "D3072",
        budgets.same_answers(("wide",), ("400 MB", "40 MB", "1 MB"), build=False),
    ),
    Trial("M17-named-budget", 0, "TEN", budgets.named_budget),
    Trial("M18-preview-of-a-pin", 0, "TEN", budgets.preview_of_a_pin),
    Trial("M19-automatic-again", 400, "TEN", budgets.automatic_again),
    Trial("M20-growing-pin", 0, "TEN", budgets.growing_pin),
    Trial("M21-estimate", 0, "TEXT", budgets.estimate),
    Trial("M23-figures-of-a-build", 0, "EMPTY", budgets.figures_of_a_build),
)
