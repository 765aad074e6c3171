"""Errors that used to send people the wrong way: each says what is wrong, and what to do."""

from __future__ import annotations

import contextlib
import decimal
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
import collections, os, random, signal, sys, threading, time
import numpy as np
import chroma_nb as chroma

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
        with pytest.raises(InternalError, match="its folder was deleted or replaced"):
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
    assert len(shown.splitlines()) < 1_500
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
