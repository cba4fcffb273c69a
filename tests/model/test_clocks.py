"""Data sets on another clock."""

from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.attributes import Attributes, attribute
from dicomd.model.clocks import offset_of, on_clock

STORED: Attributes = {
    "00080020": attribute("DA", "20240229"),
    "00080030": attribute("TM", "2330"),
    "0008002A": attribute("DT", "20240229233000"),
    "00080201": attribute("SH", "+0000"),
    "00100030": attribute("DA", "19700101"),
    "00400275": attribute("SQ", {"00400002": attribute("DA", "20240101"), "00400003": attribute("TM", "000000.5")}),
}


class ClockTests(SynchronousTestCase):
    def test_moves_what_belongs_together(self) -> None:
        """A date with its time, in items too; a lone date stays; a DT states its offset from then on."""
        moved = on_clock(STORED, 60)
        self.assertEqual(moved["00080020"], attribute("DA", "20240301"))
        self.assertEqual(moved["00080030"], attribute("TM", "0030"))
        self.assertEqual(moved["0008002A"], attribute("DT", "20240229233000+0000"))
        self.assertEqual(moved["00080201"], attribute("SH", "+0100"))
        self.assertEqual(moved["00100030"], STORED["00100030"])
        item = moved["00400275"]["Value"][0]
        self.assertEqual((item["00400002"], item["00400003"]), (attribute("DA", "20240101"), attribute("TM", "010000.500000")))

    def test_unknown_offset(self) -> None:
        """A data set that does not state its offset is on the asked clock already."""
        moved = on_clock({"00080020": attribute("DA", "20240229"), "00080030": attribute("TM", "2330")}, 60)
        self.assertEqual(moved["00080020"], attribute("DA", "20240229"))
        self.assertEqual(offset_of(moved), 60)

    def test_unreadable_values_stay(self) -> None:
        """What is no time is not touched."""
        stored = {**STORED, "00080030": attribute("TM", "noon"), "0008002A": attribute("DT", "then")}
        moved = on_clock(stored, 60)
        self.assertEqual((moved["00080020"], moved["00080030"]), (stored["00080020"], stored["00080030"]))
        self.assertEqual(moved["0008002A"], stored["0008002A"])
