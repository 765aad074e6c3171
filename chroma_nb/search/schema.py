"""`Schema`: which indexes a collection of Chroma's distributed store has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class Schema:
    """Which indexes a collection of Chroma's distributed store has; carried as it is, not acted on.

    Args:
        definition: ``{"defaults": {...}, "keys": {...}}``; None is empty.
    """

    def __init__(self, definition: Mapping[str, Any] | None = None) -> None:
        given = dict(definition or {})
        self.defaults: dict[str, Any] = dict(given.get("defaults") or {})
        self.keys: dict[str, Any] = dict(given.get("keys") or {})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Schema):
            return NotImplemented
        return self.serialize_to_json() == other.serialize_to_json()

    __hash__ = None  # type: ignore[assignment]

    def serialize_to_json(self) -> dict[str, Any]:
        """Return the schema as on the wire."""
        return {"defaults": self.defaults, "keys": self.keys}

    @classmethod
    def deserialize_from_json(cls, data: Mapping[str, Any]) -> Schema:
        """Read a schema from the wire's form."""
        return cls(data)
