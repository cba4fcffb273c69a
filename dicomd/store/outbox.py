"""Queries for messages that wait to be delivered to other application entities, in order for each of them."""

import logging
from collections.abc import Sequence
from typing import Any

import orjson
from attrs import frozen
from sqlalchemy import Connection, and_, delete, func, insert, select, update

from ..model.attributes import Attributes
from .schema import outbox

log = logging.getLogger(__name__)

# For each application entity and SOP class; beyond, the oldest are dropped. Looked at now and then, so it may be a few more.
MOST_WAITING = 10_000
_LOOK_EVERY = 50


@frozen
class Letter:
    """One message: `operation` is N-CREATE, N-SET or N-EVENT-REPORT; `row` and `attempts` are the outbox's own."""

    ae_title: str
    operation: str
    sop_class_uid: str
    sop_instance_uid: str
    attributes: Attributes
    event_type_id: int = 0
    row: int = 0
    attempts: int = 0
    due_at: int = 0
    expires_at: int = 0

    @property
    def lane(self) -> tuple[str, str]:
        """Messages of one lane are delivered one after the other."""
        return self.ae_title, self.sop_class_uid


def put(connection: Connection, letters: Sequence[Letter], now: int, keep_seconds: int, *, most: int = MOST_WAITING) -> None:
    """Queue messages, due at once; `now` in seconds since 1970."""
    for letter in letters:
        added = connection.execute(insert(outbox).values(**_row(letter), due_at=now, expires_at=now + keep_seconds))
        row = int(added.inserted_primary_key[0])  # type: ignore[index]
        if row % _LOOK_EVERY == 0:
            _drop_oldest(connection, letter, most)


def _drop_oldest(connection: Connection, letter: Letter, most: int) -> None:
    of_lane = and_(outbox.c.ae_title == letter.ae_title, outbox.c.sop_class_uid == letter.sop_class_uid)
    last = connection.scalar(select(outbox.c.id).where(of_lane).order_by(outbox.c.id.desc()).limit(1).offset(most))
    if last is not None:
        gone = connection.execute(delete(outbox).where(of_lane, outbox.c.id <= last)).rowcount
        log.warning("%d messages to %s were dropped: more than %d wait for it", gone, letter.ae_title, most)


def waiting(connection: Connection) -> dict[str, int]:
    """How many messages wait for each application entity."""
    counts = select(outbox.c.ae_title, func.count()).group_by(outbox.c.ae_title)
    return {row[0]: row[1] for row in connection.execute(counts)}


def first_of_each(connection: Connection) -> list[Letter]:
    """For each application entity and SOP class the message that is to be delivered next: order matters within these only."""
    firsts = select(func.min(outbox.c.id)).group_by(outbox.c.ae_title, outbox.c.sop_class_uid)
    return [_letter(row) for row in connection.execute(select(outbox).where(outbox.c.id.in_(firsts)).order_by(outbox.c.id))]


def remove(connection: Connection, row: int) -> None:
    """Forget a message: it was delivered, refused for good, or has expired."""
    connection.execute(delete(outbox).where(outbox.c.id == row))


def postpone(connection: Connection, row: int, due_at: int) -> None:
    """Try a message again later."""
    connection.execute(update(outbox).where(outbox.c.id == row).values(due_at=due_at, attempts=outbox.c.attempts + 1))


def _row(letter: Letter) -> dict[str, Any]:
    return {
        "ae_title": letter.ae_title,
        "operation": letter.operation,
        "sop_class_uid": letter.sop_class_uid,
        "sop_instance_uid": letter.sop_instance_uid,
        "event_type_id": letter.event_type_id,
        "attributes": orjson.dumps(letter.attributes).decode(),
    }


def _letter(row: Any) -> Letter:
    return Letter(
        row.ae_title,
        row.operation,
        row.sop_class_uid,
        row.sop_instance_uid,
        orjson.loads(row.attributes),
        row.event_type_id,
        row.id,
        row.attempts,
        row.due_at,
        row.expires_at,
    )
