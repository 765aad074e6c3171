"""Answers on their way to clients: what they hold is bounded, and who takes them slowly makes way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb.api import scanning
from chroma_nb.memory.workspace import WORKSPACE
from chroma_nb.server import answers as answers_module
from chroma_nb.server.answers import Answers
from chroma_nb.server.refusals import Refused
from tests.memory.fakes import MIB, tight
from tests.server.conftest import PLACE, Raw
from tests.stores import private_settings
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG = 60.0
#: All answers together may hold four times the largest body.
MAX_BODY = MIB
MOST = 4 * MAX_BODY


# -- the class --------------------------------------------------------------------------------


class Client:
    """Takes an answer as far as it likes."""

    def __init__(self, n_steps: int | None = None) -> None:
        #: Steps that are taken before it stops; None takes all.
        self.n_steps = n_steps
        self.taken = b""
        self.got_all = False
        self.stops = asyncio.Event()

    async def send(self, message: Any) -> None:
        if self.n_steps == 0:
            self.stops.set()
            await asyncio.Event().wait()
        self.n_steps = None if self.n_steps is None else self.n_steps - 1
        self.taken += message["body"]
        self.got_all = not message.get("more_body", False)


async def begin(answers: Answers, client: Client, n_bytes: int = MIB) -> asyncio.Task[None]:
    """Send an answer, as the server does; return when its client has stopped taking it."""
    content = bytes(range(256)) * (n_bytes // 256)
    answers.make_room(len(content))
    task = asyncio.create_task(answers.send(content, client.send))
    stopped = asyncio.create_task(client.stops.wait())
    await asyncio.wait([task, stopped], return_when=asyncio.FIRST_COMPLETED, timeout=LONG)
    stopped.cancel()
    return task


def stalled_for(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let an answer make way when it has not come further for so long."""
    monkeypatch.setattr(answers_module, "STALLED_SECONDS", seconds)


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A machine that has enough, unless a test says otherwise."""
    return tight(monkeypatch, 1_000 * MIB)


def test_twenty_slow_clients_hold_no_more_than_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    stalled_for(monkeypatch, LONG)

    async def main() -> None:
        answers = Answers(MAX_BODY, 0)
        tasks, refused = [], []
        for _ in range(20):
            try:
                tasks.append(await begin(answers, Client(n_steps=1)))
            except Refused as error:
                refused.append(error)
            assert answers._held <= MOST
        assert (len(tasks), len(refused)) == (4, 16)
        for error in refused:
            assert (error.status, error.headers["Retry-After"]) == (503, "1")
            assert "its answers wait for their clients" in str(error)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (answers._held, answers._sending) == (0, {})

    asyncio.run(main())


def test_the_slowest_ends_first_where_another_needs_the_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        answers = Answers(MAX_BODY, 0)
        slow = [Client(n_steps=1) for _ in range(4)]
        tasks = [await begin(answers, one) for one in slow]
        assert answers._held == MOST
        stalled_for(monkeypatch, 0.0)
        fast = Client()
        await (await begin(answers, fast))
        assert fast.got_all
        assert fast.taken == bytes(range(256)) * (MIB // 256)
        await asyncio.wait(tasks[:1], timeout=LONG)
        assert [task.done() for task in tasks] == [True, False, False, False]
        assert not slow[0].got_all
        assert answers._held == 3 * MIB
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert answers._held == 0

    asyncio.run(main())


def test_answers_make_way_where_the_machine_has_no_more(
    monkeypatch: pytest.MonkeyPatch, machine: Any
) -> None:
    async def main() -> None:
        answers = Answers(1_000 * MIB, 0)
        machine.n_bytes = 0
        # Nobody is in the way of the first: it is made already.
        task = await begin(answers, Client(n_steps=1), 8 * MIB)
        stalled_for(monkeypatch, LONG)
        with pytest.raises(Refused):
            await begin(answers, Client(), 8 * MIB)
        stalled_for(monkeypatch, 0.0)
        second = Client()
        await (await begin(answers, second, 8 * MIB))
        assert second.got_all
        await asyncio.wait([task], timeout=LONG)
        assert task.done()
        assert answers._held == 0

    asyncio.run(main())


def test_one_that_stalls_ends_by_itself_and_a_fast_one_gets_all() -> None:
    async def main() -> None:
        answers = Answers(MAX_BODY, 0.05)
        stalled, fast = Client(n_steps=2), Client()
        first = await begin(answers, stalled, 2 * MIB)
        await (await begin(answers, fast, 2 * MIB))
        assert fast.got_all
        await asyncio.wait_for(first, LONG)
        assert len(stalled.taken) == 2 * 2**18
        assert not stalled.got_all
        assert answers._held == 0

    asyncio.run(main())


def test_small_answers_are_not_counted() -> None:
    async def main() -> None:
        answers = Answers(1, 0.0)
        for _ in range(100):
            client = Client()
            await (await begin(answers, client, 2**16))
            assert client.got_all
            assert answers._held == 0

    asyncio.run(main())


# -- a server ---------------------------------------------------------------------------------


@pytest.fixture
def served() -> Iterator[tuple[Any, Raw, str]]:
    """A server that lets its answers hold 8 MB, the requests for it, and a collection of 3 MB."""
    settings = chroma_nb.Settings(
        server_port=0, server_max_body="2 MB", server_threads=4, server_max_concurrency=64
    )
    with (
        chroma_nb.EphemeralClient(private_settings(progress=False)) as store,
        chroma_nb.server.FastAPI(store.api, settings) as server,
    ):
        docs = store.create_collection("docs", embedding_function=None)
        docs.add(
            ids=[f"id{row}" for row in range(1_000)],
            embeddings=np.ones((1_000, 2), np.float32),
            documents=[f"{row:03000}" for row in range(1_000)],
        )
        raw = Raw(server.start())
        # Else the system's buffers may take a whole answer: they grow with what it has seen of a connection's speed.
        server._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 << 10)
        yield server, raw, f"{PLACE}/collections/{docs.id}/get"
        raw.close()


def ask(server: Any, path: str) -> socket.socket:
    """Ask for everything over a connection of its own, with as little room for the answer as there may be."""
    wire = socket.socket()
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    wire.settimeout(LONG)
    wire.connect(("127.0.0.1", int(server.url.rpartition(":")[2])))
    body = json.dumps({"include": ["documents"]}).encode()
    wire.sendall(
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    return wire


def test_clients_that_ask_for_much_and_read_nothing(
    served: tuple[Any, Raw, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, raw, path = served
    answers = server._rest.answers
    highest = 0
    make_room = answers.make_room

    def noticed(n_bytes: int) -> None:
        nonlocal highest
        make_room(n_bytes)
        highest = max(highest, answers._held + n_bytes)

    monkeypatch.setattr(answers, "make_room", noticed)
    stalled_for(monkeypatch, LONG)
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(ask(server, path)) for _ in range(20)]
        # What the system's buffers do not take is held, and the next ones are told to come again.
        heads = [wire.recv(12) for wire in wires]
        assert set(heads) == {b"HTTP/1.1 200", b"HTTP/1.1 503"}
        assert heads.count(b"HTTP/1.1 200") <= 8_000_000 // 3_000_000
        assert 3_000_000 < answers._held <= 8_000_000
        assert highest <= 8_000_000
        wait_until(lambda: 8_000_000 - answers._held < 3_000_000)
        told = raw("POST", path, {"include": ["documents"]})
        assert (told.status_code, told.headers["Retry-After"]) == (503, "1")
        assert told.json()["error"] == "RateLimitError"
        # What is small is answered all the same.
        assert len(raw("POST", path, {"include": []}).json()["ids"]) == 1_000
        # From now on who does not come further makes way.
        stalled_for(monkeypatch, 0.0)
        found = raw("POST", path, {"include": ["documents"]})
        assert found.status_code == 200
        assert found.json()["documents"] == [f"{row:03000}" for row in range(1_000)]
        assert highest <= 8_000_000
    wait_until(lambda: answers._held == 0)


def test_an_answer_that_others_are_in_the_way_of_may_be_asked_for_again(
    served: tuple[Any, Raw, str], machine: Any
) -> None:
    _, raw, path = served
    # There is room for one of them, and another holds it.
    machine.n_bytes = 40 * MIB + WORKSPACE.headroom
    with WORKSPACE.take_all(35 * MIB, "Another's answer"):
        told = raw("POST", path, {"include": ["documents"]})
        assert (told.status_code, told.headers["Retry-After"]) == (503, "1")
    assert raw("POST", path, {"include": ["documents"]}).status_code == 200
    assert WORKSPACE.used == 0
    # Where it would not fit without them either it is refused for good.
    machine.n_bytes = 2 * MIB + WORKSPACE.headroom
    WORKSPACE._most_free = 0
    told = raw("POST", path, {"include": ["documents"]})
    assert told.status_code == 507
    assert "Ways out: " in told.json()["message"]
    assert "Retry-After" not in told.headers


def test_a_fork_of_more_than_there_is_memory_for(
    served: tuple[Any, Raw, str], machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it reads on its way is no answer: it is given back piece by piece."""
    _, raw, path = served
    docs = path.split("/")[-2]
    for start in range(1_000, 6_000, 500):
        ids = [f"id{row}" for row in range(start, start + 500)]
        body = {"ids": ids, "embeddings": [[1.0, 2.0]] * 500, "documents": ["x" * 3_000] * 500}
        assert raw("POST", f"{PLACE}/collections/{docs}/add", body).status_code == 201
    held: list[int] = []

    class Noticing:
        """The account, for copies."""

        def take(self, wanted: int) -> Any:
            # The builder of graphs may hold something at the same time.
            mine = threading.get_ident()
            held.append(sum(one.n_bytes for one in WORKSPACE._grants if one.thread == mine))
            return WORKSPACE.take(wanted)

        def __getattr__(self, name: str) -> Any:
            return getattr(WORKSPACE, name)

    monkeypatch.setattr(scanning, "WORKSPACE", Noticing())
    # The records take more all in all.
    machine.n_bytes = 12 * MIB + WORKSPACE.headroom
    WORKSPACE._most_free = 100 * MIB
    forked = raw("POST", path.replace("/get", "/fork"), {"new_name": "copy"})
    assert forked.status_code == 200
    copy = f"{PLACE}/collections/{forked.json()['id']}"
    assert raw("GET", f"{copy}/count").json() == 6_000
    # Whenever a piece begins, the one before it has gone.
    assert held == [0] * len(held)
    assert len(held) > 4
    assert WORKSPACE.used == 0


def test_a_server_that_is_told_to_stop_ends_the_waits_for_memory(
    served: tuple[Any, Raw, str], machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, raw, path = served
    monkeypatch.setattr(WORKSPACE, "_patience", 10 * LONG)
    machine.n_bytes = 40 * MIB + WORKSPACE.headroom
    waits = threading.Event()
    look = WORKSPACE._could_come

    def noticed(n_bytes: int) -> bool:
        waits.set()
        return look(n_bytes)

    monkeypatch.setattr(WORKSPACE, "_could_come", noticed)
    with WORKSPACE.take_all(35 * MIB, "Another's answer"), ThreadPoolExecutor(1) as pool:
        told = pool.submit(raw, "POST", path, {"include": ["documents"]})
        assert waits.wait(LONG)
        server._uvicorn.handle_exit(signal.SIGTERM, None)
        assert told.result(LONG).status_code == 503
