"""Queries on modality performed procedure steps: each change is one transaction with the scheduled steps it moves and the
messages it causes."""

from collections.abc import Callable, Sequence
from typing import Any

import orjson
from attrs import frozen
from sqlalchemy import Connection, bindparam, delete, insert, select, update

from ..model.attributes import Attributes, items, text
from ..model.performed_steps import SCHEDULED_STEP_ATTRIBUTES, STATUS, PerformedState
from ..model.scheduled_steps import ScheduledState
from ..model.status import NoSuchInstance, ServiceError, Status
from . import outbox, scheduled_steps
from .dialect import Statement
from .schema import fulfilments, instances, performed_steps

_SCHEDULED = {
    PerformedState.IN_PROGRESS: ScheduledState.IN_PROGRESS,
    PerformedState.COMPLETED: ScheduledState.COMPLETED,
    PerformedState.DISCONTINUED: ScheduledState.DISCONTINUED,
}


@frozen
class Change:
    """What one N-CREATE or N-SET did."""

    sop_instance_uid: str
    state: PerformedState
    state_changed: bool
    attributes: Attributes


# What a busy modality asks for, compiled once.
_OF_UID = performed_steps.c.sop_instance_uid == bindparam("uid")
_ATTRIBUTES = Statement(select(performed_steps.c.attributes).where(_OF_UID))
_COLUMNS = ("state", "attributes", "changed_at")
_INSERT = Statement(
    insert(performed_steps)
    .values({name: bindparam(name) for name in ("sop_instance_uid", *_COLUMNS)})
    .returning(performed_steps.c.id)
)
_UPDATE = Statement(update(performed_steps).where(_OF_UID).values({name: bindparam(name) for name in _COLUMNS}))
_LINK = Statement(
    insert(fulfilments).values({name: bindparam(name) for name in ("performed_row", "accession_number", "step_id")})
)

Letters = Callable[[Change], Sequence[outbox.Letter]]


def create(connection: Connection, uid: str, step: Attributes, letters: Letters, now: int, keep_seconds: int) -> Change:
    """Keep a new step; raises `ServiceError` (0111) when there is one with this SOP Instance UID."""
    if _ATTRIBUTES.run(connection, {"uid": uid}).fetchone() is not None:
        raise ServiceError("there is a step with this SOP Instance UID", Status.DUPLICATE_SOP_INSTANCE)
    state = PerformedState(text(step, STATUS))
    (row,) = _INSERT.run(connection, {"sop_instance_uid": uid, **_row(step, now)}).fetchone()
    for accession_number, step_id in sorted(scheduled(step)):
        _LINK.run(connection, {"performed_row": row, "accession_number": accession_number, "step_id": step_id})
    return _settle(connection, Change(uid, state, True, step), letters, now, keep_seconds)


def change(
    connection: Connection,
    uid: str,
    apply: Callable[[Attributes], Attributes],
    letters: Letters,
    now: int,
    keep_seconds: int,
) -> Change:
    """Replace a step by what `apply` makes of it; whatever that raises leaves the step as it was."""
    held = get(connection, uid)
    step = apply(held)
    state = PerformedState(text(step, STATUS))
    _UPDATE.run(connection, {"uid": uid, **_row(step, now)})
    changed = Change(uid, state, text(held, STATUS) != state, step)
    return _settle(connection, changed, letters, now, keep_seconds)


def get(connection: Connection, uid: str) -> Attributes:
    """The step; raises `NoSuchInstance`."""
    found = _ATTRIBUTES.run(connection, {"uid": uid}).fetchone()
    if found is None:
        raise NoSuchInstance("there is no performed procedure step with this SOP Instance UID")
    attributes: Attributes = orjson.loads(found[0])
    return attributes


def fulfilled_by(connection: Connection, step: tuple[str, str]) -> list[str]:
    """The SOP Instance UIDs of the performed steps of a scheduled step."""
    joined = select(performed_steps.c.sop_instance_uid).join(fulfilments, fulfilments.c.performed_row == performed_steps.c.id)
    of_step = joined.where(fulfilments.c.accession_number == step[0], fulfilments.c.step_id == step[1])
    return list(connection.scalars(of_step.order_by(performed_steps.c.id)))


def stored(connection: Connection, uids: Sequence[str]) -> set[str]:
    """Which of these SOP Instance UIDs the archive holds."""
    found: set[str] = set()
    for start in range(0, len(uids), 500):
        some = uids[start : start + 500]
        found.update(connection.scalars(select(instances.c.sop_instance_uid).where(instances.c.sop_instance_uid.in_(some))))
    return found


def forget(connection: Connection, uid: str) -> bool:
    """Delete a step and its links; whether it was there."""
    row = connection.scalar(select(performed_steps.c.id).where(performed_steps.c.sop_instance_uid == uid))
    if row is None:
        return False
    connection.execute(delete(fulfilments).where(fulfilments.c.performed_row == row))
    connection.execute(delete(performed_steps).where(performed_steps.c.id == row))
    return True


def scheduled(step: Attributes) -> set[tuple[str, str]]:
    """The scheduled steps that a performed step names; an unscheduled examination names none (PS3.4 F.7.2.1.1)."""
    found = ((text(item, "00080050"), text(item, "00400009")) for item in items(step, SCHEDULED_STEP_ATTRIBUTES))
    return {identity for identity in found if identity[1]}


def _settle(connection: Connection, changed: Change, letters: Letters, now: int, keep_seconds: int) -> Change:
    if changed.state_changed:
        for identity in scheduled(changed.attributes):
            scheduled_steps.set_state(connection, identity, _SCHEDULED[changed.state], now)
    outbox.put(connection, letters(changed), now, keep_seconds)
    return changed


def _row(step: Attributes, now: int) -> dict[str, Any]:
    return {"state": text(step, STATUS), "attributes": orjson.dumps(step).decode(), "changed_at": now}
