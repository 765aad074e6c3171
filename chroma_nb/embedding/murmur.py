"""MurmurHash3 (x86, 32 bits) of many texts at once, as Chroma's BM25 numbers words.

Source: Austin Appleby's MurmurHash3_x86_32, which is in the public domain. Its constants are below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_C1 = np.uint32(0xCC9E2D51)
_C2 = np.uint32(0x1B873593)
_ADDED = np.uint32(0xE6546B64)
_FIRST_MIX = np.uint32(0x85EBCA6B)
_SECOND_MIX = np.uint32(0xC2B2AE35)


def murmur3(texts: Sequence[str], seed: int = 0) -> NDArray[np.int32]:
    """Return the signed hash of each text's UTF-8 bytes: int32, shape (len(texts),)."""
    encoded = [text.encode() for text in texts]
    lengths = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
    hashes = np.empty(len(encoded), dtype=np.uint32)
    order = np.argsort(lengths, kind="stable")
    ends = np.flatnonzero(np.diff(lengths[order])) + 1
    # Texts of one length are rows of one matrix.
    for same in np.split(order, ends):
        if len(same):
            length = int(lengths[same[0]])
            data = np.frombuffer(b"".join(encoded[row] for row in same.tolist()), dtype=np.uint8)
            hashes[same] = _of_one_length(data.reshape(len(same), length), seed)
    return hashes.view(np.int32)


def _of_one_length(data: NDArray[np.uint8], seed: int) -> NDArray[np.uint32]:
    """Return the hash of each row of bytes, shape (n, length)."""
    n, length = data.shape
    whole = length // 4 * 4
    state = np.full(n, seed, dtype=np.uint32)
    blocks = np.ascontiguousarray(data[:, :whole]).view("<u4").astype(np.uint32, copy=False)
    for column in blocks.T:
        state ^= _scrambled(column)
        state = _rotated(state, 13) * np.uint32(5) + _ADDED
    if whole < length:
        rest = np.zeros(n, dtype=np.uint32)
        for at in range(whole, length):
            rest |= data[:, at].astype(np.uint32) << np.uint32(8 * (at - whole))
        state ^= _scrambled(rest)
    state ^= np.uint32(length & 0xFFFFFFFF)
    state ^= state >> np.uint32(16)
    state *= _FIRST_MIX
    state ^= state >> np.uint32(13)
    state *= _SECOND_MIX
    state ^= state >> np.uint32(16)
    return state


def _scrambled(block: NDArray[np.uint32]) -> NDArray[np.uint32]:
    return _rotated(block * _C1, 15) * _C2


def _rotated(value: NDArray[np.uint32], bits: int) -> NDArray[np.uint32]:
    return (value << np.uint32(bits)) | (value >> np.uint32(32 - bits))
