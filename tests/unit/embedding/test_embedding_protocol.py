"""What counts as an embedding function."""

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from chroma_nb.embedding import (
    check_conflict_on_modify,
    embed_documents,
    embed_queries,
    embedding_function_from_config,
    embedding_function_to_config,
    validate_embedding_function,
)
from chroma_nb.embedding.protocol import checked_embedding_function
from tests.unit.embedding.toys import Plain, Toy, embed_a_list

if TYPE_CHECKING:
    from chroma_nb.types import Documents


def test_signature() -> None:
    class Named(Toy):
        def __call__(self, texts: Documents) -> Any:  # type: ignore[override]
            return [[1.0] for _ in texts]

    class Wrong:
        def __call__(self, texts: list[str]) -> Any:
            return [[1.0] for _ in texts]

    for good in (Toy(), Plain(), Named()):
        validate_embedding_function(good)
    assert [v.tolist() for v in Named()(input=["a"])] == [[1.0]]
    expected = "Expected EmbeddingFunction.__call__ to have the following signature: "
    with pytest.raises(ValueError, match=rf"{expected}\(self, input\), got \(self, texts\)"):
        validate_embedding_function(Wrong())
    with pytest.raises(ValueError, match="cannot be called"):
        validate_embedding_function(7)
    with pytest.raises(ValueError, match=r"got the class Toy\. Give an object of it: Toy\(...\)"):
        validate_embedding_function(Toy)


@pytest.mark.parametrize(
    "function",
    [
        embed_a_list,
        lambda anything: embed_a_list(anything),
        functools.partial(embed_a_list),
        Plain().__call__,
    ],
    ids=["def", "lambda", "partial", "method"],
)
def test_a_function_is_an_embedding_function(function: Any) -> None:
    checked = checked_embedding_function(function)
    assert embed_documents(checked, ["a", "bc"]).shape[0] == 2
    assert checked == checked_embedding_function(function)
    with pytest.warns(DeprecationWarning, match="give embedding_function=... each time"):
        assert embedding_function_to_config(checked) == {"type": "legacy"}


@pytest.mark.differential
def test_objects_of_chromadb_work() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("chromadb", reason="needs the extra 'differential'")
        from chromadb.api.types import EmbeddingFunction as ChromaFunction

    class Theirs(ChromaFunction[Any]):
        def __init__(self) -> None:
            return

        def __call__(self, input: Any) -> Any:
            return [[float(len(text)), 1.0] for text in input]

        @staticmethod
        def name() -> str:
            return "theirs"

        def get_config(self) -> dict[str, Any]:
            return {}

        @staticmethod
        def build_from_config(config: dict[str, Any]) -> Any:
            return Theirs()

    class Nameless(ChromaFunction[Any]):
        def __init__(self) -> None:
            return

        def __call__(self, input: Any) -> Any:
            return [[1.0] for _ in input]

    validate_embedding_function(Theirs())
    assert embed_documents(Theirs(), ["abc"]).tolist() == [[3.0, 1.0]]
    assert embed_queries(Theirs(), ["abc"]).tolist() == [[3.0, 1.0]]
    config = embedding_function_to_config(Theirs())
    assert config == {"type": "known", "name": "theirs", "config": {}}
    assert isinstance(embedding_function_from_config(config), Theirs)
    check_conflict_on_modify(config, Theirs())
    with pytest.warns(DeprecationWarning, match="records it as legacy"):
        assert embedding_function_to_config(Nameless()) == {"type": "legacy"}
