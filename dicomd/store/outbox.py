"""Queries for messages that wait to be delivered to other application entities, in order for each of them."""

from collections.abc import Sequence
from typing import Any

import orjson
from attrs import frozen
from sqlalchemy import Connection, delete, func, insert, select, update

from ..model.attributes import Attributes
from .schema import outbox


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


def put(connection: Connection, letters: Sequence[Letter], now: int, keep_seconds: int) -> None:
    """Queue messages, due at once; `now` in seconds since 1970."""
    for letter in letters:
        connection.execute(insert(outbox).values(**_row(letter), due_at=now, expires_at=now + keep_seconds))


def first_of_each(connection: Connection) -> list[Letter]:
    """For each application entity the message that is to be delivered next."""
    firsts = select(func.min(outbox.c.id)).group_by(outbox.c.ae_title)
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
