"""The frame of the HTTP door: a Klein application made of the route table, and the life of one request.

A request line is resolved once, when its header is complete; a row's handler is then called directly. What the table does not
know goes through Klein to its error handlers. One map from exceptions to answers (`problems`); reads are cancelled when
their client leaves, everything else runs to its end.
"""

import re
import secrets
from collections.abc import Iterable
from email.utils import formatdate
from itertools import count
from typing import Any, Protocol

from klein import Klein
from twisted.internet.defer import CancelledError, Deferred, DeferredList, maybeDeferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET
from werkzeug.exceptions import HTTPException

from ..model.identifiers import is_uid
from ..model.offerings import HTTP_SERVICES
from ..model.status import InvalidRequest, ServiceError
from ..transports import send
from . import problems
from .access_log import AccessLog
from .capabilities import Capabilities
from .channel import DoorRequest, DoorSite
from .cors import Cors
from .problems import TITLES, HttpError
from .responses import Response
from .routes import UIDS, Match, Route, RouteTable
from .transfer import Collected
from .urls import Urls

log = Logger()

FURTHER_ROOTS = ("/stow", "/qido", "/wado")
SLOW_SECONDS = 2.0
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._\-]{1,64}")
NO_RESOURCE = "there is no such resource"
_SAFE = ("GET", "HEAD", "OPTIONS")
_PHRASES = {100: "Continue", 101: "Switching Protocols", 200: "OK", 201: "Created", 202: "Accepted", 204: "No Content"}
_PHRASES |= {206: "Partial Content", 302: "Found", 303: "See Other", 304: "Not Modified"} | TITLES
_STATUS = {code: f"HTTP/1.1 {code} {phrase}\r\nServer: dicomd\r\nDate: " for code, phrase in _PHRASES.items()}
_BODILESS = (204, 304)


class Settings(Protocol):
    """The part of the configuration that the frame asks."""

    @property
    def root(self) -> str: ...
    @property
    def public_url(self) -> str: ...
    @property
    def trusted_proxies(self) -> tuple[str, ...]: ...
    @property
    def cors_origins(self) -> tuple[str, ...]: ...
    @property
    def max_body(self) -> int: ...
    @property
    def max_connections(self) -> int: ...
    @property
    def idle_timeout(self) -> float: ...
    @property
    def access_log(self) -> bool: ...
    @property
    def off(self) -> tuple[str, ...]: ...


class Door:
    """The HTTP door: `rows` are all resources that exist; those of services that are off do not."""

    def __init__(self, settings: Settings, rows: Iterable[Route], reactor: Any, capabilities: Capabilities | None = None) -> None:
        self.settings = settings
        rows = list(rows)
        if unknown := {row.service for row in rows} - {"", *HTTP_SERVICES}:
            raise ValueError(f"rows of services that nobody has heard of: {', '.join(unknown)}")
        self.table = RouteTable([row for row in rows if row.service not in settings.off], (settings.root, *FURTHER_ROOTS))
        self._capabilities = None if capabilities is None or "capabilities" in settings.off else capabilities
        if self._capabilities is not None:
            self._capabilities.describe(self.table)
        self.urls = Urls(settings.root, settings.public_url, settings.trusted_proxies)
        self.cors = Cors(settings.cors_origins)
        self.access_log = AccessLog(reactor)
        self.app = self._klein()
        self.site = DoorSite(self, self.app.resource(), reactor, settings.idle_timeout)
        self._seconds = reactor.seconds
        self._ids, self._run_id = count(1), secrets.token_hex(4)
        self._date, self._date_until = "", 0.0

    def _klein(self) -> Any:
        """The application under the configured root; the table sends the further roots to the same rows."""
        app = Klein()
        app.url_map.merge_slashes = app.url_map.strict_slashes = False
        for number, row in enumerate(self.table.rows):
            path = (self.settings.root if row.rooted else "") + row.path
            path = re.sub(r"{(\w+)}", r"<\1>", re.sub(r"{(\w+)\.\.\.}", r"<path:\1>", path))
            app.route(path, methods=list(row.methods), endpoint=str(number))(_endpoint(self, row))
        app.handle_errors(HTTPException)(_unknown)
        return app

    # The life of a request

    def admit(self, request: DoorRequest, length: int | None) -> None:
        """The header is complete: give the request an id, its row and its receiver, or the reason why not."""
        given = request.header(b"X-Request-Id")
        request.id = given.decode() if given and _REQUEST_ID.fullmatch(given) else f"{self._run_id}-{next(self._ids):x}"
        request.began = self._seconds()
        try:
            request.match = self._resolve(request)
            self._take_body(request, length)
        except (HttpError, ServiceError) as error:
            request.refusal = error

    def _resolve(self, request: DoorRequest) -> Match | None:
        method = request.method.decode("latin-1")
        path = request.path if request.path != b"*" else self.settings.root.encode()
        match = self.table.match(method, path)
        if match is None or match.route is not None:
            for name, value in match.arguments.items() if match is not None else ():
                if name in UIDS and not is_uid(value):
                    raise InvalidRequest(f"{name} in the path: expected a UID")
        elif method != "OPTIONS":
            allowed = ", ".join(match.allowed)
            raise HttpError(405, f"{method[:16]} is not allowed here, only {allowed}", [("Allow", allowed)])
        return match

    def _take_body(self, request: DoorRequest, length: int | None) -> None:
        if length == 0:
            return
        encoding = request.header(b"Content-Encoding")
        if encoding and encoding.lower() != b"identity":
            raise HttpError(415, "an encoded request body is not supported", [("Accept-Encoding", "identity")])
        if request.match is None:
            raise HttpError(404, NO_RESOURCE)
        row = request.match.route
        if row is not None and row.receiver is not None:
            request.receiver = row.receiver(request, length, **request.match.arguments)
        else:
            largest = row.largest_body if row is not None and row.largest_body is not None else self.settings.max_body
            request.receiver = Collected(largest, length)

    def feed(self, request: DoorRequest, data: bytes) -> None:
        """The next piece of a body."""
        try:
            assert request.receiver is not None
            request.receiver.write(data)
        except (HttpError, ServiceError) as error:
            self._refuse_body(request, error)
        except Exception as error:  # noqa: BLE001 - a defect of ours must not end the connection without an answer
            self._refuse_body(request, error)

    def _refuse_body(self, request: DoorRequest, error: Exception) -> None:
        request.refusal, receiver, request.receiver = error, request.receiver, None
        if receiver is not None:
            receiver.abandon()

    def serve(self, request: DoorRequest) -> None:
        """The request is complete (or refused): answer it."""
        match = request.match
        if request.receiver is not None and request.refusal is None:
            try:
                request.receiver.end()
            except (HttpError, ServiceError) as error:
                self._refuse_body(request, error)
        if request.refusal is not None:
            self._answer_failure(Failure(request.refusal), request)
        elif match is None:
            request.process()
        elif match.route is None:
            maybeDeferred(self._options, request, match).addCallback(self._respond, request).addErrback(
                self._answer_failure, request
            )
        else:
            self.call(request, match.route, match.arguments)

    def call(self, request: DoorRequest, row: Route, arguments: dict[str, str]) -> "Deferred[None]":
        """Run the row's handler and answer."""
        done: Deferred[Any] = Deferred.fromCoroutine(row.handler(request, **arguments))
        request.running = done
        done.addCallback(self._respond, request)
        done.addErrback(self._answer_failure, request)
        return done

    def lost(self, request: DoorRequest) -> None:
        """The client has gone: give up what only it would have needed."""
        if request.receiver is not None and not request.running:
            request.receiver.abandon()
        if request.running is not None and request.method.decode("latin-1") in _SAFE:
            request.running.cancel()

    def _answer_failure(self, failure: Failure, request: DoorRequest) -> Any:
        error = failure.value
        if request._disconnected or request.startedWriting:
            if not isinstance(error, (CancelledError, ConnectionDone, ConnectionLost, ServiceError)):
                log.failure("request {id} failed after its client left or its answer began", failure, id=request.id)
            if request.channel is not None:
                request.transport.abortConnection()
            return None
        if isinstance(error, (HttpError, ServiceError)):
            return self._respond(problems.response(error, request.id), request)
        log.failure("request {id} failed: {method}", failure, id=request.id, method=request.method.decode("latin-1"))
        return self._respond(problems.problem(500, "the server could not do this; its log says why", request.id), request)

    # The answer

    def _respond(self, response: Any, request: DoorRequest) -> Any:
        if not isinstance(response, Response):
            return _render(request, response)
        body = response.body
        if request._disconnected:
            if not isinstance(body, bytes):
                body.close()
            return None
        length = len(body) if isinstance(body, bytes) else body.length
        head = self._head(request, response, length)
        self._log(request, response.status)
        if isinstance(body, bytes):
            bodiless = request.method == b"HEAD" or response.status in _BODILESS
            send(request.channel.transport, head, *(() if bodiless else (body,)))
            request.finish()
            return None
        request.channel.write(head)
        if request.method == b"HEAD":
            body.close()
            request.finish()
            return None
        return self._produce(request, body)

    def _produce(self, request: DoorRequest, body: Any) -> "Deferred[None]":
        """Send a body piece by piece; a body that breaks off takes the connection with it, so that the client sees it."""
        request.running = sending = Deferred.fromCoroutine(body.send(request))

        def ended(result: Any) -> Any:
            body.close()
            if not isinstance(result, Failure) and not request._disconnected:
                request.finish()
            return result

        sending.addBoth(ended)
        return sending

    def _head(self, request: DoorRequest, response: Response, length: int | None) -> bytes:
        request.startedWriting, request.code, request.sentLength = 1, response.status, length or 0
        text = [_STATUS[response.status], self._now(), "\r\nX-Request-ID: ", request.id]
        if response.content_type:
            text += ("\r\nContent-Type: ", response.content_type)
        if length is None and request.clientproto == b"HTTP/1.1":
            request.chunked = int(request.method != b"HEAD")
            text.append("\r\nTransfer-Encoding: chunked")
        elif length is not None and response.status not in _BODILESS:
            text += ("\r\nContent-Length: ", str(length))
        for name, value in response.headers:
            text += ("\r\n", name, ": ", value.replace("\r", " ").replace("\n", " "))
        origin = request.header(b"Origin")
        if origin is not None:
            text += (f"\r\n{name}: {value}" for name, value in self.cors.headers(origin))
        if not request.channel.persistent:
            text.append("\r\nConnection: close")
        text.append("\r\n\r\n")
        return "".join(text).encode("latin-1", "replace")

    def _now(self) -> str:
        now = self._seconds()
        if now >= self._date_until:
            self._date, self._date_until = formatdate(now, usegmt=True), int(now) + 1.0
        return self._date

    def _options(self, request: DoorRequest, match: Match) -> Response:
        """Methods; the answer to a preflight request, else the description of the resource (PS3.18 8.9)."""
        preflight = self.cors.preflight(request, match.allowed)
        if preflight or self._capabilities is None or request.header(b"Access-Control-Request-Method"):
            response = Response(204)
        else:
            response = self._capabilities.options(request, match)
        response.headers += [("Allow", ", ".join(match.allowed)), *preflight]
        return response

    def bare_refusal(self, error: HttpError) -> bytes:
        """The answer to what never became a request."""
        name = f"{self._run_id}-{next(self._ids):x}"
        response = problems.response(error, name)
        assert isinstance(response.body, bytes)
        log.info("request {id} refused: {status} {detail}", id=name, status=error.status, detail=error.detail)
        head = f"{_STATUS[error.status]}{self._now()}\r\nX-Request-ID: {name}\r\nContent-Type: {response.content_type}"
        head += "".join(f"\r\n{key}: {value}" for key, value in error.headers)
        return f"{head}\r\nContent-Length: {len(response.body)}\r\nConnection: close\r\n\r\n".encode() + response.body

    def _log(self, request: DoorRequest, status: int) -> None:
        """A line for each request, or for those that change something, fail or are slow (`[http] access_log`)."""
        seconds = self._seconds() - request.began
        if self.settings.access_log or status >= 400 or seconds > SLOW_SECONDS or request.method.decode("latin-1") not in _SAFE:
            self.access_log.add(request, status, seconds)

    async def drain(self, seconds: float) -> None:
        """Close idle connections, let the others finish their answer; after `seconds` abort what is left."""
        channels = list(self.site.channels)
        waiting = [channel.closed() for channel in channels]
        for channel in channels:
            channel.finish_and_close()
        self.access_log.flush()
        if not waiting:
            return
        overdue = self.site.reactor.callLater(seconds, lambda: [channel.forceAbortClient() for channel in channels])
        await DeferredList(waiting)
        if overdue.active():
            overdue.cancel()
        self.access_log.flush()


def _endpoint(door: Door, row: Route) -> Any:
    def endpoint(request: DoorRequest, **arguments: str) -> "Deferred[None]":
        return door.call(request, row, arguments)

    return endpoint


class _Refused(Resource):
    """Klein's way to have an answer that is already made."""

    isLeaf = True

    def __init__(self, response: Response) -> None:
        super().__init__()
        self._response = response

    def render(self, request: DoorRequest) -> int:
        request.door._respond(self._response, request)
        return NOT_DONE_YET


def _unknown(request: DoorRequest, failure: Failure) -> Resource:
    """What the table does not know: Klein's HTTPException as a problem."""
    error = failure.value
    detail = NO_RESOURCE if error.code == 404 else str(error.name)
    return _Refused(problems.problem(error.code, detail, request.id))


def _render(request: DoorRequest, resource: Any) -> None:
    """A row may hand the request to a Twisted resource (the WebSocket of an event channel)."""
    if not IResource.providedBy(resource):
        raise TypeError(f"a handler returned {type(resource).__name__}")
    request.prepath, request.postpath = request.path[1:].split(b"/"), []
    request.render(resource)
