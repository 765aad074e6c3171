"""`SparseVector`: a vector of which only some entries are not zero.

In metadata that is stored or sent it is a dict with a tag, as on Chroma's wire (`SparseVector.to_dict`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import islice
from operator import lt
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.boundary import public_call, public_class
from chroma_nb.search.shown import shown
from chroma_nb.special_keys import SPARSE_VECTOR_TYPE_VALUE, TYPE_KEY, is_tagged
from chroma_nb.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: The largest index that is stored or asked for, and the largest value: Chroma's server keeps 32 bits of each.
MOST_INDEX = 2**32 - 1
MOST_VALUE = float(np.finfo(np.float32).max)
#: What the wire's form may have.
MEMBERS = (TYPE_KEY, "indices", "values", "tokens")

#: A number is written once where each stands so many times among others, on average.
_REPEATED = 2


class StoredVector(dict[str, Any]):
    """A checked sparse vector in the wire's form, with its JSON text. Nobody changes it.

    Attributes:
        json: The text, compact.
    """

    __slots__ = ("json",)

    json: str


def stored_vectors(
    indices: list[int], values: list[float], ends: Iterable[int]
) -> list[StoredVector]:
    """Return vectors without labels as they are stored, unchecked.

    Args:
        indices: The indices of all, one vector after the other.
        values: Their values.
        ends: Where each vector ends.
    """
    index_texts, value_texts = list(map(repr, indices)), _number_texts(values)
    out = []
    start = 0
    for end in ends:
        stored = StoredVector(
            {
                TYPE_KEY: SPARSE_VECTOR_TYPE_VALUE,
                "indices": indices[start:end],
                "values": values[start:end],
            }
        )
        stored.json = (
            f'{{"{TYPE_KEY}":"{SPARSE_VECTOR_TYPE_VALUE}","indices":[{",".join(index_texts[start:end])}],'
            f'"values":[{",".join(value_texts[start:end])}]}}'
        )
        out.append(stored)
        start = end
    return out


def _number_texts(numbers: list[float]) -> list[str]:
    """Return the JSON of numbers. Those of words are few different ones, and to write one takes long."""
    different = {*numbers}
    # Zero has two forms, which are equal.
    if _REPEATED * len(different) > len(numbers) or 0.0 in different:
        return list(map(repr, numbers))
    texts = dict(zip(different, map(repr, different), strict=True))
    return list(map(texts.__getitem__, numbers))


@public_class
@dataclass
class SparseVector:
    """A vector of which only some entries are not zero.

    Args:
        indices: Ascending, at least 0.
        values: One number for each index.
        labels: What each index stands for, or None.

    Raises:
        ValueError: Lengths that differ, indices out of order, or something else than numbers.
    """

    indices: list[int]
    values: list[float]
    labels: list[str] | None = None

    def __post_init__(self) -> None:
        self.indices = list(map(int, _plain("indices", self.indices, int)))
        self.values = _plain("values", self.values, int, float)
        if len(self.indices) != len(self.values):
            raise ValueError(
                "SparseVector indices and values must have the same length, got "
                f"{len(self.indices)} indices and {len(self.values)} values"
            )
        if self.labels is not None:
            self.labels = _plain("labels", self.labels, str)
            if len(self.labels) != len(self.indices):
                raise ValueError(
                    "SparseVector labels must have the same length as indices, got "
                    f"{len(self.labels)} labels and {len(self.indices)} indices"
                )
        if not self.indices or (
            self.indices[0] >= 0 and all(map(lt, self.indices, islice(self.indices, 1, None)))
        ):
            return
        last = -1
        for position, index in enumerate(self.indices):
            if index < 0:
                raise ValueError(
                    f"SparseVector indices must be non-negative, got {index} at position {position}"
                )
            if index <= last:
                raise ValueError(
                    "SparseVector indices must be sorted in strictly ascending order, found "
                    f"indices[{position}]={index} <= indices[{position - 1}]={last}"
                )
            last = index

    def to_dict(self) -> dict[str, Any]:
        """Return the vector as on Chroma's wire."""
        out: dict[str, Any] = {
            TYPE_KEY: SPARSE_VECTOR_TYPE_VALUE,
            "indices": self.indices,
            "values": self.values,
        }
        if self.labels is not None:
            out["tokens"] = self.labels
        return out

    def __str__(self) -> str:
        """Return the wire's form as JSON, which a CSV file can hold."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    @classmethod
    def of_plain(
        cls, indices: list[int], values: list[float], labels: list[str] | None = None
    ) -> SparseVector:
        """Return a vector of lists that are known to be right, unchecked: of a hundred thousand documents, say."""
        vector = cls.__new__(cls)
        vector.indices, vector.values, vector.labels = indices, values, labels
        return vector

    @staticmethod
    @public_call
    def from_dict(data: Mapping[str, Any]) -> SparseVector:
        """Read a vector from the wire's form.

        Raises:
            ValueError: It is not tagged as a sparse vector, is none, or has a member that no sparse vector has.
        """
        if not is_tagged(data):
            raise ValueError(
                f"Expected a dict with #type 'sparse_vector', got {str(data)[:100]} ({type(data).__name__})"
            )
        if "indices" not in data or "values" not in data:
            raise ValueError(
                f"Expected a sparse vector to have indices and values, got {', '.join(map(str, data))[:100]}"
            )
        for name in data:
            if name not in MEMBERS:
                raise ValueError(
                    f"Unknown member of a sparse vector: {shown(name)}.{did_you_mean(name, MEMBERS)} It has indices, "
                    "values and tokens, which are its labels."
                )
        return SparseVector(data["indices"], data["values"], data.get("tokens"))


def of_known_members(data: Mapping[str, Any]) -> SparseVector:
    """Read what somebody else has written or sent, who may know more members.

    Raises:
        ValueError: It is no sparse vector.
    """
    return SparseVector.from_dict({name: data[name] for name in MEMBERS if name in data})


def revive(metadatas: Iterable[dict[str, Any] | None] | None) -> None:
    """Put sparse vectors in the place of their wire's form, in metadata that was read; other values stay."""
    for metadata in metadatas or ():
        if metadata and dict in map(type, metadata.values()):
            for key, value in metadata.items():
                if is_tagged(value):
                    metadata[key] = _revived(value)


def _revived(value: dict[str, Any]) -> Any:
    """Return the vector; what is none, as somebody else has written it, as it is."""
    indices, values, labels = value.get("indices"), value.get("values"), value.get("tokens")
    lists = [one for one in (indices, values, labels) if one is not None]
    if indices is None or values is None or {*map(type, lists)} != {list}:
        return value
    if not value.keys() <= {*MEMBERS}:
        return value
    return SparseVector.of_plain(indices, values, labels) if len({*map(len, lists)}) == 1 else value


def as_sparse_vector(value: Any) -> SparseVector | None:
    """Return a sparse vector, ours or of chromadb's class of that name, as ours; None for anything else.

    Raises:
        ValueError: Another class's vector is none.
    """
    if isinstance(value, SparseVector):
        return value
    if type(value).__name__ != "SparseVector" or not type(value).__module__.startswith("chromadb."):
        return None
    return SparseVector(value.indices, value.values, value.labels)


#: What each part of a vector holds, as an error says it.
_KINDS = {"indices": "integers", "values": "numbers", "labels": "strings"}


def _plain(name: str, values: Any, *kinds: type) -> list[Any]:
    """Return a list of Python's own numbers or texts.

    Raises:
        ValueError: It is no list, tuple or array of one dimension, or not of these kinds.
    """
    if isinstance(values, np.ndarray) and values.ndim:
        values = values.tolist()
    if not isinstance(values, list | tuple):
        raise ValueError(f"Expected SparseVector {name} to be a list, got {type(values).__name__}")
    if {*map(type, values)} <= {*kinds}:
        return list(values)
    plain = [one.item() if isinstance(one, np.generic) else one for one in values]
    for position, one in enumerate(plain):
        if not isinstance(one, kinds):
            raise ValueError(
                f"SparseVector {name} must be {_KINDS[name]}, got "
                f"{str(one)[:100]} ({type(one).__name__}) at position {position}"
            )
    return plain
