"""A parent writes, and a child is forked and ends in one of many ways.

Run: ``python forking.py PATH WAY END BUSY``. The parent prints the ids that were acknowledged, and then kills itself.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SETTINGS: dict[str, Any] = {"graph_min_records": 50, "compact_ratio": 0.3}


def by_fork(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    # From here on the child behaves like a script: it prints an exception, and then the interpreter ends.
    try:
        work()
    except SystemExit as error:
        code = int(error.code or 0)
    except BaseException:
        traceback.print_exc()
        code = 1
    else:
        code = 0
    raise SystemExit(code)


def by_fork_in_a_thread(work: Callable[[], None]) -> int:
    status = []

    def run() -> None:
        pid = os.fork()
        if not pid:
            try:
                work()
            except SystemExit:
                pass
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            gc.collect()
            os._exit(0)
        status.append(os.waitpid(pid, 0)[1])

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return status[0]


def by_multiprocessing(work: Callable[[], None]) -> int:
    import multiprocessing

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    return process.exitcode or 0


def by_pool(work: Callable[[], None]) -> int:
    import multiprocessing

    global chosen
    chosen = work
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(run_chosen, range(4))
    return 0


chosen: Callable[[], None]


def run_chosen(_: int) -> None:
    chosen()


def say(lines: Iterable[str]) -> None:
    """Print lines with a single write, so that neither threads nor a child's buffers can mix them up."""
    os.write(1, "".join(f"{line}\n" for line in lines).encode())


def main(path: str, way: str, end: str, is_busy: str) -> None:
    client: Any = chroma_nb.PersistentClient(path, chroma_nb.Settings(**SETTINGS))
    notes: Any = client.create_collection("notes", embedding_function=None)
    other: Any = chroma_nb.EphemeralClient()
    scratch: Any = other.create_collection("scratch", embedding_function=None)
    stop = threading.Event()

    def write(name: str, n: int) -> None:
        ids = [f"{name}-{i}" for i in range(n)]
        notes.add(ids=ids, embeddings=np.ones((n, 8)), documents=ids)
        scratch.upsert(ids=ids, embeddings=np.ones((n, 8)))
        say(ids)

    write("before", 200)

    def work_beside(name: str) -> None:
        number = 0
        while not stop.is_set():
            write(f"{name}{number}", 3)
            notes.query(query_embeddings=[[0.0] * 8], n_results=3)
            number += 1

    names = ["one", "two"] if is_busy == "busy" else []
    threads = [threading.Thread(target=work_beside, args=[name]) for name in names]
    for thread in threads:
        thread.start()

    def nothing() -> None:
        pass

    def leave() -> None:
        sys.exit(0)

    def drop() -> None:
        nonlocal client, notes, other, scratch
        client = notes = other = scratch = None
        gc.collect()

    def close() -> None:
        client.close()
        other.close()

    def use() -> None:
        for call in (notes.count, scratch.count, client.list_collections, client.memory.report):
            with pytest.raises(chroma_nb.errors.InternalError, match="forked"):
                call()
        repr(client), repr(notes), notes._repr_html_(), client._repr_html_()

    def open_again() -> None:
        with pytest.raises(chroma_nb.errors.StoreLockedError, match=f"pid {parent} "):
            chroma_nb.PersistentClient(path)

    def open_own() -> None:
        own = chroma_nb.EphemeralClient()
        docs = own.get_or_create_collection("notes", embedding_function=None)
        docs.upsert(ids=list("abc"), embeddings=np.eye(3, 8))
        docs.build_index()
        assert docs.query(query_embeddings=[[0.0] * 8], n_results=3)["ids"]
        with chroma_nb.PersistentClient(f"{path}-{os.getpid()}") as kept:
            kept.get_or_create_collection("notes", embedding_function=None).upsert(
                ids=["a"], embeddings=[[1.0] * 8]
            )

    def embed() -> None:
        own = chroma_nb.EphemeralClient(chroma_nb.Settings(embedding="static", offline=True))
        own.get_or_create_collection("texts").upsert(ids=["a"], documents=["a bear"])

    ends = {"nothing": nothing, "leave": leave, "drop": drop, "close": close, "use": use}
    ends |= {"open_again": open_again, "open_own": open_own, "embed": embed}
    parent = os.getpid()
    status = globals()[f"by_{way}"](ends[end])
    assert os.getpid() == parent
    stop.set()
    for thread in threads:
        thread.join()
    assert scratch.count() >= 200
    write("after", 50)
    notes.delete(ids=[f"before-{i}" for i in range(150)])
    say(f"-before-{i}" for i in range(150))
    write("last", 50)
    say([f"status {status}"])
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
