"""Records and matches in a server's answers, checked: whatever answers there may not be a Chroma server."""

from __future__ import annotations

import json
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.api.base import Matches, Records
from chroma_nb.compact_json import parsed_together
from chroma_nb.search.sparse import of_known_members
from chroma_nb.wire.vectors import from_wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: Of values of metadata. A dict is a sparse vector.
_KINDS = frozenset((str, int, float, bool, list, dict))
_ITEMS = _KINDS - {list, dict}
_NONE = type(None)
#: Errors that reading an answer of an unexpected form may raise.
UNUSABLE = (
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    ValueError,
    OverflowError,
    RecursionError,
)


class AnswerError(ValueError):
    """An answer is not of the form that was asked for; the text says what is wrong."""


def records_from_json(found: Any, include: Sequence[str]) -> Records:
    """Return the records of an answer to `get`.

    Raises:
        AnswerError: It is none.
    """
    found = check_kind(found, dict, "the answer")
    ids = _texts(found.get("ids"), "ids")
    records = Records(ids)
    if "embeddings" in include:
        records.embeddings = _embeddings(found.get("embeddings"), len(ids))
    if "documents" in include:
        records.documents = _texts(found.get("documents"), "documents", len(ids), gaps=True)
    if "uris" in include:
        records.uris = _texts(found.get("uris"), "uris", len(ids), gaps=True)
    if "metadatas" in include:
        records.metadatas = check_metadatas(found.get("metadatas"), len(ids))
    return records


def check_page(
    found: Sequence[str], seen: set[str] | None, *, ids: Sequence[str] | None, limit: int | None
) -> None:
    """Refuse a page that is larger than was asked for, or repeats a record: there would be no end to such pages.

    Args:
        found: The ids of the page.
        seen: The ids of the pages before; those of this one are added. None: it is the only page.
        ids: The ids that were asked for; None is any.
        limit: How many records were asked for; None is any number.

    Raises:
        AnswerError: As said.
    """
    for most in (limit, None if ids is None else len(ids)):
        if most is not None and len(found) > most:
            raise AnswerError(f"{len(found):,} records where {most:,} were asked for")
    if seen is not None:
        before = len(seen)
        seen.update(found)
        if len(seen) - before < len(found):
            raise AnswerError("a record that came twice")


def matches_from_json(found: Any, include: Sequence[str], n_queries: int) -> Matches:
    """Return the matches of an answer to `query`.

    Raises:
        AnswerError: It is none, or one to another number of queries.
    """
    found = check_kind(found, dict, "the answer")
    rows = [_texts(row, "ids") for row in _rows(found, "ids", n_queries)]
    sizes = [len(row) for row in rows]
    matches = Matches(rows)
    if "distances" in include:
        # Chroma's server writes a float32 as short as can be; this is the value that it stands for.
        matches.distances = [_numbers(row, size) for row, size in _sized(found, "distances", sizes)]
    if "embeddings" in include:
        matches.embeddings = [
            _embeddings(row, size) for row, size in _sized(found, "embeddings", sizes)
        ]
    if "documents" in include:
        matches.documents = [
            _texts(row, "documents", size, gaps=True)
            for row, size in _sized(found, "documents", sizes)
        ]
    if "uris" in include:
        matches.uris = [
            _texts(row, "uris", size, gaps=True) for row, size in _sized(found, "uris", sizes)
        ]
    if "metadatas" in include:
        matches.metadatas = [
            check_metadatas(row, size) for row, size in _sized(found, "metadatas", sizes)
        ]
    return matches


def check_texts(
    values: Any, what: str, size: int | None = None, *, gaps: bool = False
) -> list[Any]:
    """Return a list of texts.

    Args:
        values: The list.
        what: What it is.
        size: How many there are; None is any number.
        gaps: Whether it may have None.

    Raises:
        AnswerError: It is none.
    """
    return _texts(values, what, size, gaps=gaps)


def check_kind(value: Any, kinds: Any, what: str) -> Any:
    """Return a value that is of one of these kinds; a bool is no number.

    Raises:
        AnswerError: It is not.
    """
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in _each(kinds)):
        raise AnswerError(f"{what} is {type(value).__name__}")
    return value


def check_count(found: dict[str, Any], name: str) -> int:
    """Return a number that counts something.

    Raises:
        AnswerError: It is none.
    """
    number: int = check_kind(found.get(name), int, f"{name!r}")
    if number < 0:
        raise AnswerError(f"{name!r} is negative")
    return number


def _each(kinds: Any) -> tuple[type[Any], ...]:
    return kinds if isinstance(kinds, tuple) else (kinds,)


def _rows(found: dict[str, Any], part: str, n_rows: int) -> list[Any]:
    rows: list[Any] = check_kind(found.get(part), list, f"{part!r}")
    if len(rows) != n_rows:
        raise AnswerError(f"{part!r} has {len(rows):,} lists for {n_rows:,} queries")
    return rows


def _sized(found: dict[str, Any], part: str, sizes: list[int]) -> Iterable[tuple[Any, int]]:
    return zip(_rows(found, part, len(sizes)), sizes, strict=True)


def _listed(values: Any, part: str, size: int | None) -> list[Any]:
    check_kind(values, list, f"{part!r}")
    if size is not None and len(values) != size:
        raise AnswerError(f"{part!r} has {len(values):,} values for {size:,} ids")
    return list(values)


def _texts(values: Any, part: str, size: int | None = None, *, gaps: bool = False) -> list[Any]:
    found = _listed(values, part, size)
    if not set(map(type, found)) <= ({str, _NONE} if gaps else {str}):
        raise AnswerError(f"{part!r} has something else than texts")
    return found


def _numbers(values: Any, size: int) -> list[float]:
    found = _listed(values, "distances", size)
    if not set(map(type, found)) <= {int, float}:
        raise AnswerError("'distances' has something else than numbers")
    numbers: list[float] = np.asarray(found, np.float32).tolist()
    return numbers


def _embeddings(values: Any, size: int) -> Any:
    try:
        # Of no records, some servers say null.
        array = from_wire(_listed(values if size else values or [], "embeddings", size))
    except (ValueError, TypeError, OverflowError) as error:
        raise AnswerError(f"'embeddings' cannot be read: {error}") from None
    if array.ndim != 2 or len(array) != size:
        raise AnswerError(f"'embeddings' has the shape {array.shape} for {size:,} ids")
    return array


def check_metadatas(values: Any, size: int) -> list[Any]:
    """Return a list of the metadata of `size` records; an empty one is None.

    Raises:
        AnswerError: It is none.
    """
    found = _listed(values, "metadatas", size)
    if not {*map(type, found)} <= {dict, type(None)}:
        for metadata in found:
            if metadata is not None:
                check_kind(metadata, dict, "a metadata")
    kinds = {*map(type, chain.from_iterable(map(dict.values, filter(None, found))))}
    if not kinds <= _KINDS:
        raise AnswerError("'metadatas' has values that no metadata has")
    if list in kinds or dict in kinds:
        for metadata in found:
            for value in (metadata or {}).values():
                if type(value) is dict:
                    _check_sparse(value)
                if type(value) is list and not _ITEMS.issuperset(map(type, value)):
                    raise AnswerError("'metadatas' has lists that no metadata has")
    return [metadata or None for metadata in found]


def _check_sparse(value: dict[str, Any]) -> None:
    try:
        of_known_members(value)
    except ValueError as error:
        raise AnswerError(f"'metadatas' has a value that no metadata has: {error}") from None


def read_metadatas(texts: Sequence[str | None]) -> list[Any]:
    """Return the metadata of records that came as JSON texts; an empty one is None.

    Raises:
        AnswerError: One is none.
    """
    found = parsed_together(texts)
    if found is None:
        try:
            found = [None if text is None else json.loads(text) for text in texts]
        except (ValueError, RecursionError) as error:
            raise AnswerError(f"metadata cannot be read: {error}") from None
    return check_metadatas(found, len(found))
