"""UPS-RS over a door without ports: statuses, headers and Warning texts of every transaction; bad input changes nothing."""

import json
from collections.abc import Iterable
from itertools import product
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.attributes import Attributes, attribute, text
from dicomd.model.status import Status
from dicomd.model.steps import COLUMNS, Key, Request, State, decide
from dicomd.model.workitem_attributes import FILTERED_SUBSCRIPTION, GLOBAL_SUBSCRIPTION
from dicomd.web.event_channel import EventChannels
from dicomd.web.workitems import UpsRs
from dicomd.wire import native_model
from tests.web.harness import Answer, ask, make_door
from tests.workers import new_index
from tests.workitems import KEY, UID, Core, code, discontinued, new_item, performed, sequence

NOW = 1_780_000_000
BASE = "http://dicom.test/dicom-web"
JSON, XML = "application/dicom+json", "application/dicom+xml"
G, F = GLOBAL_SUBSCRIPTION, FILTERED_SUBSCRIPTION


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        index = new_index(self.mktemp())
        self.addCleanup(index.close)
        self.core = Core(index, self.clock)
        self.core.start()
        self.channels = EventChannels(self.core.delivery, self.clock)
        self.door = make_door(UpsRs(self.core.service, self.channels, 100, "DICOMD").routes(), self.clock)

    def ask(
        self, method: str, path: str, content: Any = None, *, kind: str = JSON, headers: Iterable[tuple[str, str]] = ()
    ) -> Answer:
        body = content if isinstance(content, bytes) or content is None else json.dumps(content).encode()
        own = [("Content-Type", kind)] if body is not None else []
        answer = ask(self.door, method, "/dicom-web" + path, body, [*own, *headers])
        self.clock.advance(0)
        return answer

    def expect(self, status: int, answer: Answer, warning: str = "") -> Answer:
        """The status, and exactly this Warning or none."""
        self.assertEqual(answer.status, status, answer.body)
        self.assertEqual(answer.headers.get("warning", ""), f"299 {BASE}: {warning}" if warning else "")
        return answer

    def create(self, uid: str = UID, **changes: Any) -> None:
        self.expect(201, self.ask("POST", f"/workitems?workitem={uid}", [new_item(**changes)]))

    def change(self, state: str, key: str = KEY, uid: str = UID) -> Answer:
        content = {"00741000": attribute("CS", state)} | ({"00081195": attribute("UI", key)} if key else {})
        return self.ask("PUT", f"/workitems/{uid}/state", [content])

    def update(self, changes: Attributes, key: str = KEY, uid: str = UID) -> Answer:
        return self.ask("POST", f"/workitems/{uid}" + (f"?transaction-uid={key}" if key else ""), [changes])

    def bring(self, state: State | None) -> None:
        if state is not None:
            self.create()
        if state in (State.IN_PROGRESS, State.COMPLETED, State.CANCELED):
            self.expect(200, self.change("IN PROGRESS"))
        if state is not None and state.is_final:
            self.expect(200, self.update(performed() if state is State.COMPLETED else discontinued()))
            self.expect(200, self.change(str(state)))

    def item(self, uid: str = UID) -> Any:
        return self.expect(200, self.ask("GET", f"/workitems/{uid}")).json[0]

    def state(self, uid: str = UID) -> str:
        return text(self.item(uid), "00741000")


INCONSISTENT = "The submitted request is inconsistent with the state of the UPS Instance."
# PS3.18 Tables 11.6.3-1/2, 11.7.3-1/2 and 11.8.3-1/2, for the statuses of PS3.4 Table CC.1.1-2
CHANGE_STATE = {
    Status.UPS_UNKNOWN: (404, ""),
    Status.UPS_TRANSACTION_UID_MISSING_OR_WRONG: (400, "The Transaction UID is {}."),
    Status.UPS_MAY_NO_LONGER_BE_UPDATED: (409, INCONSISTENT),
    Status.UPS_ALREADY_IN_PROGRESS: (409, INCONSISTENT),
    Status.UPS_MAY_NOT_BECOME_SCHEDULED: (400, INCONSISTENT),
    Status.UPS_NOT_IN_PROGRESS: (409, INCONSISTENT),
    Status.UPS_ALREADY_CANCELED: (200, "The UPS is already in the requested state of CANCELED."),
    Status.UPS_ALREADY_COMPLETED: (200, "The UPS is already in the requested state of COMPLETED."),
    Status.SUCCESS: (200, ""),
}
UPDATE = {
    Status.UPS_UNKNOWN: (404, ""),
    Status.UPS_TRANSACTION_UID_MISSING_OR_WRONG: (400, "The Transaction UID is {}."),
    Status.UPS_MAY_NO_LONGER_BE_UPDATED: (
        400,
        "The submitted request is inconsistent with the current state of the Workitem.",
    ),
    Status.UPS_NOT_IN_PROGRESS: (409, "The target URI did not reference a claimed Workitem."),
    Status.SUCCESS: (200, ""),
}
CANCEL = {
    Status.UPS_UNKNOWN: (404, ""),
    Status.UPS_COMPLETED: (409, "The UPS is already COMPLETED."),
    Status.UPS_ALREADY_CANCELED: (202, "The UPS is already in the requested state of CANCELED."),
    Status.SUCCESS: (202, ""),
}
CREATE = {Status.DUPLICATE_SOP_INSTANCE: (409, ""), Status.SUCCESS: (201, "")}
TABLES = {Request.CREATE: CREATE, Request.UPDATE: UPDATE, Request.REQUEST_CANCEL: CANCEL}


class StateTests(Case):
    def test_every_cell(self) -> None:
        """Each request in each state, with each kind of Transaction UID: status and Warning as the tables of PS3.18."""
        for number, (request, key, state) in enumerate(product(Request, Key, COLUMNS)):
            with self.subTest(request=request, key=key, state=state):
                if number:
                    self.core.index.close()
                    self.setUp()
                self.bring(state)
                if state is not None:
                    self.expect(201, self.ask("POST", f"/workitems/{UID}/subscribers/WATCHER"))
                if request in (Request.TO_COMPLETED, Request.TO_CANCELED) and state is State.IN_PROGRESS:
                    self.expect(200, self.update(performed() | discontinued()))
                self._check(request, key, state)

    def _check(self, request: Request, key: Key, state: State | None) -> None:
        verdict = decide(request, key, state)
        status, warning = TABLES.get(request, CHANGE_STATE)[verdict.status]
        words = "missing" if key is Key.MISSING else "incorrect"
        before = self.item() if state else None
        wrong = "1.2.x" if state is State.SCHEDULED else "1.2.999"
        answer = self._send(request, {Key.MISSING: "", Key.RIGHT: KEY, Key.WRONG: wrong}[key])
        if wrong == "1.2.x" and key is Key.WRONG and request is Request.UPDATE:
            status, warning = 400, ""  # the parameter is malformed
        self.expect(status, answer, warning.format(words))
        if status >= 400 and before:
            self.assertEqual(self.item(), before)
        elif status < 400:
            self.assertEqual(self.state(), str(verdict.states[-1] if verdict.states else state))

    def _send(self, request: Request, key: str) -> Answer:
        if request is Request.CREATE:
            return self.ask("POST", f"/workitems?{UID}", [new_item()])
        if request is Request.UPDATE:
            return self.update({"00741204": attribute("LO", "changed")}, key)
        if request is Request.REQUEST_CANCEL:
            return self.ask("POST", f"/workitems/{UID}/cancelrequest")
        return self.change(request.value.removeprefix("change state to "), key)

    def test_final_state_not_met(self) -> None:
        """409, and the item stays in progress."""
        self.bring(State.IN_PROGRESS)
        for state in ("COMPLETED", "CANCELED"):
            self.expect(409, self.change(state), INCONSISTENT)
        self.assertEqual(self.state(), "IN PROGRESS")

    def test_performer_cannot_be_contacted(self) -> None:
        """A cancel request that nobody would hear of."""
        self.bring(State.IN_PROGRESS)
        answer = self.ask("POST", f"/workitems/{UID}/cancelrequest", [{"00741238": attribute("LT", "Why")}])
        self.expect(409, answer, "The performer cannot be contacted.")

    def test_with_requester(self) -> None:
        """The requester's AE title in the path, or as a parameter."""
        self.create()
        change = {"00741000": attribute("CS", "IN PROGRESS"), "00081195": attribute("UI", KEY)}
        self.expect(200, self.ask("PUT", f"/workitems/{UID}/state/PERFORMER", [change]))
        self.expect(201, self.ask("POST", f"/workitems/{UID}/subscribers/WATCHER"))
        inbox = self.core.open("WATCHER")
        for path in (f"/workitems/{UID}/cancelrequest/ASKER", f"/workitems/{UID}/cancelrequest?requester=ASKER"):
            self.expect(202, self.ask("POST", path))
            self.clock.advance(0)
            self.assertEqual(text(inbox.reports[-1].event.information, "00741236"), "ASKER")
        self.expect(202, self.ask("POST", f"/workitems/{UID}/cancelrequest"))
        self.assertEqual(text(inbox.reports[-1].event.information, "00741236"), "DICOMD")


class CreateTests(Case):
    def test_location(self) -> None:
        """UID from the query in all its spellings, from the payload, or made."""
        for number, query in enumerate(("workitem=", "AffectedSOPInstanceUID=", "")):
            uid = f"{UID}.{number}"
            answer = self.expect(201, self.ask("POST", f"/workitems?{query}{uid}", [new_item()]))
            self.assertEqual((answer.headers["location"], answer.body), (f"{BASE}/workitems/{uid}", b""))
        named = new_item(t00080018=attribute("UI", UID))
        self.assertEqual(self.ask("POST", "/workitems/", named).headers["location"], f"{BASE}/workitems/{UID}")
        made = self.expect(201, self.ask("POST", "/workitems", new_item())).headers["location"]
        self.assertEqual(self.state(made.rpartition("/")[2]), "SCHEDULED")

    def test_modified(self) -> None:
        """The Warning says so."""
        answer = self.ask("POST", f"/workitems?workitem={UID}", [new_item(t00400400=None)])
        self.expect(201, answer, "The Workitem was created with modifications.")

    def test_xml(self) -> None:
        """Native DICOM Model, alone or as a part, in; the same out."""
        self.expect(201, self.ask("POST", f"/workitems?workitem={UID}", native_model.to_xml(new_item()), kind=XML))
        part = b"--B\r\nContent-Type: application/dicom+xml\r\n\r\n" + native_model.to_xml(new_item()) + b"\r\n--B--\r\n"
        kind = 'multipart/related; type="application/dicom+xml"; boundary=B'
        self.expect(201, self.ask("POST", f"/workitems?workitem={UID}.1", part, kind=kind))
        answer = self.ask("GET", f"/workitems/{UID}", headers=[("Accept", XML)])
        self.assertEqual(answer.headers["content-type"], XML)
        item = native_model.from_xml(answer.body)
        self.assertEqual(text(item, "00080018"), UID)
        self.assertEqual(item["00404025"], new_item()["00404025"])
        many = self.ask("GET", "/workitems", headers=[("Accept", 'multipart/related; type="application/dicom+xml"')])
        self.assertEqual((many.status, many.body.count(b"<NativeDicomModel")), (200, 2))

    def test_refused(self) -> None:
        """What is wrong is named; nothing is there afterwards."""
        for status, content, words in (
            (400, [new_item(t00741200=None)], "0074,1200"),
            (400, [new_item(t00741200={"vr": "CS"})], "0074,1200"),
            (400, [new_item(t00741000=attribute("CS", "COMPLETED"))], "SCHEDULED"),
            (400, [new_item(t00081195=attribute("UI", "1.2"))], "0008,1195"),
            (400, [new_item(t00080018=attribute("UI", "1.2.3"))], "SOP Instance UID"),
            (400, [new_item(t00404018=sequence({}))], "0008,0100"),
            (400, [], "one data set"),
            (400, [new_item(), new_item()], "one data set"),
            (400, b"", "not JSON"),
            (400, b"{", ""),
            (400, b'[{"00741000": 5}]', ""),
            (400, b'[{"0074100": {"vr": "CS"}}]', ""),
            (400, b"null", ""),
            (400, b"[[]]", ""),
        ):
            with self.subTest(content=content):
                answer = self.expect(status, self.ask("POST", f"/workitems?workitem={UID}", content))
                self.assertIn(words, answer.json["detail"])
        self.expect(400, self.ask("POST", f"/workitems?workitem={UID}", b"<x", kind=XML))
        self.expect(400, self.ask("POST", f"/workitems?workitem={UID}", b"<x/>", kind=XML))
        self.expect(415, self.ask("POST", f"/workitems?workitem={UID}", b"x", kind="text/plain"))
        self.expect(400, self.ask("POST", "/workitems?workitem=not.a.uid", [new_item()]))
        self.expect(400, self.ask("POST", f"/workitems?workitem={G}", [new_item()]))
        self.expect(413, self.ask("POST", "/workitems", bytes(5 << 20)))
        self.expect(404, self.ask("GET", f"/workitems/{UID}"))


class RetrieveTests(Case):
    def test_item(self) -> None:
        """One work item in an array, with its own URL; never the Transaction UID."""
        self.bring(State.IN_PROGRESS)
        answer = self.ask("GET", f"/workitems/{UID}")
        self.assertEqual(answer.headers["content-location"], f"{BASE}/workitems/{UID}")
        self.assertEqual(answer.headers["content-type"], JSON)
        self.assertEqual(len(answer.json), 1)
        self.assertNotIn(b"00081195", answer.body)
        self.expect(406, self.ask("GET", f"/workitems/{UID}", headers=[("Accept", "image/jpeg")]))
        self.expect(400, self.ask("GET", "/workitems/not-a-uid"))

    def test_gone(self) -> None:
        """410 after its deletion, in every transaction."""
        self.bring(State.COMPLETED)
        self.clock.advance(3660)
        self.expect(410, self.ask("GET", f"/workitems/{UID}"))
        self.expect(410, self.update({}))
        self.expect(410, self.change("COMPLETED"))
        self.expect(410, self.ask("POST", f"/workitems/{UID}/cancelrequest"))
        self.expect(410, self.ask("POST", f"/workitems/{UID}/subscribers/A"))


class UpdateTests(Case):
    def test_key_in_all_spellings(self) -> None:
        """As a parameter by its names of all editions, bare, or among the attributes."""
        self.bring(State.IN_PROGRESS)
        label = {"00741204": attribute("LO", "changed")}
        for query in (f"transaction-uid={KEY}", f"Transaction-uid={KEY}", f"transaction={KEY}", f"TransactionUID={KEY}", KEY):
            self.expect(200, self.ask("POST", f"/workitems/{UID}?{query}", [label]))
        self.expect(200, self.ask("POST", f"/workitems/{UID}", [label | {"00081195": attribute("UI", KEY)}]))

    def test_modified(self) -> None:
        """An item that lacks what may be empty is completed, and the Warning says so."""
        self.bring(State.IN_PROGRESS)
        self.expect(200, self.update({"00741216": sequence({})}), "The Workitem was updated with modifications.")

    def test_refused(self) -> None:
        """Attributes that may not be set, values that may not be: 400, nothing changed."""
        self.create()
        before = self.item()
        for changes in (
            {"00741000": attribute("CS", "COMPLETED")},
            {"00100010": attribute("PN", "Other^Name")},
            {"00741200": {"vr": "CS"}},
            {"00741200": attribute("CS", "SOON")},
            {"00404005": attribute("DT", "never")},
            {"00080018": attribute("UI", "1.2")},
        ):
            self.expect(400, self.update(changes, ""))
        self.expect(400, self.ask("POST", f"/workitems/{UID}?transaction-uid=x", [{}]))
        self.expect(400, self.ask("POST", f"/workitems/{UID}", b"["))
        self.assertEqual(self.item(), before)

    def test_state_needed(self) -> None:
        """A change of state without a state, or with one that there is not."""
        self.create()
        self.expect(400, self.ask("PUT", f"/workitems/{UID}/state", [{"00081195": attribute("UI", KEY)}]))
        self.expect(400, self.change("DONE"))
        self.expect(400, self.ask("PUT", f"/workitems/{UID}/state", b"{}"))
        self.expect(415, self.ask("PUT", f"/workitems/{UID}/state"))
        self.expect(405, self.ask("POST", f"/workitems/{UID}/state", [{}]))


class SearchTests(Case):
    def test_pages(self) -> None:
        """200 for all, 206 with what remains, 204 for none."""
        self.expect(204, self.ask("GET", "/workitems"))
        for number in range(5):
            station = sequence(code(f"ST{number % 2}", "99T", "x"))
            self.create(f"{UID}.{number}", t00404025=station, t00400400=attribute("LT", "Comment"))
        answer = self.expect(200, self.ask("GET", "/workitems"))
        self.assertEqual([text(item, "00080018") for item in answer.json], [f"{UID}.{number}" for number in range(5)])
        self.assertNotIn("00400400", answer.json[0])
        remain = "There are 3 additional results that can be requested"
        answer = self.expect(206, self.ask("GET", "/workitems?limit=2&includefield=00400400"), remain)
        self.assertEqual(text(answer.json[0], "00400400"), "Comment")
        self.expect(200, self.ask("GET", "/workitems?limit=2&offset=3"))
        self.expect(204, self.ask("GET", "/workitems?offset=5"))
        found = self.expect(200, self.ask("GET", "/workitems?ScheduledStationNameCodeSequence.CodeValue=ST1")).json
        self.assertEqual(len(found), 2)
        self.expect(204, self.ask("GET", "/workitems?00741000=COMPLETED"))
        self.expect(200, self.ask("GET", "/workitems?TransactionUID=1.2.3"))

    def test_refused(self) -> None:
        """Malformed values are 400, unknown names are ignored with a Warning."""
        self.expect(400, self.ask("GET", "/workitems?limit=x"))
        self.expect(400, self.ask("GET", "/workitems?ScheduledProcedureStepStartDateTime=soon"))
        self.expect(400, self.ask("GET", "/workitems?fuzzymatching=perhaps"))
        self.expect(
            204, self.ask("GET", "/workitems?Nonsense=1"), "The parameter Nonsense is not supported and has been ignored."
        )


class SubscriberTests(Case):
    def test_life(self) -> None:
        """201 with the URL of the event channel; unsubscribing what there is, and what there is not."""
        self.create()
        answer = self.expect(201, self.ask("POST", f"/workitems/{UID}/subscribers/WATCH%20ER?deletionlock=true"))
        self.assertEqual(answer.headers["content-location"], "ws://dicom.test/dicom-web/subscribers/WATCH%20ER")
        self.expect(200, self.ask("DELETE", f"/workitems/{UID}/subscribers/WATCH%20ER"))
        self.expect(404, self.ask("DELETE", f"/workitems/{UID}/subscribers/WATCH%20ER"))
        self.expect(404, self.ask("DELETE", f"/workitems/{UID}/subscribers/NOBODY"))
        self.expect(404, self.ask("POST", f"/workitems/{UID}.1/subscribers/WATCHER"))

    def test_global(self) -> None:
        """Subscribe, suspend and unsubscribe the global and the filtered worklist."""
        for uid, query in ((G, ""), (F, "?filter=00741200%3DHIGH%2CProcedureStepState%3DSCHEDULED")):
            with self.subTest(uid=uid):
                self.expect(404, self.ask("POST", f"/workitems/{uid}/subscribers/WATCHER/suspend"))
                self.expect(201, self.ask("POST", f"/workitems/{uid}/subscribers/WATCHER{query}"))
                self.expect(200, self.ask("POST", f"/workitems/{uid}/subscribers/WATCHER/suspend"))
                self.expect(404, self.ask("POST", f"/workitems/{uid}/subscribers/WATCHER/suspend"))
                self.expect(201, self.ask("POST", f"/workitems/{uid}/subscribers/WATCHER{query}"))
                self.expect(200, self.ask("DELETE", f"/workitems/{uid}/subscribers/WATCHER"))
                self.expect(404, self.ask("DELETE", f"/workitems/{uid}/subscribers/WATCHER"))

    def test_filter(self) -> None:
        """The filter decides; a value with a comma or an equals sign is encoded twice."""
        self.expect(201, self.ask("POST", f"/workitems/{F}/subscribers/W?filter=ProcedureStepLabel%3Da%252Cb%253Dc"))
        inbox = self.core.open("W")
        self.create(t00741204=attribute("LO", "a,b=c"))
        self.create(UID + ".1")
        self.clock.advance(0)
        self.assertEqual({uid for _, uid, _ in inbox.take()}, {UID})

    def test_refused(self) -> None:
        """Each malformed request is 400."""
        self.create()
        for path in (
            f"/workitems/{UID}/subscribers/{'A' * 17}",
            f"/workitems/{UID}/subscribers/%5C",
            f"/workitems/{UID}/subscribers/A?deletionlock=maybe",
            f"/workitems/{UID}/subscribers/A?filter=00741200%3DHIGH",
            f"/workitems/{UID}/subscribers/A/suspend",
            f"/workitems/{F}/subscribers/A",
            f"/workitems/{F}/subscribers/A?filter=",
            f"/workitems/{F}/subscribers/A?filter=Nonsense%3D1",
            f"/workitems/{F}/subscribers/A?filter=00404005%3Dsoon",
            f"/workitems/{F}/subscribers/A?filter=00081195%3D1.2",
            f"/workitems/{G}/subscribers/A?filter=00741200%3DHIGH",
            "/workitems/nonsense/subscribers/A",
        ):
            with self.subTest(path=path):
                self.expect(400, self.ask("POST", path))
        self.expect(413, self.ask("POST", f"/workitems/{UID}/subscribers/A", b"body"))
