"""The HTTP connection: Twisted's channel and request, made fit for bodies that are never held as a whole.

A request is resolved when its header is complete: the row's receiver takes the body while it arrives and may pause the
transport. A request that is refused before its body is read is answered at once when the rest is large, and the connection
lingers until the client has seen the answer. Every wait has an end: the header, the body's progress, a client that does not
read.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableDescriptor, ITCPTransport
from twisted.protocols.basic import LineReceiver
from twisted.web import http, server
from twisted.web.http import _IdentityTransferDecoder

from ..wire.media import Accept
from . import heads
from .problems import HttpError
from .routes import Match
from .urls import Pairs, pairs

if TYPE_CHECKING:
    from .app import Door

LARGEST_HEAD = 65536
# Read at once: most instances in one go.
AT_ONCE = 256 * 1024
# A refused body up to this size is read and thrown away, so that the connection can be used again.
LARGEST_DISCARD = 1 << 20
# Less progress than this within the idle timeout ends a connection.
LEAST_PROGRESS = 16384
LINGER_SECONDS = 5.0


class Receiver(Protocol):
    """What takes the body of a request while it arrives. What it raises refuses the request."""

    def write(self, data: bytes) -> None:
        """The next piece."""

    def end(self) -> None:
        """The body is complete."""

    def abandon(self) -> None:
        """The rest will not come, or is not wanted; leave nothing behind."""


class DoorRequest(server.Request):
    """One request: its row, its body's receiver, and the few questions that handlers ask."""

    match: Match | None = None
    receiver: Receiver | None = None
    refusal: Exception | None = None
    running: "Deferred[None] | None" = None
    query: bytes = b""
    id: str = ""
    began: float = 0.0
    _discarded = 0
    # What the client takes, as soon as somebody asked (`transfer.accept`).
    accepted: Accept | None = None
    _pairs: Pairs | None = None

    @property
    def door(self) -> "Door":
        """The application that this request belongs to."""
        return self.site.door

    @property
    def peer(self) -> str:
        """The address of the other end of the connection."""
        return str(getattr(self.client, "host", self.client))

    @property
    def local(self) -> str:
        """host:port of this end, for a client that sends no Host."""
        return f"{getattr(self.host, 'host', 'localhost')}:{getattr(self.host, 'port', 0)}"

    @property
    def secure(self) -> bool:
        """Whether the connection is TLS; asked once for each connection."""
        channel = self.channel
        if channel is None or channel.is_secure is None:
            secure = bool(self.isSecure())
            if channel is not None:
                channel.is_secure = secure
            return secure
        return bool(channel.is_secure)

    @property
    def pairs(self) -> Pairs:
        """The query's parameters in order."""
        if self._pairs is None:
            self._pairs = pairs(self.query)
        return self._pairs

    @property
    def header_names(self) -> Collection[bytes]:
        """The names of the headers that are there, spelt as Twisted does."""
        names: Collection[bytes] = self.requestHeaders._rawHeaders.keys()
        return names

    def header(self, name: bytes) -> bytes | None:
        """The header `name` (spelt as Twisted does: Content-Type); repeated ones are joined with a comma."""
        values = self.requestHeaders._rawHeaders.get(name)
        if values is None:
            return None
        return values[0] if len(values) == 1 else b", ".join(values)

    # Called by the channel

    def gotLength(self, length: int | None) -> None:
        channel = self.channel
        self.site = channel.site
        self.method, self.uri, self.clientproto = channel._command, channel._path, channel._version
        target = self.uri
        if not target.startswith(b"/"):
            target = _origin_form(target)
        self.path, _, self.query = target.partition(b"?")
        self.door.admit(self, length)
        if self.refusal is not None and length and length > LARGEST_DISCARD:
            channel.answer_early(self)

    def handleContentChunk(self, data: bytes) -> None:
        if self.finished:
            return
        if self.refusal is None and self.receiver is not None:
            self.door.feed(self, data)
        else:
            self._discarded += len(data)
            if self._discarded > LARGEST_DISCARD:
                self.channel.answer_early(self)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        self.door.serve(self)

    def connectionLost(self, reason: Any) -> None:
        super().connectionLost(reason)
        if self.site is not None:
            self.door.lost(self)

    # Called by receivers

    def pause(self) -> None:
        """Read no more of the body for now."""
        if getattr(self, "channel", None) is not None:
            self.channel.pause_body()

    def resume(self) -> None:
        """Go on reading the body."""
        if getattr(self, "channel", None) is not None:
            self.channel.resume_body()


class DoorChannel(http.HTTPChannel):
    """HTTP/1.1 with problem bodies, an end to every wait, and answers before the body is read."""

    MAX_LENGTH = LARGEST_HEAD
    totalHeadersSize = LARGEST_HEAD
    maxHeaders = 100
    site: Any
    is_secure: bool | None = None
    _progress = 0
    _deaf = False
    _abortingCall: Any = None
    _savedTimeOut: float | None = None

    def connectionMade(self) -> None:
        super().connectionMade()
        self._peer, self._host = self.transport.getPeer(), self.transport.getHost()
        if hasattr(self.transport, "bufferSize"):
            self.transport.bufferSize = AT_ONCE
        self._closed: list[Deferred[None]] = []
        self.site.channels.add(self)
        if len(self.site.channels) > self.site.door.settings.max_connections:
            self._refuse(HttpError(503, "too many connections, try again later", [("Retry-After", "2")]))

    def getPeer(self) -> Any:
        return self._peer

    def getHost(self) -> Any:
        return self._host

    def connectionLost(self, reason: Any) -> None:
        super().connectionLost(reason)
        self.site.channels.discard(self)
        for waiting in self._closed:
            waiting.callback(None)

    def closed(self) -> "Deferred[None]":
        """Fires when the connection has ended."""
        self._closed.append(Deferred())
        return self._closed[-1]

    def finish_and_close(self) -> None:
        """Answer the request that is being handled, if any, and close."""
        self.persistent = 0
        if not self.requests:
            super().loseConnection()

    def dataReceived(self, data: bytes) -> None:
        if not self._handlingRequest:
            if not self.line_mode:
                self._progress += len(data)
                if self._progress >= LEAST_PROGRESS:
                    self._progress = 0
                    self.resetTimeout()
            elif not self._receivedHeaderSize and not self._buffer:
                self.resetTimeout()
        if not self._buffer and not self._busyReceiving:
            data = self._in_one_step(data)
        if data or self._buffer:
            LineReceiver.dataReceived(self, data)

    def _in_one_step(self, data: bytes) -> bytes:
        """Take a head that came whole, and a body, without the search for lines; answers what is left for that."""
        self._busyReceiving = True
        try:
            if self.line_mode and not self.requests and self.persistent:
                head = heads.read(data, self.totalHeadersSize)
                if head is None or head.fields.count > self.maxHeaders:
                    return data
                data = data[head.size :]
                self._head_received(head)
            if data and not self.line_mode:
                self.rawDataReceived(data)
                data = b""
        finally:
            self._busyReceiving = False
        return data

    def _head_received(self, head: heads.Head) -> None:
        """As Twisted's channel does line by line."""
        request = self.requestFactory(self)
        self.requests.append(request)
        self._command, self._path, self._version = head.method, head.target, b"HTTP/1.1"
        request.requestHeaders = head.fields.headers
        self.length = length = head.fields.length
        self._progress = 0
        if length:
            self._transferDecoder = _IdentityTransferDecoder(length, request.handleContentChunk, self._finishRequestBody)
            self.resetTimeout()
        request.gotLength(length)
        if length:
            self.setRawMode()
        else:
            self.allContentReceived()

    def allHeadersReceived(self) -> None:
        self._progress = 0
        self.resetTimeout()
        super().allHeadersReceived()

    def _maybeChooseTransferDecoder(self, header: bytes, data: bytes) -> bool:
        if header == b"Content-Length" and len(data) > heads.MOST_DIGITS:
            return bool(self._failChooseTransferDecoder())
        return bool(super()._maybeChooseTransferDecoder(header, data))

    def lineLengthExceeded(self, line: bytes) -> None:
        status = 431 if self.requests and not self.requests[-1].finished else 414
        self._refuse(HttpError(status, f"the request line and header hold at most {LARGEST_HEAD} bytes"))

    def _send100Continue(self) -> None:
        """A refused request's body is not asked for."""
        request = self.requests[-1] if self.requests else None
        if request is not None and request.refusal is not None:
            self.answer_early(request)
        elif request is not None and not request.finished:
            super()._send100Continue()

    def _respondToBadRequestAndDisconnect(self) -> None:
        if self._receivedHeaderSize > self.totalHeadersSize or self._receivedHeaderCount > self.maxHeaders:
            self._refuse(HttpError(431, f"the header holds at most {self.maxHeaders} lines and {LARGEST_HEAD} bytes"))
        else:
            self._refuse(HttpError(400, "the request is not well-formed HTTP"))

    def _refuse(self, error: HttpError) -> None:
        """Answer what never became a request."""
        if not self._deaf:
            self.persistent = 0
            self.transport.write(self.site.door.bare_refusal(error))
            self._linger()

    def answer_early(self, request: DoorRequest) -> None:
        """Answer a refused request before its body has been read; the connection ends with it."""
        self.persistent = 0
        self._handlingRequest = True
        self._stop_listening()
        self.site.door.serve(request)

    def loseConnection(self) -> None:
        if self._deaf:
            self._linger()
        else:
            super().loseConnection()

    def _stop_listening(self) -> None:
        """Whatever still comes is read and dropped."""
        if self._deaf:
            return
        self._deaf = True
        for name in ("dataReceived", "lineReceived", "rawDataReceived", "allContentReceived"):
            setattr(self, name, lambda *_: None)

    def _linger(self) -> None:
        """Close the sending side and let the client read the answer: a reset would take it away."""
        self._stop_listening()
        self._networkProducer.unregisterProducer()
        self._networkProducer.resumeProducing()
        if ITCPTransport.providedBy(self.transport) and IHalfCloseableDescriptor.providedBy(self.transport):
            self.transport.loseWriteConnection()
            self.setTimeout(None)
            if self._abortingCall is None:
                self._abortingCall = self.callLater(LINGER_SECONDS, self.forceAbortClient)
        else:
            self.transport.loseConnection()

    def pause_body(self) -> None:
        """Back-pressure: the client's silence is ours meanwhile, so no timeout runs."""
        if self._savedTimeOut is None or self.timeOut:
            self._savedTimeOut = self.setTimeout(None)
        self._networkProducer.pauseProducing()

    def resume_body(self) -> None:
        if not self._handlingRequest and not self._deaf:
            self.setTimeout(self._savedTimeOut)
        self._networkProducer.resumeProducing()


def _origin_form(target: bytes) -> bytes:
    """The path and query of a target in another form (RFC 9112 3.2); `*` (OPTIONS) is the root of everything."""
    if target == b"*":
        return b"*"
    _, _, rest = target.partition(b"://")
    return b"/" + rest.partition(b"/")[2] if rest else target


class DoorSite(server.Site):
    """The factory of the HTTP door's connections."""

    protocol = DoorChannel
    requestFactory = DoorRequest

    def __init__(self, door: "Door", resource: Any, reactor: Any, timeout: float) -> None:
        super().__init__(resource, reactor=reactor, timeout=timeout, parsePOSTFormSubmission=False)
        self.door = door
        self.channels: set[DoorChannel] = set()

    def startFactory(self) -> None:
        """No access log of Twisted's, so no clock for it either."""

    def log(self, request: Any) -> None:
        """The door writes its own log."""
