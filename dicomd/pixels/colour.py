"""Colour pixels to 8-bit RGB: the Photometric Interpretations of PS3.3 C.7.6.3.1.2 other than the grayscale ones."""

import numpy as np
from PIL import Image

from ..model.status import Undecodable
from .header import Array, Bytes

# PS3.3 C.7.6.3.1.2, YBR_PARTIAL: luma 16 to 235, chroma around 128
_AT_ONCE = 1 << 19
_PARTIAL = np.array([[1.1644, 0.0, 1.5960], [1.1644, -0.3917, -0.8129], [1.1644, 2.0173, 0.0]])


def to_rgb(samples: Array, photometric: str, bits_stored: int) -> Bytes:
    """Rows x columns x samples of any width to rows x columns x 3 bytes."""
    eight = _eight_bits(samples, bits_stored)
    if photometric in ("RGB", "YBR_RCT", "YBR_ICT", ""):
        return eight[:, :, :3]
    if photometric in ("YBR_FULL", "YBR_FULL_422"):
        return _converted(eight, "YCbCr")
    if photometric in ("YBR_PARTIAL_422", "YBR_PARTIAL_420"):
        shifted = eight[:, :, :3].astype(np.float64) - (16, 128, 128)
        return np.clip(shifted @ _PARTIAL.T + 0.5, 0, 255).astype(np.uint8)
    if photometric == "HSV":
        return _converted(eight, "HSV")
    if photometric == "CMYK" and eight.shape[2] == 4:
        return _converted(255 - eight, "CMYK")
    raise Undecodable(f"pixels of Photometric Interpretation {photometric[:16]} cannot be shown", offending=(0x00280004,))


def _eight_bits(samples: Array, bits_stored: int) -> Bytes:
    if samples.dtype == np.uint8 and bits_stored >= 8:
        return np.ascontiguousarray(samples)
    words = samples.view(f"u{samples.dtype.itemsize}")
    if bits_stored >= 8:
        return (words >> (bits_stored - 8)).astype(np.uint8)
    largest = (1 << bits_stored) - 1
    return ((words & largest).astype(np.uint16) * 255 // largest).astype(np.uint8)


def _converted(samples: Bytes, mode: str) -> Bytes:
    """Some rows at a time: other threads wait while pixels are handed over."""
    height, width, count = samples.shape
    used = np.ascontiguousarray(samples[:, :, : 4 if count == 4 else 3])
    out, step = np.empty((height, width, 3), np.uint8), max(1, _AT_ONCE // width)
    for top in range(0, height, step):
        part = used[top : top + step]
        out[top : top + step] = np.asarray(Image.frombytes(mode, (width, len(part)), part.tobytes()).convert("RGB"))
    return out
