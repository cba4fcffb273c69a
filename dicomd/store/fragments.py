"""Ready DICOM JSON of the attributes that a search returns by default: made once when a row is written.

A fragment is the members of a JSON object without its braces, so that a search joins fragments and computed attributes.
What the standard always returns is there even when empty (PS3.18 Tables 10.6.3-3 to 10.6.3-5); the rest when it has a value.
"""

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

import orjson

from ..model.keys import COLUMNS, Column, Level
from .schema import is_number

# Always returned, even when empty.
_ALWAYS = frozenset(
    (
        "study_date study_time accession_number referring_physician_name study_instance_uid study_id "
        "patient_name patient_id patient_birth_date patient_sex modality series_instance_uid series_number "
        "sop_class_uid sop_instance_uid instance_number"
    ).split()
)
_REQUEST_ATTRIBUTES = "00400275"
_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


def _plain(*levels: Level) -> tuple[tuple[str, str, str, bool, bool], ...]:
    chosen = sorted((c for c in COLUMNS if c.level in levels and not c.multiple and _is_static(c)), key=lambda c: c.path)
    return tuple((c.name, f"{c.path[0]:08X}", c.vr, is_number(c), c.name in _ALWAYS) for c in chosen)


def _is_static(column: Column) -> bool:
    return not column.computed or column.name == "transfer_syntax_uid"


_STUDY, _SERIES, _IMAGE = _plain(Level.PATIENT, Level.STUDY), _plain(Level.SERIES), _plain(Level.IMAGE)


def study(values: Mapping[str, Any]) -> str:
    """Patient and study attributes."""
    return _members(_attributes(_STUDY, values))


def series(values: Mapping[str, Any]) -> str:
    """Series attributes, with the Request Attributes Sequence."""
    attributes = _attributes(_SERIES, values)
    requests = _requests(values["scheduled_step_id"], values["requested_procedure_id"])
    if requests:
        attributes[_REQUEST_ATTRIBUTES] = {"vr": "SQ", "Value": requests}
    return _members(attributes)


def instance(values: Mapping[str, Any]) -> str:
    """Instance attributes."""
    return _members(_attributes(_IMAGE, values))


def _attributes(columns: tuple[tuple[str, str, str, bool, bool], ...], values: Mapping[str, Any]) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    for name, tag, vr, number, always in columns:
        value = values[name]
        if value is None or value == "":
            if always:
                attributes[tag] = {"vr": vr}
        elif number:
            attributes[tag] = {"vr": vr, "Value": [value]}
        else:
            attributes[tag] = {"vr": vr, "Value": _texts(vr, value)}
    return attributes


def _texts(vr: str, value: str) -> list[Any]:
    parts: list[Any] = value.split("\\") if "\\" in value else [value]
    if vr == "PN":
        return [person_name(part) for part in parts]
    return [part or None for part in parts]


def person_name(name: str) -> dict[str, str]:
    """A person name with its component groups (PS3.18 F.2.2)."""
    return {group: part for group, part in zip(_GROUPS, name.split("="), strict=False) if part}


def _requests(steps: str, procedures: str) -> list[dict[str, Any]]:
    pairs = zip_longest(steps.strip("\\").split("\\"), procedures.strip("\\").split("\\"), fillvalue="")
    return [{"00400009": _short(step), "00401001": _short(procedure)} for step, procedure in pairs if step or procedure]


def _short(text: str) -> dict[str, Any]:
    return {"vr": "SH", "Value": [text]} if text else {"vr": "SH"}


def _members(attributes: dict[str, Any]) -> str:
    return orjson.dumps(attributes)[1:-1].decode()
