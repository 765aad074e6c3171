"""LangChain's `Chroma` over our client: LangChain's own suite for vector stores, and what else it touches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("langchain_chroma", reason='needs: pip install "chroma-nb[ecosystem]"')
pytest.importorskip("langchain_tests", reason='needs: pip install "chroma-nb[ecosystem]"')

from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_tests.integration_tests import VectorStoreIntegrationTests

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.filterwarnings("ignore")


class TestLangChainsOwnSuite(VectorStoreIntegrationTests):
    """`langchain-tests`, which every store of LangChain's is held against."""

    @pytest.fixture
    def vectorstore(self, client: Any) -> Iterator[Any]:  # type: ignore[override]
        store = Chroma("suite", embedding_function=self.get_embeddings(), client=client)
        yield store
        store.delete_collection()


@pytest.mark.parametrize("space", ["l2", "cosine", "ip"])
def test_scores_and_filters(client: Any, space: str) -> None:
    embeddings = DeterministicFakeEmbedding(size=32)
    store = Chroma(
        "docs",
        embedding_function=embeddings,
        client=client,
        collection_configuration={"hnsw": {"space": space}},
    )
    texts = [f"text {i}" for i in range(20)]
    ids = store.add_texts(texts, metadatas=[{"n": i, "even": i % 2 == 0} for i in range(20)])
    assert len(ids) == 20
    (found, distance), *_ = store.similarity_search_with_score("text 7", k=3)
    assert found.page_content == "text 7"
    assert distance < 1e-3 or space == "ip"
    assert store.similarity_search_with_relevance_scores("text 7", k=1)[0][0].metadata["n"] == 7
    even = store.similarity_search("text 7", k=20, filter={"even": True})
    assert {one.metadata["n"] for one in even} == set(range(0, 20, 2))
    some = store.similarity_search("text 7", k=20, where_document={"$contains": "1"})
    assert all("1" in one.page_content for one in some)
    varied = store.max_marginal_relevance_search("text 7", k=4, fetch_k=10)
    assert len({one.page_content for one in varied}) == 4
    assert store.get(where={"n": 3})["documents"] == ["text 3"]
    store.update_document(ids[0], Document("changed", metadata={"n": 100}))
    assert store.get(ids=ids[:1])["documents"] == ["changed"]
    store.delete(ids=ids[:5])
    assert len(store.get()["ids"]) == 15
    store.reset_collection()
    assert store.get()["ids"] == []


def test_a_large_load_and_a_retriever(client: Any) -> None:
    embeddings = DeterministicFakeEmbedding(size=8)
    documents = [Document(f"text {i}", metadata={"page": i}) for i in range(6_000)]
    store = Chroma.from_documents(documents, embeddings, client=client, collection_name="many")
    assert len(store.get(include=[])["ids"]) == 6_000
    retriever = store.as_retriever(search_kwargs={"k": 2, "filter": {"page": {"$lt": 100}}})
    found = retriever.invoke("text 42")
    assert found[0].page_content == "text 42"


def test_what_is_no_metadata_is_said_as_langchain_expects(client: Any) -> None:
    store = Chroma("docs", embedding_function=DeterministicFakeEmbedding(size=8), client=client)
    with pytest.raises(ValueError, match="filtering complex metadata"):
        store.add_texts(["a"], metadatas=[{"nested": {"a": 1}}])
