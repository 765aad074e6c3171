"""`Pace`: steps of equal time, shorter and with a core less where others work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chroma_nb.segment.pace import Pace

if TYPE_CHECKING:
    import pytest


def test_steps_take_their_time_whatever_a_vector_takes(read: list[bool]) -> None:
    pace = Pace(0, seconds=0.1, seconds_while_used=0.001, most=10_000)
    for seconds_per_vector, expected in ((0.0001, 1_000), (0.001, 100), (0.000001, 10_000)):
        for _ in range(40):
            step = pace.next()
            pace.took(step, step * seconds_per_vector)
        assert expected * 0.9 <= pace.next() <= expected * 1.1
    read[0] = True
    for _ in range(40):
        step = pace.next()
        pace.took(step, step * 0.0001)
    assert 9 <= pace.next() <= 11
    read[0] = False
    assert pace.next() > 5_000


def test_a_step_is_never_empty_and_one_that_had_to_wait_does_not_count_for_much(
    read: list[bool],
) -> None:
    read[0] = True
    pace = Pace(0, seconds=0.1, seconds_while_used=0.001, most=10_000)
    pace.took(pace.next(), 60.0)
    assert pace.next() == 1
    pace = Pace(0, seconds=0.1, seconds_while_used=0.01, most=10_000)
    for _ in range(40):
        step = pace.next()
        pace.took(step, step * 0.0001)
    before = pace.next()
    pace.took(before, 60.0)
    assert pace.next() >= before // 2


def test_a_core_is_left_to_those_who_read(
    read: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    for given, alone, beside in ((0, 0, 3), (1, 1, 1), (8, 8, 7)):
        pace = Pace(given, 0.1, 0.1, 100)
        read[0] = False
        pace.next()
        assert pace.threads == alone
        read[0] = True
        pace.next()
        assert pace.threads == beside


def test_a_step_grows_to_the_double_at_most_and_shrinks_to_half(read: list[bool]) -> None:
    pace = Pace(1, seconds=1.0, seconds_while_used=1.0, most=30)
    sizes = []
    for seconds in (0.0, 0.0, 0.0, 1e9, 1e9, 1e9, 1e9, 1e9):
        sizes.append(pace.next())
        pace.took(sizes[-1], seconds)
    assert sizes == [8, 16, 30, 30, 15, 8, 4, 2]


def test_the_first_step_is_no_longer_than_any(read: list[bool]) -> None:
    assert Pace(1, 1.0, 1.0, most=3).next() == 3
    read[0] = True
    assert Pace(1, 1.0, 1.0, most=3).next() == 1


def test_who_works_is_asked_once_for_each_step(read: list[bool]) -> None:
    pace = Pace(2, seconds=1.0, seconds_while_used=1.0, most=100)
    alone = pace.next()
    read[0] = True
    assert (pace.others_work, pace.threads) == (False, 2), "as the step began"
    pace.took(alone, 0.0)
    assert pace.next() == 1, "the step that was quick was one of a build alone"
    assert (pace.others_work, pace.threads) == (True, 1)
    read[0] = False
    assert pace.next() == 2 * alone
