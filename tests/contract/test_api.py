"""`APIContract` over every `API` that there is: in this process, over a DB that is shared or not, and over a server."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, ClassVar

import pytest

import chroma_nb.testing
from chroma_nb.api import FastAPI
from chroma_nb.db import DuckDB, PersistentDuckDB
from chroma_nb.server import ArrowFlight as FlightServer
from chroma_nb.server import FastAPI as Server
from chroma_nb.settings import Settings
from chroma_nb.testing import SharedMemoryDB, local_api
from tests.support.brokers import KilledWorkers, missing, running_broker
from tests.support.clickhouse import HAS_CLICKHOUSE, NO_CLICKHOUSE, at_clickhouse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chroma_nb.api.base import API


class TestLocal(chroma_nb.testing.APIContract):
    def make_api(self, settings: Settings) -> API:
        return local_api(DuckDB(settings), settings)


class TestLocalOverASharedDB(chroma_nb.testing.APIContract):
    lacks: ClassVar[frozenset[str]] = frozenset({"sql"})

    def make_api(self, settings: Settings) -> API:
        return local_api(SharedMemoryDB(settings), settings)


@pytest.mark.skipif(not HAS_CLICKHOUSE, reason=NO_CLICKHOUSE)
class TestLocalOverClickhouse(chroma_nb.testing.APIContract):
    def make_api(self, settings: Settings) -> API:
        from chroma_nb.db import Clickhouse

        place = at_clickhouse(settings)
        return local_api(Clickhouse(place), place)


@contextlib.contextmanager
def _killed_workers(kind: str, factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = factory.mktemp(kind)
    with running_broker(kind, folder) as broker, KilledWorkers(broker.url, folder):
        yield broker.url


@pytest.fixture(scope="module")
def rabbitmq_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with _killed_workers("rabbitmq", tmp_path_factory) as address:
        yield address


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with _killed_workers("redis", tmp_path_factory) as address:
        yield address


class _OverWorkers(chroma_nb.testing.APIContract):
    """Over workers that are killed at random meanwhile."""

    url: str

    def make_api(self, settings: Settings) -> API:
        from chroma_nb.api import Celery

        place = settings.replace(api="celery", celery_broker=self.url, path=settings.path)
        db = PersistentDuckDB(place)
        return Celery(db, local_api(db, place).segments, place)


@pytest.mark.skipif(bool(missing("rabbitmq")), reason=missing("rabbitmq"))
class TestCeleryOverRabbitMQ(_OverWorkers):
    @pytest.fixture(autouse=True)
    def address(self, rabbitmq_url: str) -> None:
        self.url = rabbitmq_url


@pytest.mark.skipif(bool(missing("redis")), reason=missing("redis"))
class TestCeleryOverRedis(_OverWorkers):
    @pytest.fixture(autouse=True)
    def address(self, redis_url: str) -> None:
        self.url = redis_url


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server for all tests; each empties its store."""
    temp_path = str(tmp_path_factory.mktemp("served"))
    settings = Settings(temp_path=temp_path, allow_reset=True, progress=False, server_port=0)
    with Server(local_api(DuckDB(settings), settings), settings) as server:
        yield server.start()


class TestFastAPI(chroma_nb.testing.APIContract):
    lacks: ClassVar[frozenset[str]] = frozenset({"check", "sql"})

    @pytest.fixture(autouse=True)
    def address(self, url: str) -> None:
        self.url = url

    def make_api(self, settings: Settings) -> API:
        api = FastAPI.open(Settings(api="fastapi", url=self.url, progress=False))
        api.reset()
        return api


@pytest.fixture(scope="module")
def flight_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server for all tests; each empties its store."""
    pytest.importorskip("pyarrow.flight")
    temp_path = str(tmp_path_factory.mktemp("flown"))
    settings = Settings(temp_path=temp_path, allow_reset=True, progress=False, server_port=0)
    with FlightServer(local_api(DuckDB(settings), settings), settings) as server:
        yield server.start()


class TestArrowFlight(chroma_nb.testing.APIContract):
    lacks: ClassVar[frozenset[str]] = frozenset({"check", "sql"})

    @pytest.fixture(autouse=True)
    def address(self, flight_url: str) -> None:
        self.url = flight_url

    def make_api(self, settings: Settings) -> API:
        from chroma_nb.api import ArrowFlight

        api = ArrowFlight.open(Settings(api="arrowflight", url=self.url, progress=False))
        api.reset()
        return api
