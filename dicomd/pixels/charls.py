"""The JPEG-LS encoder (ISO/IEC 14495-1) of the CharLS library that pyjpegls brings, through CharLS's C interface.

pyjpegls holds the interpreter's lock for as long as it encodes, a third of a second for a radiograph; a call from here does not.
Where the interface cannot be reached its own function is used, and is correct, only not as polite.
"""

import ctypes
import importlib
from functools import cache
from typing import Any

import imagecodecs
import jpeg_ls
import numpy as np

_PREFIX = "charls_jpegls_encoder_"


class _FrameInfo(ctypes.Structure):
    """`charls_frame_info`."""

    _fields_ = (
        ("width", ctypes.c_uint32),
        ("height", ctypes.c_uint32),
        ("bits_per_sample", ctypes.c_int32),
        ("component_count", ctypes.c_int32),
    )


_POINTER, _SIZE, _INT = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
# Name -> arguments behind the encoder; all but `destroy` return an error, 0 for none.
_FUNCTIONS: dict[str, list[Any]] = {
    "set_frame_info": [ctypes.POINTER(_FrameInfo)],
    "set_interleave_mode": [_INT],
    "set_destination_buffer": [_POINTER, _SIZE],
    "encode_from_buffer": [_POINTER, _SIZE, ctypes.c_uint32],
    "get_bytes_written": [ctypes.POINTER(_SIZE)],
}


@cache
def _library() -> ctypes.CDLL | None:
    """The library with its functions declared; None where it does not show them."""
    try:
        library = ctypes.CDLL(importlib.import_module("_CharLS").__file__)
        library.charls_jpegls_encoder_create.restype = _POINTER
        for name, arguments in _FUNCTIONS.items():
            function = getattr(library, _PREFIX + name)
            function.argtypes, function.restype = [_POINTER, *arguments], _INT
        destroy = getattr(library, _PREFIX + "destroy")
        destroy.argtypes, destroy.restype = [_POINTER], None
    except (ImportError, AttributeError, OSError):
        return None
    return library


def encode(samples: "np.ndarray[Any, Any]", bits: int) -> bytes:
    """Unsigned samples (rows x columns, or rows x columns x 3) of so many bits, losslessly; raises `RuntimeError`."""
    rows, columns = samples.shape[:2]
    components = samples.shape[2] if samples.ndim == 3 else 1
    interleave = 2 if components > 1 else 0
    library = _library()
    if library is None:
        try:
            data = jpeg_ls.encode_buffer(samples.tobytes(), rows, columns, components, bits, interleave_mode=interleave)
        except RuntimeError:  # its buffer is too small for very small images
            data = imagecodecs.jpegls_encode(samples, out=2 * samples.nbytes + 1024)
        return bytes(data)
    out = np.empty(2 * samples.nbytes + 1024, np.uint8)
    encoder = library.charls_jpegls_encoder_create()
    try:
        info, written = _FrameInfo(columns, rows, bits, components), _SIZE()
        steps: list[tuple[str, tuple[Any, ...]]] = [
            ("set_frame_info", (info,)),
            ("set_interleave_mode", (interleave,)),
            ("set_destination_buffer", (out.ctypes.data, out.nbytes)),
            ("encode_from_buffer", (samples.ctypes.data, samples.nbytes, 0)),
            ("get_bytes_written", (written,)),
        ]
        for name, arguments in steps:
            if getattr(library, _PREFIX + name)(encoder, *arguments):
                raise RuntimeError(f"JPEG-LS: {name} failed")
        return out[: written.value].tobytes()
    finally:
        library.charls_jpegls_encoder_destroy(encoder)
