"""Checks of everything that a caller gives, before anything is written.

The exceptions and the beginnings of their sentences are Chroma's, as notebooks and libraries look for
them; where Chroma's sentence leaves one alone, ours goes on with the way out.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import ipaddress
import math
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.errors import (
    DuplicateIDError,
    IDAlreadyExistsError,
    IDNotFoundError,
    InvalidArgumentError,
    with_way_out,
)
from chroma_nb.filters.expression import parse_where, parse_where_document
from chroma_nb.filters.numbers import INT_MAX, INT_MIN
from chroma_nb.scalars import plain_scalar
from chroma_nb.suggest import did_you_mean
from chroma_nb.types import INCLUDES, MAX_NEIGHBORS, MIN_NEIGHBORS, SPACES, RecordBatch, Space

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,510}[a-zA-Z0-9]")
_SCALARS = frozenset((str, int, float, bool))
_RESERVED_KEY = "chroma:document"
#: First characters that metadata keys may not have; "" stands for an empty key.
_RESERVED_STARTS = frozenset(("", "#", "$"))
_EMBEDDING_DTYPES = frozenset(np.dtype(kind) for kind in ("f2", "f4", "f8", "i4", "i8"))
#: So many texts are checked together, and those of more letters by themselves.
_CHECKED_TEXTS = 256
_LONG_TEXT = 16 << 10
#: How many ids an error names.
_NAMED_IDS = 5
#: Levels of what is recorded of an embedding function. Parsers of JSON end at some hundreds.
_MAX_JSON_DEPTH = 64
_NOT_FINITE = "Validation error: embeddings: Embeddings must not contain NaN or Infinity values"


@dataclass
class Given:
    """What a writing call brings: the batch, and what is to be embedded where it has no embeddings."""

    batch: RecordBatch
    to_embed: list[Any] | None = None


# -- ids --------------------------------------------------------------------------------------


def check_ids(ids: Any) -> list[str]:
    """Return one or several ids as a list.

    Raises:
        ValueError: None at all, or something that is no str.
        DuplicateIDError: An id stands twice.
        InvalidArgumentError: An empty id, or one that is no valid text.
    """
    found = check_query_ids(ids)
    if not found:
        raise ValueError(f"Expected IDs to be a non-empty list, got {len(found)} IDs")
    return found


def check_query_ids(ids: Any) -> list[str]:
    """Return ids as a list that may be empty; otherwise as `check_ids`."""
    found = [ids] if isinstance(ids, str) else _sequence(ids)
    if not isinstance(found, list):
        raise ValueError(f"Expected IDs to be a list, got {type(ids).__name__} as IDs")
    for kind in set(map(type, found)):
        if not issubclass(kind, str):
            row, culprit = next((row, one) for row, one in enumerate(found) if type(one) is kind)
            raise with_way_out(
                ValueError(f"Expected ID to be a str, got {_short(culprit)}"),
                f"That is {_a(kind)}, at position {row}. Write ids as text: [str(n) for n in ids].",
            )
        if kind is not str:
            found = [_plain_text(one) if type(one) is kind else one for one in found]
    if len(set(found)) != len(found):
        raise _duplicates(found)
    if "" in found:
        raise InvalidArgumentError("Empty ID, ID must have at least one character")
    _check_texts(found, "id")
    return found


def _duplicates(ids: Sequence[str]) -> DuplicateIDError:
    seen: set[str] = set()
    twice: dict[str, None] = {}
    for one in ids:
        if one in seen:
            twice[one] = None
        seen.add(one)
    names = [_short(one, 80) for one in twice]
    if len(names) < 10:
        return DuplicateIDError(
            f"Expected IDs to be unique, found duplicates of: {', '.join(names)}"
        )
    some = ", ".join([*names[:5], "...", *names[-5:]])
    return DuplicateIDError(f"Expected IDs to be unique, found {len(names)} duplicated IDs: {some}")


def _plain_text(text: str) -> str:
    """Return a text of a kind derived from str, an enumeration or NumPy's, as str itself."""
    return str.__str__(text)


def _joined(texts: Sequence[str | None]) -> Iterator[str]:
    """Yield the texts that have other letters than ASCII's: long ones by themselves, and the others as one."""
    others = [text for text in texts if text is not None and not text.isascii()]
    yield "".join(text for text in others if len(text) <= _LONG_TEXT)
    yield from (text for text in others if len(text) > _LONG_TEXT)


def _check_texts(texts: Sequence[str | None], what: str, *, rows: bool = True) -> None:
    """Refuse texts that UTF-8 cannot hold: lone surrogates, which no file and no wire can carry.

    Args:
        texts: The texts of a whole call; None is passed over.
        what: What they are, for the sentence.
        rows: The place of a text is its record's, and worth naming.
    """
    try:
        # Together they are checked faster than one by one. ASCII has no surrogates, so it needs no copy.
        for start in range(0, len(texts), _CHECKED_TEXTS):
            for letters in _joined(texts[start : start + _CHECKED_TEXTS]):
                letters.encode()
    except UnicodeEncodeError:
        for row, text in enumerate(texts):
            if text is not None:
                try:
                    text.encode()
                except UnicodeEncodeError as error:
                    place = f" at position {row}" if rows else ""
                    raise InvalidArgumentError(
                        f"Expected {what} to be valid Unicode, got {_short(ascii(text))}{place}: "
                        f"character {error.start} is half of a surrogate pair, which cannot be encoded "
                        "as UTF-8. Clean the text with text.encode('utf-8', 'replace').decode()."
                    ) from None


# -- several values ---------------------------------------------------------------------------


def _sequence(values: Any) -> Any:
    """Return several values as a list, in their order; what is not several stays as it is.

    Lists, tuples, ranges, generators, and whatever holds a column: pandas' Series and Index, NumPy's
    arrays, Arrow's and Polars' columns. A missing value of pandas (NaN, NA, NaT) becomes None.

    Raises:
        ValueError: A set, which has no order.
    """
    if isinstance(values, list) or values is None:
        return values
    if isinstance(values, str | bytes | Mapping):
        return values
    if isinstance(values, set | frozenset):
        raise ValueError(
            f"Expected a list, got {_a(type(values))}, which has no order: nothing says which value belongs "
            "to which record"
        )
    if isinstance(values, np.ndarray):
        return values.tolist() if values.ndim == 1 else values
    if hasattr(values, "isna") and hasattr(values, "tolist") and getattr(values, "ndim", 1) == 1:
        missing = values.isna()
        found: list[Any] = values.tolist()
        return [None if gone else one for one, gone in zip(found, missing, strict=True)]
    for method in ("to_pylist", "to_list"):
        if hasattr(values, method):
            return getattr(values, method)()
    if hasattr(values, "__array__"):
        array = np.asarray(values)
        return array.tolist() if array.ndim == 1 else values
    if isinstance(values, Iterable) and not hasattr(values, "columns"):
        return list(values)
    return values


# -- embeddings -------------------------------------------------------------------------------


def check_embeddings(embeddings: Any) -> NDArray[np.float32]:
    """Return one or several embeddings as an array of shape (n, dimension), float32, C-contiguous.

    Raises:
        ValueError: Not numbers, nothing, or rows of different lengths.
        InvalidArgumentError: NaN or an infinite value, also what float32 cannot hold.
    """
    if isinstance(embeddings, np.ma.MaskedArray) and np.ma.is_masked(embeddings):
        raise InvalidArgumentError(
            "The embeddings are a masked array with masked values, which are no numbers. Fill them first, or leave "
            "those rows out."
        )
    array = _embedding_array(embeddings)
    if array.ndim == 1:
        array = array.reshape(1, -1)
    if array.ndim != 2 or array.dtype not in _EMBEDDING_DTYPES:
        raise _not_embeddings(embeddings)
    if array.shape[1] == 0:
        raise InvalidArgumentError(
            "Validation error: embeddings: Each embedding must have at least 1 dimension. Expected numbers"
        )
    if array.dtype != np.float32:
        with np.errstate(over="ignore"):
            array = array.astype(np.float32)
    array = np.ascontiguousarray(array)
    if not _is_finite(array):
        row = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        where = f", as the one in row {row:,} does" if len(array) > 1 else ""
        raise InvalidArgumentError(f"{_NOT_FINITE}{where}")
    return array


def _is_finite(array: NDArray[np.float32]) -> bool:
    # A sum needs no array of answers beside a large one: it is finite where all is.
    if array.size > 65_536 and math.isfinite(array.sum(dtype=np.float64)):
        return True
    return bool(np.isfinite(array).all())


def _without_tensors(embeddings: Any) -> Any:
    """Return tensors, columns and tables of numbers as arrays, and sequences of whatever kind as lists."""
    if isinstance(embeddings, np.ndarray | str | bytes | Mapping) or embeddings is None:
        return embeddings
    if hasattr(embeddings, "detach"):
        # A tensor of PyTorch that has gradients or is on a GPU gives no array by itself; NumPy has no
        # bfloat16.
        tensor = embeddings.detach().cpu()
        return np.asarray(tensor if str(tensor.dtype) != "torch.bfloat16" else tensor.float())
    if hasattr(embeddings, "__array__") and not isinstance(embeddings, np.generic):
        array = np.asarray(embeddings)
        return _without_tensors(array.tolist()) if array.dtype == object else array
    if isinstance(embeddings, Iterable):
        rows = embeddings if isinstance(embeddings, list) else _sequence(embeddings)
        if not isinstance(rows, list) or not rows:
            return rows
        if hasattr(rows[0], "__array__") and not isinstance(rows[0], np.ndarray | np.generic):
            return [_without_tensors(row) for row in rows]
        if np.ndarray in (kinds := set(map(type, rows))) and len(kinds) > 1:
            # Lists among arrays.
            return [np.asarray(row) if isinstance(row, list | tuple) else row for row in rows]
        return rows
    return embeddings


def _embedding_array(embeddings: Any) -> NDArray[Any]:
    embeddings = _without_tensors(embeddings)
    if isinstance(embeddings, np.ndarray):
        if embeddings.size == 0:
            raise _no_embeddings(embeddings)
        if embeddings.dtype not in _EMBEDDING_DTYPES and embeddings.dtype != object:
            raise ValueError(
                "Expected each value in the embedding to be a int or float, got an embedding with "
                f"{embeddings.dtype} - {_short(embeddings[0] if embeddings.ndim > 1 else embeddings)}"
            )
        if embeddings.dtype == object:
            return _embedding_array(embeddings.tolist())
        return embeddings
    if not isinstance(embeddings, list):
        raise _not_embeddings(embeddings)
    if not embeddings:
        raise _no_embeddings(embeddings)
    first = embeddings[0]
    if isinstance(first, np.ndarray):
        for row in embeddings:
            if not isinstance(row, np.ndarray) or row.ndim != 1:
                raise _not_embeddings(embeddings)
            if row.dtype not in _EMBEDDING_DTYPES:
                raise ValueError(
                    "Expected each value in the embedding to be a int or float, got an embedding "
                    f"with {row.dtype} - {_short(row)}"
                )
        _check_even([len(row) for row in embeddings])
        return np.stack(embeddings)
    if isinstance(first, list | tuple):
        for row in embeddings:
            if not isinstance(row, list | tuple):
                raise _not_embeddings(embeddings)
            _check_numbers(row, embeddings)
        _check_even([len(row) for row in embeddings])
    else:
        _check_numbers(embeddings, embeddings)
    with np.errstate(over="ignore"):
        try:
            if type(first) is float:
                # A single embedding comes this way, and it is the faster one.
                return np.fromiter(embeddings, dtype=np.float32, count=len(embeddings))
            return np.array(embeddings, dtype=np.float32)
        except OverflowError:
            raise InvalidArgumentError(_NOT_FINITE) from None


def _check_numbers(row: Sequence[Any], embeddings: Any) -> None:
    for kind in set(map(type, row)):
        if kind is float:
            continue
        if kind is bool or not issubclass(kind, int | float | np.integer | np.floating):
            raise _not_embeddings(embeddings)


def _check_even(lengths: Sequence[int]) -> None:
    if 0 in lengths:
        raise InvalidArgumentError(
            "Validation error: embeddings: Each embedding must have at least 1 dimension. Expected numbers"
        )
    for row, length in enumerate(lengths):
        if length != lengths[0]:
            raise InvalidArgumentError(
                f"Inconsistent dimensions: embedding 0 has {lengths[0]}, embedding {row} has {length}. "
                "All embeddings of a call have the same dimension"
            )


def _not_embeddings(embeddings: Any) -> ValueError:
    error = ValueError(
        "Expected embeddings to be a list of floats or ints, a list of lists, a numpy array, or a "
        f"list of numpy arrays, got {_short(embeddings)}"
    )
    items = embeddings if isinstance(embeddings, list) else [embeddings]
    if any(isinstance(one, str) for one in items):
        return with_way_out(
            error, "Texts are given as query_texts=[...], to add() as documents=[...]."
        )
    return error


def _no_embeddings(embeddings: Any) -> ValueError:
    return ValueError(
        f"Expected Embeddings to be non-empty list or numpy array, got {_short(embeddings)}"
    )


def check_dimension(expected: int, got: int, collection_name: str) -> None:
    """Refuse embeddings of another dimension than the collection's.

    Raises:
        InvalidArgumentError: They differ.
    """
    if got != expected:
        raise InvalidArgumentError(
            f"Collection expecting embedding with dimension of {expected}, got {got}. Collection "
            f"{collection_name!r} was first written with {expected}: embed with the same model, or "
            "use another collection."
        )


def ids_exist(there: Sequence[str], n_given: int, collection_name: str) -> IDAlreadyExistsError:
    """Return the error for ids that exist where that was not wanted."""
    return IDAlreadyExistsError(
        f"{len(there):,} of {n_given:,} ids exist in collection [{collection_name}], such as "
        f"{', '.join(_short(repr(one), 80) for one in there[:_NAMED_IDS])}; nothing was added. Use upsert(), "
        'or on_conflict="skip" or "replace".'
    )


def check_known(ids: Sequence[str], known: Iterable[object], collection_name: str) -> None:
    """Refuse a query that is restricted to ids which are not there, as Chroma does.

    Args:
        ids: n ids.
        known: n answers: is it there?
        collection_name: The collection's.

    Raises:
        IDNotFoundError: Some are not.
    """
    missing = [one for one, there in zip(ids, known, strict=True) if not there]
    if missing:
        more = ", ..." if len(missing) > _NAMED_IDS else ""
        raise IDNotFoundError(
            f"Error finding id: {len(missing):,} of {len(ids):,} ids are not in collection "
            f"[{collection_name}]: {', '.join(_short(repr(one), 80) for one in missing[:_NAMED_IDS])}{more}. "
            "Leave them out; collection.get(ids=..., include=[])['ids'] has those that exist."
        )


# -- records ----------------------------------------------------------------------------------


def check_on_conflict(on_conflict: Any) -> None:
    """Refuse what is no way to treat ids that exist.

    Raises:
        ValueError: It is none of the three.
    """
    if on_conflict not in ("skip", "error", "replace"):
        raise ValueError(
            f"Expected on_conflict to be 'skip', 'error' or 'replace', got {_short(on_conflict)!r}"
        )


def check_insert(
    ids: Any,
    embeddings: Any,
    metadatas: Any,
    documents: Any,
    images: Any,
    uris: Any,
    *,
    upsert: bool = False,
) -> Given:
    """Check the arguments of `add` and `upsert`.

    Raises:
        ValueError: As Chroma: lengths that differ, nothing to embed, values of the wrong kind.
    """
    given = _check_records(ids, embeddings, metadatas, documents, images, uris, gaps=False)
    if given.batch.embeddings is None:
        sources = {"documents": documents, "images": images}
        if not upsert:
            sources["uris"] = uris
        if sum(source is not None for source in sources.values()) != 1:
            raise with_way_out(
                ValueError(f"Exactly one of {', '.join(sources)} must be provided"),
                "Give documents=[...], which are embedded, or embeddings=[...] of your own.",
            )
        texts = given.batch.documents
        if texts is not None and None in texts:
            raise with_way_out(
                ValueError("Expected document to be a str, got None"),
                f"The record at position {list(texts).index(None)} has nothing to embed: leave it out, or "
                "give its embedding.",
            )
    return given


def check_update(
    ids: Any, embeddings: Any, metadatas: Any, documents: Any, images: Any, uris: Any
) -> Given:
    """Check the arguments of `update`; what is None stays as it is."""
    return _check_records(ids, embeddings, metadatas, documents, images, uris, gaps=True)


def _check_records(
    ids: Any,
    embeddings: Any,
    metadatas: Any,
    documents: Any,
    images: Any,
    uris: Any,
    *,
    gaps: bool,
) -> Given:
    """Check what every writing call takes; `gaps`: rows of `embeddings` may be None."""
    ids, metadatas, documents, uris = map(_sequence, (ids, metadatas, documents, uris))
    if embeddings is not None:
        embeddings = _without_tensors(embeddings)
    given = {
        "ids": ids,
        "metadatas": metadatas,
        "documents": documents,
        "images": images,
        "uris": uris,
    }
    empty = [name for name, values in given.items() if isinstance(values, list) and not values]
    if empty and not (isinstance(embeddings, list) and not embeddings):
        raise ValueError(f"Non-empty lists are required for {empty}")
    vectors: NDArray[np.float32] | None = None
    embedded: NDArray[np.bool_] | None = None
    if embeddings is not None:
        if gaps and isinstance(embeddings, list) and any(row is None for row in embeddings):
            vectors, embedded = _with_gaps(embeddings)
        else:
            vectors = check_embeddings(embeddings)
    columns = {
        "ids": _many(ids),
        "embeddings": embeddings if vectors is None and embeddings is not None else vectors,
        "metadatas": _many(metadatas),
        "documents": _many(documents),
        "images": _many(images),
        "uris": _many(uris),
    }
    lengths = {name: len(column) for name, column in columns.items() if column is not None}
    if len(set(lengths.values())) > 1:
        text = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise ValueError(f"Unequal lengths for fields: {text}")
    batch = RecordBatch(
        ids=check_ids(columns["ids"]),
        embeddings=vectors,
        documents=None if documents is None else _check_column(columns["documents"], "document"),
        uris=None if uris is None else _check_column(columns["uris"], "uri"),
        metadatas=None if metadatas is None else check_metadatas(columns["metadatas"]),
        embedded=embedded,
    )
    for image in columns["images"] or []:
        if not isinstance(image, np.ndarray):
            raise ValueError(f"Expected image to be a numpy array, got {_short(image)}")
    to_embed = columns["images"] if images is not None else batch.documents
    return Given(batch, None if to_embed is None else list(to_embed))


def _many(values: Any) -> Any:
    """Return one item or several as a list; None stays None."""
    return values if values is None or isinstance(values, list) else [values]


def _with_gaps(
    embeddings: list[Any],
) -> tuple[NDArray[np.float32] | None, NDArray[np.bool_] | None]:
    given = np.array([row is not None for row in embeddings])
    if not given.any():
        return None, None
    rows = check_embeddings([row for row in embeddings if row is not None])
    vectors = np.zeros((len(embeddings), rows.shape[1]), dtype=np.float32)
    vectors[given] = rows
    return vectors, given


def _check_column(values: Any, what: str) -> list[str | None]:
    column: list[str | None] = _many(_sequence(values))
    if not column:
        raise ValueError(f"Expected {what}s to be a non-empty list, got {len(column)} {what}s")
    for kind in set(map(type, column)):
        if not issubclass(kind, str | type(None)):
            row, culprit = next(
                (row, value) for row, value in enumerate(column) if type(value) is kind
            )
            raise with_way_out(
                ValueError(f"Expected {what} to be a str, got {_short(culprit)}"),
                f"That is {_a(kind)}, at position {row}.",
            )
        if kind is not str and kind is not type(None):
            column = [_plain_text(text) if type(text) is kind else text for text in column]  # type: ignore[arg-type]
    _check_texts(column, what)
    return column


def check_metadatas(metadatas: Any) -> list[dict[str, Any] | None]:
    """Return one or several metadata dicts as a list; NumPy scalars become Python's.

    Values that are None stay: `add` drops them, `update` and `upsert` delete such keys.

    Raises:
        ValueError: Not a dict, empty, or a value that metadata cannot hold.
        InvalidArgumentError: A float that is not finite, an integer beyond 64 bits, a key that is empty or
            begins with # or $, text that UTF-8 cannot hold.
        TypeError: A key that is no str.
    """
    rows = _many(_sequence(metadatas))
    if not rows:
        raise ValueError(f"Expected metadatas to be a non-empty list, got {len(rows)} metadatas")
    out: list[dict[str, Any] | None] = []
    texts: list[str] = []
    scalars = _SCALARS
    for metadata in rows:
        if type(metadata) is dict and metadata:
            # The usual case, by the kinds alone; the rest is looked at value by value.
            if set(map(type, metadata)) == {str} and scalars.issuperset(
                map(type, metadata.values())
            ):
                plain = True
                for key, value in metadata.items():
                    plain = plain and key[:1] not in _RESERVED_STARTS
                    kind = type(value)
                    if kind is str:
                        texts.append(value)
                    elif kind is float:
                        plain = plain and value - value == 0
                    elif kind is int:
                        plain = plain and INT_MIN <= value <= INT_MAX
                    texts.append(key)
                if plain and _RESERVED_KEY not in metadata:
                    out.append(metadata)
                    continue
            out.append(_check_metadata(metadata, texts))
        elif metadata is None:
            out.append(None)
        elif isinstance(metadata, dict) or hasattr(metadata, "keys"):
            out.append(_check_metadata(dict(metadata), texts))
        else:
            raise ValueError(
                f"Expected metadata to be a dict or None, got {type(metadata).__name__} as metadata"
            )
    try:
        _check_texts(texts, "metadata", rows=False)
    except InvalidArgumentError:
        _find_bad_text(out)
        raise
    return out


def _find_bad_text(rows: Sequence[dict[str, Any] | None]) -> None:
    """Refuse the first text that UTF-8 cannot hold, with the place of its record."""
    for row, metadata in enumerate(rows):
        for key, value in (metadata or {}).items():
            place = f" at position {row}"
            _check_texts([key], f"metadata key{place}", rows=False)
            items = value if isinstance(value, list) else [value]
            texts = [one for one in items if isinstance(one, str)]
            _check_texts(texts, f"metadata value for key {key!r}{place}", rows=False)


def _check_metadata(
    metadata: dict[Any, Any], texts: list[str], field: str = "metadatas"
) -> dict[str, Any]:
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
                f"Expected metadata key to be a str, got {_short(key)} which is a {type(key).__name__}"
            )
            raise with_way_out(error, "Write keys as text: {str(key): value}.")
        if key[:1] in _RESERVED_STARTS:
            raise with_way_out(
                InvalidArgumentError(
                    f"Validation error: {field}: Invalid metadata key {_short(key)!r}: a key has at least "
                    "one character and does not start with # or $"
                ),
                f"Rename it, to {_short(key.lstrip('#$ ')) or 'name'!r} say; a column with "
                f"frame.rename(columns={{...}}).",
            )
        key = _plain_text(key)
        texts.append(key)
        out[key] = _check_value(key, value, texts)
    return out


def check_metadata_value(key: str, value: Any) -> Any:
    """Return one metadata value as it is stored; see `check_metadatas` for what is refused."""
    texts: list[str] = []
    checked = _check_value(key, value, texts)
    _check_texts(texts, f"metadata value for key {key!r}", rows=False)
    return checked


def _check_value(key: str, value: Any, texts: list[str]) -> Any:
    value = plain_scalar(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        value = _plain_text(value)
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
    error = ValueError(
        "Expected metadata value to be a str, int, float, bool, SparseVector, list, or None, got "
        f"{_short(value)} which is a {type(value).__name__}"
    )
    raise with_way_out(error, f"It is the value of key {key!r}. {_instead_of(value)}")


def _instead_of(value: Any) -> str:
    """Return how a value is stored that metadata cannot hold."""
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
                f"Expected metadata value to be an integer of 64 bits, got {_short(value)} for key {key!r}"
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
            f"and all elements must be the same type, got {_short(value)}"
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
    """Return how a list is stored that has several kinds, or items that metadata cannot hold."""
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
    return f"It has {_a(type(other))}: store all as text, [str(x) for x in value]."


# -- names and collection metadata ------------------------------------------------------------


def check_collection_name(name: Any) -> None:
    """Refuse what cannot be a collection's name.

    Raises:
        InvalidArgumentError: See Chroma's rules in the sentence.
        ValueError: It is no str.
    """
    if not isinstance(name, str):
        raise ValueError(f"Expected name to be a str, got {_short(name)}")
    if not _NAME.fullmatch(name):
        raise InvalidArgumentError(
            "Validation error: name: Expected a name containing 3-512 characters from "
            "[a-zA-Z0-9._-], starting and ending with a character in [a-zA-Z0-9]. "
            f"Got: {_short(name if name.isprintable() else ascii(name)[1:-1])}"
        )
    if ".." in name:
        raise InvalidArgumentError(
            "Validation error: name: Expected a name that does not contains two consecutive periods "
            f"(..). Got {name}"
        )
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return
    raise InvalidArgumentError(
        f"Validation error: name: Expected a name that is not a valid ip address. Got {name}"
    )


def check_tenant_name(name: Any) -> None:
    """Refuse tenant names that are no str or shorter than three characters."""
    _check_short_name(name, "tenant")


def check_database_name(name: Any) -> None:
    """Refuse database names that are no str or shorter than three characters."""
    _check_short_name(name, "database")


def _check_short_name(name: Any, what: str) -> None:
    if not isinstance(name, str):
        raise ValueError(f"Expected {what} name to be a str, got {_short(name)}")
    if len(name) < 3:
        raise InvalidArgumentError(
            f"{what.capitalize()} name must be at least 3 characters long, got {_short(name)!r}"
        )
    _check_texts([name], f"{what} name")


def check_collection_metadata(metadata: Any, *, modify: bool = False) -> dict[str, Any] | None:
    """Return a collection's metadata; NumPy scalars become Python's, None stays None.

    Raises:
        ValueError: Not a dict, empty, a value of the wrong kind, or (in `modify`) a new distance.
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
        if value is None or isinstance(value, list):
            raise ValueError(
                "Expected collection metadata value to be a str, int, float or bool, got "
                f"{_short(value)} for key {_short(key)!r}"
            )
    texts: list[str] = []
    checked = _check_metadata(metadata, texts, "metadata")
    _check_texts(texts, "metadata", rows=False)
    return checked


def check_ttl(seconds: Any) -> float | None:
    """Return after how many seconds without use a collection is unloaded; None is the store's interval.

    Raises:
        InvalidArgumentError: No number, not more than 0, or not finite.
    """
    if seconds is None:
        return None
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, int | float)
        or not 0 < seconds <= sys.float_info.max
    ):
        raise InvalidArgumentError(
            "Expected a TTL in seconds, more than 0 and finite, or None for the store's interval; got "
            f"{_short(seconds)!r:.100}."
        )
    return float(seconds)


# -- reading ----------------------------------------------------------------------------------


def check_include(include: Any, method: str) -> list[str]:
    """Return `include` as a list of known items.

    Raises:
        ValueError: Not a list, an unknown item, or distances where there are none.
    """
    include = _sequence(include) if isinstance(include, tuple) else include
    if not isinstance(include, list):
        raise ValueError(f"Expected include to be a list, got {_short(include)}")
    for item in include:
        if not isinstance(item, str):
            raise ValueError(f"Expected include item to be a str, got {_short(item)}")
        if item not in INCLUDES:
            raise ValueError(
                "Expected include item to be one of documents, embeddings, metadatas, distances, "
                f"uris, data, got {_short(item)}"
                + did_you_mean(item, INCLUDES, " (did you mean {}?)")
            )
        if item == "distances" and method == "get":
            raise ValueError("Include item cannot be one of distances, got distances")
    return list(include)


def check_n_results(n_results: Any) -> int:
    """Return the number of results wanted; refuse what is no positive integer.

    Raises:
        ValueError: It is no int.
        TypeError: It is 0 or negative (Chroma's choice of class).
    """
    if isinstance(n_results, bool) or not isinstance(n_results, int | np.integer):
        raise with_way_out(
            ValueError(
                f"Expected requested number of results to be a int, got {_short(n_results)}"
            ),
            f"That is {_a(type(n_results))}; write n_results=10.",
        )
    if n_results <= 0:
        raise with_way_out(
            TypeError(f"Number of requested results {n_results}, cannot be negative, or zero"),
            "Ask for at least 1; without n_results it is 10.",
        )
    return int(n_results)


def check_limit_offset(limit: Any, offset: Any) -> tuple[int | None, int | None]:
    """Return limit and offset; None means none.

    Raises:
        ValueError: Negative, or no integer.
    """
    for name, value in (("limit", limit), ("offset", offset)):
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0
        ):
            raise ValueError(f"Expected {name} to be a non-negative integer, got {_short(value)}")
    return (None if limit is None else int(limit), None if offset is None else int(offset))


def check_queries(texts: Any, images: Any, uris: Any) -> list[Any]:
    """Return what a query is to be embedded from.

    Raises:
        ValueError: Nothing is given, or not exactly one kind.
    """
    given = [value for value in (texts, images, uris) if value is not None]
    if not given:
        # Chroma's words, the doubled ones as well: what reads them has these.
        raise with_way_out(
            ValueError(
                "At least one of one of embeddings, documents, images, uris must be provided"
            ),
            "Give query_texts=[...], which are embedded, or query_embeddings=[...] of your own.",
        )
    if len(given) > 1:
        raise with_way_out(
            ValueError("Exactly one of documents, images, uris must be provided"),
            "Of query_texts=, query_images= and query_uris= give one.",
        )
    if texts is not None:
        return list(check_query_texts(texts))
    if images is not None:
        return images if isinstance(images, list) else [images]
    return list(_check_column(uris, "uri"))


def check_query_texts(texts: Any) -> list[str]:
    """Return one or several texts of a query as a list.

    Raises:
        ValueError: None at all, or something that is no str.
    """
    column = _check_column(texts, "document")
    found = [text for text in column if text is not None]
    if len(found) < len(column):
        raise with_way_out(
            ValueError("Expected document to be a str, got None"),
            f"The question at position {column.index(None)} is None: leave it out.",
        )
    return found


def check_delete(ids: Any, where: Any, where_document: Any, limit: Any) -> list[str] | None:
    """Check the arguments of `delete` and return the ids, None where none are given.

    Raises:
        ValueError: No condition at all, or a limit without a filter.
        TypeError: A limit that is no integer.
    """
    filtered = where is not None or where_document is not None
    if isinstance(ids, list) and not ids and filtered:
        # "No ids given" beside a filter, as callers that pass both mean it.
        ids = None
    if ids is None and not filtered:
        raise with_way_out(
            ValueError("At least one of ids, where, or where_document must be provided"),
            "To delete every record, delete the collection: client.delete_collection(name).",
        )
    if limit is not None:
        if isinstance(limit, bool) or not isinstance(limit, int | np.integer):
            raise TypeError("limit must be a non-negative integer")
        if limit < 0:
            raise ValueError("limit must be a non-negative integer")
        if not filtered:
            raise ValueError(
                "limit can only be specified when a where or where_document clause is provided"
            )
    parse_where(where)
    parse_where_document(where_document)
    return None if ids is None else check_ids(ids)


# -- configuration ----------------------------------------------------------------------------

_HNSW_DEFAULTS: dict[str, Any] = {
    "space": "l2",
    "ef_construction": 100,
    "ef_search": 100,
    "max_neighbors": 16,
    "resize_factor": 1.2,
    "sync_threshold": 1000,
}
#: Accepted and not echoed, as in Chroma.
_HNSW_QUIET = ("num_threads", "batch_size")
_HNSW_UPDATES = ("ef_search", "num_threads", "batch_size", "sync_threshold", "resize_factor")
_SPANN = (
    *("search_nprobe", "write_nprobe", "space", "ef_construction", "ef_search", "max_neighbors"),
    *("reassign_neighbor_count", "split_threshold", "merge_threshold"),
)
_LEGACY = {
    "hnsw:space": "space",
    "hnsw:construction_ef": "ef_construction",
    "hnsw:M": "max_neighbors",
    "hnsw:search_ef": "ef_search",
    "hnsw:num_threads": "num_threads",
    "hnsw:batch_size": "batch_size",
    "hnsw:sync_threshold": "sync_threshold",
    "hnsw:resize_factor": "resize_factor",
}


def created_configuration(
    configuration: Any, metadata: dict[str, Any] | None, default_space: Space
) -> dict[str, Any]:
    """Return a new collection's configuration as on the wire, the embedding function left out.

    Args:
        configuration: The argument, or None.
        metadata: The collection's metadata; its ``hnsw:*`` keys are Chroma's older way.
        default_space: The embedding function's own distance.

    Raises:
        ValueError: hnsw and spann together, an unknown field.
        InvalidArgumentError: A value that cannot be used.
    """
    given = configuration or {}
    if not isinstance(given, dict):
        raise ValueError(f"Expected configuration to be a dict, got {_short(given)}")
    unknown = [key for key in given if key not in ("hnsw", "spann", "embedding_function")]
    if unknown:
        raise ValueError(
            f"Unknown configuration field {unknown[0]!r}. Known: hnsw, spann, embedding_function"
        )
    hnsw, spann = given.get("hnsw"), given.get("spann")
    if hnsw is not None and spann is not None:
        raise ValueError("hnsw and spann cannot both be provided")
    result = {**_HNSW_DEFAULTS, "space": default_space}
    for key in metadata or ():
        if isinstance(key, str) and key.startswith("hnsw:") and key not in _LEGACY:
            raise InvalidArgumentError(
                f"Failed to parse hnsw parameters from segment metadata: unknown {_short(key)!r}. "
                f"Known: {', '.join(_LEGACY)}"
            )
    for key, field in _LEGACY.items():
        if metadata and key in metadata:
            try:
                _check_hnsw_field(field, metadata[key])
            except ValueError as error:
                raise InvalidArgumentError(
                    f"Failed to parse hnsw parameters from segment metadata: {error}"
                ) from None
            if field in result:
                result[field] = type(result[field])(metadata[key])
    if spann is not None:
        # In one process there is no spann: an index of the same distance serves.
        for key in _fields("spann", spann):
            if key not in _SPANN:
                raise ValueError(f"Unknown spann field {key!r}. Known: {', '.join(_SPANN)}")
        hnsw = {"space": spann["space"]} if spann.get("space") is not None else {}
    for key, value in _fields("hnsw", hnsw).items():
        if key not in (*_HNSW_DEFAULTS, *_HNSW_QUIET):
            known = ", ".join((*_HNSW_DEFAULTS, *_HNSW_QUIET))
            raise InvalidArgumentError(f"unknown field `{_short(key)}`: hnsw has {known}")
        if value is not None:
            _check_hnsw_field(key, value)
            if key in result:
                result[key] = type(result[key])(value)
    return {"hnsw": result, "spann": None}


def recorded_configuration(configuration: Any) -> dict[str, Any]:
    """Return a configuration that comes from a file or from another store, checked as a new one is.

    Raises:
        ValueError: A field that is not known, or a value that cannot be used.
    """
    if not isinstance(configuration, dict):
        raise ValueError(f"Expected a configuration to be a dict, got {_short(configuration)}")
    hnsw = configuration.get("hnsw")
    if hnsw is None:
        # Of Chroma's other index only the distance matters here.
        hnsw = {"space": _fields("spann", configuration.get("spann")).get("space") or "l2"}
    result = created_configuration({"hnsw": hnsw}, None, "l2")
    result["embedding_function"] = check_recorded_function(configuration.get("embedding_function"))
    return result


def check_recorded_function(function: Any) -> dict[str, Any] | None:
    """Return what is said of an embedding function; it is kept as it is, and nothing is built of it.

    Raises:
        InvalidArgumentError: It is no object with a type, or holds what not every reader of JSON can take.
    """
    if function is None:
        return None
    if not isinstance(function, dict) or not isinstance(function.get("type"), str):
        raise InvalidArgumentError(
            'Expected embedding_function to be an object with a type, such as {"type": "legacy"}'
        )
    _check_json(function, "embedding_function")
    return function


def _check_json(value: Any, place: str, depth: int = 0) -> None:
    """Refuse what cannot be given back as JSON to everybody: one such value would spoil every list it is in.

    Args:
        value: What is to be recorded.
        place: Where it is, for the sentence.
        depth: How deep it is.

    Raises:
        InvalidArgumentError: A number that is not finite or an integer beyond 64 bits, another type than
            JSON has, too many levels, or half of a surrogate pair.
    """
    if depth > _MAX_JSON_DEPTH:
        raise InvalidArgumentError(
            f"Expected a configuration of at most {_MAX_JSON_DEPTH} levels, got more at {_short(place)}"
        )
    if isinstance(value, str):
        _check_texts([value], f"the text of {_short(place)}", rows=False)
    elif value is None or isinstance(value, bool):
        pass
    elif isinstance(value, int):
        if not INT_MIN <= value <= INT_MAX:
            raise InvalidArgumentError(
                f"Expected {_short(place)} to be an integer of 64 bits, got {_short_number(value)}"
            )
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidArgumentError(f"Expected {_short(place)} to be finite, got {value}")
    elif isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise InvalidArgumentError(
                    f"Expected the keys of {_short(place)} to be texts, got {_short(key)!r}"
                )
            _check_texts([key], f"a key of {_short(place)}", rows=False)
            # A place of some length is enough: long keys at every level would make it as large as the whole.
            named = place if len(place) > 200 else f"{place}.{key[:100]}"
            _check_json(inner, named, depth + 1)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_json(inner, place, depth + 1)
    else:
        raise InvalidArgumentError(
            f"Expected {_short(place)} to be a text, a number, a list or an object, got "
            f"{_a(type(value))}"
        )


def _short_number(value: int) -> str:
    """Return a number's digits, or how many bits it has: Python writes no more than 4,300 digits."""
    return str(value) if value.bit_length() < 700 else f"one of {value.bit_length():,} bits"


def updated_configuration(recorded: dict[str, Any], configuration: Any) -> dict[str, Any]:
    """Return a configuration with the changes of `modify`.

    Args:
        recorded: The configuration as it is.
        configuration: What changes: fields of ``hnsw``, and ``embedding_function`` as it is to be recorded.

    Raises:
        InvalidArgumentError: A field that cannot be changed, or a value that cannot be used.
        ValueError: An spann change, which has nothing to act on.
    """
    if not isinstance(configuration, dict):
        raise ValueError(f"Expected configuration to be a dict, got {_short(configuration)}")
    if configuration.get("spann") is not None:
        raise ValueError("Trying to update SPANN config but schema has HNSW")
    hnsw = dict(recorded["hnsw"])
    for key, value in _fields("hnsw", configuration.get("hnsw")).items():
        if key not in _HNSW_UPDATES:
            raise InvalidArgumentError(
                f"unknown field `{key}`: hnsw can change {', '.join(_HNSW_UPDATES)}; the rest is fixed "
                "when the collection is made"
            )
        if value is not None:
            _check_hnsw_field(key, value)
            if key in hnsw:
                hnsw[key] = type(hnsw[key])(value)
    changed = {**recorded, "hnsw": hnsw}
    if configuration.get("embedding_function") is not None:
        changed["embedding_function"] = configuration["embedding_function"]
    return changed


def _fields(part: str, given: Any) -> dict[str, Any]:
    """Return the fields of a part of a configuration, none where it is None."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise InvalidArgumentError(
            f"Expected configuration of {part} to be a dict, got {_short(given)}"
        )
    return given


def _check_hnsw_field(key: str, value: Any) -> None:
    if key == "space":
        if value not in SPACES:
            raise InvalidArgumentError(
                f"Expected space to be one of {', '.join(SPACES)}, got {_short(value)}"
            )
    elif key == "resize_factor":
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not 0 < value <= sys.float_info.max
        ):
            raise InvalidArgumentError(
                f"Expected resize_factor to be a positive number, got {_short(value)}"
            )
    elif isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= INT_MAX:
        beyond = isinstance(value, int) and value > INT_MAX
        raise InvalidArgumentError(
            f"Expected {key} to be a positive int, got {_short(value)}"
            f"{', which 64 bits cannot hold' if beyond else ''}"
        )
    elif key == "max_neighbors" and not MIN_NEIGHBORS <= value <= MAX_NEIGHBORS:
        raise InvalidArgumentError(
            f"Expected max_neighbors to be a positive int from {MIN_NEIGHBORS} to {MAX_NEIGHBORS:,}, got {value}: no "
            "graph can be built of another number of links. Usual are 8 to 64, the default is "
            f"{_HNSW_DEFAULTS[key]}"
        )


def _a(kind: type[Any]) -> str:
    """Return a kind's name with its article."""
    name = kind.__name__
    return f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"


def _short(value: Any, limit: int = 200) -> str:
    """Return a value's text, cut to what a message can bear."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    text = _short_number(value) if isinstance(value, int) else str(value)
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text):,} characters)"
