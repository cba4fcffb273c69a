"""The UPS SOP classes without sockets: every cell of the state table, every status, and lives lived across both doors."""

import json
from itertools import product
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dicomd.dimse.workitems import UpsProvider
from dicomd.model.attributes import Attributes, attribute, text
from dicomd.model.steps import COLUMNS, Key, Request, State, decide
from dicomd.model.workitem_attributes import (
    FILTERED_SUBSCRIPTION,
    GLOBAL_SUBSCRIPTION,
    UPS_EVENT,
    UPS_PULL,
    UPS_PUSH,
    UPS_QUERY,
    UPS_WATCH,
)
from dicomd.web.event_channel import EventChannels
from dicomd.web.workitems import UpsRs
from dicomd.wire import datasets
from dicomd.wire.messages import RESPONSE, Command, CommandField, CommandReceived, DataSetChunk
from tests.dimse.peer import IMPLICIT, Peer, listening, proposal
from tests.web.harness import Answer, ask, make_door
from tests.workers import new_index
from tests.workitems import KEY, UID, Core, code, discontinued, new_item, performed, sequence

PUSH, WATCH, PULL, QUERY, EVENT = range(1, 11, 2)
NOW = 1_780_000_000


class Case(SynchronousTestCase):
    configured = True

    def setUp(self) -> None:
        index = new_index(self.mktemp())
        self.addCleanup(index.close)
        self.clock = Clock()
        self.clock.advance(NOW)
        self.core = Core(index, self.clock)
        self.core.start()
        provider = UpsProvider(self.core.service, self.core.delivery, lambda ae_title: self.configured)
        listener, _ = listening(*provider.services())
        self.peer = Peer(listener).associate(proposal(UPS_PUSH, UPS_WATCH, UPS_PULL, UPS_QUERY, UPS_EVENT))
        self.last_id = 0

    def ask(self, context: int, field: CommandField, attributes: Attributes | None = None, **elements: Any) -> Command:
        """The last response; its data set is in `self.answer`."""
        self.last_id += 1
        self.peer.heard.clear()
        data = datasets.encode(attributes, IMPLICIT) if attributes is not None else None
        self.peer.request(context, Command(field, message_id=self.last_id, **elements), data)
        self.clock.advance(0)
        return [command for command in self.peer.responses if command.command_field & RESPONSE][-1]

    @property
    def answer(self) -> Attributes:
        return datasets.decode(self.peer.data, IMPLICIT)

    def create(self, uid: str = UID, **changes: Any) -> int | None:
        return self.ask(
            PUSH,
            CommandField.N_CREATE,
            new_item(**changes),
            affected_sop_class_uid=UPS_PUSH,
            affected_sop_instance_uid=uid,
        ).status

    def act(self, context: int, type_id: int, information: Attributes | None, uid: str = UID) -> int | None:
        return self.ask(
            context,
            CommandField.N_ACTION,
            information,
            requested_sop_class_uid=UPS_PUSH,
            requested_sop_instance_uid=uid,
            action_type_id=type_id,
        ).status

    def change(self, state: str, key: str = KEY, uid: str = UID) -> int | None:
        information = {"00741000": attribute("CS", state), "00081195": attribute("UI", *[key] if key else [])}
        return self.act(PULL, 1, information, uid)

    def set(self, changes: Attributes, key: str = KEY, uid: str = UID) -> int | None:
        given = {"00081195": attribute("UI", key)} if key else {}
        return self.ask(
            PULL,
            CommandField.N_SET,
            changes | given,
            requested_sop_class_uid=UPS_PUSH,
            requested_sop_instance_uid=uid,
        ).status

    def get(self, *tags: int, uid: str = UID, context: int = PULL) -> int | None:
        return self.ask(
            context,
            CommandField.N_GET,
            requested_sop_class_uid=UPS_PUSH,
            requested_sop_instance_uid=uid,
            attribute_identifier_list=tags,
        ).status

    def cancel(self, reason: Attributes | None = None, context: int = PUSH) -> int | None:
        return self.act(context, 2, reason)

    def subscribe(self, uid: str = UID, ae_title: str = "PEER", lock: str = "FALSE", **keys: Any) -> int | None:
        information = {"00741234": attribute("AE", ae_title), "00741230": attribute("LO", lock)}
        information |= {tag[1:]: element for tag, element in keys.items()}
        return self.act(WATCH, 3, information, uid)

    def bring(self, state: State | None) -> None:
        if state is not None:
            self.assertEqual(self.create(), 0)
        if state in (State.IN_PROGRESS, State.COMPLETED, State.CANCELED):
            self.assertEqual(self.change("IN PROGRESS"), 0)
        if state is not None and state.is_final:
            self.assertEqual(self.set(performed() if state is State.COMPLETED else discontinued()), 0)
            self.assertEqual(self.change(str(state)), 0)

    def item(self) -> Attributes:
        self.assertEqual(self.get(), 0)
        return self.answer


class StateTests(Case):
    def test_every_cell(self) -> None:
        """Each request in each state, with each kind of Transaction UID, is answered with the status of the table."""
        for number, (request, key, state) in enumerate(product(Request, Key, COLUMNS)):
            with self.subTest(request=request, key=key, state=state):
                if number:
                    self.core.index.close()
                    self.setUp()
                self.bring(state)
                if state is not None:
                    self.assertEqual(self.subscribe(), 0)
                if request in (Request.TO_COMPLETED, Request.TO_CANCELED) and state is State.IN_PROGRESS:
                    self.assertEqual(self.set(performed() | discontinued()), 0)
                before = self.item() if state else None
                verdict = decide(request, key, state)
                self.assertEqual(self._send(request, key, state), verdict.status)
                if verdict.status.is_failure and before:
                    self.assertEqual(self.item(), before)
                elif not verdict.status.is_failure:
                    self.assertEqual(text(self.item(), "00741000"), str(verdict.states[-1] if verdict.states else state))

    def _send(self, request: Request, key: Key, state: State | None) -> int | None:
        given = {Key.MISSING: "", Key.RIGHT: KEY, Key.WRONG: "1.2.x" if state is State.SCHEDULED else "1.2.999"}[key]
        if request is Request.CREATE:
            return self.create()
        if request is Request.UPDATE:
            return self.set({"00741204": attribute("LO", "changed")}, given)
        if request is Request.REQUEST_CANCEL:
            return self.cancel()
        return self.change(request.value.removeprefix("change state to "), given)


class StatusTests(Case):
    def test_create(self) -> None:
        """B300, C309, 0111, 0106, 0117, 0120 and 0121, with the elements that these have; a UID is made."""
        self.assertEqual(self.create(t00400400=None), 0xB300)
        self.assertEqual(self.create(), 0x0111)
        self.assertEqual(self.create(UID + ".1", t00741000=attribute("CS", "COMPLETED")), 0xC309)
        self.assertEqual(self.create(UID + ".1", t00741200=attribute("CS", "SOON")), 0x0106)
        self.assertEqual(self.create(UID + ".1", t00741200=None), 0x0120)
        self.assertEqual(self.peer.responses[-1].attribute_identifier_list, (0x00741200,))
        self.assertEqual(self.create(UID + ".1", t00741200={"vr": "CS"}), 0x0121)
        self.assertEqual(self.create(GLOBAL_SUBSCRIPTION), 0x0117)
        self.assertEqual(self.get(uid=UID + ".1"), 0xC307)
        response = self.ask(PUSH, CommandField.N_CREATE, new_item(), affected_sop_class_uid=UPS_PUSH)
        self.assertEqual(response.status, 0)
        self.assertEqual(self.get(uid=response.affected_sop_instance_uid or ""), 0)

    def test_set(self) -> None:
        """B305, 0105, 0106, 0121."""
        self.bring(State.IN_PROGRESS)
        self.assertEqual(self.set({"00741216": sequence({})}), 0xB305)
        self.assertEqual(self.set({"00741000": attribute("CS", "COMPLETED")}), 0x0105)
        self.assertEqual(self.peer.responses[-1].attribute_identifier_list, (0x00741000,))
        self.assertEqual(self.set({"00404041": attribute("CS", "NO")}), 0x0106)
        self.assertEqual(self.set({"00404041": {"vr": "CS"}}), 0x0121)

    def test_get(self) -> None:
        """All, some, and 0001 for what is not kept; never the Transaction UID."""
        self.bring(State.IN_PROGRESS)
        for context in (PUSH, WATCH, PULL):
            self.assertEqual(self.get(context=context), 0)
            self.assertEqual(text(self.answer, "00741000"), "IN PROGRESS")
            self.assertNotIn("00081195", self.answer)
        self.assertEqual(self.get(0x00741000, 0x00741216), 0)
        self.assertEqual(list(self.answer), ["00741000", "00741216"])
        self.assertEqual(self.get(0x00741000, 0x00081195), 0x0001)
        self.assertEqual(list(self.answer), ["00741000"])
        self.assertEqual(self.peer.responses[-1].attribute_identifier_list, (0x00081195,))

    def test_final_state(self) -> None:
        """C304 until everything that is required is there."""
        self.bring(State.IN_PROGRESS)
        self.assertEqual(self.change("COMPLETED"), 0xC304)
        self.assertEqual(self.change("CANCELED"), 0xC304)
        self.assertEqual(self.set(performed()), 0)
        self.assertEqual(self.change("COMPLETED"), 0)
        self.assertEqual(self.change("COMPLETED"), 0xB306)

    def test_cancel(self) -> None:
        """C312 when nobody would hear of it; both classes that have the action."""
        self.bring(State.IN_PROGRESS)
        self.assertEqual(self.cancel(), 0xC312)
        self.assertEqual(self.subscribe(), 0)
        inbox = self.core.open("PEER")
        inbox.take()
        self.assertEqual(self.cancel({"00741238": attribute("LT", "Why")}, WATCH), 0)
        information = inbox.reports[-1].event.information
        self.assertEqual((text(information, "00741236"), text(information, "00741238")), ("PEER", "Why"))

    def test_actions(self) -> None:
        """0123 for an action of another class or of none; 0115 for bad arguments; C301 without Transaction UID."""
        self.create()
        for context, type_id in ((PUSH, 1), (PUSH, 3), (PULL, 2), (PULL, 5), (WATCH, 1), (WATCH, 9)):
            self.assertEqual(self.act(context, type_id, {"00741234": attribute("AE", "PEER")}), 0x0123)
        self.assertEqual(self.act(PULL, 1, {"00081195": attribute("UI", KEY)}), 0x0115)
        self.assertEqual(self.change("DONE"), 0x0115)
        self.assertEqual(self.act(PULL, 1, {"00741000": attribute("CS", "IN PROGRESS")}), 0xC301)
        self.assertEqual(self.act(WATCH, 3, {"00741234": attribute("AE", "PEER")}), 0x0115)
        self.assertEqual(self.act(WATCH, 3, {"00741230": attribute("LO", "TRUE")}), 0x0115)
        self.assertEqual(self.subscribe(lock="MAYBE"), 0x0115)
        self.assertEqual(self.act(WATCH, 3, None), 0x0115)

    def test_subscriptions(self) -> None:
        """C307, C308, C314; subscribe, suspend, unsubscribe, of one, all and filtered."""
        self.assertEqual(self.subscribe(), 0xC307)
        self.create()
        self.assertEqual(self.subscribe(ae_title="STRANGER"), 0xC308)
        receiver = {"00741234": attribute("AE", "PEER")}
        self.assertEqual(self.act(WATCH, 4, receiver), 0xC307)
        self.assertEqual(self.subscribe(lock="TRUE"), 0)
        self.assertEqual(self.act(WATCH, 5, receiver), 0xC314)
        self.assertEqual(self.act(WATCH, 4, receiver), 0)
        for uid, keys in ((GLOBAL_SUBSCRIPTION, {}), (FILTERED_SUBSCRIPTION, {"t00741200": attribute("CS", "HIGH")})):
            self.assertEqual(self.act(WATCH, 5, receiver, uid), 0xC307)
            self.assertEqual(self.subscribe(uid, **keys), 0)
            self.assertEqual(self.act(WATCH, 5, receiver, uid), 0)
            self.assertEqual(self.subscribe(uid, **keys), 0)
            self.assertEqual(self.act(WATCH, 4, receiver, uid), 0)
        self.assertEqual(self.subscribe(FILTERED_SUBSCRIPTION), 0x0115)

    def test_operations_of_other_classes(self) -> None:
        """What a class does not have is 0211."""
        self.create()
        for context, field in ((WATCH, CommandField.N_SET), (PULL, CommandField.N_CREATE), (QUERY, CommandField.N_GET)):
            response = self.ask(
                context, field, {}, requested_sop_class_uid=UPS_PUSH, affected_sop_class_uid=UPS_PUSH, action_type_id=1
            )
            self.assertEqual(response.status, 0x0211)


class FindTests(Case):
    def setUp(self) -> None:
        super().setUp()
        for number in range(5):
            stations = sequence(code(f"ST{number % 2}", "99T", "x"))
            self.create(f"{UID}.{number}", t00404025=stations, t00100010=attribute("PN", "Müller^Eva"))

    def find(self, identifier: Attributes, context: int = QUERY) -> list[int]:
        uid = {WATCH: UPS_WATCH, PULL: UPS_PULL, QUERY: UPS_QUERY}[context]
        self.ask(context, CommandField.C_FIND, identifier, affected_sop_class_uid=uid, priority=0)
        return [response.status or 0 for response in self.peer.responses]

    def test_keys(self) -> None:
        """Sequence matching; requested keys come, empty where there is nothing, and the UIDs always."""
        identifier = {
            "00404025": sequence({"00080100": attribute("SH", "ST1")}),
            "00741000": attribute("CS", "SCHEDULED"),
            "00100010": {"vr": "PN"},
            "00404011": {"vr": "DT"},
        }
        for context in (WATCH, PULL, QUERY):
            self.assertEqual(self.find(identifier, context), [0xFF00, 0xFF00, 0])
        chunks = [output.data for output in self.peer.heard if isinstance(output, DataSetChunk)]
        match = datasets.decode(chunks[0], IMPLICIT)
        self.assertEqual(text(match, "00100010"), "Müller^Eva")
        self.assertEqual(match["00404011"], {"vr": "DT"})
        self.assertEqual(text(match, "00080016"), UPS_PUSH)
        self.assertNotIn("00741204", match)

    def test_everything_and_nothing(self) -> None:
        """Universal matching; no match; the Transaction UID is not a key."""
        self.assertEqual(self.find({"00741000": {"vr": "CS"}}), [0xFF00] * 5 + [0])
        self.assertEqual(self.find({"00741000": attribute("CS", "COMPLETED")}), [0])
        self.assertEqual(self.find({"00081195": attribute("UI", "1.2")}), [0xFF01] * 5 + [0])
        self.assertNotIn(b"\x08\x00\x95\x11", self.peer.data)

    def test_bad_identifier(self) -> None:
        """A900 for a malformed key, C000 for what cannot be read."""
        self.assertEqual(self.find({"00404005": attribute("DT", "soon")}), [0xA900])
        self.peer.heard.clear()
        command = Command(CommandField.C_FIND, message_id=99, affected_sop_class_uid=UPS_QUERY, priority=0)
        self.peer.request(QUERY, command, b"\x10\x00\x10\x00\xff\xff\x00\x00ab")
        self.assertEqual(self.peer.responses[-1].status, 0xC000)


class EventTests(Case):
    configured = False

    def reports(self) -> list[tuple[int, str, str]]:
        """Type, item and state of the N-EVENT-REPORTs that have come, each answered when it comes."""
        found, command = [], None
        for output in list(self.peer.hear()):
            if isinstance(output, CommandReceived) and output.command.command_field == CommandField.N_EVENT_REPORT:
                command = output.command
                self.assertEqual(output.context_id, EVENT)
            elif isinstance(output, DataSetChunk) and command is not None:
                information = datasets.decode(output.data, IMPLICIT)
                found.append((command.event_type_id, command.affected_sop_instance_uid, text(information, "00741000")))
        if command is None:
            return []
        self.peer.heard.clear()
        answer = Command(
            CommandField.N_EVENT_REPORT | RESPONSE,
            message_id_being_responded_to=command.message_id,
            affected_sop_class_uid=UPS_PUSH,
            affected_sop_instance_uid=command.affected_sop_instance_uid,
            event_type_id=command.event_type_id,
            status=0,
        )
        self.peer.request(EVENT, answer)
        self.clock.advance(0)
        return found + self.reports()

    def test_on_the_subscribers_association(self) -> None:
        """With UPS Event negotiated there, and no configured AE: in order, one at a time, after the response."""
        self.create()
        self.assertEqual(self.subscribe(), 0)
        self.clock.advance(0)
        self.assertEqual(self.reports(), [(1, UID, "SCHEDULED")])
        self.change("IN PROGRESS")
        self.assertEqual(self.reports(), [(1, UID, "IN PROGRESS")])
        self.set({"00404041": attribute("CS", "INCOMPLETE")})
        self.assertEqual(self.reports(), [(1, UID, "IN PROGRESS")])
        self.peer.lose()
        inbox = self.core.open("PEER")
        Deferred.fromCoroutine(self.core.service.update(UID, KEY, {"00404041": attribute("CS", "READY")}))
        self.clock.advance(0)
        self.assertEqual(inbox.take(), [(1, UID, "IN PROGRESS")])

    def test_known_only_if_reachable(self) -> None:
        """An AE other than the caller's has to be configured."""
        self.create()
        self.assertEqual(self.subscribe(ae_title="STRANGER"), 0xC308)


class CrosswiseTests(Case):
    def setUp(self) -> None:
        super().setUp()
        rows = UpsRs(self.core.service, EventChannels(self.core.delivery, self.clock), 100, "DICOMD").routes()
        self.door = make_door(rows, self.clock)

    def http(self, method: str, path: str, content: Attributes | None = None) -> Answer:
        body = json.dumps([content]).encode() if content is not None else None
        headers = [("Content-Type", "application/dicom+json")] if body else []
        return ask(self.door, method, "/dicom-web/workitems" + path, body, headers)

    def test_created_there_claimed_here_completed_there(self) -> None:
        """One item, two doors, one truth."""
        self.assertEqual(self.http("POST", f"?workitem={UID}", new_item()).status, 201)
        self.assertEqual(self.create(), 0x0111)
        self.assertEqual(self.change("IN PROGRESS"), 0)
        claim = {"00741000": attribute("CS", "IN PROGRESS"), "00081195": attribute("UI", "1.2.9")}
        self.assertEqual(self.http("PUT", f"/{UID}/state", claim).status, 400)
        self.assertEqual(self.http("POST", f"/{UID}?transaction-uid={KEY}", performed()).status, 200)
        self.assertEqual(self.set({"00741204": attribute("LO", "Here")}), 0)
        item = self.http("GET", f"/{UID}").json[0]
        self.assertEqual((text(item, "00741204"), text(item, "00741000")), ("Here", "IN PROGRESS"))
        self.assertEqual(item, self.item() | {"00080005": item["00080005"]})
        done = {"00741000": attribute("CS", "COMPLETED"), "00081195": attribute("UI", KEY)}
        self.assertEqual(self.http("PUT", f"/{UID}/state", done).status, 200)
        self.assertEqual(self.change("COMPLETED"), 0xB306)
        self.assertEqual(self.cancel(), 0xC311)

    def test_created_here_canceled_there(self) -> None:
        """A cancel request by HTTP cancels what DIMSE scheduled; both doors say so afterwards."""
        self.assertEqual(self.create(), 0)
        self.assertEqual(self.http("POST", f"/{UID}/cancelrequest").status, 202)
        self.assertEqual(text(self.item(), "00741000"), "CANCELED")
        self.assertEqual(self.cancel(), 0xB304)
        self.assertEqual(self.set({"00741204": attribute("LO", "late")}, ""), 0xC300)

    def test_subscribed_here_told_there(self) -> None:
        """A DIMSE subscription is delivered by the event channel that its AE has open."""
        self.create()
        inbox = self.core.open("BROWSER")
        self.assertEqual(self.subscribe(ae_title="BROWSER"), 0)
        self.assertEqual(self.http("POST", f"/{UID}/cancelrequest").status, 202)
        self.clock.advance(0)
        self.assertEqual(inbox.take(), [(1, UID, "SCHEDULED"), (1, UID, "IN PROGRESS"), (1, UID, "CANCELED")])
