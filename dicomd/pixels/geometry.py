"""Geometry: from the pixels of a frame to those of the picture: part, turn, mirror, pixel shape and size."""

import math

from attrs import frozen
from PIL import Image

from ..model.rendering import Region, Viewport
from ..model.status import InvalidRequest
from .functional_groups import PIXEL_MEASURES, macro
from .header import Header

_TURNS = {1: Image.Transpose.ROTATE_270, 2: Image.Transpose.ROTATE_180, 3: Image.Transpose.ROTATE_90}
# A stranger ratio of the sides of a pixel is a mistake and is not followed.
_LARGEST_ASPECT = 16.0


@frozen
class Placement:
    """A part of the frame (in its pixels; may reach beyond it), turned clockwise by quarters, mirrored, scaled to a size."""

    left: float
    top: float
    right: float
    bottom: float
    width: int
    height: int
    quarters: int = 0
    mirror: bool = False
    upside_down: bool = False

    def keeps(self, columns: int, rows: int) -> bool:
        """Whether every pixel of such a frame stays what and where it is."""
        box, turned = (self.left, self.top, self.right, self.bottom), self.quarters or self.mirror or self.upside_down
        return box == (0, 0, columns, rows) and (self.width, self.height) == (columns, rows) and not turned

    def apply(self, image: Image.Image, *, smooth: bool = True) -> Image.Image:
        """The picture; `smooth`: interpolate between pixels (not between labels)."""
        turned = self.quarters % 2 == 1
        size = (self.height, self.width) if turned else (self.width, self.height)
        image = self._scaled(image, size, smooth)
        if self.quarters:
            image = image.transpose(_TURNS[self.quarters])
        if self.mirror:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if self.upside_down:
            image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        return image

    def _scaled(self, image: Image.Image, size: tuple[int, int], smooth: bool) -> Image.Image:
        box = (self.left, self.top, self.right, self.bottom)
        whole = (round(box[0]), round(box[1]), round(box[2]), round(box[3]))
        if box == whole and (whole[2] - whole[0], whole[3] - whole[1]) == size:
            return image if box == (0, 0, *image.size) else image.crop(whole)
        if whole[0] < 0 or whole[1] < 0 or whole[2] > image.width or whole[3] > image.height:
            image = image.crop(whole)
            box = (0.0, 0.0, float(image.width), float(image.height))
        method = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
        box = (max(0, box[0]), max(0, box[1]), min(image.width, box[2]), min(image.height, box[3]))
        return image.resize(size, method, box=box, reducing_gap=2.0 if smooth else None)

    def point(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the frame (0, 0 its top left corner) comes to lie in the picture."""
        u, v = (x - self.left) / (self.right - self.left), (y - self.top) / (self.bottom - self.top)
        for _ in range(self.quarters):
            u, v = 1 - v, u
        return (1 - u if self.mirror else u) * self.width, (1 - v if self.upside_down else v) * self.height


def pixel_aspect(header: Header, index: int) -> float:
    """Height of a pixel divided by its width (PS3.3 C.7.6.3.1.7; spacings are row\\column, 10.7.1.3)."""
    measures = macro(header, index, PIXEL_MEASURES) or header
    spacings = [measures.numbers("00280030"), header.numbers("00280034"), header.numbers("00181164"), header.numbers("00182010")]
    for spacing in spacings:
        if len(spacing) == 2 and min(spacing) > 0:
            aspect = spacing[0] / spacing[1]
            near = abs(aspect - 1) < 0.005 or not 1 / _LARGEST_ASPECT <= aspect <= _LARGEST_ASPECT
            return 1.0 if near else aspect
    return 1.0


def fitted(width: float, height: float, viewport: Viewport | None) -> tuple[int, int]:
    """The largest size of these proportions within the viewport; unchanged without one (PS3.18 8.3.5.1.3)."""
    scale = 1.0
    if viewport is not None:
        scales = [limit / side for limit, side in ((viewport.width, width), (viewport.height, height)) if limit]
        scale = min(scales, default=1.0)
    return max(1, round(width * scale)), max(1, round(height * scale))


def place(columns: int, rows: int, aspect: float, viewport: Viewport | None, region: Region | None) -> Placement:
    """The picture of a frame: the source region, square pixels, as large as the viewport allows."""
    left, top, width, height = _absolute(region, columns, rows) if region is not None else (0.0, 0.0, columns, rows)
    right, bottom = min(left + abs(width), columns), min(top + abs(height), rows)
    if left >= right or top >= bottom:
        name = "region" if region is not None and region.relative else "viewport"
        raise InvalidRequest(f"{name}: the source region lies outside of the image ({columns} x {rows})")
    size = fitted((right - left) * max(1.0, 1 / aspect), (bottom - top) * max(1.0, aspect), viewport)
    return Placement(left, top, right, bottom, *size, mirror=width < 0, upside_down=height < 0)


def _absolute(region: Region, columns: int, rows: int) -> tuple[float, float, float, float]:
    if region.relative:
        width, height = region.width or 1.0, region.height or 1.0
        return region.left * columns, region.top * rows, width * columns, height * rows
    width = columns - region.left if region.width is None else region.width
    height = rows - region.top if region.height is None else region.height
    return region.left, region.top, width, height


def is_huge(width: float, height: float, limit: int) -> bool:
    """Whether a picture of this size is beyond what is made."""
    return not math.isfinite(width * height) or width * height > limit
