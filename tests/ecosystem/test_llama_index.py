"""LlamaIndex's `ChromaVectorStore` over our collections."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip(
    "llama_index.vector_stores.chroma", reason='needs: pip install "chroma-nb[ecosystem]"'
)

from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from llama_index.vector_stores.chroma import ChromaVectorStore

pytestmark = pytest.mark.filterwarnings("ignore")


def nodes(n: int, dimension: int = 16) -> list[TextNode]:
    vectors = np.random.default_rng(0).normal(size=(n, dimension))
    return [
        TextNode(
            text=f"text {i}",
            id_=f"node-{i}",
            embedding=vectors[i].tolist(),
            metadata={"page": i, "kind": "even" if i % 2 == 0 else "odd", "nothing": None},
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"doc-{i // 10}")},
        )
        for i in range(n)
    ]


def test_a_vector_store(client: Any) -> None:
    made = nodes(50)
    store = ChromaVectorStore(
        chroma_collection=client.create_collection("docs", embedding_function=None)
    )
    assert store.get_nodes(None, None) == []
    assert store.add(made) == [one.node_id for one in made]
    question = VectorStoreQuery(query_embedding=made[7].embedding, similarity_top_k=3)
    found = store.query(question)
    assert found.ids[0] == "node-7"
    assert found.nodes[0].get_content() == "text 7"
    assert found.similarities[0] == pytest.approx(1.0, abs=1e-3)
    filters = MetadataFilters(
        filters=[
            MetadataFilter(key="kind", value="odd"),
            MetadataFilter(key="page", value=20, operator=FilterOperator.LT),
        ],
        condition=FilterCondition.AND,
    )
    some = VectorStoreQuery(query_embedding=made[7].embedding, similarity_top_k=50, filters=filters)
    assert {one.metadata["page"] for one in store.query(some).nodes} == set(range(1, 20, 2))
    varied = VectorStoreQuery(
        query_embedding=made[7].embedding, similarity_top_k=4, mode=VectorStoreQueryMode.MMR
    )
    assert len(set(store.query(varied).ids)) == 4
    assert len(store.get_nodes(["node-1", "node-2"], None)) == 2
    store.delete("doc-1")
    assert len(store.get_nodes(None, None)) == 40
    store.delete_nodes(["node-0"])
    assert len(store.get_nodes(None, None)) == 39
    store.clear()
    assert store.get_nodes(None, None) == []


def test_a_load_larger_than_chromas_limit(client: Any) -> None:
    store = ChromaVectorStore(
        chroma_collection=client.create_collection("many", embedding_function=None)
    )
    made = nodes(12_000, 4)
    store.add(made)
    assert client["many"].count() == 12_000
