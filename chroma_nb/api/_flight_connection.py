"""`FlightConnection`: calls of one Arrow Flight server, repeated where that is safe, and what went wrong in words."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.flight as fl

from chroma_nb import forked
from chroma_nb.api.address import gone, parts_of, shown_headers, too_many_values
from chroma_nb.api.repeating import NOT_BEGUN, limits, pause, wait_before
from chroma_nb.errors import (
    ChromaError,
    InternalError,
    InvalidArgumentError,
    ServerUnavailableError,
)
from chroma_nb.harmless import said_in_line
from chroma_nb.memory.sizes import parse_bytes
from chroma_nb.settings import without_secrets
from chroma_nb.wire.answers import AnswerError
from chroma_nb.wire.flight import MORE, QUESTION, error_from_flight
from chroma_nb.wire.text import BYTES_PER_VALUE, TooManyValuesError, loads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chroma_nb.settings import Settings

#: Where an address has none; gRPC would take 443.
_PORT = 8815
#: A thread that asks nothing for so long gives its stream back, seconds.
_IDLE_SECONDS = 60.0
#: How long the end of a stream is waited for.
_CLOSE_SECONDS = 2.0
#: After a larger answer nothing is asked ahead, whose answer may be as large; bytes.
_AHEAD_BYTES = 16 << 20
#: Beyond a call's own deadline, which gRPC keeps only roughly.
_GRACE_SECONDS = 2.0
#: No message of gRPC is larger.
_GRPC_BYTES = 2**31 - 1
#: What a call raises where it, or the connection, has failed.
_FAILURES = (pa.ArrowException, fl.FlightError)
#: What gRPC says where nobody has got the request.
_NOT_SENT = ("failed to connect", "connection refused", "dns resolution failed")

#: So much of an answer that comes in pieces may be on its way.
_LOOKAHEAD = (("grpc.http2.lookahead_bytes", 8 << 20),)
#: After the last piece of an answer.
_END = object()

#: gRPC waits before it connects anew, by default up to two minutes, and refuses calls meanwhile: also those to a server that
#: is back. So several times within the time in which a call is repeated; milliseconds.
_RECONNECT = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 100),
)


class FlightConnection:
    """A server's address, and the way there.

    Args:
        settings: `url`, what to show to the server, timeouts and TLS.

    Raises:
        InvalidArgumentError: `url` or another setting cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        parts, place = parts_of(settings, ("grpc", "grpc+tls"))
        if parts.path.strip("/") or parts.query or parts.fragment:
            raise InvalidArgumentError(
                f"An address of Arrow Flight ends with its port, got {without_secrets(settings.url)!r}."
            )
        if parts.port is None:
            place = f"{place}:{_PORT}"
        self.url = f"{parts.scheme}://{place}"
        self._settings = settings
        self._headers = [
            (name.lower().encode(), value.encode())
            for name, value in shown_headers(settings, parts).items()
        ]
        self._location = f"{'grpc+tls' if parts.scheme == 'grpc+tls' else 'grpc+tcp'}://{place}"
        self._options = _tls_options(settings) if parts.scheme == "grpc+tls" else {}
        try:
            self._most_bytes = min(parse_bytes(settings.max_answer), _GRPC_BYTES)
        except ValueError as error:
            raise InvalidArgumentError(f"Setting max_answer: {error}") from None
        if settings.proxy:
            raise InvalidArgumentError(
                "Setting proxy is for http:// alone: gRPC takes its proxy from the environment variables grpc_proxy and "
                "http_proxy."
            )
        #: Has a chroma_nb server answered there?
        self.is_known = False
        self._threads = threading.local()
        self._open = _Open()
        self._pid = os.getpid()
        # Also where a notebook ends without closing its client: gRPC would wait for its streams.
        self._finalizer = weakref.finalize(self, self._open.close)
        forked.watch(self)

    def on_fork(self) -> None:
        """In a forked child: it must not use its parent's connection, nor end it."""
        self._finalizer.detach()
        forked.keep_for_ever(self._open, self._threads)
        self._open, self._threads = _Open(), threading.local()

    @property
    def shows_credentials(self) -> bool:
        """Does it show the server who asks?"""
        return any(name in (b"authorization", b"x-chroma-token") for name, _ in self._headers)

    def close(self) -> None:
        """Close the streams, and then the connection. Closing twice is allowed."""
        self._finalizer()

    @property
    def client(self) -> Any:
        """The `FlightClient`."""
        opened = self._open
        with opened.lock:
            if opened.client is None:
                options = [
                    ("grpc.max_receive_message_length", self._most_bytes),
                    # A message that is compressed may unpack to any size.
                    ("grpc.compression_enabled_algorithms_bitset", 1),
                    *_LOOKAHEAD,
                    *_RECONNECT,
                ]
                opened.client = fl.FlightClient(
                    self._location, generic_options=options, **self._options
                )
            return opened.client

    def options(self, seconds: float | None) -> Any:
        """Return the options of a call: its headers, and how long it may take (None: as long as it takes)."""
        return fl.FlightCallOptions(timeout=seconds, headers=self._headers)

    def call(
        self,
        work: Callable[[_Worker, float], Iterator[Any]],
        *,
        safe: bool,
        seconds: float | None = None,
        read: Callable[[Iterator[Any]], Any] = next,
    ) -> Any:
        """Ask the server, in a thread that may be left waiting: where a call is stopped, or takes too long.

        Args:
            work: Asks, and yields the answer, or its pieces; it gets the thread's worker and the seconds that the answer may
                take.
            safe: Doing it twice is as good as once, so it may be repeated after any failure.
            seconds: How long the answer may take; None is as the settings say.
            read: Makes of the pieces what is returned. It is called in this thread: a piece is read while the next one comes.

        Raises:
            ServerUnavailableError: Nothing answers, or not in time.
            ChromaError: What the server says.
        """
        attempts, limit = limits(self._settings, seconds)
        was_sent = False
        for attempt in range(attempts):
            worker = self._worker()
            shown: ChromaError
            try:
                return read(worker.answers(partial(work, worker, limit), limit + _GRACE_SECONDS))
            except queue.Empty:
                self._drop(worker)
                raise self._late(limit) from None
            except _FAILURES as error:
                said = error_from_flight(error)
                if said is None:
                    was_sent = was_sent or not _was_not_sent(error)
                    again = _may_repeat(error, safe)
                    shown = self._unavailable(error, limit, was_sent)
                else:
                    again, shown = said[0] in NOT_BEGUN, said[1]
            except ErrorOnStream as error:
                again, shown = error.status in NOT_BEGUN, error.error
            except BaseException:
                # A stopped cell: the answer may still come, and is nobody's.
                self._drop(worker)
                raise
            if not again or attempt + 1 == attempts:
                raise shown
            pause(wait_before(attempt))
        raise AssertionError("unreachable")

    def _worker(self) -> _Worker:
        worker: _Worker | None = getattr(self._threads, "worker", None)
        if worker is None or worker.is_over:
            if os.getpid() != self._pid:
                raise InternalError(
                    f"The connection to {self.url} was made before this process was forked, and gRPC cannot be used after a "
                    "fork. Connect over http:// in the child, or start it another way: "
                    "multiprocessing.set_start_method('spawn')."
                )
            worker = _Worker(weakref.ref(self), self._most_bytes)
            with self._open.lock:
                if self._open.is_closed:
                    worker.end()
                    raise InternalError(
                        f"The connection to {self.url} is closed. Open a new client."
                    )
                # Those of threads that have ended, or were idle.
                self._open.workers = {one for one in self._open.workers if not one.is_over}
                self._open.workers.add(worker)
            self._threads.worker = worker
        return worker

    def _drop(self, worker: _Worker) -> None:
        with self._open.lock:
            self._open.workers.discard(worker)
        worker.abandon()

    def json(self, answer: bytes) -> Any:
        """Return the JSON value of an answer.

        Raises:
            NoJsonError: It is none.
            ServerUnavailableError: It would take too much memory.
        """
        try:
            return loads(answer, self._most_bytes // BYTES_PER_VALUE)
        except TooManyValuesError as error:
            raise too_many_values(self.url, self._settings, error) from None

    # -- errors -------------------------------------------------------------------------------

    def unusable(self, error: Exception) -> ServerUnavailableError:
        """Return the error for an answer that is not what was asked for, or cannot be read."""
        reason = said_in_line(f"{type(error).__name__}: {error}", 200)
        return ServerUnavailableError(
            f"The server at {self.url} gave an answer that cannot be used ({reason}). Is it a chroma_nb server?"
        )

    def _late(self, seconds: float) -> ServerUnavailableError:
        return ServerUnavailableError(
            f"The server at {self.url} did not answer within {seconds:g} s. It may still be at work; set "
            "Settings.timeout_seconds to wait longer."
        )

    def _unavailable(
        self, error: Exception, seconds: float, was_sent: bool
    ) -> ServerUnavailableError:
        if isinstance(error, fl.FlightTimedOutError):
            return self._late(seconds)
        if isinstance(error, fl.FlightCancelledError):
            # All that gRPC says of a message beyond its limit.
            return ServerUnavailableError(
                f"The answer of the server at {self.url} broke off. Where it is larger than {self._settings.max_answer} "
                "(Settings.max_answer), ask for less at a time: limit= and offset=. Otherwise the server, or a proxy on the "
                "way, has ended the call."
            )
        reason = said_in_line(str(error).partition(". gRPC client debug context")[0], 200).rstrip(
            "."
        )
        if _was_not_sent(error) and self.is_known:
            return gone(self.url, reason, was_sent)
        tls = ""
        if self.url.startswith("grpc+tls:"):
            tls = (
                " gRPC says the same where it does not trust the server's certificate (tls_verify=FILE), where one of "
                "your own cannot be used or is missing (Settings.tls_certificate, with its key), and where the server "
                "has no TLS (grpc://)."
            )
        if _was_not_sent(error):
            return ServerUnavailableError(
                f"Could not connect to a chroma_nb server at {self.url}: {reason}. Are you sure it serves Arrow Flight "
                f"there (`chroma-nb run --flight-port 8815`)?{tls} Or work in this process: chroma_nb.connect(None)."
            )
        return ServerUnavailableError(
            f"The connection to {self.url} broke: {reason}. Either the server stopped, or what answers there does not "
            f"speak Arrow Flight{'.' + tls if tls else ', or has TLS: grpc+tls://.'}"
        )


class _Open:
    """What a connection has open: the streams and gRPC's channel, closed in this order."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.client: Any = None
        self.workers: set[_Worker] = set()
        self.is_closed = False

    def close(self) -> None:
        """Close everything; a thread that still waits for an answer is not waited for."""
        with self.lock:
            self.is_closed = True
            workers, self.workers = self.workers, set()
            client, self.client = self.client, None
        for worker in workers:
            worker.end()
        for worker in workers:
            # The last one to have the client may be a worker, which has just answered.
            if worker.thread is not threading.current_thread():
                worker.thread.join(_CLOSE_SECONDS)
        if client is not None:
            client.close()


class ErrorOnStream(Exception):
    """An error that the server said within a stream, which goes on."""

    def __init__(self, status: int, error: ChromaError) -> None:
        super().__init__(str(error))
        self.status = status
        self.error = error


class NoStreamError(Exception):
    """The server keeps no more streams open."""


class _Worker:
    """Asks on behalf of one thread of the program, in a thread of its own, and keeps a stream open for it.

    Args:
        connection: Where it asks; weak, so that a client that nobody has any more is closed.
        most_bytes: What an answer may take.
    """

    def __init__(self, connection: weakref.ref[FlightConnection], most_bytes: int) -> None:
        self._connection = connection
        self._most_bytes = most_bytes
        self._work: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._stream: tuple[Any, Any] | None = None
        #: Nothing was answered on it yet.
        self._is_new = False
        #: A command that was sent ahead, b"" is none, and its answer.
        self._ahead = b""
        self._early: Any = None
        self.is_over = False
        self.thread = threading.Thread(target=self._run, name="chroma_nb flight call", daemon=True)
        self.thread.start()

    def answers(self, work: Callable[[], Iterator[Any]], seconds: float) -> Iterator[Any]:
        """Do some work in the worker's thread, and yield what it yields, while it goes on.

        Raises:
            queue.Empty: It takes longer than this.
        """
        until = time.monotonic() + seconds
        done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._work.put((work, done))
        while (found := done.get(timeout=max(0.0, until - time.monotonic()))) is not _END:
            if isinstance(found, BaseException):
                raise found
            yield found

    def exchange(
        self, batch: Any, metadata: bytes, following: bytes = b""
    ) -> Iterator[tuple[Any, bytes]]:
        """Ask on the stream, and yield the answer: a batch and its metadata, or several where the command allows that.

        Args:
            batch: What to send; None: metadata alone.
            metadata: The command.
            following: The command that will most likely be asked next, without a batch; b"": it is not known. The server is
                at work on it while this answer is read.

        Raises:
            NoStreamError: The server keeps no more streams open.
            AnswerError: A batch of the answer is not valid.
        """
        asked, chunk = self._ahead, self._early
        self._ahead, self._early = b"", None
        if chunk is None or asked != metadata:
            chunk = self._ask_stream(batch, metadata)
        if following and chunk.data is not None and chunk.data.nbytes <= _AHEAD_BYTES:
            self._ask_ahead(following)
        n_bytes = 0
        while True:
            found, said = _checked(chunk)
            n_bytes += 0 if found is None else found.get_total_buffer_size()
            if n_bytes > self._most_bytes:
                # As gRPC says it of one message.
                raise fl.FlightCancelledError("the answer is too large")
            yield found, said
            if said != MORE:
                return
            if found is None or not found.num_rows:
                raise AnswerError("a piece without records")
            assert self._stream is not None
            chunk = _chunk_of(self._stream[1])

    def _ask_stream(self, batch: Any, metadata: bytes) -> Any:
        begins = self._stream is None
        if self._stream is None:
            descriptor = fl.FlightDescriptor.for_command(b"{}")
            connection = self._connection()
            # The caller has it.
            assert connection is not None
            self._stream = connection.client.do_exchange(descriptor, connection.options(None))
            del connection
            self._is_new = True
        writer, reader = self._stream
        try:
            # A server that keeps no more streams open may have said so by now: then this fails already.
            if begins:
                writer.begin(QUESTION)
            if batch is None:
                writer.write_metadata(metadata)
            else:
                writer.write_with_metadata(batch, metadata)
            chunk = _chunk_of(reader)
        except fl.FlightUnavailableError as error:
            if self._is_new and error_from_flight(error) is not None:
                self.drop_stream()
                raise NoStreamError from error
            raise
        self._is_new = False
        return chunk

    def _ask_ahead(self, command: bytes) -> None:
        assert self._stream is not None
        try:
            self._stream[0].write_metadata(command)
        except _FAILURES:
            # It is asked again when its turn comes.
            self.drop_stream()
        else:
            self._ahead = command

    def _receive_ahead(self) -> None:
        """Take the answer to what was asked ahead, so that the server is not kept waiting."""
        if self._ahead and self._stream is not None:
            try:
                self._early = _chunk_of(self._stream[1])
            except _FAILURES:
                self.drop_stream()

    def drop_stream(self) -> None:
        """Let go of a stream that has failed."""
        stream, self._stream = self._stream, None
        self._ahead, self._early = b"", None
        if stream is not None:
            with contextlib.suppress(Exception):
                stream[1].cancel()
            with contextlib.suppress(Exception):
                stream[0].close()

    def end(self) -> None:
        """Close the stream, and end the thread."""
        self.is_over = True
        self._work.put(None)

    def abandon(self) -> None:
        """Leave the thread with what it does: nobody waits for it any more."""
        stream = self._stream
        self.end()
        if stream is not None:
            with contextlib.suppress(Exception):
                stream[1].cancel()

    def _run(self) -> None:
        while True:
            try:
                asked = self._work.get(timeout=_IDLE_SECONDS)
            except queue.Empty:
                self.is_over = True
                asked = None
                with contextlib.suppress(queue.Empty):
                    # One that was put in at this moment.
                    asked = self._work.get_nowait()
            if asked is None:
                break
            work, done = asked
            try:
                for found in work():
                    done.put(found)
                    del found
                done.put(_END)
            except BaseException as error:
                if isinstance(error, _FAILURES):
                    self.drop_stream()
                done.put(error)
            del asked, work, done
            self._receive_ahead()
        stream, self._stream = self._stream, None
        if stream is not None:
            with contextlib.suppress(Exception):
                stream[0].done_writing()
            with contextlib.suppress(Exception):
                stream[0].close()


def _chunk_of(reader: Any) -> Any:
    """Return what comes next on a stream.

    Raises:
        FlightError: Nothing does, or the stream is broken.
    """
    try:
        return reader.read_chunk()
    except StopIteration:
        raise fl.FlightInternalError("the stream has ended") from None


def _checked(chunk: Any) -> tuple[Any, bytes]:
    """Return a chunk's batch, if it has one, and its metadata.

    Raises:
        AnswerError: The batch is not valid.
    """
    if chunk.data is not None:
        # Arrow takes offsets and texts as they come.
        try:
            chunk.data.validate(full=True)
        except pa.ArrowInvalid as error:
            raise AnswerError(str(error)) from None
    return chunk.data, bytes(chunk.app_metadata or b"")


def _tls_options(settings: Settings) -> dict[str, Any]:
    """Return the options of TLS.

    Raises:
        InvalidArgumentError: A file does not exist.
    """
    found: dict[str, Any] = {}
    verify = settings.tls_verify
    for name, file in (
        ("tls_verify", "" if verify.lower() in ("true", "false") else verify),
        ("tls_certificate", settings.tls_certificate),
    ):
        if file and not os.path.exists(file):
            raise InvalidArgumentError(
                f"Setting {name} names the file {file!r}, which does not exist."
            )
        if file:
            with open(file, "rb") as opened:
                data = opened.read()
            if name == "tls_verify":
                found["tls_root_certs"] = data
            else:
                found["cert_chain"] = found["private_key"] = data
    if verify.lower() == "false":
        found["disable_server_verification"] = True
    return found


def _was_not_sent(error: Exception) -> bool:
    said = str(error).lower()
    return isinstance(error, fl.FlightUnavailableError) and any(one in said for one in _NOT_SENT)


def _may_repeat(error: Exception, safe: bool) -> bool:
    """Nothing was sent, or sending it again does no harm."""
    if _was_not_sent(error):
        return True
    return safe and not isinstance(error, fl.FlightTimedOutError)
