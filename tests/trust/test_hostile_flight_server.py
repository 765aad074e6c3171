"""Whatever a server of Arrow Flight answers, the client raises an error of ours, waits no longer than it is told, and takes no garbage."""

from __future__ import annotations

import ctypes
import itertools
import json
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb as chroma
from chroma_nb.errors import ChromaError, ServerUnavailableError

fl = pytest.importorskip("pyarrow.flight")
import pyarrow as pa  # noqa: E402

from chroma_nb.wire.flight import ANSWER, MORE  # noqa: E402
from tests.trust.test_hostile_server import GOOD, mutations  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

#: Operation -> the name of its answer in `GOOD`.
ANSWERS = {
    "get_max_batch_size": "pre-flight-checks",
    "get_user_identity": "identity",
    "get_tenant": "default_tenant",
    "get_database": "default_database",
    "get_collection": "docs",
    "count_collections": "collections_count",
    "list_collections": "collections",
}
OK = b'{"status":200}'


def answer_of(**columns: Any) -> Any:
    """A batch with the columns of an answer, those that are not given null."""
    n = max((len(one) for one in columns.values()), default=0)
    arrays = [columns[one.name] if one.name in columns else pa.nulls(n, one.type) for one in ANSWER]
    return pa.RecordBatch.from_arrays(
        [pa.array(one, kind.type) for one, kind in zip(arrays, ANSWER, strict=True)], schema=ANSWER
    )


RIGHT = {
    "query": [0],
    "id": ["a"],
    "distance": [0.5],
    "embedding": [[1.0, 2.0]],
    "document": ["x"],
    "metadata": ['{"k":1}'],
}


class Hostile(fl.FlightServerBase):  # type: ignore[misc]
    """A server whose answers a test sets; all others are right."""

    def __init__(self) -> None:
        super().__init__("grpc://127.0.0.1:0")
        self.url = f"grpc://127.0.0.1:{self.port}"
        self.ended = threading.Event()
        self.right()

    def right(self) -> None:
        """Answer as a good server does."""
        self.odd: dict[str, Callable[[], Iterator[bytes]]] = {}
        self.batch, self.metadata, self.schema = answer_of(**RIGHT), OK, ANSWER
        self.acknowledges = True
        self.error: Exception | None = None
        self.waits = False
        #: Batches that come before it in each answer.
        self.before: Iterable[Any] = ()

    def do_action(self, context: Any, action: Any) -> Iterator[bytes]:
        if action.type in self.odd:
            return self.odd[action.type]()
        name = ANSWERS.get(action.type, action.type)
        return iter([json.dumps(GOOD.get(name, {})).encode()])

    def do_put(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
        reader.read_all()
        if self.error is not None:
            raise self.error
        if self.acknowledges:
            writer.write(pa.py_buffer(OK))

    def do_exchange(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
        writer.begin(self.schema)
        for _ in reader:
            if self.error is not None:
                raise self.error
            if self.waits:
                while not context.is_cancelled() and not self.ended.wait(0.01):
                    pass
                return
            if self.batch is None:
                writer.write_metadata(pa.py_buffer(self.metadata))
            else:
                for piece in self.before:
                    writer.write_with_metadata(piece, pa.py_buffer(MORE))
                writer.write_with_metadata(self.batch, pa.py_buffer(self.metadata))


@pytest.fixture(scope="module")
def server() -> Iterator[Hostile]:
    server = Hostile()
    yield server
    server.ended.set()
    server.shutdown()


@pytest.fixture
def hostile(server: Hostile) -> Iterator[Hostile]:
    server.right()
    yield server
    server.right()


def asking(hostile: Hostile, **values: Any) -> Any:
    settings = chroma.Settings(**{"retries": 0, "timeout_seconds": 30.0, **values})
    return chroma.connect(hostile.url, settings=settings)


@pytest.fixture
def docs(hostile: Hostile) -> Iterator[Any]:
    with asking(hostile) as client:
        yield client.get_collection("docs", embedding_function=None)


def get(docs: Any) -> Any:
    return docs.get(include=["documents", "metadatas", "embeddings"])


def query(docs: Any, n: int = 1) -> Any:
    return docs.query(
        query_embeddings=[[1.0, 2.0]] * n,
        include=["documents", "metadatas", "embeddings", "distances"],
    )


def test_right_answers_are_taken(docs: Any) -> None:
    assert get(docs)["ids"] == ["a"]
    assert query(docs)["ids"] == [["a"]]
    docs.add(ids=["a"], embeddings=[[1.0, 2.0]])
    assert docs.count() == 1


def led_astray() -> Any:
    batch = answer_of(**RIGHT)
    offsets = batch.column("document").buffers()[1]
    ctypes.cast(offsets.address, ctypes.POINTER(ctypes.c_int32))[1] = 1 << 29
    return batch


def with_bytes() -> Any:
    columns = answer_of(**RIGHT).columns
    columns[4] = pa.array([b"\xff\xfe"]).view(pa.string())
    return pa.RecordBatch.from_arrays(columns, schema=ANSWER)


ODD_BATCHES: dict[str, Callable[[], Any]] = {
    "no id": lambda: answer_of(**{**RIGHT, "id": [None]}),
    "metadata that is no JSON": lambda: answer_of(**{**RIGHT, "metadata": ["{"]}),
    "metadata that is deep": lambda: answer_of(**{**RIGHT, "metadata": ['{"a":' * 100_000]}),
    "metadata that is a list": lambda: answer_of(**{**RIGHT, "metadata": ["[1]"]}),
    "nested metadata": lambda: answer_of(**{**RIGHT, "metadata": ['{"k": {"a": 1}}']}),
    "no embedding": lambda: answer_of(**{**RIGHT, "embedding": [None]}),
    "missing numbers": lambda: answer_of(**{**RIGHT, "embedding": [[1.0, None]]}),
    "embeddings of two lengths": lambda: answer_of(
        query=[0, 0],
        id=["a", "b"],
        distance=[0.5, 0.5],
        embedding=[[1.0], [1.0, 2.0]],
        document=["x", "y"],
        metadata=["{}", "{}"],
    ),
    "offsets that lead out of it": led_astray,
    "texts that are not UTF-8": with_bytes,
}


@pytest.mark.parametrize("what", ODD_BATCHES)
def test_odd_batches_are_refused(hostile: Hostile, docs: Any, what: str) -> None:
    hostile.batch = ODD_BATCHES[what]()
    for ask in (get, query):
        with pytest.raises(ServerUnavailableError):
            ask(docs)
    hostile.right()
    assert get(docs)["ids"] == ["a"], "the next answer is taken"


def test_an_answer_in_pieces_is_put_together(hostile: Hostile, docs: Any) -> None:
    hostile.before = [hostile.batch] * 2
    found = get(docs)
    assert (found["ids"], found["documents"]) == (["a"] * 3, RIGHT["document"] * 3)
    assert found["embeddings"].shape == (3, 2)
    # Of a query one is taken, and the next answer is not the rest of this one.
    assert query(docs)["ids"] == [["a"]]
    hostile.before = ()
    assert get(docs)["ids"] == ["a"]
    hostile.before = [hostile.batch]
    with pytest.raises(ServerUnavailableError, match="2 records where 1 were asked for"):
        docs.get(limit=1)


def test_pieces_that_do_not_belong_together_are_refused(hostile: Hostile, docs: Any) -> None:
    for odd in (answer_of(**{**RIGHT, "embedding": [[1.0]]}), hostile.batch.slice(0, 0)):
        hostile.before = [odd]
        with pytest.raises(ServerUnavailableError, match="cannot be used"):
            get(docs)
    hostile.right()
    assert get(docs)["ids"] == ["a"]


def test_pieces_without_end_are_refused(hostile: Hostile) -> None:
    with asking(hostile, max_answer="1 MB") as client:
        docs = client.get_collection("docs", embedding_function=None)
        hostile.before = itertools.repeat(hostile.batch)
        with pytest.raises(ServerUnavailableError, match=r"larger than 1 MB .*max_answer"):
            get(docs)
        hostile.right()
        assert get(docs)["ids"] == ["a"]


@pytest.mark.parametrize("numbers", [[-1], [1], [2**31 - 1], [-(2**31)], [None], [0, 5, 0], [1, 0]])
def test_odd_numbers_of_queries(hostile: Hostile, docs: Any, numbers: list[Any]) -> None:
    n = len(numbers)
    hostile.batch = answer_of(
        query=numbers, **{name: values * n for name, values in RIGHT.items() if name != "query"}
    )
    with pytest.raises(ServerUnavailableError, match="query"):
        query(docs)


@pytest.mark.parametrize(
    "names", [[], ["id"], ["query", "id"], ["id", "id"], ["query", "query", "id", "distance"]]
)
def test_columns_that_are_missing_or_of_another_type(hostile: Hostile, names: list[str]) -> None:
    for kind in (pa.string(), pa.int64(), pa.binary(), pa.list_(pa.int8())):
        hostile.schema = pa.schema([(name, kind) for name in names])
        hostile.batch = pa.RecordBatch.from_arrays(
            [pa.nulls(1, kind)] * len(names), schema=hostile.schema
        )
        with asking(hostile) as client:
            docs = client.get_collection("docs", embedding_function=None)
            for ask in (get, query):
                with pytest.raises(ServerUnavailableError):
                    ask(docs)


@pytest.mark.parametrize(
    "said",
    [
        *(b"", b"\xff", b"[1]", b"[" * 100_000, b'{"status":"400"}', b'{"status":true}'),
        *(b'{"status":-5}', b'{"status":1e400}', b'{"status":99999999999999999999}', b"{}"),
        b'{"status":500,"error":5,"message":6}',
        b'{"status":400,"error":["a"],"kind":{"b":1},"message":{"c":[]}}',
        b'{"status":400,"error":"__import__","message":"os"}',
        b'{"status":500,"error":"InternalError","message":"\\u001b[2J\\u009b\\r"}',
        b'{"status":400,"error":"ValueError","message":"' + b"x" * 1_000_000 + b'"}',
        b'{"status":507,"error":"InternalError","kind":"MemoryBudgetError","need":"a","free":1e999,"budget":[]}',
        b'{"status":500,"error":"InternalError","kind":"StoreCorruptError","ids":[1,{}],"message":""}',
    ],
)
def test_forged_errors_are_errors_of_ours(hostile: Hostile, docs: Any, said: bytes) -> None:
    """Within a stream, and beside gRPC's own error."""

    def asks() -> None:
        for ask in (get, query, lambda docs: docs.add(ids=["a"], embeddings=[[1.0, 2.0]])):
            with pytest.raises(ChromaError) as caught:
                ask(docs)
            shown = str(caught.value)
            assert len(shown) < 3_000
            assert shown.replace("\n", "").isprintable(), ascii(shown)

    if len(said) < 4_000:
        hostile.error = fl.FlightServerError("\x1b[2J odd", said)
        asks()
        hostile.error = None
    hostile.batch, hostile.metadata = None, said
    for ask in (get, query):
        with pytest.raises(ChromaError) as caught:
            ask(docs)
        shown = str(caught.value)
        assert len(shown) < 3_000
        assert shown.replace("\n", "").isprintable(), ascii(shown)


def test_a_write_that_is_not_acknowledged(hostile: Hostile, docs: Any) -> None:
    hostile.acknowledges = False
    with pytest.raises(ServerUnavailableError, match="not acknowledged"):
        docs.add(ids=["a"], embeddings=[[1.0, 2.0]])


@pytest.mark.parametrize("name", ["count", "get_collection", "count_collections"])
def test_odd_results_of_actions(hostile: Hostile, docs: Any, name: str) -> None:
    asked = {
        "count": lambda client: docs.count(),
        "get_collection": lambda client: client.get_collection("docs"),
        "count_collections": lambda client: client.count_collections(),
    }[name]
    right = json.dumps(GOOD[ANSWERS.get(name, name)]).encode()

    def endless() -> Iterator[bytes]:
        while not hostile.ended.is_set():
            yield right

    with asking(hostile) as client:
        for odd in (list, lambda: [right, right], endless, *([one] for one in (b"", b"\xff"))):
            hostile.odd = {name: odd if callable(odd) else lambda odd=odd: odd}  # type: ignore[misc]
            with pytest.raises(ServerUnavailableError):
                asked(client)
        for _, value in mutations(GOOD[ANSWERS.get(name, name)]):
            hostile.odd = {name: lambda value=value: iter([json.dumps(value).encode()])}  # type: ignore[misc]
            try:
                repr(asked(client))
            except ChromaError:
                continue


@pytest.mark.parametrize("name", ["get_max_batch_size", "get_user_identity"])
def test_odd_answers_when_connecting(hostile: Hostile, name: str) -> None:
    for _, value in mutations(GOOD[ANSWERS[name]]):
        hostile.odd = {name: lambda value=value: iter([json.dumps(value).encode()])}  # type: ignore[misc]
        try:
            asking(hostile).close()
        except ChromaError:
            continue


def test_answers_have_a_largest_size(hostile: Hostile) -> None:
    """Of a batch, and of what stands beside it."""
    with asking(hostile, max_answer="1 MB") as client:
        docs = client.get_collection("docs", embedding_function=None)
        hostile.batch = answer_of(**{**RIGHT, "document": ["x" * 3_000_000]})
        with pytest.raises(ServerUnavailableError, match=r"larger than 1 MB .*max_answer"):
            get(docs)
        hostile.right()
        assert get(docs)["ids"] == ["a"], "the connection serves again"
        hostile.metadata = b" " * 3_000_000
        with pytest.raises(ServerUnavailableError, match=r"larger than 1 MB .*max_answer"):
            get(docs)
        hostile.odd = {"count": lambda: iter([b"3" + b" " * 3_000_000])}
        with pytest.raises(ServerUnavailableError, match=r"larger than 1 MB .*max_answer"):
            docs.count()
        # Few bytes that would be many objects.
        hostile.odd = {"list_collections": lambda: iter([b"[" + b"1," * 300_000 + b"1]"])}
        with pytest.raises(ServerUnavailableError, match=r"300,001 values, more than 125,000"):
            client.list_collections()


def test_more_than_was_asked_for_is_refused(hostile: Hostile, docs: Any) -> None:
    hostile.batch = answer_of(**{name: values * 2 for name, values in RIGHT.items()})
    with pytest.raises(ServerUnavailableError, match="2 records where 1 were asked for"):
        docs.get(limit=1, include=["documents"])


def test_an_answer_that_does_not_come_has_a_deadline(hostile: Hostile) -> None:
    with asking(hostile, timeout_seconds=0.3) as client:
        docs = client.get_collection("docs", embedding_function=None)
        hostile.waits = True
        with pytest.raises(ServerUnavailableError, match="did not answer within"):
            get(docs)
        hostile.waits = False
        assert np.asarray(get(docs)["embeddings"]).tolist() == [[1.0, 2.0]]
