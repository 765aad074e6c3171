"""A worker: a Celery worker that knows two tasks, says who it is, and computes nothing else."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from typing import TYPE_CHECKING, Any

from celery.worker.consumer import Consumer
from celery.worker.control import inspect_command

from chroma_nb._version import __version__
from chroma_nb.embedding.registry import known_embedding_functions
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.importing import import_module
from chroma_nb.settings import real_path, without_secrets
from chroma_nb.tasks import embedding, graphs
from chroma_nb.tasks.app import GRAPH_LIMIT_SECONDS, make_app
from chroma_nb.tasks.messages import (
    EMBED_TASK,
    GRAPH_QUEUE,
    GRAPH_TASK,
    HELLO,
    TEXT_QUEUE,
    VERSION,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from celery import Celery

logger = logging.getLogger("chroma_nb.worker")

#: The folders of stores in which this worker may build graphs.
_stores: list[str] = []


def make_worker_app(
    broker: str, backend: str, tls_verify: str, stores: Sequence[str] = ()
) -> Celery:
    """Return the app of a worker, with its tasks.

    Args:
        broker: The broker's address.
        backend: Where results are put; empty is the broker.
        tls_verify: As the setting of that name.
        stores: Folders of stores, or folders around them, in which graphs may be built.

    Raises:
        InvalidArgumentError: An address or a folder cannot be used.
    """
    app = make_app(broker, backend, tls_verify)
    app.conf.worker_consumer = f"{__name__}:{GuardedConsumer.__name__}"
    for folder in stores:
        if not os.path.isdir(folder):
            raise InvalidArgumentError(f"--stores {folder!r} is not a folder.")
    _stores[:] = [real_path(one) for one in stores]

    def embed(message: Any = None, *_: Any, **__: Any) -> dict[str, Any]:
        return _logged("Texts", lambda: embedding.answer(message))

    def build_graph(task: Any, message: Any = None, *_: Any, **__: Any) -> dict[str, Any]:
        def on_progress(done: int) -> None:
            task.update_state(state="PROGRESS", meta={"done": done})

        return _logged("A graph", lambda: graphs.answer(message, _stores, on_progress))

    app.task(embed, name=EMBED_TASK)
    # Acknowledged when it begins. The store that has sent it notices when nothing is heard of it; without this, Redis would
    # give it to another worker after half a minute.
    app.task(
        build_graph, name=GRAPH_TASK, bind=True, acks_late=False, time_limit=GRAPH_LIMIT_SECONDS
    )
    app.finalize()
    for name in set(app.tasks) - {EMBED_TASK, GRAPH_TASK}:
        # Celery's own, which call others.
        app.tasks.unregister(name)
    return app


class GuardedConsumer(Consumer):  # type: ignore[misc]
    """Refuses a message that Celery's own consumer would be ended by, such as one whose body is null.

    It would be given to the next worker then, and end that, too.
    """

    def create_task_handler(self, *arguments: Any, **options: Any) -> Any:
        """Return what is called with each message."""
        handle = super().create_task_handler(*arguments, **options)

        def guarded(message: Any) -> Any:
            try:
                return handle(message)
            except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
                logger.error("A message that is no task was refused: %s", type(error).__name__)
                message.reject_log_error(logger, self.connection_errors)
                return None

        return guarded


def _logged(what: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do a piece of work, and log how long it took: Celery's own line would have the texts or the vectors."""
    started = time.monotonic()
    answer = work()
    seconds = time.monotonic() - started
    refused = answer.get("refused")
    if refused is None:
        size = answer.get("shape", [answer.get("end")])[0]
        logger.info("%s: %s done in %.2f s", what, size, seconds)
    else:
        logger.warning("%s: refused: %s", what, refused)
    return answer


@inspect_command(name=HELLO)  # type: ignore[untyped-decorator, unused-ignore]
def _hello(state: Any, **_: Any) -> dict[str, Any]:
    """Say what this worker is."""
    pool = getattr(state.consumer, "pool", None)
    return {
        "version": VERSION,
        "slots": int(getattr(pool, "num_processes", 1) or 1),
        "host": socket.gethostname(),
        "builds_graphs": bool(_stores),
    }


def run_worker(
    broker: str,
    backend: str,
    tls_verify: str,
    *,
    concurrency: int = 1,
    functions: Sequence[str] = (),
    stores: Sequence[str] = (),
    nice: int = 10,
    log_level: str = "info",
) -> int:
    """Work for stores until it is told to end (SIGTERM, Ctrl-C); return the exit status.

    Args:
        broker: The broker's address.
        backend: Where results are put; empty is the broker.
        tls_verify: As the setting of that name.
        concurrency: Processes that compute. A model uses all cores by itself, so one is usually right.
        functions: Modules to import first, which register embedding functions.
        stores: Folders of stores, or folders around them, in which graphs may be built.
        nice: How far it stands back behind other processes of its machine, 0 to 19; one of them may be the store's.
        log_level: From which level on it logs.

    Raises:
        InvalidArgumentError: An address, a folder or a number cannot be used.
        ImportError: A module of `functions` cannot be imported.
    """
    if concurrency < 1:
        raise InvalidArgumentError(f"--concurrency must be at least 1, got {concurrency}.")
    if not 0 <= nice <= 19:
        raise InvalidArgumentError(f"--nice must be from 0 to 19, got {nice}.")
    app = make_worker_app(broker, backend, tls_verify, stores)
    for module in functions:
        import_module(module)
    queues = [TEXT_QUEUE, *([GRAPH_QUEUE] if stores else [])]
    print(
        f"chroma-nb {__version__} works for stores at {without_secrets(broker)} with {concurrency} "
        f"process{'' if concurrency == 1 else 'es'}; embedding functions: {', '.join(known_embedding_functions)}; graphs: "
        f"{', '.join(_stores) or 'none (--stores)'}. Ctrl-C stops it.",
        flush=True,
    )
    if hasattr(os, "nice"):
        with contextlib.suppress(OSError):
            os.nice(nice)
    for name in ("celery.app.trace", "celery.worker.strategy"):
        logging.getLogger(name).setLevel(logging.WARNING)
    worker = app.Worker(
        hostname=f"{os.getpid()}@{socket.gethostname()}",
        pool="prefork",
        concurrency=concurrency,
        queues=queues,
        loglevel=log_level.upper(),
        without_gossip=True,
        without_mingle=True,
        quiet=True,
        optimization="fair",
    )
    worker.start()
    return int(worker.exitcode or 0)
