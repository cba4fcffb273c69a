"""Instances put together from metadata and bulk data: PS3.18 10.5.2, PS3.5 A.4."""

import io
import struct
import warnings

import orjson
import pydicom
from PIL import Image
from pydicom.encaps import generate_frames, parse_basic_offsets
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.attributes import Attributes, attribute
from dicomd.model.content import FileRange, Piece
from dicomd.model.status import MalformedDataset
from dicomd.model.transfer_syntaxes import OCTET_STREAM, transfer_syntax
from dicomd.wire.assembly import Assembled, BulkData, assemble
from dicomd.wire.datasets import decode, from_json
from dicomd.wire.elements import EXPLICIT_LITTLE, file_meta, file_meta_bytes, scan
from dicomd.wire.metadata import metadata
from dicomd.wire.values import swapped
from dicomd.wire.vrs import WORDS
from tests.data import pydicom_file, pydicom_files, shared_files
from tests.wire.parity import differences

IDENTITY: Attributes = {"00080016": attribute("UI", "1.2.840.10008.5.1.4.1.1.7"), "00080018": attribute("UI", "1.2.3")}


def read(piece: Piece, offset: int, count: int) -> bytes:
    assert isinstance(piece, bytes)
    return piece[offset : offset + count]


def joined(assembled: Assembled) -> bytes:
    """The whole Part 10 file."""
    head = file_meta_bytes(assembled.sop_class_uid, assembled.sop_instance_uid, assembled.transfer_syntax_uid)
    return head + b"".join(assembled.pieces)  # type: ignore[arg-type]


def put_together(attributes: Attributes, **parts: list[BulkData]) -> Assembled:
    """Metadata with references to `parts` by name."""
    return assemble(IDENTITY | attributes, lambda uri: parts.get(uri, []), read)


def by_pydicom(assembled: Assembled) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(joined(assembled)))


def part(content: bytes, media_type: str = OCTET_STREAM, syntax: str = "") -> BulkData:
    return BulkData(media_type, syntax, (content,))


class RealFileTests(SynchronousTestCase):
    """Every real file taken apart into metadata and bulk data, and put together again."""

    def parts(self, data: bytes, dataset: pydicom.Dataset, path: str, bulk: object) -> list[BulkData]:
        value = data[bulk.offset : bulk.offset + bulk.length]  # type: ignore[attr-defined]
        syntax = transfer_syntax(dataset.file_meta.TransferSyntaxUID)
        if bulk.encapsulated:  # type: ignore[attr-defined]
            frames = 1 if syntax.stream else int(dataset.get("NumberOfFrames") or 1)
            return [part(frame, syntax.media_type, syntax.uid) for frame in generate_frames(value, number_of_frames=frames)]
        if not syntax.little and bulk.vr in WORDS:  # type: ignore[attr-defined]
            value = swapped(value, WORDS[bulk.vr])  # type: ignore[attr-defined]
        return [part(value)]

    def check(self, path: object) -> bool:
        data = path.read_bytes()  # type: ignore[attr-defined]
        try:
            meta = file_meta(data)
            prepared = metadata(data, meta.dataset_offset, meta.transfer_syntax_uid, "x")
        except MalformedDataset:
            return False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(path, force=True)
        (attributes,) = from_json(prepared.json)
        nested = any("/" in name and bulk.encapsulated for name, bulk in prepared.bulk.items())
        if prepared.inflated or nested or not {"SOPClassUID", "SOPInstanceUID"} <= set(dataset.dir()) or not meta.sound:
            return False
        found = {f"x/bulkdata/{name}": self.parts(data, dataset, name, bulk) for name, bulk in prepared.bulk.items()}
        made = joined(assemble(attributes, found.__getitem__, read))
        self.compare(made, attributes, found)
        return True

    def compare(self, made: bytes, attributes: Attributes, found: dict[str, list[BulkData]]) -> None:
        meta = file_meta(made)
        again = metadata(made, meta.dataset_offset, meta.transfer_syntax_uid, "x")
        for name, bulk in again.bulk.items():
            value, parts = made[bulk.offset : bulk.offset + bulk.length], found[f"x/bulkdata/{name}"]
            if bulk.encapsulated:
                frames = list(generate_frames(value, number_of_frames=len(parts)))
                sent = [b"".join(frame.pieces) for frame in parts]  # type: ignore[arg-type]
                for frame, other in zip(frames, sent, strict=True):
                    bare = other[other.find(b"jp2c") + 4 :] if other[4:6] == b"jP" else other  # JP2 boxes are not kept
                    self.assertIn(frame, (bare, bare + b"\0"))
            else:
                content = b"".join(parts[0].pieces)  # type: ignore[arg-type]
                self.assertIn(value, (content, content + b"\0"))
        self.assertEqual(list(differences(*map(comparable, (orjson.loads(again.json), attributes)))), [])

    def test_all(self) -> None:
        """Attribute by attribute, and bulk data byte by byte."""
        checked = 0
        for path in [*pydicom_files(), *shared_files()]:
            with self.subTest(path=path.name):
                try:
                    checked += self.check(path)
                except MalformedDataset as error:
                    self.assertIn(path.name, REFUSED, error.comment)
        self.assertGreater(checked, 90)


# What does not agree with itself: pixel data of another length or another size than the description asks for.
REFUSED = ("MR_small_padded.dcm", "badVR.dcm", "JPEG2000-embedded-sequence-delimiter.dcm")


def comparable(attributes: Attributes) -> Attributes:
    """Without the VR of pixel data, which the transfer syntax decides, and without offset tables."""
    return {
        key: {"vr": "OW", "BulkDataURI": "x"} if key == "7FE00010" and len(value) > 1 else value
        for key, value in attributes.items()
        if key not in ("7FE00001", "7FE00002")
    }


def image(rows: int = 2, columns: int = 3, **more: dict) -> Attributes:
    """A native 8-bit image; more attributes as `_TAG`."""
    described = {
        "00280002": attribute("US", 1),
        "00280004": attribute("CS", "MONOCHROME2"),
        "00280010": attribute("US", rows),
        "00280011": attribute("US", columns),
        "00280100": attribute("US", 8),
        "7FE00010": {"vr": "OW", "BulkDataURI": "pixels"},
    }
    return described | {key[1:]: value for key, value in more.items()}


REFERENCE: Attributes = {"7FE00010": {"vr": "OB", "BulkDataURI": "pixels"}}


class NativeTests(SynchronousTestCase):
    def refused(self, attributes: Attributes, problem: str, **parts: list[BulkData]) -> None:
        error = self.assertRaises(MalformedDataset, put_together, attributes, **parts)
        self.assertIn(problem, error.comment)

    def test_pixels(self) -> None:
        """The bytes as they came, in Explicit VR Little Endian, padded."""
        made = put_together(image(1, 3), pixels=[part(b"abc")])
        self.assertEqual((made.transfer_syntax_uid, by_pydicom(made).PixelData), (EXPLICIT_LITTLE, b"abc\0"))

    def test_several_frames(self) -> None:
        """All frames in one part, or one after another."""
        frames = image(_00280008=attribute("IS", 2))
        self.assertEqual(by_pydicom(put_together(frames, pixels=[part(b"abcdefABCDEF")])).PixelData, b"abcdefABCDEF")
        self.assertEqual(by_pydicom(put_together(frames, pixels=[part(b"abcdef"), part(b"ABCDEF")])).PixelData, b"abcdefABCDEF")

    def test_length(self) -> None:
        """Must be what the description asks for, also for single bits and YBR_FULL_422."""
        self.refused(image(), "(7FE0,0010) has 4 bytes, but its description asks for 6", pixels=[part(b"abcd")])
        self.refused(image(), "(7FE0,0010) has 8 bytes", pixels=[part(b"abcdefgh")])
        bits = image(3, 3, _00280100=attribute("US", 1), _00280008=attribute("IS", 2))
        put_together(bits, pixels=[part(b"abc")])
        self.refused(bits, "has 2 bytes", pixels=[part(b"ab")])
        video = image(_00280002=attribute("US", 3), _00280004=attribute("CS", "YBR_FULL_422"))
        put_together(video, pixels=[part(b"abcdefabcdef")])

    def test_description_missing(self) -> None:
        """Names what is needed."""
        attributes = image()
        del attributes["00280010"]
        self.refused(attributes, "(0028,0010) is missing", pixels=[part(b"abcdef")])

    def test_inline(self) -> None:
        """InlineBinary is as good as a part."""
        made = put_together(image(_7FE00010={"vr": "OB", "InlineBinary": "YWJjZGVm"}))
        self.assertEqual(by_pydicom(made).PixelData, b"abcdef")

    def test_float(self) -> None:
        """Float Pixel Data have their own VR and size."""
        attributes = image(_7FE00008={"vr": "OF", "BulkDataURI": "floats"}, _00280100=attribute("US", 32))
        del attributes["7FE00010"]
        made = by_pydicom(put_together(attributes, floats=[part(bytes(24))]))
        self.assertEqual((made[0x7FE00008].VR, len(made[0x7FE00008].value)), ("OF", 24))

    def test_wide_words(self) -> None:
        """Above 8 bits the VR is OW whatever was stated (PS3.5 A.2)."""
        attributes = image(_00280100=attribute("US", 16), _7FE00010={"vr": "OB", "BulkDataURI": "pixels"})
        self.assertEqual(by_pydicom(put_together(attributes, pixels=[part(bytes(12))]))["PixelData"].VR, "OW")

    def test_bulk_data_missing(self) -> None:
        """A reference to nothing is refused, wherever it is."""
        self.refused(image(), "(7FE0,0010) refers to bulk data that is not in the request")
        self.refused({"00420011": {"vr": "OB", "BulkDataURI": "x"}}, "(0042,0011) refers")
        nested = {"00409096": attribute("SQ", {"00409212": {"vr": "FD", "BulkDataURI": "x"}})}
        self.refused(nested, "(0040,9212) refers")

    def test_identity_missing(self) -> None:
        """An instance needs its UIDs."""
        error = self.assertRaises(MalformedDataset, assemble, {"00080016": IDENTITY["00080016"]}, lambda uri: [], read)
        self.assertEqual(error.offending, (0x00080018,))

    def test_available_syntax(self) -> None:
        """What a server tells of its copy is no part of an instance."""
        made = put_together({"00083002": attribute("UI", "1.2.840.10008.1.2.4.90")})
        self.assertNotIn("00083002", decode(b"".join(made.pieces), EXPLICIT_LITTLE))  # type: ignore[arg-type]

    def test_nested(self) -> None:
        """Bulk data inside sequences, of odd length, beside ordinary values."""
        item = {"00400009": attribute("SH", "Ä"), "00420011": {"vr": "OB", "BulkDataURI": "x"}}
        deep = {"00400275": attribute("SQ", {"00400275": attribute("SQ", {}, item)}, {})}
        made = put_together(deep | {"00400280": attribute("ST", "after")}, x=[part(b"abc")])
        found = decode(b"".join(made.pieces), EXPLICIT_LITTLE)  # type: ignore[arg-type]
        inner = found["00400275"]["Value"][0]["00400275"]["Value"][1]
        self.assertEqual(inner, {"00400009": attribute("SH", "Ä"), "00420011": {"vr": "OB", "InlineBinary": "YWJjAA=="}})
        self.assertEqual((found["00400280"], found["00080005"]), (attribute("ST", "after"), attribute("CS", "ISO_IR 192")))

    def test_document(self) -> None:
        """MIME Type of Encapsulated Document is that of the part (PS3.18 8.7.3.6)."""
        made = put_together({"00420011": {"vr": "OB", "BulkDataURI": "x"}}, x=[part(b"%PDF", "application/pdf")])
        self.assertEqual(by_pydicom(made).MIMETypeOfEncapsulatedDocument, "application/pdf")


class CompressedTests(SynchronousTestCase):
    def frame(self, name: str) -> bytes:
        dataset = pydicom.dcmread(pydicom_file(name))
        return next(generate_frames(dataset.PixelData, number_of_frames=1))

    def jpeg(self, mode: str = "L", size: tuple[int, int] = (8, 6), **options: object) -> bytes:
        out = io.BytesIO()
        Image.new(mode, size).save(out, "JPEG", **options)
        return out.getvalue()

    def refused(self, attributes: Attributes, problem: str, **parts: list[BulkData]) -> None:
        error = self.assertRaises(MalformedDataset, put_together, attributes, **parts)
        self.assertIn(problem, error.comment)

    def test_description_from_the_stream(self) -> None:
        """Left out with the image types of PS3.18 10.5.2; without transfer-syntax parameter the stream tells it."""
        for name, media_type, syntax, expected in (
            ("JPEG2000.dcm", "image/jp2", "4.91", (1024, 256, 1, 16, "MONOCHROME2")),
            ("MR_small_jp2klossless.dcm", "image/jp2", "4.90", (64, 64, 1, 16, "MONOCHROME2")),
            ("MR_small_jpeg_ls_lossless.dcm", "image/jls", "4.80", (64, 64, 1, 16, "MONOCHROME2")),
            ("SC_rgb_jpeg_dcmtk.dcm", "image/jpeg", "4.50", (100, 100, 3, 8, "YBR_FULL")),
            ("SC_rgb_jls_lossy_sample.dcm", "image/jls", "4.81", (100, 100, 3, 8, "RGB")),
            ("JPGExtended.dcm", "image/jpeg", "4.51", (1024, 256, 1, 16, "MONOCHROME2")),
        ):
            made = by_pydicom(put_together(REFERENCE, pixels=[part(self.frame(name), media_type)]))
            found = (made.Rows, made.Columns, made.SamplesPerPixel, made.BitsAllocated, made.PhotometricInterpretation)
            with self.subTest(name=name):
                self.assertEqual(made.file_meta.TransferSyntaxUID, f"1.2.840.10008.1.2.{syntax}")
                self.assertEqual(found, expected)
                self.assertEqual(made.LossyImageCompression, "01" if syntax in ("4.91", "4.50", "4.81", "4.51") else "00")
                if syntax != "4.51":  # no decoder for 12 bits at hand
                    self.assertEqual(made.pixel_array.shape[:2], expected[:2])

    def test_frames(self) -> None:
        """One part a frame, in order; the Basic Offset Table names each (PS3.5 A.4)."""
        frames = [self.jpeg(comment=b"x" * number) for number in range(3)]
        made = put_together(REFERENCE, pixels=[part(frame, "image/jpeg") for frame in frames])
        dataset = by_pydicom(made)
        self.assertEqual(dataset.NumberOfFrames, 3)
        offsets = parse_basic_offsets(dataset.PixelData)
        self.assertEqual(len(offsets), 3)
        items = list(generate_frames(dataset.PixelData, number_of_frames=3))
        self.assertEqual([item[: len(frame)] for item, frame in zip(items, frames, strict=True)], frames)

    def test_one_frame_of_several(self) -> None:
        """As many parts as Number of Frames says."""
        parts = [part(self.jpeg(), "image/jpeg")] * 2
        self.refused(REFERENCE | {"00280008": attribute("IS", 3)}, "(0028,0008) is not 2", pixels=parts)

    def test_stated_syntax(self) -> None:
        """Stored as stated: by a media type with parameter, or octet-stream with a compressed syntax."""
        progressive = self.jpeg(progressive=True)
        for media_type in ("image/jpeg", OCTET_STREAM):
            made = put_together(REFERENCE, pixels=[part(progressive, media_type, "1.2.840.10008.1.2.4.55")])
            self.assertEqual(made.transfer_syntax_uid, "1.2.840.10008.1.2.4.55")

    def test_false_claims(self) -> None:
        """A lossy stream is never called lossless; another family is refused."""
        lossy = self.jpeg()
        made = put_together(REFERENCE, pixels=[part(lossy, "image/jpeg", "1.2.840.10008.1.2.4.70")])
        self.assertEqual(made.transfer_syntax_uid, "1.2.840.10008.1.2.4.50")
        self.refused(REFERENCE, "is image/jpeg, not what", pixels=[part(lossy, OCTET_STREAM, "1.2.840.10008.1.2.4.90")])
        self.refused(REFERENCE, "came as image/jp2 but is image/jpeg", pixels=[part(lossy, "image/jp2")])
        self.refused(REFERENCE, "no compressed image", pixels=[part(b"x", "application/pdf")])
        self.refused(REFERENCE, "different media types", pixels=[part(lossy, "image/jpeg"), part(lossy)])

    def test_description_disagrees(self) -> None:
        """Rows, Columns and samples must be those of the stream."""
        pixels = [part(self.jpeg(), "image/jpeg")]
        self.refused(REFERENCE | {"00280010": attribute("US", 7)}, "(0028,0010) is not 6", pixels=pixels)
        self.refused(REFERENCE | {"00280011": attribute("US", 7)}, "(0028,0011) is not 8", pixels=pixels)
        self.refused(REFERENCE | {"00280002": attribute("US", 3)}, "(0028,0002) is not 1", pixels=pixels)

    def test_opaque_streams(self) -> None:
        """Run lengths say nothing of the image: the description is needed."""
        run = self.frame("MR_small_RLE.dcm")
        made = put_together(image(64, 64, _00280100=attribute("US", 16)), pixels=[part(run, "image/dicom-rle")])
        self.assertEqual(made.transfer_syntax_uid, "1.2.840.10008.1.2.5")
        self.assertEqual(next(generate_frames(by_pydicom(made).PixelData, number_of_frames=1)), run)
        self.refused(REFERENCE, "(0028,0010) is missing", pixels=[part(run, "image/dicom-rle")])

    def test_boxes(self) -> None:
        """A JP2 file is stored as its bare code stream (PS3.18 8.7.3), also when it lies in a file."""
        out = io.BytesIO()
        Image.new("L", (8, 6)).save(out, "JPEG2000")
        boxed = out.getvalue()
        made = put_together(REFERENCE, pixels=[part(boxed, "image/jp2")])
        frame = next(generate_frames(by_pydicom(made).PixelData, number_of_frames=1))
        self.assertEqual((frame[:4], by_pydicom(made).pixel_array.shape), (b"\xff\x4f\xff\x51", (6, 8)))
        bulk = BulkData("image/jp2", "", (FileRange("p", 100, len(boxed)),))
        made = assemble(IDENTITY | REFERENCE, lambda uri: [bulk], lambda piece, offset, count: boxed[offset : offset + count])
        start = boxed.index(b"jp2c") + 4
        self.assertIn(FileRange("p", 100 + start, len(boxed) - start), made.pieces)

    def test_extended_offset_table(self) -> None:
        """Where 32 bits do not reach (PS3.3 C.7.6.3.1.8)."""
        frames = [BulkData("image/dicom-rle", "", (FileRange("p", 0, 0xF0000001),)) for _ in range(3)]
        made = assemble(IDENTITY | image(_00280008=attribute("IS", 3)), lambda uri: frames, lambda *_: b"")
        head = made.pieces[0]
        assert isinstance(head, bytes)
        found = {tag: head[at : at + count] for tag, _vr, at, count in scan(head, explicit=True, stop=0x7FE00010)}
        step = 0xF0000002 + 8
        self.assertEqual(found[0x7FE00001], struct.pack("<3Q", 0, step, 2 * step))
        self.assertEqual(found[0x7FE00002], struct.pack("<3Q", *[0xF0000001] * 3))
        self.assertTrue(head.endswith(b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0\x02\0\0\xf0"))

    def test_video(self) -> None:
        """One part, as one stream; a very large one in several fragments; the description comes along."""
        attributes = image(_00280008=attribute("IS", 25))
        made = put_together(attributes, pixels=[part(b"video", "video/mp4", "1.2.840.10008.1.2.4.102")])
        self.assertEqual(made.transfer_syntax_uid, "1.2.840.10008.1.2.4.102")
        self.assertEqual(next(generate_frames(by_pydicom(made).PixelData, number_of_frames=1)), b"video\0")
        large = BulkData("video/mp4", "", (FileRange("p", 0, 5 << 30),))
        made = assemble(IDENTITY | attributes, lambda uri: [large], lambda *_: b"")
        ranges = [piece for piece in made.pieces if isinstance(piece, FileRange)]
        self.assertEqual(
            [(piece.offset, piece.length) for piece in ranges], [(0, 1 << 31), (1 << 31, 1 << 31), (1 << 32, 1 << 30)]
        )
        self.refused(attributes, "several parts", pixels=[part(b"a", "video/mp4"), part(b"b", "video/mp4")])

    def test_broken_streams(self) -> None:
        """A header that breaks off is refused, wherever."""
        for content, media_type in ((self.jpeg(), "image/jpeg"), (self.frame("JPEG2000.dcm"), "image/jp2")):
            for end in range(4, 60):
                try:
                    put_together(REFERENCE, pixels=[part(content[:end], media_type)])
                except MalformedDataset:
                    continue
