"""Identifiers of C-FIND responses as bytes, of which a server writes thousands alike (PS3.4 C.4.1.1.3.2)."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from attrs import frozen

from ..model.attributes import Attributes
from ..model.keys import BY_PATH
from .datasets import encode, head
from .elements import DEFLATED, Layout, layout_of
from .vrs import TEXT

Constants = tuple[tuple[str, str, str], ...]
_CHARACTER_SET = "00080005"
_GROUPS = 3


@frozen
class IdentifierWriter:
    """Writes in a transfer syntax, where possible in the character set that the request declared.

    `constants`: tag, VR and value of what every answer holds besides what was found.
    """

    transfer_syntax: str
    declared: str
    constants: Constants = ()

    def whole(self, answer: Attributes) -> bytes:
        """The identifier with these attributes."""
        answer.pop(_CHARACTER_SET, None)
        for tag, vr, value in self.constants:
            answer[tag] = {"vr": vr, "Value": [value]}
        return encode(answer, self.transfer_syntax, self.declared)

    def of_columns(self, tags: tuple[str, ...]) -> Callable[[Sequence[Any]], bytes]:
        """What makes an identifier of the values that the index's columns for these tags hold."""
        return _row_writer(self, tags)


@frozen
class _Element:
    """An element whose value changes; `before`: the bytes of those in front of it that never do."""

    before: bytes
    tag: str
    vr: str
    padding: bytes
    is_list: bool
    is_text: bool


@frozen
class _RowWriter:
    """Most values are ASCII text as it is; a row with anything else is written as attributes are."""

    writer: IdentifierWriter
    layout: Layout
    elements: tuple[_Element, ...]
    after: bytes

    def __call__(self, values: Sequence[Any]) -> bytes:
        layout = self.layout
        out: list[bytes] = []
        for element, value in zip(self.elements, values, strict=True):
            if value is None or value == "":
                out += (element.before, head(element.tag, element.vr, 0, layout))
                continue
            text = str(value)
            if element.is_list:
                text = text.strip("\\")
            if not text.isascii() or (element.is_text and ("\\" in text or "=" in text)):
                return self.as_attributes(values)
            raw = text.encode("ascii")
            if len(raw) % 2:
                raw += element.padding
            out += (element.before, head(element.tag, element.vr, len(raw), layout), raw)
        out.append(self.after)
        return b"".join(out)

    def as_attributes(self, values: Sequence[Any]) -> bytes:
        """Any row: names have their groups trimmed, and text is in the character set."""
        found: Attributes = {}
        for element, value in zip(self.elements, values, strict=True):
            text = "" if value is None else str(value)
            texts = (text.strip("\\") if element.is_list else text).split("\\") if text else []
            if element.vr == "PN":
                texts = ["=".join(text.split("=")[:_GROUPS]).rstrip("=") for text in texts]
            found[element.tag] = {"vr": element.vr, "Value": texts} if texts else {"vr": element.vr}
        return self.writer.whole(found)


@lru_cache(256)
def _row_writer(writer: IdentifierWriter, tags: tuple[str, ...]) -> Callable[[Sequence[Any]], bytes]:
    syntax = writer.transfer_syntax
    fixed = {tag: encode({tag: {"vr": vr, "Value": [value]}}, syntax, "") for tag, vr, value in writer.constants}
    fixed[_CHARACTER_SET] = encode({}, syntax, writer.declared)
    elements, before = [], b""
    for tag in sorted({*tags, *fixed}):
        if tag in fixed:
            before += fixed[tag]
        else:
            column = BY_PATH[(int(tag, 16),)]
            padding = b"\0" if column.vr == "UI" else b" "
            elements.append(_Element(before, tag, column.vr, padding, column.multiple, column.vr in TEXT))
            before = b""
    made = _RowWriter(writer, layout_of(syntax), tuple(elements), before)
    return made.as_attributes if syntax == DEFLATED else made
