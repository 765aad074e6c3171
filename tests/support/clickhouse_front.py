"""A front over chDB that speaks ClickHouse's HTTP interface, so that several processes share one engine in a test.

It is not ClickHouse's server: it has no users, no TLS, no limits and no replicas. What it runs is ClickHouse's engine and
its SQL, asked by the unmodified client. ``python -m tests.support.clickhouse_front FOLDER PORT`` prints a line when it
listens.
"""

from __future__ import annotations

import itertools
import re
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

#: Parameters of a request that are no settings of a query.
_NOT_SETTINGS = frozenset(
    (
        "query",
        "database",
        "wait_end_of_query",
        "query_id",
        "session_id",
        "client_protocol_version",
        "send_progress_in_http_headers",
        "http_headers_progress_interval_ms",
        "cancel_http_readonly_queries_on_client_close",
        "enable_http_compression",
        "compress",
        "default_format",
    )
)
#: A handle of chDB has one query at a time.
_HANDLES = 4
_INSERT = re.compile(r"\s*INSERT INTO (\S+) \((.*)\) FORMAT (\w+)\s*$", re.DOTALL)


class Engine:
    """chDB over one folder: a few handles for each database."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._handles: dict[str, Any] = {}
        self.handle("default")

    def handle(self, database: str) -> Any:
        import clickhouse_connect

        with self._lock:
            if database not in self._handles:
                handles = [
                    clickhouse_connect.get_client(
                        interface="chdb", path=self._folder, database=database
                    )
                    for _ in range(_HANDLES)
                ]
                self._handles[database] = itertools.cycle(handles)
            return next(self._handles[database])

    def answer(self, asked: dict[str, str], body: bytes) -> bytes:
        from clickhouse_connect.driver.exceptions import DatabaseError

        settings = {name: value for name, value in asked.items() if name not in _NOT_SETTINGS}
        query = asked.get("query", "")
        if "readonly" in settings:
            return self._only_read(
                asked.get("database", "default"), query + body.decode(), settings
            )
        handle = self.handle(asked.get("database", "default"))
        insert = _INSERT.match(query)
        if insert is None and not query:
            head, found, rest = body.partition(b" FORMAT Arrow\n")
            if found and head.lstrip().startswith(b"INSERT"):
                insert, body = _INSERT.match(head.decode() + " FORMAT Arrow"), rest
        if insert is not None:
            columns = re.findall(r"`([^`]*)`", insert[2])
            handle.raw_insert(insert[1], columns, body, settings=settings, fmt=insert[3])
            return b""
        # Set once: chDB takes 8 ms to set them for one query and to take them back. All clients of a test send the same.
        for name, value in settings.items():
            if handle.get_client_setting(name) != value:
                handle.set_client_setting(name, value)
        try:
            # As a server that is given a query in both places does.
            return handle.raw_query(query + body.decode())
        except DatabaseError:
            # What it had answered before it failed, chDB would put before the next answer.
            handle.raw_query("SELECT 1")
            raise

    def _only_read(self, database: str, query: str, settings: dict[str, str]) -> bytes:
        """Answer with a handle of its own: where `readonly` is set, nothing can be set back. So that comes last."""
        import clickhouse_connect

        last = {"readonly": settings["readonly"]}
        chosen = {name: value for name, value in settings.items() if name not in last} | last
        handle = clickhouse_connect.get_client(
            interface="chdb", path=self._folder, database=database, settings=chosen
        )
        try:
            return handle.raw_query(query)
        finally:
            handle.close()


class Handler(BaseHTTPRequestHandler):
    """One request: a query, and perhaps data."""

    protocol_version = "HTTP/1.1"
    # One piece for each answer.
    wbufsize = -1
    engine: ClassVar[Engine]

    def setup(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().setup()

    def do_POST(self) -> None:
        from clickhouse_connect.driver._backend.httpcommon import decompress_response
        from clickhouse_connect.driver.exceptions import DatabaseError

        asked = {
            name: values[-1]
            for name, values in parse_qs(urlsplit(self.path).query, keep_blank_values=True).items()
        }
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b"".join(iter(self._chunk, b""))
        body = decompress_response(body, self.headers.get("Content-Encoding"))
        try:
            self._send(200, self.engine.answer(asked, body))
        except DatabaseError as error:
            self._send(500, str(error).encode(), {"X-ClickHouse-Exception-Code": str(error.code)})

    do_GET = do_POST

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline(), 16)
        data = self.rfile.read(size)
        self.rfile.readline()
        return data

    def _send(self, status: int, body: bytes, more: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Length": str(len(body)),
            "X-ClickHouse-Timezone": "UTC",
            **(more or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_: Any) -> None:
        """Write no log."""


class Server(ThreadingHTTPServer):
    """A thread for each connection."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def main(folder: str, port: str) -> None:
    Handler.engine = Engine(folder)
    server = Server(("127.0.0.1", int(port)), Handler)
    print("listening", server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
