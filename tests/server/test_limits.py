"""What a server takes: bodies, time, connections; and that it goes on serving."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psutil
import pytest

import chroma_nb
from benchmarks.servers import Running, running, start_ours
from chroma_nb import errors
from chroma_nb.progress import ProgressBar
from tests.server.conftest import PLACE, Raw

if TYPE_CHECKING:
    from collections.abc import Iterator

MB = 1_000_000


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with narrow limits."""
    limits = {
        "CHROMA_NB_SERVER_MAX_BODY": "2 MB",
        "CHROMA_NB_SERVER_MAX_BATCH_SIZE": "1000",
        "CHROMA_NB_SERVER_BODY_TIMEOUT_SECONDS": "1",
        "CHROMA_NB_SERVER_MAX_CONCURRENCY": "4",
    }
    with running(start_ours(tmp_path_factory.mktemp("small"), "--allow-reset", **limits)) as server:
        yield server


@pytest.fixture
def narrow(small: Running) -> Iterator[Raw]:
    raw = Raw(small.url)
    raw("POST", "/api/v2/reset")
    yield raw
    raw.close()


def alive(server: Running) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as wire:
        wire.sendall(
            b"GET /api/v2/heartbeat HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        assert wire.recv(100).startswith(b"HTTP/1.1 200")


def test_a_body_that_is_too_large(narrow: Raw, small: Running) -> None:
    path = narrow.collection("docs")
    big = json.dumps({"ids": ["a"], "embeddings": [[1.0]], "documents": ["x" * 3 * MB]}).encode()
    headers = {"Content-Type": "application/json"}
    answer = narrow("POST", path + "/add", data=big, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (413, "BatchSizeExceededError")
    assert "2.0 MB" in answer.json()["message"]
    # Without a length, in pieces.
    pieces = (big[at : at + 65_536] for at in range(0, len(big), 65_536))
    with contextlib.suppress(ConnectionError, OSError):
        assert narrow("POST", path + "/add", data=pieces, headers=headers).status_code == 413
    assert Raw(small.url)("GET", path + "/count").json() == 0


def test_a_body_of_a_gigabyte_is_not_read(small: Running) -> None:
    before = psutil.Process(small.process.pid).memory_info().rss
    path = Raw(small.url).collection("docs")
    for head in (f"Content-Length: {10**9}", "Transfer-Encoding: chunked"):
        with socket.create_connection(("127.0.0.1", small.port), timeout=10) as wire:
            wire.sendall(
                f"POST {path}/add HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{head}\r\n\r\n".encode()
            )
            sent = 0
            piece = b"x" * 2**20
            with contextlib.suppress(OSError):
                while sent < 10**9:
                    wire.sendall(b"100000\r\n" + piece + b"\r\n" if "chunked" in head else piece)
                    sent += len(piece)
            assert sent < 200 * MB, "the server read on"
    assert psutil.Process(small.process.pid).memory_info().rss < before + 50 * MB
    alive(small)


def test_a_batch_of_too_many_records(narrow: Raw) -> None:
    path = narrow.collection("docs")
    body = {"ids": [str(i) for i in range(1_001)], "embeddings": [[1.0]] * 1_001}
    answer = narrow("POST", path + "/add", body)
    assert (answer.status_code, answer.json()["error"]) == (413, "BatchSizeExceededError")
    assert "1,000" in answer.json()["message"]
    assert narrow("GET", path + "/count").json() == 0


def test_a_client_splits_what_is_too_large(small: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[str, int]] = []
    original = ProgressBar.update

    def update(bar: ProgressBar, n: int) -> None:
        original(bar, n)
        shown.append((bar.desc, bar.done))

    monkeypatch.setattr(ProgressBar, "update", update)
    with chroma_nb.connect(small.url) as client:
        docs = client.get_or_create_collection("large", embedding_function=None)
        n = 2_500
        docs.upsert(
            ids=[str(i) for i in range(n)],
            embeddings=[[float(i), 1.0] for i in range(n)],
            documents=["x" * 2_000] * n,
        )
        assert docs.count() == n
        assert docs.query(query_embeddings=[[1_234.0, 1.0]], n_results=1)["ids"] == [["1234"]]
    assert {desc for desc, _ in shown} == {f"Sending to {small.url}"}
    assert len(shown) > 2
    assert [done for _, done in shown] == sorted(done for _, done in shown)
    assert shown[-1][1] == n


def test_a_client_that_falls_silent(small: Running) -> None:
    path = Raw(small.url).collection("docs")
    with socket.create_connection(("127.0.0.1", small.port), timeout=10) as wire:
        wire.sendall(
            f"POST {path}/add HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            'Content-Length: 1000\r\n\r\n{"ids": ['.encode()
        )
        started = time.monotonic()
        alive(small)
        answer = wire.recv(1_000)
    assert answer.startswith(b"HTTP/1.1 408")
    assert 0.5 < time.monotonic() - started < 5


def test_a_half_closed_connection(small: Running) -> None:
    with socket.create_connection(("127.0.0.1", small.port), timeout=10) as wire:
        wire.sendall(b"GET /api/v2/heartbeat HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wire.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            wire.recv(1_000)
    path = Raw(small.url).collection("docs")
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", small.port), timeout=10) as wire:
            wire.sendall(
                f"POST {path}/get HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{{".encode()
            )
    alive(small)


def test_a_thousand_idle_connections(small: Running) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2_500:
        pytest.skip(f"this process may open {hard} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2_500), hard))
    with contextlib.ExitStack() as stack:
        for _ in range(1_000):
            stack.enter_context(socket.create_connection(("127.0.0.1", small.port), timeout=10))
        started = time.monotonic()
        for _ in range(20):
            alive(small)
        assert time.monotonic() - started < 5


def test_too_many_requests_are_told_to_try_again(small: Running) -> None:
    """And a client of ours does so by itself."""
    rng_rows = [[float(i % 7), float(i % 11), 1.0] for i in range(1_000)]
    with chroma_nb.connect(small.url) as client:
        docs = client.get_or_create_collection("busy", embedding_function=None)
        docs.upsert(ids=[str(i) for i in range(1_000)], embeddings=rng_rows)
        path = f"{PLACE}/collections/{docs.id}/query"
        body = {"query_embeddings": rng_rows, "n_results": 50}
        seen: set[int] = set()

        def ask() -> None:
            raw = Raw(small.url)
            for _ in range(10):
                answer = raw("POST", path, body)
                seen.add(answer.status_code)
                if answer.status_code == 503:
                    assert answer.headers["Retry-After"] == "1"
                    assert answer.json()["error"] == "RateLimitError"
            raw.close()

        threads = [threading.Thread(target=ask) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 200 in seen
        assert seen <= {200, 503}
        alive(small)
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: docs.count(), range(40)))
        assert found == [1_000] * 40


def test_a_request_that_takes_too_long(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("hasty")
    with running(start_ours(folder, CHROMA_NB_SERVER_TIMEOUT_SECONDS="0.02")) as server:
        raw = Raw(server.url)
        path = raw.collection("docs")
        body = {"ids": [str(i) for i in range(20_000)], "embeddings": [[1.0, 2.0]] * 20_000}
        answer = raw("POST", path + "/add", body)
        assert (answer.status_code, answer.json()["error"]) == (504, "InternalError")
        assert "may yet succeed" in answer.json()["message"]
        deadline = time.monotonic() + 20
        while raw("GET", path + "/count").json() != 20_000:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        raw.close()


def test_the_loop_answers_while_something_heavy_is_worked_on(server: Running) -> None:
    with chroma_nb.connect(server.url) as client:
        docs = client.get_or_create_collection("heavy", embedding_function=None)
        n = 30_000
        rows = [[float(i % 97), float(i % 89), 1.0] for i in range(n)]
        worst = 0.0
        with ThreadPoolExecutor(1) as pool:
            work = pool.submit(docs.upsert, ids=[str(i) for i in range(n)], embeddings=rows)
            while not work.done():
                started = time.monotonic()
                alive(server)
                worst = max(worst, time.monotonic() - started)
            work.result()
        assert docs.count() == n
    assert worst < 1.0


def test_what_memory_does_not_allow_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("tight")
    with (
        running(start_ours(folder, "--memory", "10 kB")) as server,
        chroma_nb.connect(server.url) as client,
    ):
        docs = client.create_collection("docs", embedding_function=None)
        docs.add(
            ids=[str(i) for i in range(2_000)], embeddings=[[float(i)] * 300 for i in range(2_000)]
        )
        with pytest.raises(errors.MemoryBudgetError) as refused:
            client.memory.pin("docs")
        assert refused.value.need > refused.value.free >= 0
        assert refused.value.budget == 10_000
        assert docs.query(query_embeddings=[[5.0] * 300], n_results=1)["ids"] == [["5"]]
