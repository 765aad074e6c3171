"""Arrow Flight beside HTTP: one store, one service, one end; and client certificates at both."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

import chroma_nb
from chroma_nb import Settings, cli
from chroma_nb.errors import InvalidArgumentError, RateLimitError, ServerUnavailableError
from tests.server.conftest import Raw
from tests.support.waiting import wait_until

fl = pytest.importorskip("pyarrow.flight")

from chroma_nb.server import ArrowFlight, FastAPI  # noqa: E402
from chroma_nb.server.auth_file import AuthFile  # noqa: E402
from chroma_nb.wire.flight import QUESTION  # noqa: E402
from tests.server.flight_clients import TENANT, Plain, records  # noqa: E402
from tests.stores import private_settings  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from chroma_nb.server import Server

LONG = 60.0


@contextlib.contextmanager
def made(kind: type[Server] = FastAPI, **chosen: Any) -> Iterator[Any]:
    """A server over a store in memory, which is empty; it does not run yet."""
    beside = {"server_flight_port": 0} if kind is FastAPI else {}
    with chroma_nb.EphemeralClient(private_settings(allow_reset=True, progress=False)) as client:
        settings = Settings(**{"server_port": 0, **beside, **chosen})
        with kind(client.api, settings, release=lambda: None) as server:
            yield server


@pytest.fixture
def server() -> Iterator[FastAPI]:
    with made() as server:
        server.start()
        yield server


def connect(url: str, **chosen: Any) -> Any:
    return chroma_nb.connect(url, settings=Settings(retries=0, progress=False, **chosen))


@contextlib.contextmanager
def held(server: Server, name: str) -> Iterator[Any]:
    """Hold the method of the store: what asks for it is under way until `go` is set. Yields (begun, go)."""
    work, begun, go = getattr(server.api, name), threading.Event(), threading.Event()

    def wait(*given: Any, **named: Any) -> Any:
        begun.set()
        assert go.wait(LONG)
        return work(*given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server.api, name, wait)
        try:
            yield begun, go
        finally:
            go.set()


@contextlib.contextmanager
def stream_of(plain: Plain) -> Iterator[tuple[Any, Any]]:
    """A stream for questions: its (writer, reader)."""
    writer, reader = plain.client.do_exchange(fl.FlightDescriptor.for_command(b"{}"), plain.options)
    writer.begin(QUESTION)
    try:
        yield writer, reader
    finally:
        with contextlib.suppress(Exception):
            writer.close()


def answer_on(reader: Any) -> Any:
    """Read what is said beside the next answer of a stream."""
    return json.loads(reader.read_chunk().app_metadata.to_pybytes())


@contextlib.contextmanager
def asked_plainly(**chosen: Any) -> Iterator[tuple[FastAPI, Plain, dict[str, str]]]:
    """A server over both transports, a plain client of its Arrow Flight, and the path of a collection."""
    with made(**chosen) as server:
        server.start()
        plain = Plain(server.urls[1])
        try:
            yield server, plain, plain.notes()
        finally:
            plain.client.close()


# -- one store, one service -----------------------------------------------------------------------


def test_both_see_the_same_records(server: FastAPI) -> None:
    http, flight = server.urls
    assert http == server.url
    assert flight.startswith("grpc://127.0.0.1:")
    assert not flight.endswith(":0")
    with connect(http) as one, connect(flight) as other:
        mine = one.create_collection("notes", embedding_function=None)
        mine.add(ids=["a"], embeddings=[[1.0, 2.0]], documents=["over HTTP"])
        theirs = other.get_collection("notes")
        theirs.add(ids=["b"], embeddings=[[3.0, 4.0]], documents=["over Flight"])
        assert mine.get()["documents"] == theirs.get()["documents"] == ["over HTTP", "over Flight"]
        mine.delete(ids=["b"])
        assert theirs.count() == 1


@pytest.mark.parametrize("first", [0, 1], ids=["http first", "flight first"])
def test_a_client_has_one_share_whatever_it_speaks(first: int) -> None:
    with made(server_max_concurrency=2) as server, ThreadPoolExecutor(1) as threads:
        server.start()
        with (
            connect(server.urls[first]) as one,
            connect(server.urls[1 - first]) as other,
            held(server, "count") as (begun, go),
        ):
            mine = one.create_collection("notes", embedding_function=None)
            theirs = other.get_collection("notes")
            counting = threads.submit(mine.count)
            assert begun.wait(LONG)
            # Half of the slots, which is one, is in use: by the same address.
            with pytest.raises(RateLimitError, match="1 of them yours"):
                theirs.get()
            go.set()
            assert counting.result(LONG) == 0
            assert theirs.get()["ids"] == []


def test_bodies_and_batches_count_together(server: FastAPI) -> None:
    bodies = server._rest.bodies
    bodies._held = 4 * bodies.max_body
    plain = Plain(server.urls[1])
    path = plain.notes()
    with pytest.raises(fl.FlightUnavailableError, match="too many large writes"):
        plain.put("add", path, records("a"))
    bodies._held = 0
    plain.put("add", path, records("a"))
    assert bodies._batches == 0
    plain.client.close()


def test_metrics_and_log_have_both(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = AuthFile(str(tmp_path / "auth.json"))
    ours = file.add_token("ours", ["*"])
    with made(server_auth_file=str(tmp_path / "auth.json")) as server:
        http, flight = server.start(), server.urls[1]
        plain, stranger = Plain(flight, ours), Plain(flight, "chroma_wrong")
        caplog.set_level("INFO", "chroma_nb.server")
        plain.put("add", plain.notes(), records("a"))
        stranger_asks: list[Callable[[], Any]] = [
            lambda: stranger.act("count", **TENANT),
            lambda: stranger.get(TENANT),
            lambda: stranger.put("add", TENANT, records("a")),
            lambda: stranger.client.do_exchange(
                fl.FlightDescriptor.for_command(b"{}"), stranger.options
            )[1].read_chunk(),
        ]
        for ask in stranger_asks:
            with pytest.raises(fl.FlightUnauthenticatedError):
                ask()
        raw = Raw(http, authorization=f"Bearer {ours}")
        text = raw("GET", "/metrics").text
        raw.close()
        for line in (
            'chroma_nb_requests_total{operation="add",status="200"} 1.0',
            'chroma_nb_requests_total{operation="count",status="401"} 1.0',
            'chroma_nb_requests_total{operation="flight_command",status="401"} 2.0',
            'chroma_nb_requests_total{operation="flight_stream",status="401"} 1.0',
        ):
            assert f"\n{line}\n" in text
        logged = [vars(one).get("fields", {}) for one in caplog.records]
        assert [one["operation"] for one in logged if one.get("status") == 401] == [
            "count",
            "flight_command",
            "flight_command",
            "flight_stream",
        ]
        assert not re.search(r"chroma_nb_request_body_bytes_total 0\.0", text)
        for one in (plain, stranger):
            one.client.close()


def test_it_is_found_out_once_who_asks(tmp_path: Path) -> None:
    file = AuthFile(str(tmp_path / "auth.json"))
    ours = file.add_token("ours", ["*"])
    with made(server_auth_file=str(tmp_path / "auth.json")) as server:
        server.start()
        plain = Plain(server.urls[1], ours)
        path = plain.notes()
        authenticator = server._service.authenticator
        asked: list[Any] = []
        identify = authenticator.identify
        authenticator.identify = lambda headers: (asked.append(1), identify(headers))[1]
        plain.act("count", **path)
        assert len(asked) == 1
        # Before its batches come, and again when all are there: a token may be taken away meanwhile.
        plain.put("add", path, records("a"))
        assert len(asked) == 3, "one of them for the action"
        plain.client.close()


# -- beginning ------------------------------------------------------------------------------------


def test_a_call_that_comes_early_is_answered() -> None:
    with made() as server, ThreadPoolExecutor(1) as threads:
        server.listen()
        plain = Plain(server.urls[1])
        early = threads.submit(plain.act, "count_collections", **TENANT)
        wait_until(lambda: server._flight._loop_calls._under_way)
        server.start()
        assert early.result(LONG) == 0
        plain.client.close()


def test_a_call_to_a_server_that_never_runs_is_refused() -> None:
    with made() as server, ThreadPoolExecutor(1) as threads:
        server.listen()
        plain = Plain(server.urls[1])
        early = threads.submit(plain.act, "count_collections", **TENANT)
        wait_until(lambda: server._flight._loop_calls._under_way)
        server.stop()
        with pytest.raises(fl.FlightUnavailableError, match="it is stopping"):
            early.result(LONG)
        plain.client.close()


def test_where_the_port_is_taken_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        http = free.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with made(server_port=http, server_flight_port=port) as server:
            for ask in (server.listen, server.start):
                with pytest.raises(
                    InvalidArgumentError, match=f"127.0.0.1:{port}: .*--flight-port"
                ):
                    ask()
                socket.create_server(("127.0.0.1", http)).close()
            taken.close()
            server.start()
            with connect(server.urls[1]) as client:
                assert client.heartbeat() > 0


@pytest.mark.parametrize(
    ("kind", "chosen", "word"),
    [
        (ArrowFlight, {"server": "arrowflight", "server_flight_port": 1}, "server_port"),
        (ArrowFlight, {"server": "arrowflight", "server_flight_port": 0}, "Leave server_flight"),
        (FastAPI, {"server_flight_port": 70_000}, "70000"),
        (FastAPI, {"server_port": 81, "server_flight_port": 81}, "both 81"),
        (FastAPI, {"server_tls_client_ca": "ca.pem"}, "--tls-client-ca"),
        (ArrowFlight, {"server_tls_client_ca": "ca.pem"}, "--tls-client-ca"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(kind: type[Server], chosen: Any, word: str) -> None:
    with pytest.raises(InvalidArgumentError, match=word):
        kind.check_settings(Settings(**chosen))


def test_the_command_names_both_addresses(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("_allow_open_files", "sys.setswitchinterval"):
        monkeypatch.setattr(f"chroma_nb.cli.{name}", lambda *_: None)
    monkeypatch.setattr("chroma_nb.server.observability.log_to_stderr", lambda level: None)
    monkeypatch.setattr(FastAPI, "run", FastAPI.stop)
    try:
        assert cli.main(["run", "--port", "0", "--flight-port", "0"]) == 0
        assert re.search(
            r"on http://127.0.0.1:[1-9]\d* and grpc://127.0.0.1:[1-9]\d* \(",
            capsys.readouterr().out,
        )
        assert cli.main(["run", "--port", "0", "--tls-client-ca", "ca.pem"]) == 2
        assert "--tls-certificate FILE" in capsys.readouterr().err
        monkeypatch.setenv("CHROMA_NB_SERVER", "arrowflight")
        assert cli.main(["run", "--port", "0", "--flight-port", "0"]) == 2
        assert "(--port)" in capsys.readouterr().err
    finally:
        chroma_nb.configure()


# -- the end --------------------------------------------------------------------------------------

SERVING = """
import sys, threading
import chroma_nb

chroma_nb.configure(server_port=0, progress=False, **eval(sys.argv[1]))
server = chroma_nb.get_server()
api, service = server.api, server._service
gates = {name: threading.Event() for name in ("add", "count")}

def hold(name, go):
    work = getattr(api, name)
    def wait(*given, **named):
        print(name, flush=True)
        assert go.wait(60)
        return work(*given, **named)
    setattr(api, name, wait)

def begin_stop(stop=service.begin_stop):
    stop()
    print("stopping", flush=True)

service.begin_stop = begin_stop
server.listen()
print(*server.urls, flush=True)
for name, go in gates.items():
    hold(name, go)

def open_gates():
    for line in sys.stdin:
        gates[line.strip()].set()

threading.Thread(target=open_gates, daemon=True).start()
server.run()
print("ended", flush=True)
"""


@pytest.mark.parametrize("kind", ["fastapi", "arrowflight"])
def test_sigterm_answers_what_is_under_way_over_both(kind: str) -> None:
    chosen = {"server": kind, "server_flight_port": 0 if kind == "fastapi" else None}
    process = subprocess.Popen(
        [sys.executable, "-c", SERVING, repr(chosen)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        urls = process.stdout.readline().split()
        idle = connect(urls[-1])
        notes = idle.create_collection("notes", embedding_function=None)
        # Its stream stays open.
        assert notes.get()["ids"] == []
        plain = Plain(urls[-1])
        path = {**TENANT, "collection_id": str(notes.id)}
        with ThreadPoolExecutor(2) as threads, connect(urls[0]) as http:
            putting = threads.submit(plain.put, "add", path, records("a", "b"))
            assert process.stdout.readline() == "add\n"
            counting = threads.submit(http.get_collection("notes").count)
            assert process.stdout.readline() == "count\n"
            process.send_signal(signal.SIGTERM)
            assert process.stdout.readline() == "stopping\n"
            # A question on a stream that is open, and a new call.
            with pytest.raises(RateLimitError, match="it is stopping"):
                notes.get()
            with pytest.raises(fl.FlightUnavailableError, match="it is stopping"):
                plain.act("count_collections", **TENANT)
            assert not putting.done()
            assert not counting.done()
            process.stdin.write("count\n")
            process.stdin.flush()
            assert counting.result(LONG) == 0
            # Nothing is under way over HTTP any more. Where that ended the loop, the put would be refused by then.
            with pytest.raises(NotYet):
                putting.result(1.0)
            process.stdin.write("add\n")
            process.stdin.flush()
            assert putting.result(LONG) == {"status": 200}
        assert process.wait(LONG) == 0
        assert process.stdout.read().splitlines()[-1] == "ended"
        plain.client.close()
        idle.close()
    finally:
        process.kill()
        process.wait(LONG)
        process.stdin.close()
        process.stdout.close()


def test_what_waits_for_a_thread_is_under_way_too() -> None:
    with (
        asked_plainly(server_threads=1) as (server, plain, path),
        ThreadPoolExecutor(3) as threads,
        held(server, "count") as (begun, go),
    ):
        first = threads.submit(plain.act, "count", **path)
        assert begun.wait(LONG)
        second = threads.submit(plain.act, "count", **path)
        wait_until(lambda: len(server._flight._loop_calls._under_way) == 2)
        wait_until(lambda: server._service._threads._waiting)
        ending = threads.submit(server.stop)
        wait_until(lambda: server._flight._ending.locked())
        # Where the threads were closed now, the second would be refused.
        with pytest.raises(NotYet):
            second.result(0.3)
        go.set()
        assert (first.result(LONG), second.result(LONG)) == (0, 0)
        ending.result(LONG)


def test_a_late_question_is_answered_and_the_stream_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "chroma_nb.server")
    with asked_plainly() as (server, plain, path):
        usual = server._service.settings
        question = json.dumps({"operation": "get", "path": path}).encode()
        with stream_of(plain) as (writer, reader):
            with held(server, "get_columns") as (begun, go):
                # For this question alone: a slow machine takes so long for any.
                server._service.settings = Settings(server_timeout_seconds=0.05)
                writer.write_metadata(question)
                assert begun.wait(LONG)
                said = answer_on(reader)
                server._service.settings = usual
                assert said["status"] == 504
                assert "server_timeout_seconds" in said["message"]
                assert server._service._slots.held("127.0.0.1") == 1, "it is still worked on"
                # And others are answered meanwhile.
                writer.write_metadata(question.replace(b'"get"', b'"nothing"'))
                said = answer_on(reader)
                assert said["status"] == 400
                go.set()
            wait_until(lambda: not server._service._slots.held("127.0.0.1"))
            writer.write_metadata(question)
            said = answer_on(reader)
            assert said["status"] == 200, "the result of the first one was not sent"
        asked = [vars(one).get("fields", {}) for one in caplog.records]
        assert [one["status"] for one in asked if one.get("operation") == "get"] == [504, 200]


def test_a_question_under_way_is_answered_before_the_end() -> None:
    with asked_plainly() as (server, plain, path), ThreadPoolExecutor(1) as threads:
        question = json.dumps({"operation": "get", "path": path}).encode()
        with stream_of(plain) as (writer, reader):
            with held(server, "get_columns") as (begun, go):
                writer.write_metadata(question)
                assert begun.wait(LONG)
                ending = threads.submit(server.stop)
                wait_until(lambda: server._flight._ending.locked())
                with pytest.raises(NotYet):
                    ending.result(0.3)
                go.set()
                said = answer_on(reader)
                assert said["status"] == 200
            ending.result(LONG)


def test_a_question_waits_for_its_clients_turn() -> None:
    with asked_plainly(server_threads=2) as (server, plain, path), ThreadPoolExecutor(1) as threads:
        question = json.dumps({"operation": "get", "path": path}).encode()
        with stream_of(plain) as (writer, reader), held(server, "count") as (begun, go):
            counting = threads.submit(plain.act, "count", **path)
            assert begun.wait(LONG)
            # Half of the threads, which is one, is in use: by the same address.
            writer.write_metadata(question)
            wait_until(lambda: server._service._threads._waiting)
            go.set()
            assert counting.result(LONG) == 0
            assert answer_on(reader)["status"] == 200


@pytest.mark.parametrize("kind", [FastAPI, ArrowFlight])
def test_an_idle_stream_and_half_a_put_hold_up_no_end(kind: type[Server]) -> None:
    with made(kind) as server:
        server.start()
        plain = Plain(server.urls[-1])
        path = plain.notes()
        stream, _ = plain.client.do_exchange(fl.FlightDescriptor.for_command(b"{}"), plain.options)
        stream.begin(QUESTION)
        command = json.dumps({"operation": "add", "path": path}).encode()
        batch = records("a")
        half, _ = plain.client.do_put(
            fl.FlightDescriptor.for_command(command), batch.schema, plain.options
        )
        half.write_batch(batch)
        wait_until(lambda: _bodies_of(server)._batches)
        began = time.monotonic()
        server.stop()
        # Not the half minute that calls under way have.
        assert time.monotonic() - began < 25
        for writer in (stream, half):
            with contextlib.suppress(fl.FlightError, OSError):
                writer.close()
        plain.client.close()


def _bodies_of(server: Any) -> Any:
    listener = server._flight if isinstance(server, FastAPI) else server._listener
    return listener._calls._bodies


# -- certificates of clients ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Certificates: the server's, and of clients the right one and one of another authority."""
    trustme = pytest.importorskip("trustme")
    folder = tmp_path_factory.mktemp("certificates")
    servers, clients, others = trustme.CA(), trustme.CA(), trustme.CA()
    issued = {
        "server": servers.issue_cert("localhost"),
        "right": clients.issue_cert("client"),
        "wrong": others.issue_cert("client"),
    }
    for name, one in issued.items():
        one.private_key_and_cert_chain_pem.write_to_path(str(folder / f"{name}.pem"))
    for name, one in {"servers": servers, "clients": clients}.items():
        one.cert_pem.write_to_path(str(folder / f"{name}.pem"))
    return {one.stem: str(one) for one in folder.iterdir()}


@pytest.mark.parametrize("kind", [FastAPI, ArrowFlight])
def test_clients_show_a_certificate(kind: type[Server], files: dict[str, str]) -> None:
    tls = {"server_tls_certificate": files["server"], "server_tls_client_ca": files["clients"]}
    with made(kind, **tls) as server:
        server.start()
        assert len(server.urls) == (2 if kind is FastAPI else 1)
        for url in server.urls:
            url = url.replace("127.0.0.1", "localhost")
            assert urlsplit(url).scheme in ("https", "grpc+tls")
            verify = {"tls_verify": files["servers"]}
            with connect(url, tls_certificate=files["right"], **verify) as client:
                notes = client.get_or_create_collection("notes", embedding_function=None)
                notes.upsert(ids=["a"], embeddings=[[1.0, 2.0]])
                assert notes.get()["ids"] == ["a"]
            for chosen in ({"tls_certificate": files["wrong"]}, {}):
                with pytest.raises(ServerUnavailableError):
                    connect(url, **chosen, **verify)
