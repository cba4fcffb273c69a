"""What is odd about a data set whatever its IOD: values against the syntax of their VR (PS3.5 Table 6.2-1), VRs against PS3.6.

Findings name attributes, never values: those may be a patient's.
"""

import re
from collections.abc import Callable, Iterator
from datetime import date
from functools import lru_cache
from typing import Any

from attrs import frozen

from .attributes import Attributes
from .dictionary import creator_tag, is_creator, possible_vrs
from .identifiers import is_uid

_CONTROLS = "\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f"
_LINE = re.compile(rf"[^{_CONTROLS}\x09\x0a\x0c\x0d\\]*")
_TEXT = re.compile(rf"[^{_CONTROLS}]*")
_DATE = re.compile(r"(\d{4})(\d{2})(\d{2})", re.ASCII)
_TIME = re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d|60)?)?", re.ASCII)
_FRACTION = re.compile(r"([01]\d|2[0-3])[0-5]\d([0-5]\d|60)\.\d{1,6}", re.ASCII)
_DATE_TIME = re.compile(
    r"\d{4}((0[1-9]|1[0-2])((0[1-9]|[12]\d|3[01])(([01]\d|2[0-3])([0-5]\d(([0-5]\d|60)(\.\d{1,6})?)?)?)?)?)?([+-][01]\d[0-5]\d)?",
    re.ASCII,
)
_PATTERNS = {
    "AE": re.compile(r"[ -\[\]-~]{1,16}"),
    "AS": re.compile(r"\d{3}[DWMY]", re.ASCII),
    "CS": re.compile(r"[A-Z0-9 _]{1,16}", re.ASCII),
    "DS": re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII),
    "IS": re.compile(r"\s*[+-]?\d{1,11}\s*", re.ASCII),
    "DT": _DATE_TIME,
}
# VR -> most characters, and what they may be
_LENGTHS = {
    "SH": (16, _LINE),
    "LO": (64, _LINE),
    "ST": (1024, _TEXT),
    "LT": (10240, _TEXT),
    "UT": (1 << 32, _TEXT),
    "UC": (1 << 32, _LINE),
}
_MOST_FINDINGS = 20


@frozen
class Finding:
    """An attribute, with the sequences and items around it, and what is odd about it."""

    path: str
    problem: str

    @property
    def tag(self) -> int:
        """The tag of the attribute itself."""
        return int(self.path[-8:], 16)

    def __str__(self) -> str:
        return f"{self.path[:-8]}({self.path[-8:-4]},{self.path[-4:]}) {self.problem}"


def findings(attributes: Attributes) -> list[Finding]:
    """What is odd, the first few of it."""
    found = []
    for finding in _findings(attributes, ""):
        found.append(finding)
        if len(found) == _MOST_FINDINGS:
            break
    return found


def _findings(attributes: Attributes, path: str) -> Iterator[Finding]:
    for key, attribute in attributes.items():
        vr = attribute["vr"]
        problem = _private(key, attributes) if key[3] in "13579BDF" else _standard(key, vr)
        if problem:
            yield Finding(path + key, problem)
        content = attribute.get("Value")
        if not content:
            continue
        if vr == "SQ":
            for number, item in enumerate(content):
                if isinstance(item, dict):
                    yield from _findings(item, f"{path}{key}/{number}/")
            continue
        check = _CHECKS.get(vr)
        if check is not None and not all(value is None or check(value) for value in content):
            yield Finding(path + key, f"has a value that is no {vr}")


def _private(key: str, attributes: Attributes) -> str:
    """Whether its block is reserved (PS3.5 7.8.1)."""
    if key[4:] >= "1000" and creator_tag(key) not in attributes:
        return "has no private creator"
    return "" if key[4:] >= "1000" or is_creator(key) else "is in no private block"


@lru_cache(8192)
def _standard(key: str, vr: str) -> str:
    """Whether the dictionary has the attribute, with this VR."""
    possible = possible_vrs(key)
    if not possible:
        return "is not in the data dictionary"
    return "" if vr in possible or vr == "UN" else f"is {vr}, not {' or '.join(possible)}"


def _is_date(value: Any) -> bool:
    found = _DATE.fullmatch(value)
    if found is None:
        return False
    try:
        date(int(found[1]), int(found[2]), int(found[3]))
    except ValueError:
        return False
    return True


def _is_time(value: Any) -> bool:
    return _TIME.fullmatch(value) is not None or _FRACTION.fullmatch(value) is not None


def _is_name(value: Any) -> bool:
    return all(len(group) <= 64 and group.count("^") <= 4 and _LINE.fullmatch(group) for group in value.values())


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and -(2**31) <= value < 2**31


def _is_decimal(value: Any) -> bool:
    return not isinstance(value, str) or _PATTERNS["DS"].fullmatch(value) is not None


def _fits(pattern: "re.Pattern[str]") -> Callable[[Any], bool]:
    return lambda value: pattern.fullmatch(value) is not None


def _short(most: int, pattern: "re.Pattern[str]") -> Callable[[Any], bool]:
    return lambda value: len(value) <= most and pattern.fullmatch(value) is not None


_CHECKS: dict[str, Callable[[Any], bool]] = {
    **{vr: _fits(_PATTERNS[vr]) for vr in ("AE", "AS", "CS", "DT")},
    **{vr: _short(*limits) for vr, limits in _LENGTHS.items()},
    "DA": _is_date,
    "TM": _is_time,
    "PN": _is_name,
    "IS": _is_integer,
    "DS": _is_decimal,
    "UI": lambda value: is_uid(value, strict=True),
    "UR": lambda value: " " not in value and _LINE.fullmatch(value.replace("\\", "")) is not None,
}
