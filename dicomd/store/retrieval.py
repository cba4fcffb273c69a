"""Reading stored instances: which there are of a study, series or list of UIDs, where their files are, what was prepared of them.

Every function takes a reading connection first. Instances come in the order of series number and instance number.
"""

import hashlib
import os
from array import array
from collections.abc import Sequence
from sys import intern
from typing import Any

from attrs import evolve, field, frozen
from sqlalchemy import BindParameter, Column, Connection, Select, bindparam, func, select

from ..model.identifiers import InstanceKey
from ..model.status import Gone, NoSuchInstance
from . import schema
from .dialect import Statement
from .files import Folder
from .schema import instances, series, studies


@frozen
class StoredInstance:
    """An instance in the archive; `path` is its Part 10 file."""

    row: int
    key: InstanceKey
    sop_class_uid: str
    transfer_syntax_uid: str
    path: str
    dataset_offset: int
    size: int
    digest: bytes

    @property
    def is_whole(self) -> bool:
        """Whether the file is there and has its size."""
        try:
            return os.stat(self.path).st_size == self.size
        except OSError:
            return False


@frozen
class Extent:
    """All instances of a selection together, from which the length of an answer follows.

    `letters`: how many there are in their Series, SOP Instance and transfer syntax UIDs, and in the sizes of their files.
    """

    count: int
    size: int
    letters: int
    transfer_syntax_uids: frozenset[str]


@frozen
class Selection:
    """The instances of one resource: the first page of them, and the rows of those that follow.

    `damaged`: on the first page, but their files are missing or have another size. `tag` changes when any instance does.
    `content` is the file of a single small instance, if that was asked for. `extent` is told when there are following pages.
    """

    page: list[StoredInstance]
    damaged: list[StoredInstance] = field(factory=list)
    following: "array[int]" = field(factory=lambda: array("q"))
    tag: str = ""
    content: bytes = b""
    extent: "Extent | None" = None

    def cut(self, most: int) -> "Selection":
        """The same with at most so many instances on the first page."""
        following = array("q", [found.row for found in self.page[most:]]) + self.following
        return evolve(self, page=self.page[:most], following=following)


COLUMNS = (
    instances.c.id,
    studies.c.study_instance_uid,
    series.c.series_instance_uid,
    instances.c.sop_instance_uid,
    instances.c.sop_class_uid,
    instances.c.transfer_syntax_uid,
    instances.c.file,
    instances.c.dataset_offset,
    instances.c.file_size,
    instances.c.digest,
)


def _of(*columns: Any) -> Select[Any]:
    joined = select(*columns).join_from(instances, series, instances.c.series_row == series.c.id)
    return joined.join(studies, instances.c.study_row == studies.c.id)


_IN_STUDY = studies.c.study_instance_uid == bindparam("study")
_IN_SERIES = series.c.series_instance_uid == bindparam("series")
_ORDER = (
    series.c.series_number,
    series.c.series_instance_uid,
    instances.c.instance_number,
    instances.c.sop_instance_uid,
)
_IS_INSTANCE = instances.c.sop_instance_uid == bindparam("instance")
_ONE = Statement(_of(*COLUMNS).where(_IN_STUDY, _IN_SERIES, _IS_INSTANCE))
_MOST: BindParameter[int] = bindparam("most")
_SKIPPED: BindParameter[int] = bindparam("skipped")
_FIRST_OF_STUDY = Statement(_of(*COLUMNS).where(_IN_STUDY).order_by(*_ORDER).limit(_MOST).offset(_SKIPPED))
_FIRST_OF_SERIES = Statement(_of(*COLUMNS).where(_IN_STUDY, _IN_SERIES).order_by(*_ORDER).limit(_MOST).offset(_SKIPPED))
_MEASURED = (
    instances.c.id,
    instances.c.digest,
    instances.c.file_size,
    instances.c.transfer_syntax_uid,
    func.length(series.c.series_instance_uid) + func.length(instances.c.sop_instance_uid),
)
_ALL_OF_STUDY = Statement(_of(*_MEASURED).where(_IN_STUDY).order_by(*_ORDER))
_ALL_OF_SERIES = Statement(_of(*_MEASURED).where(_IN_STUDY, _IN_SERIES).order_by(*_ORDER))
# Of non-patient instances too
_BY_ROW = Statement(
    select(*COLUMNS)
    .join_from(instances, series, instances.c.series_row == series.c.id, isouter=True)
    .join(studies, instances.c.study_row == studies.c.id, isouter=True)
    .where(instances.c.id == bindparam("row"))
)


def made(folder: Folder, row: Any) -> StoredInstance:
    """The instance of a row of `COLUMNS`; one of no patient has no study and no series."""
    number, study, one, sop, sop_class, syntax, file, offset, size, digest = row
    # Thousands may be at hand for each of many receivers: what is equal in them is one object.
    key = InstanceKey(intern(study or ""), intern(one or ""), sop)
    return StoredInstance(number, key, intern(sop_class), intern(syntax), folder.path(file), offset, size, digest)


def find(connection: Connection, folder: Folder, study: str, series: str, instance: str) -> StoredInstance | None:
    """One instance."""
    row = _ONE.run(connection, {"study": study, "series": series, "instance": instance}).fetchone()
    return None if row is None else made(folder, row)


def choose(connection: Connection, folder: Folder, study: str, series: str = "", instance: str = "", *, most: int) -> Selection:
    """The instances of a study, a series or one instance; none when there is no such thing. The first page holds `most`."""
    if instance:
        found = find(connection, folder, study, series, instance)
        return Selection([found], tag=found.digest[:16].hex()) if found else Selection([])
    values = {"study": study, "series": series, "most": most + 1, "skipped": 0}
    rows = (_FIRST_OF_SERIES if series else _FIRST_OF_STUDY).run(connection, values).fetchall()
    page = [made(folder, row) for row in rows[:most]]
    if len(rows) <= most:
        return Selection(page, tag=_tag(each.digest for each in page))
    every = (_ALL_OF_SERIES if series else _ALL_OF_STUDY).run(connection, values).fetchall()
    following = array("q", [row[0] for row in every[most:]])
    return Selection(page, following=following, tag=_tag(row[1] for row in every), extent=_extent(every))


def _extent(rows: Sequence[Any]) -> Extent:
    size = sum(row[2] for row in rows)
    letters = sum(len(str(row[2])) + len(row[3]) + row[4] for row in rows)
    return Extent(len(rows), size, letters, frozenset(row[3] for row in rows))


def absent(connection: Connection, study: str, series: str = "", instance: str = "") -> NoSuchInstance:
    """Why a study, series or instance is not there: it was deleted, by itself or with what it belonged to, or never known."""
    what = "instance" if instance else "series" if series else "study"
    named = [uid for uid in (study, series, instance) if uid]
    deleted = set(connection.scalars(select(schema.deleted.c.uid).where(schema.deleted.c.uid.in_(named))))
    with_study = study in deleted and not _holds(connection, studies.c.study_instance_uid, study)
    with_series = series in deleted and not _holds(connection, schema.series.c.series_instance_uid, series)
    if named[-1] in deleted or with_study or with_series:
        return Gone(f"the {what} has been deleted")
    return NoSuchInstance(f"there is no such {what}")


def _holds(connection: Connection, column: "Column[str]", uid: str) -> bool:
    return connection.scalar(select(column).where(column == uid).limit(1)) is not None


def pages(connection: Connection, folder: Folder, rows: Sequence[int]) -> Selection:
    """Some of the instances that follow the first page; those that were deleted meanwhile are left out."""
    found = [_BY_ROW.run(connection, {"row": row}).fetchone() for row in rows]
    return Selection([made(folder, row) for row in found if row is not None])


def verified(selection: Selection, read_up_to: int = 0) -> Selection:
    """The selection with what is damaged set apart; the file of a single instance of up to `read_up_to` bytes is read."""
    if len(selection.page) == 1 and not selection.following and selection.page[0].size <= read_up_to:
        content = read(selection.page[0])
        if len(content) == selection.page[0].size:
            return evolve(selection, content=content)
    damaged = [each for each in selection.page if not each.is_whole]
    if not damaged:
        return selection
    return evolve(selection, page=[each for each in selection.page if each not in damaged], damaged=damaged)


def read(found: StoredInstance) -> bytes:
    """The whole file; what there is of it, empty when it is missing."""
    try:
        descriptor = os.open(found.path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, found.size + 1)
    finally:
        os.close(descriptor)


def _tag(digests: Any) -> str:
    together = hashlib.sha256()
    for digest in digests:
        together.update(digest)
    return together.hexdigest()[:32]
