"""A client with a collection that goes out and comes in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb
from tests.unit.transfer.records import make_notes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Any]:
    with chroma_nb.PersistentClient(tmp_path / "store") as client:
        yield client


@pytest.fixture
def notes(client: Any) -> Any:
    return make_notes(client)
