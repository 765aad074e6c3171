"""`Refused`: what a server answers for itself: it is busy, stopping or late, or does not take the request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chroma_nb.errors import InternalError, RateLimitError

if TYPE_CHECKING:
    from chroma_nb.errors import ChromaError

#: Why a server refuses what comes after it was told to stop.
STOPPING = "it is stopping"


class Refused(Exception):
    """A request that the store does not answer. After 504 its work goes on.

    Args:
        status: The HTTP status of the answer.
        error: The error that the answer reports.
        **headers: Additional headers of the answer; ``_`` stands for ``-``.
    """

    def __init__(self, status: int, error: ChromaError, **headers: str) -> None:
        super().__init__(str(error))
        self.status = status
        self.error = error
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def busy(why: str) -> Refused:
    """Return the answer that asks a client to try again in a second."""
    return Refused(503, RateLimitError(f"The server is busy: {why}."), Retry_After="1")


def too_long(seconds: float) -> Refused:
    """Return the answer to a request that has not been carried out within the server's deadline."""
    return Refused(
        504,
        InternalError(
            f"The request took longer than {seconds:g} s and is still worked on: a write may yet succeed "
            "(Settings.server_timeout_seconds)."
        ),
    )
