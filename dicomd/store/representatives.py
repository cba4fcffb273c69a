"""Which instances of a study or series have pictures, and which one stands for all (PS3.18 10.4.1.1.5)."""

from collections.abc import Sequence
from typing import Any

from attrs import frozen
from sqlalchemy import Connection, bindparam, func, literal_column, select

from ..model.status import NoSuchInstance
from . import retrieval
from .dialect import Statement
from .files import Folder
from .retrieval import StoredInstance
from .schema import instances, series, studies

# Objects with pixels that do not show the patient by themselves.
_DERIVED = ("SEG", "PR", "KO", "SR", "DOC", "REG", "ANN", "PMAP")
_WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
_MOST_SLIDES = 8


@frozen
class Listed:
    """An instance of a resource: its row, how many frames it has (0 without pixels), and the digest of its content."""

    row: int
    frames: int
    digest: bytes


@frozen
class Representative:
    """What stands for a resource: candidates, best first (usually one), and the modality for a placeholder."""

    candidates: tuple[StoredInstance, ...]
    modality: str


_COLUMNS = (instances.c.id, instances.c.rows, instances.c.number_of_frames, instances.c.digest)
_LISTED = select(*_COLUMNS).join_from(instances, series, instances.c.series_row == series.c.id)
_LISTED = _LISTED.join(studies, instances.c.study_row == studies.c.id)
_LISTED = _LISTED.where(studies.c.study_instance_uid == bindparam("study")).order_by(
    series.c.series_number, series.c.series_instance_uid, instances.c.instance_number, instances.c.sop_instance_uid
)
_OF_STUDY = Statement(_LISTED)
_OF_SERIES = Statement(_LISTED.where(series.c.series_instance_uid == bindparam("series")))
_ROWS = func.max(instances.c.rows)
_HAS_PIXELS = instances.c.rows > literal_column("0")
_SERIES = (
    select(series.c.id, series.c.modality, _ROWS, func.max(instances.c.sop_class_uid))
    .join_from(series, studies, series.c.study_row == studies.c.id)
    .join(instances, instances.c.series_row == series.c.id)
    .where(studies.c.study_instance_uid == bindparam("study"))
    .group_by(series.c.id)
    .order_by(series.c.series_number, series.c.series_instance_uid)
)
_ALL_SERIES = Statement(_SERIES)
_ONE_SERIES = Statement(_SERIES.where(series.c.series_instance_uid == bindparam("series")))
_IN_SERIES = select(instances.c.id).where(instances.c.series_row == bindparam("row"))
_COUNT = Statement(select(func.count()).select_from(instances).where(instances.c.series_row == bindparam("row"), _HAS_PIXELS))
_MIDDLE = Statement(
    _IN_SERIES.where(_HAS_PIXELS)
    .order_by(instances.c.instance_number, instances.c.sop_instance_uid)
    .limit(literal_column("1"))
    .offset(bindparam("skipped"))
)
_SLIDES = Statement(
    _IN_SERIES.where(_HAS_PIXELS)
    .order_by(instances.c.number_of_frames)
    .limit(literal_column(str(_MOST_SLIDES)))
    .offset(literal_column("0"))
)
_MODALITY = Statement(
    select(series.c.modality)
    .join_from(instances, series, instances.c.series_row == series.c.id)
    .where(instances.c.id == bindparam("row"))
)


def listed(connection: Connection, study: str, series_uid: str = "") -> list[Listed]:
    """All instances of a study or series, in order; raises `NoSuchInstance`."""
    values = {"study": study, "series": series_uid}
    rows = (_OF_SERIES if series_uid else _OF_STUDY).run(connection, values).fetchall()
    if not rows:
        raise NoSuchInstance(f"there is no such {'series' if series_uid else 'study'}")
    return [Listed(row, max(1, frames or 1) if height else 0, digest) for row, height, frames, digest in rows]


def stored(connection: Connection, folder: Folder, rows: Sequence[int]) -> list[StoredInstance]:
    """The instances of these rows, without those that were deleted meanwhile."""
    selection = retrieval.pages(connection, folder, rows)
    return sorted([*selection.page, *selection.damaged], key=lambda found: rows.index(found.row))


def one(connection: Connection, folder: Folder, study: str, series_uid: str, instance: str) -> StoredInstance:
    """One instance; raises `NoSuchInstance`."""
    found = retrieval.find(connection, folder, study, series_uid, instance)
    if found is None:
        raise NoSuchInstance("there is no such instance")
    return found


def of_instance(connection: Connection, folder: Folder, study: str, series_uid: str, instance: str) -> Representative:
    """An instance stands for itself."""
    found = one(connection, folder, study, series_uid, instance)
    row = _MODALITY.run(connection, {"row": found.row}).fetchone()
    return Representative((found,), row[0] if row is not None else "")


def of_many(connection: Connection, folder: Folder, study: str, series_uid: str = "") -> Representative:
    """The middle instance of the first series with images; of slides those of least detail. Raises `NoSuchInstance`."""
    values = {"study": study, "series": series_uid}
    rows = (_ONE_SERIES if series_uid else _ALL_SERIES).run(connection, values).fetchall()
    if not rows:
        raise NoSuchInstance(f"there is no such {'series' if series_uid else 'study'}")
    chosen = min(rows, key=_rank)
    if not chosen[2]:
        return Representative((), chosen[1])
    if chosen[3] == _WHOLE_SLIDE:
        found = [row for (row,) in _SLIDES.run(connection, {"row": chosen[0]}).fetchall()]
    else:
        found = _middle(connection, chosen[0])
    return Representative(tuple(stored(connection, folder, found)), chosen[1])


def _rank(row: Any) -> int:
    """Images first, then what is derived from them, then series without pixels; among equals the first."""
    _, modality, pixels, _ = row
    return 2 if not pixels else int(modality in _DERIVED)


def _middle(connection: Connection, series_row: int) -> list[int]:
    counted = _COUNT.run(connection, {"row": series_row}).fetchone()
    count = counted[0] if counted is not None else 0
    row = _MIDDLE.run(connection, {"row": series_row, "skipped": (count - 1) // 2}).fetchone()
    return [row[0]] if row is not None else []


_BY_UID = Statement(select(instances.c.id).where(instances.c.sop_instance_uid == bindparam("instance")))


def by_uid(connection: Connection, folder: Folder, instances_wanted: Sequence[str]) -> dict[str, StoredInstance]:
    """Instances by SOP Instance UID, wherever they are; those not held are left out."""
    rows = [_BY_UID.run(connection, {"instance": uid}).fetchone() for uid in dict.fromkeys(instances_wanted)]
    found = stored(connection, folder, [row[0] for row in rows if row is not None])
    return {each.key.sop_instance_uid: each for each in found}
