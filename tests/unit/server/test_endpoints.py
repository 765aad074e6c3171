"""What each route takes and gives."""

from __future__ import annotations

import pytest

from chroma_nb.server.endpoints import ENDPOINTS
from chroma_nb.wire.rest import ROUTES


def test_each_route_is_described_once() -> None:
    assert ENDPOINTS.keys() == ROUTES.keys()
    assert all(endpoint.route is ROUTES[name] for name, endpoint in ENDPOINTS.items())


@pytest.mark.parametrize("name", ENDPOINTS)
def test_a_summary_is_one_sentence(name: str) -> None:
    summary = ENDPOINTS[name].summary
    assert summary
    assert "\n" not in summary
    assert summary[0].isupper()


@pytest.mark.parametrize("name", ENDPOINTS)
def test_what_is_read_with_get_has_no_body(name: str) -> None:
    endpoint = ENDPOINTS[name]
    assert endpoint.route.method != "GET" or endpoint.body is None
    assert 200 <= endpoint.status < 300
    assert all(status >= 400 for status in endpoint.problems)
