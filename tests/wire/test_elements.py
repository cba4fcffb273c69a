"""Elements, File Meta Information and header reading: PS3.5 7, PS3.10 7.1."""

import struct
from io import BytesIO

import pydicom
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.status import MalformedDataset
from dicomd.wire.elements import DEFLATED, actual_layout, file_meta, file_meta_bytes, layout_of, scan
from dicomd.wire.header import Wanted, read_values
from tests.data import pydicom_file, pydicom_files

UNDEFINED = b"\xff\xff\xff\xff"
ITEM, ITEM_END, SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0\0\0\0\0", b"\xfe\xff\xdd\xe0\0\0\0\0"


def explicit(tag: int, vr: bytes, value: bytes, length: bytes | None = None) -> bytes:
    """One explicit little endian element."""
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    if vr in (b"SQ", b"UN", b"OB", b"OW", b"UT"):
        return head + b"\0\0" + (length or struct.pack("<L", len(value))) + value
    return head + struct.pack("<H", len(value)) + value


def implicit(tag: int, value: bytes) -> bytes:
    """One implicit little endian element."""
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value)) + value


class ScanTests(SynchronousTestCase):
    def scan(self, data: bytes, **options: object) -> list[tuple[int, str, int, int]]:
        return list(scan(data, **({"explicit": True} | options)))  # type: ignore[arg-type]

    def test_short_and_long(self) -> None:
        """16-bit and 32-bit lengths."""
        data = explicit(0x00080060, b"CS", b"CT") + explicit(0x00420011, b"OB", b"1234")
        self.assertEqual(self.scan(data), [(0x00080060, "CS", 8, 2), (0x00420011, "OB", 22, 4)])

    def test_stop(self) -> None:
        """Ends before the first tag that is not wanted any more."""
        data = explicit(0x00080060, b"CS", b"CT") + explicit(0x7FE00010, b"OW", b"", UNDEFINED)
        self.assertEqual(self.scan(data, stop=0x7FE00010), [(0x00080060, "CS", 8, 2)])

    def test_undefined_lengths(self) -> None:
        """Sequences and items of undefined length, nested, are stepped over as one value."""
        inner = explicit(0x00400009, b"SH", b"AB")
        nested = explicit(0x00400100, b"SQ", ITEM + UNDEFINED + inner + ITEM_END + SEQUENCE_END, UNDEFINED)
        value = ITEM + UNDEFINED + nested + ITEM_END + ITEM + struct.pack("<L", len(inner)) + inner + SEQUENCE_END
        data = explicit(0x00400275, b"SQ", value, UNDEFINED) + explicit(0x00400280, b"ST", b"")
        self.assertEqual(self.scan(data), [(0x00400275, "SQ", 12, len(value) - 8), (0x00400280, "ST", 12 + len(value) + 8, 0)])

    def test_unknown_of_undefined_length(self) -> None:
        """UN of undefined length holds implicit VR little endian (PS3.5 6.2.2)."""
        value = ITEM + UNDEFINED + implicit(0x00400009, b"AB") + ITEM_END + SEQUENCE_END
        data = explicit(0x00091001, b"UN", value, UNDEFINED)
        self.assertEqual(self.scan(data), [(0x00091001, "UN", 12, len(value) - 8)])

    def test_fragments_hold_anything(self) -> None:
        """A delimiter inside a fragment is pixel data."""
        value = ITEM + b"\0\0\0\0" + ITEM + b"\x08\0\0\0" + SEQUENCE_END + SEQUENCE_END
        self.assertEqual(self.scan(explicit(0x7FE00010, b"OB", value, UNDEFINED)), [(0x7FE00010, "OB", 12, len(value) - 8)])

    def test_stray_delimiters_and_trailing_zeros(self) -> None:
        """Delimiters after a sequence of defined length and zeros after the end are let pass."""
        data = explicit(0x00080060, b"CS", b"CT") + SEQUENCE_END + explicit(0x00080070, b"LO", b"AB") + bytes(20)
        self.assertEqual([tag for tag, *_ in self.scan(data)], [0x00080060, 0x00080070])

    def test_implicit_among_explicit(self) -> None:
        """An element without VR is read as implicit."""
        data = explicit(0x00080060, b"CS", b"CT") + implicit(0x00080070, b"AB")
        self.assertEqual(self.scan(data), [(0x00080060, "CS", 8, 2), (0x00080070, "", 18, 2)])

    def test_misspelt_vr(self) -> None:
        """A VR in lower case is what it seems; an unknown one is UN, with either length."""
        self.assertEqual(self.scan(explicit(0x00080070, b"lo", b"AB")), [(0x00080070, "LO", 8, 2)])
        self.assertEqual(self.scan(explicit(0x00080070, b"ZZ", b"AB")), [(0x00080070, "UN", 8, 2)])
        data = b"\x08\0\x70\0ZZ\0\0\x02\0\0\0AB"
        self.assertEqual(self.scan(data), [(0x00080070, "UN", 12, 2)])

    def test_malformed(self) -> None:
        """Whatever is cut off, past the end, unclosed or too deep is refused."""
        deep = b"".join(explicit(0x00400275, b"SQ", ITEM + UNDEFINED, UNDEFINED) for _ in range(2000))
        for data in (
            b"\x08\0\x60",
            b"\x08\0\x60\0CS",
            explicit(0x00080060, b"CS", b"CT")[:-1],
            explicit(0x00420011, b"OB", b"", b"\xfe\xff\xff\xff"),
            explicit(0x00400275, b"SQ", b"", UNDEFINED),
            explicit(0x00400275, b"SQ", ITEM + UNDEFINED + SEQUENCE_END, UNDEFINED),
            explicit(0x00400275, b"SQ", ITEM + b"\x08\0\0\0" + SEQUENCE_END[:-1], UNDEFINED),
            explicit(0x00400275, b"SQ", implicit(0x00400009, b"AB"), UNDEFINED),
            bytes(8) + b"x",
            deep,
        ):
            with self.subTest(data=data[:40]):
                self.assertRaises(MalformedDataset, self.scan, data)

    def test_every_cut(self) -> None:
        """A file cut anywhere is either refused or seen as far as it goes."""
        data = pydicom_file("reportsi.dcm").read_bytes()
        meta = file_meta(data)
        whole = self.scan(data, start=meta.dataset_offset)
        for end in range(meta.dataset_offset, len(data), 7):
            try:
                part = self.scan(data[:end], start=meta.dataset_offset)
            except MalformedDataset:
                continue
            self.assertEqual(part, whole[: len(part)])

    def test_same_tags_as_pydicom(self) -> None:
        """Every sample file has the elements that pydicom sees."""
        for path in pydicom_files():
            data = path.read_bytes()
            try:
                meta = file_meta(data)
                if meta.transfer_syntax_uid == DEFLATED:
                    continue
                form = actual_layout(data, meta.dataset_offset, layout_of(meta.transfer_syntax_uid))
                tags = {tag for tag, *_ in scan(data, meta.dataset_offset, explicit=form.explicit, little=form.little)}
            except MalformedDataset:
                continue
            with self.subTest(path=path.name):
                self.assertEqual(tags, {int(tag) for tag in pydicom.dcmread(path, force=True).keys()})  # noqa: SIM118


class FileMetaTests(SynchronousTestCase):
    def test_read(self) -> None:
        """What pydicom reads, at the offset where the data set begins."""
        path = pydicom_file("CT_small.dcm")
        meta = file_meta(path.read_bytes())
        dataset = pydicom.dcmread(path)
        self.assertEqual(meta.sop_class_uid, dataset.SOPClassUID)
        self.assertEqual(meta.sop_instance_uid, dataset.SOPInstanceUID)
        self.assertEqual(meta.transfer_syntax_uid, dataset.file_meta.TransferSyntaxUID)
        self.assertEqual(meta.implementation_class_uid, dataset.file_meta.ImplementationClassUID)
        self.assertEqual(meta.source_ae_title, dataset.file_meta.SourceApplicationEntityTitle)
        self.assertEqual(path.read_bytes()[meta.dataset_offset :][:4], b"\x08\0\x05\0")
        self.assertTrue(meta.sound)

    def test_written_is_read_back(self) -> None:
        """By pydicom and by ourselves, for UIDs of even and odd length."""
        for tail in ("", "1"):
            head = file_meta_bytes("1.2.840.10008.5.1.4.1.1.2", "1.2.3" + tail, "1.2.840.10008.1.2", source_ae_title="PEER")
            meta = file_meta(head + explicit(0x00080060, b"CS", b"CT"))
            self.assertEqual((meta.sop_instance_uid, meta.dataset_offset, meta.sound), ("1.2.3" + tail, len(head), True))
            theirs = pydicom.dcmread(BytesIO(head)).file_meta
            self.assertEqual(theirs.MediaStorageSOPInstanceUID, "1.2.3" + tail)
            self.assertEqual(theirs.FileMetaInformationVersion, b"\0\1")
            self.assertEqual(theirs.SourceApplicationEntityTitle, "PEER")

    def test_lenient(self) -> None:
        """No preamble, no group length, no Transfer Syntax UID, no group 0002 at all: understood, but not sound."""
        head = file_meta_bytes("1.2.840.10008.5.1.4.1.1.2", "1.2.3", "1.2.840.10008.1.2.1")
        dataset = explicit(0x00080060, b"CS", b"CT")
        for data in (head[132:] + dataset, head[:132] + head[144:] + dataset, dataset):
            meta = file_meta(data)
            self.assertEqual(meta.transfer_syntax_uid, "1.2.840.10008.1.2.1")
            self.assertEqual(data[meta.dataset_offset :], dataset)
            self.assertFalse(meta.sound)
        self.assertEqual(file_meta(implicit(0x00080060, b"CT")).transfer_syntax_uid, "1.2.840.10008.1.2")

    def test_not_dicom(self) -> None:
        """Other files, and files that end in the head."""
        head = file_meta_bytes("1.2.840.10008.5.1.4.1.1.2", "1.2.3", "1.2.840.10008.1.2.1")
        for data in (b"", b"%PDF-1.4 " + bytes(200), b"\x89PNG\r\n" + bytes(200), head[:132], head[:150], head[:-1]):
            with self.subTest(data=data[:20]):
                self.assertRaises(MalformedDataset, file_meta, data)


class ReadValuesTests(SynchronousTestCase):
    wanted = Wanted(
        {
            (0x00080018,): "UI",
            (0x00080060,): "CS",
            (0x00100010,): "PN",
            (0x00280010,): "US",
            (0x00400275, 0x00400009): "SH",
        }
    )

    def encoded(self, implicit: bool, little: bool) -> bytes:
        dataset = pydicom.Dataset()
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.SOPInstanceUID = "1.2.3"
        dataset.Modality = "CT"
        dataset.PatientName = "Yamada^Tarou=山田^太郎"
        dataset.Rows = 512
        dataset.RequestAttributesSequence = [pydicom.Dataset(), pydicom.Dataset()]
        for number, item in enumerate(dataset.RequestAttributesSequence):
            item.ScheduledProcedureStepID = f"ÄÖ{number}"
            item.is_undefined_length_sequence_item = number == 1
        dataset["RequestAttributesSequence"].is_undefined_length = True
        dataset.PixelData = b"1234"
        dataset["PixelData"].VR = "OW"
        out = DicomBytesIO()
        out.is_implicit_VR, out.is_little_endian = implicit, little
        write_dataset(out, dataset)
        return out.getvalue()

    def test_all_layouts(self) -> None:
        """The same text from every encoding of a data set."""
        for implicit_vr, little in ((True, True), (False, True), (False, False)):
            data = self.encoded(implicit_vr, little)
            found = read_values(data, self.wanted, explicit=not implicit_vr, little=little)
            expected = {
                (0x00080018,): "1.2.3",
                (0x00080060,): "CT",
                (0x00100010,): "Yamada^Tarou=山田^太郎",
                (0x00280010,): "512",
                (0x00400275, 0x00400009): "ÄÖ0\\ÄÖ1",
            }
            self.assertEqual(found, expected)

    def test_wrong_claim(self) -> None:
        """The data are believed rather than the transfer syntax."""
        self.assertEqual(read_values(self.encoded(True, True), self.wanted, explicit=True)[0x00080060,], "CT")
        self.assertEqual(read_values(self.encoded(False, True), self.wanted, explicit=False)[0x00080060,], "CT")

    def test_out_of_order(self) -> None:
        """A data set in no order is read to its end."""
        data = explicit(0x7FE00010, b"OW", b"1234") + explicit(0x00280010, b"US", b"\x01\0") + explicit(0x00080060, b"CS", b"CT")
        self.assertEqual(read_values(data, self.wanted, explicit=True), {(0x00280010,): "1", (0x00080060,): "CT"})
