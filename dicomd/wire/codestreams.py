"""What a compressed bit stream says of its image: JPEG (ITU-T T.81), JPEG-LS (T.87), JPEG 2000 and HTJ2K (T.800, T.814).

Only headers are read, through `read(offset, count)`; nothing is decoded. PS3.5 8.2 and 10 tell what it means in DICOM.
"""

import struct
from collections.abc import Callable

from attrs import evolve, frozen

from ..model.status import Undecodable
from ..model.transfer_syntaxes import (
    HTJ2K,
    HTJ2K_LOSSLESS,
    HTJ2K_LOSSLESS_RPCL,
    JPEG_2000,
    JPEG_2000_LOSSLESS,
    JPEG_BASELINE,
    JPEG_EXTENDED,
    JPEG_LOSSLESS,
    JPEG_LOSSLESS_SV1,
    JPEG_LS_LOSSLESS,
    JPEG_LS_NEAR_LOSSLESS,
    transfer_syntax,
)

Read = Callable[[int, int], bytes]
JPEG_PROGRESSIVE = "1.2.840.10008.1.2.4.55"

# The image begins with these.
_JPEG, _JPEG_2000 = b"\xff\xd8\xff", b"\xff\x4f\xff\x51"
_JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
_MOST_SEGMENTS = 4096
# Progression order resolution-position-component-layer
_RPCL = 2
_SOF_SYNTAX = {0xC0: JPEG_BASELINE, 0xC1: JPEG_EXTENDED, 0xC2: JPEG_PROGRESSIVE, 0xC3: JPEG_LOSSLESS, 0xF7: JPEG_LS_LOSSLESS}


@frozen
class Codestream:
    """The bare code stream is at `offset`, `length` bytes long (boxes around it are no part of DICOM, PS3.18 8.7.3)."""

    transfer_syntax_uid: str
    rows: int
    columns: int
    samples_per_pixel: int
    bits_stored: int
    photometric_interpretation: str
    signed: bool = False
    offset: int = 0
    length: int = 0

    @property
    def bits_allocated(self) -> int:
        """The least that DICOM has for so many bits (PS3.5 8.2)."""
        return 8 if self.bits_stored <= 8 else 16 if self.bits_stored <= 16 else 32

    @property
    def lossy(self) -> bool:
        """Whether the encoding as such loses something."""
        return not transfer_syntax(self.transfer_syntax_uid).lossless


def describe(read: Read, size: int) -> Codestream | None:
    """The image in `size` bytes; None when it is none of the known kinds. Raises `Undecodable` for a broken header."""
    head = read(0, 12)
    offset, length = _box_content(read, size) if head == _JP2 else (0, size)
    head = read(offset, 4) if offset else head
    if head[:3] == _JPEG:
        return evolve(_jpeg(lambda at, count: read(offset + at, count), length), offset=offset, length=length)
    if head[:4] == _JPEG_2000:
        return evolve(_jpeg_2000(lambda at, count: read(offset + at, count), length), offset=offset, length=length)
    return None


def _box_content(read: Read, size: int) -> tuple[int, int]:
    """Where the contiguous code stream box has its content (T.800 I.4)."""
    position = 0
    for _ in range(_MOST_SEGMENTS):
        head = read(position, 16)
        if len(head) < 8:
            break
        length, kind, skip = int.from_bytes(head[:4], "big"), head[4:8], 8
        if length == 1:
            length, skip = int.from_bytes(head[8:16], "big"), 16
        length = length or size - position
        if length < skip or position + length > size:
            break
        if kind == b"jp2c":
            return position + skip, length - skip
        position += length
    raise Undecodable("the JPEG 2000 boxes hold no code stream")


def _jpeg(read: Read, size: int) -> Codestream:
    found: Codestream | None = None
    colours, position = -1, 2
    for _ in range(_MOST_SEGMENTS):
        segment = read(position, 22)
        if len(segment) < 4 or segment[0] != 0xFF:
            break
        marker, length = segment[1], int.from_bytes(segment[2:4], "big")
        if marker == 0xFF:  # fill bytes
            position += 1
            continue
        if marker == 0xEE and segment[4:9] == b"Adobe":
            colours = segment[15]
        if marker in _SOF_SYNTAX:
            found = _frame_header(read(position, length + 2), marker)
        if marker == 0xDA and found is not None:
            return _photometric(_scan_header(found, read(position, length + 2)), colours)
        position += 2 + length
    raise Undecodable("the JPEG stream has no frame header before its first scan")


def _frame_header(segment: bytes, marker: int) -> Codestream:
    try:
        precision, rows, columns, components = struct.unpack_from(">BHHB", segment, 4)
        sampling = segment[11] if components == 3 else 0x11
    except (struct.error, IndexError):
        raise Undecodable("the JPEG frame header is cut off") from None
    if not (rows and columns and components):
        raise Undecodable("the JPEG frame header states no size")
    subsampled = "YBR_FULL_422" if sampling != 0x11 else "YBR_FULL"
    colour = "RGB" if marker in (0xC3, 0xF7) else subsampled
    return Codestream(_SOF_SYNTAX[marker], rows, columns, components, precision, colour if components == 3 else "MONOCHROME2")


def _scan_header(found: Codestream, segment: bytes) -> Codestream:
    """Predictor of lossless JPEG, NEAR of JPEG-LS: they stand behind the components of the first scan."""
    at = 5 + 2 * segment[4] if len(segment) > 4 else 5
    value = segment[at] if at < len(segment) else 0
    if found.transfer_syntax_uid == JPEG_LOSSLESS and value == 1:
        return evolve(found, transfer_syntax_uid=JPEG_LOSSLESS_SV1)
    if found.transfer_syntax_uid == JPEG_LS_LOSSLESS and value:
        return evolve(found, transfer_syntax_uid=JPEG_LS_NEAR_LOSSLESS)
    return found


def _photometric(found: Codestream, colours: int) -> Codestream:
    """Adobe's marker says that three components were not transformed."""
    if found.samples_per_pixel == 3 and colours == 0:
        return evolve(found, photometric_interpretation="RGB")
    return found


def _jpeg_2000(read: Read, size: int) -> Codestream:
    try:
        width, height, left, top = struct.unpack_from(">LLLL", read(8, 16))
        components, depth = struct.unpack_from(">HB", read(40, 3))
        coding, high_throughput = _coding_style(read)
        transformed, reversible = coding[8], coding[13] == 1
    except (struct.error, IndexError):
        raise Undecodable("the JPEG 2000 header is cut off") from None
    if width <= left or height <= top or not components:
        raise Undecodable("the JPEG 2000 header states no size")
    lossless = HTJ2K_LOSSLESS_RPCL if coding[5] == _RPCL else HTJ2K_LOSSLESS
    syntaxes = (HTJ2K, lossless) if high_throughput else (JPEG_2000, JPEG_2000_LOSSLESS)
    colour = ("YBR_RCT" if reversible else "YBR_ICT") if transformed else "RGB"
    return Codestream(
        syntaxes[reversible],
        height - top,
        width - left,
        components,
        (depth & 0x7F) + 1,
        colour if components == 3 else "MONOCHROME2",
        bool(depth & 0x80),
    )


def _coding_style(read: Read) -> tuple[bytes, bool]:
    """The COD segment of the main header (T.800 A.6.1) from its marker on, and whether a CAP segment says HTJ2K (T.814 A.2)."""
    position, capable = 2, False
    for _ in range(_MOST_SEGMENTS):
        segment = read(position, 16)
        if len(segment) < 4 or segment[1] == 0x90:
            break
        if segment[1] == 0x52:
            return segment, capable
        capable = capable or segment[1] == 0x50
        position += 2 + int.from_bytes(segment[2:4], "big")
    raise Undecodable("the JPEG 2000 main header states no coding style")
