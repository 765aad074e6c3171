"""The Celery app that a worker and a store share: the broker, the queues, and what makes lost work come again."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from celery import Celery
from kombu import Exchange, Queue

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.settings import without_secrets
from chroma_nb.suggest import did_you_mean
from chroma_nb.tasks.messages import EMBED_TASK, GRAPH_QUEUE, GRAPH_TASK, TEXT_QUEUE

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Brokers, by the schemes of their addresses.
_RABBITMQ = ("amqp", "amqps")
_REDIS = ("redis", "rediss")
#: How long connecting may take, seconds: a broker that is not there is noticed after that.
CONNECT_SECONDS = 2.0
#: A piece that takes longer is given up by its worker, which ends the process that computes it.
PIECE_LIMIT_SECONDS = 120
#: The same of a graph.
GRAPH_LIMIT_SECONDS = 4 * 3_600
#: Answers that nobody fetches, and work that nobody begins, are dropped after that.
EXPIRY_SECONDS = 3_600
#: In Redis, work that was begun and has not ended is given to another worker after that.
_VISIBILITY_SECONDS = 30


def check_broker(url: str) -> str:
    """Return the scheme of a broker's address.

    Raises:
        InvalidArgumentError: There is none, or it is not RabbitMQ's or Redis'.
    """
    scheme = url.partition("://")[0].lower() if "://" in url else ""
    if not url:
        raise InvalidArgumentError(
            "Workers need a broker: Settings(api='celery', celery_broker='amqp://user:password@host:5672//'), or the environment "
            "variable CHROMA_NB_CELERY_BROKER."
        )
    if scheme not in (*_RABBITMQ, *_REDIS):
        known = (*_RABBITMQ, *_REDIS)
        hint = did_you_mean(scheme, known, " Did you mean {!r}?")
        raise InvalidArgumentError(
            f"celery_broker={without_secrets(url)!r} is not the address of RabbitMQ ({'://, '.join(_RABBITMQ)}://) or Redis "
            f"({'://, '.join(_REDIS)}://). Other brokers lose work when a worker is killed.{hint}"
        )
    try:
        parts = urlsplit(url)
        found = bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        found = False
    if not found:
        raise InvalidArgumentError(
            f"celery_broker={without_secrets(url)!r} has no host, or a port that is none."
        )
    return scheme


def backend_of(broker: str, backend: str) -> str:
    """Return the address where results are put; "rpc://" is the broker itself.

    Raises:
        InvalidArgumentError: It is neither Redis nor empty.
    """
    if not backend:
        return "rpc://" if check_broker(broker) in _RABBITMQ else broker
    if backend.partition("://")[0].lower() not in _REDIS:
        raise InvalidArgumentError(
            f"celery_backend={without_secrets(backend)!r} is not the address of Redis (redis://, rediss://). Leave it out, "
            "and results come through the broker."
        )
    return backend


def make_app(broker: str, backend: str = "", tls_verify: str = "true") -> Celery:
    """Return a Celery app for a broker; nothing is connected.

    Args:
        broker: Its address.
        backend: Where results are put; empty is the broker.
        tls_verify: As the setting of that name: ``true``, ``false``, or the file of an authority.

    Raises:
        InvalidArgumentError: One of the addresses cannot be used.
    """
    scheme = check_broker(broker)
    results = backend_of(broker, backend)
    app = Celery("chroma_nb", set_as_current=False, broker=broker, backend=results, include=[])
    in_redis = scheme in _REDIS
    app.conf.update(
        # Nothing is ever unpickled, and no task is imported by a name in a message.
        accept_content=["json"],
        result_accept_content=["json"],
        task_serializer="json",
        result_serializer="json",
        imports=(),
        task_queues=_queues(),
        task_default_queue=TEXT_QUEUE,
        task_create_missing_queues=False,
        task_routes={EMBED_TASK: {"queue": TEXT_QUEUE}, GRAPH_TASK: {"queue": GRAPH_QUEUE}},
        control_exchange="chroma_nb",
        # A piece is begun again where its worker is killed.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_acks_on_failure_or_timeout=True,
        worker_prefetch_multiplier=1,
        task_track_started=True,
        task_time_limit=PIECE_LIMIT_SECONDS,
        result_expires=EXPIRY_SECONDS,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=True,
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # A machine that is gone says nothing.
        broker_heartbeat=10,
        broker_connection_timeout=CONNECT_SECONDS,
        broker_transport_options=_redis_options() if in_redis else {"confirm_publish": True},
        redis_socket_connect_timeout=CONNECT_SECONDS,
        redis_retry_on_timeout=True,
    )
    if scheme == "amqps":
        app.conf.broker_use_ssl = _tls_of_amqp(tls_verify, urlsplit(broker).hostname or "")
    if scheme == "rediss":
        app.conf.broker_use_ssl = tls_of_redis(tls_verify)
    if results.lower().startswith("rediss://"):
        app.conf.redis_backend_use_ssl = tls_of_redis(tls_verify)
    return app


def _queues() -> Sequence[Queue]:
    return [
        Queue(name, Exchange(name, type="direct"), routing_key=name)
        for name in (TEXT_QUEUE, GRAPH_QUEUE)
    ]


def _redis_options() -> dict[str, Any]:
    # By default Redis gives lost work to another worker after an hour, and looks for it every hundred seconds.
    return {
        "visibility_timeout": _VISIBILITY_SECONDS,
        "unacked_restore_interval": 2,
        "unacked_restore_throttle": 1,
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_keepalive": True,
        "health_check_interval": 10,
    }


def _tls_of_amqp(verify: str, host: str) -> dict[str, Any]:
    word = verify.strip().lower()
    if word == "false":
        return {"cert_reqs": ssl.CERT_NONE}
    found: dict[str, Any] = {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": host}
    return found if word == "true" else {**found, "ca_certs": verify}


def tls_of_redis(verify: str) -> dict[str, Any]:
    """Return how a connection to Redis with TLS checks the certificate."""
    word = verify.strip().lower()
    if word == "false":
        return {"ssl_cert_reqs": ssl.CERT_NONE, "ssl_check_hostname": False}
    found: dict[str, Any] = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True}
    return found if word == "true" else {**found, "ssl_ca_certs": verify}
