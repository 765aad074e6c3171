"""Open stores: one for each place, shared by its clients, who count themselves in and out; the last one closes it."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import queue
import sys
import threading
import warnings
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from chroma_nb import forked
from chroma_nb.api_names import LOCAL_API
from chroma_nb.callers import level_outside
from chroma_nb.errors import InternalError, InvalidArgumentError, NotSupportedError
from chroma_nb.implementations import API_IMPLEMENTATIONS, DB_IMPLEMENTATIONS, load_implementation
from chroma_nb.importing import importing
from chroma_nb.shielded import shielded
from chroma_nb.webassembly import IS_WEBASSEMBLY

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from chroma_nb.api.base import API
    from chroma_nb.db.base import DB
    from chroma_nb.settings import Settings

logger = logging.getLogger("chroma_nb")
#: How long closing everything waits for a store that another thread is closing.
_PATIENCE_SECONDS = 60.0
#: How long the last store waits for the thread that closes dropped clients, which has nothing to do by then.
_CLOSER_SECONDS = 5.0

_lock = threading.RLock()


@dataclass
class Store:
    """One open place: an API, and the DB under it where the API needs one. Clients count themselves in and out.

    It belongs to the process that has opened it, and a forked child has stores of its own.
    """

    key: Hashable
    settings: Settings
    api: API
    db: DB | None
    clients: int = field(default=0)
    pid: int = field(default_factory=os.getpid)
    #: Its last client has gone: it takes no more, and says when its place is free.
    is_closing: bool = False
    closing_thread: int | None = None
    closed: threading.Event = field(default_factory=threading.Event)

    @property
    def outlives_clients(self) -> bool:
        """Does it stay when its last client is forgotten? In memory alone, as with Chroma."""
        return self.db is not None and not self.db.persists


_stores: dict[Hashable, Store] = {}
#: Places whose stores are being opened at the moment.
_opening: set[Hashable] = set()
#: In a forked child: place -> the process that had it open, or was opening it, when it was forked.
_left_to: dict[Hashable, int] = {}
#: Stores of clients that were dropped without being closed, for `_count_out_dropped`. None wakes it, to end where it is
#: not needed any more.
_dropped: queue.SimpleQueue[Store | None] = queue.SimpleQueue()
_closer: threading.Thread | None = None
#: Settings of the store, which its first client decides.
_STORE_SETTINGS = (
    "allow_reset",
    "clickhouse_staleness_seconds",
    "compact_ratio",
    "db",
    "duckdb_memory_limit",
    "fsync",
    "graph_min_records",
    "idle_unload_seconds",
    "index_engine",
    "max_batch_size",
    "max_filter_conditions",
    "max_filter_depth",
    "max_filter_values",
    "max_pattern_length",
    "max_pattern_work",
    "memory_budget",
    "temp_path",
    "threads",
)


def open_store(settings: Settings) -> Store:
    """Return the open store of these settings, opening it where needed.

    One folder is one store in a process, whatever else the settings say; in memory and at a server, equal
    settings are.
    """
    key = _key(settings)

    def find_or_open() -> Store:
        while True:
            with _lock:
                store = _stores.get(key)
                if store is not None and _has_lost_its_place(store):
                    # Somebody has deleted the folder, as notebooks do to start afresh.
                    del _stores[key]
                    store.api.abandon()
                    store = None
                if store is None:
                    _opening.add(key)
                    try:
                        store = _stores[key] = _open(key, settings)
                    finally:
                        _opening.discard(key)
                if not store.is_closing:
                    return store
            if store.closing_thread == threading.get_ident():
                raise InternalError(
                    f"The store {settings.place!r} was opened in the middle of being closed by the same thread: by a "
                    "finalizer or a handler of log messages. Have it opened later, or by another thread."
                )
            store.closed.wait()

    # The store may be closing, and wait for what an interrupted cell of this thread has left locked.
    _release_stale()
    # A folder that is locked and belongs to no store could not be opened any more.
    return shielded(find_or_open) if _api_class(settings).needs_db else find_or_open()


def _api_class(settings: Settings) -> Any:
    """Return the class of `API` that the settings choose.

    Raises:
        NotSupportedError: It keeps a store in this process, and Python runs in a browser.
    """
    if IS_WEBASSEMBLY and settings.api == LOCAL_API:
        raise NotSupportedError(
            "Python in a browser (Pyodide, JupyterLite) cannot keep a store: it has no threads, and psutil and the "
            "engines of graphs have no build for it. Ask a server: chroma_nb.connect('https://...'); see \"JupyterLite\" in "
            "docs/notebook.md."
        )
    return load_implementation("api", settings.api, API_IMPLEMENTATIONS)


def _db_class(settings: Settings) -> Any:
    """Return the class of `DB` that the settings choose."""
    name = settings.db
    if name == "auto":
        name = "persistent_duckdb" if settings.is_persistent else "duckdb"
    return load_implementation("db", name, DB_IMPLEMENTATIONS)


def _key(settings: Settings) -> Hashable:
    """Return what is equal for settings that share a store: the folder that it is in, else all of them.

    Raises:
        InvalidArgumentError: The records are to be kept, by a database that does not keep them.
    """
    if not _api_class(settings).needs_db:
        return settings.key()
    db_class = _db_class(settings)
    persists = db_class.persists
    if settings.is_persistent and not persists:
        raise InvalidArgumentError(
            f"The store in {settings.path!r} is to keep its records, and the database db={settings.db!r} does not. Leave "
            "one of them out."
        )
    return ("path", db_class.place(settings)) if persists else settings.key()


def _has_lost_its_place(store: Store) -> bool:
    return store.db is not None and not store.is_closing and not store.db.is_there()


def _open(key: Hashable, settings: Settings) -> Store:
    api_class = _api_class(settings)
    if not api_class.needs_db:
        return Store(key, settings, api_class.open(settings), None)
    with importing():
        # The first figure of the process's memory needs it, in whatever thread that is.
        import psutil  # noqa: F401

        from chroma_nb.index import check_engine, load_engine
        from chroma_nb.segment.manager import SegmentManager

    check_engine(settings.index_engine)
    engine = partial(load_engine, settings.index_engine)
    try:
        db = _db_class(settings)(settings)
    except InternalError as error:
        if key in _left_to and _is_open_here(error):
            raise _left_to_parent(settings.place, _left_to[key]) from error
        raise
    try:
        api = api_class(db, SegmentManager(db, engine, settings), settings)
    except BaseException:
        db.close()
        raise
    return Store(key, settings, api, db)


def _is_open_here(error: InternalError) -> bool:
    import duckdb

    return isinstance(error.__cause__, duckdb.ConnectionException)


def _left_to_parent(place: str, parent: int) -> InternalError:
    """Return the error for a store that the parent has closed since, and of which this child has a copy."""
    return InternalError(
        f"The store in {place!r} cannot be opened in this process (pid {os.getpid()}): it was forked while pid {parent} "
        "had the store open, and its copy of the open database can be neither used nor closed. Open the store in a "
        "process that is started anew: multiprocessing.get_context('spawn'). Nothing is damaged."
    )


def open_and_acquire(settings: Settings) -> Store:
    """Return the open store of these settings, with a client counted in."""
    while True:
        store = open_store(settings)
        with _lock:
            # Its last client may have gone just now.
            if not store.is_closing:
                store.clients += 1
                return store


def connect(settings: Settings, keep: Callable[[Store], None]) -> None:
    """Open the store of these settings, count a client in, and hand the store to `keep`.

    In one step: an interrupt in between would leave a store that is open and has nobody to close it.
    """

    def work() -> None:
        store = open_and_acquire(settings)
        keep(store)
        if not store.outlives_clients:
            _start_closer()

    _release_stale()
    if _api_class(settings).needs_db:
        shielded(work)
        _warn_of_other_settings(settings)
    else:
        work()


def _warn_of_other_settings(settings: Settings) -> None:
    """Say which settings of a client have no effect, as its store was opened with others."""
    store = _stores.get(_key(settings))
    if store is None:
        return
    others = [
        f"{name}={settings.shown(name)!r} (it is {store.settings.shown(name)!r})"
        for name in _STORE_SETTINGS
        if settings.gives(name) and getattr(settings, name) != getattr(store.settings, name)
    ]
    if others:
        place = settings.place if settings.clickhouse_url else settings.path
        warnings.warn(
            f"The store in {place!r} is open in this process, and stays as its first client has opened it; "
            f"without effect is {', '.join(others)}. Close its other clients first (client.close()), or restart the "
            "kernel.",
            UserWarning,
            stacklevel=level_outside(),
        )


def release(store: Store, let_go: Callable[[], bool] = lambda: True) -> None:
    """Count a client out; the last one closes the store.

    Args:
        store: The store.
        let_go: Called in the same step, which no interrupt parts: have the client forget the store, and
            say whether it still had it.
    """
    if store.pid != os.getpid():
        # Its locks are as the parent's threads had them.
        let_go()
        return

    def count_out() -> None:
        with _lock:
            if not let_go():
                return
            store.clients -= 1
            if store.clients > 0 or store.is_closing:
                return
            store.is_closing = True
        _close(store)

    _release_stale()
    # A store that is half closed would keep its folder locked.
    shielded(count_out)


def _release_stale() -> None:
    """Give back what an interrupted cell has left locked: another thread may be about to close its store."""
    locks = sys.modules.get("chroma_nb.segment.locks")
    if locks is not None:
        locks.release_stale()


def dropping() -> Callable[[Store], None]:
    """Return a function that counts a dropped client out; its argument is the client's store.

    Python calls it wherever it frees the client: also in the middle of another operation of that thread, which
    holds locks. So it only puts the store into a queue, and a thread of its own does the rest. It is a built-in
    method, since an interrupt can come in the middle of a Python function.
    """
    return _dropped.put


def _start_closer() -> None:
    """Have a thread that counts dropped clients out. It cannot be started where they are dropped."""
    global _closer
    with _lock:
        if _closer is None:
            thread = threading.Thread(
                target=_count_out_dropped, args=(_dropped,), name="chroma_nb closer", daemon=True
            )
            # Where the machine has no thread left, the next client tries again.
            with contextlib.suppress(RuntimeError):
                thread.start()
                _closer = thread


def _count_out_dropped(dropped: queue.SimpleQueue[Store | None]) -> None:
    """Count dropped clients out, as long as there is a store that one may drop."""
    global _closer
    while True:
        store = dropped.get()
        try:
            if store is not None:
                release(store)
        except Exception as error:
            # Nobody has closed the client, so there is nobody to raise it to.
            logger.warning("A store that nobody uses any more was not closed in order: %s", error)
        # This thread must not keep the store alive.
        del store
        with _lock:
            if dropped.empty() and all(one.outlives_clients for one in _stores.values()):
                _closer = None
                return


def _close(store: Store) -> None:
    """Close a store that is marked as closing, with no lock held: its threads may need one to end."""
    store.closing_thread = threading.get_ident()
    try:
        store.api.close()
    finally:
        with _lock:
            if _stores.get(store.key) is store:
                del _stores[store.key]
            closer = None if any(not one.outlives_clients for one in _stores.values()) else _closer
        store.closed.set()
        if closer is not None and closer is not threading.current_thread():
            # The last store leaves no thread.
            _dropped.put(None)
            closer.join(_CLOSER_SECONDS)


def close_all() -> None:
    """Close every store of this process, whoever uses it."""

    def work() -> None:
        with _lock:
            stores = list(_stores.values())
            mine = [one for one in stores if not one.is_closing]
            for store in mine:
                store.is_closing = True
        for store in mine:
            with contextlib.suppress(Exception):
                _close(store)
        for store in stores:
            store.closed.wait(_PATIENCE_SECONDS)

    _release_stale()
    shielded(work)


def _begin_in_child() -> None:
    """In a forked child: leave the stores to the parent."""
    global _lock, _closer, _dropped
    _lock, _closer, _dropped = threading.RLock(), None, queue.SimpleQueue()
    for key in (*_stores, *_opening):
        # A child of a child has the copy of its parent's parent, too.
        _left_to.setdefault(key, os.getppid())
    _opening.clear()
    forked.keep_for_ever(*_stores.values())
    _stores.clear()


forked.call_in_child(_begin_in_child)
# Graphs that were built are saved, files and locks released, when the kernel ends in an orderly way.
atexit.register(close_all)
