"""What one client may take from the others: connections, heads, slow bodies, guesses, memory."""

from __future__ import annotations

import base64
import contextlib
import os
import select
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

import chroma_nb
from benchmarks.servers import Running, running, start_ours
from chroma_nb.memory.machine import Machine
from chroma_nb.server.auth_file import AuthFile
from chroma_nb.server.bodies import Bodies
from chroma_nb.server.refusals import Refused
from tests.server.conftest import PLACE, Raw
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MB = 1_000_000
HEAD = b"GET /api/v2/heartbeat HTTP/1.1\r\nHost: localhost\r\n"
POST = (
    b"POST /api/v2/tenants HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
#: A server whose process may open few files.
FEW_FILES = ("bash", "-c", 'ulimit -n 128; exec "$@"', "bash")


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with short deadlines and small limits."""
    limits = {
        "CHROMA_NB_SERVER_MAX_BODY": "2 MB",
        "CHROMA_NB_SERVER_BODY_TIMEOUT_SECONDS": "1",
    }
    with running(start_ours(tmp_path_factory.mktemp("hasty"), "--allow-reset", **limits)) as server:
        yield server


def wire_to(server: Running, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(
        ("127.0.0.1", server.port), timeout=30, source_address=(source, 0)
    )


def alive(server: Running) -> None:
    with wire_to(server) as wire:
        wire.sendall(HEAD + b"Connection: close\r\n\r\n")
        assert wire.recv(100).startswith(b"HTTP/1.1 200")


# -- heads ----------------------------------------------------------------------------------------


ENDLESS = {
    "headers": (HEAD, b"a: b\r\n" * 10_000),
    "a header's value": (HEAD + b"A: ", b"a" * 65_536),
    "a header's name": (HEAD, b"a" * 65_536),
    "a path": (b"GET /", b"a" * 65_536),
    "empty lines": (b"", b"\r\n" * 30_000),
    "what follows a body": (POST + b"0\r\n", b"a: b\r\n" * 10_000),
    "what a part says of itself": (POST + b"1;a=", b"a" * 65_536),
    "requests": (b"", (HEAD + b"\r\n") * 2_000),
}


def test_endless_heads_are_cut_off(hasty: Running) -> None:
    process = psutil.Process(hasty.process.pid)
    alive(hasty)
    before = process.memory_info().rss
    tried = 0
    for what, (start, piece) in ENDLESS.items():
        sent = 0
        with wire_to(hasty) as wire:
            wire.sendall(start)
            with contextlib.suppress(OSError):
                while sent < 32 * MB:
                    wire.sendall(piece)
                    sent += len(piece)
        assert sent < 32 * MB, f"{what}: the server read on"
        tried += 32 * MB
    assert process.memory_info().rss - before < tried / 10
    alive(hasty)


def head_of(wire: socket.socket, sent: bytes) -> bytes:
    """Send a request, read all of its answer, and return the first line."""
    wire.sendall(sent)
    received = b""
    while b"\r\n\r\n" not in received:
        received += wire.recv(10_000)
    head, _, body = received.partition(b"\r\n\r\n")
    length = next(
        line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    )
    while len(body) < int(length.partition(b":")[2]):
        body += wire.recv(10_000)
    return head.partition(b"\r\n")[0]


def test_a_large_head_is_refused(hasty: Running) -> None:
    with wire_to(hasty) as wire:
        ninety = b"".join(b"x-%d: %b\r\n" % (i, b"v" * 500) for i in range(90))
        assert head_of(wire, HEAD + ninety + b"\r\n").endswith(b"200 OK")
    for more in (b"a: b\r\n" * 150, b"a: " + b"b" * 70_000 + b"\r\n"):
        with wire_to(hasty) as wire:
            first = head_of(wire, HEAD + more + b"\r\n")
            assert first.endswith(b"431 Request Header Fields Too Large")


def test_each_limit_of_a_connection_is_a_setting_that_its_refusal_names(tmp_path: Path) -> None:
    limits = {
        "CHROMA_NB_SERVER_MAX_HEAD": "1000",
        "CHROMA_NB_SERVER_MAX_HEADERS": "5",
        "CHROMA_NB_SERVER_MAX_REQUESTS_AHEAD": "2",
        "CHROMA_NB_SERVER_MAX_CONNECTIONS": "1",
    }
    with running(start_ours(tmp_path, **limits)) as server:
        for refused, setting in (
            (HEAD + b"a: " + b"b" * 1_000 + b"\r\n\r\n", b"server_max_head)"),
            (HEAD + b"a: b\r\n" * 5 + b"\r\n", b"server_max_headers"),
            ((HEAD + b"\r\n") * 5, b"server_max_requests_ahead"),
        ):
            with wire_to(server) as wire:
                wire.sendall(refused)
                received = b""
                while part := wire.recv(65_536):
                    received += part
            assert b"HTTP/1.1 431" in received, setting
            assert setting in received
        with wire_to(server) as wire:
            assert head_of(wire, HEAD + b"a: b\r\n" * 4 + b"\r\n").endswith(b"200 OK")
            # The second one takes the place of the first, which waits.
            alive(server)
            assert wire.recv(1) == b""


def test_requests_that_are_sent_ahead_are_answered(hasty: Running) -> None:
    with wire_to(hasty) as wire:
        wire.sendall((HEAD + b"\r\n") * 7 + HEAD + b"Connection: close\r\n\r\n")
        received = b""
        while part := wire.recv(65_536):
            received += part
    assert received.count(b"HTTP/1.1 200 OK") == 8


def test_heads_and_bodies_that_do_not_end(hasty: Running) -> None:
    """Silent, or a letter at a time; on connections that are new and on such as were used before."""
    path = Raw(hasty.url).collection("docs")
    half = HEAD + b"X-More: "
    body = (
        f"POST {path}/add HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        "Content-Length: 1000000\r\n\r\n{"
    ).encode()
    cases = [(b"", b""), (half, b""), (half, b"a"), (body, b""), (body, b" ")]
    with contextlib.ExitStack() as stack:
        open_ones = {}
        for used in (False, True):
            for start, drip in cases[used:]:
                wire = stack.enter_context(wire_to(hasty))
                if used:
                    assert head_of(wire, HEAD + b"\r\n").endswith(b"200 OK")
                wire.sendall(start)
                open_ones[wire] = (start, drip)
        answers = []

        def all_ended() -> bool:
            for wire, (start, drip) in list(open_ones.items()):
                with contextlib.suppress(OSError):
                    wire.sendall(drip)
                if select.select([wire], [], [], 0.01)[0]:
                    answer = b""
                    with contextlib.suppress(OSError):
                        # Head and body may come one after the other; then the connection is closed.
                        while part := wire.recv(1_000):
                            answer += part
                    answers.append((start, answer))
                    del open_ones[wire]
            return not open_ones

        wait_until(all_ended)
    for start, answer in answers:
        if start == body:
            assert answer.startswith(b"HTTP/1.1 408")
            assert b"server_body_timeout_seconds" in answer
        else:
            assert answer == b""
    assert sum(start == body for start, _ in answers) == 4


# -- connections ----------------------------------------------------------------------------------


def flood(server: Running, stack: contextlib.ExitStack) -> list[socket.socket]:
    """Open more connections than the server has files, and use none: silent, or with half a head."""
    opened = []
    for number in range(300):
        wire = stack.enter_context(wire_to(server))
        opened.append(wire)
        with contextlib.suppress(OSError):
            wire.sendall(HEAD if number % 2 else b"")
    return opened


@pytest.mark.skipif(sys.platform == "win32", reason="needs ulimit")
def test_idle_connections_leave_files_for_others(tmp_path: Path) -> None:
    arguments = ("--path", str(tmp_path / "store"))
    with (
        running(start_ours(tmp_path, *arguments, under=FEW_FILES)) as server,
        contextlib.ExitStack() as stack,
    ):
        raw = Raw(server.url)
        path = raw.collection("docs")
        kept = other_address(server, stack)
        opened = flood(server, stack)
        for number in range(5):
            # Collections that are new want files that are new.
            path = Raw(server.url).collection(f"docs{number}")
            body = {"ids": ["a"], "embeddings": [[1.0]]}
            assert Raw(server.url)("POST", path + "/add", body).status_code == 201
        if kept is not None:
            assert head_of(kept, HEAD + b"\r\n").endswith(b"200 OK"), "another address lost its own"
        ready, _, _ = select.select(opened, [], [], 0)
        assert len(ready) > 200, "the first ones made room"
        raw.close()


def other_address(server: Running, stack: contextlib.ExitStack) -> socket.socket | None:
    """Return a connection from another address, which has been used once; None where there is no other."""
    try:
        wire = stack.enter_context(wire_to(server, "127.0.0.2"))
    except OSError:
        return None
    assert head_of(wire, HEAD + b"\r\n").endswith(b"200 OK")
    return wire


GUESS = (
    f"GET {PLACE}/collections HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic ".encode()
    + b"%s\r\n\r\n"
)


@pytest.mark.skipif(sys.platform != "linux", reason="needs ulimit and a second address")
@pytest.mark.parametrize("kind", ["guesses", "halves of bodies", "halves of bodies, forwarded"])
def test_requests_that_are_not_worked_on_yet_leave_connections_for_others(
    tmp_path: Path, kind: str
) -> None:
    """By guesses of passwords or halves of bodies an address loses its own connections, not those of others."""
    file = AuthFile(str(tmp_path / "auth.json"))
    alice, bob = file.add_token("alice", ["acme"]), file.add_token("bob", ["bolt"])
    file.add_password("carol", "carol's own horse", ["acme"])
    # With the proxy named, all come from one address, and the header says for whom.
    forwarded = kind.endswith("forwarded")
    proxies = {"CHROMA_NB_SERVER_TRUSTED_PROXIES": "127.0.0.1"} if forwarded else {}
    bolt = PLACE.replace("default_tenant", "bolt")
    asked = f"GET {bolt}/collections HTTP/1.1\r\nHost: localhost\r\nX-Chroma-Token: {bob}\r\n"
    asked += "X-Forwarded-For: 10.0.0.2\r\n" if forwarded else ""
    half = f"POST {PLACE.replace('default_tenant', 'acme')}/collections HTTP/1.1\r\nHost: localhost\r\n"
    half += f"X-Chroma-Token: {alice}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n"
    half += "X-Forwarded-For: 10.0.0.1\r\n" if forwarded else ""
    source = "127.0.0.1" if forwarded else "127.0.0.2"
    with (
        running(start_ours(tmp_path, "--auth", file.path, under=FEW_FILES, **proxies)) as server,
        contextlib.ExitStack() as stack,
    ):
        # Uploads under way: of another address, and the last part of it comes after the flood.
        begun = stack.enter_context(wire_to(server, source))
        body = b'{"name": "docs"}'
        head = asked.replace("GET", "POST", 1) + "Content-Type: application/json\r\n"
        begun.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:5])
        for number in range(150):
            wire = stack.enter_context(wire_to(server))
            guess = base64.b64encode(f"carol:{number}".encode())
            with contextlib.suppress(OSError):
                wire.sendall(GUESS % guess if kind == "guesses" else f"{half}\r\n{{".encode())
        for _ in range(10):
            with wire_to(server, source) as wire:
                assert head_of(wire, asked.encode() + b"\r\n").endswith(b"200 OK")
        assert head_of(begun, body[5:]).endswith(b"200 OK"), "another address lost its upload"


@pytest.mark.skipif(sys.platform == "win32", reason="needs ulimit")
def test_handshakes_that_do_not_begin(tmp_path: Path) -> None:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    own = authority.issue_cert("localhost", "127.0.0.1")
    own.private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.pem")
    arguments = ("--tls-certificate", str(tmp_path / "own.pem"), "--path", str(tmp_path / "store"))
    with (
        running(start_ours(tmp_path, *arguments, under=FEW_FILES)) as server,
        contextlib.ExitStack() as stack,
    ):
        url = f"https://localhost:{server.port}"
        opened = flood(server, stack)
        with chroma_nb.connect(url, tls_verify=str(tmp_path / "ca.pem")) as client:
            docs = client.create_collection("docs", embedding_function=None)
            docs.add(ids="a", embeddings=[1.0])
            assert docs.count() == 1
        ready, _, _ = select.select(opened, [], [], 0)
        assert len(ready) > 200
        assert server.stop() == 0


# -- bodies and answers ---------------------------------------------------------------------------


def begin(wire: socket.socket, path: str, length: int, body: bytes, more: str = "") -> None:
    wire.sendall(
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\n{more}\r\n".encode()
        + body
    )


def test_slow_bodies_make_room_for_others(tmp_path: Path) -> None:
    limits = {"CHROMA_NB_SERVER_MAX_BODY": "2 MB"}
    with (
        running(start_ours(tmp_path, **limits)) as server,
        contextlib.ExitStack() as stack,
    ):
        raw = Raw(server.url)
        path = raw.collection("docs")
        slow = [stack.enter_context(wire_to(server)) for _ in range(4)]
        for wire in slow:
            begin(wire, path + "/add", 1_999_999, b" " * 1_950_000)
        body = {"ids": ["a"], "embeddings": [[1.0]], "documents": ["x" * 1_500_000]}
        # At most those that stand still are ended; until then it says when to try again.
        wait_until(lambda: raw("POST", path + "/add", body).status_code == 201)
        ready, _, _ = select.select(slow, [], [], 30)
        assert ready[0].recv(100).startswith(b"HTTP/1.1 503")
        for _ in range(10):
            assert raw("POST", path + "/upsert", body).status_code == 200
        raw.close()


def test_an_answer_that_nobody_reads(hasty: Running) -> None:
    raw = Raw(hasty.url)
    path = raw.collection("large")
    for number in range(12):
        body = {"ids": [str(number)], "embeddings": [[1.0]], "documents": ["x" * 1_900_000]}
        assert raw("POST", path + "/add", body).status_code == 201
    process = psutil.Process(hasty.process.pid)
    before = process.num_fds()
    with wire_to(hasty) as wire:
        begin(wire, path + "/get", 2, b"{}")
        wait_until(lambda: process.num_fds() > before)
        wait_until(lambda: process.num_fds() <= before)
    # Who reads, if slowly, gets all of it.
    with wire_to(hasty) as wire:
        begin(wire, path + "/get", 2, b"{}", "Connection: close\r\n")
        n_bytes = 0
        while part := wire.recv(MB):
            n_bytes += len(part)
            time.sleep(0.02)
    assert n_bytes > 12 * 1_900_000
    raw("DELETE", f"{PLACE}/collections/large")
    raw.close()


#: Bodies of tiny values that are wrong or many, and the route that gets them.
TINY = {
    "ids that are numbers": ("get", '{"ids":[', "1", "]}"),
    "ids that are lists": ("get", '{"ids":[', "[]", "]}"),
    "embeddings of one number": ("add", '{"ids":["a"],"embeddings":[', "[1]", "]}"),
    "an embedding of objects": ("add", '{"ids":["a"],"embeddings":[[', "{}", "]]}"),
    "metadata that is a number": (
        *("add", '{"ids":["a"],"embeddings":[[1]],"metadatas":['),
        *("0", "]}"),
    ),
    "a filter of lists": ("get", '{"where":{"$or":[', "[]", "]}}"),
}


def peak_of(process: psutil.Process, work: Callable[[], object]) -> int:
    """Return how far the resident memory of a process rose while something was done, bytes."""
    before = process.memory_info().rss
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")
    work()
    status = Path(f"/proc/{process.pid}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) * 1_024 - before


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux")
def test_memory_is_a_small_multiple_of_the_body(server: Running) -> None:
    raw = Raw(server.url)
    path = raw.collection("docs")
    headers = {"Content-Type": "application/json"}
    process = psutil.Process(server.process.pid)
    for what, (route, head, item, tail) in TINY.items():
        n_items = 3 * MB // 2 // (len(item) + 1)
        body = (head + ",".join([item] * n_items) + tail).encode()
        codes: list[int] = []
        peak = peak_of(
            process,
            lambda route=route, body=body, codes=codes: codes.append(  # type: ignore[misc]
                raw("POST", f"{path}/{route}", data=body, headers=headers).status_code
            ),
        )
        assert codes[0] in (400, 422), what
        assert peak < 100 * len(body), f"{what}: {peak / len(body):.0f} times the body"
    raw.close()


def test_deep_bodies_are_no_json(hasty: Running) -> None:
    raw = Raw(hasty.url)
    path = raw.collection("docs")
    headers = {"Content-Type": "application/json"}
    for unit in ("[", '{"$and":['):
        for start in ('{"where":', ""):
            body = (start + unit * (100_000 // len(unit))).encode()
            answer = raw("POST", path + "/get", data=body, headers=headers)
            assert answer.status_code == 400
    raw.close()


def test_more_values_than_a_body_may_hold(hasty: Running) -> None:
    raw = Raw(hasty.url)
    path = raw.collection("docs")
    body = ('{"ids":["a"],"embeddings":[[' + ",".join(["1"] * 500_000) + "]]}").encode()
    answer = raw("POST", path + "/add", data=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]) == (413, "BatchSizeExceededError")
    assert "250,000" in answer.json()["message"]
    raw.close()


def test_bodies_that_are_parsed_share_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = Bodies(8 * MB, 1.0)
    most = b"," * MB
    with bodies.parsing(most):
        with pytest.raises(Refused) as refused, bodies.parsing(most):
            pass
        assert refused.value.status == 503
        with bodies.parsing(b"{}"):
            pass
    with bodies.parsing(most):
        pass
    monkeypatch.setattr(Machine, "free", lambda self: 100 * MB)
    with pytest.raises(Refused, match="are free") as refused, bodies.parsing(most):
        pass
    assert refused.value.status == 413


# -- guesses --------------------------------------------------------------------------------------


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"}


class Guarded:
    """A server that works on four requests at a time and asks who it is."""

    def __init__(self, server: Running, token: str) -> None:
        self.server = server
        self.token = token


def guarded(folder: Path, passwords: tuple[str, ...]) -> Iterator[Guarded]:
    file = AuthFile(str(folder / "auth.json"))
    token = file.add_token("root", ["*"])
    for name in passwords:
        file.add_password(name, f"{name}'s own horse", ["*"])
    arguments = ("--auth", file.path)
    with running(start_ours(folder, *arguments, CHROMA_NB_SERVER_MAX_CONCURRENCY="4")) as server:
        yield Guarded(server, token)


@pytest.fixture
def tokens_alone(tmp_path: Path) -> Iterator[Guarded]:
    yield from guarded(tmp_path, ())


@pytest.fixture(scope="module")
def with_passwords(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    yield from guarded(tmp_path_factory.mktemp("passwords"), ("carol", "dave"))


@pytest.mark.parametrize("kind", ["tokens_alone", "with_passwords"])
def test_guesses_hold_up_nobody_else(request: pytest.FixtureRequest, kind: str) -> None:
    place: Guarded = request.getfixturevalue(kind)
    path = f"{PLACE}/collections"

    def guess(number: int) -> int:
        raw = Raw(place.server.url, **basic("carol" if number % 2 else f"user{number}", "guess"))
        status: int = raw("GET", path).status_code
        raw.close()
        return status

    with ThreadPoolExecutor(40) as pool:
        guesses = [pool.submit(guess, number) for number in range(40)]
        raw = Raw(place.server.url, **{"X-Chroma-Token": place.token})
        assert [raw("GET", path).status_code for _ in range(20)] == [200] * 20
        if kind == "with_passwords":
            headers = basic("carol", "carol's own horse")
            with ThreadPoolExecutor(4) as friends:
                rightful = friends.map(
                    lambda _: Raw(place.server.url, **headers)("GET", path).status_code, range(8)
                )
                assert list(rightful) == [200] * 8
        assert {one.result() for one in guesses} == {401}
    raw.close()


def test_guesses_end_with_their_connections(with_passwords: Guarded) -> None:
    """What nobody waits for any more is not checked."""
    server = with_passwords.server
    process = psutil.Process(server.process.pid)
    n_before = server.log.read_text().count('"status": 499')
    for number in range(200):
        with wire_to(server) as wire:
            shown = basic("dave", f"guess {number}")["Authorization"]
            wire.sendall(
                f"GET {PLACE}/collections HTTP/1.1\r\nHost: x\r\nAuthorization: {shown}\r\n\r\n".encode()
            )
    before = process.cpu_times()
    raw = Raw(server.url, **basic("dave", "dave's own horse"))
    assert raw("GET", f"{PLACE}/collections").status_code == 200
    after = process.cpu_times()
    spent = after.user + after.system - before.user - before.system
    assert spent < 100 * cost_of_a_check(), "the queue was worked off for nobody"
    assert server.log.read_text().count('"status": 499') - n_before > 50
    raw.close()


def cost_of_a_check() -> float:
    from chroma_nb.server.auth_file import check_password

    before = time.process_time()
    for _ in range(3):
        check_password("guess", None)
    return (time.process_time() - before) / 3


# -- web pages ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        *("/metrics", "/openapi.json", "/docs", "/redoc", "/", "/nope", "/api/v1/collections"),
        *("/api/v2/healthcheck", "/api/v2/heartbeat", f"{PLACE}/collections"),
    ],
)
def test_every_path_is_closed_to_pages_of_elsewhere(server: Running, path: str) -> None:
    raw = Raw(server.url)
    for headers in (
        {"Host": "evil.example"},
        {"Host": f"evil.example:{server.port}", "Origin": f"http://evil.example:{server.port}"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Host": f"localhost:{server.port}.evil.example"},
    ):
        for method in ("GET", "POST", "OPTIONS"):
            answer = raw(method, path, headers=headers)
            assert answer.status_code == 403, (method, headers)
            assert answer.json()["error"] == "AuthError"
            assert "chroma-trace-id" in answer.headers
    assert raw("GET", path).status_code != 403
    raw.close()


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux")
def test_filters_and_queries_are_refused_for_their_size_before_any_work(server: Running) -> None:
    """Each of these is small as a body and took gigabytes, or minutes."""
    raw = Raw(server.url)
    path = raw.collection("docs")
    made = {"ids": ["a", "b"], "embeddings": [[1.0], [2.0]], "documents": ["x", "y"]}
    assert raw("POST", path + "/add", made).status_code == 201
    vectors = [[1.0]] * 1_000
    process = psutil.Process(server.process.pid)
    for route, body, setting in (
        ("get", {"where_document": {"$regex": r"[" + r"\W" * 20_000 + "]"}}, "max_pattern_length"),
        ("get", {"where_document": {"$regex": r"[" + r"\W" * 400 + "]"}}, "max_pattern_length"),
        ("get", {"where": {"$or": [{f"k{n}": n} for n in range(20_000)]}}, "max_filter_conditions"),
        (
            "delete",
            {"where": {"$or": [{f"k{n}": n} for n in range(20_000)]}},
            "max_filter_conditions",
        ),
        ("query", {"query_embeddings": vectors, "n_results": 1}, ""),
        ("query", {"query_embeddings": vectors * 60, "n_results": 10**9}, "server_max_results"),
    ):
        answers: list[Any] = []
        peak = peak_of(
            process,
            lambda route=route, body=body, answers=answers: answers.append(  # type: ignore[misc]
                raw("POST", f"{path}/{route}", body)
            ),
        )
        if setting:
            assert answers[0].status_code == 400, answers[0].text
            assert setting in answers[0].text
        else:
            assert answers[0].status_code == 200
        assert peak < 60 * MB, f"{route}, {setting}: {peak / MB:.0f} MB"
    raw.close()


def test_long_lists_are_refused(tmp_path: Path) -> None:
    with running(start_ours(tmp_path, CHROMA_NB_MAX_FILTER_VALUES="100")) as server:
        raw = Raw(server.url)
        path = raw.collection("docs")
        ids = list(map(str, range(101)))
        made = {"ids": ids, "embeddings": [[1.0]] * 101}
        assert raw("POST", path + "/add", made).status_code == 201
        for filters in (
            {"ids": ids},
            {"where": {"k": {"$nin": ids}}},
            {"ids": ids[:60], "where": {"k": {"$in": ids[:60]}}},
        ):
            for route in ("get", "query", "delete"):
                body = {**filters, "query_embeddings": [[1.0]]} if route == "query" else filters
                answer = raw("POST", f"{path}/{route}", body)
                assert answer.status_code == 400, (route, answer.text)
                assert "max_filter_values" in answer.text
        assert raw("GET", path + "/count").json() == 101
        raw.close()


def test_a_pattern_that_would_run_for_minutes_is_refused(server: Running) -> None:
    """Sixteen characters, which repeat a thousand parts at each of three million bytes."""
    raw = Raw(server.url)
    path = raw.collection("long")
    made = {"ids": ["a"], "embeddings": [[1.0]], "documents": ["a" * 3 * MB]}
    assert raw("POST", path + "/add", made).status_code == 201
    for operator in ("$regex", "$not_regex"):
        body = {"where_document": {operator: "(a?){500}a{500}b"}, "query_embeddings": [[1.0]]}
        for route in ("get", "delete", "query"):
            answer = raw("POST", f"{path}/{route}", body)
            assert answer.status_code == 400, answer.text
            assert "max_pattern_work" in answer.json()["message"]
    assert raw("GET", path + "/count").json() == 1
    raw("DELETE", f"{PLACE}/collections/long")
    raw.close()
