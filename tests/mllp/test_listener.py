"""HL7 over MLLP: framing, acknowledgements, hostile senders. No ports, no clock but the test's."""

import json
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from dicomd.mllp.listener import END, IDLE_SECONDS, LARGEST_MESSAGE, START, Connection, Listener
from dicomd.model.attributes import text
from dicomd.model.query import from_parameters
from dicomd.services.worklist import Worklist
from tests.wire.test_hl7 import OMI, ORM
from tests.workers import ImmediateWorkers, new_index


class Transport(StringTransport):
    def setTcpNoDelay(self, enabled: bool) -> None:
        self.no_delay = enabled


class ListenerTests(SynchronousTestCase):
    def setUp(self) -> None:
        index = new_index(self.mktemp())
        self.addCleanup(index.close)
        self.clock = Clock()
        self.worklist = Worklist(ImmediateWorkers(index), self.clock)
        self.listener = Listener(self.worklist, maybeDeferred, self.clock)
        self.connection, self.transport = self.connect()

    def connect(self) -> tuple[Connection, Transport]:
        connection, transport = self.listener.buildProtocol(None), Transport()
        connection.makeConnection(transport)
        return connection, transport

    def answers(self) -> list[str]:
        """MSA-1 of each acknowledgement so far."""
        blocks = self.transport.value().split(END)[:-1]
        return [block.removeprefix(START).decode().split("\r")[1].split("|")[1] for block in blocks]

    def listed(self) -> list[str]:
        answer: Any = self.successResultOf(Deferred.fromCoroutine(self.worklist.find(from_parameters([]), 100)))
        return [text(json.loads(entry), "00080050") for entry in answer.matches]

    def send(self, *messages: str) -> None:
        self.connection.dataReceived(b"".join(START + message.encode() + END for message in messages))

    def test_order_is_on_the_worklist(self) -> None:
        self.send(OMI)
        self.assertEqual((self.answers(), self.listed()), (["AA"], ["ACC1"]))

    def test_sent_again_updates(self) -> None:
        self.send(OMI, OMI, ORM.format(control="NW"))
        self.assertEqual((self.answers(), self.listed()), (["AA"] * 3, ["ACC2", "ACC1"]))

    def test_cancelled(self) -> None:
        self.send(ORM.format(control="NW"), ORM.format(control="CA"), ORM.format(control="CA"))
        self.assertEqual((self.answers(), self.listed()), (["AA"] * 3, []))

    def test_content_refused(self) -> None:
        """AE names the attribute; nothing is entered."""
        self.send(OMI.replace("|CT_AE", "|"))
        self.assertEqual((self.answers(), self.listed()), (["AE"], []))
        self.assertIn(b"(0040,0001)", self.transport.value())

    def test_rejected(self) -> None:
        self.send("garbage", OMI.replace("OMI^O23", "ADT^A01"))
        self.assertEqual(self.answers(), ["AR", "AR"])

    def test_every_split(self) -> None:
        """The block may arrive in any pieces."""
        block = START + ORM.format(control="NW").encode() + END
        for cut in range(1, len(block)):
            self.connection, self.transport = self.connect()
            self.connection.dataReceived(block[:cut])
            self.assertEqual(self.answers(), [], cut)
            self.connection.dataReceived(block[cut:])
            self.assertEqual(self.answers(), ["AA"], cut)

    def test_noise_between_blocks(self) -> None:
        self.connection.dataReceived(b"\r\n\r\n")
        self.send(OMI)
        self.assertEqual(self.answers(), ["AA"])

    def test_endless_message(self) -> None:
        self.connection.dataReceived(START + b"x" * (LARGEST_MESSAGE + 1))
        self.assertTrue(self.transport.disconnected)

    def test_idle(self) -> None:
        self.clock.advance(IDLE_SECONDS + 1)
        self.assertTrue(self.transport.disconnecting)

    def test_drain(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.listener.drain(1)))
        self.assertTrue(self.transport.disconnecting)
