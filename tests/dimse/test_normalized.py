"""The frame of the N-services: what an operation is given, and which elements a response has (PS3.7 10.1, C.5)."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dicomd.dimse.normalized import Invocation, Outcome, normalized
from dicomd.dimse.service import Service
from dicomd.model.attributes import Attributes
from dicomd.model.status import Busy, ServiceError, Status
from dicomd.wire import datasets
from dicomd.wire.messages import Command, CommandField

from .peer import IMPLICIT, Peer, listening, proposal

COMMITMENT, INSTANCE = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
NAME: Attributes = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "A^B"}]}}


class NormalizedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.seen: list[Invocation] = []
        self.answer: Outcome | ServiceError = Outcome()
        operations = (CommandField.N_CREATE, CommandField.N_SET, CommandField.N_GET, CommandField.N_ACTION, CommandField.N_DELETE)
        listener, _ = listening(Service((COMMITMENT,), normalized(dict.fromkeys(operations, self.take))))
        self.peer = Peer(listener).associate(proposal(COMMITMENT))

    async def take(self, invocation: Invocation) -> Outcome:
        self.seen.append(invocation)
        if isinstance(self.answer, ServiceError):
            raise self.answer
        return self.answer

    def invoke(self, field: CommandField, attributes: Attributes | None = None, **elements: Any) -> Command:
        if field is not CommandField.N_CREATE:
            elements = {"requested_sop_class_uid": COMMITMENT, "requested_sop_instance_uid": INSTANCE} | elements
        data = None if attributes is None else datasets.encode(attributes, IMPLICIT)
        self.peer.request(1, Command(field, message_id=1, **elements), data)
        return self.peer.responses[-1]

    def test_action(self) -> None:
        """Type and information come in; the response names class and instance, and the type when it has a data set."""
        response = self.invoke(CommandField.N_ACTION, NAME, action_type_id=1)
        self.assertEqual((response.status, response.has_data_set, response.action_type_id), (0, False, None))
        self.assertEqual((response.affected_sop_class_uid, response.affected_sop_instance_uid), (COMMITMENT, INSTANCE))
        self.assertEqual((self.seen[0].type_id, self.seen[0].attributes), (1, NAME))
        self.answer = Outcome(attributes=NAME)
        response = self.invoke(CommandField.N_ACTION, NAME, action_type_id=1)
        self.assertEqual((response.action_type_id, datasets.decode(self.peer.data, IMPLICIT)), (1, NAME))

    def test_get(self) -> None:
        """The attributes asked for; what is unsupported is listed with a warning."""
        self.answer = Outcome(Status.OPTIONAL_UNSUPPORTED, attributes=NAME, unsupported=(0x00400001,))
        response = self.invoke(CommandField.N_GET, attribute_identifier_list=(0x00100010, 0x00400001))
        self.assertEqual((response.status, response.attribute_identifier_list), (1, (0x00400001,)))
        self.assertEqual(self.seen[0].names, (0x00100010, 0x00400001))

    def test_assigned_instance(self) -> None:
        """An N-CREATE without an instance gets the one that was made."""
        self.answer = Outcome(sop_instance_uid="1.2.3")
        self.assertEqual(self.invoke(CommandField.N_CREATE, NAME).affected_sop_instance_uid, "1.2.3")
        self.assertEqual((self.seen[0].sop_class_uid, self.seen[0].sop_instance_uid), (COMMITMENT, ""))

    def test_after_the_response(self) -> None:
        """What may not come before it."""
        said: list[int] = []
        self.answer = Outcome(then=lambda: said.append(len(self.peer.responses)))
        self.invoke(CommandField.N_ACTION, NAME, action_type_id=1)
        self.assertEqual(said, [1])

    def test_missing_elements(self) -> None:
        """Mandatory ones of the command set; a malformed instance."""
        for field, elements, status in (
            (CommandField.N_ACTION, {}, Status.MISTYPED_ARGUMENT),
            (CommandField.N_GET, {"requested_sop_instance_uid": ""}, Status.MISTYPED_ARGUMENT),
            (CommandField.N_SET, {"requested_sop_instance_uid": "../1"}, Status.INVALID_SOP_INSTANCE),
            (CommandField.N_DELETE, {"requested_sop_class_uid": "1.2.3"}, Status.NO_SUCH_SOP_CLASS),
        ):
            self.assertEqual(self.invoke(field, **elements).status, status)
        self.assertEqual(self.seen, [])

    def test_refusals(self) -> None:
        """Which elements go with which status."""
        self.answer = ServiceError("x", Status.MISSING_ATTRIBUTE, offending=(0x00400241,))
        response = self.invoke(CommandField.N_CREATE, NAME)
        self.assertEqual((response.attribute_identifier_list, response.offending_elements), ((0x00400241,), ()))
        self.answer = ServiceError("x", Status.INVALID_ATTRIBUTE_VALUE, offending=(0x00400252,), detail={"attributes": NAME})
        response = self.invoke(CommandField.N_CREATE, NAME)
        self.assertEqual((response.offending_elements, datasets.decode(self.peer.data, IMPLICIT)), ((0x00400252,), NAME))
        self.answer = ServiceError("late", detail={"error_id": 0xA710})
        response = self.invoke(CommandField.N_SET, NAME)
        self.assertEqual((response.status, response.error_id, response.error_comment), (0x0110, 0xA710, "late"))
        self.answer = ServiceError("x", Status.NO_SUCH_ACTION_TYPE)
        self.assertEqual(self.invoke(CommandField.N_ACTION, action_type_id=9).action_type_id, 9)

    def test_words_of_composite_services(self) -> None:
        """N-services have general statuses for what C-services have their own."""
        self.answer = Busy("full")
        self.assertEqual(self.invoke(CommandField.N_CREATE, NAME).status, Status.RESOURCE_LIMITATION)
        self.peer.request(1, Command(CommandField.N_CREATE, message_id=2), b"\x10\x00\x10\x00\xff\xff\x00\x00")
        self.assertEqual(self.peer.responses[-1].status, Status.PROCESSING_FAILURE)
