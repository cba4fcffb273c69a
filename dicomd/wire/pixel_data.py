"""Pixel Data from bulk data that came in parts: native, or encapsulated with an offset table (PS3.5 8, A.4; PS3.18 8.7.3).

What the metadata say of the image must agree with the bytes; what they leave out is read from the code stream.
"""

import struct
from base64 import b64encode
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from attrs import field, frozen

from ..model.attributes import Attributes, attribute, number, text, values
from ..model.content import FileRange, Piece, size
from ..model.status import MalformedDataset, Undecodable
from ..model.transfer_syntaxes import ALIASES, DEFAULT_OF_MEDIA_TYPE, EXPLICIT_LITTLE, OCTET_STREAM, transfer_syntax
from .codestreams import Codestream, describe
from .datasets import header
from .elements import UNDEFINED, layout
from .values import binary

FORM = layout(explicit=True)
ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"
PIXEL_DATA = ("7FE00008", "7FE00009", "7FE00010")
OFFSET_TABLES = ("7FE00001", "7FE00002")
_LONGEST = UNDEFINED - 2
_VIDEO_FRAGMENT = 1 << 31
# The family of a code stream that goes by two names.
_FAMILY = {"image/jpx": "image/jp2"}

# Reads bytes of a piece: piece, offset, count.
ReadPiece = Callable[[Piece, int, int], bytes]


@frozen
class BulkData:
    """The content of one part; `transfer_syntax_uid` as its Content-Type states it, else empty."""

    media_type: str
    transfer_syntax_uid: str
    pieces: tuple[Piece, ...]
    size: int = field(init=False)

    @size.default
    def _sum(self) -> int:
        return sum(map(size, self.pieces))

    @property
    def family(self) -> str:
        """The media type by its present name."""
        return ALIASES.get(self.media_type, self.media_type) or OCTET_STREAM


# The parts that a BulkDataURI refers to, in their order; empty when there is none.
Find = Callable[[str], Sequence[BulkData]]


def wrong(key: str, what: str) -> MalformedDataset:
    """The refusal that names an attribute."""
    return MalformedDataset(f"({key[:4]},{key[4:]}) {what}", offending=(int(key, 16),))


@frozen
class Pixels:
    """Pixel Data as pieces, in which transfer syntax, and the metadata with what was made up for."""

    key: str
    element: list[Piece]
    transfer_syntax_uid: str
    attributes: Attributes


def pixels_of(attributes: Attributes, find: Find, read: ReadPiece) -> Pixels | None:
    key = next((name for name in PIXEL_DATA if len(attributes.get(name, {})) > 1), "")
    if not key:
        return None
    value = attributes[key]
    if "BulkDataURI" not in value:
        raw = _inline(key, value)
        return _native(key, attributes, [BulkData(OCTET_STREAM, "", (raw,))])
    parts = list(find(value["BulkDataURI"]))
    if not parts:
        raise wrong(key, "refers to bulk data that is not in the request")
    first = parts[0]
    stated = transfer_syntax(first.transfer_syntax_uid) if first.transfer_syntax_uid not in ("", "*") else None
    if first.family == OCTET_STREAM and (stated is None or not stated.encapsulated):
        return _native(key, attributes, parts)
    if any(part.family != first.family for part in parts):
        raise wrong(key, "has parts of different media types")
    if key != "7FE00010":
        raise wrong(key, "cannot be compressed")
    return _encapsulated(key, attributes, parts, stated.uid if stated else "", read)


def _inline(key: str, value: dict[str, Any]) -> bytes:
    try:
        return binary(value)
    except ValueError as error:
        raise wrong(key, f"has {error}") from None


def _native(key: str, attributes: Attributes, parts: Sequence[BulkData]) -> Pixels:
    """Uncompressed: all frames follow each other (PS3.18 8.7.3.3.2), as many bytes as the description says."""
    length = sum(part.size for part in parts)
    if length >= UNDEFINED - 1:
        raise wrong(key, "is too long for uncompressed pixel data")
    expected = _native_length(key, attributes)
    if length not in (expected, expected + expected % 2):
        raise wrong(key, f"has {length} bytes, but its description asks for {expected}")
    vr = _NATIVE_VR.get(key) or _word_or_byte(attributes)
    pieces = [piece for part in parts for piece in part.pieces]
    element = [header(int(key, 16), vr, length + length % 2, FORM), *pieces, *([b"\0"] if length % 2 else [])]
    return Pixels(key, element, EXPLICIT_LITTLE, attributes)


_NATIVE_VR = {"7FE00008": "OF", "7FE00009": "OD"}


def _word_or_byte(attributes: Attributes) -> str:
    """PS3.5 A.2: OW above 8 bits, below as stated."""
    if (number(attributes, "00280100") or 8) > 8 or attributes["7FE00010"].get("vr") == "OW":
        return "OW"
    return "OB"


def _native_length(key: str, attributes: Attributes) -> int:
    """Bytes of all frames; 1-bit frames follow each other without padding (PS3.5 8.1.1)."""
    rows, columns = _positive(attributes, "00280010"), _positive(attributes, "00280011")
    samples = number(attributes, "00280002") or 1
    bits = {"7FE00008": 32, "7FE00009": 64}.get(key) or _positive(attributes, "00280100")
    if text(attributes, "00280004") in ("YBR_FULL_422", "YBR_PARTIAL_422"):
        samples = 2
    return (rows * columns * samples * bits * _frames(attributes) + 7) // 8


def _positive(attributes: Attributes, tag: str) -> int:
    value = number(attributes, tag)
    if value is None or value < 1:
        raise wrong(tag, "is missing or not positive, and is needed to store pixel data")
    return value


def _frames(attributes: Attributes) -> int:
    return _positive(attributes, "00280008") if values(attributes, "00280008") else 1


def _encapsulated(key: str, attributes: Attributes, parts: list[BulkData], stated: str, read: ReadPiece) -> Pixels:
    streams = [_describe(key, part, read) for part in parts]
    first = streams[0]
    if first is None:
        syntax = stated or DEFAULT_OF_MEDIA_TYPE.get(parts[0].family, "")
    else:
        syntax = _agreed(key, first, parts[0].family, stated)
        parts = [_bare(part, stream) for part, stream in zip(parts, streams, strict=True)]
    if not transfer_syntax(syntax).encapsulated:
        raise wrong(key, f"came as {parts[0].family}, which is no compressed image or video")
    if transfer_syntax(syntax).stream:
        if len(parts) > 1:
            raise wrong(key, "is a video in several parts")
        return Pixels(key, _fragments(parts[0]), syntax, attributes)
    attributes = _described(attributes, first, len(parts))
    element, tables = _frame_items(key, parts)
    return Pixels(key, element, syntax, attributes | tables)


def _describe(key: str, part: BulkData, read: ReadPiece) -> Codestream | None:
    def read_part(offset: int, count: int) -> bytes:
        out = b""
        for piece in part.pieces:
            length = size(piece)
            if offset < length:
                out += read(piece, offset, min(count - len(out), length - offset))
                if len(out) == count:
                    break
            offset = max(0, offset - length)
        return out

    try:
        return describe(read_part, part.size)
    except Undecodable as error:
        raise wrong(key, f"cannot be understood: {error.comment}") from None


def _agreed(key: str, found: Codestream, family: str, stated: str) -> str:
    """The transfer syntax: as stated, unless the code stream shows another one."""
    actual = transfer_syntax(found.transfer_syntax_uid)
    if family != OCTET_STREAM and _FAMILY.get(family, family) != actual.media_type:
        raise wrong(key, f"came as {family} but is {actual.media_type}")
    claimed = transfer_syntax(stated) if stated else actual
    if _FAMILY.get(claimed.media_type, claimed.media_type) != actual.media_type:
        raise wrong(key, f"is {actual.media_type}, not what its transfer syntax says")
    return actual.uid if claimed.lossless and not actual.lossless else claimed.uid


def _bare(part: BulkData, stream: Codestream | None) -> BulkData:
    """The part without the boxes around its code stream."""
    if stream is None or stream.length == part.size:
        return part
    pieces: list[Piece] = []
    skip, left = stream.offset, stream.length
    for piece in part.pieces:
        start = min(skip, size(piece))
        count = min(left, size(piece) - start)
        skip, left = skip - start, left - count
        pieces.append(_cut(piece, start, count))
    return BulkData(part.media_type, part.transfer_syntax_uid, tuple(piece for piece in pieces if size(piece)))


def _described(attributes: Attributes, stream: Codestream | None, frames: int) -> Attributes:
    """The metadata with the description of the image: what is there must agree, what is missing is taken from the stream."""
    attributes = dict(attributes)
    if stream is not None:
        for tag, actual in (("00280010", stream.rows), ("00280011", stream.columns), ("00280002", stream.samples_per_pixel)):
            if values(attributes, tag) and number(attributes, tag) != actual:
                raise wrong(tag, f"is not {actual}, as the compressed image says")
        undescribed = not values(attributes, "00280010")
        for tag, value in _description(stream).items():
            if not values(attributes, tag) and (undescribed or tag < "00280104"):
                attributes[tag] = value
    if not values(attributes, "00280008") and frames > 1:
        attributes["00280008"] = attribute("IS", frames)
    if _frames(attributes) != frames:
        raise wrong("00280008", f"is not {frames}, the number of compressed frames")
    for tag in ("00280010", "00280011", "00280100"):
        _positive(attributes, tag)
    return attributes


def _description(stream: Codestream) -> Attributes:
    """Image Pixel Description Macro (PS3.3 Table C.7-11c) of a compressed image."""
    described = {
        "00280002": attribute("US", stream.samples_per_pixel),
        "00280004": attribute("CS", stream.photometric_interpretation),
        "00280010": attribute("US", stream.rows),
        "00280011": attribute("US", stream.columns),
        "00280100": attribute("US", stream.bits_allocated),
        "00280101": attribute("US", stream.bits_stored),
        "00280102": attribute("US", stream.bits_stored - 1),
        "00280103": attribute("US", int(stream.signed)),
        "00282110": attribute("CS", "01" if stream.lossy else "00"),
    }
    if stream.samples_per_pixel > 1:
        described["00280006"] = attribute("US", 0)
    if stream.lossy and (method := _METHODS.get(transfer_syntax(stream.transfer_syntax_uid).media_type)):
        described["00282114"] = attribute("CS", method)
    return described


# PS3.3 C.7.6.1.1.5.1
_METHODS = {"image/jpeg": "ISO_10918_1", "image/jls": "ISO_14495_1", "image/jp2": "ISO_15444_1", "image/jphc": "ISO_15444_15"}


def _frame_items(key: str, parts: Sequence[BulkData]) -> tuple[list[Piece], Attributes]:
    """A fragment a frame, with a Basic Offset Table where its 32-bit offsets reach, else with an Extended one."""
    for part in parts:
        if not 0 < part.size <= _LONGEST:
            raise wrong(key, "has a frame without content, or one too large")
    lengths = [part.size + part.size % 2 for part in parts]
    offsets = list(accumulate((length + 8 for length in lengths), initial=0))[:-1]
    basic = offsets[-1] < UNDEFINED
    table = struct.pack(f"<{len(offsets)}L", *offsets) if basic else b""
    out: list[Piece] = [header(int(key, 16), "OB", UNDEFINED, FORM), ITEM + len(table).to_bytes(4, "little") + table]
    for part in parts:
        out += _fragment(part.pieces)
    return [*out, _END], {} if basic else _extended_tables(offsets, [part.size for part in parts])


def _extended_tables(*tables: Sequence[int]) -> Attributes:
    """Offsets and lengths (PS3.3 C.7.6.3.1.8)."""
    return {
        tag: {"vr": "OV", "InlineBinary": b64encode(struct.pack(f"<{len(table)}Q", *table)).decode("ascii")}
        for tag, table in zip(OFFSET_TABLES, tables, strict=True)
    }


def _fragments(part: BulkData) -> list[Piece]:
    """One bit stream, in as few fragments as hold it (PS3.5 8.2.5 and following); no frame has an offset of its own."""
    out: list[Piece] = [header(0x7FE00010, "OB", UNDEFINED, FORM), ITEM + bytes(4)]
    if part.size <= _LONGEST:
        return [*out, *_fragment(part.pieces), _END]
    for piece in part.pieces:
        for start in range(0, size(piece), _VIDEO_FRAGMENT):
            out += _fragment((_cut(piece, start, min(_VIDEO_FRAGMENT, size(piece) - start)),))
    return [*out, _END]


def _cut(piece: Piece, start: int, count: int) -> Piece:
    if isinstance(piece, FileRange):
        return piece.part(start, count)
    return piece[start : start + count]


def _fragment(pieces: Sequence[Piece]) -> list[Piece]:
    length = sum(map(size, pieces))
    return [ITEM + (length + length % 2).to_bytes(4, "little"), *pieces, *([b"\0"] if length % 2 else [])]
