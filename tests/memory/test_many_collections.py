"""Thousands of small collections: nothing grows faster than they do, and nothing runs out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import numpy as np
import pytest

import chroma_nb
from benchmarks.memory_limit import limit
from chroma_nb.db import vector_file
from chroma_nb.db._versions import IS_OLD_DUCKDB
from chroma_nb.db.duckdb import catalogue, checkpoint_memory
from chroma_nb.db.duckdb.cached_catalogue import CatalogueEntry
from chroma_nb.errors import MemoryBudgetError
from chroma_nb.memory.ledger import Ledger
from chroma_nb.memory.lender import LENDERS
from chroma_nb.segment import manager, resident_set, unload_order
from chroma_nb.segment.slot import Slots
from chroma_nb.segment.worker import Worker
from tests.memory.fakes import MIB, tight
from tests.stores import private_settings
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VECTORS = np.random.default_rng(0).random((5, 64), dtype=np.float32)


def settings(**given: Any) -> chroma_nb.Settings:
    return chroma_nb.Settings(progress=False, **given)


def fill(client: Any, start: int, stop: int) -> None:
    for number in range(start, stop):
        collection = client.create_collection(f"small-{number:06d}", embedding_function=None)
        collection.add(
            ids=[f"id-{row}" for row in range(5)],
            embeddings=VECTORS,
            documents=[f"document {row} of {number}" for row in range(5)],
            metadatas=[{"kind": "small", "number": row} for row in range(5)],
        )


def check(client: Any, numbers: range) -> None:
    for number in numbers:
        collection = client.get_collection(f"small-{number:06d}", embedding_function=None)
        found = collection.query(query_embeddings=VECTORS[3], n_results=2)
        assert found["ids"][0][0] == "id-3"
        assert found["documents"][0][0] == f"document 3 of {number}"


def best(call: Callable[[], object], rounds: int = 7) -> float:
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times)


class Counted:
    """An owner that counts how often somebody looks for an account."""

    looks = 0

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        Counted.looks += 1
        return self.number


def test_a_change_of_the_ledger_takes_the_same_steps_however_many_accounts() -> None:
    def steps(n: int) -> int:
        ledger = Ledger(10**9)
        for number in range(n):
            ledger.take(Counted(number), 7)
        assert ledger.used == 7 * n
        before, accounts = Counted.looks, ledger._state.accounts
        assert ledger.take(Counted(n), 7)
        ledger.set_held(Counted(n + 1), 7)
        # Nor are they copied.
        assert ledger._state.accounts is accounts
        return Counted.looks - before

    assert steps(10) == steps(10_000)


def test_a_creation_looks_at_no_other_collection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[UUID] = []
    group_bytes = checkpoint_memory._group_bytes

    def counted(entry: Any, texts: Any) -> int:
        looked_at.append(entry.info.id)
        return group_bytes(entry, texts)

    class Looked(CatalogueEntry):
        """An entry that counts how often its description is added up."""

        @property  # type: ignore[override]
        def description_characters(self) -> int:
            looked_at.append(self.info.id)
            return self.characters

        @description_characters.setter
        def description_characters(self, n: int) -> None:
            self.characters = n

    monkeypatch.setattr(checkpoint_memory, "_group_bytes", counted)
    monkeypatch.setattr(catalogue, "CatalogueEntry", Looked)
    with chroma_nb.PersistentClient(
        str(tmp_path), settings(duckdb_memory_limit="200 MB")
    ) as client:

        def looks(start: int) -> int:
            looked_at.clear()
            fill(client, start, start + 10)
            return len(looked_at)

        few = looks(0)
        fill(client, 10, 80)
        assert looks(80) == few > 0


def test_what_a_checkpoint_will_write_is_added_up_as_it_changes(tmp_path: Path) -> None:
    def known(client: Any) -> tuple[int, int]:
        database = client.api.db._database
        held = database.checkpoint_memory
        assert held.rewritten_bytes() == sum(
            checkpoint_memory._group_bytes(*each) for each in held.texts()
        )
        cached = database.cached
        assert cached.description_bytes == sum(
            one.description_characters for one in cached.entries.values()
        )
        return held.rewritten_bytes(), cached.description_bytes

    with chroma_nb.PersistentClient(str(tmp_path), settings()) as client:
        fill(client, 0, 5)
        before = known(client)
        docs = client.get_collection("small-000002", embedding_function=None)
        docs.add(ids=["long"], embeddings=VECTORS[:1], documents=["long" * 10_000])
        docs.modify(metadata={"said": "x" * 1_000})
        after = known(client)
        assert after[0] > before[0] + 40_000
        assert after[1] > before[1] + 1_000
        docs.delete(ids=["long"])
        known(client)
        client.api.db.compact(docs.id)
        known(client)
        client.api.db._database._reload_catalogue()
        known(client)
        client.delete_collection("small-000002")
        client.delete_collection("small-000003")
        assert known(client) < before
        client.api.db._database._free_memory()
        assert known(client)[0] == 0
    script = (
        "import os, chroma_nb\n"
        "from tests.memory.test_many_collections import fill, settings\n"
        f"fill(chroma_nb.PersistentClient({str(tmp_path)!r}, settings()), 5, 9)\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    with chroma_nb.PersistentClient(str(tmp_path), settings()) as client:
        # A log that was found may be of any collection.
        assert IS_OLD_DUCKDB or known(client)[0] > 0
        known(client)


def test_what_is_given_back_for_others_is_looked_for_once_and_goes_by_its_last_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of two stores, whose collections were used in turns: first ten of one, then ten of the other, and so on."""
    looks: list[Slots] = []

    def counted(slots: Slots) -> Any:
        looks.append(slots)
        return each(slots)

    each = Slots.__iter__
    # An order stands however little it took to make.
    monkeypatch.setattr(unload_order, "REUSE_FACTOR", 10**9)
    # Other settings make another store.
    first, second = (
        settings(idle_unload_seconds=0, memory_budget="1 GB", max_batch_size=most)
        for most in (98, 99)
    )
    with chroma_nb.EphemeralClient(first) as one, chroma_nb.EphemeralClient(second) as two:
        for start in range(0, 100, 10):
            for client in (one, two):
                fill(client, start, start + 10)
        half = one.memory.report().used  # of both together

        own = [client.api.segments._slots for client in (one, two)]
        monkeypatch.setattr(Slots, "__iter__", counted)
        assert half <= LENDERS.give_back(half, "a test") < half * 1.05
        # Each store has made one order: who looks for each that goes takes ten times as long for ten times as many.
        # Other tests may have left stores behind, which have nothing to give.
        assert [slots for slots in own for look in looks if look is slots] == own

        for client in (one, two):
            states = [row.state for row in client.memory.report().collections]
            gone = states.count("on disk")
            assert states == ["on disk"] * gone + ["loaded"] * (100 - gone)
            assert gone in (50, 51)


def test_a_report_takes_a_time_that_grows_with_the_collections_and_no_faster() -> None:
    with chroma_nb.EphemeralClient(settings()) as client:
        info = client.create_collection("first", embedding_function=None)
        db = client.api.db
        template = db.get_collection(info.id)

        def add(n: int) -> None:
            # Straight into the catalogue: a transaction for each takes most of the time and is not asked about.
            for _ in range(n):
                one = uuid4()
                copy = type(template)(
                    one,
                    str(one),
                    *(template.tenant, template.database, template.configuration, None),
                )
                db._cached.remember(
                    type(db._cached.entries[info.id])(
                        copy, db._cached.next_created(), db.extent(info.id)
                    )
                )

        add(1_000)
        few = best(client.memory.report)
        add(3_000)
        many = best(client.memory.report)
        assert len(client.memory.report().collections) == 4_001
        # Four times as many; sixteen times as long would be a loop in a loop.
        assert many < 8 * few
        # Being looked at makes no slot.
        assert len(list(client.api.segments._slots)) == 0


def test_a_smaller_budget_gives_memory_back_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with chroma_nb.PersistentClient(str(tmp_path), settings(memory_budget="50 MB")) as client:
        fill(client, 0, 60)
        calls: list[str] = []
        monkeypatch.setattr(resident_set, "return_memory", lambda: calls.append("trim"))
        monkeypatch.setattr(manager, "return_memory", lambda: calls.append("trim"))
        monkeypatch.setattr(client.api.db, "settle", lambda: calls.append("settle"))
        used = client.memory.report().used
        client.memory.budget = used // 2
        report = client.memory.report()
        assert used // 4 < report.used <= used // 2
        assert calls == ["trim"]
        assert client.memory.unload_all() > 0
        assert calls[1:] == ["settle", "trim"]
        check(client, range(60))


def test_what_a_small_collection_takes_is_in_the_account() -> None:
    with chroma_nb.EphemeralClient(settings()) as client:
        fill(client, 0, 3)
        (first, *_) = client.memory.report().collections
        assert first.parts["objects"] == first.resident_bytes - sum(
            size for part, size in first.parts.items() if part != "objects"
        )
        assert first.resident_bytes > 5_000
        before = client.memory.report().used
        assert client.memory.unload("small-000000") == first.resident_bytes
        assert client.memory.report().used == before - first.resident_bytes


def test_small_wishes_are_held_against_the_machine_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with chroma_nb.EphemeralClient(settings(memory_budget="500 MB")) as client:
        fill(client, 0, 30)
        monkeypatch.setattr(resident_set, "_UNCHECKED_BYTES", 20_000)
        tight(monkeypatch, 0)
        monkeypatch.setattr(resident_set.PRESSURE, "reserve", lambda: 0)
        fill(client, 30, 60)
        states = [one.state for one in client.memory.report().collections]
        # The budget has room for all of them, and the machine has none.
        assert states.count("loaded") <= 15
        monkeypatch.undo()
        check(client, range(60))


@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_a_small_database_limit_holds_more_than_fits_into_it_at_once(
    tmp_path: Path, kind: str
) -> None:
    # DuckDB 1.3 wants a block of 256 kB for each column of an insert, and has no checkpoints in memory.
    if IS_OLD_DUCKDB and kind == "memory":
        pytest.skip("DuckDB 1.3 gives nothing back of what is in memory")
    few = settings(duckdb_memory_limit="16 MB" if IS_OLD_DUCKDB else "8 MB")
    open_client: Callable[[], Any] = (
        (lambda: chroma_nb.PersistentClient(str(tmp_path / "store"), few))
        if kind == "folder"
        else (lambda: chroma_nb.EphemeralClient(few))
    )
    # 25 kB of the limit for each.
    n = 360
    with open_client() as client:
        fill(client, 0, n)
        assert client.memory.report().database_bytes <= (16_000_000 if IS_OLD_DUCKDB else 8_000_000)
        check(client, range(0, n, 50))
        # What was removed holds a block of 256 kB of each in memory.
        for number in range(80):
            client.get_collection(f"small-{number:06d}", embedding_function=None).delete(
                ids=["id-4"]
            )
    if kind == "folder":
        with open_client() as client:
            assert client.count_collections() == n
            check(client, range(0, n, 50))
            counts = [one.n_records for one in client.memory.report().collections]
            assert counts == [4] * 80 + [5] * (n - 80)


def test_a_log_that_takes_more_memory_than_the_database_may_have_is_read(tmp_path: Path) -> None:
    script = (
        "import os, chroma_nb\n"
        "from tests.memory.test_many_collections import fill, settings\n"
        f"client = chroma_nb.PersistentClient({str(tmp_path)!r}, settings(duckdb_memory_limit='200 MB'))\n"
        "fill(client, 0, 250)\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert (tmp_path / "records.duckdb.wal").stat().st_size > 0
    few = settings(duckdb_memory_limit="5 MB")
    with chroma_nb.PersistentClient(str(tmp_path), few) as client:
        assert client.count_collections() == 250
        check(client, range(0, 250, 50))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize("kind", ["PersistentClient", "EphemeralClient"])
def test_collections_do_not_hold_files_open(tmp_path: Path, kind: str) -> None:
    script = (
        "import resource, chroma_nb\n"
        "from tests.memory.test_many_collections import check, fill, settings\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        f"arguments = [{str(tmp_path)!r}] if {kind!r} == 'PersistentClient' else []\n"
        f"with chroma_nb.{kind}(*arguments, settings()) as client:\n"
        "    fill(client, 0, 70)\n"
        "    check(client, range(70))\n"
        "    client.memory.unload_all()\n"
        "    check(client, range(70))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files cannot be counted here")
def test_large_collections_in_memory_hold_a_bounded_number_of_files_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vector_file, "_MOST_UNNAMED", len(vector_file._unnamed) + 2)
    large = np.random.default_rng(1).random((160, 2_000), dtype=np.float32)
    ids = [str(row) for row in range(len(large))]
    with chroma_nb.EphemeralClient(settings()) as client:
        folder = client.api.db._temp.path
        before = len(os.listdir("/proc/self/fd"))
        for number in range(6):
            collection = client.create_collection(f"large-{number}", embedding_function=None)
            collection.add(ids=ids[:100], embeddings=large[:100] + number)
            collection.add(ids=ids[100:], embeddings=large[100:] + number)
        assert len(os.listdir("/proc/self/fd")) <= before + 3
        for number in range(6):
            collection = client.get_collection(f"large-{number}", embedding_function=None)
            assert np.array_equal(
                collection.get(ids=["3", "120"], include=["embeddings"])["embeddings"],
                large[[3, 120]] + number,
            )
            assert collection.query(query_embeddings=large[7] + number, n_results=1)["ids"] == [
                ["7"]
            ]
        named = [one for one in os.listdir(folder) if one.endswith(".f32")]
        assert len(named) == 4
        client.delete_collection("large-5")
        assert len([one for one in os.listdir(folder) if one.endswith(".f32")]) == 3
    assert not os.path.exists(folder)


def test_who_waits_longest_is_found_among_many() -> None:
    done: list[UUID] = []

    class Owner:
        def work(self, collection_id: UUID) -> None:
            done.append(collection_id)

    owner = Owner()
    worker = Worker("test", owner.work)
    ids = [UUID(int=number + 1) for number in range(200)]
    for number, one in enumerate(ids):
        worker.request(one, 30 + number)
    # Asked for again, and later: the moments that do not stand any more do not pile up.
    for _ in range(20):
        for one in ids[1:]:
            worker.request(one, 0.05)
    assert len(worker._heap) < 3 * len(ids) + 200
    wait_until(lambda: len(done) >= len(ids) - 1)
    worker.close()
    assert set(done) == set(ids[1:])


IN_A_GROUP = """
import json, os, sys
open(sys.argv[1], "w").write(str(os.getpid()))
import chroma_nb
from tests.memory.test_many_collections import check, fill, settings
with chroma_nb.PersistentClient(sys.argv[2], settings()) as client:
    fill(client, 0, 2_000)
    check(client, range(0, 2_000, 40))
    report = client.memory.report()
    print(json.dumps([len(report.collections), report.database_limit]))
"""

REFUSED_IN_A_GROUP = """
import json, os, sys
open(sys.argv[1], "w").write(str(os.getpid()))
import chroma_nb
from chroma_nb.errors import MemoryBudgetError
from tests.memory.test_many_collections import check, fill, settings
with chroma_nb.EphemeralClient(settings()) as client:
    made = refused = 0
    while refused < 300:
        try:
            fill(client, made, made + 1)
            made += 1
        except MemoryBudgetError as error:
            refused += 1
            message = str(error)
    check(client, range(0, made, 40))
    for number in range(made // 2):
        client.delete_collection(f"small-{number:06d}")
    fill(client, made, made + 20)
    check(client, range(made // 2, made + 20, 40))
    print(json.dumps([made, message]))
"""


@pytest.mark.slow
def test_a_text_names_the_largest_collections_and_counts_the_others() -> None:
    with chroma_nb.EphemeralClient(private_settings(progress=False)) as client:
        fill(client, 0, 30)
        report = client.memory.report()
        lines = str(report).splitlines()
        assert len([line for line in lines if "small-" in line]) == 20
        assert lines[-1].endswith("in 10 more collections: report()")
        assert repr(client.memory.preview(0)).endswith(" and 10 more)")
        assert repr(client.memory.estimate(1e6, 384)).startswith("Estimate(1,000,000 x 384")


def test_a_store_in_memory_refuses_the_collection_that_there_is_no_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with chroma_nb.EphemeralClient(private_settings()) as client:
        for number in range(64):
            client.create_collection(f"small-{number}", embedding_function=None)
        with monkeypatch.context() as machine:
            tight(machine, 2 * MIB)
            for _ in range(2):
                with pytest.raises(MemoryBudgetError, match="PersistentClient") as refused:
                    client.create_collection("another", embedding_function=None)
            assert "more than 64 collections" in str(refused.value)
            assert client.count_collections() == 64
        client.create_collection("another", embedding_function=None)


def in_a_group(script: str, n_bytes: int, *arguments: str) -> Any:
    """Run a script under a memory limit, and return what it has printed."""
    with limit(n_bytes) as group:
        if group.folder is None:
            pytest.skip("no control group can be made here")
        done = subprocess.run(
            [sys.executable, "-c", script, group.arguments()[1], *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
        )
        assert done.returncode == 0, (done.returncode, done.stderr[-2_000:])
        assert group.kills() == 0
    return json.loads(done.stdout)


@pytest.mark.own_process
def test_two_thousand_collections_in_a_hundred_and_fifty_megabytes(tmp_path: Path) -> None:
    # DuckDB 1.3 takes more for each table.
    n_bytes = 250_000_000 if IS_OLD_DUCKDB else 150_000_000
    assert in_a_group(IN_A_GROUP, n_bytes, str(tmp_path))[0] == 2_000


@pytest.mark.own_process
@pytest.mark.skipif(IS_OLD_DUCKDB, reason="DuckDB 1.3 gives nothing back of what is in memory")
def test_a_store_in_memory_refuses_in_time_and_goes_on() -> None:
    made, message = in_a_group(REFUSED_IN_A_GROUP, 150_000_000)
    assert made >= 300
    assert f"more than {made:,} collections" in message
    assert "delete collections" in message
