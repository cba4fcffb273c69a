"""Display shutters (PS3.3 C.7.6.11, C.7.6.15 bitmap, C.7.6.16.2.16 frame): what lies outside of them is hidden."""

import numpy as np
import numpy.typing as npt
from attrs import frozen
from PIL import Image, ImageDraw

from .header import Bytes, Header
from .overlay import painted
from .segmentation import rgb_of_lab

Mask = npt.NDArray[np.bool_]


@frozen(eq=False)
class Shutter:
    """Where the shutter hides the picture, and what is seen instead."""

    hidden: Mask
    colour: tuple[int, int, int]

    def applied(self, pixels: Bytes) -> Bytes:
        return painted(pixels, self.hidden, self.colour)


def read(header: Header, rows: int, columns: int, bitmap: Mask | None = None) -> Shutter | None:
    """The shutter in a data set or item; `bitmap`: the overlay plane that (0018,1623) names."""
    shapes = header.texts("00181600")
    if not shapes:
        return None
    visible = np.ones((rows, columns), np.bool_)
    for shape in shapes:
        opening = _opening(header, shape, rows, columns, bitmap)
        if opening is not None:
            visible &= opening
    return None if visible.all() else Shutter(~visible, _colour(header))


def _opening(header: Header, shape: str, rows: int, columns: int, bitmap: Mask | None) -> Mask | None:
    """What one shape leaves visible; coordinates are pixels, 1\\1 the first (row\\column)."""
    y, x = np.ogrid[1 : rows + 1, 1 : columns + 1]
    if shape == "RECTANGULAR":
        left, right, top, bottom = (header.number(f"0018{end}") for end in ("1602", "1604", "1606", "1608"))
        if left is None or right is None or top is None or bottom is None:
            return None
        return (x > left) & (x < right) & (y > top) & (y < bottom)
    if shape == "CIRCULAR":
        center, radius = header.numbers("00181610"), header.number("00181612")
        if len(center) != 2 or radius is None:
            return None
        return (y - center[0]) ** 2 + (x - center[1]) ** 2 <= radius**2
    if shape == "POLYGONAL":
        return _polygon(header.numbers("00181620"), rows, columns)
    return ~bitmap if shape == "BITMAP" and bitmap is not None else None


def _polygon(vertices: list[float], rows: int, columns: int) -> Mask | None:
    if len(vertices) < 6 or len(vertices) % 2:
        return None
    canvas = Image.new("1", (columns, rows))
    points = [(column - 1, row - 1) for row, column in zip(vertices[::2], vertices[1::2], strict=True)]
    ImageDraw.Draw(canvas).polygon(points, fill=1)
    return np.asarray(canvas)


def _colour(header: Header) -> tuple[int, int, int]:
    """Shutter Presentation Colour, else Value (16 bit P-Values), else black."""
    lab = header.numbers("00181624")
    if len(lab) == 3:
        return rgb_of_lab(lab)
    gray = min(max(header.integer("00181622"), 0), 0xFFFF) >> 8
    return gray, gray, gray
