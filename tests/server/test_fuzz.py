"""Bodies that nobody would send on purpose: refused with a sentence, never a failure of the server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import chroma_nb
from chroma_nb import errors
from chroma_nb.server.application import RestApplication
from chroma_nb.server.auth import ANONYMOUS
from chroma_nb.server.bodies import Received
from chroma_nb.server.endpoints import ENDPOINTS
from chroma_nb.server.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator

WITH_BODY = {name: one for name, one in ENDPOINTS.items() if one.body is not None}
ON_RECORDS = [name for name, one in WITH_BODY.items() if "{collection_id}/" in one.route.path]
CHROMAS_NAMES = set(errors.error_types) - {"NotSupportedError", "MemoryBudgetError"}
FUZZ = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

texts = st.text(max_size=8) | st.sampled_from(
    ["a", "", "#document", "$and", "AACAPwAAAAA=", "AAAA", "../..", "\x00", "ü", "<b>", "default"]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
operators = st.sampled_from(
    ["$eq", "$ne", "$gt", "$lte", "$in", "$nin", "$contains", "$regex", "$and", "$or", "$not", "x"]
)
filters = st.recursive(
    st.dictionaries(texts | operators, values, max_size=2),
    lambda inner: st.dictionaries(
        operators | texts, st.lists(inner, max_size=3) | inner, max_size=2
    ),
    max_leaves=8,
)
rows = st.lists(
    st.lists(st.floats(width=32) | st.integers(), max_size=3) | texts | st.none(), max_size=3
)
#: Nearly right: the names are, and what stands under them may be.
members = {
    "ids": st.lists(texts, max_size=3) | values,
    "embeddings": rows | values,
    "query_embeddings": rows | values,
    "metadatas": st.lists(st.dictionaries(texts, values, max_size=3) | st.none(), max_size=3)
    | values,
    "documents": st.lists(texts | st.none(), max_size=3) | values,
    "uris": st.lists(texts | st.none(), max_size=3) | values,
    "where": filters | values,
    "where_document": filters | values,
    "include": st.lists(st.sampled_from(["documents", "embeddings", "x"]), max_size=3) | values,
    "n_results": st.integers(-2, 2**70) | values,
    "limit": st.integers(-2, 2**70) | values,
    "offset": st.integers(-2, 2**70) | values,
    "name": texts | values,
    "new_name": texts | values,
    "metadata": st.dictionaries(texts, values, max_size=3) | values,
    "new_metadata": st.dictionaries(texts, values, max_size=3) | values,
    "configuration": st.dictionaries(
        st.sampled_from(["hnsw", "spann", "embedding_function", "x"]), values, max_size=3
    ),
    "new_configuration": st.dictionaries(
        st.sampled_from(["hnsw", "spann", "embedding_function", "x"]), values, max_size=3
    ),
    "get_or_create": st.booleans() | values,
    "budget": values,
    "pinned": values,
    "seconds": values,
    "collections": values,
    "n_records": values,
    "dimension": values,
    "resource_name": values,
}
bodies = st.fixed_dictionaries({}, optional=members)


@pytest.fixture(scope="module")
def rest() -> Iterator[RestApplication]:
    settings = chroma_nb.Settings(allow_reset=True, graph_min_records=777, memory_budget="50 MB")
    with chroma_nb.EphemeralClient(settings) as client:
        service = Service(client.api, settings)
        yield RestApplication(service)
        service.close()
        client.reset()


def answer(rest: RestApplication, name: str, body: bytes, **query: str) -> tuple[int, Any]:
    """Send a body to an operation, in a collection that has two records."""
    api = rest.service.api
    place: Any = {"tenant": "default_tenant", "database": "default_database"}
    configuration = {"hnsw": {"space": "l2"}, "spann": None, "embedding_function": None}
    configuration["hnsw"] = {
        "space": "l2",
        "ef_construction": 100,
        "ef_search": 100,
        "max_neighbors": 16,
        "resize_factor": 1.2,
        "sync_threshold": 1_000,
    }
    found = api.create_collection("fuzz", configuration, None, get_or_create=True, **place)
    path = {**place, "collection_id": str(found.id), "name": "fuzz", "function": "f"}
    received = Received()
    received += body
    status, content = rest.execute(WITH_BODY[name], path, query, ANONYMOUS, received, "trace")
    return status, json.loads(content)


def check(status: int, found: Any) -> None:
    assert status < 500 or status in (501, 507), found
    if status >= 400:
        assert found["error"] in CHROMAS_NAMES
        assert found["message"]
        assert "Traceback" not in found["message"]
        assert len(found["message"]) < 2_000


# A budget may be above what the machine has, which is warned of.
@pytest.mark.filterwarnings("ignore:A memory budget of:UserWarning")
@pytest.mark.parametrize("name", WITH_BODY)
@FUZZ
@given(body=bodies, query=st.sampled_from(["", "base64", "\x00"]))
@example(body={"query_embeddings": [[1.0]], "n_results": 2**62}, query="")
@example(body={"where": {"a": float("nan")}}, query="")
@example(body={"ids": ["a"], "embeddings": [[1e300]]}, query="")
@example(body={"limit": 2**63, "offset": 2**63}, query="")
def test_bodies_that_are_nearly_right(
    rest: RestApplication, name: str, body: Any, query: str
) -> None:
    text = json.dumps(body).encode()
    status, found = answer(rest, name, text, embeddings=query, on_conflict=query or "skip")
    check(status, found)


@pytest.mark.parametrize("name", ON_RECORDS)
@FUZZ
@given(body=st.binary(max_size=200) | values.map(lambda value: json.dumps(value).encode()))
@example(body=b"")
@example(body=b"[" * 100_000)
@example(body=b'{"ids":["\\ud800"],"embeddings":[[1]]}')
@example(body=b'{"ids":["a"],"embeddings":[["' + b"A" * 1_000_000 + b'"]]}')
def test_bodies_that_are_anything(rest: RestApplication, name: str, body: bytes) -> None:
    check(*answer(rest, name, body))
