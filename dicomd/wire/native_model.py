"""Native DICOM Model (PS3.19 A.1) <-> attributes: the same data sets as in the JSON model, written in XML (PS3.18 F.3)."""

import re
from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from lxml import etree

from ..model.attributes import Attributes
from ..model.status import MalformedDataset
from .elements import MAX_DEPTH
from .json_model import checked, declared_utf_8
from .values import decimal_string
from .vrs import keyword_of

NAMESPACE = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
_HEAD = f'<?xml version="1.0" encoding="UTF-8"?>\n<NativeDicomModel xmlns="{NAMESPACE}" xml:space="preserve">'
_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_COMPONENTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
_CAREFUL: dict[str, Any] = {"resolve_entities": False, "no_network": True, "load_dtd": False}
# The first element begins within so many bytes.
_PROLOGUE = 1 << 16
# What XML 1.0 cannot hold, not even as a reference
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_xml(attributes: Attributes) -> bytes:
    """One document."""
    out = [_HEAD]
    _write_dataset(out, declared_utf_8(attributes))
    out.append("</NativeDicomModel>")
    return "".join(out).encode("utf-8")


def _write_dataset(out: list[str], attributes: Attributes) -> None:
    for key in sorted(attributes):
        attribute = attributes[key]
        out.append(f"<DicomAttribute{_identity(key, attribute, attributes)}>")
        if "BulkDataURI" in attribute:
            out.append(f"<BulkData uri={quoteattr(_legal(attribute['BulkDataURI']))}/>")
        elif "InlineBinary" in attribute:
            out.append(f"<InlineBinary>{attribute['InlineBinary']}</InlineBinary>")
        for number, value in enumerate(attribute.get("Value") or (), 1):
            _write_value(out, number, value, attribute["vr"])
        out.append("</DicomAttribute>")


def _identity(key: str, attribute: dict[str, Any], attributes: Attributes) -> str:
    """The XML attributes that name it; a private one without its block, with its creator instead."""
    tag, creator = int(key, 16), ""
    if tag >> 16 & 1 and key[4:6] != "00":
        creator = str((attributes.get(f"{key[:4]}00{key[4:6]}", {}).get("Value") or [""])[0])
        key = f"{key[:4]}00{key[6:]}" if creator else key
    keyword = keyword_of(tag)
    named = f" keyword={quoteattr(keyword)}" if keyword else ""
    owner = f" privateCreator={quoteattr(_legal(creator))}" if creator else ""
    return f' tag="{key}" vr="{attribute["vr"]}"{named}{owner}'


def _write_value(out: list[str], number: int, value: Any, vr: str) -> None:
    if vr == "SQ":
        out.append(f'<Item number="{number}">')
        _write_dataset(out, value or {})
        out.append("</Item>")
    elif vr == "PN":
        out.append(f'<PersonName number="{number}">')
        for group in _GROUPS:
            if value and value.get(group):
                out.append(f"<{group}>{_components(value[group])}</{group}>")
        out.append("</PersonName>")
    else:
        out.append(f'<Value number="{number}">{_escaped(_text(value, vr))}</Value>')


def _components(group: str) -> str:
    names = zip(_COMPONENTS, group.split("^", 4), strict=False)
    return "".join([f"<{name}>{_escaped(part)}</{name}>" for name, part in names if part])


def _text(value: Any, vr: str) -> str:
    if value is None:
        return ""
    return decimal_string(value) if vr == "DS" and isinstance(value, float) else str(value)


def _escaped(text: str) -> str:
    """A carriage return as a reference: a reader would make a line feed of it (XML 2.11)."""
    return escape(_legal(text), {"\r": "&#13;"})


def _legal(text: str) -> str:
    return _ILLEGAL.sub("\ufffd", text)


def from_xml(data: bytes) -> Attributes:
    """The data set of one document, checked as JSON is; nothing outside the document is ever read."""
    try:
        _refuse_declarations(data)
        # Without declarations nothing expands, so values may be as long as they are: Inline Binary often is.
        root = etree.fromstring(data, etree.XMLParser(huge_tree=True, remove_comments=True, remove_pis=True, **_CAREFUL))
    except (etree.XMLSyntaxError, ValueError) as error:
        raise MalformedDataset(f"not XML: {str(error)[:120]}") from None
    if _local(root) != "NativeDicomModel":
        raise MalformedDataset(f"<{_local(root)[:40]}> in place of <NativeDicomModel>")
    return checked(_dataset(root, 0))


def _refuse_declarations(data: bytes) -> None:
    """Read up to the first element, within the parser's own limits; what could declare entities comes before it (XML 2.8)."""
    prologue = etree.XMLPullParser(events=("start",), huge_tree=False, **_CAREFUL)
    prologue.feed(data[:_PROLOGUE])
    _, root = next(iter(prologue.read_events()), (None, None))
    if root is None:
        raise MalformedDataset("not XML: there is no <NativeDicomModel> at its beginning")
    if root.getroottree().docinfo.doctype:
        raise MalformedDataset("a document type declaration is not allowed")


def _local(element: Any) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _dataset(parent: Any, depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise MalformedDataset(f"nested deeper than {MAX_DEPTH} sequences")
    found: dict[str, Any] = {}
    private: list[tuple[str, str, dict[str, Any]]] = []
    for element in _children(parent, "DicomAttribute"):
        names = {name.lower(): value for name, value in element.attrib.items()}
        key, creator = names.get("tag", "").upper(), names.get("privatecreator", "")
        attribute = {"vr": names.get("vr"), **_content(element, depth)}
        if creator and len(key) == 8:
            private.append((key, creator, attribute))
        elif key in found:
            raise MalformedDataset(f"{key} is there twice")
        else:
            found[key] = attribute
    for key, creator, attribute in private:
        found[f"{key[:4]}{_block(found, key, creator)}{key[6:]}"] = attribute
    return found


def _block(found: dict[str, Any], key: str, creator: str) -> str:
    """The block of a private creator (PS3.5 7.8.1), reserved where that has not been done."""
    free = ""
    for number in range(0x10, 0x100):
        owner = found.get(f"{key[:4]}00{number:02X}")
        if owner is None:
            free = free or f"{number:02X}"
        elif (owner.get("Value") or [""])[0] == creator:
            return f"{number:02X}"
    if key[4:6] != "00" and f"{key[:4]}00{key[4:6]}" not in found:
        free = key[4:6]
    found[f"{key[:4]}00{free}"] = {"vr": "LO", "Value": [creator]}
    return free


def _children(parent: Any, *names: str) -> Iterator[Any]:
    for child in parent:
        if _local(child) in names:
            yield child
        elif not isinstance(child.tag, str):
            raise MalformedDataset("entity references are not allowed")


def _content(element: Any, depth: int) -> dict[str, Any]:
    values: dict[int, Any] = {}
    content: dict[str, Any] = {}
    for child in _children(element, "Value", "Item", "PersonName", "BulkData", "InlineBinary"):
        name = _local(child)
        if name == "BulkData":
            content["BulkDataURI"] = child.get("uri") or child.get("URI") or ""
        elif name == "InlineBinary":
            content["InlineBinary"] = "".join((child.text or "").split())
        else:
            values[_number(child, len(values) + 1)] = _value(child, name, depth)
    if values:
        if max(values) > len(values) + 1024:
            raise MalformedDataset("values are not numbered one after another")
        content["Value"] = [values.get(number) for number in range(1, max(values) + 1)]
    return content


def _number(element: Any, default: int) -> int:
    stated = element.get("number") or element.get("Number")
    if stated is None:
        return default
    if not (stated.isascii() and stated.isdigit()) or not 0 < int(stated[:9]) < 10**8:
        raise MalformedDataset("a value with a number that is none")
    return int(stated[:9])


def _value(element: Any, name: str, depth: int) -> Any:
    if name == "Item":
        return _dataset(element, depth + 1)
    if name == "Value":
        return element.text
    groups = {}
    for group in _children(element, *_GROUPS):
        parts = {_local(part): part.text or "" for part in _children(group, *_COMPONENTS)}
        text = "^".join([parts.get(component, "") for component in _COMPONENTS]).rstrip("^")
        groups[_local(group)] = text or (group.text or "").strip()
    return groups
