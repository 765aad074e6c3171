"""One suite for Chroma's Python API, written once and run against every way to a store.

``pytest tests/contract`` runs it over several kinds: chroma_nb's ephemeral and persistent clients, one over ClickHouse
(the extra ``clickhouse``), one of two servers over one ClickHouse, each call at the next of them, ones whose texts workers embed
(the extra ``celery``, with RabbitMQ and Redis) while these are killed at random, its client on its own servers, its client on Chroma's server (``chroma run``), and Chroma's
client on chroma_nb's server. The last two want chromadb (the extra ``differential``).
``CHROMA_NB_CONTRACT_AGAINST=chromadb pytest tests/contract`` runs the very same tests over chromadb's
own clients: the suite is verified against the real thing, not against our reading of it.

Three markers say where Chroma's differ, and why:

* ``quirk(reason)``: the test states the contract's advice; chromadb does otherwise, so against
  chromadb it has to fail (strictly: the day chromadb changes, the suite says so). With
  ``always=False`` chromadb may also pass. ``by`` says whose it is: the ``"client"``'s or the
  ``"server"``'s, so that the test passes with the other one; or ``"both"``, where either of ours mends it.
* ``beyond_chroma(reason)``: something that Chroma does not have. Skipped against chromadb; on Chroma's
  server our client does it itself, or, with ``by="server"``, says `NotSupportedError`.
* ``in_process(reason)``: about a store in this process; skipped where a server is between.
"""

from __future__ import annotations

import importlib
import os
import warnings
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import requests

from benchmarks.servers import HAS_CHROMA, NO_CHROMA, Running, running, start_chromas, start_ours
from chroma_nb.errors import NotSupportedError
from tests.support.alternating import alternate
from tests.support.brokers import PROGRAMS, KilledWorkers, missing, running_broker
from tests.support.clickhouse import (
    HAS_CLICKHOUSE,
    NO_CLICKHOUSE,
    URL,
    Front,
    at_clickhouse,
    keep_open,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

AGAINST = os.environ.get("CHROMA_NB_CONTRACT_AGAINST", "chroma_nb")
#: Kind -> (whose client, whose server). No server: in this process.
KINDS: dict[str, tuple[str, str]] = {
    "ephemeral": (AGAINST, ""),
    "persistent": (AGAINST, ""),
}
if AGAINST == "chroma_nb":
    KINDS["clickhouse"] = ("chroma_nb", "")
    KINDS["clickhouse_at_two_servers"] = ("chroma_nb", "chroma_nb")
    KINDS.update({f"celery_{broker}": ("chroma_nb", "") for broker in PROGRAMS})
    KINDS["on_our_server"] = ("chroma_nb", "chroma_nb")
    KINDS["over_flight"] = ("chroma_nb", "chroma_nb")
    KINDS["on_chromas_server"] = ("chroma_nb", "chromadb")
    KINDS["chromas_client"] = ("chromadb", "chroma_nb")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "quirk(reason, by, always=True): states our advice; chromadb itself does otherwise",
    )
    config.addinivalue_line("markers", "beyond_chroma(reason): chromadb has nothing like it")
    config.addinivalue_line("markers", "in_process(reason): about a store in this process")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "store_kind" in metafunc.fixturenames:
        metafunc.parametrize("store_kind", KINDS, scope="session")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        callspec = getattr(item, "callspec", None)
        kind = None if callspec is None else callspec.params.get("store_kind")
        if kind is None:
            continue
        client, server = KINDS[kind]
        if kind.startswith("clickhouse") and not HAS_CLICKHOUSE:
            item.add_marker(pytest.mark.skip(reason=NO_CLICKHOUSE))
        broker = kind.removeprefix("celery_")
        if broker in PROGRAMS:
            if missing(broker):
                item.add_marker(pytest.mark.skip(reason=missing(broker)))
            else:
                # Most functions of these tests are not known to the workers, which is said each time.
                ignored = "ignore::chroma_nb.tasks.workers.WorkerNotice"
                item.add_marker(pytest.mark.filterwarnings(ignored))
        if "chromadb" in (client, server) and not HAS_CHROMA:
            item.add_marker(pytest.mark.skip(reason=NO_CHROMA))
        if server and item.get_closest_marker("in_process"):
            item.add_marker(pytest.mark.skip(reason="about a store in this process"))
        if client == "chromadb" and server:
            # A client of Chroma's whose constructor fails leaves its connections open.
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"))
        if "chromadb" in (client, server):
            _expect_chroma(item, client, server or client)


def _expect_chroma(item: pytest.Item, client: str, server: str) -> None:
    """Mark what Chroma's client or server does in another way."""
    for mark in item.iter_markers("quirk"):
        whose = {"client": (client,), "server": (server,), "both": (client, server)}[
            mark.kwargs["by"]
        ]
        if set(whose) != {"chromadb"}:
            continue
        strict = mark.kwargs.get("always", True)
        item.add_marker(pytest.mark.xfail(reason=f"chromadb: {mark.args[0]}", strict=strict))
    for mark in item.iter_markers("beyond_chroma"):
        if client == "chromadb":
            item.add_marker(pytest.mark.skip(reason=f"beyond Chroma: {mark.args[0]}"))
        elif mark.kwargs.get("by") == "server":
            item.add_marker(
                pytest.mark.xfail(reason=mark.args[0], raises=NotSupportedError, strict=True)
            )


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test of the contract may download a model."""
    monkeypatch.setenv("CHROMA_NB_OFFLINE", "1")


@pytest.fixture(scope="session")
def lib(store_kind: str) -> ModuleType:
    """The module under test: chroma_nb or chromadb."""
    return importlib.import_module(KINDS[store_kind][0])


@pytest.fixture(scope="session")
def errors(lib: ModuleType) -> ModuleType:
    return importlib.import_module(f"{lib.__name__}.errors")


@pytest.fixture(scope="session")
def taken(store_kind: str, errors: ModuleType) -> Any:
    """What a name that is taken raises."""
    apart = KINDS[store_kind] == ("chromadb", "chroma_nb")
    return errors.UniqueConstraintError if apart else errors.InternalError


@pytest.fixture(scope="session")
def refused(store_kind: str, errors: ModuleType) -> Any:
    """What an argument raises that cannot be used."""
    kinds = (ValueError, TypeError, errors.InvalidArgumentError)
    # Chroma's client lets its server look at some, and over HTTP its errors are no ValueErrors.
    return (*kinds, errors.ChromaError) if store_kind == "chromas_client" else kinds


@pytest.fixture(scope="session")
def lacking(store_kind: str, errors: ModuleType) -> Any:
    """What an operation raises that a store does not have."""
    return errors.ChromaError if store_kind == "chromas_client" else NotImplementedError


def settings(lib: ModuleType, **values: Any) -> Any:
    return lib.Settings(allow_reset=True, anonymized_telemetry=False, **values)


@dataclass
class Store:
    """A place that clients open; `open()` may be called again and again."""

    lib: ModuleType
    is_persistent: bool
    path: Path
    #: Host and port of a server, where there is one.
    address: tuple[str, int] | None = None
    #: Another server over the same store: each call goes to the next of the two.
    second: tuple[str, int] | None = None
    #: How it is spoken to.
    scheme: str = "http"
    #: Its records are in ClickHouse.
    in_clickhouse: bool = False
    #: The broker of its workers.
    broker: str = ""
    _opened: list[Any] = field(default_factory=list)

    def open(self, **place: str) -> Any:
        """Return a client; keywords are `tenant` and `database`."""
        chosen = settings(self.lib)
        if self.scheme == "grpc":
            client = self.lib.Client(self._remote_settings(*self.address), **place)
        elif self.address is not None:
            host, port = self.address
            client = self.lib.HttpClient(host=host, port=port, settings=chosen, **place)
            if self.second is not None:
                host, port = self.second
                other = self.lib.HttpClient(host=host, port=port, settings=chosen, **place)
                self._opened.append(other)
                alternate(client, other)
        elif self.in_clickhouse:
            client = self.lib.Client(self._clickhouse_settings(), **place)
        elif self.broker:
            client = self.lib.Client(self._celery_settings(), **place)
        elif self.is_persistent:
            client = self.lib.PersistentClient(path=str(self.path), settings=chosen, **place)
        else:
            client = self.lib.EphemeralClient(settings=chosen, **place)
        self._opened.append(client)
        return client

    def admin(self) -> Any:
        if self.address is not None:
            values = self._remote_settings(*self.address)
        elif self.in_clickhouse:
            values = self._clickhouse_settings()
        elif self.broker:
            values = self._celery_settings()
        elif self.is_persistent:
            values = settings(self.lib, is_persistent=True, persist_directory=str(self.path))
        else:
            values = settings(self.lib)
        admin = self.lib.AdminClient(settings=values)
        if self.second is not None:
            other = self.lib.AdminClient(settings=self._remote_settings(*self.second))
            self._opened.append(other)
            alternate(admin, other)
        self._opened.append(admin)
        return admin

    def _clickhouse_settings(self) -> Any:
        return at_clickhouse(settings(self.lib, path=str(self.path)))

    def _celery_settings(self) -> Any:
        return settings(self.lib, path=str(self.path), api="celery", celery_broker=self.broker)

    def _remote_settings(self, host: str, port: int) -> Any:
        if self.lib.__name__ == "chroma_nb":
            api = "fastapi" if self.scheme == "http" else "arrowflight"
            return settings(self.lib, api=api, url=f"{self.scheme}://{host}:{port}")
        return settings(
            self.lib,
            chroma_api_impl="chromadb.api.fastapi.FastAPI",
            chroma_server_host=host,
            chroma_server_http_port=port,
        )

    def close(self) -> None:
        for client in self._opened:
            if hasattr(client, "close"):
                client.close()
            if self.address is not None and self.lib.__name__ == "chromadb":
                # Chroma's HTTP client leaves its connections to the garbage collector.
                for one in (client, getattr(client, "_admin_client", client)):
                    one._server._session.close()
        self._opened.clear()


@pytest.fixture(scope="session")
def our_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """chroma_nb's server, over a store in memory."""
    with running(start_ours(tmp_path_factory.mktemp("ours"), "--allow-reset")) as server:
        yield server


@pytest.fixture(scope="session")
def our_two_servers(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Running, Running]]:
    """Two of chroma_nb's servers, over one ClickHouse."""
    folder = tmp_path_factory.mktemp("two")
    front = None if URL else Front(folder / "engine")
    if front is None:
        ours = importlib.import_module("chroma_nb")
        address = at_clickhouse(settings(ours, path=str(folder))).clickhouse_url
    else:
        address = f"{front.url}/default"
    environment = {"CHROMA_NB_DB": "clickhouse", "CHROMA_NB_CLICKHOUSE_URL": address}
    folders = [folder / "one", folder / "other"]
    for one in folders:
        one.mkdir()
    try:
        with (
            running(start_ours(folders[0], "--allow-reset", **environment)) as one,
            running(start_ours(folders[1], "--allow-reset", **environment)) as other,
        ):
            yield one, other
    finally:
        if front is not None:
            front.kill()


@pytest.fixture(scope="session")
def our_flight_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """chroma_nb's Arrow Flight server, over a store in memory."""
    folder = tmp_path_factory.mktemp("flight")
    with running(start_ours(folder, "--allow-reset", CHROMA_NB_SERVER="arrowflight")) as server:
        yield server


@pytest.fixture(scope="session")
def chromas_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Chroma's own server."""
    with running(start_chromas(tmp_path_factory.mktemp("chroma"))) as server:
        yield server


@pytest.fixture(scope="session")
def workers_broker(store_kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a broker with workers that are killed at random; "" for a store that has none."""
    kind = store_kind.removeprefix("celery_")
    if kind not in PROGRAMS:
        yield ""
        return
    from chroma_nb.tasks import pieces

    folder = tmp_path_factory.mktemp(kind)
    with pytest.MonkeyPatch.context() as patch, running_broker(kind, folder) as broker:
        # Here the few texts of each test go to a worker, too.
        patch.setattr(pieces, "FEW_TEXTS", 1)
        with KilledWorkers(broker.url, folder):
            yield broker.url


@pytest.fixture(scope="session")
def held_store(
    store_kind: str,
    lib: ModuleType,
    tmp_path_factory: pytest.TempPathFactory,
    workers_broker: str,
) -> Iterator[Store]:
    """A store of this process that stays open: to open one for each test takes longer than most of them."""
    store = Store(lib, store_kind == "persistent", tmp_path_factory.mktemp("held") / "store")
    store.broker = workers_broker
    # ClickHouse has one folder in a process, and other tests have theirs: see `keep_open`.
    if store_kind != "clickhouse":
        store.open()
    yield store
    store.close()


@pytest.fixture
def store(
    request: pytest.FixtureRequest, store_kind: str, lib: ModuleType, tmp_path: Path
) -> Iterator[Store]:
    """An empty store. Clients of other tests were there before, so it is emptied first."""
    server = KINDS[store_kind][1]
    store = Store(lib, store_kind == "persistent", tmp_path / "store")
    store.in_clickhouse = store_kind == "clickhouse"
    if store_kind == "over_flight":
        store.scheme = "grpc"
        store.address = ("127.0.0.1", request.getfixturevalue("our_flight_server").port)
        store.open().reset()
    elif store_kind == "clickhouse_at_two_servers":
        one, other = request.getfixturevalue("our_two_servers")
        store.address, store.second = ("127.0.0.1", one.port), ("127.0.0.1", other.port)
        store.open().reset()
    elif server:
        fixture = "our_server" if server == "chroma_nb" else "chromas_server"
        store.address = ("127.0.0.1", request.getfixturevalue(fixture).port)
        # By hand: a client of its own for this would take longer than many a test.
        requests.post(
            f"http://127.0.0.1:{store.address[1]}/api/v2/reset", timeout=60
        ).raise_for_status()
    else:
        # In memory, equal settings share one store, whatever its path.
        held = request.getfixturevalue("held_store")
        store.path, store.broker = held.path, held.broker
        if store.in_clickhouse:
            keep_open(store._clickhouse_settings())
        store.open().reset()
    yield store
    store.close()


@pytest.fixture
def persistent_store(
    store_kind: str, lib: ModuleType, tmp_path: Path, workers_broker: str
) -> Iterator[Store]:
    if store_kind not in ("persistent", "clickhouse") and not workers_broker:
        pytest.skip("about a store on disk")
    store = Store(lib, True, tmp_path / "store", in_clickhouse=store_kind == "clickhouse")
    store.broker = workers_broker
    yield store
    store.close()


@pytest.fixture
def client(store: Store) -> Any:
    return store.open()


@pytest.fixture
def create(client: Any) -> Callable[..., Any]:
    """Make a collection that embeds nothing by itself; keywords as in create_collection."""
    counter = iter(range(1_000_000))

    def make(name: str | None = None, **options: Any) -> Any:
        options.setdefault("embedding_function", None)
        return client.create_collection(name or f"notes-{next(counter)}", **options)

    return make


@pytest.fixture
def notes(create: Callable[..., Any]) -> Any:
    """Three records: a (everything), b (no document), c (no metadata)."""
    collection = create("notes")
    collection.add(
        ids=["a", "b", "c"],
        embeddings=[[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]],
        metadatas=[{"k": "v", "n": 1}, {"k": "w", "n": 2}, None],
        documents=["alpha", None, "gamma"],
    )
    return collection


@pytest.fixture
def legacy(create: Callable[..., Any]) -> Any:
    """An empty collection for which no embedding function is known, and the store says so."""
    return create("legacy", configuration={"hnsw": {"space": "l2"}})


@pytest.fixture
def toys(lib: ModuleType) -> SimpleNamespace:
    """Embedding functions small enough to check by hand; made anew, so no test sees another's calls."""
    functions = importlib.import_module(f"{lib.__name__}.utils.embedding_functions")

    class Toy(lib.EmbeddingFunction[lib.Documents]):  # type: ignore[name-defined, misc]
        """A text becomes (its length, its number of a's) * scale."""

        calls: ClassVar[list[list[str]]] = []

        def __init__(self, scale: float = 1.0) -> None:
            self.scale = scale

        def __call__(self, input: Any) -> Any:
            type(self).calls.append(list(input))
            return [[len(t) * self.scale, t.count("a") * self.scale] for t in input]

        @staticmethod
        def name() -> str:
            return "contract_toy"

        def get_config(self) -> dict[str, Any]:
            return {"scale": self.scale}

        @staticmethod
        def build_from_config(config: dict[str, Any]) -> Any:
            return Toy(config["scale"])

    class OtherToy(Toy):
        """Another name."""

        calls: ClassVar[list[list[str]]] = []

        @staticmethod
        def name() -> str:
            return "contract_other_toy"

        @staticmethod
        def build_from_config(config: dict[str, Any]) -> Any:
            return OtherToy(config["scale"])

    class Asymmetric(Toy):
        """Queries are embedded in another way than documents."""

        calls: ClassVar[list[list[str]]] = []

        @staticmethod
        def name() -> str:
            return "contract_asymmetric"

        @staticmethod
        def build_from_config(config: dict[str, Any]) -> Any:
            return Asymmetric(config["scale"])

        def embed_query(self, input: Any) -> Any:
            import numpy as np

            return [np.array([100.0, 100.0], dtype=np.float32) for _ in input]

    class OnlyCosine(Toy):
        """Says which spaces it is made for."""

        calls: ClassVar[list[list[str]]] = []

        @staticmethod
        def name() -> str:
            return "contract_only_cosine"

        @staticmethod
        def build_from_config(config: dict[str, Any]) -> Any:
            return OnlyCosine(config["scale"])

        def default_space(self) -> str:
            return "cosine"

        def supported_spaces(self) -> list[str]:
            return ["cosine"]

    class Plain:
        """No name, no configuration: what notebooks define in one cell."""

        def __call__(self, input: Any) -> Any:
            return [[float(len(t)), 1.0] for t in input]

    class WrongSignature:
        def __call__(self, texts: Any) -> Any:
            return [[1.0] for _ in texts]

    known = functions.known_embedding_functions
    before = dict(known)
    for function in (Toy, OtherToy, Asymmetric, OnlyCosine):
        functions.register_embedding_function(function)
    yield SimpleNamespace(
        Toy=Toy,
        OtherToy=OtherToy,
        Asymmetric=Asymmetric,
        OnlyCosine=OnlyCosine,
        Plain=Plain,
        WrongSignature=WrongSignature,
        functions=functions,
    )
    known.clear()
    known.update(before)


@pytest.fixture
def legacy_warnings() -> Iterator[None]:
    """Chroma warns (DeprecationWarning) of functions that cannot be stored; here that is expected."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        yield
