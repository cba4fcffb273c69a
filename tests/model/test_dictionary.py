"""Names of attributes."""

from twisted.trial.unittest import SynchronousTestCase

from dicomd.model import dictionary


class DictionaryTests(SynchronousTestCase):
    def test_names(self) -> None:
        """Keywords, tags in either case, repeating groups and private tags."""
        self.assertEqual(dictionary.tag_of("PatientName"), "00100010")
        self.assertEqual(dictionary.tag_of("0020000d"), "0020000D")
        self.assertEqual(dictionary.tag_of("60020010"), "60020010")
        self.assertEqual(dictionary.tag_of("00231001"), "00231001")
        self.assertIsNone(dictionary.tag_of("patientname"))
        self.assertIsNone(dictionary.tag_of("00100011"))

    def test_vr(self) -> None:
        """One VR where the dictionary allows several; UN for unknown private attributes."""
        self.assertEqual(dictionary.vr_of("00280106"), "US")
        self.assertEqual(dictionary.vr_of("00231001"), "UN")
        self.assertEqual(dictionary.vr_of("00230010"), "LO")
        self.assertEqual(dictionary.vr_of("00191008", "SIEMENS MR HEADER"), "CS")

    def test_pairs(self) -> None:
        """Each date knows its time."""
        self.assertEqual(dictionary.TIME_OF_DATE["00080020"], "00080030")
        self.assertEqual(dictionary.TIME_OF_DATE["00400002"], "00400003")
        self.assertEqual(dictionary.DATE_OF_TIME["00080013"], "00080012")
