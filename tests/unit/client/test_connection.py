"""A client's hold on a store: counted in, counted out once, and Chroma's names of what is behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import chroma_nb
from chroma_nb import stores
from chroma_nb.errors import InternalError

if TYPE_CHECKING:
    from pathlib import Path


def test_each_client_counts_once_however_often_it_is_closed(tmp_path: Path) -> None:
    first, second = (chroma_nb.PersistentClient(tmp_path / "store") for _ in range(2))
    store = stores.open_store(first.get_settings())
    assert store.clients == 2
    first.close()
    first.close()
    assert store.clients == 1
    assert second.api is store.api
    with pytest.raises(InternalError, match="This client is closed"):
        first.heartbeat()
    second.close()
    assert store.closed.is_set()


def test_chromas_names_of_what_is_behind_a_client(tmp_path: Path) -> None:
    client = chroma_nb.PersistentClient(tmp_path / "store")
    assert client._identifier == client.get_settings().place
    assert client._server is client.api
    system = client._system
    assert system.settings is client.get_settings()
    system.start()
    assert client.heartbeat() > 0
    system.stop()
    with pytest.raises(InternalError, match="This client is closed"):
        client.heartbeat()
