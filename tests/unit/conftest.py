from __future__ import annotations

import errno
import os

import pytest

from chroma_nb.db import store_lock
from chroma_nb.index import cores


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without locks, as on some clusters' network drives."""

    def refuse(fd: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(store_lock, "_lock", refuse)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether somebody reads or writes, to be set."""
    reads = [False]
    monkeypatch.setattr(cores.Cores, "used_lately", property(lambda self: reads[0]))
    return reads
