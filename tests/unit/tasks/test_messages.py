"""What goes through a broker is checked at both ends: nothing that somebody has put there is believed."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from chroma_nb.embedding import (
    DefaultEmbeddingFunction,
    StaticEmbeddingFunction,
    embed_documents,
)
from chroma_nb.tasks import embedding
from chroma_nb.tasks.messages import (
    PIECE_TEXTS,
    VERSION,
    RefusedError,
    packed_texts,
    packed_vectors,
    refusal,
    unpacked_texts,
    unpacked_vectors,
)

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = ["one", "zwei ü", "\ud800 half of a pair", ""]


def sent(message: Any) -> Any:
    """Return a message as it comes out of the broker."""
    return json.loads(json.dumps(message))


def test_texts_come_as_they_were_sent() -> None:
    config = {"b": [1, 2.5, None], "a": {"ü": True}}
    assert unpacked_texts(sent(packed_texts("f", config, TEXTS))) == ("f", config, TEXTS, "")


def test_vectors_come_as_they_were_sent_to_the_last_bit() -> None:
    vectors = np.array([[1e-45, -0.0], [3.4e38, 0.1]], np.float32)
    found = unpacked_vectors(sent(packed_vectors(vectors)), 2)
    assert found.tobytes() == vectors.tobytes()


@pytest.mark.parametrize(
    "change",
    [
        lambda one: None,
        lambda one: "text",
        lambda one: [one],
        lambda one: {},
        lambda one: {**one, "version": "0/0"},
        lambda one: {**one, "crc32": one["crc32"] + 1},
        lambda one: {**one, "crc32": True},
        lambda one: {**one, "body": [*one["body"], 1]},
        lambda one: packed_texts("f", [], TEXTS),  # type: ignore[arg-type]
        lambda one: packed_texts(7, {}, TEXTS),  # type: ignore[arg-type]
        lambda one: packed_texts("f", {}, [1, None]),  # type: ignore[list-item]
        lambda one: packed_texts("f", {}, []),
        lambda one: packed_texts("f", {}, ["x"] * (PIECE_TEXTS + 1)),
        lambda one: packed_texts("f", {}, ["x" * (9 << 20)]),
    ],
)
def test_what_is_no_message_is_refused(change: Any) -> None:
    message = change(packed_texts("f", {}, TEXTS))
    with pytest.raises(RefusedError):
        unpacked_texts(sent(message))
    assert "refused" in embedding.answer(sent(message))


@pytest.mark.parametrize(
    "change",
    [
        lambda one: None,
        lambda one: [],
        lambda one: {**one, "version": "0/0"},
        lambda one: {**one, "crc32": 1},
        lambda one: {**one, "shape": [3, 2]},
        lambda one: {**one, "shape": [2, 0]},
        lambda one: {**one, "shape": [2.0, 2]},
        lambda one: {**one, "shape": [-2, -2]},
        lambda one: {**one, "shape": "22"},
        lambda one: {**one, "data": one["data"][:-4]},
        lambda one: {**one, "data": "§"},
        lambda one: {**one, "data": None},
        lambda one: packed_vectors(np.array([[np.nan, 1], [1, 1]], np.float32)),
        lambda one: refusal(RefusedError("no")),
    ],
)
def test_what_is_no_answer_is_refused(change: Any) -> None:
    answer = change(packed_vectors(np.ones((2, 2), np.float32)))
    with pytest.raises(RefusedError):
        unpacked_vectors(sent(answer), 2)


def test_a_worker_embeds_what_this_process_embeds() -> None:
    message = sent(packed_texts("static_minilm", StaticEmbeddingFunction().get_config(), TEXTS))
    found = unpacked_vectors(sent(embedding.answer(message)), len(TEXTS))
    assert np.array_equal(found, embed_documents(StaticEmbeddingFunction(), TEXTS))


@pytest.mark.parametrize(
    ("name", "config", "says"),
    [
        ("no_such_function", {}, "is registered in the worker"),
        ("os.system", {}, "is registered in the worker"),
        ("chroma_nb.embedding._static:StaticEmbeddingFunction", {}, "is registered in the worker"),
        ("openai", {"api_key_env_var": "HOME"}, "asks a service"),
        ("ollama", {"url": "http://169.254.169.254"}, "asks a service"),
        ("static_minilm", {"path": "/etc/passwd"}, "unknown field"),
    ],
)
def test_a_worker_builds_registered_functions_alone(
    name: str, config: dict[str, Any], says: str
) -> None:
    answer = embedding.answer(sent(packed_texts(name, config, TEXTS)))
    assert says in answer["refused"]
    assert answer["version"] == VERSION


def test_a_function_that_fails_is_an_answer() -> None:
    class Broken:
        def __call__(self, input: Any) -> Any:
            raise MemoryError("no room")

    key = json.dumps(["test_broken", {}])
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(embedding._functions, key, Broken())
        patch.setattr(embedding, "known_embedding_functions", {"test_broken": Broken}, raising=True)
        answer = embedding.answer(packed_texts("test_broken", {}, TEXTS))
    assert answer["refused"] == "MemoryError: 'no room'"
    assert answer["lasting"] is False


def test_another_model_of_the_same_name_is_refused(tmp_path: Path) -> None:
    """MiniLM may be in any folder, and what is there may be another model."""
    for name in ("model.onnx", "tokenizer.json"):
        (tmp_path / name).write_bytes(b"not the model")
    function = DefaultEmbeddingFunction(model_path=tmp_path)
    mark = embedding.model_of(function)
    (tmp_path / "model.onnx").write_bytes(b"not the model either")
    other = embedding.model_of(function)
    assert mark != other != ""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(embedding._functions, json.dumps(["default", {}]), function)
        answer = embedding.answer(sent(packed_texts("default", {}, TEXTS, mark)))
    assert "is another one than the store's" in answer["refused"]


def test_functions_that_a_worker_cannot_build_are_not_sent() -> None:
    class Odd:
        def __call__(self, input: Any) -> Any:
            return input

    with pytest.raises(RefusedError, match="has no name"):
        embedding.sendable(Odd())
    with pytest.raises(RefusedError, match="has no name"):
        embedding.sendable(len)


def test_base64_is_that_of_little_endian_numbers() -> None:
    """What the format is, for whoever reads it with something else."""
    packed = packed_vectors(np.array([[1.0]], np.float32))
    assert base64.b64decode(packed["data"]) == b"\x00\x00\x80?"
