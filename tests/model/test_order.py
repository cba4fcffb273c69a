"""The `orderby` parameter."""

from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.keys import Level
from dicomd.model.order import Sorting, read_order
from dicomd.model.query import from_parameters
from dicomd.model.status import InvalidRequest


class OrderTests(SynchronousTestCase):
    def test_names(self) -> None:
        """Keywords and tags, of the level or above."""
        found = read_order("StudyDate, -00100010,", Level.STUDY)
        self.assertEqual(found, (Sorting("00080020"), Sorting("00100010", descending=True)))
        self.assertEqual(read_order("-Modality", Level.IMAGE), (Sorting("00080060", descending=True),))

    def test_refused(self) -> None:
        """What is below, has several values, has no column, or is too much."""
        for value in ("Modality", "ModalitiesInStudy", "PatientComments", "x", "--StudyDate", "StudyDate," * 9):
            self.assertRaises(InvalidRequest, read_order, value, Level.STUDY)

    def test_in_a_query(self) -> None:
        """Several parameters follow each other; lists of items have an order of their own and say that they ignore it."""
        pairs = [("orderby", "StudyDate"), ("orderby", "-StudyTime")]
        self.assertEqual([key.tag for key in from_parameters(pairs, level=Level.STUDY).order], ["00080020", "00080030"])
        self.assertIn("orderby", from_parameters(pairs).warnings[0])
