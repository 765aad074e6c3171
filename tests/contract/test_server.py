"""`ServerContract` over every `Server` that there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import chroma_nb.testing
from chroma_nb.server import ArrowFlight, FastAPI
from chroma_nb.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from chroma_nb.api.base import API
    from chroma_nb.server.base import Server


class TestFastAPI(chroma_nb.testing.ServerContract):
    def make_server(
        self, api: API, settings: Settings, release: Callable[[], object] | None = None
    ) -> Server:
        return FastAPI(api, settings, release)


class TestArrowFlight(chroma_nb.testing.ServerContract):
    @pytest.fixture(autouse=True)
    def needs_flight(self) -> None:
        pytest.importorskip("pyarrow.flight")

    def make_server(
        self, api: API, settings: Settings, release: Callable[[], object] | None = None
    ) -> Server:
        return ArrowFlight(api, settings, release)

    def connect(self, url: str) -> API:
        from chroma_nb.api import ArrowFlight

        return ArrowFlight.open(Settings(api="arrowflight", url=url, retries=0, progress=False))


class Beside(FastAPI):
    """Arrow Flight beside HTTP, looked at from there."""

    @property
    def url(self) -> str:
        port = self.settings.server_flight_port if self._flight is None else self._flight.port
        return f"grpc://127.0.0.1:{port}"


class TestFlightBesideHTTP(TestArrowFlight):
    def make_server(
        self, api: API, settings: Settings, release: Callable[[], object] | None = None
    ) -> Server:
        beside = {"server_port": 0, "server_flight_port": settings.server_port}
        return Beside(api, settings.replace(**beside), release)
