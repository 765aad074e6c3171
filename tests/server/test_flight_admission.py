"""Calls of Arrow Flight that do not end by themselves are counted, and what they have not finished is not written."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from typing import Any

import psutil
import pytest

fl = pytest.importorskip("pyarrow.flight")
import pyarrow as pa  # noqa: E402

from tests.server.flight_clients import (  # noqa: E402
    ACME,
    MB,
    MOST_OPEN,
    Place,
    Plain,
    records,
    refusal,
)
from tests.support.waiting import wait_until  # noqa: E402


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
from tests.server.flight_clients import Plain, records
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
    calls = place.server._listener._calls
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "sent\n"
        wait_until(lambda: calls._bodies._batches > 0)
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
    """A call without valid credentials is refused before it takes a thread. A client who may write has at most half of
    `server_max_streams` calls open.
    """
    process = psutil.Process()
    for who, most in ((place.stranger, 0), (place.plain, MOST_OPEN)):
        before = process.num_threads()
        open_ones = opened(place, who, kind)
        try:
            if most:
                # A stream of queries that has begun has a count of its own.
                count = place.calls if kind == "put" else place.streams
                wait_until(lambda count=count: count.held("alice") == MOST_OPEN)  # type: ignore[misc]
            # gRPC has a few of its own.
            allowed = before + most + 8
            wait_until(lambda allowed=allowed: process.num_threads() <= allowed)  # type: ignore[misc]
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


OPENING = """
import contextlib, sys
import pyarrow as pa
import pyarrow.flight as fl
from chroma_nb.wire.flight import QUESTION
from tests.server.flight_clients import Plain
plain = Plain(sys.argv[1], sys.argv[2])
descriptor = fl.FlightDescriptor.for_command(b"{}")
streams = []
for _ in range(2_000):
    # Some are refused at once, others when they are read.
    with contextlib.suppress(pa.ArrowException):
        streams.append(plain.client.do_exchange(descriptor, plain.options))
        streams[-1][0].begin(QUESTION)
print("opened", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("who", ["plain", "stranger"])
def test_two_thousand_streams_take_few_threads(place: Place, who: str) -> None:
    process = psutil.Process()
    before = process.num_threads()
    most = MOST_OPEN if who == "plain" else 0
    command = [sys.executable, "-c", OPENING, place.server.url, getattr(place, who).token]
    # pyarrow says of each refused stream that it could not be closed.
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as opening:
        assert opening.stdout is not None
        assert opening.stdout.readline() == "opened\n"
        wait_until(lambda: place.streams.held("alice") == most)
        wait_until(lambda: process.num_threads() <= before + most + 8)
        assert place.plain.act("count", **place.path) == 1
        opening.kill()
    # Its slots are given back, so streams are opened again.
    wait_until(lambda: not place.streams.held("alice") and not place.calls.held("alice"))
    assert place.exchange(None, place.command("get"))["status"] == 200


def test_answers_that_nobody_takes_are_counted(place: Place) -> None:
    made = place.plain.act("create_collection", {"name": "long"}, **ACME)
    path = {**ACME, "collection_id": made["id"]}
    for number in range(6):
        # More than gRPC keeps on its way.
        place.plain.put("add", path, records(str(number), document=["x" * (3 * MB // 2)]))
    # Of a write, too, the slot is given back when its call has ended, which is after its answer.
    wait_until(lambda: not place.calls.held("alice"))
    action = fl.Action("get", json.dumps({"path": path}).encode())
    waiting = [place.plain.client.do_action(action, place.plain.options) for _ in range(MOST_OPEN)]
    wait_until(lambda: place.calls.held("alice") == MOST_OPEN)
    status, message = refusal(
        lambda: next(place.plain.client.do_action(action, place.plain.options))
    )
    assert status == 503
    assert "server_max_streams" in message
    assert place.plain.act("count", **path) == 6
    for one in waiting:
        assert len(next(one).body.to_pybytes()) > MB
        assert list(one) == []
    wait_until(lambda: not place.calls.held("alice"))
    place.plain.act("delete_collection", name="long", **ACME)
