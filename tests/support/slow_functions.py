"""Embedding functions that take as long as a test wants, for owners and workers: `chroma-nb worker --functions` imports this."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

from chroma_nb.embedding import EmbeddingFunction, register_embedding_function


def numbers_of(text: str) -> list[float]:
    """Return a vector that depends on the text alone."""
    return [float(len(text)), float(sum(text.encode()) % 1009), float(text.count("1"))]


@register_embedding_function
class Slow(EmbeddingFunction[Any]):
    """Sleeps for each text that begins with `only`, in a worker alone: what is embedded by the test itself is quick."""

    def __init__(self, seconds: float = 0.0, owner: int = 0, only: str = "") -> None:
        self.seconds = seconds
        self.only = only
        self.owner = owner or os.getpid()

    def __call__(self, input: Any) -> Any:
        if os.getpid() != self.owner:
            time.sleep(self.seconds * sum(one.startswith(self.only) for one in input))
        return np.array([numbers_of(one) for one in input], np.float32)

    @staticmethod
    def name() -> str:
        return "test_slow"

    def get_config(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "owner": self.owner, "only": self.only}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> Slow:
        return Slow(config["seconds"], config["owner"], config["only"])


@register_embedding_function
class Failing(EmbeddingFunction[Any]):
    """Raises where it meets a text."""

    def __call__(self, input: Any) -> Any:
        if any("bad" in one for one in input):
            raise RuntimeError("this text is bad")
        return np.array([numbers_of(one) for one in input], np.float32)

    @staticmethod
    def name() -> str:
        return "test_failing"

    def get_config(self) -> dict[str, Any]:
        return {}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> Failing:
        return Failing()
