"""Scheduled procedure steps of the modality worklist: what an entry must hold (PS3.4 Table K.6-1), what is always returned.

An entry is one DICOM JSON Model object whose Scheduled Procedure Step Sequence has one item. Its identity is the Accession
Number with the Scheduled Procedure Step ID: the same pair again is the same step, updated. Orders without an Accession Number,
which may be empty (type 2), are told apart by their Study Instance UID.
"""

import re
from collections.abc import Iterator
from enum import StrEnum
from uuid import NAMESPACE_OID, uuid5

from attrs import frozen

from . import times
from .attributes import Attributes, attribute, items, plain, text, values
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
_STEP_CONDITIONAL = ("00321070", "00400007", "00400008", "00400012")
_ENTRY_1 = ("00100010", "00100020")
_ENTRY_2 = (
    "00080050 00080090 00081110 00081120 00100030 00100040 00101030 00102000 00102110 001021C0 00321032 00380010 00380050 "
    "00380300 00380500 00401003 00401004 00403001"
).split()
_ENTRY_CONDITIONAL = ("00321060", "00321064")
# Returned with every match, whatever was asked: types 1 and 2, and types 1C and 2C where the entry has them.
ALWAYS_RETURNED: Fields = {
    **dict.fromkeys(sorted((*_ENTRY_1, *_ENTRY_2, *_ENTRY_CONDITIONAL, "0020000D", "00401001"))),
    SEQUENCE: dict.fromkeys(sorted((*_STEP_1, *_STEP_2, *_STEP_CONDITIONAL))),
}
# The same as paths
KEYS: tuple[tuple[str, ...], ...] = tuple(
    path for tag, inner in ALWAYS_RETURNED.items() for path in ([(tag, each) for each in inner] if inner else [(tag,)])
)
# By these an entry is found; each has one value. (Scheduled Station AE Title may have several.)
_STEP_SINGLE = ("00080060", "00400002", "00400003", "00400006", "00400009")
_ENTRY_SINGLE = ("00080050", "00100010", "00100020", "0020000D", "00401001")
_UNFINDABLE = re.compile(r"[\x00-\x1f\x7f\\]")


@frozen
class Order:
    """What another system says of one scheduled step: enter it, or (`remove`) take it from the worklist."""

    remove: bool
    attributes: Attributes


@frozen
class StepIdentity:
    """How a scheduled step is named from outside: by Accession Number, or Study Instance UID, with its ID."""

    accession_number: str
    study_instance_uid: str
    step_id: str


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
    """What an entry is kept under: Accession Number, or Study Instance UID without one, and Scheduled Procedure Step ID."""
    return text(entry, "00080050") or text(entry, "0020000D"), text(step_of(entry), "00400009")


def named(entry: Attributes) -> StepIdentity:
    """The names of an entry."""
    return StepIdentity(text(entry, "00080050"), text(entry, "0020000D"), text(step_of(entry), "00400009"))


def start_date(entry: Attributes) -> str:
    """The day on which the step is to start, as YYYYMMDD."""
    return times.read_date(text(step_of(entry), "00400002"))


def check_removal(order: Order) -> None:
    """Raises `ServiceError` (0120) for an order to remove a step that does not say which, and whose."""
    if order.remove and not text(step_of(order.attributes), "00400009"):
        raise _missing(step_of(order.attributes), "00400009")
    if order.remove and not any(text(order.attributes, tag) for tag in ("00080050", "0020000D", "00100020")):
        raise _missing(order.attributes, "00080050")


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
    for parent, tags in ((step, (*_STEP_1, *_STEP_2, *_STEP_CONDITIONAL)), (entry, tuple(ALWAYS_RETURNED))):
        _refuse_mistyped(parent, tags)
    for parent, tags in ((step, _STEP_1), (entry, _ENTRY_1)):
        for tag in tags:
            if not any(plain(value) for value in values(parent, tag)):
                raise _missing(parent, tag)
    for parent, tags in ((step, _STEP_SINGLE), (entry, _ENTRY_SINGLE)):
        _refuse_unfindable(parent, tags)
    _refuse_unfindable(step, ("00400001",), single=False)
    for tag in _STEP_2:
        step.setdefault(tag, {"vr": vr_of(tag)})
    for tag in _ENTRY_2:
        entry.setdefault(tag, {"vr": vr_of(tag)})
    if not text(entry, "00401001"):
        entry["00401001"] = attribute("SH", text(step, "00400009"))
    if not text(entry, "0020000D"):
        entry["0020000D"] = attribute("UI", _study_instance_uid(entry))
    elif not is_uid(text(entry, "0020000D")):
        raise _invalid("0020000D", "a UID")
    entry[SEQUENCE] = {"vr": "SQ", "Value": [dict(sorted(step.items()))]}
    return with_state(dict(sorted(entry.items())), state_of(entry))


def _refuse_mistyped(parent: Attributes, tags: tuple[str, ...]) -> None:
    for tag in tags:
        if tag in parent and parent[tag].get("vr") != vr_of(tag):
            if len(parent[tag]) > 1:
                raise _invalid(tag, f"the VR {vr_of(tag)}")
            parent[tag] = {"vr": vr_of(tag)}


def _refuse_unfindable(parent: Attributes, tags: tuple[str, ...], *, single: bool = True) -> None:
    """What entries are found by has one value each, of its VR: a step that no query can reach helps nobody."""
    for tag in tags:
        given = [plain(value) for value in values(parent, tag)]
        if single and len(given) > 1:
            raise _invalid(tag, "one value")
        if any(_UNFINDABLE.search(value) for value in given):
            raise _invalid(tag, "a value without control characters and backslash")
    for tag, read in (("00400002", times.read_date), ("00400003", times.read_time)):
        if tag in tags:
            try:
                read(text(parent, tag))
            except ValueError:
                raise _invalid(tag, f"a {vr_of(tag)}") from None


def _study_instance_uid(entry: Attributes) -> str:
    """The same for all steps of one requested procedure, also after it was sent again (PS3.5 B.2)."""
    names = (text(entry, tag) for tag in ("00100020", "00100021", "00080050", "00401001"))
    return f"2.25.{uuid5(NAMESPACE_OID, '/'.join(names)).int}"


def _invalid(tag: str, expected: str) -> ServiceError:
    return ServiceError(f"({tag[:4]},{tag[4:]}): expected {expected}", Status.INVALID_ATTRIBUTE_VALUE, offending=(int(tag, 16),))


def _missing(parent: Attributes, tag: str) -> ServiceError:
    status = Status.MISSING_ATTRIBUTE_VALUE if tag in parent else Status.MISSING_ATTRIBUTE
    return ServiceError(f"({tag[:4]},{tag[4:]}) needs a value", status, offending=(int(tag, 16),))
