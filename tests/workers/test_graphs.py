"""Graphs that workers build: checked by the store that opens them, and built here where no worker can."""

from __future__ import annotations

import contextlib
import os
import threading
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from tests.support.brokers import Broker, Worker, running_worker, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

N_RECORDS, DIMENSION = 6_000, 16


@pytest.fixture(autouse=True)
def _celery() -> None:
    pytest.importorskip("celery")


def notice() -> type[Warning]:
    from chroma_nb.tasks.workers import WorkerNotice

    return WorkerNotice


@pytest.fixture
def builder(shared_broker: Broker, tmp_path: Path) -> Iterator[Worker]:
    """A worker that may build graphs of the stores in this test's folder."""
    (tmp_path / "stores").mkdir()
    stores = ("--stores", str(tmp_path / "stores"))
    with running_worker(shared_broker.url, tmp_path / "worker.log", *stores) as worker:
        yield worker


@contextlib.contextmanager
def store(broker: Broker, tmp_path: Path, **values: Any) -> Iterator[Any]:
    path = str(tmp_path / "stores" / "one")
    settings = chroma_nb.Settings(
        api="celery",
        celery_broker=broker.url,
        path=path,
        progress=False,
        index_engine="usearch",
        **values,
    )
    with chroma_nb.Client(settings) as client:
        yield client


def vectors(n: int = N_RECORDS, dimension: int = DIMENSION) -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).normal(size=(n, dimension)).astype(np.float32)


def filled(client: Any, embeddings: np.ndarray[Any, Any]) -> Any:
    notes = client.create_collection("notes", embedding_function=None)
    notes.add(ids=[str(i) for i in range(len(embeddings))], embeddings=embeddings)
    return notes


def recall(notes: Any, embeddings: np.ndarray[Any, Any], k: int = 10) -> float:
    queries = embeddings[:50] + 0.01
    found = notes.query(query_embeddings=queries, n_results=k)["ids"]
    distances = ((queries[:, None, :] - embeddings[None]) ** 2).sum(axis=2)
    right = np.argsort(distances, axis=1)[:, :k]
    hits = sum(
        len(set(ids) & set(map(str, row))) for ids, row in zip(found, right.tolist(), strict=True)
    )
    return hits / (k * len(queries))


def report(client: Any) -> Any:
    return client.workers.report()


def files(tmp_path: Path) -> set[str]:
    return {
        name
        for _, _, names in os.walk(tmp_path / "stores")
        for name in names
        if "graph" in name or "built-" in name
    }


def stamp(tmp_path: Path, name: str) -> int:
    (found,) = (tmp_path / "stores").rglob(name)
    return found.stat().st_mtime_ns


def test_a_worker_builds_the_graph_and_the_store_opens_it(
    shared_broker: Broker, builder: Worker, tmp_path: Path
) -> None:
    embeddings = vectors()
    with store(shared_broker, tmp_path) as client:
        notes = filled(client, embeddings)
        notes.build_index()
        assert report(client).graphs == 1
        assert notes.get_indexing_status().num_unindexed_ops == 0
        assert recall(notes, embeddings) > 0.9
        # It is in the place of the store's own, and nothing else is left.
        assert {one.split(".", 2)[2] for one in files(tmp_path)} in (
            {"usearch.graph", "usearch.graph.json"},
            {"hnswlib.graph", "hnswlib.graph.json"},
        )
        assert notes.query(query_embeddings=embeddings[5], n_results=1)["ids"] == [["5"]]
    # A store without workers takes it as its own.
    alone = chroma_nb.Settings(progress=False, index_engine="usearch")
    with chroma_nb.PersistentClient(str(tmp_path / "stores" / "one"), alone) as client:
        notes = client.get_collection("notes", embedding_function=None)
        before = {one: stamp(tmp_path, one) for one in files(tmp_path)}
        notes.build_index()
        assert {one: stamp(tmp_path, one) for one in files(tmp_path)} == before
        assert recall(notes, embeddings) > 0.9


def test_deleted_records_are_left_out_and_later_ones_are_found(
    shared_broker: Broker, builder: Worker, tmp_path: Path
) -> None:
    embeddings = vectors()
    with store(shared_broker, tmp_path, compact_ratio=1.0) as client:
        notes = filled(client, embeddings)
        notes.delete(ids=[str(i) for i in range(0, 400, 2)])
        notes.build_index()
        assert report(client).graphs == 1
        far = np.full((1, DIMENSION), 50.0, np.float32)
        notes.add(ids=["far"], embeddings=far)
        assert notes.query(query_embeddings=far, n_results=1)["ids"] == [["far"]]
        found = notes.query(query_embeddings=embeddings[:100], n_results=20)["ids"]
        assert not {one for ids in found for one in ids} & {str(i) for i in range(0, 400, 2)}


def test_a_store_that_the_worker_may_not_use_builds_its_graph_itself(
    shared_broker: Broker, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "stores").mkdir()
    embeddings = vectors()
    arguments = ("--stores", str(tmp_path / "elsewhere"))
    with (
        running_worker(shared_broker.url, tmp_path / "worker.log", *arguments),
        store(shared_broker, tmp_path) as client,
    ):
        notes = filled(client, embeddings)
        with warnings.catch_warnings():
            # It depends on who is first, the store's own thread or this one.
            warnings.simplefilter("ignore", notice())
            notes.build_index()
        assert report(client).graphs == 0
        assert "is not one of those that this worker may use" in str(report(client).events)
        assert recall(notes, embeddings) > 0.9


def test_a_worker_that_is_killed_while_it_builds_costs_time(
    shared_broker: Broker, builder: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chroma_nb.tasks import graph_builder

    monkeypatch.setattr(graph_builder, "SILENT_SECONDS", 3.0)
    embeddings = vectors(30_000, 64)
    with store(shared_broker, tmp_path) as client:

        def kill() -> None:
            wait_for(
                lambda: b"A graph" in builder.log.read_bytes() or busy(builder), "building", 60
            )
            builder.stop()

        killer = threading.Thread(target=kill)
        killer.start()
        notes = filled(client, embeddings)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", notice())
            notes.build_index()
        killer.join()
        assert notes.get_indexing_status().num_unindexed_ops == 0
        assert recall(notes, embeddings) > 0.5
        assert not [one for one in files(tmp_path) if "built-" in one]


def busy(worker: Worker) -> bool:
    with contextlib.suppress(Exception):
        return any(one.cpu_percent(0.2) > 30 for one in worker.children())
    return False


def test_closing_does_not_wait_for_a_worker(
    shared_broker: Broker, builder: Worker, tmp_path: Path
) -> None:
    with store(shared_broker, tmp_path) as client:
        filled(client, vectors(60_000, 64))
        wait_for(lambda: busy(builder) or report(client).graphs, "building", 60)
    with store(shared_broker, tmp_path) as client:
        assert client.get_collection("notes", embedding_function=None).count() == 60_000


def test_without_fallback_a_graph_that_no_worker_builds_is_an_error(
    shared_broker: Broker, tmp_path: Path
) -> None:
    (tmp_path / "stores").mkdir()
    with (
        running_worker(shared_broker.url, tmp_path / "worker.log"),
        store(shared_broker, tmp_path, celery_fallback=False) as client,
    ):
        notes = filled(client, vectors())
        with pytest.raises(
            chroma_nb.errors.ServerUnavailableError, match="no worker that builds graphs"
        ):
            notes.build_index()
        # Nothing is lost by that: answers are exact.
        assert recall(notes, vectors()) == 1.0
