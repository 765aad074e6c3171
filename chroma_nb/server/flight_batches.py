"""`receiving`: takes what a client of Arrow Flight sends, within limits, and trusts none of it."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from chroma_nb.errors import BatchSizeExceededError, InvalidArgumentError
from chroma_nb.memory.sizes import format_bytes
from chroma_nb.server.bodies import STEP_BYTES
from chroma_nb.server.limits import check_n_records
from chroma_nb.server.refusals import Refused
from chroma_nb.wire.flight import COMMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chroma_nb.server.bodies import Bodies
    from chroma_nb.settings import Settings


@contextlib.contextmanager
def receiving(reader: Any, bodies: Bodies, settings: Settings) -> Iterator[tuple[list[Any], int]]:
    """Hold the batches of a put, and count their bytes (both returned) among those of all puts.

    Raises:
        InvalidArgumentError: There are none, one cannot be read, or no message says that they are all.
        BatchSizeExceededError: They are too many or too large.
        Refused: All puts hold too much at the moment, or these come too slowly.
    """
    limit = bodies.max_body
    batches: list[Any] = []
    n_bytes = n_records = 0
    seconds = settings.server_body_timeout_seconds
    started = time.monotonic()
    is_whole = False
    try:
        for chunk in chunks(reader):
            if is_whole:
                raise InvalidArgumentError("Expected nothing after the message that commits")
            is_whole = bytes(chunk.app_metadata or b"") == COMMIT
            size = 0 if chunk.data is None else chunk.data.nbytes
            if time.monotonic() - started > seconds * (1 + (n_bytes + size) // STEP_BYTES):
                raise _too_slow(seconds)
            if chunk.data is None or (batches and not chunk.data.num_rows):
                continue
            n_records += chunk.data.num_rows
            check_n_records(settings, n_records)
            if n_bytes + size > limit:
                raise too_large("The records take", limit)
            # Before `hold`: it counts them also where it raises.
            n_bytes += size
            bodies.hold(size)
            batches.append(checked(chunk.data))
        if not batches:
            raise InvalidArgumentError("Expected at least one batch of records")
        if not is_whole:
            raise InvalidArgumentError(
                "Nothing was written: the stream ended without a message that commits it, as that of an interrupted client "
                f"does. After the last batch: writer.write_metadata({COMMIT!r})"
            )
        yield batches, n_bytes
    finally:
        bodies.let_go(n_bytes)


def chunks(reader: Any) -> Iterator[Any]:
    """Return what a client sends.

    Raises:
        InvalidArgumentError: It cannot be read, or the client has gone.
    """
    while True:
        try:
            chunk = reader.read_chunk()
        except StopIteration:
            return
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _unreadable(error) from None
        yield chunk


def checked(batch: Any) -> Any:
    """Return a batch whose offsets lie within it, and whose texts are UTF-8: Arrow reads what it is sent as it is.

    Raises:
        InvalidArgumentError: It is none.
    """
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid as error:
        raise _unreadable(error) from None
    return batch


def _unreadable(error: Exception) -> InvalidArgumentError:
    # gRPC's own words name addresses, and sources of C++.
    shown = str(error).partition(". Detail:")[0].partition(". gRPC ")[0]
    return InvalidArgumentError(f"A batch cannot be read: {shown}"[:300])


def too_large(what: str, limit: int) -> BatchSizeExceededError:
    """Return the error of what is larger than a request may be.

    Args:
        what: "The records take".
        limit: Bytes.
    """
    return BatchSizeExceededError(
        f"{what} more than {format_bytes(limit)}: send less at a time (Settings.server_max_body)."
    )


def _too_slow(seconds: float) -> Refused:
    return Refused(
        408,
        InvalidArgumentError(
            f"The records did not come: each {format_bytes(STEP_BYTES)} of them may take {seconds:g} s "
            "(Settings.server_body_timeout_seconds)."
        ),
    )
