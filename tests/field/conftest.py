"""Inputs from the field that once went wrong, by kind; where it matters, in process and at a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb as chroma
from benchmarks.servers import Running, running, start_ours
from tests.stores import private_settings

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(start_ours(tmp_path_factory.mktemp("field"), "--allow-reset")) as server:
        yield server


@pytest.fixture(params=["in process", "at a server"])
def client(request: pytest.FixtureRequest) -> Iterator[Any]:
    """An empty store."""
    if request.param == "in process":
        opened = chroma.Client(private_settings(allow_reset=True))
    else:
        opened = chroma.connect(request.getfixturevalue("server").url)
    with opened:
        opened.reset()
        yield opened
        opened.reset()


@pytest.fixture
def local() -> Iterator[Any]:
    """An empty store in this process."""
    with chroma.Client(private_settings(allow_reset=True)) as client:
        yield client
        client.reset()


def vectors(n: int) -> list[list[float]]:
    return [[1.0, 0.0]] * n
