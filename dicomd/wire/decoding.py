"""Reading an encoded data set into the JSON model, either wholly inline or with references for bulk data (PS3.5 7, PS3.18 F).

One pass over the bytes; a value that becomes a reference is never touched.
"""

from typing import Any

import orjson
from attrs import define, field, frozen

from ..model.attributes import Attributes
from ..model.status import MalformedDataset
from .character_sets import codecs_of
from .elements import (
    ITEM,
    ITEM_END,
    SEQUENCE_END,
    UNDEFINED,
    Buffer,
    Layout,
    check_depth,
    check_stray,
    element_at,
    name_of,
    skip_items,
    value_layout,
)
from .values import from_bytes
from .vrs import BINARY, REFERABLE, STANDARD, dictionary_vr, settled_vr

PIXEL_DATA = frozenset((0x7FE00008, 0x7FE00009, 0x7FE00010))
_CHARACTER_SET = 0x00080005
# Numbers and text stay inline up to this many times the threshold: viewers read them from the metadata.
_LONG_TEXT_FACTOR = 256
# Items of a longer sequence are serialised one by one, so that a hundred thousand of them need little memory.
_MANY_ITEMS = 32

Codecs = tuple[str, ...]


@frozen
class BulkData:
    """Where a value lies in the file. `encapsulated`: it is a sequence of fragments (PS3.5 A.4), from the offset table on."""

    vr: str
    offset: int
    length: int
    encapsulated: bool = False


@frozen
class References:
    """What becomes a reference, and where to: `resource` is the URL of the instance."""

    resource: str
    threshold: int
    found: dict[str, BulkData] = field(factory=dict)


@frozen
class _Deferred:
    """An element whose VR depends on others that may follow (PS3.5 Annex A, PS3.6 notes)."""

    chain: tuple[Attributes, ...]
    key: str
    tag: int
    vr: str
    offset: int
    length: int
    path: str
    codecs: Codecs


@define(eq=False)
class Decoder:
    """Reads one data set; `references` None: everything inline."""

    data: Buffer
    form: Layout
    references: References | None = None
    _deferred: list[_Deferred] = field(init=False, factory=list)

    def decode(self, position: int, end: int) -> Attributes:
        """The elements between `position` and `end`."""
        attributes, _ = self._read(position, end, self.form, ("",), (), "", closed=False)
        self._settle()
        return attributes

    def _read(
        self, position: int, end: int, form: Layout, codecs: Codecs, chain: tuple[Attributes, ...], path: str, *, closed: bool
    ) -> tuple[Attributes, int]:
        """One data set, and the position behind it; `closed`: it ends at an item delimiter, not at `end`."""
        attributes: Attributes = {}
        chain, previous, ordered = (attributes, *chain), -1, True
        data, order, references = self.data, form.order, self.references
        while position < end:
            tag, vr, offset, length = element_at(data, position, end, form)
            if tag & 0xFFFF == 0 or tag >= 0xFFFEE000 or tag >> 16 == 2 or tag < 0x10000:
                if tag == ITEM_END and closed:
                    return _sorted(attributes, ordered), offset
                position = self._skip(tag, vr, offset, length, end, form)
                if tag == 0:
                    break
                continue
            ordered, previous = ordered and tag > previous, tag
            entry = STANDARD.get(tag)
            key = entry[0] if entry else f"{tag:08X}"
            if not vr and entry and length != UNDEFINED:
                vr = entry[1] if " " in entry[1] else settled_vr(entry[1])
            elif not vr or vr == "UN":
                vr = _resolve(data, tag, vr, offset, length, entry[1] if entry else _private(attributes, tag, key))
            if vr == "SQ" or length == UNDEFINED:
                inner = self._inner(offset, form, position)
                attributes[key], position = self._compound(tag, vr, offset, length, end, inner, codecs, chain, path + key)
                continue
            position = offset + length
            if not length and " " not in vr and tag != _CHARACTER_SET:
                attributes[key] = {"vr": vr}
            elif " " in vr:
                attributes[key] = {"vr": settled_vr(vr)}
                self._deferred.append(_Deferred(chain, key, tag, vr, offset, length, path, codecs))
            elif references is not None and _is_reference(references, tag, vr, length):
                attributes[key] = self._refer(path + key, BulkData(vr, offset, length))
            else:
                attributes[key] = attribute = from_bytes(bytes(data[offset:position]), vr, codecs, order, tag)
                if tag == _CHARACTER_SET:
                    codecs = codecs_of([value or "" for value in attribute.get("Value") or [""]])
                elif references is not None and (vr == "FD" or vr == "FL") and not _all_finite(attribute):
                    attributes[key] = self._refer(path + key, BulkData(vr, offset, length))
        if closed:
            raise MalformedDataset("an item is not closed by a delimiter")
        return _sorted(attributes, ordered), position

    def _skip(self, tag: int, vr: str, offset: int, length: int, end: int, form: Layout) -> int:
        """The position behind an element that is no attribute: group lengths, delimiters, padding, groups 0000 and 0002."""
        if tag in (ITEM, ITEM_END, SEQUENCE_END, 0):
            check_stray(self.data, tag, offset, length, end)
        if length == UNDEFINED:
            return skip_items(self.data, offset, end, value_layout(self.data, offset, vr, form), tag)
        return offset + length

    def _inner(self, offset: int, form: Layout, position: int) -> Layout:
        """The layout inside a sequence; one that was declared UN is implicit (PS3.5 6.2.2)."""
        if form.explicit and bytes(self.data[position + 4 : position + 6]) == b"UN":
            return value_layout(self.data, offset, "UN", form)
        return form

    def _compound(
        self,
        tag: int,
        vr: str,
        offset: int,
        length: int,
        end: int,
        form: Layout,
        codecs: Codecs,
        chain: tuple[Attributes, ...],
        path: str,
    ) -> tuple[dict[str, Any], int]:
        """A sequence, or a value of undefined length that is fragments; and the position behind it."""
        if vr == "SQ":
            stop = end if length == UNDEFINED else offset + length
            items, position = self._items(tag, offset, stop, form, codecs, chain, path, closed=length == UNDEFINED)
            return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}, position
        position = skip_items(self.data, offset, end, form, tag)
        if self.references is None:
            raise MalformedDataset(f"{name_of(tag)} of undefined length cannot be given inline", offending=(tag,))
        return self._refer(path, BulkData(settled_vr(vr), offset, position - offset - 8, encapsulated=True)), position

    def _items(
        self,
        tag: int,
        position: int,
        end: int,
        form: Layout,
        codecs: Codecs,
        chain: tuple[Attributes, ...],
        path: str,
        *,
        closed: bool,
    ) -> tuple[list[Any], int]:
        items: list[Any] = []
        depth = len(chain)
        check_depth(depth, tag)
        while position < end:
            if end - position < 8:
                raise MalformedDataset(f"{name_of(tag)} ends inside an item", offending=(tag,))
            group, element, length = form.read_implicit(self.data, position)
            mark, position = group << 16 | element, position + 8
            if mark == SEQUENCE_END and length == 0:
                if closed:
                    return items, position
                continue
            if mark != ITEM or (length != UNDEFINED and length > end - position):
                raise MalformedDataset(f"{name_of(tag)} holds {name_of(mark)} in place of an item", offending=(tag,))
            stop = end if length == UNDEFINED else position + length
            item, position = self._read(position, stop, form, codecs, chain, f"{path}/{len(items)}/", closed=length == UNDEFINED)
            items.append(item)
            if depth == 1 and len(items) > _MANY_ITEMS and self.references is not None:
                items[-1] = self._serialised(item)
        if closed:
            raise MalformedDataset(f"{name_of(tag)} is not closed by a delimiter", offending=(tag,))
        return items, position

    def _serialised(self, item: Attributes) -> Any:
        self._settle()
        return orjson.Fragment(orjson.dumps(item))

    def _refer(self, path: str, bulk: BulkData) -> dict[str, Any]:
        assert self.references is not None
        self.references.found[path] = bulk
        return {"vr": bulk.vr, "BulkDataURI": f"{self.references.resource}/bulkdata/{path}"}

    def _settle(self) -> None:
        """Decide the VRs that depend on Pixel Representation or a LUT descriptor, nearest data set first."""
        deferred, self._deferred = self._deferred, []
        for element in deferred:
            vr = _chosen(element, self.form)
            attributes = element.chain[0]
            if self.references is not None and _is_reference(self.references, element.tag, vr, element.length):
                attribute = self._refer(element.path + element.key, BulkData(vr, element.offset, element.length))
            else:
                raw = bytes(self.data[element.offset : element.offset + element.length])
                attribute = from_bytes(raw, vr, element.codecs, self.form.order, element.tag)
            attributes[element.key].update(attribute)


def _chosen(element: _Deferred, form: Layout) -> str:
    if element.vr == "US or SS":
        signed = next((attributes["00280103"].get("Value") for attributes in element.chain if "00280103" in attributes), None)
        return "SS" if signed and signed[0] == 1 else "US"
    if element.vr == "US or OW" and element.tag == 0x00283006:
        descriptor = element.chain[0].get("00283002", {}).get("Value") or [0]
        return "US" if descriptor[0] == 1 else "OW"
    return settled_vr(element.vr)


def _is_reference(references: References, tag: int, vr: str, length: int) -> bool:
    if length <= references.threshold:
        return tag in PIXEL_DATA
    return vr in BINARY or (vr in REFERABLE and length > references.threshold * _LONG_TEXT_FACTOR)


def _all_finite(attribute: dict[str, Any]) -> bool:
    """JSON has no NaN and no infinity."""
    return all(value - value == 0 for value in attribute.get("Value") or ())


def _private(attributes: Attributes, tag: int, key: str) -> str:
    """The VR of a tag that PS3.6 does not list, by its private creator."""
    if not tag >> 16 & 1:
        return dictionary_vr(tag)
    creator = attributes.get(f"{key[:4]}00{key[4:6]}", {}).get("Value")
    return dictionary_vr(tag, str(creator[0]) if creator else "")


def _resolve(data: Buffer, tag: int, vr: str, offset: int, length: int, known: str) -> str:
    """The VR of an element that came without one, or as UN though the dictionary knows better (PS3.5 6.2.2, note)."""
    if length == UNDEFINED:
        if vr == "UN" or known == "SQ":
            return "SQ"
        if tag in PIXEL_DATA:
            return "OB"
        return "SQ" if bytes(data[offset : offset + 4]) in (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00") else known
    if vr == "UN" and length >= 0xFFFF:
        return "UN"
    return known if " " in known else settled_vr(known)


def _sorted(attributes: Attributes, ordered: bool) -> Attributes:
    return attributes if ordered else dict(sorted(attributes.items()))
