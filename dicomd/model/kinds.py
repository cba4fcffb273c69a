"""The kinds of matching of PS3.4 C.2.2.2, each as a value that accepts or refuses one stored value.

A match knows nothing of where values are kept: the index turns the same objects into SQL where columns exist.
Stored values are those of the DICOM JSON Model. Stored values that are not of their VR match nothing.
"""

import re
import struct
from datetime import datetime
from functools import lru_cache
from typing import Any, Protocol

from attrs import frozen

from . import names, times
from .attributes import plain
from .status import InvalidRequest

# PS3.4 C.2.2.2.4
WILDCARD_VRS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT", "UN"})
# PS3.4 C.2.2.2.8
MULTIPLE_VRS = frozenset({"AE", "AS", "AT", "CS", "LO", "PN", "SH", "UC"})
NUMBER_VRS = frozenset({"IS", "DS", "US", "UL", "SS", "SL", "SV", "UV", "FL", "FD"})
TEXT_VRS = frozenset({"AE", "CS", "LO", "LT", "SH", "ST", "UC", "UR", "UT", "UN"})
# More than anybody means, and less than what would keep a server busy
MOST_WILDCARDS = 64
LONGEST_PATTERN = 4096


class Match(Protocol):
    """What one matching key asks of an attribute."""

    def accepts(self, value: Any) -> bool:
        """Whether this stored value satisfies the key."""


@frozen
class Universal:
    """Universal matching: everything, also an absent attribute."""

    def accepts(self, value: Any) -> bool:
        """Everything."""
        return True


@frozen
class Single:
    """Single value matching of text (codes, UIDs, tags): exact and case-sensitive, surrounding spaces do not count."""

    value: str

    def accepts(self, value: Any) -> bool:
        """The same text."""
        return plain(value) == self.value


@frozen
class Number:
    """Single value matching of a number: `1`, `1.0` and `+1` are the same."""

    value: int | float

    def accepts(self, value: Any) -> bool:
        """The same number; a stored FL was rounded to 32 bits, so the key is rounded as well."""
        try:
            stored = read_number(value)
        except ValueError:
            return False
        return stored == self.value or (isinstance(stored, float) and stored == _rounded(float(self.value)))


@frozen
class Wildcard:
    """Wildcard matching: `*` any run of characters, `?` exactly one; the rest literally."""

    pattern: str

    def accepts(self, value: Any) -> bool:
        """The whole value matches the pattern."""
        return fits(self.pattern, plain(value))


@frozen
class Dates:
    """Range (or single value) matching of DA, both ends included, as `YYYYMMDD`."""

    low: str = times.FIRST_DATE
    high: str = times.LAST_DATE

    def accepts(self, value: Any) -> bool:
        """Within the range."""
        try:
            return self.low <= times.read_date(plain(value)) <= self.high
        except ValueError:
            return False


@frozen
class Times:
    """Range (or single value) matching of TM, both ends included, as `HHMMSS.ffffff`; never across midnight."""

    low: str = times.FIRST_TIME
    high: str = times.LAST_TIME

    def accepts(self, value: Any) -> bool:
        """Within the range."""
        try:
            return self.low <= times.read_time(plain(value)) <= self.high
        except ValueError:
            return False


@frozen
class DateTimes:
    """Range (or single value) matching of DT. Clocks are compared when the offsets of both sides are known."""

    low: times.Moment | None
    high: times.Moment | None
    single: bool = False
    offset: int | None = None

    def accepts(self, value: Any) -> bool:
        """Within the range, for a data set that does not state its offset."""
        return self.accepts_at(value, None)

    def accepts_at(self, value: Any, stored_offset: int | None) -> bool:
        """Within the range; a stored value without offset was written on the clock of `stored_offset`."""
        try:
            moment = times.read_date_time(plain(value))
            offset = moment.offset if moment.offset is not None else stored_offset
            instant = moment.start(offset)
            return (self.low is None or self._start(self.low, offset) <= instant) and (
                self.high is None or instant <= self._end(self.high, offset)
            )
        except (ValueError, OverflowError):
            return False

    def _start(self, bound: times.Moment, stored: int | None) -> datetime:
        return bound.start(self.offset if self.offset is not None else stored)

    def _end(self, bound: times.Moment, stored: int | None) -> datetime:
        offset = self.offset if self.offset is not None else stored
        return bound.start(offset) if self.single else bound.end(offset)


@frozen
class Name:
    """Literal matching of a PN: normalised patterns for the component groups; `anywhere`: one pattern for whichever group."""

    patterns: names.Groups
    anywhere: bool

    def accepts(self, value: Any) -> bool:
        """By the rules of `names`."""
        stored = names.groups(value)
        if self.anywhere:
            return any(group and fits(self.patterns[0], group) for group in stored)
        return all(fits(pattern, group) for pattern, group in zip(self.patterns, stored, strict=True) if pattern)


@frozen
class FuzzyName:
    """Fuzzy matching of a PN."""

    literal: Name
    words: tuple[names.FuzzyWord, ...]

    def accepts(self, value: Any) -> bool:
        """By the rules of `names`."""
        if self.literal.accepts(value):
            return True
        stored = names.words_of(value)
        return bool(self.words) and all(any(_meets(word, other) for other in stored) for word in self.words)


@frozen
class OneOf:
    """List of UID matching, and several values of another VR when multiple value matching is not asked for: any one of them."""

    matches: tuple[Match, ...]

    def accepts(self, value: Any) -> bool:
        """One of them does."""
        return any(match.accepts(value) for match in self.matches)


@frozen
class UidList:
    """List of UID matching (PS3.4 C.2.2.2.2)."""

    uids: frozenset[str]

    def accepts(self, value: Any) -> bool:
        """It is in the list."""
        return plain(value) in self.uids


@frozen
class Every:
    """Multiple value matching (PS3.4 C.2.2.2.8): each value of the key is among the stored ones. Asked of all values at once."""

    matches: tuple[Match, ...]

    def accepts(self, value: Any) -> bool:
        """A single stored value satisfies a key of one value only."""
        return self.accepts_all([value])

    def accepts_all(self, values: list[Any]) -> bool:
        """Every value of the key is met by one of the stored values."""
        return all(any(match.accepts(value) for value in values) for match in self.matches)


@frozen
class Empty:
    """Empty value matching (PS3.4 C.2.2.2.7): the attribute is absent or has no value."""

    def accepts(self, value: Any) -> bool:
        """A value is not empty."""
        return value is None or plain(value) == ""


@frozen
class Untyped:
    """A key whose VR is not known before the stored attribute is seen (private attributes): text, or a number."""

    text: Match
    number: Number | None

    def accepts(self, value: Any) -> bool:
        """By the kind of the stored value."""
        if isinstance(value, (int, float)):
            return self.number is not None and self.number.accepts(value)
        return self.text.accepts(value)


@frozen
class Interval:
    """Combined date-time matching (PS3.4 C.2.2.2.5.4): a DA and its TM, both ranges, as one interval."""

    time_tag: str
    low: tuple[str, str] | None
    high: tuple[str, str] | None

    def accepts(self, value: Any) -> bool:
        """The date alone is within the days of the interval."""
        return Dates(self.low[0] if self.low else times.FIRST_DATE, self.high[0] if self.high else times.LAST_DATE).accepts(value)

    def accepts_pair(self, day: str, time: str) -> bool:
        """Canonical date and time lie within."""
        return (self.low is None or self.low <= (day, time)) and (self.high is None or (day, time) <= self.high)


def fits(pattern: str, text: str) -> bool:
    """Whether the whole text matches a pattern of `*` and `?`, in time proportional to the product of the lengths."""
    if "*" not in pattern and "?" not in pattern:
        return pattern == text
    return _compiled(pattern).fullmatch(text) is not None


@lru_cache(256)
def _compiled(pattern: str) -> "re.Pattern[str]":
    """Atomic groups take the leftmost place of each run between two `*`: no backtracking into earlier ones is needed."""
    head, *runs = [re.escape(run).replace(r"\?", ".") for run in re.split(r"\*+", pattern)]
    middle = "".join(f"(?>.*?{run})" for run in runs[:-1])
    return re.compile(head + middle + (f".*{runs[-1]}" if runs else ""), re.DOTALL)


def read_number(value: Any) -> int | float:
    """A number of the model, which may be written as text; ValueError when it is none."""
    if isinstance(value, (int, float)):
        return value
    text = plain(value)
    if "_" in text:
        raise ValueError("not a number")
    try:
        return int(text)
    except ValueError:
        number = float(text)
        if number != number:
            raise ValueError("not a number") from None
        return number


def _rounded(number: float) -> float:
    try:
        return float(struct.unpack("<f", struct.pack("<f", number))[0])
    except OverflowError:
        return number


def _meets(word: names.FuzzyWord, stored: str) -> bool:
    if word.is_pattern:
        return fits(word.text, stored)
    if stored.startswith(word.text) or (word.sound and word.sound == names.sound(stored)):
        return True
    return word.anywhere and word.text in stored


def check_wildcards(text: str, name: str) -> str:
    """The pattern with runs of `*` made one; InvalidRequest when it has more wildcards than anybody means."""
    pattern = re.sub(r"\*{2,}", "*", text)
    wildcards = pattern.count("*") + pattern.count("?")
    if wildcards > MOST_WILDCARDS:
        raise InvalidRequest(f"{name}: more than {MOST_WILDCARDS} wildcards")
    if wildcards and len(pattern) > LONGEST_PATTERN:
        raise InvalidRequest(f"{name}: a pattern of more than {LONGEST_PATTERN} characters")
    return pattern
