"""Data sets as they travel and lie in files <-> the attributes of the core (PS3.5, PS3.18 F).

The ways in and out: `decode` and `encode` for bytes in one of the uncompressed layouts, `from_json`, `to_json`, `from_xml` and
`to_xml` for the web, (in a module of its own) `metadata` for what the archive tells of a stored instance.
"""

import zlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from ..model.attributes import Attributes
from ..model.status import MalformedDataset, TooLarge
from .character_sets import UTF_8, codecs_of
from .decoding import Decoder
from .elements import DEFLATED, LONG_VRS, Layout, actual_layout, layout_of
from .json_model import from_json, object_json, to_json
from .native_model import from_xml, to_xml
from .values import plain_bytes, to_bytes
from .vrs import KNOWN, dictionary_vr, settled_vr

__all__ = ["decode", "deflate", "encode", "from_json", "from_xml", "inflate", "object_json", "to_json", "to_xml"]

INFLATED_LIMIT = 256 << 20
# What is decoded at once, an identifier for instance, is held in memory.
_INFLATED_AT_ONCE = 32 << 20

_CHARACTER_SET = "00080005"
_ITEM = {"<": b"\xfe\xff\x00\xe0", ">": b"\xff\xfe\xe0\x00"}


def decode(data: bytes, transfer_syntax: str) -> Attributes:
    """The attributes of an encoded data set, everything inline; whether VRs are there is believed to the data."""
    if transfer_syntax == DEFLATED:
        data = inflate(data, _INFLATED_AT_ONCE)
    form = actual_layout(data, 0, layout_of(transfer_syntax))
    return Decoder(data, form).decode(0, len(data))


def inflate(data: Any, limit: int = INFLATED_LIMIT) -> bytes:
    """The data set inside a deflated one (PS3.5 A.5), unless it is larger than `limit`."""
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = machine.decompress(data, limit)
    except zlib.error as error:
        raise MalformedDataset(f"a deflated data set cannot be inflated: {error}") from None
    if machine.unconsumed_tail:
        raise TooLarge(f"a deflated data set holds more than {limit} bytes")
    if not machine.eof:
        raise MalformedDataset("a deflated data set is cut off")
    return inflated


def deflate(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """A data set deflated (PS3.5 A.5), padded to even length."""
    machine, total = zlib.compressobj(wbits=-zlib.MAX_WBITS), 0
    for chunk in chunks:
        if part := machine.compress(chunk):
            total += len(part)
            yield part
    part = machine.flush()
    yield part + b"\0" if (total + len(part)) % 2 else part


def encode(attributes: Attributes, transfer_syntax: str, character_set: str | None = None) -> bytes:
    """The data set as bytes.

    Text is written in `character_set` (a backslash between several values; None: what the attributes themselves declare)
    where that can hold it, else in UTF-8; Specific Character Set says which. Attributes that are only references to bulk data
    are left out.
    """
    form = layout_of(transfer_syntax)
    wanted = character_set if character_set is not None else declared_set(attributes)
    try:
        data = _encode(attributes, form, _codecs(wanted), wanted)
    except UnicodeError:
        data = _encode(attributes, form, ("utf_8",), UTF_8)
    return b"".join(deflate(iter((data,)))) if transfer_syntax == DEFLATED else data


@lru_cache(256)
def _codecs(declared: str) -> tuple[str, ...]:
    return codecs_of(declared)


def declared_set(attributes: Attributes) -> str:
    """The Specific Character Set of a data set, its values joined by backslashes."""
    values = attributes.get(_CHARACTER_SET, {}).get("Value") or ()
    return "\\".join([str(value or "") for value in values])


def _encode(attributes: Attributes, form: Layout, codecs: tuple[str, ...], declared: str) -> bytes:
    out: list[bytes] = []
    for key, attribute in in_order(attributes, declared):
        if "BulkDataURI" in attribute:
            continue
        value = plain_bytes(attribute)
        if value is None:
            encode_element(out, key, attribute, form, codecs)
        else:
            out.append(head(key, attribute["vr"], len(value), form))
            out.append(value)
    return b"".join(out)


@lru_cache(4096)
def head(key: str, vr: str, length: int, form: Layout) -> bytes:
    """The head of an element, see `header`; those of short values are always the same ones."""
    return header(int(key, 16), vr, length, form)


def in_order(attributes: Attributes, declared: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """What is part of an encoded data set (no groups 0000 and 0002), by tag, with `declared` as Specific Character Set."""
    for key in sorted({**attributes, _CHARACTER_SET: {}} if declared else attributes):
        if key == _CHARACTER_SET:
            if declared:
                yield key, {"vr": "CS", "Value": declared.split("\\")}
        elif key > _CHARACTER_SET or key[:4] not in ("0000", "0002"):
            yield key, attributes[key]


def vr_of(key: str, attribute: dict[str, Any]) -> str:
    """The VR of an attribute; one that states none has that of the dictionary."""
    vr = attribute.get("vr")
    return vr if vr in KNOWN else settled_vr(dictionary_vr(int(key, 16)))


def encode_element(out: list[bytes], key: str, attribute: dict[str, Any], form: Layout, codecs: tuple[str, ...]) -> None:
    """Append the bytes of one element; raises UnicodeError when the character set cannot hold its text."""
    vr = vr_of(key, attribute)
    try:
        value = _sequence(attribute, form, codecs) if vr == "SQ" else to_bytes(attribute, vr, codecs, form.order)
    except UnicodeError:
        if vr in ("LO", "LT", "PN", "SH", "ST", "UC", "UT", "SQ") and codecs != ("utf_8",):
            raise
        raise _unfit(key, vr) from None
    except (ValueError, TypeError, AttributeError):
        raise _unfit(key, vr) from None
    out.append(header(int(key, 16), vr, len(value), form))
    out.append(value)


def _unfit(key: str, vr: str) -> MalformedDataset:
    return MalformedDataset(f"({key[:4]},{key[4:]}) has a value that is no {vr}", offending=(int(key, 16),))


def header(tag: int, vr: str, length: int, form: Layout) -> bytes:
    """The head of an element; a value too long for a 16-bit length makes it UN (PS3.5 6.2.2, note)."""
    order = "little" if form.little else "big"
    head = (tag >> 16).to_bytes(2, order) + (tag & 0xFFFF).to_bytes(2, order)  # type: ignore[arg-type]
    if not form.explicit:
        return head + length.to_bytes(4, order)  # type: ignore[arg-type]
    if vr not in LONG_VRS:
        if length <= 0xFFFE:
            return head + vr.encode() + length.to_bytes(2, order)  # type: ignore[arg-type]
        vr = "UN"
    return head + vr.encode() + b"\0\0" + length.to_bytes(4, order)  # type: ignore[arg-type]


def _sequence(attribute: dict[str, Any], form: Layout, codecs: tuple[str, ...]) -> bytes:
    """Items of defined length; their text is in the outer character set, so an item's own declaration is dropped."""
    out: list[bytes] = []
    order = "little" if form.little else "big"
    for item in attribute.get("Value") or ():
        value = _encode({key: child for key, child in (item or {}).items() if key != _CHARACTER_SET}, form, codecs, "")
        out += [_ITEM[form.order], len(value).to_bytes(4, order), value]  # type: ignore[arg-type]
    return b"".join(out)
