"""`connect`: whatever is there, the same client, or a sentence that says what is there instead."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import inspect
import json
import os
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from benchmarks.servers import HAS_CHROMA, NO_CHROMA, Running, running, start_chromas, start_ours
from chroma_nb import errors
from chroma_nb.api import API, FastAPI, Local
from chroma_nb.api._chroma_server import ChromaServer
from chroma_nb.api._http import ServerConnection
from chroma_nb.client import (
    AsyncClientAPI,
    AsyncClientMemory,
    AsyncCollection,
    ClientAPI,
    ClientMemory,
)
from chroma_nb.collection import Collection
from chroma_nb.search import Knn, Search

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server.conftest import Raw


# -- targets --------------------------------------------------------------------------------------


def test_targets_that_mean_a_server(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    host = f"127.0.0.1:{server.port}"
    for target in (f"http://{host}", f"http://{host}/", f"http://{host}/api/v2", host):
        with chroma_nb.connect(target) as client:
            assert isinstance(client.api, FastAPI)
            assert client.heartbeat() > 0
            assert repr(client).startswith(f"Client(http://{host}")
    monkeypatch.setenv("CHROMA_NB_URL", f"http://{host}")
    with chroma_nb.connect() as client:
        assert isinstance(client.api, FastAPI)
    with chroma_nb.Client() as client:
        assert isinstance(client.api, Local), "only connect() follows the address"
    monkeypatch.setenv("CHROMA_NB_API", "fastapi")
    with chroma_nb.Client() as client:
        assert isinstance(client.api, FastAPI), "the factory follows both"
        assert isinstance(chroma_nb.get_api(), API)
    with chroma_nb.EphemeralClient() as client:
        assert isinstance(client.api, Local)


def test_targets_that_mean_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with chroma_nb.connect() as client:
        assert isinstance(client.api, Local)
        assert not client.get_settings().is_persistent
    for target in ("./store", str(tmp_path / "store"), Path("store")):
        with chroma_nb.connect(target) as client:
            assert isinstance(client.api, Local)
            assert client.get_settings().is_persistent
    assert (tmp_path / "store").is_dir()


@pytest.mark.parametrize(
    "target", ["", "host:99999:1", "a b", "ftp://host", "http://", "http://host:123456", "host:x"]
)
def test_targets_that_mean_nothing(target: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=r"server|address|port"):
        chroma_nb.connect(target)


def test_a_tenant_and_a_database(raw: Raw, server: Running) -> None:
    assert raw("POST", "/api/v2/tenants", {"name": "acme"}).status_code == 200
    assert raw("POST", "/api/v2/tenants/acme/databases", {"name": "db1"}).status_code == 200
    with chroma_nb.connect(server.url, "acme", "db1") as client:
        assert (client.tenant, client.database) == ("acme", "db1")
        client.create_collection("docs", embedding_function=None)
    with chroma_nb.connect(server.url) as client:
        assert client.list_collections() == []
    with pytest.raises(errors.NotFoundError, match="nope"):
        chroma_nb.connect(server.url, "nope")


# -- what may be there instead ----------------------------------------------------------------------


@contextlib.contextmanager
def answering(answer: Any) -> Iterator[str]:
    """Serve HTTP answers by a function: path -> (status, content type, body)."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, body = answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if status == 302:
                self.send_header("Location", "https://user:pass@elsewhere.example/")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: Any) -> None: ...

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as made:
        made.daemon_threads = True
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{made.server_address[1]}"
        made.shutdown()
        thread.join()


def refusal(target: str, **options: Any) -> str:
    settings = chroma_nb.Settings(retries=0)
    with pytest.raises(errors.ServerUnavailableError) as refused:
        chroma_nb.connect(target, settings=settings, **options)
    assert target.partition("//")[2].partition("/")[0] in str(refused.value)
    assert isinstance(refused.value, ConnectionError | ValueError)
    return str(refused.value)


def test_no_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    said = refusal(f"http://127.0.0.1:{port}")
    assert "Connection refused" in said
    assert "chroma-nb run" in said
    assert "chroma_nb.Client()" in said


def test_no_host() -> None:
    assert "There is no host 'no-such-host.invalid'" in refusal("http://no-such-host.invalid")


def test_a_server_that_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said = refusal(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_seconds=0.3)
    assert "did not answer within 0.3 s" in said


@pytest.mark.parametrize(
    ("answered", "words"),
    [
        (b"-ERR unknown command\r\n", "-ERR unknown command"),
        # As a server of Arrow Flight begins.
        (b"\x00\x00\x18\x04\x00\xff\xfe\r\n", "its answer is not text"),
    ],
)
def test_something_that_is_no_http(answered: bytes, words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer() -> None:
            connection, _ = other.accept()
            connection.recv(1_000)
            connection.sendall(answered)
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        said = refusal(f"http://127.0.0.1:{other.getsockname()[1]}")
        assert words in said
        assert "does not speak HTTP" in said
        assert "grpc://" in said
        thread.join()


def test_a_web_page() -> None:
    for status in (200, 404, 500):
        with answering(lambda _, status=status: (status, "text/html", b"<h1>Hello</h1>")) as url:
            assert f"no Chroma server: HTTP status {status}, text/html" in refusal(url)
    with answering(lambda _: (200, "application/json", b'{"hello": 1}')) as url:
        assert "no Chroma server" in refusal(url)
    with answering(lambda _: (302, "text/html", b"")) as url:
        said = refusal(url)
        assert "elsewhere.example" in said
        assert "pass" not in said


def test_a_server_of_the_first_api() -> None:
    def old(path: str) -> tuple[int, str, bytes]:
        answers = {
            "/api/v1/heartbeat": {"nanosecond heartbeat": 1},
            "/api/v1/version": "0.4.24",
        }
        if path in answers:
            return 200, "application/json", json.dumps(answers[path]).encode()
        return 404, "application/json", b'{"detail":"Not Found"}'

    with answering(old) as url:
        said = refusal(url)
    assert "Chroma 0.4.24" in said
    assert "v1" in said


def test_tls(tmp_path: Path, server: Running) -> None:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    own = authority.issue_cert("localhost", "127.0.0.1")
    own.private_key_pem.write_to_path(tmp_path / "key.pem")
    own.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    arguments = (
        "--tls-certificate",
        str(tmp_path / "cert.pem"),
        "--tls-key",
        str(tmp_path / "key.pem"),
    )
    with running(start_ours(tmp_path, *arguments)) as secure:
        url = f"https://localhost:{secure.port}"
        said = refusal(url)
        assert "certificate" in said
        assert "tls_verify" in said
        with chroma_nb.connect(url, tls_verify=str(tmp_path / "ca.pem")) as client:
            assert client.heartbeat() > 0
        with (
            pytest.warns(Warning, match="Unverified"),
            chroma_nb.connect(url, tls_verify=False) as client,
        ):
            assert client.heartbeat() > 0
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        with (
            socket.create_connection(("localhost", secure.port)) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as wrapped,
        ):
            assert wrapped.version() in ("TLSv1.2", "TLSv1.3")
        assert "HTTP" in refusal(f"http://localhost:{secure.port}")
    assert "No secure connection" in refusal(f"https://127.0.0.1:{server.port}")


@contextlib.contextmanager
def behind_tls(port: int, context: ssl.SSLContext) -> Iterator[int]:
    """Stand before a server as a reverse proxy that asks for the client's certificate; yield the port."""

    class Forward(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                outside = context.wrap_socket(self.request, server_side=True)
                with outside, socket.create_connection(("127.0.0.1", port)) as inside:
                    back = threading.Thread(target=self.pass_on, args=(inside, outside))
                    back.start()
                    self.pass_on(outside, inside)
                    back.join()

        @staticmethod
        def pass_on(source: socket.socket, target: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while data := source.recv(65_536):
                    target.sendall(data)
                target.shutdown(socket.SHUT_WR)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Forward) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def test_a_client_shows_its_own_certificate(tmp_path: Path, server: Running) -> None:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("ann@example.org").private_key_and_cert_chain_pem.write_to_path(
        tmp_path / "ann.pem"
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    with behind_tls(server.port, context) as port:
        url = f"https://localhost:{port}"
        settings = chroma_nb.Settings(
            tls_verify=str(tmp_path / "ca.pem"), tls_certificate=str(tmp_path / "ann.pem")
        )
        with chroma_nb.connect(url, settings=settings) as client:
            assert client.heartbeat() > 0
        with pytest.raises(errors.ServerUnavailableError, match="tls_certificate"):
            chroma_nb.connect(url, settings=settings.replace(tls_certificate="", retries=0))
        for name in ("tls_certificate", "tls_verify"):
            with pytest.raises(errors.InvalidArgumentError, match=rf"{name} .*'/none\.pem'"):
                chroma_nb.connect(url, settings=settings.replace(**{name: "/none.pem"}))


def test_a_proxy_that_is_not_there(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("HTTP_PROXY", f"http://user:pass@127.0.0.1:{port}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    said = refusal("http://host.example:8000")
    assert "proxy" in said
    assert "pass" not in said
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with chroma_nb.connect(server.url) as client:
        assert client.heartbeat() > 0


def test_what_is_repeated_and_what_is_not() -> None:
    """A read is repeated when the connection breaks; a delete is not, for it may have been done."""
    seen: list[str] = []
    checks = {"max_batch_size": 10, "supports_base64_encoding": True, "server": "chroma_nb"}
    checks.update(version="1", max_records=10, max_body=1_000)
    place = "/api/v2/tenants/default_tenant/databases/default_database"

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            seen.append(f"{self.command} {self.path}")
            known = {
                "/api/v2/pre-flight-checks": checks,
                "/api/v2/auth/identity": {"user_id": "", "tenant": None, "databases": []},
                "/api/v2/tenants/default_tenant": {"name": "default_tenant"},
                place: {"id": "00000000-0000-4000-8000-000000000000"},
            }
            body = json.dumps(known.get(self.path, 5)).encode()
            if self.path not in known and seen.count(seen[-1]) < 3:
                self.close_connection = True
                self.connection.close()
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, *words: Any) -> None: ...

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as made:
        made.daemon_threads = True
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        with chroma_nb.connect(f"127.0.0.1:{made.server_address[1]}") as client:
            assert client.count_collections() == 5
            assert seen.count(f"GET {place}/collections_count") == 3
            with pytest.raises(errors.ServerUnavailableError, match="broke"):
                client.delete_collection("docs")
            assert seen.count(f"DELETE {place}/collections/docs") == 1
        made.shutdown()
        thread.join()


# -- the same API -----------------------------------------------------------------------------------


def public(kind: type) -> dict[str, Any]:
    return {
        name: value
        for name, value in inspect.getmembers(kind)
        if not name.startswith("_") and callable(value)
    }


def test_signatures_are_one() -> None:
    """Local and remote have one client class; the APIs below it, and the async face, agree with it."""
    for implementation in (Local, FastAPI, ChromaServer):
        for name in API.__abstractmethods__:
            mine = inspect.signature(getattr(implementation, name))
            base = inspect.signature(getattr(API, name))
            assert list(mine.parameters) == list(base.parameters), name
            for one in base.parameters:
                assert mine.parameters[one].default == base.parameters[one].default, name
                assert mine.parameters[one].kind == base.parameters[one].kind, name
    for face, sync, apart in (
        (AsyncClientAPI, ClientAPI, {"clear_system_cache"}),
        (AsyncCollection, Collection, {"widget", "table", "get_model"}),
        (AsyncClientMemory, ClientMemory, {"widget"}),
    ):
        theirs, ours = public(sync), public(face)
        assert set(theirs) - apart <= set(ours)
        for name in set(theirs) - apart:
            if name not in ("list_collections", "close", "get_settings"):
                assert inspect.signature(ours[name]) == inspect.signature(theirs[name]), name
                assert asyncio.iscoroutinefunction(ours[name]), name


def test_all_of_it_crosses_the_wire(raw: Raw, server: Running) -> None:
    """What Chroma has not, and so the contract suite's Chroma side cannot show."""
    near = chroma_nb.EphemeralClient(chroma_nb.Settings(allow_reset=True))
    near.reset()
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(6_000, 16)).astype("f4")
    with chroma_nb.connect(server.url) as far:
        for client in (near, far):
            docs = client.create_collection("docs", embedding_function=None)
            docs.add(
                ids=[str(i) for i in range(6_000)],
                embeddings=vectors,
                metadatas=[{"n": i, "even": i % 2 == 0} for i in range(6_000)],
            )
            docs.build_index()
        mine, theirs = near["docs"], far["docs"]
        assert theirs.get_indexing_status() == mine.get_indexing_status()
        assert theirs.fields.describe() == mine.fields.describe()
        assert list(theirs.fields) == list(mine.fields) == ["even", "n"]
        assert list(theirs.explain()) == list(mine.explain())
        search = Search(rank=Knn(vectors[0]))
        plans = [one.explain(search=search)["parts"]["meaning"] for one in (mine, theirs)]
        assert plans[0]["strategy"] == plans[1]["strategy"]
        assert list(plans[0]) == list(plans[1])
        question = {"query_embeddings": vectors[:3], "where": theirs.fields["n"] < 1_000}
        include = ["distances", "embeddings", "metadatas"]
        here, there = (one.query(**question, include=include) for one in (mine, theirs))
        assert there["ids"] == here["ids"]
        assert there["distances"] == here["distances"]
        assert all(map(np.array_equal, there["embeddings"], here["embeddings"]))
        assert far.memory.estimate(1_000, 16).by_form == near.memory.estimate(1_000, 16).by_form
        assert far.memory.load("docs") == near.memory.load("docs")
        far.memory.set_ttl("docs", 60)
        far.memory.pin("docs")
        (one,) = far.memory.report().collections
        assert (one.pinned, one.ttl_seconds, one.state) == (True, 60, "loaded")
        far.memory.unpin("docs")
        assert [one.collection for one in far.memory.preview("1 kB")] == ["docs"]
        assert theirs.unload() > 0
        assert far.memory.unload_all() == 0
        before = far.memory.budget
        far.memory.budget = "64 MB"
        assert far.memory.budget == 64_000_000
        far.memory.budget = before
        assert theirs.fork("copy").count() == 6_000
        with pytest.raises(errors.NotSupportedError, match="in process"):
            far.sql("SELECT 1")
    near.reset()
    near.close()


def test_a_display_asks_no_server_where_the_settings_forbid_it(server: Running, raw: Raw) -> None:
    raw.collection("docs")
    settings = chroma_nb.Settings(display_fetch=False)
    with chroma_nb.connect(server.url, settings=settings) as client:
        docs = client["docs"]
        many = client.list_collections()
        asked: list[str] = []
        client.api._http.request = lambda *a, **k: asked.append(str(a))  # type: ignore[method-assign]
        for shown in (client, docs, many, client.memory, docs.fields, client.get_settings()):
            assert repr(shown)
            html = shown._repr_html_()
            assert html
        assert "remote" in client._repr_html_()
        assert "docs" in many._repr_html_()
        assert "collection.count() asks it" in many._repr_html_()
        assert "?" not in many._repr_html_()
        assert not asked


def test_collections_move_up_and_back(raw: Raw, server: Running, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n = 12_000
    vectors = rng.normal(size=(n, 16)).astype("f4")
    with chroma_nb.Client(tmp_path / "a") as near, chroma_nb.connect(server.url) as far:
        docs = near.create_collection(
            "docs",
            metadata={"of": "mine"},
            configuration={"hnsw": {"space": "cosine"}},
            embedding_function=None,
        )
        docs.add(
            ids=[f"id-{i}" for i in range(n)],
            embeddings=vectors,
            documents=[f"text {i}" if i % 3 else None for i in range(n)],
            metadatas=[{"n": i} if i % 2 else None for i in range(n)],
            uris=[f"file:///{i}" for i in range(n)],
        )
        # As if an earlier copy had been stopped on the way: what is there is not sent again.
        far.api.create_collection(
            "docs",
            docs.configuration_json,
            docs.metadata,
            get_or_create=True,
            tenant=far.tenant,
            database=far.database,
        )
        first = docs.get(limit=7_000, include=["embeddings", "documents", "metadatas", "uris"])
        far["docs"].add(
            **{
                part: first[part]
                for part in ("ids", "embeddings", "documents", "metadatas", "uris")
            }
        )
        sent: list[int] = []
        send = far.api.add
        far.api.add = lambda key, batch, **more: (
            sent.append(len(batch)),
            send(key, batch, **more),
        )[1]
        assert near.copy_to(far) == {"docs": n}
        assert sum(sent) == 5_000
        assert near.copy_to(far) == {"docs": n}
        assert sum(sent) == 5_000
        copy = far["docs"]
        assert (copy.metadata, copy.configuration_json) == (docs.metadata, docs.configuration_json)
        with chroma_nb.Client(tmp_path / "b") as back:
            assert far.copy_to(back, ["docs"]) == {"docs": n}
            include = ["embeddings", "documents", "metadatas", "uris"]
            ours, theirs = (one["docs"].get(include=include) for one in (near, back))
            for part in ("ids", "documents", "metadatas", "uris"):
                assert ours[part] == theirs[part], part
            assert np.array_equal(ours["embeddings"], theirs["embeddings"])


def test_the_memory_panel_of_a_server(tmp_path: Path) -> None:
    pytest.importorskip("ipywidgets")
    arguments = ("--path", str(tmp_path / "store"))
    with running(start_ours(tmp_path, *arguments)) as first:
        client = chroma_nb.connect(first.url, settings=chroma_nb.Settings(retries=0))
        docs = client.create_collection("docs", embedding_function=None)
        docs.add(ids=["a", "b"], embeddings=[[1.0], [2.0]])
        client.memory.load("docs")
        panel = client.memory.widget(refresh_seconds=60)
        assert "the server" in panel._repr_html_()
        (row,) = panel.rows.shown
        row.unload.click()
        assert client.memory.report().collections[0].state == "on disk"
        panel.refresh()
        assert row.unload.disabled
        first.kill()
        panel.refresh()  # a connection that is kept may break before the next one is refused
        panel.refresh()
        assert "answered before and does not any more" in panel._status.value
        assert "docs" in panel._repr_html_(), "what was last seen stays"
    with running(start_ours(tmp_path, *arguments, port=first.port)):
        panel.refresh()
        assert panel._status.value == ""
        panel.close()
        client.close()


@pytest.mark.skipif(not HAS_CHROMA, reason=NO_CHROMA)
def test_what_chromas_server_does_not_have_says_so(tmp_path: Path) -> None:
    with running(start_chromas(tmp_path)) as theirs, chroma_nb.connect(theirs.url) as client:
        assert isinstance(client.api, ChromaServer)
        assert client.api.server.name == "Chroma"
        docs = client.create_collection("docs", embedding_function=None)
        docs.add(ids=["a", "b"], embeddings=[[1.0], [2.0]], documents=["x", "y"])
        for what in (
            docs.unload,
            docs.build_index,
            docs.explain,
            docs.fields.describe,
            lambda: list(docs.fields),
            docs.get_indexing_status,
            client.memory.report,
            client.memory.unload_all,
            lambda: client.memory.budget,
            lambda: client.memory.pin("docs"),
            lambda: client.memory.set_ttl("docs", 5),
            lambda: client.memory.estimate(5),
            lambda: docs.add(ids="c", embeddings=[3.0], on_conflict="error"),
        ):
            with pytest.raises(errors.NotSupportedError) as refused:
                what()
            for word in (theirs.url, "Chroma", "1.0.0", "chroma-nb run"):
                assert word in str(refused.value)
        assert docs.fork("copy").get()["documents"] == ["x", "y"]
        pytest.importorskip("ipywidgets")
        panel = client.memory.widget()
        assert "not offered by the server" in panel._repr_html_()
        panel.close()
        search = docs.widget()
        search.question.value = "a"
        search.search()
        assert search.result["ids"] == [["a", "b"]]
        search.close()
        with chroma_nb.EphemeralClient() as near:
            near.get_or_create_collection("upwards", embedding_function=None).upsert(
                ids=["a"], embeddings=[[1.0, 2.0]]
            )
            assert near.copy_to(client, ["upwards"]) == {"upwards": 1}
            near.delete_collection("upwards")


CHROMAS_ASYNC_CLIENT = """
import asyncio, sys
import chromadb

async def work():
    client = await chromadb.AsyncHttpClient(port=int(sys.argv[1]))
    assert await client.heartbeat() > 0
    docs = await client.create_collection(
        "docs", embedding_function=None, metadata={"a": 1}, configuration={"hnsw": {"space": "ip"}}
    )
    await docs.add(ids=["a", "b"], embeddings=[[1.0, 0.0], [0.0, 1.0]], documents=["x", "y"])
    await docs.upsert(ids=["c"], embeddings=[[1.0, 1.0]], metadatas=[{"n": 1}])
    await docs.update(ids=["a"], metadatas=[{"n": 2}])
    assert await docs.count() == 3
    found = await docs.query(query_embeddings=[[1.0, 0.0]], n_results=1, where={"n": {"$gt": 1}})
    assert found["ids"] == [["a"]]
    assert (await docs.get(where_document={"$contains": "y"}))["ids"] == ["b"]
    assert (await docs.peek(1))["ids"] == ["a"]
    await docs.modify(name="papers", configuration={"hnsw": {"ef_search": 55}})
    assert (await docs.delete(where={"n": 1}))["deleted"] == 1
    assert (await docs.fork("copy")).name == "copy"
    assert await client.count_collections() == 2
    assert [one.name for one in await client.list_collections()] == ["papers", "copy"]
    try:
        await client.get_collection("nope")
    except chromadb.errors.NotFoundError as error:
        assert error.trace_id
    else:
        raise AssertionError
    await client.delete_collection("copy")
    assert await client.reset()

asyncio.run(work())
"""


@pytest.mark.skipif(not HAS_CHROMA, reason=NO_CHROMA)
def test_chromas_async_client_on_our_server(server: Running, raw: Raw) -> None:
    raw.close()
    code = [sys.executable, "-c", CHROMAS_ASYNC_CLIENT, str(server.port)]
    done = subprocess.run(
        code,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "ALLOW_RESET": "1"},
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not HAS_CHROMA, reason=NO_CHROMA)
def test_more_than_chromas_server_gives_at_a_time(tmp_path: Path) -> None:
    n = 10_000
    with running(start_chromas(tmp_path)) as theirs, chroma_nb.connect(theirs.url) as client:
        docs = client.create_collection("docs", embedding_function=None)
        vectors = np.arange(n * 2, dtype=np.float32).reshape(n, 2)
        ids = [f"id-{i}" for i in range(n)]
        docs.add(ids=ids, embeddings=vectors, documents=ids)
        for limit, offset in ((None, 0), (5_000, 0), (7_000, 0), (n, 0), (2 * n, 0), (None, 9_000)):
            rows = slice(offset, None if limit is None else offset + limit)
            found = docs.get(limit=limit, offset=offset, include=["embeddings", "documents"])
            assert found["ids"] == found["documents"] == ids[rows]
            assert np.array_equal(found["embeddings"], vectors[rows])
        assert docs.get(offset=n)["ids"] == []
        assert docs.get(ids=ids[:8_000], limit=2, offset=5_001)["ids"] == ["id-5001", "id-5002"]


def test_a_server_that_ends_is_told_from_one_that_was_never_there(tmp_path: Path) -> None:
    with running(start_ours(tmp_path)) as server:
        client = chroma_nb.connect(server.url)
        docs = client.create_collection("docs", embedding_function=None)
        server.kill()
    with pytest.raises(errors.ServerUnavailableError, match="Nothing of this call was sent"):
        docs.add(ids=["a"], embeddings=[[1.0]])


def test_a_server_that_ends_while_it_works_may_have_written() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def end_at_work() -> None:
            wire, _ = listener.accept()
            # Nobody is accepted any more before this one is let go.
            listener.close()
            with wire:
                wire.recv(1)

        server = threading.Thread(target=end_at_work)
        server.start()
        port = listener.getsockname()[1]
        connection = ServerConnection(chroma_nb.Settings(url=f"http://127.0.0.1:{port}"))
        connection.is_known = True
        with pytest.raises(errors.ServerUnavailableError, match="look before you repeat it"):
            connection.request("POST", ["add"], {"ids": ["a"]}, safe=True)
        server.join()
        connection.close()


def test_a_forked_process_opens_connections_of_its_own(server: Running, raw: Raw) -> None:
    if not hasattr(os, "fork"):
        pytest.skip("no fork on this system")
    raw.collection("docs")
    code = f"""
import os, chroma_nb
client = chroma_nb.connect({server.url!r})
assert client.count_collections() == 1
child = os.fork()
for _ in range(50):
    assert client.count_collections() == 1
if child:
    assert os.waitpid(child, 0)[1] == 0
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
