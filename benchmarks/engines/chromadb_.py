"""Chroma 1.5, persistent, with its Rust engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.engines.base import EF_CONSTRUCTION, EF_SEARCH, GRAPH_M, TOP_K, Engine, Payload

if TYPE_CHECKING:
    from benchmarks.data import Vectors

INCLUDE: Any = ["documents", "metadatas", "distances"]


class Chromadb(Engine):
    """Chroma as `chroma_nb` replaces it: the same calls, the same answers."""

    label = "chromadb"
    module = "chromadb"
    distributions = ("chromadb",)
    builds_in_add = True

    def open(self, capacity: int) -> None:
        import chromadb
        from chromadb.config import Settings

        self._client: Any = chromadb.PersistentClient(
            str(self.folder), settings=Settings(anonymized_telemetry=False)
        )
        self._collection: Any = self._client.create_collection(
            "benchmark",
            embedding_function=None,
            configuration={
                "hnsw": {
                    "space": "cosine",
                    "ef_construction": EF_CONSTRUCTION,
                    "ef_search": EF_SEARCH,
                    "max_neighbors": GRAPH_M,
                    "num_threads": self.threads,
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
