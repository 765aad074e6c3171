"""Calls of embedding functions: texts in, one checked array out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.embedding.base import normalize_embeddings
from chroma_nb.embedding.protocol import label
from chroma_nb.embedding.text import shown
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.progress import progress_bar
from chroma_nb.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    #: `API.embed`: function, texts, progress -> shape (n, dimension), float32; None where it embeds nothing.
    Elsewhere = Callable[[Any, Sequence[Any], Callable[[int], object]], NDArray[np.float32] | None]

#: Rows that are checked for NaN at once.
_CHECKED_ROWS = 4096


def embed_documents(
    function: Callable[..., Any],
    texts: Sequence[Any],
    *,
    progress: bool = False,
    desc: str = "Embedding",
    at_most: int | None = None,
    elsewhere: Elsewhere | None = None,
) -> NDArray[np.float32]:
    """Embed documents with any embedding function and check what it returns.

    Args:
        function: An embedding function, called with `input=`.
        texts: n documents or images.
        progress: Show a progress bar if it lasts; callers pass `Settings.progress`.
        desc: What the bar says.
        at_most: At most this many texts are given in one call, or `documents_per_call` of the function if that is
            smaller. None: all of them.
        elsewhere: Asked first to embed them in another process (`API.embed`); what it returns is checked already.

    Returns:
        Shape (n, dimension), float32, C-contiguous; (0, 0) if there are no texts.

    Raises:
        InvalidArgumentError: Not one vector for each text, vectors of different dimensions, or values
            that are not finite numbers. What the function itself raises passes through.
    """
    return _embed(
        function,
        function,
        texts,
        progress=progress,
        desc=desc,
        at_most=at_most,
        elsewhere=elsewhere,
    )


def embed_queries(
    function: Callable[..., Any], texts: Sequence[Any], *, at_most: int | None = None
) -> NDArray[np.float32]:
    """Embed queries: with the function's `embed_query` where it has one.

    Args:
        function: An embedding function.
        texts: n texts or images.
        at_most: As for `embed_documents`.

    Returns:
        Shape (n, dimension), float32, C-contiguous; (0, 0) if there are no texts.

    Raises:
        InvalidArgumentError: As `embed_documents`.
    """
    call = getattr(function, "embed_query", function)
    return _embed(function, call, texts, progress=False, desc="", at_most=at_most)


def _embed(
    function: Callable[..., Any],
    call: Callable[..., Any],
    texts: Sequence[Any],
    *,
    progress: bool,
    desc: str,
    at_most: int | None,
    elsewhere: Elsewhere | None = None,
) -> NDArray[np.float32]:
    """Return embeddings of shape (n, dimension), float32; see `embed_documents`. `call`: the function or its `embed_query`."""
    total = len(texts)
    if total == 0:
        return np.empty((0, 0), np.float32)
    step = min(total, getattr(function, "documents_per_call", None) or total, at_most or total)
    whole: NDArray[np.float32] | None = None
    with progress_bar(total, desc, unit="text", did="embedded", enabled=progress) as bar:
        if elsewhere is not None:
            found = elsewhere(function, texts, bar.update)
            if found is not None:
                return found
        for start in range(0, total, step):
            given = texts if step >= total else texts[start : start + step]
            try:
                part = _matrix(call(input=given), given, start, function)
            except Exception as error:
                if step < total and hasattr(error, "add_note"):  # Python 3.11
                    error.add_note(
                        f"This was while texts {start:,} to {min(start + step, total) - 1:,} of {total:,} "
                        "were embedded. Nothing was written: run the call again, or in smaller pieces "
                        "to keep what is done."
                    )
                raise
            bar.update(len(part))
            if step >= total:
                return part
            if whole is None:
                whole = np.empty((total, part.shape[1]), np.float32)
            elif whole.shape[1] != part.shape[1]:
                raise _mixed_dimensions(function, whole.shape[1], part.shape[1], 0, start)
            whole[start : start + len(part)] = part
    assert whole is not None  # total > 0
    return whole


def _matrix(result: Any, texts: Sequence[Any], offset: int, function: Any) -> NDArray[np.float32]:
    """Check what a function returned for n texts.

    Args:
        result: What it returned.
        texts: The n texts.
        offset: How many texts of the call come before them, for messages.
        function: The function.

    Returns:
        Shape (n, dimension), float32, C-contiguous.
    """
    vectors = normalize_embeddings(result)
    if len(vectors) != len(texts):
        raise InvalidArgumentError(
            f"{label(function)} returned {counted(len(vectors), 'vector')} for {counted(len(texts), 'text')}. It "
            "must return one vector for each text, in their order."
        )
    dimension = len(vectors[0])
    for row, vector in enumerate(vectors):
        if len(vector) != dimension:
            raise _mixed_dimensions(function, dimension, len(vector), offset, offset + row)
    matrix = np.stack(vectors)
    for start in range(0, len(matrix), _CHECKED_ROWS):
        bad = ~np.isfinite(matrix[start : start + _CHECKED_ROWS]).all(axis=1)
        if bad.any():
            row = start + int(bad.argmax())
            raise InvalidArgumentError(
                f"{label(function)} returned NaN or Infinity values for text {offset + row} "
                f"({shown(texts[row], 80)}). Embeddings must not contain NaN or Infinity values."
            )
    return matrix


def _mixed_dimensions(
    function: Any, first: int, other: int, first_text: int, other_text: int
) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"{label(function)} returned {counted(first, 'number')} for text {first_text} and {other} for text "
        f"{other_text}. All vectors must have one dimension."
    )
