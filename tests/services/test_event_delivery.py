"""Delivery of event reports: order, bounds, slow and dead subscribers, configured application entities, restarts."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.identifiers import Peer
from dicomd.model.status import MalformedDataset, ServiceError, Status
from dicomd.model.workitem_attributes import GLOBAL_SUBSCRIPTION, UPS_PUSH
from dicomd.services import event_delivery
from dicomd.services.remote_subscriber import RemoteSubscriber
from dicomd.workers import spawn
from tests.workers import new_index
from tests.workitems import UID, Core, Inbox, new_item

NOW = 1_780_000_000


@define(eq=False)
class Reporter:
    """Takes N-EVENT-REPORTs; fails as often as `failures` says; `hold`: answers only when told; `unfit`: cannot be encoded."""

    failures: int = 0
    hold: bool = False
    unfit: str = ""
    taken: list[tuple[str, str, int]] = field(factory=list)
    held: "list[Deferred[Status]]" = field(factory=list)
    associations: int = 0

    @asynccontextmanager
    async def reporting(self, peer: Peer, sop_class: str) -> AsyncIterator[Callable[..., "Deferred[Status]"]]:
        assert sop_class == UPS_PUSH
        self.associations += 1
        yield partial(self.report, peer)

    def report(self, peer: Peer, uid: str, event_type: int, information: Any) -> "Deferred[Status]":
        answer: Deferred[Status] = Deferred()
        if self.failures:
            self.failures -= 1
            answer.errback(ServiceError("cannot be reached"))
            return answer
        if uid == self.unfit:
            answer.errback(MalformedDataset("has a value that is no CS"))
            return answer
        self.taken.append((peer.ae_title, uid, event_type))
        self.held.append(answer)
        if not self.hold:
            answer.callback(Status.SUCCESS)
        return answer


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.index = new_index(self.mktemp())
        self.addCleanup(self.index.close)
        self.reporter = Reporter()
        self.core = Core(self.index, self.clock, bound=5, open_remote=self.remote)
        self.core.start()

    def remote(self, ae_title: str) -> RemoteSubscriber | None:
        """Titles that begin with PEER are configured."""
        if not ae_title.startswith("PEER"):
            return None
        return RemoteSubscriber(Peer(ae_title, "127.0.0.1", 104), self.reporter, self.clock, spawn)

    def do(self, work: Any) -> Any:
        result = self.successResultOf(Deferred.fromCoroutine(work))
        self.clock.advance(0)
        return result

    def subscribe(self, ae_title: str, uid: str = GLOBAL_SUBSCRIPTION) -> None:
        self.do(self.core.service.subscribe(uid, ae_title, False))

    def create(self, *numbers: int) -> None:
        for number in numbers:
            self.do(self.core.service.create(f"{UID}.{number}", new_item(t00404025={"vr": "SQ"})))

    def numbers(self, inbox: Inbox) -> list[int]:
        """Which items were told of."""
        return [int(uid.rpartition(".")[2]) for kind, uid, _ in inbox.take() if kind == 1]

    def kept(self) -> int:
        """Reports in the index."""
        self.clock.advance(event_delivery.SETTLE_SECONDS)
        with self.index.reader() as connection:
            return int(connection.exec_driver_sql("SELECT count(*) FROM event_reports").scalar_one())


class ChannelTests(Case):
    def test_order_and_once(self) -> None:
        """While it was away, then live; nothing twice; delivered reports are forgotten."""
        self.subscribe("A")
        self.create(1, 2)
        self.assertEqual(self.kept(), 2)
        inbox = self.core.open("A")
        self.assertEqual(self.numbers(inbox), [1, 2])
        self.create(3)
        self.assertEqual(self.numbers(inbox), [3])
        self.assertEqual(self.kept(), 0)

    def test_bound(self) -> None:
        """The oldest are dropped of what waits for one that is away; others are not concerned."""
        self.subscribe("AWAY")
        self.subscribe("HERE")
        here = self.core.open("HERE")
        self.create(*range(8))
        self.assertEqual(self.numbers(here), list(range(8)))
        self.assertEqual(self.kept(), 5)
        self.assertEqual(self.numbers(self.core.open("AWAY")), [3, 4, 5, 6, 7])
        self.assertEqual(self.kept(), 0)

    def test_not_ready(self) -> None:
        """Nothing is sent to a channel that cannot take it; when it can, everything in order."""
        self.subscribe("SLOW")
        self.subscribe("FAST")
        slow, fast = self.core.open("SLOW", open=False), self.core.open("FAST")
        self.create(1, 2)
        self.assertEqual((self.numbers(slow), self.numbers(fast)), ([], [1, 2]))
        slow.open = True
        slow.link.resume()
        self.assertEqual(self.numbers(slow), [1, 2])

    def test_not_acknowledged(self) -> None:
        """What a closed channel did not acknowledge goes to the next one; what it did, does not."""
        self.subscribe("A")
        inbox = self.core.open("A", acknowledge=False)
        self.create(1, 2, 3)
        inbox.link.delivered(inbox.reports[0].id)
        inbox.link.closed()
        self.assertEqual(self.numbers(self.core.open("A")), [2, 3])

    def test_acknowledges_no_more_than_was_sent(self) -> None:
        """A number from nowhere acknowledges nothing that is still to come."""
        self.subscribe("A")
        inbox = self.core.open("A", acknowledge=False)
        self.create(1)
        inbox.link.delivered(10**12)
        inbox.link.closed()
        self.create(2)
        self.assertEqual(self.numbers(self.core.open("A")), [2])

    def test_what_is_not_at_hand_is_read(self) -> None:
        """Reports older than those in memory come from the index."""
        self.subscribe("A")
        self.create(1, 2, 3)
        self.core.delivery._recent.clear()
        self.assertEqual(self.numbers(self.core.open("A")), [1, 2, 3])

    def test_portions(self) -> None:
        """A channel is asked between portions whether it can go on."""
        self.core.bound = 2 * event_delivery.PORTION
        self.core.restart()
        self.subscribe("A")
        self.create(*range(event_delivery.PORTION + 3))
        inbox = self.core.open("A", most=1)
        self.assertEqual(len(inbox.reports), event_delivery.PORTION)
        inbox.most = 2
        inbox.link.resume()
        self.assertEqual(self.numbers(inbox), list(range(event_delivery.PORTION + 3)))

    def test_busy_index(self) -> None:
        """When the writer or the readers are busy, it is tried again."""
        self.subscribe("A")
        self.create(1)
        self.core.workers.busy.add("write")
        inbox = self.core.open("A")
        self.clock.advance(1)
        self.assertEqual(self.numbers(inbox), [1])
        self.core.workers.busy.clear()
        self.clock.advance(1)
        self.assertEqual(self.kept(), 0)
        self.subscribe("B")
        self.create(2)
        self.core.delivery._recent.clear()
        self.core.workers.busy.add("read")
        inbox = self.core.open("B")
        self.core.workers.busy.clear()
        self.clock.advance(1)
        self.assertEqual(self.numbers(inbox), [2])

    def test_forgotten_when_never_subscribed(self) -> None:
        """A channel of an AE title without subscriptions leaves nothing behind."""
        self.core.open("STRANGER").link.closed()
        self.assertFalse(self.core.delivery.knows("STRANGER"))


class RestartTests(Case):
    def test_goes_on(self) -> None:
        """Delivered is delivered, the rest waits, in order and for those only whom it concerns."""
        for ae_title in ("A", "B"):
            self.subscribe(ae_title)
        inbox = self.core.open("A", acknowledge=False)
        self.create(1, 2, 3)
        inbox.link.delivered(inbox.reports[1].id)
        self.core.restart()
        a, b = self.core.open("A"), self.core.open("B")
        self.assertEqual((self.numbers(a), self.numbers(b)), ([3], [1, 2, 3]))
        self.assertEqual(self.kept(), 0)

    def test_subscriptions_survive(self) -> None:
        """Of one, of all; and so does every item."""
        self.create(1)
        self.subscribe("ONE", f"{UID}.1")
        self.subscribe("ALL")
        self.core.restart()
        one, everything = self.core.open("ONE"), self.core.open("ALL")
        self.numbers(one)
        self.create(2)
        self.do(self.core.service.change_state(f"{UID}.1", "2.25.1", "IN PROGRESS"))
        self.assertEqual((self.numbers(one), self.numbers(everything)), ([1], [2, 1]))

    def test_told_to_those_who_are_configured(self) -> None:
        """The restart is told to fallback AEs that are not subscribed to anything; nobody else hears of items."""
        self.core.settings = type(self.core.settings)(status_change_ae_titles=("PEER",))
        self.core.restart()
        self.create(1)
        self.assertEqual(self.reporter.taken, [("PEER", GLOBAL_SUBSCRIPTION, 4)])


class StopTests(Case):
    def stop(self) -> None:
        self.do(self.core.service.announce_stop())

    def test_told_to_those_who_can_be_reached(self) -> None:
        """Open channels and configured AEs are told before the stop, also of what was just being gathered; others never."""
        for ae_title in ("HERE", "AWAY", "PEER"):
            self.subscribe(ae_title)
        here = self.core.open("HERE")
        self.create(1)
        self.numbers(here)
        self.stop()
        (going_down,) = here.reports
        self.assertEqual(going_down.event.information["00741242"]["Value"], ["GOING DOWN"])
        self.assertEqual(self.reporter.taken[-1], ("PEER", GLOBAL_SUBSCRIPTION, 4))
        self.assertFalse(self.core.delivery.is_calling)
        self.core.restart()
        self.assertEqual([kind for kind, _, _ in self.core.open("AWAY").take()], [1, 4])

    def test_fallback(self) -> None:
        """The configured AEs that are subscribed to nothing; nobody at all is no error."""
        self.stop()
        self.assertEqual(self.reporter.taken, [])
        self.core.settings = type(self.core.settings)(status_change_ae_titles=("PEER",))
        self.core.restart()
        self.stop()
        self.assertEqual(self.reporter.taken, [("PEER", GLOBAL_SUBSCRIPTION, 4)] * 2)

    def test_calling(self) -> None:
        """A stop can wait for an AE that has not answered yet, not for one that cannot be reached."""
        self.reporter.hold = True
        self.subscribe("PEER")
        self.stop()
        self.assertTrue(self.core.delivery.is_calling)
        self.reporter.held[-1].errback(ServiceError("ended"))
        self.assertFalse(self.core.delivery.is_calling)


class RemoteTests(Case):
    def test_in_order(self) -> None:
        """One report at a time, the next when it was answered."""
        self.reporter.hold = True
        self.subscribe("PEER")
        self.create(1, 2)
        self.assertEqual(len(self.reporter.taken), 1)
        for answer in self.reporter.held:
            answer.callback(Status.PROCESSING_FAILURE)
        self.assertEqual(self.reporter.taken, [("PEER", f"{UID}.1", 1), ("PEER", f"{UID}.2", 1)])
        self.assertEqual(self.kept(), 0)

    def test_one_association(self) -> None:
        """Those that wait together go over one association."""
        self.reporter.failures = 1
        self.subscribe("PEER")
        self.create(1, 2, 3)
        self.clock.advance(5)
        self.assertEqual((len(self.reporter.taken), self.reporter.associations), (3, 2))

    def test_unfit(self) -> None:
        """What cannot be encoded is dropped and does not hold up what follows."""
        self.reporter.unfit = f"{UID}.1"
        self.subscribe("PEER")
        self.create(1, 2)
        self.assertEqual(self.reporter.taken, [("PEER", f"{UID}.2", 1)])
        self.assertEqual(self.kept(), 0)

    def test_channel_opened_meanwhile(self) -> None:
        """The rest of those on their way goes over the channel alone, what that leaves to the configured AE again."""
        self.reporter.hold = True
        self.subscribe("PEER")
        self.create(1)
        self.create(2, 3)
        self.reporter.held[-1].callback(Status.SUCCESS)
        self.assertEqual(len(self.reporter.taken), 2)
        inbox = self.core.open("PEER", acknowledge=False)
        self.reporter.held[-1].callback(Status.SUCCESS)
        self.assertEqual(len(self.reporter.taken), 2)
        self.assertEqual(self.numbers(inbox), [2, 3])
        inbox.link.closed()
        self.assertEqual(self.reporter.taken[2:], [("PEER", f"{UID}.3", 1)])

    def test_retried(self) -> None:
        """A peer that cannot be reached gets them later, and delays nobody."""
        self.reporter.failures = 3
        self.subscribe("PEER")
        self.subscribe("PEER2")
        inbox = self.core.open("PEER2")
        self.create(1)
        self.assertEqual((self.numbers(inbox), self.reporter.taken), ([1], []))
        for seconds in (5, 10, 19):
            self.clock.advance(seconds)
            self.assertEqual(self.reporter.taken, [])
        self.create(2)
        self.clock.advance(1)
        self.assertEqual(self.reporter.taken, [("PEER", f"{UID}.1", 1), ("PEER", f"{UID}.2", 1)])

    def test_channel_comes_first(self) -> None:
        """While a channel is open nothing goes to the configured AE; what it leaves does."""
        self.subscribe("PEER")
        inbox = self.core.open("PEER", acknowledge=False)
        self.create(1)
        self.assertEqual(self.reporter.taken, [])
        inbox.link.closed()
        self.assertEqual(self.reporter.taken, [("PEER", f"{UID}.1", 1)])
