"""What an answer holds."""

from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.attributes import attribute
from dicomd.model.projection import project
from dicomd.model.query import from_identifier, from_parameters
from tests.model.test_matching import STORED


class ProjectionTests(SynchronousTestCase):
    def test_what_was_asked_for(self) -> None:
        """Keys, include fields and what is always returned, in the order of tags."""
        query = from_parameters([("PatientID", "P1"), ("includefield", "00080061,StudyDescription")])
        self.assertEqual(list(project(query, STORED)), ["00080061", "00100020"])
        self.assertEqual(list(project(query, STORED, {"00080020": None})), ["00080020", "00080061", "00100020"])
        self.assertEqual(project(query, STORED, empty=True)["00081030"], {"vr": "LO"})

    def test_all(self) -> None:
        """Everything."""
        self.assertEqual(project(from_parameters([("includefield", "all")]), STORED), STORED)

    def test_items(self) -> None:
        """Only matching items with what was asked for; a whole sequence when it was asked for itself."""
        inner = from_parameters([("RequestAttributesSequence.ScheduledProcedureStepID", "S2")])
        self.assertEqual(project(inner, STORED)["00400275"], attribute("SQ", {"00400009": attribute("SH", "S2")}))
        whole = from_parameters([("includefield", "RequestAttributesSequence")])
        self.assertEqual(project(whole, STORED)["00400275"], STORED["00400275"])

    def test_sequence_of_an_identifier(self) -> None:
        """An item without values asks for these attributes of each item, an empty one for all of it."""
        query = from_identifier({"00400275": attribute("SQ", {"00400009": attribute("SH")})})
        self.assertEqual(
            project(query, STORED, empty=True)["00400275"],
            attribute("SQ", {"00400009": attribute("SH", "S1")}, {"00400009": attribute("SH", "S2")}),
        )
        self.assertEqual(project(from_identifier({"00400275": attribute("SQ")}), STORED)["00400275"], STORED["00400275"])

    def test_private(self) -> None:
        """A private element comes with its creator, where the data set has it."""
        query = from_parameters([("00230010", "ACME"), ("includefield", "00231001")])
        self.assertEqual(list(project(query, STORED)), ["00230011", "00231101"])

    def test_clock(self) -> None:
        """The answer is on the clock of the query and says so."""
        query = from_parameters([("TimezoneOffsetFromUTC", "+0100"), ("includefield", "00080030,00080201")])
        found = project(query, {**STORED, "00080201": attribute("SH", "+0000")})
        self.assertEqual(found, {"00080030": attribute("TM", "1130"), "00080201": attribute("SH", "+0100")})
