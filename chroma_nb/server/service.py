"""`Service`: everything that requests of a server share, whichever transport brings them.

For each request a transport calls some of its methods, in this order. `identify` and `check_scope` say who sends it and
whether that one may. `run` does its work in a worker thread, when it is its sender's turn, within the deadline. In this
thread the transport reads the request, has `answer` carry it out, and writes the answer. `error_for_client` says what a client
learns of an error, and `note` counts and logs what was answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from chroma_nb import validation
from chroma_nb.errors import (
    ChromaError,
    InternalError,
    MemoryBudgetError,
    NotFoundError,
    UniqueConstraintError,
)
from chroma_nb.server.auth import Authenticator, Identity, PasswordQueue
from chroma_nb.server.hidden_paths import HiddenPaths
from chroma_nb.server.observability import LOGGER, Metrics
from chroma_nb.server.operations import HANDLERS, Call
from chroma_nb.server.refusals import STOPPING, Refused, busy, too_long
from chroma_nb.server.scans import OpenScans
from chroma_nb.server.shares import Shares, Threads
from chroma_nb.types import DEFAULT_DATABASE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from chroma_nb.api.base import API
    from chroma_nb.settings import Settings
    from chroma_nb.wire.operations import Operation
    from chroma_nb.wire.requests import Request, Target

T = TypeVar("T")

#: Threads for each core, unless the settings say how many: a request spends most of its time outside of Python, in the
#: index, in DuckDB or waiting for the disk. One client may take half of the threads.
_THREADS_PER_CORE = 8


class Service:
    """What all requests share: the store, the authenticator, the threads, the limits, the metrics.

    `identify`, `run` and `in_thread` belong to one event loop, the same for all transports; one that has threads
    of its own asks for them with `asyncio.run_coroutine_threadsafe`. The other methods may be called by any thread.

    Args:
        api: The store.
        settings: `server_*` are used.
    """

    def __init__(self, api: API, settings: Settings) -> None:
        self.api = api
        self.settings = settings
        self.authenticator = Authenticator(settings)
        self.metrics = Metrics(api)
        threads = settings.server_threads or _THREADS_PER_CORE * (os.cpu_count() or 1)
        self._threads = Threads(threads)
        self._passwords = PasswordQueue(self.authenticator)
        self._hidden = HiddenPaths(settings, getattr(api, "settings", settings))
        self.scans = OpenScans(settings)
        self._making_tenants = threading.Lock()
        self._made_tenants: set[str] = set()
        self.stopping = False
        self._slots = Shares(settings.server_max_concurrency)

    def begin_stop(self) -> None:
        """Refuse further requests, and end the waiting of those that wait for memory."""
        self.stopping = True

    def close(self) -> None:
        """Refuse further requests, and wait for those under way."""
        self.begin_stop()
        self._passwords.close()
        self._threads.close()
        self.scans.close()

    # -- credentials and permissions ----------------------------------------------------------

    async def identify(
        self, headers: Mapping[str, str], address: str, check_connected: Callable[[], None]
    ) -> Identity:
        """Return who sends a request.

        Args:
            headers: What it shows, by names in lower case.
            address: Where it comes from.
            check_connected: Raises where the client has gone.

        Raises:
            AuthorizationError: The credentials are missing or not known.
        """
        found = self.authenticator.identify(headers)
        if isinstance(found, Identity):
            return found
        return await self._passwords.check(found, headers, address, check_connected)

    @staticmethod
    def check_scope(operation: Operation, tenant: str, identity: Identity) -> None:
        """Refuse what a caller may not ask for.

        Raises:
            ChromaAuthError: Its credentials do not allow this.
        """
        if operation.scope == "admin":
            identity.check_admin(operation.admin_may)
        elif operation.scope == "tenant":
            identity.check_tenant(tenant)

    # -- threads, shares and deadlines --------------------------------------------------------

    async def run(
        self,
        operation: Operation,
        who: str,
        work: Callable[[], T],
        on_end: Callable[[], object] = lambda: None,
    ) -> T:
        """Do the work of a request: in a worker thread, unless nothing is asked of the store.

        Args:
            operation: What it is.
            who: The client in whose share it counts.
            work: The function that does it.
            on_end: Called once, when `work` has ended or will not be begun. Work that took too long goes on, for it may be a
                write.

        Raises:
            Refused: The server is too busy, is stopping, or has not ended in time.
        """
        try:
            if self.stopping:
                raise busy(STOPPING)
            future = None if operation.scope == "open" else self.in_thread(who, work)
        except Refused:
            on_end()
            raise
        if future is None:
            # Open to everybody, so it must take no slot or thread of authenticated clients.
            try:
                return work()
            finally:
                on_end()
        future.add_done_callback(lambda _: on_end())
        seconds = self.seconds_for(operation)
        if seconds:
            done, _ = await asyncio.wait((future,), timeout=seconds)
            if not done:
                raise too_long(seconds)
        return await future

    def in_thread(self, who: str, work: Callable[[], T]) -> asyncio.Future[T]:
        """Call a function in a worker thread.

        Args:
            who: The client in whose share it counts.
            work: The function.

        Raises:
            Refused: The client has used up its share of requests.
        """
        self._take_slot(who)
        future = self._threads.submit(who, work)
        # When the work has ended, and not the waiting: until then the request counts.
        future.add_done_callback(lambda _: self._give_slot_back(who))
        return asyncio.wrap_future(future)

    def run_here(self, operation: Operation, who: str, work: Callable[[], T]) -> T:
        """Do the work of a request in this thread, when it is its sender's turn. Whoever calls this keeps the deadline.

        Args:
            operation: What it is.
            who: The client in whose share it counts.
            work: The function that does it.

        Raises:
            Refused: The server is too busy, or is stopping.
        """
        if self.stopping:
            raise busy(STOPPING)
        if operation.scope == "open":
            return work()
        self._take_slot(who)
        try:
            return self._threads.run(who, work)
        finally:
            self._give_slot_back(who)

    def seconds_for(self, operation: Operation) -> float:
        """Return how long the work of a request may take; 0 is as long as it takes."""
        return 0.0 if operation.long else self.settings.server_timeout_seconds

    def _take_slot(self, who: str) -> None:
        """Count a request in a client's share.

        Raises:
            Refused: The client has used it up.
        """
        if not self._slots.take(who):
            n_theirs = self._slots.held(who)
            n = self.settings.server_max_concurrency - self._slots.n_free
            raise busy(
                f"{n} requests are being worked on, {n_theirs} of them yours "
                "(Settings.server_max_concurrency)"
            )
        self.metrics.in_flight.inc()

    def _give_slot_back(self, who: str) -> None:
        self._slots.give_back(who)
        self.metrics.in_flight.dec()

    # -- carrying out a request ---------------------------------------------------------------

    def answer(
        self,
        operation: Operation,
        target: Target,
        request: Request | None,
        identity: Identity,
        who: str = "",
    ) -> Any:
        """Carry out a request, and return what the method of `API` of that name returns.

        Args:
            operation: What to do.
            target: To what.
            request: An `Operation.request`; None where that is None.
            identity: Who asks.
            who: The client in whose share a scan counts; "": its identity's name.

        Raises:
            ChromaError, ValueError, TypeError: What is wrong with it; see `error_for_client`.
        """
        self.check_scope(operation, target.tenant, identity)
        handle = HANDLERS[operation.name]
        who = who or identity.name
        call: Call[Any] = Call(self.api, self.settings, identity, target, request, self.scans, who)
        try:
            return handle(call)
        except NotFoundError:
            if operation.scope != "tenant" or not self._make_tenant(identity, target.tenant):
                raise
        return handle(call)

    def _make_tenant(self, identity: Identity, tenant: str) -> bool:
        """Make a tenant on its first use, if the caller's credential names it; say whether to repeat the call.

        So the auth file decides which tenants there are. An admin's credential names none.
        """
        if not identity.is_named_for(tenant):
            return False
        with self._making_tenants:
            if self._has_tenant(tenant):
                # Another request may have made it a moment ago.
                return tenant in self._made_tenants
            validation.check_tenant_name(tenant)
            # A client in the server's own process may have made it meanwhile.
            with contextlib.suppress(UniqueConstraintError):
                self.api.create_tenant(tenant)
            with contextlib.suppress(UniqueConstraintError):
                self.api.create_database(DEFAULT_DATABASE, tenant)
            self._made_tenants.add(tenant)
        LOGGER.info("tenant made", extra={"fields": {"tenant": tenant, "user": identity.name}})
        return True

    def _has_tenant(self, tenant: str) -> bool:
        try:
            self.api.get_tenant(tenant)
        except NotFoundError:
            return False
        return True

    # -- errors, metrics and log --------------------------------------------------------------

    def error_for_client(self, error: Exception, name: str, trace_id: str) -> Exception:
        """Return the error that a client gets; what is none of its business stays in the log.

        Args:
            error: What `answer` raised, or what happened beside it.
            name: The operation, as the log names it.
            trace_id: The request's, as the log names it.

        Returns:
            A `Refused`, a `ChromaError`, or the `ValueError` or `TypeError` of an argument.
        """
        if isinstance(error, MemoryBudgetError) and error.may_fit_later:
            return busy("others use the memory that this takes at the moment")
        if isinstance(error, InternalError) and error.code() == 500:
            # The log has the whole message. The client's has no paths of the server.
            _log_failure(error, name, trace_id)
            return _with_message(error, self._hidden.cut(str(error)))
        if isinstance(error, Refused | ChromaError | ValueError | TypeError):
            return error
        _log_failure(error, name, trace_id)
        return InternalError(
            f"Something failed in the server; its log says what, under {trace_id}."
        )

    def note(
        self, name: str, method: str, status: int, seconds: float, trace_id: str, **more: Any
    ) -> None:
        """Count a request that was answered, and log it.

        Args:
            name: The operation, as metrics and log name it.
            method: How the transport asks for it.
            status: How it ended, as a status of HTTP.
            seconds: How long it took.
            trace_id: The request's.
            **more: What else the log says.
        """
        self.metrics.count(name, status, seconds)
        if LOGGER.isEnabledFor(logging.INFO):
            fields = {
                "trace_id": trace_id,
                "operation": name,
                "method": method,
                "status": status,
                "ms": round(seconds * 1e3, 3),
                **more,
            }
            LOGGER.info("request", extra={"fields": fields})


def _with_message(error: ChromaError, message: str) -> ChromaError:
    """Return an error of the same class, with the same attributes and another message."""
    kind = type(error)
    shown = kind.__new__(kind, message)
    shown.__dict__.update(error.__dict__)
    return shown


def _log_failure(error: Exception, name: str, trace_id: str) -> None:
    fields = {"trace_id": trace_id, "operation": name}
    LOGGER.error("request failed", exc_info=error, extra={"fields": fields})
