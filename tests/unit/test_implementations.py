"""The tables of implementations: names, dotted paths, and the APIs that ask a server."""

from __future__ import annotations

from typing import Any

import pytest

from chroma_nb import api_names, implementations
from chroma_nb.api.base import API
from chroma_nb.db.base import DB
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.server.base import Server
from chroma_nb.settings import Settings
from tests.support.brokers import HAS_CELERY, NO_CELERY
from tests.support.clickhouse import HAS_CLICKHOUSE, NO_CLICKHOUSE

_TABLES: dict[str, tuple[dict[str, str], Any]] = {
    "api": (implementations.API_IMPLEMENTATIONS, API),
    "db": (implementations.DB_IMPLEMENTATIONS, DB),
    "server": (implementations.SERVER_IMPLEMENTATIONS, Server),
}


@pytest.mark.parametrize(
    ("setting", "name"),
    [(setting, name) for setting, (known, _) in _TABLES.items() for name in known],
)
def test_a_name_and_its_path_lead_to_one_implementation(setting: str, name: str) -> None:
    if name == "clickhouse" and not HAS_CLICKHOUSE:
        pytest.skip(NO_CLICKHOUSE)
    if name == "celery" and not HAS_CELERY:
        pytest.skip(NO_CELERY)
    known, kind = _TABLES[setting]
    found = implementations.load_implementation(setting, name, known)
    assert issubclass(found, kind)
    assert implementations.load_implementation(setting, known[name], known) is found


@pytest.mark.parametrize("setting", _TABLES)
def test_an_unknown_name_is_refused_with_the_nearest(setting: str) -> None:
    known, _ = _TABLES[setting]
    first = next(iter(known))
    with pytest.raises(InvalidArgumentError, match=f"Unknown {setting} '{first}x'.*Did you mean"):
        implementations.load_implementation(setting, first + "x", known)


def test_the_table_says_which_apis_are_remote() -> None:
    for name in implementations.API_IMPLEMENTATIONS:
        assert Settings(api=name).is_remote is api_names.is_remote(name)
        if name == "celery" and not HAS_CELERY:
            continue
        kind = implementations.load_implementation("api", name, implementations.API_IMPLEMENTATIONS)
        assert api_names.is_remote(name) is not kind.is_near, name
    assert not api_names.is_remote("package.module:Class")


@pytest.mark.parametrize("url", ["http://host:8000", "HTTPS://host", "host:8000", "ftp://host"])
def test_an_address_leads_to_the_api_that_asks_it(url: str) -> None:
    assert api_names.remote_api(url) == "fastapi"
    assert Settings(url=url).is_remote
