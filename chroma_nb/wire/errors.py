"""Errors on the wire: Chroma's body ``{"error": NAME, "message": TEXT}``, made and read.

Chroma's clients know Chroma's names alone and raise a bare exception for any other. So `error` is always
one of those, and `kind` beside it names the class where chroma_nb has a nearer one.
"""

from __future__ import annotations

from typing import Any

from chroma_nb.errors import (
    ChromaError,
    InvalidArgumentError,
    MemoryBudgetError,
    NotSupportedError,
    StoreCorruptError,
    UniqueConstraintError,
    error_types,
)
from chroma_nb.harmless import said

_OURS = frozenset(
    (
        "NotSupportedError",
        "MemoryBudgetError",
        "StoreLockedError",
        "StoreCorruptError",
        "ServerUnavailableError",
        "IDNotFoundError",
        "ConflictError",
    )
)
#: Ids that an error carries.
_MOST_IDS = 100_000
_NAMES = {kind: name for name, kind in error_types.items()}


def error_to_json(error: Exception) -> tuple[int, dict[str, Any]]:
    """Return the status and the body that stand for an exception that was raised on purpose.

    Args:
        error: A `ChromaError`, or the `ValueError` or `TypeError` of an argument.
    """
    if not isinstance(error, ChromaError):
        return 400, {"error": "InvalidArgumentError", "message": str(error)}
    names = [_NAMES[kind] for kind in type(error).__mro__ if kind in _NAMES]
    body: dict[str, Any] = {
        "error": next(name for name in names if name not in _OURS),
        "message": str(error),
    }
    if names[0] in _OURS:
        body["kind"] = names[0]
    if isinstance(error, MemoryBudgetError):
        body.update(need=error.need, free=error.free, budget=error.budget)
    if isinstance(error, StoreCorruptError) and error.ids:
        body["ids"] = error.ids[:_MOST_IDS]
    return error.code(), body


#: Of a message that a server sends; ours are far shorter.
_LONGEST_MESSAGE = 2_000


def _bytes(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and abs(value) < 2**63 else 0


def error_from_json(status: int, body: Any) -> ChromaError:
    """Return the exception that a server's answer stands for.

    Args:
        status: The HTTP status, 400 or above.
        body: The JSON value of the answer, None where it is no JSON.
    """
    if not isinstance(body, dict) or "error" not in body:
        return ChromaError(f"The server answered with HTTP status {status}.")
    message = said(body.get("message", ""), _LONGEST_MESSAGE)
    name = body.get("kind") or body["error"]
    kind = error_types.get(name) if isinstance(name, str) else None
    if kind is MemoryBudgetError:
        need, free, budget = (_bytes(body.get(part)) for part in ("need", "free", "budget"))
        return MemoryBudgetError(message, need=need, free=free, budget=budget)
    if kind is StoreCorruptError:
        ids = body.get("ids")
        some = ids[:_MOST_IDS] if isinstance(ids, list) else []
        return StoreCorruptError(message, ids=[one for one in some if isinstance(one, str)])
    if kind is None:
        return ChromaError(f"{said(body['error'], 100)}: {message}")
    if kind is ChromaError and status == 409:
        # Chroma's server names no nearer class.
        return UniqueConstraintError(message)
    if kind is ChromaError and status == 501:
        return NotSupportedError(message)
    if kind is ChromaError and status == 422:
        # The shape of a body was wrong, which is an argument that was.
        return InvalidArgumentError(message)
    return kind(message)
