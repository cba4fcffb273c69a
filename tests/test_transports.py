"""Writing at once, over a pair of sockets and no reactor."""

import socket
from typing import Any

from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase

from dicomd.transports import send


class SendTests(SynchronousTestCase):
    def setUp(self) -> None:
        ours, self.theirs = socket.socketpair()
        self.addCleanup(self.theirs.close)
        self.addCleanup(ours.close)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        reactor: Any = MemoryReactorClock()
        self.transport: Any = Connection(ours, Protocol(), reactor)
        self.transport.connected = 1

    def received(self) -> bytes:
        """What has come so far."""
        self.theirs.setblocking(False)
        try:
            return self.theirs.recv(1 << 20)
        except BlockingIOError:
            return b""

    def test_at_once(self) -> None:
        """Without the reactor's help."""
        send(self.transport, b"one")
        send(self.transport, b"two")
        self.assertEqual(self.received(), b"onetwo")

    def test_parts(self) -> None:
        """One after the other, wherever the system stops taking them."""
        for sizes in ((3, 0, 5), (3, 150_000), (150_000, 3), (100_000, 1, 90_000), (600_000, 2), ()):
            parts = [bytes([65 + place]) * size for place, size in enumerate(sizes)]
            send(self.transport, *parts)
            arrived = self.received()
            for _ in range(1000):
                self.transport.doWrite()
                arrived += self.received()
            self.assertEqual(arrived, b"".join(parts), sizes)

    def test_order(self) -> None:
        """What the system does not take waits in the transport, and later data behind it."""
        data = b"".join(number.to_bytes(4, "big") for number in range(15_000))
        send(self.transport, data)
        send(self.transport, b"last")
        arrived = b""
        while more := self.received():
            arrived += more
        self.assertLess(len(arrived), len(data))
        for _ in range(1000):
            self.transport.doWrite()
            arrived += self.received()
        self.assertEqual(arrived, data + b"last")

    def test_closing(self) -> None:
        """Nothing overtakes the end of a connection that is being closed."""
        self.transport.disconnecting = True
        send(self.transport, b"late")
        self.assertEqual(self.received(), b"")

    def test_other_transports(self) -> None:
        """What is no plain connection (TLS) is written to as usual."""
        transport = StringTransport()
        send(transport, b"data")
        self.assertEqual(transport.value(), b"data")
