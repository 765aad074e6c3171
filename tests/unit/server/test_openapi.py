"""The OpenAPI document says what the server does; tests/ecosystem/test_openapi.py holds a running server to it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb
from chroma_nb.server.application import RestApplication, make_application
from chroma_nb.server.endpoints import ENDPOINTS
from chroma_nb.server.openapi import description_of, document_of, tag_of
from chroma_nb.server.service import Service
from chroma_nb.wire.rest import ROUTES

if TYPE_CHECKING:
    from chroma_nb.api.base import API


@pytest.fixture
def document(api: API) -> dict[str, Any]:
    service = Service(api, chroma_nb.Settings(server_threads=1))
    try:
        return document_of(make_application(RestApplication(service)))
    finally:
        service.close()


def test_every_route_is_in_the_document_under_its_name(document: dict[str, Any]) -> None:
    found = {
        operation["operationId"]: (method.upper(), path)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    for name, route in ROUTES.items():
        assert found[name] == (route.method, route.path)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    named = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert named <= document["components"]["schemas"].keys()
    assert "Problem" in named


def test_fastapis_own_form_of_errors_is_nowhere(document: dict[str, Any]) -> None:
    responses = [
        response
        for operations in document["paths"].values()
        for operation in operations.values()
        for response in operation["responses"].values()
    ]
    assert "HTTPValidationError" not in str(responses)


def test_whatever_is_asked_a_server_may_be_busy_late_or_out_of_memory() -> None:
    for name, endpoint in ENDPOINTS.items():
        assert {"503", "504", "507"} <= description_of(endpoint)["responses"].keys(), name


def test_what_is_open_to_everybody_asks_for_no_credentials() -> None:
    heartbeat, count = description_of(ENDPOINTS["heartbeat"]), description_of(ENDPOINTS["count"])
    assert "security" not in heartbeat
    assert "401" not in heartbeat["responses"]
    assert count["security"]
    assert {"401", "403", "404"} <= count["responses"].keys()


def test_the_parameters_of_a_path_are_described() -> None:
    parameters = description_of(ENDPOINTS["count"])["parameters"]
    assert [one["name"] for one in parameters if one["in"] == "path"] == [
        "tenant",
        "database",
        "collection_id",
    ]
    assert parameters[2]["schema"] == {"type": "string", "format": "uuid"}


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("query", "records"),
        ("unload", "memory"),
        ("memory_report", "memory"),
        ("get_tenant", "catalogue"),
        ("get_collection", "catalogue"),
    ],
)
def test_a_route_is_in_its_section(name: str, tag: str) -> None:
    assert tag_of(ROUTES[name]) == tag
