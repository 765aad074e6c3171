"""Where tests of the ClickHouse store have it: in this process, or in the server that `CHROMA_NB_TEST_CLICKHOUSE_URL` names."""

from __future__ import annotations

import atexit
import hashlib
import importlib.util
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from chroma_nb.settings import real_path

if TYPE_CHECKING:
    from pathlib import Path

    from chroma_nb.settings import Settings

#: A server, without a database: each store of a test gets one of its own, which is deleted at the end.
URL = os.environ.get("CHROMA_NB_TEST_CLICKHOUSE_URL", "").rstrip("/")
_NEEDED = ("clickhouse_connect", "pyarrow", *(() if URL else ("chdb",)))
HAS_CLICKHOUSE = all(importlib.util.find_spec(name) for name in _NEEDED)
NO_CLICKHOUSE = f'needs {", ".join(_NEEDED)}: pip install "chroma-nb[clickhouse]"'

_databases: set[str] = set()
#: What `keep_open` holds.
_held: list[Any] = []


class Front:
    """ClickHouse's engine in a process of its own, which several processes share (`clickhouse_front`)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        command = [
            *(sys.executable, "-m", "tests.support.clickhouse_front"),
            *(str(self._folder), str(self._port)),
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline().startswith("listening")

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def at_clickhouse(settings: Settings) -> Settings:
    """Return these settings with the store in ClickHouse; equal paths are equal stores."""
    if not URL:
        if _held and _held[0].folder != real_path(settings.path):
            let_go()
        return settings.replace(db="clickhouse", path=settings.path)
    name = "chroma_nb_test_" + hashlib.sha256(settings.path.encode()).hexdigest()[:20]
    if name not in _databases:
        _ask(f"CREATE DATABASE IF NOT EXISTS {name}")
        _databases.add(name)
    return settings.replace(db="clickhouse", clickhouse_url=f"{URL}/{name}")


def keep_open(settings: Settings) -> None:
    """Keep a store of this process open between tests, until a test wants another one.

    Each time that chDB is opened and closed it leaves some threads and open files.
    """
    if not URL and not _held:
        from chroma_nb.db.clickhouse.connection import Connection

        _held.append(Connection(at_clickhouse(settings)))


def let_go() -> None:
    """Close what is kept open."""
    while _held:
        _held.pop().close()


def _ask(statement: str) -> None:
    import clickhouse_connect

    client = clickhouse_connect.get_client(dsn=URL)
    try:
        client.command(statement)
    finally:
        client.close()


def _drop_all() -> None:
    for name in _databases:
        _ask(f"DROP DATABASE IF EXISTS {name}")


atexit.register(_drop_all)
atexit.register(let_go)
