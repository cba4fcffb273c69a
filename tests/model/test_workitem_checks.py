"""The requirement table of the Unified Procedure Steps, walked row by row."""

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dicomd.model import workitem_attributes as ups
from dicomd.model.attributes import Attributes, attribute
from dicomd.model.status import ServiceError, Status
from dicomd.model.steps import State
from dicomd.model.workitem_attributes import REQUIREMENTS
from dicomd.model.workitem_checks import check_changes, complete_new, is_empty, unmet
from tests.workitems import code, discontinued, new_item, performed, sequence


class Case(SynchronousTestCase):
    def refused(self, status: Status, tag: str, check: Callable[..., Any], *arguments: Any) -> None:
        error = self.assertRaises(ServiceError, check, *arguments)
        self.assertEqual(error.status, status)
        self.assertIn(int(tag, 16), error.offending)


class TableTests(SynchronousTestCase):
    def test_rows_of_items(self) -> None:
        """Nesting is read from the table."""
        self.assertEqual(list(REQUIREMENTS["00404034"].rows), ["00404009", "00404037", "00404036"])
        self.assertIn("0074100A", REQUIREMENTS["00741002"].rows["00741008"].rows)

    def test_return_keys(self) -> None:
        """Types 1 and 2 are always returned; the Transaction UID is not among them."""
        self.assertIn(ups.STATE, ups.ALWAYS_RETURNED)
        self.assertNotIn(ups.TRANSACTION_UID, ups.ALWAYS_RETURNED)


class CreateTests(Case):
    def test_complete(self) -> None:
        """A complete data set is taken without modification, and no Transaction UID is kept among its attributes."""
        item, modified = complete_new(new_item())
        self.assertFalse(modified)
        self.assertNotIn(ups.TRANSACTION_UID, item)

    def test_type_1(self) -> None:
        """Every row of type 1: absent is 0120, empty is 0121."""
        for row in REQUIREMENTS.values():
            if row.create[0] == "1":
                with self.subTest(tag=row.tag):
                    self.refused(Status.MISSING_ATTRIBUTE, row.tag, complete_new, new_item(**{f"t{row.tag}": None}))
                    self.refused(
                        Status.MISSING_ATTRIBUTE_VALUE, row.tag, complete_new, new_item(**{f"t{row.tag}": {"vr": row.vr}})
                    )

    def test_type_2(self) -> None:
        """Every row of type 2: empty is fine, absent is filled in and told."""
        for row in REQUIREMENTS.values():
            if row.create == ("2", "2"):
                with self.subTest(tag=row.tag):
                    self.assertFalse(complete_new(new_item(**{f"t{row.tag}": {"vr": row.vr}}))[1])
                    item, modified = complete_new(new_item(**{f"t{row.tag}": None}))
                    self.assertEqual((item[row.tag], modified), ({"vr": row.vr}, True))

    def test_state(self) -> None:
        """Another state than SCHEDULED is C309, whatever else is wrong."""
        for state in ("IN PROGRESS", "COMPLETED", "CANCELED", "nonsense"):
            error = self.assertRaises(ServiceError, complete_new, {ups.STATE: attribute("CS", state)})
            self.assertEqual(error.status, Status.UPS_NOT_CREATED_SCHEDULED)

    def test_sent_empty(self) -> None:
        """Transaction UID, progress and performed procedure are sent empty."""
        for tag, element in (
            ("00081195", attribute("UI", "1.2.3")),
            ("00741002", discontinued()["00741002"]),
            ("00741216", performed()["00741216"]),
        ):
            self.refused(Status.INVALID_ATTRIBUTE_VALUE, tag, complete_new, new_item(**{f"t{tag}": element}))

    def test_values(self) -> None:
        """Enumerated values and date-times are checked."""
        for tag, element in (
            ("00741200", attribute("CS", "URGENT")),
            ("00741200", attribute("CS", "HIGH", "LOW")),
            ("00404041", attribute("CS", "MAYBE")),
            ("00404005", attribute("DT", "tomorrow")),
            ("00404011", attribute("DT", "2026-01-01")),
            ("00080016", attribute("UI", "1.2.840.10008.1.1")),
        ):
            self.refused(Status.INVALID_ATTRIBUTE_VALUE, tag, complete_new, new_item(**{f"t{tag}": element}))

    def test_worklist_label(self) -> None:
        """The server fills an empty Worklist Label: its duty, no modification."""
        item, modified = complete_new(new_item(t00741202={"vr": "LO"}))
        self.assertFalse(is_empty(item["00741202"]) or modified)

    def test_items(self) -> None:
        """Type 1 inside items, and the code sequence macro."""
        request: Attributes = {"0020000D": attribute("UI", "1.2.3")}
        item, modified = complete_new(new_item(t0040A370=sequence(request)))
        self.assertTrue(modified)
        self.assertIn("00080050", item["0040A370"]["Value"][0])
        self.refused(Status.MISSING_ATTRIBUTE, "0020000D", complete_new, new_item(t0040A370=sequence({})))
        performer = {"00404009": sequence(code()), "00404037": attribute("PN", "Roe^R")}
        self.refused(Status.MISSING_ATTRIBUTE, "00404036", complete_new, new_item(t00404034=sequence(performer)))
        for tag in ("00080100", "00080102", "00080104"):
            broken = {key: value for key, value in code().items() if key != tag}
            self.refused(Status.MISSING_ATTRIBUTE, tag, complete_new, new_item(t00404018=sequence(broken)))
        both = code() | {"00080119": attribute("UC", "long")}
        self.refused(Status.INVALID_ATTRIBUTE_VALUE, "00080100", complete_new, new_item(t00404018=sequence(both)))
        self.refused(Status.INVALID_ATTRIBUTE_VALUE, "00404018", complete_new, new_item(t00404018=attribute("SQ", "x")))

    def test_optional_without_value(self) -> None:
        """An attribute of type 3/1 sent empty is left out and told."""
        item, modified = complete_new(new_item(t00404011={"vr": "DT"}))
        self.assertEqual(("00404011" in item, modified), (False, True))


class UpdateTests(Case):
    def test_not_allowed(self) -> None:
        """Every row marked NA is refused, empty or not."""
        for row in REQUIREMENTS.values():
            if row.update[0] == "NA":
                with self.subTest(tag=row.tag):
                    self.refused(Status.NO_SUCH_ATTRIBUTE, row.tag, check_changes, {row.tag: {"vr": row.vr}})

    def test_needs_value(self) -> None:
        """Every row of type 3/1 keeps a value; the others may be emptied."""
        for row in REQUIREMENTS.values():
            change = {row.tag: {"vr": row.vr}}
            with self.subTest(tag=row.tag):
                if row.update == ("3", "1"):
                    self.refused(Status.MISSING_ATTRIBUTE_VALUE, row.tag, check_changes, change)
                elif row.update[0] == "3":
                    self.assertEqual(check_changes(change), (change, False))

    def test_nothing_is_added(self) -> None:
        """What is not in the list is not touched; unknown and private attributes are kept."""
        change = {"00741204": attribute("LO", "New"), "00991001": attribute("LO", "private")}
        self.assertEqual(check_changes(change), (change, False))

    def test_items(self) -> None:
        """Items are completed like those of a new item, but a missing value is 0121."""
        self.refused(
            Status.MISSING_ATTRIBUTE_VALUE, "0074100A", check_changes, {"00741002": sequence({"00741008": sequence({})})}
        )
        changed, modified = check_changes({"00741216": sequence({})})
        self.assertEqual((changed["00741216"]["Value"][0], modified), ({"00404033": {"vr": "SQ"}}, True))


class FinalStateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.item = complete_new(new_item())[0] | {tag: attribute("UI", "1.2") for tag in ("00080016", "00080018", "00404010")}

    def test_completed(self) -> None:
        """Every attribute marked P must be there; Output Information may be empty."""
        self.assertEqual(unmet(self.item, State.COMPLETED), ["00741216"])
        done = self.item | performed()
        self.assertEqual(unmet(done, State.COMPLETED), [])
        for tag in ("00404028", "00404050", "00404051", "00404019", "00404033"):
            broken = dict(done["00741216"]["Value"][0])
            del broken[tag]
            self.assertEqual(unmet(self.item | {"00741216": sequence(broken)}, State.COMPLETED), [tag])

    def test_canceled(self) -> None:
        """Reason and time of the cancellation; nothing performed is asked for."""
        self.assertEqual(unmet(self.item, State.CANCELED), ["00741002"])
        self.assertEqual(unmet(self.item | discontinued(), State.CANCELED), ["00404052"])

    def test_both(self) -> None:
        """Every attribute marked R is needed for both."""
        for row in REQUIREMENTS.values():
            if row.final == "R":
                broken = {tag: value for tag, value in self.item.items() if tag != row.tag}
                for state in (State.COMPLETED, State.CANCELED):
                    self.assertIn(row.tag, unmet(broken, state))
