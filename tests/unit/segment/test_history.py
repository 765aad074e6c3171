"""`History`: its events name a collection to its own tenant and database alone; its samples show changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chroma_nb.memory.report import ELSEWHERE
from chroma_nb.segment import history
from chroma_nb.segment.history import History
from chroma_nb.segment.slot import CollectionName

if TYPE_CHECKING:
    import pytest


def test_events_of_other_databases_have_no_name() -> None:
    kept = History()
    kept.note("load", CollectionName("notes", "acme", "one"), "used", 10, 0.5)
    kept.note("unload", CollectionName("secret", "acme", "two"), "idle", 20, 0.5)
    events = kept.events("acme", "one")
    assert [(event.action, event.collection) for event in events] == [
        ("load", "notes"),
        ("unload", ELSEWHERE),
    ]
    assert [event.n_bytes for event in events] == [10, 20]


def test_the_last_events_are_kept() -> None:
    kept = History()
    for n in range(history._EVENTS + 5):
        kept.note("load", CollectionName("notes", "", ""), "used", n, 0.0)
    events = kept.events("", "")
    assert (len(events), events[0].n_bytes) == (history._EVENTS, 5)


def test_samples_show_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_SAMPLE_SECONDS", -1.0)
    kept = History()
    for used in (1, 1, 1, 1, 2, 2, 2, 3):
        kept.sample(used, 100, short=False)
    assert [sample.used for sample in kept.samples()] == [1, 1, 2, 2, 3]
    monkeypatch.setattr(history, "_SAMPLE_SECONDS", 3_600.0)
    for used in (4, 5, 6):
        kept.sample(used, 100, short=True)
    assert [sample.used for sample in kept.samples()] == [1, 1, 2, 2, 6], "one of this moment"


def test_names_are_short_where_they_can_be() -> None:
    assert str(CollectionName("notes", "default_tenant", "default_database")) == "notes"
    assert str(CollectionName("notes", "acme", "one")) == "acme/one/notes"
    assert str(CollectionName("deleted", "", "")) == "deleted"
