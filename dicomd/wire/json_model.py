"""DICOM JSON Model (PS3.18 Annex F) <-> attributes: what clients send is checked and put into the one form of the core."""

import json
import re
from base64 import b64decode
from binascii import Error as BinasciiError
from collections.abc import Callable, Iterable
from functools import lru_cache
from math import isfinite
from typing import Any

import orjson

from ..model.attributes import Attributes, person_name, values
from ..model.status import MalformedDataset
from .elements import MAX_DEPTH
from .values import FROM_BYTES
from .vrs import BINARY, KNOWN, dictionary_vr, settled_vr

_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_CONTENT = ("Value", "BulkDataURI", "InlineBinary")
_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_NOT_FINITE = {"nan": "nan", "infinity": "inf", "inf": "inf", "+infinity": "inf", "-infinity": "-inf", "-inf": "-inf"}
_RANGES = {
    "US": (0, 2**16 - 1),
    "SS": (-(2**15), 2**16 - 1),
    "UL": (0, 2**32 - 1),
    "SL": (-(2**31), 2**31 - 1),
    "UV": (0, 2**64 - 1),
    "SV": (-(2**63), 2**63 - 1),
}


def to_json(attributes: Iterable[Attributes]) -> bytes:
    """One array of data sets."""
    return orjson.dumps([declared_utf_8(item) for item in attributes])


def object_json(attributes: Attributes) -> bytes:
    """One data set as an object."""
    return orjson.dumps(declared_utf_8(attributes))


def declared_utf_8(attributes: Attributes) -> Attributes:
    """The same data set; a Specific Character Set it may have says what JSON and XML are written in: UTF-8."""
    declared = attributes.get("00080005")
    if not declared or declared.get("Value") in (None, [], ["ISO_IR 192"]):
        return attributes
    return {**attributes, "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]}}


def from_json(data: bytes) -> list[Attributes]:
    """The data sets of an array, or the single one of an object; raises `MalformedDataset` that names the attribute."""
    parsed = _parse(data)
    found = parsed if isinstance(parsed, list) else [parsed]
    return [checked(item) for item in found]


def _parse(data: bytes) -> Any:
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        problem = str(error)
    if b"NaN" in data or b"Infinity" in data:  # Python's own writer leaves them bare.
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            pass
    raise MalformedDataset(f"not JSON: {problem}")


def checked(item: Any, path: str = "", depth: int = 0) -> Attributes:
    """One data set of the JSON model with everything in its canonical form: keys, VRs, null for empty values."""
    if not isinstance(item, dict):
        raise MalformedDataset(f"{path or 'a data set'} is not an object")
    if depth > MAX_DEPTH:
        raise MalformedDataset(f"nested deeper than {MAX_DEPTH} sequences")
    attributes: Attributes = {}
    previous, ordered = "", True
    for key in sorted(item):
        name = _tag_key(key) if len(key) == 8 else None
        if name is None:
            raise MalformedDataset(f"{path}{key[:40]!r} is not a tag of 8 hexadecimal digits")
        if name:
            attributes[name] = _attribute(name, item[key], attributes, path, depth)
            previous, ordered = name, ordered and previous <= name
    return attributes if ordered else dict(sorted(attributes.items()))


@lru_cache(4096)
def _tag_key(key: str) -> str | None:
    """A tag as the core spells it; empty for a group length, which means nothing here; None when it is no tag."""
    if _TAG.fullmatch(key) is None:
        return None
    return "" if key.endswith("0000") else key.upper()


class _Refused(Exception):
    """What is wrong with one attribute."""


def _attribute(key: str, given: Any, before: Attributes, path: str, depth: int) -> dict[str, Any]:
    try:
        if not isinstance(given, dict):
            raise _Refused("is not an object with vr and Value")
        stated = given.get("vr")
        vr = stated if type(stated) is str and stated in KNOWN else _vr(key, given, before)
        content = _content(given)
        if not content:
            return {"vr": vr}
        if content != "Value":
            return {"vr": vr, content: _binary(content, given[content], vr)}
        if vr in BINARY:
            raise _Refused(f"is {vr} and cannot have Value, only InlineBinary or BulkDataURI")
        found = given["Value"] if isinstance(given["Value"], list) else [given["Value"]]
        if vr == "SQ":
            items = [checked(item or {}, f"{path}{key}/{number}/", depth + 1) for number, item in enumerate(found)]
            return {"vr": "SQ", "Value": items}
        convert = _CONVERTERS[vr]
        kept = [None if value is None or value == "" else convert(value, vr) for value in found]
    except _Refused as error:
        tag = int(key, 16)
        raise MalformedDataset(f"{path}({key[:4]},{key[4:]}) {error}", offending=(tag,)) from None
    return {"vr": vr} if kept == [None] else {"vr": vr, "Value": kept}


def _content(given: dict[str, Any]) -> str:
    """Which of the three holds the content of an attribute; empty when there is none."""
    found = ""
    for name in _CONTENT:
        if name in given and given[name] not in (None, "", []):
            if found:
                raise _Refused(f"has both {found} and {name}")
            found = name
    return found


def _vr(key: str, given: dict[str, Any], before: Attributes) -> str:
    """The VR as given, else from the dictionary; where that leaves a choice, as Pixel Representation says."""
    stated = given.get("vr")
    if stated is None or stated == "":
        creator = values(before, f"{key[:4]}00{key[4:6]}")
        known = dictionary_vr(int(key, 16), str(creator[0]) if creator else "")
        if known == "US or SS" and values(before, "00280103")[:1] in ([1], ["1"]):
            return "SS"
        if known == "UN" and "Value" in given and given["Value"]:
            raise _Refused("has no vr and is not in the dictionary")
        return "OW" if "OW" in known and "Value" not in given else settled_vr(known.replace(" or OW", ""))
    vr = str(stated).upper()
    if vr not in KNOWN:
        raise _Refused(f"has an unknown vr {str(stated)[:10]!r}")
    return vr


def _binary(name: str, content: Any, vr: str) -> str:
    if not isinstance(content, str):
        raise _Refused(f"has {name} that is not a string")
    if name == "BulkDataURI":
        if vr == "SQ":
            raise _Refused("is a sequence and cannot be bulk data")
        return content
    if vr not in BINARY:
        raise _Refused(f"is {vr} and cannot have InlineBinary")
    try:
        b64decode(content, validate=True)
    except (BinasciiError, ValueError):
        raise _Refused("has InlineBinary that is not base64") from None
    return content


def _text(value: Any, vr: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise _Refused(f"has a value that is not a string ({vr})")


def _name(value: Any, vr: str) -> dict[str, str] | None:
    if isinstance(value, str):
        return person_name(value)
    if not isinstance(value, dict) or not all(isinstance(group, str) for group in value.values() if group is not None):
        raise _Refused("has a value that is not an object of component groups (PN)")
    if unknown := [group for group in value if group not in _GROUPS]:
        raise _Refused(f"has an unknown component group {unknown[0][:20]!r} (PN)")
    return {group: value[group] for group in _GROUPS if value.get(group)} or None


def _tag(value: Any, vr: str) -> str:
    if not isinstance(value, str) or _TAG.fullmatch(value) is None:
        raise _Refused("has a value that is not a tag of 8 hexadecimal digits (AT)")
    return value.upper()


def _integer(value: Any, vr: str) -> int | str:
    number = _number(value, vr)
    if number != number // 1:
        raise _Refused(f"has a value that is not a whole number ({vr})")
    least, most = _RANGES[vr]
    if not least <= number <= most:
        raise _Refused(f"has a value out of range ({vr})")
    return int(number) if abs(number) < 2**53 else str(int(number))


def _number(value: Any, vr: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _Refused(f"has a value that is not a number ({vr})")
    try:
        if isinstance(value, str):
            value = int(value) if len(value) < 25 and value.strip().lstrip("+-").isdigit() else float(value)
    except ValueError:
        raise _Refused(f"has a value that is not a number ({vr})") from None
    if not isfinite(value):
        raise _Refused(f"has a value that is not finite ({vr})")
    return value


def _float(value: Any, vr: str) -> float | int:
    if isinstance(value, str) and value.strip().lower() in _NOT_FINITE:
        return float(_NOT_FINITE[value.strip().lower()])
    if isinstance(value, float) and not isfinite(value):
        return value
    number = _number(value, vr)
    if vr == "FL" and abs(number) > 3.4028235677973366e38:
        raise _Refused("has a value out of range (FL)")
    return number


def _numeric_string(value: Any, vr: str) -> int | float | str:
    """IS and DS: numbers, or strings that keep their form; a string that is a number becomes one, as from a file."""
    if isinstance(value, str):
        found = FROM_BYTES[vr](value.encode("latin_1", "replace"), ("",), "<")
        return found[0] if len(found) == 1 and found[0] is not None else value
    number = _number(value, vr)
    if vr == "IS" and number != number // 1:
        raise _Refused("has a value that is not a whole number (IS)")
    return number


_CONVERTERS: dict[str, Callable[[Any, str], Any]] = {
    **dict.fromkeys("AE AS CS DA DT LO LT SH ST TM UC UI UR UT".split(), _text),
    **dict.fromkeys(_RANGES, _integer),
    "FL": _float,
    "FD": _float,
    "DS": _numeric_string,
    "IS": _numeric_string,
    "PN": _name,
    "AT": _tag,
}
