"""The metadata of stored instances: PS3.18 F, against what pydicom makes of every real file."""

import base64
import io
import mmap
import struct
import tempfile
import zlib

import orjson
import pydicom
from pydicom.encaps import encapsulate
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.status import MalformedDataset
from dicomd.wire.decoding import BulkData
from dicomd.wire.elements import DEFLATED, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, file_meta, file_meta_bytes
from dicomd.wire.metadata import Prepared, metadata, resource_of
from tests.data import pydicom_file, pydicom_files, shared_files
from tests.wire.parity import differences, pydicom_json

RESOURCE = resource_of("1", "2", "3")
# pydicom keeps the escape sequences of ISO 2022 IR 58 in the text.
NOT_COMPARED = ("iso2022_ir58.dcm",)


def prepare(data: bytes, **options: int) -> Prepared:
    meta = file_meta(data)
    return metadata(data, meta.dataset_offset, meta.transfer_syntax_uid, RESOURCE, **options)


class ParityTests(SynchronousTestCase):
    def check(self, paths: list) -> int:
        compared = 0
        for path in paths:
            try:
                prepared = prepare(path.read_bytes())
            except MalformedDataset:
                continue
            if path.name in NOT_COMPARED:
                continue
            compared += 1
            with self.subTest(path=path.name):
                self.assertEqual(list(differences(orjson.loads(prepared.json), pydicom_json(path))), [])
        return compared

    def test_pydicom_files(self) -> None:
        """Every file that pydicom ships."""
        self.assertGreater(self.check(pydicom_files()), 80)

    def test_shared_files(self) -> None:
        """Every well-formed file of the shared collection."""
        self.assertGreater(self.check(shared_files()), 400)


class MetadataTests(SynchronousTestCase):
    def dataset(self) -> pydicom.Dataset:
        dataset = pydicom.Dataset()
        dataset.SOPInstanceUID = "3"
        dataset.PatientName = "A^B"
        dataset.SharedFunctionalGroupsSequence = [pydicom.Dataset()]
        return dataset

    def encoded(self, dataset: pydicom.Dataset, syntax: str = EXPLICIT_LITTLE) -> bytes:
        out = io.BytesIO()
        implicit, little = syntax == IMPLICIT_LITTLE, syntax != EXPLICIT_BIG
        pydicom.dcmwrite(out, dataset, implicit_vr=implicit, little_endian=little, force_encoding=True)
        head = file_meta_bytes("1.2.840.10008.5.1.4.1.1.7", "3", syntax)
        return head + (zlib.compress(out.getvalue(), wbits=-15) if syntax == DEFLATED else out.getvalue())

    def test_pixel_data_is_always_a_reference(self) -> None:
        """However small; the range in the file is exactly its value."""
        dataset = self.dataset()
        dataset.add_new(0x7FE00010, "OW", b"1234")
        data = self.encoded(dataset)
        prepared = prepare(data)
        self.assertEqual(orjson.loads(prepared.json)["7FE00010"], {"vr": "OW", "BulkDataURI": f"{RESOURCE}/bulkdata/7FE00010"})
        bulk = prepared.bulk["7FE00010"]
        self.assertEqual((data[bulk.offset : bulk.offset + bulk.length], bulk.encapsulated), (b"1234", False))

    def test_encapsulated(self) -> None:
        """From the offset table to the last fragment, without the closing delimiter."""
        dataset = self.dataset()
        dataset.add_new(0x7FE00010, "OB", encapsulate([b"\xff\xd8ab\xff\xd9"]))
        dataset["PixelData"].is_undefined_length = True
        data = self.encoded(dataset)
        bulk = prepare(data).bulk["7FE00010"]
        self.assertTrue(bulk.encapsulated)
        value = data[bulk.offset : bulk.offset + bulk.length]
        self.assertEqual((value[:4], value[-6:]), (b"\xfe\xff\x00\xe0", b"\xff\xd8ab\xff\xd9"))

    def test_nested_reference(self) -> None:
        """The path names sequence and item."""
        dataset = self.dataset()
        dataset.SharedFunctionalGroupsSequence[0].add_new(0x00091001, "OB", bytes(2000))
        prepared = prepare(self.encoded(dataset))
        self.assertEqual(list(prepared.bulk), ["52009229/0/00091001"])
        self.assertIn(f"{RESOURCE}/bulkdata/52009229/0/00091001".encode(), prepared.json)

    def test_threshold(self) -> None:
        """Binary values up to the threshold are inline."""
        dataset = self.dataset()
        dataset.add_new(0x00420011, "OB", b"ab" * 16)
        inline = orjson.loads(prepare(self.encoded(dataset)).json)["00420011"]["InlineBinary"]
        self.assertEqual(base64.b64decode(inline), b"ab" * 16)
        self.assertEqual(list(prepare(self.encoded(dataset), inline_threshold=31).bulk), ["00420011"])

    def test_not_a_number(self) -> None:
        """What JSON cannot hold is a reference."""
        dataset = self.dataset()
        dataset.add_new(0x00189328, "FD", [1.0, float("nan")])
        dataset.add_new(0x00189327, "FD", [1.0, 2.0])
        self.assertEqual(list(prepare(self.encoded(dataset)).bulk), ["00189328"])

    def test_empty(self) -> None:
        """Empty attributes keep only their VR; an empty value among others is null; an empty item is {}."""
        dataset = self.dataset()
        dataset.PatientID = ""
        dataset.ImageType = ["A", "", "B"]
        dataset.ReferencedStudySequence = []
        made = orjson.loads(prepare(self.encoded(dataset)).json)
        self.assertEqual(made["00100020"], {"vr": "LO"})
        self.assertEqual(made["00080008"], {"vr": "CS", "Value": ["A", None, "B"]})
        self.assertEqual(made["00081110"], {"vr": "SQ"})
        self.assertEqual(made["52009229"], {"vr": "SQ", "Value": [{}]})

    def test_large_integers(self) -> None:
        """As text where a double would round (PS3.18 F.2.3)."""
        dataset = self.dataset()
        dataset.add_new(0x7FE00003, "UV", 2**63 + 1)
        dataset.add_new(0x7FE00002, "OV", b"12345678")
        self.assertEqual(orjson.loads(prepare(self.encoded(dataset)).json)["7FE00003"], {"vr": "UV", "Value": [str(2**63 + 1)]})

    def test_ambiguous(self) -> None:
        """US or SS as Pixel Representation says, even when it follows or stands outside (PS3.6 notes)."""
        dataset = self.dataset()
        dataset.add_new(0x00189810, "SS", -3)
        dataset.PixelRepresentation = 1
        dataset.add_new(0x00280106, "SS", -5)
        dataset.SharedFunctionalGroupsSequence[0].add_new(0x00280120, "SS", -7)
        made = orjson.loads(prepare(self.encoded(dataset, IMPLICIT_LITTLE)).json)
        self.assertEqual(made["00189810"], {"vr": "SS", "Value": [-3]})
        self.assertEqual(made["00280106"], {"vr": "SS", "Value": [-5]})
        self.assertEqual(made["52009229"]["Value"][0]["00280120"], {"vr": "SS", "Value": [-7]})
        self.assertEqual(list(made), sorted(made))

    def test_lut_data(self) -> None:
        """One entry is US, more are OW (PS3.3 C.11.1.1.1)."""
        for entries, vr in ((1, "US"), (2, "OW")):
            dataset = self.dataset()
            dataset.add_new(0x00283002, "US", [entries, 0, 16])
            dataset.add_new(0x00283006, "US", [7] * entries)
            self.assertEqual(orjson.loads(prepare(self.encoded(dataset, IMPLICIT_LITTLE)).json)["00283006"]["vr"], vr)

    def test_character_set(self) -> None:
        """Text is UTF-8, and Specific Character Set says so."""
        data = pydicom_file("chrRuss.dcm").read_bytes()
        made = orjson.loads(prepare(data).json)
        self.assertEqual(made["00080005"]["Value"], ["ISO_IR 192"])
        self.assertEqual(made["00100010"]["Value"], [{"Alphabetic": "Люкceмбypг"}])

    def test_private(self) -> None:
        """The VR of an implicit private element is known by its creator, else it is UN."""
        dataset = self.dataset()
        dataset.add_new(0x00190010, "LO", "GEMS_ACQU_01")
        dataset.add_new(0x00191002, "SL", 5)
        dataset.add_new(0x00210010, "LO", "NOBODY KNOWS")
        dataset.add_new(0x00211002, "SL", 5)
        made = orjson.loads(prepare(self.encoded(dataset, IMPLICIT_LITTLE)).json)
        self.assertEqual(made["00191002"], {"vr": "SL", "Value": [5]})
        self.assertEqual(made["00211002"], {"vr": "UN", "InlineBinary": "BQAAAA=="})

    def test_every_layout_is_the_same(self) -> None:
        """Implicit, explicit, big endian and deflated files tell the same; the offsets of the last are in the inflated data."""
        dataset = self.dataset()
        dataset.Rows = 2
        dataset.add_new(0x00280009, "AT", 0x00181063)
        dataset.add_new(0x00281201, "OW", b"\1\0\2\0")
        dataset.add_new(0x00420011, "OB", bytes(2000))
        made = {syntax: prepare(self.encoded(dataset, syntax)) for syntax in (IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED)}
        self.assertEqual(len({prepared.json for prepared in made.values()}), 1)
        self.assertTrue(made[DEFLATED].inflated)
        dataset["00281201"].value = b"\0\1\0\2"
        self.assertEqual(prepare(self.encoded(dataset, EXPLICIT_BIG)).json, made[EXPLICIT_LITTLE].json)
        deflated = self.encoded(dataset, DEFLATED)
        raw = zlib.decompress(deflated[file_meta(deflated).dataset_offset :], -15)
        bulk = made[DEFLATED].bulk["00420011"]
        self.assertEqual(raw[bulk.offset : bulk.offset + bulk.length], bytes(2000))

    def test_many_items(self) -> None:
        """Very long sequences come out as short ones do."""
        dataset = self.dataset()
        dataset.PixelRepresentation = 1
        dataset.PerFrameFunctionalGroupsSequence = [pydicom.Dataset() for _ in range(100)]
        for number, item in enumerate(dataset.PerFrameFunctionalGroupsSequence):
            item.add_new(0x00280106, "SS", -number)
        made = orjson.loads(prepare(self.encoded(dataset, IMPLICIT_LITTLE)).json)
        self.assertEqual(made["52009230"]["Value"], [{"00280106": {"vr": "SS", "Value": [-number]}} for number in range(100)])

    def test_huge_file(self) -> None:
        """A file of ten gigabytes is mapped, and its pixels are never touched."""
        head = file_meta_bytes("1.2.840.10008.5.1.4.1.1.7", "3", "1.2.840.10008.1.2.4.50")
        head += b"\x28\0\x10\0US\2\0\2\0" + b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\0\0\0\0"
        fragment = struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFC)
        with tempfile.TemporaryFile() as file:
            file.write(head)
            for _ in range(3):
                file.write(fragment)
                file.seek(0xFFFFFFFC, io.SEEK_CUR)
            file.write(b"\xfe\xff\xdd\xe0\0\0\0\0")
            file.flush()
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                meta = file_meta(data)
                prepared = metadata(data, meta.dataset_offset, meta.transfer_syntax_uid, RESOURCE)
        self.assertEqual(prepared.bulk["7FE00010"], BulkData("OB", len(head) - 8, 8 + 3 * (8 + 0xFFFFFFFC), True))

    def test_deflate_bomb(self) -> None:
        """A deflated data set cut off is malformed; one that swells beyond bounds is too large."""
        data = self.encoded(self.dataset(), DEFLATED)
        self.assertRaises(MalformedDataset, prepare, data[:-4])
