"""The OpenAPI document of the REST API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_origin

import pydantic
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from chroma_nb.server import schemas

if TYPE_CHECKING:
    from collections.abc import Iterable

    import fastapi

    from chroma_nb.server.endpoints import Endpoint
    from chroma_nb.wire.rest import Route

#: The content type of JSON.
JSON = "application/json"


def tag_of(route: Route) -> str:
    """Return the tag (the section of the document) that a route belongs to."""
    if "memory" in route.path or route.path.endswith(("/unload", "/load", "/pin", "/ttl")):
        return "memory"
    if "{collection_id}/" in route.path and "by-id" not in route.path:
        return "records"
    return "catalogue"


def description_of(endpoint: Endpoint) -> dict[str, Any]:
    """Return the parts of a route's description that FastAPI does not know: responses, parameters, body, security."""
    problem = {"$ref": "#/components/schemas/Problem"}
    # 507: reading a body, the store or the catalogue takes memory.
    statuses = {400, 413, 415, 500, 503, 504, 507, *endpoint.problems}
    if endpoint.body is not None:
        statuses |= {408, 422}
    if endpoint.route.operation.scope != "open":
        statuses |= {401, 403}
    if "{" in endpoint.route.path:
        statuses.add(404)
    answers: dict[str, Any] = {
        str(status): {
            "description": "What went wrong.",
            "content": {JSON: {"schema": problem}},
        }
        for status in sorted(statuses)
    }
    if endpoint.answer is not schemas.Problem:
        answers[str(endpoint.status)] = {
            "description": "Done.",
            "content": {JSON: {"schema": _schema(endpoint.answer)}},
        }
    found: dict[str, Any] = {"responses": answers}
    found["parameters"] = [
        {"name": name, "in": "path", "required": True, "schema": kind}
        for name, kind in _path_parameters(endpoint.route.parameters)
    ] + [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": meaning,
            "schema": {"type": "string"},
        }
        for name, meaning in endpoint.query
    ]
    if endpoint.body is not None:
        found["requestBody"] = {
            "required": True,
            "content": {JSON: {"schema": _schema(endpoint.body)}},
        }
    if endpoint.route.operation.scope != "open":
        found["security"] = [{"token": []}, {"chromaToken": []}, {"basic": []}, {}]
    return found


def _path_parameters(names: Iterable[str]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (name, {"type": "string", **({"format": "uuid"} if name == "collection_id" else {})})
        for name in names
    ]


def _schema(kind: Any) -> dict[str, Any]:
    """Return a reference to a model, or the schema of a plain type."""
    if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel):
        return {"$ref": f"#/components/schemas/{kind.__name__}"}
    if get_origin(kind) is list:
        return {"type": "array", "items": _schema(kind.__args__[0])}
    return pydantic.TypeAdapter(kind).json_schema()


def document_of(app: fastapi.FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of an application; it is made once."""
    if app.openapi_schema:
        return app.openapi_schema
    made = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    models: list[type[pydantic.BaseModel]] = [
        kind
        for kind in vars(schemas).values()
        if isinstance(kind, type)
        and issubclass(kind, pydantic.BaseModel)
        and kind not in (pydantic.BaseModel, schemas.Body, schemas.Answer)
    ]
    inputs = [kind for kind in models if not issubclass(kind, schemas.Answer)]
    answers = [kind for kind in models if issubclass(kind, schemas.Answer)]
    template = "#/components/schemas/{model}"
    _, definitions = models_json_schema(
        [
            *((kind, "validation") for kind in inputs),
            *((kind, "serialization") for kind in answers),
        ],
        ref_template=template,
    )
    components = made.setdefault("components", {})
    components["schemas"] = {**components.get("schemas", {}), **definitions["$defs"]}
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer"},
        "chromaToken": {"type": "apiKey", "in": "header", "name": "X-Chroma-Token"},
        "basic": {"type": "http", "scheme": "basic"},
    }
    for operations in made["paths"].values():
        for operation in operations.values():
            # FastAPI adds its own response for 422, in a form that this server never sends.
            problem = operation["responses"].get("422", {}).get("content", {}).get(JSON, {})
            if "HTTPValidationError" in str(problem):
                del operation["responses"]["422"]
    app.openapi_schema = made
    return made
