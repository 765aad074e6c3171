"""Small embedding functions."""

from __future__ import annotations

from typing import Any

from chroma_nb.embedding import EmbeddingFunction
from chroma_nb.types import Documents


class Toy(EmbeddingFunction[Documents]):
    def __init__(self, k: int = 2) -> None:
        self.k = k

    def __call__(self, input: Documents) -> Any:
        return [[float(len(text))] * self.k for text in input]

    @staticmethod
    def name() -> str:
        return "toy"

    def get_config(self) -> dict[str, Any]:
        return {"k": self.k}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> EmbeddingFunction[Documents]:
        return Toy(**config)


class Toy2(Toy):
    @staticmethod
    def name() -> str:
        return "toy2"


class Plain:
    """Any object that can be called: no base class, no name."""

    def __init__(self, result: Any = None) -> None:
        self.result = result
        self.calls: list[list[str]] = []

    def __call__(self, input: list[str]) -> Any:
        self.calls.append(input)
        return [[1.0, 2.0]] * len(input) if self.result is None else self.result


def embed_a_list(texts: list[str]) -> list[list[float]]:
    return [[float(len(text))] for text in texts]
