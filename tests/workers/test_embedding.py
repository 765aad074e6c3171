"""Texts that workers embed: the same vectors, no text lost, whatever happens meanwhile."""

from __future__ import annotations

import gc
import pickle
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb.embedding import StaticEmbeddingFunction, embed_documents
from chroma_nb.errors import ServerUnavailableError
from tests.stores import private_settings
from tests.support.brokers import Broker, Worker, running_broker, running_worker, wait_for
from tests.support.slow_functions import Failing, Slow
from tests.workers.conftest import SLOW

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

TEXTS = [f"{i} green hills, {i * i} birds and the {i % 17}th of them" for i in range(2000)]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    pytest.importorskip("celery")


def notice() -> type[Warning]:
    from chroma_nb.tasks.workers import WorkerNotice

    return WorkerNotice


def embedded(client: Any, function: Any, texts: list[str] = TEXTS) -> NDArray[np.float32]:
    collection = client.get_or_create_collection("notes", embedding_function=function)
    found: NDArray[np.float32] = collection.embed_documents(texts)
    return found


def is_right(found: NDArray[np.float32], function: Any, texts: list[str] = TEXTS) -> bool:
    return bool(np.array_equal(found, embed_documents(function, texts)))


def in_background(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Begin work in a thread; its result, or its error, is the list's first item when it has ended."""
    done: list[Any] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:
            done.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, done


def report(client: Any) -> Any:
    return client.workers.report()


def wait_until_busy(client: Any) -> None:
    wait_for(lambda: report(client).pieces_in_flight, "sending the first piece")


def wait_until_begun(worker: Worker, client: Any) -> None:
    """Wait until a worker computes: then some pieces are done, and others are not."""
    wait_for(lambda: report(client).done > 0, "the first piece")


def test_the_vectors_are_those_of_this_process_bit_for_bit(
    shared_broker: Broker, worker: Worker, open_client: Callable[..., Any]
) -> None:
    function = StaticEmbeddingFunction()
    client = open_client(shared_broker)
    seen: list[int] = []
    found = client.api.embed(function, TEXTS, seen.append)
    assert is_right(found, function)
    assert sum(seen) == len(TEXTS)
    said = report(client)
    assert (said.done, said.done_here, said.failed) == (8, 0, 0)
    assert said.pieces_in_flight == 0
    assert [one.is_used for one in said.workers] == [True]


def test_adding_documents_uses_workers_and_finds_them(
    shared_broker: Broker, worker: Worker, open_client: Callable[..., Any]
) -> None:
    client = open_client(shared_broker)
    notes = client.create_collection("notes", embedding_function=StaticEmbeddingFunction())
    notes.add(ids=[str(i) for i in range(500)], documents=TEXTS[:500])
    assert report(client).done == 2
    assert notes.query(query_texts=TEXTS[7], n_results=1)["ids"] == [["7"]]


def test_few_texts_and_images_stay_here(
    shared_broker: Broker, open_client: Callable[..., Any]
) -> None:
    client = open_client(shared_broker)
    embedded(client, StaticEmbeddingFunction(), TEXTS[:20])
    assert report(client).broker_answers is None


def test_a_killed_child_costs_nothing(
    shared_broker: Broker, worker: Worker, open_client: Callable[..., Any]
) -> None:
    client = open_client(shared_broker)
    function = Slow(0.002)
    thread, done = in_background(lambda: embedded(client, function))
    wait_until_begun(worker, client)
    worker.kill_child()
    thread.join()
    assert is_right(done[0], function)
    assert report(client).done == 8


def test_a_killed_workers_pieces_are_begun_again_by_another(
    shared_broker: Broker, worker: Worker, open_client: Callable[..., Any], tmp_path: Path
) -> None:
    client = open_client(shared_broker)
    function = Slow(0.004)
    with running_worker(shared_broker.url, tmp_path / "other.log", *SLOW):
        thread, done = in_background(lambda: embedded(client, function))
        wait_until_begun(worker, client)
        worker.stop()
        thread.join()
    assert is_right(done[0], function)
    assert report(client).done_here == 0


def test_a_worker_that_hangs_is_not_waited_for(
    shared_broker: Broker,
    worker: Worker,
    open_client: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from chroma_nb.tasks import pieces

    monkeypatch.setattr(pieces, "SILENT_SECONDS", 2.0)
    client = open_client(shared_broker)
    function = Slow(0.01)
    paused = threading.Thread(target=lambda: (wait_until_busy(client), worker.pause()))
    paused.start()
    with pytest.warns(notice(), match="nothing was heard of a piece for 2 s|no worker answers"):
        found = embedded(client, function, TEXTS[:600])
    paused.join()
    assert is_right(found, function, TEXTS[:600])
    assert report(client).done_here > 0


def test_without_a_broker_a_warning_says_so_once(
    broker_kind: str, open_client: Callable[..., Any], tmp_path: Path
) -> None:
    broker = Broker(broker_kind, tmp_path)
    client = open_client(broker)
    function = StaticEmbeddingFunction()
    with pytest.warns(notice(), match="in this process, not by workers: The broker .*127.0.0.1"):
        assert is_right(embedded(client, function), function)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert is_right(embedded(client, function), function)
    assert report(client).broker_answers is False
    assert "guest" not in repr(report(client)) + str(report(client).events)


def test_without_a_worker_a_warning_says_so(
    broker: Broker, open_client: Callable[..., Any]
) -> None:
    client = open_client(broker)
    function = StaticEmbeddingFunction()
    with pytest.warns(notice(), match="no worker answers: start one with chroma-nb worker"):
        assert is_right(embedded(client, function), function)


def test_without_fallback_it_is_an_error(broker: Broker, open_client: Callable[..., Any]) -> None:
    client = open_client(broker, celery_fallback=False)
    with pytest.raises(ServerUnavailableError, match="no worker answers"):
        embedded(client, StaticEmbeddingFunction())
    broker.stop()
    with pytest.raises(ServerUnavailableError, match="celery_fallback=False"):
        embedded(client, StaticEmbeddingFunction())


def test_a_broker_that_goes_and_comes_costs_no_text(
    broker: Broker, open_client: Callable[..., Any], tmp_path: Path
) -> None:
    function = Slow(0.004)
    with running_worker(broker.url, tmp_path / "worker.log", *SLOW) as worker:
        client = open_client(broker)
        cut = threading.Thread(target=lambda: (wait_until_begun(worker, client), broker.stop()))
        cut.start()
        with pytest.warns(notice(), match="The broker"):
            found = embedded(client, function)
        cut.join()
        assert is_right(found, function)
        assert report(client).done_here > 0
        before = report(client).done
        broker.start()

        def is_used_again() -> bool:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", notice())
                assert is_right(embedded(client, Slow(), TEXTS[:256]), Slow(), TEXTS[:256])
            return bool(report(client).done > before)

        wait_for(is_used_again, "coming back")


def test_a_broker_that_is_started_anew_meanwhile_costs_no_text(
    broker: Broker, open_client: Callable[..., Any], tmp_path: Path
) -> None:
    function = Slow(0.004)
    with running_worker(broker.url, tmp_path / "worker.log", *SLOW) as worker:
        client = open_client(broker)

        def restart() -> None:
            wait_until_begun(worker, client)
            broker.stop()
            broker.start()

        restarting = threading.Thread(target=restart)
        restarting.start()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", notice())
            found = embedded(client, function, TEXTS * 2)
        restarting.join()
    assert is_right(found, function, TEXTS * 2)


def test_a_piece_that_is_done_twice_counts_once(
    shared_broker: Broker,
    worker: Worker,
    open_client: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from chroma_nb.tasks.line import Line

    send = Line.send

    def twice(*arguments: Any, **options: Any) -> None:
        send(*arguments, **options)
        send(*arguments, **options)

    monkeypatch.setattr(Line, "send", twice)
    client = open_client(shared_broker)
    function = Slow(0.0005)
    assert is_right(embedded(client, function), function)
    assert report(client).done == 8
    assert report(client).failed == 0


def test_workers_of_another_release_are_sent_nothing(
    shared_broker: Broker,
    worker: Worker,
    open_client: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from chroma_nb.tasks import roster

    monkeypatch.setattr(roster, "VERSION", "99.1/1")
    client = open_client(shared_broker)
    function = StaticEmbeddingFunction()
    with pytest.warns(notice(), match=r"another release of chroma_nb \(0\..*this is 99.1/1"):
        assert is_right(embedded(client, function), function)
    assert report(client).done == 0


def test_a_function_that_workers_do_not_know_is_called_here(
    shared_broker: Broker, open_client: Callable[..., Any], tmp_path: Path
) -> None:
    client = open_client(shared_broker)
    function = Slow()
    with running_worker(shared_broker.url, tmp_path / "worker.log"):
        with pytest.warns(notice(), match="No embedding function 'test_slow' is registered"):
            assert is_right(embedded(client, function), function)
        done = report(client).done_here
        # Not asked again at once.
        embedded(client, function)
        assert report(client).done_here == done


def test_a_function_without_a_name_is_called_here(
    shared_broker: Broker, open_client: Callable[..., Any]
) -> None:
    client = open_client(shared_broker)
    with pytest.warns(notice(), match="has no name"):
        found = client.api.embed(lambda input: [[1.0]] * len(input), TEXTS, lambda n: None)
    assert found is None


def test_an_error_of_the_function_is_the_error_that_it_raises_here(
    shared_broker: Broker, worker: Worker, open_client: Callable[..., Any]
) -> None:
    client = open_client(shared_broker)
    texts = [*TEXTS[:400], "a bad one"]
    with (
        pytest.warns(notice(), match="RuntimeError: 'this text is bad'"),
        pytest.raises(RuntimeError, match=r"^this text is bad"),
    ):
        embedded(client, Failing(), texts)
    assert report(client).pieces_in_flight == 0


def test_an_interrupt_takes_all_pieces_back(
    shared_broker: Broker, worker: Worker, open_client: Callable[..., Any]
) -> None:
    client = open_client(shared_broker)

    def interrupt(n: int) -> None:
        raise KeyboardInterrupt

    # The first piece is quick. The others would keep the worker from anything else for more than the minute after which a
    # piece is embedded here, which would be said.
    texts = [*TEXTS[:256], *("x" * 20 for _ in range(512))]
    with pytest.raises(KeyboardInterrupt):
        client.api.embed(Slow(0.2, only="x"), texts, interrupt)
    assert report(client).pieces_in_flight == 0
    function = StaticEmbeddingFunction()
    assert is_right(embedded(client, function), function)
    assert report(client).done_here == 0


def test_nothing_that_comes_from_the_queue_harms_a_worker(
    shared_broker: Broker, worker: Worker, open_client: Callable[..., Any], tmp_path: Path
) -> None:
    import kombu

    from chroma_nb.tasks.app import make_app
    from chroma_nb.tasks.messages import EMBED_TASK, TEXT_QUEUE

    mark = tmp_path / "was executed"

    class Hostile:
        def __reduce__(self) -> Any:
            return (open, (str(mark), "w"))

    app = make_app(shared_broker.url)
    with app.connection_for_write() as connection:
        producer = kombu.Producer(connection)
        route: dict[str, Any] = {"exchange": TEXT_QUEUE, "routing_key": TEXT_QUEUE}
        task = {"task": EMBED_TASK, "id": "1", "lang": "py", "argsrepr": "", "kwargsrepr": ""}
        hostile = pickle.dumps([[Hostile()], {}, {}])
        for content in ("application/x-python-serialize", "application/json"):
            producer.publish(
                hostile, **route, content_type=content, content_encoding="binary", headers=task
            )
        for body in (None, 7, "x", [], [[], {}], [[{"body": 1}], {}, {}], [[1] * 50, {"a": 1}, {}]):
            producer.publish(body, **route, serializer="json", headers=task)
        for name in ("os.system", "celery.backend_cleanup", "celery.map", "__import__"):
            producer.publish(
                [[f"touch {mark}"], {}, {}],
                **route,
                serializer="json",
                headers={**task, "task": name},
            )
    client = open_client(shared_broker)
    function = StaticEmbeddingFunction()
    assert is_right(embedded(client, function), function)
    assert report(client).done == 8
    assert not mark.exists()


def test_settings_hide_the_password_and_refuse_what_loses_work() -> None:
    settings = private_settings(api="celery", celery_broker="amqp://me:secret@host:5672//")
    assert "secret" not in repr(settings)
    for broker, says in (
        ("", "Workers need a broker"),
        ("filesystem://", "Other brokers lose work"),
        ("memory://", "Other brokers lose work"),
        ("ampq://host", "Did you mean 'amqp'"),
        ("redis://", "has no host"),
        ("amqp://host:99999999", "has no host, or a port that is none"),
    ):
        with pytest.raises(chroma_nb.errors.InvalidArgumentError, match=says):
            chroma_nb.Client(private_settings(api="celery", celery_broker=broker))


# redis-py leaves the connection whose certificate it refuses to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <s:ResourceWarning")
def test_with_tls_certificates_are_checked(
    broker_kind: str, open_client: Callable[..., Any], tmp_path: Path
) -> None:
    trustme = pytest.importorskip("trustme")
    folder = tmp_path / "broker"
    folder.mkdir()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(str(folder / "server.key"))
    for part in certificate.cert_chain_pems:
        part.write_to_path(str(folder / "server.pem"), append=True)
    trusted = str(folder / "ca.pem")
    function = StaticEmbeddingFunction()
    with (
        running_broker(broker_kind, folder, tls=True) as broker,
        running_worker(broker.url, tmp_path / "worker.log", CHROMA_NB_TLS_VERIFY=trusted),
    ):
        client = open_client(broker, tls_verify=trusted)
        assert is_right(embedded(client, function), function)
        assert report(client).done == 8
        # Nobody's authority: no text goes there.
        stranger = open_client(broker, celery_fallback=False)
        with pytest.raises(ServerUnavailableError, match=r"(?i)certificate"):
            embedded(stranger, function)
    gc.collect()


def test_many_threads_share_the_workers(
    shared_broker: Broker, worker: Worker, open_client: Callable[..., Any]
) -> None:
    client = open_client(shared_broker)
    function = StaticEmbeddingFunction()
    began = [in_background(lambda: embedded(client, function)) for _ in range(6)]
    for thread, done in began:
        thread.join()
        assert is_right(done[0], function)
    assert report(client).done == 48


def test_a_closed_store_leaves_no_thread_and_no_queue(
    shared_broker: Broker, worker: Worker
) -> None:
    def ours() -> set[str]:
        return {
            one.name for one in threading.enumerate() if one.name.startswith("chroma_nb worker")
        }

    settings = private_settings(api="celery", celery_broker=shared_broker.url)
    with chroma_nb.Client(settings) as client:
        embedded(client, StaticEmbeddingFunction())
    time.sleep(0)
    wait_for(lambda: not ours(), "ending the threads", 10)
