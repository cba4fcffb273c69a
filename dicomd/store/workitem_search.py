"""Searches for Unified Procedure Steps: a query becomes ranges of `workitem_keys`; what these cannot say is matched on the items.

The order is that of ScheduledProcedureStepStartDateTime, then of creation. Each key row repeats start and state of its item, so
that the rarest key alone gives a page in order, and other keys are looked up beside it.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import orjson
from attrs import define, evolve, field, frozen
from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, select

from ..model.kinds import Dates, DateTimes, FuzzyName, Match, Name, OneOf, Single, UidList, Wildcard
from ..model.matching import Items, Key
from ..model.query import Query, match_all
from ..model.steps import State
from ..model.workitem_attributes import START_DATE_TIME, STATE
from ..model.workitem_keys import CODE_SCHEME, CODE_VALUE, GROUPS, KEYS, PAIR, UTC, comparable
from . import dialect
from .schema import workitem_attributes, workitem_keys, workitems

# Keys that are rarer than this are not compared further.
_RARE = 200
_PAGE = 200
_MOST_COUNTS = 256
Place = tuple[str, int]


@frozen
class Condition:
    """What a key row must be: a path, and exactly one value, or one of several, a range or a pattern.

    `accepted_by`: names that only the matcher can judge; which values these are is asked before (`_judged`).
    """

    path: str
    values: tuple[str, ...] = ()
    low: str | None = None
    high: str | None = None
    pattern: str = ""
    accepted_by: Match | None = None

    @property
    def is_single(self) -> bool:
        """One value: the rows are in the order of the answer."""
        return len(self.values) == 1 and self.accepted_by is None

    def on_path(self, row: Any) -> ColumnElement[bool]:
        """The rows of `workitem_keys` to look at."""
        return row.path == self.path if self.accepted_by is None else row.path.in_((self.path, self.path + GROUPS))

    def on(self, row: Any) -> ColumnElement[bool]:
        """The condition on a row of `workitem_keys`."""
        parts = [self.on_path(row)]
        if self.values:
            parts.append(row.value == self.values[0] if len(self.values) == 1 else row.value.in_(self.values))
        elif self.accepted_by is not None:
            parts.append(row.value.in_(()))
        if self.low is not None:
            parts.append(row.value >= self.low)
        if self.high is not None:
            parts.append(row.value <= self.high)
        if self.pattern:
            parts.append(row.value.op("GLOB")(self.pattern))
        return and_(*parts)


@define
class Plan:
    """A query in terms of the tables. `exact`: they say all of it, no item needs to be looked at."""

    states: list[str] | None = None
    start_low: str | None = None
    start_high: str | None = None
    conditions: list[Condition] = field(factory=list)
    exact: bool = True


@frozen
class Found:
    """A page of matching items, as DICOM JSON objects; how many follow, and the place of the last one."""

    items: list[bytes]
    remaining: int
    last: Place | None


# ---- from keys to conditions


def plan(query: Query) -> Plan:
    """How the tables answer the query."""
    made = Plan(exact=query.timezone is None)
    for key in query.keys:
        if key.tag == STATE and not isinstance(key.match, Items):
            made.states = [str(state) for state in State if key.match.accepts(str(state))]
        elif key.tag == START_DATE_TIME and query.timezone is None and _start(made, key.match):
            continue
        else:
            _add(made, (key.tag,), key, query.timezone is not None)
    return made


def _start(made: Plan, match: Match) -> bool:
    """The start as a range of the order itself; not when the key names an offset from UTC."""
    if not isinstance(match, DateTimes) or any(_is_zoned(match, bound) for bound in (match.low, match.high) if bound):
        return False
    made.start_low = comparable(match.low.start()) if match.low else "0"
    if match.high:
        made.start_high = comparable(match.high.start() if match.single else match.high.end())
    return True


def _is_zoned(match: DateTimes, bound: Any) -> bool:
    return match.offset is not None or bound.offset is not None


def _add(made: Plan, path: tuple[str, ...], key: Key, on_other_clock: bool) -> None:
    if isinstance(key.match, Items):
        _add_items(made, path, key.match, on_other_clock)
        return
    found = None if key.vr == "DT" and on_other_clock else _condition(path, key.match)
    if found is None:
        made.exact = False
        return
    conditions, exact = found
    made.conditions += conditions
    made.exact &= exact


def _add_items(made: Plan, path: tuple[str, ...], match: Items, on_other_clock: bool) -> None:
    keys = {key.tag: key for key in match.keys}
    if set(keys) == {CODE_VALUE, CODE_SCHEME} and (*path, CODE_VALUE) in KEYS:
        value, scheme = keys[CODE_VALUE].match, keys[CODE_SCHEME].match
        if isinstance(value, Single) and isinstance(scheme, Single):
            made.conditions.append(Condition("".join(path) + PAIR, (f"{value.value}\\{scheme.value}",)))
            return
    made.exact &= len(match.keys) == 1  # several keys have to be met by the same item
    for key in match.keys:
        _add(made, (*path, key.tag), key, on_other_clock)


def _condition(path: tuple[str, ...], match: Match) -> tuple[list[Condition], bool] | None:
    """Conditions that every matching item meets, and whether only these do; None when the tables cannot tell."""
    if path not in KEYS:
        return None
    joined = "".join(path)
    if isinstance(match, Single):
        return [Condition(joined, (match.value,))], True
    if isinstance(match, UidList):
        return [Condition(joined, tuple(sorted(match.uids)))], True
    if isinstance(match, OneOf) and all(isinstance(one, Single) for one in match.matches):
        return [Condition(joined, tuple(one.value for one in match.matches if isinstance(one, Single)))], True
    if isinstance(match, Wildcard):
        return [_pattern(joined, match.pattern)], True
    if isinstance(match, Name) and match.anywhere:
        return [_pattern(joined, match.patterns[0])], True
    if isinstance(match, (Name, FuzzyName)):
        return [Condition(joined, accepted_by=match)], True
    if isinstance(match, Dates) and match.low == match.high:
        return [Condition(joined, (match.low,))], True
    if isinstance(match, Dates):
        return [Condition(joined, low=match.low, high=match.high)], True
    if isinstance(match, DateTimes):
        return list(_date_time(joined, match)), not (match.low and match.high and _differ(match))
    return None


def _differ(match: DateTimes) -> bool:
    return _is_zoned(match, match.low) != _is_zoned(match, match.high)


def _date_time(path: str, match: DateTimes) -> Iterator[Condition]:
    """The two ends may be on different clocks."""
    ends: dict[str, dict[str, str]] = {}
    if match.low:
        ends.setdefault(UTC if _is_zoned(match, match.low) else "", {})["low"] = comparable(match.low.start(match.offset))
    if match.high:
        end = match.high.start(match.offset) if match.single else match.high.end(match.offset)
        ends.setdefault(UTC if _is_zoned(match, match.high) else "", {})["high"] = comparable(end)
    for suffix, bounds in ends.items():
        yield Condition(path + suffix, low=bounds.get("low"), high=bounds.get("high"))


def _pattern(path: str, pattern: str) -> Condition:
    """`*` and `?` are those of GLOB; the text before the first of them bounds the range that is read."""
    prefix = pattern.split("*")[0].split("?")[0]
    if prefix == pattern:
        return Condition(path, (pattern,))
    glob = pattern.replace("[", "[[]")
    return Condition(path, low=prefix or None, high=prefix + "\U0010ffff" if prefix else None, pattern=glob)


# ---- from conditions to items


def search(connection: Connection, query: Query, limit: int, offset: int = 0, after: Place | None = None) -> Found:
    """At most `limit` matching items, from the `offset`th on or after the given place."""
    made = plan(query)
    made.conditions = [_judged(connection, condition) for condition in made.conditions]
    if made.exact:
        return _exact(connection, made, limit, offset, after)
    return _matched(connection, query, made, limit, offset, after)


def _judged(connection: Connection, condition: Condition) -> Condition:
    """The condition with the values that the matcher accepts, of all there are."""
    if condition.accepted_by is None:
        return condition
    values = connection.scalars(select(workitem_keys.c.value).where(condition.on_path(workitem_keys.c)).distinct())
    return evolve(condition, values=tuple(value for value in values if condition.accepted_by.accepts(value)))


def _exact(connection: Connection, made: Plan, limit: int, offset: int, after: Place | None) -> Found:
    ordered = _select(connection, made, after)
    rows = connection.execute(ordered.limit(limit).offset(offset)).all()
    content = _attributes(connection, [row.number for row in rows])
    remaining = 0
    if len(rows) == limit:
        remaining = max(0, _total(connection, made, after, ordered) - offset - limit)
    items = [content[row.number] for row in rows]
    return Found(items, remaining, (rows[-1].start, rows[-1].number) if rows else None)


def _total(connection: Connection, made: Plan, after: Place | None, ordered: Select[Any]) -> int:
    """How many items there are in all; counted once, as long as nothing is committed meanwhile."""
    current = dialect.version(connection)
    version, counts = connection.info.get("workitem_counts", (None, {}))
    if version != current or len(counts) > _MOST_COUNTS:
        counts = {}
        connection.info["workitem_counts"] = (current, counts)
    key = (tuple(made.states or ("any",)), made.start_low, made.start_high, tuple(made.conditions), after)
    if key not in counts:
        every = ordered.order_by(None).subquery()
        counts[key] = int(connection.scalar(select(func.count()).select_from(every)) or 0)
    return int(counts[key])


def _matched(connection: Connection, query: Query, made: Plan, limit: int, offset: int, after: Place | None) -> Found:
    items: list[bytes] = []
    last, matched = None, 0
    rows = connection.execute(_select(connection, made, after)).all()
    for begin in range(0, len(rows), _PAGE):
        page = rows[begin : begin + _PAGE]
        content = _attributes(connection, [row.number for row in page])
        for row in page:
            item = content[row.number]
            if not match_all(query, orjson.loads(item)):
                continue
            matched += 1
            if offset < matched <= offset + limit:
                items.append(item)
                last = (row.start, row.number)
    return Found(items, max(0, matched - offset - limit), last)


def _attributes(connection: Connection, numbers: Sequence[int]) -> dict[int, bytes]:
    query = select(workitem_attributes.c.workitem, workitem_attributes.c.attributes)
    rows = connection.execute(query.where(workitem_attributes.c.workitem.in_(numbers)))
    return {row.workitem: row.attributes for row in rows}


def _select(connection: Connection, made: Plan, after: Place | None) -> Select[Any]:
    """Number and start of the items that meet the conditions, in order."""
    leading = _rarest(connection, made.conditions)
    row: Any = workitem_keys.alias("leading") if leading else workitems
    number = row.c.workitem if leading else row.c.id
    query = select(number.label("number"), row.c.start)
    if leading:
        query = query.where(leading.on(row.c))
    for condition in made.conditions:
        if condition is not leading:
            query = query.where(_beside(condition, number, row.c.start))
    if made.states is not None:
        query = query.where(row.c.state == made.states[0] if len(made.states) == 1 else row.c.state.in_(made.states))
    if made.start_low is not None:
        query = query.where(row.c.start >= made.start_low)
    if made.start_high is not None:
        query = query.where(row.c.start <= made.start_high)
    if after is not None:
        query = query.where(row.c.start >= after[0], (row.c.start > after[0]) | (number > after[1]))
    return query.order_by(row.c.start, number)


def _beside(condition: Condition, number: Any, start: Any) -> ColumnElement[bool]:
    """The item meets this condition as well."""
    other = workitem_keys.alias()
    if condition.is_single:
        return exists(select(1).where(condition.on(other.c), other.c.start == start, other.c.workitem == number))
    return number.in_(select(other.c.workitem).where(condition.on(other.c)))


def _rarest(connection: Connection, conditions: Sequence[Condition]) -> Condition | None:
    """Of the conditions with one value, the one that fewest items meet."""
    single = [condition for condition in conditions if condition.is_single]
    if len(single) < 2:
        return single[0] if single else None
    best, fewest = single[0], -1
    for condition in single:
        rows = select(1).select_from(workitem_keys).where(condition.on(workitem_keys.c)).limit(fewest if fewest > 0 else 5000)
        count = int(connection.scalar(select(func.count()).select_from(rows.subquery())) or 0)
        if fewest < 0 or count < fewest:
            best, fewest = condition, count
        if fewest < _RARE:
            break
    return best
