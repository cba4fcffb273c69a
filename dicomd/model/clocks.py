"""Data sets on the clock of another Timezone Offset From UTC (PS3.3 C.12.1.1.8, PS3.4 C.5.1.1.4)."""

from typing import Any

from . import times
from .attributes import Attributes, attribute, plain, values
from .dictionary import TIME_OF_DATE


def offset_of(attributes: Attributes) -> int | None:
    """The Timezone Offset From UTC (0008,0201) that a data set states."""
    try:
        for value in values(attributes, "00080201"):
            return times.read_offset(plain(value))
    except ValueError:
        pass
    return None


def on_clock(attributes: Attributes, offset: int) -> Attributes:
    """The same data set with its dates and times on the clock of `offset`, which it then states (PS3.4 C.5.1.1.4).

    A data set that does not state its own offset is taken to be on that clock already. Dates without their time are not moved.
    """
    stated = offset_of(attributes)
    moved = _moved(attributes, stated, offset) if stated is not None and stated != offset else dict(attributes)
    moved["00080201"] = attribute("SH", times.write_offset(offset))
    return moved


def _moved(attributes: Attributes, old: int, new: int) -> Attributes:
    moved = dict(attributes)
    for tag, content in attributes.items():
        vr = content.get("vr")
        if vr == "DA" and TIME_OF_DATE.get(tag) in attributes:
            moved.update(_moved_pair(attributes, tag, TIME_OF_DATE[tag], new - old))
        elif vr == "DT" and content.get("Value"):
            moved[tag] = {"vr": "DT", "Value": [_with_offset(value, old) for value in content["Value"]]}
        elif vr == "SQ" and content.get("Value"):
            moved[tag] = {"vr": "SQ", "Value": [_moved(item or {}, old, new) for item in content["Value"]]}
    return moved


def _moved_pair(attributes: Attributes, day: str, time: str, minutes: int) -> Attributes:
    """Pairs that cannot be read stay as they are; seconds and their fraction never change."""
    days, hours = list(values(attributes, day)), list(values(attributes, time))
    for number in range(min(len(days), len(hours))):
        try:
            given = plain(hours[number])
            moved_day, moved_time = times.shift(times.read_date(plain(days[number])), times.read_time(given), minutes)
        except (ValueError, OverflowError):
            continue
        days[number] = moved_day
        hours[number] = moved_time if "." in given else moved_time[: max(4, min(6, len(given)))]
    found: Attributes = {}
    if days:
        found[day] = {"vr": "DA", "Value": days}
    if hours:
        found[time] = {"vr": "TM", "Value": hours}
    return found


def _with_offset(value: Any, offset: int) -> Any:
    try:
        stated = times.read_date_time(plain(value)).offset
    except ValueError:
        return value
    return value if stated is not None else plain(value) + times.write_offset(offset)
