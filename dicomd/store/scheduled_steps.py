"""Entries of the modality worklist: scheduled procedure steps and their state. Searching them is `worklist_search`."""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from attrs import frozen
from sqlalchemy import ColumnElement, Connection, Table, and_, bindparam, delete, insert, or_, select, update

from ..model import names
from ..model.attributes import Attributes, text, texts, values
from ..model.projection import project
from ..model.query import Query
from ..model.scheduled_steps import (
    ALWAYS_RETURNED,
    Order,
    ScheduledState,
    StepIdentity,
    identity,
    named,
    state_of,
    step_of,
    with_state,
)
from ..model.times import read_date, read_time
from ..wire.json_model import object_json
from . import dialect
from .dialect import Statement
from .schema import fulfilments, performed_steps
from .schema import scheduled_step_contents as contents
from .schema import scheduled_steps as steps
from .writable import refuse_unwritable


def called(table: Table) -> ColumnElement[bool]:
    """Whether a row is what a `StepIdentity` names, for parameters as in `parameters`."""
    by_accession = and_(table.c.accession_number == bindparam("accession_number"), table.c.step_id == bindparam("step_id"))
    by_study = and_(table.c.study_instance_uid == bindparam("study_instance_uid"), table.c.step_id == bindparam("step_id"))
    return or_(by_accession, by_study)


def parameters(step: StepIdentity) -> dict[str, str | None]:
    """What is empty names nothing."""
    return {
        "accession_number": step.accession_number or None,
        "study_instance_uid": step.study_instance_uid or None,
        "step_id": step.step_id,
    }


_COLUMNS = tuple(column.name for column in steps.c if column.name != "id")
_OF_IDENTITY = Statement(
    select(steps.c.id, steps.c.origin, steps.c.changed_at).where(
        steps.c.order_id == bindparam("order_id"), steps.c.step_id == bindparam("step_id")
    )
)
_CALLED = Statement(
    select(steps.c.id, contents.c.attributes, steps.c.origin)
    .join(contents, contents.c.step == steps.c.id)
    .where(called(steps))
    .order_by(steps.c.id)
)
_ROWS_CALLED = Statement(select(steps.c.id).where(called(steps)).order_by(steps.c.id))
_INSERT = Statement(insert(steps).values({name: bindparam(name) for name in _COLUMNS}).returning(steps.c.id))
_UPDATE = Statement(update(steps).where(steps.c.id == bindparam("row")).values({name: bindparam(name) for name in _COLUMNS}))
_KEPT = dialect.insert(contents).values({column.name: bindparam(column.name) for column in contents.c})
_KEEP = Statement(
    _KEPT.on_conflict_do_update(
        index_elements=[contents.c.step], set_={"attributes": _KEPT.excluded.attributes, "answer": _KEPT.excluded.answer}
    )
)
_STATE = Statement(
    select(performed_steps.c.state)
    .join(fulfilments, fulfilments.c.performed_row == performed_steps.c.id)
    .where(called(fulfilments))
    .order_by(performed_steps.c.id.desc())
)


@frozen
class Entry:
    """A worklist entry as it is kept."""

    row: int
    attributes: Attributes


def put(connection: Connection, entries: Sequence[Attributes], origin: str, now: int) -> list[tuple[int, bool]]:
    """Enter or update steps; for each its row and whether it is new. The state of a step that is being performed stays.

    `now`: when they changed, in seconds since 1970; for those of a file (`origin`) when the file did.
    """
    return [_put(connection, entry, origin, now) for entry in entries]


def carry_out(connection: Connection, orders: Sequence[Order], entries: Sequence[Attributes], now: int) -> int:
    """Enter the steps of `entries` and take out those that `orders` say; how many of the latter were not there."""
    put(connection, entries, "", now)
    return sum(not _cancel(connection, order.attributes) for order in orders if order.remove)


def _put(connection: Connection, entry: Attributes, origin: str, now: int) -> tuple[int, bool]:
    refuse_unwritable(entry)
    performed = _STATE.run(connection, parameters(named(entry))).fetchone()
    if performed is not None:
        entry = with_state(entry, ScheduledState(performed[0]))
    order_id, step_id = identity(entry)
    held = _OF_IDENTITY.run(connection, {"order_id": order_id, "step_id": step_id}).fetchone()
    if held is not None:
        row, holder, changed_at = held
        if not (origin and holder != origin and changed_at > now):  # what came later by another way outdoes an old file
            _replace(connection, row, entry, origin, now)
        return row, False
    (row,) = _INSERT.run(connection, _row(entry, origin, now)).fetchone()
    _KEEP.run(connection, _content(row, entry))
    return row, True


def _replace(connection: Connection, row: int, entry: Attributes, origin: str, now: int) -> None:
    _UPDATE.run(connection, {"row": row, **_row(entry, origin, now)})
    _KEEP.run(connection, _content(row, entry))


def get(connection: Connection, row: int) -> Entry | None:
    """One entry by its row."""
    found = connection.scalar(select(contents.c.attributes).where(contents.c.step == row))
    return None if found is None else Entry(row, orjson.loads(found))


def was_held(connection: Connection, row: int) -> bool:
    """Whether there has ever been an entry with this number."""
    return 0 < row <= dialect.last_number(connection, steps.name)


def rows_called(connection: Connection, identities: Sequence[StepIdentity]) -> list[int | None]:
    """For each scheduled step the row of its entry, if the worklist has it."""
    found = [_ROWS_CALLED.run(connection, parameters(step)).fetchone() for step in identities]
    return [row[0] if row else None for row in found]


def remove(connection: Connection, row: int) -> bool:
    """Take an entry from the worklist; whether it was there."""
    return _remove(connection, steps.c.id == row) > 0


def _cancel(connection: Connection, order: Attributes) -> bool:
    """Cancellations may lack the Accession Number; then the Study Instance UID or the Patient ID must say whose step it is."""
    name = named(order)
    for column, value in (
        (steps.c.accession_number, name.accession_number),
        (steps.c.study_instance_uid, name.study_instance_uid),
        (steps.c.patient_id, text(order, "00100020")),
    ):
        if value:
            return _remove(connection, and_(column == value, steps.c.step_id == name.step_id)) > 0
    return False


def _remove(connection: Connection, condition: ColumnElement[bool]) -> int:
    gone = connection.scalars(select(steps.c.id).where(condition)).all()
    for start in range(0, len(gone), 500):
        some = gone[start : start + 500]
        connection.execute(delete(contents).where(contents.c.step.in_(some)))
        connection.execute(delete(steps).where(steps.c.id.in_(some)))
    return len(gone)


def remove_origin(connection: Connection, origin: str, keep: Iterable[tuple[str, str]] = ()) -> int:
    """Take out the entries of one file of the watched folder, but for those that it still holds."""
    rows = connection.execute(select(steps.c.id, steps.c.order_id, steps.c.step_id).where(steps.c.origin == origin))
    kept = set(keep)
    gone = [row.id for row in rows if (row.order_id, row.step_id) not in kept]
    for row in gone:
        remove(connection, row)
    return len(gone)


def origins(connection: Connection) -> set[str]:
    """The files of the watched folder that have entries."""
    return set(connection.scalars(select(steps.c.origin).where(steps.c.origin != "").distinct()))


def set_state(connection: Connection, step: StepIdentity, state: ScheduledState, now: int) -> None:
    """Note that a step is being performed, or was, if the worklist has it."""
    for row, attributes, origin in _CALLED.run(connection, parameters(step)).fetchall():
        _replace(connection, row, with_state(orjson.loads(attributes), state), origin, now)


def expire(connection: Connection, started_before: str, changed_before: int) -> int:
    """Take out steps that were to start before a date (YYYYMMDD) and have not changed since `changed_before`."""
    return _remove(connection, and_(steps.c.start_date < started_before, steps.c.changed_at < changed_before))


def _row(entry: Attributes, origin: str, now: int) -> dict[str, Any]:
    step = step_of(entry)
    order_id, step_id = identity(entry)
    return {
        "order_id": order_id,
        "step_id": step_id,
        "accession_number": text(entry, "00080050"),
        "requested_procedure_id": text(entry, "00401001"),
        "study_instance_uid": text(entry, "0020000D"),
        "patient_id": text(entry, "00100020"),
        "modality": text(step, "00080060"),
        "station_ae_titles": "".join(f"\\{title}" for title in texts(step, "00400001")) + "\\",
        "start_date": read_date(text(step, "00400002")),
        "start_time": read_time(text(step, "00400003")),
        "state": str(state_of(entry)),
        **_name("patient", values(entry, "00100010")),
        **_name("performer", values(step, "00400006")),
        "origin": origin,
        "changed_at": now,
    }


def _name(prefix: str, given: list[Any]) -> dict[str, str]:
    name = given[0] if given else ""
    alphabetic, ideographic, phonetic = names.groups(name)
    words = names.words_of(name)
    sounds = [sound for word in words if (sound := names.sound(word))]
    return {
        f"{prefix}_alphabetic": alphabetic,
        f"{prefix}_ideographic": ideographic,
        f"{prefix}_phonetic": phonetic,
        f"{prefix}_words": _between_line_feeds(words),
        f"{prefix}_sounds": _between_line_feeds(sounds),
    }


def _between_line_feeds(parts: Sequence[str]) -> str:
    return "\n".join(("", *parts, "")) if parts else ""


def _content(row: int, entry: Attributes) -> dict[str, Any]:
    answer = object_json(project(Query(), entry, ALWAYS_RETURNED))
    return {"step": row, "attributes": orjson.dumps(entry).decode(), "answer": answer.decode()}
