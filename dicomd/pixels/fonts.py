"""The typeface of texts burned in, of placeholders and of PDF documents: the system's where it covers more scripts."""

from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Where common systems keep a typeface of many scripts; the first that is there is used.
_CANDIDATES = (
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/usr/share/fonts/dejavu-sans-fonts/DejaVuSans.ttf",
    "/usr/share/fonts/TTF/DejaVuSans.ttf",
    "/usr/share/fonts/truetype/noto/NotoSans-Regular.ttf",
    "/usr/share/fonts/google-noto/NotoSans-Regular.ttf",
    "/usr/share/fonts/truetype/liberation/LiberationSans-Regular.ttf",
    "/usr/local/share/fonts/dejavu/DejaVuSans.ttf",
    "/System/Library/Fonts/Supplemental/Arial Unicode.ttf",
)


@lru_cache(maxsize=1)
def typeface() -> Path | None:
    """The file of the system's typeface, or None: then the one that Pillow brings is used."""
    return next((path for path in map(Path, _CANDIDATES) if path.is_file()), None)


@lru_cache(maxsize=64)
def font(size: int) -> Font:
    """The typeface in a size (pixels)."""
    path = typeface()
    return ImageFont.load_default(size) if path is None else ImageFont.truetype(str(path), size)
