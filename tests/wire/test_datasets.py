"""Encoding and decoding of data sets: PS3.5."""

import io
import warnings
import zlib

import pydicom
from pydicom.dataset import Dataset
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.attributes import Attributes, attribute
from dicomd.model.status import MalformedDataset, TooLarge
from dicomd.wire.datasets import decode, encode, inflate
from dicomd.wire.elements import DEFLATED, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, file_meta
from dicomd.wire.metadata import read
from tests.data import pydicom_files, shared_files
from tests.wire.parity import differences

SYNTAXES = (IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED)


def by_pydicom(data: bytes, syntax: str) -> Dataset:
    if syntax == DEFLATED:
        data = zlib.decompress(data, -15)
    return pydicom.filereader.read_dataset(io.BytesIO(data), syntax == IMPLICIT_LITTLE, syntax != EXPLICIT_BIG)


EVERY_VR: Attributes = {
    "00080005": attribute("CS", "ISO_IR 192"),
    "00080008": attribute("CS", "ORIGINAL", "PRIMARY"),
    "00080016": attribute("UI", "1.2.840.10008.5.1.4.1.1.2"),
    "00080020": attribute("DA", "20260102"),
    "00080030": attribute("TM", "101112.123"),
    "0008002A": attribute("DT", "20260102101112"),
    "00080054": attribute("AE", "DICOMD"),
    "00080080": attribute("LO", "Größe", "Жук"),
    "00081190": attribute("UR", "http://localhost/a\\b"),
    "00100010": attribute("PN", "Yamada^Tarou=山田^太郎=やまだ^たろう", "A^B"),
    "00101010": attribute("AS", "045Y"),
    "00104000": attribute("LT", "one\\line"),
    "00180050": attribute("DS", 1.5, 2),
    "00189073": attribute("FD", 0.1),
    "00200013": attribute("IS", 7, -8),
    "00280009": attribute("AT", "00181063", "7FE00010"),
    "00280010": attribute("US", 512),
    "00280030": {"vr": "DS"},
    "00280106": attribute("SS", -5),
    "00281201": {"vr": "OW", "InlineBinary": "AQACAA=="},
    "00400275": attribute("SQ", {"00400009": attribute("SH", "Ä"), "00400100": attribute("SQ", {})}, {}),
    "0040A124": attribute("UI", "1.2.3"),
    "00420011": {"vr": "OB", "InlineBinary": "AQI="},
    "00660026": attribute("SL", -70000) | {"vr": "SL"},
    "00720078": attribute("UL", 70000),
    "00720076": attribute("FL", 0.5),
    "00720082": attribute("SV", -5),
    "00720083": attribute("UV", 5),
}


def inline(attributes: Attributes) -> Attributes:
    """Without references, and without sequences so long that their items are JSON already."""
    kept: Attributes = {}
    for key, value in attributes.items():
        if value["vr"] == "SQ" and "Value" in value:
            if all(isinstance(item, dict) for item in value["Value"]):
                kept[key] = {"vr": "SQ", "Value": [inline(item) for item in value["Value"]]}
        elif "BulkDataURI" not in value:
            kept[key] = value
    return kept


class RoundTripTests(SynchronousTestCase):
    def test_every_vr(self) -> None:
        """What is encoded with VRs is decoded to the same, and pydicom reads the same."""
        for syntax in (EXPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED):
            data = encode(EVERY_VR, syntax)
            with self.subTest(syntax=syntax):
                self.assertEqual(decode(data, syntax), EVERY_VR)
                theirs = by_pydicom(data, syntax)
                self.assertEqual(str(theirs.PatientName[0]), "Yamada^Tarou=山田^太郎=やまだ^たろう")
                self.assertEqual((theirs.Rows, theirs.SmallestImagePixelValue, theirs[0x00720078].value), (512, -5, 70000))
                self.assertEqual(theirs.RequestAttributesSequence[0].ScheduledProcedureStepID, "Ä")

    def test_implicit(self) -> None:
        """The dictionary knows the VRs."""
        attributes = {key: value for key, value in EVERY_VR.items() if key != "00280106" and key != "00660026"}
        self.assertEqual(decode(encode(attributes, IMPLICIT_LITTLE), IMPLICIT_LITTLE), attributes)

    def test_real_files(self) -> None:
        """Every real data set without its bulk data is the same after encoding in every syntax."""
        for path in [*pydicom_files(), *shared_files()][::3]:
            data = path.read_bytes()
            try:
                meta = file_meta(data)
                attributes, *_ = read(data, meta.dataset_offset, meta.transfer_syntax_uid, "x", inline_threshold=1 << 30)
            except MalformedDataset:
                continue
            known = inline(attributes)
            for syntax in (EXPLICIT_LITTLE, EXPLICIT_BIG):
                with self.subTest(path=path.name, syntax=syntax), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    self.assertEqual(list(differences(decode(encode(known, syntax), syntax), known)), [])


class EncodeTests(SynchronousTestCase):
    def test_requested_character_set(self) -> None:
        """Used when it holds the text, else UTF-8; declared either way."""
        name = {"00100010": attribute("PN", "Müller^Jörg")}
        data = encode(name, EXPLICIT_LITTLE, "ISO_IR 100")
        self.assertIn("Müller".encode("latin_1"), data)
        self.assertEqual(decode(data, EXPLICIT_LITTLE)["00080005"]["Value"], ["ISO_IR 100"])
        name = {"00100010": attribute("PN", "Жук^Иван")}
        data = encode(name, EXPLICIT_LITTLE, "ISO_IR 100")
        self.assertEqual(decode(data, EXPLICIT_LITTLE), {"00080005": attribute("CS", "ISO_IR 192"), **name})

    def test_no_character_set(self) -> None:
        """Plain ASCII needs none; other text is UTF-8."""
        self.assertNotIn("00080005", decode(encode({"00100010": attribute("PN", "A^B")}, EXPLICIT_LITTLE), EXPLICIT_LITTLE))
        data = encode({"00100010": attribute("PN", "Ä^B")}, EXPLICIT_LITTLE)
        self.assertEqual(decode(data, EXPLICIT_LITTLE)["00080005"]["Value"], ["ISO_IR 192"])

    def test_code_extensions(self) -> None:
        """Names in several sets (PS3.5 Annexes H, I, J, K) are read back by pydicom and by ourselves."""
        for term, name in (
            ("\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
            ("ISO 2022 IR 13\\ISO 2022 IR 87", "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
            ("\\ISO 2022 IR 149", "Hong^Gildong=洪^吉洞=홍^길동"),
            ("ISO 2022 IR 100\\ISO 2022 IR 144", "Müller^Жук"),
            ("\\ISO 2022 IR 159", "丂^A"),
        ):
            data = encode({"00100010": attribute("PN", name)}, EXPLICIT_LITTLE, term)
            with self.subTest(term=term):
                self.assertEqual(decode(data, EXPLICIT_LITTLE)["00080005"]["Value"], [part or None for part in term.split("\\")])
                self.assertEqual(decode(data, EXPLICIT_LITTLE)["00100010"], attribute("PN", name))
                self.assertEqual(str(by_pydicom(data, EXPLICIT_LITTLE).PatientName), name)

    def test_other_sets(self) -> None:
        """Sets without code extensions."""
        for term, name in (("GB18030", "张^小东€"), ("GBK", "张^小东"), ("ISO_IR 166", "ไทย"), ("ISO_IR 13", "ﾔﾏﾀﾞ^ﾀﾛｳ")):
            data = encode({"00100010": attribute("PN", name)}, EXPLICIT_LITTLE, term)
            self.assertEqual(
                decode(data, EXPLICIT_LITTLE), {"00080005": attribute("CS", term), "00100010": attribute("PN", name)}
            )
        data = encode({"00100010": attribute("PN", "山田")}, EXPLICIT_LITTLE, "ISO_IR 13")
        self.assertEqual(decode(data, EXPLICIT_LITTLE)["00080005"]["Value"], ["ISO_IR 192"])

    def test_long_value(self) -> None:
        """A value too long for its VR's 16-bit length becomes UN (PS3.5 6.2.2), and is read back for what it is."""
        long = {"00080080": attribute("LO", "x" * 70000)}
        data = encode(long, EXPLICIT_LITTLE)
        self.assertEqual(data[4:6], b"UN")
        self.assertEqual(by_pydicom(data, EXPLICIT_LITTLE)[0x00080080].VR, "UN")

    def test_numbers_as_written(self) -> None:
        """Whole decimals stay whole, others fit 16 characters."""
        data = encode({"00180050": attribute("DS", 100, 1 / 3, -1.0e-7 / 3, "1.50")}, EXPLICIT_LITTLE)
        texts = data[8:].decode().strip().split("\\")
        self.assertEqual((texts[0], texts[3]), ("100", "1.50"))
        self.assertTrue(all(len(text) <= 16 for text in texts))
        self.assertAlmostEqual(float(texts[1]), 1 / 3, 12)

    def test_missing_vr(self) -> None:
        """Comes from the dictionary."""
        self.assertEqual(encode({"00080060": {"Value": ["CT"]}}, EXPLICIT_LITTLE), b"\x08\0\x60\0CS\2\0CT")

    def test_unfit_value(self) -> None:
        """Names the tag."""
        for key, value in (
            ("00280010", attribute("US", "x")),
            ("00280010", attribute("US", 70000)),
            ("00280009", attribute("AT", "xyz")),
            ("00080060", attribute("CS", "Ж")),
            ("00420011", {"vr": "OB", "InlineBinary": "?"}),
            ("00081110", {"vr": "SQ", "Value": ["x"]}),
        ):
            with self.subTest(key=key):
                error = self.assertRaises(MalformedDataset, encode, {key: value}, EXPLICIT_LITTLE)
                self.assertEqual(error.offending, (int(key, 16),))

    def test_references_are_left_out(self) -> None:
        """Bulk data that is elsewhere cannot be encoded."""
        self.assertEqual(encode({"7FE00010": {"vr": "OW", "BulkDataURI": "x"}}, EXPLICIT_LITTLE), b"")


class InflateTests(SynchronousTestCase):
    def test_limit(self) -> None:
        """No more than the limit is ever made."""
        machine = zlib.compressobj(wbits=-15)
        bomb = machine.compress(bytes(5_000_000)) + machine.flush()
        self.assertRaises(TooLarge, inflate, bomb, 1_000_000)
        self.assertEqual(len(inflate(bomb, 5_000_000)), 5_000_000)

    def test_nonsense(self) -> None:
        """What is no deflated data is malformed."""
        self.assertRaises(MalformedDataset, inflate, b"\xff\xff\xff")
