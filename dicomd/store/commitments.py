"""Queries for storage commitment: requests and their results, and the check of what is asked for against index and files."""

from collections.abc import Sequence
from typing import Any

import orjson
from attrs import frozen
from sqlalchemy import Connection, bindparam, delete, insert, select, update

from ..model.attributes import Attributes
from ..model.commitment import Checked, Reference
from ..model.status import ServiceError, Status
from . import outbox, rebuild
from .dialect import Statement
from .files import Folder
from .outbox import Letter
from .rebuild import Held
from .schema import commitments, instances, series, studies

_FIND = Statement(
    select(
        instances.c.sop_class_uid,
        studies.c.study_instance_uid,
        series.c.series_instance_uid,
        instances.c.id,
        instances.c.file,
        instances.c.dataset_offset,
        instances.c.file_size,
        instances.c.digest,
        instances.c.sop_instance_uid,
    )
    .select_from(
        instances.outerjoin(series, instances.c.series_row == series.c.id).outerjoin(studies, series.c.study_row == studies.c.id)
    )
    .where(instances.c.sop_instance_uid == bindparam("uid"))
)


@frozen
class Commitment:
    """A request as it is remembered. `result` is None while it is pending; `ae_title` names who wants an event report.

    `discarded`: the result is no longer kept, only that there was one.
    """

    transaction_uid: str
    references: tuple[Reference, ...]
    ae_title: str = ""
    result: Attributes | None = None
    reported: bool = False
    discarded: bool = False


def remember(connection: Connection, request: Commitment, now: int) -> None:
    """Keep a request; raises 0131 when its transaction UID was used before."""
    used = select(commitments.c.transaction_uid).where(commitments.c.transaction_uid == request.transaction_uid)
    if connection.scalar(used) is not None:
        raise ServiceError("the transaction UID is in use", Status.DUPLICATE_TRANSACTION_UID, offending=(0x00081195,))
    references = [
        [one.sop_class_uid, one.sop_instance_uid, one.study_instance_uid, one.series_instance_uid] for one in request.references
    ]
    values = {
        "transaction_uid": request.transaction_uid,
        "ae_title": request.ae_title,
        "requested": orjson.dumps(references).decode(),
        "requested_at": now,
    }
    connection.execute(insert(commitments).values(values))


def find(connection: Connection, transaction_uid: str) -> Commitment | None:
    """One request."""
    row = connection.execute(select(commitments).where(commitments.c.transaction_uid == transaction_uid)).mappings().first()
    return None if row is None else _made(row)


def unfinished(connection: Connection) -> list[Commitment]:
    """What was asked for but is not checked, or checked but not reported."""
    waiting = commitments.c.result.is_(None) & ~commitments.c.discarded
    unreported = (commitments.c.ae_title != "") & ~commitments.c.reported
    chosen = select(commitments).where(waiting | (unreported & ~commitments.c.discarded)).order_by(commitments.c.requested_at)
    return [_made(row) for row in connection.execute(chosen).mappings()]


def _made(row: Any) -> Commitment:
    return Commitment(
        row["transaction_uid"],
        tuple(Reference(*one) for one in orjson.loads(row["requested"])),
        row["ae_title"],
        orjson.loads(row["result"]) if row["result"] is not None else None,
        row["reported"],
        row["discarded"],
    )


def look_up(connection: Connection, references: Sequence[Reference]) -> list[tuple[Checked, Held | None]]:
    """What the index says: why a reference is not committed, or the file that is still to be looked at."""
    found = []
    for one in references:
        row = _FIND.run(connection, {"uid": one.sop_instance_uid}).fetchone()
        failure = _failure(one, row)
        found.append((Checked(one, failure), None if failure else Held(*row[3:])))
    return found


def _failure(asked: Reference, row: Any) -> Status | None:
    if row is None:
        return Status.NO_SUCH_SOP_INSTANCE
    sop_class_uid, study, one = row[:3]
    if sop_class_uid != asked.sop_class_uid:
        return Status.CLASS_INSTANCE_CONFLICT
    if asked.study_instance_uid and (study, one) != (asked.study_instance_uid, asked.series_instance_uid):
        return Status.NO_SUCH_SOP_INSTANCE
    return None


def is_sound(folder: Folder, held: Held) -> bool:
    """Whether the file is what was stored."""
    return not rebuild.problem_of(folder, held)


def finish(connection: Connection, transaction_uid: str, result: Attributes) -> None:
    """Keep the result."""
    changed = update(commitments).where(commitments.c.transaction_uid == transaction_uid)
    connection.execute(changed.values(result=orjson.dumps(result).decode()))


def reported(connection: Connection, transaction_uid: str, letter: Letter | None, now: int, keep_seconds: int) -> None:
    """The event report was delivered, or goes to the outbox: this is no longer for us to do."""
    connection.execute(update(commitments).where(commitments.c.transaction_uid == transaction_uid).values(reported=True))
    if letter is not None:
        outbox.put(connection, [letter], now, keep_seconds)


def expire(connection: Connection, results_before: int, requests_before: int) -> None:
    """Discard results of old requests, and forget still older ones."""
    connection.execute(delete(commitments).where(commitments.c.requested_at < requests_before))
    old = (commitments.c.requested_at < results_before) & commitments.c.result.is_not(None)
    connection.execute(update(commitments).where(old).values(result=None, requested="[]", discarded=True))
