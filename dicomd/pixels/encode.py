"""Pictures to the bytes of a rendered media type (PS3.18 8.7.4)."""

import io
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, TypeAlias

import imagecodecs
import numpy as np
from PIL import Image, features

from ..model.status import NotAcceptable, TooLarge
from . import icc, png
from .header import Bytes, Header

JPEG, PNG, GIF, JP2, JXL, WEBP = "image/jpeg", "image/png", "image/gif", "image/jp2", "image/jxl", "image/webp"
# In the order of preference where a client leaves the choice.
STILL = tuple(
    kind
    for kind, there in (
        (JPEG, True),
        (PNG, True),
        (GIF, True),
        (JP2, features.check("jpg_2000")),
        (JXL, imagecodecs.JPEGXL.available),
        (WEBP, features.check("webp")),
    )
    if there
)
ANIMATED = tuple(kind for kind in (GIF, WEBP) if kind in STILL)
LOSSY = (JPEG, JP2, JXL, WEBP)
# What can hold an ICC profile here.
WITH_PROFILE = (JPEG, PNG, WEBP)
DEFAULT_QUALITY = 90
# What the formats or their libraries can hold, in pixels a side.
_LARGEST_SIDE = {JPEG: 65_500, GIF: 65_535, WEBP: 16_383}
# A picture of mode L or RGB, or its pixels: rows x columns, or rows x columns x 3.
Drawn: TypeAlias = Image.Image | Bytes


def still(picture: Drawn, media_type: str, quality: int | None = None, profile: bytes = b"") -> bytes:
    """One picture; `profile` is embedded."""
    _require_side(picture, media_type)
    if media_type == JXL:
        return _jxl(np.asarray(picture), quality)
    if media_type == JP2:
        return _jp2(np.asarray(picture), quality)
    if media_type == PNG:
        return png.encode(np.asarray(picture), profile)
    if media_type == JPEG and not profile and not isinstance(picture, Image.Image):
        return _jpeg(picture, quality)
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    options = _options(media_type, quality)
    if profile:
        options["icc_profile"] = profile
    out = io.BytesIO()
    image.save(out, **options)
    return out.getvalue()


def _require_side(picture: Drawn, media_type: str) -> None:
    height, width = (picture.height, picture.width) if isinstance(picture, Image.Image) else picture.shape[:2]
    largest = _LARGEST_SIDE.get(media_type)
    if largest is not None and max(width, height) > largest:
        raise TooLarge(f"{media_type} holds up to {largest} pixels a side, this picture has {width} x {height}")


def _options(media_type: str, quality: int | None) -> dict[str, Any]:
    level = quality or DEFAULT_QUALITY
    if media_type == JPEG:
        return {"format": "JPEG", "quality": level, "subsampling": 2 if _thinned(level) else 0}
    if media_type == WEBP:
        return {"format": "WEBP", "quality": level, "method": 2}
    if media_type == GIF:
        return {"format": "GIF"}
    raise NotAcceptable(f"pictures are not made as {media_type}")


def _thinned(level: int) -> bool:
    """Chroma is only thinned out where the client asks for small rather than good."""
    return level < DEFAULT_QUALITY


def _jpeg(pixels: Bytes, quality: int | None) -> bytes:
    """What Pillow makes of a picture, made of bare pixels without copying them, and without keeping other threads waiting."""
    level = quality or DEFAULT_QUALITY
    return bytes(imagecodecs.jpeg8_encode(pixels, level=level, subsampling="420" if _thinned(level) else "444"))


def _jp2(pixels: Bytes, quality: int | None) -> bytes:
    if quality is None or quality == 100:
        return bytes(imagecodecs.jpeg2k_encode(pixels, codecformat="jp2", reversible=True))
    return bytes(imagecodecs.jpeg2k_encode(pixels, round(25 + quality * 0.25), codecformat="jp2", reversible=False))


def _jxl(pixels: Bytes, quality: int | None) -> bytes:
    """JPEG XL; its distance (ISO/IEC 18181) is 1 for quality 90, 0 (lossless) for 100."""
    level = DEFAULT_QUALITY if quality is None else quality
    if level == 100:
        return bytes(imagecodecs.jpegxl_encode(pixels, lossless=True, effort=3))
    return bytes(imagecodecs.jpegxl_encode(pixels, distance=0.1 + (100 - level) * 0.09, effort=3))


def animated(pictures: Iterable[Image.Image], durations: list[int], media_type: str, quality: int | None = None) -> bytes:
    """A moving picture; `durations` in milliseconds, one for each picture. Pictures are taken one at a time."""
    frames = iter(pictures)
    first = next(frames)
    options: dict[str, Any] = {"format": "GIF"} if media_type == GIF else _options(media_type, quality)
    if media_type not in ANIMATED:
        raise NotAcceptable(f"moving pictures are not made as {media_type}")
    _require_side(first, media_type)
    rest = (frame for frame in frames) if media_type == WEBP else chain(frames)
    out = io.BytesIO()
    first.save(out, save_all=True, append_images=rest, duration=durations, loop=0, **options)
    return out.getvalue()


def durations(header: Header, frames: int, shown: Sequence[int]) -> list[int]:
    """How long each of the `shown` (from 1) of so many frames stays, in milliseconds: the cine attributes (PS3.3 C.7.6.5), else
    ten frames a second."""
    vector = header.numbers("00181065")
    if len(vector) == frames > 1:
        return [_bounded(vector[min(frame, frames - 1)]) for frame in shown]
    rate = header.number("00082144") or header.number("00180040")
    return [_bounded(header.number("00181063") or (1000 / rate if rate and rate > 0 else 100.0))] * len(shown)


def _bounded(milliseconds: float) -> int:
    """Browsers slow down what is faster than 20 ms; a minute is long enough."""
    return round(min(max(milliseconds, 20.0), 60_000.0))


def encoded(picture: Drawn, header: Header, media_type: str, quality: int | None, icc_profile: str) -> bytes:
    """One picture of an instance as a media type, with the colour profile that the query asks for."""
    if media_type not in WITH_PROFILE:
        icc.refuse(media_type, icc_profile)
    if icc_profile == "no":
        return still(picture, media_type, quality)
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    managed, profile = icc.managed(image, header, icc_profile)
    return still(managed, media_type, quality, profile)
