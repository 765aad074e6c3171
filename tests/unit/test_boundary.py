"""What every public function does around its work: names, keywords, tracebacks."""

from __future__ import annotations

import ast
import importlib
import inspect
import pickle
import re
import traceback
from typing import Any

import numpy as np
import pytest

import chroma_nb as chroma
from chroma_nb import boundary
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
        (lambda c: c.query(), ValueError, "or query_embeddings=[...] of your own."),
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
        (lambda c: c.search(query_texts=["a"]), "Did you mean searches=?"),
        (lambda c: c.search("a", where_document={"$contains": "b"}), "Did you mean where=?"),
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
        config = pytest.importorskip("traitlets.config").Config()
        # A test has no business in anybody's history; old versions write it in a way that new Pythons warn of.
        config.HistoryManager.enabled = False
        self.shell = interactive.InteractiveShell.instance(config=config)
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
        ("notes.client.get_collection('note')", "Did you mean [notes]?"),
        ("notes.client.sql('SELECT nonsense FROM notes')", "nonsense"),
        ("notes.client.memory.budget = 'much'", "Expected a size"),
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


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        ("chroma.Settings(embeding='x')", "Did you mean 'embedding'?"),
        ("chroma.Settings().replace(embedding='x')", "Known: auto, minilm, static"),
        ("(K('a') > 3) and (K('b') == 1)", "has no truth value"),
        ("K('a') > 3 & K('b') == 1", "Put each comparison in parentheses"),
        ("bool(K('a'))", "alone is no condition"),
        ("~K('a')", "Negate each comparison"),
        ("~(K('a') == 1)", "Negate each comparison"),
        ("K.year", "K('year')"),
        ("notes.query(query_texts='x')", "embedding_function=..."),
        ("notes.get().ids", "result['ids']"),
        ("chroma.get_server(5)", "configure("),
        ("chroma.configure(nonsense=1)", "Unknown setting"),
        ("notes.client.copy_to('./x')", "connect('./x')"),
        ("chroma.utils.embedding_functions.CohereEmbeddingFunction", "a function of a list"),
        ("chroma.utils.embedding_functions.OllamaEmbeddingFunction(5, 5, 'x', 5)", "Ollama"),
        ("chroma.StaticEmbeddingFunction('x')", "Unknown static model"),
        ("chroma.Cliet", "Did you mean 'Client'?"),
        ("chroma.SparseVector([1], [])", "same length"),
    ],
)
def test_also_where_nothing_of_a_collection_is_called(
    notes: Any, notebook: Notebook, cell: str, sentence: str
) -> None:
    notebook.shell.user_ns.update(notes=notes, chroma=chroma, K=chroma.K)
    shown = notebook.run(cell)
    assert not any("chroma_nb/" in line for line in shown), "\n".join(shown)
    assert sentence in "\n".join(shown)


@pytest.mark.filterwarnings("ignore:Embedding function:DeprecationWarning")
@pytest.mark.parametrize(
    "definition",
    [
        "def model(texts):\n    return helper(texts)",
        "class Model(chroma.EmbeddingFunction):\n    def __call__(self, input):\n        return helper(input)\n"
        "model = Model()",
        "class Model:\n    def __call__(self, input):\n        return helper(input)\nmodel = Model()",
    ],
    ids=["function", "subclass", "class"],
)
@pytest.mark.parametrize(
    "error", ["RuntimeError('no gpu')", "ValueError('no')", "KeyboardInterrupt"]
)
def test_of_a_function_of_ones_own_its_frames_are_shown(
    notes: Any, notebook: Notebook, definition: str, error: str
) -> None:
    notebook.shell.user_ns.update(client=notes.client, chroma=chroma)
    notebook.run(f"def helper(texts):\n    raise {error}\n{definition}")
    notebook.run("mine = client.create_collection('mine', embedding_function=model)")
    shown = "\n".join(notebook.run("mine.add(ids=['a'], documents=['x'])"))
    notes.client.delete_collection("mine")
    assert "mine.add(" in shown
    assert "return helper(" in shown
    assert f"raise {error}" in shown
    assert "chroma_nb/" not in shown
    assert len(re.findall("Cell In|<ipython-input", shown)) == 3, shown


def test_a_loader_of_ones_own_is_shown(notes: Any, notebook: Notebook) -> None:
    notebook.shell.user_ns.update(client=notes.client)
    notebook.run("def load(uris):\n    raise OSError('no file')")
    notebook.run("mine = client.get_collection('notes', data_loader=load)")
    shown = "\n".join(notebook.run("mine.get(include=['data'])"))
    assert "raise OSError" in shown
    assert "chroma_nb/" not in shown


def test_an_interrupt_ends_at_the_callers_line(
    notes: Any, notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it comes in NumPy, far below."""

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    class Rows:
        """An array that is slow to make."""

        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return np.apply_along_axis(interrupted, 0, np.ones((2, 2)))

    notebook.shell.user_ns.update(notes=notes, rows=Rows())
    shown = notebook.run("notes.add(ids=['a'], embeddings=rows)")
    assert not any(word in line for line in shown for word in ("chroma_nb/", "numpy/")), shown
    assert shown[-1].startswith("KeyboardInterrupt")
    assert sum("Cell In" in line or "<ipython-input" in line for line in shown) == 1


def test_a_traceback_can_be_seen_whole(notes: Any, notebook: Notebook) -> None:
    notebook.shell.user_ns["notes"] = notes
    short = notebook.run("notes.get(ids=[1])")
    notebook.run("%xmode Verbose")
    whole = notebook.run("notes.get(ids=[1])")
    notebook.run("%xmode Context")
    assert len(whole) > 3 * len(short)
    assert any("ids.py" in line for line in whole)


def test_a_mistake_of_ours_is_shown_whole(
    notes: Any, notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(notes.client.api), "count", lambda *_, **__: {}["nothing"])
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


def test_the_functions_that_call_others_exist() -> None:
    """Their names are texts: one that is renamed would hide the frames of the caller's own functions."""
    for module, function in boundary._CALLS_OTHERS:
        tree = ast.parse(inspect.getsource(importlib.import_module(module)))
        defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert function in defined, f"{module} has no {function}"
