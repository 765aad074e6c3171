"""Trials of the budget: what is unloaded for the notebook's own data, and what reports and errors say."""

from __future__ import annotations

import contextlib
import re
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import memory_trial_stores as stores
from benchmarks.memory_trial_stage import (
    ARRAY,
    MB,
    Stage,
    anonymous,
    ask,
    check,
    collection_of,
    grow,
)
from chroma_nb.errors import MemoryBudgetError

if TYPE_CHECKING:
    from collections.abc import Callable

    import chroma_nb

#: Two figures that should be the same may differ by this share.
TOLERANCE = 0.2
NAMES = [part.name for part in stores.TEN]


def held(client: chroma_nb.ClientAPI) -> tuple[int, int]:
    """Return how many collections are loaded, and the bytes in use by the report."""
    report = client.memory.report()
    return sum(one.resident_bytes > 0 for one in report.collections), report.used


def state(client: chroma_nb.ClientAPI, name: str) -> tuple[str, str, bool]:
    """Return a collection's form, its state, and whether it is pinned."""
    report = client.memory.report()
    one = next(each for each in report.collections if each.name == name)
    return one.form, one.state, one.pinned


def _ask_each(stage: Stage, client: chroma_nb.ClientAPI, first: int = 0) -> tuple[int, int]:
    for name in NAMES:
        ask(collection_of(client, name), stage.known(name), first)
    return held(client)


# -- M10: the notebook's own arrays -----------------------------------------------------------


def _grow(stage: Stage, client: chroma_nb.ClientAPI, others: int) -> list[Any]:
    def look() -> str:
        loaded, used = held(client)
        return f"{loaded} loaded with {used / MB:.0f} MB"

    def ask_one(name: str, query: int) -> None:
        ask(collection_of(client, name), stage.known(name), query)

    return grow(stage, others, look, ask_one, NAMES)


def growing(stage: Stage) -> str:
    """Add arrays in small steps, with a query after each."""
    with stage.open() as client:
        others = anonymous()
        before, used = _ask_each(stage, client)
        stage.step(f"{before} loaded with {used / MB:.0f} MB")
        arrays = _grow(stage, client, others)
        after, left = held(client)
    return (
        f"{len(arrays) * ARRAY // MB} MB of arrays; {before} loaded with {used / MB:.0f} MB, "
        f"then {after} with {left / MB:.0f} MB"
    )


def growing_at_once(size: int) -> Callable[[Stage], str]:
    """Return a trial in which one array of `size` bytes is made while the store is idle."""

    def trial(stage: Stage) -> str:
        with stage.open() as client:
            before, used = _ask_each(stage, client)
            stage.step(f"{before} loaded with {used / MB:.0f} MB")
            time.sleep(1)
            array = np.ones(size, dtype=np.uint8)
            time.sleep(1)
            after, left = held(client)
            _ask_each(stage, client, 1)
            check(int(array[-1]) == 1, "the array has changed")
        return f"{before} loaded with {used / MB:.0f} MB, then {after} with {left / MB:.0f} MB"

    return trial


def shrinking(stage: Stage) -> str:
    """Add arrays and delete them; then the collections have room again."""
    with stage.open() as client:
        others = anonymous()
        before, used = _ask_each(stage, client)
        stage.step(f"{before} loaded with {used / MB:.0f} MB")
        forms = {name: state(client, name) for name in NAMES}
        arrays = _grow(stage, client, others)
        least, _ = held(client)
        arrays.clear()
        time.sleep(2)
        after, again = _ask_each(stage, client, 1)
        stage.step(f"{after} loaded with {again / MB:.0f} MB when the arrays were gone")
        check(
            after >= before, f"{before} were loaded, {least} beside the arrays, {after} afterwards"
        )
        # A collection that had no room is on disk, usually another one each time: only loaded ones are compared.
        states = {name: state(client, name) for name in NAMES}
        changed = [
            name
            for name in NAMES
            if states[name][1] == forms[name][1] == "loaded" and states[name] != forms[name]
        ]
        check(not changed, f"held in another form afterwards: {', '.join(changed)}")
    return f"{before} loaded, {least} beside the arrays, {after} afterwards"


# -- M13, M19: the automatic budget -----------------------------------------------------------


def two_stores(stage: Stage) -> str:
    """Open two stores in one process: they share the free memory."""
    free = stage.limit - anonymous()
    with stage.open() as one, stage.open("second") as other:
        budgets = one.memory.budget, other.memory.budget
    seen = f"budgets of {budgets[0] / MB:.0f} and {budgets[1] / MB:.0f} MB, {free / MB:.0f} free"
    check(sum(budgets) <= free, seen)
    return seen


def automatic_again(stage: Stage) -> str:
    """Set the budget to "auto" again: it is the same whatever the store holds."""
    with stage.open() as client:
        budgets = [client.memory.budget]
        _ask_each(stage, client)
        for _ in range(2):
            client.memory.budget = "auto"
            budgets.append(client.memory.budget)
    seen = "at open, then set twice: " + ", ".join(f"{one / MB:.0f} MB" for one in budgets)
    check(max(budgets) <= (1 + TOLERANCE) * min(budgets), seen)
    return seen


# -- M15, M16: answers and forms --------------------------------------------------------------


def room_again(stage: Stage) -> str:
    """Make room again: a graph that is saved on the disk is opened."""
    name, forms = NAMES[0], []
    with stage.open(memory_budget="400 MB") as client:
        collection = collection_of(client, name)
        # 13 MB are room for its texts, but not for a graph.
        for budget in ("400 MB", "13 MB", "400 MB"):
            client.memory.budget = budget
            for turn in range(3):
                ask(collection, stage.known(name), turn)
                time.sleep(1)
            form, where, _ = state(client, name)
            forms.append(f"{form} ({where}) at {budget}")
    check("exact (loaded)" in forms[1], f"nothing was tried: {', then '.join(forms)}")
    check(forms[0] == forms[2], ", then ".join(forms))
    return ", then ".join(forms)


def same_answers(
    names: tuple[str, ...], budgets: tuple[str, ...], *, build: bool
) -> Callable[[Stage], str]:
    """Return a trial of several budgets: distances are the same to the last bit under each."""

    def trial(stage: Stage) -> str:
        forms: list[str] = []
        other_bits = other_ids = compared = 0
        with stage.open(memory_budget=budgets[0]) as client:
            for name in names:
                collection = collection_of(client, name)
                asked = stage.known(name).queries[:20]
                first: list[dict[str, float]] = []
                for budget in budgets:
                    client.memory.unload(name)
                    client.memory.budget = budget
                    if build:
                        with contextlib.suppress(MemoryBudgetError):
                            collection.build_index()
                    answer = collection.query(query_embeddings=asked)
                    pairs = [
                        dict(zip(ids, lengths, strict=True))
                        for ids, lengths in zip(answer["ids"], answer["distances"], strict=True)
                    ]
                    first = first or pairs
                    form, where, _ = state(client, name)
                    forms.append(f"{form} ({where})")
                    for mine, right in zip(pairs, first, strict=True):
                        compared += len(mine)
                        other_ids += len(mine.keys() - right.keys())
                        both = mine.keys() & right.keys()
                        other_bits += sum(mine[one] != right[one] for one in both)
        seen = (
            f"of {compared:,} distances {other_bits} differ, {other_ids} other ids; "
            f"{', '.join(dict.fromkeys(forms))}"
        )
        check(not other_bits, seen)
        return seen

    return trial


# -- M17, M18, M20: pins ----------------------------------------------------------------------


def named_budget(stage: Stage) -> str:
    """Set the budget that an error names: it is enough."""
    pinned, wanted = NAMES[:2]
    with stage.open(memory_budget="400 MB") as client:
        size = client.memory.load(pinned)
        client.memory.unload(pinned)
        client.memory.budget = size + MB
        client.memory.pin(pinned)
        try:
            client.memory.load(wanted)
        except MemoryBudgetError as error:
            named = re.search(r"budget = ([\d_]+)", str(error))
            check(named, f"no budget is named: {error}")
            assert named is not None
            try:
                client.memory.budget = int(named[1])
                client.memory.load(wanted)
            except MemoryBudgetError as again:
                check(False, f"{named[0]} is named, and refused: {again}")
            return f"{named[0]} is named, and enough"
    return "not refused"


def preview_of_a_pin(stage: Stage) -> str:
    """Preview a budget that setting refuses, as a collection is pinned: the preview says so."""
    pinned, other = NAMES[:2]
    with stage.open(memory_budget="400 MB") as client:
        client.memory.pin(pinned)
        client.memory.load(other)
        preview = client.memory.preview("1 MB")
        listed = [one.collection for one in preview]
        try:
            client.memory.budget = "1 MB"
        except MemoryBudgetError as error:
            check(not listed, f"{', '.join(listed)} listed, but refused: {error}")
            check(preview.refused, "the preview does not say that it is refused")
            return f"the preview says it: {preview.refused}"
    return f"{', '.join(listed)} listed"


def growing_pin(stage: Stage) -> str:
    """Grow a pinned collection past the budget: it is refused, or stays loaded, or there is a warning."""
    name = NAMES[0]
    rng = np.random.default_rng(3)
    with (
        stage.open(memory_budget="30 MB") as client,
        warnings.catch_warnings(record=True) as said,
    ):
        warnings.simplefilter("always")
        client.memory.pin(name)
        collection = collection_of(client, name)
        for first in range(20_000, 80_000, 1_000):
            rows = range(first, first + 1_000)
            try:
                collection.add(
                    ids=[stores.record_id(row) for row in rows],
                    embeddings=rng.standard_normal((1_000, 64), dtype=np.float32),
                    documents=[stores.document(stores.TEN[0], row) for row in rows],
                )
            except MemoryBudgetError as error:
                check(state(client, name)[1] == "loaded", "refused, and dropped")
                return f"at {first:,} records: {error}"
            if state(client, name)[1] != "loaded":
                break
        form, where, pinned = state(client, name)
        seen = f"{collection.count():,} records: {form}, {where}, pinned: {pinned}"
    check(said or where == "loaded" or not pinned, f"{seen}; nothing was said")
    return f"{seen}; {said[0].message if said else ''}"


# -- M21, M23: estimates and reports ----------------------------------------------------------


def estimate(stage: Stage) -> str:
    """Compare an estimate with what the collection takes when it is loaded."""
    part = stage.recipe.parts[0]
    with stage.open(memory_budget="1 GB") as client:
        reckoned = client.memory.estimate(part.n, part.dimension).n_bytes
        taken = client.memory.load(part.name)
    seen = f"{reckoned / MB:.0f} MB reckoned, {taken / MB:.0f} MB taken"
    check(abs(reckoned - taken) <= TOLERANCE * taken, seen)
    return seen


def figures_of_a_build(stage: Stage) -> str:
    """Read reports while a graph is built: its memory is the collection's, and the progress is seen."""
    rng = np.random.default_rng(4)
    worst, seen_at_worst = 0, ""
    shares: set[float] = set()
    with stage.open(memory_budget="400 MB") as client:
        collection = client.create_collection("built", embedding_function=None)
        for first in range(0, 60_000, 10_000):
            collection.add(
                ids=[stores.record_id(row) for row in range(first, first + 10_000)],
                embeddings=rng.standard_normal((10_000, 128), dtype=np.float32),
            )
        work = threading.Thread(target=collection.build_index)
        work.start()
        while work.is_alive():
            report = client.memory.report()
            of_all = sum(one.resident_bytes for one in report.collections)
            if abs(report.used - of_all) > worst:
                worst = abs(report.used - of_all)
                seen_at_worst = f"index {report.used / MB:.1f} MB, collections {of_all / MB:.1f} MB"
            shares.add(round(collection.get_indexing_status().op_indexing_progress, 2))
            time.sleep(0.05)
        work.join()
    between = sorted(share for share in shares if 0 < share < 1)
    check(worst <= MB, f"{seen_at_worst}; progress seen: {between[:5]}")
    check(between, f"progress was only {sorted(shares)}")
    return f"{len(between)} steps of progress seen"
