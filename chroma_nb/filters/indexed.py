"""May a filter be asked? An index that a schema has switched off answers none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.filters.expression import (
    Among,
    And,
    Compare,
    DocumentContains,
    DocumentMatches,
    IdAmong,
    ListContains,
    Or,
)
from chroma_nb.schema_json import INVERTED, default_keys, type_of
from chroma_nb.special_keys import DOCUMENT_KEY, ID_KEY
from chroma_nb.words import brief

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chroma_nb.filters.expression import Expression, FieldLeaf, Leaf

#: As Chroma's sentence names the types.
_NAMES = {
    "string": "Str",
    "int": "Int",
    "float": "Float",
    "bool": "Bool",
    "sparse_vector": "SparseVector",
}
#: What the documents and the embeddings have, where a schema says nothing of them.
_USUAL = default_keys()


def check_indexed(schema: Mapping[str, Any] | None, expression: Expression | None) -> None:
    """Refuse a filter by what is not indexed, whether or not there are such values.

    Args:
        schema: What `schema_json.stated` returned of the collection's.
        expression: The filter; None is none.

    Raises:
        InvalidArgumentError: The index that would answer a condition is switched off.
    """
    if schema is None or expression is None:
        return
    for leaf in _leaves(expression):
        if isinstance(leaf, DocumentContains | DocumentMatches):
            if not _is_on(schema, DOCUMENT_KEY, "string", "fts_index"):
                raise InvalidArgumentError(
                    "Cannot filter using full-text search because FTS indexing is disabled. The collection's schema says "
                    "so: delete_index(FtsIndexConfig(), key=K.DOCUMENT)."
                )
        elif isinstance(leaf, IdAmong):
            # An id is a text as well.
            check_key_indexed(schema, ID_KEY, "string")
        else:
            for kind in _types_of(leaf):
                check_key_indexed(schema, leaf.key, kind)


def check_key_indexed(schema: Mapping[str, Any] | None, key: str, kind: str) -> None:
    """Refuse to look for values of one type under a metadata key that is not indexed for them.

    Args:
        schema: What `schema_json.stated` returned of the collection's.
        key: The metadata key.
        kind: Of `schema_json.INVERTED`: "string", "int", "float", "bool", "sparse_vector".

    Raises:
        InvalidArgumentError: The index is switched off; that of sparse vectors is unless a key has one.
    """
    if not _is_on(schema or {}, key, kind, INVERTED[kind]):
        raise InvalidArgumentError(
            f"Cannot filter using metadata key '{brief(key)}' with type '{_NAMES[kind]}' because indexing is disabled. "
            "The collection's schema says so, and it does not change: copy the records into a collection with another schema."
        )


def _is_on(schema: Mapping[str, Any], key: str, kind: str, index: str) -> bool:
    """Say whether the values of one type under a key are indexed: as the key says, or else the defaults."""
    of_key = schema.get("keys", {}).get(key) or _USUAL.get(key, {})
    for types in (of_key, schema.get("defaults", {})):
        found = types.get(kind, {}).get(index)
        if found is not None:
            return bool(found["enabled"])
    # Nothing is said of it. That of sparse vectors alone is off by default.
    return index != "sparse_vector_index"


def _leaves(expression: Expression) -> Iterator[Leaf]:
    if isinstance(expression, And | Or):
        for child in expression.children:
            yield from _leaves(child)
    else:
        yield expression


def _types_of(leaf: FieldLeaf) -> set[str]:
    """Return the types of what a field is compared with."""
    if isinstance(leaf, Among):
        values: tuple[Any, ...] = leaf.values
    elif isinstance(leaf, Compare | ListContains):
        values = (leaf.value,)
    else:
        # Dates are stored as text.
        return {"string"}
    return {kind for kind in map(type_of, values) if kind is not None}
