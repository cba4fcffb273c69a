"""The matching keys of a Unified Procedure Step that the index keeps, and their stored values in comparable form.

They are the rows of PS3.4 Table CC.2.5-3 with a matching key type whose values are short; every other attribute is matched on the
item itself. Of a code sequence the code value is a key, and value and scheme together (path with `+`). A date-time is kept
twice: as its clock shows it, and in UTC (path with `Z`).
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from . import names, times
from . import workitem_attributes as ups
from .attributes import Attributes, items, plain, values
from .clocks import offset_of
from .workitem_attributes import REQUIREMENTS, Requirement

Path = tuple[str, ...]

CODE_VALUE = "00080100"
CODE_SCHEME = "00080102"
PAIR = "+"
UTC = "Z"
_SHORT = frozenset({"AE", "CS", "DA", "DT", "LO", "PN", "SH", "UI"})
# Of the reference macro (PS3.4 Table CC.2.5-2c): what is asked for is the study or series that an item works on.
_REFERENCES = ((("00404021", "0020000D"), "UI"), (("00404021", "0020000E"), "UI"))
# Has one value for all items, or a column of its own.
_NOT_KEPT = frozenset({ups.SOP_CLASS_UID, ups.STATE})


def _paths(rows: Iterable[Requirement], within: Path) -> Iterator[tuple[Path, str]]:
    for row in rows:
        path = (*within, row.tag)
        if row.match == "-" or row.tag in _NOT_KEPT:
            continue
        if row.is_code:
            yield (*path, CODE_VALUE), "SH"
        elif row.rows:
            yield from _paths(row.rows.values(), path)
        elif row.vr in _SHORT:
            yield path, row.vr


# Path of each key that is kept, to its VR
KEYS: dict[Path, str] = {**dict(_paths(REQUIREMENTS.values(), ())), **dict(_REFERENCES)}


def key_values(attributes: Attributes) -> set[tuple[str, str]]:
    """Path (tags joined) and value of everything that the index keeps of an item."""
    offset = offset_of(attributes)
    return {pair for path, vr in KEYS.items() if path[0] in attributes for pair in _found(path, vr, attributes, offset)}


def _found(path: Path, vr: str, attributes: Attributes, offset: int | None) -> Iterator[tuple[str, str]]:
    joined = "".join(path)
    for item in _holders(path[:-1], attributes):
        for value in values(item, path[-1]):
            for suffix, form in _forms(vr, value, offset):
                yield joined + suffix, form
        if path[-1] == CODE_VALUE and (value := plain(next(iter(values(item, CODE_VALUE)), None))):
            scheme = plain(next(iter(values(item, CODE_SCHEME)), None))
            yield "".join(path[:-1]) + PAIR, f"{value}\\{scheme}"


def _holders(path: Path, attributes: Attributes) -> Iterator[Attributes]:
    if not path:
        yield attributes
        return
    for item in items(attributes, path[0]):
        yield from _holders(path[1:], item)


def _forms(vr: str, value: Any, offset: int | None) -> Iterator[tuple[str, str]]:
    """The comparable forms of one value, each with the suffix of its path; none for an empty or malformed one."""
    try:
        if vr == "PN":
            yield from (("", group) for group in names.groups(value) if group)
        elif vr == "DA":
            yield "", times.read_date(plain(value))
        elif vr == "DT":
            moment = times.read_date_time(plain(value))
            yield "", comparable(moment.first)
            yield UTC, comparable(moment.start(offset))
        elif text := plain(value):
            yield "", text
    except (ValueError, OverflowError):
        return


def comparable(moment: datetime) -> str:
    """A date and time as text whose order is that of time."""
    return f"{moment.year:04d}" + moment.strftime("%m%d%H%M%S%f")


def start(attributes: Attributes) -> str:
    """When the item is scheduled to start, as its clock shows it: the order of the worklist. Empty when that is not known."""
    return next((form for _, form in _forms("DT", next(iter(values(attributes, ups.START_DATE_TIME)), None), None)), "")
