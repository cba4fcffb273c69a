"""Scheduled procedure steps of the modality worklist: what an entry must hold (PS3.4 Table K.6-1), what is always returned.

An entry is one DICOM JSON Model object whose Scheduled Procedure Step Sequence has one item. Its identity is the Accession
Number with the Scheduled Procedure Step ID: the same pair again is the same step, updated.
"""

from collections.abc import Iterator
from enum import StrEnum
from uuid import NAMESPACE_OID, uuid5

from .attributes import Attributes, attribute, items, text, values
from .dictionary import vr_of
from .identifiers import is_uid
from .query import Fields
from .status import ServiceError, Status

SEQUENCE = "00400100"
STEP_STATUS = "00400020"


class ScheduledState(StrEnum):
    """Scheduled Procedure Step Status (0040,0020), PS3.3 C.4.10; the last three follow from the performed step."""

    SCHEDULED = "SCHEDULED"
    ARRIVED = "ARRIVED"
    READY = "READY"
    STARTED = "STARTED"
    DEPARTED = "DEPARTED"
    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"


# PS3.4 Table K.6-1, return key types. Type 1 rows that the server makes itself when they are missing are in `complete`.
_STEP_1 = ("00400001", "00400002", "00400003", "00080060", "00400009")
_STEP_2 = ("00400006", "00400010", "00400011")
_ENTRY_1 = ("00100010", "00100020")
_ENTRY_2 = (
    "00080050 00080090 00081110 00081120 00100030 00100040 00101030 00102000 00102110 001021C0 00321032 00380010 00380050 "
    "00380300 00380500 00401003 00401004 00403001"
).split()
# Returned with every match, whatever was asked (types 1 and 2).
ALWAYS_RETURNED: Fields = {
    **dict.fromkeys(sorted((*_ENTRY_1, *_ENTRY_2, "0020000D", "00401001"))),
    SEQUENCE: dict.fromkeys(sorted((*_STEP_1, *_STEP_2))),
}


def entries(attributes: Attributes) -> Iterator[Attributes]:
    """The entries in a data set as it came in, one for each item of its Scheduled Procedure Step Sequence, complete.

    Raises `ServiceError`: 0120 for a required attribute that is missing, 0121 for one without a value, 0106 for a bad UID.
    """
    steps = items(attributes, SEQUENCE)
    if not steps:
        raise _missing(attributes, SEQUENCE)
    for step in steps:
        yield _complete({**attributes, SEQUENCE: {"vr": "SQ", "Value": [step]}})


def identity(entry: Attributes) -> tuple[str, str]:
    """Accession Number and Scheduled Procedure Step ID."""
    return text(entry, "00080050"), text(step_of(entry), "00400009")


def step_of(entry: Attributes) -> Attributes:
    """The one item of the Scheduled Procedure Step Sequence."""
    return items(entry, SEQUENCE)[0]


def state_of(entry: Attributes) -> ScheduledState:
    """The step's status; SCHEDULED when it has none or one that the standard does not define."""
    try:
        return ScheduledState(text(step_of(entry), STEP_STATUS))
    except ValueError:
        return ScheduledState.SCHEDULED


def with_state(entry: Attributes, state: ScheduledState) -> Attributes:
    """The entry with another status of its step."""
    step = dict(sorted({**step_of(entry), STEP_STATUS: attribute("CS", str(state))}.items()))
    return {**entry, SEQUENCE: {"vr": "SQ", "Value": [step]}}


def _complete(entry: Attributes) -> Attributes:
    """Types 1 checked, types 2 present, Requested Procedure ID and Study Instance UID made where they are missing."""
    step = step_of(entry)
    for parent, tags in ((step, _STEP_1), (entry, _ENTRY_1)):
        for tag in tags:
            if not any(value not in (None, "") for value in values(parent, tag)):
                raise _missing(parent, tag)
    for tag in _STEP_2:
        step.setdefault(tag, {"vr": vr_of(tag)})
    for tag in _ENTRY_2:
        entry.setdefault(tag, {"vr": vr_of(tag)})
    if not text(entry, "00401001"):
        entry["00401001"] = attribute("SH", text(step, "00400009"))
    if not text(entry, "0020000D"):
        entry["0020000D"] = attribute("UI", _study_instance_uid(entry))
    elif not is_uid(text(entry, "0020000D")):
        raise ServiceError("(0020,000D): expected a UID", Status.INVALID_ATTRIBUTE_VALUE, offending=(0x0020000D,))
    entry[SEQUENCE] = {"vr": "SQ", "Value": [dict(sorted(step.items()))]}
    return with_state(dict(sorted(entry.items())), state_of(entry))


def _study_instance_uid(entry: Attributes) -> str:
    """The same for all steps of one requested procedure, also after it was sent again (PS3.5 B.2)."""
    names = (text(entry, tag) for tag in ("00100020", "00100021", "00080050", "00401001"))
    return f"2.25.{uuid5(NAMESPACE_OID, '/'.join(names)).int}"


def _missing(parent: Attributes, tag: str) -> ServiceError:
    status = Status.MISSING_ATTRIBUTE_VALUE if tag in parent else Status.MISSING_ATTRIBUTE
    return ServiceError(f"({tag[:4]},{tag[4:]}) needs a value", status, offending=(int(tag, 16),))
