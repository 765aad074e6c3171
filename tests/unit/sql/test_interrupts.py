"""Ctrl-C, closing, faults and too little memory: the store goes on."""

from __future__ import annotations

import signal
import threading
import time
import weakref
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

import chroma_nb
from chroma_nb.db.interruptible import run_interruptibly
from chroma_nb.db.sql import query as query_module
from chroma_nb.errors import ChromaError, InternalError, MemoryBudgetError
from chroma_nb.memory import preflight
from tests.unit.sql.conftest import DOCS, make

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.mark.parametrize("column", ["i", "i::DECIMAL(38, 1)"], ids=["as arrays", "as rows"])
def test_an_answer_that_does_not_fit_is_refused_on_the_way(
    client: Any, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    small = SimpleNamespace(free=lambda: 40 << 20, limit=preflight.MACHINE.limit)
    monkeypatch.setattr(preflight, "MACHINE", small)
    with pytest.raises(MemoryBudgetError, match="The rows read so far were discarded") as caught:
        client.sql(f"SELECT {column} AS i FROM range(1000000000000) AS r(i)")
    assert caught.value.need > caught.value.free
    assert client.sql("SELECT count(*) AS n FROM docs").n.tolist() == [len(DOCS)]


RUNAWAYS = [
    # In one piece of work, in which DuckDB itself looks for no signal.
    "SELECT count(*) FROM docs a, docs b, range(1000000) c(i), range(1000000) d(i) WHERE hash(c.i + d.i) = 1",
    # While the answer is read.
    "SELECT i FROM range(1000000000000) r(i) WHERE i % 1000000 = 0",
    # While the values of a PIVOT are found.
    "PIVOT (FROM range(1000000000000) r(i)) ON i % 7 USING count(*)",
]


@pytest.fixture
def interrupting() -> Iterator[threading.Event]:
    """Whether an interrupt is wanted: Python loses one that comes while it destroys some object, so there may be more."""
    wanted = threading.Event()

    def stop(*_: object) -> None:
        if wanted.is_set():
            wanted.clear()
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, stop)
    yield wanted
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("query", RUNAWAYS)
def test_an_interrupt_ends_a_query(client: Any, query: str, interrupting: threading.Event) -> None:
    db, has_ended = client.api.db, threading.Event()

    def interrupt() -> None:
        # When the query has a cursor; it runs for years.
        while not db._database._busy_cursors:
            time.sleep(0.001)
        time.sleep(0.02)
        while not has_ended.is_set():
            interrupting.set()
            signal.raise_signal(signal.SIGINT)
            has_ended.wait(10)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        client.sql(query)
    has_ended.set()
    thread.join()
    assert not [one for one in threading.enumerate() if one.name == "chroma_nb-sql"]
    assert not db._database._busy_cursors
    assert client.sql("SELECT count(*) AS n FROM docs").n.tolist() == [len(DOCS)]


def test_closing_ends_a_query(tmp_path: Path) -> None:
    client = chroma_nb.PersistentClient(tmp_path / "store", chroma_nb.Settings(progress=False))
    make(client, "docs", [{"n": 1}])
    said: list[BaseException] = []

    def ask() -> None:
        try:
            client.sql(RUNAWAYS[1])
        except BaseException as error:
            said.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    while not client.api.db._database._sql_cursors:
        time.sleep(0.001)
    client.close()
    thread.join()
    assert [type(error) for error in said] == [InternalError]
    assert "closed" in str(said[0])
    with chroma_nb.PersistentClient(tmp_path / "store") as client:
        assert client.sql("SELECT n FROM docs").n.tolist() == [1]


def test_a_fault_of_duckdbs_own_is_no_argument_error_and_leaves_a_sound_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise duckdb.InternalException("INTERNAL Error: as asked")

    with chroma_nb.PersistentClient(tmp_path / "store") as client:
        notes = make(client, "notes", [{"n": 1}])
        before = client.api.db._database.connection
        with monkeypatch.context() as patch:
            patch.setattr(query_module, "read_frame", fail)
            with pytest.raises(InternalError, match="as asked"):
                client.sql("SELECT n FROM notes")
        # DuckDB may take nothing more from then on, so it is opened anew.
        assert client.sql("SELECT n FROM notes").n.tolist() == [1]
        assert client.api.db._database.connection is not before
        notes.update(ids=["r0"], metadatas=[{"n": 2}])
        assert client.sql("SELECT n, embedding FROM notes").n.tolist() == [2]


def test_an_interrupt_before_the_work_has_begun_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    begun: list[threading.Thread] = []

    def interrupted(self: threading.Thread) -> None:
        begun.append(self)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_interruptibly(lambda _: done.append(1))
    # It comes to life after all.
    begun[0].start()
    begun[0].join()
    assert done == []


def test_a_thread_dies_where_no_interrupt_is_forgotten() -> None:
    """Python prints an interrupt that comes while weak references to an object are told, and goes on."""
    died_in: list[int] = []

    def watch(_: Any) -> int:
        weakref.finalize(threading.current_thread(), lambda: died_in.append(threading.get_ident()))
        return threading.get_ident()

    for _ in range(50):
        ident = run_interruptibly(watch)
        while not died_in:
            time.sleep(0.001)
        assert died_in.pop() == ident


def test_a_failed_query_leaves_nothing_behind(client: Any) -> None:
    db = client.api.db
    for query in ("SELECT nothing FROM docs", "SELECT document::INT FROM docs", "SELEC"):
        with pytest.raises(ChromaError):
            client.sql(query)
    assert not db._database._busy_cursors
    assert db.sql_vectors._opened == {}
    views = db._database.connection.execute(
        "SELECT count(*) FROM duckdb_views() WHERE NOT internal"
    )
    assert views.fetchall() == [(0,)]


def test_queries_of_many_threads_are_answered(client: Any) -> None:
    answers: list[Any] = []

    def ask(number: int) -> None:
        for _ in range(5):
            frame = client.sql("SELECT n + ? AS n, embedding FROM docs WHERE n = 1", [number])
            answers.append((number, frame.n[0] - 1, frame.embedding[0].tolist()))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == sorted((n, n, [0.0, 1.0]) for n in range(4) for _ in range(5))
