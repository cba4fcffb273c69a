"""From one transfer syntax to another (PS3.5 8 and Annex A): single frames, and whole Part 10 files frame by frame.

Nothing here knows where the bytes come from but the `ReadAt` it is given; memory is bounded by the size of a frame.
"""

from collections.abc import Iterator

import numpy as np
from attrs import define, frozen

from ..model.status import NotAcceptable, Undecodable
from ..model.transfer_syntaxes import DEFLATED, EXPLICIT_LITTLE, IMPLICIT_LITTLE, transfer_syntax
from ..wire.datasets import deflate, header
from ..wire.elements import Buffer, Layout, actual_layout, file_meta_bytes, layout_of, scan
from ..wire.rewriting import EXPLICIT, IMPLICIT, Changes, Copy, Output, rewritten, turned
from ..wire.vrs import WORDS
from . import codecs
from .frames import FrameTable, ReadAt
from .image import FLOAT_PIXEL_DATA, PIXEL_DATA, ImagePixel

__all__ = ["Source", "data_set", "described", "frame", "part_10", "possible", "stored_frame", "turned", "word_of"]

# Copied in pieces of this size.
_STEP = 256 * 1024
_ICON = 0x00880200
_COMPRESSED = b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff"
_LONGEST = 0xFFFFFFFE
# What holds native pixels.
_PLAIN = (EXPLICIT_LITTLE, IMPLICIT_LITTLE, DEFLATED)
_UNDEFINED = 0xFFFFFFFF
_ITEM = b"\xfe\xff\x00\xe0"
_END = b"\xfe\xff\xdd\xe0\0\0\0\0"


def possible(image: ImagePixel | None, stored: str, target: str) -> bool:
    """Whether an instance stored in one syntax can be had in another; `image` is None when it has no frames.

    Whether its frames really decode shows only when it is done.
    """
    if stored == target:
        return True
    if image is None:
        native = not transfer_syntax(stored).encapsulated and not transfer_syntax(stored).referenced
        return native and transfer_syntax(stored).known and target in _PLAIN
    if not codecs.can_decode(image):
        return False
    if target in _PLAIN:
        return image.number_of_frames * image.frame_bits // 8 < _LONGEST
    return codecs.can_encode(codecs.decoded(image), target)


def native_frame(table: FrameTable, read: ReadAt, number: int) -> bytes:
    """The bytes of a frame of native pixel data, little endian, beginning at a byte (PS3.5 8.1, PS3.18 8.7.3.2)."""
    image = table.image
    low_bit = (number - 1) * image.frame_bits
    offset, length = table.ranges(number)[0]
    ahead = (offset - table.start) % 2 if not image.syntax.little and table.vr == "OW" else 0
    data = read(offset - ahead, length + ahead + (length + ahead) % 2)
    if len(data) < length + ahead:
        raise Undecodable(f"the pixel data end before frame {number} is complete")
    if not image.syntax.little:
        data = codecs.swapped(data, image.bits_allocated, table.vr)
    data = data[ahead : ahead + length]
    if table.aligned:
        return data
    bits = np.unpackbits(np.frombuffer(data, "u1"), bitorder="little")
    return np.packbits(bits[low_bit % 8 : low_bit % 8 + image.frame_bits], bitorder="little").tobytes()


def stored_frame(table: FrameTable, read: ReadAt, number: int) -> bytes:
    """The bytes of a frame as it is stored: a code stream, or native pixels."""
    if not table.encapsulated:
        return native_frame(table, read, number)
    pieces = [(read(offset, length), length) for offset, length in table.ranges(number)]
    if any(len(piece) < length for piece, length in pieces):
        raise Undecodable(f"the pixel data end before frame {number} is complete")
    return b"".join(piece for piece, _ in pieces)


def frame(table: FrameTable, read: ReadAt, number: int, target: str) -> bytes:
    """One frame in another transfer syntax."""
    image = table.image
    if target == image.transfer_syntax_uid:
        return stored_frame(table, read, number)
    if not table.encapsulated:
        data = native_frame(table, read, number)
        if target == EXPLICIT_LITTLE:
            return data
        plain = image.but(transfer_syntax_uid=EXPLICIT_LITTLE)
        return codecs.encode(codecs.native(plain, data), codecs.decoded(plain), target)[0]
    array, native = codecs.decode(image, stored_frame(table, read, number))
    return codecs.to_native(array, native) if target == EXPLICIT_LITTLE else codecs.encode(array, native, target)[0]


def described(image: ImagePixel, target: str) -> ImagePixel:
    """The description of the pixels in another transfer syntax."""
    if image.syntax.encapsulated:
        image = codecs.decoded(image)
    if target in _PLAIN:
        return image.but(transfer_syntax_uid=EXPLICIT_LITTLE)
    return codecs.encoded(image, target)


@frozen
class Source:
    """A stored Part 10 file. `data` holds its data set from `start` to `end`; `read` reads the same bytes.

    `table` is None for an instance without frames.
    """

    data: Buffer
    read: ReadAt
    start: int
    end: int
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    table: FrameTable | None


def part_10(source: Source, target: str) -> Iterator[bytes]:
    """The whole instance as a Part 10 file in another transfer syntax."""
    yield file_meta_bytes(source.sop_class_uid, source.sop_instance_uid, target)
    yield from data_set(source, target)


def data_set(source: Source, target: str) -> Iterator[bytes]:
    """The data set of an instance in another transfer syntax. Raises `Undecodable` or `NotAcceptable`, perhaps half-way."""
    if target == DEFLATED:
        return deflate(data_set(source, EXPLICIT_LITTLE))
    return _Writer(source, target).chunks()


@define(eq=False)
class _Writer:
    source: Source
    target: str

    @property
    def _layout(self) -> Layout:
        return IMPLICIT if self.target == IMPLICIT_LITTLE else EXPLICIT

    def chunks(self) -> Iterator[bytes]:
        source = self.source
        table = source.table
        if table is None:
            yield from self._rewritten(source.start, {})
            return
        if table.encapsulated and table.count != table.image.number_of_frames:
            raise Undecodable(f"of {table.image.number_of_frames} frames only {table.count} are there")
        before = table.element if table.element < PIXEL_DATA else FLOAT_PIXEL_DATA
        yield from self._rewritten(source.start, self._changes(table), before)
        yield from self._native(table) if self.target in _PLAIN else self._encapsulated(table)
        behind = _behind(table)
        if behind < source.end:
            yield from self._rewritten(behind, {})

    def _rewritten(self, start: int, changes: Changes, before: int = _UNDEFINED) -> Iterator[bytes]:
        source = self.source
        form = actual_layout(source.data, source.start, layout_of(source.transfer_syntax_uid))
        output: Output = rewritten(source.data, start, source.end, form, self._layout, changes, before=before)
        for piece in output:
            if isinstance(piece, Copy):
                yield from self._copy(piece)
            elif piece:
                yield piece

    def _copy(self, piece: Copy) -> Iterator[bytes]:
        position, end = piece.offset, piece.offset + piece.length
        while position < end:
            data = self.source.read(position, min(_STEP, end - position))
            if not data:
                raise Undecodable("the stored file is cut off")
            yield turned(data, piece.word)
            position += len(data)

    def _changes(self, table: FrameTable) -> Changes:
        """What is different in the Image Pixel module and the history of compression (PS3.3 C.7.6.3, C.7.6.1.1.5)."""
        before, after = table.image, described(table.image, self.target)
        changes: dict[int, tuple[str, bytes] | None] = {0x7FE00001: None, 0x7FE00002: None, 0x7FE00003: None}
        if after.photometric_interpretation != before.photometric_interpretation:
            changes[0x00280004] = ("CS", after.photometric_interpretation.encode())
        if after.planar_configuration != before.planar_configuration and after.samples_per_pixel > 1:
            changes[0x00280006] = ("US", after.planar_configuration.to_bytes(2, "little"))
        if before.syntax.encapsulated and not before.syntax.lossless:
            changes[0x00282110] = ("CS", b"01")
        if before.syntax.encapsulated and _has_compressed_icon(self.source):
            changes[_ICON] = None
        return changes

    def _native(self, table: FrameTable) -> Iterator[bytes]:
        image = described(table.image, self.target)
        total = (image.frame_bits * table.count + 7) // 8
        if total > _LONGEST:
            raise NotAcceptable("the decoded pixel data are too long for Explicit VR Little Endian")
        if not table.encapsulated:
            total = table.length
        vr = table.vr if not table.encapsulated else "OW" if image.bits_allocated > 8 else "OB"
        yield header(table.element, vr, total + total % 2, self._layout)
        if not table.encapsulated:
            yield from self._copy(Copy(table.start, table.length, self._word(table)))
        elif image.frame_bits % 8:
            yield from self._bits(table, image)
        else:
            for number in range(1, table.count + 1):
                yield frame(table, self.source.read, number, EXPLICIT_LITTLE)
        if total % 2:
            yield b"\0"

    def _word(self, table: FrameTable) -> int:
        if table.image.syntax.little:
            return 1
        return table.image.bits_allocated // 8 if table.image.bits_allocated > 8 else 2 if table.vr == "OW" else 1

    def _bits(self, table: FrameTable, image: ImagePixel) -> Iterator[bytes]:
        """Frames of single bits, one behind the other without padding."""
        left = np.empty(0, "u1")
        for number in range(1, table.count + 1):
            data = np.frombuffer(frame(table, self.source.read, number, EXPLICIT_LITTLE), "u1")
            bits = np.concatenate((left, np.unpackbits(data, count=image.frame_bits, bitorder="little")))
            whole = len(bits) // 8 * 8
            yield np.packbits(bits[:whole], bitorder="little").tobytes()
            left = bits[whole:]
        yield np.packbits(left, bitorder="little").tobytes()

    def _encapsulated(self, table: FrameTable) -> Iterator[bytes]:
        """A fragment a frame, behind an empty Basic Offset Table (PS3.5 A.4)."""
        if table.element != PIXEL_DATA:
            raise NotAcceptable("floating point pixels are not compressed")
        yield header(PIXEL_DATA, "OB", _UNDEFINED, EXPLICIT) + _ITEM + b"\0\0\0\0"
        for number in range(1, table.count + 1):
            yield _item(frame(table, self.source.read, number, self.target))
        yield _END


def _item(data: bytes) -> bytes:
    return _ITEM + len(data).to_bytes(4, "little") + data


def word_of(vr: str) -> int:
    """Bytes of the words whose order depends on the byte order (PS3.5 7.3); 1 for text and bytes."""
    return WORDS.get(vr, 1)


def _has_compressed_icon(source: Source) -> bool:
    """Whether there is an Icon Image Sequence (PS3.3 C.7.6.1.1.6) that could not be part of a native data set."""
    for tag, _vr, offset, length in scan(source.data, source.start, explicit=True, stop=_ICON + 1, end=source.end):
        if tag == _ICON:
            return _COMPRESSED in bytes(source.data[offset : offset + length])
    return False


def _behind(table: FrameTable) -> int:
    """Where the element behind the pixel data begins."""
    if not table.encapsulated:
        return table.start + table.length
    return table.start + int(table.lengths.sum(dtype=np.int64)) + 8 * len(table.lengths) + 8
