from __future__ import annotations

import importlib.util
import json
from typing import TYPE_CHECKING, Any

import pytest
import requests

from benchmarks.servers import Running, running, start_ours
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server.flight_clients import Place, Plain

PLACE = "/api/v2/tenants/default_tenant/databases/default_database"


class Raw:
    """Plain HTTP requests, as no client of ours would send them."""

    def __init__(self, url: str, **headers: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers.update(headers)

    def __call__(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        if body is not None:
            options["json"] = body
        return self.session.request(method, self.url + path, timeout=60, **options)

    def collection(self, name: str, **more: Any) -> str:
        """Make a collection and return its path."""
        found = self("POST", f"{PLACE}/collections", {"name": name, "get_or_create": True, **more})
        assert found.status_code == 200, found.text
        return f"{PLACE}/collections/{found.json()['id']}"

    def close(self) -> None:
        self.session.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server in memory that may be reset."""
    with running(start_ours(tmp_path_factory.mktemp("server"), "--allow-reset")) as server:
        yield server


@pytest.fixture
def raw(server: Running) -> Iterator[Raw]:
    raw = Raw(server.url)
    assert raw("POST", "/api/v2/reset").json() is True
    yield raw
    raw.close()


#: What makes a server of a transport.
TRANSPORTS = {"http": {}, "grpc": {"CHROMA_NB_SERVER": "arrowflight"}}


@pytest.fixture(params=list(TRANSPORTS))
def transport(request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment of a server, of each transport."""
    skip_without(request.param)
    return TRANSPORTS[request.param]


def skip_without(scheme: str) -> None:
    if scheme == "grpc" and importlib.util.find_spec("pyarrow") is None:
        pytest.skip("needs pyarrow")


def asked(url: str, headers: dict[str, str], tenant: str | None = None) -> tuple[int, Any]:
    """Ask, by HTTP or by Arrow Flight, who one is, or for the collections of a tenant.

    Returns:
        The status and the answer.
    """
    if url.startswith("grpc"):
        return _asked_by_flight(url, headers, tenant)
    raw = Raw(url)
    where = f"/api/v2/tenants/{tenant}/databases/default_database/collections"
    answer = raw("GET", where if tenant else "/api/v2/auth/identity", headers=headers)
    raw.close()
    return answer.status_code, answer.json()


def _asked_by_flight(url: str, headers: dict[str, str], tenant: str | None) -> tuple[int, Any]:
    import pyarrow.flight as fl

    path = {"tenant": tenant, "database": "default_database"} if tenant else {}
    action = fl.Action(
        "list_collections" if tenant else "get_user_identity", json.dumps({"path": path}).encode()
    )
    options = fl.FlightCallOptions(
        timeout=60, headers=[(name.lower().encode(), one.encode()) for name, one in headers.items()]
    )
    with fl.FlightClient(url) as client:
        try:
            (result,) = client.do_action(action, options)
        except fl.FlightError as error:
            found = json.loads(error.extra_info)
            return found["status"], found
    return 200, json.loads(result.body.to_pybytes())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A server of Arrow Flight with two tenants."""
    pytest.importorskip("pyarrow.flight")
    from chroma_nb.server.auth_file import AuthFile
    from tests.server.flight_clients import MOST_OPEN, Place, served

    file = AuthFile(str(tmp_path_factory.mktemp("flight") / "auth.json"))
    tokens = {"alice": file.add_token("alice", ["acme"]), "bob": file.add_token("bob", ["bolt"])}
    with served(
        server_auth_file=file.path,
        server_max_body="2 MB",
        server_max_streams=2 * MOST_OPEN,
    ) as server:
        place = Place(server, tokens)
        yield place
        for one in (place.plain, place.bob, place.stranger):
            one.client.close()


@pytest.fixture
def place(whole: Place) -> Iterator[Place]:
    from tests.server.flight_clients import MOST_OPEN, records

    yield whole
    # No thread is left, and nothing was written.
    for calls in (whole.calls, whole.streams):
        wait_until(lambda calls=calls: calls.n_free == 2 * MOST_OPEN)  # type: ignore[misc]
    assert whole.plain.get(whole.path)["id"].to_pylist() == ["kept"]
    whole.plain.put("upsert", whole.path, records("kept"))


@pytest.fixture
def plain(server: Any) -> Iterator[Plain]:
    """A plain client of Arrow Flight, of the module's `server`."""
    from tests.server.flight_clients import Plain

    plain = Plain(server.url)
    yield plain
    plain.client.close()
