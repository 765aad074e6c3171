"""LanceDB on a local folder."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from benchmarks.engines.base import EF_CONSTRUCTION, EF_SEARCH, GRAPH_M, TOP_K, Engine, Payload

if TYPE_CHECKING:
    from benchmarks.data import Vectors

#: Candidates rescored, in multiples of the answer: the least that reaches recall 0.99.
REFINE = 2
COLUMNS = ["id", "document", "pos", "lexname", "words", "shard", "_distance"]


class Lancedb(Engine):
    """One table; the index is an HNSW graph over 8-bit vectors, rescored with the whole ones."""

    label = "LanceDB"
    module = "lancedb"
    needs = ("pyarrow",)
    distributions = ("lancedb",)
    batch = 0

    def open(self, capacity: int) -> None:
        import lancedb
        import pyarrow as pa

        self._schema = pa.schema(
            [
                pa.field("id", pa.string()),
                pa.field("vector", pa.list_(pa.float32(), self.dimensions)),
                pa.field("document", pa.string()),
                pa.field("pos", pa.string()),
                pa.field("lexname", pa.int32()),
                pa.field("words", pa.int32()),
                pa.field("shard", pa.int32()),
            ]
        )
        self._db: Any = lancedb.connect(str(self.folder))
        self._table: Any = self._db.create_table("benchmark", schema=self._schema)

    def add(self, payload: Payload) -> None:
        import pyarrow as pa

        flat = pa.array(payload.vectors.reshape(-1))
        keys = ("pos", "lexname", "words", "shard")
        columns = {
            "id": payload.ids,
            "vector": pa.FixedSizeListArray.from_arrays(flat, self.dimensions),
            "document": payload.documents,
            **{key: [m[key] for m in payload.metadatas] for key in keys},
        }
        self._table.add(pa.table(columns, schema=self._schema))

    def build(self) -> None:
        from lancedb.index import HnswSq

        self._table.create_index(
            "vector",
            config=HnswSq(
                distance_type="cosine", num_partitions=1, m=GRAPH_M, ef_construction=EF_CONSTRUCTION
            ),
            wait_timeout=timedelta(hours=1),
        )

    def _search(self, vector: Any) -> Any:
        search = self._table.search(vector).distance_type("cosine").ef(EF_SEARCH).nprobes(1)
        return search.refine_factor(REFINE).select(COLUMNS).limit(TOP_K)

    def query(self, vector: Vectors) -> Any:
        return self._search(vector).to_list()

    def ids(self, answer: Any) -> list[str]:
        return [row["id"] for row in answer]

    def query_shard(self, vector: Vectors, shard: int) -> Any:
        return self._search(vector).where(f"shard = {shard}", prefilter=True).to_list()

    def query_contains(self, vector: Vectors, word: str) -> Any:
        return self._search(vector).where(f"document LIKE '%{word}%'", prefilter=True).to_list()

    def query_many(self, vectors: Vectors) -> Any:
        return self._search(list(vectors)).to_list()

    def ids_many(self, answer: Any) -> list[list[str]]:
        found: dict[int, list[str]] = {}
        for row in answer:
            found.setdefault(row["query_index"], []).append(row["id"])
        return [found[key] for key in sorted(found)]

    def get_all(self) -> int:
        return len(self._table.search().select(COLUMNS[:-1]).limit(None).to_list())
