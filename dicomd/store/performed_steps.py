"""Queries on modality performed procedure steps: each change is one transaction with the scheduled steps it moves and the
messages it causes."""

from collections.abc import Callable, Sequence
from typing import Any

import orjson
from attrs import asdict, frozen
from sqlalchemy import Connection, bindparam, insert, select, update

from ..model.attributes import Attributes, items, text
from ..model.performed_steps import SCHEDULED_STEP_ATTRIBUTES, STATUS, PerformedState
from ..model.scheduled_steps import ScheduledState, StepIdentity
from ..model.status import NoSuchInstance, ServiceError, Status
from . import outbox, scheduled_steps
from .dialect import Statement
from .schema import fulfilments, instances, performed_steps
from .writable import refuse_unwritable

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
_LINK = Statement(insert(fulfilments).values({column.name: bindparam(column.name) for column in fulfilments.c}))
_FULFILLING = Statement(
    select(performed_steps.c.sop_instance_uid)
    .join(fulfilments, fulfilments.c.performed_row == performed_steps.c.id)
    .where(scheduled_steps.called(fulfilments))
    .order_by(performed_steps.c.id)
)

Letters = Callable[[Change], Sequence[outbox.Letter]]


def create(connection: Connection, uid: str, step: Attributes, letters: Letters, now: int, keep_seconds: int) -> Change:
    """Keep a new step; raises `ServiceError` (0111) when there is one with this SOP Instance UID."""
    refuse_unwritable(step)
    if _ATTRIBUTES.run(connection, {"uid": uid}).fetchone() is not None:
        raise ServiceError("there is a step with this SOP Instance UID", Status.DUPLICATE_SOP_INSTANCE)
    state = PerformedState(text(step, STATUS))
    (row,) = _INSERT.run(connection, {"sop_instance_uid": uid, **_row(step, now)}).fetchone()
    for identity in scheduled(step):
        _LINK.run(connection, {"performed_row": row, **asdict(identity)})
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
    refuse_unwritable(step)
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


def fulfilled_by(connection: Connection, step: StepIdentity) -> list[str]:
    """The SOP Instance UIDs of the performed steps of a scheduled step."""
    found = _FULFILLING.run(connection, scheduled_steps.parameters(step)).fetchall()
    return list(dict.fromkeys(uid for (uid,) in found))


def stored(connection: Connection, uids: Sequence[str]) -> set[str]:
    """Which of these SOP Instance UIDs the archive holds."""
    found: set[str] = set()
    for start in range(0, len(uids), 500):
        some = uids[start : start + 500]
        found.update(connection.scalars(select(instances.c.sop_instance_uid).where(instances.c.sop_instance_uid.in_(some))))
    return found


def scheduled(step: Attributes) -> tuple[StepIdentity, ...]:
    """The scheduled steps that a performed step names; an unscheduled examination names none (PS3.4 F.7.2.1.1)."""
    found = (
        StepIdentity(text(item, "00080050"), text(item, "0020000D"), text(item, "00400009"))
        for item in items(step, SCHEDULED_STEP_ATTRIBUTES)
    )
    return tuple(dict.fromkeys(identity for identity in found if identity.step_id))


def _settle(connection: Connection, changed: Change, letters: Letters, now: int, keep_seconds: int) -> Change:
    if changed.state_changed:
        for identity in scheduled(changed.attributes):
            scheduled_steps.set_state(connection, identity, _SCHEDULED[changed.state], now)
    outbox.put(connection, letters(changed), now, keep_seconds)
    return changed


def _row(step: Attributes, now: int) -> dict[str, Any]:
    return {"state": text(step, STATUS), "attributes": orjson.dumps(step).decode(), "changed_at": now}
