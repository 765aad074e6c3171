"""What a hostile client of Arrow Flight can try. After each the server answers others, and has written what it acknowledged."""

from __future__ import annotations

import contextlib
import ctypes
import json
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as chosen
from hypothesis import strategies as st

fl = pytest.importorskip("pyarrow.flight")
import pyarrow as pa  # noqa: E402

from chroma_nb.server.auth_file import AuthFile  # noqa: E402
from chroma_nb.wire.flight import QUESTION  # noqa: E402
from tests.server.test_flight_calls import TENANT, Plain, records, said, served  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chroma_nb.server import ArrowFlight

MB = 1_000_000
#: Calls that one client may have open: half of `server_max_streams`.
MOST_OPEN = 8


class Place:
    """A server with two tenants, and clients of one and of a stranger."""

    def __init__(self, server: ArrowFlight, tokens: dict[str, str]) -> None:
        self.server = server
        self.plain = Plain(server.url, tokens["alice"])
        self.bob = Plain(server.url, tokens["bob"])
        self.stranger = Plain(server.url, "chroma_wrong")
        self.calls = server._calls._open_calls._shares
        self.streams = server._calls._streams
        self.path = self.new()

    def new(self) -> dict[str, str]:
        """Make a collection with one record, and return its path."""
        made = self.plain.act("create_collection", {"name": "notes", "get_or_create": True}, **ACME)
        path = {**ACME, "collection_id": made["id"]}
        self.plain.put("upsert", path, records("kept"))
        return path

    def command(self, operation: str = "add") -> bytes:
        return json.dumps({"operation": operation, "path": self.path}).encode()

    def put(self, who: Plain | None = None, **options: Any) -> tuple[Any, Any]:
        """Begin to write, and return both ends."""
        who = who or self.plain
        descriptor = fl.FlightDescriptor.for_command(self.command())
        schema = options.pop("schema", records("a").schema)
        return who.client.do_put(descriptor, schema, with_options(who, **options))  # type: ignore[no-any-return]

    def exchange(self, batch: Any, command: bytes, schema: Any = None) -> Any:
        """Ask one thing on a stream of its own, and return the answer's metadata."""
        writer, reader = self.plain.client.do_exchange(
            fl.FlightDescriptor.for_command(b"{}"), self.plain.options
        )
        try:
            writer.begin(QUESTION if schema is None else schema)
            if batch is None:
                writer.write_metadata(command)
            else:
                writer.write_with_metadata(batch, command)
            return json.loads(reader.read_chunk().app_metadata.to_pybytes())
        finally:
            with contextlib.suppress(Exception):
                writer.close()


ACME = {**TENANT, "tenant": "acme"}


def with_options(who: Plain, **options: Any) -> Any:
    headers = [(b"authorization", f"Bearer {who.token}".encode())]
    return fl.FlightCallOptions(headers=headers, **{"timeout": 60, **options})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    file = AuthFile(str(tmp_path_factory.mktemp("flight") / "auth.json"))
    tokens = {"alice": file.add_token("alice", ["acme"]), "bob": file.add_token("bob", ["bolt"])}
    with served(
        server_auth_file=file.path,
        server_max_body="2 MB",
        server_max_streams=2 * MOST_OPEN,
    ) as server:
        place = Place(server, tokens)
        yield place
        for one in (place.plain, place.bob, place.stranger):
            one.client.close()


@pytest.fixture
def place(whole: Place) -> Iterator[Place]:
    yield whole
    # No thread is left, and nothing was written.
    for calls in (whole.calls, whole.streams):
        wait_for(lambda calls=calls: calls.n_free == 2 * MOST_OPEN)  # type: ignore[misc]
    assert whole.plain.get(whole.path)["id"].to_pylist() == ["kept"]
    whole.plain.put("upsert", whole.path, records("kept"))


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def refusal(ask: Callable[[], Any]) -> tuple[int, str]:
    """Return status and message of a refusal, which says nothing of the server's insides."""
    with pytest.raises(pa.ArrowException) as error:
        ask()
    assert "Traceback" not in str(error.value)
    assert ".py" not in str(error.value)
    return said(error)


# -- commands and tickets -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ask",
    [
        lambda who: who.client.get_flight_info(fl.FlightDescriptor.for_command(b"{}"), who.options),
        lambda who: who.client.get_schema(fl.FlightDescriptor.for_command(b"{}"), who.options),
        lambda who: who.client.authenticate_basic_token(b"alice", b"guess"),
        lambda who: list(who.client.do_action(fl.Action("reset", b"{}"), who.options)),
        lambda who: list(who.client.do_action(fl.Action("x" * 5_000, b"{}"), who.options)),
    ],
)
def test_calls_that_are_not_there_tell_nothing_of_the_server(place: Place, ask: Any) -> None:
    for who in (place.plain, place.stranger):
        # pyarrow raises an OSError for what is said of schemas.
        with pytest.raises((pa.ArrowException, OSError)) as error:
            ask(who)
        for word in ("Traceback", ".py", "site-packages"):
            assert word not in str(error.value)


def test_tickets_of_others_and_of_other_operations(place: Place) -> None:
    ours = {"operation": "get", "path": place.path}
    in_bolt = {"operation": "get", "path": {**place.path, "tenant": "bolt"}}

    def get(who: Plain, ticket: Any) -> Any:
        raw = ticket if isinstance(ticket, bytes) else json.dumps(ticket).encode()
        return who.client.do_get(fl.Ticket(raw), who.options).read_all()

    # A ticket is no secret, and gives no right: whoever shows it has to be allowed what it names.
    assert get(place.plain, ours).num_rows == 1
    assert refusal(lambda: get(place.bob, ours))[0] == 403
    assert refusal(lambda: get(place.stranger, ours))[0] == 401
    assert refusal(lambda: get(place.bob, in_bolt))[0] == 404
    for ticket in (
        *({**ours, "operation": one} for one in ("delete", "add", "reset", "count", "")),
        {**ours, "path": {}},
        {**ours, "path": {**place.path, "collection_id": "../x"}},
        {**ours, "body": [1]},
        {**ours, "operation": "query", "body": "x"},
        {**ours, "body": {"where": {"$and": []}}},
        *(b"[" * MB, b'{"a":' * 90_000, b"\xff\xfe", b"\0" * 1_000, b"{}" * 1_000, b""),
        b'{"operation":"get","path":{"tenant":"\\ud800"}}',
    ):
        assert refusal(lambda ticket=ticket: get(place.plain, ticket))[0] in (  # type: ignore[misc]
            *(400, 403, 404, 422),
        )
    assert refusal(lambda: get(place.plain, b" " * 3 * MB))[0] == 413


# -- batches --------------------------------------------------------------------------------------

KINDS = [
    *(pa.null(), pa.bool_(), pa.int8(), pa.uint64(), pa.float16(), pa.float64(), pa.string()),
    *(pa.large_string(), pa.binary(), pa.date32(), pa.timestamp("us"), pa.decimal128(5, 2)),
    *(pa.list_(pa.float32()), pa.list_(pa.float32(), 2), pa.large_list(pa.string())),
    *(pa.list_(pa.list_(pa.float32())), pa.struct([("a", pa.int32())])),
    *(pa.map_(pa.string(), pa.int32()), pa.dictionary(pa.int32(), pa.string())),
]
NAMES = ["id", "embedding", "document", "uri", "metadata", "query", "", "x"]


def nulls(kind: Any, n: int) -> Any:
    return pa.nulls(n, kind)


@st.composite
def batches(draw: Any) -> Any:
    """Columns of any types, some with nulls, names that may come twice; the ids may be right."""
    n = draw(st.integers(0, 3))
    columns, names = [], []
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(KINDS))
        names.append(draw(st.sampled_from(NAMES)))
        texts = draw(st.lists(st.sampled_from(["a", "{}", "[1]", None]), min_size=n, max_size=n))
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            columns.append(pa.array(texts, kind))
        elif kind == pa.dictionary(pa.int32(), pa.string()):
            columns.append(pa.array(texts, pa.string()).dictionary_encode())
        elif kind == pa.list_(pa.float32()):
            rows = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
            columns.append(pa.array([[1.0] * one for one in rows], kind))
        else:
            columns.append(nulls(kind, n))
    if draw(st.booleans()):
        names.append("id")
        columns.append(pa.array([f"h{row}" for row in range(n)], pa.string()))
    return pa.RecordBatch.from_arrays(columns, names=names)


@chosen(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(batch=batches())
def test_batches_of_any_schema(place: Place, batch: Any) -> None:
    path = place.path
    status = status_of(lambda: place.plain.put("add", path, batch))
    assert status in (200, 400, 422)
    if status != 200:
        assert place.plain.act("count", **path) == 1, "nothing of what was refused"
    else:
        place.plain.act(
            "delete",
            {"ids": [*(f"h{row}" for row in range(3)), "a", "{}", "[1]"]},
            **path,
        )
    query = json.dumps({"operation": "query", "path": path, "body": {"n_results": 1}}).encode()
    assert place.exchange(batch, query, batch.schema)["status"] in (200, 400, 422)


def status_of(ask: Callable[[], Any]) -> int:
    """Return the status of an answer, 200 where it is no refusal."""
    try:
        ask()
    except fl.FlightServerError as error:
        return int(json.loads(error.extra_info)["status"])
    return 200


def damaged_texts() -> Any:
    """A batch that was right, with an offset that leads out of it."""
    batch = records("one", "two")
    offsets = batch.column(0).buffers()[1]
    ctypes.cast(offsets.address, ctypes.POINTER(ctypes.c_int32))[1] = 1 << 29
    return batch


def damaged_lists() -> Any:
    vectors = pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32()))
    ctypes.cast(vectors.buffers()[1].address, ctypes.POINTER(ctypes.c_int32))[1] = 1 << 29
    return pa.RecordBatch.from_arrays([vectors], schema=QUESTION)


def test_offsets_that_lead_out_of_a_batch(place: Place) -> None:
    """Arrow does not look at them, and would read what else is in memory."""
    status, message = refusal(lambda: place.plain.put("add", place.path, damaged_texts()))
    assert status == 400
    assert "offset" in message.lower()
    answer = place.exchange(damaged_lists(), place.command("query"))
    assert answer["status"] == 400
    assert "offset" in answer["message"].lower()


def test_texts_and_names_that_are_not_utf8(place: Place) -> None:
    odd = pa.array([b"\xff\xfe"]).view(pa.string())
    for batch in (
        pa.RecordBatch.from_arrays([odd], names=["id"]),
        pa.RecordBatch.from_arrays([pa.array(["a"]), odd], names=["id", "document"]),
        pa.RecordBatch.from_arrays(
            [pa.array(["a"])], schema=pa.schema([pa.field(b"\xff", pa.string())])
        ),
    ):
        assert refusal(lambda batch=batch: place.plain.put("add", place.path, batch))[0] == 400  # type: ignore[misc]


def test_a_stream_of_queries_without_the_column(place: Place) -> None:
    for names in (["x"], ["embedding", "embedding"], ["embedding", "x"]):
        batch = pa.RecordBatch.from_arrays([pa.array([[1.0]])] * len(names), names=names)
        answer = place.exchange(batch, place.command("query"), batch.schema)
        assert answer["status"] == 400
        assert "one column 'embedding'" in answer["message"]


def test_nothing_and_many_small_ones(place: Place) -> None:
    assert place.plain.put("upsert", place.path, records()) == {"status": 200}
    assert (
        refusal(
            lambda: place.plain.put(
                "add", place.path, pa.RecordBatch.from_arrays([], schema=pa.schema([]))
            )
        )[0]
        == 400
    )
    tiny = [records(str(number)) for number in range(500)]
    assert place.plain.put("add", place.path, *tiny) == {"status": 200}
    assert place.plain.act("count", **place.path) == 501
    place.plain.act("delete", {"ids": [str(number) for number in range(500)]}, **place.path)


# -- sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_a_batch_that_unpacks_to_a_large_one_is_refused(place: Place, codec: str) -> None:
    """pyarrow unpacks it before anybody can look at it; what it took is given back."""
    if not pa.Codec.is_available(codec):
        pytest.skip(f"this pyarrow has no {codec}")
    bomb = records("a", document=["\0" * 100 * MB])
    before = pa.total_allocated_bytes()
    for _ in range(3):
        writer, reader = place.put(
            schema=bomb.schema, write_options=pa.ipc.IpcWriteOptions(compression=codec)
        )
        writer.write_batch(bomb)
        writer.done_writing()
        assert reader.read() is None
        # The error comes here.
        status, message = refusal(writer.close)
        assert status == 413
        assert "server_max_body" in message
    wait_for(lambda: pa.total_allocated_bytes() < before + 10 * MB)
    assert place.server._calls._received == 0


# -- calls that do not end ------------------------------------------------------------------------


def test_a_write_whose_client_gives_up_writes_nothing(place: Place) -> None:
    """To the server such a stream ends as one that is whole."""
    for _ in range(10):
        writer, reader = place.put(timeout=0.1)
        writer.write_batch(records("half"))
        assert reader.read() is None
        with pytest.raises(pa.ArrowException):
            writer.close()


DYING = """
import os, sys
import pyarrow.flight as fl
from tests.server.test_flight_calls import Plain, records
plain = Plain(sys.argv[1], sys.argv[2])
descriptor = fl.FlightDescriptor.for_command(sys.argv[3].encode())
writer, reader = plain.client.do_put(descriptor, records("a").schema, plain.options)
writer.write_batch(records("half"))
print("sent", flush=True)
sys.stdin.read()
"""


def test_a_write_whose_client_dies_writes_nothing(place: Place) -> None:
    command = [
        *(sys.executable, "-c", DYING, place.server.url, place.plain.token),
        place.command().decode(),
    ]
    calls = place.server._calls
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "sent\n"
        wait_for(lambda: calls._received > 0)
        process.kill()


def opened(place: Place, who: Plain, kind: str) -> list[Any]:
    """Open as many calls as the server takes, and send nothing; return what ends them."""
    open_ones: list[Any] = []
    for _ in range(3 * MOST_OPEN):
        try:
            if kind == "put":
                open_ones.append(place.put(who))
            else:
                descriptor = fl.FlightDescriptor.for_command(b"{}")
                open_ones.append(who.client.do_exchange(descriptor, who.options))
        except pa.ArrowException:
            break
    return open_ones


def end(open_ones: list[Any]) -> None:
    for writer, reader in open_ones:
        with contextlib.suppress(Exception):
            reader.cancel()
        with contextlib.suppress(Exception):
            writer.close()


@pytest.mark.parametrize("kind", ["put", "exchange"])
def test_silent_calls_take_few_threads(place: Place, kind: str) -> None:
    """Neither a stranger's, which get none, nor those of somebody who may write, who gets half of what there are."""
    process = psutil.Process()
    for who, most in ((place.stranger, 0), (place.plain, MOST_OPEN)):
        before = process.num_threads()
        open_ones = opened(place, who, kind)
        try:
            if most:
                # A stream of queries that has begun has a count of its own.
                count = place.calls if kind == "put" else place.streams
                wait_for(lambda count=count: count.held("alice") == MOST_OPEN)  # type: ignore[misc]
            # gRPC has a few of its own.
            allowed = before + most + 8
            wait_for(lambda allowed=allowed: process.num_threads() <= allowed)  # type: ignore[misc]
            # Another client finds room, and this one is told why it does not.
            assert (
                refusal(
                    lambda: place.bob.put("add", {**place.path, "tenant": "bolt"}, records("a"))
                )[0]
                == 404
            )
            assert place.plain.act("count", **place.path) == 1
            if most and kind == "put":
                status, message = refusal(lambda: place.plain.put("add", place.path, records("a")))
                assert status == 503
                assert "server_max_streams" in message
        finally:
            end(open_ones)


def test_answers_that_nobody_takes_are_counted(place: Place) -> None:
    made = place.plain.act("create_collection", {"name": "long"}, **ACME)
    path = {**ACME, "collection_id": made["id"]}
    for number in range(6):
        # More than gRPC keeps on its way.
        place.plain.put("add", path, records(str(number), document=["x" * (3 * MB // 2)]))
    action = fl.Action("get", json.dumps({"path": path}).encode())
    waiting = [place.plain.client.do_action(action, place.plain.options) for _ in range(MOST_OPEN)]
    wait_for(lambda: place.calls.held("alice") == MOST_OPEN)
    status, message = refusal(
        lambda: next(place.plain.client.do_action(action, place.plain.options))
    )
    assert status == 503
    assert "server_max_streams" in message
    assert place.plain.act("count", **path) == 6
    for one in waiting:
        assert len(next(one).body.to_pybytes()) > MB
        assert list(one) == []
    wait_for(lambda: not place.calls.held("alice"))
    place.plain.act("delete_collection", name="long", **ACME)


def test_many_clients_at_once(place: Place) -> None:
    codes: list[int] = []

    def ask(number: int) -> None:
        who = (place.plain, place.bob, place.stranger)[number % 3]
        try:
            codes.append(who.act("count", **place.path))
        except pa.ArrowException as error:
            codes.append(json.loads(error.extra_info)["status"])  # type: ignore[attr-defined]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(90)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(codes) == 90
    assert set(codes) <= {1, 401, 403, 503}
