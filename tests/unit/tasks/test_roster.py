"""What somebody in the broker says to be is believed within limits."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("celery")

from chroma_nb.tasks.messages import VERSION
from chroma_nb.tasks.roster import Roster


@pytest.fixture
def roster() -> Roster:
    def connect() -> Any:
        raise AssertionError("nobody is asked here")

    return Roster(connect)


def test_workers_of_this_release_are_used(roster: Roster) -> None:
    roster._on_answer("a", {"version": VERSION, "slots": 3, "host": "h", "builds_graphs": True})
    roster._on_answer("b", {"version": "0/0", "slots": 8})
    assert (roster.slots, roster.builds_graphs) == (3, True)
    assert [one.is_used for one in roster.workers()] == [True, False]


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        "x",
        {},
        {"version": VERSION},
        {"version": VERSION, "slots": 0},
        {"version": VERSION, "slots": True},
        {"version": VERSION, "slots": 10**9},
        {"version": VERSION, "slots": "3"},
        {"version": 7, "slots": 3},
    ],
)
def test_what_is_no_worker_is_not_counted(roster: Roster, said: Any) -> None:
    roster._on_answer("a", said)
    assert roster.workers() == []


def test_a_flood_of_names_takes_little(roster: Roster) -> None:
    for n in range(3_000):
        roster._on_answer(
            f"{n}" * 1_000, {"version": "x" * 10_000, "slots": 1, "host": "y" * 10_000}
        )
    found = roster.workers()
    assert len(found) == 1_000
    assert max(len(one.name + one.host + one.version) for one in found) <= 340
