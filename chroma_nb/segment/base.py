"""`MetadataReader` and `VectorReader`: the two halves of a segment.

A segment is the derived part of one collection, what is in memory (or mapped) to answer from. It can
be dropped at any time and made again from the DB.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from chroma_nb.filters.expression import Expression
    from chroma_nb.segment.planner import Plan
    from chroma_nb.types import Neighbors


@dataclass(frozen=True)
class StoredRecord:
    """One record as a writer needs it to merge an update into it."""

    label: int
    sequence: int
    id: str
    document: str | None
    uri: str | None
    metadata: dict[str, Any] | None


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
        """Return the label of each id, shape (len(ids),), -1 where there is none."""

    @abstractmethod
    def select(
        self,
        expression: Expression | None = None,
        *,
        ids: Sequence[str] | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> NDArray[np.int64]:
        """Return the labels of the matching records in storage order, int64."""

    @abstractmethod
    def mask(
        self, expression: Expression | None, ids: Sequence[str] | None
    ) -> NDArray[np.bool_] | None:
        """Return which labels match and are alive, shape (n_labels,); None where all labels do."""

    @abstractmethod
    def sequences(self) -> NDArray[np.int64] | None:
        """Return the place in storage order of each label; None where it is the label's own order."""

    @abstractmethod
    def ids(self, labels: NDArray[np.int64]) -> list[str]:
        """Return the ids of these labels."""

    @abstractmethod
    def documents(self, labels: NDArray[np.int64]) -> list[str | None]:
        """Return the documents of these labels."""

    @abstractmethod
    def uris(self, labels: NDArray[np.int64]) -> list[str | None]:
        """Return the uris of these labels."""

    @abstractmethod
    def metadatas(self, labels: NDArray[np.int64]) -> list[dict[str, Any] | None]:
        """Return the metadata of these labels, each a new dict."""

    @abstractmethod
    def records(self, labels: NDArray[np.int64]) -> list[StoredRecord]:
        """Return whole records, for an update to start from."""


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
            order: Shape (n_labels,): ties come in this order, else by label.

        Returns:
            Exactly min(k, allowed labels) neighbours in each row.
        """
