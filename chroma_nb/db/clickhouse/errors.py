"""ClickHouse's errors as ours. None of their texts has a password in it: the client is given that apart from the address."""

from __future__ import annotations

from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError
from pyarrow import ArrowException
from urllib3.exceptions import HTTPError

from chroma_nb.errors import (
    AuthorizationError,
    ChromaError,
    InternalError,
    InvalidArgumentError,
    MemoryBudgetError,
    ServerUnavailableError,
)

#: What the client raises, of ClickHouse and of the network; an answer that was cut off is no Arrow.
CLIENT_ERRORS = (ClickHouseError, OSError, HTTPError, ArrowException)

#: ClickHouse's numbers of errors (src/Common/ErrorCodes.cpp).
UNKNOWN_TABLE, UNKNOWN_DATABASE = 60, 81
_MEMORY_LIMIT = 241
_NO_SPACE = 243
_BAD_PATTERN = 427
_NOT_ALLOWED = (192, 193, 194, 516, 497)
_MOST = 600


class NoTableError(InternalError):
    """A table is not there: its collection was deleted or compacted, by this process or another one."""


class NoAnswerError(ServerUnavailableError):
    """It is not known whether a statement was executed."""


class BadPatternError(InvalidArgumentError):
    """A regular expression cannot be read."""


def code_of(error: BaseException) -> int | None:
    """Return ClickHouse's number of an error; None where it did not come from there."""
    return getattr(error, "code", None) if isinstance(error, DatabaseError) else None


def translated(error: BaseException, name: str) -> ChromaError:
    """Return one of our errors for one of the client's.

    Args:
        error: What the client has raised.
        name: What the store is called, without secrets.
    """
    said, code = _said(error), code_of(error)
    if code is None:
        return NoAnswerError(
            f"{name} does not answer: {said}. See that ClickHouse runs there and can be reached, and repeat the call."
        )
    if code in (UNKNOWN_TABLE, UNKNOWN_DATABASE):
        return NoTableError(f"{name}: {said}")
    if code == _BAD_PATTERN:
        return BadPatternError(said)
    if code == _MEMORY_LIMIT:
        return MemoryBudgetError(
            f"{name} has too little memory for this: {said}. Ask for less at once, or give ClickHouse more "
            "(max_server_memory_usage, max_memory_usage)."
        )
    if code == _NO_SPACE:
        return InternalError(f"{name} has no space left on its disk: {said}. Free some there.")
    if code in _NOT_ALLOWED:
        return AuthorizationError(
            f"{name} does not let this user in, or not do this: {said}. See the user and the password in "
            "Settings.clickhouse_url, and its grants: CREATE TABLE, DROP TABLE, INSERT, SELECT."
        )
    return InternalError(f"{name}: {said}")


def _said(error: BaseException) -> str:
    text = str(error)
    start = text.find("DB::Exception: ")
    if start >= 0:
        text = text[start + len("DB::Exception: ") :]
    text = " ".join(text.split())
    return text if len(text) <= _MOST else f"{text[:_MOST]}…"
