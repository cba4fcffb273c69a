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


# For what most typefaces lack: the scripts of East Asia.
_EAST_ASIAN = (
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/google-noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc",
    "/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf",
    "/usr/share/fonts/opentype/ipafont-gothic/ipag.ttf",
)
_FIRST_EAST_ASIAN = "\u2e80"


@lru_cache(maxsize=1)
def typeface() -> Path | None:
    """The file of the system's typeface, or None: then the one that Pillow brings is used."""
    return next((path for path in map(Path, _CANDIDATES) if path.is_file()), None)


@lru_cache(maxsize=1)
def _east_asian() -> Path | None:
    return next((path for path in map(Path, _EAST_ASIAN) if path.is_file()), None)


def font(size: int, text: str = "") -> Font:
    """A typeface in a size (pixels) that has the characters of `text`, if the system has such a one."""
    east_asian = any(character >= _FIRST_EAST_ASIAN for character in text)
    return _font(size, _east_asian() or typeface() if east_asian else typeface())


@lru_cache(maxsize=64)
def _font(size: int, path: Path | None) -> Font:
    return ImageFont.load_default(size) if path is None else ImageFont.truetype(str(path), size)
