"""Whatever a server answers, the client raises an error of ours, takes bounded memory, and sends its token nowhere else."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import socket
import sys
import threading
import time
import zlib
from dataclasses import is_dataclass
from types import SimpleNamespace, UnionType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args, get_origin, get_type_hints
from uuid import UUID

import numpy as np
import pytest

import chroma_nb as chroma
from chroma_nb import deadline
from chroma_nb.api._http import ServerConnection
from chroma_nb.collection import CollectionList, Explanation, GetResult, QueryResult
from chroma_nb.collection.search_result import SearchResult
from chroma_nb.errors import ChromaError, MemoryBudgetError, ServerUnavailableError
from chroma_nb.memory import preflight
from chroma_nb.memory.report import MemoryReport
from chroma_nb.search import Knn, Search
from chroma_nb.types import FieldSummary, IndexingStatus
from chroma_nb.wire.answers import UNUSABLE
from chroma_nb.wire.requests import SearchRequest
from chroma_nb.wire.rest_search import read_found
from chroma_nb.wire.text import _text_bytes
from tests.support.json_halves import HALVES
from tests.trust.listening import Answer, Listening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ID = "6f0f4a1e-1111-4222-8333-944445555666"
PREFLIGHT = {
    "max_batch_size": 100,
    "server": "chroma_nb",
    "version": "1",
    "supports_base64_encoding": True,
    "supports_scan": True,
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
    "search": {
        "ids": [["a"]],
        "documents": [["x"]],
        "metadatas": [[{"k": 1}]],
        "embeddings": [[[1.0, 2.0]]],
        "scores": [[0.5]],
        "select": [[]],
        "positions": [[[0]]],
        "found": [[1]],
        "scored": [1],
        "plans": [[{"strategy": "exact", "reason": "there is no graph", "rows_read": 1}]],
    },
    "scan": {
        "scan": "token",
        "n_records": 1,
        "dimension": 2,
        "piece": {
            "ids": ["a"],
            "embeddings": "AACAPwAAAEA=",
            "documents": ["x"],
            "metadatas": ['{"k": 1}'],
            "uris": [None],
            "n_damaged": 0,
        },
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
    "explain": {
        "collection": "docs",
        "engine": "hnswlib",
        "strategy": "exact",
        "reason": "exact about 0.01 ms, graph 0.02 ms",
        "fetch": 0,
        "n_live": 1,
        "answered_from": "memory",
        "resident_bytes": 1,
        "elapsed_ms": 0.1,
    },
    "indexing_status": {
        "num_indexed_ops": 1,
        "num_unindexed_ops": 0,
        "total_ops": 1,
        "op_indexing_progress": 1.0,
    },
    "report": {
        "budget": 3,
        "used": 1,
        "collections": [
            {
                "name": "docs",
                "id": ID,
                "state": "loaded",
                "form": "hnswlib",
                "n_records": 1,
                "resident_bytes": 1,
                "parts": {"graph": 1},
                "disk_bytes": 1,
                "pinned": False,
                "ttl_seconds": 5.0,
                "idle_seconds": None,
                "hits": 1,
                "misses": 0,
                "loads": 1,
                "unloads": 0,
            }
        ],
        "database_bytes": 1,
        "database_limit": 2,
        "process_bytes": 1,
        "limit_bytes": 2,
        "limit_source": "physical memory",
        "free_bytes": 1,
        "idle_seconds": 900.0,
        "events": [
            {
                "time": 1.5,
                "action": "load",
                "collection": "docs",
                "reason": "asked for",
                "n_bytes": 1,
                "seconds": 0.5,
            }
        ],
        "history": [{"time": 1.5, "used": 1, "budget": 3, "process": 1}],
        "server": "",
    },
}


class Hostile(Listening):
    """A Chroma server whose answers a test sets in `odd`; all others are right."""

    def __init__(self) -> None:
        super().__init__()
        self.odd: dict[str, Answer] = {}

    def answer(self, path: str, asked: bytes) -> Answer:
        name = path.partition("?")[0].rpartition("/")[2]
        if name == ID:
            name = "docs"
        if name == "scan" and json.loads(asked)["scan"]:
            # After its first piece.
            return ok({**GOOD[name], "piece": None})
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
    "search": lambda _, docs: docs.search(Search(rank=Knn([1.0, 2.0])).select_all()),
    "scan": lambda _, docs: docs.to_arrow(),
    "delete": lambda _, docs: docs.delete(ids=["a"]),
    "unload": lambda _, docs: docs.unload(),
    "load": lambda client, _: client.memory.load("docs"),
    "budget": lambda client, _: client.memory.budget,
    "fields": lambda _, docs: docs.fields.describe(),
    "metadata_keys": lambda _, docs: list(docs.fields),
    "indexing_status": lambda _, docs: docs.get_indexing_status(),
    "report": lambda client, _: client.memory.report(),
    "explain": lambda _, docs: docs.explain(query_embeddings=[[1.0, 2.0]]),
}


def fits(value: Any, kind: Any) -> bool:
    """Say whether a value is of the type that is promised, down to its last part."""
    parts = get_args(kind)
    match get_origin(kind) or kind:
        case origin if origin is UnionType:
            return any(fits(value, one) for one in parts)
        case origin if origin is Literal:
            return value in parts
        case origin if origin is list:
            return isinstance(value, list) and all(fits(one, parts[0]) for one in value)
        case origin if origin is tuple and parts[-1] is ...:
            return type(value) is tuple and all(fits(one, parts[0]) for one in value)
        case origin if origin is tuple:
            same = type(value) is tuple and len(value) == len(parts)
            return same and all(map(fits, value, parts))
        case origin if origin is dict:
            pairs = value.items() if isinstance(value, dict) else [(None, None)]
            return all(fits(key, parts[0]) and fits(one, parts[1]) for key, one in pairs)
        case origin if is_dataclass(origin) or hasattr(origin, "_fields"):
            hints = get_type_hints(origin)
            return isinstance(value, origin) and all(
                fits(getattr(value, name), hint)
                for name, hint in hints.items()
                if get_origin(hint) is not ClassVar
            )
        case origin if origin is float:
            return type(value) in (int, float)
    return type(value) is kind


Metadatas = list[dict[str, str | int | float | bool | list[Any]] | None]


def is_collection(value: Any) -> bool:
    return (
        type(value) is chroma.Collection
        and fits([value.id, value.name], list[UUID | str])
        and fits(value.metadata, dict[str, str | int | float | bool] | None)
        and fits(value.configuration["hnsw"]["space"], Literal["l2", "cosine", "ip"])
    )


def are_records(ids: Any, found: Any, of: Callable[[Any], Any] = lambda part: part) -> bool:
    """Say whether ids, documents, metadata and embeddings are of the right types and equally many."""
    documents, metadatas, embeddings = map(
        of, map(found.get, ("documents", "metadatas", "embeddings"))
    )
    return (
        fits(ids, list[str])
        and fits(documents, list[str | None])
        and fits(metadatas, Metadatas)
        and isinstance(embeddings, np.ndarray)
        and embeddings.dtype == np.float64
        and embeddings.ndim == 2
        and len(ids) == len(documents) == len(metadatas) == len(embeddings)
    )


def is_table(found: Any, odd: Any) -> bool:
    piece = {"ids": [], "n_damaged": 0} if odd["piece"] is None else odd["piece"]
    columns = found.to_pydict()
    metadatas = [None if one is None else json.loads(one) for one in columns["metadata"]]
    return (
        columns["id"] == piece["ids"]
        and fits(metadatas, Metadatas)
        and fits(columns["document"], list[str | None])
        and all(len(one) == odd["dimension"] for one in columns["embedding"])
        and len(columns["id"]) + piece["n_damaged"] <= odd["n_records"]
    )


def are_matches(found: Any) -> bool:
    # One query was asked.
    return (
        type(found) is QueryResult
        and all(len(found[part]) == 1 for part in ("ids", "distances"))
        and are_records(found["ids"][0], found, lambda part: part[0])
        and fits(found["distances"], list[list[float]])
        and len(found["distances"][0]) == len(found["ids"][0])
    )


def are_found(found: Any) -> bool:
    # One search was asked. A column that the server says nothing of is None, as one that was not selected.
    (ids,) = found["ids"]
    columns = {
        "documents": list[str | None],
        "metadatas": Metadatas,
        "embeddings": list[list[float]],
        "scores": list[float | None],
    }
    return (
        type(found) is SearchResult
        and fits(ids, list[str])
        and all(
            found[name] == [None]
            or (fits(found[name][0], kind) and len(found[name][0]) == len(ids))
            for name, kind in columns.items()
        )
        and all(len(part.positions) == len(ids) for part in found.parts[0] or ())
        and all(fits(part.n_found, int | None) for part in found.parts[0] or ())
    )


@pytest.mark.parametrize(
    ("name", "odd"),
    [
        ("found", [[-1]]),
        ("found", [[True]]),
        ("found", [[1, 1]]),
        ("found", [5]),
        ("found", [[1], [1]]),
        ("scored", [None]),
        ("scored", [1.5]),
        ("plans", [[]]),
        ("plans", [["exact"]]),
        ("plans", [[{"strategy": "exact"}]]),
        ("plans", [[{"strategy": "exact", "reason": "x", "rows_read": [1]}]]),
        ("plans", [{}]),
        ("plans", 5),
    ],
)
def test_what_is_said_of_a_search_is_checked(name: str, odd: Any) -> None:
    request = SearchRequest([Search(rank=Knn([1.0, 2.0])).select_all()], plans=True)
    (found,) = read_found(GOOD["search"], request)
    assert (found.n_found, found.n_scored) == ([1], 1)
    with pytest.raises(UNUSABLE):
        read_found({**GOOD["search"], name: odd}, request)
    earlier = {one: GOOD["search"][one] for one in GOOD["search"].keys() - {"found", "plans"}}
    (found,) = read_found(earlier, request)
    assert (found.n_found, found.plans) == (None, None)


#: Call -> a check that what it returned has the promised type and agrees with the answer.
RIGHT: dict[str, Callable[[Any, Any], bool]] = {
    "heartbeat": lambda shown, odd: fits(shown, int) and odd["nanosecond heartbeat"] is shown,
    "version": lambda shown, odd: fits(shown, str) and shown == odd,
    "collections": lambda shown, odd: (
        type(shown) is CollectionList and all(map(is_collection, shown)) and len(shown) == len(odd)
    ),
    "collections_count": lambda shown, odd: fits(odd, int) and fits(shown, int) and shown == odd,
    "docs": lambda shown, _: is_collection(shown),
    "count": lambda shown, odd: fits(odd, int) and fits(shown, int) and shown == odd,
    "get": lambda shown, odd: (
        type(shown) is GetResult and are_records(shown["ids"], shown) and shown["ids"] == odd["ids"]
    ),
    "query": lambda shown, odd: are_matches(shown) and shown["ids"] == odd["ids"],
    "search": lambda shown, odd: are_found(shown) and shown["ids"] == odd["ids"],
    "scan": is_table,
    "delete": lambda shown, odd: fits(shown, dict[str, int]) and shown == odd,
    "unload": lambda shown, odd: fits(odd["released"], int) and shown == odd["released"],
    "load": lambda shown, odd: fits(odd["resident_bytes"], int) and shown == odd["resident_bytes"],
    "budget": lambda shown, odd: fits(odd["budget"], int) and shown == odd["budget"],
    "fields": lambda shown, odd: fits(shown, list[FieldSummary]) and len(shown) == len(odd),
    "metadata_keys": lambda shown, odd: fits(shown, list[str]) and shown == odd,
    "indexing_status": lambda shown, _: fits(shown, IndexingStatus),
    "report": lambda shown, _: fits(shown, MemoryReport),
    "explain": lambda shown, odd: (
        type(shown) is Explanation
        and shown == odd
        and all(fits(shown[part], str) for part in ("collection", "strategy", "reason"))
        and fits(shown["elapsed_ms"], float)
    ),
}


def mutations(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield variants of a right answer, each with the place of the change: parts missing, of another type, or repeated."""
    for other in (None, 5, -1, 1e400, True, "text", [], {}, [None], {"a": 1}, [[[[]]]]):
        yield f" {json.dumps(other)}", other
    if isinstance(value, dict):
        for key, part in value.items():
            yield f".{key} missing", {name: one for name, one in value.items() if name != key}
            for where, other in mutations(part):
                yield f".{key}{where}", {**value, key: other}
    if isinstance(value, list) and value:
        yield " twice", value * 2
        yield " and null", [*value, None]
        for where, other in mutations(value[0]):
            yield f"[0]{where}", [other, *value[1:]]


def test_every_call_has_a_good_answer(hostile: Hostile) -> None:
    """The right answers, of which the odd ones are variants, are accepted."""
    assert CALLS.keys() <= GOOD.keys()
    assert CALLS.keys() == RIGHT.keys()
    with asking(hostile) as client:
        docs = client.get_collection("docs", embedding_function=None)
        for name, call in CALLS.items():
            assert RIGHT[name](call(client, docs), GOOD[name]), name


@pytest.mark.parametrize("name", CALLS)
def test_odd_answers_are_errors_of_ours(hostile: Hostile, name: str) -> None:
    """Or values of the promised type: no wrong type reaches the caller."""
    n_refused, passed = 0, []
    with asking(hostile) as client:
        docs = client.get_collection("docs", embedding_function=None)
        for where, odd in mutations(GOOD[name]):
            hostile.odd = {name: ok(odd)}
            try:
                shown = CALLS[name](client, docs)
                repr(shown)
                if hasattr(shown, "_repr_html_"):
                    shown._repr_html_()
            except ChromaError:
                n_refused += 1
                continue
            if not is_right(name, shown, odd):
                passed.append(f"{name}{where} is shown as {shown!r:.200}")
    assert not passed, f"{len(passed)} odd answers are handed through:\n" + "\n".join(passed)
    assert n_refused > 0


def is_right(name: str, shown: Any, odd: Any) -> bool:
    try:
        return RIGHT[name](shown, odd)
    except (TypeError, KeyError, IndexError):
        return False


@pytest.mark.parametrize("name", ["pre-flight-checks", "identity", "default_tenant"])
def test_odd_answers_when_connecting(hostile: Hostile, name: str) -> None:
    for _, odd in mutations(GOOD[name]):
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
def test_a_compressed_answer_that_unpacks_to_a_large_one(hostile: Hostile, encoding: str) -> None:
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


def test_a_small_answer_of_many_values(hostile: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes more than a hundred bytes, and while they are parsed nothing can be interrupted."""
    values = b"[" + b"[]," * 500_000 + b"1]"
    gzipped = {"Content-Encoding": "gzip"}
    with asking(hostile, max_answer="5 MB") as client:
        docs = client.get_collection("docs", embedding_function=None)
        for status in (200, 400):
            hostile.odd = {"get": (status, gzipped, gzip.compress(values))}
            with pytest.raises(
                ServerUnavailableError,
                match=r"1,000,001 values, more than 625,000, .*5 MB .*Settings\.max_answer.*limit= and offset=",
            ):
                docs.get()
    with asking(hostile) as client:
        docs = client.get_collection("docs", embedding_function=None)
        machine = SimpleNamespace(free=lambda: 100 << 20, limit=preflight.MACHINE.limit)
        monkeypatch.setattr(preflight, "MACHINE", machine)
        with pytest.raises(
            MemoryBudgetError, match=r"an answer of 1,000,001 values needs .*limit= and offset="
        ):
            docs.get()


def test_a_text_is_measured_by_its_widest_character() -> None:
    texts = ["a", "a\u00e9", "a\u4e00", "a\U0001f600"]
    for escaped in (True, False):
        sent = [json.dumps(text * 1_000, ensure_ascii=escaped).encode() for text in texts]
        for text, data in zip(texts, sent, strict=True):
            taken = sys.getsizeof(text * 1_000) - sys.getsizeof(text[:0])
            assert taken + len(data) <= _text_bytes(data) + 100


def test_an_answer_that_is_compressed_several_times_is_not_taken(hostile: Hostile) -> None:
    body = gzip.compress(gzip.compress(b" " * 10_000_000))
    with asking(hostile) as client:
        docs = client.get_collection("docs", embedding_function=None)
        hostile.odd = {"get": (200, {"Content-Encoding": "gzip, gzip"}, body)}
        with pytest.raises(ServerUnavailableError, match="compressed more than once"):
            docs.get()


@pytest.mark.parametrize("texts", HALVES)
def test_a_piece_whose_metadata_is_json_only_when_it_is_joined_is_refused(
    hostile: Hostile, texts: list[str]
) -> None:
    """Its texts go into files as they are."""
    piece = {
        **GOOD["scan"]["piece"],
        "ids": ["a", "b", "c"],
        "embeddings": base64.b64encode(np.ones((3, 2), np.float32).tobytes()).decode(),
        "documents": [None] * 3,
        "metadatas": texts,
        "uris": [None] * 3,
    }
    hostile.odd = {"scan": ok({**GOOD["scan"], "n_records": 3, "piece": piece})}
    with (
        asking(hostile) as client,
        pytest.raises(ChromaError, match="an answer that cannot be used"),
    ):
        client.get_collection("docs", embedding_function=None).to_arrow()


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


# -- answers that do not end ----------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
#: What the server sends first, and what it then repeats without end.
ENDLESS = {
    "a body": (HEAD + b"Content-Length: 100000\r\n\r\n{", b" "),
    "a body in parts": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "the end of a body": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n"),
    "a header": (HEAD + b"X: ", b"a"),
    "the first line": (b"HTTP/1.1 200 ", b"O"),
    "what comes before an answer": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}


class Dripping:
    """Sends bytes as a test says, over each connection, for as long as somebody reads them.

    Attributes:
        n_heard: Requests.
        url: Where it is.
    """

    def __init__(self, pieces: Callable[[], Iterator[bytes]]) -> None:
        self.n_heard = 0
        self._pieces = pieces
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(65_536)
            self.n_heard += 1
            for piece in self._pieces():
                connection.sendall(piece)

    def close(self) -> None:
        self._socket.close()


@pytest.mark.parametrize("what", ENDLESS)
def test_an_answer_that_never_ends_has_a_deadline(what: str) -> None:
    """And the request is not repeated."""
    first, again = ENDLESS[what]

    def pieces() -> Iterator[bytes]:
        yield first
        while True:
            yield again
            time.sleep(0.05)

    server, said = Dripping(pieces), []

    def ask() -> None:
        try:
            chroma.connect(server.url, settings=chroma.Settings(timeout_seconds=0.3, retries=3))
        except ServerUnavailableError as error:
            said.append(str(error))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(180)
    server.close()
    assert said, "it is still waiting"
    assert "did not answer within 0.3 s" in said[0]
    assert server.n_heard == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"ODD 200\r\n\r\n",
        b"HTTP/1.1 200 ODD\r\nContent-Type: text/ODD\r\nContent-Length: 1\r\n\r\n<",
        b"HTTP/1.1 404 x\r\nContent-Type: text/ODD\r\nContent-Length: 1\r\n\r\n<",
        b"HTTP/1.1 302 x\r\nLocation: http://ODD/x\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 500 x\r\nchroma-trace-id: ODD\r\nContent-Length: 53\r\n\r\n"
        b'{"error": "SayError", "message": "\\u001b[2J\\u009b\\r\\u202e"}',
        b'HTTP/1.1 500 x\r\nContent-Length: 33\r\n\r\n{"error": "\\u001b[", "message": ""}',
    ],
)
def test_control_characters_of_a_server_do_not_reach_a_terminal(answer: bytes) -> None:
    """Such characters clear the screen, set its title, or overwrite text on it."""
    odd = b"\x1b[2J\x1b]0;title\x07\x9b\x08"
    server = Dripping(lambda: iter([answer.replace(b"ODD", odd)]))
    connection = ServerConnection(chroma.Settings(url=server.url, timeout_seconds=5.0, retries=0))
    with pytest.raises(ChromaError) as caught:
        connection.request("GET", ("x",))
    shown = f"{caught.value}{caught.value.trace_id}"
    assert shown.replace("\n", "").isprintable(), ascii(shown)
    connection.close()
    server.close()


def test_the_body_of_a_redirect_has_a_limit() -> None:
    def pieces() -> Iterator[bytes]:
        yield b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n"
        while True:
            yield b"x" * 65_536

    server = Dripping(pieces)
    limits = chroma.Settings(url=server.url, max_answer="1 MB", timeout_seconds=30.0, retries=0)
    connection = ServerConnection(limits)
    with pytest.raises(ServerUnavailableError, match=r"larger than 1 MB \(Settings\.max_answer\)"):
        connection.request("GET", ("x",))
    connection.close()
    server.close()


@pytest.mark.parametrize(
    "answer",
    [
        *(
            b"HTTP/1.1 307 x\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % target
            for target in (
                b"http://[::1",
                b"http://x:99999999/",
                b"http://\xff%%%",
                "http://a℀b/".encode(),
            )
        ),
        *(
            b"HTTP/1.1 503 x\r\nRetry-After: %s\r\nContent-Length: 0\r\n\r\n" % wait
            for wait in (b"-5", b"-inf", b"inf", b"nan", b"1e400", b"soon")
        ),
        b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\nfive\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 x\r\nContent-Length: -5\r\n\r\n<",
        b"HTTP/1.1 200 x\r\nContent-Length: 2, 5\r\n\r\n<>",
        b"HTTP/1.1 99 x\r\nContent-Length: 2\r\n\r\n<>",
        b"HTTP/1.1 401 x\r\nContent-Length: 1\r\n\r\n5",
        b"HTTP/1.1 413 x\r\nContent-Length: 4\r\n\r\ntrue",
    ],
)
def test_odd_heads_are_errors_of_ours(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chroma_nb.api._http.LONGEST_WAIT_SECONDS", 0.01)
    server = Dripping(lambda: iter([answer]))
    connection = ServerConnection(chroma.Settings(url=server.url, timeout_seconds=5.0, retries=1))
    with pytest.raises(ChromaError):
        connection.request("GET", ("x",))
    connection.close()
    server.close()


def test_a_large_answer_has_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece of 64 KiB that arrives extends the deadline."""
    monkeypatch.setattr(deadline, "SLOWEST", 1_000)
    part = b" " * 65_536

    def pieces() -> Iterator[bytes]:
        yield HEAD + b"Content-Length: %d\r\n\r\n" % (6 * len(part) + 2) + part
        for _ in range(5):
            time.sleep(0.3)
            yield part
        yield b"{}"

    server = Dripping(pieces)
    connection = ServerConnection(chroma.Settings(url=server.url, timeout_seconds=1.0))
    assert connection.request("GET", ("x",)) == {}
    connection.close()
    server.close()


# -- pages ----------------------------------------------------------------------------------------


class Pages(Hostile):
    """A Chroma server that returns 5,000 records to any request, always the same ones or always new ones."""

    def __init__(self, repeats: bool) -> None:
        super().__init__()
        self.n_pages, self._repeats = 0, repeats

    def answer(self, path: str, asked: bytes) -> Answer:
        if path.endswith("/pre-flight-checks"):
            return ok({"max_batch_size": 100})
        if path.endswith("/get"):
            self.n_pages += 1
            page = 0 if self._repeats else self.n_pages
            return ok({"ids": [f"{page}-{i}" for i in range(5_000)], "documents": [None] * 5_000})
        return super().answer(path, asked)


@pytest.mark.parametrize(
    ("repeats", "limit", "n_pages", "why"),
    [
        (False, 7_000, 2, "5,000 records where 2,000 were asked for"),
        (False, 3_000, 1, "5,000 records where 3,000 were asked for"),
        (True, None, 2, "a record that came twice"),
        (True, 20_000, 2, "a record that came twice"),
    ],
)
def test_pages_have_an_end(repeats: bool, limit: int | None, n_pages: int, why: str) -> None:
    server = Pages(repeats)
    with asking(server) as client:
        docs = client.get_collection("docs", embedding_function=None)
        with pytest.raises(ServerUnavailableError, match=why):
            docs.get(limit=limit, include=["documents"])
        assert server.n_pages == n_pages
    server.close()


def test_more_records_than_were_asked_for_are_refused(hostile: Hostile) -> None:
    with asking(hostile) as client:
        docs = client.get_collection("docs", embedding_function=None)
        hostile.odd = {"get": ok({"ids": ["a", "b"], "documents": ["x", "y"]})}
        assert docs.get(include=["documents"])["ids"] == ["a", "b"]
        for asked in ({"limit": 1}, {"ids": ["a"]}):
            with pytest.raises(ServerUnavailableError, match="2 records where 1 were asked for"):
                docs.get(**asked, include=["documents"])


@pytest.mark.parametrize("most", [0, -1])
def test_a_server_that_takes_nothing_is_asked_record_by_record(hostile: Hostile, most: int) -> None:
    hostile.odd = {"pre-flight-checks": ok({**PREFLIGHT, "max_records": most, "max_body": most})}
    with asking(hostile) as client:
        docs = client.get_collection("docs", embedding_function=None)
        docs.upsert(ids=["a", "b"], embeddings=[[1.0, 2.0]] * 2)
    assert sum("/upsert" in one for one in hostile.heard) == 2
