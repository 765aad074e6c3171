"""Bodies are received within limits and counted until their work has ended; tests/server has the wire."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from starlette.requests import ClientDisconnect, Request

from chroma_nb.server import bodies as bodies_module
from chroma_nb.server.bodies import MAX_HELD, Bodies, Received
from chroma_nb.server.refusals import Refused
from tests.memory.fakes import MIB, tight

if TYPE_CHECKING:
    from collections.abc import Sequence

LONG = 60.0
MAX_BODY = 1_000


class Client:
    """Sends a body in parts, and falls silent before its end if it is told to."""

    def __init__(self, parts: Sequence[bytes], *, declared: str = "", silent: bool = False) -> None:
        self._parts = list(parts)
        self._silent = silent
        self._headers = [(b"content-length", declared.encode())] if declared else []
        self.is_silent = asyncio.Event()
        self.n_asked = 0

    async def receive(self) -> Any:
        self.n_asked += 1
        if not self._parts and self._silent:
            self.is_silent.set()
            await asyncio.Event().wait()
        part = self._parts.pop(0) if self._parts else b""
        more = bool(self._parts) or self._silent
        return {"type": "http.request", "body": part, "more_body": more}

    @property
    def request(self) -> Request:
        return Request({"type": "http", "method": "POST", "headers": self._headers}, self.receive)


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A machine that has enough."""
    return tight(monkeypatch, 1_000 * MIB)


def test_a_body_is_what_was_sent_and_is_counted_until_it_is_released() -> None:
    async def work() -> None:
        bodies = Bodies(MAX_BODY, LONG)
        body = await bodies.receive(Client([b"ab", b"c"], declared="3").request)
        assert isinstance(body, Received)
        assert (body.n_held, bodies._held) == (3, 3)
        assert body.take_bytes() == b"abc"
        assert len(body) == 0
        bodies.release(body)
        bodies.release(body)
        assert bodies._held == 0

    asyncio.run(work())


def test_one_that_says_it_is_too_large_is_not_read() -> None:
    async def work() -> None:
        client = Client([b"x"], declared="1001")
        with pytest.raises(Refused, match=r"larger than 1\.0 kB") as caught:
            await Bodies(MAX_BODY, LONG).receive(client.request)
        assert (caught.value.status, client.n_asked) == (413, 0)
        assert caught.value.headers["Connection"] == "close"

    asyncio.run(work())


@pytest.mark.parametrize("declared", ["", "10", "-1", "many"])
def test_one_that_is_larger_than_it_says_is_refused_and_counts_no_more(declared: str) -> None:
    async def work() -> None:
        bodies = Bodies(MAX_BODY, LONG)
        with pytest.raises(Refused) as caught:
            await bodies.receive(Client([b"x" * 600] * 2, declared=declared).request)
        assert caught.value.status == 413
        assert bodies._held == 0

    asyncio.run(work())


def test_one_that_does_not_come_is_not_waited_for() -> None:
    async def work() -> None:
        bodies = Bodies(MAX_BODY, 0.01)
        with pytest.raises(Refused, match=r"it may take 0\.01 s for each 262 kB") as caught:
            await bodies.receive(Client([b"x"], silent=True).request)
        assert caught.value.status == 408

    asyncio.run(work())


def test_a_client_that_goes_leaves_nothing() -> None:
    class Gone(Client):
        async def receive(self) -> Any:
            return {"type": "http.disconnect"}

    async def work() -> None:
        bodies = Bodies(MAX_BODY, LONG)
        with pytest.raises(ClientDisconnect):
            await bodies.receive(Gone([]).request)
        assert bodies._held == 0

    asyncio.run(work())


@pytest.mark.parametrize("has_stalled", [True, False])
def test_one_that_has_stalled_makes_way_for_another(
    monkeypatch: pytest.MonkeyPatch, has_stalled: bool
) -> None:
    monkeypatch.setattr(bodies_module, "STALLED_SECONDS", 0.0 if has_stalled else LONG)

    async def work() -> None:
        bodies = Bodies(MAX_BODY, LONG)
        clients = [Client([b"x" * MAX_BODY], silent=True) for _ in range(MAX_HELD)]
        tasks = [asyncio.create_task(bodies.receive(client.request)) for client in clients]
        for client in clients:
            await client.is_silent.wait()
        newest = bodies.receive(Client([b"y" * MAX_BODY]).request)
        if has_stalled:
            assert len(await newest) == MAX_BODY
            with pytest.raises(Refused, match="came slowly") as caught:
                await tasks[0]
        else:
            with pytest.raises(Refused, match="too many large bodies") as caught:
                await newest
        assert caught.value.status == 503
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(work())


def test_batches_of_another_transport_count_beside_bodies() -> None:
    bodies = Bodies(100, 60.0)
    bodies.hold(390)
    with pytest.raises(Refused, match="too many large writes"):
        bodies.hold(20)
    bodies.let_go(20)

    async def main() -> None:
        with pytest.raises(Refused, match="too many large bodies"):
            await bodies.receive(Client([b"x" * 20]).request)

    asyncio.run(main())
    bodies.let_go(390)


def test_a_body_of_more_values_than_allowed_is_not_parsed() -> None:
    bodies = Bodies(MIB, LONG)
    with (
        pytest.raises(Refused, match="send it in parts") as caught,
        bodies.parsing(b"[" + b"1," * MIB),
    ):
        raise AssertionError("it was parsed")
    assert caught.value.status == 413


def test_the_memory_of_parsed_values_is_given_back() -> None:
    bodies = Bodies(64 * MIB, LONG)
    body = b"[" + b"10.25," * MIB + b"1]"
    with bodies.parsing(body):
        assert bodies._parsed > 0
    assert bodies._parsed == 0
