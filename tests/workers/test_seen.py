"""What can be seen of workers: the report, the panel, the metrics of a server that has some, and their log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

import chroma_nb
from benchmarks.servers import running, start_ours
from chroma_nb import display
from chroma_nb.embedding import StaticEmbeddingFunction
from chroma_nb.errors import NotSupportedError
from tests.stores import private_settings
from tests.support.brokers import Broker, Worker, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEXTS = [f"text {i}" for i in range(600)]


@pytest.fixture(autouse=True)
def _celery() -> None:
    pytest.importorskip("celery")


def test_the_report_says_who_is_there_and_what_was_done(
    shared_broker: Broker, worker: Worker, open_client: Callable[..., Any]
) -> None:
    client = open_client(shared_broker)
    assert "nobody was asked yet" in (display.html(client.workers) or "")
    notes = client.create_collection("notes", embedding_function=StaticEmbeddingFunction())
    notes.add(ids=[str(i) for i in range(600)], documents=TEXTS)
    report = client.workers.report()
    assert repr(report).startswith("WorkersReport(1 worker at ")
    assert "0 pieces in flight, 3 done, 0 done here, 0 failed" in repr(report)
    for shown in (report, client.workers):
        html = display.html(shown) or ""
        assert "1 worker at" in html
        assert str(worker.pid) in html
        assert "guest" not in html


def test_the_panel_follows(
    shared_broker: Broker, worker: Worker, open_client: Callable[..., Any]
) -> None:
    pytest.importorskip("ipywidgets")
    client = open_client(shared_broker)
    with client.workers.widget(refresh_seconds=0.5) as panel:
        client.create_collection(
            "notes", embedding_function=StaticEmbeddingFunction()
        ).embed_documents(TEXTS)

        def shown() -> str:
            return "".join(one.value for one in panel._root.children)

        wait_for(lambda: "1 worker at" in shown() and ">3<" in shown(), "showing the pieces", 30)
        assert "1 worker at" in panel._repr_html_()
    assert panel.closed


def test_a_store_without_workers_says_so() -> None:
    with chroma_nb.Client(private_settings()) as client:
        assert "No workers compute for this store" in (display.html(client.workers) or "")
        with pytest.raises(NotSupportedError, match="celery_broker"):
            client.workers.report()
        with pytest.raises(NotSupportedError, match="celery_broker"):
            client.workers.widget()


def test_a_server_may_have_workers_and_its_metrics_count_them(
    shared_broker: Broker, worker: Worker, tmp_path: Path
) -> None:
    environment = {
        "CHROMA_NB_API": "celery",
        "CHROMA_NB_CELERY_BROKER": shared_broker.url,
        "CHROMA_NB_CELERY_FALLBACK": "false",
    }
    with running(start_ours(tmp_path, **environment)) as server:
        address = f"http://127.0.0.1:{server.port}"

        def metrics() -> str:
            return requests.get(f"{address}/metrics", timeout=30).text

        wait_for(lambda: "chroma_nb_workers 1.0" in metrics(), "counting the worker", 30)
        assert "chroma_nb_worker_pieces_failed_total 0.0" in metrics()
        with chroma_nb.connect(address) as client:
            notes = client.create_collection("notes", embedding_function=None)
            notes.add(ids=["a"], embeddings=[[1.0, 2.0]])
            assert notes.count() == 1
