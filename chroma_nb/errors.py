"""The exceptions of chroma_nb: Chroma's names, Chroma's HTTP codes, one root.

::

    ChromaError
    |-- InvalidArgumentError (ValueError)
    |   |-- InvalidDimensionException
    |   |-- InvalidUUIDError
    |   `-- BatchSizeExceededError
    |-- DuplicateIDError (ValueError)
    |-- IDAlreadyExistsError (ValueError)
    |-- NotFoundError
    |-- AuthorizationError
    |-- ChromaAuthError
    |-- InvalidHTTPVersion
    |-- RateLimitError
    |-- QuotaError
    |-- NotSupportedError (NotImplementedError)
    |-- MemoryBudgetError (MemoryError)
    |-- ServerUnavailableError (ConnectionError, ValueError)
    `-- InternalError
        |-- IDNotFoundError (also a NotFoundError)
        |-- UniqueConstraintError
        |-- ConflictError
        |-- VersionMismatchError
        |-- StoreLockedError
        `-- StoreCorruptError

A class that is also a built-in kind says so, so that ``except ValueError`` keeps working. In Chroma
a name that is taken is an ``InternalError`` in process and a conflict over HTTP:
``UniqueConstraintError`` is both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from chroma_nb.display.base import Displayed

if TYPE_CHECKING:
    from collections.abc import Sequence

E = TypeVar("E", bound=Exception)

__all__ = [
    "AuthorizationError",
    "BatchSizeExceededError",
    "ChromaAuthError",
    "ChromaError",
    "ConflictError",
    "DuplicateIDError",
    "IDAlreadyExistsError",
    "IDNotFoundError",
    "InternalError",
    "InvalidArgumentError",
    "InvalidDimensionException",
    "InvalidHTTPVersion",
    "InvalidUUIDError",
    "MemoryBudgetError",
    "NotFoundError",
    "NotSupportedError",
    "QuotaError",
    "RateLimitError",
    "ServerUnavailableError",
    "StoreCorruptError",
    "StoreLockedError",
    "UniqueConstraintError",
    "VersionMismatchError",
    "error_types",
]


class ChromaError(Displayed, Exception):
    """Root of every error that chroma_nb raises on purpose."""

    _view = "error"

    #: The server's trace id, where the error came over HTTP.
    trace_id: str | None = None
    _http_status = 400
    _name = "ChromaError"

    def code(self) -> int:
        """Return the HTTP status that stands for this error."""
        return self._http_status

    def message(self) -> str:
        """Return the sentence meant for people."""
        return ", ".join(str(arg) for arg in self.args)

    @classmethod
    def name(cls) -> str:
        """Return Chroma's name of this error."""
        return cls._name


def with_way_out(error: E, way_out: str) -> E:
    """Return an error whose sentence, Chroma's, is followed by one that says what to do.

    The two are known apart: libraries look for Chroma's sentence, which may yet get a method's name.
    """
    error.args = (f"{error.args[0]}. {way_out}", *error.args[1:])
    error.way_out = way_out  # type: ignore[attr-defined]
    return error


class InvalidArgumentError(ChromaError, ValueError):
    """An argument has the right type and a value that cannot be used."""

    _name = "InvalidArgument"


class InvalidDimensionException(InvalidArgumentError):
    """An embedding's dimension is not the collection's."""

    _name = "InvalidDimension"


class InvalidUUIDError(InvalidArgumentError):
    """A text that should be a UUID is none."""

    _name = "InvalidUUID"


class BatchSizeExceededError(InvalidArgumentError):
    """One call holds more records than a server takes."""

    _http_status = 413
    _name = "BatchSizeExceededError"


class DuplicateIDError(ChromaError, ValueError):
    """The same id stands twice in one call."""

    _name = "DuplicateID"


class IDAlreadyExistsError(ChromaError, ValueError):
    """An id is taken, and ``on_conflict="error"`` was asked for."""

    _http_status = 409
    _name = "IDAlreadyExists"


class NotFoundError(ChromaError):
    """A tenant, database or collection does not exist."""

    _http_status = 404
    _name = "NotFoundError"


class AuthorizationError(ChromaError):
    """The credentials were not accepted."""

    _http_status = 401
    _name = "AuthorizationError"


class ChromaAuthError(ChromaError):
    """The credentials do not allow this."""

    _http_status = 403
    _name = "AuthError"

    def message(self) -> str:
        """Return a text that gives nothing away."""
        return "Forbidden"


class InvalidHTTPVersion(ChromaError):
    """The server speaks another version of HTTP."""

    _name = "InvalidHTTPVersion"


class RateLimitError(ChromaError):
    """Too many requests."""

    _http_status = 429
    _name = "RateLimitError"


class QuotaError(ChromaError):
    """A quota is used up."""

    _name = "QuotaError"


class NotSupportedError(ChromaError, NotImplementedError):
    """The store that answers has no such operation."""

    _http_status = 501
    _name = "NotSupportedError"


class MemoryBudgetError(ChromaError, MemoryError):
    """An operation would need more memory than there is; it was refused before it allocated any.

    Attributes:
        need: Bytes that it would have taken, about.
        free: Bytes that could be had.
        budget: Bytes that the loaded collections may hold, where the budget is what was in the way.
        may_fit_later: Others use the memory at the moment.
    """

    _view = "budget error"

    _http_status = 507
    _name = "MemoryBudgetError"

    def __init__(
        self,
        message: str,
        *,
        need: int = 0,
        free: int = 0,
        budget: int | None = None,
    ) -> None:
        super().__init__(message)
        self.may_fit_later = False
        self.need = need
        self.free = free
        self.budget = budget


class ServerUnavailableError(ChromaError, ConnectionError, ValueError):
    """No server answers where one should, or it did not answer in time.

    A `ValueError` as well, as Chroma raises one where it cannot connect.
    """

    _http_status = 503
    _name = "ServerUnavailableError"

    def __str__(self) -> str:
        return self.message()


class InternalError(ChromaError):
    """Something failed that no argument explains."""

    _http_status = 500
    _name = "InternalError"


class IDNotFoundError(InternalError, NotFoundError):
    """A query is restricted to ids that the collection does not have.

    An `InternalError`, as in Chroma.
    """

    _http_status = 404
    _name = "IDNotFoundError"


class UniqueConstraintError(InternalError):
    """A name is taken."""

    _http_status = 409
    _name = "UniqueConstraintError"


class ConflictError(InternalError):
    """Other processes have written to the collection meanwhile; nothing of this call was kept."""

    _http_status = 409
    _name = "ConflictError"


class VersionMismatchError(InternalError):
    """A store was written by a version that this one cannot read."""

    _name = "VersionMismatchError"


class StoreLockedError(InternalError):
    """Another process holds the store."""

    _http_status = 409
    _name = "StoreLockedError"


class StoreCorruptError(InternalError):
    """A file that holds records, not derived data, is damaged or missing.

    Attributes:
        ids: The records whose embeddings are damaged, where just these are.
    """

    _name = "StoreCorruptError"

    def __init__(self, message: str = "", *, ids: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.ids = list(ids)


#: Name on the wire -> class. Chroma's server writes these names into ``{"error": ...}``.
error_types: dict[str, type[ChromaError]] = {
    "InvalidDimension": InvalidDimensionException,
    "InvalidArgumentError": InvalidArgumentError,
    "IDAlreadyExists": IDAlreadyExistsError,
    "DuplicateID": DuplicateIDError,
    "InvalidUUID": InvalidUUIDError,
    "InvalidHTTPVersion": InvalidHTTPVersion,
    "AuthorizationError": AuthorizationError,
    "AuthError": ChromaAuthError,
    "NotFoundError": NotFoundError,
    "NotSupportedError": NotSupportedError,
    "MemoryBudgetError": MemoryBudgetError,
    "ServerUnavailableError": ServerUnavailableError,
    "UniqueConstraintError": UniqueConstraintError,
    "BatchSizeExceededError": BatchSizeExceededError,
    "RateLimitError": RateLimitError,
    "QuotaError": QuotaError,
    "ConflictError": ConflictError,
    "VersionMismatchError": VersionMismatchError,
    "StoreLockedError": StoreLockedError,
    "StoreCorruptError": StoreCorruptError,
    "IDNotFoundError": IDNotFoundError,
    "InternalError": InternalError,
    "ChromaError": ChromaError,
}
