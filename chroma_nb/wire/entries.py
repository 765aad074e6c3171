"""Dataclasses of plain values, read from JSON."""

from __future__ import annotations

import functools
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from chroma_nb.wire.answers import AnswerError, check_kind

T = TypeVar("T")
#: Of a report, which has hundreds of entries, each field's type is looked up once.
_hints: Any = functools.cache(get_type_hints)


def entry_from_json(kind: type[T], values: dict[str, Any]) -> T:
    """Return a dataclass of the values that it knows; what a newer server adds is left out.

    Raises:
        AnswerError: A value is missing or of another kind, down to the last part of it.
    """
    check_kind(values, dict, "an entry")
    found = {one.name: values[one.name] for one in fields(kind) if one.name in values}  # type: ignore[arg-type]
    hints = _hints(kind)
    for name, value in found.items():
        if not _fits(value, hints[name]):
            raise AnswerError(f"{name!r} is not what it should be, but {type(value).__name__}")
    try:
        return kind(**found)
    except TypeError as error:
        raise AnswerError(str(error)) from None


def _fits(value: Any, hint: Any) -> bool:
    """Say whether a value is of a type, with all its parts. A bool is no number, and a whole number is a float."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is UnionType:
        return any(_fits(value, one) for one in parts)
    if origin is list:
        return isinstance(value, list) and all(_fits(one, parts[0]) for one in value)
    if origin is dict:
        return isinstance(value, dict) and all(
            _fits(key, parts[0]) and _fits(one, parts[1]) for key, one in value.items()
        )
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        kinds = (parts[0],) * len(value) if parts[-1] is ... else parts
        return len(value) == len(kinds) and all(map(_fits, value, kinds))
    if is_dataclass(hint):
        return type(value) is hint
    return type(value) is hint or (hint is float and type(value) is int)
