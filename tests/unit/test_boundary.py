"""What every public function does around its work: names, keywords, tracebacks."""

from __future__ import annotations

import pickle
import re
import traceback
from typing import Any

import pytest

import chroma_nb as chroma
from chroma_nb.errors import InvalidArgumentError
from tests.stores import private_settings


@pytest.fixture
def notes() -> Any:
    with chroma.Client(private_settings()) as client:
        yield client.create_collection("notes", embedding_function=None)
        client.delete_collection("notes")


@pytest.mark.parametrize(
    ("call", "kind", "sentence"),
    [
        (lambda c: c.add(ids=[]), ValueError, "are required for ['ids'] in add."),
        (lambda c: c.get(ids=[]), ValueError, "got 0 IDs in get."),
        (
            lambda c: c.get(ids=[1]),
            ValueError,
            "Expected ID to be a str, got 1 in get. That is an int, at position 0. Write ids as text: "
            "[str(n) for n in ids].",
        ),
        (lambda c: c.query(), ValueError, "must be provided in query."),
        (lambda c: c.add(ids=[""], embeddings=[1.0]), InvalidArgumentError, "one character"),
    ],
    ids=["add", "get", "the way out comes last", "query", "Chroma's server names no method"],
)
def test_a_sentence_ends_with_the_method(
    notes: Any, call: Any, kind: type[Exception], sentence: str
) -> None:
    with pytest.raises(kind) as caught:
        call(notes)
    assert str(caught.value).endswith(sentence)


def test_an_error_of_the_users_own_is_not_rewritten() -> None:
    def embed(texts: Any) -> Any:
        raise ValueError("the key is wrong")

    with chroma.Client(private_settings()) as client:
        with pytest.warns(DeprecationWarning, match="ollection"):
            notes = client.create_collection("mine", embedding_function=embed)
        with pytest.raises(ValueError, match=r"^the key is wrong$"):
            notes.add(ids=["a"], documents=["b"])
        client.delete_collection("mine")


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (lambda c: c.query(query_embeddings=[1.0], n_result=5), "Did you mean n_results=?"),
        (lambda c: c.query(query_embeddings=[1.0], k=5), "Did you mean n_results=?"),
        (lambda c: c.query(texts=["a"]), "Did you mean query_texts=?"),
        (lambda c: c.add(ids=["a"], texts=["b"]), "Did you mean documents=?"),
        (lambda c: c.add(ids=["a"], vectors=[[1.0]]), "Did you mean embeddings=?"),
        (lambda c: c.get(filter={"a": 1}), "Did you mean where=?"),
        (lambda c: c.get(limt=1), "Did you mean limit=?"),
        (lambda c: chroma.Client(persist_directory="x"), "Did you mean path=?"),
        (lambda c: chroma.connect(url="http://h"), "Did you mean target=?"),
    ],
)
def test_a_keyword_that_is_not_known(notes: Any, call: Any, hint: str) -> None:
    with pytest.raises(TypeError, match="got an unexpected keyword argument") as caught:
        call(notes)
    assert hint in str(caught.value)
    assert "It takes: " in str(caught.value)


class Notebook:
    """A cell's traceback, as IPython shows it."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        interactive = pytest.importorskip("IPython.core.interactiveshell")
        self.shell = interactive.InteractiveShell.instance()
        self._capsys = capsys

    def run(self, cell: str) -> list[str]:
        self._capsys.readouterr()
        self.shell.run_cell(cell)
        plain = re.sub(r"\x1b\[[0-9;]*m", "", self._capsys.readouterr().out)
        return plain.splitlines()


@pytest.fixture
def notebook(capsys: pytest.CaptureFixture[str]) -> Any:
    made = Notebook(capsys)
    yield made
    type(made.shell).clear_instance()


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        ("notes.add(ids=['b'], embeddings=[[1.0]])", "dimension of 2, got 1"),
        ("notes.get(ids=[1])", "Expected ID to be a str, got 1 in get."),
        ("notes._client.get_collection('note')", "Did you mean [notes]?"),
        ("notes._client.sql('SELECT nonsense FROM notes')", "nonsense"),
        ("notes._client.memory.budget = 'much'", "Expected a size"),
        ("notes.query(query_embeddings=[1.0], k=3)", "Did you mean n_results=?"),
    ],
)
def test_in_a_notebook_the_sentence_is_all_there_is(
    notes: Any, notebook: Notebook, cell: str, sentence: str
) -> None:
    notes.add(ids=["a"], embeddings=[[1.0, 2.0]])
    notebook.shell.user_ns["notes"] = notes
    shown = notebook.run(cell)
    assert len(shown) < 12, "\n".join(shown)
    assert not any("chroma_nb/" in line for line in shown), "\n".join(shown)
    assert any(sentence in line for line in shown[-7:]), "\n".join(shown)


def test_a_traceback_can_be_seen_whole(notes: Any, notebook: Notebook) -> None:
    notebook.shell.user_ns["notes"] = notes
    short = notebook.run("notes.get(ids=[1])")
    notebook.run("%xmode Verbose")
    whole = notebook.run("notes.get(ids=[1])")
    notebook.run("%xmode Context")
    assert len(whole) > 3 * len(short)
    assert any("validation.py" in line for line in whole)


def test_a_mistake_of_ours_is_shown_whole(
    notes: Any, notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(notes._client.api), "count", lambda *_, **__: {}["nothing"])
    notebook.shell.user_ns["notes"] = notes
    assert any("collection.py" in line for line in notebook.run("notes.count()"))


def test_an_error_stays_whole(notes: Any) -> None:
    pytest.importorskip("IPython")
    with pytest.raises(ValueError, match="Expected ID") as caught:
        notes.get(ids=[1])
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[-1] == "check_query_ids", "debuggers and logs see where it was raised"
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
