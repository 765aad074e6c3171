"""Arrow Flight: what a plain pyarrow client sends and gets, who is refused, and how streams end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb import Settings
from chroma_nb.errors import ChromaError, ServerUnavailableError

fl = pytest.importorskip("pyarrow.flight")
import pyarrow as pa  # noqa: E402

from chroma_nb.api._flight_connection import FlightConnection  # noqa: E402
from chroma_nb.server.auth_file import AuthFile  # noqa: E402
from chroma_nb.wire.flight import COMMIT, QUESTION  # noqa: E402
from tests.server.flight_clients import TENANT, Plain, records, said, served  # noqa: E402
from tests.support.waiting import wait_until  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from chroma_nb.server import ArrowFlight


@pytest.fixture
def server() -> Iterator[ArrowFlight]:
    with served() as server:
        yield server


def test_a_plain_client_writes_and_reads(plain: Plain) -> None:
    path = plain.notes()
    batch = records("a", "b", document=["one", None], metadata=['{"k": 1, "l": [1, 2]}', None])
    assert plain.put("add", path, batch) == {"status": 200}
    table = plain.get(path, include=["embeddings", "documents", "metadatas"])
    assert table.to_pydict() == {
        "id": ["a", "b"],
        "embedding": [[0.0, 1.0], [2.0, 3.0]],
        "document": ["one", None],
        "metadata": ['{"k":1,"l":[1,2]}', None],
    }
    assert plain.act("count", **path) == 2
    assert {action.type for action in plain.client.list_actions()} >= {"count", "unload"}


def test_one_put_is_one_commit(plain: Plain) -> None:
    path = plain.notes()
    plain.put("add", path, records("a"), records("b"), records("c"))
    assert plain.act("count", **path) == 3
    whole, broken = (records(one, metadata=[text]) for one, text in (("d", "{}"), ("e", "[1]")))
    with pytest.raises(fl.FlightServerError) as error:
        plain.put("upsert", path, whole, broken)
    assert said(error)[0] == 400
    with pytest.raises(fl.FlightServerError) as error:
        plain.put("upsert", path, records("d"), records(None))
    assert said(error)[0] == 400
    assert plain.get(path)["id"].to_pylist() == ["a", "b", "c"], "nothing of a put that was refused"


@pytest.mark.parametrize(
    ("batch", "word"),
    [
        (
            pa.RecordBatch.from_pydict({"id": ["a"], "vector": [[1.0, 2.0]]}),
            "Unknown column 'vector'",
        ),
        (pa.RecordBatch.from_pydict({"document": ["a"]}), "column 'id'"),
        (pa.RecordBatch.from_pydict({"id": [1]}), "'id' to be texts"),
        (pa.RecordBatch.from_pydict({"id": ["a"], "embedding": ["x"]}), "lists of float32"),
        (
            pa.RecordBatch.from_pydict({"id": ["a", "b"], "embedding": [[1.0], [1.0, 2.0]]}),
            "of one length",
        ),
        (pa.RecordBatch.from_pydict({"id": ["a"], "embedding": [[1.0, None]]}), "missing numbers"),
        (records("a", metadata=["{"]), "JSON objects"),
        (records("a", metadata=['{"k": {"a": 1}}']), "metadata"),
        # JSON only when they are put together.
        (records("a", "b", metadata=['{"k": "}', '{": 1}']), "JSON objects"),
        (records(*"abc", metadata=['{"a":[{}', '{}],"a":1}', "{},{}"]), "JSON objects"),
        (records("a", "a", document=["x", "y"], metadata=[None, "no"]), "JSON objects"),
        (records(None), "IDs to be texts"),
        (records("a", embedding=pa.array([[float("nan"), 1.0]])), "nan"),
    ],
)
def test_what_is_no_record_is_an_argument_that_is_wrong(
    plain: Plain, batch: Any, word: str
) -> None:
    path = plain.notes()
    with pytest.raises(fl.FlightServerError) as error:
        plain.put("add", path, batch)
    status, message = said(error)
    assert status == 400
    assert word.lower() in message.lower()
    assert plain.act("count", **path) == 0


def test_a_write_that_is_not_said_to_be_whole_writes_nothing(plain: Plain) -> None:
    """A script that fails within a `with` ends its stream like one that is done."""
    path = plain.notes()
    descriptor = fl.FlightDescriptor.for_command(
        json.dumps({"operation": "add", "path": path}).encode()
    )
    writer, _ = plain.client.do_put(descriptor, records("a").schema, plain.options)
    with pytest.raises(fl.FlightServerError, match="Nothing was written: the stream ended"), writer:
        writer.write_batch(records("a"))
    writer, _ = plain.client.do_put(descriptor, records("a").schema, plain.options)
    writer.write_with_metadata(records("a"), COMMIT)
    writer.write_batch(records("b"))
    with pytest.raises(fl.FlightServerError, match="nothing after the message that commits"):
        writer.close()
    assert plain.act("count", **path) == 0


def test_what_does_not_belong_in_a_call_is_refused(plain: Plain) -> None:
    path = plain.notes()

    def get(command: Any) -> Any:
        return plain.client.do_get(fl.Ticket(json.dumps(command).encode()), plain.options)

    def put(command: Any, batch: Any) -> None:
        descriptor = fl.FlightDescriptor.for_command(json.dumps(command).encode())
        writer, _ = plain.client.do_put(descriptor, batch.schema, plain.options)
        with writer:
            writer.write_with_metadata(batch, COMMIT)

    def exchange() -> Any:
        descriptor = fl.FlightDescriptor.for_command(b'{"operation": "query"}')
        return plain.client.do_exchange(descriptor, plain.options)[1].read_chunk()

    write = {"operation": "add", "path": path}
    only_ids = pa.RecordBatch.from_pydict({"id": ["a"]})
    for ask, word in (
        (lambda: get({"operation": "query", "path": path}), "Expected one of get, scan"),
        (lambda: get({"operation": "scan", "path": path, "body": {"limit": 5}}), "limit"),
        (lambda: get({"operation": "scan", "path": path, "body": {"wher": {}}}), "wher"),
        (lambda: get({"operation": "get", "path": TENANT}), "missing: collection_id"),
        (lambda: plain.act("get_collection", **TENANT), "missing: name"),
        (lambda: put({**write, "body": {"on_conflict": "error"}}, records("a")), "has no body"),
        (lambda: put(write, only_ids), "a column 'embedding'"),
        (exchange, "goes with each batch"),
    ):
        with pytest.raises(fl.FlightServerError) as error:
            ask()
        status, message = said(error)
        assert status in (400, 422)
        assert word in message
    assert plain.act("count", **path) == 0


@pytest.mark.parametrize(
    "command",
    [
        b"",
        b"x",
        b"[]",
        b'{"operation": 1}',
        b'{"operation": "get", "path": {"tenant": 1}}',
        b'{"operation": "reset"}',
    ],
)
def test_what_is_no_command_is_refused(plain: Plain, command: bytes) -> None:
    for ask in (
        lambda: plain.client.do_get(fl.Ticket(command), plain.options).read_all(),
        lambda: list(plain.client.do_action(fl.Action("count", command), plain.options)),
        lambda: list(plain.client.do_action(fl.Action("no such thing", b"{}"), plain.options)),
    ):
        with pytest.raises(fl.FlightServerError) as error:
            ask()
        assert said(error)[0] in (400, 422)


def test_errors_are_those_of_http(plain: Plain, server: ArrowFlight) -> None:
    with pytest.raises(fl.FlightServerError) as error:
        plain.act("get_collection", name="nobody", **TENANT)
    assert said(error) == (404, "Collection [nobody] does not exist")
    with (
        chroma_nb.connect(server.url) as client,
        pytest.raises(
            chroma_nb.errors.NotFoundError, match=r"Collection \[nobody\] does not exist"
        ),
    ):
        client.get_collection("nobody")


def test_an_error_with_many_ids_fits_its_headers() -> None:
    from chroma_nb.errors import StoreCorruptError
    from chroma_nb.wire.errors import error_to_json
    from chroma_nb.wire.flight import error_from_flight, flight_error
    from chroma_nb.wire.text import dumps

    status, body = error_to_json(
        StoreCorruptError("x" * 1_500, ids=[f"id-{n}" for n in range(9_000)])
    )
    error = flight_error(status, dumps(body))
    assert len(error.extra_info) + len(str(error)) < 8_000
    found = error_from_flight(error)
    assert found is not None
    assert isinstance(found[1], StoreCorruptError)
    assert found[1].ids[:2] == ["id-0", "id-1"]


# -- limits ---------------------------------------------------------------------------------------


def test_too_many_and_too_large_are_refused() -> None:
    with served(server_max_batch_size=3, server_max_body="100 KB") as server:
        plain = Plain(server.url)
        path = plain.notes()
        for batches, word in (
            ([records("a", "b"), records("c", "d")], "server_max_batch_size"),
            ([records("a", document=["x" * 200_000])], "server_max_body"),
        ):
            with pytest.raises(fl.FlightServerError) as error:
                plain.put("add", path, *batches)
            status, message = said(error)
            assert status == 413
            assert word in message
        assert plain.act("count", **path) == 0
        plain.client.close()


def test_a_write_that_comes_slowly_is_ended() -> None:
    """Also where nothing comes but empty batches, which have no end."""
    with served(server_body_timeout_seconds=0.2) as server:
        plain = Plain(server.url)
        path = plain.notes()
        descriptor = fl.FlightDescriptor.for_command(
            json.dumps({"operation": "upsert", "path": path}).encode()
        )
        for part in (records(), records("a")):
            writer, _ = plain.client.do_put(descriptor, part.schema, plain.options)
            with contextlib.suppress(pa.ArrowException):
                for _ in range(6_000):
                    writer.write_batch(part)
                    time.sleep(0.01)
            with pytest.raises(fl.FlightServerError) as error:
                writer.close()
            status, message = said(error)
            assert status == 408
            assert "server_body_timeout_seconds" in message
        assert plain.act("count", **path) == 0
        plain.client.close()


def test_a_stream_that_is_refused_before_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a busy machine, where the server is quicker than the thread that opens the stream."""
    usual = FlightConnection.client.fget
    assert usual is not None
    with served(server_max_streams=2) as server:
        refused = threading.Event()
        service = server._listener._calls._service
        note = service.note

        class Slow:
            def __init__(self, client: Any) -> None:
                self._client = client

            def __getattr__(self, name: str) -> Any:
                return getattr(self._client, name)

            def do_exchange(self, *given: Any) -> Any:
                both = self._client.do_exchange(*given)
                assert refused.wait(60)
                return both

        def noted(name: str, *given: Any, **more: Any) -> None:
            note(name, *given, **more)
            if name == "flight_stream":
                refused.set()

        monkeypatch.setattr(service, "note", noted)
        plain = Plain(server.url)
        writer, _ = plain.client.do_exchange(fl.FlightDescriptor.for_command(b"{}"), plain.options)
        writer.begin(QUESTION)
        with chroma_nb.connect(server.url) as client:
            notes = client.create_collection("notes", embedding_function=None)
            notes.add(ids=["a"], embeddings=[[0.0, 1.0]], documents=["x"])
            monkeypatch.setattr(FlightConnection, "client", property(lambda it: Slow(usual(it))))
            assert notes.get(ids=["a"])["documents"] == ["x"]
        assert refused.is_set()
        writer.close()


def test_without_a_stream_queries_are_answered_all_the_same() -> None:
    with served(server_max_streams=2) as server:
        plain = Plain(server.url)
        writer, _ = plain.client.do_exchange(fl.FlightDescriptor.for_command(b"{}"), plain.options)
        writer.begin(QUESTION)
        with chroma_nb.connect(server.url) as client:
            notes = client.create_collection("notes", embedding_function=None)
            notes.add(ids=["a", "b"], embeddings=[[0.0, 1.0], [2.0, 3.0]], documents=["x", "y"])
            found = notes.query(query_embeddings=[[2.0, 3.0]], n_results=1)
            assert found["ids"] == [["b"]]
            assert notes.get(ids=["a"])["documents"] == ["x"]
        writer.close()
        plain.client.close()


def test_threads_have_streams_of_their_own(server: ArrowFlight) -> None:
    with chroma_nb.connect(server.url) as client:
        notes = client.create_collection("notes", embedding_function=None)
        vectors = np.eye(8, dtype=np.float32)
        notes.add(ids=[str(n) for n in range(8)], embeddings=vectors)
        wrong: list[Any] = []

        def ask(n: int) -> None:
            for _ in range(20):
                found = notes.query(query_embeddings=vectors[n : n + 1], n_results=1)["ids"]
                if found != [[str(n)]]:
                    wrong.append(found)

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong


def test_the_async_face_asks_many_things_at_once(server: ArrowFlight) -> None:
    vectors = np.random.default_rng(1).standard_normal((60, 8)).astype(np.float32)
    ids = [str(n) for n in range(60)]

    async def work() -> None:
        async with chroma_nb.AsyncClientAPI(chroma_nb.connect(server.url)) as client:
            notes = await client.create_collection("notes", embedding_function=None)
            await asyncio.gather(
                *(notes.add(ids=[one], embeddings=vectors[int(one)]) for one in ids)
            )
            asked = (notes.query(query_embeddings=one, n_results=1) for one in vectors)
            found = await asyncio.gather(*asked, notes.get(include=[]), notes.count())
            assert [one["ids"] for one in found[:60]] == [[[one]] for one in ids]
            assert sorted(found[60]["ids"]) == sorted(ids)
            assert found[61] == 60
            with pytest.raises(ChromaError, match="dimension"):
                await notes.query(query_embeddings=[1.0])

    asyncio.run(work())


def test_a_stream_goes_on_after_an_error(server: ArrowFlight) -> None:
    with chroma_nb.connect(server.url) as client:
        notes = client.create_collection("notes", embedding_function=None)
        notes.add(ids=["a"], embeddings=[[1.0, 2.0]])
        for _ in range(3):
            with pytest.raises(ChromaError, match="dimension"):
                notes.query(query_embeddings=[[1.0]], n_results=1)
            assert notes.query(query_embeddings=[[1.0, 2.0]], n_results=1)["ids"] == [["a"]]


# -- who may --------------------------------------------------------------------------------------


def test_tokens_and_tenants_count_as_over_http(tmp_path: Path) -> None:
    path = str(tmp_path / "auth.json")
    file = AuthFile(path)
    ours = file.add_token("ours", ["acme"])
    theirs = file.add_token("theirs", ["other"])
    with served(server_auth_file=path) as server:
        with pytest.raises(chroma_nb.errors.AuthorizationError):
            chroma_nb.connect(server.url)
        stranger = Plain(server.url, "chroma_wrong")
        with pytest.raises(fl.FlightUnauthenticatedError):
            stranger.act("count_collections", **TENANT)
        with pytest.raises(fl.FlightUnauthenticatedError):
            stranger.put("add", {**TENANT, "collection_id": "x"}, records("a"))
        with chroma_nb.connect(server.url, token=ours) as client:
            notes = client.create_collection("notes", embedding_function=None)
            notes.add(ids=["a"], embeddings=[[1.0, 2.0]])
            foreign = {
                "tenant": "acme",
                "database": "default_database",
                "collection_id": str(notes.id),
            }
            plain = Plain(server.url, theirs)
            for ask in (
                lambda: plain.get(foreign),
                lambda: plain.act("count", **foreign),
                lambda: plain.put("add", foreign, records("b")),
            ):
                with pytest.raises(fl.FlightUnauthorizedError):
                    ask()
            # A token that is taken away counts no more, also on a stream that is open.
            assert notes.get()["ids"] == ["a"]
            file.remove("ours")
            with pytest.raises(chroma_nb.errors.AuthorizationError):
                notes.get()
            plain.client.close()
        stranger.client.close()


def test_nothing_of_a_stranger_is_looked_at(tmp_path: Path) -> None:
    path = str(tmp_path / "auth.json")
    AuthFile(path).add_token("ours", ["acme"])
    with served(server_auth_file=path, server_max_streams=2) as server:
        stranger = Plain(server.url, "chroma_wrong")
        nonsense = b"[" * 1_000_000
        descriptor = fl.FlightDescriptor.for_command(b"{}")

        def exchange() -> None:
            writer, reader = stranger.client.do_exchange(descriptor, stranger.options)
            with contextlib.closing(writer):
                writer.begin(QUESTION)
                reader.read_chunk()

        for ask in (
            lambda: list(stranger.client.do_action(fl.Action("count", nonsense), stranger.options)),
            lambda: stranger.client.do_get(fl.Ticket(nonsense), stranger.options).read_all(),
            exchange,
            exchange,
            exchange,
        ):
            with pytest.raises(fl.FlightUnauthenticatedError):
                ask()
        assert stranger.act("heartbeat")
        with pytest.raises(fl.FlightServerError, match="no arguments"):
            stranger.act("heartbeat", "x" * 5_000)
        stranger.client.close()


def test_a_command_beyond_the_limit_is_not_parsed() -> None:
    with served(server_max_body="10 KB") as server:
        plain = Plain(server.url)
        with pytest.raises(fl.FlightServerError) as error:
            plain.act("count", "x" * 20_000, **TENANT)
        assert said(error)[0] == 413
        plain.client.close()


# -- TLS ------------------------------------------------------------------------------------------


def test_tls_and_a_wrong_name(tmp_path: Path) -> None:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    for name in ("localhost", "elsewhere.example"):
        issued = authority.issue_cert(name)
        chain, key = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
        chain.write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())
        with served(server_tls_certificate=str(chain), server_tls_key=str(key)) as server:
            url = server.url.replace("127.0.0.1", "localhost")
            assert url.startswith("grpc+tls://")
            if name == "localhost":
                with chroma_nb.connect(url, tls_verify=str(tmp_path / "ca.pem")) as client:
                    assert client.heartbeat() > 0
            else:
                with pytest.raises(ServerUnavailableError):
                    chroma_nb.connect(url, tls_verify=str(tmp_path / "ca.pem"))


# -- the end --------------------------------------------------------------------------------------


def test_a_stop_does_not_wait_for_idle_streams(server: ArrowFlight) -> None:
    client = chroma_nb.connect(server.url)
    notes = client.create_collection("notes", embedding_function=None)
    assert notes.get()["ids"] == []
    server.stop()
    with pytest.raises(ServerUnavailableError):
        notes.get()
    client.close()


def test_a_closed_client_asks_nothing(server: ArrowFlight) -> None:
    client = chroma_nb.connect(server.url)
    notes = client.create_collection("notes", embedding_function=None)
    client.close()
    with pytest.raises(ChromaError, match="closed"):
        notes.count()


ENDING = """
import os, sys
import chroma_nb
client = chroma_nb.connect(sys.argv[1])
notes = client.get_or_create_collection("notes", embedding_function=None)
notes.upsert(ids=["a"], embeddings=[[1.0, 2.0]])
assert notes.get()["ids"] == ["a"]
if sys.argv[2] == "fork":
    child = os.fork()
    if not child:
        try:
            notes.get()
        except chroma_nb.errors.InternalError as error:
            assert "spawn" in str(error), error
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert notes.get()["ids"] == ["a"]
"""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("how", ["end", "fork"])
def test_a_process_ends_although_its_client_is_open(server: ArrowFlight, how: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", ENDING, server.url, how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_client_that_is_dropped_is_closed(server: ArrowFlight) -> None:
    client = chroma_nb.connect(server.url)
    notes = client.create_collection("notes", embedding_function=None)
    assert notes.get()["ids"] == []
    opened = client.api._flight._open
    del client, notes
    gc.collect()
    # The worker that has answered may have it a moment longer.
    wait_until(lambda: opened.is_closed and opened.client is None)


@pytest.mark.parametrize(
    ("chosen", "word"),
    [
        ({"proxy": "http://proxy:3128"}, "proxy"),
        ({"max_answer": "much"}, "max_answer"),
        ({"tls_verify": "/no/such/file"}, "tls_verify"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(chosen: Any, word: str) -> None:
    with pytest.raises(chroma_nb.errors.InvalidArgumentError, match=word):
        chroma_nb.connect("grpc+tls://localhost:1", settings=Settings(**chosen))


def test_an_address_has_a_port_and_no_path() -> None:
    with pytest.raises(ServerUnavailableError, match=r"at grpc://127\.0\.0\.1:8815: "):
        chroma_nb.connect("grpc://127.0.0.1", settings=Settings(retries=0))
    with pytest.raises(chroma_nb.errors.InvalidArgumentError, match="ends with its port"):
        chroma_nb.connect("grpc://127.0.0.1:1/vectors")


def test_without_pyarrow_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['pyarrow'] = None; import chroma_nb; chroma_nb.connect('grpc://x:1')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'needs pyarrow, which is not installed: pip install "chroma-nb[flight]"' in done.stderr


def test_nobody_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        ServerUnavailableError, match=r"Could not connect to a chroma_nb server at grpc://"
    ):
        chroma_nb.connect("grpc://127.0.0.1:1", settings=Settings(retries=0))
    # gRPC does not say why.
    with pytest.raises(ServerUnavailableError, match="does not trust the server's certificate"):
        chroma_nb.connect("grpc+tls://127.0.0.1:1", settings=Settings(retries=0))


@pytest.mark.skipif(
    int(pa.__version__.split(".")[0]) < 15, reason="pyarrow 14 imports it, whatever is asked of it"
)
def test_neither_end_imports_pandas() -> None:
    """Its import takes long, and memory."""
    code = """
import sys
import chroma_nb
from chroma_nb.server import ArrowFlight

settings = chroma_nb.Settings(server_port=0, progress=False)
with chroma_nb.EphemeralClient(settings) as local:
    with ArrowFlight(local.api, settings, release=lambda: None) as server:
        with chroma_nb.connect(server.start()) as client:
            notes = client.create_collection("notes", embedding_function=None)
            notes.add(
                ids=["a", "b"], embeddings=[[1.0, 2.0], [3.0, 4.0]], documents=["x", None], metadatas=[{"n": 1}, None]
            )
            notes.query(query_embeddings=[[1.0, 2.0]], include=["embeddings", "distances"])
            notes.get(include=["embeddings", "documents"])
            assert [batch.num_rows for batch in notes.to_arrow(batches=True)] == [2]
print("pandas" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
