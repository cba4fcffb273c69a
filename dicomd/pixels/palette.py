"""Palettes: Palette Color Lookup Tables, plain, segmented and supplemental (PS3.3 C.7.6.3.1.5, C.7.6.3.1.6, C.7.9.2)."""

import numpy as np
import numpy.typing as npt
from attrs import frozen

from ..model.status import Undecodable
from .header import Array, Bytes, Header

# descriptor, data, segmented data of red, green, blue
_CHANNELS = (
    ("00281101", "00281201", "00281221"),
    ("00281102", "00281202", "00281222"),
    ("00281103", "00281203", "00281223"),
)
Words = npt.NDArray[np.uint16]


@frozen(eq=False)
class Palette:
    """Colours (entries x 3, 8 bits) for the stored values from `first` on."""

    first: int
    colours: Bytes

    def apply(self, values: Array) -> Bytes:
        """Values outside of the table take its first or last entry."""
        return self.colours[np.clip(values.astype(np.int64) - self.first, 0, len(self.colours) - 1)]


def read(header: Header, *, signed: bool = False) -> Palette | None:
    """The palette in a data set or item, or None when it has none."""
    if "00281101" not in header:
        return None
    first, tables = 0, []
    for descriptor, data, segmented in _CHANNELS:
        shape = [int(value) for value in header.numbers(descriptor)[:3]]
        if len(shape) != 3:
            raise Undecodable("Palette Color Lookup Table Descriptor lacks values", offending=(int(descriptor, 16),))
        count = (shape[0] & 0xFFFF) or 0x10000
        first = shape[1] & 0xFFFF
        words = _expand(header.words(segmented), shape[2], count) if segmented in header else header.words(data)
        tables.append(_eight_bits(words, shape[2], count))
    if signed and first > 0x7FFF:
        first -= 0x10000
    length = min(len(table) for table in tables)
    if not length:
        raise Undecodable("Palette Color Lookup Table Data is empty", offending=(0x00281201,))
    return Palette(first, np.stack([table[:length] for table in tables], axis=1))


def _eight_bits(words: Words, bits: int, count: int) -> Bytes:
    """Entries cut to 8 bits; tables of 8 bits may be packed, or written in the low or in both bytes of a word."""
    if bits <= 8 and len(words) <= (count + 1) // 2:
        return np.frombuffer(words.astype("<u2").tobytes(), np.uint8)[:count]
    words = words[:count]
    if bits <= 8 or (len(words) and int(words.max()) <= 0xFF):
        return (words & 0xFF).astype(np.uint8)
    return (words >> 8).astype(np.uint8)


def _expand(words: Words, bits: int, count: int) -> Words:
    """Segmented data (C.7.9.2): discrete, linear and indirect segments, to plain entries."""
    data = [int(value) for value in (np.frombuffer(words.astype("<u2").tobytes(), np.uint8) if bits <= 8 else words)]
    out: list[int] = []
    _segments(data, 0, len(data), out, count, indirect_width=4 if bits <= 8 else 2)
    return np.array(out[:count], dtype=np.uint16)


def _segments(
    data: list[int], position: int, stop: int, out: list[int], count: int, *, indirect_width: int, copied: int = 0
) -> None:
    """Expand segments from `position` on; `copied`: only so many, on behalf of an indirect segment, which cannot nest."""
    done = 0
    while position + 1 < stop and len(out) < count and (not copied or done < copied):
        code, length = data[position], data[position + 1]
        position, done = position + 2, done + 1
        if code == 0:
            out.extend(data[position : position + length])
            position += length
        elif code == 1 and position < stop:
            if not out:
                raise Undecodable("a segmented palette begins with a linear segment")
            out.extend(round(value) for value in np.linspace(out[-1], data[position], length + 1)[1:])
            position += 1
        elif code == 2:
            unit = 8 if indirect_width == 4 else 16
            offset = sum(part << (unit * n) for n, part in enumerate(data[position : position + indirect_width]))
            if copied or offset >= len(data) or not length:
                raise Undecodable("an indirect segment of a palette refers to another or beyond the end")
            _segments(data, offset, len(data), out, count, indirect_width=indirect_width, copied=length)
            position += indirect_width
        else:
            break
