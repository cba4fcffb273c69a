"""Search of the modality worklist: what the columns answer exactly is SQL, the rest is left to the reference matcher.

Each column holds one value, whose syntax was checked when the entry came in (Scheduled Station AE Title: all its values); so the
columns can say all that the matcher would. Keys without a column are narrowed by the text they must contain.
"""

import re
from collections.abc import Callable, Collection, Iterator
from typing import Any

import orjson
from attrs import define, field, frozen
from sqlalchemy import ColumnElement, Connection, and_, false, func, or_, select

from ..model.attributes import Attributes
from ..model.kinds import (
    Dates,
    Empty,
    Every,
    FuzzyName,
    Interval,
    Match,
    Name,
    OneOf,
    Single,
    Times,
    UidList,
    Universal,
    Wildcard,
)
from ..model.matching import Items, Key
from ..model.names import FuzzyWord
from ..model.query import Fields, Query, match_all
from ..model.scheduled_steps import ALWAYS_RETURNED, SEQUENCE, ScheduledState
from . import dialect
from .schema import scheduled_step_contents as contents
from .schema import scheduled_steps as steps

Place = tuple[str, str, int]
Condition = ColumnElement[bool]
_PAGE = 500

_COLUMNS: dict[str, Any] = {
    "00080050": steps.c.accession_number,
    "00401001": steps.c.requested_procedure_id,
    "0020000D": steps.c.study_instance_uid,
    "00100020": steps.c.patient_id,
    "00100010": "patient",
}
_STEP_COLUMNS: dict[str, Any] = {
    "00400001": steps.c.station_ae_titles,
    "00400002": steps.c.start_date,
    "00400003": steps.c.start_time,
    "00400006": "performer",
    "00400009": steps.c.step_id,
    "00400020": steps.c.state,
    "00080060": steps.c.modality,
}
_ORDER = (steps.c.start_date, steps.c.start_time, steps.c.id)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_WILD = re.compile(r"[*?]")


class _Unknown(Exception):
    """The columns cannot say it."""


@frozen
class Page:
    """Matching entries in order of their start, and where the next page begins (None: there is none)."""

    entries: tuple[Attributes, ...]
    following: Place | None


@define
class Narrowed:
    """Conditions for a query; `exact` when they decide it. `inside`: text that the JSON of what matches contains."""

    conditions: list[Condition] = field(factory=list)
    inside: list[str] = field(factory=list)
    exact: bool = True


def narrow(query: Query, hidden: Collection[ScheduledState]) -> Narrowed:
    """What SQL can say of a query."""
    found = Narrowed([steps.c.state.not_in([str(state) for state in hidden])] if hidden else [])
    if query.timezone is not None:
        found.exact = False
        return found
    for key in query.keys:
        if key.tag == SEQUENCE and isinstance(key.match, Items):
            for inner in key.match.keys:
                _add(found, inner, _STEP_COLUMNS)
        else:
            _add(found, key, _COLUMNS)
    return found


def search(
    connection: Connection, query: Query, hidden: Collection[ScheduledState], after: Place | None, most: int = _PAGE
) -> Page:
    """The matches among the next candidates behind `after`, at most `most`."""
    narrowed = narrow(query, hidden)
    narrowed.conditions += _behind(after)
    chosen = select(*_ORDER).where(*narrowed.conditions)
    for part in narrowed.inside:
        chosen = chosen.where(dialect.contains(_attributes(), part))
    page = chosen.order_by(*_ORDER).limit(most).subquery()
    rows = connection.execute(_with_contents(page, contents.c.attributes)).all()
    entries: Iterator[Attributes] = (orjson.loads(row[3]) for row in rows)
    matching = tuple(entries if narrowed.exact else (entry for entry in entries if match_all(query, entry)))
    return Page(matching, (rows[-1][0], rows[-1][1], rows[-1][2]) if len(rows) == most else None)


def _attributes() -> Any:
    return select(contents.c.attributes).where(contents.c.step == steps.c.id).scalar_subquery()


def _with_contents(page: Any, content: Any) -> Any:
    """What is kept of the steps of a page, in their order."""
    joined = select(*page.c, content).join(contents, contents.c.step == page.c.id)
    return joined.order_by(page.c.start_date, page.c.start_time, page.c.id)


def page_at(
    connection: Connection, query: Query, hidden: Collection[ScheduledState], offset: int, limit: int
) -> tuple[list[str], bool] | None:
    """The page at an offset as DICOM JSON objects, when SQL alone decides the query; else None.

    True: they are what is to be answered, because nothing but what every answer holds is asked for; else whole entries.
    """
    narrowed = narrow(query, hidden)
    if not narrowed.exact:
        return None
    ready = not query.all_fields and _within(query.fields, ALWAYS_RETURNED)
    page = select(*_ORDER).where(*narrowed.conditions).order_by(*_ORDER).limit(limit).offset(offset).subquery()
    rows = connection.execute(_with_contents(page, contents.c.answer if ready else contents.c.attributes))
    return [row[3] for row in rows], ready


def _within(asked: Fields, always: Fields) -> bool:
    """Whether everything that is asked for is always there."""
    for tag, inner in asked.items():
        if tag not in always or (inner is None and always[tag] is not None):
            return False
        if inner is not None and always[tag] is not None and not _within(inner, always[tag] or {}):
            return False
    return True


def count(connection: Connection, query: Query, hidden: Collection[ScheduledState]) -> int:
    """How many entries match a query that SQL alone decides."""
    return connection.scalar(select(func.count()).select_from(steps).where(*narrow(query, hidden).conditions)) or 0


def _behind(after: Place | None) -> list[Condition]:
    if after is None:
        return []
    day, time, row = after
    later_time = or_(steps.c.start_time > time, and_(steps.c.start_time == time, steps.c.id > row))
    return [or_(steps.c.start_date > day, and_(steps.c.start_date == day, later_time))]


# ---- from keys to conditions


def _add(found: Narrowed, key: Key, columns: dict[str, Any]) -> None:
    if isinstance(key.match, Universal):
        return
    try:
        found.conditions.append(_condition(key.match, columns[key.tag]))
    except (_Unknown, KeyError):
        found.exact = False
        found.inside += _contained(key.match)


def _condition(match: Match, column: Any) -> Condition:
    try:
        make = (_NAMES if isinstance(column, str) else _KINDS)[type(match)]
    except KeyError:
        raise _Unknown from None
    return make(match, column)


def _contained(match: Match) -> list[str]:
    """Text that is in the JSON of every match, because the value is; a number may be written in several ways."""
    if isinstance(match, Items):
        return [part for key in match.keys for part in _contained(key.match)]
    if not isinstance(match, Single):
        return []
    try:
        float(match.value)
    except ValueError:
        return [orjson.dumps(match.value).decode()[1:-1]]
    return []


def _single(match: Single, column: Any) -> Condition:
    if column is steps.c.station_ae_titles:
        return false() if "\\" in match.value else dialect.contains(column, f"\\{match.value}\\")
    return column == match.value


def _uid_list(match: UidList, column: Any) -> Condition:
    return column.in_(dialect.values_of(orjson.dumps(sorted(match.uids)).decode()))


def _wildcard(match: Wildcard, column: Any) -> Condition:
    if column is steps.c.station_ae_titles:
        raise _Unknown
    return and_(column != "", _fits(match.pattern, column))


def _fits(pattern: str, column: Any) -> Condition:
    """A wildcard pattern; control characters are in no column."""
    if _CONTROL.search(pattern):
        return false()
    if not _WILD.search(pattern):
        return column == pattern
    return dialect.globs(column, dialect.glob(pattern))


def _between(match: Dates | Times, column: Any) -> Condition:
    return column.between(match.low, match.high)


def _interval(match: Interval, column: Any) -> Condition:
    """Date and time as one point in time (PS3.4 K.2.2)."""
    date, time = steps.c.start_date, steps.c.start_time
    if column is not date:
        raise _Unknown
    bounds = []
    if match.low is not None:
        bounds.append(or_(date > match.low[0], and_(date == match.low[0], time >= match.low[1])))
    if match.high is not None:
        bounds.append(or_(date < match.high[0], and_(date == match.high[0], time <= match.high[1])))
    return and_(*bounds)


def _one_of(match: OneOf, column: Any) -> Condition:
    return or_(*[_condition(part, column) for part in match.matches])


def _every(match: Every, column: Any) -> Condition:
    return and_(*[_condition(part, column) for part in match.matches])


def _empty(match: Empty, column: Any) -> Condition:
    return column == ("\\" if column is steps.c.station_ae_titles else "")


# ---- persons' names, by the rules of `model.names`


def _name(match: Name, prefix: str) -> Condition:
    groups = [steps.c[f"{prefix}_{group}"] for group in ("alphabetic", "ideographic", "phonetic")]
    if match.anywhere:
        return or_(*[and_(group != "", _fits(match.patterns[0], group)) for group in groups])
    if not any(pattern.strip("*") for pattern in match.patterns):
        raise _Unknown  # what matches empty groups too: the columns do not tell an empty name from none
    return and_(*[_fits(pattern, group) for pattern, group in zip(match.patterns, groups, strict=True) if pattern])


def _fuzzy(match: FuzzyName, prefix: str) -> Condition:
    literal = _name(match.literal, prefix)
    return or_(literal, and_(*[_word(word, prefix) for word in match.words])) if match.words else literal


def _word(word: FuzzyWord, prefix: str) -> Condition:
    words, sounds = steps.c[f"{prefix}_words"], steps.c[f"{prefix}_sounds"]
    if word.is_pattern:
        raise _Unknown
    if word.anywhere:
        return dialect.contains(words, word.text)
    begins = dialect.contains(words, f"\n{word.text}")
    return or_(begins, dialect.contains(sounds, f"\n{word.sound}\n")) if word.sound else begins


_KINDS: dict[type[Any], Callable[[Any, Any], Condition]] = {
    Single: _single,
    UidList: _uid_list,
    Wildcard: _wildcard,
    Dates: _between,
    Times: _between,
    Interval: _interval,
    OneOf: _one_of,
    Every: _every,
    Empty: _empty,
}
_NAMES: dict[type[Any], Callable[[Any, str], Condition]] = {Name: _name, FuzzyName: _fuzzy, OneOf: _one_of, Every: _every}
