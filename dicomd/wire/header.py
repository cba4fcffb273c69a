"""Reading a few elements of a data set as text: what the store path needs of a header before anything else is known."""

import struct
from collections.abc import Iterator, Mapping

from attrs import field, frozen

from ..model.status import MalformedDataset
from .character_sets import codecs_of, decode_text
from .elements import Buffer, Layout, actual_layout, items_of, layout, scan, sift, value_layout

Path = tuple[int, ...]
_CHARACTER_SET = 0x00080005
_TEXT = frozenset("LO LT PN SH ST UC UT".split())
_WHOLE = frozenset("LT ST UT UR".split())
_NUMBERS = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}


@frozen
class Wanted:
    """Which elements to read: paths of one tag, or of a sequence and a tag in its items; with the VR for implicit data sets."""

    vrs: Mapping[Path, str]
    top: dict[int, str] = field(init=False)
    nested: dict[int, dict[int, str]] = field(init=False)
    either: frozenset[int] = field(init=False)

    @top.default
    def _top(self) -> dict[int, str]:
        return {path[0]: vr for path, vr in self.vrs.items() if len(path) == 1} | {_CHARACTER_SET: "CS"}

    @nested.default
    def _nested(self) -> dict[int, dict[int, str]]:
        nested: dict[int, dict[int, str]] = {}
        for path, vr in self.vrs.items():
            if len(path) == 2:
                nested.setdefault(path[0], {})[path[1]] = vr
        return nested

    @either.default
    def _either(self) -> frozenset[int]:
        return frozenset([*self.top, *self.nested])


def read_values(
    data: Buffer,
    wanted: Wanted,
    start: int = 0,
    *,
    explicit: bool,
    little: bool = True,
    whole: bool = False,
    end: int | None = None,
) -> dict[Path, str]:
    """The wanted elements that are there, as text; several values (or those of several items) joined by `\\`.

    Numbers are decimal text, a name keeps its component groups; spaces around a value are not kept. The data set may be out
    of order; if it is in order, nothing behind the last wanted element is looked at. The layout is believed to the data
    rather than to the caller. `whole`: see also that every element up to and including Pixel Data is complete. `end`: where
    the data set ends, when `data` is only its beginning; `MalformedDataset` then means too that more of it is needed.
    """
    form = actual_layout(data, start, layout(explicit=explicit, little=little))
    found: dict[Path, str] = {}
    codecs: tuple[str, ...] = ("",)
    top, nested, available = wanted.top, wanted.nested, len(data)
    for tag, vr, offset, length in sift(data, start, available if end is None else end, form, wanted.either, whole=whole):
        if offset + length > available:
            raise MalformedDataset("the beginning of the data set is too short", offending=(tag,))
        if tag in top:
            found[tag,] = _value(bytes(data[offset : offset + length]), vr or top[tag], form, codecs)
            if tag == _CHARACTER_SET:
                codecs = codecs_of(found[tag,])
        elif tag in nested and length:
            inner = value_layout(data, offset, vr, form)
            for path, text in _read_items(data, offset, offset + length, tag, nested[tag], inner, codecs):
                found[tag, path] = f"{found[tag, path]}\\{text}" if (tag, path) in found else text
    if (_CHARACTER_SET,) not in wanted.vrs:
        found.pop((_CHARACTER_SET,), None)
    return found


def _read_items(
    data: Buffer, position: int, end: int, sequence: int, wanted: Mapping[int, str], form: Layout, outer: tuple[str, ...]
) -> Iterator[tuple[int, str]]:
    """(tag, text) of the wanted elements in each item of the sequence between `position` and `end`."""
    for start, stop in items_of(data, position, end, form, sequence):
        codecs = outer
        for tag, vr, offset, length in scan(data, start, explicit=form.explicit, little=form.little, end=stop):
            if tag == _CHARACTER_SET:
                codecs = codecs_of(_value(bytes(data[offset : offset + length]), "CS", form, outer))
            elif tag in wanted:
                yield tag, _value(bytes(data[offset : offset + length]), vr or wanted[tag], form, codecs)


def _value(raw: bytes, vr: str, form: Layout, codecs: tuple[str, ...]) -> str:
    if vr in _TEXT:
        text = decode_text(raw, codecs)
    elif vr in _NUMBERS:
        return _numbers(raw, form.order, _NUMBERS[vr])
    else:
        text = raw.decode("ascii", "replace")
    if vr not in _WHOLE and "\\" in text:
        return "\\".join([value.strip(" \0") for value in text.split("\\")])
    return text.strip(" \0")


def _numbers(raw: bytes, order: str, code: str) -> str:
    size = struct.calcsize(order + code)
    count = len(raw) // size
    return "\\".join(map(str, struct.unpack_from(f"{order}{count}{code}", raw)))
