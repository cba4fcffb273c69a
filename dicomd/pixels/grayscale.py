"""Which grayscale transformation a frame gets: from the query, its functional groups, the data set, or its own values."""

from collections.abc import Iterator

import numpy as np
from attrs import evolve

from ..model.rendering import Window
from . import lut
from .functional_groups import FRAME_VOI_LUT, PIXEL_VALUE_TRANSFORMATION, macro
from .header import Array, Bytes, Header
from .instance import Instance
from .lut import Floats, Grayscale, Lut, Modality, Stored, display_table
from .window import Identity, automatic, spread

MODALITY_LUT_SEQUENCE, VOI_LUT_SEQUENCE = "00283000", "00283010"
# Of larger frames only about so many pixels are counted for the automatic window.
_LOOKED_AT = 1_000_000
_BLOCK = 1_000_000
_INDEXED = 1 << 18
_CENTER, _WIDTH, _FUNCTION = "00281050", "00281051", "00281056"


def modality(header: Header, index: int, *, signed: bool) -> Modality:
    """The Modality LUT of a frame (PS3.3 C.11.1, C.7.6.16.2.9); doses are scaled to their unit (C.8.8.3)."""
    item = macro(header, index, PIXEL_VALUE_TRANSFORMATION)
    if item is not None:
        return linear_modality(item)
    table = header.item(MODALITY_LUT_SEQUENCE)
    if table is not None:
        return Modality(lut=lut.read(table, signed=signed))
    if "3004000E" in header:
        return Modality(slope=header.number("3004000E") or 1.0)
    return linear_modality(header)


def linear_modality(item: Header) -> Modality:
    """Rescale Slope and Intercept; a slope of zero is none."""
    return Modality(slope=item.number("00281053") or 1.0, intercept=item.number("00281052") or 0.0)


def stored_voi(item: Header, *, signed: bool) -> Window | Lut | None:
    """The first VOI LUT, else the first window, of a data set or item (C.11.2)."""
    table = item.item(VOI_LUT_SEQUENCE)
    if table is not None:
        return lut.read(table, signed=signed)
    centers, widths = item.numbers(_CENTER), item.numbers(_WIDTH)
    if not centers or not widths or widths[0] <= 0:
        return None
    function = item.text(_FUNCTION, "LINEAR")
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        function = "LINEAR"
    return Window(centers[0], max(widths[0], 1.0) if function == "LINEAR" else widths[0], function)


def transformation(instance: Instance, index: int, window: Window | None, samples: Array) -> Grayscale:
    """The whole transformation of a frame without presentation state; `samples` are those of the frame."""
    header, stored = instance.header, instance.picture.stored
    before = modality(header, index, signed=stored.signed)
    voi: Window | Lut | Identity | None = window
    if voi is None:
        frame_voi = macro(header, index, FRAME_VOI_LUT)
        signed = before.gives_negative(stored)
        voi = stored_voi(frame_voi, signed=signed) if frame_voi is not None else None
        voi = voi or stored_voi(header, signed=signed) or _automatic(instance, index, before, samples)
        if instance.picture.floating and isinstance(voi, Window) and voi.function == "LINEAR":
            # The half steps of LINEAR (C.11.2.1.2.1) are made for whole numbers.
            voi = evolve(voi, function="LINEAR_EXACT")
    return Grayscale(before, voi, inverse=is_inverse(header))


def is_inverse(header: Header) -> bool:
    """MONOCHROME1, or what Presentation LUT Shape says of MONOCHROME2 (PS3.3 C.7.6.3.1.2, C.11.6)."""
    return header.text("00280004") == "MONOCHROME1" or header.text("20500020") == "INVERSE"


def full_range(before: Modality, stored: Stored) -> Identity:
    """All that the modality transformation can give."""
    if before.lut is not None:
        return Identity(0, before.lut.largest)
    low, high = (limit * before.slope + before.intercept for limit in stored.range)
    return Identity(min(low, high), max(low, high))


def _automatic(instance: Instance, index: int, before: Modality, samples: Array) -> Identity:
    """The window when none is stored: 8 bits as they are, else what occurs, without padding and outliers.

    All frames of an instance get that of the middle frame, so that a moving picture does not flicker.
    """
    picture = instance.picture
    if not picture.floating and picture.image.bits_stored <= 8 and not picture.stored.signed and before.is_identity:
        return full_range(before, picture.stored)
    middle = (instance.frames - 1) // 2
    if instance.frames == 1 or index == middle:
        return _occurring(instance, before, samples)
    if not instance.automatic_known:
        instance.automatic, instance.automatic_known = _of_middle(instance, middle), True
    return instance.automatic or _occurring(instance, before, samples)


def _of_middle(instance: Instance, middle: int) -> Identity | None:
    """The window of the middle frame; None when that frame is flat and says nothing about the others."""
    samples, _ = instance.samples(middle)
    if samples.min() == samples.max():
        return None
    return _occurring(instance, modality(instance.header, middle, signed=instance.picture.stored.signed), samples)


def _occurring(instance: Instance, before: Modality, samples: Array) -> Identity:
    picture, stored = instance.picture, instance.picture.stored
    low, high = _padding(instance.header, stored)
    if picture.floating or samples.dtype.itemsize > 2:
        ends: list[float] = []
        for rows in blocks(samples):
            values = _values(instance, samples[rows])
            shown = before.apply(values[np.isfinite(values) & ((values < low) | (values > high))])
            ends += [float(shown.min()), float(shown.max())] if shown.size else []
        return spread(min(ends), max(ends)) if ends else Identity(0, 1)
    looked_at = words(samples).ravel()[:: max(1, samples.size // _LOOKED_AT)]
    counts = np.bincount(looked_at, minlength=1 << 8 * samples.dtype.itemsize)
    present = np.flatnonzero(counts > 0)
    values = stored.extract(present).astype(np.float64)
    good = (values < low) | (values > high)
    if good.any():
        present, values = present[good], values[good]
    shown = before.apply(values)
    order = np.argsort(shown)
    return automatic(shown[order], counts[present][order])


def _padding(header: Header, stored: Stored) -> tuple[float, float]:
    """Pixel Padding Value and Range Limit (PS3.3 C.7.5.1.1.2) as an interval; an impossible one when absent."""
    value, limit = header.number("00280120"), header.number("00280121")
    if value is None:
        return np.inf, -np.inf
    ends = [_as_stored(end, stored) for end in (value, value if limit is None else limit)]
    return min(ends), max(ends)


def _as_stored(value: float, stored: Stored) -> float:
    """Padding values are US or SS as the pixels are; correct one that was read as the other."""
    if stored.signed and value > stored.range[1]:
        return value - (1 << stored.bits_stored) if value < 1 << stored.bits_stored else value - 0x10000
    return value + 0x10000 if value < 0 and not stored.signed else value


def words(samples: Array) -> Array:
    """Samples as the unsigned words that they are stored in, in the machine's byte order."""
    if samples.dtype.kind == "i":
        samples = samples.view(f"u{samples.dtype.itemsize}")
    return samples if samples.dtype.isnative else samples.astype(samples.dtype.newbyteorder("="))


def shown(instance: Instance, samples: Array, grayscale: Grayscale) -> Bytes:
    """Display values of a frame's samples: by table when words are short, else value by value."""
    picture = instance.picture
    if not picture.floating and samples.dtype.itemsize <= 2:
        raw = words(samples)
        return _looked_up(table(picture.stored, raw, grayscale), raw)
    out = np.empty(samples.shape, np.uint8)
    for rows in blocks(samples):
        out[rows] = grayscale.display(_values(instance, samples[rows]))
    return out


def _looked_up(table: Bytes, raw: Array) -> Bytes:
    """The entry of every word. Some rows at a time: as an index a word takes eight bytes, which should not leave the cache."""
    if raw.size <= _INDEXED:
        return np.take(table, raw)
    out = np.empty(raw.shape, np.uint8)
    for rows in blocks(raw, _INDEXED):
        np.take(table, raw[rows], out=out[rows], mode="clip")
    return out


def _values(instance: Instance, samples: Array) -> Floats:
    """Stored values of long words or of floating point samples."""
    picture = instance.picture
    values = samples if picture.floating else picture.stored.extract(words(samples))
    return values.astype(np.float64)


def blocks(samples: Array, size: int = _BLOCK) -> Iterator[slice]:
    """Some rows at a time, so that what is computed from large frames value by value needs little memory."""
    step = max(1, size // max(1, samples.shape[1]))
    for start in range(0, samples.shape[0], step):
        yield slice(start, start + step)


def table(stored: Stored, raw: Array, grayscale: Grayscale) -> Bytes:
    """The table for words of this width, which may be narrower than Bits Allocated after decoding."""
    bits = 8 * raw.dtype.itemsize
    if bits != stored.bits_allocated:
        stored = Stored(bits, min(stored.bits_stored, bits), min(stored.high_bit, bits - 1), stored.signed)
    return display_table(stored, grayscale)
