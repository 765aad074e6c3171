"""The steps of a scan as JSON of the REST API: requests and answers, both directions of each."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.api.scanning import ScanPiece
from chroma_nb.wire.answers import AnswerError, check_count, check_kind, check_texts, read_metadatas
from chroma_nb.wire.filters import finite_filter
from chroma_nb.wire.requests import ScanAnswer, ScanStep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_FLOAT32 = np.dtype("<f4")


def write_step(step: ScanStep) -> dict[str, Any]:
    """Return a request's body."""
    return {
        "scan": step.scan,
        "piece": step.piece,
        "close": step.close,
        "ids": None if step.ids is None else list(step.ids),
        "where": finite_filter(step.where),
        "where_document": step.where_document,
        "include": list(step.include),
        "piece_bytes": step.piece_bytes,
        "skip_damaged": step.skip_damaged,
        "key": step.key,
    }


def read_step(body: Any) -> ScanStep:
    """Return a request."""
    return ScanStep(
        scan=body.scan,
        piece=body.piece,
        close=body.close,
        ids=None if body.ids is None else list(dict.fromkeys(body.ids)),
        where=body.where,
        where_document=body.where_document,
        include=body.include,
        piece_bytes=body.piece_bytes,
        skip_damaged=body.skip_damaged,
        key=body.key,
    )


def write_scan_answer(answer: ScanAnswer) -> dict[str, Any]:
    """Return an answer's body."""
    piece = answer.piece
    written = None
    if piece is not None:
        written = {
            "ids": list(piece.ids),
            "embeddings": None if piece.embeddings is None else _to_text(piece.embeddings),
            "documents": _as_list(piece.documents),
            "metadatas": _as_list(piece.metadatas),
            "uris": _as_list(piece.uris),
            "n_damaged": piece.n_damaged,
        }
    return {
        "scan": answer.scan,
        "n_records": answer.n_records,
        "dimension": answer.dimension,
        "piece": written,
    }


def read_scan_answer(found: Any, step: ScanStep) -> ScanAnswer:
    """Return an answer.

    Raises:
        AnswerError, or another error of reading: It is none.
    """
    check_kind(found, dict, "the answer")
    dimension = check_count(found, "dimension")
    if "piece" not in found:
        # Without one it is the end of the scan, which has to be said.
        raise AnswerError("'piece' is missing")
    piece = found["piece"]
    return ScanAnswer(
        check_kind(found.get("scan"), str, "'scan'"),
        check_count(found, "n_records"),
        dimension,
        None if piece is None else _read_piece(piece, dimension, step),
    )


def _read_piece(found: Any, dimension: int, step: ScanStep) -> ScanPiece:
    check_kind(found, dict, "'piece'")
    ids = check_texts(found.get("ids"), "ids")
    piece = ScanPiece(ids, n_damaged=check_count(found, "n_damaged"))
    if not ids and not piece.n_damaged:
        raise AnswerError("a piece has no records")
    if "embeddings" in step.include:
        piece.embeddings = _from_text(found.get("embeddings"), len(ids), dimension)
    for name in ("documents", "metadatas", "uris"):
        if name in step.include:
            setattr(piece, name, check_texts(found.get(name), name, len(ids), gaps=True))
    # Whoever gets the texts writes them to a file as they are.
    read_metadatas(piece.metadatas or ())
    return piece


def _as_list(column: Sequence[str | None] | None) -> list[str | None] | None:
    return None if column is None else list(column)


def _to_text(vectors: NDArray[np.float32]) -> str:
    rows = np.ascontiguousarray(vectors, dtype=_FLOAT32)
    return base64.b64encode(rows.data if rows.size else b"").decode("ascii")


def _from_text(text: Any, n: int, dimension: int) -> NDArray[np.float32]:
    """Return shape (n, dimension), float32."""
    data = base64.b64decode(check_kind(text, str, "'embeddings'"), validate=True)
    if len(data) != _FLOAT32.itemsize * n * dimension:
        raise AnswerError(f"'embeddings' has {len(data):,} bytes for {n:,} ids of {dimension}")
    return (
        np.frombuffer(bytearray(data), _FLOAT32)
        .reshape(n, dimension)
        .astype(np.float32, copy=False)
    )
