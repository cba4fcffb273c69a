"""The reference matcher."""

from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.attributes import Attributes, attribute
from dicomd.model.query import ANY, REQUIRED, from_parameters, match_all

STORED: Attributes = {
    "00080005": attribute("CS", "ISO_IR 192"),
    "00080020": attribute("DA", "20240115"),
    "00080030": attribute("TM", "1030"),
    "00080050": attribute("SH"),
    "00080061": attribute("CS", "CT", "SR"),
    "00100010": attribute("PN", "Smith^John"),
    "00100020": attribute("LO", "P1"),
    "00230010": attribute("LO", "OTHER"),
    "00230011": attribute("LO", "ACME"),
    "00231001": attribute("LO", "wrong block"),
    "00231101": attribute("LO", "value"),
    "00400275": attribute(
        "SQ",
        {"00400009": attribute("SH", "S1"), "00401001": attribute("SH", "R1")},
        {"00400009": attribute("SH", "S2"), "00401001": attribute("SH", "R2")},
    ),
    "7FE00010": {"vr": "OW", "BulkDataURI": "x"},
}


def found(*pairs: tuple[str, str], unknown: frozenset[tuple[str, ...]] = ANY) -> bool:
    return match_all(from_parameters(pairs), STORED, unknown=unknown)


class MatchingTests(SynchronousTestCase):
    def test_all_keys_count(self) -> None:
        """Keys are joined by a logical and."""
        self.assertTrue(found(("PatientID", "P1"), ("PatientName", "SMITH*")))
        self.assertFalse(found(("PatientID", "P1"), ("PatientName", "JONES*")))

    def test_one_of_several_values_suffices(self) -> None:
        """Multi-valued attributes."""
        self.assertTrue(found(("ModalitiesInStudy", "SR")))
        self.assertTrue(found(("ModalitiesInStudy", "MR,CT")))
        self.assertFalse(found(("ModalitiesInStudy", "MR")))
        self.assertFalse(found(("ModalitiesInStudy", "MR,CT"), ("multiplevaluematching", "true")))
        self.assertTrue(found(("ModalitiesInStudy", "SR,CT"), ("multiplevaluematching", "true")))

    def test_item_keys_hold_within_one_item(self) -> None:
        """Sequence matching."""
        scheduled, requested = "RequestAttributesSequence.ScheduledProcedureStepID", "00400275.00401001"
        self.assertTrue(found((scheduled, "S1"), (requested, "R1")))
        self.assertFalse(found((scheduled, "S1"), (requested, "R2")))
        self.assertFalse(found(("ReferencedStudySequence.ReferencedSOPInstanceUID", "1.2")))

    def test_unknown_values(self) -> None:
        """No value matches no key; or, by the rule of Query/Retrieve, every one."""
        self.assertFalse(found(("AccessionNumber", "A1")))
        self.assertTrue(found(("AccessionNumber", "A1"), unknown=REQUIRED))
        self.assertFalse(found(("StudyDescription", "A1"), unknown=REQUIRED))

    def test_empty_value_matching(self) -> None:
        """Two quotation marks ask for an absent or empty attribute."""
        for name, expected in (("AccessionNumber", True), ("StudyDescription", True), ("PatientID", False)):
            self.assertEqual(found((name, '""'), ("emptyvaluematching", "true")), expected)
            self.assertFalse(found((name, '""')))

    def test_combined_ranges(self) -> None:
        """Date and time ranges of one form are one interval; other forms stand alone."""
        for day, time, expected in (
            ("20240114-20240116", "1200-1100", True),
            ("20240115-20240116", "1200-1300", False),
            ("20240115-20240116", "0000-0100", True),
            ("20240114-20240115", "1200-1029", False),
            ("20240114-20240115", "1200-1030", True),
            ("20240115-", "1030-", True),
            ("20240115-", "1031-", False),
            ("20240114-", "-0900", False),
            ("20240115", "1000-1100", True),
        ):
            self.assertEqual(found(("StudyDate", day), ("StudyTime", time)), expected, (day, time))

    def test_private_creator(self) -> None:
        """A private element is found in the block that its creator reserved."""
        self.assertTrue(found(("00230010", "ACME"), ("00231001", "value")))
        self.assertFalse(found(("00230010", "ACME"), ("00231001", "wrong block")))
        self.assertTrue(found(("00231001", "wrong block")))
        self.assertTrue(found(("00230010", "OTHER")))

    def test_timezone(self) -> None:
        """Keys are read on the clock that the query states."""
        stored = {**STORED, "00080201": attribute("SH", "+0100")}
        query = from_parameters([("StudyTime", "0930"), ("TimezoneOffsetFromUTC", "+0000")])
        self.assertTrue(match_all(query, stored))
        self.assertFalse(match_all(from_parameters([("StudyTime", "0930")]), stored))
