"""`RestApplication`: the REST API as an ASGI application.

A request is served in three steps. The event loop finds out who sends it and reads its body within limits. A worker
thread parses the body, has the service answer and writes the answer as JSON: all heavy work is there and never blocks
the loop. The loop sends the answer, and has it counted and logged.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import time
from typing import TYPE_CHECKING

import fastapi
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from chroma_nb._version import __version__
from chroma_nb.errors import ChromaAuthError, ChromaError, InvalidArgumentError
from chroma_nb.memory.sizes import parse_bytes
from chroma_nb.server import schemas
from chroma_nb.server.addresses import address_of
from chroma_nb.server.answers import Answer, Answers
from chroma_nb.server.auth import ANONYMOUS
from chroma_nb.server.bodies import Bodies, Received
from chroma_nb.server.endpoints import ENDPOINTS
from chroma_nb.server.json_requests import JsonRequests
from chroma_nb.server.observability import trace_id_of
from chroma_nb.server.openapi import JSON, description_of, document_of, tag_of
from chroma_nb.server.refusals import Refused
from chroma_nb.wire.errors import error_to_json
from chroma_nb.wire.rest import ROUTES
from chroma_nb.wire.text import dumps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send

    from chroma_nb.server.auth import Identity
    from chroma_nb.server.endpoints import Endpoint
    from chroma_nb.server.service import Service

#: The name under which requests for the metrics count in the shares, so that the metrics can be read while other
#: requests of the same client wait.
_METRICS = "/metrics"
#: A Host header: a name or an address, and a port.
_HOST = re.compile(r"(\[[^\]]*\]|[^:]*)(?::[0-9]*)?")


class RestApplication:
    """Carries requests of the REST API to a service, and its answers back.

    Args:
        service: What answers.
    """

    def __init__(self, service: Service) -> None:
        settings = service.settings
        self.service = service
        self.bodies = Bodies(
            parse_bytes(settings.server_max_body), settings.server_body_timeout_seconds
        )
        self.requests = JsonRequests(service, self.bodies)
        self.answers = Answers(self.bodies.max_body, settings.server_body_timeout_seconds)
        self.origins = [
            one.strip() for one in settings.server_cors_origins.split(",") if one.strip()
        ]
        #: Without authentication everybody on this machine may do everything. Then a web page must not reach the
        #: server through a browser on this machine (DNS rebinding), so the Host header is checked.
        self.checks_host = service.authenticator.is_open and not settings.server_public

    # -- one request --------------------------------------------------------------------------

    async def serve(self, endpoint: Endpoint, request: Request) -> Response:
        """Answer a request."""
        started = time.perf_counter()
        headers = request.headers
        trace_id = trace_id_of(headers.get("traceparent", ""), headers.get("chroma-trace-id", ""))
        authenticator = self.service.authenticator
        identity = ANONYMOUS
        extra: dict[str, str] = {}
        n_bytes = 0
        try:
            version = authenticator.version
            identity = await self._admit(endpoint, request)
            body = await self._body(endpoint, request)
            n_bytes = len(body)
            try:
                if body and authenticator.current_version() != version:
                    # Permissions have changed while the body arrived.
                    identity = await self._admit(endpoint, request)
            except BaseException:
                self.bodies.release(body)
                raise
            begin_work(request)
            who = identity.name or address_of(request.client)
            work = functools.partial(
                self.execute,
                endpoint,
                request.path_params,
                request.query_params,
                identity,
                body,
                trace_id,
                who,
            )
            status, content = await self.service.run(
                endpoint.route.operation,
                who,
                work,
                lambda: self.bodies.release(body),
            )
            self.answers.make_room(len(content))
        except (Refused, ChromaError) as error:
            status, content, extra = answer_of(error)
        except ClientDisconnect:
            # The client has gone. The status is for the log and the metrics.
            status, content = 499, b"{}"
        if n_bytes:
            self.service.metrics.body_bytes.inc(n_bytes)
        self.service.note(
            endpoint.route.name,
            endpoint.route.method,
            status,
            time.perf_counter() - started,
            trace_id,
            user=identity.name,
            tenant=request.path_params.get("tenant", ""),
            bytes_in=n_bytes,
            bytes_out=len(content),
        )
        headers_out = {"chroma-trace-id": trace_id, **extra}
        return Answer(self.answers, content, status, headers_out, JSON)

    async def _admit(self, endpoint: Endpoint, request: Request) -> Identity:
        """Return who sends a request, after checking that they may.

        Raises:
            AuthorizationError: The credentials are missing or not known.
            ChromaAuthError: They do not allow this.
        """
        operation = endpoint.route.operation
        if operation.scope == "open":
            return ANONYMOUS
        identity = await self.identify(request)
        self.service.check_scope(operation, request.path_params.get("tenant", ""), identity)
        return identity

    async def identify(self, request: Request) -> Identity:
        """Return who sends a request.

        Raises:
            AuthorizationError: The credentials are missing or not known.
            ClientDisconnect: The client has gone.
        """
        connection = getattr(request.state, "connection", None)
        address = address_of(request.client)
        if connection is not None:
            connection.count_for(address)

        def check_connected() -> None:
            if connection is not None and connection.is_closed:
                raise ClientDisconnect

        return await self.service.identify(request.headers, address, check_connected)

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

    def execute(
        self,
        endpoint: Endpoint,
        path: Mapping[str, str],
        query: Mapping[str, str],
        identity: Identity,
        body: Received,
        trace_id: str,
        who: str = "",
    ) -> tuple[int, bytes]:
        """Return the status and the body of an answer. Called by threads.

        Args:
            endpoint: What is asked for.
            path: The path's parameters.
            query: The query string.
            identity: Who asks.
            body: The request's body.
            trace_id: The request's.
            who: The client in whose share it counts.

        Raises:
            Refused: It cannot be answered now.
        """
        return self.requests.execute(
            endpoint, path, query, identity, body.take_bytes, trace_id, who
        )

    # -- other origins ------------------------------------------------------------------------

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
        self.service.note("foreign_origin", scope["method"], status, 0.0, trace_id)
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


def begin_work(request: Request) -> None:
    """Note that all of a request is there and that its sender may ask: its connection is not closed to make room."""
    connection = getattr(request.state, "connection", None)
    if connection is not None:
        connection.is_worked_on = True


def answer_of(error: Refused | ChromaError) -> tuple[int, bytes, dict[str, str]]:
    """Return the status, the body and the additional headers of the answer that reports an error."""
    if isinstance(error, Refused):
        return error.status, dumps(error_to_json(error.error)[1]), error.headers
    status, answer = error_to_json(error)
    challenge = {"WWW-Authenticate": 'Bearer realm="chroma_nb"'} if status == 401 else {}
    return status, dumps(answer), challenge


class _OriginCheck:
    """Middleware that checks the Host and Origin headers on every path, also on those that do not exist."""

    def __init__(self, app: ASGIApp, rest: RestApplication) -> None:
        self._app = app
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http":
            app = self._rest.refuse_foreign(scope) or app
        await app(scope, receive, send)


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


# -- the application ------------------------------------------------------------------------------


def make_application(rest: RestApplication) -> fastapi.FastAPI:
    """Return the ASGI application itself."""
    service = rest.service
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
        _add(app, rest, ENDPOINTS[name])

    async def health(request: Request) -> Response:
        ready = not service.stopping
        answer = {"is_executor_ready": ready, "is_log_client_ready": ready}
        return Response(dumps(answer), 200 if ready else 503, media_type=JSON)

    async def metrics(request: Request) -> Response:
        try:
            (await rest.identify(request)).check_admin("read the metrics")
            begin_work(request)
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
    if rest.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=rest.origins,
            allow_methods=every,
            allow_headers=["authorization", "content-type", "x-chroma-token"],
            expose_headers=["chroma-trace-id"],
        )
    # Added last, so it runs first.
    app.add_middleware(_OriginCheck, rest=rest)
    app.openapi = functools.partial(document_of, app)  # type: ignore[method-assign]
    return app


def _add(app: fastapi.FastAPI, rest: RestApplication, endpoint: Endpoint) -> None:
    async def answer(request: Request) -> Response:
        return await rest.serve(endpoint, request)

    app.add_api_route(
        endpoint.route.path,
        answer,
        methods=[endpoint.route.method],
        name=endpoint.route.name,
        operation_id=endpoint.route.name,
        summary=endpoint.summary,
        tags=[tag_of(endpoint.route)],
        response_model=None,
        openapi_extra=description_of(endpoint),
        # `description_of` has the responses; FastAPI would describe the return type of `answer`.
        responses={},
    )
