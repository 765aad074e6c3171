"""Who stays and who goes: LRU, TTL, the idle interval, pins, previews, reports."""

from __future__ import annotations

import dataclasses
import gc
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb.errors import InvalidArgumentError, MemoryBudgetError, NotFoundError
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VECTORS = np.random.default_rng(2).standard_normal((1_000, 64)).astype(np.float32)
NAMES = ["alpha", "beta", "gamma"]


def fill(client: Any, name: str) -> Any:
    collection = client.create_collection(name, embedding_function=None)
    collection.add(
        ids=[f"id{row}" for row in range(len(VECTORS))],
        embeddings=VECTORS,
        documents=[f"the document of row {row}" for row in range(len(VECTORS))],
    )
    return collection


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Any]:
    settings = chroma_nb.Settings(memory_budget="100 MB", idle_unload_seconds=0, fsync=False)
    with chroma_nb.PersistentClient(tmp_path / "store", settings) as client:
        for name in NAMES:
            fill(client, name)
            use(client, name)
        yield client


def use(client: Any, name: str) -> None:
    found = client.get_collection(name, embedding_function=None).query(
        query_embeddings=VECTORS[7], n_results=1
    )
    assert found["ids"] == [["id7"]]


def states(client: Any) -> dict[str, str]:
    return {one.name: one.state for one in client.memory.report().collections}


def loaded(client: Any) -> list[str]:
    return [name for name, state in states(client).items() if state == "loaded"]


def test_the_least_recently_used_goes_first(client: Any) -> None:
    one = client.memory.report().collections[0].resident_bytes
    use(client, "alpha")
    assert client.memory.preview(2 * one + one // 2)[0].collection == "beta"
    client.memory.budget = 2 * one + one // 2
    assert loaded(client) == ["alpha", "gamma"]
    use(client, "beta")
    assert loaded(client) == ["alpha", "beta"]
    # The second came in, and as soon as its vectors were wanted the first had to go.
    load, unload = sorted(client.memory.report().events[-2:], key=lambda event: event.action)
    assert (load.action, load.collection, load.reason) == ("load", "beta", "used")
    assert (unload.action, unload.collection) == ("unload", "gamma")
    assert unload.reason == "least recently used, room was needed"
    assert unload.n_bytes > 0
    assert load.seconds > 0


def test_a_preview_says_what_the_budget_then_does(client: Any) -> None:
    one = client.memory.report().collections[0].resident_bytes
    for budget in (3 * one, 2 * one, one, one // 2, 0):
        gone = [eviction.collection for eviction in client.memory.preview(budget)]
        before = loaded(client)
        assert states(client) == dict.fromkeys(NAMES, "on disk") | dict.fromkeys(before, "loaded")
        client.memory.budget = budget
        assert loaded(client) == [name for name in before if name not in gone]
    assert client.memory.report().used == 0
    assert client.memory.preview("1 GB") == []


@pytest.mark.parametrize(
    ("given", "n_bytes"), [("2 GB", 2 * 10**9), (123_456, 123_456), ("1.5 MiB", 3 << 19), (0, 0)]
)
def test_a_budget_is_read_as_people_write_it(client: Any, given: Any, n_bytes: int) -> None:
    client.memory.budget = given
    assert client.memory.budget == n_bytes


def test_a_share_is_one_of_the_limit_and_auto_one_of_what_is_free(client: Any) -> None:
    limit = client.memory.report().limit_bytes
    client.memory.budget = "25%"
    assert client.memory.budget == pytest.approx(limit / 4, rel=0.01)
    client.memory.budget = "auto"
    assert 0 < client.memory.budget < limit
    with pytest.raises(InvalidArgumentError, match="'a lot'"):
        client.memory.budget = "a lot"
    with pytest.raises(InvalidArgumentError, match="-3"):
        client.memory.budget = -3


def test_a_budget_above_the_machine_is_named(client: Any) -> None:
    limit = client.memory.report().limit_bytes
    with pytest.warns(UserWarning, match=r"above what this process may have.*'auto'") as caught:
        client.memory.budget = 2 * limit
    assert client.memory.budget == 2 * limit
    assert caught[0].filename == __file__, "at one's own line"
    with pytest.warns(UserWarning, match="900.0 TB"):
        chroma_nb.EphemeralClient(chroma_nb.Settings(memory_budget="900 TB")).close()
    with pytest.warns(UserWarning, match=f"{limit + 1:,} bytes is above .* {limit:,} bytes"):
        client.memory.budget = limit + 1
    client.memory.budget = "100%"


def test_pinned_collections_stay(client: Any) -> None:
    one = client.memory.report().collections[0].resident_bytes
    client.memory.pin("alpha")
    use(client, "beta")
    client.memory.budget = 2 * one
    assert loaded(client) == ["alpha", "beta"]
    use(client, "gamma")
    use(client, "beta")
    assert loaded(client) == ["alpha", "beta"]
    with pytest.raises(MemoryBudgetError, match=r"what is pinned \(alpha\).*unpin") as caught:
        client.memory.budget = one // 2
    assert caught.value.need >= one
    assert client.memory.budget == 2 * one
    client.memory.unload_all()
    assert loaded(client) == ["alpha"]
    # A word of one's own counts for more than the pin.
    assert client.memory.unload("alpha") == one
    client.memory.pin("alpha")
    client.memory.unpin("alpha")
    client.memory.budget = 0
    assert loaded(client) == []


def test_a_ttl_is_kept_in_the_catalogue_and_works_by_itself(tmp_path: Path) -> None:
    settings = chroma_nb.Settings(idle_unload_seconds=0)
    with chroma_nb.PersistentClient(tmp_path / "store", settings) as client:
        fill(client, "short")
        fill(client, "long")
        client.memory.set_ttl("short", 0.3)
    with chroma_nb.PersistentClient(tmp_path / "store", settings) as client:
        ttls = {one.name: one.ttl_seconds for one in client.memory.report().collections}
        assert ttls == {"short": 0.3, "long": None}
        use(client, "long")
        use(client, "short")
        assert loaded(client) == ["short", "long"]
        # Nobody touches the store: the report looks without using.
        wait_until(lambda: loaded(client) == ["long"])
        event = client.memory.report().events[-1]
        assert (event.collection, event.reason) == ("short", "not used for 0.3 s (its TTL)")
        use(client, "short")
        client.memory.set_ttl("short", None)
        time.sleep(0.5)
        assert loaded(client) == ["short", "long"]
        # Changing name and metadata leaves the TTL alone.
        client.memory.set_ttl("long", 3_600)
        client.get_collection("long", embedding_function=None).modify(name="longer")
        assert client.memory.report().collections[1].ttl_seconds == 3_600
        for wrong in (0, -1, float("nan"), float("inf"), "5", True):
            with pytest.raises(InvalidArgumentError, match="TTL in seconds"):
                client.memory.set_ttl("short", wrong)
        with pytest.raises(NotFoundError):
            client.memory.set_ttl("nobody", 3)


def test_what_is_used_again_and_again_stays_and_what_is_idle_goes(tmp_path: Path) -> None:
    settings = chroma_nb.Settings(idle_unload_seconds=0.4)
    with chroma_nb.PersistentClient(tmp_path / "store", settings) as client:
        fill(client, "busy")
        fill(client, "idle")
        until = time.monotonic() + 1.2
        while time.monotonic() < until:
            use(client, "busy")
            time.sleep(0.02)
        assert loaded(client) == ["busy"]
        assert "(idle)" in client.memory.report().events[-1].reason
        client.memory.pin("busy")
        time.sleep(0.8)
        assert loaded(client) == ["busy"]
        client.memory.unpin("busy")
        wait_until(lambda: loaded(client) == [])


def test_the_report_counts_and_adds_up(client: Any) -> None:
    collection = client.get_collection("alpha", embedding_function=None)
    collection.query(query_embeddings=VECTORS[:3], n_results=2)
    client.memory.unload("alpha")
    use(client, "alpha")
    client.memory.budget = 10_000
    use(client, "alpha")
    report = client.memory.report()
    alpha = report.collections[0]
    assert (alpha.hits, alpha.misses, alpha.loads, alpha.unloads) == (3, 1, 1, 2)
    assert alpha.state == "on disk"
    assert alpha.n_records == 1_000
    assert alpha.disk_bytes > VECTORS.nbytes
    assert 0 <= alpha.idle_seconds < 60
    client.memory.budget = "1 GB"
    for name in NAMES:
        use(client, name)
    report = client.memory.report()
    assert report.used == sum(one.resident_bytes for one in report.collections)
    for one in report.collections:
        assert sum(one.parts.values()) == one.resident_bytes
        assert one.parts["documents"] > 20_000
    assert report.process_bytes > report.used
    assert report.limit_bytes >= report.free_bytes > 0
    assert report.database_bytes <= report.database_limit
    frame = report.to_pandas()
    assert list(frame.index) == NAMES
    assert frame["resident_bytes"].sum() == report.used
    assert frame["documents_bytes"].min() > 20_000
    assert report.to_dict()["collections"][0]["name"] == "alpha"
    for line in (*NAMES, "budget", "process", report.limit_source):
        assert line in str(client.memory)
    assert "\ndatabase " in str(report)
    assert "database" not in str(dataclasses.replace(report, database_bytes=0, database_limit=0))
    assert len(repr(client.memory)) < 100
    assert "(pinned)" not in str(client.memory)
    client.memory.pin("alpha")
    (line,) = (one for one in str(client.memory).splitlines() if "(pinned)" in one)
    assert "alpha" in line


def test_an_estimate_is_what_loading_takes(tmp_path: Path) -> None:
    with chroma_nb.PersistentClient(tmp_path / "store") as client:
        for n, dimension in ((8_000, 128), (8_000, 384), (20_000, 64)):
            name = f"n{n}-{dimension}"
            collection = client.create_collection(name, embedding_function=None)
            text = (
                "a document of the usual length, that is about a sentence or one and a half of them"
            )
            collection.add(
                ids=[f"id{row}" for row in range(n)],
                embeddings=np.random.default_rng(0).standard_normal((n, dimension), np.float32),
                documents=[f"{text}: {row}" for row in range(n)],
            )
            collection.build_index()
            estimate = client.memory.estimate(n, dimension)
            assert estimate.form == client.memory.report().collections[-1].form
            assert estimate.n_bytes == pytest.approx(client.memory.load(name), rel=0.2)
            assert list(estimate.by_form.values()) == sorted(
                estimate.by_form.values(), reverse=True
            )
        client.memory.budget = "40 MB"
        assert client.memory.estimate(1_000_000).form == "on disk"
        assert client.memory.estimate(100).form == "exact"
        largest = client.memory.estimate(20_000).largest
        form, n = max(largest.items(), key=lambda item: item[1])
        assert client.memory.estimate(n).by_form[form] <= 40e6 * 1.01
        for wrong in (0, -1, 1.5, "5", True):
            with pytest.raises(InvalidArgumentError, match="at least 1"):
                client.memory.estimate(wrong)


def test_the_budget_is_the_stores_and_shared_by_its_clients(tmp_path: Path) -> None:
    with (
        chroma_nb.PersistentClient(tmp_path / "store") as one,
        chroma_nb.PersistentClient(tmp_path / "store") as other,
    ):
        fill(one, "notes")
        one.memory.budget = "5 MB"
        assert other.memory.budget == 5_000_000
        other.memory.unload("notes")
        assert states(one) == {"notes": "on disk"}


def test_a_client_that_is_collected_leaves_no_thread_and_no_lock(tmp_path: Path) -> None:
    before = {thread.name for thread in threading.enumerate()}
    client = chroma_nb.PersistentClient(
        tmp_path / "store", chroma_nb.Settings(idle_unload_seconds=3_600)
    )
    collection = fill(client, "notes")
    use(client, "notes")
    assert any(thread.name == "chroma_nb-janitor" for thread in threading.enumerate())
    segments = weakref.ref(client.api.segments)  # type: ignore[attr-defined]
    del client, collection
    gc.collect()
    wait_until(lambda: {thread.name for thread in threading.enumerate()} <= before)
    gc.collect()
    assert segments() is None
    # The folder is free for another process, and for this one.
    with chroma_nb.PersistentClient(tmp_path / "store") as client:
        use(client, "notes")


def test_nothing_is_printed(client: Any, capfd: pytest.CaptureFixture[str]) -> None:
    client.memory.set_ttl("alpha", 0.05)
    client.memory.budget = 0
    client.memory.budget = "auto"
    use(client, "alpha")
    wait_until(lambda: "alpha" not in loaded(client))
    client.close()
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_the_history_is_one_of_changes(client: Any) -> None:
    memory = client.memory
    memory.load("alpha")
    time.sleep(0.6)
    for _ in range(50):
        memory.report()
        time.sleep(0.02)
    quiet = len(memory.report().history)
    assert quiet <= 6, "nothing happened"
    memory.unload("alpha")
    time.sleep(0.6)
    history = memory.report().history
    assert history[-1].used < max(sample.used for sample in history)
    assert [sample.time for sample in history] == sorted(sample.time for sample in history)
    assert all(sample.process > 0 and sample.budget == memory.budget for sample in history)
