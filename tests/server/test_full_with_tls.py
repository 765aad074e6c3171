"""A server with TLS whose connections are all at work: what docs/server.md says of a further one."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

import pytest

from benchmarks.servers import running, start_ours
from tests.server.conftest import PLACE

if TYPE_CHECKING:
    from pathlib import Path


def test_a_further_connection_is_closed_without_an_answer(tmp_path: Path) -> None:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    own = authority.issue_cert("localhost")
    own.private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    arguments = ("--tls-certificate", str(tmp_path / "own.pem"))
    with (
        running(start_ours(tmp_path, *arguments, CHROMA_NB_SERVER_MAX_CONNECTIONS="1")) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as busy,
    ):
        busy.sendall(
            f"POST {PLACE}/collections HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            "Content-Length: 16\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        assert busy.recv(1_000).startswith(b"HTTP/1.1 100"), "it is at work"
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as further:
            assert further.recv(1_000) == b""
        busy.sendall(b'{"name": "docs"}')
        assert busy.recv(1_000).startswith(b"HTTP/1.1 200")
