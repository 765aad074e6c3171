"""What the indexes of a `Schema` are made with: one class for each kind of index, with Chroma's names.

Each says in its signature what it takes. What it does not take, or of another kind, is a ValueError, as in Chroma.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from chroma_nb.boundary import public_class
from chroma_nb.embedding.default_choice import DEFAULT_EMBEDDING_FUNCTION
from chroma_nb.embedding.protocol import checked_embedding_function
from chroma_nb.search.conditions import Key
from chroma_nb.special_keys import DOCUMENT_KEY
from chroma_nb.suggest import did_you_mean
from chroma_nb.types import SPACES
from chroma_nb.words import brief


class IndexConfig:
    """What an index is made with; two are equal that say the same."""

    #: Its fields, in the order of the signature.
    fields: ClassVar[tuple[str, ...]] = ()
    #: What Chroma's class takes as well, and forgets.
    _forgotten: ClassVar[tuple[str, ...]] = ()

    def __init__(self, **unknown: Any) -> None:
        self._check_unknown(unknown)

    def _check_unknown(self, unknown: Mapping[str, Any]) -> None:
        for name in unknown:
            if name in self._forgotten:
                continue
            known = f"It has {', '.join(self.fields)}." if self.fields else "It has no fields."
            raise ValueError(
                f"{brief(name, quoted=True)} is not a valid field for {type(self).__name__}, and extra ones are not permitted. {known}"
                f"{did_you_mean(name, self.fields)}"
            )

    def model_dump(self, *, exclude_none: bool = False) -> dict[str, Any]:
        """Return its fields by name, as of Chroma's class, which is a pydantic model.

        Args:
            exclude_none: Leave out those that are None.
        """
        fields = {name: getattr(self, name) for name in self.fields}
        dumped = {
            name: value.model_dump(exclude_none=exclude_none)
            if isinstance(value, IndexConfig)
            else value
            for name, value in fields.items()
        }
        return {
            name: value for name, value in dumped.items() if value is not None or not exclude_none
        }

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.fields)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        values = (f"{name}={getattr(self, name)!r}" for name in self.fields)
        return f"{type(self).__name__}({', '.join(values)})"


@public_class
class FtsIndexConfig(IndexConfig):
    """The index of the documents' texts, for ``$contains`` and ``$regex``."""


@public_class
class StringInvertedIndexConfig(IndexConfig):
    """The index of texts in the metadata."""


@public_class
class IntInvertedIndexConfig(IndexConfig):
    """The index of whole numbers in the metadata."""


@public_class
class FloatInvertedIndexConfig(IndexConfig):
    """The index of floats in the metadata."""


@public_class
class BoolInvertedIndexConfig(IndexConfig):
    """The index of true and false in the metadata."""


class _NumbersConfig(IndexConfig):
    """Numbers, each of which may be left to its default."""

    _floats: ClassVar[tuple[str, ...]] = ()

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            read = _float if name in self._floats else _int
            setattr(self, name, None if value is None else read(type(self), name, value))

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers that were given."""
        return self.model_dump(exclude_none=True)


@public_class
class HnswIndexConfig(_NumbersConfig):
    """What a graph (HNSW) is made with; None leaves a number to its default.

    Args:
        ef_construction: Neighbours that are looked at while it is built.
        max_neighbors: Links of a record.
        ef_search: Neighbours that are looked at while it is searched.
        num_threads: Kept and not acted on: the store uses the cores that are free.
        batch_size: Kept and not acted on.
        sync_threshold: Records after which a graph is built.
        resize_factor: Kept and not acted on.

    Raises:
        ValueError: Something else than these, or no number.
    """

    fields = (
        "ef_construction",
        "max_neighbors",
        "ef_search",
        "num_threads",
        "batch_size",
        "sync_threshold",
        "resize_factor",
    )
    _floats = ("resize_factor",)

    def __init__(
        self,
        ef_construction: int | None = None,
        max_neighbors: int | None = None,
        ef_search: int | None = None,
        num_threads: int | None = None,
        batch_size: int | None = None,
        sync_threshold: int | None = None,
        resize_factor: float | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__(**unknown)
        self._set(
            ef_construction=ef_construction,
            max_neighbors=max_neighbors,
            ef_search=ef_search,
            num_threads=num_threads,
            batch_size=batch_size,
            sync_threshold=sync_threshold,
            resize_factor=resize_factor,
        )


@public_class
class SpannIndexConfig(_NumbersConfig):
    """What Chroma's cloud makes its index with. A local store, Chroma's too, has a graph (HNSW) in its place.

    Raises:
        ValueError: Something that Chroma's index does not have, or no number.
    """

    fields = (
        "search_nprobe",
        "write_nprobe",
        "ef_construction",
        "ef_search",
        "max_neighbors",
        "reassign_neighbor_count",
        "split_threshold",
        "merge_threshold",
    )
    _forgotten = (
        "search_rng_factor",
        "search_rng_epsilon",
        "nreplica_count",
        "write_rng_factor",
        "write_rng_epsilon",
        "num_samples_kmeans",
        "initial_lambda",
        "num_centers_to_merge_to",
        "center_drift_threshold",
        "quantize",
    )

    def __init__(
        self,
        search_nprobe: int | None = None,
        write_nprobe: int | None = None,
        ef_construction: int | None = None,
        ef_search: int | None = None,
        max_neighbors: int | None = None,
        reassign_neighbor_count: int | None = None,
        split_threshold: int | None = None,
        merge_threshold: int | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__(**unknown)
        self._set(
            search_nprobe=search_nprobe,
            write_nprobe=write_nprobe,
            ef_construction=ef_construction,
            ef_search=ef_search,
            max_neighbors=max_neighbors,
            reassign_neighbor_count=reassign_neighbor_count,
            split_threshold=split_threshold,
            merge_threshold=merge_threshold,
        )


@public_class
class VectorIndexConfig(IndexConfig):
    """How embeddings are compared and made; there is one such index, for all of a collection.

    Args:
        space: ``"l2"``, ``"cosine"`` or ``"ip"``; None is what the embedding function is made for.
        embedding_function: What embeds documents and query texts; None: embeddings are given.
        source_key: What is embedded: `K.DOCUMENT`.
        hnsw: What the graph is made with.
        spann: What Chroma's cloud makes its index with.

    Raises:
        ValueError: Something else than these, or of another kind.
    """

    fields = ("space", "embedding_function", "source_key", "hnsw", "spann")

    def __init__(
        self,
        space: str | None = None,
        embedding_function: Any = DEFAULT_EMBEDDING_FUNCTION,
        source_key: Key | str | None = None,
        hnsw: HnswIndexConfig | Mapping[str, Any] | None = None,
        spann: SpannIndexConfig | Mapping[str, Any] | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__(**unknown)
        if space is not None and space not in SPACES:
            raise ValueError(
                f"Expected space of VectorIndexConfig to be one of {', '.join(SPACES)}, got {brief(space, quoted=True)}"
            )
        self.space = space
        self.embedding_function = checked_embedding_function(embedding_function)
        self.source_key = _source_key(type(self), source_key)
        self.hnsw: HnswIndexConfig | None = _part("hnsw", hnsw, HnswIndexConfig)
        self.spann: SpannIndexConfig | None = _part("spann", spann, SpannIndexConfig)


@public_class
class SparseVectorIndexConfig(IndexConfig):
    """An index of the sparse vectors under one metadata key.

    Args:
        embedding_function: What makes the sparse vectors, an object with ``__call__(self, input)``; None: they are given.
        source_key: What it makes them of when records are written, `K.DOCUMENT` or a metadata key; None: nothing.
        bm25: Whether a query's words are weighted by how rare they are in the collection.

    Raises:
        ValueError: Something else than these, or of another kind.
    """

    fields = ("embedding_function", "source_key", "bm25")
    _forgotten = ("algorithm",)

    def __init__(
        self,
        embedding_function: Any = None,
        source_key: Key | str | None = None,
        bm25: bool | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__(**unknown)
        if bm25 is not None and not isinstance(bm25, bool | np.bool_):
            raise ValueError(
                f"Expected bm25 of SparseVectorIndexConfig to be a bool, got {brief(bm25, quoted=True)}"
            )
        self.embedding_function = checked_embedding_function(embedding_function)
        self.source_key = _source_key(type(self), source_key)
        self.bm25 = None if bm25 is None else bool(bm25)


def _source_key(owner: type[IndexConfig], source_key: Any) -> str | None:
    """Return the name of the key that is embedded."""
    if isinstance(source_key, Key):
        source_key = source_key.name
    if source_key is None:
        return None
    if not isinstance(source_key, str):
        raise ValueError(
            f"source_key must be str or Key, got {type(source_key).__name__} for {owner.__name__}"
        )
    if source_key.startswith("#") and source_key != DOCUMENT_KEY:
        raise ValueError(
            f"source_key cannot begin with '#', got {brief(source_key, quoted=True)} for {owner.__name__}. The only one that "
            f"does is K.DOCUMENT, {DOCUMENT_KEY!r}."
        )
    return source_key


def _part(name: str, given: Any, kind: Any) -> Any:
    if given is None or isinstance(given, kind):
        return given
    if isinstance(given, Mapping):
        # A server may have any names there, "self" as well.
        kind()._check_unknown({one: given[one] for one in given if one not in kind.fields})
        return kind(**{one: given[one] for one in given if one in kind.fields})
    raise ValueError(
        f"Expected {name} of VectorIndexConfig to be of {kind.__name__}, got {brief(given, quoted=True)} "
        f"({type(given).__name__})"
    )


def _int(owner: type[IndexConfig], name: str, value: Any) -> int:
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise ValueError(
            f"Expected {name} of {owner.__name__} to be an int, got {brief(value, quoted=True)} ({type(value).__name__})"
        )
    return int(value)


def _float(owner: type[IndexConfig], name: str, value: Any) -> float:
    if not isinstance(value, int | float | np.number) or isinstance(value, bool):
        raise ValueError(
            f"Expected {name} of {owner.__name__} to be a number, got {brief(value, quoted=True)} ({type(value).__name__})"
        )
    return float(value)
