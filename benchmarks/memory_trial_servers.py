"""Trials of a server under the limit, with 16 clients that are not."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

import chroma_nb
from benchmarks import memory_trial_stores as stores
from benchmarks.memory_trial_stage import MB, Stage, check, check_records
from chroma_nb.errors import MemoryBudgetError, RateLimitError, ServerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

CLIENTS = 16
#: Calls of each client, and tries of a call that a busy server refuses.
CALLS = 4
TRIES = 20


def _connect(stage: Stage) -> chroma_nb.ClientAPI:
    # Without the client's own retries, so that each answer of a busy server is counted.
    return chroma_nb.connect(stage.url, settings=chroma_nb.Settings(retries=0, progress=False))


def _together(
    stage: Stage, name: str, call: Callable[[chroma_nb.Collection, int, int], None]
) -> Counter[str]:
    """Let all clients call at the same time; return how often each kind of answer came."""
    counts: Counter[str] = Counter()
    lock = threading.Lock()

    def count(what: str) -> None:
        with lock:
            counts[what] += 1
            stage.step(_counted(counts))

    def one(number: int) -> None:
        with _connect(stage) as client:
            collection = client.get_collection(name, embedding_function=None)
            for turn in range(CALLS):
                if not until_answered(collection, number, turn):
                    return

    def until_answered(collection: chroma_nb.Collection, number: int, turn: int) -> bool:
        """Repeat a call that is refused for now; say whether the server still runs."""
        for _ in range(TRIES):
            how = _try(call, collection, number, turn)
            count(how)
            if how not in ("busy", "refused"):
                return not how.startswith("lost")
            time.sleep(0.5)
        return True

    threads = [threading.Thread(target=one, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counts


def _try(
    call: Callable[[chroma_nb.Collection, int, int], None],
    collection: chroma_nb.Collection,
    number: int,
    turn: int,
) -> str:
    try:
        call(collection, number, turn)
    except RateLimitError:
        return "busy"
    except MemoryBudgetError:
        return "refused"
    except ServerUnavailableError as error:
        return f"lost: {error}"[:100]
    except Exception as error:  # counted
        return f"{type(error).__name__}: {error}"[:200]
    return "answered"


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{n} {what}" for what, n in counts.most_common())


def _judged(counts: Counter[str]) -> str:
    others = set(counts) - {"answered", "busy", "refused"}
    check(not others, _counted(counts))
    if not counts["answered"]:
        raise MemoryBudgetError(_counted(counts))
    return _counted(counts)


def gets(stage: Stage) -> str:
    """Each client gets 4,000 records with their texts in each call."""
    part = stage.recipe.parts[0]

    def call(collection: chroma_nb.Collection, number: int, turn: int) -> None:
        first = (number + turn) % 4 * 4_000
        answer = collection.get(limit=4_000, offset=first)
        check_records(part, answer, range(first, first + 4_000))

    return _judged(_together(stage, part.name, call))


def upserts(stage: Stage) -> str:
    """Each client writes 500 records of 6 kB a call; calls that succeeded have written their records."""
    part = stores.Part("text", 0, 64, text=6_000)
    with _connect(stage) as client:
        client.create_collection(part.name, embedding_function=None)
    written: list[int] = []

    def call(collection: chroma_nb.Collection, number: int, turn: int) -> None:
        first = (number * CALLS + turn) * 500
        rows = range(first, first + 500)
        collection.upsert(
            ids=[stores.record_id(row) for row in rows],
            embeddings=np.random.default_rng(first).standard_normal((500, 64)),
            documents=[stores.document(part, row) for row in rows],
        )
        written.append(first)

    seen = _judged(_together(stage, part.name, call))
    with _connect(stage) as client:
        collection = client.get_collection(part.name, embedding_function=None)
        check(collection.count() >= 500 * len(written), f"{collection.count():,} are there: {seen}")
        for first in written[:: max(1, len(written) // 4)]:
            answer = collection.get(ids=[stores.record_id(first)], include=["documents"])
            check_records(part, answer, range(first, first + 1))
    return f"{seen}; {500 * len(written) * part.text / MB:.0f} MB written"
