"""The reference matcher: whether a data set in the DICOM JSON Model satisfies keys (PS3.4 C.2.2.2).

The index answers in SQL what its columns can answer, by these rules; everything else is answered here: attributes without a
column, worklists, non-patient instances.
"""

from typing import Any

from attrs import frozen

from . import times
from .attributes import Attributes, items, plain, values
from .clocks import offset_of
from .dictionary import is_creator
from .kinds import DateTimes, Empty, Every, Interval, Match, Universal

Path = tuple[str, ...]
ANY: frozenset[Path] = frozenset()
# Keys of the Query/Retrieve tables (PS3.4 C.6.1, C.6.2; PS3.18 10.6.1-5): an entity without a value matches whatever is asked
# (PS3.4 C.2.2.1.2).
REQUIRED: frozenset[Path] = frozenset(
    {
        ("00100010",),
        ("00100020",),
        ("00080020",),
        ("00080030",),
        ("00080050",),
        ("00200010",),
        ("00080061",),
        ("00080090",),
        ("00080060",),
        ("00200011",),
        ("00400244",),
        ("00400245",),
        ("00400275", "00400009"),
        ("00400275", "00401001"),
        ("00200013",),
    }
)


@frozen
class Key:
    """One matching key. `creator`: the private creator, for a private attribute."""

    tag: str
    vr: str
    match: Match
    creator: str = ""


@frozen
class Items:
    """Sequence matching (PS3.4 C.2.2.2.6): one item satisfies all the keys."""

    keys: tuple[Key, ...]

    def accepts(self, value: Any) -> bool:
        """One item."""
        return isinstance(value, dict) and all(matches(key, value) for key in self.keys)


def matches(key: Key, attributes: Attributes, *, unknown: frozenset[Path] = ANY, within: Path = ()) -> bool:
    """Whether a data set satisfies one key; `within` is the path of the sequence whose item it is."""
    match = key.match
    if isinstance(match, Universal):
        return True
    tag = located(key.tag, key.creator, attributes)
    if isinstance(match, Items):
        below = (*within, key.tag)
        candidates: list[Attributes] = items(attributes, tag) or [{}]
        return any(all(matches(inner, item, unknown=unknown, within=below) for inner in match.keys) for item in candidates)
    stored = [value for value in values(attributes, tag) if value is not None and plain(value) != ""]
    if isinstance(match, Empty):
        return not stored and not _has_other_content(attributes.get(tag))
    if not stored:
        return (*within, key.tag) in unknown
    if isinstance(match, Every):
        return match.accepts_all(stored)
    if isinstance(match, Interval):
        return _in_interval(match, values(attributes, tag), attributes, (*within, match.time_tag) in unknown)
    if isinstance(match, DateTimes):
        return any(match.accepts_at(value, offset_of(attributes)) for value in stored)
    return any(match.accepts(value) for value in stored)


def _has_other_content(content: dict[str, Any] | None) -> bool:
    return content is not None and ("InlineBinary" in content or "BulkDataURI" in content)


def _in_interval(match: Interval, days: list[Any], attributes: Attributes, time_may_lack: bool) -> bool:
    """The date and the time in the same place; a date whose time is unknown is compared alone, where unknown matches."""
    hours = values(attributes, match.time_tag)
    for number, day in enumerate(days):
        try:
            hour = plain(hours[number]) if number < len(hours) else ""
            if not hour:
                if time_may_lack and match.accepts(day):
                    return True
            elif match.accepts_pair(times.read_date(plain(day)), times.read_time(hour)):
                return True
        except ValueError:
            continue
    return False


def located(tag: str, creator: str, attributes: Attributes) -> str:
    """Where a data set keeps a private attribute: the block that its creator reserved there (PS3.5 7.8.1)."""
    if not creator:
        return tag
    group = tag[:4]
    for other in attributes:
        if other.startswith(group) and is_creator(other) and any(plain(value) == creator for value in values(attributes, other)):
            return group + other[6:] + tag[6:]
    return "absent"
