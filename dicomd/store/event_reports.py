"""Event reports that are not yet delivered to all whom they concern; written in the transaction of what they tell.

A report is one row, however many receive it. It is removed when the last one has it; until then each subscriber's `delivered`
says how far it has come.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import orjson
from sqlalchemy import Connection, bindparam, delete, insert, select, update

from ..model.workitem_events import Event, EventType, Report
from .dialect import Statement
from .schema import event_reports, subscribers

_insert = Statement(
    insert(event_reports).values(
        sop_instance_uid=bindparam("uid"),
        type=bindparam("type"),
        information=bindparam("information"),
        recipients=bindparam("recipients"),
    )
)
_advance = Statement(update(subscribers).where(subscribers.c.id == bindparam("number")).values(delivered=bindparam("last")))
_remove = Statement(delete(event_reports).where(event_reports.c.id == bindparam("report")))
_COLUMNS = (event_reports.c.id, event_reports.c.sop_instance_uid, event_reports.c.type, event_reports.c.information)


def record(connection: Connection, event: Event, recipients: tuple[int, ...]) -> Report:
    """Keep an event for its recipients."""
    values = {
        "uid": event.sop_instance_uid,
        "type": int(event.type),
        "information": orjson.dumps(event.information),
        "recipients": _joined(recipients),
    }
    return Report(int(_insert.run(connection, values).lastrowid), event, recipients)


@lru_cache(64)
def _joined(recipients: tuple[int, ...]) -> str:
    return ",".join(map(str, recipients))


def waiting(connection: Connection) -> list[tuple[int, tuple[int, ...]]]:
    """Number and recipients of every report, in order."""
    rows = connection.execute(select(event_reports.c.id, event_reports.c.recipients).order_by(event_reports.c.id))
    return [(row.id, tuple(int(number) for number in row.recipients.split(","))) for row in rows]


def load(connection: Connection, numbers: Sequence[int]) -> list[Report]:
    """These reports in order, without their recipients; those that are gone are left out."""
    rows = connection.execute(select(*_COLUMNS).where(event_reports.c.id.in_(numbers)).order_by(event_reports.c.id))
    return [Report(row.id, Event(EventType(row.type), row.sop_instance_uid, orjson.loads(row.information)), ()) for row in rows]


def settle(connection: Connection, delivered: Mapping[int, int], finished: Iterable[int]) -> None:
    """Remember how far each subscriber has come, and remove the reports that all recipients have."""
    _advance.run_many(connection, [{"number": number, "last": last} for number, last in delivered.items()])
    _remove.run_many(connection, [{"report": report} for report in finished])
