"""ICC profiles: the one an instance brings (PS3.3 C.11.15), those of the well-known spaces, and conversion between them."""

import io
import struct
from functools import lru_cache

from attrs import frozen
from PIL import Image, ImageCms

from ..model.status import InvalidRequest, Undecodable
from .header import Header

_LARGEST = 16 << 20


@frozen
class _Space:
    """A colour space by the colorants (XYZ relative to D50) and the transfer curve of each channel."""

    name: str
    red: tuple[float, float, float]
    green: tuple[float, float, float]
    blue: tuple[float, float, float]
    gamma: float  # 0: the curve of sRGB


# IEC 61966-2-1; Adobe RGB (1998); ISO 22028-2. Names as in the query (PS3.18 8.3.5.1.5).
_SPACES = {
    "srgb": _Space("sRGB", (0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410), 0.0),
    "adobergb": _Space(
        "Adobe RGB (1998) compatible",
        (0.60974, 0.31111, 0.01947),
        (0.20528, 0.62567, 0.06087),
        (0.14919, 0.06322, 0.74457),
        563 / 256,
    ),
    "rommrgb": _Space("ROMM RGB", (0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00009, 0.82491), 1.8),
}


def of_header(header: Header) -> bytes:
    """The profile of an instance: ICC Profile, or that of its first optical path; empty when it has none."""
    path = header.item("00480105")
    for place in (header, path):
        profile = place.data("00282000") if place is not None else b""
        if 128 < len(profile) <= _LARGEST and profile[36:40] == b"acsp":
            return profile
    return b""


def managed(image: Image.Image, header: Header, choice: str) -> tuple[Image.Image, bytes]:
    """The picture in the colour space that the query asks for, and the profile to embed; empty for none."""
    if choice == "no":
        return image, b""
    source = of_header(header) if image.mode == "RGB" else b""
    if choice == "yes":
        return image, source or (profile("srgb") if image.mode == "RGB" else gray_profile())
    target = profile(choice)
    return _converted(image.convert("RGB"), source or profile("srgb"), target), target


def _converted(image: Image.Image, source: bytes, target: bytes) -> Image.Image:
    if source == target:
        return image
    try:
        return ImageCms.applyTransform(image, _transform(source, target)) or image
    except (ImageCms.PyCMSError, OSError, ValueError):
        raise Undecodable("the ICC profile of the instance cannot be used", offending=(0x00282000,)) from None


@lru_cache(maxsize=16)
def _transform(source: bytes, target: bytes) -> ImageCms.ImageCmsTransform:
    opened = [ImageCms.ImageCmsProfile(io.BytesIO(data)) for data in (source, target)]
    return ImageCms.buildTransform(opened[0], opened[1], "RGB", "RGB")


def refuse(media_type: str, choice: str) -> None:
    """PS3.18 8.3.5.1.5: a profile is only for media types that can hold one."""
    if choice != "no":
        raise InvalidRequest(f"iccprofile: {media_type} cannot hold a profile")


@lru_cache(maxsize=4)
def profile(name: str) -> bytes:
    """The profile of a well-known space (ICC.1, version 2: colorants and curves)."""
    space = _SPACES[name]
    curve = _curve(space.gamma)
    colorants = [(tag, _xyz(value)) for tag, value in ((b"rXYZ", space.red), (b"gXYZ", space.green), (b"bXYZ", space.blue))]
    return _assembled(b"RGB ", space.name, [*colorants, (b"rTRC", curve), (b"gTRC", curve), (b"bTRC", curve)])


@lru_cache(maxsize=1)
def gray_profile() -> bytes:
    """The profile of grayscale pictures: the tone curve of sRGB."""
    return _assembled(b"GRAY", "Gray with the sRGB tone curve", [(b"kTRC", _curve(0.0))])


def _assembled(space: bytes, name: str, tags: list[tuple[bytes, bytes]]) -> bytes:
    text = name.encode("ascii")
    description = b"desc" + bytes(4) + struct.pack(">I", len(text) + 1) + text + bytes(1 + 4 + 4 + 2 + 1 + 67)
    common = [
        (b"desc", description),
        (b"cprt", b"text" + bytes(4) + b"no copyright, use freely\0"),
        (b"wtpt", _xyz((0.9642, 1.0, 0.8249))),
    ]
    table, body = [], b""
    offset = 128 + 4 + 12 * (len(common) + len(tags))
    for tag, data in common + tags:
        table.append(struct.pack(">4sII", tag, offset + len(body), len(data)))
        body += data + bytes(-len(data) % 4)
    total = offset + len(body)
    date = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
    white = struct.pack(">3i", *(round(part * 65536) for part in (0.9642, 1.0, 0.8249)))
    head = struct.pack(">I4sI4s4s4s", total, bytes(4), 0x02100000, b"mntr", space, b"XYZ ") + date + b"acsp" + bytes(28) + white
    return head.ljust(128, b"\0") + struct.pack(">I", len(table)) + b"".join(table) + body


def _xyz(value: tuple[float, float, float]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(part * 65536) for part in value))


def _curve(gamma: float) -> bytes:
    if gamma:
        return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
    steps = [step / 1023 for step in range(1024)]
    linear = [step / 12.92 if step <= 0.04045 else ((step + 0.055) / 1.055) ** 2.4 for step in steps]
    return b"curv" + bytes(4) + struct.pack(">I1024H", 1024, *(round(value * 65535) for value in linear))
