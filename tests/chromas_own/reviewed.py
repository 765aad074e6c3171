"""Which of Chroma's tests are run, and which of them cannot pass here, each with the reason."""

from __future__ import annotations

from dataclasses import dataclass

#: Files in Chroma's `chromadb/test` -> what the names of those tests have that are of schemas and searches; "" is all.
FILES = {
    "api/test_schema.py": "",
    "api/test_schema_e2e.py": "",
    "api/test_search_api.py": "",
    "api/test_count_api.py": "",
    "test_api.py": "",
    "ef/test_chroma_bm25_embedding_function.py": "",
    "ef/test_custom_ef.py": "",
    "configurations/test_collection_configuration.py": "",
    "property/test_schema.py": "",
    "property/test_filtering.py": "",
    "property/test_add.py": "search_group_by",
    "property/test_embeddings.py": "state_with_search",
}


@dataclass(frozen=True)
class Reason:
    """Why tests cannot pass.

    Args:
        differs: It differs on purpose, as docs/from_chroma.md says; else the test is about Chroma's implementation.
        text: The reason.
        tests: Names of the tests, without their parameters.
        legs: Where; empty is everywhere.
        without_model: Only where MiniLM is not on this machine.
    """

    differs: bool
    text: str
    tests: tuple[str, ...]
    legs: tuple[str, ...] = ()
    without_model: bool = False


_STORED = "api/test_schema_e2e.py"
_API, _CONFIGURATION = "test_api.py", "configurations/test_collection_configuration.py"
REASONS = (
    Reason(
        differs=False,
        text="makes a configuration without its checks by a method of pydantic's (model_construct)",
        tests=(f"{_STORED}::test_server_validates_invalid_source_key_in_sparse_vector_config",),
    ),
    Reason(
        differs=False,
        text="calls private methods of Chroma's collection (_embed, _embed_search_string_queries)",
        tests=(
            f"{_STORED}::test_collection_embed_uses_schema_or_collection_embedding_function",
            f"{_STORED}::test_search_embeds_string_knn_queries",
            f"{_STORED}::test_search_embeds_string_knn_queries_with_sparse_embedding_function",
            f"{_STORED}::test_search_embeds_string_queries_in_nested_ranks",
        ),
    ),
    Reason(
        differs=False,
        text="makes a collection of Chroma's internal model by hand, or changes that model",
        tests=(
            f"{_STORED}::test_embeds_using_schema_embedding_function",
            f"{_CONFIGURATION}::test_invalid_configuration_operations_succeed_until_embed",
            f"{_CONFIGURATION}::test_collection_load_with_invalid_configuration",
            f"{_CONFIGURATION}::test_get_collection_with_invalid_configuration",
        ),
    ),
    Reason(
        differs=False,
        text="calls internal functions of Chroma's (validate_metadata, normalize_metadata, overwrite_spann_configuration)",
        tests=(
            f"{_API}::test_sparse_vector_in_metadata_validation",
            f"{_API}::test_sparse_vector_dict_format_normalization",
            f"{_API}::test_sparse_vector_dict_format_in_record_set",
            f"{_API}::test_list_metadata_validation",
            f"{_CONFIGURATION}::test_overwrite_spann_configuration",
        ),
    ),
    Reason(
        differs=False,
        text="starts Chroma's own server, with TLS",
        tests=(
            f"{_API}::test_ssl_self_signed",
            f"{_API}::test_ssl_self_signed_without_ssl_verify",
        ),
    ),
    Reason(
        differs=False,
        text="needs MiniLM, which is not on this machine",
        tests=(f"{_API}::test_default_embedding",),
        without_model=True,
    ),
    Reason(
        differs=True,
        text="expects SPANN, the index of Chroma's cloud; a local store, Chroma's too, has a graph (HNSW) in its place",
        tests=(
            f"{_STORED}::test_modify_collection_no_initial_config_creates_default_schema",
            f"{_STORED}::test_modify_collection_with_initial_spann_schema",
            f"{_STORED}::test_modify_collection_updates_schema_spann_multiple_fields",
            f"{_STORED}::test_modify_collection_preserves_other_schema_fields",
            f"{_CONFIGURATION}::test_spann_configuration_persistence",
            f"{_CONFIGURATION}::test_configuration_spann_updates",
            f"{_CONFIGURATION}::test_spann_update_from_json",
        ),
    ),
    Reason(
        differs=True,
        text="expects a sparse index to be refused; here it works",
        tests=(f"{_STORED}::test_sparse_vector_not_allowed_locally",),
        legs=("in process", "over HTTP"),
    ),
    Reason(
        differs=True,
        text="expects the query of a Knn to equal a list; here it is a tuple, as a rank cannot be changed",
        tests=(f"{_API}::TestRankFromDict::test_knn_conversion",),
    ),
    Reason(
        differs=True,
        text="opens a second folder beside the first; ClickHouse has one in a process",
        tests=(f"{_API}::test_persist_index_loading_params",),
        legs=("in ClickHouse",),
    ),
    Reason(
        differs=True,
        text='expects "or zero. in query"; here it is "or zero in query"',
        tests=(f"{_API}::test_invalid_n_results_param",),
    ),
)


def reason_for(test: str, leg: str, *, has_model: bool) -> Reason | None:
    """Return why a test cannot pass in a leg; None where it has to."""
    name = test.partition("[")[0]
    for reason in REASONS:
        holds = not reason.legs or leg in reason.legs
        if name in reason.tests and holds and not (reason.without_model and has_model):
            return reason
    return None
