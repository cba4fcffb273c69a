"""Unified Procedure Steps in the index: one item at a time. Searches are in `workitem_search`, subscriptions in `subscriptions`.

The attributes of an item are one DICOM JSON object; its keys are rows of their own. The Transaction UID is never among either.
"""

from collections.abc import Set

import orjson
from attrs import frozen
from sqlalchemy import Connection, bindparam, delete, insert, select, tuple_, update

from ..model.attributes import Attributes
from ..model.steps import State
from ..model.workitem_keys import key_values, start
from .dialect import Statement, pairs_of
from .schema import deleted_workitems, workitem_attributes, workitem_keys, workitems


@frozen
class Workitem:
    """An item as it is kept."""

    id: int
    sop_instance_uid: str
    state: State
    transaction_uid: str
    attributes: Attributes


_OFFSET = "00080201"
_columns = (workitems.c.id, workitems.c.state, workitems.c.transaction_uid, workitem_attributes.c.attributes)
_joined = workitems.c.id == workitem_attributes.c.workitem
_find = Statement(select(*_columns).where(_joined, workitems.c.sop_instance_uid == bindparam("uid")))
_find_by_id = Statement(select(workitems.c.sop_instance_uid, *_columns[1:]).where(_joined, workitems.c.id == bindparam("number")))
_insert = Statement(
    insert(workitems).values(sop_instance_uid=bindparam("uid"), state=bindparam("state"), start=bindparam("start"))
)
_update = Statement(
    update(workitems)
    .where(workitems.c.id == bindparam("number"))
    .values(
        state=bindparam("state"),
        start=bindparam("start"),
        transaction_uid=bindparam("transaction_uid"),
        final_at=bindparam("final_at"),
    )
)
_put_attributes = Statement(insert(workitem_attributes).values(workitem=bindparam("number"), attributes=bindparam("attributes")))
_set_attributes = Statement(
    update(workitem_attributes)
    .where(workitem_attributes.c.workitem == bindparam("number"))
    .values(attributes=bindparam("attributes"))
)
# All keys that something happens to are one parameter.
_pairs = pairs_of(bindparam("keys"))
_put_keys = Statement(
    insert(workitem_keys).from_select(
        ["path", "value", "start", "workitem", "state"],
        select(_pairs.c.first, _pairs.c.second, bindparam("start"), bindparam("number"), bindparam("state")),
    )
)
_these_keys = (
    tuple_(workitem_keys.c.path, workitem_keys.c.value).in_(select(_pairs.c.first, _pairs.c.second))
    & (workitem_keys.c.start == bindparam("start"))
    & (workitem_keys.c.workitem == bindparam("number"))
)
_drop_keys = Statement(delete(workitem_keys).where(_these_keys))
_set_keys = Statement(update(workitem_keys).where(_these_keys).values(state=bindparam("state")))
_uncover = Statement(delete(deleted_workitems).where(deleted_workitems.c.sop_instance_uid == bindparam("uid")))
_was_deleted = Statement(select(deleted_workitems.c.deleted_at).where(deleted_workitems.c.sop_instance_uid == bindparam("uid")))


def find(connection: Connection, uid: str) -> Workitem | None:
    """The item with this SOP Instance UID."""
    row = _find.run(connection, {"uid": uid}).fetchone()
    return Workitem(row[0], uid, State(row[1]), row[2], orjson.loads(row[3])) if row else None


def find_by_id(connection: Connection, number: int) -> Workitem | None:
    """The item with this number."""
    row = _find_by_id.run(connection, {"number": number}).fetchone()
    return Workitem(number, row[0], State(row[1]), row[2], orjson.loads(row[3])) if row else None


def read(connection: Connection, uid: str) -> bytes | None:
    """The DICOM JSON object of an item, as it is sent."""
    row = _find.run(connection, {"uid": uid}).fetchone()
    return bytes(row[3]) if row else None


def was_deleted(connection: Connection, uid: str) -> bool:
    """Whether an item with this UID was held once."""
    return _was_deleted.run(connection, {"uid": uid}).fetchone() is not None


def add(connection: Connection, uid: str, attributes: Attributes) -> Workitem:
    """Keep a new item in the state SCHEDULED."""
    at = start(attributes)
    values = {"uid": uid, "state": str(State.SCHEDULED), "start": at}
    number = int(_insert.run(connection, values).lastrowid)
    _put_attributes.run(connection, {"number": number, "attributes": _json(attributes)})
    _on_keys(connection, _put_keys, number, at, State.SCHEDULED, key_values(attributes))
    _uncover.run(connection, {"uid": uid})
    return Workitem(number, uid, State.SCHEDULED, "", attributes)


def save(connection: Connection, before: Workitem, after: Workitem, final_at: int | None = None) -> None:
    """Write what changed of an item."""
    number, at, was_at = after.id, start(after.attributes), start(before.attributes)
    values = {"number": number, "state": str(after.state), "start": at, "transaction_uid": after.transaction_uid}
    _update.run(connection, {**values, "final_at": final_at})
    _set_attributes.run(connection, {"number": number, "attributes": _json(after.attributes)})
    moved = at != was_at
    same, old, new = _differences(before.attributes, after.attributes)
    _on_keys(connection, _drop_keys, number, was_at, before.state, old | same if moved else old - new)
    _on_keys(connection, _put_keys, number, at, after.state, new | same if moved else new - old)
    if before.state is not after.state and not moved:
        _on_keys(connection, _set_keys, number, at, after.state, same | (old & new))


def _differences(
    before: Attributes, after: Attributes
) -> tuple[set[tuple[str, str]], set[tuple[str, str]], set[tuple[str, str]]]:
    """Keys of attributes that are the same objects in both, and those of the other attributes before and after."""
    same = {tag: element for tag, element in after.items() if before.get(tag) is element}
    if before.get(_OFFSET) != after.get(_OFFSET):
        same = {}
    old, new = ({tag: element for tag, element in side.items() if tag not in same or tag == _OFFSET} for side in (before, after))
    return key_values(same), key_values(old), key_values(new)


def remove(connection: Connection, item: Workitem, now: int) -> None:
    """Delete an item and remember that it was held; who is subscribed to it is not looked at here."""
    _on_keys(connection, _drop_keys, item.id, start(item.attributes), item.state, key_values(item.attributes))
    connection.execute(delete(workitem_attributes).where(workitem_attributes.c.workitem == item.id))
    connection.execute(delete(workitems).where(workitems.c.id == item.id))
    connection.execute(insert(deleted_workitems).values(sop_instance_uid=item.sop_instance_uid, deleted_at=now))


def finished_before(connection: Connection, moment: int, after: int, most: int) -> list[int]:
    """Numbers above `after` of items whose final state was reached before `moment`."""
    due = (workitems.c.final_at <= moment) & (workitems.c.id > after)
    return list(connection.scalars(select(workitems.c.id).where(due).order_by(workitems.c.id).limit(most)))


def forget_deleted(connection: Connection, moment: int) -> None:
    """No longer remember items deleted before `moment`."""
    connection.execute(delete(deleted_workitems).where(deleted_workitems.c.deleted_at < moment))


def any_held(connection: Connection) -> bool:
    """Whether there is any item."""
    return connection.execute(select(workitems.c.id).limit(1)).first() is not None


def _json(attributes: Attributes) -> bytes:
    return orjson.dumps(attributes, option=orjson.OPT_SORT_KEYS)


def _on_keys(
    connection: Connection, statement: Statement, number: int, at: str, state: State, keys: Set[tuple[str, str]]
) -> None:
    if keys:
        listed = orjson.dumps(list(keys)).decode()
        statement.run(connection, {"keys": listed, "number": number, "start": at, "state": str(state)})
