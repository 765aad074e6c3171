"""`filter_control`: a control for one metadata key, made for what its values are."""

from __future__ import annotations

import datetime
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chroma_nb.display.render import fill
from chroma_nb.display.words import shorten
from chroma_nb.scalars import instant
from chroma_nb.widgets.asking import number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from chroma_nb.types import FieldSummary

#: Values that a menu offers.
VALUES = 50
#: Steps of a slider: more than that cannot be met with a mouse.
_STEPS = 200
#: Chosen in a menu where every value will do. (None would be no choice at all.)
_ANY = object()
#: Members of lists that can be typed.
_SHOWN = (str, int, float)
#: A name, and two controls beside each other.
_LABEL, _WIDE, _NARROW = "84px", "320px", "158px"
#: What a screen reader reads, and nobody's text but ours.
_STYLE = {"description_width": "34px"}


@dataclass
class Seen:
    """What some records have under a key."""

    n_records: int = 0
    kinds: set[type] = field(default_factory=set)
    #: Texts, and members of lists, as text, with how often they were seen.
    texts: Counter[str] = field(default_factory=Counter)
    #: Of lists: the kinds of their members.
    members: set[type] = field(default_factory=set)

    def names(self) -> tuple[str, ...]:
        """Return the kinds by the names that `FieldSummary` has."""
        return tuple(sorted(kind.__name__ for kind in self.kinds))

    @property
    def are_dates(self) -> bool:
        """Whether all of it is dates, as ISO 8601 writes them."""
        return self.kinds == {str} and all(instant(text) is not None for text in self.texts)


def look_at(metadatas: Iterable[Mapping[str, Any] | None]) -> dict[str, Seen]:
    """Return what some records have under each key."""
    found: dict[str, Seen] = {}
    for metadata in metadatas:
        for key, value in (metadata or {}).items():
            if value is None:
                continue
            seen = found.setdefault(key, Seen())
            seen.n_records += 1
            seen.kinds.add(type(value))
            members = value if isinstance(value, list) else []
            seen.members.update(map(type, members))
            seen.texts.update(str(one) for one in members or [value] if isinstance(one, _SHOWN))
    return found


def filter_control(w: Any, summary: FieldSummary, seen: Seen) -> FilterControl | None:
    """Return a control for a key; None where no simple one can filter by it.

    Args:
        w: The ipywidgets module.
        summary: What is known of all records' values; its `kinds` are, at least.
        seen: What some records have.
    """
    kinds = set(summary.kinds)
    if kinds == {"list"}:
        return None if bool in seen.members else TagControl(w, summary.key, seen)
    if kinds <= {"int", "float"}:
        if _has_few_steps(summary):
            return SliderControl(w, summary)
        return None if _is_one_value(summary) else NumbersControl(w, summary)
    if kinds <= {"str", "bool"} and 1 < len(summary.values) <= VALUES:
        return ChoiceControl(w, summary)
    if kinds == {"str"} and summary.n_distinct != 1:
        return DatesControl(w, summary.key) if seen.are_dates else TextControl(w, summary.key, seen)
    return None


def _has_few_steps(summary: FieldSummary) -> bool:
    low, high = summary.minimum, summary.maximum
    if summary.kinds != ("int",) or low is None or high is None:
        return False
    # A browser's numbers are floats.
    return 0 < high - low <= _STEPS and max(abs(low), abs(high)) <= 2**53


def _is_one_value(summary: FieldSummary) -> bool:
    return summary.minimum is not None and summary.minimum == summary.maximum


def _shown(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def distinct(options: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Return a menu's options with labels that differ: of equal ones a menu offers the last alone."""
    seen: Counter[str] = Counter()
    found = []
    for label, value in options:
        seen[label] += 1
        found.append((label if seen[label] == 1 else f"{label} · {seen[label]}", value))
    return found


class FilterControl(ABC):
    """What filters by one metadata key.

    Args:
        w: The ipywidgets module.
        key: The key.

    Attributes:
        key: The key.
        controls: The widgets whose `value` counts.
    """

    controls: Sequence[Any]

    def __init__(self, w: Any, key: str) -> None:
        self.key = key
        # A key is somebody's text: shown escaped beside the controls, never as a description.
        label = fill("label", label=shorten(key, 24), kind="r")
        self._label = w.HTML(label, layout=w.Layout(width=_LABEL))

    @property
    def parts(self) -> list[Any]:
        """Its widgets, in order."""
        return [self._label, *self.controls]

    def observe(self, changed: Callable[[Any], None]) -> None:
        """Call a function when the condition may have changed."""
        for control in self.controls:
            control.observe(changed, "value")

    @abstractmethod
    def conditions(self) -> list[dict[str, Any]]:
        """Return the conditions that the controls stand for; none where they let everything through.

        Raises:
            ValueError: Something else than a number is written where one is wanted.
        """


class ChoiceControl(FilterControl):
    """A menu of the values that there are."""

    def __init__(self, w: Any, summary: FieldSummary) -> None:
        super().__init__(w, summary.key)
        values = [(f"{shorten(_shown(value), 40)} ({n:,})", value) for value, n in summary.values]
        menu = w.Dropdown(
            options=distinct([("any", _ANY), *values]),
            description="is",
            layout=w.Layout(width=_WIDE),
            style=_STYLE,
        )
        self.controls = [menu]

    def conditions(self) -> list[dict[str, Any]]:
        value = self.controls[0].value
        return [] if value is _ANY else [{self.key: value}]


class SliderControl(FilterControl):
    """A range of few whole numbers."""

    def __init__(self, w: Any, summary: FieldSummary) -> None:
        super().__init__(w, summary.key)
        low, high = summary.minimum, summary.maximum
        slider = w.IntRangeSlider(
            min=low,
            max=high,
            value=(low, high),
            continuous_update=False,
            description="from",
            layout=w.Layout(width=_WIDE),
            style=_STYLE,
        )
        self.controls = [slider]

    def conditions(self) -> list[dict[str, Any]]:
        slider = self.controls[0]
        low, high = slider.value
        lower = [{self.key: {"$gte": low}}] if low > slider.min else []
        return lower + ([{self.key: {"$lte": high}}] if high < slider.max else [])


class _BoundsControl(FilterControl):
    """Two boxes: from, and to."""

    def __init__(self, w: Any, key: str, make: Callable[..., Any], *hints: dict[str, str]) -> None:
        super().__init__(w, key)
        self.controls = [
            make(description=name, layout=w.Layout(width=_NARROW), style=_STYLE, **hint)
            for name, hint in zip(("from", "to"), hints, strict=True)
        ]


class NumbersControl(_BoundsControl):
    """Numbers to type: a slider cannot meet one among many, or where most are in one corner."""

    def __init__(self, w: Any, summary: FieldSummary) -> None:
        bounds = (summary.minimum, summary.maximum)
        hints = [{} if one is None else {"placeholder": f"{one:.6g}"} for one in bounds]
        super().__init__(w, summary.key, w.Text, *hints)

    def conditions(self) -> list[dict[str, Any]]:
        return [
            {self.key: {operator: number}}
            for operator, control in zip(("$gte", "$lte"), self.controls, strict=True)
            if (number := _number(control.value)) is not None
        ]


class DatesControl(_BoundsControl):
    """Two days, the last of which is meant to its end."""

    def __init__(self, w: Any, key: str) -> None:
        super().__init__(w, key, w.DatePicker, {}, {})

    def conditions(self) -> list[dict[str, Any]]:
        first, last = (control.value for control in self.controls)
        found: list[dict[str, Any]] = []
        if first is not None:
            found.append({self.key: {"$gte": first.isoformat()}})
        if last is not None and last < datetime.date.max:
            after = last + datetime.timedelta(days=1)
            found.append({self.key: {"$lt": after.isoformat()}})
        return found


class TextControl(FilterControl):
    """A text to type, with some of those that there are to choose from."""

    description = "is"

    def __init__(self, w: Any, key: str, seen: Seen) -> None:
        super().__init__(w, key)
        options = [text for text, _ in seen.texts.most_common(VALUES) if text == text.strip()]
        box = w.Combobox(
            options=options,
            ensure_option=False,
            continuous_update=False,
            placeholder="any",
            description=self.description,
            layout=w.Layout(width=_WIDE),
            style=_STYLE,
        )
        self.controls = [box]

    def conditions(self) -> list[dict[str, Any]]:
        value = self.controls[0].value
        return [{self.key: value}] if value else []


class TagControl(TextControl):
    """A member of a list."""

    description = "has"

    def __init__(self, w: Any, key: str, seen: Seen) -> None:
        super().__init__(w, key, seen)
        self._are_texts = str in seen.members

    def conditions(self) -> list[dict[str, Any]]:
        text = self.controls[0].value
        value = text if self._are_texts else _number(text)
        return [{self.key: {"$contains": value}}] if value not in (None, "") else []


def _number(text: str) -> int | float | None:
    """Return the number that somebody typed; None where nothing is."""
    text = text.strip()
    if not text:
        return None
    try:
        return number_of(text)
    except ValueError:
        raise ValueError(f"Expected a number, got {shorten(text, 60)!r}.") from None
