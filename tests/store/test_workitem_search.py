"""Searches for work items: what the tables answer is what the reference matcher finds on all items."""

from itertools import product
from typing import Any

import orjson
from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.attributes import Attributes, attribute, text
from dicomd.model.query import from_identifier, from_parameters, match_all
from dicomd.model.workitem_keys import KEYS
from dicomd.store import workitems
from dicomd.store.workitem_search import plan, search
from tests.workers import new_index
from tests.workitems import code, new_item, performed, sequence

NAMES = (
    "Smith^John",
    "Smyth^Jon",
    "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "=山田^花子",
    "smithson^A[1]",
)
STARTS = ("20260101", "202601011200", "20260101120000+0100", "20260102000000.5", "20260301", "not a date")


def various() -> list[Attributes]:
    """Items that differ in everything that can be searched for."""
    found = []
    for number, (name, start) in enumerate(product(NAMES, STARTS)):
        stations = [code(f"ST{number % 4}", "99A"), code(f"ST{number % 3}", "99B")][: 1 + number % 2]
        request = {
            "0020000D": attribute("UI", f"1.2.{number % 5}"),
            "00080050": attribute("SH", f"ACC{number}"),
            "00401001": attribute("SH", "RP" if number % 2 else "RQ"),
        }
        performer = {"00404009": sequence(code(f"P{number % 3}")), "00404037": attribute("PN", "Roe^Richard")}
        item = new_item(
            t00100010=attribute("PN", name),
            t00404005=attribute("DT", start),
            t00404025=sequence(*stations),
            t0040A370=sequence(request),
            t00404034=sequence(performer) if number % 3 else {"vr": "SQ"},
            t00741200=attribute("CS", ("HIGH", "MEDIUM", "LOW")[number % 3]),
            t00741204=attribute("LO", f"Label {number % 7}"),
            t00404021=sequence({"0020000D": attribute("UI", f"1.3.{number % 4}")}),
            t00080201=attribute("SH", "+0200") if number % 4 == 0 else None,
        )
        found.append(item | (performed() if number % 5 == 0 else {}))
    return found


HTTP = (
    "",
    "ProcedureStepState=SCHEDULED",
    "ProcedureStepState=COMPLETED",
    "ProcedureStepState=SCHEDULED,IN PROGRESS",
    "ProcedureStepState=S*",
    "ScheduledProcedureStepPriority=HIGH",
    "ScheduledProcedureStepPriority=HIGH,LOW",
    "ProcedureStepLabel=Label ?",
    "ProcedureStepLabel=Label 3",
    "ProcedureStepLabel=*3",
    "PatientName=SMITH^JOHN",
    "PatientName=smi*",
    "PatientName=*a[1]",
    "PatientName=山田*",
    "PatientName=Yamada^Tarou=山田*",
    "PatientName=John Smith&fuzzymatching=true",
    "PatientName=smith&fuzzymatching=true",
    "PatientName=yamada 太郎&fuzzymatching=true",
    "PatientID=P-1",
    "PatientID=P-2",
    "PatientBirthDate=19691231-19700101",
    "PatientBirthDate=1970010119",
    "ScheduledStationNameCodeSequence.CodeValue=ST1",
    "ScheduledStationNameCodeSequence.CodeValue=ST1&ScheduledStationNameCodeSequence.CodingSchemeDesignator=99A",
    "ScheduledStationNameCodeSequence.CodeValue=ST1&ScheduledStationNameCodeSequence.CodingSchemeDesignator=99?",
    "ScheduledStationNameCodeSequence.CodeValue=ST1&ScheduledStationNameCodeSequence.CodeMeaning=Get images",
    "ScheduledStationNameCodeSequence.CodeValue=ST1&ScheduledProcedureStepPriority=HIGH&ProcedureStepState=SCHEDULED",
    "ScheduledHumanPerformersSequence.HumanPerformerCodeSequence.CodeValue=P1",
    "ScheduledHumanPerformersSequence.HumanPerformerName=roe*",
    "ReferencedRequestSequence.AccessionNumber=ACC7",
    "ReferencedRequestSequence.AccessionNumber=ACC7&ReferencedRequestSequence.RequestedProcedureID=RP",
    "ReferencedRequestSequence.StudyInstanceUID=1.2.1,1.2.2",
    "InputInformationSequence.StudyInstanceUID=1.3.2",
    "UnifiedProcedureStepPerformedProcedureSequence.PerformedStationNameCodeSequence.CodeValue=STATION1",
    "UnifiedProcedureStepPerformedProcedureSequence.PerformedProcedureStepEndDateTime=2026-2027",
    "CommentsOnTheScheduledProcedureStep=x",
    "ScheduledProcedureStepStartDateTime=20260101",
    "ScheduledProcedureStepStartDateTime=20260101-20260101",
    "ScheduledProcedureStepStartDateTime=20260101-20260201",
    "ScheduledProcedureStepStartDateTime=-20260101",
    "ScheduledProcedureStepStartDateTime=20260102-",
    "ScheduledProcedureStepStartDateTime=20260101110000%2B0000-20260101115959%2B0000",
    "ScheduledProcedureStepStartDateTime=20260101-20260201&TimezoneOffsetFromUTC=-0500",
    "ScheduledProcedureStepModificationDateTime=2026-2026",
    "SOPInstanceUID=1.9.3",
    "SOPInstanceUID=1.9.3,1.9.4,1.8",
)


class SearchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.index = new_index(self.mktemp())
        self.addCleanup(self.index.close)
        self.clock = Clock()
        self.items: list[Attributes] = []
        with self.index.batch() as connection:
            for number, item in enumerate(various()):
                own = {"00080018": attribute("UI", f"1.9.{number}"), "00404010": attribute("DT", "20260528202640.000000+0000")}
                self.items.append(workitems.add(connection, f"1.9.{number}", item | own).attributes)

    def find(self, query: Any, limit: int = 1000, offset: int = 0, after: Any = None) -> Any:
        with self.index.reader() as connection:
            found = search(connection, query, limit, offset, after)
            return evolve(found, items=[orjson.loads(item) for item in found.items])

    def uids(self, items: list[Attributes]) -> list[str]:
        return [text(item, "00080018") for item in items]

    def test_as_the_reference_matcher(self) -> None:
        """Every query finds what the matcher accepts, and all of it; some find something, some nothing."""
        found = set()
        for words in HTTP:
            pairs = [tuple(word.replace("%2B", "+").split("=", 1)) for word in words.split("&") if word]
            query = self._query(pairs)
            if query is None:
                continue
            with self.subTest(query=words):
                expected = sorted(self.uids([item for item in self.items if match_all(query, item)]))
                self.assertEqual(sorted(self.uids(self.find(query).items)), expected)
                found.add(bool(expected))
        self.assertEqual(found, {True, False})

    def _query(self, pairs: list[Any]) -> Any:
        try:
            return from_parameters(pairs)
        except ValueError:
            return None
        except Exception as error:
            self.assertIn("PatientBirthDate", str(error))
            return None

    def test_tables_are_enough(self) -> None:
        """The usual keys are answered without looking at items."""
        for words in HTTP[1:14]:
            self.assertTrue(plan(from_parameters([tuple(words.split("=", 1))])).exact, words)
        for path in KEYS:
            if path[-1] in ("00080100", "0020000D", "00080050"):
                self.assertTrue(plan(from_parameters([(".".join(path), "1.2")])).exact)

    def test_order_and_pages(self) -> None:
        """By start, then by creation; pages of any size and keyset pages give the same list without gap or repetition."""
        for pairs in ([], [("ScheduledProcedureStepPriority", "HIGH")], [("CommentsOnTheScheduledProcedureStep", "")]):
            query = from_parameters(pairs)
            everything = self.find(query).items
            starts = [workitems.start(item) for item in everything]
            self.assertEqual(starts, sorted(starts))
            for size in (1, 7):
                pages, offset = [], 0
                while (page := self.find(query, size, offset)).items:
                    self.assertEqual(page.remaining, max(0, len(everything) - offset - size))
                    pages += page.items
                    offset += size
                self.assertEqual(pages, everything)
                chained, place = [], None
                while (page := self.find(query, size, after=place)).items:
                    chained += page.items
                    place = page.last
                self.assertEqual(chained, everything)

    def test_count_follows(self) -> None:
        """What remains is counted anew when something was committed."""
        query = from_parameters([("ProcedureStepState", "SCHEDULED")])
        for number in (100, 101):
            for _ in range(2):
                self.assertEqual(self.find(query, 1).remaining, len(self.items) + number - 101)
            with self.index.batch() as connection:
                workitems.add(connection, f"1.9.{number}", new_item())

    def test_identifier(self) -> None:
        """The same from a C-FIND Identifier, with sequences as items."""
        identifier = {
            "00404025": sequence({"00080100": attribute("SH", "ST1"), "00080102": attribute("SH", "99A")}),
            "00741000": attribute("CS", "SCHEDULED"),
        }
        query = from_identifier(identifier)
        expected = [item for item in self.items if match_all(query, item)]
        self.assertTrue(expected)
        self.assertEqual(sorted(self.uids(self.find(query).items)), sorted(self.uids(expected)))


class KeyRowTests(SynchronousTestCase):
    def test_follow_every_change(self) -> None:
        """After each save the rows are those of a new item with the same content; after removal none are left."""
        index = new_index(self.mktemp())
        self.addCleanup(index.close)
        contents = various()
        with index.batch() as connection:
            item = workitems.add(connection, "1.9", contents[0])
            for number, content in enumerate([*contents[1:], contents[0]]):
                state = list(workitems.State)[number % 4]
                mixed = {tag: item.attributes.get(tag, element) if number % 3 else element for tag, element in content.items()}
                after = workitems.Workitem(item.id, "1.9", state, "", mixed)
                workitems.save(connection, item, after)
                item = after
                rows = connection.exec_driver_sql("SELECT path, value, start, state FROM workitem_keys").fetchall()
                self.assertEqual({(r[0], r[1]) for r in rows}, workitems.key_values(mixed))
                self.assertEqual({(r[2], r[3]) for r in rows}, {(workitems.start(mixed), str(state))})
            workitems.remove(connection, item, 0)
            self.assertEqual(connection.exec_driver_sql("SELECT * FROM workitem_keys").fetchall(), [])
            self.assertTrue(workitems.was_deleted(connection, "1.9"))

    def test_nul(self) -> None:
        """No text may hold it; one that does is still a value of its own, in the rows and for a search."""
        index = new_index(self.mktemp())
        self.addCleanup(index.close)
        with index.batch() as connection:
            item = workitems.add(connection, "1.9.1", new_item(t00741204=attribute("LO", "A", "A\0B", "A\0C")))
            workitems.add(connection, "1.9.2", new_item(t00741204=attribute("LO", "A\0B")))
            found = search(connection, from_parameters([("ProcedureStepLabel", "A")]), 10, 0)
            self.assertEqual([text(orjson.loads(one), "00404041") for one in found.items], ["READY"])
            workitems.remove(connection, item, 0)
            (rows,) = connection.exec_driver_sql("SELECT count(*) FROM workitem_keys WHERE workitem = 1").fetchone() or ()
            self.assertEqual(rows, 0)
