from __future__ import annotations

import gzip
import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from chroma_nb.embedding import known_embedding_functions

ROOT = Path(__file__).parents[3]
SHARED = ROOT.parent / "shared"


@pytest.fixture(autouse=True)
def _table_as_before() -> Iterator[None]:
    """Take out of the table what a test has registered."""
    before = dict(known_embedding_functions._registered)
    yield
    known_embedding_functions._registered = before


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, and none of our variables: no model is on this machine."""
    folder = tmp_path / "home"
    folder.mkdir()
    for variable in [name for name in os.environ if name.startswith("CHROMA_NB_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    return folder


@pytest.fixture(scope="session")
def minilm_folder() -> Path:
    """The real MiniLM: named by CHROMA_NB_MINILM_PATH, or beside the repository."""
    named = os.environ.get("CHROMA_NB_MINILM_PATH")
    folder = Path(named) if named else SHARED / "models" / "all-MiniLM-L6-v2" / "onnx"
    if not (folder / "model.onnx").is_file():
        pytest.skip(f"MiniLM is not in {folder}; name its folder in CHROMA_NB_MINILM_PATH")
    return folder


@pytest.fixture(scope="session")
def glosses() -> list[str]:
    """Definitions of WordNet, each `word: definition`."""
    path = SHARED / "data" / "wordnet-50k.jsonl.gz"
    if not path.is_file():
        pytest.skip("the WordNet sample is not beside the repository")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line)["document"] for line in file]


class Service:
    """A real HTTP server. Each request gets the next reply, the last one again and again."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.replies: list[tuple[int, dict[str, str], Any]] = []
        self.requests: list[tuple[str, dict[str, str], Any]] = []

    def reply(self, body: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> None:
        """Add a reply: bytes, something for JSON, or a function of the request's JSON."""
        self.replies.append((status, headers or {}, body))

    def answer(self, path: str, headers: dict[str, str], payload: Any) -> tuple[int, Any, bytes]:
        self.requests.append((path, headers, payload))
        index = min(len(self.requests), len(self.replies)) - 1
        status, reply_headers, body = self.replies[index]
        if isinstance(body, Callable):  # type: ignore[arg-type]
            body = body(payload)
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        return status, reply_headers, body


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    class Handler(BaseHTTPRequestHandler):
        def _respond(self, payload: Any) -> None:
            headers = {k.lower(): v for k, v in self.headers.items()}
            status, extra, body = current.answer(self.path, headers, payload)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in extra.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self._respond(None)

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            self._respond(json.loads(self.rfile.read(length)))

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    current = Service(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield current
    server.shutdown()
    server.server_close()
    thread.join()
