"""Instances put together from metadata and bulk data that came apart (PS3.18 8.6.1.2, 10.5.2).

The result is a data set as pieces: bytes made here, and the pieces of the bulk data as they are, so that nothing large is in
memory. Compressed images become encapsulated Pixel Data with an offset table (PS3.5 A.4), the description of an image that the
metadata leave out is read from its code stream.
"""

from typing import Any

from attrs import frozen

from ..model.attributes import Attributes, attribute, text
from ..model.content import FileRange, Piece, size
from ..model.transfer_syntaxes import EXPLICIT_LITTLE, OCTET_STREAM
from .character_sets import UTF_8, codecs_of
from .datasets import declared_set, encode_element, header, in_order, vr_of
from .elements import UNDEFINED
from .pixel_data import FORM, ITEM, OFFSET_TABLES, BulkData, Find, Pixels, ReadPiece, pixels_of, wrong

__all__ = ["Assembled", "BulkData", "Find", "ReadPiece", "assemble"]


# Offset tables are those of the pixel data as they will be; (0008,3002) Available Transfer Syntax UID is what a server tells.
_MADE_HERE = (*OFFSET_TABLES, "00083002")


@frozen
class Assembled:
    """A whole data set, ready to be stored."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    pieces: list[Piece]


def assemble(attributes: Attributes, find: Find, read: ReadPiece) -> Assembled:
    """The instance of these metadata; raises a `ServiceError` that names the attribute which is wrong."""
    uids = [_required_uid(attributes, tag) for tag in ("00080016", "00080018")]
    attributes = {key: value for key, value in attributes.items() if key not in _MADE_HERE}
    pixels = pixels_of(attributes, find, read)
    if pixels is not None:
        attributes = pixels.attributes
    _name_document(attributes, find)
    declared = declared_set(attributes)
    try:
        pieces = _dataset(attributes, find, pixels, codecs_of(declared), declared)
    except UnicodeError:
        pieces = _dataset(attributes, find, pixels, ("utf_8",), UTF_8)
    return Assembled(uids[0], uids[1], pixels.transfer_syntax_uid if pixels else EXPLICIT_LITTLE, _joined(pieces))


def _required_uid(attributes: Attributes, tag: str) -> str:
    uid = text(attributes, tag)
    if not uid:
        raise wrong(tag, "is missing")
    return uid


def _name_document(attributes: Attributes, find: Find) -> None:
    """MIME Type of Encapsulated Document is that of its part when the metadata leave it out (PS3.18 8.7.3.6)."""
    document = attributes.get("00420011", {})
    if "BulkDataURI" in document and not text(attributes, "00420012"):
        parts = find(document["BulkDataURI"])
        if parts and parts[0].media_type not in ("", OCTET_STREAM):
            attributes["00420012"] = attribute("LO", parts[0].media_type)


# The elements


def _dataset(attributes: Attributes, find: Find, pixels: Pixels | None, codecs: tuple[str, ...], declared: str) -> list[Piece]:
    out: list[Piece] = []
    made: list[bytes] = []
    for key, value in in_order(attributes, declared):
        if pixels is not None and key == pixels.key:
            element = pixels.element
        elif "BulkDataURI" in value:
            element = _bulk_element(key, value, find)
        elif value.get("vr") == "SQ" and _has_references(value):
            element = _sequence(key, value, find, codecs)
        else:
            encode_element(made, key, value, FORM, codecs)
            continue
        out += [*made, *element]
        made = []
    return out + made


def _bulk_element(key: str, value: dict[str, Any], find: Find) -> list[Piece]:
    """An element whose value is the content of parts, as it is."""
    parts = find(value["BulkDataURI"])
    if not parts:
        raise wrong(key, "refers to bulk data that is not in the request")
    pieces = [piece for part in parts for piece in part.pieces]
    length = sum(part.size for part in parts)
    vr = vr_of(key, value)
    if length >= UNDEFINED - 1:
        raise wrong(key, "has more bulk data than an element holds")
    padding = [b"\0" if vr in ("OB", "UN", "UI") else b" "] if length % 2 else []
    return [header(int(key, 16), vr, length + length % 2, FORM), *pieces, *padding]


def _has_references(value: dict[str, Any]) -> bool:
    return any(
        "BulkDataURI" in child or (child.get("vr") == "SQ" and _has_references(child))
        for item in value.get("Value") or ()
        for child in (item or {}).values()
    )


def _sequence(key: str, value: dict[str, Any], find: Find, codecs: tuple[str, ...]) -> list[Piece]:
    content: list[Piece] = []
    for item in value.get("Value") or ():
        inner = _dataset({name: child for name, child in (item or {}).items() if name != "00080005"}, find, None, codecs, "")
        content += [ITEM + _length(sum(map(size, inner)), key), *inner]
    return [header(int(key, 16), "SQ", int.from_bytes(_length(sum(map(size, content)), key), "little"), FORM), *content]


def _length(length: int, key: str) -> bytes:
    if length >= UNDEFINED:
        raise wrong(key, "has more bulk data than a sequence holds")
    return length.to_bytes(4, "little")


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Bytes that follow each other as one piece."""
    out: list[Piece] = []
    made: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, FileRange):
            out += [b"".join(made), piece] if made else [piece]
            made = []
        else:
            made.append(piece)
    return [*out, b"".join(made)] if made else out
