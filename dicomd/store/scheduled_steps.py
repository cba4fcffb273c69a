"""Queries on the modality worklist: scheduled procedure steps, their state, and the entries that may match a query."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import orjson
from attrs import frozen
from sqlalchemy import ColumnElement, Connection, Row, and_, delete, insert, or_, select, update

from ..model.attributes import Attributes, text, texts
from ..model.kinds import Dates, Interval, Single
from ..model.matching import Items, Key
from ..model.names import name_key
from ..model.query import Query, match_all
from ..model.scheduled_steps import SEQUENCE, ScheduledState, identity, state_of, step_of, with_state
from .schema import fulfilments, performed_steps
from .schema import scheduled_steps as steps

Identity = tuple[str, str]
_PAGE = 200


@frozen
class Entry:
    """A worklist entry as it is kept."""

    row: int
    attributes: Attributes


def put(connection: Connection, entries: Sequence[Attributes], origin: str, now: int) -> list[tuple[int, bool]]:
    """Enter or update steps; for each its row and whether it is new. The state of a step that is being performed stays."""
    return [_put(connection, entry, origin, now) for entry in entries]


def _put(connection: Connection, entry: Attributes, origin: str, now: int) -> tuple[int, bool]:
    performed = _performed_state(connection, identity(entry))
    if performed is not None:
        entry = with_state(entry, performed)
    held = connection.execute(_by_identity(identity(entry))).first()
    if held is None:
        added = connection.execute(insert(steps).values(_row(entry, origin, now)))
        return int(added.inserted_primary_key[0]), True  # type: ignore[index]
    connection.execute(update(steps).where(steps.c.id == held.id).values(_row(entry, origin, now)))
    return int(held.id), False


def _performed_state(connection: Connection, step: Identity) -> ScheduledState | None:
    """The state that follows from the last performed step of a scheduled step, which may have come before its entry."""
    joined = select(performed_steps.c.state).join(fulfilments, fulfilments.c.performed_row == performed_steps.c.id)
    of_step = joined.where(fulfilments.c.accession_number == step[0], fulfilments.c.step_id == step[1])
    state = connection.scalar(of_step.order_by(performed_steps.c.id.desc()).limit(1))
    return None if state is None else ScheduledState(state)


def _by_identity(step: Identity) -> Any:
    return select(steps).where(steps.c.accession_number == step[0], steps.c.step_id == step[1])


def get(connection: Connection, row: int) -> Entry | None:
    """One entry by its row."""
    found = connection.execute(select(steps).where(steps.c.id == row)).first()
    return _entry(found) if found is not None else None


def remove(connection: Connection, row: int) -> bool:
    """Take an entry from the worklist; whether it was there."""
    return connection.execute(delete(steps).where(steps.c.id == row)).rowcount > 0


def remove_identity(connection: Connection, step: Identity) -> bool:
    """Take a step from the worklist by its identity; an order's cancellation may lack the Accession Number."""
    same_accession = [steps.c.accession_number == step[0]] if step[0] else []
    return connection.execute(delete(steps).where(steps.c.step_id == step[1], *same_accession)).rowcount > 0


def remove_origin(connection: Connection, origin: str, keep: Iterable[Identity] = ()) -> int:
    """Take out the entries of one file of the watched folder, but for those that it still holds."""
    rows = connection.execute(select(steps.c.id, steps.c.accession_number, steps.c.step_id).where(steps.c.origin == origin))
    kept = set(keep)
    gone = [row.id for row in rows if (row.accession_number, row.step_id) not in kept]
    for row in gone:
        connection.execute(delete(steps).where(steps.c.id == row))
    return len(gone)


def origins(connection: Connection) -> set[str]:
    """The files of the watched folder that have entries."""
    return set(connection.scalars(select(steps.c.origin).where(steps.c.origin != "").distinct()))


def set_state(connection: Connection, step: Identity, state: ScheduledState, now: int) -> bool:
    """Note that a step is being performed, or was; whether the worklist has it."""
    found = connection.execute(_by_identity(step)).first()
    if found is None:
        return False
    entry = with_state(orjson.loads(found.attributes), state)
    connection.execute(update(steps).where(steps.c.id == found.id).values(_row(entry, found.origin, now)))
    return True


def expire(connection: Connection, started_before: str, changed_before: int) -> int:
    """Take out steps that were to start before a date (YYYYMMDD) and have not changed since `changed_before`."""
    old = and_(steps.c.start_date < started_before, steps.c.changed_at < changed_before)
    return connection.execute(delete(steps).where(old)).rowcount


@frozen
class Page:
    """Entries that match, and where the next page begins (None: there is none)."""

    entries: tuple[Entry, ...]
    following: tuple[str, str, int] | None


def search(connection: Connection, query: Query, hidden: Collection[ScheduledState], after: Any = None) -> Page:
    """The matching entries among the next candidates, in order of their start; the matcher decides."""
    found = candidates(connection, query, hidden, after)
    matching = tuple(entry for entry in found if match_all(query, entry.attributes))
    return Page(matching, position(found[-1]) if len(found) == _PAGE else None)


def candidates(connection: Connection, query: Query, hidden: Collection[ScheduledState], after: Any = None) -> list[Entry]:
    """At most a page of entries that may match; `after` is the last entry's `position`."""
    conditions = [*_narrow(query), steps.c.state.not_in([str(state) for state in hidden])]
    if after is not None:
        day, time, row = after
        later_time = or_(steps.c.start_time > time, and_(steps.c.start_time == time, steps.c.id > row))
        conditions.append(or_(steps.c.start_date > day, and_(steps.c.start_date == day, later_time)))
    order = (steps.c.start_date, steps.c.start_time, steps.c.id)
    return [_entry(row) for row in connection.execute(select(steps).where(*conditions).order_by(*order).limit(_PAGE))]


def position(entry: Entry) -> tuple[str, str, int]:
    """Where an entry stands in the order of `candidates`."""
    return text(step_of(entry.attributes), "00400002"), text(step_of(entry.attributes), "00400003"), entry.row


def _narrow(query: Query) -> Iterator[ColumnElement[bool]]:
    """Conditions on columns; none on dates when they are on another clock than the entries."""
    for key in query.keys:
        yield from _condition(key, _COLUMNS)
        if key.tag == SEQUENCE and isinstance(key.match, Items):
            for inner in key.match.keys:
                yield from _condition(inner, _STEP_COLUMNS)


_COLUMNS = {
    "00080050": steps.c.accession_number,
    "00401001": steps.c.requested_procedure_id,
    "0020000D": steps.c.study_instance_uid,
    "00100020": steps.c.patient_id,
}
_STEP_COLUMNS = {"00400009": steps.c.step_id, "00080060": steps.c.modality}


def _condition(key: Key, columns: dict[str, Any]) -> Iterator[ColumnElement[bool]]:
    match = key.match
    if key.tag in columns and isinstance(match, Single):
        yield columns[key.tag] == match.value
    elif key.tag == "00400001" and isinstance(match, Single):
        yield steps.c.station_ae_titles.contains(f"\\{match.value}\\", autoescape=True)
    elif key.tag == "00400002" and isinstance(match, Dates):
        yield steps.c.start_date.between(match.low, match.high)
    elif key.tag == "00400002" and isinstance(match, Interval):
        if match.low is not None:
            yield steps.c.start_date >= match.low[0]
        if match.high is not None:
            yield steps.c.start_date <= match.high[0]


def _row(entry: Attributes, origin: str, now: int) -> dict[str, Any]:
    step = step_of(entry)
    accession_number, step_id = identity(entry)
    return {
        "accession_number": accession_number,
        "step_id": step_id,
        "requested_procedure_id": text(entry, "00401001"),
        "study_instance_uid": text(entry, "0020000D"),
        "patient_id": text(entry, "00100020"),
        "patient_name_key": name_key(text(entry, "00100010")),
        "modality": text(step, "00080060"),
        "station_ae_titles": "".join(f"\\{title}" for title in texts(step, "00400001")) + "\\",
        "start_date": text(step, "00400002"),
        "start_time": text(step, "00400003"),
        "state": str(state_of(entry)),
        "attributes": orjson.dumps(entry).decode(),
        "origin": origin,
        "changed_at": now,
    }


def _entry(row: Row[Any]) -> Entry:
    return Entry(row.id, orjson.loads(row.attributes))
