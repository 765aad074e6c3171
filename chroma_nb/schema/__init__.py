"""`Schema`: which indexes a collection has, and what they are made with, under Chroma's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.lazy import lazy_attributes

if TYPE_CHECKING:
    from chroma_nb.schema.configs import BoolInvertedIndexConfig as BoolInvertedIndexConfig
    from chroma_nb.schema.configs import FloatInvertedIndexConfig as FloatInvertedIndexConfig
    from chroma_nb.schema.configs import FtsIndexConfig as FtsIndexConfig
    from chroma_nb.schema.configs import HnswIndexConfig as HnswIndexConfig
    from chroma_nb.schema.configs import IndexConfig as IndexConfig
    from chroma_nb.schema.configs import IntInvertedIndexConfig as IntInvertedIndexConfig
    from chroma_nb.schema.configs import SpannIndexConfig as SpannIndexConfig
    from chroma_nb.schema.configs import SparseVectorIndexConfig as SparseVectorIndexConfig
    from chroma_nb.schema.configs import StringInvertedIndexConfig as StringInvertedIndexConfig
    from chroma_nb.schema.configs import VectorIndexConfig as VectorIndexConfig
    from chroma_nb.schema.encryption import Cmek as Cmek
    from chroma_nb.schema.encryption import CmekProvider as CmekProvider
    from chroma_nb.schema.schema import Schema as Schema
    from chroma_nb.schema.value_types import BoolInvertedIndexType as BoolInvertedIndexType
    from chroma_nb.schema.value_types import BoolValueType as BoolValueType
    from chroma_nb.schema.value_types import FloatInvertedIndexType as FloatInvertedIndexType
    from chroma_nb.schema.value_types import FloatListValueType as FloatListValueType
    from chroma_nb.schema.value_types import FloatValueType as FloatValueType
    from chroma_nb.schema.value_types import FtsIndexType as FtsIndexType
    from chroma_nb.schema.value_types import IntInvertedIndexType as IntInvertedIndexType
    from chroma_nb.schema.value_types import IntValueType as IntValueType
    from chroma_nb.schema.value_types import SparseVectorIndexType as SparseVectorIndexType
    from chroma_nb.schema.value_types import SparseVectorValueType as SparseVectorValueType
    from chroma_nb.schema.value_types import StringInvertedIndexType as StringInvertedIndexType
    from chroma_nb.schema.value_types import StringValueType as StringValueType
    from chroma_nb.schema.value_types import ValueTypes as ValueTypes
    from chroma_nb.schema.value_types import VectorIndexType as VectorIndexType

CONFIGS = (
    "BoolInvertedIndexConfig",
    "FloatInvertedIndexConfig",
    "FtsIndexConfig",
    "HnswIndexConfig",
    "IndexConfig",
    "IntInvertedIndexConfig",
    "SpannIndexConfig",
    "SparseVectorIndexConfig",
    "StringInvertedIndexConfig",
    "VectorIndexConfig",
)
VALUE_TYPES = (
    "BoolInvertedIndexType",
    "BoolValueType",
    "FloatInvertedIndexType",
    "FloatListValueType",
    "FloatValueType",
    "FtsIndexType",
    "IntInvertedIndexType",
    "IntValueType",
    "SparseVectorIndexType",
    "SparseVectorValueType",
    "StringInvertedIndexType",
    "StringValueType",
    "ValueTypes",
    "VectorIndexType",
)
_ATTRIBUTES = {
    **dict.fromkeys(CONFIGS, "chroma_nb.schema.configs"),
    **dict.fromkeys(VALUE_TYPES, "chroma_nb.schema.value_types"),
    **dict.fromkeys(("Cmek", "CmekProvider"), "chroma_nb.schema.encryption"),
    "Schema": "chroma_nb.schema.schema",
}
__all__ = [*_ATTRIBUTES]


def __getattr__(name: str) -> Any:
    return lazy_attributes(__name__, _ATTRIBUTES, name)
