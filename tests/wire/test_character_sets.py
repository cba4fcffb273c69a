"""Specific Character Set: PS3.3 C.12.1.1.2, and the examples of PS3.5 Annexes H to K."""

import pydicom
from twisted.trial.unittest import SynchronousTestCase

from dicomd.wire.character_sets import codecs_of, decode_text
from tests.data import pydicom_file


class DecodeTests(SynchronousTestCase):
    def test_pydicom_samples(self) -> None:
        """Names in every sample file read as pydicom reads them."""
        for name in "Arab Fren FrenMulti Germ Greek H31 H32 Hbrw I2 JapMulti KoreanMulti Russ X1 X2".split():
            dataset = pydicom.dcmread(pydicom_file(f"chr{name}.dcm"))
            raw = dataset.get_item(0x00100010).value
            codecs = codecs_of(dataset.get("SpecificCharacterSet", ""))
            with self.subTest(name=name):
                self.assertEqual(decode_text(raw.rstrip(b" "), codecs).rstrip("="), str(dataset.PatientName))

    def test_simplified_chinese_extension(self) -> None:
        """ISO 2022 IR 58 (PS3.5 K.2)."""
        raw = b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab="
        self.assertEqual(decode_text(raw, codecs_of("\\ISO 2022 IR 58")), "Zhang^XiaoDong=张^小东=")

    def test_reset_at_delimiter(self) -> None:
        """A delimiter returns to the initial set (PS3.5 6.1.2.5.3)."""
        raw = "Люкceмбypг".encode("iso8859_5") + b"\x1b-A\xe9^" + "Люк".encode("iso8859_5")
        self.assertEqual(decode_text(raw, codecs_of("ISO 2022 IR 144\\ISO 2022 IR 100")), "Люкceмбypгé^Люк")

    def test_near_misses(self) -> None:
        """Misspelt terms are understood."""
        for term in ("ISO_IR 100", "ISO IR 100", "ISO-IR 100", "iso_ir 100", "ISO_IR_100", "ISO 2022 IR 100"):
            self.assertEqual(codecs_of(term), ("latin_1",))

    def test_undeclared(self) -> None:
        """Without a declared set UTF-8 is recognised; what is not UTF-8 is Latin-1."""
        self.assertEqual(decode_text("Ж".encode()), "Ж")
        self.assertEqual(decode_text(b"\xc4 b"), "Ä b")

    def test_wrong_bytes(self) -> None:
        """Bytes that the set cannot hold never raise."""
        for term in ("ISO_IR 192", "GB18030", "ISO_IR 13", "ISO 2022 IR 87", "\\ISO 2022 IR 149", "ISO_IR 166"):
            for raw in (b"\xff\xfe", b"\x1b$B\xff", b"\x1b$)C\xff", b"\x1b$(D\x01", b"\x1b"):
                self.assertIsInstance(decode_text(raw, codecs_of(term)), str)
