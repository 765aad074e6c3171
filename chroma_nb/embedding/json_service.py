"""`JSONService`: requests to an embedding service over HTTP, repeated when it is worth it."""

from __future__ import annotations

import json
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
from chroma_nb.memory.preflight import require
from chroma_nb.memory.sizes import format_bytes

if TYPE_CHECKING:
    from types import TracebackType

_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_CONNECT_SECONDS = 5.0
_LONGEST_WAIT_SECONDS = 60.0
#: What an answer may have, bytes: the first for itself, the second for each text. 10,000 numbers take 220 kB.
_ANSWER_BYTES, _TEXT_BYTES = 1 << 20, 1 << 18
#: It may hold one JSON value for each this many of those bytes.
_BYTES_PER_VALUE = 16
#: What a number, and a list or a dict, takes in memory at most, bytes.
_NUMBER_BYTES, _CONTAINER_BYTES = 40, 240
_PIECE_BYTES = 1 << 16
#: So much of an answer is looked at for an error's message.
_SHOWN_BYTES = 4_096


class JSONService:
    """Posts JSON and returns JSON; a context manager that holds one connection. For one thread.

    Too many requests (429) and the server's passing troubles (408, 500, 502 to 504, a broken connection)
    are tried again after a growing pause, or after the pause that the server asks for.

    Args:
        service: The service's name, as it stands within a sentence.
        headers: Sent with each request.
        timeout_seconds: How long an answer may take, all of it. What is large has more.
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

        # It imports requests as well.
        from chroma_nb import deadline

        self._requests, self._deadline = requests, deadline
        self._session = requests.Session()
        # Otherwise an entry in ~/.netrc takes the place of the key.
        self._session.auth = lambda request: request
        # Redirects are not followed. requests would look where one leads all the same, and fail at an odd address.
        self._session.get_redirect_target = lambda resp: None  # type: ignore[method-assign]
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, deadline.adapter(1))
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

    def post(self, url: str, payload: dict[str, Any], n_texts: int) -> dict[str, Any]:
        """Post a payload and return the answer.

        Args:
            url: Where to.
            payload: A JSON object.
            n_texts: How many embeddings the answer has: one that is far too large for that is not read to its end.

        Raises:
            AuthorizationError: 401 or 403.
            NotFoundError: 404.
            RateLimitError: 429, still after the last attempt.
            QuotaError: 429 because the account has nothing left.
            InvalidArgumentError: Another refusal (4xx).
            InternalError: Nobody answers, or the server fails, or it answers something else than a
                JSON object, or too much.
            MemoryBudgetError: There is no room for the answer.
        """
        most_bytes = _ANSWER_BYTES + n_texts * _TEXT_BYTES
        data = json.dumps(payload).encode()
        headers = {"Content-Type": "application/json"}
        for attempt in range(1, self._attempts + 1):
            wait_seconds = self._pause_seconds * 2 ** (attempt - 1) * random.uniform(1.0, 1.25)
            try:
                self._deadline.set_deadline(self._timeout[1], len(data))
                response = self._session.post(
                    url,
                    data=data,
                    headers=headers,
                    timeout=self._timeout,
                    allow_redirects=False,
                    stream=True,
                )
                body = self._receive(url, response, most_bytes)
            except ChromaError:
                raise
            except self._requests.ConnectionError as error:
                # No connection at all will not get better in seconds; one that broke may.
                if attempt == self._attempts or isinstance(error, self._requests.ConnectTimeout):
                    raise self._no_answer(url, error) from None
                if _refused(error):
                    raise self._no_answer(url, error) from None
            except self._requests.RequestException as error:
                raise self._no_answer(url, error) from None
            except Exception as error:
                # http.client and urllib3 hand through what a number or a name of an answer cannot be read as.
                raise self._no_answer(url, error) from None
            else:
                if response.status_code < 300:
                    return self._answer(url, body, most_bytes)
                refusal = self._refusal(url, response, body)
                again = response.status_code in _PASSING and not isinstance(refusal, QuotaError)
                if not again or attempt == self._attempts:
                    raise refusal
                asked = _seconds(response.headers.get("Retry-After"))
                wait_seconds = wait_seconds if asked is None else asked
            time.sleep(min(wait_seconds, _LONGEST_WAIT_SECONDS))
        raise AssertionError("the last attempt returns or raises")

    def _receive(self, url: str, response: Any, most_bytes: int) -> bytearray:
        """Take an answer's body, up to a limit: a small one that is compressed may be of any size."""
        body = bytearray()
        try:
            if "," in response.headers.get("Content-Encoding", ""):
                # A piece of one that is compressed several times over may be of any size by itself.
                raise InternalError(f"{self._at(url)} answered with what is compressed twice.")
            for piece in response.iter_content(_PIECE_BYTES):
                body += piece
                self._deadline.extend_deadline(len(piece))
                if len(body) > most_bytes:
                    raise self._too_much(url, format_bytes(most_bytes))
        except BaseException:
            # The error's traceback would keep it.
            body.clear()
            response.close()
            raise
        return body

    def _too_much(self, url: str, limit: str) -> InternalError:
        return InternalError(
            f"{self._at(url)} answered with more than {limit}, the most that embeddings of so many texts may take. "
            "Is it an embedding service?"
        )

    def _answer(self, url: str, body: bytearray, most_bytes: int) -> dict[str, Any]:
        answer = self._json(url, body, most_bytes)
        if not isinstance(answer, dict):
            raise InternalError(
                f"{self._at(url)} did not answer with a JSON object: {self._excerpt(_text(body))}"
            )
        return answer

    def _json(self, url: str, body: bytearray, most_bytes: int) -> Any:
        """Return the JSON value of a body; None where it is none."""
        n_containers = body.count(b"[") + body.count(b"{")
        n_values = body.count(b",") + n_containers
        limit = most_bytes // _BYTES_PER_VALUE
        if n_values > limit:
            raise self._too_much(url, f"{limit:,} values")
        require(
            len(body) + n_values * _NUMBER_BYTES + n_containers * _CONTAINER_BYTES,
            f"Reading an answer of {self._service} with {n_values:,} values",
            "embed fewer texts at a time",
        )
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            return None

    def _refusal(self, url: str, response: Any, body: bytearray) -> ChromaError:
        status = response.status_code
        where = self._at(url)
        if status in (401, 403):
            # The server's own sentence may repeat a part of the key.
            return AuthorizationError(
                f"{where} does not accept the API key (HTTP {status}). Check the key."
            )
        found = self._json(url, body, _ANSWER_BYTES) if len(body) <= _ANSWER_BYTES else None
        error = found.get("error", found) if isinstance(found, dict) else found
        said = error.get("message") if isinstance(error, dict) else error
        code = error.get("code") if isinstance(error, dict) else None
        if not isinstance(said, str) or not said:
            said = _text(body)
        message = f"{where} refused with HTTP {status}: {self._excerpt(said)}"
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


def _text(body: bytearray) -> str:
    """Return the beginning of a body. What its character set is would take minutes to guess."""
    return bytes(body[:_SHOWN_BYTES]).decode("utf-8", "replace")


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
