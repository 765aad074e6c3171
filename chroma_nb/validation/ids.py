"""Ids of records, and the errors about ids that exist already or are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.errors import (
    DuplicateIDError,
    IDAlreadyExistsError,
    IDNotFoundError,
    InvalidArgumentError,
    with_way_out,
)
from chroma_nb.validation.lists import as_list
from chroma_nb.validation.texts import check_texts, plain_text
from chroma_nb.words import brief, with_article

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: How many ids an error names.
_NAMED_IDS = 5


def check_ids(ids: Any) -> list[str]:
    """Return one or several ids as a list.

    Raises:
        ValueError: No id at all, or something that is no str.
        DuplicateIDError: An id is given twice.
        InvalidArgumentError: An empty id, or one that UTF-8 cannot encode.
    """
    found = check_query_ids(ids)
    if not found:
        raise ValueError(f"Expected IDs to be a non-empty list, got {len(found)} IDs")
    return found


def check_query_ids(ids: Any) -> list[str]:
    """Do the same as `check_ids`, but let an empty list pass."""
    found = [ids] if isinstance(ids, str) else as_list(ids)
    if not isinstance(found, list):
        raise ValueError(f"Expected IDs to be a list, got {type(ids).__name__} as IDs")
    for kind in set(map(type, found)):
        if not issubclass(kind, str):
            row, culprit = next((row, id) for row, id in enumerate(found) if type(id) is kind)
            raise with_way_out(
                ValueError(f"Expected ID to be a str, got {brief(culprit)}"),
                f"That is {with_article(kind)}, at position {row}. Write ids as text: [str(n) for n in ids].",
            )
        if kind is not str:
            found = [plain_text(id) if type(id) is kind else id for id in found]
    if len(set(found)) != len(found):
        raise _duplicates(found)
    if "" in found:
        raise InvalidArgumentError("Empty ID, ID must have at least one character")
    check_texts(found, "id")
    return found


def _duplicates(ids: Sequence[str]) -> DuplicateIDError:
    seen: set[str] = set()
    twice: dict[str, None] = {}
    for id in ids:
        if id in seen:
            twice[id] = None
        seen.add(id)
    names = [brief(id, 80) for id in twice]
    if len(names) < 10:
        return DuplicateIDError(
            f"Expected IDs to be unique, found duplicates of: {', '.join(names)}"
        )
    some = ", ".join([*names[:5], "...", *names[-5:]])
    return DuplicateIDError(f"Expected IDs to be unique, found {len(names)} duplicated IDs: {some}")


def _some(ids: Sequence[str]) -> str:
    """Return the first few ids in quotes."""
    return ", ".join(brief(repr(id), 80) for id in ids[:_NAMED_IDS])


def ids_exist(there: Sequence[str], n_given: int, collection_name: str) -> IDAlreadyExistsError:
    """Return the error for an `add` of ids that exist already.

    Args:
        there: Those that exist.
        n_given: How many ids the call gave.
        collection_name: The collection's name, for the message.
    """
    return IDAlreadyExistsError(
        f"{len(there):,} of {n_given:,} ids exist in collection [{collection_name}], such as "
        f"{_some(there)}; nothing was added. Use upsert(), "
        'or on_conflict="skip" or "replace".'
    )


def check_known(ids: Sequence[str], known: Iterable[object], collection_name: str) -> None:
    """Refuse a query that is restricted to ids which do not exist, as Chroma does.

    Args:
        ids: n ids.
        known: n values, true where the collection has the id.
        collection_name: Its name, for the message.

    Raises:
        IDNotFoundError: Some ids are missing.
    """
    missing = [id for id, there in zip(ids, known, strict=True) if not there]
    if missing:
        more = ", ..." if len(missing) > _NAMED_IDS else ""
        raise IDNotFoundError(
            f"Error finding id: {len(missing):,} of {len(ids):,} ids are not in collection "
            f"[{collection_name}]: {_some(missing)}{more}. "
            "Leave them out; collection.get(ids=..., include=[])['ids'] has those that exist."
        )
