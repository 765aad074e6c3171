"""Real servers in processes of their own: chroma_nb's and Chroma's."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HAS_CHROMA = importlib.util.find_spec("chromadb") is not None
NO_CHROMA = 'chromadb is not installed: pip install "chroma-nb[differential]"'
_START_SECONDS = 60


@dataclass
class Running:
    """A server that answers."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    #: Or `grpc`.
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait(30)

    def stop(self) -> int:
        """Tell it to end, and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def start_ours(
    folder: Path, *arguments: str, port: int = 0, under: tuple[str, ...] = (), **environment: str
) -> Running:
    """Start ``chroma-nb run``; its log is in `folder`. `under` is a command to run it by."""
    log = folder / "chroma-nb.log"
    command = [*under, sys.executable, "-m", "chroma_nb", "run", "--port", str(port), *arguments]
    with log.open("ab") as errors:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "CHROMA_NB_OFFLINE": "1", **environment},
        )
    assert process.stdout is not None
    line = _first_line(process.stdout)
    found = re.search(r"(http|grpc)\S*?://\S+?:(\d+) ", line)
    if found is None:
        process.kill()
        raise AssertionError(f"chroma-nb run did not start: {line!r}\n{log.read_text()[-2_000:]}")
    return Running(process, int(found[2]), log, found[1])


def _first_line(output: IO[bytes]) -> str:
    """Return the first line that a program says, or nothing after a while."""
    # Not `select.select`, which takes no file beyond the 1,024th.
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        return output.readline().decode() if selector.select(_START_SECONDS) else ""


def start_chromas(folder: Path, port: int = 0) -> Running:
    """Start ``chroma run``, which may be reset; its data and its log are in `folder`."""
    port = port or free_port()
    settings = folder / "chroma.yaml"
    settings.write_text(
        f'port: {port}\nlisten_address: "127.0.0.1"\npersist_path: "{folder}/chroma"\nallow_reset: true\n'
    )
    beside = os.path.dirname(sys.executable)
    command = shutil.which("chroma", path=f"{beside}:{os.environ['PATH']}")
    assert command is not None, NO_CHROMA
    log = folder / "chroma.log"
    with log.open("ab") as output:
        process = subprocess.Popen([command, "run", str(settings)], stdout=output, stderr=output)
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return Running(process, port, log)
        except OSError:
            if time.monotonic() > deadline or process.poll() is not None:
                process.kill()
                raise AssertionError(log.read_text()[-2_000:]) from None
            time.sleep(0.05)


def start_clickhouse(folder: Path, port: int = 0) -> Running:
    """Start the engine of ClickHouse behind the tests' own front, which speaks ClickHouse's HTTP interface."""
    log = folder / "clickhouse.log"
    command = [
        sys.executable,
        "-m",
        "tests.support.clickhouse_front",
        str(folder / "engine"),
        str(port),
    ]
    with log.open("ab") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
    assert process.stdout is not None
    line = _first_line(process.stdout)
    if not line.startswith("listening"):
        process.kill()
        raise AssertionError(f"ClickHouse did not start: {line!r}\n{log.read_text()[-2_000:]}")
    return Running(process, int(line.split()[1]), log)


@contextlib.contextmanager
def running(server: Running) -> Iterator[Running]:
    """End a server when it is not needed any more."""
    try:
        yield server
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.process.terminate()
            server.process.wait(10)
        server.process.kill()
        server.process.wait(30)
        if server.process.stdout is not None:
            server.process.stdout.close()
