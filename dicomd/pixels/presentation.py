"""Softcopy presentation states (PS3.3 C.11, PS3.4 N): what they refer to, and how one of their images is to look."""

from collections.abc import Mapping

from attrs import evolve, frozen
from PIL import Image

from ..model.rendering import Region, Viewport
from ..model.status import NotAcceptable, TooLarge, Undecodable
from . import lut, overlay, shutter
from .geometry import Placement, fitted
from .graphics import Canvas, Layer
from .grayscale import MODALITY_LUT_SEQUENCE, full_range, linear_modality, stored_voi
from .header import Array, Bytes, Header
from .lut import Grayscale, Lut, Modality, Stored
from .palette import Palette
from .palette import read as read_palette
from .segmentation import rgb_of_lab

_BASE = "1.2.840.10008.5.1.4.1.1.11."
GRAYSCALE, COLOUR, PSEUDO_COLOUR, XA_XRF_GRAYSCALE = (f"{_BASE}{number}" for number in (1, 2, 3, 5))
SUPPORTED = (GRAYSCALE, COLOUR, PSEUDO_COLOUR, XA_XRF_GRAYSCALE)


def is_presentation_state(sop_class_uid: str) -> bool:
    """Whether the SOP Class is one of the presentation states, supported here or not."""
    return sop_class_uid.startswith(_BASE)


@frozen
class Reference:
    """An image that a presentation state applies to; no frames: all."""

    series_instance_uid: str
    sop_instance_uid: str
    frames: tuple[int, ...] = ()


def references(header: Header) -> list[Reference]:
    """The images of a presentation state, in order (PS3.3 C.11.11)."""
    return [
        Reference(
            series.text("0020000E"),
            image.text("00081155"),
            tuple(int(number) for number in image.numbers("00081160") if number >= 1),
        )
        for series in header.items("00081115")
        for image in series.items("00081140")
    ]


def appearance(header: Header, sop_instance_uid: str, index: int) -> "Appearance":
    """How frame `index` (from 0) of an image looks under the presentation state; raises when it does not apply to it."""
    sop_class_uid = header.text("00080016")
    if sop_class_uid not in SUPPORTED:
        raise NotAcceptable(f"presentation states of SOP Class {sop_class_uid} cannot be rendered")
    if not any(reference.sop_instance_uid == sop_instance_uid for reference in references(header)):
        raise NotAcceptable(f"the presentation state does not refer to instance {sop_instance_uid}")
    table = read_palette(header) if sop_class_uid == PSEUDO_COLOUR else None
    return Appearance(header, sop_instance_uid, index, sop_class_uid != COLOUR, table)


@frozen(eq=False)
class Appearance:
    """One image under a presentation state; none of the image's own display attributes count (PS3.4 N.2)."""

    header: Header
    sop_instance_uid: str
    index: int
    is_grayscale: bool = True
    palette: Palette | None = None

    def _applies(self, item: Header) -> bool:
        """Whether an item is about this image and frame: it names them, or none (C.11.8, C.10.4, C.10.5)."""
        images = item.items("00081140")
        return not images or any(
            image.text("00081155") == self.sop_instance_uid
            and ("00081160" not in image or self.index + 1 in image.numbers("00081160"))
            for image in images
        )

    def _items(self, tag: str) -> list[Header]:
        return [item for item in self.header.items(tag) if self._applies(item)]

    def grayscale(self, stored: Stored, *, signed: bool) -> Grayscale | None:
        """Modality, VOI and presentation of the state; what it leaves out is identity. None for colour states."""
        if not self.is_grayscale:
            return None
        table = self.header.item(MODALITY_LUT_SEQUENCE)
        before = Modality(lut=lut.read(table, signed=signed)) if table is not None else linear_modality(self.header)
        found = [stored_voi(item, signed=before.gives_negative(stored)) for item in self._items("00283110")]
        voi = next((item for item in found if item is not None), None) or full_range(before, stored)
        return Grayscale(before, voi, self.header.text("20500020") == "INVERSE", self._presentation_lut())

    def _presentation_lut(self) -> Lut | None:
        item = self.header.item("20500010")
        return lut.read(item, signed=False) if item is not None else None

    def cover(self, pixels: Bytes, image: Header, index: int, words: Array | None) -> Bytes:
        """Overlay planes that the state activates, from itself or from the image (C.11.7), and its shutter (C.7.6.11)."""
        rows, columns = pixels.shape[:2]
        own = {plane.group: plane.mask for plane in overlay.planes(self.header, index, rows, columns, None)}
        planes = {plane.group: plane.mask for plane in overlay.planes(image, index, rows, columns, words)} | own
        layers = self.layers()
        for group, mask in planes.items():
            layer = self.header.text(f"{group:04X}1001")
            if layer:
                pixels = overlay.painted(pixels, mask, layers.get(layer, Layer()).colour)
        closed = shutter.read(self.header, rows, columns, planes.get(self.header.integer("00181623")))
        return pixels if closed is None else closed.applied(pixels)

    def layers(self) -> Mapping[str, Layer]:
        """Graphic layers by name (C.10.7)."""
        return {
            item.text("00700002"): Layer(item.integer("00700062", 0), _layer_colour(item))
            for item in self.header.items("00700060")
        }

    def placement(self, columns: int, rows: int, aspect: float, viewport: Viewport | None, region: Region | None) -> Placement:
        """Displayed area and spatial transformation (C.10.4, C.10.6)."""
        quarters = self.header.integer("00700042") // 90 % 4
        mirror = self.header.text("00700041") == "Y"
        area = next(iter(self._items("0070005A")), None)
        left, top, right, bottom = _corners(area, columns, rows) if area is not None else (0, 0, columns, rows)
        if (right - left) * (bottom - top) > max(columns * rows * 64, 1 << 24):
            raise TooLarge("the displayed area is far larger than the image")
        aspect = _area_aspect(area, aspect) if area is not None else aspect
        placement = Placement(left, top, right, bottom, 1, 1, quarters, mirror)
        if region is not None:
            placement = _part(placement, region)
        return _sized(placement, aspect, viewport, area)

    def draw(self, image: Image.Image, placement: Placement) -> Image.Image:
        """Graphic annotation over the finished picture (C.10.5)."""
        layers = self.layers()
        items = sorted(self._items("00700001"), key=lambda item: layers.get(item.text("00700002"), Layer()).order)
        if not items:
            return image
        canvas = Canvas(image, placement)
        for item in items:
            canvas.annotate(item, layers.get(item.text("00700002"), Layer()).colour)
        return canvas.image


def _layer_colour(item: Header) -> tuple[int, int, int]:
    """Recommended CIELab value, else grayscale (16 bit P-Value), else white (C.10.7)."""
    lab = item.numbers("00700401")
    if len(lab) == 3:
        return rgb_of_lab(lab)
    gray = min(max(item.integer("00700066", 0xFFFF), 0), 0xFFFF) >> 8
    return gray, gray, gray


def _corners(area: Header, columns: int, rows: int) -> tuple[float, float, float, float]:
    """Corners (column\\row, 1\\1 the first pixel) in the image's own orientation, whichever of them is displayed where."""
    first, last = area.numbers("00700052"), area.numbers("00700053")
    if len(first) != 2 or len(last) != 2:
        return 0, 0, columns, rows
    return min(first[0], last[0]) - 1, min(first[1], last[1]) - 1, max(first[0], last[0]), max(first[1], last[1])


def _area_aspect(area: Header, default: float) -> float:
    for tag in ("00700101", "00700102"):
        sides = area.numbers(tag)
        if len(sides) == 2 and min(sides) > 0 and 1 / 16 <= sides[0] / sides[1] <= 16:
            return sides[0] / sides[1]
    return default


def _part(placement: Placement, region: Region) -> Placement:
    """A region of the displayed picture (fractions of it), back in the pixels of the image."""
    corners = []
    for u, v in ((region.left, region.top), (region.left + (region.width or 1), region.top + (region.height or 1))):
        u = 1 - u if placement.mirror else u
        for _ in range(placement.quarters):
            u, v = v, 1 - u
        width, height = placement.right - placement.left, placement.bottom - placement.top
        corners.append((placement.left + u * width, placement.top + v * height))
    (x0, y0), (x1, y1) = corners
    return evolve(placement, left=min(x0, x1), top=min(y0, y1), right=max(x0, x1), bottom=max(y0, y1))


def _sized(placement: Placement, aspect: float, viewport: Viewport | None, area: Header | None) -> Placement:
    width = (placement.right - placement.left) * max(1.0, 1 / aspect)
    height = (placement.bottom - placement.top) * max(1.0, aspect)
    if not (width >= 1e-6 and height >= 1e-6):
        raise Undecodable("the displayed area of the presentation state is empty", offending=(0x00700052,))
    if placement.quarters % 2:
        width, height = height, width
    if viewport is None and area is not None and area.text("00700100") == "MAGNIFY":
        factor = min(max(area.number("00700103") or 1.0, 1 / 64), 64.0)
        width, height = width * factor, height * factor
    final = fitted(width, height, viewport)
    return evolve(placement, width=final[0], height=final[1])
