"""What is shown of a store at a server: with one short fetch, without one, and when the server does not answer."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import pytest
import requests

import chroma_nb
from chroma_nb.display import facts, kept
from tests.display.tiers import Page
from tests.support.waiting import wait_until
from tests.trust.listening import Answer, Listening

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.servers import Running
    from tests.server.conftest import Raw

#: Far more than a display may wait, and what a busy machine may take for it.
LONG = 20.0


class Relay(Listening):
    """Hands requests on to a server; while `open` is not set, none is answered."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.is_gone = False
        self.open = threading.Event()
        self.open.set()
        super().__init__()

    def answer_to(self, method: str, path: str, asked: bytes) -> Answer:
        self.open.wait(LONG)
        if self.is_gone:
            raise ConnectionError("the relay hangs up")
        with requests.Session() as session:
            session.trust_env = False
            found = session.request(
                method,
                self.target + path,
                data=asked,
                headers={"Content-Type": "application/json"},
                timeout=60,
            )
        kind = found.headers.get("Content-Type", "")
        return found.status_code, {"Content-Type": kind}, found.content


@pytest.fixture
def relay(server: Running, raw: Raw) -> Iterator[Relay]:
    relay = Relay(server.url)
    yield relay
    relay.open.set()
    relay.close()


#: What a display waits for a server, seconds.
LIMIT = facts.FETCH_SECONDS


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for what comes on a busy machine, too; tests of the limit set it themselves."""
    monkeypatch.setattr(facts, "FETCH_SECONDS", LONG)
    monkeypatch.setattr(facts, "_LATE_SECONDS", LONG)


def connected(relay: Relay, **settings: Any) -> Any:
    """Return a client of the relay with one collection of three records."""
    client = chroma_nb.connect(
        relay.url, settings=chroma_nb.Settings(embedding="static", retries=0, **settings)
    )
    notes = client.create_collection("notes", metadata={"source": "a <test>"})
    notes.add(
        ids=["a", "b", "c"], documents=["a bear", "a train", "a cat"], metadatas=[{"n": 1}] * 3
    )
    return client


def shown_of(client: Any) -> dict[str, Any]:
    notes = client.get_collection("notes")
    return {
        "client": client,
        "collections": client.list_collections(),
        "collection": notes,
        "fields": notes.fields,
        "memory": client.memory,
    }


#: What of each object has to be there.
FACTS = {
    "client": ("notes", " 3 ", "256", "l2"),
    "collections": ("notes", " 3 ", "256", "l2"),
    "collection": ("notes", "3 records", "256 dimensions", "l2 distance"),
    "fields": (" n ", "int"),
    "memory": ("notes", "index", " 3 "),
}


def text_of(shown: Any) -> str:
    page = Page(shown._repr_html_())
    assert not page.problems
    assert not page.strange()
    return page.text


def test_a_store_at_a_server_looks_like_one_that_is_here(relay: Relay) -> None:
    client = connected(relay)
    for name, shown in shown_of(client).items():
        text = text_of(shown)
        assert all(fact in f" {text} " for fact in FACTS[name]), (name, text)
        assert "As of" not in text
        # The budget follows what is free at the moment.
        assert name in ("client", "memory") or shown._repr_html_() == shown._repr_html_()
    assert "a bear" in text_of(client.get_collection("notes"))


def test_the_text_beside_it_sends_nothing_more(relay: Relay) -> None:
    client = connected(relay)
    objects = shown_of(client)
    n_heard = len(relay.heard)
    for shown in objects.values():
        assert shown._repr_mimebundle_(include=["text/plain"])
    assert len(relay.heard) == n_heard


def test_a_server_that_does_not_answer_holds_no_cell_up(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connected(relay)
    objects = shown_of(client)
    before = {name: text_of(shown) for name, shown in objects.items()}
    relay.open.clear()
    n_heard = len(relay.heard)
    monkeypatch.setattr(facts, "FETCH_SECONDS", LIMIT)
    started = time.monotonic()
    first = text_of(client)
    took = time.monotonic() - started
    assert LIMIT <= took < LONG / 4
    assert "has not answered within 0.3 s" in first
    for name, shown in objects.items():
        text = text_of(shown)
        assert text.startswith("As of ")
        assert "ago, the server has not answered yet." in text
        # Nothing is missing of what was there.
        assert text.partition("yet. ")[2] == before[name], name
    assert len(relay.heard) == n_heard + 1, "one request is out, and no other one was sent"
    relay.open.set()
    wait_until(lambda: not facts._Fetches._out)
    monkeypatch.setattr(facts, "FETCH_SECONDS", LONG)
    assert "As of" not in text_of(client)


def test_an_answer_that_comes_late_is_there_the_next_time(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "FETCH_SECONDS", LIMIT)
    other = connected(relay)
    other.create_collection("more")
    client = chroma_nb.connect(relay.url, settings=chroma_nb.Settings(retries=0, max_batch_size=7))
    relay.open.clear()
    assert "Unavailable: the server has not answered within 0.3 s" in text_of(client)
    n_heard = len(relay.heard)
    relay.open.set()
    wait_until(lambda: not facts._Fetches._out)
    assert len(relay.heard) == n_heard, "the time was over for the other requests"
    relay.open.clear()
    text = text_of(client)
    assert "2 collections" in text
    assert "notes" in text
    assert "more" in text


def test_without_a_fetch_it_shows_what_calls_have_made_known(relay: Relay) -> None:
    client = connected(relay, display_fetch=False)
    objects = shown_of(client)
    notes = objects["collection"]
    n_heard = len(relay.heard)
    for name in ("client", "collections", "collection"):
        text = text_of(objects[name])
        assert "notes" in text
        assert "256" in text
        assert "3 records" not in text
        assert "Nothing is fetched from the server" in text
    for name in ("fields", "memory"):
        assert "Settings.display_fetch is off" in text_of(objects[name])
    assert len(relay.heard) == n_heard
    notes.count()
    notes.fields.describe()
    client.memory.report()
    n_heard = len(relay.heard)
    for name, shown in objects.items():
        text = text_of(shown)
        assert all(fact in f" {text} " for fact in FACTS[name]), (name, text)
    assert len(relay.heard) == n_heard, "a display has sent a request"


def test_an_age_is_there_only_where_it_is_old(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connected(relay, display_fetch=False)
    notes = client.get_collection("notes")
    notes.count()
    monkeypatch.setattr(facts, "_OLD_SECONDS", 1_000.0)
    assert "As of" not in text_of(notes)
    monkeypatch.setattr(facts, "_OLD_SECONDS", 0.0)
    assert text_of(notes).startswith("As of ")


def test_what_this_process_changes_is_not_shown_as_it_was(relay: Relay) -> None:
    client = connected(relay, display_fetch=False)
    notes = client.get_collection("notes")
    assert notes.count() == 3
    notes.fields.describe()
    notes.delete(ids=["a"])
    assert "3 records" not in text_of(notes)
    assert "int" not in text_of(notes.fields)
    client.create_collection("other")
    assert "other" in text_of(client)
    client.delete_collection("notes")
    assert "notes" not in text_of(client)
    client.reset()
    assert "other" not in text_of(client)


def test_what_another_client_deleted_goes_with_the_next_list(relay: Relay, raw: Raw) -> None:
    client = connected(relay, display_fetch=False)
    assert "notes" in text_of(client)
    other = chroma_nb.connect(raw.url)
    other.delete_collection("notes")
    assert client.list_collections() == []
    assert "notes" not in text_of(client)
    other.close()


def test_an_answer_that_says_no_is_shown_alone(relay: Relay, raw: Raw) -> None:
    client = connected(relay)
    notes = client.get_collection("notes")
    assert "3 records" in text_of(notes)
    other = chroma_nb.connect(raw.url)
    other.delete_collection("notes")
    text = text_of(notes)
    assert "does not exist" in text
    assert "3 records" not in text
    other.close()


def test_a_server_that_is_gone_leaves_what_was_known(relay: Relay) -> None:
    client = connected(relay)
    before = text_of(client)
    relay.is_gone = True
    text = text_of(client)
    assert text.startswith("As of ")
    assert "Unavailable: " in text
    assert text.endswith(before), "it is the last one that there was"


def test_descriptions_of_any_size_are_not_kept(relay: Relay) -> None:
    client = connected(relay, display_fetch=False)
    client.create_collection("large", metadata={"text": "x" * 100_000})
    known = client.api.known.collections(client.tenant, client.database)
    assert [fact.value.name for fact in known] == ["notes"]
    for number in range(100):
        client.create_collection(f"col{number}", embedding_function=None)
    assert len(client.api.known.collections(client.tenant, client.database)) == 64


def test_what_is_kept_goes_with_the_client(relay: Relay) -> None:
    client = connected(relay)
    shown = shown_of(client)
    for one in shown.values():
        text_of(one)
    assert client in kept._kept
    api = weakref.ref(client.api)
    client.close()
    n_kept = len(kept._kept)
    del client, shown, one
    gc.collect()
    wait_until(lambda: api() is None)
    assert len(kept._kept) == n_kept - 1


def test_what_was_asked_before_a_change_is_not_known_after_it(relay: Relay) -> None:
    client = connected(relay, display_fetch=False)
    notes = client.get_collection("notes")
    relay.open.clear()
    counted: list[int] = []
    late = threading.Thread(target=lambda: counted.append(notes.count()))
    n_heard = len(relay.heard)
    late.start()
    wait_until(lambda: len(relay.heard) > n_heard)
    # The relay holds the answer to the count; this process begins to write meanwhile.
    write = threading.Thread(target=lambda: notes.delete(ids=["a"]))
    n_heard = len(relay.heard)
    write.start()
    wait_until(lambda: len(relay.heard) > n_heard)
    relay.open.set()
    late.join()
    write.join()
    assert len(counted) == 1
    assert client.api.known.count(notes.id) is None
