"""A server's metrics (Prometheus), its log (one line of JSON for each request), and trace ids."""

from __future__ import annotations

import json
import logging
import re
import secrets
import time
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily

from chroma_nb.memory.machine import process_rss

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chroma_nb.api.base import API

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
    for logger in (LOGGER, logging.getLogger("uvicorn.error")):
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level.upper())
