"""A machine whose free memory a test sets, and lenders that a test can look into."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from chroma_nb.memory.lender import Lender, LenderDatabase
from chroma_nb.memory.limits import Limit
from chroma_nb.memory.workspace import WORKSPACE

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from chroma_nb.memory.workspace import Workspace

MIB = 1 << 20
#: A machine with more than any test asks for.
PLENTY = 4 << 30


class FakeMachine:
    """Stands for `Machine`.

    Args:
        n_bytes: What is free while nobody holds anything.
        total: The limit.
        held: Returns the bytes that are not free any more.
    """

    def __init__(
        self, n_bytes: int, total: int = PLENTY, held: Callable[[], int] = lambda: 0
    ) -> None:
        self.n_bytes = n_bytes
        self.total = total
        self.held = held
        #: How often somebody has asked.
        self.looks = 0

    def free(self) -> int:
        self.looks += 1
        return self.n_bytes - self.held()

    def limit(self) -> Limit:
        return Limit("a limit of this test", self.total, self.total - self.n_bytes, "the test")


class FakeDatabase(LenderDatabase):
    """Notes what it is told.

    Args:
        log: Where.
        name: Its name there.
    """

    cache_bytes = 0
    statement_bytes = 0

    def __init__(self, log: list[str], name: str) -> None:
        self._log = log
        self._name = name

    def tighten(self) -> None:
        self.is_tight = True
        self._log.append(f"{self._name} tightens")

    def loosen(self) -> None:
        self.is_tight = False
        self._log.append(f"{self._name} loosens")


class FakeLender(Lender):
    """Holds pieces of memory of a fake machine, the oldest first.

    Args:
        machine: Whose memory.
        age: When it was used last.
        pieces: What it holds.
        log: Who was asked, in order, by name.
        name: Its name there.
    """

    def __init__(
        self, machine: FakeMachine, age: float, pieces: list[int], log: list[str], name: str
    ) -> None:
        self._machine = machine
        self._age = age
        self._pieces = pieces
        self._log = log
        self._name = name
        self.is_busy = False
        self.database = FakeDatabase(log, name)

    def lend(self, n_bytes: int, reason: str, until: float = math.inf) -> int:
        self._log.append(self._name)
        if self.is_busy or not self._pieces:
            return 0
        n_bytes = self._pieces.pop(0)
        self._machine.n_bytes += n_bytes
        return n_bytes

    @property
    def lendable(self) -> int:
        return sum(self._pieces)

    def oldest_use(self) -> float | None:
        return self._age if self._pieces else None

    def room_returned(self) -> None:
        self._log.append(f"{self._name} has room")


def give(workspace: Workspace, machine: FakeMachine, n_bytes: int) -> None:
    """Let a machine have so many bytes free for this account."""
    machine.n_bytes = n_bytes + workspace.headroom


def tight(monkeypatch: pytest.MonkeyPatch, n_bytes: int) -> FakeMachine:
    """Let the account of this process find so many bytes free, beside what is kept for others."""
    machine = FakeMachine(n_bytes + WORKSPACE.headroom)
    monkeypatch.setattr(WORKSPACE, "_machine", machine)
    monkeypatch.setattr(WORKSPACE, "_plenty", -1.0)
    monkeypatch.setattr(WORKSPACE, "_most_free", 0)
    monkeypatch.setattr(WORKSPACE, "_patience", 0.0)
    return machine
