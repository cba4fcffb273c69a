"""Header: typed access to the attributes of one data set or item (DICOM JSON model), with its bulk values.

Lenient: a value that is not what its VR says counts as absent. What cannot be left out is asked for with `required`.
"""

import base64
import binascii
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
from attrs import field, frozen

from ..model.status import Undecodable

Bytes = npt.NDArray[np.uint8]
Array = npt.NDArray[Any]
Attributes = Mapping[str, Mapping[str, Any]]
BulkReader = Callable[[str], bytes]


def no_bulk(uri: str) -> bytes:
    """For headers whose values are all inline."""
    raise Undecodable("a bulk value is not at hand")


@frozen(eq=False)
class Header:
    """Attributes with a way to read the values kept outside of them; bulk values are little endian."""

    attributes: Attributes
    bulk: BulkReader = field(default=no_bulk)

    def __contains__(self, tag: str) -> bool:
        element = self.attributes.get(tag)
        return element is not None and any(element.get(kind) for kind in ("Value", "InlineBinary", "BulkDataURI"))

    def values(self, tag: str) -> list[Any]:
        """All values of an attribute; empty when absent or not inline."""
        element = self.attributes.get(tag)
        values = element.get("Value") if element is not None else None
        return values if isinstance(values, list) else []

    def text(self, tag: str, default: str = "") -> str:
        """The first value as text without padding; of a person name its first group."""
        for value in self.values(tag)[:1]:
            if isinstance(value, Mapping):
                groups = (value.get(name) for name in ("Alphabetic", "Ideographic", "Phonetic"))
                return next((str(group) for group in groups if group), default)
            if value is not None:
                return str(value).strip(" \0") or default
        return default

    def texts(self, tag: str) -> list[str]:
        """All values as text."""
        return [str(value).strip(" \0") for value in self.values(tag) if value is not None]

    def numbers(self, tag: str) -> list[float]:
        """All values as finite numbers; empty when one of them is none."""
        found = [_number(value) for value in self.values(tag)]
        return [value for value in found if value is not None] if None not in found else []

    def number(self, tag: str) -> float | None:
        """The first value as a finite number."""
        values = self.values(tag)
        return _number(values[0]) if values else None

    def integer(self, tag: str, default: int = 0) -> int:
        """The first value as a whole number."""
        value = self.number(tag)
        return default if value is None else int(value)

    def required(self, tag: str, name: str, least: int, largest: int) -> int:
        """A whole number that must be there, within bounds; raises `Undecodable` that names it."""
        value = self.number(tag)
        if value is None or not least <= value <= largest or value != int(value):
            raise Undecodable(f"{name} is missing or out of range", offending=(int(tag, 16),))
        return int(value)

    def items(self, tag: str) -> list["Header"]:
        """The items of a sequence."""
        found = (opened(item) for item in self.values(tag))
        return [Header(item, self.bulk) for item in found if item is not None]

    def item(self, tag: str, index: int = 0) -> "Header | None":
        """One item of a sequence, by default the first."""
        values = self.values(tag)
        item = opened(values[index]) if index < len(values) else None
        return Header(item, self.bulk) if item is not None else None

    def data(self, tag: str) -> bytes:
        """The value field of a binary attribute, little endian; empty when absent."""
        element = self.attributes.get(tag) or {}
        if "InlineBinary" in element:
            try:
                return base64.b64decode(element["InlineBinary"], validate=True)
            except (binascii.Error, TypeError, ValueError):
                raise Undecodable("a binary value is not base64", offending=(int(tag, 16),)) from None
        if "BulkDataURI" in element:
            return self.bulk(element["BulkDataURI"])
        return b""

    def words(self, tag: str) -> npt.NDArray[np.uint16]:
        """The 16-bit words of an attribute of VR US, SS or OW (as LUT Data is)."""
        values = self.values(tag)
        if values:
            try:
                return (np.array(values, dtype=np.int64) & 0xFFFF).astype(np.uint16)
            except (TypeError, ValueError, OverflowError):
                return np.zeros(0, np.uint16)
        data = self.data(tag)
        return np.frombuffer(data, "<u2", count=len(data) // 2)


def opened(item: Any) -> Attributes | None:
    """An item of a sequence; those of long sequences are kept as JSON text and read one at a time."""
    if isinstance(item, orjson.Fragment):
        item = orjson.loads(orjson.dumps(item))
    return item if isinstance(item, Mapping) else None


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value
