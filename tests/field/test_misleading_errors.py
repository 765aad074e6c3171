"""Errors that used to send people the wrong way: each says what is wrong, and what to do."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import enum
import http.server
import os
import shutil
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import chroma_nb as chroma
from benchmarks.servers import running, start_ours
from chroma_nb import K
from chroma_nb.display import html, text
from chroma_nb.errors import (
    BatchSizeExceededError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    ServerUnavailableError,
)
from tests.field.conftest import vectors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("pyarrow", reason="the extra 'arrow' is not installed")


@pytest.fixture
def notes(client: Any) -> Any:
    notes = client.create_collection("notes", embedding_function=None)
    notes.add(ids=["a", "b"], embeddings=vectors(2), metadatas=[{"n": 2021, "b": True}, {"f": 0.5}])
    return notes


# -- an interrupt is an interrupt ----------------------------------------------------------------------------

INTERRUPTS = """
import collections, faulthandler, os, random, signal, sys, threading, time
import numpy as np
import chroma_nb as chroma

# A shell that starts the tests in the background has them ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
n = 20_000
arguments = {
    "ids": [str(i) for i in range(n)],
    "embeddings": np.ones((n, 8), dtype=np.float32),
    "documents": [f"text {i}" for i in range(n)],
    "metadatas": [{"n": i} for i in range(n)],
}
settings = chroma.Settings(progress=False)
client = chroma.Client(sys.argv[1], settings=settings)
kept = client.create_collection("kept", embedding_function=None)
kept.add(**arguments)
seen = collections.Counter()
random = random.Random(1)
# Whatever hangs says where.
faulthandler.dump_traceback_later(220, exit=True)

def add():
    client.create_collection("more", embedding_function=None).add(**arguments)

def ask():
    client.sql("SELECT count(*) FROM kept AS a, kept AS b WHERE a.n <> b.n")

def open_():
    chroma.Client(sys.argv[1] + "-other", settings=settings).close()

for work in [add] * 12 + [ask] * 4 + [open_] * 8:
    started = time.perf_counter()
    if work is not ask:
        work()
    lasted = min(0.3, time.perf_counter() - started)
    if work is add:
        client.delete_collection("more")
    thread = threading.Timer(random.random() * (lasted or 0.2), os.kill, (os.getpid(), signal.SIGINT))
    try:
        thread.start()
        work()
        thread.join()
        time.sleep(60)
    except BaseException as error:
        seen[type(error).__name__] += 1
    if work is add and "more" in client:
        assert client.get_collection("more").count() in (0, n)
        client.delete_collection("more")
    assert kept.count() == n
print(dict(seen))
"""


def test_an_interrupt_is_an_interrupt_whenever_it_comes(tmp_path: Path) -> None:
    """In add(), in sql() and while a store is opened."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTS, str(tmp_path / "store")],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.stdout.strip() == "{'KeyboardInterrupt': 24}", done.stderr[-2_000:]


# -- folders and files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["What now?", "a\\b"])
def test_a_name_that_the_engine_cannot_open_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidArgumentError, match="has the character"):
        chroma.PersistentClient(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a b", "ü", "100%", "it's", "[x]", "a;b", "#1", ":memory:", "~x"])
def test_other_names_open(tmp_path: Path, name: str) -> None:
    for count in range(2):
        with chroma.PersistentClient(tmp_path / name) as client:
            notes = client.get_or_create_collection("notes", embedding_function=None)
            assert notes.count() == count
            notes.add(ids=[str(count)], embeddings=vectors(1))


def test_a_folder_that_was_deleted_is_a_new_store(tmp_path: Path) -> None:
    """A cell that deletes the folder and opens a client, run again and again."""
    folder = tmp_path / "db"
    for _ in range(3):
        shutil.rmtree(folder, ignore_errors=True)
        client = chroma.PersistentClient(folder)
        assert client.list_collections() == []
        notes = client.create_collection("notes", embedding_function=None)
        notes.add(ids=["a"], embeddings=vectors(1))
    shutil.rmtree(folder)
    with chroma.PersistentClient(folder) as newest:
        newest.create_collection("newest", embedding_function=None).add(
            ids=["a"], embeddings=vectors(1)
        )
        with pytest.raises(InternalError, match="its folder was moved, deleted or replaced"):
            notes.count()
        client.close()
        del client, notes
        assert [one.name for one in newest.list_collections()] == ["newest"]
    with chroma.PersistentClient(folder) as again:
        assert again.get_collection("newest").count() == 1


def test_home_is_expanded_wherever_a_path_is_given(
    local: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    notes = local.create_collection("notes", embedding_function=None)
    notes.add(ids=["a"], embeddings=vectors(1))
    notes.export("~/out.parquet")
    assert (tmp_path / "out.parquet").exists()
    assert local.import_("~/out.parquet", "again").count() == 1
    with chroma.PersistentClient("~/store"):
        assert (tmp_path / "store").is_dir()
    with chroma.connect("~/store") as client:
        assert client.list_collections() == []


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("out.csv", "promises csv. Name it .parquet"),
        ("nodir/out.parquet", r"folder '.*nodir' does not exist. Make it first"),
        (".", "is a folder. Give the name of a file"),
    ],
)
def test_a_file_that_cannot_be_written_as_asked(
    local: Any, path: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    notes = local.create_collection("notes", embedding_function=None)
    with pytest.raises(InvalidArgumentError, match=sentence):
        notes.export(path)
    assert list(tmp_path.iterdir()) == []


# -- sequences and numbers of every library ------------------------------------------------------------------


class Tensor:
    """What a tensor of another library offers."""

    def __init__(self, rows: Any) -> None:
        self._rows = np.asarray(rows, dtype=np.float64)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self._rows if dtype is None else self._rows.astype(dtype)


TEXTS = ["one", "two"]
IDS: list[Any] = [
    *(tuple("ab"), np.array(["a", "b"]), pd.Series(["a", "b"]), pd.Index(["a", "b"])),
    *(pl.Series(["a", "b"]), {"a": 1, "b": 2}.keys()),
]


@pytest.mark.parametrize("ids", IDS, ids=lambda ids: type(ids).__name__)
def test_ids_of_every_kind_of_sequence(local: Any, ids: Any) -> None:
    notes = local.create_collection("notes", embedding_function=None)
    notes.add(
        ids=ids, embeddings=vectors(2), documents=pd.Series(TEXTS), metadatas=({"n": 1}, None)
    )
    assert notes.get(ids=ids)["documents"] == TEXTS
    notes.upsert(ids=iter(["c"]), embeddings=vectors(1))
    assert notes.delete(ids=ids) == {"deleted": 2}


@pytest.mark.parametrize(
    "embeddings",
    [
        Tensor([[1, 0], [0, 1]]),
        [Tensor([1, 0]), Tensor([0, 1])],
        ((1.0, 0.0), (0.0, 1.0)),
        (row for row in ([1.0, 0.0], [0.0, 1.0])),
        pd.Series([[1.0, 0.0], np.array([0.0, 1.0])]),
        pd.DataFrame({"x": [1.0, 0.0], "y": [0.0, 1.0]}),
        pl.Series([[1.0, 0.0], [0.0, 1.0]]),
    ],
    ids=lambda one: type(one).__name__,
)
def test_embeddings_of_every_library(local: Any, embeddings: Any) -> None:
    notes = local.create_collection("notes", embedding_function=None)
    notes.add(ids=["a", "b"], embeddings=embeddings)
    assert notes.get(include=["embeddings"])["embeddings"].tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert notes.query(query_embeddings=Tensor([0, 1]), n_results=1)["ids"] == [["b"]]


def test_a_set_has_no_order(local: Any) -> None:
    notes = local.create_collection("notes", embedding_function=None)
    with pytest.raises(ValueError, match="a set, which has no order"):
        notes.add(ids={"a", "b"}, embeddings=vectors(2))


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ({"n": np.int64(2021)}, ["a"]),
        ({"n": {"$gte": np.float32(2021)}}, ["a"]),
        ({"b": np.bool_(True)}, ["a"]),
        ({"f": {"$lt": np.float64(1)}}, ["b"]),
        ({"n": {"$in": np.array([1, 2021])}}, ["a"]),
        ({"n": {"$in": pd.Series([1, 2021])}}, ["a"]),
        ({"n": {"$nin": (1, 2021)}}, ["b"]),
        (K("n").is_in(range(2_000, 2_100)), ["a"]),
        ({"n": {"$lt": float("inf")}}, ["a"]),
        ({"n": {"$gt": float("-inf")}}, ["a"]),
        ({"n": {"$ne": float("inf")}}, ["a", "b"]),
        ({"n": {"$in": [float("inf"), 2021.0]}}, ["a"]),
    ],
    ids=str,
)
def test_numbers_of_numpy_in_filters(notes: Any, where: Any, ids: list[str]) -> None:
    assert notes.get(where=where, limit=np.int64(5))["ids"] == ids
    found = notes.query(query_embeddings=vectors(1), where=where, n_results=np.int64(2))
    assert found["ids"] == [ids]


# -- cells that cannot be stored -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"x": {"a": 1}}, r"Row 12,345 \(id '12345'\), column 'x': .*is a dict.*json.dumps"),
        ({"x": float("inf")}, r"Row 12,345 .*column 'x': .*finite, got inf"),
        ({"x": 2**70}, r"Row 12,345 .*column 'x': .*64 bits"),
        ({"x": [1, "a"]}, r"Row 12,345 .*column 'x': .*same type"),
        ({"x": b"raw"}, r"Row 12,345 .*column 'x': .*which is a bytes"),
        ({"document": None}, r"Row 12,345 .*column 'document': there is no document to embed"),
        ({"document": 5}, r"Row 12,345 .*column 'document': expected a text, got '5' \(int\)"),
    ],
    ids=str,
)
def test_a_cell_that_cannot_be_stored_is_named(local: Any, change: Any, sentence: str) -> None:
    n = 20_000
    columns = {"document": ["some text"] * n, "x": pd.Series([1] * n, dtype=object)}
    frame = pd.DataFrame(columns, index=pd.Index([str(i) for i in range(n)], name="key"))
    for column, cell in change.items():
        frame[column] = frame[column].astype(object)
        frame.at["12345", column] = cell
    notes = local.create_collection("notes")
    with pytest.raises(InvalidArgumentError, match=sentence):
        notes.from_pandas(frame)
    assert notes.count() == 0, "nothing is embedded or written before all cells were looked at"


@pytest.mark.parametrize(
    ("embedding", "sentence"),
    [
        (None, "the embedding is missing"),
        ([1.0], "it has 1 dimensions, those before have 2"),
        ([1.0, float("nan")], "NaN or Infinity"),
        ("[1.0, 0.0]", "expected numbers, got the text"),
    ],
)
def test_an_embedding_that_cannot_be_stored_is_named(
    local: Any, embedding: Any, sentence: str
) -> None:
    frame = pd.DataFrame({"embedding": pd.Series(vectors(7_000), dtype=object)})
    frame.at[6_001, "embedding"] = embedding
    notes = local.create_collection("notes", embedding_function=None)
    with pytest.raises(InvalidArgumentError, match=rf"Row 6,001.*column 'embedding': .*{sentence}"):
        notes.from_pandas(frame)
    assert notes.count() == 0


def test_columns_of_one_name_are_named(local: Any) -> None:
    frame = pd.DataFrame([["a", 1, 2, [1.0]]], columns=["id", "n", "n", "embedding"])
    with pytest.raises(InvalidArgumentError, match="2 columns named 'n'"):
        local.create_collection("notes", embedding_function=None).from_pandas(frame)


def test_a_decimal_becomes_a_float(local: Any) -> None:
    frame = pd.DataFrame({"id": ["a"], "embedding": vectors(1), "price": [decimal.Decimal("9.5")]})
    notes = local.create_collection("notes", embedding_function=None).from_pandas(frame)
    assert notes.get()["metadatas"] == [{"price": 9.5}]


# -- words that are nearly right -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "kind", "sentence"),
    [
        (lambda c, n: n.query("words"), ValueError, "Texts are given as query_texts="),
        (lambda c, n: n.query(query_embeddings=[1, 0], n_result=5), TypeError, "mean n_results=?"),
        (lambda c, n: n.query(query_embeddings=[1, 0], k=5), TypeError, "mean n_results=?"),
        (lambda c, n: n.query(query_embeddings=[1, 0], n_results="3"), ValueError, "That is a str"),
        (lambda c, n: n.add(texts=["a"]), TypeError, "mean documents=?"),
        (lambda c, n: n.add(["x"]), ValueError, "Give documents=[...]"),
        (lambda c, n: n.add(ids=[1], embeddings=[1, 0]), ValueError, "[str(n) for n in ids]"),
        (
            lambda c, n: n.add(ids=["x"], embeddings=[1, 0], metadatas=[{"a": {"b": 1}}]),
            ValueError,
            "Write its parts as keys of their own",
        ),
        (lambda c, n: n.get(where={"n": {"$regex": "x"}}), ValueError, "where_document={'$regex'"),
        (lambda c, n: n.get().ids, AttributeError, "result['ids']"),
        (lambda c, n: c.create_collection("Привет"), InvalidArgumentError, "Got: Привет"),
        (lambda c, n: chroma.Settings(memory_limit="1 GB"), ValueError, "mean 'memory_budget'?"),
        (lambda c, n: chroma.connect("nosuchstore"), ServerUnavailableError, "./nosuchstore"),
        (lambda c, n: chroma.HttpClient(host=None), InvalidArgumentError, "Expected a host"),
        (
            lambda c, n: chroma.HttpClient("http://h:1", port=2),
            InvalidArgumentError,
            "Two ports are given",
        ),
        (lambda c, n: c.get_collection(5), InvalidArgumentError, "Expected the name of a collect"),
    ],
)
def test_what_was_probably_meant_is_named(
    local: Any, call: Any, kind: type[Exception], sentence: str
) -> None:
    notes = local.create_collection("notes", embedding_function=None)
    with pytest.raises(kind) as caught:
        call(local, notes)
    assert sentence in str(caught.value)


def test_what_is_meant_is_done(local: Any, tmp_path: Path) -> None:
    notes = local.create_collection("notes", embedding_function=None)
    notes.add(ids=["a"], embeddings=vectors(1))
    assert len(notes) == 1
    assert local.create_collection("empty", embedding_function=None), "an empty one is one, too"
    assert local.get_collection(notes).id == notes.id
    local.memory.pin(notes)
    local.memory.unpin(notes)
    assert local.unload(notes) > 0
    local.memory.budget = 0.25
    assert local.memory.budget == pytest.approx(local.memory.report().limit_bytes / 4, rel=0.01)
    settings = chroma.Settings(progress=False)
    for client in (
        chroma.Client(tmp_path / "x", settings=settings),
        chroma.Client(str(tmp_path / "x"), settings),
        chroma.Client(settings=settings.replace(path=str(tmp_path / "x"))),
    ):
        with client:
            assert client.get_settings().path == str(tmp_path / "x")
            assert client.get_settings().progress is False
    local.delete_collection(notes)


def test_looking_around_shows_what_is_public() -> None:
    names = dir(chroma)
    assert len(names) == len(set(names))
    assert not {"Any", "TYPE_CHECKING", "lazy_attributes"} & set(names)
    assert {"connect", "Client", "PersistentClient", "Collection", "API"} <= set(names)
    shown = subprocess.run(
        [sys.executable, "-c", "import chroma_nb; help(chroma_nb)"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PAGER": "cat", "MANPAGER": "cat"},
    ).stdout
    # In words, as Python 3.13 gives each parameter a line of its own; it has 240 words more, too.
    assert len(shown.split()) < 9_100
    assert shown.index("chroma.connect()") < shown.index("CLASSES")
    assert "class API" not in shown


# -- what answers in place of a server -----------------------------------------------------------------------


class Proxy(http.server.BaseHTTPRequestHandler):
    """Passes requests on to a server, unless they are too large for it."""

    target: str
    most_bytes: int
    protocol_version = "HTTP/1.1"

    def _pass_on(self) -> None:
        import requests

        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if length > self.most_bytes:
            self._answer(413, b"<html>Request Entity Too Large</html>", "text/html")
            return
        answer = requests.request(
            self.command,
            self.target + self.path,
            data=body,
            headers={"Content-Type": "application/json"},
        )
        self._answer(answer.status_code, answer.content, "application/json")

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = _pass_on

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def serving(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as stub:
        thread = threading.Thread(target=stub.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{stub.server_port}"
        stub.shutdown()
        thread.join()


def test_a_body_that_is_too_large_for_a_proxy_goes_in_parts(server: Any) -> None:
    handler = type("Small", (Proxy,), {"target": server.url, "most_bytes": 20_000})
    with serving(handler) as url, chroma.connect(url) as client:
        client.reset()
        notes = client.create_collection("notes", embedding_function=None)
        ids = [f"i{n}" for n in range(3_000)]
        notes.add(ids=ids, embeddings=vectors(3_000), documents=ids)
        assert notes.count() == 3_000
        with pytest.raises(
            BatchSizeExceededError, match=r"one record alone, 'big'.*client_max_body"
        ):
            notes.add(ids=["big"], embeddings=vectors(1), documents=["x" * 30_000])
        assert notes.count() == 3_000


def test_a_redirect_says_where_to_connect(server: Any) -> None:
    class Elsewhere(Proxy):
        def _pass_on(self) -> None:
            self.send_response(308)
            self.send_header("Location", f"https://other.example:8443{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = _pass_on

    with (
        serving(Elsewhere) as url,
        pytest.raises(ServerUnavailableError, match=r"connect\('https://other.example:8443'\)"),
    ):
        chroma.connect(url)


def test_a_server_that_has_died_is_no_error_of_an_argument(tmp_path: Path) -> None:
    with running(start_ours(tmp_path)) as mortal:
        client = chroma.connect(mortal.url, settings=chroma.Settings(retries=0))
        notes = client.create_collection("notes", embedding_function=None)
        mortal.kill()
        with pytest.raises(ServerUnavailableError) as caught:
            notes.get()
        assert not str(caught.value).endswith("in get.")
        client.close()


def test_a_collection_that_is_nearly_there(client: Any) -> None:
    client.create_collection("people", embedding_function=None)
    with pytest.raises(NotFoundError, match=r"Did you mean .people."):
        client.get_collection("peple")


# -- an answer without records ---------------------------------------------------------------------------------


@pytest.fixture
def kinds(client: Any) -> Any:
    """Keys of every kind."""
    kinds = client.create_collection("kinds", embedding_function=None)
    metadata = {"text": "9", "yes": "True", "when": "2024-05-01", "tags": ["a"], "n": 3, "b": True}
    kinds.add(ids=["1", "2"], embeddings=vectors(2), metadatas=[metadata, {"mixed": "9"}])
    kinds.add(ids=["3"], embeddings=vectors(1), metadatas=[{"mixed": 9}])
    return kinds


@pytest.mark.parametrize(
    ("where", "sentences"),
    [
        ({"text": {"$gt": 5}}, ["'text' are texts, and $gt asks for a number", "Store numbers"]),
        ({"text": 9}, ["'text' are texts, and $eq asks for a number", "with the text: '9'"]),
        ({"text": {"$in": [9, 10]}}, ["are texts, and $in asks for a number"]),
        ({"yes": True}, ["'yes' are texts, and $eq asks for a bool", "with the text: 'True'"]),
        ({"text": {"$contains": "9"}}, ["are texts, and $contains looks into lists"]),
        ({"when": {"$gt": 20240501}}, ["are texts", "They are dates", "such as '2024-05-01'"]),
        ({"n": "3"}, ["'n' are numbers, and $eq asks for a text", "the number: 3, without"]),
        ({"n": True}, ["'n' are numbers, and $eq asks for a bool", "two kinds"]),
        ({"b": 1}, ["'b' are bools, and $eq asks for a number", "two kinds"]),
        ({"b": "true"}, ["Compare with the bool: True, without quotes"]),
        ({"tags": "a"}, ["'tags' are lists, and $eq asks for a text", "{\"$contains\": 'a'}"]),
        ({"n": {"$gt": "2024-01-01"}}, ["'n' are numbers, and $gt asks for a text"]),
        ({"id": "1"}, ["No record has the metadata key 'id'", "ids=[...]", "K.ID"]),
        ({"$and": [{"text": 9}, {"nn": 1}]}, ["metadata key 'nn'", "'text' are texts"]),
    ],
    ids=str,
)
def test_an_empty_answer_says_which_kinds_a_key_has(
    kinds: Any, where: Any, sentences: list[str]
) -> None:
    near = kinds.fields.is_near
    for found in (
        kinds.get(where=where),
        kinds.query(query_embeddings=vectors(1), where=where),
    ):
        assert not any(found["ids"])
        shown = text(found)
        if near:
            assert not [one for one in sentences if one not in shown], shown
        else:
            # Showing something asks no server.
            assert "collection.fields.describe()" in shown
            assert ("K.ID" in shown) == ("id" in where)


@pytest.mark.parametrize(
    "where",
    [
        {"text": "10"},
        {"mixed": 10},
        {"mixed": "10"},
        {"n": {"$gt": 5}},
        {"tags": {"$contains": "b"}},
    ],
    ids=str,
)
def test_an_empty_answer_of_the_right_kind_says_nothing_of_kinds(local: Any, where: Any) -> None:
    notes = local.create_collection("notes", embedding_function=None)
    metadata = {"text": "9", "mixed": "9", "n": 3, "tags": ["a"]}
    notes.add(ids=["1", "2"], embeddings=vectors(2), metadatas=[metadata, {"mixed": 9}])
    assert text(notes.get(where=where)) == "GetResult: 0 records"


# -- keys and values -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "new"), [("", "name"), ("#id", "id"), ("$ price", "price"), ("##", "name")]
)
def test_a_key_that_cannot_be_stored_is_renamed(client: Any, key: str, new: str) -> None:
    notes = client.create_collection("notes", embedding_function=None)
    frame = pd.DataFrame({"id": ["a"], "embedding": vectors(1), key: [1]})
    for call in (
        lambda: notes.add(ids=["a"], embeddings=vectors(1), metadatas=[{key: 1}]),
        lambda: notes.from_pandas(frame),
    ):
        with pytest.raises(InvalidArgumentError, match="Invalid metadata key") as caught:
            call()
        assert f"Rename it, to {new!r} say" in str(caught.value)
        assert "frame.rename(" in str(caught.value)


def test_half_a_surrogate_pair_is_placed(client: Any) -> None:
    notes = client.create_collection("notes", embedding_function=None)
    bad = "x\ud800"
    arguments: dict[str, Any] = {"ids": ["a", "b"], "embeddings": vectors(2)}
    for more, place in (
        ({"documents": ["x", bad]}, "at position 1"),
        ({"uris": ["x", bad]}, "at position 1"),
        ({"metadatas": [{"k": "x"}, {"k": bad}]}, "metadata value for key 'k' at position 1"),
        ({"metadatas": [None, {"k": ["x", bad]}]}, "metadata value for key 'k' at position 1"),
        ({"metadatas": [{"k": "x"}, {bad: "x"}]}, "metadata key at position 1"),
        ({"ids": ["a", bad]}, "at position 1"),
    ):
        with pytest.raises(InvalidArgumentError, match=f"{place}.*Clean the text"):
            notes.add(**{**arguments, **more})  # type: ignore[arg-type]
    for column in ("document", "k", "id"):
        frame = pd.DataFrame({"id": ["a", "b"], "embedding": vectors(2)})
        frame[column] = pd.Series(["a", bad], dtype=object)
        with pytest.raises(InvalidArgumentError, match=r"Row 1|at position 1"):
            notes.from_pandas(frame)
    assert notes.count() == 0


class Colour(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "way_out"),
    [
        (datetime.time(1, 2), "value.isoformat()"),
        (datetime.timedelta(1), "value.total_seconds()"),
        (pd.Period("2024-01"), "str(value)"),
        (pd.Interval(0, 1), "str(value)"),
        (b"raw", ".decode()"),
        ({"a"}, "sorted(value)"),
        (("a", "b"), "list(value)"),
        (Colour.RED, "value.name"),
        (decimal.Decimal("1.5"), "float(value)"),
        (1j, "str(value)"),
        (np.zeros((2, 2)), "value.ravel().tolist()"),
        ({"a": 1}, "json.dumps(value)"),
        ([1, None], "x is not None"),
        ([1, "x"], "[str(x) for x in value]"),
        ([1, 2.5], "[float(x) for x in value]"),
        ([["x"]], "json.dumps(value)"),
        ([datetime.time(1)], "[str(x) for x in value]"),
        ([], "Leave the key out"),
        (float("inf"), "the text str(value)"),
        ([-float("inf")], "-1e308"),
        (float("nan"), "Leave the key out."),
        (2**70, "float(value)"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("method", ["add", "upsert", "update"])
def test_a_value_that_cannot_be_stored_has_a_way_out(
    local: Any, method: str, value: Any, way_out: str
) -> None:
    notes = local.create_collection("notes", embedding_function=None)
    with pytest.raises(ValueError, match=r"^Expected metadata") as caught:
        getattr(notes, method)(ids=["a"], embeddings=vectors(1), metadatas=[{"k": value}])
    assert way_out in str(caught.value)
    assert "'k'" in str(caught.value)
    assert str(caught.value).endswith(".")


# -- sentences in one piece ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda n: n.get(where={"a": 1, "b": 2}),
            "Expected where to have exactly one operator, got {'a': 1, 'b': 2} in get. Join conditions with "
            "$and: {'$and': [{'a': 1}, {'b': 2}]}.",
        ),
        (
            lambda n: n.add(ids=["a"], embeddings=[1, 0], on_conflict="x"),
            "Expected on_conflict to be 'skip', 'error' or 'replace', got 'x' in add.",
        ),
        (
            lambda n: n.query(query_embeddings=[1, 0], n_results=0),
            "Number of requested results 0, cannot be negative, or zero in query. Ask for at least 1; without "
            "n_results it is 10.",
        ),
        (
            lambda n: n.query(),
            "At least one of one of embeddings, documents, images, uris must be provided in query. Give "
            "query_texts=[...], which are embedded, or query_embeddings=[...] of your own.",
        ),
        (
            lambda n: n.query(query_texts="x"),
            "You must provide an embedding function to compute embeddings in query. Collection [notes] was opened "
            "with embedding_function=None. Give query_embeddings=, or open it with a function: "
            "client.get_collection('notes', embedding_function=...). See "
            "https://docs.trychroma.com/guides/embeddings",
        ),
        (
            lambda n: n.get(include=["data"]),
            "You must set a data loader on the collection if loading from URIs in get. Open it with one: "
            "client.get_collection('notes', data_loader=...), a function of a list of uris.",
        ),
    ],
    ids=["where", "on_conflict", "n_results", "nothing", "no function", "no loader"],
)
def test_the_methods_name_stands_in_the_first_sentence(
    client: Any, call: Any, sentence: str
) -> None:
    notes = client.create_collection("notes", embedding_function=None)
    with pytest.raises((ValueError, TypeError)) as caught:
        call(notes)
    assert str(caught.value) == sentence


def test_in_add_the_way_out_is_the_argument_of_add(local: Any) -> None:
    notes = local.create_collection("notes", embedding_function=None)
    with pytest.raises(ValueError, match=r"embeddings in add\. .* Give embeddings=, or open it"):
        notes.add(ids=["a"], documents=["x"])


# -- filters ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "way_out"),
    [
        (
            {"when": {"$gte": 1, "$lt": 2}},
            "{'$and': [{'when': {'$gte': 1}}, {'when': {'$lt': 2}}]}",
        ),
        ({}, "where=None"),
        ({"k": {}}, "leave the key out"),
        ({"k": [1, 2]}, "{'k': {'$in': [...]}}"),
        ({"k": {"$eq": [1, 2]}}, "{'k': {'$in': [...]}}"),
        ({"k": None}, "lacks the key"),
        ({"k": {"$ne": None}}, "lacks the key"),
        ({"k": {"$in": "x"}}, "{'$in': ['x']}"),
        ({"k": {"$in": []}}, "matches nothing"),
        ({"k": {"$in": [1, "a"]}}, "{'$or': ["),
        ({"k": {"$like": "x%"}}, "K.DOCUMENT.regex"),
        ({"k": {"$startswith": "x"}}, "where_document={'$contains'"),
        ({"k": {"$not": {"$eq": 1}}}, "$ne, $nin"),
        ({"$not": {"k": 1}}, "$ne, $nin"),
        ({"k": {"$exists": True}}, "client.sql()"),
        ({"k": {"$between": [1, 2]}}, "{'$gte': 1}"),
        ({"k": {"==": 1}}, "Write $eq"),
        ({"k": {"$and": [{"$gt": 1}]}}, "outside of the keys"),
        ({"$or": [{"a": 1}]}, "where={'a': 1}"),
        ("k = 1", "K('key') == value"),
    ],
    ids=str,
)
def test_a_filter_that_is_refused_has_a_way_out(client: Any, where: Any, way_out: str) -> None:
    notes = client.create_collection("notes", embedding_function=None)
    for call in (
        lambda: notes.get(where=where),
        lambda: notes.query(query_embeddings=[1, 0], where=where),
        lambda: notes.delete(where=where),
    ):
        with pytest.raises(ValueError, match=r"^(Expected|Invalid)") as caught:
            call()
        assert way_out in str(caught.value)
        assert "$lte?" not in str(caught.value)


@pytest.mark.parametrize(
    ("where_document", "way_out"),
    [
        ({}, "where_document=None"),
        ({"$contains": "a", "$regex": "b"}, "{'$and': [{'$contains': 'a'}, {'$regex': 'b'}]}"),
        ({"$like": "x"}, "use $contains"),
        ({"k": "x"}, "where={'k': 'x'}"),
        ({"$not": {"$contains": "x"}}, "$not_contains"),
        ({"$contains": ["a", "b"]}, "join several"),
        ({"$contains": ""}, "leave the condition out"),
        ("x", "{'$contains': 'text'}"),
    ],
    ids=str,
)
def test_a_document_filter_that_is_refused_has_a_way_out(
    local: Any, where_document: Any, way_out: str
) -> None:
    notes = local.create_collection("notes", embedding_function=None)
    with pytest.raises(ValueError, match=r"^Expected where document") as caught:
        notes.get(where_document=where_document)
    assert way_out in str(caught.value)


def test_a_key_is_named_in_parentheses() -> None:
    with pytest.raises(AttributeError, match=r"K\('when'\)"):
        _ = K.when  # type: ignore[attr-defined]
    assert not hasattr(K, "year")
    assert not hasattr(K, "_repr_html_")


@pytest.mark.parametrize("condition", [K("a") == 1, K("a"), K.DOCUMENT.contains("x")], ids=str)
def test_a_condition_is_not_negated_as_a_whole(condition: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="Negate each comparison: != for =="):
        _ = ~condition


# -- late and bare -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["openai", "", 5, len])
def test_an_embedding_that_is_none_is_refused_at_once(given: Any) -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"Known: auto, minilm, static.*embedding_function="
    ):
        chroma.Settings(embedding=given)
    with pytest.raises(InvalidArgumentError, match="Known: auto, minilm, static"):
        chroma.Settings().replace(embedding=given)


def test_an_embedding_of_the_environment_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMA_NB_EMBEDDING", "openai")
    with pytest.raises(InvalidArgumentError, match="Unknown setting CHROMA_NB_EMBEDDING='openai'"):
        chroma.Settings()


@pytest.mark.parametrize("name", ["get_server", "get_settings", "get_embedding_function"])
def test_factories_say_where_their_settings_come_from(name: str) -> None:
    factory: Any = getattr(chroma, name)
    with pytest.raises(
        TypeError, match=rf"configure\(.*server_port=0.*\), then chroma_nb\.{name}\(\)"
    ):
        factory(chroma.Settings(server_port=0))
    with pytest.raises(TypeError, match=r"takes no arguments.*configure\(server_token=\.\.\.\)"):
        factory(server_token="secret")


def test_copies_go_to_a_client(client: Any, tmp_path: Path) -> None:
    notes = client.create_collection("notes", embedding_function=None)
    for other, way_out in (
        ("./x", r"chroma_nb.connect\('./x'\)"),
        (tmp_path, "chroma_nb.connect"),
        ("http://host:1", r"chroma_nb.connect\('http://host:1'\)"),
        (notes, r"chroma_nb.connect\('./folder'\)"),
        (None, r"chroma_nb.connect\('./folder'\)"),
        (chroma.AsyncClientAPI(client), "other.sync"),
    ):
        with pytest.raises(InvalidArgumentError, match=rf"wants a client.*{way_out}"):
            client.copy_to(other)
    with chroma.Client(tmp_path / "kept") as kept:
        assert client.copy_to(kept, "notes") == {"notes": 0}
        assert client.copy_to(kept, [notes]) == {"notes": 0}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("CohereEmbeddingFunction", ""),
        ("HuggingFaceEmbeddingFunction", ""),
        ("OpenAIEmbedingFunction", "Did you mean 'OpenAIEmbeddingFunction'?"),
    ],
)
def test_embedding_functions_that_are_not_here(name: str, hint: str) -> None:
    from chroma_nb.utils import embedding_functions

    with pytest.raises(AttributeError) as caught:
        getattr(embedding_functions, name)
    sentence = str(caught.value)
    assert name in sentence
    assert hint in sentence
    assert ("Did you mean" in sentence) == bool(hint)
    assert "SentenceTransformerEmbeddingFunction" in sentence
    assert "a function of a list of texts" in sentence
    assert not hasattr(embedding_functions, "__wrapped__")


def test_an_attribute_that_is_nearly_there() -> None:
    with pytest.raises(AttributeError, match="Did you mean 'Client'"):
        _ = chroma.Cliet  # type: ignore[attr-defined]


# -- words on the screen -----------------------------------------------------------------------------------------


def own(texts: Any) -> Any:
    return vectors(len(texts))


def test_an_empty_collection_is_empty(client: Any) -> None:
    notes = client.create_collection("notes", embedding_function=None)
    assert client.memory.report().collections[0].state == "empty"
    if notes.fields.is_near:
        assert "empty" in html(notes)
        assert "on disk" not in html(client)
    notes.add(ids=["a"], embeddings=vectors(1))
    notes.unload()
    assert client.memory.report().collections[0].state == "on disk"


def test_a_function_without_a_name_is_not_called_legacy(client: Any) -> None:
    with pytest.warns(DeprecationWarning, match="records it as legacy"):
        nameless = client.create_collection("nameless", embedding_function=own)
    none = client.create_collection("none", embedding_function=None, configuration={"hnsw": {}})
    for shown in (nameless, none):
        assert "no function recorded" in html(shown)
        assert "legacy" not in html(shown)
    assert "no function recorded" in html(client.list_collections())


@pytest.mark.filterwarnings("ignore:Embedding function 'own':DeprecationWarning")
def test_a_conflict_names_the_users_function(client: Any) -> None:
    static = chroma.StaticEmbeddingFunction()
    notes = client.create_collection("notes", embedding_function=static)
    with pytest.raises(
        InvalidArgumentError, match="conflict: new: own vs persisted: static_minilm"
    ):
        client.get_collection("notes", embedding_function=own)
    with pytest.raises(
        InvalidArgumentError, match="conflict: new: own vs persisted: static_minilm"
    ):
        client.get_or_create_collection("notes", embedding_function=own)
    with pytest.raises(InvalidArgumentError, match=r"\(static_minilm vs own\)"):
        notes.modify(configuration={"embedding_function": own})


def test_the_display_of_the_status_claims_no_graph(local: Any) -> None:
    notes = local.create_collection("notes", embedding_function=None)
    notes.add(ids=[str(n) for n in range(10)], embeddings=vectors(10))
    assert notes.explain(query_embeddings=[1, 0])["reason"] == "there is no index"
    shown = html(notes.get_indexing_status())
    assert "Graph" not in shown
    assert "Indexed: 10 of 10 records, 100 %" in shown
    assert "Nothing is left to build." in shown
    half = type(notes.get_indexing_status())(5, 5, 10, 0.5)
    assert "searched exactly" in html(half)


def test_one_is_one(local: Any) -> None:
    notes = local.create_collection("notes", embedding_function=None)
    notes.add(ids=["a"], embeddings=vectors(1))
    assert "<caption>1 record</caption>" in html(notes.get())
    assert text(notes.get()).startswith("GetResult: 1 record\n")
    assert ": 1 record\n" in text(notes.query(query_embeddings=[1, 0]))
    assert text(local.list_collections()) == "1 collection: notes"


def test_in_a_terminal_an_explanation_is_a_few_lines(local: Any) -> None:
    notes = local.create_collection("notes", embedding_function=None)
    notes.add(ids=["a"], embeddings=vectors(1))
    lines = text(notes.explain()).splitlines()
    assert lines[0] == "exact: there is no index"
    assert 2 <= len(lines) <= 9
    assert all(len(line) <= 100 for line in lines)
