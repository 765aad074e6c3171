"""`JSONService`: requests to an embedding service over HTTP, repeated when it is worth it."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from chroma_nb.errors import (
    AuthorizationError,
    ChromaError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    QuotaError,
    RateLimitError,
)
from chroma_nb.harmless import said_in_line

if TYPE_CHECKING:
    from types import TracebackType

_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_CONNECT_SECONDS = 5.0
_LONGEST_WAIT_SECONDS = 60.0


class JSONService:
    """Posts JSON and returns JSON; a context manager that holds one connection. For one thread.

    Too many requests (429) and the server's passing troubles (408, 500, 502 to 504, a broken connection)
    are tried again after a growing pause, or after the pause that the server asks for.

    Args:
        service: The service's name, as it stands within a sentence.
        headers: Sent with each request.
        timeout_seconds: How long the server may be silent.
        attempts: How often one request is tried.
        pause_seconds: Pause before the second attempt; doubled for each further one.
        secrets: Texts that no message may show.
        unreachable: What to do when nobody answers, for the message.
    """

    def __init__(
        self,
        service: str,
        *,
        headers: dict[str, str] | None = None,
        timeout_seconds: float = 60.0,
        attempts: int = 5,
        pause_seconds: float = 0.5,
        secrets: tuple[str, ...] = (),
        unreachable: str = "",
    ) -> None:
        import requests

        self._requests = requests
        self._session = requests.Session()
        # Otherwise an entry in ~/.netrc takes the place of the key.
        self._session.auth = lambda request: request
        # Redirects are not followed. requests would look where one leads all the same, and fail at an odd address.
        self._session.get_redirect_target = lambda resp: None  # type: ignore[method-assign]
        self._session.headers.update(headers or {})
        self._service = service
        self._timeout = (min(_CONNECT_SECONDS, timeout_seconds), timeout_seconds)
        self._attempts = attempts
        self._pause_seconds = pause_seconds
        self._secrets = tuple(secret for secret in secrets if secret)
        self._unreachable = unreachable

    def __repr__(self) -> str:
        return f"JSONService({self._service!r})"

    def __enter__(self) -> JSONService:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._session.close()

    def post(self, url: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Post a payload and return the answer.

        Raises:
            AuthorizationError: 401 or 403.
            NotFoundError: 404.
            RateLimitError: 429, still after the last attempt.
            QuotaError: 429 because the account has nothing left.
            InvalidArgumentError: Another refusal (4xx).
            InternalError: Nobody answers, or the server fails, or it answers something else than a
                JSON object.
        """
        for attempt in range(1, self._attempts + 1):
            wait_seconds = self._pause_seconds * 2 ** (attempt - 1) * random.uniform(1.0, 1.25)
            try:
                response = self._session.post(
                    url, json=payload, timeout=self._timeout, allow_redirects=False
                )
            except self._requests.ConnectionError as error:
                # No connection at all will not get better in seconds; one that broke may.
                if attempt == self._attempts or isinstance(error, self._requests.ConnectTimeout):
                    raise self._no_answer(url, error) from None
                if _refused(error):
                    raise self._no_answer(url, error) from None
            except self._requests.RequestException as error:
                raise self._no_answer(url, error) from None
            else:
                if response.status_code < 300:
                    return self._answer(url, response)
                refusal = self._refusal(url, response)
                again = response.status_code in _PASSING and not isinstance(refusal, QuotaError)
                if not again or attempt == self._attempts:
                    raise refusal
                asked = _seconds(response.headers.get("Retry-After"))
                wait_seconds = wait_seconds if asked is None else asked
            time.sleep(min(wait_seconds, _LONGEST_WAIT_SECONDS))
        raise AssertionError("the last attempt returns or raises")

    def _answer(self, url: str, response: Any) -> dict[str, Any]:
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise InternalError(
                f"{self._at(url)} did not answer with a JSON object: {self._excerpt(response.text)}"
            )
        return answer

    def _refusal(self, url: str, response: Any) -> ChromaError:
        status = response.status_code
        where = self._at(url)
        if status in (401, 403):
            # The server's own sentence may repeat a part of the key.
            return AuthorizationError(
                f"{where} does not accept the API key (HTTP {status}). Check the key."
            )
        try:
            body = response.json()
        except ValueError:
            body = None
        error = body.get("error", body) if isinstance(body, dict) else body
        said = error.get("message") if isinstance(error, dict) else error
        code = error.get("code") if isinstance(error, dict) else None
        message = f"{where} refused with HTTP {status}: {self._excerpt(said or response.text)}"
        if status == 429:
            if code == "insufficient_quota":
                return QuotaError(message)
            return RateLimitError(message)
        if status == 404:
            return NotFoundError(message)
        if 400 <= status < 500 and status != 408:
            return InvalidArgumentError(message)
        return InternalError(message)

    def _no_answer(self, url: str, error: Exception) -> InternalError:
        hint = f" {self._unreachable}" if self._unreachable else ""
        return InternalError(
            f"No answer from {self._service} at {self._clean(url)} ({type(error).__name__}: "
            f"{self._excerpt(error)}).{hint}"
        )

    def _at(self, url: str) -> str:
        """Return who answered, as the beginning of a sentence."""
        return f"{self._service[:1].upper()}{self._service[1:]} at {self._clean(url)}"

    def _excerpt(self, said: Any, limit: int = 300) -> str:
        text = str(said)
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return said_in_line(text, limit)

    def _clean(self, url: str) -> str:
        parts = urlsplit(url)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))


def _refused(error: BaseException) -> bool:
    """Whether nobody listens there, or there is no such host (told by urllib3's cause)."""
    cause: Any = error.args[0] if error.args else None
    reason = type(getattr(cause, "reason", cause)).__name__
    return reason in ("NewConnectionError", "NameResolutionError", "ConnectTimeoutError")


def _seconds(header: str | None) -> float | None:
    """Read Retry-After where it is a number of seconds."""
    try:
        return max(0.0, float(header)) if header else None
    except ValueError:
        return None
