"""`Edits`: changing one metadata value of a record, after a look at what is there, and taking it back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chroma_nb import validation
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.harmless import clean
from chroma_nb.search.sparse import SparseVector
from chroma_nb.widgets.asking import number_of
from chroma_nb.widgets.table.drawing import cut
from chroma_nb.words import brief

if TYPE_CHECKING:
    from collections.abc import Callable

    from chroma_nb.collection.collection import Collection
    from chroma_nb.widgets.table.sources import Record

#: Characters of a text that can be changed in the table.
_EDITED = 10_000
#: The kinds of a value by their names in the table. The last takes the key from the record.
KINDS = ("text", "integer", "decimal", "true or false", "list", "no value")
_NAMES = {"str": KINDS[0], "int": KINDS[1], "float": KINDS[2], "bool": KINDS[3], "list": KINDS[4]}


class _Missing:
    """The key is not in the metadata."""

    def __repr__(self) -> str:
        return "no value"


MISSING = _Missing()


@dataclass(frozen=True)
class Draft:
    """A value that somebody is about to change.

    Attributes:
        seen: The record as it was then.
        text: The value, as it stands in the box.
        kind: One of `KINDS`.
    """

    seen: Record
    key: str
    text: str
    kind: str

    def described(self) -> dict[str, Any]:
        """Return the box to change it in, as the browser draws it."""
        return {
            "key": self.seen.key,
            "column": f"metadata:{self.key}",
            "label": cut(self.key, 60),
            "id": cut(self.seen.id, 60),
            "text": self.text,
            "kind": self.kind,
            "kinds": list(KINDS),
        }


@dataclass(frozen=True)
class Change:
    """A change of one value: `old` and `new` may be `MISSING`."""

    seen: Record
    key: str
    old: Any
    new: Any

    def described(self) -> dict[str, Any]:
        """Return what is asked before it is saved."""
        return {
            "id": cut(self.seen.id, 200),
            "label": cut(self.key, 200),
            "old": clean(said(self.old)),
            "new": clean(said(self.new)),
        }


class Edits:
    """The changes made in one table.

    Args:
        collection: Where the records are.
        record: Returns a record as it is now, None where it is gone.
    """

    def __init__(self, collection: Collection, record: Callable[[str], Record | None]) -> None:
        self._collection = collection
        self._record = record
        self._done: list[Change] = []

    def __len__(self) -> int:
        """Return how many changes can be taken back."""
        return len(self._done)

    @property
    def last(self) -> Change | None:
        """The change that `undo` takes back."""
        return self._done[-1] if self._done else None

    def start(self, shown: Record, key: str) -> Draft:
        """Return a value as it can be changed.

        Args:
            shown: The record as the table shows it.
            key: The metadata key.

        Raises:
            InvalidArgumentError: The record has changed since, or the value cannot be changed in a table.
        """
        seen = self._same(shown)
        value = (seen.metadata or {}).get(key, MISSING)
        if isinstance(value, SparseVector):
            raise InvalidArgumentError(
                "A sparse vector cannot be changed in a table: use collection.update()."
            )
        text = _written(value)
        if len(text) > _EDITED:
            raise InvalidArgumentError(
                f"This value has {len(text):,} characters. A table changes up to {_EDITED:,}: use collection.update()."
            )
        if "\r" in text or clean(text) != text:
            raise InvalidArgumentError(
                "This value has characters that a text box would change. Use collection.update()."
            )
        kind = KINDS[0] if value is MISSING else _NAMES[type(value).__name__]
        return Draft(seen, key, text, kind)

    def propose(self, draft: Draft, text: str, kind: str) -> Change:
        """Return what a changed text would do; nothing is written.

        Raises:
            InvalidArgumentError: The text is no value of that kind, or it is the same value.
            ValueError: Metadata cannot hold it.
        """
        old = (draft.seen.metadata or {}).get(draft.key, MISSING)
        new = _parsed(text, kind, old)
        if type(new) is type(old) and new == old:
            raise InvalidArgumentError("The value is the same: nothing to change.")
        if new is not MISSING:
            validation.check_update([draft.seen.id], None, [{draft.key: new}], None, None, None)
        return Change(draft.seen, draft.key, old, new)

    def apply(self, change: Change) -> None:
        """Write a change.

        Raises:
            InvalidArgumentError: The record has changed since it was looked at. Nothing was written.
        """
        self._same(change.seen)
        self._write(change.seen.id, change.key, change.new)
        self._done.append(change)

    def undo(self) -> Change:
        """Take the last change back; a key that was not there is removed again.

        Raises:
            InvalidArgumentError: There is none, or the value has been changed since. Nothing was written.
        """
        if not self._done:
            raise InvalidArgumentError("There is no change to take back.")
        change = self._done[-1]
        now = self._record(change.seen.key)
        value = MISSING if now is None else (now.metadata or {}).get(change.key, MISSING)
        if now is None or type(value) is not type(change.new) or value != change.new:
            self._done.pop()
            what = "was deleted" if now is None else "has another value by now"
            raise InvalidArgumentError(
                f"Not taken back: {brief(change.key, 60)} of {brief(change.seen.id, 60)} {what}, and stays as it is."
            )
        self._write(change.seen.id, change.key, change.old)
        return self._done.pop()

    def _same(self, seen: Record) -> Record:
        """Return a record as it is now, if that is what was seen."""
        now = self._record(seen.key)
        name = brief(seen.id, 60)
        if now is None:
            raise InvalidArgumentError(f"Not changed: {name} was deleted meanwhile.")
        # Equal and of one kind: 1, 1.0 and True are equal.
        if repr(now.metadata) != repr(seen.metadata) or (
            seen.document is not None and now.document != seen.document
        ):
            raise InvalidArgumentError(
                f"Not changed: {name} was changed by somebody else meanwhile. The table shows it as it is now; "
                "look again."
            )
        return now

    def _write(self, id_: str, key: str, value: Any) -> None:
        # None takes a key away.
        self._collection.update(ids=[id_], metadatas=[{key: None if value is MISSING else value}])


def said(value: Any) -> str:
    """Return a value as a question names it: a text in quotes, so that 1 and "1" are two."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return brief(json.dumps(value, ensure_ascii=False) if value is not MISSING else value, 300)


def _written(value: Any) -> str:
    """Return a value as it stands in a box, to the last digit."""
    if value is MISSING:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else str(value)


def _parsed(text: str, kind: str, old: Any) -> Any:
    """Return the value that a text stands for."""
    if kind == "no value":
        return MISSING
    if kind == "text":
        return text
    stripped = text.strip()
    try:
        if kind == "integer":
            return int(stripped)
        if kind == "decimal":
            return float(number_of(stripped))
        if kind == "true or false":
            return {"true": True, "false": False}[stripped.lower()]
        if kind == "list":
            return _list(json.loads(stripped), old)
    except (KeyError, ValueError, OverflowError):
        wanted = {"list": 'a list, such as ["a", "b"]', "true or false": "true or false"}
        raise InvalidArgumentError(
            f"Expected {wanted.get(kind, 'a number of the kind ' + kind)}, got {brief(text, 80)!r}."
        ) from None
    raise InvalidArgumentError(
        f"There is no kind of values {brief(kind, 40)!r}: {', '.join(KINDS)}."
    )


def _list(values: Any, old: Any) -> list[Any]:
    if not isinstance(values, list):
        raise ValueError(values)
    was_floats = isinstance(old, list) and all(isinstance(one, float) for one in old)
    if was_floats and all(type(one) is int for one in values):
        return [float(one) for one in values]
    return values
