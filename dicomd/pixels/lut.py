"""Lookup tables of PS3.3 C.11.1 (Modality), C.11.2 (VOI) and C.11.4 (Presentation), and the tables made for display."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from attrs import frozen

from ..model.rendering import Window
from ..model.status import Undecodable
from .header import Array, Bytes, Header
from .window import Identity, proportion

Floats = npt.NDArray[np.float64]


@frozen
class Lut:
    """A table: `first` is the input mapped to the first entry, `bits` the width of the output."""

    first: int
    bits: int
    data: bytes

    @property
    def entries(self) -> npt.NDArray[np.uint16]:
        """The table's values."""
        return np.frombuffer(self.data, "<u2")

    @property
    def largest(self) -> int:
        """The largest output."""
        return (1 << self.bits) - 1

    def apply(self, values: Floats) -> Floats:
        """Inputs outside of the table take its first or last entry (C.11.1.1.1)."""
        entries = self.entries
        indexes = np.clip(np.nan_to_num(values) - self.first, 0, len(entries) - 1).astype(np.intp)
        return entries[indexes].astype(np.float64)

    def proportion(self, values: Floats) -> Floats:
        """The output as a part of its range, 0 to 1."""
        return np.minimum(self.apply(values) / self.largest, 1.0)


def read(item: Header, *, signed: bool, descriptor: str = "00283002", data: str = "00283006") -> Lut:
    """The table in an item of a LUT sequence; `signed`: whether its inputs can be negative."""
    shape = [int(value) for value in item.numbers(descriptor)[:3]]
    if len(shape) != 3:
        raise Undecodable("LUT Descriptor does not have three values", offending=(int(descriptor, 16),))
    count = (shape[0] & 0xFFFF) or 0x10000
    words = item.words(data)
    if shape[2] <= 8 and count // 2 <= len(words) <= (count + 1) // 2 and count > 1:
        words = np.frombuffer(words.tobytes(), np.uint8).astype(np.uint16)
    words = words[:count]
    if not len(words):
        raise Undecodable("LUT Data is empty", offending=(int(data, 16),))
    first = shape[1] & 0xFFFF
    if signed and first > 0x7FFF:
        first -= 0x10000
    # C.11.1.1: 8 to 16 bits; a width too small for the values is corrected by them
    bits = max(shape[2] if 1 <= shape[2] <= 16 else 0, int(words.max()).bit_length(), 1)
    return Lut(first, bits, words.astype("<u2").tobytes())


@frozen
class Modality:
    """Stored values to values of the modality (C.11.1): a table, or slope and intercept."""

    slope: float = 1.0
    intercept: float = 0.0
    lut: Lut | None = None

    @property
    def is_identity(self) -> bool:
        """Nothing changes."""
        return self.lut is None and self.slope == 1.0 and self.intercept == 0.0

    def apply(self, values: Floats) -> Floats:
        if self.lut is not None:
            return self.lut.apply(values)
        return values if self.is_identity else values * self.slope + self.intercept

    def gives_negative(self, stored: "Stored") -> bool:
        """Whether its output can be negative, which decides how a following LUT's first input reads (C.11.2.1.1)."""
        if self.lut is not None:
            return False
        low, high = stored.range
        return min(low * self.slope, high * self.slope) + self.intercept < 0


@frozen
class Stored:
    """How stored values lie in the words of a frame (C.7.6.3.1.1)."""

    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool

    @property
    def range(self) -> tuple[int, int]:
        """The least and the largest stored value."""
        span = 1 << self.bits_stored
        return (-span // 2, span // 2 - 1) if self.signed else (0, span - 1)

    @property
    def used_bits(self) -> int:
        """Width of the words without what lies above the High Bit, which does not count."""
        return min(self.high_bit + 1, self.bits_allocated)

    def extract(self, words: Array) -> Array:
        """Words to stored values: shift, mask, extend the sign."""
        shift = self.high_bit + 1 - self.bits_stored
        values = (words.astype(np.int64) >> shift) & ((1 << self.bits_stored) - 1)
        if self.signed:
            values = values - ((values >> (self.bits_stored - 1)) << self.bits_stored)
        return values


@frozen
class Grayscale:
    """The grayscale transformation of PS3.4 N.2: modality, values of interest, presentation."""

    modality: Modality
    voi: Window | Identity | Lut
    inverse: bool = False
    presentation: Lut | None = None

    def display(self, stored: Floats) -> Bytes:
        """Stored values to 8-bit display values."""
        values = self.modality.apply(stored)
        part = self.voi.proportion(values) if isinstance(self.voi, Lut) else proportion(self.voi, values)
        if self.presentation is not None:
            part = self.presentation.proportion(np.rint(part * (len(self.presentation.entries) - 1)) + self.presentation.first)
        if self.inverse:
            part = 1.0 - part
        np.fmax(part, 0.0, out=part)
        part *= 255.0
        part += 0.5
        return part.astype(np.uint8)


@lru_cache(maxsize=64)
def display_table(stored: Stored, grayscale: Grayscale) -> Bytes:
    """The display value of every word of 8 or 16 bits: the whole transformation as one table."""
    table = np.tile(grayscale.display(_values(stored)), 1 << (stored.bits_allocated - stored.used_bits))
    table.flags.writeable = False
    return table


@lru_cache(maxsize=8)
def _values(stored: Stored) -> Floats:
    """The stored value of every word of 8 or 16 bits; what lies above the High Bit is left out."""
    values = stored.extract(np.arange(1 << stored.used_bits, dtype=np.int64)).astype(np.float64)
    values.flags.writeable = False
    return values
