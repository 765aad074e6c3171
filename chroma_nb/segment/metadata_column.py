"""`MetadataColumn`: the values of one metadata key over all labels, for filtering in memory."""

from __future__ import annotations

import sys
from array import array
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.filters.expression import Among, Compare, CompareDate, ListContains, unknown_leaf
from chroma_nb.filters.numbers import Bound, equal_numbers, float_bound, int_bound
from chroma_nb.scalars import SECOND, instant
from chroma_nb.segment.text_pool import grown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from chroma_nb.filters.expression import FieldLeaf

_MISSING, _TEXT, _INT, _FLOAT, _BOOL, _LIST, _SPARSE = range(7)
_PLAIN_KINDS: dict[type, int] = {str: _TEXT, int: _INT, float: _FLOAT, bool: _BOOL}
_COMPARISONS = {
    "==": np.equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "<": np.less,
    "<=": np.less_equal,
}
#: A key that fewer than one label in sixteen has is kept by its labels, not as an array over all.
_DENSE_SHARE = 16
#: Orders of dates, as of a date's seconds (first) and of its nanoseconds where the seconds are equal.
_DATE_ORDERS = {
    "$gt": (np.greater, np.greater),
    "$gte": (np.greater, np.greater_equal),
    "$lt": (np.less, np.less),
    "$lte": (np.less, np.less_equal),
}
#: Stands for the seconds of a text that is no date.
_NO_DATE = -(2**63)
#: A pool may hold this many values that nobody has any more, and as many again as there are places.
_SPARE_VALUES = 1_024


class MetadataColumn:
    """One kind (uint8) and one 64-bit payload per value: a code, an integer, a float's bits, a bool.

    Texts and lists are kept once each and known by a code. A column is dense (place = label) or, for a
    rare key, sparse (`labels` says whose a place is). Not safe for a writer beside readers: its owner
    keeps them apart.
    """

    def __init__(self, n_labels: int) -> None:
        self._n_labels = n_labels
        self._n_places = 0
        self._kinds = np.empty(0, dtype=np.uint8)
        self._payload = np.empty(0, dtype=np.int64)
        #: Sparse: the label of each place; None where place = label.
        self._labels: NDArray[np.int64] | None = np.empty(0, dtype=np.int64)
        self._place_of: dict[int, int] = {}
        self._texts: dict[str, int] = {}
        #: By the texts' codes: the seconds since 1970 of those that are dates, and the nanoseconds beyond
        #: them. Empty while no text is one.
        self._seconds = array("q")
        self._nanoseconds = array("i")
        self._lists: dict[tuple[Any, ...], int] = {}
        #: Bytes of what the two pools refer to; their own size comes on top.
        self._pooled_bytes = 0

    @classmethod
    def build(
        cls, n_labels: int, labels: NDArray[np.int64], values: Sequence[Any]
    ) -> MetadataColumn:
        """Return the column of these values.

        Args:
            n_labels: Labels in all.
            labels: Shape (n,), int64, each once: those that have a value.
            values: The n values.
        """
        column = cls(n_labels)
        kinds, payload = column._encode_all(values)
        if len(values) * _DENSE_SHARE >= n_labels:
            column._labels = None
            column._kinds = np.zeros(n_labels, dtype=np.uint8)
            column._payload = np.zeros(n_labels, dtype=np.int64)
            column._kinds[labels], column._payload[labels] = kinds, payload
            column._n_places = n_labels
        else:
            column._labels = labels.copy()
            column._kinds, column._payload = kinds, payload
            column._place_of = {label: place for place, label in enumerate(labels.tolist())}
            column._n_places = len(values)
        return column

    @property
    def nbytes(self) -> int:
        """Bytes of memory held."""
        arrays = self._kinds.nbytes + self._payload.nbytes
        if self._labels is not None:
            arrays += self._labels.nbytes + sys.getsizeof(self._place_of) + 64 * len(self._place_of)
        pools = sys.getsizeof(self._texts) + sys.getsizeof(self._lists)
        dates = sys.getsizeof(self._seconds) + sys.getsizeof(self._nanoseconds)
        return arrays + pools + dates + self._pooled_bytes

    def resize(self, n_labels: int) -> None:
        """Make room for labels 0 .. n_labels - 1; new ones have no value."""
        self._n_labels = n_labels
        if self._labels is None:
            self._reserve(n_labels)
            self._n_places = n_labels

    def _reserve(self, n_places: int) -> None:
        if n_places > len(self._kinds):
            capacity = n_places + n_places // 8 + 16
            self._kinds = grown(self._kinds, capacity, _MISSING)
            self._payload = grown(self._payload, capacity, 0)
            if self._labels is not None:
                self._labels = grown(self._labels, capacity, 0)

    def set(self, label: int, value: Any) -> None:
        """Set the value of a label that `resize` has made room for."""
        place = self._place(label)
        self._kinds[place], self._payload[place] = self._encode(value)
        if len(self._texts) + len(self._lists) > 2 * self._n_places + _SPARE_VALUES:
            self._forget_unused()

    def clear(self, labels: NDArray[np.int64]) -> None:
        """Take the values of labels away."""
        if self._labels is None:
            self._kinds[labels] = _MISSING
            return
        # Whichever are fewer.
        if len(labels) < len(self._place_of):
            places = [self._place_of[one] for one in labels.tolist() if one in self._place_of]
        else:
            places = np.flatnonzero(np.isin(self._labels[: self._n_places], labels)).tolist()
        self._kinds[places] = _MISSING

    def _place(self, label: int) -> int:
        if self._labels is None:
            return label
        place = self._place_of.get(label)
        if place is None:
            if (self._n_places + 1) * _DENSE_SHARE > self._n_labels + 1_024:
                self._make_dense()
                return label
            place = self._n_places
            self._reserve(place + 1)
            assert self._labels is not None
            self._labels[place] = label
            self._place_of[label] = place
            self._n_places += 1
        return place

    def _make_dense(self) -> None:
        assert self._labels is not None
        labels = self._labels[: self._n_places]
        kinds = np.zeros(self._n_labels, dtype=np.uint8)
        payload = np.zeros(self._n_labels, dtype=np.int64)
        kinds[labels] = self._kinds[: self._n_places]
        payload[labels] = self._payload[: self._n_places]
        self._kinds, self._payload, self._labels = kinds, payload, None
        self._place_of = {}
        self._n_places = self._n_labels

    def _encode_all(self, values: Sequence[Any]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        types = set(map(type, values))
        if len(types) == 1 and (kind := _PLAIN_KINDS.get(types.pop())) is not None:
            # A key has values of one kind, as a rule.
            if kind == _TEXT:
                codes = map(self._text_code, values)
                payload = np.fromiter(codes, dtype=np.int64, count=len(values))
            elif kind == _FLOAT:
                payload = np.array(values, dtype=np.float64).view(np.int64)
            else:
                payload = np.array(values, dtype=np.int64)
            return np.full(len(values), kind, dtype=np.uint8), payload
        kinds = np.empty(len(values), dtype=np.uint8)
        payload = np.empty(len(values), dtype=np.int64)
        for row, value in enumerate(values):
            kinds[row], payload[row] = self._encode(value)
        return kinds, payload

    def _encode(self, value: Any) -> tuple[int, int]:
        if isinstance(value, str):
            return _TEXT, self._text_code(value)
        if isinstance(value, bool):
            return _BOOL, int(value)
        if isinstance(value, int):
            return _INT, value
        if isinstance(value, float):
            return _FLOAT, int(np.float64(value).view(np.int64))
        if isinstance(value, dict):
            # A sparse vector: it is there, and no condition is about what it has.
            return _SPARSE, 0
        # The kind goes in front: (1,), (1.0,) and (True,) are equal tuples.
        key = (type(value[0]).__name__, *value)
        code = self._lists.get(key)
        if code is None:
            code = self._lists[key] = len(self._lists)
            self._pooled_bytes += _size_of_list(key)
        return _LIST, code

    def _text_code(self, text: str) -> int:
        code = self._texts.get(text)
        if code is None:
            code = self._texts[text] = len(self._texts)
            self._pooled_bytes += sys.getsizeof(text) + sys.getsizeof(code)
            self._note_date(instant(text), code)
        return code

    def _note_date(self, moment: int | None, code: int) -> None:
        """Keep the moment of a new text; nothing is kept before the first text that is a date."""
        if moment is None and not self._seconds:
            return
        n_before = code - len(self._seconds)
        self._seconds.extend([_NO_DATE] * n_before)
        self._nanoseconds.extend([0] * n_before)
        seconds, nanoseconds = (_NO_DATE, 0) if moment is None else divmod(moment, SECOND)
        self._seconds.append(seconds)
        self._nanoseconds.append(nanoseconds)

    def _forget_unused(self) -> None:
        """Drop pooled values that no place refers to any more; the rest gets new codes."""
        kinds, payload = self._kinds[: self._n_places], self._payload[: self._n_places]
        of_text, of_list = kinds == _TEXT, kinds == _LIST
        used_texts, payload[of_text] = np.unique(payload[of_text], return_inverse=True)
        used_lists, payload[of_list] = np.unique(payload[of_list], return_inverse=True)
        texts, lists = list(self._texts), list(self._lists)
        self._texts = {texts[old]: new for new, old in enumerate(used_texts.tolist())}
        if self._seconds:
            self._seconds = array("q", [self._seconds[old] for old in used_texts.tolist()])
            self._nanoseconds = array("i", [self._nanoseconds[old] for old in used_texts.tolist()])
        self._lists = {lists[old]: new for new, old in enumerate(used_lists.tolist())}
        self._pooled_bytes = sum(
            sys.getsizeof(text) + sys.getsizeof(code) for text, code in self._texts.items()
        ) + sum(map(_size_of_list, self._lists))

    def match(self, leaf: FieldLeaf) -> NDArray[np.bool_]:
        """Return which labels match, shape (n_labels,), bool; `negated` is not looked at."""
        places = self._match_places(leaf)
        if self._labels is None:
            return places
        mask = np.zeros(self._n_labels, dtype=bool)
        mask[self._labels[: self._n_places][places]] = True
        return mask

    def _match_places(self, leaf: FieldLeaf) -> NDArray[np.bool_]:
        kinds = self._kinds[: self._n_places]
        payload = self._payload[: self._n_places]
        if isinstance(leaf, CompareDate):
            return self._compare_dates(leaf, kinds, payload)
        if isinstance(leaf, ListContains):
            name = type(leaf.value).__name__
            codes = [
                code
                for key, code in self._lists.items()
                if key[0] == name and leaf.value in key[1:]
            ]
            return _both(kinds == _LIST, np.isin(payload, codes))
        if isinstance(leaf, Compare):
            return self._compare(leaf.op, leaf.value, kinds, payload)
        if isinstance(leaf, Among):
            return self._equals_one(leaf, kinds, payload)
        raise unknown_leaf(leaf)

    def _equals_one(
        self, leaf: Among, kinds: NDArray[np.uint8], payload: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        if isinstance(leaf.values[0], str):
            texts = [self._texts.get(str(value), -1) for value in leaf.values]
            return _both(kinds == _TEXT, np.isin(payload, texts))
        if isinstance(leaf.values[0], bool):
            return _both(kinds == _BOOL, np.isin(payload, [int(value) for value in leaf.values]))
        ints, floats = equal_numbers(leaf.values)
        mask = _both(kinds == _INT, np.isin(payload, np.array(ints, dtype=np.int64)))
        if (kinds == _FLOAT).any():
            mask |= _both(kinds == _FLOAT, np.isin(payload.view(np.float64), floats))
        return mask

    def _compare_dates(
        self, leaf: CompareDate, kinds: NDArray[np.uint8], payload: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        if not self._seconds:
            return np.zeros(len(kinds), dtype=bool)
        seconds = np.array(self._seconds, dtype=np.int64)
        nanoseconds = np.array(self._nanoseconds, dtype=np.int32)
        second, nanosecond = divmod(leaf.moment, SECOND)
        first, then = _DATE_ORDERS[leaf.op]
        matching = first(seconds, second) | ((seconds == second) & then(nanoseconds, nanosecond))
        matching &= seconds != _NO_DATE
        mask: NDArray[np.bool_] = kinds == _TEXT
        mask[mask] = matching[payload[mask]]
        return mask

    def _compare(
        self,
        op: str,
        value: Any,
        kinds: NDArray[np.uint8],
        payload: NDArray[np.int64],
    ) -> NDArray[np.bool_]:
        if isinstance(value, str):
            code = self._texts.get(value)
            if code is None:
                return np.zeros(len(kinds), dtype=bool)
            return _both(kinds == _TEXT, payload == code)
        if isinstance(value, bool):
            return _both(kinds == _BOOL, payload == int(value))
        ints = _apply(int_bound(op, value), payload)
        floats = _apply(float_bound(op, value), payload.view(np.float64))
        mask: NDArray[np.bool_] = (kinds == _INT) & ints
        if (kinds == _FLOAT).any():
            mask |= (kinds == _FLOAT) & floats
        return mask


def _size_of_list(key: tuple[Any, ...]) -> int:
    # Its first item, the name of a kind, is one object for all.
    return sys.getsizeof(key) + sum(map(sys.getsizeof, key[1:])) + sys.getsizeof(0)


def _both(left: NDArray[np.bool_], right: NDArray[np.bool_]) -> NDArray[np.bool_]:
    result: NDArray[np.bool_] = np.logical_and(left, right)
    return result


def _apply(bound: Bound, values: NDArray[Any]) -> NDArray[np.bool_]:
    if bound.op in ("none", "all"):
        return np.full(len(values), bound.op == "all")
    result: NDArray[np.bool_] = _COMPARISONS[bound.op](values, bound.operand)
    return result
