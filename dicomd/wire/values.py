"""Single values: the bytes of a value field <-> what the JSON model holds for it (PS3.5 6.2, PS3.18 F.2.3)."""

import struct
from base64 import b64decode, b64encode
from binascii import Error as BinasciiError
from collections.abc import Callable
from math import isfinite
from typing import Any

from ..model.attributes import person_name, plain
from .character_sets import decode_text, encode_text
from .vrs import BINARY, LUT_DESCRIPTORS, NUMBERS, TEXT, WORDS

Codecs = tuple[str, ...]
# VRs whose values are written as they are, and the padding
_PLAIN = {vr: b"\0" if vr == "UI" else b" " for vr in "AE AS CS DA DS DT IS LO LT PN SH ST TM UC UI UR UT".split()}
_PADDING = " \0"
_EXACT = 2**53


def to_little(raw: bytes, vr: str, order: str) -> bytes:
    """The words of a value in little endian order."""
    return swapped(raw, WORDS[vr]) if order == ">" and vr in WORDS else raw


def swapped(raw: bytes, size: int) -> bytes:
    """Words of `size` bytes in the other byte order; a rest at the end is kept."""
    whole = len(raw) // size * size
    out = bytearray(raw)
    for index in range(size):
        out[index:whole:size] = raw[size - 1 - index : whole : size]
    return bytes(out)


def _strings(raw: bytes, codecs: Codecs, order: str) -> list[Any]:
    text = raw.decode("latin_1").strip(_PADDING)
    if "\\" in text:
        return [value.strip(_PADDING) or None for value in text.split("\\")]
    return [text] if text else []


def _texts(raw: bytes, codecs: Codecs, order: str) -> list[Any]:
    text = decode_text(raw, codecs).rstrip(_PADDING)
    if "\\" in text:
        return [value.rstrip(_PADDING) or None for value in text.split("\\")]
    return [text] if text else []


def _whole_text(raw: bytes, codecs: Codecs, order: str) -> list[Any]:
    text = decode_text(raw, codecs).rstrip(_PADDING)
    return [text] if text else []


def _whole_string(raw: bytes, codecs: Codecs, order: str) -> list[Any]:
    text = raw.decode("latin_1").rstrip(_PADDING)
    return [text] if text else []


def _names(raw: bytes, codecs: Codecs, order: str) -> list[Any]:
    text = decode_text(raw, codecs).rstrip(_PADDING)
    if "\\" in text:
        return [_name(value) for value in text.split("\\")]
    return [_name(text)] if text else []


def _name(text: str) -> dict[str, str] | None:
    if "=" not in text:
        text = text.rstrip(_PADDING)
        return {"Alphabetic": text} if text else None
    return person_name("=".join([group.rstrip(_PADDING) for group in text.split("=")]))


def _decimals(raw: bytes, codecs: Codecs, order: str) -> list[Any]:
    text = raw.decode("latin_1").strip(_PADDING)
    return [_decimal(value) for value in text.split("\\")] if text else []


def _decimal(text: str) -> int | float | str | None:
    """A number where one is meant and JSON can hold it; else the text as it is (PS3.18 F.2.3 lets both)."""
    text = text.strip(_PADDING)
    try:
        if len(text) <= 16 and "_" not in text:
            return int(text) if text.isdigit() else float_or_text(text)
        return float_or_text(text)
    except ValueError:
        return text or None


def float_or_text(text: str) -> float | str:
    """The number; the text itself when it is not finite or written in a way only Python knows."""
    value = float(text)
    return value if isfinite(value) and "_" not in text else text


def _integers(raw: bytes, codecs: Codecs, order: str) -> list[Any]:
    text = raw.decode("latin_1").strip(_PADDING)
    return [_integer(value) for value in text.split("\\")] if text else []


def _integer(text: str) -> int | str | None:
    text = text.strip(_PADDING)
    try:
        value = int(text) if len(text) <= 18 and "_" not in text else text
    except ValueError:
        value = _whole_decimal(text)
    return value if value != "" else None


def _whole_decimal(text: str) -> int | str:
    """`1.0` and `1E3` are whole numbers, in a form that IS does not allow but writers use."""
    try:
        value = float(text) if "_" not in text else 0.5
    except ValueError:
        return text
    return int(value) if value == value // 1 and abs(value) < _EXACT else text


def _tags(raw: bytes, codecs: Codecs, order: str) -> list[Any]:
    words = struct.unpack_from(f"{order}{len(raw) // 4 * 2}H", raw)
    return [f"{group:04X}{element:04X}" for group, element in zip(words[::2], words[1::2], strict=True)]


def _numbers(code: str) -> Callable[[bytes, Codecs, str], list[Any]]:
    size = struct.calcsize("<" + code)
    single = {order: struct.Struct(order + code).unpack_from for order in "<>"}

    def convert(raw: bytes, codecs: Codecs, order: str) -> list[Any]:
        if len(raw) < 2 * size:
            return list(single[order](raw)) if len(raw) >= size else []
        return list(struct.unpack_from(f"{order}{len(raw) // size}{code}", raw))

    return convert


def _large(code: str) -> Callable[[bytes, Codecs, str], list[Any]]:
    convert = _numbers(code)

    def exact(raw: bytes, codecs: Codecs, order: str) -> list[Any]:
        """As text where a reader's double would round it (PS3.18 F.2.3)."""
        return [value if -_EXACT < value < _EXACT else str(value) for value in convert(raw, codecs, order)]

    return exact


FROM_BYTES: dict[str, Callable[[bytes, Codecs, str], list[Any]]] = {
    **dict.fromkeys(("AE", "AS", "CS", "DA", "DT", "TM", "UI"), _strings),
    **dict.fromkeys(("LO", "SH", "UC"), _texts),
    **dict.fromkeys(("LT", "ST", "UT"), _whole_text),
    **{vr: _numbers(code) for vr, code in NUMBERS.items()},
    "UV": _large("Q"),
    "SV": _large("q"),
    "UR": _whole_string,
    "PN": _names,
    "DS": _decimals,
    "IS": _integers,
    "AT": _tags,
}


def from_bytes(raw: bytes, vr: str, codecs: Codecs, order: str, tag: int = 0) -> dict[str, Any]:
    """The attribute for the bytes of a value, all inline; SQ is not for here."""
    if not raw:
        return {"vr": vr}
    if vr in BINARY:
        return {"vr": vr, "InlineBinary": b64encode(to_little(raw, vr, order)).decode("ascii")}
    value = FROM_BYTES[vr](raw, codecs, order)
    if tag in LUT_DESCRIPTORS and vr == "SS" and value[0:1] and value[0] < 0:
        value[0] += 0x10000
    return {"vr": vr, "Value": value} if value else {"vr": vr}


def plain_bytes(attribute: dict[str, Any]) -> bytes | None:
    """The bytes of what most attributes hold: nothing, or one value of plain ASCII text; None for anything else."""
    padding = _PLAIN.get(attribute.get("vr", ""))
    if padding is None:
        return None
    values = attribute.get("Value")
    if not values:
        return b""
    value = values[0]
    if type(value) is dict and len(value) == 1:
        value = value.get("Alphabetic")
    if len(values) > 1 or type(value) is not str or not value.isascii():
        return None
    return value.encode("ascii") + padding if len(value) % 2 else value.encode("ascii")


def to_bytes(attribute: dict[str, Any], vr: str, codecs: Codecs, order: str) -> bytes:
    """The bytes of an attribute's value, padded to even length; raises ValueError (or a subclass) for one that does not fit."""
    if vr in BINARY:
        raw = binary(attribute)
        raw = to_little(raw, vr, order)
        return raw + b"\0" if len(raw) % 2 else raw
    values = attribute.get("Value")
    if not values:
        return b""
    if vr in NUMBERS:
        return _pack(values, NUMBERS[vr], order)
    if vr == "AT":
        return b"".join(struct.pack(order + "HH", int(value[:4], 16), int(value[4:8], 16)) for value in values)
    if vr in TEXT:
        raw = encode_text("\\".join([plain_text(value) for value in values]), codecs)
    else:
        raw = "\\".join([_written(value, vr) for value in values]).encode("ascii", "strict")
    if len(raw) % 2:
        return raw + (b"\0" if vr == "UI" else b" ")
    return raw


def binary(attribute: dict[str, Any]) -> bytes:
    """The bytes of InlineBinary."""
    try:
        return b64decode(attribute.get("InlineBinary") or "", validate=True)
    except BinasciiError as error:
        raise ValueError(f"InlineBinary is not base64: {error}") from None


def plain_text(value: Any) -> str:
    """Text as it is, surrounding spaces kept; null is empty."""
    return value if isinstance(value, str) else plain(value)


def _written(value: Any, vr: str) -> str:
    if isinstance(value, float) and vr in ("DS", "IS"):
        return decimal_string(value)
    return "" if value is None else str(value)


def decimal_string(value: float) -> str:
    """A number in at most the 16 characters of DS (PS3.5 6.2), as exact as they allow."""
    if not isfinite(value):
        raise ValueError("not a finite number")
    if value == value // 1 and abs(value) < 1e15:
        return str(int(value))
    text = repr(value)
    for digits in range(16, 0, -1):
        if len(text) <= 16:
            break
        text = f"{value:.{digits}g}"
    return text


def _pack(values: list[Any], code: str, order: str) -> bytes:
    convert = float if code in "fd" else int
    numbers = [convert(value) for value in values if value is not None]
    if code == "h":
        numbers = [value - 0x10000 if 0x8000 <= value <= 0xFFFF else value for value in numbers]
    try:
        return struct.pack(f"{order}{len(numbers)}{code}", *numbers)
    except (struct.error, OverflowError):
        raise ValueError("a number out of range") from None
