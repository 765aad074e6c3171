"""`flight_errors`: what a client of Arrow Flight learns of an error."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from chroma_nb.errors import ChromaError, InternalError
from chroma_nb.server.observability import LOGGER
from chroma_nb.server.refusals import Refused
from chroma_nb.wire.errors import error_to_json
from chroma_nb.wire.flight import flight_error
from chroma_nb.wire.text import dumps

if TYPE_CHECKING:
    from collections.abc import Iterator


class Failed(Exception):
    """An answer that reports an error."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.body = body

    @classmethod
    def of(cls, error: ChromaError | Refused) -> Failed:
        """Return the answer that reports an error."""
        if isinstance(error, Refused):
            return cls(error.status, dumps(error_to_json(error.error)[1]))
        status, body = error_to_json(error)
        return cls(status, dumps(body))

    @property
    def with_status(self) -> bytes:
        """The error with its status, as JSON."""
        return b'{"status":%d,' % self.status + self.body[1:]


@contextlib.contextmanager
def flight_errors() -> Iterator[None]:
    """Turn what was raised on purpose into the errors that Flight carries."""
    try:
        yield
    except Failed as error:
        raise flight_error(error.status, error.body) from None
    except (ChromaError, Refused) as error:
        failed = Failed.of(error)
        raise flight_error(failed.status, failed.body) from None
    except Exception:
        # pyarrow would send the traceback.
        LOGGER.exception("request failed")
        failed = Failed.of(InternalError("Something failed in the server; its log says what."))
        raise flight_error(failed.status, failed.body) from None
