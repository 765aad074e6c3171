"""One of each object that a cell may return."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb
from chroma_nb.check_report import CheckReport, CollectionCheck
from chroma_nb.errors import MemoryBudgetError
from chroma_nb.memory.limits import Limit, explained
from chroma_nb.search import Search
from chroma_nb.transfer.report import TransferReport
from chroma_nb.types import DEFAULT_DATABASE, DEFAULT_TENANT

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENTS = [
    "the bear is a large furry animal",
    "costs $5, not $10,   and <b>not</b> less",
    "trains run on rails " * 20,
]

#: What a check may find: one damaged collection, one whole.
CHECKED = [
    CollectionCheck("notes", DEFAULT_TENANT, DEFAULT_DATABASE, 3, n_blocks=1),
    CollectionCheck(
        "papers",
        DEFAULT_TENANT,
        "team",
        20_000,
        n_blocks=8,
        n_damaged_blocks=1,
        damaged_ids=[f"paper-{row}" for row in range(2_730)],
        derived=["papers.usearch"],
    ),
]


def notes_in(client: Any) -> Any:
    """Make the collection that is shown."""
    collection = client.create_collection("notes", metadata={"source": "a test"})
    collection.add(
        ids=["a", "b", "c"],
        documents=DOCUMENTS,
        metadatas=[{"n": 1, "kind": "animal"}, {"n": 2, "price": 5.5, "tags": ["x", "y"]}, None],
    )
    return collection


def objects_of(client: Any, collection: Any) -> dict[str, Any]:
    """Return one of each object that a notebook shows, by name."""
    asked = ["what is large and has fur?", "a vehicle on rails"]
    return {
        "client": client,
        "collections": client.list_collections(),
        "collection": collection,
        "get": collection.get(include=["documents", "metadatas", "embeddings", "uris"]),
        "query": collection.query(query_texts=asked, n_results=2),
        "by embedding": collection.query(query_embeddings=[[1.0] * 256], n_results=2),
        "search": collection.search([*asked, Search(limit=1)]),
        "words": collection.search(
            "animal", by="words", rerank=lambda _, texts: [1.5] * len(texts)
        ),
        "nothing searched": collection.search("x", where={"n": -1}),
        "nothing": collection.query(query_texts="x", where={"n": -1}),
        "comparison": chroma_nb.compare(
            collection.query(query_texts=asked, n_results=2),
            collection.query(query_texts=asked[::-1], n_results=2),
        ),
        "fields": collection.fields,
        "explain": collection.explain(query_texts=asked[:1]),
        "explain search": collection.explain(search=asked[0]),
        "status": collection.get_indexing_status(),
        "memory": client.memory,
        "report": client.memory.report(),
        "preview": client.memory.preview(0),
        "estimate": client.memory.estimate(20_000, 384),
        "limits": explained(
            [
                Limit("cgroup v2", 2_000_000, 1_500_000, "/sys/fs/cgroup/memory.max"),
                Limit("physical memory", 9_000_000, 1_000_000, "/proc/meminfo"),
            ]
        ),
        "schema": collection.schema,
        "settings": client.get_settings(),
        "check": CheckReport(
            "./store", CHECKED, n_bytes=3_000_000, unnamed=["./store/3f2c.vectors"]
        ),
        "transfer": TransferReport(
            "notes", added=3, skipped=1, left_out={"price": 2}, ids="the column 'id'"
        ),
        "error": chroma_nb.errors.NotFoundError("Collection [x] does not exist."),
        "budget error": MemoryBudgetError("too large", need=3_000, free=20, budget=1_000),
    }


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CHROMA_NB_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def client() -> Iterator[Any]:
    settings = chroma_nb.Settings(embedding="static", allow_reset=True, memory_budget="100 MB")
    client = chroma_nb.EphemeralClient(settings)
    client.reset()
    yield client
    client.reset()
    client.close()


@pytest.fixture
def collection(client: Any) -> Any:
    return notes_in(client)


@pytest.fixture
def objects(client: Any, collection: Any) -> dict[str, Any]:
    return objects_of(client, collection)
