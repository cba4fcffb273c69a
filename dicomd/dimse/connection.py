"""Connection: the Twisted protocol around one `UpperLayer`; carries out its orders, keeps its timers.

What distinguishes the acceptor (`listener`) from the requestor (`outbound`) is in their subclasses. TCP_NODELAY is set
everywhere: a message is several small writes, and each would wait 40 ms for a delayed acknowledgement without it.
"""

from collections.abc import Awaitable, Callable, Generator
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..transports import send
from ..wire.indications import (
    Aborted,
    AssociateAccepted,
    AssociateRejected,
    AssociateRequested,
    Order,
    Output,
    ReleaseConfirmed,
    ReleaseRequested,
    Send,
)
from ..wire.messages import CommandReceived, DataSetChunk
from ..wire.transitions import State
from ..wire.upper_layer import UpperLayer
from .association import Association, AssociationEnded

log = Logger()

# Read and written at once; a message of an image in one go rather than in three
AT_ONCE = 256 * 1024
LINGER = 2.0
# Fewer bytes than this of a message that is not complete are no sign of life.
LEAST_PROGRESS = 16384


@frozen
class Timeouts:
    """Seconds. `artim`: PS3.8 9.1.5; `idle`: no operation; `response`: the peer owes bytes and next to none come or go."""

    artim: float = 30.0
    idle: float = 600.0
    response: float = 60.0


class _Ready:
    """Nothing to wait for."""

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


READY = _Ready()


@implementer(IPushProducer)
@define(eq=False)
class Outgoing:
    """Learns from the transport whether the peer takes what we send; those who send wait here."""

    touch: Callable[[], None]
    is_blocked: bool = False
    _waiting: list["Deferred[None]"] = field(factory=list)

    def pauseProducing(self) -> None:
        self.is_blocked = True

    def resumeProducing(self) -> None:
        self.is_blocked = False
        self.touch()
        self._release(lambda waiting: waiting.callback(None))

    def stopProducing(self) -> None:
        self.is_blocked = False
        self._release(lambda waiting: waiting.errback(Failure(AssociationEnded())))

    def _release(self, fire: Callable[["Deferred[None]"], None]) -> None:
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            fire(deferred)

    def wait(self) -> Awaitable[None]:
        """Resolves when more may be sent."""
        if not self.is_blocked:
            return READY
        deferred: Deferred[None] = Deferred()
        self._waiting.append(deferred)
        return deferred


class Connection(Protocol):
    """One transport connection, which is one association (PS3.8 9.1)."""

    def __init__(self, upper_layer: UpperLayer, clock: Any, timeouts: Timeouts) -> None:
        self.upper_layer = upper_layer
        self.association: Association | None = None
        self.is_paused = False
        self.released: list[Deferred[None]] = []
        self._clock = clock
        self._timeouts = timeouts
        self._outgoing = Outgoing(self._touch)
        self._artim: Any = None
        self._watch: Any = None
        self._closing: Any = None
        self._touched = 0.0
        self._progress = 0
        self._lost = False

    # Orders and indications

    def perform(self, outputs: list[Output]) -> None:
        """Carry out what the machine says, in order."""
        for output in outputs:
            if type(output) is Order:
                self._orders[output](self)
            else:
                self._indications[type(output)](self, output)

    def _start_artim(self) -> None:
        self._stop_artim()
        if not self._lost:
            self._artim = self._clock.callLater(self._timeouts.artim, self._artim_expired)

    def _stop_artim(self) -> None:
        if self._artim is not None and self._artim.active():
            self._artim.cancel()
        self._artim = None

    def _artim_expired(self) -> None:
        self._artim = None
        self.perform(self.upper_layer.artim_expired())

    def close(self) -> None:
        """Close, but do not linger for a peer that reads nothing (PS3.8 9.1.4)."""
        if self._lost or self._closing is not None:
            return
        self.resume()
        self._closing = self._clock.callLater(LINGER, self.transport.abortConnection)
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    _orders: dict[Order, Callable[["Connection"], None]] = {
        Order.CONNECT: lambda self: None,
        Order.START_ARTIM: _start_artim,
        Order.STOP_ARTIM: _stop_artim,
        Order.CLOSE: close,
    }

    def _send(self, output: Send) -> None:
        send(self.transport, output.data)

    def _command(self, output: CommandReceived) -> None:
        if self.association is not None:
            self.association.command_received(output.context_id, output.command)

    def _data_set(self, output: DataSetChunk) -> None:
        if self.association is not None:
            self.association.data_set_received(output.data, output.last)

    def _release_requested(self, output: ReleaseRequested) -> None:
        """Answered at once, or, where both sides asked at a time, when the machine allows it."""
        if self.upper_layer.state in (State.STA8, State.STA9):
            self.perform(self.upper_layer.release_response())
            self.end("released")

    def aborted(self, output: Aborted) -> None:
        """It is over, by whatever side."""
        self.end(f"aborted by the peer ({output.source}, {output.reason})" if output.by_peer else output.cause)

    def _release_confirmed(self, output: ReleaseConfirmed) -> None:
        if self.upper_layer.state is State.STA12:
            self.perform(self.upper_layer.release_response())
        self.end("released")

    def associate_requested(self, output: AssociateRequested) -> None:
        """For the acceptor."""

    def associate_accepted(self, output: AssociateAccepted) -> None:
        """For the requestor."""

    def associate_rejected(self, output: AssociateRejected) -> None:
        """For the requestor."""

    _indications: dict[type, Callable[["Connection", Any], None]] = {
        Send: _send,
        CommandReceived: _command,
        DataSetChunk: _data_set,
        ReleaseRequested: _release_requested,
        ReleaseConfirmed: _release_confirmed,
        Aborted: lambda self, output: self.aborted(output),
        AssociateRequested: lambda self, output: self.associate_requested(output),
        AssociateAccepted: lambda self, output: self.associate_accepted(output),
        AssociateRejected: lambda self, output: self.associate_rejected(output),
    }

    def end(self, how: str) -> None:
        """The association is over: everybody who waits on it is told, once."""
        association, self.association = self.association, None
        if association is not None:
            self.association_ended(association, how)
            association.connection_ended()
        self._outgoing.stopProducing()
        released, self.released = self.released, []
        for deferred in released:
            deferred.callback(None)

    def association_ended(self, association: Association, how: str) -> None:
        """Say so in the log."""
        log.info(
            "association of {peer} ended: {how}; {served} operations",
            peer=association.peer_ae_title,
            how=how,
            served=association.served,
        )

    # Twisted's side

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        if hasattr(self.transport, "bufferSize"):
            self.transport.bufferSize = self.transport.SEND_LIMIT = AT_ONCE
        self.transport.registerProducer(self._outgoing, True)
        self._touch()
        self._watch = self._clock.callLater(self._timeouts.response, self._look)
        self.perform(self.upper_layer.transport_connected())

    def dataReceived(self, data: bytes) -> None:
        messages = self.upper_layer.messages
        began = not messages.is_mid_message
        outputs = self.upper_layer.receive_data(data)
        self._progress += len(data)
        if began or self._progress >= LEAST_PROGRESS or not messages.is_mid_message:
            self._touch()
        self.perform(outputs)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = True
        for timer in (self._watch, self._closing):
            if timer is not None and timer.active():
                timer.cancel()
        self.perform(self.upper_layer.transport_closed())
        self._stop_artim()
        self.end("the connection was closed")

    # What the association asks of its link

    def send(self, pdus: bytes) -> None:
        """Send P-DATA."""
        if self.upper_layer.state not in (State.STA6, State.STA8):
            raise AssociationEnded
        if not self._outgoing.is_blocked:
            self._touch()
        self.perform(self.upper_layer.send(pdus))

    def writable(self) -> Awaitable[None]:
        """Resolves when the peer has taken most of what was sent."""
        return self._outgoing.wait()

    def pause(self) -> None:
        """Stop reading from the peer."""
        self.is_paused = True
        self.transport.pauseProducing()

    def resume(self) -> None:
        """Read again."""
        if self.is_paused and not self._lost:
            self.is_paused = False
            self._touch()
            self.transport.resumeProducing()

    def abort(self, cause: str) -> None:
        """A-ABORT as service user."""
        self.perform(self.upper_layer.abort(cause))
        self.resume()

    def release(self) -> "Deferred[None]":
        """A-RELEASE, where that is still possible; resolves when the association has ended."""
        deferred: Deferred[None] = Deferred()
        self.released.append(deferred)
        if self.upper_layer.state is State.STA6:
            self.perform(self.upper_layer.release())
        elif self.association is None:
            self.end("released")
        return deferred

    # The watch over peers that do nothing

    def _touch(self) -> None:
        self._touched, self._progress = self._clock.seconds(), 0

    def _look(self) -> None:
        now, limit = self._clock.seconds(), self._limit()
        if limit is None:
            self._touched = now
        elif now - self._touched >= limit:
            self._watch = None
            self._stalled()
            return
        due = self._timeouts.response if limit is None else limit - (now - self._touched)
        self._watch = self._clock.callLater(min(due, self._timeouts.response), self._look)

    def _limit(self) -> float | None:
        """How long nothing may happen now; None: as long as our own work takes."""
        association = self.association
        if association is None or self.upper_layer.state is not State.STA6:
            return self._timeouts.response + self._timeouts.artim
        if self._outgoing.is_blocked:
            return self._timeouts.response
        if self.is_paused or association.is_streaming:
            return None
        if association.awaits_peer or self.upper_layer.messages.is_mid_message:
            return self._timeouts.response
        return None if association.is_busy else self._timeouts.idle

    def _stalled(self) -> None:
        if self.association is None:
            self.transport.abortConnection()
        else:
            self.abort("nothing came from the peer in time")
