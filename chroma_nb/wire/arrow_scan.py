"""The answers to steps of a scan as Arrow: a batch, and JSON beside it. Both directions stand together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.wire.answers import AnswerError, check_count, check_kind
from chroma_nb.wire.arrow import read_piece, write_piece
from chroma_nb.wire.requests import ScanAnswer
from chroma_nb.wire.text import loads

if TYPE_CHECKING:
    import pyarrow as pa

    from chroma_nb.wire.requests import ScanStep

#: What stands beside a piece has few values.
_MOST_VALUES = 64


def write_scan_answer(answer: ScanAnswer) -> tuple[pa.RecordBatch | None, dict[str, Any]]:
    """Return the batch of an answer, and what stands beside it; no batch: there is no more."""
    piece = answer.piece
    said = {
        "scan": answer.scan,
        "n_records": answer.n_records,
        "dimension": answer.dimension,
        "n_damaged": 0 if piece is None else piece.n_damaged,
    }
    return (None if piece is None else write_piece(piece)), said


def read_scan_answer(batch: pa.RecordBatch | None, said: bytes, step: ScanStep) -> ScanAnswer:
    """Return an answer.

    Raises:
        AnswerError, or another of `UNUSABLE`: It is none.
    """
    found = check_kind(loads(said, _MOST_VALUES), dict, "the answer")
    dimension = check_count(found, "dimension")
    piece = None
    if batch is not None:
        piece = read_piece(batch, step.include, dimension)
        piece.n_damaged = check_count(found, "n_damaged")
        if not piece.ids and not piece.n_damaged:
            raise AnswerError("a piece has no records")
    return ScanAnswer(
        check_kind(found.get("scan"), str, "'scan'"),
        check_count(found, "n_records"),
        dimension,
        piece,
    )
