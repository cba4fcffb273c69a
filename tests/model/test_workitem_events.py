"""What the events tell, and when there is something to tell."""

from twisted.trial.unittest import SynchronousTestCase

from dicomd.model import workitem_events as events
from dicomd.model.attributes import Attributes, attribute
from dicomd.model.steps import State
from dicomd.model.workitem_events import EventType
from tests.workitems import code, discontinued, new_item, sequence

UID = "1.2.3"


def types(before: Attributes, after: Attributes) -> list[int]:
    return [event.type for event in events.of_update(UID, before, after)]


class EventTests(SynchronousTestCase):
    def test_state_report(self) -> None:
        """State and readiness always; the reason of a cancellation where there is one."""
        report = events.state_report(UID, new_item())
        self.assertEqual(list(report.information), ["00404041", "00741000"])
        canceled = new_item(t00741000=attribute("CS", "CANCELED")) | discontinued()
        report = events.state_report(UID, canceled)
        self.assertEqual(list(report.information), ["00404041", "00741000", "0074100E"])
        passed = events.state_report(UID, canceled, State.IN_PROGRESS)
        self.assertEqual(passed.information["00741000"]["Value"], ["IN PROGRESS"])
        self.assertNotIn("0074100E", passed.information)

    def test_creation(self) -> None:
        """State report; assigned only when a station or a performer is named."""
        self.assertEqual([e.type for e in events.of_creation(UID, new_item())], [EventType.STATE_REPORT, EventType.ASSIGNED])
        unassigned = new_item(t00404025={"vr": "SQ"})
        self.assertEqual([e.type for e in events.of_creation(UID, unassigned)], [EventType.STATE_REPORT])

    def test_update(self) -> None:
        """Only what changed is told, in a fixed order."""
        item = new_item()
        self.assertEqual(types(item, new_item(t00741204=attribute("LO", "Other"))), [])
        self.assertEqual(types(item, new_item(t00404041=attribute("CS", "INCOMPLETE"))), [EventType.STATE_REPORT])
        progress = {"00741002": sequence({"00741004": attribute("DS", "50")})}
        self.assertEqual(types(item, item | progress), [EventType.PROGRESS_REPORT])
        self.assertEqual(types(item | progress, item | progress), [])
        self.assertEqual(types(item, new_item(t00404025=sequence(code("OTHER")))), [EventType.ASSIGNED])
        performer = {"00404009": sequence(code()), "00404036": attribute("LO", "Ward")}
        after = item | {"00404034": sequence(performer), **progress}
        self.assertEqual(types(item, after), [EventType.PROGRESS_REPORT, EventType.ASSIGNED])
        *_, last = events.of_update(UID, item, after)
        self.assertEqual(list(last.information), ["00404009", "00404025", "00404036"])

    def test_cancellation_is_no_progress(self) -> None:
        """How a cancellation went is told by the state report alone."""
        item = new_item(t00741002={"vr": "SQ"})
        self.assertEqual(types(item, item | discontinued()), [])

    def test_cancel_requested(self) -> None:
        """The reasons as they came, and who asks; nothing else of the request."""
        event = events.cancel_requested(UID, "ASKER", {"00741238": attribute("LT", "No need"), "00100010": attribute("PN", "X")})
        self.assertEqual(set(event.information), {"00741236", "00741238"})

    def test_status_change(self) -> None:
        """All three attributes are of type 1."""
        event = events.status_change()
        self.assertEqual([element["Value"][0] for element in event.information.values()], ["RESTARTED"] + ["WARM START"] * 2)
        self.assertEqual(event.sop_instance_uid, "")
        self.assertEqual(events.status_change(cold_items=True).information["00741246"]["Value"], ["COLD START"])
