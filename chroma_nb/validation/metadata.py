"""Metadata of records and of collections."""

from __future__ import annotations

import datetime
import decimal
import enum
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.errors import InvalidArgumentError, with_way_out
from chroma_nb.filters.numbers import INT_MAX, INT_MIN
from chroma_nb.scalars import plain_scalar
from chroma_nb.schema_json import is_sparse
from chroma_nb.search.sparse import SparseVector, StoredVector, as_sparse_vector
from chroma_nb.special_keys import is_tagged
from chroma_nb.validation.lists import as_list, in_a_list
from chroma_nb.validation.sparse_vectors import check_sparse_vectors
from chroma_nb.validation.texts import check_texts, plain_text
from chroma_nb.words import brief, with_article

if TYPE_CHECKING:
    from collections.abc import Sequence

_SCALARS = frozenset((str, int, float, bool))
#: A stored vector is one that was checked already.
_USUAL = _SCALARS | {SparseVector, StoredVector}
_RESERVED_KEY = "chroma:document"
#: First characters that metadata keys may not have; "" stands for an empty key.
_RESERVED_STARTS = frozenset(("", "#", "$"))


def check_metadatas(metadatas: Any) -> list[dict[str, Any] | None]:
    """Return one or several metadata dicts as a list; NumPy scalars become Python's.

    Values that are None stay: `add` drops them, `update` and `upsert` delete such keys.

    Raises:
        ValueError: Not a dict, empty, or a value that metadata cannot hold.
        InvalidArgumentError: A float that is not finite, an integer beyond 64 bits, a key that is empty or
            begins with # or $, text that UTF-8 cannot hold.
        TypeError: A key that is no str.
    """
    rows = in_a_list(as_list(metadatas))
    if not rows:
        raise ValueError(f"Expected metadatas to be a non-empty list, got {len(rows)} metadatas")
    out: list[dict[str, Any] | None] = []
    texts: list[str] = []
    may_have_vectors: list[dict[str, Any]] = []
    usual = _USUAL
    for metadata in rows:
        if type(metadata) is dict and metadata:
            # The usual case is recognized by its types alone, which is fast.
            if set(map(type, metadata)) == {str} and usual.issuperset(map(type, metadata.values())):
                plain, has_vectors = True, False
                for key, value in metadata.items():
                    plain = plain and key[:1] not in _RESERVED_STARTS
                    kind = type(value)
                    if kind is str:
                        texts.append(value)
                    elif kind is float:
                        plain = plain and value - value == 0
                    elif kind is int:
                        plain = plain and INT_MIN <= value <= INT_MAX
                    elif kind is SparseVector:
                        has_vectors = True
                    texts.append(key)
                if plain and _RESERVED_KEY not in metadata:
                    if has_vectors:
                        metadata = metadata.copy()
                        may_have_vectors.append(metadata)
                    out.append(metadata)
                    continue
            may_have_vectors.append(_check_metadata(metadata, texts))
            out.append(may_have_vectors[-1])
        elif metadata is None:
            out.append(None)
        elif isinstance(metadata, dict) or hasattr(metadata, "keys"):
            may_have_vectors.append(_check_metadata(dict(metadata), texts))
            out.append(may_have_vectors[-1])
        else:
            raise ValueError(
                f"Expected metadata to be a dict or None, got {type(metadata).__name__} as metadata"
            )
    _check_vectors(may_have_vectors, texts)
    try:
        check_texts(texts, "metadata", rows=False)
    except InvalidArgumentError:
        _find_bad_text(out)
        raise
    return out


def _check_vectors(rows: Sequence[dict[str, Any]], texts: list[str]) -> None:
    """Check the sparse vectors of all rows together, and put them there as they are stored."""
    found = [
        (metadata, key, value)
        for metadata in rows
        for key, value in metadata.items()
        if type(value) is SparseVector
    ]
    checked = check_sparse_vectors([key for _, key, _ in found], [one for *_, one in found], texts)
    for (metadata, key, _), stored in zip(found, checked, strict=True):
        metadata[key] = stored


def _find_bad_text(rows: Sequence[dict[str, Any] | None]) -> None:
    """Raise for the first text that UTF-8 cannot encode, with the position of its record."""
    for row, metadata in enumerate(rows):
        for key, value in (metadata or {}).items():
            check_texts([key], f"metadata key at position {row}", rows=False)
            texts = [item for item in in_a_list(value) or () if isinstance(item, str)]
            what = f"metadata value for key {key!r} at position {row}"
            check_texts(texts, what, rows=False)


def _check_metadata(
    metadata: dict[Any, Any], texts: list[str], field: str = "metadatas"
) -> dict[str, Any]:
    """Return metadata with plain keys and values; sparse vectors are still to be checked.

    Args:
        metadata: What was given.
        texts: Gets all texts in it, which the caller checks together.
        field: What Chroma calls it in a message about a key.
    """
    if not metadata:
        raise ValueError(
            f"Expected metadata to be a non-empty dict, got {len(metadata)} metadata attributes"
        )
    out: dict[str, Any] = {}
    for key, value in metadata.items():
        if key == _RESERVED_KEY:
            raise with_way_out(
                ValueError(f"Expected metadata to not contain the reserved key {_RESERVED_KEY}"),
                "Rename it, or give its text as documents=[...].",
            )
        if not isinstance(key, str):
            error = TypeError(
                f"Expected metadata key to be a str, got {brief(key)} which is a {type(key).__name__}"
            )
            raise with_way_out(error, "Write keys as text: {str(key): value}.")
        if key[:1] in _RESERVED_STARTS:
            raise with_way_out(
                InvalidArgumentError(
                    f"Validation error: {field}: Invalid metadata key {brief(key)!r}: a key has at least "
                    "one character and does not start with # or $"
                ),
                f"Rename it, to {brief(key.lstrip('#$ ')) or 'name'!r} say; a column with "
                f"frame.rename(columns={{...}}).",
            )
        key = plain_text(key)
        texts.append(key)
        out[key] = _check_value(key, value, texts)
    return out


def check_metadata_value(key: str, value: Any) -> Any:
    """Return one metadata value as it is stored.

    Raises:
        ValueError: As `check_metadatas`.
        InvalidArgumentError: As `check_metadatas`.
    """
    texts: list[str] = []
    checked = _check_value(key, value, texts)
    if isinstance(checked, SparseVector):
        (checked,) = check_sparse_vectors([key], [checked], texts)
    check_texts(texts, f"metadata value for key {key!r}", rows=False)
    return checked


def _check_value(key: str, value: Any, texts: list[str]) -> Any:
    value = plain_scalar(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        value = plain_text(value)
        texts.append(value)
        return value
    if isinstance(value, int):
        return _check_int(key, int(value))
    if isinstance(value, float):
        return _check_float(key, float(value))
    if isinstance(value, np.ndarray) and value.ndim == 1:
        value = value.tolist()
    if isinstance(value, list):
        return _check_list(key, value, texts)
    if type(value) is StoredVector:
        return value
    sparse = SparseVector.from_dict(value) if is_tagged(value) else as_sparse_vector(value)
    if sparse is not None:
        # Of a class derived from it, the vector alone.
        if type(sparse) is not SparseVector:
            sparse = SparseVector(sparse.indices, sparse.values, sparse.labels)
        return sparse
    error = ValueError(
        "Expected metadata value to be a str, int, float, bool, SparseVector, list, or None, got "
        f"{brief(value)} which is a {type(value).__name__}"
    )
    raise with_way_out(error, f"It is the value of key {key!r}. {_instead_of(value)}")


def _instead_of(value: Any) -> str:
    """Return how to store a value that metadata cannot hold."""
    if isinstance(value, Mapping):
        return "Write its parts as keys of their own, or the whole as text: json.dumps(value)."
    if isinstance(value, set | frozenset):
        return "A set has no order; store a list: sorted(value)."
    if isinstance(value, tuple | range):
        return "Store a list: list(value)."
    if isinstance(value, np.ndarray):
        return "Store a list of one axis: value.ravel().tolist()."
    if isinstance(value, bytes | bytearray | memoryview):
        return "Store text: bytes(value).decode(), or base64.b64encode(value).decode() where it is no text."
    if isinstance(value, enum.Enum):
        return "Store its name or its value: value.name, value.value."
    if isinstance(value, datetime.time):
        return "Store text: value.isoformat()."
    if isinstance(value, datetime.timedelta | np.timedelta64):
        return "Store a number of seconds, value.total_seconds(), or text: str(value)."
    if isinstance(value, decimal.Decimal):
        return "Store a number, float(value), or text, which keeps all digits: str(value)."
    if hasattr(value, "__array__") and hasattr(value, "tolist"):
        return "Store a list: value.tolist()."
    return "Store text: str(value)."


def _check_int(key: str, value: int) -> int:
    if not INT_MIN <= value <= INT_MAX:
        raise with_way_out(
            InvalidArgumentError(
                f"Expected metadata value to be an integer of 64 bits, got {brief(value)} for key {key!r}"
            ),
            "Store text, str(value), or a float, which keeps about 16 digits: float(value).",
        )
    return value


def _check_float(key: str, value: float) -> float:
    if value - value != 0:
        raise with_way_out(
            InvalidArgumentError(
                f"Expected metadata value to be finite, got {value} for key {key!r}"
            ),
            "Leave the key out."
            if value != value
            else "Leave the key out, or store what can be compared: a large number such as "
            f"{'-' if value < 0 else ''}1e308, or the text str(value).",
        )
    return value


def _check_list(key: str, value: list[Any], texts: list[str]) -> list[Any]:
    if not value:
        raise with_way_out(
            ValueError(f"Expected metadata list value for key {key!r} to be non-empty"),
            "Leave the key out.",
        )
    items = [plain_scalar(item) for item in value]
    kinds = set(map(type, items))
    if len(kinds) != 1 or not kinds <= _SCALARS:
        error = ValueError(
            f"Expected metadata list value for key {key!r} to contain only str, int, float, or bool "
            f"and all elements must be the same type, got {brief(value)}"
        )
        raise with_way_out(error, _instead_of_list(items, kinds))
    if kinds == {str}:
        texts.extend(items)
    elif kinds == {int}:
        items = [_check_int(key, item) for item in items]
    elif kinds == {float}:
        items = [_check_float(key, item) for item in items]
    return items


def _instead_of_list(items: Sequence[Any], kinds: set[type[Any]]) -> str:
    """Return how to store a list of several types, or of items that metadata cannot hold."""
    if type(None) in kinds:
        rest = " and give the others one kind" if len(kinds) > 2 else ""
        return f"Leave None out{rest}: [x for x in value if x is not None]."
    if kinds & {list, tuple, dict}:
        return "A list holds no lists and no dicts: store the whole as text, json.dumps(value)."
    if kinds == {int, float}:
        return "A list holds values of one kind: [float(x) for x in value]."
    if kinds <= _SCALARS:
        return "A list holds values of one kind: store all as text, [str(x) for x in value]."
    other = next(item for item in items if type(item) not in _SCALARS)
    return f"It has {with_article(type(other))}: store all as text, [str(x) for x in value]."


def check_collection_metadata(metadata: Any, *, modify: bool = False) -> dict[str, Any] | None:
    """Return a collection's metadata; NumPy scalars become Python's, None stays None.

    Raises:
        ValueError: Not a dict, empty, a value of the wrong type, or (in `modify`) a new distance.
        InvalidArgumentError: As for a record's metadata.
        TypeError: A key that is no str.
    """
    if metadata is None:
        return None
    if not isinstance(metadata, dict):
        raise ValueError(
            f"Expected metadata to be a dict, got {type(metadata).__name__} as metadata"
        )
    if modify and "hnsw:space" in metadata:
        raise ValueError(
            "Changing the distance function of a collection once it is created is not supported "
            "currently. Make another collection with "
            'configuration={"hnsw": {"space": ...}} and add the records there.'
        )
    for key, value in metadata.items():
        if value is None or isinstance(value, list | SparseVector) or is_sparse(value):
            raise ValueError(
                "Expected collection metadata value to be a str, int, float or bool, got "
                f"{brief(value)} for key {brief(key)!r}"
            )
    texts: list[str] = []
    checked = _check_metadata(metadata, texts, "metadata")
    check_texts(texts, "metadata", rows=False)
    return checked
