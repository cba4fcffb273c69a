"""A data set from any layout to Explicit or Implicit VR Little Endian, element by element, however large it is (PS3.5 7, A).

What can be taken over is not touched: the answer is a sequence of new bytes and of places in the source to copy from.
"""

from collections.abc import Generator, Iterator, Mapping

from attrs import define, field, frozen

from ..model.status import MalformedDataset
from .datasets import header
from .elements import (
    ITEM,
    ITEM_END,
    SEQUENCE_END,
    UNDEFINED,
    Buffer,
    Layout,
    check_depth,
    element_at,
    layout,
    name_of,
    scan,
    skip_items,
    value_layout,
)
from .vrs import WORDS, dictionary_vr, settled_vr

# Values up to this size are put among the new bytes.
_SMALL = 4096
_PIXEL_REPRESENTATION, _LUT_DESCRIPTOR, _LUT_DATA = 0x00280103, 0x00283002, 0x00283006
EXPLICIT, IMPLICIT = layout(explicit=True, little=True), layout(explicit=False, little=True)
_ITEM_OF_UNDEFINED_LENGTH = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
_END_OF_ITEM = b"\xfe\xff\x0d\xe0\0\0\0\0"
_END_OF_SEQUENCE = b"\xfe\xff\xdd\xe0\0\0\0\0"

# Tag -> VR and value of the element as it shall be; None: leave it out.
Changes = Mapping[int, tuple[str, bytes] | None]


@frozen
class Copy:
    """Bytes of the source; with `word` > 1 in words of that size whose byte order is turned."""

    offset: int
    length: int
    word: int = 1


Output = Iterator[bytes | Copy]


def element(tag: int, vr: str, value: bytes, target: Layout = EXPLICIT) -> bytes:
    """One element of defined length, padded to even length (PS3.5 7.1.1)."""
    if len(value) % 2:
        value += b"\0" if vr in ("UI", "OB", "UN") else b" "
    return header(tag, vr, len(value), target) + value


def rewritten(
    data: Buffer, start: int, end: int, form: Layout, target: Layout, changes: Changes, *, before: int = UNDEFINED
) -> Output:
    """The elements from `start` up to the first with a tag >= `before`, with `changes` in their places, as `target`.

    Group lengths are left out, as they would be wrong afterwards (PS3.5 7.2).
    """
    new = {tag: element(tag, *value, target) for tag, value in sorted(changes.items()) if value is not None}
    source = _Source(data, form, target, _is_signed(data, start, end, form, before))
    copied, position = start, start  # what lies between them is yet to be copied
    while position < end:
        tag, vr, offset, length = element_at(data, position, end, form)
        if tag >= before:
            break
        following = source.behind(tag, vr, offset, length, end)
        due = [each for each in new if each <= tag]
        plain = form == target and bool(vr) == form.explicit and not _is_dropped(tag)
        if due or tag in changes or not plain:
            if copied < position:
                yield Copy(copied, position - copied)
            for each in due:
                yield new.pop(each)
            if tag not in changes and not _is_dropped(tag):
                yield from [Copy(position, following - position)] if plain else source.converted(position, end, 1)
            copied = following
        position = following
    if copied < position:
        yield Copy(copied, position - copied)
    yield from new.values()


def _is_dropped(tag: int) -> bool:
    """Group lengths, delimiters, and groups that are no part of a data set."""
    return tag & 0xFFFF == 0 or tag >= 0xFFFEE000 or tag < 0x10000 or tag >> 16 == 2


def _is_signed(data: Buffer, start: int, end: int, form: Layout, before: int) -> bool:
    """Pixel Representation of the data set as a whole: it decides VRs in sequences that come before it, too."""
    for tag, _vr, offset, length in scan(data, start, explicit=form.explicit, little=form.little, stop=before, end=end):
        if tag >= _PIXEL_REPRESENTATION:
            return tag == _PIXEL_REPRESENTATION and 1 in bytes(data[offset : offset + length])
    return False


@define(eq=False)
class _Source:
    """Elements that are converted one by one; one such object for each data set and each item."""

    data: Buffer
    form: Layout
    target: Layout
    is_signed: bool
    _creators: dict[int, str] = field(factory=dict)
    _lut_values: int = 0

    def behind(self, tag: int, vr: str, offset: int, length: int, end: int) -> int:
        """The position behind an element."""
        if length == UNDEFINED:
            return skip_items(self.data, offset, end, value_layout(self.data, offset, vr, self.form), tag)
        return offset + length

    def converted(self, position: int, end: int, depth: int) -> Output:
        """The element at `position`."""
        data = self.data
        tag, stated, offset, length = element_at(data, position, end, self.form)
        vr = self._vr(tag, stated, offset, length)
        if vr == "SQ":
            inner = value_layout(data, offset, stated, self.form)
            stop = end if length == UNDEFINED else offset + length
            yield header(tag, "SQ", UNDEFINED, self.target)
            yield from _Source(data, inner, self.target, self.is_signed).items(tag, offset, stop, depth)
            yield _END_OF_SEQUENCE
            return
        if length == UNDEFINED:
            raise MalformedDataset(f"{name_of(tag)} of undefined length is no sequence", offending=(tag,))
        self._remember(tag, offset, length)
        yield header(tag, vr, length + length % 2, self.target)
        word = WORDS.get(vr, 1) if not self.form.little else 1
        if length > _SMALL:
            yield Copy(offset, length, word)
        else:
            yield turned(bytes(data[offset : offset + length]), word)
        if length % 2:
            yield b"\0" if vr in WORDS or vr in ("OB", "UN", "UI") else b" "

    def items(self, tag: int, position: int, end: int, depth: int) -> Output:
        """The items of a sequence, in items of undefined length."""
        check_depth(depth, tag)
        while position + 8 <= end:
            group, number, length = self.form.read_implicit(self.data, position)
            mark, position = group << 16 | number, position + 8
            if mark == SEQUENCE_END:
                return
            if mark != ITEM or (length != UNDEFINED and length > end - position):
                raise MalformedDataset(f"{name_of(tag)} holds {name_of(mark)} in place of an item", offending=(tag,))
            yield _ITEM_OF_UNDEFINED_LENGTH
            stop = end if length == UNDEFINED else position + length
            item = _Source(self.data, self.form, self.target, self.is_signed)
            position = yield from item.item(position, stop, depth)
            yield _END_OF_ITEM

    def item(self, position: int, end: int, depth: int) -> Generator[bytes | Copy, None, int]:
        """The elements of one item; the answer is the position behind it."""
        while position < end:
            tag, vr, offset, length = element_at(self.data, position, end, self.form)
            if tag == ITEM_END:
                return offset
            if not _is_dropped(tag):
                yield from self.converted(position, end, depth + 1)
            position = self.behind(tag, vr, offset, length, end)
        return position

    def _vr(self, tag: int, stated: str, offset: int, length: int) -> str:
        if length == UNDEFINED and (stated in ("", "UN", "SQ")):
            return "SQ"
        if stated:
            return stated
        known = dictionary_vr(tag, self._creators.get(tag >> 16 << 8 | tag >> 8 & 0xFF, "") if tag >> 16 & 1 else "")
        if known == "US or SS":
            return "SS" if self.is_signed else "US"
        if tag == _LUT_DATA:
            return "US" if self._lut_values == 1 else "OW"
        return settled_vr(known)

    def _remember(self, tag: int, offset: int, length: int) -> None:
        """What decides the VRs of later elements."""
        if tag >> 16 & 1 and 0x10 <= tag & 0xFFFF <= 0xFF:
            text = bytes(self.data[offset : offset + min(length, 64)]).decode("ascii", "replace")
            self._creators[tag >> 16 << 8 | tag & 0xFF] = text.strip(" \0")
        elif tag == _PIXEL_REPRESENTATION:
            self.is_signed = 1 in bytes(self.data[offset : offset + min(length, 2)])
        elif tag == _LUT_DESCRIPTOR and length >= 2:
            self._lut_values = int.from_bytes(self.data[offset : offset + 2], "little" if self.form.little else "big")


def turned(data: bytes, word: int) -> bytes:
    """Words of `word` bytes in the other byte order; bytes behind the last whole word stay."""
    if word == 1:
        return data
    whole = len(data) // word * word
    out = bytearray(data)
    for byte in range(word):
        out[byte:whole:word] = data[word - 1 - byte : whole : word]
    return bytes(out)
