"""Performed procedure steps are kept with what they cause: refusals change nothing, forwards wait in the outbox."""

from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.attributes import Attributes, attribute, text
from dicomd.model.identifiers import Peer
from dicomd.model.status import Busy, NoSuchInstance, ServiceError, Status
from dicomd.services.hub import EventHub
from dicomd.services.outbox import Outbox
from dicomd.services.performed_steps import PerformedStepChanged, PerformedSteps
from tests.model.test_performed_steps import FINAL, creation
from tests.workers import ImmediateWorkers, new_index


class RecordingSender:
    """Takes messages; `failing` peers cannot be reached, `answers` are the statuses of the others."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, str, int]] = []
        self.failing: set[str] = set()
        self.status = Status.SUCCESS

    async def n_create(self, peer: Peer, sop_class_uid: str, sop_instance_uid: str, attributes: Attributes) -> Status:
        return self._take(peer, "N-CREATE", sop_instance_uid, 0)

    async def n_set(self, peer: Peer, sop_class_uid: str, sop_instance_uid: str, attributes: Attributes) -> Status:
        return self._take(peer, "N-SET", sop_instance_uid, 0)

    async def event_report(
        self, peer: Peer, sop_class_uid: str, sop_instance_uid: str, event_type_id: int, information: Attributes
    ) -> Status:
        return self._take(peer, "N-EVENT-REPORT", sop_instance_uid, event_type_id)

    def _take(self, peer: Peer, operation: str, uid: str, event: int) -> Status:
        if peer.ae_title in self.failing:
            raise Busy("cannot be reached")
        self.sent.append((peer.ae_title, operation, uid, event))
        return self.status


class KnownPeers:
    def find(self, ae_title: str) -> Peer | None:
        return Peer(ae_title, "host", 104) if ae_title != "UNKNOWN" else None


class PerformedStepsTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        index = new_index(self.mktemp())
        self.addCleanup(index.close)
        self.clock, self.hub, self.sender = Clock(), EventHub(), RecordingSender()
        self.workers = ImmediateWorkers(index)
        self.outbox = Outbox(self.workers, KnownPeers(), self.sender, self.clock, ensureDeferred)  # type: ignore[arg-type]
        self.events: list[PerformedStepChanged] = []
        self.hub.subscribe(PerformedStepChanged, self.events.append)
        self.steps = self.service()

    def service(self, **options: Any) -> PerformedSteps:
        return PerformedSteps(self.workers, self.hub, self.clock, self.outbox.wake, **options)

    def run_(self, work: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def refusal(self, work: Any) -> ServiceError:
        error: ServiceError = self.failureResultOf(Deferred.fromCoroutine(work), ServiceError).value
        return error


class LifeTests(PerformedStepsTestCase):
    def test_create_update_retrieve(self) -> None:
        self.assertEqual(self.run_(self.steps.create("1.2.3", creation())), "1.2.3")
        self.run_(self.steps.update("1.2.3", FINAL))
        step = self.run_(self.steps.retrieve("1.2.3"))
        self.assertEqual((text(step, "00080018"), text(step, "00400252")), ("1.2.3", "COMPLETED"))
        self.assertEqual(
            list(self.run_(self.steps.retrieve("1.2.3", ["00400252", "00100020", "00999999"]))), ["00100020", "00400252"]
        )
        self.assertEqual([event.created for event in self.events], [True, False])

    def test_uid_is_made(self) -> None:
        uid = self.run_(self.steps.create("", creation()))
        self.assertEqual(text(self.run_(self.steps.retrieve(uid)), "00080018"), uid)

    def test_refusals_change_nothing(self) -> None:
        self.run_(self.steps.create("1.2.3", creation()))
        before = self.run_(self.steps.retrieve("1.2.3"))
        self.assertEqual(self.refusal(self.steps.create("1.2.3", creation())).status, Status.DUPLICATE_SOP_INSTANCE)
        self.assertEqual(self.refusal(self.steps.create("not a uid", creation())).status, Status.INVALID_SOP_INSTANCE)
        self.assertEqual(self.refusal(self.steps.update("1.2.3", {"00100020": attribute("LO", "X")})).status, 0x0106)
        self.assertIsInstance(self.refusal(self.steps.update("1.2.4", FINAL)), NoSuchInstance)
        self.assertIsInstance(self.refusal(self.steps.retrieve("1.2.4")), NoSuchInstance)
        self.assertEqual(self.run_(self.steps.retrieve("1.2.3")), before)
        self.assertEqual(len(self.events), 1)

    def test_final(self) -> None:
        self.run_(self.steps.create("1.2.3", creation()))
        self.run_(self.steps.update("1.2.3", FINAL))
        error = self.refusal(self.steps.update("1.2.3", {"00400280": attribute("ST", "late")}))
        self.assertEqual((error.status, error.detail), (Status.PROCESSING_FAILURE, {"error_id": 0xA710}))


class ForwardingTests(PerformedStepsTestCase):
    def test_in_order_to_each(self) -> None:
        steps = self.service(forward_to=("RIS", "BILLING"), notify=("WATCH",))
        self.run_(steps.create("1.2.3", creation()))
        self.run_(steps.update("1.2.3", {"00400280": attribute("ST", "fine")}))
        self.run_(steps.update("1.2.3", FINAL))
        for peer in ("RIS", "BILLING"):
            self.assertEqual([sent[1] for sent in self.sender.sent if sent[0] == peer], ["N-CREATE", "N-SET", "N-SET"])
        self.assertEqual([sent[3] for sent in self.sender.sent if sent[0] == "WATCH"], [1, 4, 2])

    def test_retried_in_order_and_delays_nobody(self) -> None:
        steps = self.service(forward_to=("RIS", "BILLING"))
        self.sender.failing.add("RIS")
        self.run_(steps.create("1.2.3", creation()))
        self.run_(steps.update("1.2.3", FINAL))
        self.assertEqual([sent[:2] for sent in self.sender.sent], [("BILLING", "N-CREATE"), ("BILLING", "N-SET")])
        self.sender.failing.clear()
        self.clock.advance(5)
        self.assertEqual([sent[:2] for sent in self.sender.sent[2:]], [("RIS", "N-CREATE"), ("RIS", "N-SET")])

    def test_survives_a_restart(self) -> None:
        """What waits is delivered by the next server's outbox."""
        self.sender.failing.add("RIS")
        self.run_(self.service(forward_to=("RIS",)).create("1.2.3", creation()))
        self.outbox.stop()
        self.sender.failing.clear()
        self.clock.advance(60)
        self.assertEqual(self.sender.sent, [])
        Outbox(self.workers, KnownPeers(), self.sender, self.clock, ensureDeferred).wake()  # type: ignore[arg-type]
        self.assertEqual(self.sender.sent, [("RIS", "N-CREATE", "1.2.3", 0)])

    def test_expires(self) -> None:
        self.sender.failing.add("RIS")
        self.run_(self.service(forward_to=("RIS",), keep_seconds=100).create("1.2.3", creation()))
        self.clock.pump([5, 10, 20, 40, 80])
        self.sender.failing.clear()
        self.clock.advance(4000)
        self.assertEqual(self.sender.sent, [])

    def test_refused_for_good(self) -> None:
        self.sender.status = Status.INVALID_ATTRIBUTE_VALUE
        self.run_(self.service(forward_to=("RIS",)).create("1.2.3", creation()))
        self.clock.advance(4000)
        self.assertEqual(len(self.sender.sent), 1)

    def test_unknown_peer_waits(self) -> None:
        self.run_(self.service(forward_to=("UNKNOWN",)).create("1.2.3", creation()))
        self.assertEqual(self.sender.sent, [])
