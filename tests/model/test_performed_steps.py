"""Every row of PS3.4 Table F.7.2-1 is exercised at creation, at N-SET and at the final state."""

import copy
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.attributes import Attributes, attribute
from dicomd.model.performed_steps import (
    REQUIREMENTS,
    PerformedState,
    Requirement,
    check_creation,
    check_update,
    parents,
)
from dicomd.model.status import ServiceError, Status


def sequence(*items: Attributes) -> dict[str, Any]:
    return {"vr": "SQ", "Value": list(items)} if items else {"vr": "SQ"}


REFERENCE = {"00081150": attribute("UI", "1.2.840.10008.5.1.4.1.1.4"), "00081155": attribute("UI", "1.2.3.4")}


def creation() -> Attributes:
    """A complete N-CREATE in which every required attribute has a value."""
    return {
        "00080060": attribute("CS", "MR"),
        "00081032": sequence(),
        "00081120": sequence(dict(REFERENCE)),
        "00100010": attribute("PN", "DOE^JANE"),
        "00100020": attribute("LO", "P1"),
        "00100030": attribute("DA", "19700101"),
        "00100040": attribute("CS", "F"),
        "00200010": attribute("SH", "S1"),
        "00400241": attribute("AE", "MRSCAN"),
        "00400242": attribute("SH", "ROOM 1"),
        "00400243": attribute("SH", "HERE"),
        "00400244": attribute("DA", "20260101"),
        "00400245": attribute("TM", "101500"),
        "00400250": attribute("DA"),
        "00400251": attribute("TM"),
        "00400252": attribute("CS", "IN PROGRESS"),
        "00400253": attribute("SH", "PPS1"),
        "00400254": attribute("LO"),
        "00400255": attribute("LO"),
        "00400260": sequence(),
        "00400270": sequence(
            {
                "00080050": attribute("SH", "A1"),
                "00081110": sequence(dict(REFERENCE)),
                "0020000D": attribute("UI", "1.2.3"),
                "00321060": attribute("LO"),
                "00400007": attribute("LO"),
                "00400008": sequence(),
                "00400009": attribute("SH", "SPS1"),
                "00401001": attribute("SH", "RP1"),
            }
        ),
        "00400280": attribute("ST"),
        "00400281": sequence(),
        "00400340": sequence(
            {
                "00080054": attribute("AE"),
                "0008103E": attribute("LO"),
                "00081050": attribute("PN"),
                "00081070": attribute("PN"),
                "00081140": sequence(dict(REFERENCE)),
                "00181030": attribute("LO", "BRAIN"),
                "0020000E": attribute("UI", "1.2.3.5"),
                "00400220": sequence(dict(REFERENCE)),
            }
        ),
    }


FINAL = {"00400252": attribute("CS", "COMPLETED"), "00400250": attribute("DA", "20260101"), "00400251": attribute("TM", "1100")}


def without(attributes: Attributes, row: Requirement, *, empty: bool) -> Attributes:
    """A copy in which the attribute of `row` is absent, or has no value."""
    changed = copy.deepcopy(attributes)
    for parent in parents(changed, row.path):
        if empty:
            parent[row.path[-1]] = {"vr": parent[row.path[-1]]["vr"]}
        else:
            del parent[row.path[-1]]
    return changed


def rows(**wanted: str) -> list[Requirement]:
    return [row for row in REQUIREMENTS if all(getattr(row, name) == value for name, value in wanted.items())]


class CreationTests(SynchronousTestCase):
    def refusal(self, attributes: Attributes) -> ServiceError:
        return self.assertRaises(ServiceError, check_creation, attributes)

    def test_complete(self) -> None:
        self.assertEqual(check_creation(creation()), creation())

    def test_required_attributes_must_be_there(self) -> None:
        """Every type 1 and type 2 row: missing is 0120, and the attribute is listed."""
        for row in rows(create="1") + rows(create="2"):
            error = self.refusal(without(creation(), row, empty=False))
            self.assertEqual(error.status, Status.MISSING_ATTRIBUTE, row)
            self.assertIn(int(row.path[-1], 16), error.offending)

    def test_type_1_needs_a_value(self) -> None:
        for row in rows(create="1"):
            error = self.refusal(without(creation(), row, empty=True))
            self.assertEqual(error.status, Status.MISSING_ATTRIBUTE_VALUE, row)
            self.assertEqual(error.offending, (int(row.path[-1], 16),))

    def test_type_2_may_be_empty(self) -> None:
        for row in rows(create="2"):
            check_creation(without(creation(), row, empty=True))

    def test_type_3_may_be_missing(self) -> None:
        for row in rows(create="3"):
            changed = creation()
            for parent in parents(changed, row.path):
                parent.pop(row.path[-1], None)
            check_creation(changed)

    def test_wrong_types(self) -> None:
        """Every row: an attribute of another VR is 0106, a sequence that is none too."""
        for row in (row for row in REQUIREMENTS if row.create != "3"):
            changed = copy.deepcopy(creation())
            for parent in parents(changed, row.path):
                parent[row.path[-1]] = attribute("LT", "x") if parent[row.path[-1]]["vr"] != "LT" else attribute("US", 1)
            error = self.refusal(changed)
            self.assertEqual((error.status, error.offending), (Status.INVALID_ATTRIBUTE_VALUE, (int(row.path[-1], 16),)), row)

    def test_wrong_values(self) -> None:
        for path, bad in (
            (("00400244",), attribute("DA", "today")),
            (("00400245",), attribute("TM", "25")),
            (("00400270", "0020000D"), attribute("UI", "study")),
            (("00400340", "00081140", "00081155"), attribute("UI", "1.2.x")),
        ):
            changed = copy.deepcopy(creation())
            for parent in parents(changed, path):
                parent[path[-1]] = bad
            self.assertEqual(self.refusal(changed).status, Status.INVALID_ATTRIBUTE_VALUE, path)
        check_creation({**creation(), "00100030": attribute("DA", "1970")})

    def test_filled_when_asked(self) -> None:
        """Leniently, a missing type 2 attribute is added empty at its place."""
        for row in rows(create="2"):
            step = check_creation(without(creation(), row, empty=False), lenient=True)
            self.assertTrue(all(row.path[-1] in parent for parent in parents(step, row.path)), row)

    def test_starts_in_progress(self) -> None:
        for state in ("COMPLETED", "DISCONTINUED", "SCHEDULED"):
            error = self.refusal({**creation(), "00400252": attribute("CS", state)})
            self.assertEqual(error.status, Status.INVALID_ATTRIBUTE_VALUE)
            self.assertEqual(error.detail["attributes"], {"00400252": attribute("CS", state)})


class UpdateTests(SynchronousTestCase):
    def refusal(self, changes: Attributes, held: Attributes | None = None) -> ServiceError:
        return self.assertRaises(ServiceError, check_update, creation() if held is None else held, changes)

    def test_attributes_that_may_not_be_set(self) -> None:
        for row in rows(set=""):
            if len(row.path) == 1:
                error = self.refusal({row.path[0]: creation().get(row.path[0], attribute("LO", "x"))})
                self.assertEqual(error.status, Status.INVALID_ATTRIBUTE_VALUE, row)
                self.assertEqual(error.offending, (int(row.path[0], 16),))

    def test_attributes_that_may_be_set(self) -> None:
        for row in rows(set="1") + rows(set="2") + rows(set="3"):
            if len(row.path) == 1 and row.path[0] in creation():
                value = {**FINAL, "00400340": creation()["00400340"]}.get(row.path[0])
                changes = {row.path[0]: value or attribute(creation()[row.path[0]]["vr"], "1")}
                changed = check_update({**creation(), **FINAL, "00400252": attribute("CS", "IN PROGRESS")}, changes)
                self.assertEqual(changed[row.path[0]], changes[row.path[0]])

    def test_set_to_nothing(self) -> None:
        """Set type 1 needs a value when it is named, type 2 and 3 do not."""
        for row in rows(set="1"):
            if len(row.path) == 1:
                error = self.refusal({row.path[0]: {"vr": "LO"}})
                self.assertEqual(error.status, Status.MISSING_ATTRIBUTE_VALUE, row)
        for row in rows(set="2"):
            if len(row.path) == 1:
                check_update(creation(), {row.path[0]: {"vr": creation()[row.path[0]]["vr"]}})

    def test_inside_the_series(self) -> None:
        for row in rows(set="1"):
            if len(row.path) > 1:
                changes = {"00400340": without(creation(), row, empty=True)["00400340"]}
                self.assertEqual(self.refusal(changes).status, Status.MISSING_ATTRIBUTE_VALUE, row)
                changes = {"00400340": without(creation(), row, empty=False)["00400340"]}
                self.assertEqual(self.refusal(changes).status, Status.MISSING_ATTRIBUTE, row)

    def test_never_created(self) -> None:
        error = self.refusal({"00401012": attribute("SQ", {})})
        self.assertEqual((error.status, error.offending), (Status.NO_SUCH_ATTRIBUTE, (0x00401012,)))
        added = {"00401012": attribute("SQ", {})}
        self.assertEqual(check_update(creation(), added, lenient=True)["00401012"], added["00401012"])

    def test_final_needs_its_values(self) -> None:
        """Every row marked final must have a value once the step is COMPLETED or DISCONTINUED."""
        for state in (PerformedState.COMPLETED, PerformedState.DISCONTINUED):
            finished = {**FINAL, "00400252": attribute("CS", str(state))}
            self.assertEqual(check_update(creation(), finished)["00400252"]["Value"], [state])
            for row in (row for row in REQUIREMENTS if row.final):
                held = {**creation(), "00400250": FINAL["00400250"], "00400251": FINAL["00400251"]}
                error = self.refusal({"00400252": finished["00400252"]}, without(held, row, empty=True))
                self.assertEqual(error.status, Status.INVALID_ATTRIBUTE_VALUE, row)
                self.assertEqual(error.offending, (int(row.path[-1], 16),))

    def test_final_stays_final(self) -> None:
        for state in ("COMPLETED", "DISCONTINUED"):
            error = self.refusal({"00400280": attribute("ST", "late")}, {**creation(), "00400252": attribute("CS", state)})
            self.assertEqual((error.status, error.detail["error_id"]), (Status.PROCESSING_FAILURE, 0xA710))

    def test_unknown_state(self) -> None:
        self.assertEqual(self.refusal({"00400252": attribute("CS", "PAUSED")}).status, Status.INVALID_ATTRIBUTE_VALUE)

    def test_sequences_are_replaced_whole(self) -> None:
        series = copy.deepcopy(creation()["00400340"])
        series["Value"][0]["00181030"] = attribute("LO", "KNEE")
        self.assertEqual(check_update(creation(), {"00400340": series})["00400340"], series)
