"""Types of values and the indexes that each has: what `Schema.defaults` and `Schema.keys` hold, with Chroma's names."""

from __future__ import annotations

from dataclasses import dataclass, field

from chroma_nb.schema.configs import (
    BoolInvertedIndexConfig,
    FloatInvertedIndexConfig,
    FtsIndexConfig,
    IntInvertedIndexConfig,
    SparseVectorIndexConfig,
    StringInvertedIndexConfig,
    VectorIndexConfig,
)


@dataclass
class FtsIndexType:
    """Whether there is a full-text index."""

    enabled: bool
    config: FtsIndexConfig


@dataclass
class VectorIndexType:
    """Whether there is an index of embeddings."""

    enabled: bool
    config: VectorIndexConfig


@dataclass
class SparseVectorIndexType:
    """Whether there is an index of sparse vectors."""

    enabled: bool
    config: SparseVectorIndexConfig


@dataclass
class StringInvertedIndexType:
    """Whether there is an index of texts."""

    enabled: bool
    config: StringInvertedIndexConfig


@dataclass
class IntInvertedIndexType:
    """Whether there is an index of whole numbers."""

    enabled: bool
    config: IntInvertedIndexConfig


@dataclass
class FloatInvertedIndexType:
    """Whether there is an index of floats."""

    enabled: bool
    config: FloatInvertedIndexConfig


@dataclass
class BoolInvertedIndexType:
    """Whether there is an index of true and false."""

    enabled: bool
    config: BoolInvertedIndexConfig


# `form` reads the kinds in a field's metadata: the class of the index and that of its config, or that of a type of values.


@dataclass
class StringValueType:
    """The indexes of texts."""

    fts_index: FtsIndexType | None = field(
        default=None, metadata={"kinds": (FtsIndexType, FtsIndexConfig)}
    )
    string_inverted_index: StringInvertedIndexType | None = field(
        default=None, metadata={"kinds": (StringInvertedIndexType, StringInvertedIndexConfig)}
    )


@dataclass
class FloatListValueType:
    """The index of embeddings."""

    vector_index: VectorIndexType | None = field(
        default=None, metadata={"kinds": (VectorIndexType, VectorIndexConfig)}
    )


@dataclass
class SparseVectorValueType:
    """The index of sparse vectors."""

    sparse_vector_index: SparseVectorIndexType | None = field(
        default=None, metadata={"kinds": (SparseVectorIndexType, SparseVectorIndexConfig)}
    )


@dataclass
class IntValueType:
    """The index of whole numbers."""

    int_inverted_index: IntInvertedIndexType | None = field(
        default=None, metadata={"kinds": (IntInvertedIndexType, IntInvertedIndexConfig)}
    )


@dataclass
class FloatValueType:
    """The index of floats."""

    float_inverted_index: FloatInvertedIndexType | None = field(
        default=None, metadata={"kinds": (FloatInvertedIndexType, FloatInvertedIndexConfig)}
    )


@dataclass
class BoolValueType:
    """The index of true and false."""

    bool_inverted_index: BoolInvertedIndexType | None = field(
        default=None, metadata={"kinds": (BoolInvertedIndexType, BoolInvertedIndexConfig)}
    )


@dataclass
class ValueTypes:
    """The types of values that a key may have, each with its indexes; None leaves a type to the defaults."""

    string: StringValueType | None = field(default=None, metadata={"kinds": (StringValueType,)})
    float_list: FloatListValueType | None = field(
        default=None, metadata={"kinds": (FloatListValueType,)}
    )
    sparse_vector: SparseVectorValueType | None = field(
        default=None, metadata={"kinds": (SparseVectorValueType,)}
    )
    int_value: IntValueType | None = field(default=None, metadata={"kinds": (IntValueType,)})
    float_value: FloatValueType | None = field(default=None, metadata={"kinds": (FloatValueType,)})
    boolean: BoolValueType | None = field(default=None, metadata={"kinds": (BoolValueType,)})
