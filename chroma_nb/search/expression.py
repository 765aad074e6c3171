"""`Search`, one hybrid search, with `Limit` and `Select`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

from chroma_nb.boundary import public_call, public_class
from chroma_nb.search.conditions import Condition, K, Key
from chroma_nb.search.grouping import GroupBy, key_names
from chroma_nb.search.ranks import Rank
from chroma_nb.search.shown import check_members, shown
from chroma_nb.special_keys import DOCUMENT_KEY, EMBEDDING_KEY, METADATA_KEY, SCORE_KEY

#: What may be selected of a record that is no metadata key, in the order of Chroma's answers.
_OWN_FIELDS = (DOCUMENT_KEY, EMBEDDING_KEY, METADATA_KEY, SCORE_KEY)


@dataclass(frozen=True)
class Limit:
    """At most `limit` records, all where it is None, after leaving out `offset`."""

    offset: int = 0
    limit: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the limit as on Chroma's wire."""
        return {"offset": self.offset} | ({} if self.limit is None else {"limit": self.limit})

    @staticmethod
    @public_call
    def from_dict(data: Mapping[str, Any]) -> Limit:
        """Read a limit from the wire's form.

        Raises:
            TypeError: It is no dict of whole numbers.
            ValueError: A limit below 1, an offset below 0, or something else is there.
        """
        _check_known("limit", data, "offset", "limit")
        offset, limit = data.get("offset", 0), data.get("limit")
        for name, value in (("offset", offset), ("limit", 1 if limit is None else limit)):
            if not isinstance(value, int) or isinstance(value, bool):
                raise TypeError(f"{name} must be an integer, got {shown(value)}")
        if offset < 0:
            raise ValueError(f"offset must be non-negative, got {offset}")
        if limit is not None and limit <= 0:
            raise ValueError(f"limit must be positive, got {limit}")
        return Limit(offset, limit)


@dataclass(frozen=True, init=False)
class Select:
    """What a search returns of each record: its own fields (`K.DOCUMENT`, `K.SCORE`, ...) and metadata keys."""

    keys: frozenset[Key]

    def __init__(self, keys: Iterable[Key | str] = ()) -> None:
        object.__setattr__(self, "keys", frozenset(map(Key, key_names(keys))))

    @property
    def names(self) -> list[str]:
        """What is selected in the order of Chroma's answers: a record's own fields, then keys by name."""
        names = {key.name for key in self.keys}
        own = [one for one in _OWN_FIELDS if one in names]
        return own + sorted(names.difference(own))

    def to_dict(self) -> dict[str, Any]:
        """Return the selection as on Chroma's wire, in alphabetical order."""
        return {"keys": sorted(key.name for key in self.keys)}

    @staticmethod
    @public_call
    def from_dict(data: Mapping[str, Any]) -> Select:
        """Read a selection from the wire's form.

        Raises:
            TypeError: The keys are no list of texts.
            ValueError: Something else is there.
        """
        _check_known("select", data, "keys")
        keys = data.get("keys", [])
        if not isinstance(keys, list | tuple | set | frozenset):
            raise TypeError(f"keys of select must be a list/tuple/set of str, got {shown(keys)}")
        for key in keys:
            if not isinstance(key, str):
                raise TypeError(f"A key of select must be a string, got {shown(key)}")
        return Select(keys)


@public_class
@dataclass(frozen=True, init=False)
class Search:
    """One hybrid search, built step by step; each step returns a new one.

    Args:
        where: Which records are looked at; None is all.
        rank: The score to order by, lowest first; None is storage order.
        group_by: How many of each group are kept.
        limit: How many records come back; a number has no offset.
        select: What comes back of each; nothing but the id by default.

    Attributes:
        condition: The filter.
        score: The rank.
        grouping: The groups.
        page: Limit and offset.
        selected: The fields.

    Raises:
        TypeError: An argument is of another kind.
        ValueError: A dict that is not of Chroma's grammar.
    """

    condition: Condition | None
    score: Rank | None
    grouping: GroupBy
    page: Limit
    selected: Select

    def __init__(
        self,
        where: Condition | Mapping[str, Any] | None = None,
        rank: Rank | Mapping[str, Any] | None = None,
        group_by: GroupBy | Mapping[str, Any] | None = None,
        limit: Limit | Mapping[str, Any] | int | None = None,
        select: Select | Mapping[str, Any] | Iterable[Key | str] | None = None,
    ) -> None:
        if isinstance(limit, int):
            limit = {"limit": limit}
        if isinstance(select, list | tuple | set | frozenset):
            select = Select(select)
        _set(
            self,
            condition=_part("where", where, Condition),
            score=_part("rank", rank, Rank),
            grouping=_part("group_by", GroupBy() if group_by is None else group_by, GroupBy),
            page=_part("limit", Limit() if limit is None else limit, Limit),
            selected=_part("select", Select() if select is None else select, Select),
        )

    def where(self, where: Condition | Mapping[str, Any] | None) -> Search:
        """Keep the records that match."""
        return self._with(condition=_part("where", where, Condition))

    def rank(self, rank: Rank | Mapping[str, Any] | None) -> Search:
        """Order by this score, lowest first."""
        return self._with(score=_part("rank", rank, Rank))

    def group_by(self, group_by: GroupBy | Mapping[str, Any] | None) -> Search:
        """Keep so many of each group."""
        grouping = GroupBy() if group_by is None else group_by
        return self._with(grouping=_part("group_by", grouping, GroupBy))

    def limit(self, limit: int, offset: int = 0) -> Search:
        """Return at most so many, leaving out `offset` first."""
        return self._with(page=Limit(offset, limit))

    def select(self, *keys: Key | str) -> Search:
        """Return these fields, and no others."""
        return self._with(selected=Select(keys))

    def select_all(self) -> Search:
        """Return document, embedding, metadata and score."""
        return self._with(selected=Select((K.DOCUMENT, K.EMBEDDING, K.METADATA, K.SCORE)))

    def to_dict(self) -> dict[str, Any]:
        """Return the search as on Chroma's wire."""
        return {
            "filter": None if self.condition is None else self.condition.to_dict(),
            "rank": None if self.score is None else self.score.to_dict(),
            "group_by": self.grouping.to_dict(),
            "limit": self.page.to_dict(),
            "select": self.selected.to_dict(),
        }

    @staticmethod
    @public_call
    def from_dict(data: Mapping[str, Any]) -> Search:
        """Read a search from the wire's form; a part that is not there is the default.

        Raises:
            TypeError: Something of another kind than has its place there.
            ValueError: Something that is not of Chroma's grammar.
        """
        _check_known("a search", data, "filter", "rank", "group_by", "limit", "select")
        return Search(
            # An empty filter is none, to Chroma's server.
            where=data.get("filter") or None,
            rank=data.get("rank"),
            group_by=data.get("group_by", {}),
            limit=Limit.from_dict(data.get("limit", {})),
            select=Select.from_dict(data.get("select", {})),
        )

    # Chroma's names of the parts, which code that looks into a search reads.
    _where = property(attrgetter("condition"))
    _rank = property(attrgetter("score"))
    _group_by = property(attrgetter("grouping"))
    _limit = property(attrgetter("page"))
    _select = property(attrgetter("selected"))

    def _with(self, **changes: Any) -> Search:
        changed = object.__new__(Search)
        _set(changed, **{one.name: getattr(self, one.name) for one in fields(self)} | changes)
        return changed


def _part(name: str, value: Any, kind: type[Any]) -> Any:
    """Return a part of a search: None or one of its kind as it is, a dict as what it says.

    Raises:
        TypeError: It is something else.
    """
    if value is None or isinstance(value, kind):
        return value
    if not isinstance(value, Mapping):
        is_text = kind is Rank and isinstance(value, str)
        hint = ". A text is asked for by Knn(text)" if is_text else ""
        raise TypeError(f"{name} must be of {kind.__name__}, or a dict, got {shown(value)}{hint}")
    return kind.from_dict(value)


def _set(search: Search, **parts: Any) -> None:
    for name, part in parts.items():
        object.__setattr__(search, name, part)


def _check_known(name: str, data: Any, *known: str) -> None:
    if not isinstance(data, Mapping):
        raise TypeError(f"Expected dict for {name}, got {shown(data)}")
    check_members(name, data, known)
