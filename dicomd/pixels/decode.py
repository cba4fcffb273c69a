"""What the samples of a frame mean, and the frame decoded for display; a frame at a time, never more."""

import numpy as np
from attrs import frozen

from ..model.status import NotAcceptable, TooLarge, Undecodable
from ..model.transfer_syntaxes import OCTET_STREAM
from . import codecs
from .header import Array, Header
from .image import ImagePixel, image_pixel
from .lut import Stored

FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA, PIXEL_DATA = "7FE00008", "7FE00009", "7FE00010"
_HALF_CHROMA = ("YBR_FULL_422", "YBR_PARTIAL_422")


@frozen
class Picture:
    """What one frame's bytes mean: the Image Pixel module, checked against a limit of samples a frame."""

    image: ImagePixel
    high_bit: int
    floating: bool
    vr: str = "OW"

    @property
    def stored(self) -> Stored:
        """How values lie in words; those that an image codec gives begin at bit 0 in any case (PS3.5 8.2)."""
        image = self.image
        high_bit = image.bits_stored - 1
        if image.syntax.media_type in (OCTET_STREAM, "image/dicom-rle") and high_bit <= self.high_bit < image.bits_allocated:
            high_bit = self.high_bit
        return Stored(max(image.bits_allocated, 8), image.bits_stored, high_bit, image.pixel_representation == 1)


def describe(header: Header, transfer_syntax_uid: str, limit: int) -> Picture:
    """The description in a header; `limit`: samples of a frame that may be decoded."""
    image = image_pixel(header.attributes, transfer_syntax_uid)
    if image is None:
        raise Undecodable("the instance has no Rows and Columns, or they are zero", offending=(0x00280010, 0x00280011))
    if image.rows * image.columns * image.samples_per_pixel > limit:
        raise TooLarge(f"a frame of {image.columns} x {image.rows} pixels is above the limit of {limit} samples")
    image.check()
    if image.bits_stored < 1:
        raise Undecodable("Bits Stored is not positive", offending=(0x00280101,))
    attributes = header.attributes
    floating = PIXEL_DATA not in attributes and (FLOAT_PIXEL_DATA in attributes or DOUBLE_FLOAT_PIXEL_DATA in attributes)
    vr = str(attributes.get(PIXEL_DATA, {}).get("vr", "OW"))
    return Picture(image, header.integer("00280102", image.bits_stored - 1), floating, vr)


def decode(picture: Picture, data: bytes) -> tuple[Array, str]:
    """Samples of a frame (rows x columns, or rows x columns x samples) and the Photometric Interpretation they now have."""
    image = picture.image
    if image.syntax.stream:
        raise NotAcceptable("frames of a video stream cannot be rendered")
    samples, decoded = codecs.decode(image, data, vr=picture.vr)
    if picture.floating:
        samples = samples.view(f"<f{samples.dtype.itemsize}")
    elif decoded.photometric_interpretation in _HALF_CHROMA and samples.shape[2:] == (2,):
        samples = _upsampled(samples, decoded)
    return samples, decoded.photometric_interpretation


def _upsampled(array: Array, image: ImagePixel) -> Array:
    """PS3.3 C.7.6.3.1.2: Y1 Y2 Cb Cr for two pixels side by side."""
    pairs = array.reshape(-1)[: array.size // 4 * 4].reshape(-1, 4)
    out = np.empty((len(pairs), 2, 3), array.dtype)
    out[:, :, 0] = pairs[:, :2]
    out[:, :, 1:] = pairs[:, None, 2:]
    flat = out.reshape(-1, 3)
    missing = image.rows * image.columns - len(flat)
    flat = np.concatenate([flat, flat[-missing:]]) if missing > 0 else flat
    return flat.reshape(image.rows, image.columns, 3)
