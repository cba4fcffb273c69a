"""Two data sets in the JSON model compared by meaning: what pydicom makes of a file, and what this package does."""

import base64
import json
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom

from dicomd.model.attributes import Attributes
from dicomd.wire.values import swapped

PIXEL_DATA = ("7FE00008", "7FE00009", "7FE00010")
BULK = ("BulkData",)


def pydicom_json(path: Path) -> Attributes:
    """The whole file as pydicom gives it, binary values of more than 1024 bytes as references."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path, force=True)
        threshold = 1024 // 3 * 4 + 4
        made = dataset.to_json_dict(threshold, lambda element: "x", suppress_invalid_tags=True)
        if not dataset.is_little_endian:
            _swap(made)
        return json.loads(json.dumps(made))


def _swap(attributes: Attributes) -> None:
    """JSON holds words little endian (PS3.18 F.2.7); pydicom leaves them as they were."""
    for attribute in attributes.values():
        if attribute["vr"] == "OW" and "InlineBinary" in attribute:
            raw = swapped(base64.b64decode(attribute["InlineBinary"]), 2)
            attribute["InlineBinary"] = base64.b64encode(raw).decode()
        for item in attribute.get("Value") or () if attribute["vr"] == "SQ" else ():
            _swap(item)


def differences(ours: Attributes, theirs: Attributes, path: str = "") -> Iterator[str]:
    """What is not the same; values that pydicom refuses to give are not compared."""
    for key in sorted(set(ours) | set(theirs)):
        if key == "00080005" or key.startswith("0002") or key.endswith("0000"):
            continue
        if key not in theirs:
            if ours[key]["vr"] not in ("SQ", "UI", "IS", "DS", "SH", "LO", "PN", "CS", "DA", "TM", "DT", "AS"):
                yield f"{path}{key} is not in theirs"
            continue
        if key not in ours:
            yield f"{path}{key} is missing"
            continue
        yield from _different(ours[key], theirs[key], path + key)


def _different(ours: dict[str, Any], theirs: dict[str, Any], path: str) -> Iterator[str]:
    if ours["vr"] == theirs["vr"] == "SQ":
        mine, other = ours.get("Value") or [], theirs.get("Value") or []
        if len(mine) != len(other):
            yield f"{path} has {len(mine)} items, not {len(other)}"
        for number, (left, right) in enumerate(zip(mine, other, strict=False)):
            yield from differences(left, right, f"{path}/{number}/")
    elif meaning(ours, path[-8:]) != meaning(theirs, path[-8:]):
        yield f"{path} is {str(ours)[:100]}, not {str(theirs)[:100]}"


def meaning(attribute: dict[str, Any], key: str = "") -> Any:
    """VR and values, in one form for what can be written in several."""
    vr = attribute["vr"]
    if key in PIXEL_DATA or "BulkDataURI" in attribute:
        return (vr, BULK if len(attribute) > 1 else None)
    if "InlineBinary" in attribute:
        raw = base64.b64decode(attribute["InlineBinary"])
        return (vr, raw + b"\0" * (len(raw) % 2) or None)
    values = [_value(value, vr) for value in attribute.get("Value") or ()]
    return (vr, None if values in ([], [None]) else values)


def _value(value: Any, vr: str) -> Any:
    if isinstance(value, dict):
        return {group: text.strip(" ^") for group, text in value.items() if text.strip(" ^")} or None
    if isinstance(value, str) and vr in ("IS", "DS", "UV", "SV"):
        try:
            return float(value)
        except ValueError:
            pass
    if isinstance(value, str):
        return value.strip(" \0") or None
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return float(value) if isinstance(value, int) else value
