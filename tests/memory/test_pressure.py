"""Loaded collections give way while somebody else needs the machine's memory."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from chroma_nb.memory import pressure as pressure_module
from chroma_nb.memory.ledger import Ledger
from chroma_nb.memory.lender import Lenders
from chroma_nb.memory.pressure import Pressure
from chroma_nb.memory.shared_budget import SharedBudget
from tests.memory.fakes import MIB, FakeLender, FakeMachine

if TYPE_CHECKING:
    from pathlib import Path

LONG = 60.0
#: The limit of the machine, and what is kept free of it.
TOTAL = 1_000 * MIB
RESERVE = 80 * MIB


class Clock:
    """Goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pressure_module, "time", clock)
    return clock


class Watched:
    """A machine with two lenders, and what watches it."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.machine = FakeMachine(500 * MIB, TOTAL)
        self.lenders = Lenders()
        self.shared = SharedBudget(self.machine)  # type: ignore[arg-type]
        self.old = FakeLender(self.machine, 1.0, [20 * MIB] * 2, self.log, "old")
        self.new = FakeLender(self.machine, 2.0, [20 * MIB] * 2, self.log, "new")
        self.lenders.add(self.old)
        self.lenders.add(self.new)
        self.pressure = Pressure(self.machine, self.lenders, self.shared)  # type: ignore[arg-type]

    def look(self, free: int | None = None) -> list[str]:
        """Look once, and return what the lenders were told."""
        if free is not None:
            self.machine.n_bytes = free
        self.log.clear()
        self.pressure.look()
        return list(self.log)


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_a_share_of_the_limit_is_kept_free_within_bounds(watched: Watched, clock: Clock) -> None:
    found = []
    for total in (100 * MIB, TOTAL, 100_000 * MIB):
        watched.machine.total = total
        clock.now += LONG
        found.append(watched.pressure.reserve())
    assert found == [24 * MIB, RESERVE, 512 * MIB]


def test_what_is_missing_is_given_back_and_no_more(watched: Watched) -> None:
    assert watched.look() == []
    assert watched.look(RESERVE) == []
    assert not watched.pressure.is_on
    assert watched.look(RESERVE - 30 * MIB) == ["old", "old"]
    assert watched.machine.n_bytes == RESERVE + 10 * MIB
    assert watched.pressure.is_on
    assert watched.look() == []


def test_the_databases_tighten_once(watched: Watched) -> None:
    told = watched.look(-20 * MIB)
    assert told[:4] == ["old", "old", "new", "new"]
    assert sorted(told[4:]) == ["new tightens", "old tightens"]
    assert watched.look() == []
    assert watched.pressure.is_on


def test_the_databases_tighten_before_they_can_use_up_the_reserve(
    watched: Watched, clock: Clock
) -> None:
    watched.old.database.cache_bytes, watched.new.database.cache_bytes = 30 * MIB, 10 * MIB
    assert watched.look(RESERVE + 40 * MIB) == []
    assert sorted(watched.look(RESERVE + 40 * MIB - 1)) == ["new tightens", "old tightens"]
    assert not watched.pressure.is_on, "nothing is unloaded for it"
    # One that is opened meanwhile is no exception.
    third = FakeLender(watched.machine, 3.0, [], watched.log, "third")
    watched.lenders.add(third)
    assert watched.look() == ["third tightens"]
    # They may grow again when that leaves twice the reserve, and has done so for a while.
    for free, waits in ((2 * RESERVE + 40 * MIB, 2.0), (2 * RESERVE + 41 * MIB, 0.4)):
        assert not any("loosens" in told for told in watched.look(free))
        clock.now += waits
        assert watched.look() == []
    clock.now += 0.2
    assert sorted(watched.look()) == ["new loosens", "old loosens", "third loosens"]
    assert watched.look() == []


def test_there_is_room_again_only_after_a_while_of_calm(watched: Watched, clock: Clock) -> None:
    watched.look(-20 * MIB)
    room = 2 * RESERVE + 1
    assert watched.look(room) == []
    clock.now += 0.4
    assert watched.look() == []
    # Somebody takes memory in between: the calm begins anew.
    assert watched.look(RESERVE - MIB) == []
    assert watched.look(room) == []
    clock.now += 0.4
    assert watched.look() == []
    assert watched.pressure.is_on
    clock.now += 0.2
    assert sorted(watched.look()) == ["new has room", "old has room"]
    assert not watched.pressure.is_on
    clock.now += 0.4
    assert watched.look() == []
    clock.now += 0.2
    assert sorted(watched.look()) == ["new loosens", "old loosens"]
    assert watched.look() == []
    # And if it gets short again, they tighten again.
    assert sorted(watched.look(0)) == ["new tightens", "old tightens"]


def test_between_short_and_calm_nothing_happens(watched: Watched, clock: Clock) -> None:
    watched.look(0)
    for _ in range(20):
        clock.now += 1.0
        assert watched.look(2 * RESERVE) == []
    assert watched.pressure.is_on


def test_what_the_shared_budget_has_lost_is_given_back(watched: Watched) -> None:
    """There is room for the reserve, and less for collections than there was."""
    ledger = Ledger(0, watched.shared)
    assert ledger.take("a collection", 250 * MIB)
    watched.machine.n_bytes -= 250 * MIB
    assert watched.look() == []
    # 60 % of 100 MiB and of what they hold is 210 MiB.
    assert watched.look(100 * MIB) == ["old", "old"]
    assert not watched.pressure.is_on
    assert ledger.most == watched.shared.total


def test_they_hear_of_it_when_the_shared_budget_grows_again(watched: Watched) -> None:
    assert watched.look(200 * MIB) == []
    assert watched.look(220 * MIB) == [], "a little more is nothing to load graphs for"
    assert sorted(watched.look(500 * MIB)) == ["new has room", "old has room"]
    assert watched.look() == []


def test_the_less_is_free_the_sooner_it_looks_again(watched: Watched) -> None:
    pauses = []
    for free in (0, 200 * MIB, 100_000 * MIB):
        watched.machine.n_bytes = free
        pauses.append(watched.pressure.look())
    assert pauses == sorted(pauses)
    assert pauses[0] >= 0.01
    assert pauses[-1] == 0.25


# -- the thread -------------------------------------------------------------------------------


def test_the_thread_ends_when_nothing_is_loaded(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pressure_module, "_IDLE_SECONDS", 0.0)
    looked = threading.Event()
    lendable = type(watched.old).lendable

    def noticed(lender: FakeLender) -> int:
        looked.set()
        return lendable.fget(lender)  # type: ignore[attr-defined,no-any-return]

    monkeypatch.setattr(FakeLender, "lendable", property(noticed))
    watched.pressure.watch()
    thread = watched.pressure._thread
    assert thread is not None
    assert looked.wait(LONG)
    assert thread.is_alive(), "something is loaded"
    watched.old._pieces.clear()
    watched.new._pieces.clear()
    thread.join(LONG)
    assert not thread.is_alive()
    assert watched.pressure._thread is None
    # The next load starts another.
    watched.pressure.watch()
    again = watched.pressure._thread
    if again is not None:
        assert again is not thread
        again.join(LONG)


def test_there_is_one_thread_and_it_ends_with_the_last_store(watched: Watched) -> None:
    for _ in range(3):
        watched.pressure.watch()
    thread = watched.pressure._thread
    assert thread is not None
    watched.lenders.remove(watched.old)
    watched.pressure.rest()
    assert watched.pressure._thread is thread
    assert thread.is_alive()
    watched.lenders.remove(watched.new)
    watched.pressure.rest()
    assert watched.pressure._thread is None
    assert not thread.is_alive()


def test_an_error_while_looking_is_logged_and_it_looks_on(
    watched: Watched, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_again = threading.Event()
    failures = iter([OSError("the limit is gone")])

    def free() -> int:
        for error in failures:
            raise error
        looked_again.set()
        return 500 * MIB

    monkeypatch.setattr(watched.machine, "free", free)
    watched.pressure.watch()
    assert looked_again.wait(LONG)
    assert "the limit is gone" in caplog.text
    watched.lenders.remove(watched.old)
    watched.lenders.remove(watched.new)
    watched.pressure.rest()


def test_a_handler_of_the_warning_may_ask_for_something(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does that writes log messages into a store."""

    class Asking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())
            watched.pressure.watch()

    def refuses(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    said: list[str] = []
    handler = Asking()
    pressure_module.logger.addHandler(handler)
    monkeypatch.setattr(threading.Thread, "start", refuses)
    for _ in range(3):
        watched.pressure.watch()
    pressure_module.logger.removeHandler(handler)
    assert said == ["Memory is not watched: can't start new thread"]


def test_lenders_are_read_while_another_is_added() -> None:
    """A signal handler may read at any moment, also while this thread adds one."""
    lenders = Lenders()
    with lenders._lock, ThreadPoolExecutor(1) as pool:
        assert pool.submit(list, lenders).result(LONG) == []


STORES = """
import json, os, sys, threading
import numpy as np
import chroma_nb
from chroma_nb.memory.lender import LENDERS
from chroma_nb.memory.pressure import PRESSURE
from chroma_nb.memory.shared_budget import SHARED_BUDGET
from chroma_nb.memory.workspace import WORKSPACE

def watchers():
    return [one.name for one in threading.enumerate() if one.name == "chroma_nb-pressure"]

def known():
    return [len(list(LENDERS)), len(SHARED_BUDGET._ledgers), WORKSPACE.used, len(watchers())]

def opened(number):
    settings = chroma_nb.Settings(progress=False, graph_min_records=10**6)
    client = chroma_nb.PersistentClient(f"{sys.argv[1]}/{number}", settings)
    collection = client.create_collection("docs", embedding_function=None)
    collection.add(ids=[f"{i}" for i in range(5_000)], embeddings=np.ones((5_000, 64), np.float32))
    collection.query(query_embeddings=np.ones((1, 64), np.float32))
    return client

found = {"before": known()}
first, second = opened(1), opened(2)
grant = WORKSPACE.take_all(2 << 20, "This test")
found["open"] = known()
read, write = os.pipe()
child = os.fork()
if not child:
    try:
        # A store of its own works, is watched, and is the only one that is known.
        told = [known()]
        third = opened(3)
        told.append(known())
        third.close()
        told.append(known())
        os.write(write, json.dumps(told).encode())
    finally:
        os._exit(0)
os.waitpid(child, 0)
found["child"] = json.loads(os.read(read, 10_000))
found["parent"] = known()
grant.give_back()
first.close()
found["one closed"] = known()
second.close()
found["closed"] = known()
print(json.dumps(found))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_stores_are_watched_while_they_are_open_and_a_fork_has_none(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STORES, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    #: Lenders, parts of the shared budget, bytes granted, threads that watch.
    assert json.loads(done.stdout) == {
        "before": [0, 0, 0, 0],
        "open": [2, 2, 2 * MIB, 1],
        "child": [[0, 0, 0, 0], [1, 1, 0, 1], [0, 0, 0, 0]],
        "parent": [2, 2, 2 * MIB, 1],
        "one closed": [1, 1, 0, 1],
        "closed": [0, 0, 0, 0],
    }
