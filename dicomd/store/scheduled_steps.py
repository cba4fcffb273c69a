"""Entries of the modality worklist: scheduled procedure steps and their state. Searching them is `worklist_search`."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson
from attrs import frozen
from sqlalchemy import Connection, Row, and_, bindparam, delete, insert, select, update

from ..model import names
from ..model.attributes import Attributes, text, texts
from ..model.projection import project
from ..model.query import Query
from ..model.scheduled_steps import ALWAYS_RETURNED, ScheduledState, identity, state_of, step_of, with_state
from ..model.times import read_date, read_time
from ..wire.json_model import object_json
from .dialect import Statement
from .schema import fulfilments, performed_steps
from .schema import scheduled_steps as steps

Identity = tuple[str, str]

_OF_IDENTITY = Statement(
    select(steps.c.id, steps.c.attributes, steps.c.origin).where(
        steps.c.accession_number == bindparam("accession_number"), steps.c.step_id == bindparam("step_id")
    )
)


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
    found = _OF_IDENTITY.run(connection, {"accession_number": step[0], "step_id": step[1]}).fetchone()
    if found is None:
        return False
    row, attributes, origin = found
    entry = with_state(orjson.loads(attributes), state)
    connection.execute(update(steps).where(steps.c.id == row).values(_row(entry, origin, now)))
    return True


def expire(connection: Connection, started_before: str, changed_before: int) -> int:
    """Take out steps that were to start before a date (YYYYMMDD) and have not changed since `changed_before`."""
    old = and_(steps.c.start_date < started_before, steps.c.changed_at < changed_before)
    return connection.execute(delete(steps).where(old)).rowcount


def _row(entry: Attributes, origin: str, now: int) -> dict[str, Any]:
    step = step_of(entry)
    accession_number, step_id = identity(entry)
    return {
        "accession_number": accession_number,
        "step_id": step_id,
        "requested_procedure_id": text(entry, "00401001"),
        "study_instance_uid": text(entry, "0020000D"),
        "patient_id": text(entry, "00100020"),
        # Each group begun by a line feed, see `worklist_search`
        "patient_name_key": "".join(f"\n{group}" for group in names.split(text(entry, "00100010"))),
        "modality": text(step, "00080060"),
        "station_ae_titles": "".join(f"\\{title}" for title in texts(step, "00400001")) + "\\",
        "start_date": _comparable(read_date, text(step, "00400002")),
        "start_time": _comparable(read_time, text(step, "00400003")),
        "state": str(state_of(entry)),
        "attributes": orjson.dumps(entry).decode(),
        "answer": object_json(project(Query(), entry, ALWAYS_RETURNED)).decode(),
        "origin": origin,
        "changed_at": now,
    }


def _comparable(read: Callable[[str], str], value: str) -> str:
    """As queries compare it; what is no date or time stays as it is, and matches nothing."""
    try:
        return read(value)
    except ValueError:
        return value


def _entry(row: Row[Any]) -> Entry:
    return Entry(row.id, orjson.loads(row.attributes))
