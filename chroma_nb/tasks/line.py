"""`Line`: one thread's connection to a broker: sends work, hears what becomes of it, and takes it back."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
import uuid
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from kombu import Consumer, Queue
from kombu.exceptions import KombuError
from kombu.exceptions import OperationalError as KombuOperationalError

from chroma_nb.errors import ServerUnavailableError
from chroma_nb.settings import without_secrets
from chroma_nb.tasks.app import CONNECT_SECONDS, EXPIRY_SECONDS, tls_of_redis
from chroma_nb.tasks.messages import HELLO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from celery import Celery

#: How long the broker may take to say that it has a message, seconds.
_CONFIRM_SECONDS = 5.0
#: How often results in Redis are looked for that nobody has told of, seconds.
_LOOK_SECONDS = 1.0
#: What a broker that is gone, or says nothing sensible, raises.
_LOST = (OSError, KombuError, KombuOperationalError)


class Line:
    """A connection to a broker, for one thread.

    Args:
        app: The app.
        tls_verify: As the setting of that name.

    Raises:
        ServerUnavailableError: Nobody answers there within `CONNECT_SECONDS`, or not as a broker.
    """

    def __init__(self, app: Celery, tls_verify: str) -> None:
        self._app = app
        self.used = time.monotonic()
        self._connection: Any = None
        self._answers: _Answers | None = None
        try:
            with self._losing():
                self._open(tls_verify)
        except BaseException:
            self.close()
            raise

    def _open(self, tls_verify: str) -> None:
        app = self._app
        # Else a name that is looked up, or a broker that takes connections and says nothing, would be waited for.
        _knock(app, tls_verify)
        options = dict(app.conf.broker_transport_options)
        if _is_redis(app):
            options["socket_timeout"] = _CONFIRM_SECONDS
        self._connection = app.connection_for_write(
            connect_timeout=CONNECT_SECONDS, heartbeat=0, transport_options=options
        )
        self._connection.ensure_connection(max_retries=1, timeout=CONNECT_SECONDS)
        self._producer = app.amqp.Producer(self._connection, auto_declare=False)
        for queue in app.amqp.queues.values():
            queue(self._connection.default_channel).declare()
        # Its own connections would be as old as the app.
        app.control.mailbox.producer_pool = None
        results = app.conf.result_backend
        if results == "rpc://":
            self._answers = _Replies(self._connection)
        else:
            self._answers = _Stored(_redis_at(results, tls_verify, _CONFIRM_SECONDS))

    @property
    def _open_answers(self) -> _Answers:
        assert self._answers is not None
        return self._answers

    def send(self, task: str, message: Any, task_id: str, *, queue: str) -> None:
        """Put work into a queue.

        Raises:
            ServerUnavailableError: The broker is gone.
        """
        with self._losing():
            self._open_answers.expect(task_id)
            made = self._app.amqp.create_task_message(
                task_id,
                task,
                (message,),
                {},
                expires=EXPIRY_SECONDS,
                reply_to=self._open_answers.address,
                # What stands in a worker's log. The texts do not.
                argsrepr="(...)",
                kwargsrepr="{}",
            )
            self._app.amqp.send_task_message(
                self._producer,
                task,
                made,
                queue=queue,
                expiration=EXPIRY_SECONDS,
                retry=False,
                confirm_timeout=_CONFIRM_SECONDS,
            )

    def receive(self, seconds: float) -> list[tuple[str, str, Any]]:
        """Return (task, state, result) of what has come within some seconds; returns once there is anything.

        Raises:
            ServerUnavailableError: The broker is gone.
        """
        with self._losing():
            return list(self._open_answers.receive(seconds))

    def forget(self, task_ids: Iterable[str]) -> None:
        """Listen for these no more."""
        self._open_answers.forget(task_ids)

    def revoke(self, task_ids: Iterable[str]) -> None:
        """Have workers drop work, and end what they have begun of it. A broker that is gone has dropped it."""
        ids = list(task_ids)
        if ids:
            with contextlib.suppress(*_LOST, Exception):
                self._app.control.revoke(
                    ids, terminate=True, signal="SIGKILL", connection=self._connection
                )
        self._open_answers.forget(ids)

    def ask_workers(self, on_answer: Callable[[str, Any], None], seconds: float) -> None:
        """Ask who is there; `on_answer(name, answer)` is called for each worker that says so within some seconds."""

        def heard(body: Any) -> None:
            if isinstance(body, dict):
                for name, said in body.items():
                    on_answer(str(name), said)

        with self._losing():
            self._app.control.broadcast(
                HELLO, reply=True, timeout=seconds, callback=heard, connection=self._connection
            )

    def close(self) -> None:
        """End the connection."""
        if self._answers is not None:
            # One that is lost cannot be closed.
            with contextlib.suppress(Exception):
                self._answers.close()
        if self._connection is not None:
            with contextlib.suppress(Exception):
                self._connection.release()

    @contextlib.contextmanager
    def _losing(self) -> Iterator[None]:
        try:
            yield
        except ServerUnavailableError:
            raise
        except Exception as error:
            # kombu, amqp and redis have errors of their own, which have no class in common.
            if not isinstance(error, _LOST) and not _is_of_a_broker(error):
                raise
            place = without_secrets(str(self._app.conf.broker_url))
            why = str(error) or type(error).__name__
            raise ServerUnavailableError(f"The broker {place} does not answer: {why}") from error
        finally:
            self.used = time.monotonic()


def _is_of_a_broker(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] in ("amqp", "kombu", "redis", "vine")


def _is_redis(app: Celery) -> bool:
    return str(app.conf.broker_url).lower().startswith("redis")


def _redis_at(url: str, tls_verify: str, seconds: float) -> Any:
    """Return a client of Redis that waits so long for an answer."""
    import redis

    secure = url.lower().startswith("rediss://")
    options = tls_of_redis(tls_verify) if secure else {}
    return redis.Redis.from_url(
        url, socket_connect_timeout=CONNECT_SECONDS, socket_timeout=seconds, **options
    )


def _knock(app: Celery, tls_verify: str) -> None:
    """Connect to the broker, and no more, in a thread that is waited for no longer: looking up a name has no limit.

    Raises:
        OSError: That took longer than `CONNECT_SECONDS`. What connecting raises is raised as well.
    """
    found: list[Exception | None] = []

    def connect() -> None:
        try:
            _connect(app, tls_verify)
        except Exception as error:
            found.append(error)
        else:
            found.append(None)

    thread = threading.Thread(target=connect, name="chroma_nb broker", daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS + 0.2)
    if not found:
        raise TimeoutError(f"it did not do so within {CONNECT_SECONDS:.0f} s")
    if found[0] is not None:
        raise found[0]


def _connect(app: Celery, tls_verify: str) -> None:
    if _is_redis(app):
        with _redis_at(str(app.conf.broker_url), tls_verify, CONNECT_SECONDS) as client:
            client.ping()
        return
    connection = app.connection_for_write()
    host = str(connection.hostname or "localhost")
    port = int(connection.port or connection.get_transport_cls().default_port)
    # AMQP begins with the broker's word: one that says nothing is found out by kombu, within the same time.
    socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()


class _Answers(ABC):
    """How answers come back."""

    #: The queue that a worker is to answer to.
    address: str | None = None

    @abstractmethod
    def expect(self, task_id: str) -> None:
        """Listen for a task's answer from now on."""

    @abstractmethod
    def forget(self, task_ids: Iterable[str]) -> None:
        """Listen for these no more."""

    @abstractmethod
    def receive(self, seconds: float) -> Iterator[tuple[str, str, Any]]:
        """Yield what has come."""

    @abstractmethod
    def close(self) -> None:
        """Leave nothing behind."""


def _read(body: Any) -> tuple[str, str, Any] | None:
    """Return (task, state, result) of an answer. An error that is described in it is not made into one."""
    if not isinstance(body, dict):
        return None
    task_id, status = body.get("task_id"), body.get("status")
    if not isinstance(task_id, str) or not isinstance(status, str):
        return None
    return task_id, status, body.get("result")


class _Replies(_Answers):
    """Answers through the broker, in a queue of this line's own."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.address = f"chroma_nb-answers-{uuid.uuid4()}"
        self._came: list[tuple[str, str, Any]] = []
        channel = connection.channel()
        # Nobody else knows its name. It goes an hour after nobody has listened to it, as when this process is killed.
        self._queue = Queue(
            self.address, durable=True, auto_delete=False, expires=EXPIRY_SECONDS, no_declare=False
        )(channel)
        self._queue.queue_declare()
        self._consumer = Consumer(
            channel,
            [self._queue],
            no_ack=True,
            auto_declare=False,
            accept=["json"],
            callbacks=[self._on_message],
        )
        self._consumer.consume()

    def _on_message(self, body: Any, message: Any) -> None:
        found = _read(body)
        if found is not None:
            self._came.append(found)

    def expect(self, task_id: str) -> None:
        pass

    def forget(self, task_ids: Iterable[str]) -> None:
        pass

    def receive(self, seconds: float) -> Iterator[tuple[str, str, Any]]:
        with contextlib.suppress(socket.timeout):
            self._connection.drain_events(timeout=seconds)
            while True:
                # What is there already.
                self._connection.drain_events(timeout=0.001)
        came, self._came = self._came, []
        yield from came

    def close(self) -> None:
        self._consumer.cancel()
        self._queue.delete()


class _Stored(_Answers):
    """Answers in Redis, which tells when one is there."""

    def __init__(self, client: Any) -> None:
        self._redis = client
        self._redis.ping()
        self._told = self._redis.pubsub(ignore_subscribe_messages=True)
        #: Key of a task -> what it held when it was last looked at.
        self._waiting: dict[str, bytes | None] = {}
        self._looked = time.monotonic()

    def expect(self, task_id: str) -> None:
        key = f"celery-task-meta-{task_id}"
        self._told.subscribe(key)
        self._waiting[key] = None

    def forget(self, task_ids: Iterable[str]) -> None:
        keys = [f"celery-task-meta-{one}" for one in task_ids]
        keys = [one for one in keys if one in self._waiting]
        for key in keys:
            del self._waiting[key]
        if keys:
            with contextlib.suppress(Exception):
                self._told.unsubscribe(*keys)

    def receive(self, seconds: float) -> Iterator[tuple[str, str, Any]]:
        until = time.monotonic() + seconds
        heard: list[bytes] = []
        while (left := until - time.monotonic()) > 0 and not heard:
            said = self._told.get_message(timeout=left)
            while said is not None:
                key = said["channel"].decode()
                if said["type"] == "message" and key in self._waiting:
                    self._waiting[key] = said["data"]
                    heard.append(said["data"])
                said = self._told.get_message(timeout=0)
        if time.monotonic() - self._looked > _LOOK_SECONDS and self._waiting:
            # What was said while the connection was lost.
            self._looked = time.monotonic()
            keys = list(self._waiting)
            for key, held in zip(keys, self._redis.mget(keys), strict=True):
                if held is not None and held != self._waiting[key]:
                    self._waiting[key] = held
                    heard.append(held)
        for one in heard:
            with contextlib.suppress(ValueError):
                found = _read(json.loads(one))
                if found is not None:
                    yield found

    def close(self) -> None:
        self._told.close()
        self._redis.close()
