"""Which instances a C-GET or C-MOVE sends. Every function takes a reading connection first."""

from array import array
from collections.abc import Iterator, Sequence
from typing import Any

from attrs import field, frozen
from sqlalchemy import ColumnElement, Connection, Select, select

from ..model.identifiers import Collection
from ..model.retrieval import Wanted
from .files import Folder
from .retrieval import COLUMNS, StoredInstance, made
from .schema import instances, series, studies

# Longer lists of UIDs are looked up in pieces.
_LIST = 500


@frozen
class Plan:
    """The rows of what is to be sent, in order, and the pairs of SOP class and transfer syntax among them."""

    rows: "array[int]" = field(factory=lambda: array("q"))
    kinds: dict[tuple[str, str], int] = field(factory=dict)


def plan(connection: Connection, wanted: Wanted) -> Plan:
    """All instances that `wanted` means, each once."""
    chosen = Plan()
    seen: set[int] = set()
    for statement in _statements(wanted):
        for row, sop_class_uid, transfer_syntax_uid in connection.execute(statement):
            if row not in seen:
                seen.add(row)
                chosen.rows.append(row)
                kind = (sop_class_uid, transfer_syntax_uid)
                chosen.kinds[kind] = chosen.kinds.get(kind, 0) + 1
    return chosen


def _statements(wanted: Wanted) -> Iterator[Select[Any]]:
    columns = select(instances.c.id, instances.c.sop_class_uid, instances.c.transfer_syntax_uid)
    if wanted.collection is Collection.NON_PATIENT:
        ours = instances.c.sop_class_uid.in_(wanted.sop_class_uids)
        base = columns.where(instances.c.study_row.is_(None), ours).order_by(instances.c.id)
    else:
        base = columns.join_from(instances, series, instances.c.series_row == series.c.id)
        base = base.join(studies, instances.c.study_row == studies.c.id)
        base = base.order_by(series.c.series_number, series.c.id, instances.c.instance_number, instances.c.id)
    if wanted.patient_id is not None:
        base = base.where(studies.c.patient_id == wanted.patient_id)
    listed = [
        (studies.c.study_instance_uid, wanted.study_instance_uids),
        (series.c.series_instance_uid, wanted.series_instance_uids),
        (instances.c.sop_instance_uid, wanted.sop_instance_uids),
    ]
    yield from _narrowed(base, [(column, uids) for column, uids in listed if uids])


def _narrowed(base: Select[Any], listed: list[tuple[ColumnElement[str], Sequence[str]]]) -> Iterator[Select[Any]]:
    if not listed:
        yield base
        return
    (column, uids), *rest = listed
    for start in range(0, len(uids), _LIST):
        yield from _narrowed(base.where(column.in_(uids[start : start + _LIST])), rest)


_ANY = select(*COLUMNS).select_from(
    instances.outerjoin(series, instances.c.series_row == series.c.id).outerjoin(studies, instances.c.study_row == studies.c.id)
)


def page(connection: Connection, folder: Folder, rows: Sequence[int]) -> list[StoredInstance]:
    """Some instances of a plan, in its order; those that were deleted meanwhile are left out."""
    found = {row[0]: row for row in connection.execute(_ANY.where(instances.c.id.in_(rows)))}
    return [made(folder, found[number]) for number in rows if number in found]
