from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from benchmarks.servers import Running, running, start_ours

if TYPE_CHECKING:
    from collections.abc import Iterator

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
