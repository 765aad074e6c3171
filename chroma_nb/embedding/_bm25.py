"""`ChromaBm25EmbeddingFunction`: BM25 weights of a text's words, as Chroma's function of this name computes them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.boundary import public_class
from chroma_nb.embedding.bm25_weights import Bm25
from chroma_nb.embedding.sparse import SparseEmbeddingFunction
from chroma_nb.embedding.text import shown
from chroma_nb.embedding.words import ENGLISH, STOP_WORDS, Words, lowered
from chroma_nb.search.sparse import MOST_VALUE, SparseVector, StoredVector, stored_vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chroma_nb.embedding.words import WordCounts

_NAME = "chroma_bm25"
_NUMBERS = ("k", "b", "avg_doc_length", "token_max_length")
_FIELDS = frozenset((*_NUMBERS, "stopwords", "include_tokens"))
_DEFAULT_LONGEST = 40


@public_class
class ChromaBm25EmbeddingFunction(SparseEmbeddingFunction[Sequence[str]]):
    """BM25 weights of a text's words, without a model and without a network.

    A word's weight is tf (k + 1) / (tf + k (1 - b + b L / avg_doc_length)), where tf is how often the text has
    it and L the number of the text's words. Queries are embedded as documents are. How rare a word is in the
    collection is no part of it: the index weighs that (`SparseVectorIndexConfig(bm25=True)`).

    Stems depend on the release of the Snowball stemmer: 3.1 stems a few words otherwise than 2.2.

    Args:
        k: How soon more of the same word stops counting, above 0.
        b: How much long texts are marked down, 0 to 1.
        avg_doc_length: The number of words that counts as usual.
        token_max_length: Words of more letters do not count.
        stopwords: Words that do not count; None: 179 English ones.
        include_tokens: Give each index its stem as a label.

    Raises:
        ValueError: `avg_doc_length` is 0, or a number is not finite.
    """

    def __init__(
        self,
        k: float = 1.2,
        b: float = 0.75,
        avg_doc_length: float = 256.0,
        token_max_length: int = _DEFAULT_LONGEST,
        stopwords: Iterable[str] | None = None,
        include_tokens: bool = False,
    ) -> None:
        self.k = float(k)
        self.b = float(b)
        self.avg_doc_length = float(avg_doc_length)
        self.token_max_length = int(token_max_length)
        self.stopwords = None if stopwords is None else [str(word) for word in stopwords]
        self.include_tokens = bool(include_tokens)
        if not (
            math.isfinite(self.k) and math.isfinite(self.b) and math.isfinite(self.avg_doc_length)
        ):
            raise ValueError(
                f"Expected finite numbers, got k={k}, b={b}, avg_doc_length={avg_doc_length}"
            )
        if self.avg_doc_length == 0:
            raise ValueError("Expected avg_doc_length to be a number other than 0, got 0")
        if self.stopwords is None and self.token_max_length == _DEFAULT_LONGEST:
            self._words = ENGLISH
        else:
            stop_words = STOP_WORDS if self.stopwords is None else lowered(self.stopwords)
            self._words = Words(stop_words, self.token_max_length)

    def __call__(self, input: Sequence[str]) -> list[SparseVector]:
        """Embed documents.

        Args:
            input: A list of n texts.

        Returns:
            n sparse vectors; one without entries for a text without words.

        Raises:
            ValueError: The list is empty, or the Snowball stemmer is not installed.
            TypeError: An item is no text.
        """
        texts = list(input or ())
        for position, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(
                    f"Expected a list of texts, got {shown(text, 80)} ({type(text).__name__}) at position {position}"
                )
        counted, weights = self._weighted(texts)
        indices, values = counted.indices.tolist(), weights.tolist()
        vectors = []
        for text, rows in zip(texts, counted.of_texts(), strict=True):
            labels = None
            if self.include_tokens and rows.stop > rows.start:
                names = self._words.labels(text)
                labels = [names[index] for index in indices[rows]]
            vectors.append(SparseVector.of_plain(indices[rows], values[rows], labels))
        return vectors

    def _weighted(self, texts: list[str]) -> tuple[WordCounts, NDArray[np.float64]]:
        """Return the words of texts, and the weight of each: float64, shape (n,)."""
        counted = self._words.count(texts)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return counted, Bm25(self.k, self.b, self.avg_doc_length).weights(counted)

    def _stored_vectors(self, texts: list[str]) -> list[StoredVector] | None:
        """Return what `embedding.sparse.stored_vectors_of` does: the same vectors, with fewer objects on the way."""
        if self.include_tokens:
            return None
        counted, weights = self._weighted(texts)
        # False for NaN, which parameters that are no usual ones may give.
        if not (np.abs(weights) <= MOST_VALUE).all():
            return None
        ends = [rows.stop for rows in counted.of_texts()]
        return stored_vectors(counted.indices.tolist(), weights.tolist(), ends)

    @staticmethod
    def name() -> str:
        """Return ``"chroma_bm25"``."""
        return _NAME

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, `stopwords` only where they were given."""
        config: dict[str, Any] = {
            "k": self.k,
            "b": self.b,
            "avg_doc_length": self.avg_doc_length,
            "token_max_length": self.token_max_length,
            "include_tokens": self.include_tokens,
        }
        if self.stopwords is not None:
            config["stopwords"] = list(self.stopwords)
        return config

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> ChromaBm25EmbeddingFunction:
        """Build the function from any of its arguments."""
        return ChromaBm25EmbeddingFunction(
            **{field: value for field, value in config.items() if field in _FIELDS}
        )

    def validate_config_update(
        self, old_config: dict[str, Any], new_config: dict[str, Any]
    ) -> None:
        """Raise ValueError if the new config has a field that this function does not have."""
        for field in new_config:
            if field not in _FIELDS:
                raise ValueError(f"Updating {field!r} is not supported for {_NAME}")

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Raise ValueError if a config cannot be one of this function."""
        for field, value in config.items():
            if field not in _FIELDS:
                raise ValueError(
                    f"{_NAME} has no {shown(field)}; it has {', '.join(sorted(_FIELDS))}"
                )
            if field in _NUMBERS:
                number = isinstance(value, int | float) and not isinstance(value, bool)
                wanted, fits = "a number", number and math.isfinite(value)
            elif field == "include_tokens":
                wanted, fits = "true or false", isinstance(value, bool)
            else:
                wanted = "a list of texts"
                fits = isinstance(value, list) and all(isinstance(one, str) for one in value)
            if not fits:
                raise ValueError(f"Expected {field} of {_NAME} to be {wanted}, got {shown(value)}")

    @staticmethod
    def needs_consent(config: dict[str, Any]) -> str | None:
        """Return None: numbers and words choose nothing that only the user may."""
        return None

    def __repr__(self) -> str:
        given = ", ".join(
            f"{field}={shown(value, 60)}" for field, value in self.get_config().items()
        )
        return f"ChromaBm25EmbeddingFunction({given})"
