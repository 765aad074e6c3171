"""The stores that `benchmarks.memory_peers` compares, each by the few operations that its trials need.

Settings are each store's defaults, as somebody has them who only follows its first page. Answers have
Chroma's shape, so that one judge looks at all of them. Nothing of one store is imported by another.
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from benchmarks import memory_trial_stores as stores

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.memory_trial_stores import Part, Records, Vectors

Answer = dict[str, Any]
#: Records of a piece, where everything is read or written in pieces.
PIECE = 500


class Peer(ABC):
    """One store.

    Args:
        folder: Where it lies; one that is not there is made.
        engine: The engine of graphs, for the store that has several.
    """

    #: The module, and the distribution of the same name.
    module: ClassVar[str]

    @abstractmethod
    def __init__(self, folder: Path, engine: str) -> None: ...

    @classmethod
    def version(cls) -> str:
        """Return the distribution's version."""
        name = cls.module.replace("_", "-")
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            return f"{name} (source tree)"

    @abstractmethod
    def create(self, part: Part) -> None:
        """Make an empty collection."""

    @abstractmethod
    def add(self, part: Part, records: Records) -> None:
        """Add records, in as few calls as the store takes them in."""

    @abstractmethod
    def build(self, part: Part) -> None:
        """Return when a graph covers every record."""

    @abstractmethod
    def query(
        self,
        part: Part,
        vectors: Vectors,
        n_results: int,
        *,
        below: tuple[str, float] | None = None,
        documents: bool = False,
    ) -> Answer:
        """Return ids and distances of the nearest to each vector, and their documents.

        Args:
            part: The collection.
            vectors: The queries, one a row.
            n_results: So many for each.
            below: Only records whose key of this name is less than this.
            documents: Are documents asked for?
        """

    @abstractmethod
    def get(
        self,
        part: Part,
        *,
        ids: list[str] | None = None,
        below: tuple[str, float] | None = None,
        contains: str = "",
        whole: bool = False,
    ) -> Answer:
        """Return the records that meet a condition, or all of them.

        Args:
            part: The collection.
            ids: Those of these ids.
            below: Those whose key of this name is less than this.
            contains: Those whose document has this in it.
            whole: Documents and metadata as well as ids?
        """

    @abstractmethod
    def count(self, part: Part) -> int:
        """Return the number of records."""

    @abstractmethod
    def export(self, part: Part, path: Path) -> None:
        """Write everything to a Parquet file."""

    def close(self) -> None:  # noqa: B027 - one has nothing to close
        """Let go of the store."""


def _write(tables: Iterator[Any], path: Path) -> None:
    """Write Arrow tables, piece by piece, to a Parquet file."""
    import pyarrow.parquet as pq

    writer: Any = None
    try:
        for table in tables:
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


class _Chroma(Peer):
    """What chroma_nb and chromadb have in common: Chroma's API."""

    client: Any

    def _collection(self, part: Part) -> Any:
        return self.client.get_collection(part.name, embedding_function=None)

    def create(self, part: Part) -> None:
        self.client.create_collection(
            part.name, embedding_function=None, configuration={"hnsw": {"space": part.space}}
        )

    def add(self, part: Part, records: Records) -> None:
        step, collection = self.client.get_max_batch_size(), self._collection(part)
        for first in range(0, len(records.ids), step):
            rows = slice(first, first + step)
            collection.add(
                ids=records.ids[rows],
                embeddings=records.embeddings[rows],
                documents=None if records.documents is None else records.documents[rows],
                metadatas=None if records.metadatas is None else records.metadatas[rows],
            )

    def query(
        self,
        part: Part,
        vectors: Vectors,
        n_results: int,
        *,
        below: tuple[str, float] | None = None,
        documents: bool = False,
    ) -> Answer:
        answer: Answer = self._collection(part).query(
            query_embeddings=vectors,
            n_results=n_results,
            where=_below(below),
            include=["distances", *(["documents"] if documents else [])],
        )
        return answer

    def get(
        self,
        part: Part,
        *,
        ids: list[str] | None = None,
        below: tuple[str, float] | None = None,
        contains: str = "",
        whole: bool = False,
    ) -> Answer:
        answer: Answer = self._collection(part).get(
            ids=ids,
            where=_below(below),
            where_document={"$contains": contains} if contains else None,
            include=["documents", "metadatas"] if whole else [],
        )
        return answer

    def count(self, part: Part) -> int:
        found: int = self._collection(part).count()
        return found

    def close(self) -> None:
        self.client.close()


def _below(below: tuple[str, float] | None) -> Any:
    return None if below is None else {below[0]: {"$lt": below[1]}}


class ChromaNb(_Chroma):
    """This project, with either engine."""

    module = "chroma_nb"

    def __init__(self, folder: Path, engine: str) -> None:
        import chroma_nb

        settings = chroma_nb.Settings(index_engine=engine, progress=False)
        self.client = chroma_nb.PersistentClient(folder, settings)

    def build(self, part: Part) -> None:
        self._collection(part).build_index()

    def export(self, part: Part, path: Path) -> None:
        self._collection(part).export(path)


class Chromadb(_Chroma):
    """Chroma itself. `add` makes the graph, and there is no export: pages of `get` are written."""

    module = "chromadb"

    def __init__(self, folder: Path, engine: str) -> None:
        import chromadb
        from chromadb.config import Settings

        self.client = chromadb.PersistentClient(
            str(folder), settings=Settings(anonymized_telemetry=False)
        )

    def build(self, part: Part) -> None:
        """`add` has done it."""

    def export(self, part: Part, path: Path) -> None:
        _write(self._tables(part), path)

    def _tables(self, part: Part) -> Iterator[Any]:
        collection = self._collection(part)
        for first in range(0, collection.count(), PIECE):
            page = collection.get(
                limit=PIECE, offset=first, include=["documents", "metadatas", "embeddings"]
            )
            yield _table(
                part, page["ids"], page["embeddings"], page["documents"], page["metadatas"]
            )


class Lancedb(Peer):
    """A table for each collection, a column for each key. No index unless one is asked for."""

    module = "lancedb"

    def __init__(self, folder: Path, engine: str) -> None:
        import lancedb

        self._db: Any = lancedb.connect(str(folder))
        self._open: dict[str, Any] = {}
        self._built: set[str] = set()

    def _get(self, part: Part) -> Any:
        if part.name not in self._open:
            self._open[part.name] = self._db.open_table(part.name)
        return self._open[part.name]

    def create(self, part: Part) -> None:
        self._open[part.name] = self._db.create_table(part.name, schema=_schema(part))

    def add(self, part: Part, records: Records) -> None:
        table = _table(part, records.ids, records.embeddings, records.documents, records.metadatas)
        self._get(part).add(table)

    def build(self, part: Part) -> None:
        from lancedb.index import HnswSq

        self._get(part).create_index(
            "embedding",
            config=HnswSq(distance_type=_LANCE_SPACES[part.space]),
            wait_timeout=timedelta(hours=1),
        )
        self._built.add(part.name)

    def query(
        self,
        part: Part,
        vectors: Vectors,
        n_results: int,
        *,
        below: tuple[str, float] | None = None,
        documents: bool = False,
    ) -> Answer:
        asked = vectors[0] if len(vectors) == 1 else list(vectors)
        search = self._get(part).search(asked).distance_type(_LANCE_SPACES[part.space])
        if part.name in self._built:  # The index has 8-bit vectors: see the whole ones, too.
            search = search.refine_factor(2)
        if below:
            search = search.where(f"{below[0]} < {below[1]}")
        columns = ["id", "_distance", *(["document"] if documents else [])]
        table = search.select(columns).limit(n_results).to_arrow()
        numbers = table["query_index"].to_numpy() if len(vectors) > 1 else np.zeros(len(table))
        answer: Answer = {"ids": [], "distances": [], "documents": []}
        for number in range(len(vectors)):
            one = table.filter(numbers == number)
            answer["ids"].append(one["id"].to_pylist())
            answer["distances"].append(one["_distance"].to_pylist())
            answer["documents"].append(one["document"].to_pylist() if documents else None)
        return answer

    def get(
        self,
        part: Part,
        *,
        ids: list[str] | None = None,
        below: tuple[str, float] | None = None,
        contains: str = "",
        whole: bool = False,
    ) -> Answer:
        search = self._get(part).search()
        if ids is not None:
            search = search.where(f"id IN ({', '.join(repr(one) for one in ids)})")
        if below:
            search = search.where(f"{below[0]} < {below[1]}")
        if contains:
            search = search.where(f"document LIKE '%{contains}%'")
        if not whole:
            found = search.select(["id"]).limit(None).to_arrow()["id"].to_pylist()
            return {"ids": found, "documents": None, "metadatas": None}
        columns = [name for name in _schema(part).names if name != "embedding"]
        rows = search.select(columns).limit(None).to_list()
        return {
            "ids": [row.pop("id") for row in rows],
            "documents": [row.pop("document", None) for row in rows],
            "metadatas": rows,
        }

    def count(self, part: Part) -> int:
        found: int = self._get(part).count_rows()
        return found

    def export(self, part: Part, path: Path) -> None:
        _write(self._tables(part), path)

    def _tables(self, part: Part) -> Iterator[Any]:
        import pyarrow as pa

        search = self._get(part).search().limit(None)
        for batch in search.to_batches(batch_size=PIECE):
            yield pa.Table.from_batches([batch])


_LANCE_SPACES: dict[str, Any] = {"l2": "l2", "cosine": "cosine", "ip": "dot"}


class Zvec(Peer):
    """Alibaba's zvec: a folder for each collection. No graph unless one is asked for.

    A call takes 1,024 records at most, and one query; many are asked one after the other.
    """

    module = "zvec"

    def __init__(self, folder: Path, engine: str) -> None:
        import zvec

        self._zvec: Any = zvec
        self._folder = folder
        self._open: dict[str, Any] = {}

    def _get(self, part: Part) -> Any:
        if part.name not in self._open:
            self._open[part.name] = self._zvec.open(str(self._folder / part.name))
        return self._open[part.name]

    def create(self, part: Part) -> None:
        zvec = self._zvec
        kinds = {
            int: zvec.DataType.INT64,
            float: zvec.DataType.DOUBLE,
            str: zvec.DataType.STRING,
        }
        columns = _columns(part)
        schema = zvec.CollectionSchema(
            part.name,
            fields=[
                zvec.FieldSchema(name, kinds[kind], nullable=True)
                for name, kind in columns.items()
                if name != "id"
            ],
            vectors=zvec.VectorSchema(
                "embedding",
                zvec.DataType.VECTOR_FP32,
                part.dimension,
                index_param=zvec.FlatIndexParam(metric_type=self._space(part)),
            ),
        )
        path = str(self._folder / part.name)
        self._open[part.name] = zvec.create_and_open(path, schema)

    def add(self, part: Part, records: Records) -> None:
        collection, step = self._get(part), 1_024
        for first in range(0, len(records.ids), step):
            docs = [
                self._zvec.Doc(
                    records.ids[at],
                    vectors={"embedding": records.embeddings[at]},
                    fields={
                        **(records.metadatas[at] if records.metadatas else {}),
                        **({"document": records.documents[at]} if records.documents else {}),
                    },
                )
                for at in range(first, min(first + step, len(records.ids)))
            ]
            for status in collection.insert(docs):
                if not status.ok():
                    raise RuntimeError(f"insert: {status.message()}")

    def build(self, part: Part) -> None:
        index = self._zvec.HnswIndexParam(metric_type=self._space(part))
        self._get(part).create_index("embedding", index)

    def _space(self, part: Part) -> Any:
        kinds = self._zvec.MetricType
        return {"l2": kinds.L2, "cosine": kinds.COSINE, "ip": kinds.IP}[part.space]

    def query(
        self,
        part: Part,
        vectors: Vectors,
        n_results: int,
        *,
        below: tuple[str, float] | None = None,
        documents: bool = False,
    ) -> Answer:
        answer: Answer = {"ids": [], "distances": [], "documents": []}
        for vector in vectors:
            found = self._get(part).query(
                self._zvec.Query("embedding", vector=vector),
                topk=n_results,
                filter=f"{below[0]} < {below[1]}" if below else None,
                output_fields=["document"] if documents else [],
            )
            scores = [doc.score for doc in found]
            answer["ids"].append([doc.id for doc in found])
            # The score by inner product is the product itself.
            answer["distances"].append([1 - s for s in scores] if part.space == "ip" else scores)
            answer["documents"].append([doc.fields.get("document") for doc in found])
        return answer

    def get(
        self,
        part: Part,
        *,
        ids: list[str] | None = None,
        below: tuple[str, float] | None = None,
        contains: str = "",
        whole: bool = False,
    ) -> Answer:
        collection = self._get(part)
        fields: list[str] | None = None if whole else []
        if ids is not None:
            docs = collection.fetch(ids, output_fields=fields, include_vector=False).values()
        elif below or contains:
            asked = [f"{below[0]} < {below[1]}"] if below else []
            asked += [f"document LIKE '%{contains}%'"] if contains else []
            docs = collection.query(filter=" AND ".join(asked), topk=part.n, output_fields=fields)
        else:
            docs = collection.iter_docs(output_fields=fields, include_vector=False)
        if not whole:
            return {"ids": [doc.id for doc in docs], "documents": None, "metadatas": None}
        docs = list(docs)
        return {
            "ids": [doc.id for doc in docs],
            "documents": [doc.fields.pop("document", None) for doc in docs],
            "metadatas": [doc.fields for doc in docs],
        }

    def count(self, part: Part) -> int:
        found: int = self._get(part).stats.doc_count
        return found

    def export(self, part: Part, path: Path) -> None:
        _write(self._tables(part), path)

    def _tables(self, part: Part) -> Iterator[Any]:
        docs: list[Any] = []
        vectors = np.empty((PIECE, part.dimension), dtype=np.float32)

        def table() -> Any:
            texts = [doc.fields.pop("document", None) for doc in docs]
            fields = [doc.fields for doc in docs]
            return _table(part, [doc.id for doc in docs], vectors[: len(docs)], texts, fields)

        for doc in self._get(part).iter_docs():
            vectors[len(docs)] = doc.vectors.pop("embedding")
            docs.append(doc)
            if len(docs) == PIECE:
                yield table()
                docs.clear()
        if docs:
            yield table()

    def close(self) -> None:
        for one in self._open.values():
            one.close()


def _columns(part: Part) -> dict[str, type]:
    """Return the columns of a store that has some, without the vectors'."""
    keys = {name: type(value) for name, value in stores.metadata(part, 0).items()}
    return {"id": str, **({"document": str} if part.text else {}), **keys}


def _schema(part: Part) -> Any:
    import pyarrow as pa

    kinds: dict[type, Any] = {int: pa.int64(), float: pa.float64(), str: pa.string()}
    vector = pa.list_(pa.float32(), part.dimension)
    return pa.schema(
        [("embedding", vector), *((name, kinds[kind]) for name, kind in _columns(part).items())]
    )


def _table(part: Part, ids: Any, vectors: Any, documents: Any, metadatas: Any) -> Any:
    """Return records as an Arrow table, a column for each key."""
    import pyarrow as pa

    schema = _schema(part)
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    columns: dict[str, Any] = {
        "embedding": pa.FixedSizeListArray.from_arrays(flat, part.dimension),
        "id": ids,
    }
    for name in schema.names:
        if name == "document":
            columns[name] = documents
        elif name not in columns:
            columns[name] = [one[name] for one in metadatas] if metadatas else [None] * len(ids)
    return pa.table(columns, schema=schema)


#: By the names of the engines that `benchmarks.memory` has.
PEERS: dict[str, type[Peer]] = {
    "usearch": ChromaNb,
    "hnswlib": ChromaNb,
    "chromadb": Chromadb,
    "lancedb": Lancedb,
    "zvec": Zvec,
}


def is_installed(engine: str) -> bool:
    """Say whether a store and its engine can be imported."""
    modules = (PEERS[engine].module, *(["hnswlib"] if engine == "hnswlib" else []))
    return all(importlib.util.find_spec(one) is not None for one in modules)
