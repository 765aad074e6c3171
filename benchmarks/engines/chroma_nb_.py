"""chroma_nb, persistent, with each index: through its public API only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from benchmarks.engines.base import EF_CONSTRUCTION, EF_SEARCH, GRAPH_M, TOP_K, Engine, Payload

if TYPE_CHECKING:
    from benchmarks.data import Vectors

INCLUDE: Any = ["documents", "metadatas", "distances"]


class ChromaNb(Engine):
    """With hnswlib's graph."""

    label = "chroma_nb (hnswlib)"
    module = "chroma_nb"
    needs = ("hnswlib",)
    distributions = ("chroma-nb", "hnswlib", "duckdb")
    batch = 0
    index_engine: ClassVar[str] = "hnswlib"

    def open(self, capacity: int) -> None:
        import chroma_nb

        settings = chroma_nb.Settings(
            index_engine=self.index_engine, threads=self.threads, progress=False
        )
        self._client: Any = chroma_nb.PersistentClient(str(self.folder), settings=settings)
        self._collection: Any = self._client.create_collection(
            "benchmark",
            embedding_function=None,
            configuration={
                "hnsw": {
                    "space": "cosine",
                    "ef_construction": EF_CONSTRUCTION,
                    "ef_search": EF_SEARCH,
                    "max_neighbors": GRAPH_M,
                }
            },
        )

    def add(self, payload: Payload) -> None:
        self._collection.add(
            ids=payload.ids,
            embeddings=payload.vectors,
            documents=payload.documents,
            metadatas=payload.metadatas,
        )

    def build(self) -> None:
        self._collection.build_index()

    def query(self, vector: Vectors) -> Any:
        return self._collection.query(query_embeddings=[vector], n_results=TOP_K, include=INCLUDE)

    def ids(self, answer: Any) -> list[str]:
        found: list[str] = answer["ids"][0]
        return found

    def query_shard(self, vector: Vectors, shard: int) -> Any:
        return self._collection.query(
            query_embeddings=[vector], n_results=TOP_K, include=INCLUDE, where={"shard": shard}
        )

    def query_contains(self, vector: Vectors, word: str) -> Any:
        return self._collection.query(
            query_embeddings=[vector],
            n_results=TOP_K,
            include=INCLUDE,
            where_document={"$contains": word},
        )

    def query_many(self, vectors: Vectors) -> Any:
        return self._collection.query(query_embeddings=vectors, n_results=TOP_K, include=INCLUDE)

    def ids_many(self, answer: Any) -> list[list[str]]:
        found: list[list[str]] = answer["ids"]
        return found

    def get_all(self) -> int:
        return len(self._collection.get()["ids"])

    def close(self) -> None:
        self._client.close()


class ChromaNbUsearch(ChromaNb):
    """With usearch's graph, which it takes where turbovec has no wheel."""

    label = "chroma_nb (usearch)"
    needs = ("usearch",)
    distributions = ("chroma-nb", "usearch", "duckdb")
    index_engine = "usearch"


class ChromaNbTurbovec(ChromaNb):
    """With turbovec's codes: the default install."""

    label = "chroma_nb (turbovec)"
    needs = ("turbovec",)
    distributions = ("chroma-nb", "turbovec", "duckdb")
    index_engine = "turbovec"
