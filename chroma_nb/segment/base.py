"""`MetadataReader` and `VectorReader`: the two halves of a segment.

A segment is the derived part of one collection, what is in memory (or mapped) to answer from. It can
be dropped at any time and made again from the DB.
"""

from __future__ import annotations

import copy
import json
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.api.scanning import ScanPiece
from chroma_nb.db.stored_metadata import check_metadatas
from chroma_nb.memory.sizes import objects_bytes, utf8_length

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from chroma_nb.db.base import RecordRows
    from chroma_nb.filters.expression import Expression
    from chroma_nb.search.sparse import SparseVector
    from chroma_nb.segment.planner import Plan
    from chroma_nb.types import Neighbors


#: What is asked of records -> the DB's column.
COLUMNS = {"documents": "document", "uris": "uri", "metadatas": "metadata"}
#: How many records an answer's size is judged by, and how much of them is read for that at most.
_SAMPLE = 32
_SAMPLE_BYTES = 2 << 20
#: Up to so many labels, Python finds quicker than numpy whether one is there twice.
_FEW_LABELS = 64
#: What a Python string takes beside its letters: one of ASCII alone, any other.
_ASCII_HEADER = sys.getsizeof("")
_OTHER_HEADER = sys.getsizeof("\u20ac") - 2


@dataclass
class RecordTexts:
    """The texts of some records, in the order in which they were asked for. None was not asked for."""

    ids: list[str]
    documents: list[str | None] | None = None
    uris: list[str | None] | None = None
    metadatas: list[dict[str, Any] | None] | None = None

    def at(self, places: Sequence[int]) -> RecordTexts:
        """Return the records at these positions. A repeated record shares its texts; its metadata is a dict of its own."""
        seen: set[int] = set()
        metadatas = self.metadatas
        if metadatas is not None:
            first = metadatas
            metadatas = []
            for at in places:
                metadata = first[at]
                metadatas.append(copy.deepcopy(metadata) if at in seen else metadata)
                seen.add(at)
        return RecordTexts(
            [self.ids[at] for at in places],
            None if self.documents is None else [self.documents[at] for at in places],
            None if self.uris is None else [self.uris[at] for at in places],
            metadatas,
        )


def all_differ(labels: NDArray[np.int64]) -> bool:
    """Say whether no label is there twice."""
    if len(labels) <= _FEW_LABELS:
        return len(set(labels.tolist())) == len(labels)
    # Those of a `get` rise, so that they need not be sorted.
    return bool((labels[1:] > labels[:-1]).all()) or len(np.unique(labels)) == len(labels)


class MetadataReader(ABC):
    """Ids, documents, uris and metadata of one collection, by label."""

    @property
    @abstractmethod
    def n_labels(self) -> int:
        """Labels 0 .. n_labels - 1 may be alive."""

    @property
    @abstractmethod
    def n_live(self) -> int:
        """Records."""

    @abstractmethod
    def find(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Return the label of each id: int64, shape (len(ids),), -1 where there is none."""

    @abstractmethod
    def select(
        self,
        expression: Expression | None = None,
        *,
        ids: Sequence[str] | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> NDArray[np.int64]:
        """Return the labels of the matching records in storage order: int64, shape (n,). See `DB.select`."""

    @abstractmethod
    def mask(
        self, expression: Expression | None, ids: Sequence[str] | None
    ) -> NDArray[np.bool_] | None:
        """Return which labels match and are alive: bool, shape (n_labels,). None where all labels do."""

    @abstractmethod
    def sequences(self) -> NDArray[np.int64] | None:
        """Return the place in storage order of each label: int64, shape (n_labels,). None where labels are in order."""

    @abstractmethod
    def read(
        self,
        labels: NDArray[np.int64],
        include: Sequence[str],
        measured: Callable[[float, int], None] | None = None,
    ) -> RecordTexts:
        """Return the ids of these labels, and what else is asked for.

        Args:
            labels: int64, shape (n,); labels may be repeated.
            include: Of ``documents``, ``uris`` and ``metadatas``; other words are ignored. Metadata is a new dict
                each time.
            measured: Called after each piece of long texts with the share that was read, and the bytes that the
                texts take as objects. A text with one emoji takes four bytes for each of its characters.
        """

    def columns(
        self,
        labels: NDArray[np.int64],
        include: Sequence[str],
        measured: Callable[[float, int], None] | None = None,
    ) -> ScanPiece:
        """Return what `read` returns as columns: metadata as JSON text.

        Args:
            labels: int64, shape (n,), each once.
            include: As for `read`.
            measured: As for `read`.

        Raises:
            StoreCorruptError: Metadata cannot be read.
        """
        names = ["id", *(COLUMNS[name] for name in include if name in COLUMNS)]
        return piece_of(self.texts(labels, names))

    @abstractmethod
    def sparse_distances(
        self, key: str, query: SparseVector, *, idf: bool, mask: NDArray[np.bool_] | None
    ) -> NDArray[np.float32]:
        """Return 1 - dot(query, record) for each label: float32, shape (n_labels,).

        It is NaN for a record that shares no index with the query, has no such vector, or is not in the mask. Values of
        records count as float32; products are added in float64 in the order of the indices.

        Args:
            key: A metadata key whose values are sparse vectors; or ``"#document"``: the vectors are BM25 weights of the
                documents' words (`embedding/document_words.py`), and need not be stored.
            query: What is looked for.
            idf: Weigh the query's values by how rare each index is among all records (`embedding.bm25_weights.rarity`).
            mask: bool, shape (n_labels,); None is all records.

        Raises:
            InvalidArgumentError: A value of the query is not finite or too large for 32 bits, or an index has more than 32 bits.
            MemoryBudgetError: There is no room for numbers of all labels.
        """

    @property
    def sparse_keys(self) -> frozenset[str]:
        """The keys whose sparse vectors, or words, have an index in memory."""
        return frozenset()

    @property
    @abstractmethod
    def longest(self) -> int:
        """UTF-8 bytes that the texts of one record have at most."""

    @abstractmethod
    def text_bytes(self, labels: NDArray[np.int64], include: Sequence[str]) -> int:
        """Return the UTF-8 bytes of what `read` would return; where they are not at hand, an estimate by the average.

        Args:
            labels: int64, shape (n,).
            include: As for `read`.
        """

    def answer_bytes(self, labels: NDArray[np.int64], include: Sequence[str]) -> int:
        """Return the bytes that the objects take that `read` would return, estimated by a sample.

        Args:
            labels: int64, shape (n,).
            include: As for `read`.
        """
        once = np.unique(labels)
        if not len(once):
            return 0
        average = max(1, self.text_bytes(once, include) // len(once))
        n_some = min(len(once), _SAMPLE, max(1, _SAMPLE_BYTES // average))
        some = self.read(once[:: len(once) // n_some][:n_some], include)
        total = 8 * (1 + len(include)) * len(labels)
        for name, column, wanted in (
            ("", some.ids, once),
            ("documents", some.documents, once),
            ("uris", some.uris, once),
            ("metadatas", some.metadatas, labels),
        ):
            if column is not None:
                n_bytes = objects_bytes(column)
                # By the column's own text as well: those of the sample may be short by chance.
                text = self.text_bytes(wanted, (name,)) - (
                    self.text_bytes(wanted, ()) if name else 0
                )
                length = sum(map(_text_bytes, column))
                # What each text takes beside its letters does not grow with them: short texts say nothing of long ones.
                headers = sum(map(_header_bytes, column))
                by_text = headers * len(wanted) // len(column)
                by_text += text * (n_bytes - headers) // max(1, length)
                total += max(n_bytes * len(wanted) // len(column), by_text)
        return total

    @abstractmethod
    def stored(self, labels: NDArray[np.int64], columns: Sequence[str]) -> RecordRows:
        """Return records as the DB holds them, for an update or a scan: their numbers, and these columns.

        Args:
            labels: int64, shape (n,), each once.
            columns: Of ``id``, ``document``, ``uri`` and ``metadata``; the others are empty.
        """

    def texts(
        self, labels: NDArray[np.int64], columns: Sequence[str]
    ) -> dict[str, Sequence[str | None]]:
        """Return columns of records as the DB holds them, for a scan, by their names.

        Args:
            labels: int64, shape (n,), each once. One that has no record is left out.
            columns: Of ``id``, ``document``, ``uri`` and ``metadata``.
        """
        rows = self.stored(labels, columns)
        found: dict[str, Sequence[str | None]] = {
            "id": rows.ids,
            "document": rows.documents,
            "uri": rows.uris,
            "metadata": rows.metadatas,
        }
        return {name: found[name] for name in columns}


def piece_of(texts: Mapping[str, Any]) -> ScanPiece:
    """Return columns that `MetadataReader.texts` gave as records.

    Raises:
        StoreCorruptError: Metadata cannot be read.
    """
    check_metadatas(texts.get("metadata") or ())
    return ScanPiece(
        texts["id"],
        documents=texts.get("document"),
        metadatas=texts.get("metadata"),
        uris=texts.get("uri"),
    )


class VectorReader(ABC):
    """Nearest-neighbour search over one collection's vectors."""

    @abstractmethod
    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        *,
        plan: Plan,
        mask: NDArray[np.bool_] | None,
        order: NDArray[np.int64] | None,
    ) -> Neighbors:
        """Find the k nearest live vectors of each query, as the plan says.

        Args:
            queries: Shape (n_queries, dimension), float32, C-contiguous.
            k: Neighbours wanted for each query, at least 1.
            plan: What `planner.plan` chose.
            mask: Shape (n_labels,), bool: labels that may be returned; None is all of them.
            order: Shape (n_labels,), int64: ties come in this order; None: by label.

        Returns:
            Exactly min(k, allowed labels) neighbours in each row: labels int64, distances float32.
        """


def _header_bytes(value: str | dict[str, Any] | None) -> int:
    """Return what a text takes beside its letters; 0 for metadata, whose values have a header each."""
    if not isinstance(value, str):
        return 0
    return _ASCII_HEADER if value.isascii() else _OTHER_HEADER


def _text_bytes(value: str | dict[str, Any] | None) -> int:
    """Return the UTF-8 bytes of a text, or of metadata as the DB holds it."""
    if isinstance(value, dict):
        return utf8_length(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    return utf8_length(value)
