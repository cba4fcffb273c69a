"""Modality Performed Procedure Step: its states and the requirements of PS3.4 Table F.7.2-1, as data, and their checks.

The checks take and give DICOM JSON Model objects; a refusal is a `ServiceError` with the status of PS3.4 F.7.2.
"""

from collections.abc import Callable, Iterator
from enum import StrEnum

from attrs import frozen

from . import times
from .attributes import Attributes, items, plain, text, values
from .dictionary import vr_of
from .identifiers import is_uid
from .status import ServiceError, Status


class PerformedState(StrEnum):
    """Performed Procedure Step Status (0040,0252), PS3.4 F.7.1.3."""

    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"

    @property
    def is_final(self) -> bool:
        """Nothing changes after COMPLETED or DISCONTINUED."""
        return self is not PerformedState.IN_PROGRESS


STATUS = "00400252"
SCHEDULED_STEP_ATTRIBUTES = "00400270"
PERFORMED_SERIES = "00400340"


@frozen
class Requirement:
    """One row: where the attribute stands, its type for the SCP at creation and at N-SET ("" where N-SET may not name it).

    `final`: a value is needed when the step becomes COMPLETED or DISCONTINUED.
    """

    path: tuple[str, ...]
    create: str
    set: str
    final: bool = False


def _rows(parent: tuple[str, ...], create: str, set_: str, tags: str, *, final: bool = False) -> Iterator[Requirement]:
    for tag in tags.split():
        yield Requirement((*parent, tag), create, set_, final)


def _table() -> Iterator[Requirement]:
    step, series = (SCHEDULED_STEP_ATTRIBUTES,), (PERFORMED_SERIES,)
    yield from _rows((), "1", "", SCHEDULED_STEP_ATTRIBUTES)
    yield from _rows(step, "1", "", "0020000D")
    yield from _rows(step, "2", "", "00081110 00080050 00401001 00321060 00400009 00400007 00400008")
    yield from _rows(step, "3", "", "00080051 00402016 00400026 00402017 00400027 00321064")
    yield from _rows((*step, "00081110"), "1", "", "00081150 00081155")
    yield from _rows((), "2", "", "00100010 00100020 00100030 00100040 00081120")
    yield from _rows(("00081120",), "1", "", "00081150 00081155")
    yield from _rows((), "3", "", "00100021 00100024 00101002 00380010 00380014 00380060 00380064 00380062")
    yield from _rows((), "1", "", "00400253 00400241 00400244 00400245 00080060")
    yield from _rows((), "2", "", "00400242 00400243 00200010")
    yield from _rows((), "1", "1", STATUS)
    yield from _rows((), "2", "2", "00400254 00400255 00081032 00400260")
    yield from _rows((), "2", "1", "00400250 00400251", final=True)
    yield from _rows((), "3", "3", "00401012 00400280 00400281")
    yield from _rows((), "2", "1", PERFORMED_SERIES, final=True)
    yield from _rows(series, "1", "1", "00181030 0020000E", final=True)
    yield from _rows(series, "2", "2", "00081050 00081070 0008103E 00080054 00081140 00400220")
    yield from _rows((*series, "00081140"), "1", "1", "00081150 00081155")
    yield from _rows((*series, "00400220"), "1", "1", "00081150 00081155")


_TIMES: dict[str, Callable[[str], str]] = {
    **dict.fromkeys(("00400244", "00400250"), times.read_date),
    **dict.fromkeys(("00400245", "00400251"), times.read_time),
}
REQUIREMENTS: tuple[Requirement, ...] = tuple(_table())
_BY_PATH = {row.path: row for row in REQUIREMENTS}
# Where attributes stand -> tag -> VR
_TYPES: dict[tuple[str, ...], dict[str, str]] = {}
for _row in REQUIREMENTS:
    _TYPES.setdefault(_row.path[:-1], {})[_row.path[-1]] = vr_of(_row.path[-1])


def check_creation(attributes: Attributes, *, lenient: bool = False) -> Attributes:
    """The step to keep for an N-CREATE with these attributes.

    Raises 0106 unless the status is IN PROGRESS, 0120 for required attributes that are missing, 0121 for type 1 attributes
    without a value. Leniently, missing type 2 attributes are added empty instead of refused.
    """
    state = text(attributes, STATUS)
    if state and state != PerformedState.IN_PROGRESS:
        raise _invalid(attributes, STATUS, "IN PROGRESS at creation")
    _refuse_mistyped(attributes)
    step = _fill(attributes, ()) if lenient else dict(attributes)
    _refuse([row for row in REQUIREMENTS if row.create == "1"], [row for row in REQUIREMENTS if row.create in "12"], step)
    return step


def check_update(held: Attributes, changes: Attributes, *, lenient: bool = False) -> Attributes:
    """The step after an N-SET with `changes`; sequences are replaced whole (PS3.4 F.7.2.2).

    Raises 0110 with Error ID A710 once the step is final, 0105 for attributes that were not created, 0106 for attributes
    that may not be changed, bad status values and unmet final requirements, 0121 for type 1 attributes without a value.
    Leniently, attributes that were not created are added.
    """
    if PerformedState(text(held, STATUS)).is_final:
        raise ServiceError(
            "Performed Procedure Step Object may no longer be updated",
            Status.PROCESSING_FAILURE,
            detail={"error_id": int(Status.MAY_NO_LONGER_BE_UPDATED)},
        )
    changes = {tag: value for tag, value in changes.items() if tag not in ("00080005", "00080016", "00080018")}
    _refuse_untouchable(held, changes, lenient)
    _refuse_mistyped(changes)
    _refuse_empty(changes)
    step = {**held, **changes}
    if _state(step, changes).is_final:
        _refuse_unfinished(step)
    return dict(sorted(step.items()))


def _state(step: Attributes, changes: Attributes) -> PerformedState:
    try:
        return PerformedState(text(step, STATUS))
    except ValueError:
        raise _invalid(changes, STATUS, "IN PROGRESS, COMPLETED or DISCONTINUED") from None


def _refuse_untouchable(held: Attributes, changes: Attributes, lenient: bool) -> None:
    for tag in changes:
        row = _BY_PATH.get((tag,))
        if row is not None and not row.set:
            raise _invalid(changes, tag, "an attribute that N-SET may change")
    unknown = [] if lenient else [tag for tag in changes if tag not in held]
    if unknown:
        raise _listed("was not created and cannot be set", Status.NO_SUCH_ATTRIBUTE, unknown)


def _refuse_mistyped(attributes: Attributes) -> None:
    """0106 for attributes of the table that are of another VR, for UIDs that are none, and starts and ends that are no time."""
    for place, tags in _TYPES.items():
        for parent in parents(attributes, (*place, "")):
            for tag in parent.keys() & tags.keys():
                content, vr = parent[tag], tags[tag]
                given = values(parent, tag) if vr in ("UI", "DA", "TM") else ()
                if (content.get("vr") != vr and len(content) > 1) or not all(_fits(tag, plain(value)) for value in given):
                    raise _invalid({} if place else parent, tag, f"a {vr}")


def _fits(tag: str, value: str) -> bool:
    if not value:
        return True
    if vr_of(tag) == "UI":
        return is_uid(value)
    try:
        _TIMES.get(tag, str)(value)
    except ValueError:
        return False
    return True


def _refuse_empty(changes: Attributes) -> None:
    rows = [row for row in REQUIREMENTS if row.path[0] in changes]
    _refuse([row for row in rows if row.set == "1"], [row for row in rows if row.set and len(row.path) > 1], changes)


def _refuse_unfinished(step: Attributes) -> None:
    for row in REQUIREMENTS:
        if row.final and (lacking := [parent for parent in parents(step, row.path) if not values(parent, row.path[-1])]):
            raise _invalid(lacking[0], row.path[-1], "a value in the final state")


def _refuse(valued: list[Requirement], present: list[Requirement], attributes: Attributes) -> None:
    """Raise for attributes of `present` that are missing, then for those of `valued` that are empty."""
    if missing := [
        row.path[-1] for row in present if any(row.path[-1] not in parent for parent in parents(attributes, row.path))
    ]:
        raise _listed("is required and missing", Status.MISSING_ATTRIBUTE, missing)
    for row in valued:
        if any(
            not any(value not in (None, "") for value in values(parent, row.path[-1])) for parent in parents(attributes, row.path)
        ):
            raise ServiceError(
                f"({row.path[-1][:4]},{row.path[-1][4:]}) needs a value",
                Status.MISSING_ATTRIBUTE_VALUE,
                offending=(int(row.path[-1], 16),),
                detail={"attributes": {row.path[-1]: attributes.get(row.path[-1], {"vr": "UN"})} if len(row.path) == 1 else {}},
            )


def parents(attributes: Attributes, path: tuple[str, ...]) -> list[Attributes]:
    """The data sets in which the last attribute of `path` stands: the step itself or the items of its sequences."""
    found = [attributes]
    for tag in path[:-1]:
        found = [item for parent in found for item in items(parent, tag)]
    return found


def _fill(attributes: Attributes, at: tuple[str, ...]) -> Attributes:
    filled = dict(attributes)
    for row in REQUIREMENTS:
        if row.path[:-1] != at:
            continue
        tag = row.path[-1]
        if row.create == "2" and tag not in filled:
            filled[tag] = {"vr": vr_of(tag)}
        if items(filled, tag):
            filled[tag] = {"vr": "SQ", "Value": [_fill(item, row.path) for item in items(filled, tag)]}
    return dict(sorted(filled.items()))


def _invalid(attributes: Attributes, tag: str, expected: str) -> ServiceError:
    return ServiceError(
        f"({tag[:4]},{tag[4:]}): expected {expected}",
        Status.INVALID_ATTRIBUTE_VALUE,
        offending=(int(tag, 16),),
        detail={"attributes": {tag: attributes[tag]} if tag in attributes else {}},
    )


def _listed(problem: str, status: Status, tags: list[str]) -> ServiceError:
    first = tags[0]
    return ServiceError(
        f"({first[:4]},{first[4:]}) {problem}",
        status,
        offending=tuple(int(tag, 16) for tag in tags),
    )
