"""What stands for the default embedding function until something is embedded."""

from __future__ import annotations

from typing import Any


class _DefaultEmbeddingFunction:
    """Stands in a signature for the default, which is chosen when something is embedded."""

    def __repr__(self) -> str:
        return "DefaultEmbeddingFunction()"

    @staticmethod
    def name() -> str:
        return "default"

    def __call__(self, input: Any) -> Any:
        from chroma_nb.embedding import resolve_default

        return resolve_default()(input)


DEFAULT_EMBEDDING_FUNCTION: Any = _DefaultEmbeddingFunction()

#: What a collection records that embeds with the default, which is MiniLM as in Chroma. While the collection is empty,
#: another default can still be chosen.
DEFAULT_CONFIG: dict[str, Any] = {"type": "known", "name": "default", "config": {}}
