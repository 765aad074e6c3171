"""Batches as nobody should send them. After each the server answers others, and has written what it acknowledged."""

from __future__ import annotations

import ctypes
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as chosen
from hypothesis import strategies as st

fl = pytest.importorskip("pyarrow.flight")
import pyarrow as pa  # noqa: E402

from chroma_nb.wire.flight import QUESTION  # noqa: E402
from tests.server.flight_clients import (  # noqa: E402
    MB,
    Place,
    records,
    refusal,
)
from tests.support.waiting import wait_until  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable


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
    wait_until(lambda: pa.total_allocated_bytes() < before + 10 * MB)
    assert place.server._listener._calls._bodies._batches == 0
