"""What Chroma's tests want of their conftest, with clients of chroma_nb; a pytest plugin in a process of its own.

The environment says which store the clients are of (`run.py`): CHROMAS_OWN_URL is a server, CHROMAS_OWN_FOLDER a folder of
ClickHouse's, none is this process. It says
whether Chroma's distributed store is what the tests are to expect (CHROMA_CLUSTER_TEST_ONLY, as Chroma has it), which
tests run (CHROMAS_OWN_ONLY, a file of their names; all where it is not set) and where the outcomes go (CHROMAS_OWN_REPORT).
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from types import MethodType, SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import hypothesis
import numpy as np
import pytest

from tests.chromas_own import names as chromas_names
from tests.chromas_own.reviewed import FILES

chromas_names.install(Path(os.environ["CHROMAS_OWN_CHECKOUT"]))

import chroma_nb  # noqa: E402
from chroma_nb import stores  # noqa: E402
from chroma_nb.search import Condition  # noqa: E402
from tests.support.clickhouse import URL, keep_open, let_go  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Chroma's tests ask which of Chroma's implementations runs: none of them.
chroma_nb.Settings.chroma_api_impl = "chroma_nb"  # type: ignore[attr-defined]

hypothesis.settings.register_profile(
    "chromas",
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
    max_examples=int(os.environ.get("CHROMAS_OWN_EXAMPLES", "10")),
    stateful_step_count=20,
    database=None,
    derandomize=True,
    # Smaller examples of a failure take minutes to find.
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
)
hypothesis.settings.load_profile("chromas")

# The names that Chroma's tests import from their conftest.
NOT_CLUSTER_ONLY = os.getenv("CHROMA_CLUSTER_TEST_ONLY") != "1"
MULTI_REGION_ENABLED = False
MULTI_REGION_TOPOLOGY = "tilt-spanning"
DEFAULT_MCMR_DATABASE = f"{MULTI_REGION_TOPOLOGY}+{chroma_nb.DEFAULT_DATABASE}"
COMPACTION_SLEEP = 120
#: Chroma's tests ask so whether they run against its local store.
is_spann_disabled_mode = NOT_CLUSTER_ONLY
skip_reason_spann_disabled = "not in Chroma's local store"
skip_reason_spann_enabled = "only in Chroma's local store"
_URL = os.environ.get("CHROMAS_OWN_URL")
#: The folder of a store in ClickHouse, in this process.
_FOLDER = os.environ.get("CHROMAS_OWN_FOLDER")


def _places() -> list[str]:
    if _URL is not None:
        return ["over HTTP"]
    return ["in memory", "in a folder"] if _FOLDER is None else ["in ClickHouse"]


def _name(item_id: str) -> str:
    return item_id.removeprefix("chromadb/test/")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    only = os.environ.get("CHROMAS_OWN_ONLY")
    names = [_name(one.nodeid) for one in items]
    wanted = set(json.loads(Path(only).read_text()) if only else names)
    wanted = {name for name in wanted if FILES[name.partition("::")[0]] in name}
    config.hook.pytest_deselected(
        items=[one for one, name in zip(items, names, strict=True) if name not in wanted]
    )
    items[:] = [one for one, name in zip(items, names, strict=True) if name in wanted]


_outcomes: dict[str, str] = {}


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _outcomes[_name(report.nodeid)] = "failed"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or not report.passed:
        before = _outcomes.get(_name(report.nodeid))
        _outcomes[_name(report.nodeid)] = "failed" if before == "failed" else report.outcome


def pytest_sessionfinish(session: pytest.Session) -> None:
    if "CHROMAS_OWN_REPORT" in os.environ:
        Path(os.environ["CHROMAS_OWN_REPORT"]).write_text(json.dumps(_outcomes))


def skip_if_not_cluster() -> pytest.MarkDecorator:
    return pytest.mark.skipif(NOT_CLUSTER_ONLY, reason="not in Chroma's local store")


def get_collection_version(client: Any, name: str) -> int:
    return int(client.get_collection(name).get_model()["version"])


def wait_for_version_increase(client: Any, name: str, *_: int, **__: int) -> int:
    # Nothing is compacted later here: what was written is complete.
    return get_collection_version(client, name)


def multi_region_test(test: Any) -> Any:
    return test


def override_hypothesis_profile(**_: Any) -> hypothesis.settings:
    return hypothesis.settings()


def reset(client: Any) -> None:
    client.reset()


def is_client_in_process(client: Any) -> bool:
    # Chroma's tests look into the SQLite file of a client that is, which ours is not.
    return False


def create_isolated_database(client: Any) -> None:
    database = f"test_{uuid4()}"
    admin = chroma_nb.AdminClient(client.get_settings())
    admin.create_database(database)
    admin.close()
    client.set_database(database)


class ClientFactories:
    """Makes clients of one store."""

    def __init__(self, settings: chroma_nb.Settings) -> None:
        self._settings = settings
        self._made: list[Any] = []

    def _kept(self, client: Any) -> Any:
        self._made.append(client)
        return client

    def create_client(self, *arguments: Any, **named: Any) -> Any:
        if named.get("settings") is None:
            named["settings"] = self._settings
        return self._kept(chroma_nb.Client(*arguments, **named))

    def create_client_from_system(self) -> Any:
        return self._kept(chroma_nb.Client(self._settings))

    def create_admin_client(self, settings: Any = None) -> Any:
        return self._kept(chroma_nb.AdminClient(settings or self._settings))

    def create_admin_client_from_system(self) -> Any:
        return self.create_admin_client()

    def close(self) -> None:
        while self._made:
            self._made.pop().close()


@pytest.fixture(params=_places())
def settings(request: pytest.FixtureRequest) -> Iterator[chroma_nb.Settings]:
    """An empty store."""
    common = {"allow_reset": True, "offline": True}
    if request.param == "in memory":
        yield chroma_nb.Settings(**common)
    elif request.param == "in ClickHouse":
        # As CHROMA_NB_DB says. It stays open: chDB leaves threads behind each time.
        chosen = chroma_nb.Settings(**common) if URL else chroma_nb.Settings(path=_FOLDER, **common)
        keep_open(chosen)
        yield chosen
    elif request.param == "in a folder":
        with tempfile.TemporaryDirectory() as folder:
            yield chroma_nb.Settings(path=folder, is_persistent=True, **common)
            stores.close_all()
    else:
        yield chroma_nb.Settings(url=_URL, **common)
    stores.close_all()


@pytest.fixture(autouse=True)
def _room_for_a_folder_of_its_own(request: pytest.FixtureRequest) -> None:
    """Let a test open a folder itself: ClickHouse has one in a process."""
    if _FOLDER is not None and "settings" not in request.fixturenames:
        let_go()


@pytest.fixture
def client_factories(settings: chroma_nb.Settings) -> Iterator[ClientFactories]:
    with chroma_nb.Client(settings) as client:
        client.reset()
    factories = ClientFactories(settings)
    yield factories
    factories.close()


@pytest.fixture
def client(client_factories: ClientFactories) -> Any:
    return client_factories.create_client_from_system()


def _differs_on_purpose(metadata: Any = None, configuration: Any = None, **_: Any) -> bool:
    """Say whether docs/from_chroma.md says of these arguments of `create_collection` that they mean something else."""
    index = {**(configuration or {})}.get("hnsw") or {**(configuration or {})}.get("spann")
    older = {key: value for key, value in (metadata or {}).items() if key.startswith("hnsw:")}
    links = [older.get("hnsw:M"), (index or {}).get("max_neighbors")]
    return bool(older and index is not None) or 1 in links


@pytest.fixture(autouse=True)
def _other_examples(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Hypothesis draw anew what differs on purpose."""
    if request.node.get_closest_marker("hypothesis") is None:
        return
    kind = type(request.getfixturevalue("client"))
    create = kind.create_collection

    def create_or_reject(self: Any, *arguments: Any, **named: Any) -> Any:
        if _differs_on_purpose(**named):
            hypothesis.reject()
        return create(self, *arguments, **named)

    monkeypatch.setattr(kind, "create_collection", create_or_reject)


@pytest.fixture(autouse=True)
def _wheres_of_their_own(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a condition of a class of conditions that a file of tests has of its own, which asks whether it is true."""
    name = "LegacyWhereWrapper"
    kind = getattr(request.module, name, None)
    if kind is None:
        return

    def condition(where: Any = None, where_document: Any = None) -> Condition:
        parts = SimpleNamespace(where=where, where_document=where_document)
        parts._convert_where_document = MethodType(kind._convert_where_document, parts)
        return Condition(kind.to_dict(parts))

    monkeypatch.setattr(request.module, name, condition)
    monkeypatch.setattr(Condition, "__bool__", lambda _: True)


@pytest.fixture
def http_client(client: Any) -> Any:
    if _URL is None:
        pytest.skip("over HTTP alone")
    return client


@pytest.fixture
def api(client: Any) -> Any:
    return client


@pytest.fixture
def database_name() -> str:
    return chroma_nb.DEFAULT_DATABASE


@pytest.fixture
def mock_embeddings() -> Callable[[list[str]], Any]:
    return lambda input: [np.array([0.1, 0.2, 0.3], dtype=np.float32) for _ in input]
