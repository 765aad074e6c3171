"""What the methods of `Local` have in common."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Item = TypeVar("_Item")
_Class = TypeVar("_Class", bound=type)


#: The methods that look once at what other processes have committed (`DB.one_look`). None of them calls another one.
_LOOK_ONCE = (
    "create_collection",
    "get_collection",
    "list_collections",
    "add",
    "update",
    "upsert",
    "delete",
    "count",
    "record_bytes",
    "_selected",
    "scan",
    "query",
    "search",
    "explain",
    "describe_fields",
    "metadata_keys",
    "indexing_status",
)


def looking_once(cls: _Class) -> _Class:
    """Wrap the methods of `_LOOK_ONCE`, so that each call looks once at a DB that others share."""
    for name in _LOOK_ONCE:
        setattr(cls, name, _looking_once(cls.__dict__[name]))
    return cls


def _looking_once(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def call(self: Any, *given: Any, **named: Any) -> Any:
        if not self.db.shared:
            return method(self, *given, **named)
        with self.db.one_look():
            return method(self, *given, **named)

    return call


def page_of(items: list[_Item], limit: int | None, offset: int | None) -> list[_Item]:
    """Return the page of a list that `limit` and `offset` ask for."""
    start = offset or 0
    return items[start : None if limit is None else start + limit]
