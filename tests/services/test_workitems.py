"""The UPS service: every cell of the state table, requirements, subscriptions, locks and expiry, without a door."""

from itertools import product
from typing import Any

import orjson
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.attributes import attribute, text
from dicomd.model.query import from_parameters
from dicomd.model.status import Gone, InvalidRequest, ServiceError, Status
from dicomd.model.steps import COLUMNS, Key, Request, State, decide
from dicomd.model.workitem_attributes import FILTERED_SUBSCRIPTION, GLOBAL_SUBSCRIPTION
from dicomd.model.workitem_events import EventType
from dicomd.model.workitem_filters import from_parameters as new_filter
from tests.workers import new_index
from tests.workitems import KEY, UID, Core, code, discontinued, new_item, performed, sequence

NOW = 1_780_000_000  # 2026-05-28
REPORT, ASSIGNED = EventType.STATE_REPORT, EventType.ASSIGNED
CREATED = [(REPORT, UID, "SCHEDULED"), (ASSIGNED, UID, "")]
OTHER = UID + ".2"


class Case(SynchronousTestCase):
    settings: dict[str, Any] = {}

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        index = new_index(self.mktemp())
        self.addCleanup(index.close)
        self.core = Core(index, self.clock)
        self.core.start()
        self.service = self.core.service

    def do(self, work: Any) -> Any:
        result = self.successResultOf(Deferred.fromCoroutine(work))
        self.clock.advance(0)
        return result

    def refused(self, status: Status, work: Any) -> ServiceError:
        error = self.failureResultOf(Deferred.fromCoroutine(work), ServiceError).value
        self.assertEqual(error.status, status)
        self.assertLessEqual(len(error.comment), 64)
        return error

    def create(self, uid: str = UID, **changes: Any) -> None:
        self.do(self.service.create(uid, new_item(**changes)))

    def claim(self, uid: str = UID, key: str = KEY) -> None:
        self.do(self.service.change_state(uid, key, "IN PROGRESS"))

    def finish(self, state: str = "COMPLETED", uid: str = UID) -> None:
        """From SCHEDULED to a final state."""
        self.claim(uid)
        self.do(self.service.update(uid, KEY, performed() if state == "COMPLETED" else discontinued()))
        self.do(self.service.change_state(uid, KEY, state))

    def bring(self, state: State | None) -> None:
        """An item in this state, as others would bring it there."""
        if state is not None:
            self.create()
        if state is State.IN_PROGRESS:
            self.claim()
        elif state is not None and state.is_final:
            self.finish(str(state))

    def item(self, uid: str = UID) -> Any:
        return orjson.loads(self.do(self.service.retrieve(uid)))

    def state(self, uid: str = UID) -> str:
        return text(self.item(uid), "00741000")

    def subscribe(self, ae_title: str, uid: str = UID, lock: bool = False, filter_text: str = "") -> None:
        self.do(self.service.subscribe(uid, ae_title, lock, filter_text))


class StateTests(Case):
    def test_every_cell(self) -> None:
        """Each request in each state, with each kind of Transaction UID, has the outcome of the table and nothing else."""
        for request, key, state in product(Request, Key, COLUMNS):
            with self.subTest(request=request, key=key, state=state):
                self.tearDown()
                self.setUp()
                self.bring(state)
                self.subscribe("WATCHER", GLOBAL_SUBSCRIPTION)
                if request in (Request.TO_COMPLETED, Request.TO_CANCELED) and state is State.IN_PROGRESS:
                    self.do(self.service.update(UID, KEY, performed() | discontinued()))
                before = self.item() if state else None
                inbox = self.core.open("WATCHER")
                inbox.take()
                self._check(request, key, state, before)
                self.core.index.close()

    def _check(self, request: Request, key: Key, state: State | None, before: Any) -> None:
        verdict = decide(request, key, state)
        given = {Key.MISSING: "", Key.RIGHT: KEY, Key.WRONG: "not a UID" if state is State.SCHEDULED else "1.2.999"}[key]
        work = self._work(request, given)
        if verdict.status.is_failure:
            error = self.refused(verdict.status, work)
            if verdict.status is Status.UPS_TRANSACTION_UID_MISSING_OR_WRONG:
                self.assertEqual(error.detail["key"] is Key.MISSING, key is Key.MISSING)
            if before:
                self.assertEqual(self.item(), before)
            return
        status = self.do(work)
        if request in (Request.CREATE, Request.UPDATE):
            self.assertEqual(verdict.status, Status.SUCCESS)
        else:
            self.assertEqual(status, verdict.status)
        self.assertEqual(self.state(), str(verdict.states[-1] if verdict.states else state))

    def _work(self, request: Request, given: str) -> Any:
        service = self.core.service
        if request is Request.CREATE:
            return service.create(UID, new_item())
        if request is Request.UPDATE:
            return service.update(UID, given, {"00741204": attribute("LO", "changed")})
        if request is Request.REQUEST_CANCEL:
            return service.request_cancel(UID, "ASKER", {})
        return service.change_state(UID, given, request.value.removeprefix("change state to "))

    def test_unknown_state(self) -> None:
        """A state that there is not; an unknown item comes first."""
        self.refused(Status.UPS_UNKNOWN, self.service.change_state(UID, KEY, "DONE"))
        self.create()
        self.refused(Status.INVALID_ARGUMENT_VALUE, self.service.change_state(UID, KEY, "DONE"))

    def test_transaction_uid_is_never_disclosed(self) -> None:
        """Neither retrieved nor found nor in an event."""
        self.subscribe("WATCHER", GLOBAL_SUBSCRIPTION)
        inbox = self.core.open("WATCHER")
        self.bring(State.COMPLETED)
        everything = self.do(self.service.search(from_parameters([("includefield", "all"), ("00081195", "")]), 10)).matches
        self.assertEqual(len(everything), 1)
        everything = [orjson.loads(item) for item in everything]
        for content in (self.item(), everything, [report.event.information for report in inbox.reports]):
            self.assertNotIn(b"00081195", orjson.dumps(content))
            self.assertNotIn(KEY.encode(), orjson.dumps(content))

    def test_final_state_requirements(self) -> None:
        """C304 names what is missing; nothing changes; the same request goes through when it is there."""
        for state, needed, tag in (("COMPLETED", performed(), 0x00741216), ("CANCELED", discontinued(), 0x00741002)):
            uid = f"{UID}.{tag}"
            self.create(uid)
            self.claim(uid)
            error = self.refused(Status.UPS_FINAL_STATE_NOT_MET, self.service.change_state(uid, KEY, state))
            self.assertEqual(error.offending, (tag,))
            self.assertEqual(self.state(uid), "IN PROGRESS")
            self.do(self.service.update(uid, KEY, needed))
            self.do(self.service.change_state(uid, KEY, state))
            self.assertEqual(self.state(uid), state)

    def test_server_dates_a_cancellation(self) -> None:
        """Procedure Step Cancellation DateTime is filled in where the performer did not."""
        self.bring(State.CANCELED)
        self.assertEqual(text(self.item()["00741002"]["Value"][0], "00404052"), "20260528202640.000000+0000")

    def test_modification_date_time(self) -> None:
        """Kept by the server at every change, whatever was sent."""
        self.create(t00404010=attribute("DT", "1999"))
        self.assertEqual(text(self.item(), "00404010"), "20260528202640.000000+0000")
        for number, change in enumerate(
            (
                lambda: self.do(self.service.update(UID, "", {"00404010": attribute("DT", "1999")})),
                self.claim,
                lambda: self.do(self.service.update(UID, KEY, discontinued())),
            )
        ):
            self.clock.advance(1)
            change()
            self.assertEqual(text(self.item(), "00404010")[:14], f"2026052820264{number + 1}")


class CreateTests(Case):
    def test_uid(self) -> None:
        """Given, named in the attributes, or made; not two different ones, not a well-known one."""
        named = new_item(t00080018=attribute("UI", OTHER))
        self.assertEqual(self.do(self.service.create("", named)), (OTHER, Status.SUCCESS))
        uid, _ = self.do(self.service.create("", new_item()))
        self.assertEqual(text(self.item(uid), "00080018"), uid)
        self.refused(Status.INVALID_ATTRIBUTE_VALUE, self.service.create(UID, named))
        for uid in (GLOBAL_SUBSCRIPTION, FILTERED_SUBSCRIPTION, "1..2"):
            self.refused(Status.INVALID_SOP_INSTANCE, self.service.create(uid, new_item()))

    def test_refused_leaves_nothing(self) -> None:
        """Attributes that are missing, and a duplicate."""
        self.refused(Status.MISSING_ATTRIBUTE, self.service.create(UID, new_item(t00741200=None)))
        self.refused(Status.UPS_UNKNOWN, self.service.retrieve(UID))
        self.create()
        before = self.item()
        self.refused(Status.DUPLICATE_SOP_INSTANCE, self.service.create(UID, new_item(t00741204=attribute("LO", "again"))))
        self.assertEqual(self.item(), before)

    def test_modified(self) -> None:
        """What was filled in is told."""
        _, status = self.do(self.service.create(UID, new_item(t00400400=None)))
        self.assertEqual(status, Status.UPS_CREATED_WITH_MODIFICATIONS)
        self.assertEqual(self.item()["00400400"], {"vr": "LT"})


class UpdateTests(Case):
    def test_sequences_are_replaced(self) -> None:
        """As a whole, and only what is in the list; twice the same is the same."""
        self.create()
        change = {"00404018": sequence(code("OTHER"), code("THIRD"))}
        for _ in range(2):
            self.do(self.service.update(UID, "", change))
            self.assertEqual(self.item()["00404018"], change["00404018"])
            self.assertEqual(text(self.item(), "00741204"), "Segment the liver")

    def test_atomic(self) -> None:
        """One attribute that may not be set keeps all from being set."""
        self.create()
        before = self.item()
        change = {"00741204": attribute("LO", "New"), "00100010": attribute("PN", "Other^Name")}
        self.refused(Status.NO_SUCH_ATTRIBUTE, self.service.update(UID, "", change))
        self.assertEqual(self.item(), before)

    def test_unknown_comes_first(self) -> None:
        """An unknown item is C307 even when the attributes are wrong as well."""
        self.refused(Status.UPS_UNKNOWN, self.service.update(UID, "", {"00741000": attribute("CS", "COMPLETED")}))

    def test_own_uids(self) -> None:
        """A client may send the item's own UIDs along, and the Transaction UID among the attributes."""
        self.create()
        self.claim()
        change = {
            "00080016": attribute("UI", "1.2.840.10008.5.1.4.34.6.1"),
            "00080018": attribute("UI", UID),
            "00081195": attribute("UI", KEY),
            "00741204": attribute("LO", "New"),
        }
        self.do(self.service.update(UID, "", change))
        self.assertEqual(text(self.item(), "00741204"), "New")
        self.assertNotIn("00081195", self.item())
        self.refused(Status.NO_SUCH_ATTRIBUTE, self.service.update(UID, KEY, {"00080018": attribute("UI", OTHER)}))


class CancelTests(Case):
    def test_scheduled(self) -> None:
        """The server claims and cancels: two reports, reason and time filled in; nobody else has its Transaction UID."""
        self.create()
        self.subscribe("WATCHER")
        inbox = self.core.open("WATCHER")
        inbox.take()
        reason = {"00741238": attribute("LT", "No need"), "0074100A": attribute("UR", "tel:1"), "00100010": attribute("PN", "X")}
        self.do(self.service.request_cancel(UID, "ASKER", reason))
        self.assertEqual(inbox.take(), [(REPORT, UID, "IN PROGRESS"), (REPORT, UID, "CANCELED")])
        progress = self.item()["00741002"]["Value"][0]
        self.assertEqual(text(progress, "00741238"), "No need")
        self.assertEqual(set(progress), {"00404052", "00741238", "0074100E", "00741008"})
        self.refused(Status.UPS_TRANSACTION_UID_MISSING_OR_WRONG, self.service.change_state(UID, KEY, "CANCELED"))

    def test_in_progress(self) -> None:
        """The performer is told and decides; nothing changes. With nobody to tell, C312."""
        self.bring(State.IN_PROGRESS)
        self.refused(Status.UPS_PERFORMER_UNREACHABLE, self.service.request_cancel(UID, "ASKER", {}))
        self.subscribe("WATCHER")
        inbox = self.core.open("WATCHER")
        inbox.take()
        self.do(self.service.request_cancel(UID, "ASKER", {"00741238": attribute("LT", "No need")}))
        information = inbox.reports[0].event.information
        self.assertEqual((text(information, "00741236"), text(information, "00741238")), ("ASKER", "No need"))
        self.assertEqual(inbox.take(), [(EventType.CANCEL_REQUESTED, UID, "")])
        self.assertEqual(self.state(), "IN PROGRESS")


class SubscriptionTests(Case):
    def test_one(self) -> None:
        """Always an initial event; then every event until the end of the subscription."""
        self.create()
        inbox = self.core.open("WATCHER")
        self.subscribe("WATCHER")
        self.assertEqual(inbox.take(), [(REPORT, UID, "SCHEDULED")])
        self.subscribe("WATCHER", lock=True)
        self.assertEqual(inbox.take(), [(REPORT, UID, "SCHEDULED")])
        self.claim()
        self.assertEqual(inbox.take(), [(REPORT, UID, "IN PROGRESS")])
        self.do(self.service.unsubscribe(UID, "WATCHER"))
        self.do(self.service.update(UID, KEY, {"00404041": attribute("CS", "INCOMPLETE")}))
        self.assertEqual(inbox.take(), [])
        self.refused(Status.UPS_UNKNOWN, self.service.unsubscribe(UID, "WATCHER"))
        self.refused(Status.UPS_UNKNOWN, self.service.subscribe(OTHER, "WATCHER", False))

    def test_global_with_lock(self) -> None:
        """Every unsubscribed item is subscribed with an initial event; those subscribed already keep what they have."""
        self.create()
        self.create(OTHER)
        self.subscribe("WATCHER", OTHER, lock=False)
        inbox = self.core.open("WATCHER")
        inbox.take()
        self.subscribe("WATCHER", GLOBAL_SUBSCRIPTION, lock=True)
        self.assertEqual(inbox.take(), [(REPORT, UID, "SCHEDULED")])
        self.subscribe("WATCHER", GLOBAL_SUBSCRIPTION, lock=True)
        self.assertEqual(inbox.take(), [])
        self.create(UID + ".3")
        self.assertEqual(inbox.take(), [(REPORT, UID + ".3", "SCHEDULED"), (ASSIGNED, UID + ".3", "")])

    def test_global_without_lock(self) -> None:
        """No initial events for what is there; events from then on."""
        self.create()
        inbox = self.core.open("WATCHER")
        self.subscribe("WATCHER", GLOBAL_SUBSCRIPTION)
        self.assertEqual(inbox.take(), [])
        self.claim()
        self.assertEqual(inbox.take(), [(REPORT, UID, "IN PROGRESS")])

    def test_suspend(self) -> None:
        """Present subscriptions stay, later items are not subscribed; unsubscribing ends everything."""
        inbox = self.core.open("WATCHER")
        self.refused(Status.UPS_UNKNOWN, self.service.suspend(GLOBAL_SUBSCRIPTION, "WATCHER"))
        self.subscribe("WATCHER", GLOBAL_SUBSCRIPTION)
        self.create()
        self.assertEqual(inbox.take(), CREATED)
        self.do(self.service.suspend(GLOBAL_SUBSCRIPTION, "WATCHER"))
        self.create(OTHER)
        self.assertEqual(inbox.take(), [])
        self.claim()
        self.assertEqual(inbox.take(), [(REPORT, UID, "IN PROGRESS")])
        self.do(self.service.unsubscribe(GLOBAL_SUBSCRIPTION, "WATCHER"))
        self.do(self.service.update(UID, KEY, {"00404041": attribute("CS", "INCOMPLETE")}))
        self.assertEqual(inbox.take(), [])
        self.refused(Status.UPS_ACTION_INAPPROPRIATE, self.service.suspend(UID, "WATCHER"))

    def test_unsubscribed_singly(self) -> None:
        """An exception from a global subscription, until that is asked for again."""
        self.create()
        self.subscribe("WATCHER", GLOBAL_SUBSCRIPTION)
        inbox = self.core.open("WATCHER")
        self.do(self.service.unsubscribe(UID, "WATCHER"))
        self.claim()
        self.assertEqual(inbox.take(), [])
        self.subscribe("WATCHER", GLOBAL_SUBSCRIPTION, lock=True)
        self.assertEqual(inbox.take(), [(REPORT, UID, "IN PROGRESS")])

    def test_filtered(self) -> None:
        """Items that match now, at their creation or after an update."""
        high = new_filter([("ScheduledProcedureStepPriority", "HIGH")])
        self.create(t00741200=attribute("CS", "HIGH"))
        self.create(OTHER)
        inbox = self.core.open("WATCHER")
        self.subscribe("WATCHER", FILTERED_SUBSCRIPTION, lock=True, filter_text=high)
        self.assertEqual(inbox.take(), [(REPORT, UID, "SCHEDULED")])
        self.do(self.service.update(OTHER, "", {"00741200": attribute("CS", "HIGH")}))
        self.assertEqual(inbox.take(), [(REPORT, OTHER, "SCHEDULED")])
        for number, priority in ((3, "HIGH"), (4, "LOW")):
            self.create(f"{UID}.{number}", t00741200=attribute("CS", priority))
        self.assertEqual(inbox.take(), [(REPORT, UID + ".3", "SCHEDULED"), (ASSIGNED, UID + ".3", "")])
        self.do(self.service.suspend(FILTERED_SUBSCRIPTION, "WATCHER"))
        self.create(UID + ".5", t00741200=attribute("CS", "HIGH"))
        self.claim(UID)
        self.assertEqual(inbox.take(), [(REPORT, UID, "IN PROGRESS")])
        self.do(self.service.unsubscribe(FILTERED_SUBSCRIPTION, "WATCHER"))
        self.claim(OTHER)
        self.assertEqual(inbox.take(), [])

    def test_filter_is_needed(self) -> None:
        """The filtered subscription has one, the others do not, and it asks for something."""
        self.failureResultOf(Deferred.fromCoroutine(self.service.subscribe(FILTERED_SUBSCRIPTION, "W", False)), InvalidRequest)
        text = new_filter([("00741200", "HIGH")])
        self.failureResultOf(Deferred.fromCoroutine(self.service.subscribe(UID, "W", False, text)), InvalidRequest)
        for pairs in ([], [("00741200", "")], [("Nonsense", "1")], [("00081195", "1.2")]):
            self.assertRaises(InvalidRequest, new_filter, pairs)

    def test_ae_titles(self) -> None:
        """Malformed ones are refused always, unknown ones where that is asked for."""
        self.create()
        for ae_title in ("", "   ", "A" * 17, "A\\B"):
            self.failureResultOf(Deferred.fromCoroutine(self.service.subscribe(UID, ae_title, False)), InvalidRequest)
        unknown = self.service.subscribe(UID, "NOBODY", False, must_be_known=True)
        self.refused(Status.UPS_RECEIVING_AE_UNKNOWN, unknown)
        self.do(self.service.subscribe(UID, "PEER", False, must_be_known=True))

    def test_many_items_in_portions(self) -> None:
        """A global subscriber gets the initial events of thousands of items without holding up the writer."""
        uids = [f"{UID}.{number}" for number in range(450)]
        for uid in uids:
            self.create(uid)
        inbox = self.core.open("WATCHER")
        self.subscribe("WATCHER", GLOBAL_SUBSCRIPTION, lock=True)
        self.assertEqual(len(inbox.reports), 200)
        self.clock.pump([0.01] * 10)
        self.assertEqual([uid for _, uid, _ in inbox.take()], uids)

    def test_portions_survive_a_restart(self) -> None:
        """What had not been told yet is told after the restart."""
        for number in range(250):
            self.create(f"{UID}.{number}")
        self.subscribe("WATCHER", GLOBAL_SUBSCRIPTION, lock=True)
        self.core.restart()
        inbox = self.core.open("WATCHER")
        self.clock.pump([0.01] * 10)
        taken = inbox.take()
        self.assertEqual(len([uid for _, uid, _ in taken if uid]), 250)
        self.assertIn((EventType.SCP_STATUS_CHANGE, "", ""), taken)


class ExpiryTests(Case):
    def test_deleted_after_a_while(self) -> None:
        """Finished and without lock: gone after the configured time, and remembered as gone."""
        self.bring(State.COMPLETED)
        self.create(OTHER)
        self.clock.advance(3590)
        self.state()
        self.clock.advance(70)
        for work in (
            self.service.retrieve(UID),
            self.service.change_state(UID, KEY, "COMPLETED"),
            self.service.update(UID, KEY, {}),
            self.service.request_cancel(UID, "ASKER", {}),
            self.service.subscribe(UID, "WATCHER", False),
        ):
            self.failureResultOf(Deferred.fromCoroutine(work), Gone)
        self.assertEqual(self.state(OTHER), "SCHEDULED")
        self.create()
        self.assertEqual(self.state(), "SCHEDULED")

    def test_locked(self) -> None:
        """Kept while anybody holds a lock, of its own or by a global subscription; released by subscribing without."""
        self.subscribe("KEEPER", GLOBAL_SUBSCRIPTION, lock=True)
        self.bring(State.COMPLETED)
        self.subscribe("OTHER", lock=True)
        self.clock.advance(7200)
        self.state()
        self.subscribe("KEEPER", lock=False)
        self.clock.advance(60)
        self.state()
        self.do(self.service.unsubscribe(UID, "OTHER"))
        self.clock.advance(60)
        self.failureResultOf(Deferred.fromCoroutine(self.service.retrieve(UID)), Gone)

    def test_forgotten(self) -> None:
        """Even that it was there, after a longer time."""
        self.bring(State.CANCELED)
        self.clock.advance(3660)
        self.clock.advance(86400)
        self.clock.advance(60)
        error = self.refused(Status.UPS_UNKNOWN, self.service.retrieve(UID))
        self.assertNotIsInstance(error, Gone)
