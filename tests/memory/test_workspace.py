"""The account of transient memory: who gets how much, who waits, who gives way."""

from __future__ import annotations

import contextlib
import gc
import math
import sys
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import pytest

from chroma_nb.errors import MemoryBudgetError
from chroma_nb.memory import workspace as workspace_module
from chroma_nb.memory.lender import Lenders
from chroma_nb.memory.workspace import SMALL_BYTES, Grant, Workspace
from tests.memory.fakes import MIB, FakeLender, FakeMachine, give

#: So long nobody has to wait here unless something is broken.
LONG = 60.0


class NoticedCondition(threading.Condition):
    """Tells that somebody has begun to wait."""

    def __init__(self, lock: threading.RLock) -> None:
        super().__init__(lock)
        self.somebody_waits = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.somebody_waits.set()
        return super().wait(timeout)


@pytest.fixture
def machine() -> FakeMachine:
    return FakeMachine(0)


@pytest.fixture
def lenders() -> Lenders:
    return Lenders()


@pytest.fixture
def workspace(machine: FakeMachine, lenders: Lenders) -> Workspace:
    found = Workspace(machine, lenders, patience=0.0)  # type: ignore[arg-type]
    give(found, machine, 100 * MIB)
    return found


# -- how much ---------------------------------------------------------------------------------


def test_with_next_to_nothing_free_what_is_small_is_refused_too(
    workspace: Workspace, machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace_module.PRESSURE, "is_critical", True)
    machine.n_bytes = 3 * MIB
    with pytest.raises(MemoryBudgetError, match=r"^It needs about 1\.0 kB; 0 B are free"):
        workspace.take_all(1_000, "It")
    # It was so at the last look of the watcher, and is not so any more.
    machine.n_bytes = 5 * MIB
    assert workspace.take_all(1_000, "It").n_bytes == 1_000


def test_small_wants_never_look_at_the_machine(workspace: Workspace, machine: FakeMachine) -> None:
    give(workspace, machine, 0)
    for wanted in (0, 1, SMALL_BYTES):
        assert workspace.take(wanted).n_bytes == wanted
        assert workspace.take_all(wanted, "It").n_bytes == wanted
    assert (machine.looks, workspace.used) == (0, 0)


def test_work_in_pieces_gets_at_most_half_of_what_is_free(workspace: Workspace) -> None:
    with workspace.take(30 * MIB) as all_of_it:
        assert all_of_it.n_bytes == 30 * MIB
    with workspace.take(1 << 40) as half:
        assert half.n_bytes == 50 * MIB
        with workspace.take(1 << 40) as half_of_the_rest:
            assert half_of_the_rest.n_bytes == 25 * MIB
    assert workspace.used == 0


@pytest.mark.parametrize("free", [-16 * MIB, 0, 1, MIB, 3 * MIB])
def test_work_in_pieces_never_gets_less_than_a_mebibyte(
    workspace: Workspace, machine: FakeMachine, free: int
) -> None:
    give(workspace, machine, free)
    with workspace.take(1 << 40) as room:
        assert room.n_bytes == max(MIB, free // 2)
        assert room.rows(1 << 40) == 1
        assert room.rows(MIB) >= 1


def test_where_there_is_plenty_one_look_serves_for_a_moment(
    workspace: Workspace, machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(workspace, machine, 1_000 * MIB)
    monkeypatch.setattr("chroma_nb.memory.workspace._MOMENT_SECONDS", LONG)
    workspace.take(2 * MIB).give_back()
    looks = machine.looks
    assert [workspace.take(8 * MIB).n_bytes for _ in range(10)] == [8 * MIB] * 10
    assert machine.looks == looks
    workspace.take(9 * MIB).give_back()
    assert machine.looks > looks
    # Where it was not plenty each want is looked at.
    give(workspace, machine, 100 * MIB)
    workspace._plenty = -1.0
    looks = machine.looks
    for number in range(1, 4):
        workspace.take(2 * MIB).give_back()
        assert machine.looks == looks + number


def test_memory_that_was_granted_and_is_used_is_not_counted_twice(
    workspace: Workspace, machine: FakeMachine
) -> None:
    with workspace.take_all(60 * MIB, "It"):
        # Promised, and not yet written to.
        assert workspace.free() == 40 * MIB
        # Written to: the machine has it among what is used.
        give(workspace, machine, 40 * MIB)
        assert workspace.free() == 40 * MIB
        # Somebody else takes more.
        give(workspace, machine, 10 * MIB)
        assert workspace.free() == 10 * MIB
        # Somebody else gives back more than there ever was.
        give(workspace, machine, 140 * MIB)
        assert workspace.free() == 80 * MIB
    assert workspace.free() == 140 * MIB


def test_what_another_has_just_taken_is_not_free_also_when_the_notebook_has_grown(
    workspace: Workspace, machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where somebody always holds a grant, what was free without any is not known any more."""
    mine = workspace.take_all(2 * MIB, "What this thread holds")
    give(workspace, machine, 58 * MIB)
    with ThreadPoolExecutor(1) as pool:
        theirs = pool.submit(workspace.take_all, 30 * MIB, "Another's").result(LONG)
    assert not theirs.is_written
    assert workspace.free() == 28 * MIB
    with pytest.raises(MemoryBudgetError):
        workspace.take_all(29 * MIB, "It")
    # The process has computed for a while since, so the other one has written to it.
    with monkeypatch.context() as patch:
        patch.setattr(workspace_module, "_WRITTEN_CPU_SECONDS", 0.0)
        give(workspace, machine, 28 * MIB)
        assert workspace.free() == 28 * MIB
    # Nobody computes, and time goes by.
    monkeypatch.setattr(workspace_module, "_WRITTEN_SECONDS", 0.0)
    assert workspace.free() == 28 * MIB
    theirs.give_back()
    mine.give_back()


# -- all or nothing ---------------------------------------------------------------------------


def test_what_is_not_there_is_refused_with_need_free_and_ways_out(workspace: Workspace) -> None:
    with pytest.raises(MemoryBudgetError) as refused:
        workspace.take_all(300 * MIB, "The answer", "ask for less", "wait", budget=7_000_000)
    error = refused.value
    assert (error.need, error.free, error.budget) == (300 * MIB, 100 * MIB, 7_000_000)
    assert str(error).startswith(
        "The answer needs about 315 MB; 105 MB are free, the budget 7.0 MB"
    )
    assert str(error).endswith("Nothing was allocated. Ways out: ask for less; or wait.")
    assert not error.may_fit_later
    assert workspace.used == 0
    with workspace.take_all(100 * MIB, "It"):
        assert workspace.used == 100 * MIB


def test_another_threads_grant_is_waited_for(machine: FakeMachine, lenders: Lenders) -> None:
    workspace = Workspace(machine, lenders, patience=LONG)  # type: ignore[arg-type]
    give(workspace, machine, 100 * MIB)
    workspace._changed = noticed = NoticedCondition(workspace._lock)
    held = workspace.take_all(80 * MIB, "The first")
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(workspace.take_all, 50 * MIB, "The second")
        assert noticed.somebody_waits.wait(LONG)
        assert not second.done()
        held.give_back()
        got = second.result(LONG)
    assert (got.n_bytes, workspace.used) == (50 * MIB, 50 * MIB)


def test_nobody_waits_for_what_he_holds_himself(machine: FakeMachine, lenders: Lenders) -> None:
    workspace = Workspace(machine, lenders, patience=LONG)  # type: ignore[arg-type]
    give(workspace, machine, 100 * MIB)
    workspace._changed = noticed = NoticedCondition(workspace._lock)
    with workspace.take_all(80 * MIB, "The first"), pytest.raises(MemoryBudgetError):
        workspace.take_all(50 * MIB, "The second")
    assert not noticed.somebody_waits.is_set()


def test_whether_it_may_fit_later(workspace: Workspace) -> None:
    def refusal(n_bytes: int) -> bool:
        with pytest.raises(MemoryBudgetError) as refused:
            workspace.take_all(n_bytes, "It")
        return refused.value.may_fit_later

    assert not refusal(101 * MIB)
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(workspace.take_all, 80 * MIB, "Another's").result(LONG)
        # What another thread holds will be given back, ...
        assert refusal(50 * MIB)
        # ... and what was never there will not.
        assert not refusal(101 * MIB)
        held.give_back()
    with workspace.take_all(80 * MIB, "One's own"):
        assert not refusal(50 * MIB)


def test_a_server_that_had_the_room_before_may_have_it_again(
    workspace: Workspace, machine: FakeMachine
) -> None:
    """Its other answers, which no grant stands for any more, may be on their way to clients."""
    workspace.free()
    give(workspace, machine, 10 * MIB)
    for times, later in ((1.0, True), (10.0, False)):
        with workspace.holding_answers(times), pytest.raises(MemoryBudgetError) as refused:
            workspace.take_answer(50 * MIB, "An answer")
        assert refused.value.may_fit_later is later


def test_a_grant_that_nobody_has_any_more_is_given_back(workspace: Workspace) -> None:
    grant = workspace.take_all(90 * MIB, "A cell that was stopped")
    assert workspace.free() == 10 * MIB
    del grant
    gc.collect()
    assert (workspace.used, workspace.free()) == (0, 100 * MIB)
    workspace.take_all(90 * MIB, "The next one").give_back()


def test_giving_back_twice_does_no_harm(workspace: Workspace) -> None:
    with workspace.take_all(40 * MIB, "It") as grant, workspace.take_all(30 * MIB, "It"):
        grant.give_back()
        grant.give_back()
        assert workspace.used == 30 * MIB
    assert workspace.used == 0


def test_what_is_kept_holds_until_its_block_ends(workspace: Workspace) -> None:
    with workspace.holding_answers(2.0):
        with workspace.take_answer(20 * MIB, "An answer") as grant:
            assert grant.n_bytes == 20 * MIB
        assert workspace.used == 40 * MIB
        # Work in pieces is given back as ever.
        workspace.take(10 * MIB).give_back()
        assert workspace.used == 40 * MIB
    assert workspace.used == 0
    with contextlib.suppress(MemoryBudgetError), workspace.holding_answers(2.0):
        workspace.take_answer(40 * MIB, "An answer")
        workspace.take_answer(40 * MIB, "Another")
    assert workspace.used == 0
    with workspace.take_answer(20 * MIB, "An answer"):
        assert workspace.used == 20 * MIB


def test_blocks_that_keep_lie_in_each_other(workspace: Workspace) -> None:
    with workspace.holding_answers(2.0):
        with workspace.holding_answers(1.0):
            workspace.take_answer(20 * MIB, "An answer").give_back()
        assert workspace.used == 0
        workspace.take_answer(20 * MIB, "Another").give_back()
        assert workspace.used == 40 * MIB
    assert workspace.used == 0


def test_pieces_that_are_read_within_a_kept_block_are_given_back(workspace: Workspace) -> None:
    """A copy within one request reads more, all in all, than there is memory."""
    with workspace.holding_answers(2.0):
        for _ in range(10):
            with workspace.reading_pieces(), workspace.take_answer(80 * MIB, "A piece"):
                assert workspace.used == 80 * MIB
        assert workspace.used == 0
        # What comes after them is an answer again.
        workspace.take_answer(20 * MIB, "An answer").give_back()
        assert workspace.used == 40 * MIB


def patient(machine: FakeMachine, lenders: Lenders) -> tuple[Workspace, NoticedCondition]:
    """An account of 100 MiB whose waits end by other means than time."""
    workspace = Workspace(machine, lenders, patience=LONG)  # type: ignore[arg-type]
    give(workspace, machine, 100 * MIB)
    workspace._changed = noticed = NoticedCondition(workspace._lock)
    return workspace, noticed


def test_nobody_waits_for_what_his_own_block_keeps(machine: FakeMachine, lenders: Lenders) -> None:
    workspace, noticed = patient(machine, lenders)
    with workspace.holding_answers(1.0):
        workspace.take_answer(80 * MIB, "The first").give_back()
        with pytest.raises(MemoryBudgetError) as refused:
            workspace.take_answer(50 * MIB, "The second")
    assert not refused.value.may_fit_later
    assert not noticed.somebody_waits.is_set()


def test_who_can_do_with_a_smaller_piece_does_not_wait(
    machine: FakeMachine, lenders: Lenders
) -> None:
    workspace, noticed = patient(machine, lenders)
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(workspace.take_all, 80 * MIB, "Another's").result(LONG)
        with workspace.reading_pieces(), pytest.raises(MemoryBudgetError) as refused:
            workspace.take_answer(50 * MIB, "A piece")
        with pytest.raises(MemoryBudgetError):
            workspace.take_all(50 * MIB, "A body", waits=False)
        held.give_back()
    assert refused.value.may_fit_later
    assert not noticed.somebody_waits.is_set()


def test_a_wait_ends_when_nobody_needs_the_answer_any_more(
    machine: FakeMachine, lenders: Lenders
) -> None:
    workspace, noticed = patient(machine, lenders)
    is_over = threading.Event()

    def ask() -> None:
        with workspace.holding_answers(1.0, is_over.is_set):
            workspace.take_answer(50 * MIB, "An answer")

    held = workspace.take_all(80 * MIB, "Another's")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask)
        assert noticed.somebody_waits.wait(LONG)
        is_over.set()
        # Long before its patience ends.
        assert isinstance(waiting.exception(LONG / 2), MemoryBudgetError)
    held.give_back()


def test_all_waits_of_a_block_last_no_longer_than_one_may(
    machine: FakeMachine, lenders: Lenders
) -> None:
    workspace = Workspace(machine, lenders, patience=0.2)  # type: ignore[arg-type]
    give(workspace, machine, 100 * MIB)
    workspace._changed = noticed = NoticedCondition(workspace._lock)

    def ask() -> list[bool]:
        waited = []
        with workspace.holding_answers(1.0):
            for _ in range(3):
                noticed.somebody_waits.clear()
                with contextlib.suppress(MemoryBudgetError):
                    workspace.take_answer(50 * MIB, "An answer")
                waited.append(noticed.somebody_waits.is_set())
        return waited

    with workspace.take_all(80 * MIB, "Another's"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(ask).result(LONG) == [True, False, False]


class EndlessLender(FakeLender):
    """Is loaded again as soon as it has given something back."""

    def lend(self, n_bytes: int, reason: str, until: float = math.inf) -> int:
        return MIB


def test_lending_ends_where_others_load_again_at_once(
    machine: FakeMachine, lenders: Lenders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace_module, "_LENDING_SECONDS", 0.05)
    workspace = Workspace(machine, lenders, patience=0.0)  # type: ignore[arg-type]
    give(workspace, machine, 10 * MIB)
    lenders.add(lender := EndlessLender(machine, 0.0, [100 * MIB], [], "endless"))
    with pytest.raises(MemoryBudgetError):
        workspace.take_all(50 * MIB, "It")
    del lender


def test_what_a_thread_adopts_it_does_not_wait_for(machine: FakeMachine, lenders: Lenders) -> None:
    workspace, noticed = patient(machine, lenders)
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(workspace.take_all, 80 * MIB, "A body").result(LONG)
    held.adopt()
    with pytest.raises(MemoryBudgetError):
        workspace.take_all(50 * MIB, "It")
    assert not noticed.somebody_waits.is_set()
    held.give_back()


def test_what_is_kept_is_the_threads_own(workspace: Workspace) -> None:
    with workspace.holding_answers(2.0), ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: workspace.take_answer(20 * MIB, "Another's").give_back()).result(LONG)
        assert workspace.used == 0


# -- lenders ----------------------------------------------------------------------------------


def test_the_least_recently_used_lend_first(
    workspace: Workspace, machine: FakeMachine, lenders: Lenders
) -> None:
    log: list[str] = []
    all_of_them = [
        FakeLender(machine, 3.0, [50 * MIB], log, "new"),
        FakeLender(machine, 1.0, [20 * MIB], log, "oldest"),
        FakeLender(machine, 2.0, [30 * MIB, 30 * MIB], log, "old"),
    ]
    for one in all_of_them:
        lenders.add(one)
    workspace.take_all(100 * MIB, "It").give_back()
    assert log == []
    workspace.take_all(140 * MIB, "It").give_back()
    assert log == ["oldest", "old"]
    workspace.take_all(210 * MIB, "It").give_back()
    assert log == ["oldest", "old", "old", "new"]


def test_a_lender_that_is_busy_is_passed_over(
    workspace: Workspace, machine: FakeMachine, lenders: Lenders
) -> None:
    log: list[str] = []
    busy = FakeLender(machine, 1.0, [100 * MIB], log, "busy")
    other = FakeLender(machine, 2.0, [100 * MIB], log, "other")
    busy.is_busy = True
    lenders.add(busy)
    lenders.add(other)
    workspace.take_all(150 * MIB, "It").give_back()
    assert log == ["busy", "other"]
    with pytest.raises(MemoryBudgetError):
        workspace.take_all(250 * MIB, "It")


def test_work_in_pieces_has_others_lend_for_a_piece_and_no_more(
    workspace: Workspace, machine: FakeMachine, lenders: Lenders
) -> None:
    log: list[str] = []
    lender = FakeLender(machine, 1.0, [8 * MIB] * 10, log, "lender")
    lenders.add(lender)
    give(workspace, machine, 0)
    with workspace.take(1 << 40) as room:
        assert room.n_bytes == 4 * MIB
    assert log == ["lender"]


def test_nobody_is_unloaded_for_what_would_not_fit_even_so(
    workspace: Workspace, machine: FakeMachine, lenders: Lenders
) -> None:
    log: list[str] = []
    lender = FakeLender(machine, 1.0, [20 * MIB] * 5, log, "lender")
    lenders.add(lender)
    with pytest.raises(MemoryBudgetError):
        workspace.take_all(1 << 40, "It")
    assert (log, lender.lendable) == ([], 100 * MIB)


def test_a_lender_that_is_gone_is_not_asked(machine: FakeMachine, lenders: Lenders) -> None:
    log: list[str] = []
    one = FakeLender(machine, 1.0, [MIB], log, "removed")
    two = FakeLender(machine, 2.0, [MIB], log, "collected")
    lenders.add(one)
    lenders.add(two)
    lenders.remove(one)
    del two
    gc.collect()
    assert list(lenders) == []
    assert lenders.give_back(MIB, "a test") == 0


def test_it_can_be_looked_at_while_others_take(machine: FakeMachine, lenders: Lenders) -> None:
    """What is used is shown in reports, and added up by whoever waits, at any moment."""
    workspace = Workspace(machine, lenders)
    give(workspace, machine, 1 << 40)
    over = threading.Event()
    wrong: list[Exception] = []

    def take() -> None:
        held: deque[Grant] = deque(maxlen=50)
        while not over.is_set():
            held.append(workspace.take_all(SMALL_BYTES + 1, "This"))

    def look() -> None:
        try:
            for _ in range(3_000):
                assert workspace.used >= 0
                assert workspace._others() >= 0
        except Exception as error:
            wrong.append(error)
        over.set()

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work) for work in (take, take, look)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert not wrong
