"""HL7 v2 orders to worklist entries: ORM^O01, OMG^O19 and OMI^O23 by the mapping of IHE RAD TF-2 Appendix B.

| HL7 | DICOM | | HL7 | DICOM |
|---|---|---|---|---|
| PID-3.1, 3.4 | Patient ID, its issuer | | OBR-4.1 to 4.3 | Requested Procedure Code Sequence |
| PID-5 | Patient's Name | | OBR-4.2 | Requested Procedure Description |
| PID-7, PID-8 | Birth Date, Sex | | OBR-4.4 to 4.6 | Scheduled Protocol Code Sequence |
| PV1-3 | Current Patient Location | | OBR-4.5, else 4.2 | Scheduled Procedure Step Description |
| PV1-8 | Referring Physician's Name | | OBR-12 | Special Needs |
| PV1-15 = B6 | Pregnancy Status 3 | | OBR-13 | Medical Alerts |
| PV1-19.1 | Admission ID | | IPC-1, OBR-18 | Accession Number |
| AL1-3.2 | Allergies | | IPC-2, OBR-19 | Requested Procedure ID |
| ORC-1 | NW, XO, SC: entered; CA, DC, OC: removed | | IPC-4, OBR-20 | Scheduled Procedure Step ID |
| ORC-2.1, ORC-3.1 | Placer, Filler Order Number | | IPC-9, OBR-21 | Scheduled Station AE Title |
| TQ1-7, ORC-7.4, OBR-36, OBR-27.4 | Start Date and Time | | IPC-5, OBR-24 | Modality |
| TQ1-9, ORC-7.6, OBR-27.6 | Requested Procedure Priority | | OBR-30 | Patient Transport Arrangements |
| ORC-12 | Requesting Physician | | OBR-34 | Scheduled Performing Physician's Name |
| ORC-17.2, 17.1 | Requesting Service | | IPC-3, ZDS-1 | Study Instance UID |
| ORC-5 | SC with CA, DC: removed | | ORC-5 = IP, CM | Scheduled Procedure Step Status STARTED, COMPLETED |

Each IPC segment is a step, and each OBR without one. What a message orders is carried out together or not at all.
"""

from collections.abc import Iterator

from hl7 import Segment as _Cut

from ..model.attributes import Attributes, attribute
from ..model.scheduled_steps import Order
from ..model.status import ServiceError, Status
from .hl7_message import Segment, segments

ORDERS = {("ORM", "O01"), ("OMG", "O19"), ("OMI", "O23")}
_ENTER, _REMOVE = {"NW", "XO", "XX", "SC", "SN", "PA", "RE"}, {"CA", "DC", "OC", "OD", "CR", "DR"}
_STATUSES = {"IP": "STARTED", "CM": "COMPLETED"}
_PRIORITIES = {"S": "STAT", "A": "HIGH", "R": "ROUTINE", "P": "HIGH", "C": "MEDIUM", "T": "HIGH"}


def orders(data: bytes) -> tuple[Order, ...]:
    """What a message orders; raises `ServiceError`: C000 for no HL7 message, 0122 for another, 0106 and 0120 for a bad one."""
    found = segments(data)
    if (found[0].get(9, 1), found[0].get(9, 2)) not in ORDERS:
        raise ServiceError("MSH-9: expected ORM^O01, OMG^O19 or OMI^O23", Status.SOP_CLASS_NOT_SUPPORTED)
    patient = _patient(found)
    ordered = tuple(_order(patient, group) for group in _groups(found))
    if not ordered:
        raise ServiceError("expected an ORC segment with an OBR segment", Status.MISSING_ATTRIBUTE)
    return ordered


_NONE = Segment(_Cut("|", [""]))


def _groups(found: list[Segment]) -> Iterator[dict[str, Segment]]:
    """The segments of each scheduled step: of its ORC, up to the next, the first of a kind; each IPC is a step of its own."""
    group: dict[str, Segment] = {}
    steps: list[Segment] = []
    for segment in found:
        if segment.name == "ORC" or (segment.name == "OBR" and "OBR" in group):
            yield from _steps(group, steps)
            group = {"ORC": group["ORC"]} if segment.name == "OBR" and "ORC" in group else {}
            steps = []
        if segment.name == "IPC":
            steps.append(segment)
        elif segment.name in ("ORC", "OBR", "TQ1", "ZDS"):
            group.setdefault(segment.name, segment)
    yield from _steps(group, steps)


def _steps(group: dict[str, Segment], steps: list[Segment]) -> Iterator[dict[str, Segment]]:
    if "OBR" in group:
        yield from ({**group, "IPC": step} for step in steps or [_NONE])


def _patient(segments: list[Segment]) -> Attributes:
    named = {segment.name: segment for segment in reversed(segments)}
    pid, visit = named.get("PID", _NONE), named.get("PV1", _NONE)
    allergies = "\\".join(filter(None, (s.get(3, 2) or s.get(3) for s in segments if s.name == "AL1")))
    sex = pid.get(8).upper()
    return _present(
        {
            "00100020": ("LO", pid.get(3)),
            "00100021": ("LO", pid.get(3, 4)),
            "00100010": ("PN", _name(pid, 5, 0)),
            "00100030": ("DA", _date(pid.get(7))),
            "00100040": ("CS", sex if sex in ("M", "F", "O") else ""),
            "00102110": ("LO", allergies),
            "00380300": ("LO", visit.get(3)),
            "00080090": ("PN", _name(visit, 8, 1)),
            "00380010": ("LO", visit.get(19)),
        }
    ) | ({"001021C0": attribute("US", 3)} if visit.get(15) == "B6" else {})


def _order(patient: Attributes, group: dict[str, Segment]) -> Order:
    orc, obr, ipc, zds = (group.get(name, _NONE) for name in ("ORC", "OBR", "IPC", "ZDS"))
    control = orc.get(1)
    if control not in _ENTER | _REMOVE:
        raise ServiceError("ORC-1: expected NW, XO, SC or CA, DC, OC", Status.INVALID_ATTRIBUTE_VALUE)
    requested = _present(
        {
            "00080050": ("SH", ipc.get(1) or obr.get(18)),
            "00401001": ("SH", ipc.get(2) or obr.get(19)),
            "0020000D": ("UI", ipc.get(3) or zds.get(1)),
            "00321032": ("PN", _name(orc, 12, 1)),
            "00321033": ("LO", orc.get(17, 2) or orc.get(17)),
            "00321060": ("LO", obr.get(4, 2)),
            "00380050": ("LO", obr.get(12, 2) or obr.get(12)),
            "00102000": ("LO", obr.get(13, 2) or obr.get(13)),
            "00401003": ("SH", _priority(group)),
            "00401004": ("LO", obr.get(30)),
            "00402016": ("LO", orc.get(2)),
            "00402017": ("LO", orc.get(3)),
        }
    ) | _code("00321064", obr, 1)
    step = {"00400100": {"vr": "SQ", "Value": [_step(group)]}}
    remove = control in _REMOVE or (control == "SC" and orc.get(5) in _REMOVE)
    return Order(remove, dict(sorted({**patient, **requested, **step}.items())))


def _step(group: dict[str, Segment]) -> Attributes:
    obr, ipc = group.get("OBR", _NONE), group.get("IPC", _NONE)
    start = _start(group)
    return _present(
        {
            "00400001": ("AE", ipc.get(9) or obr.get(21)),
            "00080060": ("CS", (ipc.get(5) or obr.get(24)).upper()),
            "00400002": ("DA", start[:8]),
            "00400003": ("TM", start[8:]),
            "00400006": ("PN", _name(obr, 34, 1)),
            "00400007": ("LO", obr.get(4, 5) or obr.get(4, 2)),
            "00400009": ("SH", ipc.get(4) or obr.get(20)),
            "00400010": ("SH", ipc.get(7)),
            "00400011": ("SH", ipc.get(8)),
            "00400020": ("CS", _STATUSES.get(group.get("ORC", _NONE).get(5), "")),
        }
    ) | _code("00400008", obr, 4)


def _start(group: dict[str, Segment]) -> str:
    """YYYYMMDDHHMMSS of the first place that has one; a missing time of day is midnight."""
    orc, obr, tq1 = (group.get(name, _NONE) for name in ("ORC", "OBR", "TQ1"))
    for value in (tq1.get(7), orc.get(7, 4), obr.get(36), obr.get(27, 4)):
        digits = value.partition("+")[0].partition("-")[0].partition(".")[0]
        if digits:
            if not digits.isdecimal() or len(digits) not in (8, 10, 12, 14):
                raise ServiceError("the start date and time is no HL7 time stamp", Status.INVALID_ATTRIBUTE_VALUE)
            return digits.ljust(14, "0")
    return ""


def _priority(group: dict[str, Segment]) -> str:
    orc, obr, tq1 = (group.get(name, _NONE) for name in ("ORC", "OBR", "TQ1"))
    code = tq1.get(9) or orc.get(7, 6) or obr.get(27, 6)
    return _PRIORITIES.get(code[:1].upper(), "")


def _date(value: str) -> str:
    return value[:8] if value[:8].isdecimal() and len(value) >= 8 else ""


def _name(segment: Segment, field: int, first: int) -> str:
    """XPN or XCN to PN: HL7 has suffix before prefix, DICOM prefix before suffix (PS3.5 6.2.1)."""
    family, given, middle, suffix, prefix = (segment.get(field, first + number) for number in range(1, 6))
    return "^".join((family, given, middle, prefix, suffix)).rstrip("^")


def _code(tag: str, segment: Segment, first: int) -> Attributes:
    value, meaning, scheme = (segment.get(4, first + number) for number in range(3))
    if not value:
        return {}
    item = {"00080100": attribute("SH", value), "00080104": attribute("LO", meaning or value)}
    if scheme:
        item["00080102"] = attribute("SH", scheme)
    return {tag: {"vr": "SQ", "Value": [dict(sorted(item.items()))]}}


def _present(content: dict[str, tuple[str, str]]) -> Attributes:
    return {tag: attribute(vr, *value.split("\\")) for tag, (vr, value) in sorted(content.items()) if value}
