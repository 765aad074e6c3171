"""Plain clients of Arrow Flight, and servers for them."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.flight as fl
import pytest

import chroma_nb
from chroma_nb import Settings
from chroma_nb.server import ArrowFlight
from chroma_nb.wire.flight import COMMIT, QUESTION
from tests.stores import private_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Paths of requests for a database.
TENANT = {"tenant": "default_tenant", "database": "default_database"}
ACME = {**TENANT, "tenant": "acme"}
MB = 1_000_000
#: Calls that one client may have open: half of `server_max_streams`.
MOST_OPEN = 8


@contextlib.contextmanager
def served(**chosen: Any) -> Iterator[ArrowFlight]:
    """A server over a store in memory, which is empty."""
    with chroma_nb.EphemeralClient(private_settings(allow_reset=True, progress=False)) as client:
        settings = Settings(server_port=0, **chosen)
        server = ArrowFlight(client.api, settings, release=lambda: None)
        server.start()
        try:
            yield server
        finally:
            server.stop()


class Plain:
    """A plain Flight client."""

    def __init__(self, url: str, token: str = "", **options: Any) -> None:
        self.client = fl.FlightClient(url, **options)
        self.token = token
        headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
        self.options = fl.FlightCallOptions(headers=headers, timeout=60)

    def act(self, name: str, /, body: Any = None, **path: str) -> Any:
        command = {"path": path, **({} if body is None else {"body": body})}
        action = fl.Action(name, json.dumps(command).encode())
        (result,) = self.client.do_action(action, self.options)
        return json.loads(result.body.to_pybytes())

    def put(self, operation: str, path: dict[str, str], *batches: Any) -> Any:
        command = json.dumps({"operation": operation, "path": path}).encode()
        descriptor = fl.FlightDescriptor.for_command(command)
        writer, reader = self.client.do_put(descriptor, batches[0].schema, self.options)
        try:
            for batch in batches:
                writer.write_batch(batch)
            writer.write_metadata(COMMIT)
            writer.done_writing()
            return json.loads(reader.read().to_pybytes())
        finally:
            writer.close()

    def get(self, path: dict[str, str], **body: Any) -> Any:
        ticket = fl.Ticket(json.dumps({"operation": "get", "path": path, "body": body}).encode())
        return self.client.do_get(ticket, self.options).read_all()

    def notes(self) -> dict[str, str]:
        """Make a collection; return the path of its requests."""
        made = self.act("create_collection", {"name": "notes", "get_or_create": True}, **TENANT)
        return {**TENANT, "collection_id": made["id"]}


def records(*ids: str | None, dimension: int = 2, **columns: Any) -> Any:
    vectors = np.arange(len(ids) * dimension, dtype=np.float32)
    embedding = pa.FixedSizeListArray.from_arrays(pa.array(vectors), dimension)
    return pa.RecordBatch.from_pydict(
        {"id": pa.array(ids, pa.string()), "embedding": embedding, **columns}
    )


def said(error: Any) -> tuple[int, str]:
    body = json.loads(error.value.extra_info)
    return body["status"], body["message"]


class Place:
    """A server with two tenants, and clients of one and of a stranger."""

    def __init__(self, server: ArrowFlight, tokens: dict[str, str]) -> None:
        self.server = server
        self.plain = Plain(server.url, tokens["alice"])
        self.bob = Plain(server.url, tokens["bob"])
        self.stranger = Plain(server.url, "chroma_wrong")
        self.calls = server._listener._calls._open_calls._shares
        self.streams = server._listener._calls._streams
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


def with_options(who: Plain, **options: Any) -> Any:
    headers = [(b"authorization", f"Bearer {who.token}".encode())]
    return fl.FlightCallOptions(headers=headers, **{"timeout": 60, **options})


def refusal(ask: Callable[[], Any]) -> tuple[int, str]:
    """Return status and message of a refusal, which says nothing of the server's insides."""
    with pytest.raises(pa.ArrowException) as error:
        ask()
    assert "Traceback" not in str(error.value)
    assert ".py" not in str(error.value)
    return said(error)
