"""A wire in memory between an `outbound.Connector` and a `Listener`: what one side writes, the other receives, in order."""

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from dicomd.dimse.listener import Listener

from .peer import Transport

ADDRESS = IPv4Address("TCP", "192.0.2.1", 4000)


class End(Transport):
    """One end. `deaf`: what is sent to it waits."""

    def __init__(self, wire: "Wire") -> None:
        super().__init__()
        self.wire = wire
        self.other: End
        self.protocol: Protocol
        self.lost = False

    def write(self, data: bytes) -> None:
        self.wire.later(lambda: self.other.lost or self.other.protocol.dataReceived(data))

    def loseConnection(self) -> None:
        self.wire.later(self.close)

    abortConnection = loseConnection

    def close(self) -> None:
        for end in (self, self.other):
            if not end.lost:
                end.lost = True
                end.protocol.connectionLost(Failure(ConnectionDone()))


class Wire:
    """Things happen one after the other, never inside each other."""

    def __init__(self) -> None:
        self._events: deque[Callable[[], Any]] = deque()
        self._running = False

    def later(self, event: Callable[[], Any]) -> None:
        self._events.append(event)
        if self._running:
            return
        self._running = True
        while self._events:
            self._events.popleft()()
        self._running = False


class Endpoint:
    """Leads to a listener; without one, connections are refused."""

    def __init__(self, listener: Listener | None) -> None:
        self.listener = listener
        self.ends: list[End] = []

    def connect(self, factory: Any) -> "Deferred[Protocol]":
        if self.listener is None:
            return fail(ConnectionRefusedError())
        client, server = factory.buildProtocol(ADDRESS), self.listener.buildProtocol(ADDRESS)
        assert server is not None
        wire = Wire()
        ours, theirs = End(wire), End(wire)
        ours.other, theirs.other, ours.protocol, theirs.protocol = theirs, ours, client, server
        self.ends += [ours, theirs]
        server.makeConnection(theirs)
        client.makeConnection(ours)
        return succeed(client)
