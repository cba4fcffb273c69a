"""QIDO-RS: resources, formats, warnings, refusals (PS3.18 10.6, 8.3.4)."""

from typing import Any
from urllib.parse import quote

from pydicom import Dataset

from dicomd.services.query import Search
from dicomd.web.qido import Qido
from dicomd.wire import native_model
from tests.searched import ArchiveCase, made
from tests.web.harness import Answer, ask, make_door

BASE = "http://dicom.test/dicom-web"
JSON = "application/dicom+json"


class QidoCase(ArchiveCase):
    def setUp(self) -> None:
        super().setUp()
        self.serve()

    def serve(self, max_results: int = 100, **settings: Any) -> None:
        search = Search(self.workers, self.archive.folder, self.clock, max_results)
        self.door = make_door(Qido(search).routes(), **settings)

    def get(self, path: str, accept: str | None = JSON, **headers: str) -> Answer:
        given = [(name.replace("_", "-"), value) for name, value in headers.items()]
        return ask(self.door, "GET", f"/dicom-web{path}", headers=[*given, ("Accept", accept)] if accept else given)

    def warnings(self, path: str) -> str:
        return self.get(path).headers.get("warning", "")


class ResourceTests(QidoCase):
    def setUp(self) -> None:
        super().setUp()
        self.store(made("1"), made("1", "2", Modality="MR"), made("2"))

    def count(self, path: str) -> int:
        answer = self.get(path)
        return len(answer.json) if answer.status == 200 else 0

    def test_six_resources(self) -> None:
        """PS3.18 Table 10.6.1-1."""
        for path, expected in (
            ("/studies", 2),
            ("/studies/1.2.1/series", 2),
            ("/studies/1.2.1/instances", 2),
            ("/studies/1.2.1/series/1.2.1.1/instances", 1),
            ("/series", 3),
            ("/instances", 3),
        ):
            self.assertEqual(self.count(path), expected, path)

    def test_levels_returned(self) -> None:
        """What is not named by the path is returned with its levels."""
        for path, there, not_there in (
            ("/studies", "00100010", "00080060"),
            ("/series", "00100010", "00080016"),
            ("/studies/1.2.1/series", "00080060", "00100010"),
            ("/studies/1.2.1/instances", "00080060", "00100010"),
            ("/studies/1.2.1/series/1.2.1.1/instances", "00080016", "00080060"),
        ):
            found = self.get(path).json[0]
            self.assertIn(there, found, path)
            self.assertNotIn(not_there, found, path)

    def test_relational_series(self) -> None:
        """A viewer asks for the series of a study by parameter."""
        self.assertEqual(self.count("/series?Modality=CT&StudyInstanceUID=1.2.1"), 1)

    def test_unknown_study(self) -> None:
        """It has no series; a path that is no UID is refused."""
        self.assertEqual(self.get("/studies/1.2.99/series").status, 204)
        self.assertEqual(self.get("/studies/x/series").status, 400)

    def test_every_root(self) -> None:
        """The same resources below the further roots."""
        self.assertEqual(ask(self.door, "GET", "/qido/studies", headers=[("Accept", JSON)]).status, 200)

    def test_what_viewers_send(self) -> None:
        """Study list, series list, thumbnails: with the parameters of viewers in wide use."""
        for path in (
            "/studies?limit=101&offset=0&fuzzymatching=false&includefield=00081030,00080060,00080090,00100030&StudyDate=20230101-20251231"
            "&PatientName=*name*&00100020=*P*&AccessionNumber=*A*&ModalitiesInStudy=CT",
            "/studies/1.2.1/series?includefield=0008103E,00080021",
            "/studies/1.2.1/series/1.2.1.1/instances?limit=1&includefield=00080018",
            "/studies?ModalitiesInStudy=CT&fuzzymatching=true&PersonName=*x*",
            "/series?Modality=CT&StudyInstanceUID=1.2.1",
            "/studies?00100020=P1&00100021=&includefield=00080020,00100010&includefield=00080061",
        ):
            self.assertEqual(self.get(path, "application/dicom+json, application/json").status, 200, path)


class FormatTests(QidoCase):
    def setUp(self) -> None:
        super().setUp()
        self.store(made("1", PatientName="Müller^Jörg"), made("2"))

    def test_json(self) -> None:
        """The default, also where nothing or anything is accepted; an older name for it too."""
        for accept in (None, "*/*", JSON, "application/json", "application/dicom+json, multipart/related; type=image/jpeg"):
            answer = self.get("/studies", accept)
            self.assertEqual((answer.status, answer.headers["content-type"]), (200, JSON), accept)
        self.assertEqual(self.get("/studies?accept=application/dicom%2Bjson", "*/*").status, 200)

    def test_xml(self) -> None:
        """One document a part."""
        answer = self.get("/studies", 'multipart/related; type="application/dicom+xml"')
        self.assertIn("multipart/related", answer.headers["content-type"])
        self.assertEqual(answer.body.count(b"<NativeDicomModel"), 2)
        start = answer.body.index(b"<?xml")
        document = answer.body[start : answer.body.index(b"</NativeDicomModel>") + 19]
        self.assertEqual(native_model.from_xml(document)["0020000D"]["Value"], ["1.2.1"])

    def test_not_acceptable(self) -> None:
        """What a search cannot be had as."""
        self.assertEqual(self.get("/studies", "image/jpeg").status, 406)

    def test_utf_8(self) -> None:
        """Keys in percent encoding, answers in UTF-8; other character sets are not an error."""
        answer = self.get("/studies?charset=latin-1&PatientName=" + quote("müller*"))
        self.assertIn("Müller^Jörg".encode(), answer.body)

    def test_nothing_found(self) -> None:
        """204 without a body."""
        answer = self.get("/studies?PatientID=nobody")
        self.assertEqual((answer.status, answer.body), (204, b""))

    def test_urls(self) -> None:
        """Made for the client: by its Host, a trusted proxy, or the configured URL."""
        self.assertEqual(self.get("/studies").json[0]["00081190"]["Value"], [f"{BASE}/studies/1.2.1"])
        self.serve(public_url="https://pacs.example/dicom")
        self.assertEqual(self.get("/studies").json[0]["00081190"]["Value"], ["https://pacs.example/dicom/studies/1.2.1"])


class WarningTests(QidoCase):
    def setUp(self) -> None:
        super().setUp()
        self.store(made("1"), made("2"), made("3"))

    def test_more_than_returned(self) -> None:
        """The text of PS3.18 8.3.4.4.1."""
        text = "There are 2 additional results that can be requested"
        self.assertEqual(self.warnings("/studies?limit=1"), f"299 {BASE}: {text}")
        self.assertEqual(self.warnings("/studies?limit=1&offset=2"), "")

    def test_maximum(self) -> None:
        """The server's maximum, whatever is asked for."""
        self.serve(max_results=2)
        answer = self.get("/studies?limit=1000")
        self.assertEqual(len(answer.json), 2)
        self.assertIn("There are 1 additional results", answer.headers["warning"])

    def test_ignored(self) -> None:
        """What is not understood is named."""
        self.assertIn("PersonName", self.warnings("/studies?PersonName=x"))
        self.assertIn("orderly", self.warnings("/studies?orderly=x"))
        self.assertIn("Modality", self.warnings("/studies?includefield=Modality"))

    def test_fuzzy(self) -> None:
        """What was matched fuzzily is named; nothing is, where there are no names."""
        self.assertIn("PatientName", self.warnings("/studies?PatientName=nahm&fuzzymatching=true"))
        self.assertEqual(self.warnings("/studies?PatientID=P1&fuzzymatching=true"), "")


class RefusalTests(QidoCase):
    def test_malformed_values(self) -> None:
        """400 names the parameter and the value."""
        for query, value in (
            ("limit=-1", "-1"),
            ("offset=x", "x"),
            ("fuzzymatching=perhaps", "perhaps"),
            ("StudyDate=2024", "2024"),
            ("StudyDate=20240102-20240101", "20240102-20240101"),
            ("StudyTime=2500", "2500"),
            ("StudyInstanceUID=1.2.x", "1.2.x"),
            ("SeriesNumber=one", "one"),
            ("TimezoneOffsetFromUTC=CET", "CET"),
            ("RequestAttributesSequence=x", "x"),
            ("orderby=Nonsense", "Nonsense"),
            ("orderby=StudyDate,-Modality", "Modality"),
            ("orderby=ModalitiesInStudy", "ModalitiesInStudy"),
            ("orderby=PatientComments", "PatientComments"),
        ):
            answer = self.get(f"/studies?{query}")
            self.assertEqual(answer.status, 400, query)
            self.assertIn(query.split("=")[0], answer.json["detail"])
            self.assertIn(value, answer.json["detail"])

    def test_too_many_wildcards(self) -> None:
        """A thousand of them."""
        self.assertEqual(self.get("/studies?PatientName=" + "*a" * 1000).status, 400)

    def test_data_is_data(self) -> None:
        """What is special to a database is matched literally."""
        self.store(made("1", StudyDescription="100%_'\"[x]"))
        self.assertEqual(len(self.get("/studies?StudyDescription=" + quote("100%_'\"[x]")).json), 1)
        for text in ("%", "_", "'; DROP TABLE studies; --", "100%*", "[a-z]*"):
            status = 200 if text == "100%*" else 204
            self.assertEqual(self.get("/studies?StudyDescription=" + quote(text)).status, status, text)

    def test_every_attribute_of_the_dictionary(self) -> None:
        """As key or field, none makes the server fail."""
        self.store(made("1"))
        for name in (
            "PixelData",
            "60003000",
            "00280106",
            "00091001",
            "SOPInstanceUID.PatientID",
            "00000002",
            "00020010",
            "FFFEE000",
        ):
            for query in (f"{name}=1", f"includefield={name}"):
                self.assertIn(self.get(f"/instances?{query}").status, (200, 204, 400), query)


class ItemTests(QidoCase):
    def test_sequence(self) -> None:
        """Codes by path."""
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "T-A0100", "SRT", "Brain"
        self.store(made("1", AnatomicRegionSequence=[code]), made("2"))
        found = self.get("/instances?AnatomicRegionSequence.CodeValue=T-A0100&00082218.CodingSchemeDesignator=SRT").json
        self.assertEqual([one["0020000D"]["Value"] for one in found], [["1.2.1"]])
        regions = self.get("/studies?includefield=AnatomicRegionsInStudyCodeSequence").json[0]["00080063"]
        self.assertEqual(regions["Value"][0]["00080104"]["Value"], ["Brain"])
        self.assertEqual(len(self.get("/studies?AnatomicRegionsInStudyCodeSequence.CodeValue=T-A0100").json), 1)
