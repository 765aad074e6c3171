"""Metrics, log lines and trace ids."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from chroma_nb.server.observability import (
    LOGGER,
    JsonLines,
    Metrics,
    log_to_stderr,
    trace_id_of,
)

if TYPE_CHECKING:
    from chroma_nb.api.base import API

TRACE = "0123456789abcdef0123456789abcdef"


def test_the_trace_id_of_w3cs_header_is_taken_over() -> None:
    assert trace_id_of(f"00-{TRACE}-0123456789abcdef-01", "own-trace-1") == TRACE


def test_else_our_own_headers() -> None:
    assert trace_id_of("", "own-trace-1") == "own-trace-1"
    assert trace_id_of("nonsense", "own-trace-1") == "own-trace-1"


@pytest.mark.parametrize("odd", ["", "short", "x" * 65, "line\nbreak-1", "<script>--", "ä" * 10])
def test_any_other_text_gets_no_place_in_answers_and_logs(odd: str) -> None:
    made = trace_id_of("", odd)
    assert len(made) == 32
    assert made != trace_id_of("", odd)


def test_requests_are_counted_by_operation_and_status(api: API) -> None:
    metrics = Metrics(api)
    metrics.count("query", 200, 0.002)
    metrics.count("query", 200, 0.002)
    metrics.count("query", 503, 0.002)
    text = metrics.text().decode()
    assert 'chroma_nb_requests_total{operation="query",status="200"} 2.0' in text
    assert 'chroma_nb_requests_total{operation="query",status="503"} 1.0' in text
    assert 'chroma_nb_request_seconds_bucket{le="0.0025",operation="query"} 3.0' in text


def test_the_memory_is_read_with_the_metrics(api: API) -> None:
    metrics = Metrics(api)
    api.set_memory_budget(123_000_000)
    assert "chroma_nb_memory_budget_bytes 1.23e+08" in metrics.text().decode()


def test_a_store_without_a_budget_leaves_it_out() -> None:
    class Closed:
        workers = None

        def get_memory_budget(self) -> int:
            raise RuntimeError("closed")

    closed: Any = Closed()
    text = Metrics(closed).text().decode()
    assert "chroma_nb_process_resident_bytes" in text
    assert "chroma_nb_memory_budget_bytes" not in text


def test_a_record_is_one_line_of_json_whatever_it_says() -> None:
    record = LOGGER.makeRecord(
        LOGGER.name,
        logging.INFO,
        "file",
        1,
        "two\nlines",
        (),
        None,
        extra={"fields": {"user": "ä"}},
    )
    line = JsonLines().format(record)
    assert "\n" not in line
    assert line.isascii()
    found = json.loads(line)
    assert (found["level"], found["message"], found["user"]) == ("info", "two\nlines", "ä")
    assert found["time"].endswith("Z")


def test_a_failure_brings_its_traceback() -> None:
    try:
        1 // 0  # noqa: B018
    except ZeroDivisionError as error:
        trace = (type(error), error, error.__traceback__)
    record = LOGGER.makeRecord(LOGGER.name, logging.ERROR, "file", 1, "failed", (), trace)
    assert "ZeroDivisionError" in json.loads(JsonLines().format(record))["trace"]


def test_the_servers_log_goes_to_the_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    loggers = [LOGGER, logging.getLogger("uvicorn.error")]
    before = [(one.handlers, one.propagate, one.level) for one in loggers]
    try:
        log_to_stderr("warning")
        for one in loggers:
            one.info("not this")
            one.warning("but this")
    finally:
        for one, (handlers, propagates, level) in zip(loggers, before, strict=True):
            one.handlers, one.propagate = handlers, propagates
            one.setLevel(level)
    lines = [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()]
    assert lines == ["but this", "but this"]
