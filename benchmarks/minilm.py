"""all-MiniLM-L6-v2 in ONNX, only as much of it as preparing the data needs."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pathlib import Path

MAX_TOKENS = 256
BATCH = 64


class MiniLM:
    """Mean-pooled, normalised sentence embeddings.

    Args:
        folder: Holds ``model.onnx`` and ``tokenizer.json``.
        threads: Threads of one run of the model; 0 is one per core.
    """

    def __init__(self, folder: Path, threads: int = 0) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.enable_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def embed(self, texts: list[str], progress: bool = True) -> npt.NDArray[np.float32]:
        """Embed texts; texts of similar length share a batch, so that little is padded."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        result = np.empty((len(texts), 384), dtype=np.float32)
        start = shown = time.monotonic()
        for first in range(0, len(order), BATCH):
            rows = order[first : first + BATCH]
            result[rows] = self._batch([texts[i] for i in rows])
            now = time.monotonic()
            if progress and now - shown > 10:
                shown, done = now, first + len(rows)
                print(
                    f"  embedded {done:,} of {len(texts):,}, {done / (now - start):.0f}/s",
                    file=sys.stderr,
                )
        return result

    def _batch(self, texts: list[str]) -> npt.NDArray[np.float32]:
        encoded = self._tokenizer.encode_batch(texts)
        tokens = np.array([e.ids for e in encoded], dtype=np.int64)
        mask = np.array([e.attention_mask for e in encoded], dtype=np.int64)
        (hidden, *_) = self._session.run(
            None,
            {
                "input_ids": tokens,
                "attention_mask": mask,
                "token_type_ids": np.zeros_like(tokens),
            },
        )
        weights = mask[:, :, None].astype(np.float32)
        pooled = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
        pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
        return np.asarray(pooled, dtype=np.float32)
