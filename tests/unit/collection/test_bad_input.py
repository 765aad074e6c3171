"""Bad input of every kind: Chroma's exception, a sentence that helps, and an unchanged store."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb.errors import (
    ChromaError,
    DuplicateIDError,
    InternalError,
    InvalidArgumentError,
    StoreLockedError,
)

if TYPE_CHECKING:
    from pathlib import Path

ONE = [[1.0, 0.0]]


@pytest.fixture(params=["loaded", "unloaded"])
def notes(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    with chroma_nb.PersistentClient(tmp_path / "store") as client:
        notes = client.create_collection("notes", embedding_function=None)
        notes.add(
            ids=["a", "b"],
            embeddings=[[1.0, 0.0], [0.0, 1.0]],
            documents=["alpha", None],
            metadatas=[{"n": 1}, None],
        )
        if request.param == "unloaded":
            notes.unload()
        yield notes


def everything(notes: Any) -> str:
    return repr(notes.get(include=["embeddings", "documents", "metadatas", "uris"]))


BAD_ADDS: list[Any] = [
    (
        "wrong dimension",
        {"embeddings": [[1.0, 2.0, 3.0]]},
        InvalidArgumentError,
        r"dimension of 2, got 3.*'notes'",
    ),
    ("NaN", {"embeddings": [[1.0, float("nan")]]}, InvalidArgumentError, "NaN or Infinity"),
    ("infinite", {"embeddings": [[1.0, float("inf")]]}, InvalidArgumentError, "NaN or Infinity"),
    ("beyond float32", {"embeddings": [[1.0, 1e300]]}, InvalidArgumentError, "NaN or Infinity"),
    ("beyond float64", {"embeddings": [[1.0, 10**400]]}, InvalidArgumentError, "NaN or Infinity"),
    (
        "NaN among large",
        {"embeddings": np.array([[3e38, np.nan]], "f4")},
        InvalidArgumentError,
        "NaN",
    ),
    ("no embeddings", {"embeddings": []}, ValueError, "non-empty list"),
    ("texts", {"embeddings": [["1", "2"]]}, ValueError, "list of floats"),
    ("bools", {"embeddings": [[True, False]]}, ValueError, "list of floats"),
    ("complex", {"embeddings": np.array([[1j, 2]])}, ValueError, "complex"),
    ("three axes", {"embeddings": np.zeros((1, 2, 2))}, ValueError, "list of floats"),
    ("id is a number", {"ids": [7]}, ValueError, "Expected ID to be a str, got 7"),
    ("empty id", {"ids": [""]}, InvalidArgumentError, "at least one character"),
    ("surrogate id", {"ids": ["x\ud800"]}, InvalidArgumentError, "surrogate"),
    ("surrogate document", {"documents": ["x\udfff"]}, InvalidArgumentError, "surrogate"),
    ("surrogate value", {"metadatas": [{"k": "\ud83d"}]}, InvalidArgumentError, "surrogate"),
    ("surrogate key", {"metadatas": [{"\ud83d": 1}]}, InvalidArgumentError, "surrogate"),
    ("surrogate in a list", {"metadatas": [{"k": ["\ud83d"]}]}, InvalidArgumentError, "surrogate"),
    ("empty metadata", {"metadatas": [{}]}, ValueError, "non-empty dict"),
    (
        "nested metadata",
        {"metadatas": [{"k": {"a": 1}}]},
        ValueError,
        "Expected metadata value to be",
    ),
    ("bytes value", {"metadatas": [{"k": b"x"}]}, ValueError, "Expected metadata value to be"),
    ("mixed list", {"metadatas": [{"k": [1, "a"]}]}, ValueError, "same type"),
    ("NaN value", {"metadatas": [{"k": float("nan")}]}, InvalidArgumentError, "finite"),
    ("infinite value", {"metadatas": [{"k": float("-inf")}]}, InvalidArgumentError, "finite"),
    ("65 bits", {"metadatas": [{"k": 2**63}]}, InvalidArgumentError, "64 bits"),
    ("NumPy NaN", {"metadatas": [{"k": np.float32("nan")}]}, InvalidArgumentError, "finite"),
    (
        "document is a number",
        {"documents": [5]},
        ValueError,
        "Expected document to be a str, got 5",
    ),
    ("lengths", {"documents": ["a", "b"]}, ValueError, "Unequal lengths for fields: ids: 1"),
    ("on_conflict", {"on_conflict": "overwrite"}, ValueError, "'skip', 'error' or 'replace'"),
]


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [case[1:] for case in BAD_ADDS],
    ids=[case[0] for case in BAD_ADDS],
)
def test_bad_adds(notes: Any, arguments: dict[str, Any], error: Any, text: str) -> None:
    before = everything(notes)
    with pytest.raises(error, match=text):
        notes.add(**{"ids": ["z"], "embeddings": ONE, **arguments})
    assert everything(notes) == before
    assert notes.count() == 2


def test_one_bad_record_among_many_stops_all_of_them(notes: Any) -> None:
    before = everything(notes)
    vectors = np.ones((1_000, 2), dtype=np.float32)
    vectors[777, 1] = np.nan
    with pytest.raises(InvalidArgumentError):
        notes.add(ids=[str(i) for i in range(1_000)], embeddings=vectors)
    with pytest.raises(DuplicateIDError, match="found duplicates of: 5"):
        notes.upsert(ids=[str(i) for i in range(999)] + ["5"], embeddings=np.ones((1_000, 2)))
    assert everything(notes) == before


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ({"k": {"$like": "x"}}, r"one of \$gt, .*got \$like"),
        ({"k": {"$gt": "x"}}, "int or a float"),
        ({"$and": [{"a": 1}]}, "at least two"),
        ({"k": None}, "operator expression"),
        ({"a": 1, "b": 2}, "exactly one operator"),
        ([], "Expected where to be a dict"),
        ({"k": {"$in": []}}, "non-empty list"),
        ({"k": "\ud800"}, "surrogate"),
    ],
)
@pytest.mark.parametrize("method", ["get", "query", "delete"])
def test_bad_filters(notes: Any, method: str, where: Any, text: str) -> None:
    more = {"query_embeddings": ONE} if method == "query" else {}
    before = everything(notes)
    with pytest.raises(ValueError, match=text):
        getattr(notes, method)(where=where, **more)
    assert everything(notes) == before


def test_a_bad_regular_expression_is_named(notes: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="Invalid where clause"):
        notes.get(where_document={"$regex": "("})
    assert notes.get(where_document={"$regex": "^al.*a$"})["ids"] == ["a"]


def test_large_and_many_things_are_fine(notes: Any) -> None:
    text = "<script>alert(1)</script> $x$ \x00 " * 30_000
    many = {f"key {i}": i for i in range(10_000)}
    notes.add(ids=["big"], embeddings=ONE, documents=[text], metadatas=[many])
    notes.add(ids=["\x00" + "i" * 100_000], embeddings=ONE, metadatas=[{"k" * 10_000: "v"}])
    got = notes.get(ids=["big"])
    assert got["documents"] == [text]
    assert got["metadatas"] == [many]
    assert notes.get(where={"key 9999": 9_999}, include=[])["ids"] == ["big"]
    assert notes.get(where_document={"$contains": "alert(1)</script> $x$ \x00"})["ids"] == ["big"]
    notes.unload()
    assert notes.get(where={"key 9999": 9_999})["metadatas"] == [many]


def test_numpy_scalars_become_python_values(notes: Any) -> None:
    values = {"i": np.int64(3), "f": np.float32(0.5), "b": np.bool_(True), "s": np.str_("x")}
    notes.add(ids=["n"], embeddings=ONE, metadatas=[values])
    (metadata,) = notes.get(ids=["n"])["metadatas"]
    assert metadata == {"i": 3, "f": 0.5, "b": True, "s": "x"}
    assert [type(value) for value in metadata.values()] == [int, float, bool, str]


def test_a_path_that_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(InvalidArgumentError, match="is a file; a store is a folder"):
        chroma_nb.PersistentClient(file)
    assert file.read_text() == "mine"


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    script = (
        "import os, sys, chroma_nb\n"
        # Everything is imported while the interpreter's own files can be read.
        "chroma_nb.PersistentClient(sys.argv[1] + '-warm').close()\n"
        "if os.getuid() == 0:\n    os.setuid(65534)\n"
        "try:\n    chroma_nb.PersistentClient(sys.argv[1])\n"
        "except chroma_nb.errors.InternalError as error:\n    print(error)\n"
    )
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=False
    )
    assert "cannot be written" in done.stdout, done.stderr
    assert "EphemeralClient" in done.stdout
    assert list(folder.iterdir()) == []


def test_a_store_that_another_process_has_open(tmp_path: Path) -> None:
    script = (
        "import sys, chroma_nb\n"
        "client = chroma_nb.PersistentClient(sys.argv[1])\n"
        "print('open', flush=True)\nsys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "store")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "open\n"
    try:
        with pytest.raises(StoreLockedError, match=rf"pid {child.pid}\b.*client\.close\(\)"):
            chroma_nb.PersistentClient(tmp_path / "store")
    finally:
        child.communicate()
    chroma_nb.PersistentClient(tmp_path / "store").close()


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"allow_rest": True}, "Did you mean 'allow_reset'"),
        ({"threads": "many"}, "must be a number"),
        ({"is_persistent": "perhaps"}, "true or false"),
        ({"threads": -1}, "negative"),
        ({"path": 5}, "text"),
    ],
)
def test_bad_settings(values: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        chroma_nb.Settings(**values)


def test_a_setting_of_chromas_that_does_nothing_here_says_so() -> None:
    with pytest.warns(UserWarning, match="has no effect"):
        chroma_nb.Settings(chroma_server_nofile=65_536)
    chroma_nb.Settings(anonymized_telemetry=False)


@pytest.mark.parametrize("name", ["producer", "consumer", "segment_manager", "executor", "sysdb"])
def test_which_classes_chroma_is_made_of_has_no_effect(name: str) -> None:
    with pytest.warns(UserWarning, match=f"chroma_{name}_impl='some.Class' .* has no effect"):
        chroma_nb.Settings(**{f"chroma_{name}_impl": "some.Class"})


def test_a_closed_client_says_so(tmp_path: Path) -> None:
    client = chroma_nb.PersistentClient(tmp_path / "store")
    notes = client.create_collection("notes", embedding_function=None)
    client.close()
    client.close()
    with pytest.raises(ChromaError, match="closed"):
        notes.count()
    with pytest.raises(InternalError, match="closed"):
        client.list_collections()
