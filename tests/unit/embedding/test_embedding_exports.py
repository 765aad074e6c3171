from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

import chroma_nb.embedding
import chroma_nb.utils.embedding_functions as chromas
from chroma_nb.utils.batch_utils import create_batches

HEAVY = ("onnxruntime", "tokenizers", "requests", "tqdm", "sentence_transformers")


def loaded_after(code: str) -> set[str]:
    script = f"{code}\nimport sys\nprint(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return set(done.stdout.split())


def test_importing_loads_nothing_heavy() -> None:
    names = ", ".join(chroma_nb.embedding.__all__)
    code = (
        f"from chroma_nb.embedding import {names}\n"
        "import chroma_nb.utils.embedding_functions as e\n"
        "[getattr(e, name) for name in e.__all__]\n"
        "OpenAIEmbeddingFunction(api_key='x'); OllamaEmbeddingFunction()\n"
        "DefaultEmbeddingFunction(); StaticEmbeddingFunction(); ONNXMiniLM_L6_V2()\n"
    )
    assert loaded_after(code) == set()


def test_the_static_model_needs_a_tokenizer_only() -> None:
    code = "from chroma_nb.embedding import StaticEmbeddingFunction as S\nS()(['a'])"
    assert loaded_after(code) == {"tokenizers"}


def test_every_exported_name_is_there() -> None:
    for module in (chroma_nb.embedding, chromas):
        assert sorted(module.__all__) == sorted(dir(module))
        for name in module.__all__:
            assert getattr(module, name) is getattr(chroma_nb.embedding, name)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        chroma_nb.embedding.Nothing  # noqa: B018


def test_batches() -> None:
    api = SimpleNamespace(get_max_batch_size=lambda: 2)
    ids = ["a", "b", "c"]
    assert create_batches(api, ids, documents=["x", "y", "z"]) == [
        (["a", "b"], None, None, ["x", "y"]),
        (["c"], None, None, ["z"]),
    ]
    assert create_batches(api=api, ids=ids[:2], metadatas=[{"n": 1}, None]) == [
        (["a", "b"], None, [{"n": 1}, None], None)
    ]
    assert create_batches(api, ids, [[1.0], [2.0], [3.0]], uris=["u", "v", "w"]) == [
        (["a", "b"], [[1.0], [2.0]], None, None, ["u", "v"]),
        (["c"], [[3.0]], None, None, ["w"]),
    ]
