"""Finding entities in the index: which rows, in the documented order, how many, and what is in them.

Order: newest study first (date and time descending, then UID), series by number, instances by number, each then by UID; patients
by ID. A statement is built and compiled once for each shape of query.
"""

import json
from array import array
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, bindparam, func, literal_column, select

from ..model.keys import Level
from . import dialect
from .conditions import bind_names, build
from .dialect import Statement
from .places import PLACES, TABLES, Place
from .plans import Plan
from .schema import instances, patients, series, studies

Row = tuple[Any, ...]

_MOST_SHAPES = 1000
_MOST_COUNTS = 1000
# Characters of values up to which a count is remembered: lists of UIDs can be as long as a URL.
_LONGEST_REMEMBERED = 1000
# From this offset on, series and instances of whole studies are passed over instead of counted one by one.
_FAR = 500

_ORDERS: dict[Level, tuple[Any, ...]] = {
    Level.PATIENT: (patients.c.patient_id, patients.c.id),
    Level.STUDY: (studies.c.study_date.desc(), studies.c.study_time.desc(), studies.c.study_instance_uid),
}
_ORDERS[Level.SERIES] = (
    *_ORDERS[Level.STUDY],
    series.c.series_number.is_(None),
    series.c.series_number,
    series.c.series_instance_uid,
)
_ORDERS[Level.IMAGE] = (
    *_ORDERS[Level.SERIES],
    instances.c.instance_number.is_(None),
    instances.c.instance_number,
    instances.c.sop_instance_uid,
)
_FROM: dict[Level, Any] = {
    Level.PATIENT: patients,
    Level.STUDY: studies,
    Level.SERIES: studies.join(series, series.c.study_row == studies.c.id),
}
_FROM[Level.IMAGE] = _FROM[Level.SERIES].join(instances, instances.c.series_row == series.c.id)
_EVERYTHING = patients.join(_FROM[Level.IMAGE], studies.c.patient_row == patients.c.id)


def _of_patient(expression: Callable[[Any], Any]) -> Any:
    of_patient = studies.alias()
    return (
        select(func.coalesce(expression(of_patient), literal_column("0")))
        .where(of_patient.c.patient_row == patients.c.id)
        .scalar_subquery()
    )


# What a row holds of each level; rows of a lower level may be followed by those of the levels above it.
_PATIENT_COLUMNS = (
    patients.c.id,
    patients.c.patient_name,
    patients.c.patient_id,
    patients.c.issuer_of_patient_id,
    patients.c.patient_birth_date,
    patients.c.patient_sex,
    _of_patient(lambda of_patient: func.count(of_patient.c.id)),
    _of_patient(lambda of_patient: func.sum(of_patient.c.series_in_study)),
    _of_patient(lambda of_patient: func.sum(of_patient.c.instances_in_study)),
)
_STUDY_COLUMNS = (
    studies.c.id,
    studies.c.study_instance_uid,
    studies.c.attributes,
    studies.c.modalities_in_study,
    studies.c.sop_classes_in_study,
    studies.c.series_in_study,
    studies.c.instances_in_study,
)
_SERIES_COLUMNS = (
    series.c.id,
    studies.c.study_instance_uid,
    series.c.series_instance_uid,
    studies.c.timezone_offset,
    series.c.attributes,
    series.c.instances_in_series,
)
_IMAGE_COLUMNS = (
    instances.c.id,
    studies.c.study_instance_uid,
    series.c.series_instance_uid,
    instances.c.sop_instance_uid,
    studies.c.timezone_offset,
    instances.c.attributes,
)
_COLUMNS: dict[tuple[Level, bool], tuple[Any, ...]] = {
    (Level.PATIENT, False): _PATIENT_COLUMNS,
    (Level.PATIENT, True): _PATIENT_COLUMNS,
    (Level.STUDY, False): _STUDY_COLUMNS,
    (Level.STUDY, True): _STUDY_COLUMNS,
    (Level.SERIES, False): _SERIES_COLUMNS,
    (Level.SERIES, True): _SERIES_COLUMNS + _STUDY_COLUMNS,
    (Level.IMAGE, False): _IMAGE_COLUMNS,
    (Level.IMAGE, True): _IMAGE_COLUMNS + _SERIES_COLUMNS + _STUDY_COLUMNS,
}

# Which columns rows have after their id: those of the level, with those of the levels above (True), or those of these tags
Shown = bool | tuple[str, ...]

_BELOW: dict[tuple[Level, Level], Any] = {
    (Level.STUDY, Level.SERIES): studies.c.series_in_study,
    (Level.STUDY, Level.IMAGE): studies.c.instances_in_study,
    (Level.SERIES, Level.IMAGE): series.c.instances_in_series,
}

_statements: dict[Any, Statement] = {}


def _statement(kind: str, plan: Plan, make: Any, *details: Any) -> Statement:
    """The compiled statement for a shape of query."""
    shape = (kind, plan.level, plan.shape, plan.order, *details)
    statement = _statements.get(shape)
    if statement is None:
        if len(_statements) >= _MOST_SHAPES:
            _statements.clear()
        statement = _statements[shape] = make(plan, *details)
    return statement


# ---- what is asked of the index


def page(connection: Connection, plan: Plan, shown: Shown, limit: int, offset: int) -> list[Row]:
    """The rows of one page, in order."""
    if plan.is_narrow:
        statement = _statement("page", plan, _page, shown)
        return statement.run(connection, _values(plan, limit, offset)).fetchall()
    return rows(connection, plan.level, shown, ids(connection, plan, limit, offset))


def ids(connection: Connection, plan: Plan, limit: int = -1, offset: int = 0) -> "array[int]":
    """The row ids of what is found, in order; all of them without a limit."""
    far = offset > _FAR and limit >= 0 and plan.level > Level.STUDY and not plan.order
    if far and all(place.level <= Level.STUDY for place, _ in plan.terms):
        return _far_ids(connection, plan, limit, offset)
    statement = _statement("ids", plan, _ids)
    return array("q", [row for (row,) in statement.run(connection, _values(plan, limit, offset))])


def _far_ids(connection: Connection, plan: Plan, limit: int, offset: int) -> "array[int]":
    """A page far behind: whole studies are passed over by what they say they hold."""
    chosen, passed, before = array("q"), 0, 0
    for study, held in _statement("sizes", plan, _sizes).run(connection, _values(plan)):
        if before + held <= offset:
            passed = before + held
        elif before < offset + limit:
            chosen.append(study)
        else:
            break
        before += held
    values = {"ids": json.dumps(chosen.tolist()), "limit": limit, "offset": offset - passed}
    return array("q", [row for (row,) in _OF_STUDIES[plan.level].run(connection, values)])


def count(connection: Connection, plan: Plan) -> int:
    """How many entities are found; counted once, as long as nothing is committed meanwhile."""
    if sum(len(value) for value in plan.values if isinstance(value, str)) > _LONGEST_REMEMBERED:
        return _counted(connection, plan)
    current, key = dialect.version(connection), (plan.level, plan.shape, plan.values)
    version, counts = connection.info.get("counts", (None, {}))
    if version != current or len(counts) >= _MOST_COUNTS:
        counts = {}
        connection.info["counts"] = (current, counts)
    if key not in counts:
        counts[key] = _counted(connection, plan)
    return int(counts[key])


def _counted(connection: Connection, plan: Plan) -> int:
    (number,) = _statement("count", plan, _count).run(connection, _values(plan)).fetchone()
    return number or 0


def candidates(connection: Connection, plan: Plan) -> "tuple[array[int], array[int]]":
    """For each instance that satisfies what is in SQL: the entity of the query's level, and the instance; in order."""
    statement = _statement("candidates", plan, _candidates)
    found: tuple[array[int], array[int]] = (array("q"), array("q"))
    for entity, instance in statement.run(connection, _values(plan)):
        found[0].append(entity)
        found[1].append(instance)
    return found


def rows(connection: Connection, level: Level, shown: Shown, chosen: Iterable[int]) -> list[Row]:
    """The rows with these ids, in the order of the ids."""
    listed = list(chosen)
    found = {row[0]: row for row in _by_ids(level, shown).run(connection, {"ids": json.dumps(listed)})}
    return [found[row] for row in listed if row in found]


def representatives(connection: Connection, level: Level, chosen: Iterable[int]) -> dict[int, int]:
    """For each study or series row its first instance, which stands for the attributes that all of its instances share."""
    return dict(_REPRESENTATIVES[level].run(connection, {"ids": json.dumps(list(chosen))}).fetchall())


def patient_counts(connection: Connection, chosen: Iterable[int]) -> list[Row]:
    """For each study row the numbers of its patient's studies, series and instances."""
    found: list[Row] = _PATIENT_COUNTS.run(connection, {"ids": json.dumps(list(chosen))}).fetchall()
    return found


def instances_of(connection: Connection, study: int) -> list[int]:
    """The rows of all instances of a study."""
    return [row for (row,) in _INSTANCES_OF.run(connection, {"study": study})]


def _values(plan: Plan, limit: int = -1, offset: int = 0) -> dict[str, Any]:
    values: dict[str, Any] = {f"p{number}": value for number, value in enumerate(plan.values)}
    values["limit"], values["offset"] = limit, offset
    return values


# ---- building statements


def _shown(level: Level, shown: Shown) -> tuple[Any, ...]:
    if isinstance(shown, bool):
        return _COLUMNS[level, shown]
    places = [PLACES[(tag,)] for tag in shown]
    return (TABLES[level].c.id, *[place.column(_table(place, level)) for place in places])


def _page(plan: Plan, shown: Shown) -> Statement:
    chosen = select(*_shown(plan.level, shown)).select_from(_FROM[plan.level]).where(*_where(plan, plan.level))
    return Statement(_paged(chosen.order_by(*_ordered(plan))))


def _ordered(plan: Plan) -> tuple[Any, ...]:
    """What was asked for; among equals the documented order."""
    asked: dict[str, Any] = {}
    for place, descending in plan.order:
        column = place.column(_table(place, plan.level))
        asked.setdefault(place.name, column.desc() if descending else column)
    return (*asked.values(), *_ORDERS[plan.level])


def _ids(plan: Plan) -> Statement:
    """Studies are the outer loop, so that their index gives the order and the first page ends the work."""
    chosen = select(TABLES[plan.level].c.id).select_from(_FROM[plan.level]).where(*_where(plan, plan.level))
    return Statement(_paged(chosen.order_by(*_ordered(plan))), as_joined=not plan.is_narrow)


def _sizes(plan: Plan) -> Statement:
    """Studies in order, with the number of entities of the query's level below each."""
    chosen = select(studies.c.id, _BELOW[Level.STUDY, plan.level]).where(*_where(plan, Level.STUDY))
    return Statement(chosen.order_by(*_ORDERS[Level.STUDY]))


def _of_studies(level: Level) -> Statement:
    within = studies.c.id.in_(dialect.values_of(bindparam("ids")))
    chosen = select(TABLES[level].c.id).select_from(_FROM[level]).where(within)
    return Statement(_paged(chosen.order_by(*_ORDERS[level])))


def _paged(chosen: "Select[Any]") -> "Select[Any]":
    return chosen.limit(bindparam("limit")).offset(bindparam("offset"))


def _count(plan: Plan) -> Statement:
    """Rows of a higher level know how many they have below, where nothing is asked of what is below."""
    if plan.terms and all(place.level > plan.level for place, _ in plan.terms):
        return _count_above(plan)
    levels = {max(place.level, min(plan.level, Level.STUDY)) for place, _ in plan.terms}
    source = min(plan.level, max(levels, default=Level.STUDY))
    number: Any = func.count() if source is plan.level else func.sum(_BELOW[source, plan.level])
    chosen = select(number).select_from(TABLES[source] if levels == {source} else _FROM[source]).where(*_where(plan, source))
    return Statement(chosen.where(instances.c.series_row.is_not(None)) if source is Level.IMAGE else chosen)


def _count_above(plan: Plan) -> Statement:
    """Where only what is below is asked of, an index of the lower table knows which rows above are meant."""
    binds = bind_names()
    conditions = [build(term, place, TABLES[place.level], binds) for place, term in plan.terms]
    source, parent = _chain(plan.level, max(place.level for place, _ in plan.terms))
    return Statement(select(func.count(parent.distinct())).select_from(source).where(*conditions))


def _candidates(plan: Plan) -> Statement:
    source = _EVERYTHING if plan.level is Level.PATIENT else _FROM[Level.IMAGE]
    chosen = select(TABLES[plan.level].c.id, instances.c.id).select_from(source).where(*_where(plan, Level.IMAGE))
    return Statement(chosen.order_by(*_ordered(plan), instances.c.id), as_joined=not plan.is_narrow)


def _where(plan: Plan, level: Level) -> list[ColumnElement[bool]]:
    """The conditions on the tables down to `level`; what is asked of lower ones must hold of one row below."""
    binds, direct, below = bind_names(), [], []
    for place, term in plan.terms:
        if place.level <= level:
            direct.append(build(term, place, _table(place, level), binds))
        else:
            below.append((place.level, build(term, place, TABLES[place.level], binds)))
    if below:
        direct.append(_some_below(plan, level, max(deepest for deepest, _ in below), [condition for _, condition in below]))
    return direct


def _table(place: Place, level: Level) -> Table:
    return studies if place.level is Level.PATIENT and level > Level.PATIENT else TABLES[place.level]


def _chain(level: Level, deepest: Level) -> tuple[Any, Any]:
    """The tables below a level, joined, and the column that says which row of the level it is."""
    chain = [(studies, studies.c.patient_row), (series, series.c.study_row), (instances, instances.c.series_row)]
    (first, parent), *others = chain[level:deepest]
    source: Any = first
    above = first
    for table, link in others:
        source = source.join(table, link == above.c.id)
        above = table
    return source, parent


def _some_below(plan: Plan, level: Level, deepest: Level, conditions: list[ColumnElement[bool]]) -> ColumnElement[bool]:
    source, parent = _chain(level, deepest)
    upper = TABLES[level]
    if plan.is_narrow:
        return upper.c.id.in_(select(parent).select_from(source).where(*conditions).correlate(None))
    return select(literal_column("1")).select_from(source).where(parent == upper.c.id, *conditions).correlate(upper).exists()


@lru_cache(_MOST_SHAPES)
def _by_ids(level: Level, shown: Shown) -> Statement:
    chosen = TABLES[level].c.id.in_(dialect.values_of(bindparam("ids")))
    return Statement(select(*_shown(level, shown)).select_from(_FROM[level]).where(chosen))


# Rows are written in the order of commits; of instances that arrive side by side an earlier one may come so much later.
_AT_ONCE = 64


def _first_instance(level: Level) -> Statement:
    """The first instance of the first series: the one that the attributes of the rows above came from."""
    upper = TABLES[level]
    one: Any = series.c.id
    if level is not Level.SERIES:
        inner, study = series.alias(), studies.alias()
        above = inner.join(study, inner.c.study_row == study.c.id)
        within = (study.c.id if level is Level.STUDY else study.c.patient_row) == upper.c.id
        chosen = select(inner.c.id).select_from(above).where(within).order_by(inner.c.source_at, inner.c.id)
        one = chosen.limit(literal_column("1")).offset(literal_column("0")).correlate(upper).scalar_subquery()
    early = select(instances.c.id, instances.c.stored_at).where(instances.c.series_row == one).order_by(instances.c.id)
    arrived = early.limit(literal_column(str(_AT_ONCE))).offset(literal_column("0")).correlate(upper).subquery()
    first = (
        select(arrived.c.id)
        .order_by(arrived.c.stored_at, arrived.c.id)
        .limit(literal_column("1"))
        .offset(literal_column("0"))
        .scalar_subquery()
    )
    return Statement(select(upper.c.id, first).where(upper.c.id.in_(dialect.values_of(bindparam("ids")))))


_OF_STUDIES = {level: _of_studies(level) for level in (Level.SERIES, Level.IMAGE)}
_REPRESENTATIVES = {level: _first_instance(level) for level in (Level.PATIENT, Level.STUDY, Level.SERIES)}
_PATIENT_COUNTS = Statement(
    select(studies.c.id, *[column.correlate(patients) for column in _PATIENT_COLUMNS[-3:]])
    .select_from(studies.join(patients, studies.c.patient_row == patients.c.id))
    .where(studies.c.id.in_(dialect.values_of(bindparam("ids"))))
)
_INSTANCES_OF = Statement(
    select(instances.c.id)
    .select_from(series.join(instances, instances.c.series_row == series.c.id))
    .where(series.c.study_row == bindparam("study"))
)
