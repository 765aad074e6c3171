"""Open stores: one for each place, opened once, and closed by its last client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb
from chroma_nb import stores
from chroma_nb.api._local import Local
from chroma_nb.db import DuckDB
from chroma_nb.errors import InvalidArgumentError
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
    store = stores._stores.get(("path", str(tmp_path / "store")))
    if store is not None:
        stores.release(store)
    chroma_nb.configure()


def test_a_database_in_memory_for_a_store_in_memory() -> None:
    store = stores.open_store(Settings(compact_ratio=0.123))
    assert type(store.db) is DuckDB
    assert store.outlives_clients
    stores.release(store)


def test_one_folder_is_one_store(place: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "store")
    first = stores.open_store(Settings(**place))
    assert stores.open_store(Settings(**place, threads=3)) is first
    link = {**place, "path": str(tmp_path / "link")}
    assert stores.open_store(Settings(**link)) is first


def test_the_last_client_closes_the_store(place: dict[str, Any]) -> None:
    first, second = (chroma_nb.Client(Settings(**place)) for _ in range(2))
    store = stores.open_store(Settings(**place))
    first.close()
    assert second.heartbeat() > 0
    second.close()
    assert store.key not in stores._stores
    with chroma_nb.Client(Settings(**place)) as third:
        assert third.api is not store.api


def test_a_store_that_cannot_be_opened_holds_nothing(place: dict[str, Any]) -> None:
    with pytest.raises(OSError, match="no room"):
        stores.open_store(Settings(**place, api=f"{__name__}:Broken"))
    with chroma_nb.Client(Settings(**place)) as client:
        assert client.list_collections() == []


def test_an_unknown_engine_is_said_before_anything_is_made(
    place: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(InvalidArgumentError, match="hnswlb"):
        stores.open_store(Settings(**place, index_engine="hnswlb"))
    assert list(tmp_path.iterdir()) == []


def test_a_server_is_one_more_user_of_the_store(place: dict[str, Any]) -> None:
    chroma_nb.configure(**place)
    store = stores.open_store(chroma_nb.get_settings())
    server = chroma_nb.get_server()
    assert isinstance(server, Server)
    assert store.clients == 1
    with chroma_nb.Client(Settings(**place)) as client:
        client.create_collection("notes", embedding_function=None)
    assert store.key in stores._stores
    server.stop()
    assert store.key not in stores._stores


def test_a_folder_and_a_database_in_memory_contradict_each_other(
    place: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(InvalidArgumentError, match=r"keep its records.*db='duckdb' does not"):
        stores.open_store(Settings(**place, db="duckdb"))
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_kept_where_its_database_keeps_it(tmp_path: Path) -> None:
    """Whatever the setting says: the database is asked."""
    path = str(tmp_path / "store")
    settings = Settings(path=path).replace(is_persistent=False, db="persistent_duckdb")
    store = stores.open_store(settings)
    try:
        assert not store.outlives_clients
        assert store.key == ("path", path)
        assert stores.open_store(Settings(path=path)) is store
    finally:
        stores.release(store)
