"""MWL C-FIND and MPPS over DIMSE, without sockets; and crosswise with the core that HTTP uses."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dicomd.dimse.modality import ModalityWorklist, PerformedProcedureSteps, negotiated
from dicomd.model.attributes import Attributes, attribute, items, text
from dicomd.services.hub import EventHub
from dicomd.services.performed_steps import RETRIEVE_SOP_CLASS_UID, SOP_CLASS_UID, PerformedSteps
from dicomd.services.worklist import SOP_CLASS_UID as WORKLIST
from dicomd.services.worklist import Worklist
from dicomd.wire import datasets
from dicomd.wire.messages import Command, CommandField
from tests.dimse.peer import IMPLICIT, Peer, listening, proposal
from tests.model.test_performed_steps import FINAL, creation
from tests.services.test_worklist import order
from tests.workers import ImmediateWorkers, new_index


class ModalityTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        index = new_index(self.mktemp())
        self.addCleanup(index.close)
        workers, clock = ImmediateWorkers(index), Clock()
        self.worklist = Worklist(workers, clock)
        self.steps = PerformedSteps(workers, EventHub(), clock, lambda: None)
        listener, _ = listening(*ModalityWorklist(self.worklist).services(), *PerformedProcedureSteps(self.steps).services())
        self.peer = Peer(listener).associate(proposal(WORKLIST, SOP_CLASS_UID, RETRIEVE_SOP_CLASS_UID))

    def run_(self, work: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def ask(self, context: int, command: Command, attributes: Attributes | None = None) -> Command:
        """The last response."""
        data = datasets.encode(attributes, IMPLICIT) if attributes is not None else None
        self.peer.request(context, command, data)
        return self.peer.responses[-1]


class WorklistTests(ModalityTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.run_(self.worklist.enter([order(1, name="Müller^Eva"), order(2, modality="MR")]))

    def find(self, identifier: Attributes) -> list[int]:
        command = Command(CommandField.C_FIND, message_id=7, affected_sop_class_uid=WORKLIST, priority=0)
        self.ask(1, command, identifier)
        return [response.status or 0 for response in self.peer.responses]

    def test_universal(self) -> None:
        """Types 1 and 2 come without being asked for."""
        self.assertEqual(self.find({"00100010": {"vr": "PN"}}), [0xFF00, 0xFF00, 0])
        first = datasets.decode(self.peer.data, IMPLICIT)
        self.assertIn("00380010", first)

    def test_step_keys(self) -> None:
        step = {"00080060": attribute("CS", "MR"), "00400001": attribute("AE", "MR_1"), "00400002": attribute("DA", "20260601-")}
        self.assertEqual(self.find({"00400100": {"vr": "SQ", "Value": [step]}}), [0xFF00, 0])
        match = datasets.decode(self.peer.data, IMPLICIT)
        self.assertEqual((text(match, "00080050"), len(items(match, "00400100"))), ("ACC2", 1))

    def test_character_set_of_the_request(self) -> None:
        self.find({"00080005": attribute("CS", "ISO_IR 100"), "00080050": attribute("SH", "ACC1"), "00100010": {"vr": "PN"}})
        self.assertIn("Müller^Eva".encode("latin-1"), self.peer.data)

    def test_every_character_set_of_the_request(self) -> None:
        """A modality that knows only ISO 2022 IR 87 is answered in it, where it can hold the name; else in UTF-8."""
        name = "Yamada^Tarou=山田^太郎=やまだ^たろう"
        self.run_(self.worklist.enter([order(3, name=name)]))
        asked = {"00080050": attribute("SH", "ACC3"), "00100010": {"vr": "PN"}}
        for terms, answered in (
            (("", "ISO 2022 IR 87"), ["", "ISO 2022 IR 87"]),
            (("ISO_IR 13", "ISO 2022 IR 87"), ["ISO_IR 13", "ISO 2022 IR 87"]),
            (("ISO_IR 192",), ["ISO_IR 192"]),
            (("ISO_IR 100",), ["ISO_IR 192"]),
            ((), ["ISO_IR 192"]),
        ):
            self.find({"00080005": attribute("CS", *terms)} | asked)
            match = datasets.decode(self.peer.data, IMPLICIT)
            self.assertEqual([value or "" for value in match["00080005"]["Value"]], answered)
            self.assertEqual(text(match, "00100010"), name)
            self.peer.heard.clear()

    def test_keys_of_old_equipment(self) -> None:
        """Group lengths, and keys with nothing but padding, ask for nothing."""
        step = {"00400000": attribute("UL", 10), "00400001": attribute("AE", "  "), "00080060": attribute("CS", "MR")}
        asked = {"00100000": attribute("UL", 20), "00100010": {"vr": "PN"}, "00400100": attribute("SQ", step)}
        self.assertEqual(self.find(asked), [0xFF00, 0])
        match = datasets.decode(self.peer.data, IMPLICIT)
        self.assertNotIn("00100000", match)
        self.assertEqual(text(items(match, "00400100")[0], "00400001"), "MR_1")

    def test_conditional_attributes(self) -> None:
        """Types 1C and 2C come where the entry has them, empty only for who asks."""
        described = order(4)
        described["00321060"] = attribute("LO", "CT HEAD")
        items(described, "00400100")[0]["00400007"] = attribute("LO", "HEAD")
        self.run_(self.worklist.enter([described]))
        self.find({"00080050": attribute("SH", "ACC4")})
        match = datasets.decode(self.peer.data, IMPLICIT)
        self.assertEqual((text(match, "00321060"), text(items(match, "00400100")[0], "00400007")), ("CT HEAD", "HEAD"))
        self.assertNotIn("00321064", match)
        self.peer.heard.clear()
        self.find({"00080050": attribute("SH", "ACC4"), "00321064": {"vr": "SQ"}, "00380014": {"vr": "SQ"}})
        match = datasets.decode(self.peer.data, IMPLICIT)
        self.assertEqual((match["00321064"], match["00380014"]), ({"vr": "SQ"}, {"vr": "SQ"}))

    def test_bad_identifier(self) -> None:
        self.assertEqual(self.find({"00100030": attribute("DA", "yesterday")}), [0xA900])
        command = Command(CommandField.C_FIND, message_id=8, affected_sop_class_uid=WORKLIST, priority=0)
        self.peer.request(1, command, b"\x10\x00\x10\x00\xff\xff\x00\x00ab")
        self.assertEqual(self.peer.responses[-1].status, 0xC000)

    def test_extended_negotiation(self) -> None:
        """PS3.4 K.5.1.1: an offer of three bytes is answered by three."""
        self.assertEqual(negotiated(b"\0\0\1"), b"\1\1\1")
        self.assertEqual(negotiated(b"\1\1\0\1"), b"\1\1\0\1")


class PerformedTests(ModalityTestCase):
    def create(self, attributes: Attributes, uid: str = "1.2.3") -> Command:
        command = Command(
            CommandField.N_CREATE, message_id=1, affected_sop_class_uid=SOP_CLASS_UID, affected_sop_instance_uid=uid
        )
        return self.ask(3, command, attributes)

    def set(self, changes: Attributes, uid: str = "1.2.3") -> Command:
        command = Command(CommandField.N_SET, message_id=2, requested_sop_class_uid=SOP_CLASS_UID, requested_sop_instance_uid=uid)
        return self.ask(3, command, changes)

    def get(self, *tags: int, uid: str = "1.2.3") -> Command:
        command = Command(
            CommandField.N_GET,
            message_id=3,
            requested_sop_class_uid=RETRIEVE_SOP_CLASS_UID,
            requested_sop_instance_uid=uid,
            attribute_identifier_list=tags,
        )
        return self.ask(5, command)

    def test_created_here_updated_there_read_here(self) -> None:
        self.assertEqual(self.create(creation()).status, 0)
        self.run_(self.steps.update("1.2.3", {"00400280": attribute("ST", "fine")}))
        self.assertEqual(self.set(FINAL).status, 0)
        self.assertEqual(self.get(0x00400252, 0x00400280).status, 0)
        step = datasets.decode(self.peer.data, IMPLICIT)
        self.assertEqual((text(step, "00400252"), text(step, "00400280")), ("COMPLETED", "fine"))

    def test_uid_is_made(self) -> None:
        response = self.create(creation(), uid="")
        self.assertTrue((response.affected_sop_instance_uid or "").startswith("2.25."))

    def test_statuses(self) -> None:
        missing, empty = creation(), creation()
        del missing["00400253"]
        empty["00400253"] = {"vr": "SH"}
        self.assertEqual(self.create(missing).status, 0x0120)
        self.assertEqual(self.peer.responses[-1].attribute_identifier_list, (0x00400253,))
        self.assertEqual(self.create(empty).status, 0x0121)
        self.assertEqual(self.create({**creation(), "00400252": attribute("CS", "COMPLETED")}).status, 0x0106)
        self.assertEqual(self.create(creation()).status, 0)
        self.assertEqual(self.create(creation()).status, 0x0111)
        self.assertEqual(self.set({"00100020": attribute("LO", "X")}).status, 0x0106)
        self.assertEqual(self.set({"00401012": attribute("SQ", {})}).status, 0x0105)
        self.assertEqual(self.set(FINAL, uid="1.2.4").status, 0x0112)
        self.assertEqual(self.get(uid="1.2.4").status, 0x0112)
        self.assertEqual(self.get(0x00400252, 0x00101010).status, 0x0001)

    def test_final(self) -> None:
        self.create(creation())
        self.set(FINAL)
        late = self.set({"00400280": attribute("ST", "late")})
        self.assertEqual((late.status, late.error_id), (0x0110, 0xA710))
        self.assertEqual(late.error_comment, "Performed Procedure Step Object may no longer be updated")
