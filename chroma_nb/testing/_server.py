"""`ServerContract`: what every `Server` has to do, over whichever `API`.

That all of an `API` crosses the wire is tested by `APIContract`, over a client of the server.
"""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from chroma_nb.db import DuckDB
from chroma_nb.errors import ChromaError, InvalidArgumentError, NotFoundError
from chroma_nb.server.base import Server
from chroma_nb.settings import Settings
from chroma_nb.testing.local import local_api
from chroma_nb.types import RecordBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from chroma_nb.api.base import API

PLACE: Any = {"tenant": "default_tenant", "database": "default_database"}
CONFIGURATION = {"hnsw": {"space": "l2"}, "spann": None, "embedding_function": None}
#: Seconds after which a test gives up; nothing takes so long.
PATIENCE = 60.0


class ServerContract:
    """The tests of every `Server`.

    A subclass says how one is made, and, where it does not speak HTTP, how a client reaches it::

        class TestMine(chroma_nb.testing.ServerContract):
            def make_server(self, api, settings, release=None):
                return MyServer(api, settings, release)
    """

    def make_server(
        self, api: API, settings: Settings, release: Callable[[], object] | None = None
    ) -> Server:
        """Return a server over an API; it does not run yet.

        Args:
            api: The store.
            settings: `server_host` and `server_port` are set; port 0 is any that is free.
            release: As in `Server`.
        """
        raise NotImplementedError("A subclass says how its server is made.")

    def connect(self, url: str) -> API:
        """Return an API that asks the server at an address. It does not repeat what fails."""
        from chroma_nb.api import FastAPI

        return FastAPI.open(Settings(api="fastapi", url=url, retries=0, progress=False))

    @pytest.fixture
    def api(self, tmp_path: Path) -> Iterator[API]:
        """A store with one collection, "notes", of one record."""
        settings = Settings(temp_path=str(tmp_path), progress=False)
        with local_api(DuckDB(settings), settings) as api:
            info = api.create_collection("notes", CONFIGURATION, None, get_or_create=False, **PLACE)
            api.add(info.id, RecordBatch(["a"], np.ones((1, 2), np.float32)), **PLACE)
            yield api

    @pytest.fixture
    def serve(self) -> Iterator[Callable[..., Server]]:
        """Make servers of this test, which are stopped after it."""
        made: list[Server] = []

        def make(
            api: API, release: Callable[[], object] | None = lambda: None, port: int = 0
        ) -> Server:
            settings = Settings(server_host="127.0.0.1", server_port=port, progress=False)
            made.append(self.make_server(api, settings, release))
            return made[-1]

        yield make
        for server in reversed(made):
            server.stop()

    @pytest.fixture
    def clients(self) -> Iterator[Callable[[str], API]]:
        """Connect clients, which are closed after the test."""
        opened: list[API] = []

        def connect(url: str) -> API:
            opened.append(self.connect(url))
            return opened[-1]

        yield connect
        for client in opened:
            client.close()

    def test_a_public_address_wants_authentication(self, api: API) -> None:
        settings = Settings(server_host="0.0.0.0", server_port=0, progress=False)
        with pytest.raises(InvalidArgumentError, match="without authentication"):
            self.make_server(api, settings, lambda: None)
        local = Settings(server_host="127.0.0.1", server_port=0, progress=False)
        kind = type(self.make_server(api, local, lambda: None))
        kind.check_settings(local)
        with pytest.raises(InvalidArgumentError, match="without authentication"):
            kind.check_settings(settings)

    # -- starting -----------------------------------------------------------------------------

    def test_a_started_server_answers(
        self, api: API, serve: Callable[..., Server], clients: Callable[[str], API]
    ) -> None:
        server = serve(api)
        assert isinstance(server, Server)
        assert server.api is api
        url = server.start()
        assert url == server.url
        assert server.start() == url, "starting twice is starting once"
        far = clients(url)
        (notes,) = far.list_collections(**PLACE)
        assert notes == api.get_collection("notes", **PLACE)
        far.add(notes.id, RecordBatch(["b"], np.ones((1, 2), np.float32)), **PLACE)
        assert api.get(notes.id, **PLACE).ids == ["a", "b"]
        api.delete(notes.id, ids=["a"], **PLACE)
        assert far.get(notes.id, **PLACE).ids == ["b"], "nothing is kept beside the API"
        with pytest.raises(NotFoundError, match=r"Collection \[none\] does not exist"):
            far.get_collection("none", **PLACE)
        with pytest.raises(NotFoundError, match="does not exist"):
            far.count(uuid.uuid4(), **PLACE)

    def test_a_listening_server_has_its_address(
        self, api: API, serve: Callable[..., Server], clients: Callable[[str], API]
    ) -> None:
        server = serve(api)
        server.listen()
        url = server.url
        port = urlsplit(url).port
        assert port
        assert url in server.urls
        with pytest.raises(InvalidArgumentError, match=str(port)):
            serve(api, port=port).listen()
        server.listen()
        assert server.start() == url
        assert clients(url).heartbeat() > 0

    def test_a_server_runs_until_it_is_stopped(
        self, api: API, serve: Callable[..., Server], clients: Callable[[str], API]
    ) -> None:
        released: list[str] = []
        server = serve(api, lambda: released.append("released"))
        server.listen()
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        assert clients(server.url).count_collections(**PLACE) == 1
        assert thread.is_alive()
        assert not released
        server.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert released == ["released"]

    def test_a_server_may_serve_another_servers_client(
        self, api: API, serve: Callable[..., Server], clients: Callable[[str], API]
    ) -> None:
        near = clients(serve(api).start())
        far = clients(serve(near).start())
        (notes,) = far.list_collections(**PLACE)
        assert far.get(notes.id, **PLACE).ids == ["a"]
        with pytest.raises(NotFoundError, match=r"Collection \[none\] does not exist"):
            far.get_collection("none", **PLACE)

    # -- stopping -----------------------------------------------------------------------------

    def test_a_stopped_server_answers_nobody_and_releases_its_api_once(
        self, api: API, serve: Callable[..., Server], clients: Callable[[str], API]
    ) -> None:
        released: list[str] = []
        server = serve(api, lambda: released.append("released"))
        with server as same:
            assert same is server
            far = clients(server.start())
            assert far.count_collections(**PLACE) == 1
            assert not released
        assert released == ["released"]
        server.stop()
        assert released == ["released"]
        with pytest.raises(ChromaError):
            far.count_collections(**PLACE)
        with pytest.raises(ChromaError):
            clients(server.url)
        assert api.count_collections(**PLACE) == 1, "whoever releases it may go on using it"
        # Its address is free again.
        serve(api, port=urlsplit(server.url).port).listen()

    def test_a_server_closes_the_api_that_nobody_else_uses(
        self, api: API, serve: Callable[..., Server]
    ) -> None:
        server = serve(api, None)
        server.start()
        server.stop()
        with pytest.raises(ChromaError, match="closed"):
            api.count_collections(**PLACE)

    def test_a_server_that_never_ran_releases_its_api(
        self, api: API, serve: Callable[..., Server]
    ) -> None:
        released: list[str] = []
        server = serve(api, lambda: released.append("released"))
        server.stop()
        assert released == ["released"]
        assert not server.is_held

    def test_the_process_of_a_server_without_clients_can_end(
        self, api: API, serve: Callable[..., Server]
    ) -> None:
        server = serve(api)
        far = self.connect(server.start())
        assert far.count_collections(**PLACE) == 1
        far.close()
        server.stop()
        assert not server.is_held

    def test_a_request_under_way_is_finished(
        self,
        api: API,
        serve: Callable[..., Server],
        clients: Callable[[str], API],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        begun, hold = threading.Event(), threading.Event()
        count, released, answers = api.count, [], []  # type: ignore[var-annotated]

        def slow(*given: Any, **named: Any) -> int:
            begun.set()
            assert hold.wait(PATIENCE)
            assert not released, "the API is released while a request uses it"
            return count(*given, **named)

        monkeypatch.setattr(api, "count", slow)
        server = serve(api, lambda: released.append("released"))
        far = clients(server.start())
        notes = api.get_collection("notes", **PLACE)
        reader = threading.Thread(target=lambda: answers.append(far.count(notes.id, **PLACE)))
        reader.start()
        stopper = threading.Thread(target=server.stop)
        try:
            assert begun.wait(PATIENCE)
            stopper.start()
            # It waits for the request; where it did not, it would be done by then.
            stopper.join(0.3)
            assert stopper.is_alive()
        finally:
            hold.set()
            reader.join(PATIENCE)
            stopper.join(PATIENCE)
        assert answers == [1]
        assert released == ["released"]
