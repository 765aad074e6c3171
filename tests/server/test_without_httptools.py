"""A server where httptools is not installed, as on Windows: what docs/server.md says of its limits there."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from benchmarks.servers import Running, running, start_ours

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEAD = b"GET /api/v2/heartbeat HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder: Path = tmp_path_factory.mktemp("h11")
    (folder / "httptools.py").write_text("raise ImportError('not installed')\n")
    with running(start_ours(folder, PYTHONPATH=str(folder))) as server:
        yield server


def test_a_head_that_does_not_end_is_refused_at_16_kb(server: Running) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as wire:
        wire.sendall(HEAD + b"a: " + b"x" * 20_000)
        assert wire.recv(1_000).startswith(b"HTTP/1.1 400")


def test_headers_and_requests_ahead_are_not_counted(server: Running) -> None:
    headers = b"".join(b"a%d: x\r\n" % number for number in range(200))
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as wire:
        wire.sendall(HEAD + headers + b"\r\n" + 50 * (HEAD + b"\r\n"))
        answers = b""
        while answers.count(b"HTTP/1.1 200") < 51:
            part = wire.recv(65_536)
            assert part, answers
            answers += part
