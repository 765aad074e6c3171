"""Whatever answers, a client raises an error of its own, takes bounded memory, and shows its secrets to nobody else."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb as chroma
from chroma_nb.errors import ChromaError, ServerUnavailableError
from tests.trust.listening import Answer, Listening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ID = "6f0f4a1e-1111-4222-8333-944445555666"
PREFLIGHT = {
    "max_batch_size": 100,
    "server": "chroma_nb",
    "version": "1",
    "supports_base64_encoding": True,
    "max_records": 100,
    "max_body": 10_000_000,
}
COLLECTION = {
    "id": ID,
    "name": "docs",
    "configuration_json": {"hnsw": {"space": "l2"}, "embedding_function": None},
    "metadata": None,
    "dimension": 2,
    "tenant": "default_tenant",
    "database": "default_database",
    "ttl_seconds": None,
}
DATABASE = {"id": ID, "name": "default_database", "tenant": "default_tenant"}
GOOD: dict[str, Any] = {
    "pre-flight-checks": PREFLIGHT,
    "identity": {"user_id": "", "tenant": "*", "databases": ["*"]},
    "heartbeat": {"nanosecond heartbeat": 1},
    "version": "1",
    "default_tenant": {"name": "default_tenant"},
    "default_database": DATABASE,
    "databases": [DATABASE],
    "collections": [COLLECTION],
    "docs": COLLECTION,
    "collections_count": 1,
    "count": 1,
    "get": {"ids": ["a"], "documents": ["x"], "metadatas": [{"k": 1}], "embeddings": [[1.0, 2.0]]},
    "query": {
        "ids": [["a"]],
        "distances": [[0.5]],
        "documents": [["x"]],
        "metadatas": [[{"k": 1}]],
        "embeddings": [[[1.0, 2.0]]],
    },
    "delete": {"deleted": 1},
    "unload": {"released": 1},
    "load": {"resident_bytes": 1},
    "budget": {"budget": 1},
    "fields": [
        {
            "key": "k",
            "kinds": ["int"],
            "n_records": 1,
            "minimum": 1,
            "maximum": 1,
            "n_distinct": 1,
            "values": [[1, 1]],
            "is_estimate": False,
        }
    ],
    "metadata_keys": ["k"],
    "explain": {"collection": "docs", "strategy": "exact", "reason": "", "elapsed_ms": 0.1},
    "indexing_status": {
        "num_indexed_ops": 1,
        "num_unindexed_ops": 0,
        "total_ops": 1,
        "op_indexing_progress": 1.0,
    },
}


class Hostile(Listening):
    """A Chroma server that answers as it is told; what it is not told about it answers well."""

    def __init__(self) -> None:
        super().__init__()
        self.odd: dict[str, Answer] = {}

    def answer(self, path: str, asked: bytes) -> Answer:
        name = path.partition("?")[0].rpartition("/")[2]
        if name == ID:
            name = "docs"
        return self.odd.get(name) or ok(GOOD.get(name, {}))


def asking(server: Hostile, **values: Any) -> Any:
    token = values.pop("token", None)
    return chroma.connect(server.url, token=token, settings=chroma.Settings(retries=0, **values))


def ok(value: Any) -> Answer:
    return 200, {"Content-Type": "application/json"}, json.dumps(value).encode()


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    found = Hostile()
    yield found
    found.close()


CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "heartbeat": lambda client, _: client.heartbeat(),
    "version": lambda client, _: client.get_version(),
    "collections": lambda client, _: client.list_collections(),
    "collections_count": lambda client, _: client.count_collections(),
    "docs": lambda client, _: client.get_collection("docs", embedding_function=None),
    "count": lambda _, docs: docs.count(),
    "get": lambda _, docs: docs.get(include=["documents", "metadatas", "embeddings"]),
    "query": lambda _, docs: docs.query(
        query_embeddings=[[1.0, 2.0]],
        include=["documents", "metadatas", "embeddings", "distances"],
    ),
    "delete": lambda _, docs: docs.delete(ids=["a"]),
    "unload": lambda _, docs: docs.unload(),
    "load": lambda client, _: client.memory.load("docs"),
    "budget": lambda client, _: client.memory.budget,
    "fields": lambda _, docs: (docs.fields.describe(), repr(docs.fields)),
    "metadata_keys": lambda _, docs: dir(docs.fields),
    "indexing_status": lambda _, docs: docs.get_indexing_status(),
    "report": lambda client, _: client.memory.report(),
    "explain": lambda _, docs: docs.explain(query_embeddings=[[1.0, 2.0]]),
}


def mutations(value: Any) -> Iterator[Any]:
    """Return what stands near a good answer: parts of it missing, of other kinds, too many or too few."""
    yield from (None, 5, -1, 1e400, True, "text", [], {}, [None], {"a": 1}, [[[[]]]])
    if isinstance(value, dict):
        for key, part in value.items():
            yield {name: one for name, one in value.items() if name != key}
            for other in mutations(part):
                yield {**value, key: other}
    if isinstance(value, list) and value:
        yield value * 2
        yield [*value, None]
        for other in mutations(value[0]):
            yield [other, *value[1:]]


@pytest.mark.parametrize("name", CALLS)
def test_odd_answers_are_errors_of_ours(hostile: Hostile, name: str) -> None:
    with asking(hostile) as client:
        docs = client.get_collection("docs", embedding_function=None)
        for odd in mutations(GOOD.get(name, {})):
            hostile.odd = {name: ok(odd)}
            try:
                shown = CALLS[name](client, docs)
                repr(shown)
                if hasattr(shown, "_repr_html_"):
                    shown._repr_html_()
            except ChromaError:
                continue


@pytest.mark.parametrize("name", ["pre-flight-checks", "identity", "default_tenant"])
def test_odd_answers_when_connecting(hostile: Hostile, name: str) -> None:
    for odd in mutations(GOOD[name]):
        hostile.odd = {name: ok(odd)}
        try:
            asking(hostile).close()
        except ChromaError:
            continue


@pytest.mark.parametrize("status", [200, 400, 404, 409, 413, 500, 503])
def test_odd_bodies_and_headers(hostile: Hostile, status: int) -> None:
    with asking(hostile) as client:
        docs = client.get_collection("docs", embedding_function=None)
        for headers, body in (
            ({}, b""),
            ({}, b"\xff\xfe\x00"),
            ({}, b"<html>"),
            ({}, b"[" * 100_000),
            ({}, b'{"error": {"a": 1}, "message": ["b"]}'),
            ({}, b'{"error": 5, "message": 6, "kind": 7}'),
            ({}, b'{"error": "ValueError", "message": "' + b"x" * 1_000_000 + b'"}'),
            ({"Content-Encoding": "gzip"}, b"no gzip"),
            ({"Content-Encoding": "br"}, b"no brotli"),
            ({"Retry-After": "1e400"}, b"{}"),
            ({"chroma-trace-id": "x" * 10_000}, b"{}"),
            ({"Content-Type": "text/" + "x" * 10_000}, b"{}"),
        ):
            hostile.odd = {"count": (status, headers, body)}
            with pytest.raises(ChromaError) as caught:
                docs.count()
            assert len(str(caught.value)) < 3_000


@pytest.mark.parametrize("encoding", ["gzip", "deflate", ""])
def test_a_small_answer_that_is_large(hostile: Hostile, encoding: str) -> None:
    n_bytes = 30_000_000
    bomb = b'"' + b"x" * n_bytes + b'"'
    body = {"gzip": gzip.compress, "deflate": zlib.compress}.get(encoding, bytes)(bomb)
    with asking(hostile, max_answer="5 MB") as client:
        docs = client.get_collection("docs", embedding_function=None)
        hostile.odd = {"get": (200, {"Content-Encoding": encoding} if encoding else {}, body)}
        with pytest.raises(
            ServerUnavailableError, match=r"larger than 5 MB \(Settings.max_answer\)"
        ):
            docs.get()
        hostile.odd = {}
        assert docs.get()["ids"] == ["a"], "the connection serves again"


def test_a_redirect_does_not_take_the_token_along(hostile: Hostile) -> None:
    other = Hostile()
    with asking(hostile, token="secret") as client:
        docs = client.get_collection("docs", embedding_function=None)
        for status in (301, 302, 307, 308):
            hostile.odd = {"count": (status, {"Location": other.url + "/api/v2/count"}, b"")}
            with pytest.raises(ServerUnavailableError, match="sends its clients to"):
                docs.count()
    assert other.heard == []
    other.close()
