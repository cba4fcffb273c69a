"""Where the frames of an instance lie: a table made once, after which any frame costs one read in place.

Offsets are those in the file; for a deflated data set, in the file as it would be with the data set inflated (see `Inflated`).
Nothing is decoded here: see `codecs` and `transcode`.
"""

import struct
from array import array
from collections.abc import Callable
from typing import Any, TypeAlias

import attrs
import numpy as np
import orjson
from attrs import field, frozen

from ..model.status import NoSuchInstance, Undecodable
from .image import PIXEL_DATA, ImagePixel

ReadAt = Callable[[int, int], bytes]  # (offset, size) -> at most that many bytes, fewer at the end
Range = tuple[int, int]  # offset, length
Lengths: TypeAlias = np.ndarray[Any, Any]

_ITEM = struct.Struct("<HHI")
_MAGIC = b"FRM1"
_UNDEFINED = 0xFFFFFFFF
# 34 million fragments need a table of 128 MB: nobody makes such files, except to hurt.
_MOST_FRAGMENTS = 1 << 25


def _none() -> Lengths:
    return np.empty(0, "<u4")


@frozen(eq=False)
class FrameTable:
    """The frames of one instance.

    Encapsulated fragments lie one behind the other, each after an item header of 8 bytes (PS3.5 A.4), so their lengths tell
    where each is. `first` says with which fragment a frame begins; empty when every frame is one fragment.
    """

    image: ImagePixel
    element: int
    vr: str
    start: int  # native: of the value; encapsulated: of the first fragment's item header
    length: int  # native: of the value
    lengths: Lengths = field(factory=_none)
    first: Lengths = field(factory=_none)
    encapsulated: bool = False
    _offsets: Lengths = field(init=False)

    @_offsets.default
    def _locate(self) -> Lengths:
        return _starts(self.start, self.lengths) + 8

    @property
    def count(self) -> int:
        """Number of frames that can be had; a video stream counts as one."""
        if not self.encapsulated:
            return self.image.number_of_frames
        return len(self.first) - 1 if len(self.first) else len(self.lengths)

    @property
    def nbytes(self) -> int:
        """What the table takes in memory, about."""
        return 500 + 3 * self.lengths.nbytes + self.first.nbytes

    def ranges(self, number: int) -> list[Range]:
        """Where the encoded bytes of frame `number` (from 1) lie in the file, in whole bytes where frames are of single bits."""
        if not 1 <= number <= self.count:
            raise NoSuchInstance(f"frame {number} does not exist, the instance has {self.count}")
        if not self.encapsulated:
            return [self._native(number)]
        low, high = (self.first[number - 1], self.first[number]) if len(self.first) else (number - 1, number)
        return [(int(self._offsets[n]), int(self.lengths[n])) for n in range(int(low), int(high))]

    def _native(self, number: int) -> Range:
        bits = self.image.frame_bits
        low, high = (number - 1) * bits // 8, (number * bits + 7) // 8
        if high > self.length:
            raise Undecodable(f"the pixel data end before frame {number} is complete")
        return self.start + low, high - low

    @property
    def aligned(self) -> bool:
        """Whether every frame begins at a byte."""
        return self.encapsulated or self.image.frame_bits % 8 == 0

    def pack(self) -> bytes:
        """For the index: a JSON header, then the two arrays."""
        header = orjson.dumps(
            {
                "image": attrs.asdict(self.image),
                "element": self.element,
                "vr": self.vr,
                "start": self.start,
                "length": self.length,
                "encapsulated": self.encapsulated,
                "fragments": len(self.lengths),
            }
        )
        return b"".join((_MAGIC, struct.pack("<I", len(header)), header, self.lengths.tobytes(), self.first.tobytes()))


def unpack(packed: bytes) -> FrameTable:
    """The table that `FrameTable.pack` made."""
    if packed[:4] != _MAGIC:
        raise ValueError("not a frame table")
    stop = 8 + struct.unpack_from("<I", packed, 4)[0]
    header = orjson.loads(packed[8:stop])
    fragments = header.pop("fragments")
    header["image"] = ImagePixel(**header["image"])
    return FrameTable(
        **header,
        lengths=np.frombuffer(packed, "<u4", fragments, stop),
        first=np.frombuffer(packed, "<u4", -1, stop + 4 * fragments) if len(packed) > stop + 4 * fragments else _none(),
    )


def frame_table(
    read: ReadAt,
    image: ImagePixel,
    *,
    element: int = PIXEL_DATA,
    vr: str = "OW",
    start: int,
    length: int,
    extended_offset_table: bytes = b"",
) -> FrameTable:
    """The table of the pixel element whose value begins at `start`; `length` is 0xFFFFFFFF for an encapsulated one.

    `extended_offset_table` is the value of (7FE0,0001), empty when absent. Offset tables are believed only as far as the
    fragments confirm them. Raises `Undecodable` when the frames cannot be told apart.
    """
    syntax = image.syntax
    if length != _UNDEFINED:
        if syntax.encapsulated:
            raise Undecodable("the transfer syntax is an encapsulated one but the pixel data are not encapsulated")
        return FrameTable(image, element, vr, start, length)
    if syntax.known and not syntax.encapsulated:
        raise Undecodable("the pixel data are encapsulated but the transfer syntax is not such a one")
    basic, begin = _basic_offset_table(read, start)
    lengths = _lengths_of_extended(read, begin, extended_offset_table, image.number_of_frames)
    if lengths is not None:
        return FrameTable(image, element, vr, begin, 0, lengths, encapsulated=True)
    lengths, complete = _scan(read, begin)
    known = np.frombuffer(basic, "<u4", len(basic) // 4).astype(np.int64) + begin
    first = _first_fragments(read, image, _starts(begin, lengths), known, complete)
    return FrameTable(image, element, vr, begin, 0, lengths, first, encapsulated=True)


def _basic_offset_table(read: ReadAt, start: int) -> tuple[bytes, int]:
    """Value of the first item, always present (PS3.5 A.4), and where the next item begins."""
    header = read(start, 8)
    if len(header) < 8:
        raise Undecodable("the pixel data end before the Basic Offset Table")
    group, number, length = _ITEM.unpack(header)
    if (group, number) != (0xFFFE, 0xE000) or length > 4 * _MOST_FRAGMENTS:
        raise Undecodable("the encapsulated pixel data do not begin with an item")
    return read(start + 8, length), start + 8 + length


def _scan(read: ReadAt, position: int) -> tuple[Lengths, bool]:
    """Lengths of the whole fragments up to the Sequence Delimitation Item or the end of the file, and whether none is cut off."""
    lengths = array("I")
    while len(lengths) < _MOST_FRAGMENTS:
        header = read(position, 8)
        if len(header) < 8:
            return np.array(lengths, "<u4"), not header
        group, number, length = _ITEM.unpack(header)
        if (group, number) != (0xFFFE, 0xE000):
            break
        position += 8 + length
        if length and not read(position - 1, 1):
            return np.array(lengths, "<u4"), False
        lengths.append(length)
    return np.array(lengths, "<u4"), True


def _lengths_of_extended(read: ReadAt, begin: int, table: bytes, frames: int) -> Lengths | None:
    """Lengths of the fragments as the Extended Offset Table has them (PS3.3 C.7.6.3.1.8: a fragment a frame), if it is true.

    Some item headers are looked at, spread over the file; a table that does not fit is not used.
    """
    if not table or len(table) != 8 * frames:
        return None
    offsets = np.frombuffer(table, "<u8")
    if offsets[0] != 0 or (offsets[1:] < offsets[:-1] + 8).any() or offsets[-1] > 1 << 62:
        return None
    last = read(begin + int(offsets[-1]), 8)
    if len(last) < 8:
        return None
    lengths = np.append(np.diff(offsets) - 8, _ITEM.unpack(last)[2])
    for index in {*range(0, frames, max(1, frames // 16)), frames - 1}:
        header = read(begin + int(offsets[index]), 8)
        if len(header) < 8 or _ITEM.unpack(header) != (0xFFFE, 0xE000, lengths[index]):
            return None
    return lengths.astype("<u4")


def _first_fragments(read: ReadAt, image: ImagePixel, starts: Lengths, basic: Lengths, complete: bool) -> Lengths:
    """With which fragment each frame begins, and where the last ends; empty when every frame is one fragment.

    `starts` are the places of the fragments, `basic` those that the Basic Offset Table names. Of an incomplete file the frames
    are told that are whole for certain.
    """
    frames, fragments = image.number_of_frames, len(starts)
    if not fragments or (not complete and (image.syntax.stream or frames == 1)):
        raise Undecodable("the pixel data are cut off")
    if image.syntax.stream or frames == 1:
        return np.array([0, fragments] if fragments > 1 else [], "<u4")
    if frames == fragments:
        return _none()
    named = _named(starts, basic) if len(basic) == frames else _none()
    if len(named) == frames and complete:
        return np.append(named, fragments).astype("<u4")
    if len(named) > 1 and not complete:
        return named.astype("<u4")
    heads = _image_starts(read, starts)
    if len(heads) != (frames if complete else fragments):
        raise Undecodable(f"{fragments} fragments without a usable offset table cannot be told apart into {frames} frames")
    return np.append(heads, fragments).astype("<u4")


def _named(starts: Lengths, basic: Lengths) -> Lengths:
    """The fragments that the entries of the Basic Offset Table name, up to the first entry that names none."""
    index = np.searchsorted(starts, basic)
    good = index < len(starts)
    good[good] = starts[index[good]] == basic[good]
    good[1:] &= index[1:] > index[:-1]
    return index if good.all() else index[: int(np.argmin(good))]


def _starts(begin: int, lengths: Lengths) -> Lengths:
    """Where the item header of each fragment is."""
    ends = np.cumsum(lengths, dtype=np.int64) + 8 * np.arange(1, len(lengths) + 1, dtype=np.int64)
    return ends - lengths - 8 + begin


def _image_starts(read: ReadAt, starts: Lengths) -> Lengths:
    """The fragments that begin with the first marker of a JPEG, JPEG-LS or JPEG 2000 code stream."""
    heads = [read(int(start) + 8, 4) for start in starts]
    return np.array([n for n, head in enumerate(heads) if head[:3] == b"\xff\xd8\xff" or head == b"\xff\x4f\xff\x51"], "<i8")
