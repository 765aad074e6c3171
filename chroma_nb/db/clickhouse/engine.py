"""`Engine`: the ClickHouse of this process (chDB), which all stores of this process in one folder share.

chDB has one engine in a process, and one folder in an engine. A second process that opened the same folder would damage
it, so the folder is locked first (`StoreLock`).
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from clickhouse_connect.driver.exceptions import ClickHouseError

from chroma_nb import forked
from chroma_nb.db.clickhouse.errors import CLIENT_ERRORS
from chroma_nb.db.own_file import NotOurFileError
from chroma_nb.db.store_lock import StoreLock
from chroma_nb.errors import InternalError, InvalidArgumentError
from chroma_nb.importing import importing, missing_package
from chroma_nb.system_errors import way_out

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

#: The names in a store's folder.
LOCK, DATA, INDEXES = "lock", "clickhouse", "indexes"
#: What operating systems put into any folder, beside names that begin with a dot.
_SYSTEM_FILES = frozenset(("lost+found", "Thumbs.db", "desktop.ini"))

#: How often `Engine.count_write` is called for one insert.
INSERT_COUNTS = 2

_lock = threading.RLock()
#: The open engine; chDB has no more than one.
_engine: Engine | None = None
#: The process in which chDB was started first: one that was forked since cannot use it.
_started_in = 0


class Engine:
    """An open folder; `open_engine` and `release` count who uses it."""

    def __init__(self, path: str, given: str, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.n_users = 0
        #: Counted up before and after each statement that changes something: of any table, and by table. Nobody else can
        #: change anything, so where both are as they were before a look, the look still holds.
        self._n_of_any = 0
        self._n_by_table: dict[str, int] = {}
        self.pid = os.getpid()
        self._asking = threading.Lock()
        self._lock = _locked_folder(path, given)
        try:
            self.client = _open_client(path, settings)
        except BaseException:
            self._lock.release()
            raise

    def count_write(self, table: str | None) -> None:
        """Count a change up: of one table, or of any."""
        with _lock:
            if table is None:
                self._n_of_any += 1
                # Counts of tables that were deleted are not kept. What was counted with the old number is not equal any more.
                self._n_by_table.clear()
            else:
                self._n_by_table[table] = self._n_by_table.get(table, 0) + 1

    def n_writes(self, table: str) -> tuple[int, int]:
        """Return numbers of which each change of a table replaces one."""
        with _lock:
            return self._n_of_any, self._n_by_table.get(table, 0)

    def ask(self, work: Callable[[], T]) -> T:
        """Do some work with the client, while no other thread does any.

        What a query had answered before it failed, chDB puts before its next answer. So that one is thrown away.
        """
        with self._asking:
            try:
                return work()
            except CLIENT_ERRORS:
                with contextlib.suppress(*CLIENT_ERRORS):
                    self.client.query_arrow("SELECT 1")
                raise

    def is_there(self) -> bool:
        """Say whether the folder that was opened is still there."""
        return self._lock.is_there()

    def close(self) -> None:
        """Close the database, and give the folder back."""
        try:
            self.client.close()
        finally:
            self._lock.release()


def open_engine(path: str, given: str, settings: Mapping[str, Any]) -> Engine:
    """Return the engine over a folder, with one more user.

    Args:
        path: The folder, absolute, without links.
        given: As the user wrote it.
        settings: ClickHouse's settings of all queries.

    Raises:
        InternalError: Another folder is open in this process, or the process was forked.
        InvalidArgumentError: The folder holds something else.
        StoreLockedError: Another process has it open.
    """
    global _engine, _started_in
    with _lock:
        if _started_in not in (0, os.getpid()):
            raise InternalError(
                f"The store in {given!r} cannot be opened in this process (pid {os.getpid()}): it was forked after pid "
                f"{_started_in} had started ClickHouse, which does not survive that. Open the store in a process that is "
                "started anew: multiprocessing.get_context('spawn'). Nothing is damaged."
            )
        if _engine is not None and _engine.path != path:
            raise InternalError(
                f"The store in {given!r} cannot be opened while the one in {_engine.path!r} is: ClickHouse has one folder "
                "in a process (db='clickhouse'). Close the other one first (client.close()), use db='persistent_duckdb' "
                "for one of them, or a ClickHouse server (Settings.clickhouse_url)."
            )
        if _engine is None:
            _engine = Engine(path, given, settings)
            _started_in = os.getpid()
        _engine.n_users += 1
        return _engine


def release(engine: Engine) -> None:
    """Count a user out; the last one closes the engine."""
    global _engine
    with _lock:
        engine.n_users -= 1
        if engine.n_users > 0 or engine.pid != os.getpid():
            return
        try:
            engine.close()
        finally:
            if _engine is engine:
                _engine = None


def _open_client(path: str, settings: Mapping[str, Any]) -> Any:
    with importing():
        import clickhouse_connect

        try:
            import chdb  # noqa: F401
        except ModuleNotFoundError as error:
            raise missing_package(
                "db 'clickhouse' in this process", "chdb", "clickhouse"
            ) from error
    try:
        return clickhouse_connect.get_client(
            interface="chdb",
            path=os.path.join(path, DATA),
            settings=dict(settings),
            show_clickhouse_errors=True,
        )
    except ClickHouseError as error:
        raise InternalError(
            f"The store in {path!r} cannot be opened: {error}. Another part of this process may use chDB with another folder: "
            "it can have only one. Use a process of its own, or a ClickHouse server (Settings.clickhouse_url)."
        ) from error


def _locked_folder(path: str, given: str) -> StoreLock:
    try:
        if os.path.exists(path):
            _check_folder(path, given)
        for folder in (path, os.path.join(path, DATA), os.path.join(path, INDEXES)):
            os.makedirs(folder, exist_ok=True)
        return StoreLock(os.path.join(path, LOCK))
    except NotOurFileError as error:
        raise InvalidArgumentError(
            f"The folder {given!r} cannot be opened as a store: {error.strerror}. Move it away, or delete it, or give "
            "another folder; nothing was changed."
        ) from error
    except OSError as error:
        raise InternalError(
            f"The folder {given!r} cannot be written ({error.strerror}). {way_out(error)}, or give another folder."
        ) from error


def _check_folder(path: str, given: str) -> None:
    if not os.path.isdir(path):
        raise InvalidArgumentError(
            f"Path {given!r} is a file; a store is a folder. Give a folder, or a name that is free: it will be made."
        )
    found = set(os.listdir(path))
    if "records.duckdb" in found:
        raise InvalidArgumentError(
            f"The folder {given!r} holds a store of DuckDB, and db='clickhouse' keeps its records in ClickHouse. Leave db "
            "out to open it, or give another folder and copy: chroma_nb.Client(old).copy_to(new)."
        )
    foreign = sorted(
        name for name in found - {LOCK, DATA, INDEXES} - _SYSTEM_FILES if not name.startswith(".")
    )
    if foreign:
        raise InvalidArgumentError(
            f"The folder {given!r} is not empty and is no store of ClickHouse (it has {', '.join(foreign[:3])}). Give a "
            f"folder of its own, such as {os.path.join(given, 'chroma')!r}; nothing was changed."
        )
    for name in (DATA, INDEXES):
        if os.path.islink(os.path.join(path, name)):
            raise InvalidArgumentError(
                f"The folder {given!r} cannot be opened as a store: {name!r} in it is a link, and links are not followed "
                "there. Put the folder itself in its place (a link to the whole store is fine); nothing was changed."
            )


def _begin_in_child() -> None:
    """In a forked child: leave the engine to the parent."""
    global _lock, _engine
    _lock = threading.RLock()
    if _engine is not None:
        with contextlib.suppress(Exception):
            forked.keep_for_ever(_engine, _engine.client)
    _engine = None


forked.call_in_child(_begin_in_child)
