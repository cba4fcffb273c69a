"""Reports as outlines and as HTML, text and PDF: everything that is said is there, and nothing of it is markup."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dicomd.pixels import document_formats, documents
from dicomd.pixels.documents import Kind
from dicomd.pixels.header import Header

from .. import data
from . import subjects


def code(value: str, meaning: str, scheme: str = "DCM") -> dict[str, Any]:
    item = {"00080100": value, "00080102": scheme, "00080104": meaning}
    return {"vr": "SQ", "Value": [{tag: {"vr": "SH", "Value": [text]} for tag, text in item.items()}]}


def content(kind: str, name: str, **more: Any) -> dict[str, Any]:
    item = {
        "0040A010": {"vr": "CS", "Value": ["CONTAINS"]},
        "0040A040": {"vr": "CS", "Value": [kind]},
        "0040A043": code("1", name),
    }
    return item | {tag[1:]: value for tag, value in more.items()}


def report(*children: dict[str, Any], **more: Any) -> Header:
    attributes = {"0040A040": {"vr": "CS", "Value": ["CONTAINER"]}, "0040A043": code("126000", "Measurement Report")}
    attributes["0040A730"] = {"vr": "SQ", "Value": list(children)}
    return Header(attributes | {tag[1:]: value for tag, value in more.items()})


def measured(number: str, unit: str, meaning: str) -> dict[str, Any]:
    item = {"0040A30A": {"vr": "DS", "Value": [number]}, "004008EA": code(unit, meaning, "UCUM")}
    return content("NUM", "Length", t0040A300={"vr": "SQ", "Value": [item]})


class OutlineTests(SynchronousTestCase):
    def test_kinds_of_values(self) -> None:
        """Every value type is written in a way that can be read (C.17.3.2)."""
        source = report(
            content("TEXT", "Finding", t0040A160={"vr": "UT", "Value": ["A nodule"]}),
            content("CODE", "Site", t0040A168=code("T-28000", "Lung", "SRT")),
            measured("10.5", "mm", "millimeter"),
            measured("3", "1", "no units"),
            content("PNAME", "Reader", t0040A123={"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane^^Dr"}]}),
            content("DATE", "Day", t0040A121={"vr": "DA", "Value": ["20240131"]}),
            content("TIME", "Time", t0040A122={"vr": "TM", "Value": ["134501.5"]}),
            content("DATETIME", "Moment", t0040A120={"vr": "DT", "Value": ["20240131134501.0+0100"]}),
            content("UIDREF", "Study", t0040A124={"vr": "UI", "Value": ["1.2.3"]}),
            content("NUM", "Missing", t0040A301=code("114006", "Measurement failure")),
        )
        found = {entry.label: entry.value for entry in documents.outline(source).entries if entry.label != "Length"}
        expected = {"Finding": "A nodule", "Site": "Lung", "Reader": "Dr Jane Doe", "Day": "2024-01-31", "Time": "13:45:01"}
        expected |= {"Moment": "2024-01-31 13:45:01 +0100", "Study": "1.2.3", "Missing": "Measurement failure"}
        self.assertEqual(found, expected)
        lengths = [entry.value for entry in documents.outline(source).entries if entry.label == "Length"]
        self.assertEqual(lengths, ["10.5 mm", "3"])

    def test_codes(self) -> None:
        """Codes of name and value go with them."""
        source = report(content("CODE", "Site", t0040A168=code("T-28000", "Lung", "SRT")))
        self.assertEqual(documents.outline(source).entries[0].note, "1, DCM; T-28000, SRT")

    def test_references(self) -> None:
        """An image that the evidence names is linked, by frame when there is one."""
        sop = {"00081155": {"vr": "UI", "Value": ["1.2.9"]}, "00081160": {"vr": "IS", "Value": [2]}}
        study = {
            "0020000D": {"vr": "UI", "Value": ["1.2"]},
            "00081115": {
                "vr": "SQ",
                "Value": [{"0020000E": {"vr": "UI", "Value": ["1.2.5"]}, "00081199": {"vr": "SQ", "Value": [sop]}}],
            },
        }
        image = content("IMAGE", "Key image", t00081199={"vr": "SQ", "Value": [sop]})
        entry = documents.outline(report(image, t0040A375={"vr": "SQ", "Value": [study]})).entries[0]
        self.assertEqual(entry.path, "studies/1.2/series/1.2.5/instances/1.2.9/frames/2")
        self.assertIs(entry.kind, Kind.IMAGE)

    def test_bounds(self) -> None:
        """Very deep and very long documents are cut, and say so."""
        deep: dict[str, Any] = content("TEXT", "End")
        for _ in range(200):
            deep = content("CONTAINER", "Section", t0040A730={"vr": "SQ", "Value": [deep]})
        for source in (report(deep), report(*[content("TEXT", "Line")] * 30_000)):
            entries = documents.outline(source).entries
            self.assertLess(len(entries), 20_100)
            self.assertIn("left out", entries[-1].value)


class FormatTests(SynchronousTestCase):
    def setUp(self) -> None:
        hostile = "<script>alert(1)</script> & \u0000 'x' \"y\"\nsecond line"
        name = {"vr": "PN", "Value": [{"Alphabetic": "<b>Evil</b>^Name"}]}
        finding = content("TEXT", "<i>Finding</i>", t0040A160={"vr": "UT", "Value": [hostile]})
        self.outline = documents.outline(report(finding, t00100010=name))

    def test_html_is_escaped(self) -> None:
        """Values are text, whatever is in them."""
        page = document_formats.html(self.outline).decode()
        for piece in ("<script", "<b>", "<i>"):
            self.assertNotIn(piece, page)
        self.assertIn("&lt;script&gt;", page)

    def test_text(self) -> None:
        """Plain text has it all."""
        page = document_formats.text(self.outline).decode()
        self.assertIn("<i>Finding</i>: <script>alert(1)</script>", page)

    def test_pdf(self) -> None:
        """A PDF, the same every time, also with scripts of East Asia and words longer than a line."""
        texts = ["日本語 ひらがな 한국어 Кириллица", "x" * 5000, "a\x01b"]
        children = [content("TEXT", text[:20], t0040A160={"vr": "UT", "Value": [text]}) for text in texts]
        for outline in (self.outline, documents.outline(report(*children))):
            pages = document_formats.pdf(outline)
            self.assertTrue(pages.startswith(b"%PDF-"))
            self.assertEqual(pages, document_formats.pdf(outline))

    def test_real_reports(self) -> None:
        """Every report of the collection, in every format; each of its texts is in the page."""
        for path in data.shared_files("non-image"):
            header = subjects.header(subjects.read(path))
            if not documents.is_structured_report(header):
                continue
            outline = documents.outline(header)
            page = document_formats.html(outline).decode()
            self.assertIn("<h1>", page)
            for entry in outline.entries:
                self.assertIn(document_formats.escape(entry.value), page, path)
            self.assertGreater(len(document_formats.pdf(outline)), 1000)
            self.assertGreater(len(document_formats.text(outline)), 50)
