"""Nobody takes all slots or threads of a server from the others."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

import chroma_nb
from chroma_nb.errors import InvalidArgumentError, MemoryBudgetError
from chroma_nb.server.auth_file import AuthFile
from chroma_nb.server.refusals import Refused
from chroma_nb.server.shares import Shares, Threads
from tests.server.conftest import Raw

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# -- the classes ----------------------------------------------------------------------------------


def test_who_holds_places_gets_another_only_while_more_are_free() -> None:
    shares = Shares(8)
    held = [sum(shares.take(who) for _ in range(10)) for who in "abcde"]
    assert held == [4, 2, 1, 1, 0]
    shares.give_back("a")
    assert not shares.take("a"), "three are held and one is free"
    assert shares.take("e")
    for who, n in (("a", 3), ("b", 2), ("c", 1), ("d", 1), ("e", 1)):
        for _ in range(n):
            shares.give_back(who)
    assert shares.n_free == 8
    assert [Shares(1).take("a"), Shares(2).take("a")] == [True, True]


async def waited(future: Any) -> Any:
    return await asyncio.wait_for(asyncio.wrap_future(future), 60)


def test_a_machine_without_a_thread_left_costs_no_share(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        threads = Threads(4)

        def none_left(*_: object) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(threads._threads, "submit", none_left)
            futures = [threads.submit("a", lambda: 1) for _ in range(6)]
            for future in futures:
                with pytest.raises(RuntimeError, match="new thread"):
                    await waited(future)
        assert threads._shares.n_free == 4
        assert await waited(threads.submit("a", lambda: 2)) == 2
        threads.close()

    asyncio.run(main())


def test_what_waits_when_the_threads_are_closed_is_refused() -> None:
    async def main() -> None:
        threads, hold = Threads(1), threading.Event()
        begun = threads.submit("a", hold.wait)
        waiting = threads.submit("b", lambda: 1)
        closing = asyncio.create_task(asyncio.to_thread(threads.close))
        while not threads._is_closed:
            await asyncio.sleep(0.001)
        hold.set()
        assert await waited(begun)
        with pytest.raises(Refused, match="it is stopping"):
            await waited(waiting)
        await closing

    asyncio.run(main())


def test_work_is_done_in_the_thread_that_asks_where_its_turn_is_now() -> None:
    threads, hold = Threads(2), threading.Event()
    assert threads.run("a", threading.get_ident) == threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        threads.run("a", lambda: 1 // 0)
    assert threads._shares.n_free == 2
    with ThreadPoolExecutor(3) as others:
        held = others.submit(threads.run, "a", hold.wait)
        while not threads._shares.held("a"):
            hold.wait(0.001)
        waiting = others.submit(threads.run, "a", threading.get_ident)
        while not threads._waiting:
            hold.wait(0.001)
        assert threads.run("b", lambda: 2) == 2, "another client does not wait for it"
        closing = others.submit(threads.close)
        while not threads._is_closed:
            hold.wait(0.001)
        with pytest.raises(Refused, match="it is stopping"):
            threads.run("b", lambda: 2)
        assert not closing.done(), "it waits for what has begun"
        hold.set()
        assert held.result(60)
        with pytest.raises(Refused, match="it is stopping"):
            waiting.result(60)
        closing.result(60)
    assert threads._shares.n_free == 2


def test_work_beyond_a_share_waits_without_a_thread_and_in_turn() -> None:
    async def main() -> None:
        threads = Threads(4)
        hold, done = threading.Event(), []

        def work(name: str) -> str:
            assert hold.wait(180)
            done.append(name)
            return name

        async def quick(name: str) -> str:
            return await waited(threads.submit(name, lambda: name))

        try:
            futures = [threads.submit("a", partial(work, f"a{n}")) for n in range(20)]
            # All of a's are waiting or held, and others are answered.
            assert await quick("b") == "b"
            assert await quick("c") == "c"
            assert not done
            futures[19].cancel()
        finally:
            hold.set()
        assert [await waited(one) for one in futures[:19]] == [f"a{n}" for n in range(19)]
        assert "a19" not in done, "it was cancelled before it began"
        with pytest.raises(ZeroDivisionError):
            await waited(threads.submit("a", lambda: 1 // 0))
        assert await quick("a") == "a", "an error gives its thread back"
        threads.close()

    asyncio.run(main())


def test_an_error_keeps_alive_nothing_that_the_work_held() -> None:
    class Much:
        pass

    threads, held = Threads(1), []

    def work() -> None:
        much = Much()
        held.append(weakref.ref(much))
        raise ValueError("failed")

    gc.collect()
    gc.disable()
    try:
        future = threads.submit("a", work)
        with contextlib.suppress(ValueError):
            future.result(60)
        del future
        threads.close()
        assert held[0]() is None
    finally:
        gc.enable()


def test_many_that_cannot_begin_are_refused_one_after_the_other() -> None:
    async def main() -> None:
        threads, hold = Threads(1), threading.Event()
        threads.submit("a", hold.wait)
        waiting = [threads.submit("a", lambda: 1) for _ in range(5_000)]
        closing = asyncio.create_task(asyncio.to_thread(threads.close))
        while not threads._is_closed:
            await asyncio.sleep(0.001)
        hold.set()
        found = await asyncio.gather(*map(waited, waiting), return_exceptions=True)
        assert {type(one) for one in found} == {Refused}
        await closing

    asyncio.run(main())


# -- whose share it is ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trusted", "forwarded", "counts_for"),
    [
        ("", "10.0.0.9", "127.0.0.1"),
        ("10.0.0.0/8", "10.0.0.9", "127.0.0.1"),
        ("127.0.0.1", "10.0.0.9", "10.0.0.9"),
        ("127.0.0.0/8, ::1", "10.0.0.9", "10.0.0.9"),
        # A client that adds addresses of its own before the one that the proxy sees.
        ("127.0.0.1", "1.2.3.4, 10.0.0.9", "10.0.0.9"),
        ("127.0.0.1, 10.0.0.9", "1.2.3.4, 10.0.0.9", "1.2.3.4"),
        ("127.0.0.1", "2001:db8::1:2", "2001:db8::/64"),
    ],
)
def test_only_a_proxy_that_is_named_says_who_asks(
    trusted: str, forwarded: str, counts_for: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    take = Shares.take
    monkeypatch.setattr(
        Shares,
        "take",
        lambda shares, who: asked.append(who) or take(shares, who),  # type: ignore[func-returns-value]
    )
    # What uvicorn would take for its own setting.
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    settings = chroma_nb.Settings(server_port=0, server_trusted_proxies=trusted)
    with (
        chroma_nb.EphemeralClient(chroma_nb.Settings(progress=False)) as store,
        chroma_nb.server.FastAPI(store.api, settings) as server,
    ):
        raw = Raw(server.start(), **{"X-Forwarded-For": forwarded})
        assert raw("GET", "/api/v2/auth/identity").status_code == 200
        raw.close()
    assert set(asked) == {counts_for}


@pytest.mark.parametrize(
    "odd", ["*", "localhost", "127.0.0.1, proxy.example", "10.0.0.1/8", "127.0.0.1;::1"]
)
def test_a_trusted_proxy_is_an_address(odd: str) -> None:
    with (
        chroma_nb.EphemeralClient(chroma_nb.Settings(progress=False)) as store,
        pytest.raises(InvalidArgumentError, match="expected addresses or networks"),
    ):
        chroma_nb.server.FastAPI(store.api, chroma_nb.Settings(server_trusted_proxies=odd))


# -- a server -------------------------------------------------------------------------------------

N = 4


@dataclass
class Shop:
    """A server with two tenants, of whom one is kept waiting for as long as a test likes."""

    raw: Raw
    token: str
    neighbour: Raw
    stranger: Raw
    paths: dict[str, str]


@contextmanager
def shop(folder: Path) -> Iterator[tuple[Shop, threading.Lock]]:
    file = AuthFile(str(folder / "auth.json"))
    tokens = {name: file.add_token(name, [name]) for name in ("mallory", "bob")}
    settings = chroma_nb.Settings(
        server_port=0,
        server_threads=N,
        server_max_concurrency=2 * N,
        server_auth_file=file.path,
    )
    with (
        chroma_nb.EphemeralClient(chroma_nb.Settings(progress=False)) as store,
        chroma_nb.server.FastAPI(store.api, settings) as server,
    ):
        url = server.start()
        raws = {name: Raw(url, **{"X-Chroma-Token": token}) for name, token in tokens.items()}
        paths = {}
        for name, raw in raws.items():
            place = f"/api/v2/tenants/{name}/databases/default_database/collections"
            found = raw("POST", place, {"name": "docs"})
            assert found.status_code == 200, found.text
            paths[name] = f"{place}/{found.json()['id']}"
        stranger = Raw(url)
        held = store.api.segments._slots.get(  # type: ignore[attr-defined]
            UUID(paths["mallory"].rpartition("/")[2])
        ).write_lock
        yield Shop(raws["mallory"], tokens["mallory"], raws["bob"], stranger, paths), held
        for one in (*raws.values(), stranger):
            one.close()


def test_one_tenants_requests_leave_threads_and_slots_for_others(tmp_path: Path) -> None:
    with shop(tmp_path) as (server, held), ThreadPoolExecutor(3 * N) as pool:
        body = {"ids": ["1"], "embeddings": [[1.0]]}

        def add(_: int) -> int:
            one = Raw(server.raw.url, **{"X-Chroma-Token": server.token})
            status: int = one("POST", server.paths["mallory"] + "/add", body).status_code
            one.close()
            return status

        with held:
            # More than there are threads, and than there are slots.
            waiting = [pool.submit(add, number) for number in range(3 * N)]
            refused = itertools.islice(as_completed(waiting, timeout=60), 2 * N)
            assert [one.result() for one in refused] == [503] * 2 * N, (
                "half of the slots are for one"
            )
            for _ in range(3):
                assert server.neighbour("GET", server.paths["bob"] + "/count").json() == 0
                assert server.stranger("GET", "/api/v2/heartbeat").status_code == 200
            answer = server.raw("GET", server.paths["mallory"] + "/count")
            assert answer.status_code == 503
            assert "yours" in answer.json()["message"]
        assert [one.result(60) for one in waiting].count(201) == N


def test_what_is_open_to_everybody_takes_no_slot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with shop(tmp_path) as (server, _):

        def none(*_: object) -> bool:
            raise AssertionError("a slot was asked for")

        monkeypatch.setattr(Shares, "take", none)
        for path in ("heartbeat", "version", "pre-flight-checks", "healthcheck", ""):
            assert server.stranger("GET", f"/api/v2/{path}".rstrip("/")).status_code == 200


def test_an_admin_who_lowers_the_budget_is_told_whose_pins_are_in_the_way(tmp_path: Path) -> None:
    file = AuthFile(str(tmp_path / "auth.json"))
    tokens = {name: file.add_token(name, [name]) for name in ("mallory", "bob")}
    tokens["ops"] = file.add_token("ops", ["*"])
    settings = chroma_nb.Settings(server_port=0, server_auth_file=file.path)
    with (
        chroma_nb.EphemeralClient(chroma_nb.Settings(progress=False)) as store,
        chroma_nb.server.FastAPI(store.api, settings) as server,
    ):
        url = server.start()
        clients = {name: chroma_nb.connect(url, token=token) for name, token in tokens.items()}
        for name in ("mallory", "bob"):
            docs = clients[name].create_collection("docs", embedding_function=None)
            ids = [str(i) for i in range(1_000)]
            docs.add(ids=ids, embeddings=[[1.0, 2.0]] * 1_000, documents=["x" * 100] * 1_000)
            docs.query(query_embeddings=[[1.0, 2.0]])
        clients["mallory"].memory.pin("docs")
        held = clients["mallory"].memory.report().collections[0].resident_bytes
        clients["ops"].memory.budget = held
        assert clients["bob"].memory.report().collections[0].resident_bytes == 0
        with pytest.raises(MemoryBudgetError, match=r"pinned \(mallory/default_database/docs\)"):
            clients["ops"].memory.budget = held - 1
        theirs = chroma_nb.connect(url, token=tokens["ops"], tenant="mallory")
        theirs.memory.unpin("docs")
        clients["ops"].memory.budget = 0
        for one in (*clients.values(), theirs):
            one.close()
