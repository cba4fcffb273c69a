"""Store: bodies of every shape against a storage that only remembers."""

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.identifiers import InstanceKey
from dicomd.model.status import Busy, Status
from dicomd.services.storage import Source, StoreOutcome, Target
from dicomd.web.receipt import AT_ONCE
from dicomd.web.stow import Stow

from .harness import Answer, Connection, ask, encode, make_door

STUDY = "1.2.3"
MULTIPART = 'multipart/related; type="application/dicom"; boundary=b1'


@define
class FakeReception:
    """Takes bytes; `room` says whether there is room for more."""

    content: bytes = b""
    abandoned: bool = False
    room: bool = True
    waiting: "Deferred[None]" = field(factory=Deferred)

    def write(self, data: bytes) -> bool:
        self.content += data
        return self.room

    def ready(self) -> "Deferred[None]":
        return succeed(None) if self.room else self.waiting

    def abandon(self) -> None:
        self.abandoned = True


@define
class FakeStorage:
    """Instances are `uid` or `uid status`; stored at once unless `gates` is a list."""

    receptions: list[FakeReception] = field(factory=list)
    sources: list[Source] = field(factory=list)
    gates: "list[Deferred[None]] | None" = None
    studies: list[str] = field(factory=list)
    refuses: bool = False

    def begin(self, source: Source, **_: str) -> FakeReception:
        if self.refuses:
            raise Busy("no room")
        self.sources.append(source)
        self.receptions.append(FakeReception())
        return self.receptions[-1]

    async def store(self, reception: FakeReception, target: Target) -> StoreOutcome:
        self.studies.append(target.study_instance_uid)
        if self.gates is not None:
            self.gates.append(Deferred())
            await self.gates[-1]
        uid, _, code = reception.content.decode().partition(" ")
        status = Status(int(code, 16)) if code else Status.SUCCESS
        if not uid:
            return StoreOutcome(None, "", "", Status.CANNOT_UNDERSTAND, "not DICOM")
        comment = "refused" if status.is_failure else ""
        return StoreOutcome(InstanceKey(STUDY, "1.2.3.4", uid), "1.2.840.10008.5.1.4.1.1.4", uid, status, comment)


def multipart(*contents: bytes, closing: bytes = b"\r\n--b1--\r\n") -> bytes:
    return b"".join(b"\r\n--b1\r\nContent-Type: application/dicom\r\n\r\n" + content for content in contents) + closing


class StowTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.storage = FakeStorage()
        self.door = make_door(Stow(self.storage, None).routes())  # type: ignore[arg-type]

    def post(self, body: bytes | None, content_type: str = MULTIPART, path: str = "/dicom-web/studies", **headers: str) -> Answer:
        lines = [("Content-Type", content_type)] if content_type else []
        return ask(self.door, "POST", path, body, [*lines, *headers.items()])


class ResponseTests(StowTestCase):
    def test_all_stored(self) -> None:
        """200 and the Store Instances Response Module in the order of the parts (PS3.18 10.5.3)."""
        answer = self.post(multipart(b"1.2.1", b"1.2.2"))
        base = "http://dicom.test/dicom-web/studies/1.2.3"
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "application/dicom+json"))
        self.assertEqual(answer.headers["location"], base)
        self.assertEqual(answer.json["00081190"], {"vr": "UR", "Value": [base]})
        items = answer.json["00081199"]["Value"]
        self.assertEqual([item["00081155"]["Value"][0] for item in items], ["1.2.1", "1.2.2"])
        self.assertEqual(items[0]["00081190"]["Value"], [f"{base}/series/1.2.3.4/instances/1.2.1"])
        self.assertEqual([reception.content for reception in self.storage.receptions], [b"1.2.1", b"1.2.2"])
        self.assertEqual(self.storage.sources[0].door, "HTTP")

    def test_some_stored(self) -> None:
        """202 when some are refused: with a name in FailedSOPSequence, without in OtherFailuresSequence."""
        answer = self.post(multipart(b"1.2.1", b"1.2.2 A900", b""))
        self.assertEqual(answer.status, 202)
        (failed,) = answer.json["00081198"]["Value"]
        self.assertEqual((failed["00081155"]["Value"], failed["00081197"]["Value"]), (["1.2.2"], [0xA900]))
        self.assertEqual(answer.json["0008119A"]["Value"], [{"00081197": {"vr": "US", "Value": [0xC000]}}])
        self.assertIn("299 http://dicom.test/dicom-web: refused (1 of 3)", answer.headers["warning"])

    def test_warned(self) -> None:
        """202 when an instance was changed, with its Warning Reason."""
        answer = self.post(multipart(b"1.2.1 B000"))
        self.assertEqual(answer.status, 202)
        self.assertEqual(answer.json["00081199"]["Value"][0]["00081196"]["Value"], [0xB000])

    def test_none_stored(self) -> None:
        """409 with the reasons; 503 when there was no room."""
        self.assertEqual(self.post(multipart(b"1.2.1 0122")).status, 409)
        self.assertEqual(self.post(multipart(b"1.2.1 A700")).status, 503)
        self.storage.refuses = True
        self.assertEqual(self.post(multipart(b"1.2.1")).status, 503)

    def test_study(self) -> None:
        """The study in the path is what instances must belong to."""
        self.post(multipart(b"1.2.1"), path="/stow/studies/1.2.3")
        self.assertEqual(self.storage.studies, ["1.2.3"])

    def test_xml(self) -> None:
        """The Native DICOM Model when it is preferred."""
        for accept in ("application/dicom+xml", 'multipart/related; type="application/dicom+xml"'):
            answer = self.post(multipart(b"1.2.1"), Accept=accept)
            self.assertEqual(answer.headers["content-type"], "application/dicom+xml")
            self.assertIn(b"<NativeDicomModel", answer.body)

    def test_nothing_acceptable(self) -> None:
        """406 before anything is stored."""
        self.assertEqual(self.post(multipart(b"1.2.1"), Accept="image/jpeg").status, 406)
        self.assertEqual(self.storage.receptions, [])


class BodyTests(StowTestCase):
    def test_single_part(self) -> None:
        """A bare application/dicom body is one instance."""
        answer = self.post(b"1.2.1", "application/dicom")
        self.assertEqual((answer.status, self.storage.receptions[0].content), (200, b"1.2.1"))

    def test_type_missing(self) -> None:
        """multipart/related without `type` holds instances; a quoted boundary is the same boundary."""
        self.assertEqual(self.post(multipart(b"1.2.1"), 'multipart/related; boundary="b1"').status, 200)

    def test_unsupported(self) -> None:
        """415 tells what would be taken."""
        for content_type in (
            "",
            "text/plain",
            "multipart/form-data; boundary=b1",
            'multipart/related; type="text/plain"; boundary=b1',
        ):
            answer = self.post(multipart(b"1.2.1"), content_type)
            self.assertEqual(answer.status, 415, content_type)
            self.assertIn("application/dicom", answer.headers["accept"])

    def test_boundary(self) -> None:
        """400 for a boundary that is missing, malformed or absent from the body."""
        for content_type in (
            "multipart/related; type=application/dicom",
            'multipart/related; type=application/dicom; boundary="ä"',
            "multipart/related; type=application/dicom; boundary=other",
        ):
            self.assertEqual(self.post(multipart(b"1.2.1"), content_type).status, 400, content_type)

    def test_nothing(self) -> None:
        """400 for no body, an empty body, and one without parts."""
        for body in (None, b"", b"--b1--\r\n"):
            self.assertEqual(self.post(body).status, 400)

    def test_part_without_headers(self) -> None:
        """Its bytes decide."""
        self.assertEqual(self.post(b"--b1\r\n\r\n1.2.1\r\n--b1--\r\n").status, 200)

    def test_malformed_part(self) -> None:
        """What comes before a malformed part is stored; alone it is 400."""
        broken = b"\r\n--b1\r\nno colon\r\n\r\nx\r\n--b1--\r\n"
        answer = self.post(multipart(b"1.2.1", closing=broken))
        self.assertEqual((answer.status, len(answer.json["00081199"]["Value"])), (202, 1))
        self.assertEqual(self.post(broken).status, 400)

    def test_breaks_off(self) -> None:
        """An instance without its closing boundary is a failure and leaves nothing; the others are stored."""
        answer = self.post(multipart(b"1.2.1", b"1.2.2", closing=b""))
        self.assertEqual(answer.status, 202)
        self.assertEqual(answer.json["0008119A"]["Value"][0]["00081197"]["Value"], [0xC000])
        self.assertTrue(self.storage.receptions[1].abandoned)

    def test_every_cut(self) -> None:
        """How the body arrives makes no difference."""
        data = encode("POST", "/dicom-web/studies", multipart(b"1.2.1", b"1.2.2"), [("Content-Type", MULTIPART)])
        for size in range(1, 40, 3):
            connection = Connection(self.door)
            for start in range(0, len(data), size):
                connection.send(data[start : start + size])
            self.assertEqual(connection.answers()[0].status, 200)


class FlowTests(StowTestCase):
    def connection(self) -> Connection:
        return Connection(self.door)

    def test_client_leaves(self) -> None:
        """A body that is not complete leaves nothing."""
        for content_type, body in ((MULTIPART, multipart(b"1.2.1", closing=b"")), ("application/dicom", b"1.2.1")):
            self.storage.receptions.clear()
            connection = self.connection()
            head = encode("POST", "/dicom-web/studies", None, [("Content-Type", content_type), ("Content-Length", "1000")])
            connection.send(head + body)
            connection.lose()
            self.assertTrue(self.storage.receptions[0].abandoned)

    def test_client_leaves_before_the_answer(self) -> None:
        """What has arrived as a whole is stored, although nobody hears of it."""
        self.storage.gates = []
        connection = self.connection()
        connection.request("POST", "/dicom-web/studies", multipart(b"1.2.1"), [("Content-Type", MULTIPART)])
        connection.lose()
        self.storage.gates[0].callback(None)
        self.assertFalse(self.storage.receptions[0].abandoned)

    def test_pauses_for_a_reception(self) -> None:
        """The transport pauses while an instance has too much unwritten."""
        connection = self.connection()
        states = self.watch(connection)
        connection.send(
            encode("POST", "/dicom-web/studies", None, [("Content-Type", "application/dicom"), ("Content-Length", "5")])
        )
        reception = self.storage.receptions[0]
        reception.room = False
        connection.send(b"1.2")
        self.assertEqual(states, ["pause"])
        reception.room = True
        reception.waiting.callback(None)
        self.assertEqual(states, ["pause", "resume"])
        connection.send(b".1")
        self.assertEqual(connection.answers()[0].status, 200)

    def watch(self, connection: Connection) -> list[str]:
        states: list[str] = []
        transport: Any = connection.transport
        transport.pauseProducing = lambda: states.append("pause")
        transport.resumeProducing = lambda: states.append("resume")
        return states

    def test_pauses_for_the_store(self) -> None:
        """Only so many instances of a request are stored at once; the response keeps the order."""
        self.storage.gates = gates = []
        connection = self.connection()
        states = self.watch(connection)
        names = [b"1.2.%d" % number for number in range(AT_ONCE + 4)]
        connection.request("POST", "/dicom-web/studies", multipart(*names), [("Content-Type", MULTIPART)])
        self.assertEqual((len(gates), states), (AT_ONCE, ["pause"]))
        while gates:
            gates.pop().callback(None)
        answer = connection.answers()[0]
        self.assertEqual([item["00081155"]["Value"][0].encode() for item in answer.json["00081199"]["Value"]], names)

    def test_no_timeout_while_paused(self) -> None:
        """A client that was told to wait is not timed out."""
        self.storage.gates = []
        connection = self.connection()
        head = encode("POST", "/dicom-web/studies", None, [("Content-Type", MULTIPART), ("Content-Length", "9999")])
        connection.send(head + multipart(*[b"1.2.1"] * (AT_ONCE + 2), closing=b""))
        self.door.site.reactor.advance(1000)
        self.assertTrue(connection.transport.connected)
        while self.storage.gates:
            self.storage.gates.pop().callback(None)
        self.door.site.reactor.advance(1000)
        self.assertFalse(connection.transport.connected)
