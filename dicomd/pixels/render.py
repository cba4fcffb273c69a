"""Rendering one frame: from encoded bytes to the picture a person should see (PS3.18 8.3.5, PS3.4 N.2).

The order: decode, grayscale or colour transformation, overlays and shutters in the frame's pixels, then source region, pixel
shape and size, then text. Media types are the business of `encode`.
"""

import numpy as np
from PIL import Image

from ..model.rendering import RenderingParameters, Viewport
from ..model.status import InvalidRequest, TooLarge
from . import annotation, colour, geometry, overlay, palette, segmentation, shutter
from .encode import Drawn
from .functional_groups import FRAME_DISPLAY_SHUTTER, macro
from .geometry import Placement
from .grayscale import shown, transformation, words
from .header import Array, Bytes
from .instance import Instance
from .lut import Grayscale
from .presentation import Appearance

_PALETTE_WITH_GRAYSCALE = ("COLOR", "MIXED")


def render(instance: Instance, index: int, parameters: RenderingParameters, appearance: Appearance | None = None) -> Image.Image:
    """The picture of a frame (from 0), under a presentation state when `appearance` is given; mode L or RGB."""
    made = drawn(instance, index, parameters, appearance)
    return made if isinstance(made, Image.Image) else Image.fromarray(made)


def drawn(instance: Instance, index: int, parameters: RenderingParameters, appearance: Appearance | None = None) -> Drawn:
    """The same; the bare pixels where they stay in place and nothing is drawn over them."""
    samples, photometric = instance.samples(index)
    pixels, grayscale = _pixels(instance, index, parameters, samples, photometric, appearance)
    pixels = _covered(instance, index, parameters, samples, pixels, appearance)
    placement = _placement(instance, index, parameters, appearance)
    pixels = np.ascontiguousarray(pixels)
    if appearance is None and not parameters.annotation and placement.keeps(pixels.shape[1], pixels.shape[0]):
        return pixels
    image = placement.apply(Image.fromarray(pixels), smooth=not segmentation.is_segmentation(instance.header))
    if appearance is not None:
        image = appearance.draw(image, placement)
    if parameters.annotation:
        image = annotation.burn_in(image, instance.header, index, parameters.annotation, grayscale.voi if grayscale else None)
    return image


def _pixels(
    instance: Instance,
    index: int,
    parameters: RenderingParameters,
    samples: Array,
    photometric: str,
    appearance: Appearance | None,
) -> tuple[Bytes, Grayscale | None]:
    header, stored = instance.header, instance.picture.stored
    if samples.ndim == 3:
        return colour.to_rgb(samples, photometric, instance.picture.image.bits_stored), None
    table = palette.read(header, signed=stored.signed)
    if photometric == "PALETTE COLOR" and table is not None:
        return table.apply(stored.extract(words(samples))), None
    if segmentation.is_segmentation(header):
        return segmentation.paint(header, index, samples), None
    grayscale = None if appearance is None else appearance.grayscale(stored, signed=stored.signed)
    grayscale = grayscale or transformation(instance, index, parameters.window, samples)
    gray = shown(instance, samples, grayscale)
    if appearance is not None and appearance.palette is not None:
        return appearance.palette.apply(gray.astype(np.int64) * (len(appearance.palette.colours) - 1) // 255), grayscale
    if table is not None and header.text("00089205") in _PALETTE_WITH_GRAYSCALE:
        return _supplemented(gray, stored.extract(words(samples)), table), grayscale
    return gray, grayscale


def _supplemented(gray: Bytes, values: Array, table: palette.Palette) -> Bytes:
    """Values from the palette's first on are colours, those below grayscale (PS3.3 C.7.6.3.1.5, C.7.6.23)."""
    return np.where((values >= table.first)[:, :, None], table.apply(values), gray[:, :, None])


def _covered(
    instance: Instance,
    index: int,
    parameters: RenderingParameters,
    samples: Array,
    pixels: Bytes,
    appearance: Appearance | None,
) -> Bytes:
    """Overlay planes and shutters; those of a presentation state stand instead of the image's own (PS3.4 N.2)."""
    header, (rows, columns) = instance.header, pixels.shape[:2]
    if appearance is not None:
        return appearance.cover(pixels, header, index, _raw(samples))
    if {"overlay", "technique"} & set(parameters.annotation):
        for plane in overlay.planes(header, index, rows, columns, _raw(samples)):
            pixels = overlay.painted(pixels, plane.mask)
    closed = shutter.read(macro(header, index, FRAME_DISPLAY_SHUTTER) or header, rows, columns)
    return pixels if closed is None else closed.applied(pixels)


def _raw(samples: Array) -> Array | None:
    """Stored words, where overlay planes may hide in unused bits."""
    return words(samples) if samples.ndim == 2 and samples.dtype.kind in "iu" else None


def _placement(instance: Instance, index: int, parameters: RenderingParameters, appearance: Appearance | None) -> Placement:
    image = instance.picture.image
    aspect = geometry.pixel_aspect(instance.header, index)
    if appearance is not None:
        if parameters.region is not None and not parameters.region.relative:
            raise InvalidRequest("viewport: no source region is allowed with a presentation state")
        placement = appearance.placement(image.columns, image.rows, aspect, parameters.viewport, parameters.region)
    else:
        placement = geometry.place(image.columns, image.rows, aspect, parameters.viewport, parameters.region)
    if placement.width * placement.height > instance.sample_limit:
        raise TooLarge(f"a picture of {placement.width} x {placement.height} pixels is above the limit")
    return placement


def thumbnail(instance: Instance, index: int, viewport: Viewport) -> Image.Image:
    """A small picture of a frame, without anything that identifies the patient burned in by us."""
    return render(instance, index, RenderingParameters(viewport=viewport))
