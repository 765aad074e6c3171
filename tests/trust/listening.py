"""`Listening`: an HTTP server on this machine that a test decides the answers of."""

from __future__ import annotations

import http.server
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Status, headers, body.
Answer = tuple[int, dict[str, str], bytes]


class Listening:
    """Keeps what it hears; a subclass says what it answers.

    Attributes:
        heard: Path, headers and body of each request.
        url: Where it is.
    """

    def __init__(self) -> None:
        self.heard: list[str] = []
        listening = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            #: An answer goes out in one piece: two would wait for each other (Nagle, delayed ACK).
            wbufsize = 1 << 20

            def do(self) -> None:
                asked = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                listening.heard.append(f"{self.path} {self.headers}{asked.decode()}")
                status, headers, body = listening.answer_to(self.command, self.path, asked)
                self.send_response(status)
                shown: Mapping[str, str] = {"Content-Length": str(len(body)), **headers}
                for header, value in shown.items():
                    self.send_header(header, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_DELETE = do

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer_to(self, method: str, path: str, asked: bytes) -> Answer:
        """Return what a request of this method is answered with."""
        return self.answer(path, asked)

    def answer(self, path: str, asked: bytes) -> Answer:
        """Return what a request is answered with."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
