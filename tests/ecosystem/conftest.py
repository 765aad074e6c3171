from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb
from benchmarks.servers import Running, running, start_ours

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(start_ours(tmp_path_factory.mktemp("server"), "--allow-reset")) as server:
        yield server


@pytest.fixture(params=["in process", "at a server"])
def client(request: pytest.FixtureRequest) -> Iterator[Any]:
    """An empty store, near or far."""
    if request.param == "in process":
        client = chroma_nb.EphemeralClient(chroma_nb.Settings(allow_reset=True, offline=True))
    else:
        client = chroma_nb.connect(request.getfixturevalue("server").url)
    client.reset()
    yield client
    client.reset()
    client.close()
