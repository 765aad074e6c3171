"""A server's metrics (Prometheus), its log (one line of JSON for each request), and trace ids."""

from __future__ import annotations

import json
import logging
import re
import secrets
import time
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from chroma_nb.memory.machine import process_rss

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chroma_nb.api.base import API
    from chroma_nb.tasks.workers import Workers

LOGGER = logging.getLogger("chroma_nb.server")

#: A trace id that is taken over from a client or a proxy. Any other text gets no place in answers and logs.
_TRACE_ID = re.compile(r"[0-9A-Za-z_-]{8,64}")
#: W3C Trace Context: version, trace id, parent id, flags.
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
#: Upper bounds of the buckets of request times, seconds.
_BUCKETS = (
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
)


def trace_id_of(traceparent: str, own: str) -> str:
    """Return the trace id of a request, which is in its log line and its answer.

    Args:
        traceparent: The header of that name (W3C Trace Context); empty where it is missing.
        own: The header ``chroma-trace-id``; empty where it is missing.
    """
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is not None:
        return found[1]
    return own if _TRACE_ID.fullmatch(own) else secrets.token_hex(16)


class Metrics:
    """Counts requests. The memory of the store is read each time that the metrics are.

    Args:
        api: The store.
    """

    def __init__(self, api: API) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "chroma_nb_requests",
            "Requests answered.",
            ["operation", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "chroma_nb_request_seconds",
            "Time from a request's body to its answer.",
            ["operation"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self.in_flight = Gauge(
            "chroma_nb_requests_in_flight",
            "Requests worked on or waiting.",
            registry=self._registry,
        )
        self.body_bytes = Counter(
            "chroma_nb_request_body_bytes", "Bytes of bodies received.", registry=self._registry
        )
        self._registry.register(_Memory(api))
        if api.workers is not None:
            self._registry.register(_Workers(api.workers))

    def count(self, operation: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._requests.labels(operation, str(status)).inc()
        self._seconds.labels(operation).observe(seconds)

    def text(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class _Memory:
    """Reads the store's memory each time that the metrics are read."""

    def __init__(self, api: API) -> None:
        self._api = api

    def collect(self) -> Iterator[Any]:
        yield GaugeMetricFamily(
            "chroma_nb_process_resident_bytes", "Resident memory.", value=process_rss()
        )
        try:
            budget = self._api.get_memory_budget()
        except Exception:  # A store that keeps no budget here, or one that is being closed.
            return
        yield GaugeMetricFamily(
            "chroma_nb_memory_budget_bytes", "What loaded collections may hold.", value=budget
        )


class _Workers:
    """Reads what is known of the workers each time that the metrics are read."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    def collect(self) -> Iterator[Any]:
        report = self._workers.report()
        used = [one for one in report.workers if one.is_used]
        for name, meaning, value in (
            ("workers", "Workers of this release that have answered lately.", len(used)),
            ("worker_pieces_in_flight", "Pieces of text at workers.", report.pieces_in_flight),
        ):
            yield GaugeMetricFamily(f"chroma_nb_{name}", meaning, value=value)
        for name, meaning, value in (
            ("done", "Pieces of text that workers have embedded.", report.done),
            ("done_here", "Pieces that no worker has done.", report.done_here),
            ("failed", "Pieces that were lost or refused.", report.failed),
            ("duplicates", "Pieces that came twice.", report.duplicates),
        ):
            yield CounterMetricFamily(f"chroma_nb_worker_pieces_{name}", meaning, value=value)
        yield CounterMetricFamily(
            "chroma_nb_worker_graphs", "Graphs that workers have built.", value=report.graphs
        )


class JsonLines(logging.Formatter):
    """A log record as one JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True, default=str)


def log_to_stderr(level: str = "INFO") -> None:
    """Write the server's log, and uvicorn's, as JSON lines to the standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    for logger in (
        LOGGER,
        logging.getLogger("chroma_nb.workers"),
        logging.getLogger("uvicorn.error"),
    ):
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level.upper())
