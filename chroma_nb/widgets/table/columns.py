"""`Column`: what a table can show of a record, and the condition that somebody has put on it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from chroma_nb.display.cells import text_of
from chroma_nb.display.words import shorten
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.harmless import clean
from chroma_nb.suggest import did_you_mean
from chroma_nb.widgets.asking import all_of, number_of
from chroma_nb.words import brief

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from chroma_nb.types import FieldSummary

#: Which of a record's parts a column shows. ``number`` columns belong to an answer: query, rank, distance, score.
Part = Literal["id", "document", "uri", "metadata", "number"]
#: What can be asked of a column.
Asks = Literal["", "is", "choice", "range"]

#: Different values of a key that are offered as choices.
CHOICES = 50
#: Kinds of values that are not counted.
_WHOLE = ("list", "SparseVector")
#: Characters of a column's name, of a cell and of a choice.
_NAME = 60
CELL = 200
_CHOICE = 60
#: How narrow and how wide somebody can make a column, CSS pixels.
NARROWEST, WIDEST = 48, 2_000


@dataclass(frozen=True)
class Condition:
    """What somebody asks of a metadata key or an id: one of the three is given."""

    #: The smallest and the largest number, each may be None.
    low: float | None = None
    high: float | None = None
    #: One of these values.
    among: tuple[Any, ...] = ()

    def where(self, key: str) -> dict[str, Any]:
        """Return the condition as Chroma's `where`."""
        if self.among:
            parts: list[dict[str, Any]] = []
            # Chroma takes one kind of values in a list.
            for kind in dict.fromkeys(map(type, self.among)):
                values = [one for one in self.among if type(one) is kind]
                parts.append({key: values[0]} if len(values) == 1 else {key: {"$in": values}})
            return parts[0] if len(parts) == 1 else {"$or": parts}
        bounds = (("$gte", self.low), ("$lte", self.high))
        return all_of([{key: {name: bound}} for name, bound in bounds if bound is not None])

    def matches(self, value: Any) -> bool:
        """Say the same of a value as the store does."""
        if self.among:
            # True is no 1.
            return any(
                value == one and isinstance(value, bool) == isinstance(one, bool)
                for one in self.among
            )
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


@dataclass
class Column:
    """One column of a table.

    Attributes:
        part: What of a record it shows.
        key: The metadata key, or the name of a number.
        kinds: The kinds of a key's values: ``str``, ``int``, ``float``, ``bool``, ``list``, ``SparseVector``.
        low: The smallest number under the key, None where there is none or that is not known.
        high: The largest one.
        choices: The different values where they are few, the most frequent first, each with how often it is there.
        condition: What is asked of it at the moment.
        shown: Whether it is shown.
        width: How wide somebody has made it, CSS pixels; 0 where the browser chooses.
    """

    part: Part
    key: str = ""
    kinds: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    choices: list[tuple[Any, int]] = field(default_factory=list)
    condition: Condition | None = None
    shown: bool = True
    width: int = 0

    @property
    def name(self) -> str:
        """What a message from the browser calls it: unlike its label never cut, and never twice."""
        return f"{self.part}:{self.key}"

    @property
    def label(self) -> str:
        """What stands above it."""
        return shorten(clean(self.key or self.part), _NAME)

    @property
    def is_number(self) -> bool:
        """Whether its values are numbers, and stand on the right."""
        return bool(self.kinds) and set(self.kinds) <= {"int", "float"}

    @property
    def asks(self) -> Asks:
        """What can be asked of it: a range, a choice of values, one value, or nothing."""
        if self.part == "id":
            return "is"
        if self.part not in ("metadata", "number"):
            return ""
        if self.is_number:
            return "range"
        if self.choices:
            return "choice"
        return "is" if set(self.kinds) & {"str", "int", "float"} else ""

    def ask(self, message: Mapping[str, Any]) -> None:
        """Take a condition as the browser writes it; an empty one takes it away.

        Raises:
            InvalidArgumentError: It is none.
        """
        if self.asks == "range":
            low, high = (self._number(message.get(name)) for name in ("low", "high"))
            if low is not None and high is not None and low > high:
                raise InvalidArgumentError(
                    f"{self.label}: there are no numbers from {low} to {high}. Put the smaller one first."
                )
            given = low is not None or high is not None
            self.condition = Condition(low, high) if given else None
        elif self.asks == "choice":
            known = {token_of(value): value for value, _ in self.choices}
            chosen = message.get("chosen") or []
            try:
                values = tuple(known[one] for one in chosen)
            except (KeyError, TypeError):
                raise InvalidArgumentError(
                    f"{self.label}: the values have changed. Choose again."
                ) from None
            self.condition = Condition(among=values) if values else None
        else:
            text = message.get("text") or ""
            if not isinstance(text, str):
                raise InvalidArgumentError(f"{self.label}: expected a text, got {brief(text)}.")
            self.condition = Condition(among=self._meant(text)) if text else None

    def widen(self, width: Any) -> None:
        """Take the width that somebody has given it.

        Raises:
            InvalidArgumentError: It is none.
        """
        if isinstance(width, bool) or not isinstance(width, int | float):
            raise InvalidArgumentError(f"{self.label}: {brief(width, 40)} is no width.")
        self.width = int(max(NARROWEST, min(WIDEST, width)))

    def keep_looks_of(self, other: Column) -> None:
        """Look as a column did that was there before: as wide, shown or not, and asked the same."""
        self.shown, self.condition, self.width = other.shown, other.condition, other.width

    def _meant(self, text: str) -> tuple[Any, ...]:
        """Return the values that a text may stand for: a column may hold 7 and "7"."""
        values: list[Any] = [text] if self.part == "id" or "str" in self.kinds else []
        if self.part == "metadata" and set(self.kinds) & {"int", "float"}:
            try:
                values.append(number_of(text))
            except ValueError:
                if not values:
                    raise InvalidArgumentError(
                        f"{self.label}: {brief(text, 40)} is no number."
                    ) from None
        return tuple(values)

    def _number(self, text: Any) -> float | None:
        if text is None or text == "":
            return None
        try:
            return number_of(str(text))
        except ValueError:
            raise InvalidArgumentError(f"{self.label}: {brief(text, 40)} is no number.") from None

    def described(self) -> dict[str, Any]:
        """Return the column as the browser draws it."""
        condition = self.condition or Condition()
        chosen = {token_of(one) for one in condition.among}
        return {
            "name": self.name,
            "label": self.label,
            "part": self.part,
            "number": self.is_number,
            "shown": self.shown,
            "width": self.width,
            "asks": self.asks,
            "asked": self.condition is not None,
            "low": "" if condition.low is None else repr(condition.low),
            "high": "" if condition.high is None else repr(condition.high),
            "lowest": "" if self.low is None else text_of(self.low),
            "highest": "" if self.high is None else text_of(self.high),
            "text": str(condition.among[0]) if condition.among and self.asks == "is" else "",
            "choices": [
                {
                    "token": token_of(value),
                    "label": shorten(clean(text_of(value)), _CHOICE) or "(empty)",
                    "count": f"{count:,}" if count else "",
                    "chosen": token_of(value) in chosen,
                }
                for value, count in (self.choices if self.asks == "choice" else ())
            ],
        }


def columns_named(
    names: Sequence[str], columns: Sequence[Column], aliases: Mapping[str, str]
) -> list[Column]:
    """Return columns by their names, each once, in this order.

    Args:
        names: Those that are wanted.
        columns: All. Of two of the same name the record's own is meant, as in `show`.
        aliases: Other names of columns.

    Raises:
        InvalidArgumentError: There is no such column.
    """
    known: dict[str, Column] = {}
    for column in columns:
        known.setdefault(column.key or column.part, column)
    for alias, meant in aliases.items():
        if meant in known:
            known.setdefault(alias, known[meant])
    found: list[Column] = []
    for name in names:
        if name not in known:
            raise InvalidArgumentError(
                f"There is no column {brief(name, 60, quoted=True)}.{did_you_mean(name, list(known))} "
                f"Columns: {', '.join(brief(one, 40) for one in list(known)[:20])}."
            )
        if known[name] not in found:
            found.append(known[name])
    return found


def token_of(value: Any) -> str:
    """Return a value as a text that no other value has: 1, True and "1" are three."""
    return f"{type(value).__name__}:{json.dumps(value)}"


def metadata_column(field_summary: FieldSummary) -> Column:
    """Return the column of a metadata key that a store has described."""
    few = 0 < len(field_summary.values) <= CHOICES
    return Column(
        "metadata",
        field_summary.key,
        field_summary.kinds,
        field_summary.minimum,
        field_summary.maximum,
        list(field_summary.values) if few and not {*_WHOLE} & {*field_summary.kinds} else [],
    )


def seen_columns(metadatas: Iterable[Mapping[str, Any] | None]) -> list[Column]:
    """Return the columns of metadata that is in memory, in the order in which the keys come."""
    found: dict[str, _Seen] = {}
    for metadata in metadatas:
        for key, value in (metadata or {}).items():
            seen = found.get(key)
            if seen is None:
                seen = found[key] = _Seen()
            seen.add(value)
    return [seen.column(key) for key, seen in found.items()]


class _Seen:
    """The values of one key, as far as they have been looked at."""

    __slots__ = ("counts", "high", "kinds", "low")

    def __init__(self) -> None:
        self.kinds: set[str] = set()
        self.low: Any = None
        self.high: Any = None
        #: None as soon as there are too many, or values of a kind of `_WHOLE`.
        self.counts: dict[tuple[type, Any], int] | None = {}

    def add(self, value: Any) -> None:
        kind = type(value).__name__
        if value is None:
            return
        self.kinds.add(kind)
        if kind in ("int", "float"):
            self.low = value if self.low is None else min(self.low, value)
            self.high = value if self.high is None else max(self.high, value)
        if self.counts is None:
            return
        if kind in _WHOLE:
            self.counts = None
            return
        pair = (type(value), value)
        self.counts[pair] = self.counts.get(pair, 0) + 1
        if len(self.counts) > CHOICES:
            self.counts = None

    def column(self, key: str) -> Column:
        order = ("str", "int", "float", "bool", *_WHOLE)
        counted = sorted((self.counts or {}).items(), key=lambda one: -one[1])
        choices = [(value, n) for (_, value), n in counted]
        kinds = tuple(kind for kind in order if kind in self.kinds)
        return Column("metadata", key, kinds, self.low, self.high, choices)
