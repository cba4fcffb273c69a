"""Performed procedure steps are kept with what they cause: refusals change nothing, forwards wait in the outbox."""

from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.attributes import Attributes, attribute, text
from dicomd.model.identifiers import Peer
from dicomd.model.status import Busy, MalformedDataset, NoSuchInstance, ServiceError, Status
from dicomd.services.hub import EventHub
from dicomd.services.outbox import ATTEMPTS_AT_FAILURE, Outbox
from dicomd.services.performed_steps import PerformedStepChanged, PerformedSteps
from dicomd.store import outbox as store
from dicomd.store.outbox import Letter
from tests.model.test_performed_steps import FINAL, creation
from tests.workers import ImmediateWorkers, new_index


class RecordingSender:
    """Takes messages; `failing` peers cannot be reached, `answers` are the statuses of the others."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, str, int]] = []
        self.failing: set[str] = set()
        self.refused: set[str] = set()
        self.unwritable: set[str] = set()
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
        if uid in self.unwritable:
            raise MalformedDataset("(0008,0060) has a value that is no CS")
        if peer.ae_title in self.failing or operation in self.refused:
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

    def test_values_that_cannot_be_written(self) -> None:
        """What came by one door must go out by the other: 0106 at the first."""
        for tag, vr, value in (("00081060", "PN", "ok"), ("00180015", "CS", "Ü"), ("00400010", "UI", "1.é")):
            step = {**creation(), tag: attribute(vr, value)}
            if value == "ok":
                self.run_(self.steps.create("1.2.3.1", step))
                continue
            error = self.refusal(self.steps.create("1.2.3", step))
            self.assertEqual((error.status, error.offending), (Status.INVALID_ATTRIBUTE_VALUE, (int(tag, 16),)))

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

    def test_what_a_peer_does_not_take_delays_nothing_else(self) -> None:
        """Events and steps to the same peer do not wait for each other."""
        steps = self.service(forward_to=("RIS",), notify=("RIS",))
        self.sender.refused.add("N-EVENT-REPORT")
        self.run_(steps.create("1.2.3", creation()))
        self.run_(steps.update("1.2.3", FINAL))
        self.assertEqual([sent[1] for sent in self.sender.sent], ["N-CREATE", "N-SET"])
        self.assertEqual(self.run_(self.outbox.waiting()), {"RIS": 2})
        self.sender.refused.clear()
        self.clock.advance(5)
        self.assertEqual([sent[3] for sent in self.sender.sent[2:]], [1, 2])
        self.assertEqual(self.run_(self.outbox.waiting()), {})

    def test_unwritable(self) -> None:
        """A message that cannot be written is dropped; those behind it are delivered."""
        self.sender.unwritable.add("1.2.3")
        steps = self.service(forward_to=("RIS",))
        self.run_(steps.create("1.2.3", creation()))
        self.run_(steps.create("1.2.4", creation()))
        self.assertEqual([sent[2] for sent in self.sender.sent], ["1.2.4"])

    def test_failure_may_pass(self) -> None:
        """0110 does not say why: it is tried again, but not for ever."""
        self.sender.status = Status.PROCESSING_FAILURE
        self.run_(self.service(forward_to=("RIS",)).create("1.2.3", creation()))
        self.clock.pump([3600] * 10)
        self.assertEqual(len(self.sender.sent), ATTEMPTS_AT_FAILURE + 1)

    def test_bounded(self) -> None:
        """Of too many for a peer that is away, the oldest are dropped."""
        letters = [Letter("RIS", "N-SET", "1.2", f"1.2.3.{number}", {}) for number in range(400)]
        self.successResultOf(self.workers.write(lambda connection: store.put(connection, letters, 0, 100, most=100)))
        self.assertLess(self.run_(self.outbox.waiting())["RIS"], 151)
        self.outbox.wake()
        uids = [int(sent[2].rpartition(".")[2]) for sent in self.sender.sent]
        self.assertEqual(uids, list(range(uids[0], 400)))
        self.assertGreaterEqual(len(uids), 100)

    def test_refused_for_good(self) -> None:
        self.sender.status = Status.INVALID_ATTRIBUTE_VALUE
        self.run_(self.service(forward_to=("RIS",)).create("1.2.3", creation()))
        self.clock.advance(4000)
        self.assertEqual(len(self.sender.sent), 1)

    def test_unknown_peer_waits(self) -> None:
        self.run_(self.service(forward_to=("UNKNOWN",)).create("1.2.3", creation()))
        self.assertEqual(self.sender.sent, [])
