"""The matching keys of a Unified Procedure Step that the index keeps, and their stored values in comparable form.

They are the rows of PS3.4 Table CC.2.5-3 with a matching key type whose values are short; every other attribute is matched on the
item itself. Of a code sequence the code value is a key, and value and scheme together (path with `+`). A date-time is kept
twice: as its clock shows it, and in UTC (path with `Z`). Of a name each component group is a key, and if there are several, the
groups together (path with `=`).
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from typing import Any

from attrs import frozen

from . import names, times
from . import workitem_attributes as ups
from .attributes import Attributes, plain, text
from .clocks import offset_of
from .workitem_attributes import REQUIREMENTS, Requirement

Path = tuple[str, ...]

CODE_VALUE = "00080100"
CODE_SCHEME = "00080102"
PAIR = "+"
UTC = "Z"
GROUPS = "="
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


@frozen
class _Node:
    """Where keys lie (`path`: tags joined): a value of this VR, a code sequence, or a sequence with keys in its items."""

    path: str
    vr: str
    is_code: bool
    rows: "dict[str, _Node]"


def _tree(paths: Iterable[tuple[Path, str]], within: str = "") -> dict[str, _Node]:
    below: dict[str, list[tuple[Path, str]]] = {}
    for path, vr in paths:
        below.setdefault(path[0], []).append((path[1:], vr))
    return {tag: _node(within + tag, inner) for tag, inner in below.items()}


def _node(path: str, inner: list[tuple[Path, str]]) -> _Node:
    vr = inner[0][1] if not inner[0][0] else "SQ"
    return _Node(path, vr, inner == [((CODE_VALUE,), "SH")], _tree((row for row in inner if row[0]), path))


_TREE = _tree(KEYS.items())


def key_values(attributes: Attributes) -> set[tuple[str, str]]:
    """Path (tags joined) and value of everything that the index keeps of an item.

    NUL, which no text may hold (PS3.5 6.1.3), becomes U+FFFD: functions of a database may take it for the end of the text.
    """
    found: set[tuple[str, str]] = set()
    _gather(attributes, _TREE, offset_of(attributes), found)
    if any("\0" in value for _, value in found):
        return {(path, value.replace("\0", "\ufffd")) for path, value in found}
    return found


def _gather(attributes: Attributes, tree: dict[str, _Node], offset: int | None, found: set[tuple[str, str]]) -> None:
    for tag, element in attributes.items():
        node = tree.get(tag)
        if node is None or not (content := element.get("Value")):
            continue
        for value in content:
            if not node.rows:
                for suffix, form in _forms(node.vr, value, offset):
                    found.add((node.path + suffix, form))
            elif isinstance(value, dict):
                _gather(value, node.rows, offset, found)
                if node.is_code and (code := text(value, CODE_VALUE)):
                    found.add((node.path + PAIR, f"{code}\\{text(value, CODE_SCHEME)}"))


def _forms(vr: str, value: Any, offset: int | None) -> Iterable[tuple[str, str]]:
    """The comparable forms of one value, each with the suffix of its path; none for an empty or malformed one."""
    if vr == "DT":
        return _moments(plain(value), offset)
    if vr == "PN":
        return _names(names.groups(value))
    if vr == "DA":
        return _dates(plain(value))
    return [("", shown)] if (shown := plain(value)) else ()


def _names(groups: names.Groups) -> Iterable[tuple[str, str]]:
    present = [("", group) for group in groups if group]
    return present if len(present) < 2 else [*present, (GROUPS, "=".join(groups))]


@lru_cache(4096)
def _dates(value: str) -> Iterable[tuple[str, str]]:
    try:
        return [("", times.read_date(value))]
    except ValueError:
        return ()


@lru_cache(4096)
def _moments(value: str, offset: int | None) -> Iterable[tuple[str, str]]:
    if len(value) == 26 and value.endswith("+0000"):  # as this server writes them
        shown = value[:14] + value[15:21]
        return (("", shown), (UTC, shown))
    try:
        moment = times.read_date_time(value)
        return (("", comparable(moment.first)), (UTC, comparable(moment.start(offset))))
    except (ValueError, OverflowError):
        return ()


def comparable(moment: datetime) -> str:
    """A date and time as text whose order is that of time."""
    m = moment
    return f"{m.year:04d}{m.month:02d}{m.day:02d}{m.hour:02d}{m.minute:02d}{m.second:02d}{m.microsecond:06d}"


def start(attributes: Attributes) -> str:
    """When the item is scheduled to start, as its clock shows it: the order of the worklist. Empty when that is not known."""
    return next((form for _, form in _moments(text(attributes, ups.START_DATE_TIME), None)), "")
