"""What a client of Arrow Flight learns of an error: what was raised on purpose, and nothing of the server's insides."""

from __future__ import annotations

import json

import pytest

fl = pytest.importorskip("pyarrow.flight")

from chroma_nb.errors import NotFoundError  # noqa: E402
from chroma_nb.server.flight_errors import Failed, flight_errors  # noqa: E402
from chroma_nb.server.refusals import Refused, busy  # noqa: E402


def learned(error: Exception) -> tuple[type[Exception], dict[str, object]]:
    """Return the class and the body of what is sent where this is raised."""
    with pytest.raises(fl.FlightError) as sent, flight_errors():
        raise error
    assert sent.value.__cause__ is None
    return type(sent.value), json.loads(sent.value.extra_info)


def test_an_error_of_ours_keeps_its_kind_and_its_words() -> None:
    kind, body = learned(NotFoundError("Collection [x] does not exist."))
    assert kind is fl.FlightServerError
    assert (body["status"], body["error"]) == (404, "NotFoundError")
    assert body["message"] == "Collection [x] does not exist."


def test_a_refusal_keeps_its_status() -> None:
    kind, body = learned(busy("it is stopping"))
    assert kind is fl.FlightUnavailableError
    assert body["status"] == 503


def test_a_failed_answer_is_passed_on_as_it_is() -> None:
    failed = Failed.of(Refused(403, NotFoundError("none")))
    assert learned(failed)[0] is fl.FlightUnauthorizedError
    assert json.loads(failed.with_status)["status"] == 403


def test_nothing_is_told_of_what_nobody_expected() -> None:
    kind, body = learned(KeyError("/home/somebody/secret"))
    assert kind is fl.FlightServerError
    assert body["status"] == 500
    assert "secret" not in json.dumps(body)
