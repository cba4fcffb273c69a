"""Every attribute of PS3.4 Table K.6-1 as a key: it matches, it refuses, it is returned, by the keys of either door."""

import json
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.attributes import Attributes, attribute, items
from dicomd.model.query import Options, Query, from_identifier, from_parameters
from dicomd.services.worklist import Worklist
from tests.services.test_worklist import order
from tests.workers import ImmediateWorkers, new_index


@frozen
class Row:
    """An attribute with its place, a value, and another value of its kind that does not match."""

    path: str
    vr: str
    value: Any
    other: Any


def rows() -> list[Row]:
    step = "00400100."
    code = (("00080100", "SH", "C1", "C2"), ("00080102", "SH", "99T", "99U"), ("00080103", "SH", "1", "2"))
    found = [
        Row(step + "00080060", "CS", "XA", "MR"),
        Row(step + "00321070", "LO", "Iodine", "None"),
        Row(step + "00400001", "AE", "XA_1", "XA_2"),
        Row(step + "00400002", "DA", "20300102", "20300103"),
        Row(step + "00400003", "TM", "1015", "1016"),
        Row(step + "00400006", "PN", "Per^Former", "Some^Body"),
        Row(step + "00400007", "LO", "Step", "Stop"),
        Row(step + "00400009", "SH", "SPS-X", "SPS-Y"),
        Row(step + "00400010", "SH", "Station", "Other"),
        Row(step + "00400011", "SH", "Room", "Hall"),
        Row(step + "00400012", "LO", "Sedation", "None"),
        Row(step + "00400020", "CS", "ARRIVED", "READY"),
        Row("00080020", "DA", "20300101", "20300102"),
        Row("00080030", "TM", "0900", "0901"),
        Row("00080050", "SH", "ACC-X", "ACC-Y"),
        Row("00080090", "PN", "Re^Ferrer", "Some^Body"),
        Row("00081110.00081150", "UI", "1.2.840.10008.3.1.2.3.1", "1.2.3"),
        Row("00081110.00081155", "UI", "1.2.3.1", "1.2.3.2"),
        Row("00081120.00081150", "UI", "1.2.840.10008.3.1.2.1.1", "1.2.3"),
        Row("00081120.00081155", "UI", "1.2.3.3", "1.2.3.4"),
        Row("00100010", "PN", "Key^Every", "Some^Body"),
        Row("00100020", "LO", "KEY-1", "KEY-2"),
        Row("00100021", "LO", "ISSUER", "OTHER"),
        Row("00100030", "DA", "19700203", "19700204"),
        Row("00100040", "CS", "F", "M"),
        Row("00100101.00080100", "SH", "en", "de"),
        Row("00101002.00100020", "LO", "OLD-1", "OLD-2"),
        Row("00101020", "DS", 1.75, 1.8),
        Row("00101030", "DS", 70, 71),
        Row("00102000", "LO", "Pacemaker", "None"),
        Row("00102110", "LO", "Latex", "None"),
        Row("001021C0", "US", 4, 1),
        Row("0020000D", "UI", "1.2.3.5", "1.2.3.6"),
        Row("00321032", "PN", "Re^Quester", "Some^Body"),
        Row("00321060", "LO", "Procedure", "None"),
        Row("00380010", "LO", "ADM", "NONE"),
        Row("00380050", "LO", "Wheelchair", "None"),
        Row("00380300", "LO", "Ward", "Home"),
        Row("00380500", "LO", "Awake", "Asleep"),
        Row("00401001", "SH", "RP-X", "RP-Y"),
        Row("00401003", "SH", "HIGH", "LOW"),
        Row("00401004", "LO", "Walk", "Run"),
        Row("00403001", "LO", "Secret", "Open"),
    ]
    for sequence in (step + "00400008", "00321064"):
        found += [Row(f"{sequence}.{tag}", vr, value, other) for tag, vr, value, other in code]
    return found


ROWS = rows()
OURS = attribute("LO", "KEY-1")


def placed(path: str, content: dict[str, Any], within: Attributes) -> Attributes:
    """The data set with an attribute at its place, in the first item of each sequence."""
    *outer, tag = path.split(".")
    at = within
    for sequence in outer:
        at = at.setdefault(sequence, {"vr": "SQ", "Value": [{}]})["Value"][0]
    at[tag] = content
    return within


def at(path: str, answer: Attributes) -> dict[str, Any] | None:
    *outer, tag = path.split(".")
    for sequence in outer:
        [answer] = items(answer, sequence) or [{}]
    return answer.get(tag)


class KeyTests(SynchronousTestCase):
    def setUp(self) -> None:
        index = new_index(self.mktemp())
        self.addCleanup(index.close)
        self.worklist = Worklist(ImmediateWorkers(index), Clock())
        entry: Attributes = {}
        for row in ROWS:
            placed(row.path, attribute(row.vr, row.value), entry)
        self.successResultOf(Deferred.fromCoroutine(self.worklist.enter([entry, order(1)])))

    def find(self, query: Query) -> list[Attributes]:
        answer: Any = self.successResultOf(Deferred.fromCoroutine(self.worklist.find(query, 10)))
        return [json.loads(match) for match in answer.matches]

    def asked(self, row: Row, *given: Any) -> tuple[list[Attributes], list[Attributes]]:
        """The matches by an Identifier and by a query component."""
        identifier = placed(row.path, attribute(row.vr, *given), {})
        query = from_identifier(identifier, options=Options(relational=True, combined=True))
        return self.find(query), self.find(from_parameters([(row.path, str(given[0]) if given else "")]))

    def test_matches(self) -> None:
        for row in ROWS:
            for found in self.asked(row, row.value):
                self.assertEqual(len(found), 1, row)
                self.assertEqual(at(row.path, found[0]), attribute(row.vr, row.value), row)

    def test_refuses(self) -> None:
        for row in ROWS:
            self.assertEqual(self.asked(row, row.other), ([], []), row)

    def test_universal(self) -> None:
        """Without a value it asks for nothing, and is returned."""
        for row in ROWS:
            for found in self.asked(row):
                self.assertEqual(len(found), 2, row)
                self.assertEqual(at(row.path, found[1]), attribute(row.vr, row.value), row)

    def test_wildcards(self) -> None:
        for row in ROWS:
            if row.vr in ("AE", "CS", "LO", "PN", "SH"):
                for found in self.asked(row, f"{row.value[:-1]}?*"):
                    self.assertEqual([at(row.path, match) for match in found], [attribute(row.vr, row.value)], row)

    def test_ranges(self) -> None:
        for row in ROWS:
            if row.vr in ("DA", "TM"):
                for given, count in ((f"-{row.value}", 1), (f"{row.other}-", 0), (f"{row.value}-{row.other}", 1)):
                    for found in self.asked(row, given):
                        ours = [at(row.path, match) for match in found if at("00100020", match) == OURS]
                        self.assertEqual(ours, [attribute(row.vr, row.value)] * count, (row, given))
