"""One frame, encoded or decoded: arrays of samples on one side, the bytes of a transfer syntax on the other.

`decode` gives what any transfer syntax holds or raises `Undecodable`; it never gives a frame that contradicts its description.
`encode` makes the lossless syntaxes in `ENCODED`, and is exact.
"""

import struct
import zlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeAlias

import imagecodecs
import numpy as np

from ..model.status import NotAcceptable, Undecodable
from ..model.transfer_syntaxes import (
    DEFLATED_FRAMES,
    ENCAPSULATED_UNCOMPRESSED,
    EXPLICIT_LITTLE,
    HTJ2K_LOSSLESS,
    HTJ2K_LOSSLESS_RPCL,
    JPEG_2000_LOSSLESS,
    JPEG_LS_LOSSLESS,
    RLE_LOSSLESS,
)
from . import charls, codestream
from .image import ImagePixel

Array: TypeAlias = np.ndarray[Any, Any]

# A code stream of JPEG 2000 is decoded by this many threads: a reader waits for one frame at a time.
JPEG_2000_THREADS = 2


def decode(image: ImagePixel, data: bytes, *, vr: str = "OW") -> tuple[Array, ImagePixel]:
    """Samples of a frame (rows x columns, or rows x columns x samples), and their description as native little endian pixels.

    Of single bits an array of 0 and 1. `vr` matters for big endian words only.
    """
    image.check()
    decoder = None if not image.syntax.encapsulated else _decoder(image)
    if decoder is None:
        return native(image, data, vr), decoded(image)
    try:
        array = decoder(image, data)
    except (RuntimeError, ValueError, OverflowError, MemoryError, TypeError, zlib.error):
        raise Undecodable("the compressed frame cannot be decoded") from None
    wanted = (image.rows, image.columns, image.samples_per_pixel)
    if array.size != image.rows * image.columns * image.samples_per_pixel:
        raise Undecodable(f"the frame decodes to {array.shape}, its description says {wanted}")
    return array.reshape(wanted[:2] if wanted[2] == 1 else wanted), decoded(image)


def can_decode(image: ImagePixel) -> bool:
    """Whether there is a decoder for the transfer syntax, or none is needed."""
    syntax = image.syntax
    if syntax.stream or syntax.referenced or not syntax.known:
        return False
    return not syntax.encapsulated or syntax.media_type in _DECODERS or syntax.uid in _RAW


def decoded(image: ImagePixel) -> ImagePixel:
    """The description after decoding: colour by pixel, and RGB where decoders undo a colour transformation (PS3.5 8.2)."""
    colour, syntax = image.photometric_interpretation, image.syntax
    if colour in ("YBR_ICT", "YBR_RCT") or (syntax.media_type == "image/jxl" and image.samples_per_pixel == 3):
        colour = "RGB"
    if syntax.media_type == "image/jpeg" and not syntax.lossless and image.samples_per_pixel == 3:
        colour = "RGB"
    if colour == "YBR_FULL_422" and syntax.encapsulated and syntax.uid not in _RAW:
        colour = "YBR_FULL"
    return image.but(transfer_syntax_uid=EXPLICIT_LITTLE, planar_configuration=0, photometric_interpretation=colour)


def _decoder(image: ImagePixel) -> "Decoder":
    if not can_decode(image):
        raise Undecodable(f"pixels of transfer syntax {image.transfer_syntax_uid} are not decoded")
    return _DECODERS.get(image.syntax.media_type) or _RAW[image.transfer_syntax_uid]


def native(image: ImagePixel, data: bytes, vr: str = "OW") -> Array:
    """The samples in the bytes of a native frame (PS3.5 8.1); a frame of single bits begins at bit 0 here.

    YBR_FULL_422 stays as it is: rows x columns x 2 samples.
    """
    if len(data) < image.frame_bytes:
        raise Undecodable(f"a frame has {len(data)} of {image.frame_bytes} bytes")
    if image.bits_allocated == 12:
        raise Undecodable("pixels of 12 bits allocated are not decoded")
    shape: tuple[int, ...] = (image.rows, image.columns)
    data = data[: image.frame_bytes]
    if not image.syntax.little:
        data = swapped(data, image.bits_allocated, vr)
    if image.bits_allocated == 1:
        return np.unpackbits(np.frombuffer(data, "u1"), count=image.frame_bits, bitorder="little").reshape(shape)
    samples = image.frame_bits // (image.rows * image.columns * image.bits_allocated)
    array = np.frombuffer(data, _type(image))
    if samples > 1 and image.planar_configuration and samples == image.samples_per_pixel:
        return array.reshape(samples, *shape).transpose(1, 2, 0)
    return array.reshape(shape if samples == 1 else (*shape, samples))


def swapped(data: bytes, bits_allocated: int, vr: str) -> bytes:
    """Big endian words as little endian: of samples, or of 16 bits where smaller samples are packed in OW (PS3.5 8.1.1)."""
    size = bits_allocated // 8 if bits_allocated > 8 else (2 if vr == "OW" else 1)
    if size == 1:
        return data
    whole = len(data) // size * size
    return np.frombuffer(data[:whole], f"<u{size}").byteswap().tobytes() + data[whole:]


def to_native(array: Array, image: ImagePixel) -> bytes:
    """The bytes of a native little endian frame that stands alone."""
    if image.bits_allocated == 1:
        return np.packbits(array.reshape(-1), bitorder="little").tobytes()
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _type(image: ImagePixel) -> "np.dtype[Any]":
    return np.dtype(f"<{'i' if image.pixel_representation else 'u'}{max(1, image.bits_allocated // 8)}")


def _measured(image: ImagePixel, data: bytes) -> codestream.Size:
    """The stream's own size, when it is the size that the description states; components and bits may be unknown (0)."""
    size = codestream.size(data)
    if (size.rows, size.columns) != (image.rows, image.columns) or size.components not in (0, image.samples_per_pixel):
        raise Undecodable(
            f"the compressed frame is {size.columns} x {size.rows} x {size.components}, its description says "
            f"{image.columns} x {image.rows} x {image.samples_per_pixel}"
        )
    if size.bits > max(image.bits_allocated, 8):
        raise Undecodable(f"the compressed frame has {size.bits} bits, more than Bits Allocated")
    return size


def _fitted(array: Array, image: ImagePixel, bits: int) -> Array:
    """Samples of `bits` bits as the description wants them: sign extended or not, in words of Bits Allocated."""
    if image.bits_allocated == 1:
        return (array != 0).astype("u1")
    size = array.dtype.itemsize
    samples, spare = array.view(f"{'i' if image.pixel_representation else 'u'}{size}"), 8 * size - bits
    if spare > 0 and image.pixel_representation:
        samples = samples << spare >> spare
    elif spare > 0:
        samples = samples & ((1 << bits) - 1)
    return samples.astype(_type(image), copy=False)


def _ended(data: bytes) -> None:
    """A stream that is cut off has no EOI: decoders fill up with grey, or look for more bits for a long time."""
    if data.rfind(b"\xff\xd9", -64) < 0:
        raise Undecodable("the JPEG stream has no end")


def _jpeg(image: ImagePixel, data: bytes) -> Array:
    size = _measured(image, data)
    _ended(data)
    if image.samples_per_pixel != 3:
        return _fitted(imagecodecs.jpeg8_decode(data), image, size.bits)
    if image.syntax.lossless:
        # Lossless: components as they were given to the encoder, whatever colour space they are in.
        array = imagecodecs.jpeg8_decode(data, colorspace="RGB", outcolorspace="RGB")
        return _fitted(array, image, size.bits)
    untransformed = size.transform == 0 or (size.transform is None and image.photometric_interpretation == "RGB")
    array = imagecodecs.jpeg8_decode(data, colorspace="RGB" if untransformed else "YCBCR", outcolorspace="RGB")
    return _fitted(array, image, size.bits)


def _jpeg_ls(image: ImagePixel, data: bytes) -> Array:
    size = _measured(image, data)
    _ended(data)
    return _fitted(imagecodecs.jpegls_decode(data), image, size.bits)


def _jpeg2000(image: ImagePixel, data: bytes) -> Array:
    size = _measured(image, data)
    array = imagecodecs.jpeg2k_decode(data, numthreads=JPEG_2000_THREADS)
    return _fitted(array, image, size.bits)


def _jpeg_xl(image: ImagePixel, data: bytes) -> Array:
    _measured(image, data)
    array = imagecodecs.jpegxl_decode(data)
    if array.dtype.kind not in "ui" or array.dtype.itemsize > max(1, image.bits_allocated // 8):
        raise Undecodable("the compressed frame has more bits than Bits Allocated")
    return _fitted(array, image, min(8 * array.dtype.itemsize, max(image.bits_stored, 1)))


def _rle(image: ImagePixel, data: bytes) -> Array:
    """PS3.5 Annex G: planes of bytes, most significant first, sample after sample; of single bits, one of packed bytes."""
    pixels, words = image.rows * image.columns, max(1, image.bits_allocated // 8)
    plane = pixels if image.bits_allocated > 1 else image.frame_bytes
    if len(data) < 64:
        raise Undecodable("the RLE header is cut off")
    count, *starts = struct.unpack_from("<16I", data)
    if count != words * image.samples_per_pixel or count > 15:
        raise Undecodable(f"the RLE frame has {count} segments, its description asks for {words * image.samples_per_pixel}")
    bounds = [*starts[:count], len(data)]
    if bounds[0] < 64 or any(low >= high for low, high in pairwise(bounds)):
        raise Undecodable("the RLE segments do not lie one behind the other in the frame")
    planes = np.empty((count, plane), "u1")
    for number, (low, high) in enumerate(pairwise(bounds)):
        decoded = imagecodecs.packbits_decode(data[low:high])
        if len(decoded) < plane:
            raise Undecodable("an RLE segment is too short")
        planes[number] = np.frombuffer(decoded, "u1", plane)
    if image.bits_allocated == 1:
        return native(image.but(transfer_syntax_uid=EXPLICIT_LITTLE), planes.tobytes())
    samples = planes.reshape(image.samples_per_pixel, words, pixels)[:, ::-1].transpose(2, 0, 1)
    return np.ascontiguousarray(samples).view(_type(image))


def _uncompressed(image: ImagePixel, data: bytes) -> Array:
    return native(image.but(transfer_syntax_uid=EXPLICIT_LITTLE), data)


def _deflated(image: ImagePixel, data: bytes) -> Array:
    return _uncompressed(image, zlib.decompressobj(-15).decompress(data, image.frame_bytes))


Decoder = Callable[[ImagePixel, bytes], Array]
_DECODERS: dict[str, Decoder] = {
    "image/jpeg": _jpeg,
    "image/jls": _jpeg_ls,
    "image/jp2": _jpeg2000,
    "image/jpx": _jpeg2000,
    "image/jphc": _jpeg2000,
    "image/jxl": _jpeg_xl,
    "image/dicom-rle": _rle,
}
_RAW: dict[str, Decoder] = {ENCAPSULATED_UNCOMPRESSED: _uncompressed, DEFLATED_FRAMES: _deflated}


def encode(array: Array, image: ImagePixel, transfer_syntax_uid: str) -> tuple[bytes, ImagePixel]:
    """A native frame in one of the `ENCODED` syntaxes, losslessly, and the description that goes with it.

    Raises `NotAcceptable` when that syntax cannot hold such pixels.
    """
    if not can_encode(image, transfer_syntax_uid) or array.shape[2:] not in ((), (3,)):
        raise NotAcceptable(f"such pixels are not encoded in transfer syntax {transfer_syntax_uid}")
    narrow = image.bits_stored <= 8 and transfer_syntax_uid != RLE_LOSSLESS and _within(array, image)
    small = array.astype(f"{array.dtype.kind}1") if narrow else array
    try:
        data = _ENCODERS[transfer_syntax_uid](np.ascontiguousarray(small), image)
    except (RuntimeError, ValueError, MemoryError):
        raise NotAcceptable(f"these pixels cannot be encoded in transfer syntax {transfer_syntax_uid}") from None
    return data + b"\0" * (len(data) % 2), encoded(image, transfer_syntax_uid)


def can_encode(image: ImagePixel, transfer_syntax_uid: str) -> bool:
    """Whether native pixels of this description can be held by one of the `ENCODED` syntaxes."""
    allocated = (8, 16, 32, 64) if transfer_syntax_uid == RLE_LOSSLESS else (8, 16)
    subsampled = image.photometric_interpretation in ("YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420")
    segments = image.samples_per_pixel * image.bits_allocated // 8
    return (
        transfer_syntax_uid in ENCODED
        and image.bits_allocated in allocated
        and image.samples_per_pixel in (1, 3)
        and not subsampled
        and (transfer_syntax_uid != RLE_LOSSLESS or segments <= 15)
    )


def encoded(image: ImagePixel, transfer_syntax_uid: str) -> ImagePixel:
    """The description after encoding (PS3.5 8.2.4: RGB goes through the component transformation of JPEG 2000)."""
    colour = image.photometric_interpretation
    if colour == "RGB" and transfer_syntax_uid in (JPEG_2000_LOSSLESS, HTJ2K_LOSSLESS, HTJ2K_LOSSLESS_RPCL):
        colour = "YBR_RCT"
    return image.but(transfer_syntax_uid=transfer_syntax_uid, photometric_interpretation=colour, planar_configuration=0)


def _within(array: Array, image: ImagePixel) -> bool:
    """Whether no bits beyond Bits Stored are used (old overlays are kept there): only then may they be left out."""
    if image.bits_stored >= 8 * array.dtype.itemsize:
        return True
    return bool(np.array_equal(_fitted(array, image, image.bits_stored), array))


def _bits(array: Array, image: ImagePixel) -> int:
    return image.bits_stored if _within(array, image) else 8 * array.dtype.itemsize


def _encode_rle(array: Array, image: ImagePixel) -> bytes:
    size = array.dtype.itemsize
    planes = array.astype(array.dtype.newbyteorder("<"), copy=False).view("u1").reshape(image.rows, image.columns, -1)
    order = [size * sample + byte for sample in range(image.samples_per_pixel) for byte in reversed(range(size))]
    segments = [imagecodecs.packbits_encode(np.ascontiguousarray(planes[:, :, index])) for index in order]
    segments = [segment + b"\0" * (len(segment) % 2) for segment in segments]
    starts = np.cumsum([64] + [len(segment) for segment in segments])[:-1].tolist()
    header = struct.pack("<16I", len(segments), *starts, *[0] * (15 - len(segments)))
    return b"".join((header, *segments))


def _encode_jpeg_ls(array: Array, image: ImagePixel) -> bytes:
    """JPEG-LS knows no sign: the bits of signed samples are encoded as they are, without those above Bits Stored."""
    bits, whole = max(_bits(array, image), 2), array.view(f"u{array.dtype.itemsize}")
    if bits < 8 * array.dtype.itemsize:
        return charls.encode(whole & ((1 << bits) - 1), bits)
    # Noise becomes larger than it was.
    return bytes(imagecodecs.jpegls_encode(whole, out=2 * whole.nbytes + 1024))


def _encode_jpeg2000(array: Array, image: ImagePixel) -> bytes:
    transform = image.photometric_interpretation == "RGB"
    bits = max(_bits(array, image), 2)
    data = imagecodecs.jpeg2k_encode(array, reversible=True, codecformat="j2k", bitspersample=bits, mct=transform)
    return bytes(data)


def _encode_htj2k(array: Array, image: ImagePixel) -> bytes:
    return _high_throughput(array, image)


def _encode_htj2k_rpcl(array: Array, image: ImagePixel) -> bytes:
    """PS3.5 A.4.7.2: RPCL order (the encoder's own), TLM markers, a smallest resolution of at most 64 samples."""
    levels = max(1, (max(array.shape[:2]) // 64).bit_length())
    return _high_throughput(array, image, resolutions=levels, tlm=True, tilepart=1)


def _high_throughput(array: Array, image: ImagePixel, **options: Any) -> bytes:
    """The encoder takes the precision from the type of the array. Unsigned samples of fewer bits are shifted to around zero
    and encoded as signed, and the precision is then written into SIZ: the decoder's level shift (ISO/IEC 15444-1 G.1) brings
    them back."""
    transform = image.photometric_interpretation == "RGB" and image.samples_per_pixel == 3
    bits, whole = _bits(array, image), 8 * array.dtype.itemsize
    if bits < whole and not image.pixel_representation:
        array = (array.astype(f"i{array.dtype.itemsize}") - (1 << (bits - 1))).astype(f"i{array.dtype.itemsize}")
    data = imagecodecs.htj2k_encode(array, reversible=True, rgb=transform, **options)
    if bits < whole:
        depth = bytes([bits - 1 | (0x80 if image.pixel_representation else 0)])
        sizes = bytearray(data)
        for component in range(image.samples_per_pixel):
            sizes[42 + 3 * component : 43 + 3 * component] = depth
        data = sizes
    return bytes(data)


_ENCODERS: dict[str, Callable[[Array, ImagePixel], bytes]] = {
    RLE_LOSSLESS: _encode_rle,
    JPEG_LS_LOSSLESS: _encode_jpeg_ls,
    JPEG_2000_LOSSLESS: _encode_jpeg2000,
    HTJ2K_LOSSLESS: _encode_htj2k,
    HTJ2K_LOSSLESS_RPCL: _encode_htj2k_rpcl,
}
ENCODED = frozenset(_ENCODERS)
