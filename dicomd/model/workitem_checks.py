"""Checks of a Unified Procedure Step against the requirements of PS3.4 Table CC.2.5-3; pure, changes only what it returns.

Lenient where the meaning is clear: attributes of type 2 that did not come are kept empty, and that is told (created with
modifications). Where a value is needed and missing, or an attribute may not be sent at all, the request is refused with the
status of PS3.7 Annex C that names the attributes.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from attrs import define, field

from . import workitem_attributes as ups
from .attributes import Attributes, attribute, text, values
from .status import ServiceError, Status
from .steps import State
from .times import read_date_time
from .workitem_attributes import ENUMERATED, REQUIREMENTS, Requirement

# PS3.3 Table 8.8-1a: one of the three values; a scheme is named by the first two.
_CODE_VALUES = ("00080100", "00080119", "00080120")
_CODE_SCHEME = "00080102"
_CODE_MEANING = "00080104"


@define
class _Findings:
    """Tags that offend, by the status that reports them; and whether something was filled in."""

    not_allowed: list[str] = field(factory=list)
    missing: list[str] = field(factory=list)
    empty: list[str] = field(factory=list)
    invalid: list[str] = field(factory=list)
    modified: bool = False

    def settle(self) -> None:
        """Raise the first kind of offence; the order is that of PS3.7: what, then whether, then how."""
        for tags, status, words in (
            (self.not_allowed, Status.NO_SUCH_ATTRIBUTE, "may not be sent"),
            (self.missing, Status.MISSING_ATTRIBUTE, "is missing"),
            (self.empty, Status.MISSING_ATTRIBUTE_VALUE, "needs a value"),
            (self.invalid, Status.INVALID_ATTRIBUTE_VALUE, "has a value that is not allowed"),
        ):
            if tags:
                raise ServiceError(
                    f"({tags[0][:4]},{tags[0][4:]}) {words}", status, offending=tuple(int(tag, 16) for tag in tags)
                )


def is_empty(element: Mapping[str, Any] | None) -> bool:
    """Whether an attribute is absent or without any value."""
    if element is None:
        return True
    for value in element.get("Value") or ():
        if value is not None and not (type(value) is str and not value.strip()):
            return False
    return not (element.get("InlineBinary") or element.get("BulkDataURI"))


def complete_new(attributes: Attributes) -> tuple[Attributes, bool]:
    """The attributes of a new item (column C), completed; and whether something had to be modified."""
    if text(attributes, ups.STATE) not in ("", State.SCHEDULED):
        raise ServiceError("a UPS is created in the state SCHEDULED", Status.UPS_NOT_CREATED_SCHEDULED)
    findings = _Findings()
    item = _complete(attributes, REQUIREMENTS, "create", findings)
    _check_values(item, findings)
    if text(item, ups.SOP_CLASS_UID) not in ("", *_UPS_CLASSES):
        findings.invalid.append(ups.SOP_CLASS_UID)
    findings.settle()
    if is_empty(item.get(ups.WORKLIST_LABEL)):
        item[ups.WORKLIST_LABEL] = attribute("LO", "DEFAULT")
    item.pop(ups.TRANSACTION_UID, None)
    return item, findings.modified


_UPS_CLASSES = (ups.UPS_PUSH, ups.UPS_WATCH, ups.UPS_PULL, ups.UPS_EVENT, ups.UPS_QUERY)


def check_changes(changes: Attributes) -> tuple[Attributes, bool]:
    """The modification list of an update (column S), its items completed; and whether something had to be modified."""
    findings = _Findings()
    changed = _complete(changes, REQUIREMENTS, "update", findings)
    _check_values(changed, findings)
    findings.empty[:0], findings.missing = findings.missing, []  # N-SET knows no 0120 (PS3.7 10.1.3.1.9)
    findings.settle()
    return changed, findings.modified


def _complete(attributes: Attributes, rows: Mapping[str, Requirement], operation: str, findings: _Findings) -> Attributes:
    """A copy in which every row of the table is kept, down to the items of its sequences."""
    result = dict(attributes)
    for row in rows.values():
        scu, scp = row.create if operation == "create" else row.update
        element = attributes.get(row.tag)
        if element is None or scu == "NA":
            _presence(row, scu, operation, rows is REQUIREMENTS, result, findings)
        elif is_empty(element):
            _emptiness(row, scu, scp, operation, result, findings)
        elif scp.endswith("e"):
            findings.invalid.append(row.tag)
        elif row.vr == "SQ":
            result[row.tag] = {"vr": "SQ", "Value": list(_items(element, row, operation, findings))}
    return result


def _presence(row: Requirement, scu: str, operation: str, top: bool, result: Attributes, findings: _Findings) -> None:
    """What is not there, or may not be: noted when that offends, filled in when it may be empty."""
    if scu == "NA":
        if row.tag in result and not (operation == "create" and is_empty(result[row.tag])):
            findings.not_allowed.append(row.tag)
    elif operation == "update" and top:
        return
    elif scu == "1":
        findings.missing.append(row.tag)
    elif scu.startswith("2") and not scu.endswith("C"):
        result[row.tag] = {"vr": row.vr}
        findings.modified |= row.tag not in (ups.TRANSACTION_UID, ups.WORKLIST_LABEL)
    elif scu == "1C" and row.create[1] == "2":
        result[row.tag] = {"vr": row.vr}


def _emptiness(row: Requirement, scu: str, scp: str, operation: str, result: Attributes, findings: _Findings) -> None:
    """An attribute without value where one is needed; an optional one is left out when it is created so."""
    if scu == "1" or (scp == "1" and operation == "update"):
        findings.empty.append(row.tag)
    elif scp == "1" and scu == "3":
        del result[row.tag]
        findings.modified = True


def _items(element: Mapping[str, Any], row: Requirement, operation: str, findings: _Findings) -> Iterator[Attributes]:
    for item in element.get("Value") or ():
        if not isinstance(item, dict):
            findings.invalid.append(row.tag)
            return
        if row.is_code:
            _check_code(item, findings)
        yield _complete(item, row.rows, operation, findings) if row.rows else item


def _check_code(item: Attributes, findings: _Findings) -> None:
    """The code sequence macro (PS3.3 8.8): exactly one code value, its scheme, its meaning."""
    present = [tag for tag in _CODE_VALUES if not is_empty(item.get(tag))]
    if len(present) != 1:
        (findings.invalid if present else findings.missing).append(_CODE_VALUES[0])
    elif present[0] != "00080120" and is_empty(item.get(_CODE_SCHEME)):
        findings.missing.append(_CODE_SCHEME)
    if is_empty(item.get(_CODE_MEANING)):
        findings.missing.append(_CODE_MEANING)


_DATE_TIMES = tuple(row.tag for row in REQUIREMENTS.values() if row.vr == "DT")


def _check_values(attributes: Attributes, findings: _Findings) -> None:
    for tag, allowed in ENUMERATED.items():
        present = values(attributes, tag)
        if any(present) and not (len(present) == 1 and text(attributes, tag) in allowed):
            findings.invalid.append(tag)
    for tag in _DATE_TIMES:
        if not all(type(value) is str and _is_date_time(value) for value in values(attributes, tag) if value is not None):
            findings.invalid.append(tag)


@lru_cache(4096)
def _is_date_time(value: str) -> bool:
    """PS3.5 Table 6.2-1, DT: from the year alone to the fraction, with or without an offset from UTC."""
    try:
        read_date_time(value)
    except ValueError:
        return False
    return True


def unmet(attributes: Attributes, target: State) -> list[str]:
    """The tags of the final state requirements (column F) that keep an item from reaching `target`.

    Conditional requirements (RC) cannot be known to the server and are taken as kept.
    """
    return list(_unmet(attributes, REQUIREMENTS, {"R", "P", "P2"} if target is State.COMPLETED else {"R", "X"}))


def _unmet(attributes: Attributes, rows: Mapping[str, Requirement], needed: set[str]) -> Iterator[str]:
    for row in rows.values():
        if row.final not in needed:
            continue
        if row.final == "P2" and row.tag in attributes:
            continue
        if is_empty(attributes.get(row.tag)):
            yield row.tag
        elif row.rows:
            yield from _fewest(list(_unmet(item, row.rows, needed)) for item in values(attributes, row.tag))


def _fewest(items: Iterator[list[str]]) -> list[str]:
    """One item that keeps all requirements is enough."""
    return min(items, key=len, default=[])
