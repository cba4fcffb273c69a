"""Multi-frame instances of any size, made piece by piece: native, or compressed with an offset table of each kind or none."""

import itertools
import struct
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from attrs import field, frozen

from dicomd.model.transfer_syntaxes import EXPLICIT_LITTLE, RLE_LOSSLESS
from dicomd.pixels import codecs
from dicomd.pixels.image import ImagePixel
from dicomd.wire.datasets import encode

SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
SIDE = 512
# How the frames of a compressed instance are found: Basic Offset Table, Extended Offset Table, neither.
KINDS = ("native", "basic", "extended", "none")
_DIFFERENT = 8
_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"
_UNDEFINED = 0xFFFFFFFF
_PIECE = 1 << 20
_numbers = itertools.count(1)


@cache
def images(side: int) -> list[bytes]:
    """Some frames of noise."""
    random = np.random.default_rng(1)
    return [random.integers(0, 256, (side, side), "u1").tobytes() for _ in range(_DIFFERENT)]


@cache
def compressed(side: int) -> list[bytes]:
    """The same as RLE Lossless."""
    image = ImagePixel(EXPLICIT_LITTLE, side, side, bits_allocated=8, bits_stored=8)
    arrays = (np.frombuffer(frame, "u1").reshape(side, side) for frame in images(side))
    return [codecs.encode(array, image, RLE_LOSSLESS)[0] for array in arrays]


@frozen
class Giant:
    """One instance of `frames` frames; `groups`: with an item of functional groups for each of them."""

    kind: str
    frames: int
    study: str = "1.2.3.1"
    series: str = "1.2.3.1.1"
    uid: str = field(factory=lambda: f"1.2.3.1.1.{next(_numbers)}")
    side: int = SIDE
    groups: bool = False
    _contents: list[bytes] = field(init=False)

    @_contents.default
    def _frames(self) -> list[bytes]:
        return images(self.side) if self.kind == "native" else compressed(self.side)

    @property
    def transfer_syntax_uid(self) -> str:
        return EXPLICIT_LITTLE if self.kind == "native" else RLE_LOSSLESS

    def content(self, number: int) -> bytes:
        """The bytes of frame `number` (from 1) as they are stored."""
        return self._contents[(number - 1) % _DIFFERENT]

    def pieces(self) -> Iterator[bytes]:
        """The data set, in pieces of about a megabyte and of even length."""
        held: list[bytes] = []
        size = 0
        for part in itertools.chain([self._header()], self._pixels()):
            held.append(part)
            size += len(part)
            if size >= _PIECE:
                yield b"".join(held)
                held, size = [], 0
        yield b"".join(held)

    def _header(self) -> bytes:
        values: dict[str, tuple[str, Any]] = {
            "00080008": ("CS", "ORIGINAL"),
            "00080016": ("UI", SLIDE),
            "00080018": ("UI", self.uid),
            "00080020": ("DA", "20260101"),
            "00080060": ("CS", "SM"),
            "00100010": ("PN", {"Alphabetic": "Large^Study"}),
            "00100020": ("LO", "LARGE"),
            "0020000D": ("UI", self.study),
            "0020000E": ("UI", self.series),
            "00200013": ("IS", int(self.uid.rpartition(".")[2])),
            "00280002": ("US", 1),
            "00280004": ("CS", "MONOCHROME2"),
            "00280008": ("IS", self.frames),
            "00280010": ("US", self.side),
            "00280011": ("US", self.side),
            "00280100": ("US", 8),
            "00280101": ("US", 8),
            "00280102": ("US", 7),
            "00280103": ("US", 0),
        }
        header = encode({tag: {"vr": vr, "Value": [value]} for tag, (vr, value) in values.items()}, EXPLICIT_LITTLE)
        return header + (self._functional_groups() if self.groups else b"")

    def _functional_groups(self) -> bytes:
        """Per-Frame Functional Groups Sequence (PS3.3 C.7.6.16) of a sparse slide."""
        sequence = b"".join(_group(number, self.side) for number in range(self.frames))
        return struct.pack("<HH2sHL", 0x5200, 0x9230, b"SQ", 0, len(sequence)) + sequence

    def _pixels(self) -> Iterator[bytes]:
        numbers = range(1, self.frames + 1)
        if self.kind == "native":
            yield struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, self.frames * self.side * self.side)
            yield from map(self.content, numbers)
            return
        lengths = np.array([len(self.content(number)) for number in numbers], "<u8")
        offsets = np.concatenate([[0], np.cumsum(lengths + 8)[:-1]]).astype("<u8")
        if self.kind == "extended":
            for element, table in ((1, offsets), (2, lengths)):
                yield struct.pack("<HH2sHL", 0x7FE0, element, b"OV", 0, table.nbytes) + table.tobytes()
        basic = offsets.astype("<u4").tobytes() if self.kind == "basic" else b""
        yield struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, _UNDEFINED) + _ITEM + struct.pack("<L", len(basic)) + basic
        for number in numbers:
            yield _ITEM + struct.pack("<L", len(self.content(number)))
            yield self.content(number)
        yield _END


def giant(kind: str, size: int, side: int = SIDE, **more: Any) -> Giant:
    """One of about `size` bytes."""
    return Giant(kind, max(1, size // (side * side)), side=side, **more)


def _group(number: int, side: int) -> bytes:
    column, row = number % 300 * side + 1, number // 300 * side + 1
    index = {"00209157": {"vr": "UL", "Value": [column, row]}}
    position = {
        "0040072A": {"vr": "DS", "Value": [row / 2000]},
        "0040073A": {"vr": "DS", "Value": [column / 2000]},
        "0040074A": {"vr": "DS", "Value": [0]},
        "0048021E": {"vr": "SL", "Value": [column]},
        "0048021F": {"vr": "SL", "Value": [row]},
    }
    item = encode({"00209111": {"vr": "SQ", "Value": [index]}, "0048021A": {"vr": "SQ", "Value": [position]}}, EXPLICIT_LITTLE)
    return _ITEM + struct.pack("<L", len(item)) + item
