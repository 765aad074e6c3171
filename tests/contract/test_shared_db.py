"""`SharedDBContract` over each shared `DB` that there is, and what a DB that is not shared is not asked."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from chroma_nb.db import DuckDB
from chroma_nb.settings import Settings
from chroma_nb.testing import SharedDBContract, SharedMemory, SharedMemoryDB
from chroma_nb.testing._api_base import PLACE, configuration_of
from chroma_nb.testing._processes import Process, records_of
from tests.support.clickhouse import HAS_CLICKHOUSE, NO_CLICKHOUSE, at_clickhouse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from chroma_nb.db.base import DB, Changes


class TestSharedMemoryDB(SharedDBContract):
    n_kept: ClassVar[tuple[int | None, ...]] = (0, 1, 2, 3)

    def make_dbs(self, settings: Settings, n: int, n_kept: int | None = None) -> Sequence[DB]:
        memory = SharedMemory() if n_kept is None else SharedMemory(n_kept)
        return [SharedMemoryDB(settings, memory) for _ in range(n)]


@pytest.mark.skipif(not HAS_CLICKHOUSE, reason=NO_CLICKHOUSE)
class TestClickhouse(SharedDBContract):
    """In this process, its objects share one engine. Processes of their own: tests/durability/test_clickhouse.py."""

    def make_dbs(self, settings: Settings, n: int, n_kept: int | None = None) -> Sequence[DB]:
        from chroma_nb.db import Clickhouse

        path = tempfile.mkdtemp(prefix="clickhouse-", dir=settings.temp_path or None)
        atexit.register(shutil.rmtree, path, ignore_errors=True)
        place = at_clickhouse(settings.replace(path=path))
        return [Clickhouse(place) for _ in range(n)]


class Forgetful(SharedMemoryDB):
    """Knows no commits of others, as one whose `changes_since` is the default."""

    def changes_since(self, collection_id: Any, version: int) -> Iterator[Changes] | None:
        return None


class TestOneThatKnowsNoChanges(SharedDBContract):
    knows_changes: ClassVar[bool] = False

    def make_dbs(self, settings: Settings, n: int, n_kept: int | None = None) -> Sequence[DB]:
        memory = SharedMemory()
        return [Forgetful(settings, memory) for _ in range(n)]


def test_a_db_that_is_not_shared_is_never_asked_for_others_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: Any) -> None:
        raise AssertionError("asked for the commits of others")

    for name in ("is_behind", "refresh", "changes_since"):
        monkeypatch.setattr(DuckDB, name, asked)
    chosen = Settings(temp_path=str(tmp_path), progress=False)
    process = Process(DuckDB(chosen), chosen)
    info = process.api.create_collection(
        "notes", configuration_of(), None, get_or_create=False, **PLACE
    )
    process.id = info.id
    process.add("a", "b")
    process.upsert("a", version=1)
    process.load()
    assert process.nearest("b") == "b"
    assert process.delete("b") == 1
    assert process.records() == records_of({"a": 1})
    assert process.count() == 1
    process.segments.compact(process.id)
    process.api.close()
