"""`ServerConnection`: requests to one server, pooled, repeated where that is safe, and what went wrong in words."""

from __future__ import annotations

import math
import os
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlencode, urlsplit

import requests
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import (
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
)
from urllib3.exceptions import TimeoutError as LateError

from chroma_nb import forked
from chroma_nb._version import __version__
from chroma_nb.api.address import gone, parts_of, shown_headers, too_many_values
from chroma_nb.api.repeating import LONGEST_WAIT_SECONDS, NOT_BEGUN, limits, pause, wait_before
from chroma_nb.deadline import adapter, extend_deadline, set_deadline
from chroma_nb.errors import (
    AuthorizationError,
    BatchSizeExceededError,
    ChromaAuthError,
    ChromaError,
    InvalidArgumentError,
    NotFoundError,
    ServerUnavailableError,
)
from chroma_nb.harmless import UNREADABLE, said_in_line
from chroma_nb.memory.sizes import parse_bytes
from chroma_nb.settings import without_secrets
from chroma_nb.webassembly import IS_WEBASSEMBLY
from chroma_nb.wire.errors import error_from_json
from chroma_nb.wire.text import BYTES_PER_VALUE, NoJsonError, TooManyValuesError, dumps, loads

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chroma_nb.settings import Settings

#: How long the first packet of a connection may take, seconds. A host that is there answers at once.
_CONNECT_SECONDS = 5.0
#: An answer is read in pieces of this size.
_PIECE_BYTES = 1 << 16
#: Connections kept open; more threads than that open ones of their own for a moment.
_POOL = 32
#: A proxy says that it got no answer: begun or not, who knows.
_UNKNOWN = frozenset((502, 504))


class ServerConnection:
    """A server's address, and the way there.

    Args:
        settings: `url`, what to show to the server, timeouts, TLS and proxy.

    Raises:
        InvalidArgumentError: `url` or another setting cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        parts, place = parts_of(settings, ("http", "https"))
        path = parts.path.rstrip("/").removesuffix("/api/v2")
        self.url = f"{parts.scheme}://{place}{path}"
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": f"chroma_nb/{__version__}",
            **shown_headers(settings, parts),
        }
        self._settings = settings
        self._lock = threading.Lock()
        self._session: requests.Session | None = None
        #: Is it known that a Chroma server answers there? Then a path that is not there is a name that is not.
        self.is_known = False
        #: What the environment says of proxies and certificates, asked once: it takes longer than a request.
        self._options: dict[str, Any] = {}
        try:
            self._most_bytes = parse_bytes(settings.max_answer)
        except ValueError as error:
            raise InvalidArgumentError(f"Setting max_answer: {error}") from None
        #: Answers that each thread has received.
        self._answers = threading.local()
        forked.watch(self)

    def on_fork(self) -> None:
        """In a forked child: it must not write into its parent's connections, nor end them."""
        forked.keep_for_ever(self._session)
        self._lock = threading.Lock()
        self._session = None

    @property
    def shows_credentials(self) -> bool:
        """Does it show the server who asks?"""
        return any(name.lower() in ("authorization", "x-chroma-token") for name in self._headers)

    def close(self) -> None:
        """Close the connections. Closing twice is allowed."""
        with self._lock:
            if self._session is not None:
                self._session.close()
            self._session = None

    def _open(self) -> requests.Session:
        session = self._session
        if session is not None:
            return session
        with self._lock:
            if self._session is None:
                self._session = self._new_session()
            return self._session

    def _new_session(self) -> requests.Session:
        settings = self._settings
        session = requests.Session()
        for scheme in ("http://", "https://"):
            session.mount(scheme, adapter(_POOL))
        verify: bool | str = {"true": True, "false": False}.get(
            settings.tls_verify.lower(), settings.tls_verify
        )
        for name, file in (("tls_verify", verify), ("tls_certificate", settings.tls_certificate)):
            if isinstance(file, str) and file and not os.path.exists(file):
                raise InvalidArgumentError(
                    f"Setting {name} names the file {file!r}, which does not exist."
                )
        proxies = {"http": settings.proxy, "https": settings.proxy} if settings.proxy else {}
        self._options = dict(
            session.merge_environment_settings(
                self.url, proxies, True, verify, settings.tls_certificate or None
            )
        )
        session.trust_env = False
        return session

    def request(
        self,
        method: str,
        path: Iterable[str],
        body: Any = None,
        *,
        params: dict[str, Any] | None = None,
        safe: bool = False,
        seconds: float | None = None,
    ) -> Any:
        """Send a request and return the JSON value of the answer.

        Args:
            method: GET, POST, PUT or DELETE.
            path: The parts of the path below the server's address; each is escaped.
            body: A JSON value, or None.
            params: The query; what is None is left out.
            safe: Doing it twice is as good as once, so it may be repeated after any failure.
            seconds: How long the answer may take, all of it; None is as the settings say. What is large has
                more, as `deadline.SLOWEST` says.

        Raises:
            ServerUnavailableError: Nothing answers, or not in time.
            ChromaError: What the server says.
        """
        data = None if body is None else dumps(body)
        url = self.url + "".join(f"/{quote(part, safe='')}" for part in path)
        asked = {key: value for key, value in (params or {}).items() if value is not None}
        prepared = self._prepared(method, f"{url}?{urlencode(asked)}" if asked else url, data)
        session = self._open()
        attempts, limit = limits(self._settings, seconds)
        # In a browser nobody is told when the connection is there: the first time is that of the whole request.
        timeout = (limit if IS_WEBASSEMBLY else min(_CONNECT_SECONDS, limit), limit)
        was_sent = False
        for attempt in range(attempts):
            set_deadline(timeout[1], len(data or b""))
            try:
                # Not `session.send`: it reads what a redirect says, all of it, even where it is not to follow.
                response = session.get_adapter(url).send(prepared, timeout=timeout, **self._options)
                self._receive(response)
            except ChromaError:
                raise
            except requests.RequestException as error:
                if attempt + 1 < attempts and _may_repeat(error, safe):
                    was_sent = was_sent or not _is_refused(_innermost(error))
                    pause(wait_before(attempt))
                    continue
                raise self._unavailable(error, timeout[1], was_sent) from error
            except Exception as error:
                # http.client and urllib3 hand through what a number or a name of an answer cannot be read as.
                raise self.unusable(error) from error
            status = response.status_code
            if status < 300:
                return self._read(response)
            again = status in NOT_BEGUN or (safe and status in _UNKNOWN)
            if again and attempt + 1 < attempts:
                pause(_asked_to_wait(response, wait_before(attempt)))
                continue
            raise self._failure(response)
        raise AssertionError("unreachable")

    def _receive(self, response: requests.Response) -> None:
        """Take the answer's body, up to the limit: a small one that is compressed may be of any size.

        Raises:
            ServerUnavailableError: It is larger.
        """
        if "," in response.headers.get("Content-Encoding", ""):
            # A piece of one that is compressed several times over may be of any size by itself.
            response.close()
            raise self._unusable(
                "it is compressed more than once, and was not to be compressed at all"
            )
        body = bytearray()
        for piece in response.iter_content(_PIECE_BYTES):
            body += piece
            extend_deadline(len(piece))
            if len(body) > self._most_bytes:
                response.close()
                # The error's traceback would keep it.
                body.clear()
                raise ServerUnavailableError(
                    f"The answer of the server at {self.url} is larger than {self._settings.max_answer} "
                    "(Settings.max_answer). Ask for less at a time: limit= and offset=."
                )
        # Where `response.content` looks for it. As bytes it would be there twice.
        response._content = body  # type: ignore[assignment]
        self._answers.n = self.n_answers + 1

    @property
    def n_answers(self) -> int:
        """How many answers this thread has received."""
        n: int = getattr(self._answers, "n", 0)
        return n

    def unusable(self, error: Exception) -> ServerUnavailableError:
        """Return the error for an answer that is not what was asked for, or cannot be read."""
        return self._unusable(f"{type(error).__name__}: {error}")

    def _unusable(self, reason: str) -> ServerUnavailableError:
        return ServerUnavailableError(
            f"The server at {self.url} gave an answer that cannot be used ({said_in_line(reason, 200)}). Is it a Chroma server, and "
            "is a proxy before it that changes answers?"
        )

    def _prepared(self, method: str, url: str, data: bytes | None) -> requests.PreparedRequest:
        # Ready as it is: requests' own preparation takes a tenth of a query's time, to find out what is
        # known here.
        prepared = requests.PreparedRequest()
        prepared.method, prepared.url, prepared.body = method, url, data
        prepared.headers = CaseInsensitiveDict(self._headers)
        prepared.headers["Content-Length"] = str(len(data or b""))
        prepared.prepare_cookies({})
        return prepared

    def _read(self, response: requests.Response) -> Any:
        try:
            return self._json(response)
        except NoJsonError:
            raise self._no_chroma_server(response) from None

    def _json(self, response: requests.Response) -> Any:
        """Return the JSON value of an answer.

        Raises:
            NoJsonError: It is none.
            ServerUnavailableError, MemoryBudgetError: It would take too much memory.
        """
        try:
            return loads(response.content, self._most_bytes // BYTES_PER_VALUE)
        except TooManyValuesError as error:
            raise too_many_values(self.url, self._settings, error) from None

    def _no_chroma_server(self, response: requests.Response) -> ServerUnavailableError:
        """Return the error that says: something answers there, but it is no Chroma server."""
        kind = said_in_line(
            response.headers.get("Content-Type", "no content type").partition(";")[0], 80
        )
        return ServerUnavailableError(
            f"Something answers at {self.url}, but it is no Chroma server: HTTP status "
            f"{response.status_code}, {kind}. Check host, port and path."
        )

    def _failure(self, response: requests.Response) -> Exception:
        status = response.status_code
        if 300 <= status < 400:
            return self._redirected(response)
        try:
            body = self._json(response)
        except NoJsonError:
            body = None
        if body is None and status == 404 and self.is_known:
            # A name that no path can hold, such as "a/b".
            name = unquote(urlsplit(response.url).path.rpartition("/")[2])
            return NotFoundError(f"[{name[:100]}] does not exist at {self.url}")
        if body is None and status not in (401, 403, 413, 502, 503, 504):
            return self._no_chroma_server(response)
        error: ChromaError
        says_nothing = not isinstance(body, dict) or "error" not in body
        if status in (401, 403) and says_nothing:
            kind = AuthorizationError if status == 401 else ChromaAuthError
            error = kind(f"The server at {self.url} refuses what was shown to it.")
        elif status == 413 and says_nothing:
            error = BatchSizeExceededError(
                f"What stands before the server at {self.url} refuses a request of "
                f"{len(response.request.body or b''):,} bytes (HTTP status 413)."
            )
        elif body is None:
            error = ServerUnavailableError(
                f"The server at {self.url} is not able to answer: HTTP status {status}."
            )
        else:
            error = error_from_json(status, body)
        trace_id = response.headers.get("chroma-trace-id")
        error.trace_id = None if trace_id is None else said_in_line(trace_id, 200)
        return error

    def _redirected(self, response: requests.Response) -> ServerUnavailableError:
        """Return the error for an answer that sends us elsewhere: nothing is sent to another place unasked."""
        target = said_in_line(without_secrets(response.headers.get("Location", "")), 200)
        asked = urlsplit(response.url).path
        way_out = "A login page or a proxy may stand before it."
        if "://" in target and target.partition("?")[0].endswith(asked):
            way_out = f"Connect there: chroma_nb.connect({target.partition('?')[0].removesuffix(asked)!r})."
            if asked.startswith(urlsplit(self.url).path + "/api/"):
                base = asked[len(urlsplit(self.url).path) :]
                address = target.partition("?")[0].removesuffix(base)
                way_out = f"Connect there: chroma_nb.connect({address!r})."
        return ServerUnavailableError(
            f"{self.url} does not answer itself, it sends its clients to {target or 'no address'} (HTTP "
            f"status {response.status_code}). {way_out}"
        )

    def _unavailable(
        self, error: requests.RequestException, seconds: float, was_sent: bool
    ) -> Exception:
        reason = _innermost(error)
        advice = (
            "Start one with `chroma-nb run`, or work in this process: chroma_nb.connect(None) or "
            "chroma_nb.Client()."
        )
        if isinstance(error, requests.exceptions.SSLError):
            return ServerUnavailableError(
                f"No secure connection to {self.url}: {_sentence(reason)}. If the server has no TLS, use "
                "http://; if its certificate is your own authority's, set tls_verify to that file; if it "
                "asks for your certificate, set Settings.tls_certificate."
            )
        if isinstance(error, requests.exceptions.ProxyError):
            return ServerUnavailableError(
                f"The proxy on the way to {self.url} does not work: {_sentence(reason)}. Set NO_PROXY or "
                "Settings.proxy."
            )
        if isinstance(error, requests.exceptions.ConnectTimeout):
            return ServerUnavailableError(
                f"No server answers at {self.url} within {_CONNECT_SECONDS:g} s: the host is down, or "
                f"something on the way drops what is sent there. {advice}"
            )
        if isinstance(error, requests.exceptions.Timeout) or _is_late(reason):
            return ServerUnavailableError(
                f"The server at {self.url} did not answer within {seconds:g} s. It may still be at work; "
                "set Settings.timeout_seconds to wait longer."
            )
        if isinstance(reason, NameResolutionError):
            host = urlsplit(self.url).hostname
            return ServerUnavailableError(
                f"There is no host {host!r} ({self.url}). Check its name, and that this machine can reach "
                f"it. {advice}"
            )
        if _is_refused(reason) and self.is_known:
            return gone(self.url, _sentence(reason), was_sent)
        if _is_refused(reason):
            return ServerUnavailableError(
                f"Could not connect to a Chroma server at {self.url}: {_sentence(reason)}. Are you sure it "
                f"is running, and on that port? {advice}"
            )
        return ServerUnavailableError(
            f"The connection to {self.url} broke: {_sentence(reason)}. Either the server stopped, or what "
            "answers there does not speak HTTP (https:// where the server has no TLS, or the reverse; grpc:// for a port of "
            "Arrow Flight)."
        )


def _innermost(error: BaseException) -> BaseException:
    """Return the cause at the bottom of what requests and urllib3 wrap it in."""
    seen = error
    for _ in range(10):
        inner = getattr(seen, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((one for one in seen.args if isinstance(one, BaseException)), None)
        if inner is None and isinstance(seen, ProtocolError) and len(seen.args) > 1:
            inner = seen.args[1] if isinstance(seen.args[1], BaseException) else None
        if inner is None or inner is seen:
            break
        seen = inner
    return seen


def _sentence(reason: BaseException) -> str:
    cause = reason.__cause__ or reason
    text = (
        getattr(cause, "strerror", None) or str(cause).rpartition(": ")[2] or type(cause).__name__
    )
    shown = said_in_line(text, 200).rstrip(".")
    return "its answer is not text" if UNREADABLE in shown else shown


def _may_repeat(error: requests.RequestException, safe: bool) -> bool:
    """Nothing was sent, or sending it again does no harm."""
    reason = _innermost(error)
    if isinstance(error, requests.exceptions.SSLError | requests.exceptions.ProxyError):
        return False
    if _is_refused(reason):
        return not isinstance(reason, NameResolutionError)
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return False
    return safe and not isinstance(error, requests.exceptions.Timeout) and not _is_late(reason)


def _is_refused(reason: BaseException) -> bool:
    """Say whether nobody accepts connections there."""
    return isinstance(reason, NewConnectionError | ConnectionRefusedError)


def _is_late(reason: BaseException) -> bool:
    """Say whether an answer did not come in time, or the request could not be sent in time."""
    # Its subclasses are about connecting, too. The class itself is what is raised in a browser.
    return isinstance(reason, ReadTimeoutError | TimeoutError) or type(reason) is LateError


def _asked_to_wait(response: requests.Response, otherwise: float) -> float:
    """Return how long to wait before the next attempt, seconds: as long as the server says, within reason."""
    try:
        asked = float(response.headers.get("Retry-After", ""))
    except ValueError:
        return otherwise
    return min(LONGEST_WAIT_SECONDS, max(0.0, asked)) if math.isfinite(asked) else otherwise
