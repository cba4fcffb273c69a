"""Segmentations (PS3.3 C.8.20): a frame shows its segment in the colour that is recommended for it."""

import numpy as np

from .functional_groups import SEGMENT_IDENTIFICATION, macro
from .header import Array, Bytes, Header

SEGMENT_SEQUENCE = "00620002"
_WHITE = (255, 255, 255)
# PS3.3 C.10.7.1.1: white point D50 of the profile connection space; then XYZ to linear sRGB, adapted to D65
_D50 = (0.9642, 1.0, 0.8249)
_XYZ_TO_RGB = np.array([[3.1339, -1.6169, -0.4906], [-0.9788, 1.9161, 0.0335], [0.0719, -0.2290, 1.4052]])


def is_segmentation(header: Header) -> bool:
    """Whether the data set describes segments and has pixels for them."""
    return "00620001" in header and SEGMENT_SEQUENCE in header


def is_labelmap(header: Header) -> bool:
    """Whether pixel values are the numbers of segments."""
    return header.text("00620001") == "LABELMAP"


def paint(header: Header, index: int, samples: Array) -> Bytes:
    """The frame as RGB on black: binary, fractional or a map of labels."""
    if is_labelmap(header):
        labels = np.clip(samples, 0, 0xFFFF).astype(np.intp)
        return _label_table(header, int(labels.max()))[labels]
    colour = np.array(_colour(header, _segment(header, index)))
    largest = max(1, header.integer("0062000E", 255)) if header.text("00620001") == "FRACTIONAL" else 1
    part = np.minimum(np.arange(0x100) / largest, 1.0)
    return (part[:, None] * colour + 0.5).astype(np.uint8)[np.clip(samples, 0, 0xFF)]


def _segment(header: Header, index: int) -> int:
    item = macro(header, index, SEGMENT_IDENTIFICATION)
    return item.integer("0062000B") if item is not None else 0


def _colour(header: Header, number: int) -> tuple[int, int, int]:
    """The colour recommended for a segment; never black, which is the ground."""
    for segment in header.items(SEGMENT_SEQUENCE):
        if segment.integer("00620004") == number:
            colour = rgb_of_lab(segment.numbers("0062000D"))
            return colour if max(colour) > 0 else _WHITE
    return _WHITE


def _label_table(header: Header, largest: int) -> Bytes:
    """A colour for every label: the recommended one, else of a wheel; the background is black."""
    table = np.zeros((largest + 1, 3), np.uint8)
    labels = np.arange(1, largest + 1)
    for channel, shift in enumerate((0.0, 2.1, 4.2)):
        table[1:, channel] = 140 + 115 * np.sin(labels * 2.4 + shift)
    for segment in header.items(SEGMENT_SEQUENCE):
        number, colour = segment.integer("00620004"), rgb_of_lab(segment.numbers("0062000D"))
        if 0 < number <= largest and colour != _WHITE and max(colour) > 0:
            table[number] = colour
    return table


def rgb_of_lab(lab: list[float]) -> tuple[int, int, int]:
    """CIELab as DICOM encodes it (C.10.7.1.1: 16 bits for L 0 to 100, a and b -128 to 127) to sRGB; white when absent."""
    if len(lab) != 3:
        return _WHITE
    lightness, a, b = lab[0] / 65535 * 100, lab[1] / 65535 * 255 - 128, lab[2] / 65535 * 255 - 128
    y = (lightness + 16) / 116
    xyz = [white * _inverse(f) for white, f in zip(_D50, (y + a / 500, y, y - b / 200), strict=True)]
    linear = np.clip(_XYZ_TO_RGB @ np.array(xyz), 0.0, 1.0)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = (int(value) for value in np.rint(encoded * 255))
    return red, green, blue


def _inverse(f: float) -> float:
    return float(f**3) if f > 6 / 29 else 3 * (6 / 29) ** 2 * (f - 4 / 29)
