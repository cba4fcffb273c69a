"""Pictures that are no DICOM encoding, made native pixels: PNG and GIF (PS3.18 10.5.2, "transform")."""

import io
import warnings

import numpy as np
from PIL import Image, ImageSequence

from ..model.attributes import Attributes, attribute
from ..model.status import Undecodable
from .image import LARGEST_FRAME

_FORMATS = ("PNG", "GIF")


def native(data: bytes) -> tuple[Attributes, bytes]:
    """The Image Pixel Description (PS3.3 Table C.7-11c) and the bytes of all frames; transparency is dropped."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                return _described(image)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Undecodable("a picture cannot be decoded") from None


def _described(image: Image.Image) -> tuple[Attributes, bytes]:
    count = getattr(image, "n_frames", 1)
    if image.width * image.height * count * 4 > LARGEST_FRAME:
        raise Undecodable("a picture is too large to be decoded")
    frames = [_pixels(frame) for frame in ImageSequence.Iterator(image)]
    if len({(frame.shape[2:], frame.dtype) for frame in frames}) > 1:
        frames = [_pixels(frame, "RGB") for frame in ImageSequence.Iterator(image)]
    if image.format == "GIF" and all(_is_grey(frame) for frame in frames):
        frames = [frame[:, :, 0] for frame in frames]
    first = frames[0]
    samples, bits = (first.shape[2] if first.ndim == 3 else 1), first.dtype.itemsize * 8
    described = {
        "00280002": attribute("US", samples),
        "00280004": attribute("CS", "RGB" if samples == 3 else "MONOCHROME2"),
        "00280010": attribute("US", image.height),
        "00280011": attribute("US", image.width),
        "00280100": attribute("US", bits),
        "00280101": attribute("US", bits),
        "00280102": attribute("US", bits - 1),
        "00280103": attribute("US", 0),
    }
    if samples == 3:
        described["00280006"] = attribute("US", 0)
    if len(frames) > 1:
        described["00280008"] = attribute("IS", len(frames))
    return described, b"".join([frame.tobytes() for frame in frames])


def _is_grey(frame: np.ndarray) -> bool:
    """GIF has palettes only; one of greys is a single channel."""
    return frame.ndim == 3 and bool((frame[:, :, :1] == frame[:, :, 1:]).all())


def _pixels(frame: Image.Image, mode: str = "") -> np.ndarray:
    """8 or 16 bit grey, or 8 bit RGB."""
    if not mode and frame.mode.startswith("I"):
        return np.asarray(frame, "<u2")
    grey = frame.mode in ("1", "L", "LA") or (frame.mode == "P" and frame.palette is not None and frame.palette.mode == "L")
    return np.asarray(frame.convert(mode or ("L" if grey else "RGB")), "u1")
