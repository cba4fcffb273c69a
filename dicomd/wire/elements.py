"""Data elements of an encoded data set, and the File Meta Information (PS3.5 7.1, PS3.10 7.1).

Where elements begin and end, nothing about their values beyond the few that a header reading asks for. Input is hostile:
every length is checked against what is there, nesting is bounded, and the only error is `MalformedDataset`. Odd lengths,
stray delimiters, unknown VRs and implicit elements among explicit ones are let pass, as their meaning is clear.
"""

import mmap
import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from attrs import Factory, field, frozen

from ..model.identifiers import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from ..model.status import MalformedDataset

Buffer = bytes | bytearray | memoryview | mmap.mmap

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXEL_DATA = 0x7FE00010
MAX_DEPTH = 64

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
# A private syntax of GE: implicit little endian but for the pixels.
_IMPLICIT = (IMPLICIT_LITTLE, "1.2.840.113619.5.2")

# PS3.5 Tables 7.1-1 and 7.1-2
LONG_VRS = frozenset("OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
SHORT_VRS = frozenset("AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_LONG = {vr.encode(): vr for vr in LONG_VRS}
_SHORT = {vr.encode(): vr for vr in SHORT_VRS}


@frozen(eq=False)
class Layout:
    """How elements are laid out: with or without VR, and the byte order; with the readers for it."""

    explicit: bool
    little: bool
    read_explicit: Any = field(init=False, repr=False, default=Factory(lambda self: self.reader("HH2sH"), takes_self=True))
    read_implicit: Any = field(init=False, repr=False, default=Factory(lambda self: self.reader("HHL"), takes_self=True))
    read_length: Any = field(init=False, repr=False, default=Factory(lambda self: self.reader("L"), takes_self=True))

    @property
    def order(self) -> str:
        """The byte order as `struct` writes it."""
        return "<" if self.little else ">"

    def reader(self, form: str) -> Any:
        return struct.Struct(self.order + form).unpack_from


_LAYOUTS = {(explicit, little): Layout(explicit, little) for explicit in (False, True) for little in (False, True)}


def layout_of(transfer_syntax: str) -> Layout:
    """The layout of data sets in a transfer syntax (PS3.5 Annex A); whatever is not known is Explicit VR Little Endian."""
    return _LAYOUTS[transfer_syntax not in _IMPLICIT, transfer_syntax != EXPLICIT_BIG]


def layout(*, explicit: bool, little: bool = True) -> Layout:
    """One of the four layouts."""
    return _LAYOUTS[explicit, little]


def actual_layout(data: Buffer, start: int, claimed: Layout) -> Layout:
    """`claimed`, unless the first element shows that its VR is there (or is not) against the claim."""
    first = bytes(data[start + 4 : start + 6])
    return _LAYOUTS[first in _SHORT or first in _LONG, claimed.little] if len(first) == 2 and first != b"\0\0" else claimed


def element_at(data: Buffer, position: int, end: int, layout: Layout) -> tuple[int, str, int, int]:
    """Tag, VR ("" when not stated), value offset and length of the element at `position`; the length may be UNDEFINED."""
    try:
        if layout.explicit:
            group, element, raw, length = layout.read_explicit(data, position)
            vr = _SHORT.get(raw)
            if vr is not None:
                offset = position + 8
            elif raw in _LONG:
                vr, offset = _LONG[raw], position + 12
                (length,) = layout.read_length(data, position + 8)
            else:
                return _odd_element(data, position, end, layout)
        else:
            group, element, length = layout.read_implicit(data, position)
            vr, offset = "", position + 8
    except struct.error:
        raise MalformedDataset("the data set ends inside the header of an element") from None
    tag = group << 16 | element
    if length > end - offset and (length != UNDEFINED or offset > end):
        raise _beyond(tag)
    return tag, vr, offset, length


def _beyond(tag: int) -> MalformedDataset:
    return MalformedDataset(f"{name_of(tag)} reaches beyond the end of its data set", offending=(tag,))


def name_of(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _odd_element(data: Buffer, position: int, end: int, layout: Layout) -> tuple[int, str, int, int]:
    """An element whose VR is none of the known: implicit among explicit ones, a delimiter, or a VR of another time."""
    group, element, length = layout.read_implicit(data, position)
    tag, offset = group << 16 | element, position + 8
    raw = bytes(data[position + 4 : position + 6])
    letters = raw.isalpha() and raw.isascii()
    if not letters or group == 0xFFFE:
        if length > end - offset and (length != UNDEFINED or offset > end):
            raise _beyond(tag)
        return tag, "", offset, length
    # PS3.5 7.1.2: a VR yet to come has a 32-bit length after two reserved bytes; what merely misspells one has 16 bits.
    (short,) = struct.unpack_from(layout.order + "H", data, position + 6)
    known = raw.upper().decode("ascii")
    known = known if known in SHORT_VRS or known in LONG_VRS else "UN"
    if short == 0 and end - offset >= 4 and known not in SHORT_VRS:
        (length,) = layout.read_length(data, offset)
        if length <= end - offset - 4:
            return tag, known, offset + 4, length
    if short > end - offset:
        raise _beyond(tag)
    return tag, known, offset, short


def scan(
    data: Buffer, start: int = 0, *, explicit: bool, little: bool = True, stop: int = UNDEFINED, end: int | None = None
) -> Iterator[tuple[int, str, int, int]]:
    """(tag, VR or "" when implicit, value offset, length) of the top-level elements, up to the first with a tag >= `stop`.

    The length of a value of undefined length is that of all its bytes, without the closing delimiter.
    """
    position, end = start, len(data) if end is None else end
    form, short_vr = _LAYOUTS[explicit, little], _SHORT.get
    read, last = form.read_explicit, min(end, len(data)) - 8 if explicit else -1
    while position < end:
        if position <= last:
            # The usual element, without a call for each: this loop sees every element of every instance that is stored.
            group, element, raw, length = read(data, position)
            if group and length <= end - position - 8 and (found := short_vr(raw)) is not None:
                if (tag := group << 16 | element) >= stop:
                    return
                yield tag, found, position + 8, length
                position += 8 + length
                continue
        tag, vr, offset, length = element_at(data, position, end, form)
        if tag >= stop:
            return
        if length == UNDEFINED:
            position = skip_items(data, offset, end, value_layout(data, offset, vr, form), tag)
            yield tag, vr, offset, position - offset - 8
            continue
        position = offset + length
        if tag in (ITEM_END, SEQUENCE_END, 0):
            check_stray(data, tag, offset, length, end)
            if tag == 0:
                return
            continue
        yield tag, vr, offset, length


def sift(
    data: Buffer, start: int, end: int, form: Layout, wanted: frozenset[int], *, whole: bool
) -> Iterator[tuple[int, str, int, int]]:
    """As `scan`, but of the wanted elements only, and no further than the last of these when the elements are in order.

    `whole`: every element up to and including Pixel Data is looked at. This loop sees each element of each instance that is
    stored, so the usual ones are read without a call.
    """
    position, last, previous, passed = start, max(wanted), -1, False
    explicit, read_explicit, read_implicit, short_vr = form.explicit, form.read_explicit, form.read_implicit, _SHORT.get
    limit = min(end, len(data)) - 8
    while position < end:
        if position <= limit:
            if explicit:
                group, element, raw, length = read_explicit(data, position)
                vr = short_vr(raw)
            else:
                group, element, length = read_implicit(data, position)
                vr = None if group in (0xFFFE, 0x7FE0) else ""
            if group and vr is not None and length <= end - position - 8:
                if not passed:
                    tag = group << 16 | element
                    if tag in wanted:
                        yield tag, vr, position + 8, length
                    elif tag > last and 0 <= previous < tag:
                        if not whole:
                            return
                        passed = True
                    previous = tag if tag > previous else UNDEFINED
                position += 8 + length
                continue
        tag, found, offset, length = element_at(data, position, end, form)
        position = offset + length
        if length == UNDEFINED:
            position = skip_items(data, offset, end, value_layout(data, offset, found, form), tag)
            length = position - offset - 8
        elif tag in (ITEM_END, SEQUENCE_END, 0):
            check_stray(data, tag, offset, length, end)
            if tag == 0:
                return
            continue
        if tag in wanted and not passed:
            yield tag, found, offset, length
        elif tag > last and (passed or 0 <= previous < tag):
            if not whole or tag == PIXEL_DATA:
                return
            passed = True
        previous = tag if tag > previous else UNDEFINED


def check_stray(data: Buffer, tag: int, offset: int, length: int, end: int) -> None:
    """A delimiter where none is needed, and zeros after the last element, mean nothing; anything else there is an error."""
    if tag == 0 and any(data[offset - 8 : min(end, offset + 65536)]):
        raise MalformedDataset("a command element (0000,0000) inside a data set", offending=(0,))
    if tag != 0 and length:
        raise MalformedDataset(f"{name_of(tag)} with a value", offending=(tag,))


def value_layout(data: Buffer, offset: int, vr: str, outer: Layout) -> Layout:
    """The layout inside a value of undefined length: UN holds implicit VR little endian (PS3.5 6.2.2, note)."""
    if vr != "UN" or not outer.explicit:
        return outer
    inner = _LAYOUTS[False, True]
    if bytes(data[offset : offset + 4]) == b"\xfe\xff\x00\xe0":
        return actual_layout(data, offset + 8, inner)
    return inner


def skip_items(data: Buffer, position: int, end: int, layout: Layout, tag: int, depth: int = 1) -> int:
    """The position behind the sequence delimitation item that closes the items (or fragments) from `position`."""
    read = layout.read_implicit
    while True:
        try:
            group, element, length = read(data, position)
        except struct.error:
            break
        mark, position = group << 16 | element, position + 8
        if position > end:
            break
        if mark == SEQUENCE_END:
            return position
        if mark != ITEM:
            raise MalformedDataset(f"{name_of(tag)} holds {name_of(mark)} in place of an item", offending=(tag,))
        if length == UNDEFINED:
            position = skip_item(data, position, end, layout, tag, depth)
        elif length > end - position:
            break
        else:
            position += length
    raise MalformedDataset(f"{name_of(tag)} is not closed by a delimiter", offending=(tag,))


def skip_item(data: Buffer, position: int, end: int, layout: Layout, tag: int, depth: int) -> int:
    """The position behind the item delimitation item that closes the elements from `position`."""
    check_depth(depth, tag)
    while position < end:
        inner, vr, offset, length = element_at(data, position, end, layout)
        if inner == ITEM_END:
            return offset
        if inner in (ITEM, SEQUENCE_END):
            break
        if length == UNDEFINED:
            position = skip_items(data, offset, end, value_layout(data, offset, vr, layout), inner, depth + 1)
        else:
            position = offset + length
    raise MalformedDataset(f"an item of {name_of(tag)} is not closed by a delimiter", offending=(tag,))


def items_of(data: Buffer, position: int, end: int, layout: Layout, tag: int) -> Iterator[tuple[int, int]]:
    """(start, end) of the content of each item between `position` and `end`, the delimiters left out."""
    while position + 8 <= end:
        group, element, length = layout.read_implicit(data, position)
        mark, position = group << 16 | element, position + 8
        if mark == SEQUENCE_END:
            return
        if mark != ITEM or (length != UNDEFINED and length > end - position):
            raise MalformedDataset(f"{name_of(tag)} holds {name_of(mark)} in place of an item", offending=(tag,))
        following = skip_item(data, position, end, layout, tag, 1) if length == UNDEFINED else position + length
        yield position, following - 8 if length == UNDEFINED else following
        position = following


def check_depth(depth: int, tag: int) -> None:
    """Refuse nesting that no sensible object has."""
    if depth > MAX_DEPTH:
        raise MalformedDataset(f"{name_of(tag)} is nested deeper than {MAX_DEPTH} sequences", offending=(tag,))


@frozen
class FileMeta:
    """The File Meta Information of a Part 10 file (PS3.10 7.1), and where its data set begins.

    `sound`: preamble, prefix, group length, the three UIDs and version are all there, so that the bytes may be kept as they are.
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    dataset_offset: int
    sound: bool = True
    implementation_class_uid: str = ""
    implementation_version_name: str = ""
    source_ae_title: str = ""


_META = {0x00020002: 0, 0x00020003: 1, 0x00020010: 2, 0x00020012: 3, 0x00020013: 4, 0x00020016: 5}


def file_meta(data: Buffer) -> FileMeta:
    """Read the head of a Part 10 file. Old files without preamble, or without any head (the data set begins with a small
    element of group 0008, the UIDs are then empty), are understood; they are not `sound`."""
    start = 132 if bytes(data[128:132]) == b"DICM" else 0
    if start == 0 and (bytes(data[1:2]) != b"\0" or bytes(data[3:4]) != b"\0" or data[0] not in (2, 8)):
        raise MalformedDataset("not a DICOM file: no DICM prefix and no File Meta Information")
    found, position, end, declared, texts = 0, start, len(data), -1, [""] * 6
    claimed = actual_layout(data, start, _LAYOUTS[True, True])
    while position < end and bytes(data[position : position + 2]) == b"\x02\0":
        tag, _vr, offset, length = element_at(data, position, end, claimed)
        if position == declared and tag <= found and all(texts[:3]):
            # Broken senders have elements of this group in the data set too; there the group length decides.
            break
        if length == UNDEFINED or tag < found:
            raise MalformedDataset(f"{name_of(tag)} is not in order", offending=(tag,))
        found, position = tag, offset + length
        if tag in _META:
            texts[_META[tag]] = bytes(data[offset:position]).decode("ascii", "replace").strip(" \0")
        elif tag == 0x00020000 and length == 4:
            declared = position + int.from_bytes(data[offset:position], "little")
    if not found and start:
        raise MalformedDataset("not a DICOM file: no File Meta Information")
    sound = start == 132 and declared == position and claimed.explicit and all(texts[:3])
    if not texts[2]:
        texts[2] = EXPLICIT_LITTLE if actual_layout(data, position, _LAYOUTS[False, True]).explicit else IMPLICIT_LITTLE
    return FileMeta(texts[0], texts[1], texts[2], position, sound, texts[3], texts[4], texts[5])


def file_meta_bytes(
    sop_class_uid: str,
    sop_instance_uid: str,
    transfer_syntax_uid: str,
    *,
    implementation_class_uid: str = IMPLEMENTATION_CLASS_UID,
    implementation_version_name: str = IMPLEMENTATION_VERSION_NAME,
    source_ae_title: str = "",
) -> bytes:
    """Preamble, prefix and File Meta Information of a new file (PS3.10 Table 7.1-1)."""
    group = b"".join(
        (
            b"\x02\0\x01\0OB\0\0\x02\0\0\0\0\x01",
            _repeated(0x02, b"UI", sop_class_uid, b"\0"),
            _meta(0x03, b"UI", sop_instance_uid, b"\0"),
            _repeated(0x10, b"UI", transfer_syntax_uid, b"\0"),
            _repeated(0x12, b"UI", implementation_class_uid or IMPLEMENTATION_CLASS_UID, b"\0"),
            _repeated(0x13, b"SH", implementation_version_name, b" ") if implementation_version_name else b"",
            _repeated(0x16, b"AE", source_ae_title, b" ") if source_ae_title else b"",
        )
    )
    return b"%bDICM\x02\0\0\0UL\x04\0%b%b" % (bytes(128), len(group).to_bytes(4, "little"), group)


@lru_cache(maxsize=256)
def _repeated(element: int, vr: bytes, text: str, padding: bytes) -> bytes:
    return _meta(element, vr, text, padding)


def _meta(element: int, vr: bytes, text: str, padding: bytes) -> bytes:
    value = text.encode("ascii", "replace")
    value += padding if len(value) % 2 else b""
    return b"\x02\0%b\0%b%b%b" % (bytes((element,)), vr, len(value).to_bytes(2, "little"), value)
