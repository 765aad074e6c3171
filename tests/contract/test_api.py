"""`APIContract` over every `API` that there is: in this process over each `DB`, and over a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest

import chroma_nb.testing
from chroma_nb.api import FastAPI
from chroma_nb.db import DuckDB, PersistentDuckDB
from chroma_nb.server import FastAPI as Server
from chroma_nb.settings import Settings
from chroma_nb.testing import SharedMemoryDB, local_api

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chroma_nb.api.base import API


class TestLocal(chroma_nb.testing.APIContract):
    def make_api(self, settings: Settings) -> API:
        return local_api(DuckDB(settings), settings)


class TestLocalInAFolder(chroma_nb.testing.APIContract):
    def make_api(self, settings: Settings) -> API:
        return local_api(PersistentDuckDB(settings), settings)


class TestLocalOverASharedDB(chroma_nb.testing.APIContract):
    lacks: ClassVar[frozenset[str]] = frozenset({"sql"})

    def make_api(self, settings: Settings) -> API:
        return local_api(SharedMemoryDB(settings), settings)


class TestFastAPI(chroma_nb.testing.APIContract):
    lacks: ClassVar[frozenset[str]] = frozenset({"check", "sql"})

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def url(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
        """One server for all tests; each empties its store."""
        temp_path = str(tmp_path_factory.mktemp("served"))
        settings = Settings(temp_path=temp_path, allow_reset=True, progress=False, server_port=0)
        with Server(local_api(DuckDB(settings), settings), settings) as server:
            cls.address = server.start()
            yield

    def make_api(self, settings: Settings) -> API:
        api = FastAPI.open(Settings(api="fastapi", url=self.address, progress=False))
        api.reset()
        return api
