"""Factories: the settings in force choose what is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb
from benchmarks.servers import running, start_ours
from chroma_nb import stores
from chroma_nb.api._fastapi import FastAPI
from chroma_nb.api._local import Local
from chroma_nb.db import PersistentDuckDB
from chroma_nb.errors import InvalidArgumentError, ServerUnavailableError
from chroma_nb.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def place(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Settings of a store that no other test has, taken back afterwards."""
    yield {"is_persistent": True, "path": str(tmp_path / "store"), "progress": False}
    store = stores._stores.get(("path", str(tmp_path / "store")))
    if store is not None:
        stores.release(store)
    chroma_nb.configure()


def test_the_settings_choose(place: dict[str, Any]) -> None:
    chroma_nb.configure(**place)
    api, db = chroma_nb.get_api(), chroma_nb.get_db()
    assert type(api) is Local
    assert type(db) is PersistentDuckDB
    assert chroma_nb.get_api() is api
    assert chroma_nb.get_db() is db is api.db


def test_the_environment_chooses(place: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMA_NB_IS_PERSISTENT", "yes")
    monkeypatch.setenv("CHROMA_NB_PATH", place["path"])
    assert isinstance(chroma_nb.get_db(), PersistentDuckDB)
    monkeypatch.setenv("CHROMA_NB_API", "fastapi")
    monkeypatch.setenv("CHROMA_NB_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("CHROMA_NB_RETRIES", "0")
    with pytest.raises(ServerUnavailableError, match=r"127\.0\.0\.1:9"):
        chroma_nb.get_api()


def test_there_is_no_database_where_a_server_has_it(tmp_path: Path) -> None:
    with running(start_ours(tmp_path)) as server:
        chroma_nb.configure(api="fastapi", url=server.url)
        try:
            assert type(chroma_nb.get_api()) is FastAPI
            with pytest.raises(InvalidArgumentError, match="keeps no records in this process"):
                chroma_nb.get_db()
        finally:
            stores.release(stores.open_store(chroma_nb.get_settings()))
            chroma_nb.configure()


def test_what_was_configured_is_taken_back() -> None:
    assert chroma_nb.configure(threads=3).threads == 3
    assert chroma_nb.get_settings().threads == 3
    with pytest.raises(ValueError, match="threds"):
        chroma_nb.configure(threds=4)
    assert chroma_nb.get_settings().threads == 3, "what is wrong changes nothing"
    chroma_nb.configure()
    assert chroma_nb.get_settings() == Settings()
