"""Searches of the worklist: what the tables answer is what the reference matcher finds on all entries, whatever they hold."""

import json
import random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.attributes import Attributes, attribute
from dicomd.model.kinds import LONGEST_PATTERN
from dicomd.model.matching import Items
from dicomd.model.projection import project
from dicomd.model.query import Options, Query, from_identifier, from_parameters, match_all
from dicomd.model.scheduled_steps import ALWAYS_RETURNED, SEQUENCE, STEP_STATUS, ScheduledState, state_of
from dicomd.model.status import ServiceError
from dicomd.services.worklist import Worklist
from dicomd.store import worklist_search
from tests.workers import ImmediateWorkers, new_index

# Values that mean something to SQL, to patterns, to names or to JSON, and those that resemble them.
_WORDS = (
    "CT MR ct CT_1 CT%1 CT'1 % _ A* *A* ? * ** \" '' -- \\ a[1] [a] ] 1e5 100000 = =* *= Müller^Eva MULLER^EVA Doe^John Jon^Doe"
    " smith^a smyth^b straße^x STRASSE^X =山田 山* *太* D*n d*^j* ^ é^e e\u0301^e Yamada^Tarou=山田^太郎=やまだ^たろう"
)
HOSTILE = [*_WORDS.split(), "Doe John", " CT ", "CT ", "a\nb", "a\0b", "", "x" * 5000, "x*" * 30]
LEFT = (ScheduledState.COMPLETED, ScheduledState.DISCONTINUED)


class Various:
    """Entries and queries at random, the same ones each time."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def word(self) -> str:
        choose = self._random
        return choose.choice(HOSTILE) if choose.random() < 0.8 else "".join(choose.choices("aB1%_'\\*?^= üß山や[]", k=3))

    def some(self, vr: str, *among: Any) -> dict[str, Any]:
        """None, one or two values."""
        count = self._random.choice((0, 1, 1, 1, 1, 1, 1, 1, 2))
        return attribute(vr, *(self._random.choice(among) if among else self.word() for _ in range(count)))

    def part(self, share: float, attributes: Attributes) -> Attributes:
        return {tag: content for tag, content in attributes.items() if self._random.random() < share}

    def entry(self) -> Attributes:
        days, hours = ("20260601", "2026.06.02", "20260603", "20261231"), ("08", "0930", "093000.5", "23:59:60", "00")
        optional = {
            "00400006": self.some("PN"),
            STEP_STATUS: self.some("CS", "SCHEDULED", "ARRIVED", "COMPLETED", "other"),
            "00400010": self.some("SH"),
            "00400008": {"vr": "SQ", "Value": [{"00080100": self.some("SH")}, {"00080100": self.some("SH")}]},
        }
        step = {
            "00080060": attribute("CS", self.word()),
            "00400001": self.some("AE"),
            "00400002": attribute("DA", self._random.choice(days)),
            "00400003": attribute("TM", self._random.choice(hours)),
            "00400009": attribute("SH", str(self._random.random())[2:10]),
        }
        others = {
            "00080050": self.some("SH"),
            "00080090": self.some("PN"),
            "0020000D": self.some("UI", "1.2.3", "1.2.4", "1.02.4"),
            "00080201": self.some("SH", "+0100", "-0500"),
            "00101030": self.some("DS", 70, 70.5, "70.0"),
            "00380010": self.some("LO"),
            "00401001": self.some("SH"),
        }
        needed = {"00100010": attribute("PN", self.word()), "00100020": attribute("LO", self.word())}
        return {**needed, **self.part(0.6, others), SEQUENCE: {"vr": "SQ", "Value": [step | self.part(0.6, optional)]}}

    def query(self) -> Query:
        """By the Identifier of a C-FIND, with any of the options; InvalidRequest for bad values."""
        step = {
            "00080060": self.some("CS"),
            "00400001": self.some("AE"),
            "00400002": self.some("DA", "20260602", "20260601-20260603", "-20260602", "20260602-"),
            "00400003": self.some("TM", "08", "0800-0930", "-0930", "0930-", "1000-0900"),
            "00400006": self.some("PN"),
            "00400009": self.some("SH"),
            STEP_STATUS: self.some("CS", "SCHEDULED", "COMPLETED", "*E*", "AR?IVED"),
            "00400010": self.some("SH"),
            "00400008": {"vr": "SQ", "Value": [{"00080100": self.some("SH")}]},
        }
        keys = {
            "00080050": self.some("SH", '""', *HOSTILE),
            "00080090": self.some("PN"),
            "00080201": attribute("SH", "+0000"),
            "00100010": self.some("PN"),
            "00100020": self.some("LO"),
            "00101030": self.some("DS", 70, 70.5),
            "0020000D": self.some("UI", "1.2.3", "1.2.4"),
            "00380010": self.some("LO"),
            "00401001": self.some("SH"),
        }
        identifier = self.part(0.15, keys) | {SEQUENCE: {"vr": "SQ", "Value": [self.part(0.15, step)]}}
        names = ("combined", "fuzzy", "timezone", "empty", "multiple")
        options = {name: self._random.random() < 0.35 for name in names}
        return from_identifier(identifier, options=Options(relational=True, **options))


class SearchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.index = new_index(self.mktemp())
        self.addCleanup(self.index.close)
        self.worklist = Worklist(ImmediateWorkers(self.index), Clock())

    def run_(self, work: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def enter(self, various: Various, count: int) -> list[Attributes]:
        """As many entries as the worklist takes of so many; in the order in which they are answered."""
        for _ in range(count):
            entry = various.entry()
            entering = Deferred.fromCoroutine(self.worklist.enter([entry]))
            entering.addErrback(lambda failure: failure.trap(ServiceError))
            self.successResultOf(entering)
        return self.streamed(from_parameters([("ScheduledProcedureStepSequence.ScheduledProcedureStepStatus", "*?")]))

    def streamed(self, query: Query) -> list[Attributes]:
        async def gather() -> list[Attributes]:
            return [entry async for page in self.worklist.stream(query) for entry in page]

        found: list[Attributes] = self.run_(gather())
        return found

    def check(self, query: Query, entries: list[Attributes]) -> None:
        steps = [key.match for key in query.keys if key.tag == SEQUENCE and isinstance(key.match, Items)]
        all_states = any(inner.tag == STEP_STATUS for step in steps for inner in step.keys)
        shown = [entry for entry in entries if all_states or state_of(entry) not in LEFT]
        expected = [entry for entry in shown if match_all(query, entry)]
        self.assertEqual(self.streamed(query), expected, query)
        answer = self.run_(self.worklist.find(query, 3))
        wanted = [project(query, entry, ALWAYS_RETURNED) for entry in expected[:3]]
        self.assertEqual([json.loads(match) for match in answer.matches], wanted, query)
        self.assertEqual(answer.remaining, max(0, len(expected) - 3), query)

    def test_as_the_reference_matcher(self) -> None:
        for seed in range(3):
            various = Various(seed)
            entries = self.enter(various, 250)
            self.assertGreater(len(entries), 40)
            for _ in range(150):
                try:
                    query = various.query()
                except ServiceError:
                    continue
                self.check(query, entries)

    def test_decided_by_columns(self) -> None:
        """What modalities ask for needs no look into any entry."""
        step = "ScheduledProcedureStepSequence."
        day = step + "ScheduledProcedureStepStartDate"
        for asked in (
            {},
            {step + "ScheduledStationAETitle": "CT_1", step + "Modality": "CT", day: "20260601"},
            {day: "20260601-20260602", step + "ScheduledProcedureStepStartTime": "1000-0900"},
            {step + "ScheduledPerformingPhysicianName": "DOE*"},
            {step + "Modality": "CT,MR"},
            {"PatientName": "*doe*"},
            {"PatientName": "Yamada*=山田*"},
            {"PatientName": "john doe", "fuzzymatching": "true"},
            {"PatientID": "P-*", "AccessionNumber": "?1"},
            {"StudyInstanceUID": "1.2.3,1.2.4"},
        ):
            self.assertTrue(worklist_search.narrow(from_parameters(asked.items()), LEFT).exact, asked)

    def test_endless_pattern(self) -> None:
        """SQLite has a limit for patterns: the longest that a key may hold is below it."""
        various = Various(7)
        entries = self.enter(various, 20)
        for pattern in ("x" * (LONGEST_PATTERN - 1) + "*", "*" + "山" * (LONGEST_PATTERN - 1)):
            self.check(from_parameters([("PatientName", pattern), ("PatientID", pattern)]), entries)

    def test_many_uids(self) -> None:
        uids = ",".join(f"1.2.{number}" for number in range(40000))
        self.check(from_parameters([("StudyInstanceUID", uids)]), self.enter(Various(8), 40))
