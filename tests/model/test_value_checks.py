"""What is odd about a data set: PS3.5 Table 6.2-1 and the data dictionary."""

import orjson
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.attributes import Attributes, attribute
from dicomd.model.value_checks import findings

GOOD = {
    "AE": ["DICOMD", "A B"],
    "AS": ["018M", "001D"],
    "CS": ["ORIGINAL", "A_1 B"],
    "DA": ["20240229"],
    "DS": [1.5, 7, "+1.50E-3"],
    "DT": ["2024", "20240229", "20240229101112.123456+0200"],
    "IS": [7, -2147483648],
    "LO": ["x" * 64, "Ä\x1b"],
    "LT": ["a\r\n\tb\\c"],
    "PN": [{"Alphabetic": "A^B^C^D^E", "Ideographic": "山田"}],
    "SH": ["x" * 16],
    "ST": ["a\r\nb"],
    "TM": ["10", "1011", "101112", "101112.5", "235960"],
    "UC": ["x" * 100],
    "UI": ["1.2.840.0.1"],
    "UR": ["http://a/b"],
    "UT": ["x" * 100000],
}
BAD = {
    "AE": ["x" * 17, "a\x01"],
    "AS": ["18M", "018X"],
    "CS": ["lower", "A-B", "x" * 17],
    "DA": ["2024.02.29", "20230229", "YESTERDAY", "2024022"],
    "DS": ["abc", "1,5"],
    "DT": ["20241", "20241301", "2024-01-01"],
    "IS": ["1.5.2", 2**31],
    "LO": ["x" * 65, "a\x00b", "a\nb"],
    "LT": ["x" * 10241, "a\x00"],
    "PN": [{"Alphabetic": "x" * 65}, {"Alphabetic": "A^B^C^D^E^F"}],
    "SH": ["x" * 17],
    "ST": ["x" * 1025],
    "TM": ["24", "10:11", "1", "101112.", "10.5"],
    "UC": ["a\x07"],
    "UI": ["1.2.abc", "1..2", "1.02", "1." * 40],
    "UR": ["http://a b"],
    "UT": ["a\x00"],
}
# An attribute of each VR
KEYS = {
    "AE": "00080054",
    "AS": "00101010",
    "CS": "00080008",
    "DA": "00080020",
    "DS": "00180050",
    "DT": "0008002A",
    "IS": "00200013",
    "LO": "00080070",
    "LT": "00104000",
    "PN": "00100010",
    "SH": "00080050",
    "ST": "00080081",
    "TM": "00080030",
    "UC": "00080119",
    "UI": "00080018",
    "UR": "00081190",
    "UT": "0040A160",
}


def told(attributes: Attributes) -> list[str]:
    return [str(finding) for finding in findings(attributes)]


class ValueTests(SynchronousTestCase):
    def test_good(self) -> None:
        """Every form that the VR allows, and empty values among others."""
        for vr, content in GOOD.items():
            with self.subTest(vr=vr):
                self.assertEqual(told({KEYS[vr]: attribute(vr, *content, None)}), [])

    def test_bad(self) -> None:
        """The attribute is named, the value is not."""
        for vr, content in BAD.items():
            for value in content:
                with self.subTest(vr=vr, value=str(value)[:20]):
                    key = KEYS[vr]
                    self.assertEqual(told({key: attribute(vr, value)}), [f"({key[:4]},{key[4:]}) has a value that is no {vr}"])

    def test_nested(self) -> None:
        """The path names sequences and items."""
        item = {"00081155": attribute("UI", "x")}
        self.assertEqual(told({"00081110": attribute("SQ", {}, item)}), ["00081110/1/(0008,1155) has a value that is no UI"])
        self.assertEqual(findings({"00081110": attribute("SQ", item)})[0].tag, 0x00081155)

    def test_vr(self) -> None:
        """A standard attribute has a VR of the dictionary, or UN; of several either."""
        self.assertEqual(told({"00280010": attribute("LO", "x")}), ["(0028,0010) is LO, not US"])
        for vr in ("US", "SS"):
            self.assertEqual(told({"00280106": attribute(vr, 1)}), [])
        self.assertEqual(told({"00280010": {"vr": "UN", "InlineBinary": "AAA="}}), [])
        self.assertEqual(told({"00080003": attribute("LO", "x")}), ["(0008,0003) is not in the data dictionary"])
        self.assertEqual(told({"60020010": attribute("US", 1)}), [])

    def test_private(self) -> None:
        """A block must be reserved (PS3.5 7.8.1)."""
        creator = {"00190010": attribute("LO", "ACME")}
        self.assertEqual(told(creator | {"00191002": attribute("LO", "x")}), [])
        self.assertEqual(told({"00191002": attribute("LO", "x")}), ["(0019,1002) has no private creator"])
        self.assertEqual(told({"00190002": attribute("LO", "x")}), ["(0019,0002) is in no private block"])

    def test_bounded(self) -> None:
        """Not more than a few are told; items that are JSON already are not looked at."""
        items = [{"00081155": attribute("UI", "x")} for _ in range(1000)]
        self.assertEqual(len(findings({"00081110": attribute("SQ", *items)})), 20)
        self.assertEqual(findings({"00081110": attribute("SQ", orjson.Fragment(b"{}"))}), [])
