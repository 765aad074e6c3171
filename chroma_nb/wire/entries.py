"""Dataclasses of plain values, read from JSON."""

from __future__ import annotations

from dataclasses import fields
from types import UnionType
from typing import Any, TypeVar, get_args, get_type_hints

from chroma_nb.wire.answers import AnswerError, check_kind

T = TypeVar("T")
#: What `_plain_kinds` has found: a report has hundreds of entries.
_kinds: dict[type[Any], dict[str, tuple[type[Any], ...]]] = {}
_PLAIN = {str, int, float, bool, type(None)}


def entry_from_json(kind: type[T], values: dict[str, Any]) -> T:
    """Return a dataclass of the values that it knows; what a newer server adds is left out.

    Raises:
        AnswerError: A value is missing or of another kind.
    """
    check_kind(values, dict, "an entry")
    found = {one.name: values[one.name] for one in fields(kind) if one.name in values}  # type: ignore[arg-type]
    for name, expected in _plain_kinds(kind).items():
        if name in found:
            check_kind(found[name], expected, f"{name!r}")
    try:
        return kind(**found)
    except TypeError as error:
        raise AnswerError(str(error)) from None


def _plain_kinds(kind: type[Any]) -> dict[str, tuple[type[Any], ...]]:
    """Return the fields that hold plain values, with what may be in them."""
    found = _kinds.get(kind)
    if found is not None:
        return found
    found = {}
    for name, hint in get_type_hints(kind).items():
        kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        if set(kinds) <= _PLAIN:
            found[name] = (*kinds, int) if float in kinds else kinds
    _kinds[kind] = found
    return found
