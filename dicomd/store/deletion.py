"""Deleting a study, a series or an instance from the index, with what hangs on it; its files are noted for removal.

Rows go first, in one transaction with the notes; the files follow, and a crash between leaves only notes, which are worked
off at the next start.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import field, frozen
from sqlalchemy import Connection, delete, insert, select

from ..model.identifiers import InstanceKey
from . import dialect, hierarchy, schema
from .file_header import read_file
from .files import Folder
from .header import Header
from .index import known
from .schema import instances, prepared, removals, series, studies


@frozen
class Target:
    """What is to be deleted: a study, a series of it, an instance of that; without study a non-patient instance."""

    study_instance_uid: str = ""
    series_instance_uid: str = ""
    sop_instance_uid: str = ""


@frozen
class Deleted:
    """One instance that was deleted, and its file."""

    key: InstanceKey
    sop_class_uid: str
    row: int
    file: str


@frozen
class Remaining:
    """The files that stay of a study from which something is deleted, in the order of their arrival."""

    files: list[str] = field(factory=list)


_JOINED = instances.outerjoin(series, instances.c.series_row == series.c.id).outerjoin(
    studies, series.c.study_row == studies.c.id
)
_MOST = 500


def remaining(connection: Connection, target: Target) -> Remaining:
    """What stays of the study; nothing when all of it goes."""
    if not target.series_instance_uid:
        return Remaining()
    doomed = {one.row for one in _chosen(connection, target)}
    chosen = select(instances.c.id, instances.c.file).select_from(_JOINED)
    chosen = chosen.where(studies.c.study_instance_uid == target.study_instance_uid).order_by(instances.c.stored_at)
    return Remaining([file for row, file in connection.execute(chosen) if row not in doomed])


def headers(folder: Folder, files: Iterable[str]) -> list[Header]:
    """The headers of files; in the disk pool."""
    return [read_file(folder.path(file))[1] for file in files]


def remove(connection: Connection, target: Target, left: Sequence[Header]) -> list[Deleted]:
    """Delete the rows. `left` are the headers that stay of the study: its attributes are theirs from now on."""
    deleted = _chosen(connection, target)
    if not deleted:
        return []
    connection.execute(insert(removals), [{"file": one.file} for one in deleted])
    for start in range(0, len(deleted), _MOST):
        numbers = [one.row for one in deleted[start : start + _MOST]]
        connection.execute(delete(prepared).where(prepared.c.instance_row.in_(numbers)))
        connection.execute(delete(instances).where(instances.c.id.in_(numbers)))
    if target.study_instance_uid:
        _tidy(connection, target.study_instance_uid, left)
    uid = target.sop_instance_uid or target.series_instance_uid or target.study_instance_uid
    connection.execute(dialect.insert(schema.deleted).values(uid=uid).on_conflict_do_nothing())
    known(connection).clear()
    return deleted


def _chosen(connection: Connection, target: Target) -> list[Deleted]:
    columns = (
        studies.c.study_instance_uid,
        series.c.series_instance_uid,
        instances.c.sop_instance_uid,
        instances.c.sop_class_uid,
        instances.c.id,
        instances.c.file,
    )
    chosen = select(*columns).select_from(_JOINED)
    if target.study_instance_uid:
        chosen = chosen.where(studies.c.study_instance_uid == target.study_instance_uid)
    else:
        chosen = chosen.where(instances.c.series_row.is_(None), instances.c.sop_instance_uid == target.sop_instance_uid)
    if target.series_instance_uid:
        chosen = chosen.where(series.c.series_instance_uid == target.series_instance_uid)
    if target.sop_instance_uid:
        chosen = chosen.where(instances.c.sop_instance_uid == target.sop_instance_uid)
    found = connection.execute(chosen.order_by(instances.c.id))
    return [Deleted(InstanceKey(study or "", one or "", sop), kind, row, file) for study, one, sop, kind, row, file in found]


def _tidy(connection: Connection, study_instance_uid: str, left: Sequence[Header]) -> None:
    """Remove what has no instances any more; set the counts and attributes of what has."""
    study_row = connection.scalar(select(studies.c.id).where(studies.c.study_instance_uid == study_instance_uid))
    of_study = select(series.c.id, series.c.series_instance_uid).where(series.c.study_row == study_row)
    empty = ~select(instances.c.id).where(instances.c.series_row == series.c.id).exists()
    connection.execute(delete(series).where(series.c.study_row == study_row, empty))
    kept = connection.execute(of_study).all()
    if not kept:
        connection.execute(delete(studies).where(studies.c.id == study_row))
        hierarchy.forget_patients(connection)
        return
    assert study_row is not None
    if left:
        hierarchy.set_attributes(connection, studies, study_row, merged(left))
    for row, uid in kept:
        if of_series := [header for header in left if header.series_instance_uid == uid]:
            hierarchy.set_attributes(connection, series, row, merged(of_series))
    hierarchy.recount(connection, study_row)


def merged(headers: Iterable[Header]) -> Mapping[str, Any]:
    """The attributes that headers in the order of their arrival give together: the first value of each that is not empty."""
    values: dict[str, Any] = {}
    for header in headers:
        for name, value in header.values.items():
            if values.get(name) in ("", None):
                values[name] = value
    return values
