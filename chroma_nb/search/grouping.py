"""`GroupBy`, `MinK`, `MaxK`: how many of each group of records a search keeps."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from chroma_nb.boundary import public_call
from chroma_nb.search.conditions import Key
from chroma_nb.search.shown import check_members, shown
from chroma_nb.suggest import did_you_mean


@dataclass(frozen=True, init=False)
class Aggregate(ABC):
    """Which records of a group are kept; `MinK` or `MaxK`.

    Args:
        keys: Metadata keys or `K.SCORE`, one or several: the first decides, the next between equals.
        k: How many are kept.
    """

    keys: tuple[str, ...]
    k: int
    operator: ClassVar[str]

    def __init__(self, keys: Key | str | Iterable[Key | str], k: int) -> None:
        object.__setattr__(self, "keys", key_names(keys))
        object.__setattr__(self, "k", k)

    def to_dict(self) -> dict[str, Any]:
        """Return the aggregate as on Chroma's wire."""
        return {self.operator: {"keys": list(self.keys), "k": self.k}}

    @staticmethod
    @public_call
    def from_dict(data: Mapping[str, Any]) -> Aggregate:
        """Read an aggregate from the wire's form.

        Raises:
            TypeError: Something of another kind than has its place there.
            ValueError: Not one operator, an unknown one, no keys, or a `k` below 1.
        """
        if not isinstance(data, Mapping):
            raise TypeError(f"Expected dict for an aggregate, got {shown(data)}")
        if len(data) != 1:
            raise ValueError(f"Expected an aggregate to have one operator, got {shown(data)}")
        ((operator, operand),) = data.items()
        if operator not in AGGREGATES:
            raise ValueError(
                f"Unknown aggregate operator {shown(operator)}.{did_you_mean(operator, AGGREGATES)}"
            )
        _check_fields(operator, operand, "keys", "k")
        k = operand["k"]
        if not isinstance(k, int) or isinstance(k, bool):
            raise TypeError(f"Expected k of {operator} to be an int, got {shown(k)}")
        if k <= 0:
            raise ValueError(f"Expected k of {operator} to be positive, got {k}")
        return AGGREGATES[operator](_read_keys(operator, operand["keys"]), k)


class MinK(Aggregate):
    """Keep the k records of a group that have the smallest values."""

    operator = "$min_k"


class MaxK(Aggregate):
    """Keep the k records of a group that have the largest values."""

    operator = "$max_k"


#: By the name that they have on the wire.
AGGREGATES: dict[str, type[Aggregate]] = {kind.operator: kind for kind in (MinK, MaxK)}


@dataclass(frozen=True, init=False)
class GroupBy:
    """Records with the same values are a group, of which an aggregate keeps some.

    Args:
        keys: Metadata keys, one or several.
        aggregate: What is kept of each group. Without it, or without keys, there are no groups.
    """

    keys: tuple[str, ...]
    aggregate: Aggregate | None

    def __init__(
        self, keys: Key | str | Iterable[Key | str] = (), aggregate: Aggregate | None = None
    ) -> None:
        object.__setattr__(self, "keys", key_names(keys))
        object.__setattr__(self, "aggregate", aggregate)

    def to_dict(self) -> dict[str, Any]:
        """Return the grouping as on Chroma's wire; ``{}`` is none."""
        if not self.keys or self.aggregate is None:
            return {}
        return {"keys": list(self.keys), "aggregate": self.aggregate.to_dict()}

    @staticmethod
    @public_call
    def from_dict(data: Mapping[str, Any]) -> GroupBy:
        """Read a grouping from the wire's form.

        Raises:
            TypeError: Something of another kind than has its place there.
            ValueError: Keys or the aggregate are missing, or something else is there.
        """
        if isinstance(data, Mapping) and not data:
            return GroupBy()
        _check_fields("group_by", data, "keys", "aggregate")
        return GroupBy(_read_keys("group_by", data["keys"]), Aggregate.from_dict(data["aggregate"]))


def key_names(keys: Key | str | Iterable[Key | str]) -> tuple[str, ...]:
    """Return the names of one key or of several."""
    several = (keys,) if isinstance(keys, Key | str) else keys
    return tuple(key.name if isinstance(key, Key) else key for key in several)


def _check_fields(name: str, data: Any, *fields: str) -> None:
    if not isinstance(data, Mapping):
        raise TypeError(f"Expected dict for {name}, got {shown(data)}")
    check_members(name, data, fields)
    for field in fields:
        if field not in data:
            raise ValueError(f"{name} requires {field!r} field, got {shown(dict(data))}")


def _read_keys(name: str, keys: Any) -> list[str]:
    if not isinstance(keys, list | tuple) or not all(isinstance(key, str) for key in keys):
        raise TypeError(f"Expected keys of {name} to be a list of str, got {shown(keys)}")
    if not keys:
        raise ValueError(f"{name} keys cannot be empty, got []")
    return list(keys)
