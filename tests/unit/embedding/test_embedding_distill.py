from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from chroma_nb.embedding._static import StaticModel, load_static_model

if TYPE_CHECKING:
    from types import ModuleType

SCRIPT = Path(__file__).parents[3] / "scripts" / "distill_static_model.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    if not SCRIPT.is_file():
        pytest.skip("scripts/ is not part of an installed copy")
    spec = importlib.util.spec_from_file_location("distill_static_model", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_the_script_writes_is_what_the_function_reads(
    script: ModuleType, tmp_path: Path
) -> None:
    shipped = load_static_model()
    tokenizer = (shipped.folder / "tokenizer.json").read_text(encoding="utf-8")
    vectors = np.random.default_rng(0).standard_normal((len(shipped.table), 12)).astype(np.float32)
    script.write_static_model(tmp_path / "model", vectors, tokenizer, {"what": "a test"})

    model = StaticModel(tmp_path / "model")
    assert model.table.shape == vectors.shape
    assert np.abs(model.table).max() == 127
    scale = np.abs(vectors).max() / 127
    np.testing.assert_allclose(model.table * scale, vectors, atol=scale * 0.51)
    ids = model._tokenizer.encode("two words", add_special_tokens=False).ids
    exact = vectors[ids].mean(axis=0)
    assert model.embed(["two words"])[0] @ (exact / np.linalg.norm(exact)) > 0.999


def test_the_file_layout_is_that_of_the_shipped_model(script: ModuleType, tmp_path: Path) -> None:
    shipped = load_static_model()
    tokenizer = (shipped.folder / "tokenizer.json").read_text(encoding="utf-8")
    script.write_static_model(tmp_path, shipped.table.astype(np.float32), tokenizer, {})
    written = (tmp_path / "model.safetensors").read_bytes()
    assert written == (shipped.folder / "model.safetensors").read_bytes()


def test_vectors_that_cannot_be_stored(script: ModuleType, tmp_path: Path) -> None:
    for wrong in (np.zeros((3, 2)), np.full((3, 2), np.nan), np.ones(4)):
        with pytest.raises(ValueError, match="Expected finite embeddings"):
            script.to_int8(wrong)
    with pytest.raises(ValueError, match="The tokenizer has 2 tokens; there are 1 vectors"):
        script.write_static_model(
            tmp_path, np.ones((1, 2)), '{"model":{"vocab":{"a":0,"b":1}}}', {}
        )
