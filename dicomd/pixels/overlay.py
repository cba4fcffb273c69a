"""Overlay planes (PS3.3 C.9.2), in their own element or in unused bits of the pixels (retired, PS3.3-2004)."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from attrs import frozen

from .header import Array, Bytes, Header

Mask = npt.NDArray[np.bool_]


@frozen(eq=False)
class OverlayPlane:
    """One plane over one frame: where it is set, in the frame's coordinates, and the layer that activates it."""

    group: int
    mask: Mask
    layer: str


def planes(header: Header, index: int, rows: int, columns: int, words: Array | None) -> Iterator[OverlayPlane]:
    """The planes that lie over frame `index` (0-based); `words` are the stored words, for planes inside of them."""
    for group in range(0x6000, 0x6020, 2):
        prefix = f"{group:04X}"
        if f"{prefix}0010" not in header:
            continue
        mask = _plane(header, prefix, index, rows, columns, words)
        if mask is not None:
            yield OverlayPlane(group, mask, header.text(f"{prefix}1001"))


def _plane(header: Header, prefix: str, index: int, rows: int, columns: int, words: Array | None) -> Mask | None:
    if header.integer(f"{prefix}0100", 1) != 1 and f"{prefix}3000" not in header:
        position = header.integer(f"{prefix}0102")
        if words is None or not 0 <= position < 8 * words.dtype.itemsize:
            return None
        return ((words >> position) & 1).astype(np.bool_)
    height, width = header.integer(f"{prefix}0010"), header.integer(f"{prefix}0011")
    frames, first = header.integer(f"{prefix}0015", 1), header.integer(f"{prefix}0051", 1)
    frame = index - (first - 1) if f"{prefix}0015" in header else 0
    if not (1 <= height <= 0xFFFF and 1 <= width <= 0xFFFF and 0 <= frame < max(frames, 1)):
        return None
    bits = _bits(header.data(f"{prefix}3000"), frame * height * width, height * width)
    if bits is None:
        return None
    origin = header.numbers(f"{prefix}0050")
    top, left = (int(origin[0]) - 1, int(origin[1]) - 1) if len(origin) == 2 else (0, 0)
    return _placed(bits.reshape(height, width), top, left, rows, columns)


def _bits(data: bytes, start: int, count: int) -> Mask | None:
    """`count` bits from bit `start` on; the least significant bit of a byte comes first (PS3.5 8.1.2)."""
    skipped, low = start % 8, start // 8
    part = np.frombuffer(data[low : low + (skipped + count + 7) // 8], np.uint8)
    bits = np.unpackbits(part, bitorder="little")[skipped : skipped + count]
    return bits.astype(np.bool_) if len(bits) == count else None


def _placed(plane: Mask, top: int, left: int, rows: int, columns: int) -> Mask:
    """The plane in a frame of rows x columns; what lies outside is cut off (the origin may be negative)."""
    out = np.zeros((rows, columns), np.bool_)
    height, width = plane.shape
    y, x = max(top, 0), max(left, 0)
    bottom, right = min(top + height, rows), min(left + width, columns)
    if y < bottom and x < right:
        out[y:bottom, x:right] = plane[y - top : bottom - top, x - left : right - left]
    return out


def painted(pixels: Bytes, mask: Mask, colour: tuple[int, int, int] = (255, 255, 255)) -> Bytes:
    """A copy with the plane in a colour; grayscale stays grayscale when the colour is gray."""
    gray = colour[0] == colour[1] == colour[2]
    if pixels.ndim == 2 and not gray:
        pixels = np.broadcast_to(pixels[:, :, None], (*pixels.shape, 3))
    pixels = pixels.copy()
    pixels[mask] = colour[0] if pixels.ndim == 2 else colour
    return pixels
