"""From the text of a key to the kind of matching it asks for (PS3.4 C.2.2.2); the text of either door, after decoding.

A value that its VR does not allow is an `InvalidRequest` that names the key and the value.
"""

import re
from collections.abc import Callable, Sequence

from . import names, times
from .identifiers import is_uid
from .kinds import (
    MULTIPLE_VRS,
    NUMBER_VRS,
    TEXT_VRS,
    Dates,
    DateTimes,
    Empty,
    Every,
    FuzzyName,
    Match,
    Name,
    Number,
    OneOf,
    Single,
    Times,
    UidList,
    Universal,
    Untyped,
    Wildcard,
    check_wildcards,
    read_number,
)
from .status import InvalidRequest

# PS3.4 C.2.2.2.7: two quotation marks ask for an absent or empty attribute
_EMPTY = '""'
_AGE = re.compile(r"\d{1,3}[DWMY]", re.ASCII)
_TAG = re.compile(r"\(?([0-9A-Fa-f]{4}),?([0-9A-Fa-f]{4})\)?", re.ASCII)
_DATE_TIME_RANGE = re.compile(r"(\d[\d.]*(?:[+-](?:0\d|1[0-4])[0-5]\d)?)?-(\d[\d.]*(?:[+-](?:0\d|1[0-4])[0-5]\d)?)?", re.ASCII)
_DATE_TIME_ONE = re.compile(r"\d[\d.]*[+-](?:0\d|1[0-4])[0-5]\d", re.ASCII)
_FUZZY_LONGEST = 256


def read_match(
    vr: str,
    given: Sequence[str],
    name: str,
    *,
    fuzzy: bool = False,
    empty: bool = False,
    multiple: bool = False,
    offset: int | None = None,
) -> Match:
    """The matching that these values of a key ask for; `name` is what an error calls the key."""
    wanted = [text for value in given if (text := value.strip(" \0"))] or ["*"]
    if not all(value.strip("*") for value in wanted):
        return Universal()
    if empty and wanted == [_EMPTY]:
        return Empty()
    if vr == "UI":
        return _uids(wanted, name)
    if multiple and len(wanted) > 1 and vr in MULTIPLE_VRS:
        return Every(tuple(_literal(vr, value, name) for value in wanted))
    matches = tuple(_one(vr, value, name, fuzzy, offset) for value in wanted)
    if any(isinstance(match, Universal) for match in matches):
        return Universal()
    return matches[0] if len(matches) == 1 else OneOf(matches)


def refuse(name: str, value: str, expected: str) -> InvalidRequest:
    """The error for a malformed value."""
    shown = value if len(value) <= 64 else value[:64] + "…"
    return InvalidRequest(f"{name}: {shown!r} is {expected}")


def _uids(wanted: list[str], name: str) -> Match:
    for value in wanted:
        if not is_uid(value):
            raise refuse(name, value, "not a UID")
    return Single(wanted[0]) if len(wanted) == 1 else UidList(frozenset(wanted))


def _literal(vr: str, value: str, name: str) -> Match:
    """Without wildcards (PS3.4 C.2.2.2.8)."""
    if vr == "PN":
        return _name(value, name)
    return _READERS[vr](value, name) if vr in _READERS else Single(value)


def _one(vr: str, value: str, name: str, fuzzy: bool, offset: int | None) -> Match:
    if vr == "PN":
        literal = _name(value, name)
        if not fuzzy or not isinstance(literal, Name):
            return literal
        return FuzzyName(literal, names.fuzzy_words(value[:_FUZZY_LONGEST]))
    if vr == "DT":
        return _date_times(value, name, offset)
    if vr in _READERS:
        return _READERS[vr](value, name)
    if vr == "UN":
        return Untyped(_text(value, name), _perhaps_number(value))
    if vr in TEXT_VRS:
        return _text(value, name)
    raise refuse(name, value, f"given for an attribute of VR {vr}, which cannot be matched")


def _text(value: str, name: str) -> Match:
    return Wildcard(check_wildcards(value, name)) if "*" in value or "?" in value else Single(value)


def _perhaps_number(value: str) -> Number | None:
    try:
        return Number(read_number(value))
    except ValueError:
        return None


def _name(value: str, name: str) -> Match:
    """A group of one asterisk, or without anything but delimiters, says nothing."""
    first, second, third = ("" if group == "*" else group for group in names.split(check_wildcards(value, name)))
    patterns = (first, second, third)
    if not any(patterns):
        return Universal()
    return Name(patterns, anywhere=not (patterns[1] or patterns[2] or value.startswith("=")))


def _number(value: str, name: str) -> Match:
    try:
        return Number(read_number(value))
    except ValueError:
        raise refuse(name, value, "not a number") from None


def _age(value: str, name: str) -> Match:
    if not _AGE.fullmatch(value):
        raise refuse(name, value, "not an age such as 042Y")
    return Single(value[:-1].zfill(3) + value[-1])


def _tag(value: str, name: str) -> Match:
    if (found := _TAG.fullmatch(value)) is None:
        raise refuse(name, value, "not a tag of 8 hexadecimal digits")
    return Single((found[1] + found[2]).upper())


def _bounds(value: str, name: str, read: Callable[[str, bool], str]) -> tuple[str | None, str | None]:
    """The ends of a range, or twice the same for a single value. Whether they are in order, `check_order` sees."""
    low, dash, high = value.partition("-")
    if value == "-":
        raise refuse(name, value, "a range without ends")
    try:
        if not dash:
            return read(low, False), read(low, False)
        ends = (read(low, False) if low.strip() else None, read(high, True) if high.strip() else None)
    except ValueError as error:
        raise refuse(name, value, str(error)) from None
    return ends


def check_order(match: Match, name: str, value: str) -> None:
    """Refuse a range whose end comes before its start; times may do so while they are part of a combined range."""
    if isinstance(match, Dates | Times) and match.low > match.high:
        raise refuse(name, value, "a range whose end comes before its start")


def _dates(value: str, name: str) -> Match:
    low, high = _bounds(value, name, lambda text, end: times.read_date(text))
    return Dates(low or times.FIRST_DATE, high or times.LAST_DATE)


def _times(value: str, name: str) -> Match:
    low, high = _bounds(value, name, lambda text, end: times.read_time(text, end=end))
    return Times(low or times.FIRST_TIME, high or times.LAST_TIME)


def _date_times(value: str, name: str, offset: int | None) -> Match:
    """A single value with a negative offset looks like a range of years; no year is before 1500, so it is an offset."""
    found = None if _DATE_TIME_ONE.fullmatch(value) else _DATE_TIME_RANGE.fullmatch(value)
    try:
        if found is None:
            moment = times.read_date_time(value)
            return DateTimes(moment, moment, single=True, offset=offset)
        low, high = (times.read_date_time(text) if text else None for text in found.groups())
    except ValueError as error:
        raise refuse(name, value, str(error)) from None
    if low is None and high is None:
        raise refuse(name, value, "a range without ends")
    if low is not None and high is not None and low.start(offset) > high.end(offset):
        raise refuse(name, value, "a range whose end comes before its start")
    return DateTimes(low, high, offset=offset)


_READERS: dict[str, Callable[[str, str], Match]] = {
    "DA": _dates,
    "TM": _times,
    "AS": _age,
    "AT": _tag,
    **dict.fromkeys(NUMBER_VRS, _number),
}
