"""The event channel: a WebSocket on which a subscriber gets its event reports as DICOM JSON (PS3.18 8.10, 11.1.4; RFC 6455).

Handshake, control frames and what the client sends are Twisted's. A report is made a frame once, however many get it. Behind the
reports goes a Ping now and then: its Pong says that everything before has arrived; so does the client's own Close. What was sent
and never arrived is sent again on the subscriber's next channel.
"""

import re
from collections.abc import Awaitable, Sequence
from functools import lru_cache
from typing import Any

import orjson
from twisted.internet.defer import Deferred, DeferredList
from twisted.web.websocket import WebSocketResource

from .. import transports
from ..model.attributes import attribute
from ..model.workitem_attributes import GLOBAL_SUBSCRIPTION, UPS_PUSH
from ..model.workitem_events import Report
from ..services.event_delivery import Delivery, Link
from ..services.hub import Clock, Timer
from ..wire.websocket import GOING_AWAY, PING, TEXT, TOO_BIG, Watch, frame, lone_pong
from .problems import HttpError

# Nothing that a client sends means anything here (PS3.18 8.10.5: the channel goes one way).
LARGEST_MESSAGE = 65536
# How long after reports a Ping follows at the latest; how often a quiet client is asked, and how long it may be silent.
ACKNOWLEDGE_SECONDS, ASK_SECONDS, SILENT_SECONDS = 0.2, 30.0, 75.0
# At a stop, how long a closed channel may take to send what it still holds.
LINGER_SECONDS = 0.25
_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")


@lru_cache(4096)
def as_frame(report: Report) -> bytes:
    """An event report in a text frame (PS3.18 8.10.5, PS3.4 Table CC.2.4-1)."""
    event = report.event
    content = {
        "00000002": attribute("UI", UPS_PUSH),
        "00000110": attribute("US", report.id & 0xFFFF),
        "00001000": attribute("UI", event.sop_instance_uid or GLOBAL_SUBSCRIPTION),
        "00001002": attribute("US", int(event.type)),
        **event.information,
    }
    return frame(TEXT, orjson.dumps(content, option=orjson.OPT_SORT_KEYS))


@lru_cache(64)
def as_frames(reports: tuple[Report, ...]) -> bytes:
    """Several of them, as they are written to every channel that gets the same."""
    return b"".join([as_frame(report) for report in reports])


class EventChannel:
    """One open channel; a `WebSocketProtocol` for Twisted and a `Channel` for the delivery."""

    def __init__(self, channels: "EventChannels", ae_title: str, request: Any) -> None:
        self._channels, self._ae_title, self._request = channels, ae_title, request
        self._clock, self._watch = channels.clock, Watch(LARGEST_MESSAGE)
        self._link: Link | None = None
        self._socket: Any = None
        self._raw: Any = None
        self._open = self._paused = False
        self._sent = self._asked = self._acknowledged = 0
        self._heard = self._asked_at = 0.0
        self.ended: Deferred[None] = Deferred()

    # ---- for Twisted

    def negotiationStarted(self, transport: Any) -> None:
        """The handshake is about to be answered."""
        self._socket = transport

    def negotiationFinished(self) -> None:
        """The channel is open: what waits goes out."""
        connection = self._request.channel
        self._raw, self._received = connection.transport, connection.dataReceived
        connection.dataReceived = self._data_received
        self._request.registerProducer(self, True)
        self._open, self._heard = True, self._clock.seconds()
        self._channels.opened(self)
        self._channels.delivery.link(self._ae_title, self)

    def _data_received(self, data: bytes) -> None:
        """Bytes of the client, before they are held anywhere."""
        if self._open:
            self._heard = self._clock.seconds()
        answer = lone_pong(data) if self._watch.is_between_frames else None
        if answer is not None:
            self.pongReceived(answer)
            return
        self._watch.feed(data)
        if self._watch.is_too_big:
            self.close(TOO_BIG)
        elif self._open:
            self._received(data)

    def textMessageReceived(self, message: str) -> None:
        """Nothing is expected from the client."""

    def bytesMessageReceived(self, data: bytes) -> None:
        """Nothing is expected from the client."""

    def pongReceived(self, payload: bytes) -> None:
        """Everything that was sent before the Ping has arrived."""
        if payload.isdigit() and len(payload) < 20 and self._link is not None:
            self._acknowledged = max(self._acknowledged, int(payload))
            self._link.delivered(int(payload))
        if self._channels.is_stopping and self._acknowledged >= self._sent:
            self.close(GOING_AWAY)

    def connectionLost(self, reason: Any) -> None:
        """The connection has ended. A client that closes the channel reads until its end: it has everything."""
        self._open = False
        if self._link is not None:
            if self._watch.is_closing:
                self._link.delivered(self._sent)
            self._link.closed()
        connection = self._request.channel
        if connection is not None:
            type(connection).connectionLost(connection, reason)
        self._channels.closed(self)
        if not self.ended.called:
            self.ended.callback(None)

    # ---- for Twisted's transport: back-pressure

    def pauseProducing(self) -> None:
        """The client does not read as fast as it is written to."""
        self._paused = True

    def resumeProducing(self) -> None:
        """It has caught up."""
        self._paused = False
        if self._link is not None and self._open:
            self._link.resume()

    def stopProducing(self) -> None:
        """The connection is lost."""
        self._paused = True

    # ---- for the delivery

    def linked(self, link: Link) -> None:
        """The reports of this subscriber come here."""
        self._link = link

    @property
    def ready(self) -> bool:
        """Whether reports can be sent."""
        return self._open and not self._paused

    def send(self, reports: Sequence[Report]) -> None:
        """Send these, in this order."""
        frames = as_frames(tuple(reports))
        self._sent = reports[-1].id
        if self._clock.seconds() - self._asked_at > ACKNOWLEDGE_SECONDS:
            frames += self._question()
        else:
            self._channels.ask_soon(self)
        transports.send(self._raw, frames)

    # ---- signs of life

    def _question(self) -> bytes:
        self._asked, self._asked_at = self._sent, self._clock.seconds()
        return frame(PING, b"%d" % self._sent)

    def ask(self, *, anyhow: bool = True) -> None:
        """Ask the client what it has got, and whether it is there at all; unless it is asked already."""
        if self._clock.seconds() - self._heard > SILENT_SECONDS:
            self.abort()
        elif self._open and (anyhow or self._asked < self._sent):
            transports.send(self._raw, self._question())

    def close(self, code: int) -> None:
        """Close the channel; what was not acknowledged goes on waiting."""
        if self._open:
            self._open = False
            self._socket.loseConnection(code)

    def abort(self) -> None:
        """End the connection whatever it still holds."""
        self._raw.abortConnection()


class EventChannels:
    """All open channels; a factory of `EventChannel` for Twisted's resource."""

    def __init__(self, delivery: Delivery, clock: Clock) -> None:
        self.delivery, self.clock = delivery, clock
        self.is_stopping = False
        self._all: set[EventChannel] = set()
        self._concerned: set[EventChannel] = set()
        self._every: Timer | None = None
        self._soon: Timer | None = None

    def resource(self, request: Any, ae_title: str) -> WebSocketResource:
        """What upgrades this request; 400 for a handshake that is none, 403 for a page of an origin that is not let in."""
        _check_handshake(request)
        return WebSocketResource(_Factory(self, ae_title))

    def opened(self, channel: EventChannel) -> None:
        """Counted from now on."""
        if not self._all:
            self._every = self.clock.callLater(ASK_SECONDS, self._ask_all)
        self._all.add(channel)

    def closed(self, channel: EventChannel) -> None:
        """No longer counted."""
        self._all.discard(channel)
        for timer in (self._every, self._soon) if not self._all else ():
            if timer is not None and timer.active():
                timer.cancel()
                self._concerned.clear()

    def ask_soon(self, channel: EventChannel) -> None:
        """Ask this client in a moment, together with the others that were sent something."""
        if not self._concerned:
            self._soon = self.clock.callLater(ACKNOWLEDGE_SECONDS, self._ask_concerned)
        self._concerned.add(channel)

    def _ask_concerned(self) -> None:
        concerned, self._concerned = self._concerned, set()
        for channel in concerned:
            channel.ask(anyhow=False)

    def _ask_all(self) -> None:
        self._every = self.clock.callLater(ASK_SECONDS, self._ask_all)
        for channel in list(self._all):
            channel.ask()

    async def drain(self, seconds: float) -> None:
        """Ask every client what it has got, then close; after `seconds` whatever it answered, soon then whatever it reads."""
        self.is_stopping = True
        waiting: list[Awaitable[None]] = [channel.ended for channel in self._all]
        timers = self.clock.callLater(seconds, self._close_all), self.clock.callLater(seconds + LINGER_SECONDS, self._abort_all)
        for channel in list(self._all):
            channel.ask()
        if waiting:
            await DeferredList(waiting)
        for timer in timers:
            if timer.active():
                timer.cancel()

    def _close_all(self) -> None:
        for channel in list(self._all):
            channel.close(GOING_AWAY)

    def _abort_all(self) -> None:
        for channel in list(self._all):
            channel.abort()


class _Factory:
    """Twisted asks it for the protocol of an upgraded request."""

    def __init__(self, channels: EventChannels, ae_title: str) -> None:
        self._channels, self._ae_title = channels, ae_title

    def buildProtocol(self, request: Any) -> EventChannel:
        """The channel."""
        return EventChannel(self._channels, self._ae_title, request)


def _check_handshake(request: Any) -> None:
    """RFC 6455 4.2.1, so that what is no handshake gets an answer that says so."""
    upgrade, connection = ((request.header(name) or b"").lower() for name in (b"Upgrade", b"Connection"))
    if b"websocket" not in upgrade or b"upgrade" not in connection:
        raise HttpError(400, "this is an event channel: expected a WebSocket handshake", [("Upgrade", "websocket")])
    if request.header(b"Sec-Websocket-Version") != b"13" or not _KEY.fullmatch(request.header(b"Sec-Websocket-Key") or b""):
        raise HttpError(400, "the WebSocket handshake is malformed", [("Sec-WebSocket-Version", "13")])
    origin = (request.header(b"Origin") or b"").decode("latin-1")
    own = (request.header(b"Host") or b"").decode("latin-1")
    if origin and origin.partition("://")[2] != own and not request.door.cors.allows(origin):
        raise HttpError(403, "pages of this origin may not open an event channel")
