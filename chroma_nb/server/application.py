"""`make_application`: the REST API as an ASGI application.

A request is served in three steps. The event loop finds out who sends it and reads its body within limits. A worker
thread parses the body, calls the store and writes the answer as JSON: all heavy work is there and never blocks the
loop. The loop sends the answer, counts it and logs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import logging
import os
import re
import threading
import time
from typing import TYPE_CHECKING, Any

import fastapi
import pydantic
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from chroma_nb import validation
from chroma_nb._version import __version__
from chroma_nb.errors import (
    ChromaAuthError,
    ChromaError,
    InternalError,
    InvalidArgumentError,
    MemoryBudgetError,
    NotFoundError,
    UniqueConstraintError,
)
from chroma_nb.memory.sizes import parse_bytes
from chroma_nb.memory.workspace import WORKSPACE
from chroma_nb.server import schemas
from chroma_nb.server.answers import Answer, Answers
from chroma_nb.server.auth import ANONYMOUS, Authenticator, Identity, PasswordQueue
from chroma_nb.server.bodies import Bodies, Received
from chroma_nb.server.connections import address_of
from chroma_nb.server.hidden_paths import HiddenPaths
from chroma_nb.server.observability import LOGGER, Metrics, trace_id_of
from chroma_nb.server.openapi import JSON, described, document_of, tag_of
from chroma_nb.server.operations import ENDPOINTS, Call, Endpoint
from chroma_nb.server.refusals import Refused, busy
from chroma_nb.server.shares import Shares, Threads
from chroma_nb.types import DEFAULT_DATABASE
from chroma_nb.wire.errors import error_to_json
from chroma_nb.wire.rest import ROUTES
from chroma_nb.wire.text import dumps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

    from chroma_nb.api.base import API
    from chroma_nb.settings import Settings
    from chroma_nb.wire.operations import Operation
    from chroma_nb.wire.rest import Route

#: Threads for each core, unless the settings say how many: a request spends most of its time outside of Python, in the
#: index, in DuckDB or waiting for the disk. One client may take half of the threads.
_THREADS_PER_CORE = 8
#: An answer's JSON takes about as much memory as its objects, and both exist at the same time.
_JSON_TIMES = 2.0
#: The name under which requests for the metrics count in the shares, so that the metrics can be read while other
#: requests of the same client wait.
_METRICS = "/metrics"
#: A Host header: a name or an address, and a port.
_HOST = re.compile(r"(\[[^\]]*\]|[^:]*)(?::[0-9]*)?")


class Service:
    """What all requests share: the store, the authenticator, the threads, the limits, the metrics.

    Args:
        api: The store.
        settings: `server_*` are used.
    """

    def __init__(self, api: API, settings: Settings) -> None:
        self.api = api
        self.settings = settings
        self.authenticator = Authenticator(settings)
        self.metrics = Metrics(api)
        self.bodies = Bodies(
            parse_bytes(settings.server_max_body), settings.server_body_timeout_seconds
        )
        self.answers = Answers(self.bodies.max_body, settings.server_body_timeout_seconds)
        self.origins = [
            one.strip() for one in settings.server_cors_origins.split(",") if one.strip()
        ]
        threads = settings.server_threads or _THREADS_PER_CORE * (os.cpu_count() or 1)
        self.threads = Threads(threads)
        self.passwords = PasswordQueue(self.authenticator)
        #: Without authentication everybody on this machine may do everything. Then a web page must not reach the
        #: server through a browser on this machine (DNS rebinding), so the Host header is checked.
        self.checks_host = self.authenticator.is_open and not settings.server_public
        of_store = getattr(api, "settings", settings)
        self._hidden = HiddenPaths(settings, of_store)
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
        self.passwords.close()
        self.threads.close()

    # -- one request --------------------------------------------------------------------------

    async def serve(self, endpoint: Endpoint, request: Request) -> Response:
        """Answer a request."""
        started = time.perf_counter()
        headers = request.headers
        trace_id = trace_id_of(headers.get("traceparent", ""), headers.get("chroma-trace-id", ""))
        identity = ANONYMOUS
        extra: dict[str, str] = {}
        n_bytes = 0
        try:
            version = self.authenticator.version
            identity = await self._admit(endpoint, request)
            body = await self._body(endpoint, request)
            n_bytes = len(body)
            try:
                if body and self.authenticator.current_version() != version:
                    # Permissions have changed while the body arrived.
                    identity = await self._admit(endpoint, request)
            except BaseException:
                self.bodies.release(body)
                raise
            status, content = await self._work(endpoint, request, identity, body, trace_id)
            self.answers.make_room(len(content))
        except (Refused, ChromaError) as error:
            status, content, extra = answer_of(error)
        except ClientDisconnect:
            # The client has gone. The status is for the log and the metrics.
            status, content = 499, b"{}"
        if n_bytes:
            self.metrics.body_bytes.inc(n_bytes)
        seconds = time.perf_counter() - started
        self._count(
            *(endpoint.route.name, endpoint.route.method, status, seconds, trace_id),
            user=identity.name,
            tenant=request.path_params.get("tenant", ""),
            bytes_in=n_bytes,
            bytes_out=len(content),
        )
        headers_out = {"chroma-trace-id": trace_id, **extra}
        return Answer(self.answers, content, status, headers_out, JSON)

    def _count(
        self,
        operation: str,
        method: str,
        status: int,
        seconds: float,
        trace_id: str,
        **more: Any,
    ) -> None:
        """Count a request that was answered, and log it."""
        self.metrics.count(operation, status, seconds)
        if LOGGER.isEnabledFor(logging.INFO):
            fields = {
                "trace_id": trace_id,
                "operation": operation,
                "method": method,
                "status": status,
                "ms": round(seconds * 1e3, 3),
                **more,
            }
            LOGGER.info("request", extra={"fields": fields})

    def refuse_foreign(self, scope: Scope) -> Response | None:
        """Return the refusal of a request that a web page of another origin sends; None where it is allowed."""
        host = origin = None
        for name, value in scope["headers"]:
            if name == b"host" and host is None:
                host = value.decode("latin-1")
            elif name == b"origin" and origin is None:
                origin = value.decode("latin-1")
        why = self._why_foreign(host or "", origin)
        if not why:
            return None
        headers = Headers(scope=scope)
        trace_id = trace_id_of(headers.get("traceparent", ""), headers.get("chroma-trace-id", ""))
        status, content, extra = answer_of(ChromaAuthError(why))
        self._count("foreign_origin", scope["method"], status, 0.0, trace_id)
        return Response(content, status, {"chroma-trace-id": trace_id, **extra}, media_type=JSON)

    def _why_foreign(self, host: str, origin: str | None) -> str:
        """Say why a request is refused by its Host or Origin header; empty where it is not."""
        if self.checks_host and not _is_local_name(host):
            # DNS rebinding: a site whose name resolves to this machine has the same origin as this server.
            return (
                "Forbidden: without authentication this server answers to localhost and to addresses "
                "alone. Behind a proxy, set a token or --public."
            )
        if origin is None or "*" in self.origins or origin in self.origins:
            return ""
        if origin.partition("://")[2] == host:
            return ""
        return "Forbidden: this origin may not ask (Settings.server_cors_origins)."

    async def _admit(self, endpoint: Endpoint, request: Request) -> Identity:
        """Return who sends a request, after checking that they may.

        Raises:
            AuthorizationError: The credentials are missing or not known.
            ChromaAuthError: They do not allow this.
        """
        if endpoint.route.operation.scope == "open":
            return ANONYMOUS
        identity = await self.identify(request)
        self._check_scope(endpoint.route.operation, identity, request.path_params)
        return identity

    async def identify(self, request: Request) -> Identity:
        """Return who sends a request.

        Raises:
            AuthorizationError: The credentials are missing or not known.
            ClientDisconnect: The client has gone.
        """
        found = self.authenticator.identify(request.headers)
        if isinstance(found, Identity):
            return found
        address = self._address(request)
        connection = getattr(request.state, "connection", None)

        def check_connected() -> None:
            if connection is not None and connection.is_closed:
                raise ClientDisconnect

        return await self.passwords.check(found, request.headers, address, check_connected)

    @staticmethod
    def _check_scope(operation: Operation, identity: Identity, path: Mapping[str, str]) -> None:
        if operation.scope == "admin":
            identity.check_admin(operation.admin_may)
        elif operation.scope == "tenant":
            identity.check_tenant(path["tenant"])

    async def _body(self, endpoint: Endpoint, request: Request) -> Received:
        """Read a request's body within the limits of `Bodies`, and check its content type."""
        if endpoint.route.method == "GET":
            return Received()
        received = await self.bodies.receive(request)
        if received and endpoint.body is not None:
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != JSON:
                self.bodies.release(received)
                raise Refused(
                    415,
                    InvalidArgumentError(f"Expected the content type {JSON}, got {kind[:100]!r}."),
                )
        return received

    async def _work(
        self,
        endpoint: Endpoint,
        request: Request,
        identity: Identity,
        body: Received,
        trace_id: str,
    ) -> tuple[int, bytes]:
        """Return the status and the body of the answer: made in a worker thread, unless the store is not needed."""
        work = functools.partial(
            self._execute,
            endpoint,
            request.path_params,
            request.query_params,
            identity,
            body,
            trace_id,
        )
        try:
            if self.stopping:
                raise busy("it is stopping")
            if endpoint.route.operation.scope == "open":
                # Open to everybody, so it must take no slot or thread of authenticated clients.
                return work()
            future = self.in_thread(identity.name or self._address(request), work)
        except Refused:
            self.bodies.release(body)
            raise
        # Only when the work ends, which may be after the answer: until then it holds the body.
        future.add_done_callback(lambda _: self.bodies.release(body))
        seconds = self.settings.server_timeout_seconds
        if not endpoint.route.operation.long and seconds:
            # After this only the waiting ends. The work goes on, as it may be a write.
            done, _ = await asyncio.wait((future,), timeout=seconds)
            if not done:
                raise Refused(
                    504,
                    InternalError(
                        f"The request took longer than {seconds:g} s and is still worked on: a write may "
                        "yet succeed (Settings.server_timeout_seconds)."
                    ),
                )
        answer: tuple[int, bytes] = await future
        return answer

    @staticmethod
    def _address(request: Request) -> str:
        """Return the address that a request counts for."""
        return address_of(request.client)

    def in_thread(self, who: str, work: Callable[[], Any]) -> asyncio.Future[Any]:
        """Call a function in a worker thread.

        Args:
            who: The client in whose share it counts.
            work: The function.

        Raises:
            Refused: The client has used up its share of requests.
        """
        if not self._slots.take(who):
            n_theirs = self._slots.held(who)
            n = self.settings.server_max_concurrency - self._slots.n_free
            raise busy(
                f"{n} requests are being worked on, {n_theirs} of them yours "
                "(Settings.server_max_concurrency)"
            )
        self.metrics.in_flight.inc()

        def ended(future: asyncio.Future[Any]) -> None:
            # When the work has ended, and not the waiting: until then the request counts.
            self._slots.give_back(who)
            self.metrics.in_flight.dec()
            if not future.cancelled():
                future.exception()

        future = self.threads.submit(who, work)
        future.add_done_callback(ended)
        return future

    def _execute(
        self,
        endpoint: Endpoint,
        path: Mapping[str, str],
        query: Mapping[str, str],
        identity: Identity,
        body: Received,
        trace_id: str,
    ) -> tuple[int, bytes]:
        try:
            # Memory for the answer's objects and for the JSON that is made of them.
            with WORKSPACE.kept(_JSON_TIMES, lambda: self.stopping):
                data = body.take_bytes()
                with self.bodies.parsing(data):
                    parsed = None
                    if endpoint.body is not None:
                        parsed = endpoint.body.model_validate_json(data or b"{}")
                    # The parsed values take its place in the memory that was granted.
                    del data
                    with self.bodies.writing(*_texts_to_write(parsed)):
                        call = Call(self.api, self.settings, identity, path, query, parsed)
                        return endpoint.status, dumps(self._run(endpoint, call))
        except pydantic.ValidationError as error:
            return _wrong_body(error)
        except Refused:
            raise
        except (ChromaError, ValueError, TypeError) as error:
            if isinstance(error, MemoryBudgetError) and error.may_fit_later:
                raise busy("others use the memory that this takes at the moment") from error
            status, answer = error_to_json(error)
            if isinstance(error, InternalError) and status == 500:
                # The log has the whole message. The client's has no paths of the server.
                _log_failure(endpoint.route, trace_id)
                answer["message"] = self._hidden.cut(answer["message"])
            return status, dumps(answer)
        except Exception:
            _log_failure(endpoint.route, trace_id)
            answer = {
                "error": "InternalError",
                "message": f"Something failed in the server; its log says what, under {trace_id}.",
            }
            return 500, dumps(answer)

    def _run(self, endpoint: Endpoint, call: Call[Any]) -> Any:
        try:
            return endpoint.run(call)
        except NotFoundError:
            if not self._make_tenant(call.identity, call.path.get("tenant", "")):
                raise
        return endpoint.run(call)

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


def answer_of(error: Refused | ChromaError) -> tuple[int, bytes, dict[str, str]]:
    """Return the status, the body and the additional headers of the answer that reports an error."""
    if isinstance(error, Refused):
        return error.status, dumps(error_to_json(error.error)[1]), error.headers
    status, answer = error_to_json(error)
    challenge = {"WWW-Authenticate": 'Bearer realm="chroma_nb"'} if status == 401 else {}
    return status, dumps(answer), challenge


class _OriginCheck:
    """Middleware that checks the Host and Origin headers on every path, also on those that do not exist."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http":
            app = self._service.refuse_foreign(scope) or app
        await app(scope, receive, send)


def _texts_to_write(body: schemas.Body | None) -> tuple[Sequence[Any] | None, ...]:
    """Return the columns of texts and metadata that a request will write."""
    if not isinstance(body, schemas.NewRecords | schemas.RecordChanges):
        return ()
    return body.documents, body.uris, body.metadatas


def _is_local_name(host: str) -> bool:
    """Say whether a Host header is ``localhost`` or an address, which no other site can have as its name."""
    found = _HOST.fullmatch(host)
    name = found[1] if found is not None else host
    if name in ("localhost", ""):
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _log_failure(route: Route, trace_id: str) -> None:
    fields = {"trace_id": trace_id, "operation": route.name}
    LOGGER.exception("request failed", extra={"fields": fields})


def _wrong_body(error: pydantic.ValidationError) -> tuple[int, bytes]:
    """Return the status and the body that Chroma answers to a body that is no JSON or has a wrong field."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    if first["type"] == "json_invalid":
        message = f"Failed to parse the request body as JSON: {first['msg']}"
        return 400, dumps({"error": "InvalidArgumentError", "message": message})
    place = ".".join(str(part)[:60] for part in first["loc"])
    what = f"missing field `{place}`" if first["type"] == "missing" else f"{place}: {first['msg']}"
    message = f"Failed to deserialize the JSON body into the target type: {what}"
    return 422, dumps({"error": "ChromaError", "message": message})


# -- the application ------------------------------------------------------------------------------


def make_application(service: Service) -> fastapi.FastAPI:
    """Return the ASGI application of a service."""
    app = fastapi.FastAPI(
        title="chroma_nb",
        version=__version__,
        description="Chroma's REST API v2, and memory under control.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    for name in ROUTES:
        _add(app, service, ENDPOINTS[name])

    async def health(request: Request) -> Response:
        ready = not service.stopping
        answer = {"is_executor_ready": ready, "is_log_client_ready": ready}
        return Response(dumps(answer), 200 if ready else 503, media_type=JSON)

    async def metrics(request: Request) -> Response:
        try:
            (await service.identify(request)).check_admin("read the metrics")
            text = await service.in_thread(_METRICS, service.metrics.text)
        except (Refused, ChromaError) as error:
            status, content, extra = answer_of(error)
            return Response(content, status, extra, media_type=JSON)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def description(request: Request) -> Response:
        return Response(dumps(app.openapi()), media_type=JSON)

    async def retired(request: Request) -> Response:
        answer = {
            "error": "Unimplemented",
            "message": "The v1 API is deprecated. Please use /v2 apis",
        }
        return Response(dumps(answer), 410, media_type=JSON)

    async def unknown(request: Request, error: Exception) -> Response:
        # As in Chroma: 404 and 405 without a body.
        return Response(b"", getattr(error, "status_code", 404), getattr(error, "headers", None))

    app.add_api_route(
        "/api/v2/healthcheck",
        health,
        responses={200: {"model": schemas.Health}, 503: {"model": schemas.Health}},
        summary="Is the server ready to answer?",
    )
    app.add_route("/metrics", metrics, include_in_schema=False)
    app.add_route("/openapi.json", description, include_in_schema=False)
    every = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    app.add_route("/api/v1", retired, every, include_in_schema=False)
    app.add_route("/api/v1/{rest:path}", retired, every, include_in_schema=False)
    app.add_exception_handler(404, unknown)
    app.add_exception_handler(405, unknown)
    if service.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=service.origins,
            allow_methods=every,
            allow_headers=["authorization", "content-type", "x-chroma-token"],
            expose_headers=["chroma-trace-id"],
        )
    # Added last, so it runs first.
    app.add_middleware(_OriginCheck, service=service)
    app.openapi = functools.partial(document_of, app)  # type: ignore[method-assign]
    return app


def _add(app: fastapi.FastAPI, service: Service, endpoint: Endpoint) -> None:
    async def answer(request: Request) -> Response:
        return await service.serve(endpoint, request)

    app.add_api_route(
        endpoint.route.path,
        answer,
        methods=[endpoint.route.method],
        name=endpoint.route.name,
        operation_id=endpoint.route.name,
        summary=endpoint.summary,
        tags=[tag_of(endpoint.route)],
        response_model=None,
        openapi_extra=described(endpoint),
        # `described` has the responses; FastAPI would describe the return type of `answer`.
        responses={},
    )
