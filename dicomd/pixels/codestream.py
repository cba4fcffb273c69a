"""The size that a compressed frame states about itself, read before any decoder is let loose on it."""

import struct

from attrs import frozen

from ..model.status import Undecodable


@frozen
class Size:
    """Width, height, number of components and bits of a code stream; `signed` as JPEG 2000 says it (PS3.5 8.2.4)."""

    columns: int
    rows: int
    components: int
    bits: int
    signed: bool = False
    transform: int | None = None  # of Adobe's APP14 marker: 0 none (RGB), 1 YCbCr


def size(data: bytes) -> Size:
    """The size of a JPEG, JPEG-LS, JPEG 2000 (bare or in a JP2 file), or JPEG XL stream; raises `Undecodable`."""
    try:
        if data[:3] == b"\xff\xd8\xff":
            return _jpeg(data)
        if data[:4] == b"\xff\x4f\xff\x51":
            return _jpeg2000(data, 4)
        if data[4:8] == b"jP  ":
            return _jpeg2000(data, data.index(b"\xff\x4f\xff\x51") + 4)
        if data[:2] == b"\xff\x0a":
            return _jpeg_xl(data)
        if data[:12] == b"\0\0\0\x0cJXL \r\n\x87\n":
            return _jpeg_xl(_boxed(data))
    except (struct.error, IndexError, ValueError):
        raise Undecodable("the header of the compressed frame is cut off") from None
    raise Undecodable("the frame does not begin like any known compressed stream")


# ISO/IEC 10918-1 Table B.1: SOF0 to SOF15 without DHT, JPG and DAC; ISO/IEC 14495-1: SOF55.
_SOF = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7})
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})


def _jpeg(data: bytes) -> Size:
    position, transform = 2, None
    while True:
        if data[position] != 0xFF:
            raise Undecodable("the markers of the JPEG stream are damaged")
        marker, position = data[position + 1], position + 1
        if marker == 0xFF:
            continue
        position += 1
        if marker in _ALONE:
            continue
        (length,) = struct.unpack_from(">H", data, position)
        if marker in _SOF:
            bits, rows, columns, components = struct.unpack_from(">BHHB", data, position + 2)
            return Size(columns, rows, components, bits, transform=transform)
        if marker == 0xEE and length >= 14 and data[position + 2 : position + 7] == b"Adobe":
            transform = data[position + 13]
        if marker in (0xDA, 0xD9) or length < 2:
            raise Undecodable("the JPEG stream has no frame header before its data")
        position += length


def _jpeg2000(data: bytes, position: int) -> Size:
    """ISO/IEC 15444-1 A.5.1, SIZ."""
    right, bottom, left, top = struct.unpack_from(">4I", data, position + 4)
    components, depth = struct.unpack_from(">HB", data, position + 36)
    return Size(right - left, bottom - top, components, (depth & 0x7F) + 1, depth > 0x7F)


_RATIOS = ((1, 1), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def _boxed(data: bytes) -> bytes:
    """The beginning of the code stream in an ISO/IEC 18181-2 container, which recompressed JPEG needs."""
    position = 12
    while True:
        length, kind = struct.unpack_from(">I4s", data, position)
        if kind in (b"jxlc", b"jxlp"):
            start = position + (8 if kind == b"jxlc" else 12)
            return data[start : start + 64]
        if length < 8:
            raise Undecodable("the container of the compressed frame is damaged")
        position += length


def _jpeg_xl(data: bytes) -> Size:
    """ISO/IEC 18181-1, SizeHeader; components and bits are left to the decoder (0)."""
    bits, used = int.from_bytes(data[2:14], "little"), 0

    def take(count: int) -> int:
        nonlocal used
        used += count
        return bits >> (used - count) & ((1 << count) - 1)

    small = take(1)

    def length() -> int:
        return 8 * (take(5) + 1) if small else take((9, 13, 18, 30)[take(2)]) + 1

    rows = length()
    ratio = take(3)
    columns = length() if ratio == 0 else rows * _RATIOS[ratio][0] // _RATIOS[ratio][1]
    return Size(columns, rows, 0, 0)
