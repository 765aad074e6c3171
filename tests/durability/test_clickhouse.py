"""Several processes write to one ClickHouse while they and the engine are killed: nothing is lost, torn or doubled.

The engine is chDB behind `tests/support/clickhouse_front.py`; `CHROMA_NB_TEST_CLICKHOUSE_URL` names a real server, which is
not killed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import uuid
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb
from benchmarks.servers import running, start_clickhouse, start_ours
from chroma_nb.errors import NotFoundError, UniqueConstraintError
from chroma_nb.settings import Settings
from tests.durability.clickhouse_writer import PLACE, SHARED
from tests.support.clickhouse import HAS_CLICKHOUSE, NO_CLICKHOUSE, URL
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(not HAS_CLICKHOUSE, reason=NO_CLICKHOUSE)

N_WRITERS = 3
#: Kills, of the engine and of writers in turn.
N_KILLS = int(os.environ.get("CHROMA_NB_TEST_KILLS", "6"))
#: What has to be done between two kills.
OPERATIONS_BETWEEN = 12


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine | None]:
    if URL:
        yield None
        return
    engine = Engine(tmp_path)
    yield engine
    engine.end()


class Engine:
    """The engine in a process of its own, always at the same port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running = start_clickhouse(folder)
        self.url = self._running.url

    def restart(self) -> None:
        """Kill it and start it again."""
        self.end()
        self._running = start_clickhouse(self._folder, self._running.port)

    def end(self) -> None:
        """Kill it."""
        self._running.kill()
        assert self._running.process.stdout is not None
        self._running.process.stdout.close()


@dataclasses.dataclass
class Operation:
    """What a process has noted down of one call."""

    op: str
    n: int
    began: float
    ended: float = float("inf")
    count: int | None = None
    is_done: bool = False


def read_history(logs: list[Path]) -> list[Operation]:
    found: dict[str, Operation] = {}
    for log in logs:
        for line in log.read_text().splitlines():
            try:
                said = json.loads(line)
            except ValueError:
                # The last line of a process that was killed.
                continue
            if said["do"] == "begin":
                found[said["op"]] = Operation(said["op"], said["n"], said["at"])
            elif said["do"] in ("done", "read"):
                operation = found[said["op"]]
                operation.ended, operation.is_done = said["at"], True
                operation.count = said.get("count")
    return list(found.values())


def check_history(history: list[Operation], rows: list[tuple[str, int]], n_heads: int) -> None:
    """Check that there is one order of all calls that explains all answers.

    Args:
        history: What the processes have noted down.
        rows: (id, commit) of every row that a commit has written.
        n_heads: The number of the last commit.
    """
    commits: dict[str, set[int]] = defaultdict(set)
    parts: dict[str, list[int]] = defaultdict(list)
    for id, number in rows:
        if id != SHARED:
            op, _, part = id.rpartition("-")
            commits[op].add(number)
            parts[op].append(int(part))
    writes = [one for one in history if one.n]
    for one in writes:
        if one.is_done:
            assert one.op in commits, f"{one.op} was acknowledged and is lost"
        if one.op in commits:
            assert len(commits[one.op]) == 1, f"{one.op} was written twice"
            assert sorted(parts[one.op]) == list(range(one.n)), f"{one.op} is torn or doubled"
    assert set(commits) <= {one.op for one in writes}
    # Real time: what ended before something else began comes before it.
    number_of = {op: next(iter(numbers)) for op, numbers in commits.items()}
    assert len(set(number_of.values())) == len(number_of), "two calls share a commit"
    assert max(number_of.values()) <= n_heads
    there = [one for one in writes if one.op in number_of]
    ended = sorted((one for one in there if one.is_done), key=lambda one: one.ended)
    latest, at = 0, 0
    for one in sorted(there, key=lambda one: one.began):
        while at < len(ended) and ended[at].ended < one.began:
            latest = max(latest, number_of[ended[at].op])
            at += 1
        assert number_of[one.op] > latest, f"{one.op} began after a later commit had ended"
    # A read counts a beginning of the commits: all that ended before it began, and none that began after it ended.
    counts = {0: 0}
    total = 1
    for op, number in sorted(number_of.items(), key=lambda pair: pair[1]):
        total += len(parts[op])
        counts[number] = total
    number_with = {count: number for number, count in counts.items()}
    for one in history:
        if one.count is None:
            continue
        assert one.count in number_with, f"{one.op} counted {one.count}, which no commit has left"
        number = number_with[one.count]
        for write in there:
            if write.ended < one.began:
                assert number_of[write.op] <= number, f"{one.op} did not see {write.op}"
            if write.began > one.ended:
                assert number_of[write.op] > number, f"{one.op} saw {write.op} too early"


@pytest.mark.parametrize("compacting", [0.0, 0.2], ids=["plain", "with compactions"])
def test_nothing_is_lost_where_writers_and_the_engine_are_killed(
    engine: Engine | None, tmp_path: Path, compacting: float
) -> None:
    from chroma_nb.db import Clickhouse
    from chroma_nb.testing import local_api
    from chroma_nb.testing._api_base import configuration_of

    url = engine.url if engine is not None else URL
    settings = Settings(db="clickhouse", clickhouse_url=url, progress=False)
    with contextlib.closing(local_api(Clickhouse(settings), settings)) as api:
        info = api.create_collection(
            f"history-{uuid.uuid4().hex}", configuration_of(), None, get_or_create=False, **PLACE
        )
    writers: list[subprocess.Popen[bytes]] = []
    logs: list[Path] = []

    def start() -> None:
        name = f"w{len(logs)}"
        log = tmp_path / f"{name}.log"
        logs.append(log)
        command = [sys.executable, "-m", "tests.durability.clickhouse_writer"]
        arguments = [url, str(info.id), name, str(log), str(compacting)]
        writers.append(subprocess.Popen([*command, *arguments]))
        wait_until(lambda: log.exists() and log.stat().st_size > 0)

    def n_done() -> int:
        for writer in writers:
            assert writer.poll() is None, "a writer has ended by itself"
        return sum(one.is_done for one in read_history(logs))

    def some_more(n: int) -> None:
        goal = n_done() + n
        wait_until(lambda: n_done() >= goal)

    try:
        for _ in range(N_WRITERS):
            start()
        for kill in range(N_KILLS):
            some_more(OPERATIONS_BETWEEN)
            if kill % 2 == 0 and engine is not None:
                engine.restart()
            else:
                with writers.pop(0) as writer:
                    writer.kill()
                start()
        some_more(OPERATIONS_BETWEEN)
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    with contextlib.closing(Clickhouse(settings)) as db:
        history, labels = read_history(logs), db.select(info.id)
        records = db.fetch(info.id, labels)
        check_records(history, records.ids)
        view = db._newest(info.id)
        assert view.generation > 0 or not compacting
        if not compacting:
            # Commits of other generations are in tables that are gone.
            rows = db._connection.rows(
                f"SELECT id, version FROM {view.log.sql} WHERE kind = 0 ORDER BY version, label"
            )
            check_history(history, rows, view.number)
        checked = db.check(info.id)
        assert checked.is_whole, checked.found
        vectors = db.vectors(info.id).read(labels)
        for id, vector in zip(records.ids, vectors[:, 0].tolist(), strict=True):
            assert id == SHARED or int(id.split("-")[1]) == vector


def check_records(history: list[Operation], ids: list[str]) -> None:
    """Check that each call has written all of its records or none, and all where it was acknowledged."""
    assert len(set(ids)) == len(ids), "a record is there twice"
    parts: dict[str, set[int]] = defaultdict(set)
    for id in ids:
        if id != SHARED:
            op, _, part = id.rpartition("-")
            parts[op].add(int(part))
    for one in history:
        if one.n and (one.is_done or one.op in parts):
            assert parts[one.op] == set(range(one.n)), f"{one.op} is lost or torn"


def test_servers_over_one_store_answer_alike(engine: Engine | None, tmp_path: Path) -> None:
    environment = {
        "CHROMA_NB_DB": "clickhouse",
        "CHROMA_NB_CLICKHOUSE_URL": f"{engine.url if engine is not None else URL}/default",
        "CHROMA_NB_TEMP_PATH": str(tmp_path),
    }
    name = f"notes-{uuid.uuid4().hex}"
    with contextlib.ExitStack() as held:
        clients = []
        for number in range(2):
            folder = tmp_path / f"server{number}"
            folder.mkdir()
            server = held.enter_context(running(start_ours(folder, **environment)))
            client = chroma_nb.HttpClient(host="127.0.0.1", port=server.port)
            clients.append(held.enter_context(contextlib.closing(client)))
        one, other = clients
        made = one.create_collection(name, embedding_function=None)
        with pytest.raises(UniqueConstraintError):
            other.create_collection(name, embedding_function=None)
        notes = [made, other.get_collection(name, embedding_function=None)]
        expected: dict[str, int] = {}
        for step in range(24):
            here, there = notes[step % 2], notes[(step + 1) % 2]
            ids = [f"r{step % 7}", f"s{step % 5}"]
            if step % 6 == 5:
                here.delete(ids=[one for one in ids if one in expected])
                for id in ids:
                    expected.pop(id, None)
            else:
                vectors = [[float(step), float(len(id))] for id in ids]
                here.upsert(ids=ids, embeddings=vectors, metadatas=[{"step": step}] * 2)
                expected.update(dict.fromkeys(ids, step))
            found = there.get(include=["metadatas"])
            assert {
                id: said["step"] for id, said in zip(found["ids"], found["metadatas"], strict=True)
            } == expected
            assert there.get()["ids"] == here.get()["ids"]
            nearest = there.query(query_embeddings=[[float(step), 2.0]], where={"step": step})
            assert sorted(nearest["ids"][0]) == sorted(
                id for id, at in expected.items() if at == step
            )
        notes[0].modify(name=f"{name}-renamed")
        assert other.get_collection(f"{name}-renamed", embedding_function=None).count() == len(
            expected
        )
        other.delete_collection(f"{name}-renamed")
        with pytest.raises(NotFoundError):
            notes[0].count()


def test_a_call_at_a_server_asks_once_what_others_have_committed(
    engine: Engine | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chroma_nb.db.clickhouse.connection import Connection

    url = f"{engine.url if engine is not None else URL}/default"
    settings = Settings(
        db="clickhouse", clickhouse_url=url, temp_path=str(tmp_path), progress=False
    )
    asked: list[str] = []
    for method in (Connection.query, Connection.insert, Connection.command):

        def counted(self: Any, *given: Any, real: Any = method) -> Any:
            asked.append(real.__name__)
            return real(self, *given)

        monkeypatch.setattr(Connection, method.__name__, counted)

    def statements(call: Any) -> list[str]:
        asked.clear()
        call()
        return list(asked)

    with chroma_nb.Client(settings) as client:
        notes = client.create_collection(f"notes-{uuid.uuid4().hex}", embedding_function=None)
        notes.add(ids=["a", "b"], embeddings=[[1.0, 0.0], [0.0, 1.0]])
        notes.query(query_embeddings=[[1.0, 0.0]])
        for read in (
            lambda: notes.query(query_embeddings=[[1.0, 0.0]], n_results=1),
            lambda: notes.query(query_embeddings=[[1.0, 0.0]], where={"n": 1}),
            lambda: notes.get(ids=["a"]),
            notes.count,
            lambda: client.get_collection(notes.name, embedding_function=None),
            lambda: client.list_collections(),
        ):
            assert statements(read) == ["query"]
        # A look, the commit, and whose it was.
        write = statements(lambda: notes.upsert(ids=["c"], embeddings=[[1.0, 1.0]]))
        assert write == ["query", "insert", "query"]
        # And which commits have written what is replaced.
        write = statements(lambda: notes.upsert(ids=["c"], embeddings=[[1.0, 2.0]]))
        assert write == ["query", "query", "insert", "query"]
        client.delete_collection(notes.name)


def op(name: str, began: float, ended: float | None = None, n: int = 1) -> Any:
    return Operation(
        name, n, began, float("inf") if ended is None else ended, None, ended is not None
    )


@pytest.mark.parametrize(
    ("history", "rows", "says"),
    [
        ([op("a-0", 0, 1)], [], "lost"),
        ([op("a-0", 0, 1, n=2)], [("a-0-0", 1)], "torn"),
        ([op("a-0", 0, 1)], [("a-0-0", 1), ("a-0-0", 2)], "twice"),
        ([op("a-0", 0, 1), op("b-0", 2, 3)], [("a-0-0", 2), ("b-0-0", 1)], "later commit"),
        ([op("a-0", 0, 1), op("b-0", 0, 1)], [("a-0-0", 1), ("b-0-0", 1)], "share"),
        ([op("a-0", 0, 1), Operation("b-0", 0, 2, 3, 0, True)], [("a-0-0", 1)], "did not see"),
        ([op("a-0", 2, 3), Operation("b-0", 0, 0, 1, 2, True)], [("a-0-0", 1)], "too early"),
    ],
)
def test_a_history_that_is_wrong_is_found(
    history: list[Operation], rows: list[tuple[str, int]], says: str
) -> None:
    with pytest.raises(AssertionError, match=says):
        check_history(history, rows, 9)
