"""Structured reports and key objects as an outline (PS3.3 C.17): headings, named values with codes and units, references.

The outline is what a reader sees; `document_formats` writes it as HTML, PDF or plain text.
"""

from collections.abc import Iterator
from enum import Enum

from attrs import define, field, frozen

from .annotation import day
from .header import Header

CONTENT_SEQUENCE = "0040A730"
_DEEPEST, _MOST = 64, 20_000
_RELATIONS = {"INFERRED FROM": "inferred from", "SELECTED FROM": "selected from", "HAS OBS CONTEXT": "context"}


class Kind(Enum):
    """What an entry of an outline is."""

    HEADING = "heading"
    FIELD = "field"
    IMAGE = "image"
    REFERENCE = "reference"


@frozen
class Entry:
    """One line of an outline: a name and a value, with the code of the name and of the value as notes."""

    kind: Kind
    depth: int
    label: str = ""
    value: str = ""
    note: str = ""
    path: str = ""  # of what is referred to: studies/…/instances/…


@frozen
class Outline:
    """A document: title, the facts that head it, and its content."""

    title: str
    facts: tuple[tuple[str, str], ...]
    entries: tuple[Entry, ...]


def is_structured_report(header: Header) -> bool:
    """Whether the data set has an SR content tree (key object selections have one, too)."""
    return CONTENT_SEQUENCE in header or header.text("0040A040") == "CONTAINER"


def outline(header: Header) -> Outline:
    """The outline of a report."""
    tree = _Tree(_evidence(header))
    entries = tuple(tree.children(header, 0))
    return Outline(meaning(header, "0040A043") or "Report", tuple(_facts(header)), entries)


def name(text: str) -> str:
    """A person's name as it is written in a text: given names before the family name."""
    parts = [part.strip() for part in text.split("^")]
    family, given, middle, prefix, suffix = (parts + [""] * 5)[:5]
    return " ".join(part for part in (prefix, given, middle, family, suffix) if part)


def _facts(header: Header) -> Iterator[tuple[str, str]]:
    """Who and when, as far as known (PS3.3 C.7.1.1, C.7.2.1, C.17.2)."""
    moment = f"{day(header.text('00080023'))} {_clock(header.text('00080033'))}".strip()
    status = " ".join(part.lower() for part in (header.text("0040A491"), header.text("0040A493")) if part)
    facts = [
        ("Patient", name(header.text("00100010"))),
        ("Patient ID", header.text("00100020")),
        ("Birth date", day(header.text("00100030"))),
        ("Sex", header.text("00100040")),
        ("Study", " ".join(part for part in (day(header.text("00080020")), header.text("00081030")) if part)),
        ("Accession number", header.text("00080050")),
        ("Institution", header.text("00080080")),
        ("Document date", moment),
        ("Status", status),
    ]
    for observer in header.items("0040A073"):
        signed = " ".join(part for part in (name(observer.text("0040A075")), observer.text("0040A027")) if part)
        facts.append(("Verified by", f"{signed} {_moment(observer.text('0040A030'))}".strip()))
    return ((label, value) for label, value in facts if value)


def meaning(item: Header, tag: str) -> str:
    """The meaning of the code in a code sequence."""
    code = item.item(tag)
    return (code.text("00080104") or code.text("00080100")) if code is not None else ""


def _code(item: Header, tag: str) -> str:
    code = item.item(tag)
    if code is None:
        return ""
    value = code.text("00080100") or code.text("00080119") or code.text("00080120")
    return f"{value}, {code.text('00080102')}".strip(", ")


def _evidence(header: Header) -> dict[str, str]:
    """SOP Instance UID -> path of each instance that the evidence sequences name (C.17.2.1)."""
    return {
        uid: f"studies/{study.text('0020000D')}/series/{series.text('0020000E')}/instances/{uid}"
        for tag in ("0040A375", "0040A385")
        for study in header.items(tag)
        for series in study.items("00081115")
        for uid in (sop.text("00081155") for sop in series.items("00081199"))
    }


@define
class _Tree:
    """Walks a content tree, within bounds of depth and number of items."""

    evidence: dict[str, str]
    left: int = field(default=_MOST)

    def children(self, item: Header, depth: int) -> Iterator[Entry]:
        for child in item.items(CONTENT_SEQUENCE):
            self.left -= 1
            if self.left < 0 or depth > _DEEPEST:
                yield Entry(Kind.FIELD, depth, value="… (the rest of the document is left out)")
                return
            yield from self._item(child, depth)

    def _item(self, item: Header, depth: int) -> Iterator[Entry]:
        label, note = meaning(item, "0040A043"), _code(item, "0040A043")
        relation = _RELATIONS.get(item.text("0040A010"), "")
        label = f"{label} ({relation})" if relation and label else label or relation
        kind = item.text("0040A040")
        if kind == "CONTAINER":
            yield Entry(Kind.HEADING, depth, label or "Section", note=note)
        elif kind in ("IMAGE", "COMPOSITE", "WAVEFORM"):
            yield from self._references(item, kind, depth, label, note)
        else:
            value, value_note = _value(item, kind)
            yield Entry(Kind.FIELD, depth, label, value, "; ".join(part for part in (note, value_note) if part))
        yield from self.children(item, depth + 1)

    def _references(self, item: Header, kind: str, depth: int, label: str, note: str) -> Iterator[Entry]:
        for sop in item.items("00081199"):
            uid, frames = sop.text("00081155"), sop.texts("00081160")
            what = f"{label or kind.capitalize()}{' frame ' + ', '.join(frames) if frames else ''}"
            path = self.evidence.get(uid, "")
            if path and len(frames) == 1 and frames[0].isdigit():
                path = f"{path}/frames/{frames[0]}"
            yield Entry(Kind.IMAGE if kind == "IMAGE" else Kind.REFERENCE, depth, what, uid, note, path)


def _value(item: Header, kind: str) -> tuple[str, str]:
    """The value of a content item as text, and the code that goes with it (C.17.3.2)."""
    if kind == "CODE":
        return meaning(item, "0040A168"), _code(item, "0040A168")
    if kind == "NUM":
        return _measured(item), ""
    if kind == "PNAME":
        return name(item.text("0040A123")), ""
    if kind in ("SCOORD", "SCOORD3D"):
        points = item.numbers("00700022")
        return f"{item.text('00700023').lower()}, {len(points) // (3 if kind == 'SCOORD3D' else 2)} points", ""
    if kind == "TCOORD":
        return item.text("0040A130").lower(), ""
    plain = {"TEXT": "0040A160", "UIDREF": "0040A124", "DATE": "0040A121", "TIME": "0040A122", "DATETIME": "0040A120"}
    text = item.text(plain.get(kind, "0040A160"))
    if kind == "DATE":
        return day(text), ""
    if kind == "TIME":
        return _clock(text), ""
    return (_moment(text) if kind == "DATETIME" else text), ""


def _measured(item: Header) -> str:
    """Number and unit, or why there is none."""
    value = item.item("0040A300")
    if value is None:
        return meaning(item, "0040A301") or "no value"
    unit = value.item("004008EA")
    code = unit.text("00080100") if unit is not None else ""
    text = meaning(value, "004008EA") if code in ("", "1") else code
    number = value.text("0040A30A")
    unit_text = "" if code == "1" or text in ("no units", "unity") else text.removeprefix("{").removesuffix("}")
    return f"{number} {unit_text}".strip()


def _clock(text: str) -> str:
    """A TM value with colons, without fractions."""
    digits = text.split(".")[0]
    if not digits.isdigit() or len(digits) not in (2, 4, 6):
        return text
    return ":".join(digits[n : n + 2] for n in range(0, len(digits), 2))


def _moment(text: str) -> str:
    """A DT value, legible."""
    digits = text[:14]
    if not digits[:8].isdigit() or len(digits) < 8:
        return text
    return f"{day(digits[:8])} {_clock(digits[8:])}".strip() + (f" {text[-5:]}" if text[-5:-4] in "+-" and len(text) > 14 else "")
