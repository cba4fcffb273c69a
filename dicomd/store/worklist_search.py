"""Search of the modality worklist: what the columns answer exactly is SQL, the rest is left to the reference matcher.

The columns hold the values that modalities ask for, one value each: Scheduled Station AE Title (all titles), date and time,
Modality, the IDs. Names are narrowed by SQL and decided by the matcher.
"""

from collections.abc import Collection, Iterator
from typing import Any

import orjson
from attrs import define, field, frozen
from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from ..model.attributes import Attributes
from ..model.kinds import Dates, Interval, Name, Single, Times, UidList, Universal
from ..model.matching import Items, Key
from ..model.query import Fields, Query, match_all
from ..model.scheduled_steps import ALWAYS_RETURNED, SEQUENCE, ScheduledState
from .schema import scheduled_steps as steps

Place = tuple[str, str, int]
_PAGE = 500

_COLUMNS = {
    "00080050": steps.c.accession_number,
    "00401001": steps.c.requested_procedure_id,
    "0020000D": steps.c.study_instance_uid,
    "00100020": steps.c.patient_id,
}
_STEP_COLUMNS = {"00400009": steps.c.step_id, "00080060": steps.c.modality}
_ORDER = (steps.c.start_date, steps.c.start_time, steps.c.id)


@frozen
class Page:
    """Matching entries in order of their start, and where the next page begins (None: there is none)."""

    entries: tuple[Attributes, ...]
    following: Place | None


@define
class Narrowed:
    """Conditions for a query; `exact` when they decide it, so that nothing need be read to count."""

    conditions: list[ColumnElement[bool]] = field(factory=list)
    exact: bool = True

    def need(self, condition: ColumnElement[bool], *, exact: bool = True) -> None:
        """One more condition; one that only narrows leaves the decision to the matcher."""
        self.conditions.append(condition)
        self.exact = self.exact and exact


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
    conditions = [*narrowed.conditions, *_behind(after)]
    rows = connection.execute(select(*_ORDER, steps.c.attributes).where(*conditions).order_by(*_ORDER).limit(most)).all()
    entries: Iterator[Attributes] = (orjson.loads(row[3]) for row in rows)
    matching = tuple(entries if narrowed.exact else (entry for entry in entries if match_all(query, entry)))
    return Page(matching, (rows[-1][0], rows[-1][1], rows[-1][2]) if len(rows) == most else None)


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
    chosen = select(steps.c.answer if ready else steps.c.attributes).where(*narrowed.conditions)
    return list(connection.scalars(chosen.order_by(*_ORDER).limit(limit).offset(offset))), ready


def _within(asked: Fields, always: Fields) -> bool:
    """Whether everything that is asked for is always there."""
    for tag, inner in asked.items():
        if tag not in always or (inner is None and always[tag] is not None):
            return False
        if inner is not None and not _within(inner, always[tag] or {}):
            return False
    return True


def count(connection: Connection, query: Query, hidden: Collection[ScheduledState]) -> int:
    """How many entries match a query that SQL alone decides."""
    return connection.scalar(select(func.count()).select_from(steps).where(*narrow(query, hidden).conditions)) or 0


def _behind(after: Place | None) -> list[ColumnElement[bool]]:
    if after is None:
        return []
    day, time, row = after
    later_time = or_(steps.c.start_time > time, and_(steps.c.start_time == time, steps.c.id > row))
    return [or_(steps.c.start_date > day, and_(steps.c.start_date == day, later_time))]


def _add(found: Narrowed, key: Key, columns: dict[str, Any]) -> None:
    match, column = key.match, columns.get(key.tag)
    inside = columns is _STEP_COLUMNS
    if isinstance(match, Universal):
        return
    if column is not None and isinstance(match, Single):
        found.need(column == match.value)
    elif column is not None and isinstance(match, UidList):
        found.need(column.in_(sorted(match.uids)))
    elif inside and key.tag == "00400001" and isinstance(match, Single):
        without = func.replace(steps.c.station_ae_titles, f"\\{match.value}\\", "")
        found.need(func.length(without) < func.length(steps.c.station_ae_titles))
    elif inside and key.tag == "00400002" and isinstance(match, Dates):
        found.need(steps.c.start_date.between(match.low, match.high))
    elif inside and key.tag == "00400003" and isinstance(match, Times):
        found.need(steps.c.start_time.between(match.low, match.high))
    elif inside and key.tag == "00400002" and isinstance(match, Interval):
        _add_interval(found, match)
    elif key.tag == "00100010" and isinstance(match, Name):
        found.need(steps.c.patient_name_key.like(_like(match), escape="/"), exact=False)
    else:
        found.exact = False


def _add_interval(found: Narrowed, match: Interval) -> None:
    """Date and time as one point in time (PS3.4 K.2.2)."""
    date, time = steps.c.start_date, steps.c.start_time
    if match.low is not None:
        found.need(or_(date > match.low[0], and_(date == match.low[0], time >= match.low[1])))
    if match.high is not None:
        found.need(or_(date < match.high[0], and_(date == match.high[0], time <= match.high[1])))


def _like(match: Name) -> str:
    """A pattern that every matching name meets: `patient_name_key` holds all groups, each begun by a line feed."""
    pattern = match.patterns[0]
    for mark in ("/", "%", "_"):
        pattern = pattern.replace(mark, "/" + mark)
    return f"%\n{pattern.replace('*', '%').replace('?', '_')}%"
