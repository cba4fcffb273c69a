"""The modality worklist: entries come in, are found by the rules of PS3.4 K.2.2, follow the performed steps, and leave."""

import copy
import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.attributes import Attributes, attribute, items, text
from dicomd.model.query import Options, from_identifier, from_parameters
from dicomd.model.scheduled_steps import SEQUENCE, Order, ScheduledState, StepIdentity, state_of
from dicomd.model.status import Gone, NoSuchInstance, ServiceError, Status
from dicomd.services.hub import EventHub
from dicomd.services.performed_steps import PerformedSteps
from dicomd.services.worklist import Worklist
from tests.model.test_performed_steps import FINAL, creation
from tests.workers import ImmediateWorkers, new_index

NOW = 1_780_000_000  # 2026-05-28


def order(number: int = 1, **step: str) -> Attributes:
    """A complete order with one scheduled step."""
    modality = step.get("modality", "CT")
    return {
        "00080050": attribute("SH", f"ACC{number}"),
        "00100010": attribute("PN", step.get("name", f"DOE{number}^JANE")),
        "00100020": attribute("LO", f"P{number}"),
        "00401001": attribute("SH", f"RP{number}"),
        SEQUENCE: {
            "vr": "SQ",
            "Value": [
                {
                    "00080060": attribute("CS", modality),
                    "00400001": attribute("AE", step.get("station", f"{modality}_1")),
                    "00400002": attribute("DA", step.get("date", "20260601")),
                    "00400003": attribute("TM", step.get("time", "0930")),
                    "00400009": attribute("SH", f"SPS{number}"),
                }
            ],
        },
    }


class WorklistTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        index = new_index(self.mktemp())
        self.addCleanup(index.close)
        self.clock = Clock()
        self.clock.advance(NOW)
        self.workers = ImmediateWorkers(index)
        self.worklist = Worklist(self.workers, self.clock)
        self.steps = PerformedSteps(self.workers, EventHub(), self.clock, lambda: None)

    def run_(self, work: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def refusal(self, work: Any) -> ServiceError:
        failure = self.failureResultOf(Deferred.fromCoroutine(work), ServiceError)
        error: ServiceError = failure.value
        return error

    def enter(self, *orders: Attributes) -> list[Any]:
        return list(self.run_(self.worklist.enter(orders)))

    def found(self, *pairs: tuple[str, str], limit: int = 100) -> list[str]:
        answer = self.run_(self.worklist.find(from_parameters(pairs), limit))
        return [text(json.loads(entry), "00080050") for entry in answer.matches]


class EntryTests(WorklistTestCase):
    def test_types_1_and_2_are_there(self) -> None:
        """What is returned always has a place in the entry; IDs that were missing are made."""
        given = order()
        del given["00401001"]
        [entered] = self.enter(given)
        kept = self.run_(self.worklist.retrieve(entered.row))
        self.assertTrue(entered.created)
        self.assertEqual(text(kept, "00401001"), "SPS1")
        self.assertTrue(text(kept, "0020000D").startswith("2.25."))
        self.assertEqual(kept["00101030"], {"vr": "DS"})
        self.assertEqual(items(kept, SEQUENCE)[0]["00400006"], {"vr": "PN"})
        self.assertEqual(list(kept), sorted(kept))

    def test_same_identity_updates(self) -> None:
        [first], [again] = self.enter(order()), self.enter(order(date="20260602"))
        self.assertEqual((again.row, again.created), (first.row, False))
        self.assertEqual(self.found(("ScheduledProcedureStepSequence.ScheduledProcedureStepStartDate", "20260602")), ["ACC1"])

    def test_two_steps_are_two_entries(self) -> None:
        both = order()
        both[SEQUENCE]["Value"].append({**both[SEQUENCE]["Value"][0], "00400009": attribute("SH", "SPS1B")})
        first, second = self.enter(both)
        self.assertNotEqual(first.row, second.row)
        self.assertEqual(len(items(self.run_(self.worklist.retrieve(second.row)), SEQUENCE)), 1)

    def test_missing_type_1(self) -> None:
        """Each attribute that the server cannot make is named; nothing of the request is entered."""
        for tag in ("00100010", "00100020"):
            bad = order(2)
            del bad[tag]
            error = self.refusal(self.worklist.enter([order(), bad]))
            self.assertEqual((error.status, error.offending), (Status.MISSING_ATTRIBUTE, (int(tag, 16),)))
        for tag in ("00080060", "00400001", "00400002", "00400003", "00400009"):
            bad = order(2)
            bad[SEQUENCE]["Value"][0][tag] = {"vr": "SH"}
            error = self.refusal(self.worklist.enter([order(), bad]))
            self.assertEqual((error.status, error.offending), (Status.MISSING_ATTRIBUTE_VALUE, (int(tag, 16),)))
        self.assertEqual(self.found(), [])

    def test_remove(self) -> None:
        [entered] = self.enter(order())
        self.run_(self.worklist.remove(entered.row))
        self.assertIsInstance(self.refusal(self.worklist.remove(entered.row)), Gone)
        self.assertIsInstance(self.refusal(self.worklist.retrieve(entered.row)), Gone)
        unknown = self.refusal(self.worklist.retrieve(entered.row + 1))
        self.assertIsInstance(unknown, NoSuchInstance)
        self.assertNotIsInstance(unknown, Gone)

    def test_a_number_is_never_given_again(self) -> None:
        """A URL that was handed out must not name another patient's step."""
        [first] = self.enter(order(1))
        self.run_(self.worklist.remove(first.row))
        [second] = self.enter(order(2))
        self.assertNotEqual(first.row, second.row)

    def test_without_accession_number(self) -> None:
        """Two patients whose steps have the same ID and no Accession Number are two; the same order again is one."""
        orders = [order(1), order(2)]
        for one in orders:
            one["00080050"] = {"vr": "SH"}
            one[SEQUENCE]["Value"][0]["00400009"] = attribute("SH", "1")
        rows = [entered.row for entered in self.enter(*orders)]
        self.assertEqual(len(set(rows)), 2)
        self.assertEqual([entered.row for entered in self.enter(*orders)], rows)

    def test_wrong_types(self) -> None:
        """What no query could find, and what is of another VR, is refused and named; nothing is entered."""
        for tag, bad in (
            ("00100010", {"vr": "SQ", "Value": [{}]}),
            ("00100010", attribute("PN", "DOE^A", "DOE^B")),
            ("00100020", attribute("LO", "A\nB")),
            ("00080050", attribute("SH", "A", "B")),
            ("0020000D", attribute("UI", "not a UID")),
            ("00081110", attribute("LO", "1.2.3")),
        ):
            error = self.refusal(self.worklist.enter([order(1), {**order(2), tag: bad}]))
            self.assertEqual((error.status, error.offending), (Status.INVALID_ATTRIBUTE_VALUE, (int(tag, 16),)), tag)
        for tag, bad in (
            ("00400001", attribute("AE", "A\\B")),
            ("00400002", attribute("DA", "20260230")),
            ("00400002", attribute("DA", "20260601", "20260602")),
            ("00400003", attribute("TM", "noon")),
            ("00080060", attribute("LO", "CT")),
            ("00400008", attribute("SH", "P1")),
        ):
            broken = order(2)
            broken[SEQUENCE]["Value"][0][tag] = bad
            error = self.refusal(self.worklist.enter([order(1), broken]))
            self.assertEqual((error.status, error.offending), (Status.INVALID_ATTRIBUTE_VALUE, (int(tag, 16),)), tag)
        self.assertEqual(self.found(), [])

    def test_expires(self) -> None:
        """A step leaves `keep_days` after its start, when nothing has changed it since."""
        self.enter(order(1, date="20260601"), order(2, date="20260801"))
        self.clock.advance(40 * 86400)
        self.run_(self.worklist.expire())
        self.assertEqual(self.found(), ["ACC2"])


class OrderTests(WorklistTestCase):
    """What one message orders is carried out together or not at all."""

    def carry_out(self, *orders: Order) -> int:
        return int(self.run_(self.worklist.carry_out(orders)))

    def test_all_or_nothing(self) -> None:
        bad = order(2)
        del bad["00100020"]
        self.enter(order(3))
        self.refusal(self.worklist.carry_out([Order(False, order(1)), Order(True, order(3)), Order(False, bad)]))
        self.assertEqual(self.found(), ["ACC3"])
        self.assertEqual(self.carry_out(Order(False, order(1)), Order(True, order(3))), 0)
        self.assertEqual(self.found(), ["ACC1"])

    def test_unknown_step(self) -> None:
        """Its number is told, the rest is carried out."""
        self.assertEqual(self.carry_out(Order(False, order(1)), Order(True, order(2))), 1)
        self.assertEqual(self.found(), ["ACC1"])

    def test_only_the_patient_s_own_step(self) -> None:
        """Without an Accession Number, the study or the patient must fit; without those too, nothing is removed."""
        self.enter(order(1), order(2))
        for changes, unknown in (
            ({"00100020": attribute("LO", "P2")}, 1),
            ({"0020000D": attribute("UI", "1.2.3")}, 1),
            ({}, 0),
        ):
            self.assertEqual(self.carry_out(Order(True, {**order(1), "00080050": {"vr": "SH"}, **changes})), unknown)
        nobody = {**order(2), "00080050": {"vr": "SH"}, "00100020": {"vr": "LO"}}
        self.assertEqual(self.refusal(self.worklist.carry_out([Order(True, nobody)])).status, Status.MISSING_ATTRIBUTE_VALUE)
        self.assertEqual(self.found(), ["ACC2"])


class SearchTests(WorklistTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.enter(
            order(1, modality="CT", date="20260601", time="0800", name="Müller^Eva"),
            order(2, modality="MR", date="20260601", time="1600"),
            order(3, modality="CT", date="20260602", time="0700", station="CT%1"),
            order(4, modality="CT", date="20260603", time="1200", station="CT_2"),
        )

    def step(self, keyword: str, value: str) -> tuple[str, str]:
        return f"ScheduledProcedureStepSequence.{keyword}", value

    def test_ordered_by_start(self) -> None:
        self.assertEqual(self.found(), ["ACC1", "ACC2", "ACC3", "ACC4"])

    def test_station_and_modality(self) -> None:
        self.assertEqual(self.found(self.step("Modality", "MR")), ["ACC2"])
        self.assertEqual(self.found(self.step("ScheduledStationAETitle", "CT%1")), ["ACC3"])
        self.assertEqual(self.found(self.step("ScheduledStationAETitle", "CT_1"), self.step("Modality", "CT")), ["ACC1"])
        self.assertEqual(self.found(self.step("ScheduledStationAETitle", "")), ["ACC1", "ACC2", "ACC3", "ACC4"])

    def test_date_and_time_are_one_interval(self) -> None:
        """PS3.4 K.2.2: from 1 June 10:00 to 2 June 09:00."""
        day, hour = "ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime"
        self.assertEqual(self.found(self.step(day, "20260601-20260602"), self.step(hour, "1000-0900")), ["ACC2", "ACC3"])
        item = {"00400002": attribute("DA", "20260601-20260602"), "00400003": attribute("TM", "1000-0900")}
        query = from_identifier({SEQUENCE: {"vr": "SQ", "Value": [item]}}, options=Options(combined=True))
        answer = self.run_(self.worklist.find(query, 10))
        self.assertEqual([text(json.loads(entry), "00080050") for entry in answer.matches], ["ACC2", "ACC3"])

    def test_names(self) -> None:
        self.assertEqual(self.found(("PatientName", "MÜLLER*")), ["ACC1"])
        self.assertEqual(self.found(("fuzzymatching", "true"), ("PatientName", "Eva Mueler")), ["ACC1"])

    def test_stored_empty_value_never_matches(self) -> None:
        self.assertEqual(self.found(("RequestingPhysician", "*A*")), [])

    def test_limit_and_offset(self) -> None:
        answer = self.run_(self.worklist.find(from_parameters([("offset", "1")]), 2))
        self.assertEqual([text(json.loads(entry), "00080050") for entry in answer.matches], ["ACC2", "ACC3"])
        self.assertEqual(answer.remaining, 1)

    def test_many_pages(self) -> None:
        self.enter(*(order(number, date="20260701", time=f"{number % 24:02}00") for number in range(10, 460)))
        names = self.found(limit=1000)
        self.assertEqual((len(names), len(set(names))), (454, 454))


class PerformedTests(WorklistTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.performed = copy.deepcopy(creation())
        step = items(self.performed, "00400270")[0]
        step["00080050"], step["00400009"] = attribute("SH", "ACC1"), attribute("SH", "SPS1")

    def state(self, row: int) -> ScheduledState:
        return state_of(self.run_(self.worklist.retrieve(row)))

    def test_the_step_follows(self) -> None:
        """IN PROGRESS stays visible, COMPLETED leaves the worklist; who asks for the status sees it."""
        [entered] = self.enter(order())
        self.run_(self.steps.create("1.2.9", self.performed))
        self.assertEqual(self.state(entered.row), ScheduledState.IN_PROGRESS)
        self.assertEqual(self.found(), ["ACC1"])
        self.run_(self.steps.update("1.2.9", FINAL))
        self.assertEqual(self.state(entered.row), ScheduledState.COMPLETED)
        self.assertEqual(self.found(), [])
        status = "ScheduledProcedureStepSequence.ScheduledProcedureStepStatus"
        self.assertEqual(self.found((status, "COMPLETED")), ["ACC1"])
        self.assertEqual(self.run_(self.worklist.performed(entered.row)), ["1.2.9"])

    def test_performed_before_its_entry_came(self) -> None:
        self.run_(self.steps.create("1.2.9", self.performed))
        [entered] = self.enter(order())
        self.assertEqual(self.state(entered.row), ScheduledState.IN_PROGRESS)

    def test_an_update_of_the_order_keeps_the_state(self) -> None:
        [entered] = self.enter(order())
        self.run_(self.steps.create("1.2.9", self.performed))
        self.enter(order(date="20260611"))
        self.assertEqual(self.state(entered.row), ScheduledState.IN_PROGRESS)

    def test_links(self) -> None:
        self.run_(self.steps.create("1.2.9", self.performed))
        links = self.run_(self.steps.links("1.2.9"))
        self.assertEqual(links.scheduled, ((StepIdentity("ACC1", "1.2.3", "SPS1"), None),))
        [entered] = self.enter(order())
        self.assertEqual(self.run_(self.steps.links("1.2.9")).scheduled[0][1], entered.row)
        self.assertEqual(links.instances, (("1.2.3.4", False), ("1.2.3.4", False)))
