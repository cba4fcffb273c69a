"""Tiled images (PS3.3 C.7.6.17.3): small pictures of a whole slide, put together from its tiles."""

from PIL import Image

from ..model.rendering import RenderingParameters, Viewport
from .functional_groups import macro
from .geometry import fitted
from .instance import Instance
from .render import render
from .segmentation import is_segmentation

PLANE_POSITION_SLIDE = "0048021A"
# Slides of more tiles have levels of less detail beside them.
MOST_TILES = 100


def is_tiled(instance: Instance) -> bool:
    """Whether the frames are tiles of a larger matrix, few enough to be put together."""
    header = instance.header
    columns, rows = header.integer("00480006"), header.integer("00480007")
    image = instance.picture.image
    return (columns > image.columns or rows > image.rows) and 1 < instance.frames <= MOST_TILES


def mosaic(instance: Instance, viewport: Viewport) -> Image.Image:
    """All tiles in their places, as large as the viewport allows but no larger than the matrix."""
    header, image = instance.header, instance.picture.image
    columns, rows = header.integer("00480006"), header.integer("00480007")
    width, height = fitted(columns, rows, viewport)
    scale = min(width / columns, height / rows)
    ground = (0, 0, 0) if is_segmentation(header) else (255, 255, 255)
    canvas = Image.new("RGB", (width, height), ground)
    side = Viewport(max(1, round(image.columns * scale) + 1), max(1, round(image.rows * scale) + 1))
    for index in range(instance.frames):
        left, top = _place(instance, index, columns)
        if 0 <= left < columns and 0 <= top < rows:
            tile = render(instance, index, RenderingParameters(viewport=side)).convert("RGB")
            canvas.paste(tile, (round(left * scale), round(top * scale)))
    return canvas


def _place(instance: Instance, index: int, columns: int) -> tuple[int, int]:
    """Column and row of a tile's first pixel: as its frame says, else tiles lie row by row (TILED_FULL)."""
    item = macro(instance.header, index, PLANE_POSITION_SLIDE)
    if item is not None:
        return item.integer("0048021E", 1) - 1, item.integer("0048021F", 1) - 1
    image = instance.picture.image
    in_row = -(-columns // image.columns)
    return index % in_row * image.columns, index // in_row * image.rows
