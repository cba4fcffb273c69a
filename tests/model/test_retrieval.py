"""Identifiers of C-GET and C-MOVE."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.attributes import Attributes
from dicomd.model.identifiers import Collection
from dicomd.model.keys import Level
from dicomd.model.retrieval import Wanted, wanted
from dicomd.model.status import InvalidRequest

PATIENT_ROOT = tuple(Level)
STUDY_ROOT = PATIENT_ROOT[1:]
_VRS = {"00080052": "CS", "00100020": "LO", "00100010": "PN"}


def identifier(**keys: Any) -> Attributes:
    tags = {"level": "00080052", "patient": "00100020", "study": "0020000D", "series": "0020000E", "sop": "00080018"}
    return {
        tags[name]: {"vr": _VRS.get(tags[name], "UI"), "Value": value if isinstance(value, list) else [value]}
        for name, value in keys.items()
    }


class WantedTests(SynchronousTestCase):
    def test_levels(self) -> None:
        """The unique keys from the root down to the level."""
        keys = {"patient": "P", "study": "1.2", "series": "1.3", "sop": ["1.4", "1.5"]}
        for level, expected in (
            ("PATIENT", Wanted(Level.PATIENT, "P")),
            ("STUDY", Wanted(Level.STUDY, "P", ("1.2",))),
            ("SERIES", Wanted(Level.SERIES, "P", ("1.2",), ("1.3",))),
            ("IMAGE", Wanted(Level.IMAGE, "P", ("1.2",), ("1.3",), ("1.4", "1.5"))),
        ):
            self.assertEqual(wanted(identifier(level=level, **keys), PATIENT_ROOT), expected)

    def test_higher_keys_may_be_missing(self) -> None:
        """As relational retrieval allows; many peers do so unasked."""
        self.assertEqual(wanted(identifier(level="SERIES", series="1.3"), STUDY_ROOT), Wanted(Level.SERIES, None, (), ("1.3",)))

    def test_patient_id_is_no_key_of_study_root(self) -> None:
        """There it is an attribute of the study."""
        self.assertIsNone(wanted(identifier(level="STUDY", study="1.2", patient="P"), STUDY_ROOT).patient_id)

    def test_non_patient(self) -> None:
        """No level, a list of instances (PS3.4 GG.3)."""
        found = wanted(identifier(sop=["1.4"], study="1.2"), ())
        self.assertEqual((found, found.collection), (Wanted(None, None, (), (), ("1.4",)), Collection.NON_PATIENT))

    def test_refused(self) -> None:
        """Level missing, unknown or not of the model; unique key missing, empty, malformed or multiple where it may not be."""
        for keys, levels in (
            ({"study": "1.2"}, STUDY_ROOT),
            ({"level": "FRAME", "study": "1.2"}, STUDY_ROOT),
            ({"level": "PATIENT", "patient": "P"}, STUDY_ROOT),
            ({"level": "STUDY", "patient": "P"}, PATIENT_ROOT),
            ({"level": "STUDY", "study": ""}, STUDY_ROOT),
            ({"level": "STUDY", "study": "1.*"}, STUDY_ROOT),
            ({"level": "PATIENT", "patient": ["P", "Q"]}, PATIENT_ROOT),
            ({}, ()),
        ):
            self.assertRaises(InvalidRequest, wanted, identifier(**keys), levels)
