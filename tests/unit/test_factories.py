"""Factories: settings in, implementation out; one store for each place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb
from benchmarks.servers import running, start_ours
from chroma_nb import factories
from chroma_nb.api._fastapi import FastAPI
from chroma_nb.api._local import Local
from chroma_nb.api.base import API
from chroma_nb.db import DuckDB, PersistentDuckDB
from chroma_nb.db.base import DB
from chroma_nb.errors import InvalidArgumentError, ServerUnavailableError
from chroma_nb.server.base import Server
from chroma_nb.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Broken(Local):
    """An API that cannot be made."""

    def __init__(self, *parts: Any) -> None:
        raise OSError("no room for an API")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Settings of a store that no other test has, taken back afterwards."""
    yield {"is_persistent": True, "path": str(tmp_path / "store"), "progress": False}
    store = factories._stores.get(("path", str(tmp_path / "store")))
    if store is not None:
        factories.release(store)
    factories.configure()


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
            factories.release(factories.open_store(factories.get_settings()))
            chroma_nb.configure()


def test_a_database_in_memory_for_a_store_in_memory() -> None:
    store = factories.open_store(Settings(compact_ratio=0.123))
    assert type(store.db) is DuckDB
    assert store.outlives_clients
    factories.release(store)


@pytest.mark.parametrize(
    ("setting", "known", "kind"),
    [
        ("api", factories.API_IMPLEMENTATIONS, API),
        ("db", factories.DB_IMPLEMENTATIONS, DB),
        ("server", factories.SERVER_IMPLEMENTATIONS, Server),
    ],
)
def test_names_lead_to_implementations(setting: str, known: dict[str, str], kind: Any) -> None:
    for name, path in known.items():
        found = factories.load_implementation(setting, name, known)
        assert issubclass(found, kind)
        assert factories.load_implementation(setting, path, known) is found, "a path works too"
    first = next(iter(known))
    with pytest.raises(InvalidArgumentError, match=f"Unknown {setting} '{first}x'.*Did you mean"):
        factories.load_implementation(setting, first + "x", known)


def test_one_folder_is_one_store(place: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "store")
    first = factories.open_store(Settings(**place))
    assert factories.open_store(Settings(**place, threads=3)) is first
    link = {**place, "path": str(tmp_path / "link")}
    assert factories.open_store(Settings(**link)) is first


def test_the_last_client_closes_the_store(place: dict[str, Any]) -> None:
    first, second = (chroma_nb.Client(Settings(**place)) for _ in range(2))
    store = factories.open_store(Settings(**place))
    first.close()
    assert second.heartbeat() > 0
    second.close()
    assert store.key not in factories._stores
    with chroma_nb.Client(Settings(**place)) as third:
        assert third.api is not store.api


def test_a_store_that_cannot_be_opened_holds_nothing(place: dict[str, Any]) -> None:
    with pytest.raises(OSError, match="no room"):
        factories.open_store(Settings(**place, api=f"{__name__}:Broken"))
    with chroma_nb.Client(Settings(**place)) as client:
        assert client.list_collections() == []


def test_an_unknown_engine_is_said_before_anything_is_made(
    place: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(InvalidArgumentError, match="hnswlb"):
        factories.open_store(Settings(**place, index_engine="hnswlb"))
    assert list(tmp_path.iterdir()) == []


def test_a_server_is_one_more_user_of_the_store(place: dict[str, Any]) -> None:
    chroma_nb.configure(**place)
    store = factories.open_store(factories.get_settings())
    server = chroma_nb.get_server()
    assert isinstance(server, Server)
    assert store.clients == 1
    with chroma_nb.Client(Settings(**place)) as client:
        client.create_collection("notes", embedding_function=None)
    assert store.key in factories._stores
    server.stop()
    assert store.key not in factories._stores


def test_what_was_configured_is_taken_back() -> None:
    assert chroma_nb.configure(threads=3).threads == 3
    assert factories.get_settings().threads == 3
    with pytest.raises(ValueError, match="threds"):
        chroma_nb.configure(threds=4)
    assert factories.get_settings().threads == 3, "what is wrong changes nothing"
    chroma_nb.configure()
    assert factories.get_settings() == Settings()
