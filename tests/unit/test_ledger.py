"""The ledger: against a plain dictionary, among threads, and with a stopped cell."""

from __future__ import annotations

import contextlib
import random
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chroma_nb.memory.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable

OWNERS = st.sampled_from(["one", "two", "three"])
SIZES = st.integers(0, 120)
TAKE = st.tuples(st.just("take"), OWNERS, st.integers(-20, 120))
LOWER = st.tuples(st.just("lower"), st.integers(0, 200))
STEPS = st.one_of(
    *(TAKE, LOWER, st.tuples(st.just("end_lowering"))),
    st.tuples(st.just("set_held"), OWNERS, SIZES),
    st.tuples(st.just("hand_over"), OWNERS, OWNERS),
)


@given(st.integers(0, 200), st.lists(STEPS, max_size=40))
def test_every_history_is_that_of_a_plain_dictionary(budget: int, steps: list[tuple]) -> None:
    ledger = Ledger(budget)
    held: dict[str, int] = {}
    ceiling = budget
    for step in steps:
        match step:
            case ("take", owner, size):
                if held.get(owner, 0) + size < 0:
                    continue
                fits = size <= 0 or sum(held.values()) + size <= ceiling
                assert ledger.take(owner, size) is fits
                if fits:
                    held[owner] = held.get(owner, 0) + size
            case ("set_held", owner, size):
                ledger.set_held(owner, size)
                held[owner] = size
            case ("hand_over", source, target):
                ledger.hand_over(source, target)
                moved = held.pop(source, 0)
                held[target] = held.get(target, 0) + moved
            case ("lower", wanted):
                ceiling = wanted
                kept = sum(held.values()) <= wanted
                assert ledger.lower(wanted) is kept
                budget = wanted if kept else budget
            case _:
                ledger.end_lowering()
                ceiling = budget
        used = sum(held.values())
        assert [ledger.held(owner) for owner in held] == list(held.values())
        assert (ledger.used, ledger.budget) == (used, budget)
        assert ledger.free == max(0, ceiling - used)
        assert ledger.is_over == (used > ceiling)


@given(st.integers(0, 200), st.lists(TAKE | LOWER, max_size=40))
def test_whoever_only_takes_never_passes_the_budget(budget: int, steps: list[tuple]) -> None:
    ledger = Ledger(budget)
    for step in steps:
        if step[0] == "lower":
            ledger.lower(step[1])
        elif ledger.held(step[1]) + step[2] >= 0:
            ledger.take(*step[1:])
        assert ledger.used <= ledger.budget


def test_a_refusal_changes_nothing() -> None:
    ledger = Ledger(100)
    assert ledger.take("one", 60)
    assert not ledger.take("two", 41)
    assert (ledger.used, ledger.held("two"), ledger.free) == (60, 0, 40)
    assert ledger.take("two", 40)
    assert ledger.free == 0


def test_a_smaller_budget_is_in_force_at_once_and_the_budget_once_it_is_kept() -> None:
    ledger = Ledger(100)
    ledger.set_held("one", 80)
    assert not ledger.lower(50)
    assert (ledger.budget, ledger.free, ledger.is_over) == (100, 0, True)
    assert not ledger.take("two", 1)
    ledger.set_held("one", 50)
    assert ledger.lower(50)
    assert (ledger.budget, ledger.free, ledger.is_over) == (50, 0, False)


def test_what_could_not_be_lowered_leaves_the_budget_as_it_was() -> None:
    ledger = Ledger(100)
    ledger.set_held("one", 80)
    ledger.lower(50)
    ledger.end_lowering()
    assert (ledger.budget, ledger.free, ledger.is_over) == (100, 20, False)


def test_threads_never_pass_the_budget_and_no_byte_is_lost() -> None:
    ledger, budget, problems = Ledger(1_000), 1_000, []
    ready = threading.Barrier(6)

    def work(number: int) -> None:
        chance = random.Random(number)
        ready.wait()
        for _ in range(3_000):
            size = chance.randrange(1, 500)
            if ledger.take((number, "part"), size):
                if ledger.used > budget:
                    problems.append(ledger.used)
                ledger.hand_over((number, "part"), number)
            # What is really used is never more than was taken.
            ledger.set_held(number, chance.randrange(ledger.held(number) + 1))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(180)
    assert not problems
    assert ledger.used == sum(ledger.held(number) for number in range(6))
    for number in range(6):
        ledger.set_held(number, 0)
    assert ledger.used == 0


class Key:
    """Hashed by Python code, as a UUID is; there, a stopped cell raises: at the `left`-th time."""

    left = 0

    def __hash__(self) -> int:
        Key.left -= 1
        if Key.left == 0:
            raise KeyboardInterrupt
        return id(self)


@pytest.mark.parametrize(
    "step",
    [
        lambda ledger, key, other: ledger.take(key, 30),
        lambda ledger, key, other: ledger.set_held(key, 20),
        lambda ledger, key, other: ledger.set_held(key, 0),
        lambda ledger, key, other: ledger.hand_over(key, other),
    ],
    ids=["take", "set_held", "close", "hand_over"],
)
def test_a_stopped_step_was_taken_whole_or_not_at_all(
    step: Callable[[Ledger, Key, Key], object],
) -> None:
    seen = []
    for n in range(50):
        key, other, ledger = Key(), Key(), Ledger(100)
        ledger.set_held(key, 40)
        ledger.set_held(other, 10)
        Key.left = n
        with contextlib.suppress(KeyboardInterrupt):
            step(ledger, key, other)
        stopped, Key.left = Key.left <= 0, 0
        seen.append((ledger.used, ledger.held(key), ledger.held(other)))
        if n and not stopped:
            break
    # The first and the last of them ran to their ends.
    assert len(seen) > 2
    assert seen[0] == seen[-1]
    assert set(seen) <= {(50, 40, 10), seen[0]}
