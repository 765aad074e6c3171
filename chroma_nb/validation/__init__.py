"""Checks of everything that a caller gives, before anything is written.

The exceptions and the beginnings of their sentences are Chroma's, as notebooks and libraries look for
them. Where Chroma's sentence does not say what to do, ours goes on with it.
"""

from chroma_nb.validation.configuration import (
    check_recorded_function,
    check_ttl,
    created_configuration,
    recorded_configuration,
    updated_configuration,
)
from chroma_nb.validation.descriptions import check_description
from chroma_nb.validation.embeddings import check_dimension, check_embeddings
from chroma_nb.validation.ids import check_ids, check_known, check_query_ids, ids_exist
from chroma_nb.validation.metadata import (
    check_collection_metadata,
    check_metadata_value,
    check_metadatas,
)
from chroma_nb.validation.names import (
    check_collection_name,
    check_database_name,
    check_new_name,
    check_tenant_name,
)
from chroma_nb.validation.reading import (
    check_delete,
    check_include,
    check_limit_offset,
    check_n_results,
    check_queries,
    check_query_texts,
)
from chroma_nb.validation.records import Given, check_insert, check_on_conflict, check_update
from chroma_nb.validation.schema import checked_schema, reconciled
from chroma_nb.validation.sparse_vectors import check_sparse_vectors
from chroma_nb.validation.texts import check_texts

__all__ = [
    "Given",
    "check_collection_metadata",
    "check_collection_name",
    "check_database_name",
    "check_delete",
    "check_description",
    "check_dimension",
    "check_embeddings",
    "check_ids",
    "check_include",
    "check_insert",
    "check_known",
    "check_limit_offset",
    "check_metadata_value",
    "check_metadatas",
    "check_n_results",
    "check_new_name",
    "check_on_conflict",
    "check_queries",
    "check_query_ids",
    "check_query_texts",
    "check_recorded_function",
    "check_sparse_vectors",
    "check_tenant_name",
    "check_texts",
    "check_ttl",
    "check_update",
    "checked_schema",
    "created_configuration",
    "ids_exist",
    "reconciled",
    "recorded_configuration",
    "updated_configuration",
]
