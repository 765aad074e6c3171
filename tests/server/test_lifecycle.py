"""Starting, stopping, dying; what a server says of itself."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
import requests

import chroma_nb
from benchmarks.servers import Running, running, start_ours
from chroma_nb import Knn, Search, errors, stores
from tests.server.conftest import PLACE, Raw

if TYPE_CHECKING:
    from pathlib import Path


def metrics(server: Running) -> str:
    return requests.get(f"{server.url}/metrics", timeout=60).text


def test_a_stop_finishes_requests_and_saves_graphs(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(8_000, 32)).astype("f4")
    with (
        running(start_ours(tmp_path, "--path", store)) as server,
        chroma_nb.connect(server.url) as client,
    ):
        docs = client.create_collection("docs", embedding_function=None)
        docs.add(ids=[str(i) for i in range(8_000)], embeddings=vectors)
        docs.build_index()
        slow = threading.Thread(
            target=docs.upsert, args=([f"n{i}" for i in range(5_000)], vectors[:5_000])
        )
        slow.start()
        # Until the server is at it beside the request for the metrics; it may also have been answered by then.
        while slow.is_alive() and "chroma_nb_requests_in_flight 2.0" not in metrics(server):
            pass
        assert server.stop() == 0
        slow.join()
    with running(start_ours(tmp_path, "--path", store)) as server:
        with chroma_nb.connect(server.url) as client:
            docs = client.get_collection("docs")
            assert docs.count() == 13_000, "the request under way was finished"
            assert docs.get_indexing_status().num_indexed_ops >= 8_000, "the graph was saved"
            assert docs.query(query_embeddings=vectors[5], n_results=1)["distances"][0][0] < 1e-4
        assert server.stop() == 0


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path, transport: dict[str, str]) -> None:
    store = str(tmp_path / "store")
    acknowledged: list[str] = []
    for round_ in range(3):
        with running(start_ours(tmp_path, "--path", store, **transport)) as server:
            client = chroma_nb.connect(server.url, settings=chroma_nb.Settings(retries=0))
            docs = client.get_or_create_collection("docs", embedding_function=None)
            assert set(docs.get(include=[])["ids"]) >= set(acknowledged)
            stopped = threading.Event()

            def write(docs: chroma_nb.Collection = docs, name: str = f"{round_}") -> None:
                number = 0
                while not stopped.is_set():  # noqa: B023
                    ids = [f"{name}-{number}-{i}" for i in range(20)]
                    try:
                        docs.add(ids=ids, embeddings=np.ones((20, 8)))
                    except errors.ServerUnavailableError:
                        return
                    acknowledged.extend(ids)
                    number += 1

            thread = threading.Thread(target=write)
            thread.start()
            time.sleep(0.6)
            server.kill()
            stopped.set()
            thread.join()
            client.close()
    assert len(acknowledged) > 60
    with (
        running(start_ours(tmp_path, "--path", store, **transport)) as server,
        chroma_nb.connect(server.url) as client,
    ):
        assert set(client["docs"].get(include=[])["ids"]) >= set(acknowledged)


def test_a_client_outlives_its_server(tmp_path: Path, transport: dict[str, str]) -> None:
    store = str(tmp_path / "store")
    with running(start_ours(tmp_path, "--path", store, **transport)) as server:
        client = chroma_nb.connect(server.url)
        docs = client.create_collection("docs", embedding_function=None)
        docs.add(ids="a", embeddings=[1.0])
        port = server.port
        server.kill()
    with pytest.raises(errors.ServerUnavailableError, match="answered before"):
        docs.count()
    with pytest.raises(ValueError, match="does not any more"):
        docs.count()
    with running(start_ours(tmp_path, "--path", store, port=port, **transport)):
        assert docs.count() == 1
    client.close()


def test_a_client_that_asks_nothing_does_not_hold_up_the_end(
    tmp_path: Path, transport: dict[str, str]
) -> None:
    store = str(tmp_path / "store")
    with (
        running(start_ours(tmp_path, "--path", store, **transport)) as server,
        chroma_nb.connect(server.url) as client,
    ):
        docs = client.create_collection("docs", embedding_function=None)
        docs.add(ids="a", embeddings=[1.0])
        assert docs.get()["ids"] == ["a"]
        began = time.monotonic()
        assert server.stop() == 0
        # Over Arrow Flight the client's stream is still open. Nothing waits for it: it may stay so for ever.
        assert time.monotonic() - began < 25
    with chroma_nb.PersistentClient(store) as kept:
        assert kept.get_collection("docs").count() == 1


def test_two_servers_do_not_share_a_folder(tmp_path: Path, transport: dict[str, str]) -> None:
    store = str(tmp_path / "store")
    with running(start_ours(tmp_path, "--path", store, **transport)) as server:
        second = subprocess.run(
            [sys.executable, "-m", "chroma_nb", "run", "--path", store, "--port", "0"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, **transport},
        )
        assert second.returncode == 1
        assert "Traceback" not in second.stderr
        third = subprocess.run(
            [sys.executable, "-m", "chroma_nb", "run", "--port", str(server.port)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, **transport},
        )
        assert third.returncode == 1
        assert f"127.0.0.1:{server.port}" in third.stderr


def test_metrics(server: Running) -> None:
    raw = Raw(server.url)
    raw("GET", f"{PLACE}/collections")
    raw("GET", f"{PLACE}/collections/nope")
    text = raw("GET", "/metrics").text
    assert 'chroma_nb_requests_total{operation="list_collections",status="200"}' in text
    assert 'chroma_nb_requests_total{operation="get_collection",status="404"}' in text
    assert 'chroma_nb_request_seconds_bucket{le="0.001",operation="list_collections"}' in text
    for name in ("memory_budget_bytes", "process_resident_bytes", "requests_in_flight"):
        assert f"\nchroma_nb_{name} " in text
    raw.close()


def test_the_log_is_json_and_names_the_trace(tmp_path: Path) -> None:
    with running(start_ours(tmp_path)) as server:
        raw = Raw(server.url)
        text = "a private document"
        path = raw.collection("docs")
        raw("POST", path + "/add", {"ids": ["a"], "embeddings": [[1.0]], "documents": [text]})
        raw("POST", path + "/get", {"where_document": {"$contains": text}})
        missing = raw("GET", f"{PLACE}/collections/nope").headers["chroma-trace-id"]
        raw.close()
        server.stop()
        lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    mine = [line for line in lines if line.get("trace_id") == missing]
    assert [(line["operation"], line["status"]) for line in mine] == [("get_collection", 404)]
    assert {"time", "level", "ms", "tenant", "bytes_in", "bytes_out"} <= mine[0].keys()
    assert text not in server.log.read_text()


def test_a_server_beside_the_clients_of_a_notebook() -> None:
    settings = chroma_nb.configure(server_port=0, allow_reset=True, compact_ratio=0.51)
    try:
        with chroma_nb.Client() as near:
            near.create_collection("docs", embedding_function=None).add(ids="a", embeddings=[1.0])
            server = chroma_nb.get_server()
            assert isinstance(server, chroma_nb.Server)
            with server, chroma_nb.connect(server.start()) as far:
                assert far["docs"].get()["ids"] == ["a"]
                far["docs"].add(ids="b", embeddings=[2.0])
                assert near["docs"].count() == 2
                with pytest.raises(errors.InternalError, match="once"):
                    server.run()
            assert near["docs"].count() == 2, "the store outlives the server while it is used"
            server.stop()
    finally:
        chroma_nb.configure()
        stores.open_store(settings).api.close()
        stores.close_all()


def test_the_async_face_at_a_server(server: Running) -> None:
    async def work() -> None:
        async with await chroma_nb.AsyncHttpClient(port=server.port) as client:
            docs = await client.get_or_create_collection("async", embedding_function=None)
            await asyncio.gather(
                *(docs.upsert(ids=[str(i)], embeddings=[[float(i), 1.0]]) for i in range(40))
            )
            assert await docs.count() == 40
            found = await docs.query(query_embeddings=[[7.0, 1.0]], n_results=1)
            assert found["ids"] == [["7"]]
            near = Search(rank=Knn([7.0, 1.0]), limit=1)
            found = await asyncio.gather(*(docs.search([near, near]) for _ in range(8)))
            assert [one["ids"] for one in found] == [[["7"], ["7"]]] * 8
            assert (await client.memory.report()).server == f"http://localhost:{server.port}"
            assert await client.memory.budget > 0
            assert [one.name for one in await client.list_collections()] == ["async"]
            await client.delete_collection("async")

    with chroma_nb.connect(server.url) as client:
        for one in client.list_collections():
            client.delete_collection(one.name)
    asyncio.run(work())
