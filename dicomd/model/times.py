"""Dates, times and date-times of keys and stored values in one comparable form (PS3.5 6.2 DA, TM, DT; PS3.4 C.2.2.2.5).

Dates become `YYYYMMDD`, times `HHMMSS.ffffff`, so that text order is time order. A time or date-time of lower precision names
a whole period: a single value and a lower bound stand for its start, an upper bound for its end.
"""

import re
from datetime import date, datetime, timedelta

from attrs import frozen

_DATE = re.compile(r"(\d{4})(\d{2})(\d{2})|(\d{4})\.(\d{2})\.(\d{2})", re.ASCII)
_TIME = re.compile(r"(\d{2})(?::?(\d{2})(?::?(\d{2})(?:\.(\d{1,6}))?)?)?", re.ASCII)
_DATE_TIME = re.compile(
    r"(\d{4})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:\.(\d{1,6}))?)?)?)?)?)?([+-]\d{4})?",
    re.ASCII,
)
_OFFSET = re.compile(r"([+-])(\d{2})(\d{2})", re.ASCII)
# PS3.3 C.12.1.1.8: from -1200 to +1400
_LARGEST_OFFSET = 14 * 60

FIRST_DATE, LAST_DATE = "00000000", "99999999"
FIRST_TIME, LAST_TIME = "", "235960.999999"


@frozen
class Moment:
    """A date-time as the period that its precision leaves open, in the clock of `offset` (minutes; None: not stated)."""

    first: datetime
    last: datetime
    offset: int | None = None

    def start(self, offset: int | None = None) -> datetime:
        """The first instant; on the clock of UTC when this or the given default offset is known."""
        return self.first - timedelta(minutes=self._known(offset))

    def end(self, offset: int | None = None) -> datetime:
        """The last instant, see `start`."""
        return self.last - timedelta(minutes=self._known(offset))

    def _known(self, default: int | None) -> int:
        return self.offset if self.offset is not None else default or 0


def read_date(text: str) -> str:
    """`YYYYMMDD` of a DA value (the form with dots of old equipment too); ValueError when it is none."""
    if (found := _DATE.fullmatch(text.strip())) is None:
        raise ValueError("not a date YYYYMMDD")
    plain = "".join(part for part in found.groups() if part)
    date(int(plain[:4]), int(plain[4:6]), int(plain[6:]))
    return plain


def read_time(text: str, *, end: bool = False) -> str:
    """`HHMMSS.ffffff` of a TM value: the start, or the end, of the period it names; ValueError when it is none."""
    if (found := _TIME.fullmatch(text.strip())) is None:
        raise ValueError("not a time HHMMSS.FFFFFF")
    hour, minute, second, fraction = found.groups()
    if int(hour) > 23 or int(minute or 0) > 59 or int(second or 0) > 60:
        raise ValueError("not a time of a day")
    fill, digit = ("59", "9") if end else ("00", "0")
    return f"{hour}{minute or fill}{second or fill}.{(fraction or '').ljust(6, digit)}"


def read_offset(text: str) -> int:
    """Minutes east of UTC of a Timezone Offset From UTC (0008,0201); ValueError when it is none."""
    found = _OFFSET.fullmatch(text.strip())
    if found is None or int(found[3]) > 59 or (minutes := int(found[2]) * 60 + int(found[3])) > _LARGEST_OFFSET:
        raise ValueError("not an offset such as +0100")
    return -minutes if found[1] == "-" else minutes


def write_offset(minutes: int) -> str:
    """The Timezone Offset From UTC of so many minutes."""
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}{abs(minutes) % 60:02d}"


def read_date_time(text: str) -> Moment:
    """A DT value; ValueError when it is none."""
    if (found := _DATE_TIME.fullmatch(text.strip())) is None:
        raise ValueError("not a date-time YYYYMMDDHHMMSS.FFFFFF&ZZXX")
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    leap = second == "60"
    first = datetime(
        int(year),
        int(month or 1),
        int(day or 1),
        int(hour or 0),
        int(minute or 0),
        59 if leap else int(second or 0),
        int((fraction or "0").ljust(6, "0")),
    )
    return Moment(first, _end(first, found), read_offset(zone) if zone else None)


def _end(first: datetime, found: "re.Match[str]") -> datetime:
    """The last microsecond of the period that starts at `first` and is named with this precision."""
    tick = timedelta(microseconds=1)
    if found[7]:
        return first + timedelta(microseconds=10 ** (6 - len(found[7]))) - tick
    for group, unit in ((6, "seconds"), (5, "minutes"), (4, "hours"), (3, "days")):
        if found[group]:
            return _later(first, timedelta(**{unit: 1}) - tick)
    if not found[2] or first.month == 12:
        return datetime(first.year, 12, 31, 23, 59, 59, 999999)
    return datetime(first.year, first.month + 1, 1) - tick


def _later(first: datetime, by: timedelta) -> datetime:
    try:
        return first + by
    except OverflowError:
        return datetime.max


def shift(day: str, time: str, minutes: int) -> tuple[str, str]:
    """A canonical date and time moved by so many minutes: from the clock of one offset to that of another."""
    leap = time[4:6] == "60"
    moment = datetime.strptime(day + time[:4], "%Y%m%d%H%M") + timedelta(minutes=minutes)
    seconds = time[4:]
    return moment.strftime("%Y%m%d"), moment.strftime("%H%M") + ("59.999999" if leap and minutes else seconds)
