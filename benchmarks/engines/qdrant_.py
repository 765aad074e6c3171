"""Qdrant's local mode: the client without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.engines.base import TOP_K, Engine, Payload, UnsupportedError

if TYPE_CHECKING:
    from benchmarks.data import Vectors


class Qdrant(Engine):
    """Every query is a scan in NumPy; the number of a record is its id."""

    label = "Qdrant local"
    module = "qdrant_client"
    distributions = ("qdrant-client",)
    batch = 5_000

    def open(self, capacity: int) -> None:
        import warnings

        from qdrant_client import QdrantClient, models

        # It advises against local mode over 20,000 points, once for each addition.
        warnings.filterwarnings("ignore", message=".*[Ll]ocal mode.*")
        self._models = models
        self._client: Any = QdrantClient(path=str(self.folder))
        self._client.create_collection(
            "benchmark",
            vectors_config=models.VectorParams(
                size=self.dimensions, distance=models.Distance.COSINE
            ),
        )

    def add(self, payload: Payload) -> None:
        payloads = [
            {"id": i, "document": d, **m}
            for i, d, m in zip(payload.ids, payload.documents, payload.metadatas, strict=True)
        ]
        numbers = list(range(payload.first, payload.first + len(payload.ids)))
        self._client.upload_collection(
            "benchmark", vectors=payload.vectors, payload=payloads, ids=numbers
        )

    def add_one(self, payload: Payload) -> None:
        point = self._models.PointStruct(
            id=payload.first,
            vector=payload.vectors[0].tolist(),
            payload={
                "id": payload.ids[0],
                "document": payload.documents[0],
                **payload.metadatas[0],
            },
        )
        self._client.upsert("benchmark", [point])

    def query(self, vector: Vectors) -> Any:
        return self._client.query_points("benchmark", query=vector, limit=TOP_K).points

    def ids(self, answer: Any) -> list[str]:
        return [point.payload["id"] for point in answer]

    def query_shard(self, vector: Vectors, shard: int) -> Any:
        models = self._models
        condition = models.FieldCondition(key="shard", match=models.MatchValue(value=shard))
        return self._client.query_points(
            "benchmark", query=vector, limit=TOP_K, query_filter=models.Filter(must=[condition])
        ).points

    def query_contains(self, vector: Vectors, word: str) -> Any:
        raise UnsupportedError("whole words only")

    def query_many(self, vectors: Vectors) -> Any:
        requests = [
            self._models.QueryRequest(query=v.tolist(), limit=TOP_K, with_payload=True)
            for v in vectors
        ]
        return self._client.query_batch_points("benchmark", requests)

    def ids_many(self, answer: Any) -> list[list[str]]:
        return [self.ids(one.points) for one in answer]

    def get_all(self) -> int:
        records, _ = self._client.scroll("benchmark", limit=10_000_000, with_payload=True)
        return len([(r.payload["id"], r.payload["document"], r.payload) for r in records])

    def close(self) -> None:
        self._client.close()
