"""`StoreLock`: one process per store, and a sentence that says who it is."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from chroma_nb.db import store_lock
from chroma_nb.db.store_lock import StoreLock
from chroma_nb.errors import StoreLockedError

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import sys, time
from chroma_nb.db import store_lock
from chroma_nb.db.store_lock import StoreLock
lock = StoreLock(sys.argv[1])
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "lock")


def hold(path: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_another_process_is_told_who_holds_it(path: str) -> None:
    process = hold(path)
    try:
        with pytest.raises(StoreLockedError) as error:
            StoreLock(path)
    finally:
        process.kill()
        process.communicate()
    assert f"pid {process.pid}" in str(error.value)
    assert "use another folder" in str(error.value)


def test_a_killed_process_holds_nothing(path: str) -> None:
    process = hold(path)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    StoreLock(path).release()


def test_it_is_given_back_once_and_taken_again(path: str) -> None:
    lock = StoreLock(path)
    with pytest.raises(StoreLockedError):
        StoreLock(path)
    lock.release()
    lock.release()
    StoreLock(path).release()
    assert os.path.getsize(path) == 0, "nobody is named who does not hold it"


def test_a_holder_that_has_not_said_who_it_is(path: str) -> None:
    lock = StoreLock(path)
    os.truncate(path, 0)
    with pytest.raises(StoreLockedError, match="did not write its pid"):
        StoreLock(path)
    lock.release()


def test_a_folder_that_is_not_there_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        StoreLock(str(tmp_path / "none" / "lock"))


@pytest.mark.usefixtures("no_locks")
def test_a_file_system_without_locks_leaves_nothing_open(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[int] = []
    monkeypatch.setattr(store_lock.os, "close", closed.append)
    with pytest.raises(OSError, match=os.strerror(errno.ENOLCK)):
        StoreLock(path)
    monkeypatch.undo()
    (fd,) = closed
    os.close(fd)
