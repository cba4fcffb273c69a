"""Search of the archive: levels, order, pages, what is returned, and keys that no column answers."""

import json
from typing import Any

from pydicom import Dataset
from pydicom.sequence import Sequence
from twisted.internet.defer import Deferred

from dicomd.model.attributes import Attributes, attribute, text
from dicomd.model.keys import Level
from dicomd.model.query import Query, from_identifier, from_parameters
from dicomd.model.status import Busy
from dicomd.services.query import Answer, Search
from dicomd.services.storage import Source
from dicomd.wire import datasets
from dicomd.wire.elements import EXPLICIT_LITTLE
from dicomd.wire.identifiers import IdentifierWriter
from tests.searched import CT, ArchiveCase, made, part10

STUDY_ROOT = (Level.STUDY, Level.SERIES, Level.IMAGE)


def item(**values: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


class SearchCase(ArchiveCase):
    def find(self, *pairs: tuple[str, str], level: Level = Level.STUDY, always: tuple[Level, ...] = ()) -> Answer:
        query = from_parameters(pairs, level=level)
        return self.wait(self.search.find(query, always=always or (level,)))

    def found(self, *pairs: tuple[str, str], level: Level = Level.STUDY) -> list[str]:
        """What was found, as the ends of the UIDs behind `1.2.`."""
        tag = {Level.STUDY: "0020000D", Level.SERIES: "0020000E", Level.IMAGE: "00080018"}[level]
        return [json.loads(match)[tag]["Value"][0][4:] for match in self.find(*pairs, level=level).matches]

    def identified(self, level: str, **keys: Any) -> list[Attributes]:
        identifier = {"00080052": attribute("CS", level), **keys}
        return self.streamed(from_identifier(identifier, levels=(Level.PATIENT, *STUDY_ROOT)))

    def streamed(self, query: Query) -> list[Attributes]:
        """All answers as they are sent over DIMSE, read again."""
        stream = self.wait(self.search.begin(lambda: (query, IdentifierWriter(EXPLICIT_LITTLE, ""))))
        return [datasets.decode(one, EXPLICIT_LITTLE) for one in [*stream.first, *self.gather(stream.others())]]


class OrderTests(SearchCase):
    def test_newest_study_first(self) -> None:
        """By date, time and UID; undated ones last."""
        self.store(made("1", StudyDate="20200101"), made("2", StudyDate="20210101", StudyTime="0900"))
        self.store(made("3", StudyDate="20210101", StudyTime="1000"), made("4", StudyDate=None), made("5", StudyDate="20200101"))
        self.assertEqual(self.found(), ["3", "2", "1", "5", "4"])

    def test_by_number_below(self) -> None:
        """Series and instances by their numbers, as numbers; those without last."""
        self.store(*[made("1", series, SeriesNumber=number) for series, number in (("1", "10"), ("2", "9"), ("3", None))])
        self.store(*[made("1", "1", instance, SeriesNumber="10") for instance in ("10", "9")])
        self.assertEqual(self.found(level=Level.SERIES), ["1.2", "1.1", "1.3"])
        self.assertEqual(self.found(("SeriesInstanceUID", "1.2.1.1"), level=Level.IMAGE), ["1.1.1", "1.1.9", "1.1.10"])

    def test_pages(self) -> None:
        """Pages follow each other; the rest is counted exactly, at every level."""
        for study in range(1, 8):
            self.store(made(str(study), "1", "1"), made(str(study), "1", "2"), made(str(study), "2", "1"))
        self.assertEqual(self.found(("limit", "3")), ["1", "2", "3"])
        self.assertEqual(self.found(("limit", "3"), ("offset", "6")), ["7"])
        self.assertEqual(self.found(("limit", "0")), [])
        self.assertEqual(self.found(("offset", "7")), [])
        for level, keys, total in (
            (Level.STUDY, [], 7),
            (Level.SERIES, [], 14),
            (Level.IMAGE, [], 21),
            (Level.SERIES, [("StudyInstanceUID", "1.2.1,1.2.2")], 4),
            (Level.IMAGE, [("PatientID", "P1")], 3),
            (Level.IMAGE, [("SeriesNumber", "1")], 14),
            (Level.IMAGE, [("InstanceNumber", "2")], 7),
            (Level.STUDY, [("InstanceNumber", "2")], 7),
            (Level.STUDY, [("PatientName", "name*")], 7),
        ):
            self.assertEqual(self.find(*keys, ("limit", "2"), ("offset", "1"), level=level).remaining, total - 3, (level, keys))
        self.assertEqual(self.find(("offset", "7")).remaining, 0)

    def test_what_remains(self) -> None:
        """Counted anew when something was committed; by keys of lower levels each entity counts once."""
        self.store(*[made(str(study), str(series)) for study in range(3) for series in range(2)])
        for key in (("Modality", "CT"), ("SOPClassUID", CT), ("StudyDescription", "*")):
            self.assertEqual([self.find(key, ("limit", "1")).remaining for _ in range(2)], [2, 2], key)
        self.store(made("3"), made("4", Modality="MR"))
        self.assertEqual(self.find(("Modality", "CT"), ("limit", "1")).remaining, 3)
        self.assertEqual(self.find(("Modality", "CT"), ("StudyInstanceUID", "1.2.1"), ("limit", "0")).remaining, 1)

    def test_what_is_remembered(self) -> None:
        """How many remain is remembered for short keys, not for lists as long as a URL."""
        self.store(made("1"), made("2"))
        uids = ",".join(f"1.2.{number}" for number in range(500))
        for keys, remembered in ((("StudyInstanceUID", uids), 0), (("StudyDate", "20240101-"), 1)):
            self.assertEqual(self.find(keys, ("limit", "1")).remaining, 1)
            with self.archive.index.reader() as connection:
                self.assertEqual(len(connection.info.get("counts", (0, {}))[1]), remembered)

    def test_far_pages(self) -> None:
        """Behind hundreds of entities pages neither overlap nor leave anything out."""
        for study in range(8):
            self.admit(str(study), range(90), study_date=f"202401{10 + study // 2}", patient_name="Name")
        self.search = Search(self.workers, self.archive.folder, self.clock, max_results=1000)
        everything = self.found(level=Level.IMAGE)
        self.assertEqual(len(everything), 720)
        for offset, limit in ((501, 3), (539, 2), (540, 90), (541, 100), (629, 200), (719, 5), (720, 5), (900, 5)):
            page = self.found(("offset", str(offset)), ("limit", str(limit)), level=Level.IMAGE)
            self.assertEqual(page, everything[offset : offset + limit], (offset, limit))
        page = self.found(("offset", "600"), ("limit", "50"), ("PatientName", "name*"), level=Level.IMAGE)
        self.assertEqual(page, everything[600:650])

    def test_the_server_has_a_maximum(self) -> None:
        """However much is asked for."""
        self.search = Search(self.workers, self.archive.folder, self.clock, max_results=2)
        self.store(made("1"), made("2"), made("3"))
        for pairs in ((), (("limit", "1000"),), (("limit", "9" * 30),)):
            answer = self.find(*pairs)
            self.assertEqual((len(answer.matches), answer.remaining), (2, 1))


class ReturnTests(SearchCase):
    def answer(self, *pairs: tuple[str, str], level: Level = Level.STUDY, always: tuple[Level, ...] = ()) -> Attributes:
        (match,) = self.find(*pairs, level=level, always=always).matches
        tags = list(json.loads(match))
        self.assertEqual(tags, sorted(tags))
        return json.loads(match)

    def test_study(self) -> None:
        """What the table says, empty where unknown (PS3.18 Table 10.6.3-3)."""
        self.store(made("1", TimezoneOffsetFromUTC="+0100"), made("1", "2", Modality="SR"))
        found = self.answer()
        self.assertEqual(found["00080061"], attribute("CS", "CT", "SR"))
        self.assertEqual((found["00201206"], found["00201208"]), (attribute("IS", 2), attribute("IS", 2)))
        self.assertEqual(found["00081190"], attribute("UR", "@@BASE@@/studies/1.2.1"))
        self.assertEqual((found["00080056"], found["00080201"]), (attribute("CS", "ONLINE"), attribute("SH", "+0100")))
        for tag in ("00080090", "00100030", "00100040", "00200010"):
            self.assertEqual(list(found[tag]), ["vr"])

    def test_series(self) -> None:
        """PS3.18 Table 10.6.3-4, with the UID of the study."""
        requests = Sequence([item(ScheduledProcedureStepID="S1", RequestedProcedureID="R1")])
        values = {"SeriesDescription": "Axial", "BodyPartExamined": "HEAD", "RequestAttributesSequence": requests}
        self.store(made("1", **values, PerformedProcedureStepStartDate="20240101", TimezoneOffsetFromUTC="+0100"))
        found = self.answer(level=Level.SERIES)
        self.assertEqual(found["00081190"], attribute("UR", "@@BASE@@/studies/1.2.1/series/1.2.1.1"))
        self.assertEqual((found["0008103E"], found["00180015"]), (attribute("LO", "Axial"), attribute("CS", "HEAD")))
        self.assertEqual((found["0020000D"], found["00201209"]), (attribute("UI", "1.2.1"), attribute("IS", 1)))
        self.assertEqual(found["00400244"], attribute("DA", "20240101"))
        self.assertEqual(text(found["00400275"]["Value"][0], "00400009"), "S1")
        self.assertEqual(found["00080201"], attribute("SH", "+0100"))
        self.assertNotIn("00100010", found)

    def test_instance(self) -> None:
        """PS3.18 Table 10.6.3-5."""
        self.store(made("1", Rows=2, Columns=3, BitsAllocated=16))
        found = self.answer(level=Level.IMAGE)
        self.assertEqual(text(found, "00081190"), "@@BASE@@/studies/1.2.1/series/1.2.1.1/instances/1.2.1.1.1")
        self.assertEqual((found["00280010"], found["00280011"]), (attribute("US", 2), attribute("US", 3)))
        self.assertEqual(found["00083002"], attribute("UI", "1.2.840.10008.1.2.1"))

    def test_levels_above(self) -> None:
        """A search that is not within a study returns the study's attributes too."""
        self.store(made("1"))
        found = self.answer(level=Level.IMAGE, always=STUDY_ROOT)
        for tag in ("00100010", "00080061", "00080060", "00201209", "00080016"):
            self.assertIn(tag, found)
        self.assertIn("/instances/", text(found, "00081190"))

    def test_include_fields(self) -> None:
        """Columns, metadata and attributes of the levels above; never of those below."""
        self.store(made("1", StudyDescription="Chest", PatientComments="none", ProtocolName="Thorax", SliceThickness="5"))
        fields = "PatientName,StudyDescription,PatientComments,ProtocolName,SliceThickness,SOPClassesInStudy"
        image = self.answer(("includefield", fields), level=Level.IMAGE)
        for tag in ("00100010", "00081030", "00104000", "00181030", "00180050", "00080062"):
            self.assertIn("Value", image[tag])
        answer = self.find(("includefield", fields))
        study = json.loads(answer.matches[0])
        self.assertEqual(study["00104000"], attribute("LT", "none"))
        self.assertNotIn("00181030", study)
        self.assertEqual(len(answer.warnings), 2)
        self.assertIn("SliceThickness", answer.warnings[1])
        series = self.answer(("includefield", "ProtocolName"), level=Level.SERIES)
        self.assertEqual(series["00181030"], attribute("LO", "Thorax"))

    def test_all_fields(self) -> None:
        """Everything of the level and above."""
        self.store(made("1", PatientComments="none", ProtocolName="Thorax", SliceThickness="5"))
        for level, there, not_there in ((Level.STUDY, "00104000", "00181030"), (Level.SERIES, "00181030", "00180050")):
            found = self.answer(("includefield", "all"), level=level)
            self.assertIn(there, found)
            self.assertNotIn(not_there, found)
        self.assertIn("00180050", self.answer(("includefield", "all"), level=Level.IMAGE))

    def test_the_first_to_arrive(self) -> None:
        """What no column holds is that of the instance which began to arrive first, as it is after the index is made anew."""
        receptions = []
        for number, name in ((1, "First"), (2, "Second")):
            reception = self.storage.begin(Source("HTTP"))
            reception.write(part10(made("1", instance=str(number), ProtocolName=name, PatientComments=name)))
            receptions.append(reception)
        for reception in reversed(receptions):
            self.wait(self.storage.store(reception))
        for level, tag in ((Level.STUDY, "00104000"), (Level.SERIES, "00181030")):
            self.assertEqual(self.answer(("includefield", "all"), level=level)[tag]["Value"], ["First"])

    def test_whole_sequences(self) -> None:
        """A sequence that is named is returned with all it has."""
        requests = Sequence([item(ScheduledProcedureStepID="S1", ScheduledProcedureStepDescription="D")])
        self.store(made("1", RequestAttributesSequence=requests))
        found = self.answer(("includefield", "RequestAttributesSequence"), level=Level.SERIES)
        self.assertEqual(text(found["00400275"]["Value"][0], "00400007"), "D")

    def test_private_attributes(self) -> None:
        """With their creator, as key and as field."""
        dataset = made("1")
        dataset.private_block(0x0011, "ACME", create=True).add_new(1, "LO", "secret")
        self.store(dataset, made("2"))
        pairs = (("00110010", "ACME"), ("00111001", "secret"))
        found = self.answer(*pairs, level=Level.IMAGE)
        self.assertEqual((found["00110010"], found["00111001"]), (attribute("LO", "ACME"), attribute("LO", "secret")))
        self.assertEqual(self.found(("00110010", "ACME"), ("00111001", "sec"), level=Level.IMAGE), [])


class KeyTests(SearchCase):
    def test_keys_of_other_levels(self) -> None:
        """A study is found by what one series, or one instance, in it has."""
        self.store(made("1", Modality="MR", SeriesNumber="5"), made("1", "2", Modality="CT", SeriesNumber="6"), made("2"))
        self.assertEqual(self.found(("Modality", "MR")), ["1"])
        self.assertEqual(self.found(("Modality", "MR"), ("SeriesNumber", "6")), [])
        self.assertEqual(self.found(("SeriesInstanceUID", "1.2.1.2")), ["1"])
        self.assertEqual(self.found(("SOPInstanceUID", "1.2.2.1.1")), ["2"])
        self.assertEqual(self.found(("SOPInstanceUID", "1.2.2.1.1"), level=Level.SERIES), ["2.1"])
        self.assertEqual(self.found(("PatientID", "P2"), level=Level.IMAGE), ["2.1.1"])

    def test_metadata(self) -> None:
        """Any attribute is a key, at every level; what is prepared and what is not yet."""
        self.store(made("1", SliceThickness="5.0"), made("1", "2", SliceThickness="2"), made("2", SliceThickness="2.0"))
        for level, expected in ((Level.STUDY, ["1", "2"]), (Level.SERIES, ["1.2", "2.1"]), (Level.IMAGE, ["1.2.1", "2.1.1"])):
            self.assertEqual(self.found(("SliceThickness", "2.00"), level=level), expected)
        answer = self.find(("SliceThickness", "2"), ("limit", "1"), level=Level.IMAGE)
        self.assertEqual((len(answer.matches), answer.remaining), (1, 1))
        self.assertEqual(self.found(("SliceThickness", "2"), ("offset", "1"), level=Level.IMAGE), ["2.1.1"])
        self.assertEqual(self.found(("SliceThickness", "2"), ("PatientID", "P1")), ["1"])

    def test_lists(self) -> None:
        """Modalities in study: one of the values; all of them; with wildcards."""
        self.store(made("1", Modality="CT"), made("1", "2", Modality="SR"), made("2", Modality="CTX"))
        self.assertEqual(self.found(("ModalitiesInStudy", "CT")), ["1"])
        self.assertEqual(self.found(("ModalitiesInStudy", "SR,CTX")), ["1", "2"])
        self.assertEqual(self.found(("ModalitiesInStudy", "SR,CT"), ("multiplevaluematching", "true")), ["1"])
        self.assertEqual(self.found(("ModalitiesInStudy", "C*")), ["1", "2"])
        self.assertEqual(self.found(("ModalitiesInStudy", "C*R")), [])

    def test_very_many_values(self) -> None:
        """More alternatives than a database takes in one condition."""
        self.store(made("1", PatientName="Smith^John"))
        many = [f"X{number}" for number in range(2000)]
        for name, last in (("ModalitiesInStudy", "CT"), ("Modality", "CT"), ("PatientName", "Smith*"), ("StudyDescription", "x")):
            separator = "\\" if name != "Modality" else ","
            expected = [] if last == "x" else ["1"]
            self.assertEqual(self.found((name, separator.join([*many, last]))), expected, name)
        uids = ",".join(f"1.2.{number}" for number in range(5000))
        self.assertEqual(self.found(("StudyInstanceUID", uids)), ["1"])
        self.assertEqual(self.found(("SOPClassesInStudy", uids)), [])
        words = " ".join(["smith"] + [f"w{number}" for number in range(100)])
        self.assertEqual(self.found(("PatientName", words), ("fuzzymatching", "true")), [])

    def test_items(self) -> None:
        """Several keys of a sequence hold within one item."""
        requests = [item(ScheduledProcedureStepID=f"S{n}", RequestedProcedureID=f"R{n}") for n in (1, 2)]
        self.store(made("1", RequestAttributesSequence=Sequence(requests)))
        step, procedure = "RequestAttributesSequence.ScheduledProcedureStepID", "00400275.00401001"
        self.assertEqual(self.found((step, "S1"), (procedure, "R1"), level=Level.SERIES), ["1.1"])
        self.assertEqual(self.found((step, "S1"), (procedure, "R2"), level=Level.SERIES), [])
        self.assertEqual(self.found((step, "S2"), level=Level.SERIES), ["1.1"])
        self.assertEqual(self.found((step, "S3"), level=Level.SERIES), [])

    def test_names(self) -> None:
        """Whatever the group, literally or fuzzily."""
        self.store(made("1", PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう"), made("2", PatientName="Müller^Jörg"))
        self.store(made("3", PatientName=None))
        unknown = "3"
        for key, expected in (
            ("YAMADA*", ["1"]),
            ("山田*", ["1"]),
            ("*太郎*", ["1"]),
            ("=山田^太郎", ["1"]),
            ("*ADA*", ["1"]),
            ("*a*a^*", ["1"]),
            ("müller^jörg", ["2"]),
            ("muller*", []),
            ("y?m*", ["1"]),
            ("[ym]*", []),
            ('*"a"*', []),
        ):
            self.assertEqual(self.found(("PatientName", key)), [*expected, unknown], key)
        for key, expected in (("jorg mueller", ["2"]), ("tarou", ["1"]), ("太", ["1"]), ("ヤマダ", ["1"]), ("*ull*", ["2"])):
            self.assertEqual(self.found(("PatientName", key), ("fuzzymatching", "true")), [*expected, unknown], key)

    def test_timezone(self) -> None:
        """Keys on the clock of the query; the answer too."""
        self.store(made("1", StudyDate="20240101", StudyTime="2330", TimezoneOffsetFromUTC="+0000"))
        self.store(made("2", StudyDate="20240102", StudyTime="0030"))
        pairs = [("StudyDate", "20240102"), ("StudyTime", "00-01"), ("TimezoneOffsetFromUTC", "+0100")]
        answer = self.find(*pairs)
        self.assertEqual([text(json.loads(match), "00100020") for match in answer.matches], ["P2", "P1"])
        self.assertEqual([text(json.loads(match), "00080030") for match in answer.matches], ["0030", "0030"])
        self.assertEqual([text(json.loads(match), "00080201") for match in answer.matches], ["+0100", "+0100"])

    def test_nothing_is_special_but_wildcards(self) -> None:
        """SQL and patterns of the database are data."""
        for number, value in enumerate(("50%", "a_b", "O'Hara", '"x"', "[a]", "a\\b"), 1):
            self.store(made(str(number), StudyDescription=value))
        for value, expected in (("5%", []), ("50%", ["1"]), ("a_*", ["2"]), ("O'H*", ["3"]), ('*"x"*', ["4"]), ("[a]*", ["5"])):
            self.assertEqual(self.found(("StudyDescription", value)), expected, value)
        self.assertEqual(self.found(("StudyDescription", "' OR 1=1 --")), [])


class StreamTests(SearchCase):
    def test_asked_for_and_empty(self) -> None:
        """C-FIND returns what was asked for, and the unique keys above; empty where unknown."""
        self.store(made("1"))
        (match,) = self.identified("STUDY", **{"00100020": attribute("LO", "P1"), "00081030": attribute("LO")})
        self.assertEqual(
            match, {"00081030": {"vr": "LO"}, "00100020": attribute("LO", "P1"), "0020000D": attribute("UI", "1.2.1")}
        )

    def test_patients(self) -> None:
        """Patients with their numbers; found by what their studies have."""
        self.store(made("1", PatientID="A"), made("2", PatientID="A", Modality="MR"), made("3", PatientID="B"))
        numbers = {tag: attribute("IS") for tag in ("00201200", "00201202", "00201204")}
        found = self.identified("PATIENT", **{"00100020": attribute("LO"), **numbers})
        self.assertEqual([text(match, "00100020") for match in found], ["A", "B"])
        self.assertEqual([text(found[0], tag) for tag in numbers], ["2", "2", "2"])
        self.assertEqual(len(self.identified("PATIENT", **{"00080060": attribute("CS", "MR")})), 1)
        self.assertEqual(len(self.identified("PATIENT", **{"00100010": attribute("PN", "NAME^*")})), 2)

    def test_metadata_of_patients(self) -> None:
        """Attributes of a patient that have no column, as key and in the answer."""
        self.store(made("1", PatientID="A", PatientComments="tall"), made("2", PatientID="B", PatientComments="short"))
        found = self.identified("PATIENT", **{"00104000": attribute("LT", "s*"), "00100020": attribute("LO")})
        self.assertEqual([(text(one, "00100020"), text(one, "00104000")) for one in found], [("B", "short")])
        self.assertEqual(len(self.identified("PATIENT", **{"00104000": attribute("LT")})), 2)

    def test_many_pages(self) -> None:
        """Each match once, in order, however many there are."""
        for study in range(9):
            self.admit(str(study), range(50))
        found = self.streamed(from_parameters([("SOPInstanceUID", "")], level=Level.IMAGE))
        uids = [text(match, "00080018") for match in found]
        self.assertEqual(len(set(uids)), 450)
        self.assertEqual(uids[:2], ["1.2.0.1.0", "1.2.0.1.1"])
        by_metadata = from_parameters(
            [("PatientComments", "*"), ("00180050", '""'), ("emptyvaluematching", "true")], level=Level.IMAGE
        )
        self.assertEqual(len(self.streamed(by_metadata)), 450)


class LimitTests(SearchCase):
    def test_time_limit(self) -> None:
        """A search that takes too long ends with a refusal."""
        self.store(made("1"))
        self.search = Search(self.workers, self.archive.folder, self.clock, timeout=0.0)
        query = from_parameters([("PatientComments", "x")], level=Level.IMAGE)
        self.failureResultOf(Deferred.fromCoroutine(self.search.find(query)), Busy)
