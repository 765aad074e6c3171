"""For each line of a call: interrupt it there (Ctrl-C), and check the store afterwards.

Run: ``python -m tests.trust.interrupting FOLDER CALL N...`` (``all`` for every N). Prints one line of JSON for
each N: where the interrupt came (null: the call had ended before), and what was wrong.
"""

from __future__ import annotations

import gc
import json
import linecache
import shutil
import sys
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import chroma_nb
from chroma_nb.db.store_lock import StoreLock
from chroma_nb.errors import StoreLockedError
from tests.trust.every_system_call.scenario import SETTINGS, read, record
from tests.trust.every_system_call.walk import in_child

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGE = str(Path(chroma_nb.__file__).parent)
#: Call -> states in which a store of "notes" and "other" may be found after it.
CALLS: dict[str, list[list[str]]] = {
    "open": [["notes", "other"]],
    "close": [["notes", "other"]],
    "drop": [["notes", "other"]],
    "sql": [["notes", "other"]],
    "delete_collection": [["notes", "other"], ["notes"]],
    "delete_database": [["notes", "other"], []],
    "reset": [["notes", "other"], []],
}


def _is_with(frame: Any) -> bool:
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip()
    return line.startswith("with ")


def interrupted_at(n: int, act: Callable[[], object]) -> str | None:
    """Run `act` with a KeyboardInterrupt at the n-th line of the package; return where that is, None past the last."""
    left, where = n, None

    def trace_frame() -> Any:
        #: The lines of this frame whose `with` was entered and not yet left.
        entered: set[int] = set()

        def trace(frame: Any, event: str, argument: object) -> Any:
            nonlocal left, where
            if event != "line":
                return trace
            if _is_with(frame):
                # The line is traced once more when the block ends, before `__exit__` is called. No real interrupt can
                # come there, as Python does not check for signals between the two.
                if frame.f_lineno in entered:
                    entered.remove(frame.f_lineno)
                    return trace
                entered.add(frame.f_lineno)
            left -= 1
            if not left:
                where = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                raise KeyboardInterrupt
            return trace

        return trace

    def trace_call(frame: Any, event: str, argument: object) -> Any:
        # A generator that continues has a trace function already.
        is_ours = frame.f_code.co_filename.startswith(PACKAGE)
        return (frame.f_trace or trace_frame()) if is_ours else None

    # Held until tracing has ended: freeing a client is tested as a call of its own ("drop").
    held = None
    sys.settrace(trace_call)
    try:
        held = act()  # noqa: F841
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)
    return where


def interrupted_at_call(n: int, act: Callable[[], object]) -> bool:
    """Run `act` with a KeyboardInterrupt at the n-th place of the package where Python looks for signals; say whether it had one.

    These are the beginning of a function and the return from one that is written in C. (Python also looks where a loop
    goes back.) So unlike at any line, none comes between a statement that calls nothing and the `return` after it.
    """
    left = n

    def profile(frame: Any, event: str, argument: object) -> None:
        nonlocal left
        if event in ("call", "c_return") and frame.f_code.co_filename.startswith(PACKAGE):
            left -= 1
            if not left:
                sys.setprofile(None)
                raise KeyboardInterrupt

    sys.setprofile(profile)
    try:
        act()
    except KeyboardInterrupt:
        pass
    finally:
        sys.setprofile(None)
    return left <= 0


def open_store(path: Path) -> Any:
    return chroma_nb.PersistentClient(path, chroma_nb.Settings(**SETTINGS))


def write(client: Any, name: str, ids: list[str]) -> None:
    records = [record(token) for token in range(len(ids))]
    columns = {key: [one[key] for one in records] for key in records[0]}
    notes = client.get_or_create_collection(name, embedding_function=None)
    notes.upsert(ids=ids, **columns)


def make(path: Path) -> None:
    """Make the store that every case starts with: one collection with a graph, and one without."""
    with open_store(path) as client:
        for name, n in (("notes", 30), ("other", 10)):
            write(client, name, [f"{name}{i}" for i in range(n)])
        client.get_collection("notes", embedding_function=None).build_index()
        read(client)


def one_case(template: Path, store: Path, call: str, n: int, told: Path) -> None:
    """Interrupt one call, go on in this process, and close the store."""
    shutil.copytree(template, store)
    client = None if call == "open" else open_store(store)
    if client is not None:
        # Now "notes" is loaded, and differs from its saved files.
        write(client, "notes", ["one more"])
    calls: dict[str, Callable[[], object]] = {
        "open": lambda: open_store(store),
        "close": lambda: client.close(),
        "drop": lambda: clients.clear(),
        "sql": lambda: client.sql("SELECT id, document, embedding FROM notes ORDER BY id LIMIT 3"),
        "delete_collection": lambda: client.delete_collection("other"),
        "delete_database": lambda: chroma_nb.AdminClient(
            chroma_nb.Settings(path=str(store), **SETTINGS)
        ).delete_database("default_database"),
        "reset": lambda: client.reset(),
    }
    clients = [client]
    if call == "drop":
        client = None
    where = interrupted_at(n, calls[call])
    told.write_text(json.dumps(where))
    lock = str(store / "lock")
    if call == "close" and client._api is not None:
        # The interrupt came before closing began: nothing has changed.
        assert where is not None
        assert is_locked(lock)
        check(client, call, n_more=1)
        client.close()
    if call == "close":
        assert not is_locked(lock)
    if call in ("drop", "open"):
        # After an interrupt while opening there is no client to close. A store without a client is closed in the
        # background.
        assert is_let_go(lock)
    if call in ("close", "drop", "open"):
        client = open_store(store)
    if call == "delete_database":
        admin = chroma_nb.AdminClient(chroma_nb.Settings(path=str(store), **SETTINGS))
        if not admin.list_databases():
            admin.create_database("default_database")
        admin.close()
    check(client, call, n_more=int(call != "open"))
    write(client, "notes", ["after"])
    client.close()
    # No variable holds the interrupted AdminClient, but a cycle with a traceback may.
    gc.collect()
    assert call != "delete_database" or is_let_go(lock)
    assert not is_locked(lock)


def is_locked(path: str) -> bool:
    """Say whether the store is open, in this process or another."""
    try:
        StoreLock(path).release()
    except StoreLockedError:
        return True
    return False


def is_let_go(path: str) -> bool:
    """Wait until a lock is free; say whether it became free."""
    until = time.monotonic() + 20
    while is_locked(path):
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True


def check(client: Any, call: str, n_more: int) -> None:
    sizes = {"notes": 30 + n_more, "other": 10}
    found = {name: len(records) for name, records in read(client).items()}
    possible = [{name: sizes[name] for name in names} for names in CALLS[call]]
    assert found in possible, f"{found} is none of {possible}"


def look(store: Path) -> None:
    """Check the store from another process."""
    with open_store(store) as client:
        found = read(client)
        assert "after" in found["notes"], found
        vectors = list((store / "vectors").iterdir())
        assert len(vectors) == len(found), f"orphans: {vectors}"


def main(folder: str, call: str, *numbers: str) -> None:
    template, told = Path(folder, "template"), Path(folder, "told")
    # This also imports everything, once for all the processes that are forked.
    make(template)
    one_case(template, Path(folder, "whole"), call, 10**9, told)
    for number in count(1) if numbers == ("all",) else map(int, numbers):
        store, said = Path(folder, f"{number}"), Path(folder, "said")
        ends = [
            in_child(lambda: one_case(template, store, call, number, told), said),  # noqa: B023
            in_child(lambda: look(store), said),  # noqa: B023
        ]
        where = json.loads(told.read_text())
        wrong = [end for end in ends if end != "done"]
        print(json.dumps({"call": call, "n": number, "where": where, "wrong": wrong}), flush=True)
        shutil.rmtree(store, ignore_errors=True)
        if where is None and not wrong:
            break


if __name__ == "__main__":
    main(*sys.argv[1:])
