"""A refusal is a status, an error and headers."""

from __future__ import annotations

from chroma_nb.errors import NotFoundError, RateLimitError
from chroma_nb.server.refusals import Refused, busy


def test_names_of_headers_have_hyphens() -> None:
    refused = Refused(413, NotFoundError("too large"), Retry_After="1", Connection="close")
    assert refused.headers == {"Retry-After": "1", "Connection": "close"}
    assert (refused.status, str(refused)) == (413, "too large")


def test_a_busy_server_asks_to_try_again_in_a_second() -> None:
    refused = busy("it is stopping")
    assert refused.status == 503
    assert refused.headers == {"Retry-After": "1"}
    assert isinstance(refused.error, RateLimitError)
    assert str(refused.error) == "The server is busy: it is stopping."
