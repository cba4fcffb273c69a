"""The event channel over a door without ports: handshake, reports, back-pressure, signs of life, garbage, the end."""

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Ping, Request, TextMessage

from dicomd.model.attributes import attribute
from dicomd.model.workitem_attributes import GLOBAL_SUBSCRIPTION
from dicomd.web.app import Door
from dicomd.web.event_channel import EventChannels
from dicomd.web.wado_uri import WadoUri
from dicomd.web.workitems import UpsRs
from tests.web.harness import Connection, ask, make_door
from tests.workers import new_index
from tests.workitems import KEY, UID, Core, new_item

NOW = 1_780_000_000


class Client:
    """A WebSocket client; `answers` off: it never sends a Pong."""

    def __init__(self, door: Door, path: str = "/dicom-web/subscribers/WATCHER", *, answers: bool = True) -> None:
        self.connection, self.answers = Connection(door), answers
        self.socket = WSConnection(ConnectionType.CLIENT)
        self.events: list[Any] = []
        self.connection.send(self.socket.send(Request("dicom.test", path)))

    def read(self) -> list[dict[str, Any]]:
        """The reports that have come since the last time."""
        data = self.connection.transport.value()
        self.connection.transport.clear()
        self.socket.receive_data(data)
        found = list(self.socket.events())
        self.events += found
        for event in found:
            if isinstance(event, Ping) and self.answers:
                self.connection.send(self.socket.send(event.response()))
        return [json.loads(event.data) for event in found if isinstance(event, TextMessage)]

    def states(self) -> list[tuple[str, str]]:
        """Item and state of the state reports that have come."""
        return [
            (report["00001000"]["Value"][0], report["00741000"]["Value"][0])
            for report in self.read()
            if report["00001002"]["Value"] == [1]
        ]

    def close(self) -> None:
        self.connection.send(self.socket.send(CloseConnection(1000)))

    def vanish(self) -> None:
        self.connection.lose()

    @property
    def ended(self) -> bool:
        return not self.connection.transport.connected

    @property
    def closing(self) -> int:
        """The code of the server's Close."""
        self.read()
        return next((event.code for event in self.events if isinstance(event, CloseConnection)), 0)


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        index = new_index(self.mktemp())
        self.addCleanup(index.close)
        self.core = Core(index, self.clock)
        self.core.start()
        self.open_door()
        self.subscribe()

    def open_door(self) -> None:
        self.channels = EventChannels(self.core.delivery, self.clock)
        ups = UpsRs(self.core.service, self.channels, 100, "DICOMD")
        root = WadoUri(None, None, ups.open_channel)
        self.door = make_door([*ups.routes(), *root.routes()], self.clock, cors_origins=("http://viewer.test",))

    def subscribe(self, ae_title: str = "WATCHER") -> None:
        self.do(self.core.service.subscribe(GLOBAL_SUBSCRIPTION, ae_title, False))

    def do(self, work: Any) -> Any:
        result = self.successResultOf(Deferred.fromCoroutine(work))
        self.clock.advance(0)
        return result

    def create(self, number: int = 0) -> None:
        self.do(self.core.service.create(f"{UID}.{number}", new_item(t00404025={"vr": "SQ"})))

    def made(self, *numbers: int) -> list[tuple[str, str]]:
        return [(f"{UID}.{number}", "SCHEDULED") for number in numbers]


class HandshakeTests(Case):
    def test_upgrade(self) -> None:
        """101 on every path, at the root too; the channel opens for any AE title."""
        for path in (
            "/dicom-web/subscribers/A",
            "/dicom-web/ws/subscribers/A%20B",
            "/stow/subscribers/A",
            "/dicom-web/?requester=A",
        ):
            client = Client(self.door, path)
            client.read()
            self.assertIsInstance(client.events[0], AcceptConnection)

    def test_refused(self) -> None:
        """What is no handshake is 400, a page of a foreign origin 403, with a body that says why."""
        good = {
            "Upgrade": "websocket",
            "Connection": "keep-alive, Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        for name, value in (
            ("Upgrade", "h2c"),
            ("Connection", "close"),
            ("Sec-WebSocket-Version", "8"),
            ("Sec-WebSocket-Key", "short"),
        ):
            answer = ask(self.door, "GET", "/dicom-web/subscribers/A", headers=(good | {name: value}).items())
            self.assertEqual((answer.status, answer.headers["content-type"]), (400, "application/problem+json"))
        self.assertEqual(ask(self.door, "GET", "/dicom-web/subscribers/A").status, 400)
        self.assertEqual(ask(self.door, "GET", f"/dicom-web/subscribers/{'A' * 17}", headers=good.items()).status, 400)
        for origin, status in (("http://evil.test", 403), ("http://viewer.test", 101), ("http://dicom.test", 101)):
            headers = [*good.items(), ("Origin", origin)]
            self.assertEqual(ask(self.door, "GET", "/dicom-web/subscribers/A", headers=headers).status, status)


class ReportTests(Case):
    def test_content(self) -> None:
        """The elements of an N-EVENT-REPORT and its information, one JSON object in a text frame."""
        client = Client(self.door)
        client.read()
        self.create()
        report = client.read()[0]
        self.assertEqual(list(report), sorted(report))
        self.assertEqual(report["00000002"], {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.34.6.1"]})
        self.assertEqual(report["00001000"]["Value"], [UID + ".0"])
        self.assertEqual(report["00001002"], {"vr": "US", "Value": [1]})
        self.assertEqual(report["00000110"]["vr"], "US")
        self.assertEqual(report["00741000"], {"vr": "CS", "Value": ["SCHEDULED"]})
        self.assertEqual(report["00404041"], {"vr": "CS", "Value": ["READY"]})

    def test_waiting_then_live(self) -> None:
        """What came before the channel was open goes out first; everything once and in order."""
        self.create(0)
        self.create(1)
        client = Client(self.door)
        self.assertEqual(client.states(), self.made(0, 1))
        self.create(2)
        self.assertEqual(client.states(), self.made(2))

    def test_several_channels(self) -> None:
        """Each open channel of a subscriber gets what comes."""
        clients = [Client(self.door), Client(self.door)]
        for client in clients:
            client.read()
        self.create()
        for client in clients:
            self.assertEqual(client.states(), self.made(0))

    def test_clean_close_has_everything(self) -> None:
        """What was sent before the client's Close is not sent again."""
        client = Client(self.door)
        client.read()
        self.create(0)
        client.close()
        self.assertTrue(client.ended)
        self.create(1)
        self.assertEqual(Client(self.door).states(), self.made(1))

    def test_vanished_without_a_pong(self) -> None:
        """What was never acknowledged is sent again; what was, is not."""
        client = Client(self.door)
        client.read()
        self.create(0)
        client.read()
        self.clock.advance(0.1)
        client.read()
        self.create(1)
        client.vanish()
        self.create(2)
        self.assertEqual(Client(self.door).states(), self.made(1, 2))

    def test_over_a_restart(self) -> None:
        """Delivered is delivered, waiting is waiting; the restart itself is told."""
        client = Client(self.door)
        client.read()
        self.create(0)
        client.read()
        draining = Deferred.fromCoroutine(self.channels.drain(1))
        client.read()
        self.assertEqual(client.closing, 1001)
        self.successResultOf(draining)
        self.create(1)
        self.core.restart()
        self.open_door()
        reports = Client(self.door).read()
        self.assertEqual([report["00001002"]["Value"][0] for report in reports], [1, 4])
        self.assertEqual(reports[0]["00001000"]["Value"], [UID + ".1"])
        self.assertEqual(reports[1]["00741242"]["Value"], ["RESTARTED"])
        self.assertEqual(reports[1]["00741244"]["Value"], ["WARM START"])


def stuff(client: Client) -> None:
    """From now on its connection has something to send that the client never takes: only aborting ends it."""
    transport = client.connection.transport
    transport.abortConnection, transport.loseConnection = transport.loseConnection, lambda: None


class FlowTests(Case):
    def test_slow_client(self) -> None:
        """While it does not read nothing is written to it; others are not held up; then it gets everything."""
        self.subscribe("OTHER")
        slow, other = Client(self.door), Client(self.door, "/dicom-web/subscribers/OTHER")
        slow.read(), other.read()
        slow.connection.transport.producer.pauseProducing()
        for number in range(3):
            self.create(number)
        self.assertEqual(slow.connection.transport.value(), b"")
        self.assertEqual(other.states(), self.made(0, 1, 2))
        slow.connection.transport.producer.resumeProducing()
        self.assertEqual(slow.states(), self.made(0, 1, 2))

    def test_quiet_client_is_asked(self) -> None:
        """A Ping now and then; a client that answers stays, one that does not is cut off."""
        alive, dead = Client(self.door), Client(self.door, "/dicom-web/subscribers/DEAD", answers=False)
        for _ in range(5):
            self.clock.advance(30)
            alive.read(), dead.read()
        self.assertFalse(alive.ended)
        self.assertTrue(dead.ended)

    def test_idle_timeout_is_not_for_channels(self) -> None:
        """The door's own timeouts end with the handshake."""
        client = Client(self.door)
        for _ in range(20):
            self.clock.advance(30)
            client.read()
        self.create()
        self.assertEqual(client.states(), self.made(0))

    def test_drain_has_an_end(self) -> None:
        """Clients that do not answer are closed all the same."""
        client = Client(self.door, answers=False)
        client.read()
        self.create()
        draining = Deferred.fromCoroutine(self.channels.drain(1))
        self.assertNoResult(draining)
        self.clock.advance(1)
        self.successResultOf(draining)
        self.assertEqual(client.closing, 1001)

    def test_client_that_does_not_read(self) -> None:
        """A connection that never gets rid of what it holds is ended all the same: at a stop, and after a Close."""
        client = Client(self.door, answers=False)
        client.read()
        stuff(client)
        draining = Deferred.fromCoroutine(self.channels.drain(1))
        self.clock.advance(1)
        self.assertNoResult(draining)
        self.clock.advance(1)
        self.successResultOf(draining)
        self.assertTrue(client.ended)
        self.open_door()
        client = Client(self.door)
        client.read()
        stuff(client)
        client.connection.send(b"\xff" * 200)
        for _ in range(5):
            self.clock.advance(30)
            client.connection.send(b"x")
        self.assertTrue(client.ended)


class GarbageTests(Case):
    def test_ends_the_channel_alone(self) -> None:
        """Malformed frames, unmasked ones, too large ones: Close with a reason; the server goes on, other channels too."""
        other = Client(self.door)
        other.read()
        mask = b"\0\0\0\0"
        for data, code in (
            (b"\xff\xff\xff\xff", None),
            (b"\x81\x02hi", None),
            (b"\x81\x82" + mask + b"\xff\xfe", 1007),
            (b"\x83\x81" + mask + b"x", 1002),
            (b"\x82\xff" + (1 << 50).to_bytes(8, "big") + mask, 1009),
            (b"\x82\xfe\xff\xff" + mask + bytes(65535) + b"\x82\xff\x00\x00\x00\x00\x00\x01\x00\x01" + mask, 1009),
            (b"\x80\x81" + mask + b"x", 1002),
        ):
            with self.subTest(data=data[:20]):
                client = Client(self.door, "/dicom-web/subscribers/BAD")
                client.read()
                client.connection.send(data)
                client.connection.send(b"more")
                if code:
                    self.assertEqual(client.closing, code)
                self.assertTrue(client.ended)
        self.create()
        self.assertEqual(other.states(), self.made(0))
        self.flushLoggedErrors()

    def test_messages_are_ignored(self) -> None:
        """A client may say what it likes within bounds."""
        client = Client(self.door)
        client.read()
        client.connection.send(client.socket.send(TextMessage("subscribe me")))
        client.connection.send(client.socket.send(Ping(b"?")))
        self.create()
        self.assertEqual(client.states(), self.made(0))
        self.do(self.core.service.change_state(UID + ".0", KEY, "IN PROGRESS"))
        self.do(self.core.service.update(UID + ".0", KEY, {"00404041": attribute("CS", "INCOMPLETE")}))
        self.assertEqual(client.states(), [(UID + ".0", "IN PROGRESS")] * 2)
