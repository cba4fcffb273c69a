"""The Image Pixel module (PS3.3 C.7.6.3) of an instance: what its pixel data mean, and the guard against absurd sizes."""

from collections.abc import Mapping
from typing import Any

import attrs
from attrs import frozen

from ..model.status import Undecodable
from ..model.transfer_syntaxes import TransferSyntax, transfer_syntax

PIXEL_DATA = 0x7FE00010
FLOAT_PIXEL_DATA = 0x7FE00008
DOUBLE_FLOAT_PIXEL_DATA = 0x7FE00009
PIXEL_ELEMENTS = (PIXEL_DATA, FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA)

# The largest frame that is decoded: 16 bit RGB of 13,000 x 13,000 pixels. Larger ones are only handed out as stored.
LARGEST_FRAME = 1 << 30


@frozen
class ImagePixel:
    """Image Pixel Description Macro (PS3.3 Table C.7-11c) plus Number of Frames and the transfer syntax."""

    transfer_syntax_uid: str
    rows: int
    columns: int
    samples_per_pixel: int = 1
    bits_allocated: int = 8
    bits_stored: int = 8
    pixel_representation: int = 0
    planar_configuration: int = 0
    photometric_interpretation: str = "MONOCHROME2"
    number_of_frames: int = 1

    @property
    def syntax(self) -> TransferSyntax:
        return transfer_syntax(self.transfer_syntax_uid)

    @property
    def frame_bits(self) -> int:
        """Bits of one native frame; frames follow each other without padding (PS3.5 8.1.1)."""
        samples = self.samples_per_pixel
        # PS3.3 C.7.6.3.1.2: both chrominance samples only for every second pixel.
        if self.photometric_interpretation in ("YBR_FULL_422", "YBR_PARTIAL_422") and not self.syntax.encapsulated:
            samples = 2
        return self.rows * self.columns * samples * self.bits_allocated

    @property
    def frame_bytes(self) -> int:
        """Bytes of one native frame when it stands alone."""
        return (self.frame_bits + 7) // 8

    def check(self) -> None:
        """Raise `Undecodable` when the description makes no sense or a frame is too large to decode."""
        if self.rows < 1 or self.columns < 1 or self.number_of_frames < 1:
            raise Undecodable("Rows, Columns or Number of Frames is missing or not positive")
        if self.samples_per_pixel not in (1, 2, 3, 4) or self.bits_allocated not in (1, 8, 12, 16, 32, 64):
            raise Undecodable("Samples per Pixel or Bits Allocated has an impossible value")
        if self.bits_stored > self.bits_allocated:
            raise Undecodable("Bits Stored is greater than Bits Allocated")
        if self.frame_bytes > LARGEST_FRAME:
            raise Undecodable(f"a frame of {self.frame_bytes} bytes is larger than what is decoded")

    def but(self, **changes: Any) -> "ImagePixel":
        """The same with some attributes changed."""
        return attrs.evolve(self, **changes)


def image_pixel(attributes: Mapping[str, Mapping[str, Any]], transfer_syntax_uid: str) -> ImagePixel | None:
    """The description in a data set (DICOM JSON model), or None when it has no Rows and Columns."""
    if not (_number(attributes, "00280010") and _number(attributes, "00280011")):
        return None
    allocated = _number(attributes, "00280100") or _ALLOCATED_BY_ELEMENT.get(_pixel_element(attributes), 8)
    return ImagePixel(
        transfer_syntax_uid,
        rows=_number(attributes, "00280010") or 0,
        columns=_number(attributes, "00280011") or 0,
        samples_per_pixel=_number(attributes, "00280002") or 1,
        bits_allocated=allocated,
        bits_stored=_number(attributes, "00280101") or allocated,
        pixel_representation=_number(attributes, "00280103") or 0,
        planar_configuration=_number(attributes, "00280006") or 0,
        photometric_interpretation=_text(attributes, "00280004"),
        number_of_frames=_frames(attributes),
    )


_ALLOCATED_BY_ELEMENT = {"7FE00008": 32, "7FE00009": 64}


def _pixel_element(attributes: Mapping[str, Mapping[str, Any]]) -> str:
    return next((tag for tag in _ALLOCATED_BY_ELEMENT if tag in attributes), "")


def _frames(attributes: Mapping[str, Mapping[str, Any]]) -> int:
    """Number of Frames, 1 when absent or empty; 0 stands for nonsense."""
    value = _first(attributes, "00280008")
    return 1 if value in (None, "") else max(0, _number(attributes, "00280008") or 0)


def _first(attributes: Mapping[str, Mapping[str, Any]], tag: str) -> Any:
    values = attributes.get(tag, {}).get("Value") or [None]
    return values[0]


def _number(attributes: Mapping[str, Mapping[str, Any]], tag: str) -> int | None:
    value = _first(attributes, tag)
    try:
        return None if value is None else int(value)
    except (TypeError, ValueError):
        return None


def _text(attributes: Mapping[str, Mapping[str, Any]], tag: str) -> str:
    value = _first(attributes, tag)
    return value.strip() if isinstance(value, str) else ""
