"""The Native DICOM Model: PS3.19 A.1, PS3.18 F.3."""

import orjson
from lxml import etree
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.attributes import Attributes, attribute
from dicomd.model.status import MalformedDataset
from dicomd.wire.datasets import from_xml, to_xml
from dicomd.wire.elements import file_meta
from dicomd.wire.metadata import metadata
from dicomd.wire.native_model import NAMESPACE
from tests.data import pydicom_files, shared_files
from tests.wire.parity import differences
from tests.wire.test_datasets import EVERY_VR


def document(content: str, head: str = "") -> bytes:
    return f'{head}<NativeDicomModel xmlns="{NAMESPACE}">{content}</NativeDicomModel>'.encode()


class RoundTripTests(SynchronousTestCase):
    def test_every_vr(self) -> None:
        """What is written is read back."""
        self.assertEqual(from_xml(to_xml(EVERY_VR)), EVERY_VR)

    def test_real_files(self) -> None:
        """So it is for what this server tells of real files."""
        for path in [*pydicom_files(), *shared_files()][::2]:
            data = path.read_bytes()
            try:
                meta = file_meta(data)
                prepared = metadata(data, meta.dataset_offset, meta.transfer_syntax_uid, "x")
            except MalformedDataset:
                continue
            attributes: Attributes = orjson.loads(prepared.json)
            if b"\\u00" in prepared.json:  # control characters, which XML cannot hold
                continue
            with self.subTest(path=path.name):
                self.assertEqual(list(differences(from_xml(to_xml(attributes)), attributes)), [])


class ToXmlTests(SynchronousTestCase):
    def xml(self, attributes: Attributes) -> etree._Element:
        return etree.fromstring(to_xml(attributes))

    def test_names(self) -> None:
        """A name in its component groups and components; keyword, VR and number stated."""
        root = self.xml({"00100010": attribute("PN", "Yamada^Tarou^^^=山田^太郎")})
        self.assertEqual((root[0].get("tag"), root[0].get("vr"), root[0].get("keyword")), ("00100010", "PN", "PatientName"))
        parts = [(child.tag.rpartition("}")[2], child.text) for child in root[0].iter()][1:]
        self.assertEqual(
            parts,
            [
                ("PersonName", None),
                ("Alphabetic", None),
                ("FamilyName", "Yamada"),
                ("GivenName", "Tarou"),
                ("Ideographic", None),
                ("FamilyName", "山田"),
                ("GivenName", "太郎"),
            ],
        )
        self.assertEqual(root[0][0].get("number"), "1")

    def test_private(self) -> None:
        """Without its block, with its creator (PS3.19 A.1.5)."""
        root = self.xml({"00190010": attribute("LO", "ACME"), "00191002": attribute("SL", 5)})
        self.assertEqual((root[1].get("tag"), root[1].get("privateCreator")), ("00190002", "ACME"))

    def test_markup(self) -> None:
        """Is escaped; what XML cannot hold becomes a replacement character."""
        root = self.xml({"00081030": attribute("LO", "<a>&\"'\x1b")})
        self.assertEqual(root[0][0].text, "<a>&\"'\ufffd")

    def test_empty(self) -> None:
        """An empty attribute has no child; an empty value has no text."""
        root = self.xml({"00080008": attribute("CS", None, "B"), "00100020": {"vr": "LO"}})
        self.assertEqual(([value.text for value in root[0]], len(root[1])), ([None, "B"], 0))


class FromXmlTests(SynchronousTestCase):
    def test_tolerant(self) -> None:
        """Without namespace, with capitalised names, numbers missing or out of order, VR missing."""
        data = (
            b'<NativeDicomModel><DicomAttribute Tag="00080008" VR="CS"><Value number="2">B</Value><Value number="1">A</Value>'
            b'</DicomAttribute><DicomAttribute tag="00080060"><Value>CT</Value></DicomAttribute></NativeDicomModel>'
        )
        self.assertEqual(from_xml(data), {"00080008": attribute("CS", "A", "B"), "00080060": attribute("CS", "CT")})

    def test_private(self) -> None:
        """Put into the block of its creator, which is reserved where it is not."""
        private = '<DicomAttribute tag="00190002" vr="SL" privateCreator="{}"><Value number="1">5</Value></DicomAttribute>'
        owner = '<DicomAttribute tag="00190011" vr="LO"><Value number="1">ACME</Value></DicomAttribute>'
        self.assertEqual(from_xml(document(owner + private.format("ACME")))["00191102"], attribute("SL", 5))
        found = from_xml(document(owner + private.format("OTHER")))
        self.assertEqual((found["00190010"], found["00191002"]), (attribute("LO", "OTHER"), attribute("SL", 5)))

    def test_bulk_data(self) -> None:
        """A reference, and bytes inline with white space."""
        found = from_xml(
            document(
                '<DicomAttribute tag="7FE00010" vr="OW"><BulkData uri="../x"/></DicomAttribute>'
                '<DicomAttribute tag="00420011" vr="OB"><InlineBinary> AQ\nI=\n</InlineBinary></DicomAttribute>'
            )
        )
        self.assertEqual(found["7FE00010"], {"vr": "OW", "BulkDataURI": "../x"})
        self.assertEqual(found["00420011"], {"vr": "OB", "InlineBinary": "AQI="})

    def test_long(self) -> None:
        """Pixel data inline are no reason to refuse a document."""
        content = "AAEC" * (4 << 20)
        body = document(f'<DicomAttribute tag="7FE00010" vr="OW"><InlineBinary>{content}</InlineBinary></DicomAttribute>')
        self.assertEqual(from_xml(body), {"7FE00010": {"vr": "OW", "InlineBinary": content}})

    def test_hostile(self) -> None:
        """Entities, document types, foreign documents, deep nesting and nonsense are refused."""
        deep = '<DicomAttribute tag="00400275" vr="SQ"><Item number="1">' * 100 + "</Item></DicomAttribute>" * 100
        bomb = "<!DOCTYPE a [<!ENTITY a 'x'><!ENTITY b '&a;&a;&a;'>]>"
        laughs = "<!ENTITY a0 'ha'>" + "".join(f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 12))
        twice = '<DicomAttribute tag="00080060" vr="CS"/>' * 2
        far = '<DicomAttribute tag="00080008" vr="CS"><Value number="99999999">B</Value></DicomAttribute>'
        for data in (
            b"",
            b"x",
            b"<html/>",
            document("&b;", bomb),
            document("", bomb),
            f'<!DOCTYPE a [{laughs}]><NativeDicomModel x="&a11;"/>'.encode(),
            document("", f"<!-- {'x' * 70000} --><!DOCTYPE a [{laughs}]>"),
            document("", '<!DOCTYPE a SYSTEM "file:///etc/passwd">'),
            document(deep),
            document(twice),
            document(far),
            document('<DicomAttribute tag="x" vr="CS"/>'),
            document('<DicomAttribute tag="00280010" vr="US"><Value number="1">x</Value></DicomAttribute>'),
            document('<DicomAttribute tag="00280010" vr="US"><Value number="0">1</Value></DicomAttribute>'),
        ):
            with self.subTest(data=data[:80]):
                self.assertRaises(MalformedDataset, from_xml, data)
