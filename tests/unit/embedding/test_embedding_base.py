"""`EmbeddingFunction`, the base class."""

from __future__ import annotations

import numpy as np
import pytest

from chroma_nb.embedding import EmbeddingFunction
from chroma_nb.types import Documents
from tests.unit.embedding.toys import Toy


def test_a_subclass_returns_float32_arrays() -> None:
    vectors = Toy(3)(["a", "bcd"])
    assert [v.dtype for v in vectors] == [np.float32, np.float32]
    assert [v.tolist() for v in vectors] == [[1.0] * 3, [3.0] * 3]
    assert [v.tolist() for v in Toy()(input=["a"])] == [[1.0, 1.0]]


def test_a_class_without_call_is_abstract() -> None:
    class Nothing(EmbeddingFunction[Documents]):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Nothing()  # type: ignore[abstract]
