"""`Schema`: which indexes a collection has, by types of values and by metadata keys."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from chroma_nb.boundary import public_call, public_class
from chroma_nb.display.base import Displayed
from chroma_nb.harmless import clean
from chroma_nb.schema.configs import (
    BoolInvertedIndexConfig,
    FloatInvertedIndexConfig,
    FtsIndexConfig,
    IndexConfig,
    IntInvertedIndexConfig,
    SparseVectorIndexConfig,
    StringInvertedIndexConfig,
    VectorIndexConfig,
)
from chroma_nb.schema.encryption import Cmek
from chroma_nb.schema.form import types_from_json, types_to_json
from chroma_nb.schema.lines import SchemaLine, lines_of
from chroma_nb.schema.value_types import (
    BoolInvertedIndexType,
    BoolValueType,
    FloatInvertedIndexType,
    FloatListValueType,
    FloatValueType,
    FtsIndexType,
    IntInvertedIndexType,
    IntValueType,
    SparseVectorIndexType,
    SparseVectorValueType,
    StringInvertedIndexType,
    StringValueType,
    ValueTypes,
    VectorIndexType,
)
from chroma_nb.search.conditions import Key
from chroma_nb.special_keys import DOCUMENT_KEY, EMBEDDING_KEY
from chroma_nb.words import brief, counted

#: Class of a config -> the type of values in `ValueTypes`, its class, the index in it, its class.
_SCALARS: dict[type[IndexConfig], tuple[str, Any, str, Any]] = {
    StringInvertedIndexConfig: (
        "string",
        StringValueType,
        "string_inverted_index",
        StringInvertedIndexType,
    ),
    IntInvertedIndexConfig: ("int_value", IntValueType, "int_inverted_index", IntInvertedIndexType),
    FloatInvertedIndexConfig: (
        "float_value",
        FloatValueType,
        "float_inverted_index",
        FloatInvertedIndexType,
    ),
    BoolInvertedIndexConfig: (
        "boolean",
        BoolValueType,
        "bool_inverted_index",
        BoolInvertedIndexType,
    ),
}
#: Keys that a repr names.
_SHOWN = 6
#: The configs that one index takes; `_FORMS` names them in an error.
_CONFIGS = (*_SCALARS, FtsIndexConfig, SparseVectorIndexConfig, VectorIndexConfig)


@public_class
class Schema(Displayed):
    """Which indexes a collection has: ``create_collection(name, schema=Schema().create_index(...))``.

    By default all metadata can be filtered by, documents can be searched for texts, and embeddings for the nearest.
    Two schemas are equal that say the same.

    Attributes:
        defaults: The indexes of each type of values.
        keys: For a metadata key, what differs from the defaults. ``"#document"`` and ``"#embedding"`` are there.
        cmek: A key of one's own for Chroma's cloud to encrypt the collection with, or None.
    """

    _view = "schema"

    def __init__(self) -> None:
        self.defaults = ValueTypes(
            string=StringValueType(
                FtsIndexType(False, FtsIndexConfig()),
                StringInvertedIndexType(True, StringInvertedIndexConfig()),
            ),
            float_list=FloatListValueType(VectorIndexType(False, VectorIndexConfig())),
            sparse_vector=SparseVectorValueType(
                SparseVectorIndexType(False, SparseVectorIndexConfig())
            ),
            int_value=IntValueType(IntInvertedIndexType(True, IntInvertedIndexConfig())),
            float_value=FloatValueType(FloatInvertedIndexType(True, FloatInvertedIndexConfig())),
            boolean=BoolValueType(BoolInvertedIndexType(True, BoolInvertedIndexConfig())),
        )
        self.keys: dict[str, ValueTypes] = {
            DOCUMENT_KEY: ValueTypes(
                string=StringValueType(
                    FtsIndexType(True, FtsIndexConfig()),
                    StringInvertedIndexType(False, StringInvertedIndexConfig()),
                )
            ),
            EMBEDDING_KEY: ValueTypes(
                float_list=FloatListValueType(
                    VectorIndexType(True, VectorIndexConfig(source_key=DOCUMENT_KEY))
                )
            ),
        }
        self.cmek: Cmek | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Schema):
            return NotImplemented
        with warnings.catch_warnings():
            # About functions that cannot be recorded, said when a schema is used.
            warnings.simplefilter("ignore")
            return self.serialize_to_json() == other.serialize_to_json()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        *lines, others = lines_of(self)
        said = [f"{brief(one.name, 60, quoted=True)}: {brief(one, 200)}" for one in lines[:_SHOWN]]
        said += [f"{counted(len(lines) - _SHOWN, 'key')} more"] if len(lines) > _SHOWN else []
        return clean(f"Schema({'; '.join([*said, f'{others.name}: {others}'])})")

    def lines(self) -> list[SchemaLine]:
        """Return what it says of each key, for display; of any other key last."""
        return lines_of(self)

    def create_index(
        self, config: IndexConfig | None = None, key: Key | str | None = None
    ) -> Schema:
        """Switch an index on, and return this schema.

        Args:
            config: Which kind of index, and what it is made with. `VectorIndexConfig` is for all embeddings and takes no
                key, `FtsIndexConfig` takes `K.DOCUMENT`, `SparseVectorIndexConfig` needs a metadata key. The others
                are for a metadata key, or without one for all.
            key: The metadata key.

        Raises:
            ValueError: There is no such index, or it cannot be given that key.
        """
        name = self._checked("create", config, key)
        if isinstance(config, VectorIndexConfig):
            self._set_vectors(config)
        elif isinstance(config, FtsIndexConfig):
            self._set_texts(config, enabled=True)
        elif isinstance(config, SparseVectorIndexConfig):
            self._set_sparse(config, name)
        else:
            self._set_scalar(config, name, enabled=True)
        return self

    def delete_index(
        self, config: IndexConfig | None = None, key: Key | str | None = None
    ) -> Schema:
        """Switch an index off, and return this schema. What is filtered by it is refused from then on.

        Args:
            config: Which kind of index: that of texts, whole numbers, floats or bools in the metadata, or the documents'.
            key: The metadata key, `K.DOCUMENT` for the documents' index; None: all keys.

        Raises:
            ValueError: There is no such index, or it cannot be switched off.
        """
        name = self._checked("delete", config, key)
        if isinstance(config, VectorIndexConfig):
            raise ValueError("Deleting vector index is not currently supported.")
        if isinstance(config, SparseVectorIndexConfig):
            raise ValueError("Deleting sparse vector index is not currently supported.")
        if isinstance(config, FtsIndexConfig):
            self._set_texts(config, enabled=False)
        else:
            self._set_scalar(config, name, enabled=False)
        return self

    def set_cmek(self, cmek: Cmek | None) -> Schema:
        """Name the key that Chroma's cloud encrypts the collection with, and return this schema; None: no key."""
        self.cmek = cmek
        return self

    def serialize_to_json(self) -> dict[str, Any]:
        """Return the schema as on Chroma's wire; the dicts are new."""
        result: dict[str, Any] = {
            "defaults": types_to_json(self.defaults),
            "keys": {key: types_to_json(types) for key, types in self.keys.items()},
        }
        if self.cmek is not None:
            result["cmek"] = self.cmek.to_dict()
        return result

    @classmethod
    @public_call
    def deserialize_from_json(cls, json: Mapping[str, Any]) -> Schema:
        """Read a schema from the wire's form. An embedding function that cannot be built is None, with a UserWarning.

        Raises:
            ValueError: It is no schema.
        """
        if not isinstance(json, Mapping):
            raise ValueError(f"Expected a schema to be a dict, got {brief(json)}")
        schema = cls()
        functions: dict[str, Any] = {}
        schema.defaults = types_from_json("defaults", json.get("defaults") or {}, functions)
        keys = json.get("keys") or {}
        if not isinstance(keys, Mapping):
            raise ValueError(f"Expected keys of a schema to be a dict, got {brief(keys)}")
        schema.keys = {key: types_from_json(key, types, functions) for key, types in keys.items()}
        if json.get("cmek") is not None:
            schema.cmek = Cmek.from_dict(json["cmek"])
        return schema

    # -- one index ----------------------------------------------------------------------------

    def _checked(self, verb: str, config: Any, key: Any) -> str | None:
        """Return the key's name; raise ValueError where the two do not go together."""
        creates = verb == "create"
        able = "enable" if creates else "disable"
        if config is None and key is None:
            what = "all index types globally" if creates else "all indexes"
            raise ValueError(f"Cannot {able} {what}. Must specify either config or key.")
        name = key.name if isinstance(key, Key) else key
        if name is not None and not isinstance(name, str):
            raise ValueError(
                f"Expected key to be a str or K(...), got {brief(name, quoted=True)} ({type(name).__name__})"
            )
        if name == EMBEDDING_KEY:
            refused = "create index on special key '#embedding'" if creates else "modify #embedding"
            raise ValueError(
                f"Cannot {refused}, which has the index of all embeddings. Configure that without a key: "
                "create_index(config=VectorIndexConfig(...))."
            )
        if name == DOCUMENT_KEY and not isinstance(config, FtsIndexConfig):
            raise ValueError(
                f"Cannot {verb} index on special key {DOCUMENT_KEY!r} with this config. Only FtsIndexConfig is allowed "
                "for #document."
            )
        if name is not None and name.startswith("#") and name != DOCUMENT_KEY:
            raise ValueError(
                f"key cannot begin with '#', got {brief(name, quoted=True)}. Keys starting with '#' are reserved for system use."
            )
        if config is None:
            raise ValueError(
                f"Cannot {able} all index types for key {brief(name, quoted=True)}. Please specify a specific index configuration."
            )
        if not isinstance(config, _CONFIGS):
            raise ValueError(
                f"Expected the config of an index, got {brief(config, quoted=True)} ({type(config).__name__}). There are "
                f"{', '.join(kind.__name__ for kind in _CONFIGS)}; HnswIndexConfig is a part of one: "
                "VectorIndexConfig(hnsw=HnswIndexConfig(...))."
            )
        if isinstance(config, VectorIndexConfig) and name is not None and creates:
            raise ValueError(
                "Vector index cannot be enabled on specific keys. Use create_index(config=VectorIndexConfig(...)) "
                "without specifying a key to configure the vector index globally."
            )
        if isinstance(config, FtsIndexConfig) and name != DOCUMENT_KEY:
            only = (
                "FTS index can only be enabled on #document key"
                if creates
                else "Deleting FTS index is only supported on #document key"
            )
            raise ValueError(f"{only}. Use {verb}_index(config=FtsIndexConfig(), key='#document')")
        if isinstance(config, SparseVectorIndexConfig) and name is None and creates:
            raise ValueError(
                "Sparse vector index must be created on a specific key. Please specify a key using: "
                "create_index(config=SparseVectorIndexConfig(...), key='your_key')"
            )
        return name

    def _set_vectors(self, config: VectorIndexConfig) -> None:
        for types in (self.defaults, self.keys.get(EMBEDDING_KEY)):
            vectors = None if types is None or types.float_list is None else types.float_list
            if vectors is None or vectors.vector_index is None:
                continue
            before = vectors.vector_index
            # What is embedded stays the documents.
            kept = config.source_key if types is self.defaults else before.config.source_key
            made = VectorIndexConfig(
                config.space,
                config.embedding_function,
                kept,
                config.hnsw,
                config.spann,
            )
            vectors.vector_index = VectorIndexType(before.enabled, made)

    def _set_texts(self, config: FtsIndexConfig, *, enabled: bool) -> None:
        types = self.keys.setdefault(DOCUMENT_KEY, ValueTypes())
        if types.string is None:
            types.string = StringValueType()
        types.string.fts_index = FtsIndexType(enabled, config)

    def _set_sparse(self, config: SparseVectorIndexConfig, key: str | None) -> None:
        assert key is not None
        if config.source_key is not None and config.embedding_function is None:
            raise ValueError(
                "If source_key is provided then embedding_function must also be provided since there is no default "
                f"embedding function, got source_key={brief(config.source_key, quoted=True)}. Such as "
                "SparseVectorIndexConfig(source_key=K.DOCUMENT, embedding_function=ChromaBm25EmbeddingFunction())."
            )
        types = self.keys.setdefault(key, ValueTypes())
        types.sparse_vector = SparseVectorValueType(SparseVectorIndexType(True, config))

    def _set_scalar(self, config: Any, key: str | None, *, enabled: bool) -> None:
        kind, kind_class, name, index_class = _SCALARS[type(config)]
        types = self.defaults if key is None else self.keys.setdefault(key, ValueTypes())
        if getattr(types, kind) is None:
            setattr(types, kind, kind_class())
        setattr(getattr(types, kind), name, index_class(enabled, config))
