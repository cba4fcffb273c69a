"""Who is subscribed to which Unified Procedure Step, with or without deletion lock (PS3.4 CC.2.3).

A subscription to one item is a row of its own. A global subscription is a range of item numbers, so that it costs the same for
ten items and for a million; rows of single items are exceptions from it (also `Kind.NONE`: unsubscribed again). Of several
ranges that cover an item the oldest decides, because subscribing again leaves existing subscriptions as they are.
"""

from bisect import bisect_right
from enum import IntEnum

from attrs import frozen
from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from .dialect import Statement
from .dialect import insert as upsert
from .index import known
from .schema import filtered_subscriptions, global_subscriptions, subscribers, subscriptions, workitems


class Kind(IntEnum):
    """How an application entity is subscribed to an item."""

    NONE = 0
    WITHOUT_LOCK = 1
    WITH_LOCK = 2

    @classmethod
    def locking(cls, lock: bool) -> "Kind":
        """With or without deletion lock."""
        return cls.WITH_LOCK if lock else cls.WITHOUT_LOCK


@frozen
class Range:
    """One global subscription: items `first` to `last`, or without end."""

    id: int
    subscriber: int
    kind: Kind
    first: int
    last: int | None
    announced: int
    announce_to: int

    def covers(self, workitem: int) -> bool:
        """Whether the item is among them."""
        return self.first <= workitem and (self.last is None or workitem <= self.last)


@frozen
class Filter:
    """One filtered global subscription; `text` is the JSON of the matching keys."""

    id: int
    subscriber: int
    kind: Kind
    text: str
    announced: int
    announce_to: int


# Stretches of items whose global subscribers are remembered.
_MOST_COVERINGS = 64

_of_item = Statement(
    select(subscriptions.c.subscriber, subscriptions.c.kind).where(subscriptions.c.workitem == bindparam("workitem"))
)
_put = Statement(
    upsert(subscriptions)
    .values(workitem=bindparam("workitem"), subscriber=bindparam("subscriber"), kind=bindparam("kind"))
    .on_conflict_do_update(
        index_elements=[subscriptions.c.workitem, subscriptions.c.subscriber], set_={"kind": bindparam("kind")}
    )
)
_find_subscriber = Statement(select(subscribers.c.id).where(subscribers.c.ae_title == bindparam("ae_title")))


def find_subscriber(connection: Connection, ae_title: str) -> int | None:
    """The number of an application entity that subscribed once."""
    row = _find_subscriber.run(connection, {"ae_title": ae_title}).fetchone()
    return row[0] if row else None


def add_subscriber(connection: Connection, ae_title: str) -> int:
    """The number that an application entity is given when it subscribes for the first time."""
    return int(connection.execute(insert(subscribers).values(ae_title=ae_title, delivered=0)).lastrowid)


def subscribed(connection: Connection) -> list[int]:
    """The numbers of all that are subscribed to anything."""
    tables = (subscriptions, global_subscriptions, filtered_subscriptions)
    found = (connection.scalars(select(table.c.subscriber).where(table.c.kind != Kind.NONE).distinct()).all() for table in tables)
    return sorted({number for numbers in found for number in numbers})


# ---- one item


def kinds(connection: Connection, workitem: int) -> dict[int, Kind]:
    """How each subscriber is subscribed to the item; those that are not are left out."""
    found = _covering(connection, workitem).kinds.copy()
    for number, kind in _of_item.run(connection, {"workitem": workitem}).fetchall():
        found[number] = Kind(kind)
    return {number: kind for number, kind in found.items() if kind}


def recipients(connection: Connection, workitem: int) -> tuple[int, ...]:
    """Who is told of what happens to the item; one object for all items that only the same global subscriptions cover."""
    if _of_item.run(connection, {"workitem": workitem}).fetchone() is None:
        return _covering(connection, workitem).numbers
    return tuple(sorted(kinds(connection, workitem)))


def subscribe(connection: Connection, workitem: int, number: int, kind: Kind) -> None:
    """Subscribe to one item, whatever the subscription was before."""
    _put.run(connection, {"workitem": workitem, "subscriber": number, "kind": kind})


def unsubscribe(connection: Connection, workitem: int, number: int) -> bool:
    """End the subscription to one item; False when there is none."""
    if number not in kinds(connection, workitem):
        return False
    subscribe(connection, workitem, number, Kind.NONE)
    return True


def forget(connection: Connection, workitem: int) -> None:
    """The item is deleted."""
    connection.execute(delete(subscriptions).where(subscriptions.c.workitem == workitem))


# ---- all items


def ranges(connection: Connection) -> list[Range]:
    """All global subscriptions, the youngest first: writing them over each other in this order leaves the oldest."""
    remembered = known(connection)
    if "global_subscriptions" not in remembered:
        rows = connection.execute(select(global_subscriptions).order_by(global_subscriptions.c.id.desc()))
        remembered["global_subscriptions"] = [
            Range(
                row.id,
                row.subscriber,
                Kind(row.kind),
                first=row.first,
                last=row.last,
                announced=row.announced,
                announce_to=row.announce_to,
            )
            for row in rows
        ]
    found: list[Range] = remembered["global_subscriptions"]
    return found


@frozen
class _Covering:
    """Who is subscribed by ranges: how, and in ascending order."""

    kinds: dict[int, Kind]
    numbers: tuple[int, ...]


def _covering(connection: Connection, workitem: int) -> _Covering:
    """The global subscriptions of an item; found once for all the items between two ends of ranges."""
    remembered = known(connection)
    if "covering" not in remembered:
        begins = {entry.first for entry in ranges(connection)}
        remembered["covering"] = sorted(begins | {entry.last + 1 for entry in ranges(connection) if entry.last is not None}), {}
    bounds, found = remembered["covering"]
    place = bisect_right(bounds, workitem)
    if place not in found:
        if len(found) >= _MOST_COVERINGS:
            found.clear()
        covering = {entry.subscriber: entry.kind for entry in ranges(connection) if entry.covers(workitem)}
        found[place] = _Covering(covering, tuple(sorted(covering)))
    covering_of_item: _Covering = found[place]
    return covering_of_item


def _changed(connection: Connection) -> None:
    known(connection).pop("global_subscriptions", None)
    known(connection).pop("covering", None)


def last_workitem(connection: Connection) -> int:
    """The number of the youngest item; a later one has a higher number."""
    return int(connection.scalar(select(func.max(workitems.c.id))) or 0)


def subscribe_all(connection: Connection, number: int, kind: Kind) -> list[int]:
    """Subscribe to all items, present and future; existing subscriptions stay as they are (PS3.4 Table CC.2.3-4).

    The answer: items that were unsubscribed singly and are subscribed again by this. The others that become subscribed
    are announced in portions when `kind` is with lock (`next_announcement`).
    """
    last = last_workitem(connection)
    active = next((entry for entry in ranges(connection) if entry.subscriber == number and entry.last is None), None)
    exception = (subscriptions.c.subscriber == number) & (subscriptions.c.kind == Kind.NONE)
    again = list(connection.scalars(select(subscriptions.c.workitem).where(exception)))
    connection.execute(update(subscriptions).where(exception).values(kind=kind))
    if active is not None and active.kind is kind:
        return again
    if active is not None:
        _close(connection, active, last)
    connection.execute(
        insert(global_subscriptions).values(
            subscriber=number,
            kind=kind,
            first=last + 1 if active else 0,
            announced=last if active else 0,
            announce_to=last if active or kind is Kind.WITH_LOCK else 0,
        )
    )
    _changed(connection)
    return again


def suspend_all(connection: Connection, number: int) -> bool:
    """Later items are not subscribed any more; False when there is no global subscription."""
    active = next((entry for entry in ranges(connection) if entry.subscriber == number and entry.last is None), None)
    if active is None:
        return False
    _close(connection, active, last_workitem(connection))
    _changed(connection)
    return True


def _close(connection: Connection, entry: Range, last: int) -> None:
    """End a range at `last`; one that adds nothing to an older one is removed."""
    same = [other for other in ranges(connection) if other.subscriber == entry.subscriber and other.id < entry.id]
    row = global_subscriptions.c.id == entry.id
    if entry.first > last or any(other.first <= entry.first and other.covers(last) for other in same):
        connection.execute(delete(global_subscriptions).where(row))
    else:
        connection.execute(update(global_subscriptions).where(row).values(last=last))


def unsubscribe_all(connection: Connection, number: int) -> bool:
    """End every subscription of this subscriber; False when it has none at all."""
    found = 0
    for table in (global_subscriptions, filtered_subscriptions, subscriptions):
        found += connection.execute(delete(table).where(table.c.subscriber == number)).rowcount
    if not found:
        return False
    known(connection).pop("filtered_subscriptions", None)
    _changed(connection)
    return True


def next_portion(connection: Connection, number: int, most: int) -> tuple[list[int], bool]:
    """Items that a global subscriber has not been told of yet, a portion of them; and whether more may follow."""
    pending = [entry for entry in ranges(connection) if entry.subscriber == number and entry.announced < entry.announce_to]
    if not pending:
        return [], False
    entry = pending[-1]
    numbers, announced = _portion(connection, entry, most)
    between = subscriptions.c.workitem.between(entry.announced + 1, announced)
    single = select(subscriptions.c.workitem).where((subscriptions.c.subscriber == number) & between)
    settled = set(connection.scalars(single))
    older = [other for other in ranges(connection) if other.subscriber == number and other.id < entry.id]
    row = global_subscriptions.c.id == entry.id
    connection.execute(update(global_subscriptions).where(row).values(announced=announced))
    _changed(connection)
    fresh = [item for item in numbers if item not in settled and not any(other.covers(item) for other in older)]
    return fresh, announced < entry.announce_to or len(pending) > 1


def _portion(connection: Connection, entry: "Range | Filter", most: int) -> tuple[list[int], int]:
    """The next items and the number up to which they are all."""
    within = (workitems.c.id > entry.announced) & (workitems.c.id <= entry.announce_to)
    numbers = list(connection.scalars(select(workitems.c.id).where(within).order_by(workitems.c.id).limit(most)))
    return numbers, numbers[-1] if len(numbers) == most else entry.announce_to


# ---- items that match a filter


def filters(connection: Connection) -> list[Filter]:
    """All filtered subscriptions."""
    remembered = known(connection)
    if "filtered_subscriptions" not in remembered:
        rows = connection.execute(select(filtered_subscriptions).order_by(filtered_subscriptions.c.id))
        remembered["filtered_subscriptions"] = [
            Filter(row.id, row.subscriber, Kind(row.kind), row.filter, row.announced, row.announce_to) for row in rows
        ]
    found: list[Filter] = remembered["filtered_subscriptions"]
    return found


def subscribe_filtered(connection: Connection, number: int, kind: Kind, text: str) -> None:
    """Items that will match are subscribed from then on; those held already are looked at in portions."""
    values = {"kind": kind, "announced": 0, "announce_to": last_workitem(connection)}
    row = upsert(filtered_subscriptions).values(subscriber=number, filter=text, **values)
    index = [filtered_subscriptions.c.subscriber, filtered_subscriptions.c.filter]
    connection.execute(row.on_conflict_do_update(index_elements=index, set_=values))
    known(connection).pop("filtered_subscriptions", None)


def suspend_filtered(connection: Connection, number: int) -> bool:
    """Items that match later are not subscribed any more; False when there was no filter."""
    ended = connection.execute(delete(filtered_subscriptions).where(filtered_subscriptions.c.subscriber == number)).rowcount
    known(connection).pop("filtered_subscriptions", None)
    return bool(ended)


def next_filtered_portion(connection: Connection, number: int, most: int) -> tuple[Filter | None, list[int], bool]:
    """A filter that has not been held against all older items yet, the next of these, and whether more may follow."""
    pending = [entry for entry in filters(connection) if entry.subscriber == number and entry.announced < entry.announce_to]
    if not pending:
        return None, [], False
    entry = pending[0]
    numbers, announced = _portion(connection, entry, most)
    row = filtered_subscriptions.c.id == entry.id
    connection.execute(update(filtered_subscriptions).where(row).values(announced=announced))
    known(connection).pop("filtered_subscriptions", None)
    return entry, numbers, announced < entry.announce_to or len(pending) > 1


def unfinished(connection: Connection) -> list[int]:
    """Subscribers that are still to be told of older items."""
    entries: list[Range | Filter] = [*ranges(connection), *filters(connection)]
    return sorted({entry.subscriber for entry in entries if entry.announced < entry.announce_to})


def all_subscribers(connection: Connection) -> list[tuple[int, str, int]]:
    """Number, AE title and last delivered event report of each subscriber that ever was."""
    rows = connection.execute(select(subscribers.c.id, subscribers.c.ae_title, subscribers.c.delivered))
    return [(row.id, row.ae_title, row.delivered) for row in rows]
