"""Sizes as people write and read them (``"2 GB"``, ``"25%"``, ``1_500_000``), and sizes of Python objects."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

# Given here, too: most modules that read sizes also print them.
from chroma_nb.byte_sizes import format_bytes as format_bytes
from chroma_nb.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: ``MB`` is decimal, as for disks and DuckDB; ``MiB`` and ``Mi`` (Kubernetes) are binary. A bare letter, ``M``,
#: is binary as well, as in JupyterHub's MEM_LIMIT and Docker.
_UNITS = {
    "": 1,
    "b": 1,
    "k": 2**10,
    "m": 2**20,
    "g": 2**30,
    "t": 2**40,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
    **{f"{letter}i": 1024**power for power, letter in enumerate("kmgtp", 1)},
}
#: Bytes (1,150,000 TB): no machine has more, and sums and products of sizes stay within 64 bits.
_MOST = 2**60
#: Errors do not write out whole numbers of more bits.
_SHOWN_BITS = 200
_PATTERN = re.compile(r"\s*([0-9][0-9_,]*(?:\.[0-9]+)?(?:e[0-9]+)?)\s*([a-z]*|%)\s*", re.IGNORECASE)


def parse_bytes(value: int | float | str, *, whole: int | None = None) -> int:
    """Return a size in bytes.

    Args:
        value: Bytes, or a text: ``"512 MB"``, ``"1.5GiB"``, ``"25%"`` (of `whole`). 0.25 means the same as
            ``"25%"``.
        whole: Bytes of which a share is taken; None refuses shares.

    Raises:
        InvalidArgumentError: It cannot be read, is negative, not finite or more than 2 ** 60.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _unreadable(value, whole)
    if not isinstance(value, str):
        if not 0 <= value <= _MOST:
            raise _unreadable(value, whole)
        if isinstance(value, float) and 0 < value <= 1:
            return _share(value, value, whole)
        return int(value)
    found = _PATTERN.fullmatch(value)
    if found is None:
        raise _unreadable(value, whole)
    number = float(found[1].replace(",", "").replace("_", ""))
    unit = found[2].lower()
    if unit == "%":
        return _share(number / 100, value, whole)
    if not unit and 0 < number < 1:
        return _share(number, value, whole)
    if unit not in _UNITS or number * _UNITS[unit] > _MOST:
        raise _unreadable(value, whole)
    return int(number * _UNITS[unit])


def _share(share: float, value: object, whole: int | None) -> int:
    if whole is None or not 0 <= share <= 1:
        raise _unreadable(value, whole)
    return int(whole * share)


def _unreadable(value: Any, whole: int | None) -> InvalidArgumentError:
    # Python writes no integer of more than 4,300 digits.
    long = isinstance(value, int) and value.bit_length() > _SHOWN_BITS
    shown = f"a number of {value.bit_length():,} bits" if long else f"{value!r:.80}"
    share = "" if whole is None else ', or "25%" (0.25) of the machine\'s limit'
    return InvalidArgumentError(
        f'Expected a size: bytes, or a text such as "512 MB" or "2 GiB"{share}; got {shown}.'
    )


def utf8_length(text: str | None) -> int:
    """Return the length of a text in UTF-8, bytes; 0 for None."""
    if text is None:
        return 0
    return len(text) if text.isascii() else len(text.encode())


def objects_bytes(values: Sequence[Any]) -> int:
    """Return the bytes of Python objects (texts, numbers, lists and dicts of them), without the sequence itself."""
    total = 0
    for value in values:
        if value is None or isinstance(value, bool):
            continue
        total += sys.getsizeof(value)
        if isinstance(value, dict):
            total += objects_bytes(list(value)) + objects_bytes(list(value.values()))
        elif isinstance(value, list):
            total += objects_bytes(value)
    return total
