"""Real brokers and workers: each test gets RabbitMQ and Redis, where they are installed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb
from tests.stores import private_settings
from tests.support.brokers import PROGRAMS, Broker, Worker, missing, running_broker, running_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SLOW = ("--functions", "tests.support.slow_functions")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        callspec = getattr(item, "callspec", None)
        kind = None if callspec is None else callspec.params.get("broker_kind")
        if kind is not None and missing(kind):
            item.add_marker(pytest.mark.skip(reason=missing(kind)))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "broker_kind" in metafunc.fixturenames:
        metafunc.parametrize("broker_kind", PROGRAMS, scope="session")


@pytest.fixture(scope="session")
def shared_broker(broker_kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that no test stops."""
    with running_broker(broker_kind, tmp_path_factory.mktemp(broker_kind)) as broker:
        yield broker


@pytest.fixture
def broker(broker_kind: str, tmp_path: Path) -> Iterator[Broker]:
    """A broker of this test's own, which it may stop."""
    with running_broker(broker_kind, tmp_path / "broker") as one:
        yield one


@pytest.fixture
def worker(shared_broker: Broker, tmp_path: Path) -> Iterator[Worker]:
    """A worker at the shared broker, of this test's own."""
    with running_worker(shared_broker.url, tmp_path / "worker.log", *SLOW) as one:
        yield one


@pytest.fixture
def open_client() -> Iterator[Callable[..., Any]]:
    """Returns a function that opens a client over workers at a broker."""
    with contextlib.ExitStack() as opened:

        def make(broker: Broker, **values: Any) -> Any:
            settings = private_settings(api="celery", celery_broker=broker.url, **values)
            return opened.enter_context(chroma_nb.Client(settings))

        yield make
