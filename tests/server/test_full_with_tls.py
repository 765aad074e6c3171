"""A server with TLS whose connections are all at work: what docs/server.md says of a further one."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

import pytest

import chroma_nb
from tests.server.conftest import PLACE
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path


def test_a_further_connection_is_closed_without_an_answer(tmp_path: Path) -> None:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    own = authority.issue_cert("localhost")
    own.private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    settings = chroma_nb.Settings(
        server_port=0,
        server_max_connections=1,
        server_tls_certificate=str(tmp_path / "own.pem"),
    )
    with (
        chroma_nb.EphemeralClient(chroma_nb.Settings(progress=False)) as store,
        chroma_nb.server.FastAPI(store.api, settings) as server,
    ):
        port = int(server.start().rpartition(":")[2])
        docs = store.create_collection("docs", embedding_function=None)
        body = b'{"ids": ["a"], "embeddings": [[1.0]]}'
        slots = server._service._slots
        n_free = slots.n_free
        with (
            socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as busy,
        ):
            # Somebody writes for as long as this test likes, so the request stays at work.
            with store.api.segments._slots.get(docs.id).write_lock:  # type: ignore[attr-defined]
                busy.sendall(
                    f"POST {PLACE}/collections/{docs.id}/add HTTP/1.1\r\nHost: localhost\r\n"
                    f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                    + body
                )
                wait_until(lambda: slots.n_free != n_free)
                with socket.create_connection(("127.0.0.1", port), timeout=20) as further:
                    assert further.recv(1_000) == b""
            assert busy.recv(1_000).startswith(b"HTTP/1.1 201")
