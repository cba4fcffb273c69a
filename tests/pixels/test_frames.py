"""Frame tables, on real files and on every kind of damage."""

import struct
from typing import Any

from pydicom.encaps import generate_frames
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.status import NoSuchInstance, Undecodable
from dicomd.model.transfer_syntaxes import EXPLICIT_LITTLE, JPEG_2000_LOSSLESS, JPEG_BASELINE, RLE_LOSSLESS
from dicomd.pixels.frames import FrameTable, ReadAt, frame_table, unpack
from dicomd.pixels.image import ImagePixel
from tests.pixels import samples


def reader(data: bytes) -> ReadAt:
    return lambda offset, size: data[offset : offset + size]


def item(data: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(data)) + data


END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def image(frames: int, syntax: str = JPEG_BASELINE) -> ImagePixel:
    return ImagePixel(syntax, 8, 8, number_of_frames=frames)


def table(data: bytes, frames: int, syntax: str = JPEG_BASELINE, **more: Any) -> FrameTable:
    return frame_table(reader(data), image(frames, syntax), start=0, length=0xFFFFFFFF, **more)


def frames_of(data: bytes, made: FrameTable) -> list[bytes]:
    return [b"".join(data[o : o + n] for o, n in made.ranges(k + 1)) for k in range(made.count)]


class EncapsulatedTests(SynchronousTestCase):
    def test_one_fragment_a_frame(self) -> None:
        """Without any offset table, as many fragments as frames are the frames."""
        data = item(b"") + item(b"ab") + item(b"cdef") + END
        self.assertEqual(frames_of(data, table(data, 2)), [b"ab", b"cdef"])

    def test_one_frame_of_many_fragments(self) -> None:
        """All fragments belong to the only frame."""
        data = item(b"") + item(b"ab") + item(b"cdef") + END
        self.assertEqual(frames_of(data, table(data, 1)), [b"abcdef"])

    def test_basic_offset_table(self) -> None:
        """The Basic Offset Table tells which fragments belong together."""
        data = item(struct.pack("<II", 0, 10)) + item(b"ab") + item(b"cd") + item(b"ef") + END
        self.assertEqual(frames_of(data, table(data, 2)), [b"ab", b"cdef"])

    def test_false_basic_offset_table(self) -> None:
        """A table whose entries are no fragments is not used: the images' first markers are."""
        head, tail = b"\xff\xd8\xff\xe0", b"\x00\x01\xff\xd9"
        data = item(struct.pack("<II", 0, 99)) + item(head) + item(tail) + item(head) + item(tail) + END
        self.assertEqual(frames_of(data, table(data, 2)), [head + tail, head + tail])

    def test_indistinguishable(self) -> None:
        """Frames that cannot be told apart are refused, not guessed."""
        data = item(b"") + item(b"ab") + item(b"cd") + item(b"ef") + END
        self.assertRaises(Undecodable, table, data, 2)

    def test_extended_offset_table(self) -> None:
        """A true Extended Offset Table saves the scan; a false one is not used."""
        data = item(b"") + item(b"ab") + item(b"cdef") + END
        for second in (10, 12):
            made = table(data, 2, extended_offset_table=struct.pack("<QQ", 0, second))
            self.assertEqual(frames_of(data, made), [b"ab", b"cdef"])

    def test_video(self) -> None:
        """A video stream is one piece however many frames it has."""
        data = item(b"") + item(b"ab") + item(b"cd") + END
        made = table(data, 250, "1.2.840.10008.1.2.4.102")
        self.assertEqual(frames_of(data, made), [b"abcd"])

    def test_no_delimiter(self) -> None:
        """A file that ends after a whole fragment is complete."""
        data = item(b"") + item(b"ab")
        self.assertEqual(frames_of(data, table(data, 1)), [b"ab"])

    def test_cut_off(self) -> None:
        """Of a file that is cut off only frames are given that are whole for certain."""
        data = item(struct.pack("<III", 0, 10, 20)) + item(b"ab") + item(b"cd") + item(b"ef")
        for cut in range(1, 10):
            self.assertEqual(frames_of(data, table(data[:-cut], 3))[:1], [b"ab"])
        alone = item(b"") + item(b"ab") + item(b"cdef") + END
        self.assertRaises(Undecodable, table, alone[:-10], 1)
        self.assertRaises(Undecodable, table, alone[:5], 1)

    def test_not_items(self) -> None:
        """Pixel data that do not begin with an item are refused."""
        self.assertRaises(Undecodable, table, b"\x00" * 64, 1)

    def test_every_byte_cut(self) -> None:
        """However the file is cut, no frame is given that is not one of the whole file's."""
        parts = [b"\xff\xd8\xff\xe0" + bytes(n) for n in (4, 8, 2)]
        for offsets in (b"", struct.pack("<III", 0, 16, 36)):
            data = item(offsets) + b"".join(map(item, parts)) + END
            for cut in range(len(data)):
                try:
                    found = frames_of(data[:cut], table(data[:cut], 3, RLE_LOSSLESS))
                except Undecodable:
                    continue
                self.assertEqual(found, parts[: len(found)])


class NativeTests(SynchronousTestCase):
    def test_ranges(self) -> None:
        """Native frames are equal pieces of the value."""
        made = frame_table(
            reader(b""), ImagePixel(EXPLICIT_LITTLE, 2, 3, bits_allocated=16, number_of_frames=4), start=100, length=48
        )
        self.assertEqual([made.ranges(n) for n in (1, 4)], [[(100, 12)], [(136, 12)]])
        self.assertRaises(NoSuchInstance, made.ranges, 0)
        self.assertRaises(NoSuchInstance, made.ranges, 5)

    def test_single_bits(self) -> None:
        """Frames of single bits may begin inside a byte; the range covers every byte concerned."""
        made = frame_table(
            reader(b""), ImagePixel(EXPLICIT_LITTLE, 3, 3, bits_allocated=1, number_of_frames=3), start=0, length=4
        )
        self.assertEqual([made.ranges(n) for n in (1, 2, 3)], [[(0, 2)], [(1, 2)], [(2, 2)]])
        self.assertFalse(made.aligned)

    def test_422(self) -> None:
        """Native YBR_FULL_422 has two samples a pixel (PS3.3 C.7.6.3.1.2)."""
        described = ImagePixel(EXPLICIT_LITTLE, 4, 4, 3, photometric_interpretation="YBR_FULL_422")
        self.assertEqual(described.frame_bytes, 32)

    def test_truncated(self) -> None:
        """A frame beyond the end of the value is refused."""
        made = frame_table(reader(b""), ImagePixel(EXPLICIT_LITTLE, 4, 4, number_of_frames=2), start=0, length=20)
        self.assertEqual(made.ranges(1), [(0, 16)])
        self.assertRaises(Undecodable, made.ranges, 2)

    def test_contradiction(self) -> None:
        """Native pixels under an encapsulated transfer syntax, and the other way round, are refused."""
        self.assertRaises(Undecodable, frame_table, reader(b""), image(1), start=0, length=64)
        self.assertRaises(Undecodable, table, item(b"") + END, 1, EXPLICIT_LITTLE)


class PackTests(SynchronousTestCase):
    def test_round_trip(self) -> None:
        """What is kept in the index is the same table."""
        data = item(struct.pack("<II", 0, 10)) + item(b"ab") + item(b"cd") + item(b"ef") + END
        for made in (table(data, 2), table(data, 3), table(data, 1, JPEG_2000_LOSSLESS)):
            again = unpack(made.pack())
            self.assertEqual(again.image, made.image)
            self.assertEqual([again.ranges(n + 1) for n in range(again.count)], [made.ranges(n + 1) for n in range(made.count)])

    def test_compact(self) -> None:
        """A frame of a whole slide image takes four bytes."""
        data = item(b"") + item(b"ab") * 2000 + END
        self.assertLess(len(table(data, 2000).pack()), 8500)


class RealFileTests(SynchronousTestCase):
    def test_as_pydicom_finds_them(self) -> None:
        """Every frame of every encapsulated file is where pydicom finds it."""
        count = 0
        for path in samples.files():
            found = samples.pixels(path)
            if found is None or not found.image.syntax.encapsulated or found.length != 0xFFFFFFFF:
                continue
            count_of = 1 if found.image.syntax.stream else found.image.number_of_frames
            wanted = list(generate_frames(samples.dataset(path).PixelData, number_of_frames=count_of))
            made = found.table()
            self.assertEqual(frames_of(found.data, made), wanted, path)
            count += 1
        self.assertGreater(count, 10)
