"""Writing instances into the index, new ones and those whose SOP Instance UID is held already.

Every function takes the writing connection first and never commits.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Any

from attrs import evolve, field, frozen
from sqlalchemy import Connection, bindparam, delete, insert, select, update

from ..model.identifiers import InstanceKey
from ..model.keys import Level
from ..model.status import InvalidRequest, ServiceError, Status
from . import fragments, hierarchy
from .dialect import Statement
from .files import Folder
from .header import Header
from .index import known
from .schema import instances, prepared, removals, series, studies


class Duplicates(Enum):
    """What to do when a SOP Instance UID arrives again with other content."""

    REPLACE = "replace"
    KEEP = "keep"
    REJECT = "reject"


class Fate(Enum):
    """What became of an instance that was not refused."""

    STORED = "stored"
    IDENTICAL = "identical"
    REPLACED = "replaced"
    # The same content again, whose file was damaged.
    RESTORED = "restored"
    KEPT = "kept"


_PLACE = ("file", "dataset_offset", "file_size", "digest", "stored_at", "sent_by")


@frozen
class Arrival:
    """An instance whose file is in place, for the index."""

    header: Header
    transfer_syntax_uid: str
    file: str
    dataset_offset: int
    file_size: int
    digest: bytes
    stored_at: int
    sent_by: str = ""
    # Its columns but for the rows above: made where it was received, not where all wait for a commit.
    values: dict[str, Any] = field(init=False, eq=False, repr=False)

    @values.default
    def _values(self) -> dict[str, Any]:
        values: dict[str, Any] = dict(self.header.values)
        values["transfer_syntax_uid"] = self.transfer_syntax_uid
        values["attributes"] = fragments.instance(values)
        for name in _PLACE:
            values[name] = getattr(self, name)
        return values


@frozen
class Admission:
    """What became of an arrival: its row; the file that it made obsolete, and its time of arrival in that one's place."""

    fate: Fate
    row: int
    obsolete: str = ""
    stored_at: int = 0


_IMAGE = (*hierarchy.names_of(Level.IMAGE), "transfer_syntax_uid")

_FIND_INSTANCE = Statement(
    select(
        instances.c.id,
        instances.c.digest,
        instances.c.file,
        instances.c.stored_at,
        instances.c.file_size,
        instances.c.series_row,
    ).where(instances.c.sop_instance_uid == bindparam("sop_instance_uid"))
)
_INSERT_INSTANCE = hierarchy.inserting(instances, "study_row", "series_row", *_IMAGE, "attributes", *_PLACE)


def admit(connection: Connection, arrival: Arrival, duplicates: Duplicates, folder: Folder | None = None) -> Admission:
    """Write the rows of an arrival; raises `ServiceError` when it is refused. What it replaces is noted for removal.

    `folder` tells whether a file that is held is there and has its size; if not, the same content restores it.
    """
    row = _insert(connection, arrival)
    if row is not None:
        return Admission(Fate.STORED, row)
    found = _held(connection, arrival.header.sop_instance_uid)
    return _admit_again(connection, arrival, duplicates, found, folder)


def _insert(connection: Connection, arrival: Arrival) -> int | None:
    """The row of a new instance; None when its UID is held. Nothing is made above one that is held."""
    header = arrival.header
    if header.is_non_patient:
        return _insert_instance(connection, arrival, None, None)
    above = hierarchy.remembered(connection, header)
    if above is None:
        if _held(connection, header.sop_instance_uid):
            return None
        above = _make_above(connection, arrival)
    study, one = above
    row = _insert_instance(connection, arrival, study.row, one.row)
    if row is not None:
        hierarchy.note(connection, study, one, header, arrival.stored_at)
    return row


def _held(connection: Connection, sop_instance_uid: str) -> Any:
    return _FIND_INSTANCE.run(connection, {"sop_instance_uid": sop_instance_uid}).fetchone()


def _make_above(connection: Connection, arrival: Arrival) -> tuple[hierarchy.Study, hierarchy.Series]:
    study = hierarchy.study_of(connection, arrival.header, arrival.stored_at)
    return study, hierarchy.series_of(connection, arrival.header, arrival.stored_at, study)


def _insert_instance(connection: Connection, arrival: Arrival, study_row: int | None, series_row: int | None) -> int | None:
    return _INSERT_INSTANCE.insert(connection, {**arrival.values, "study_row": study_row, "series_row": series_row})


# The same SOP Instance UID again --------------------------------------------------------------------------------------------


def _admit_again(
    connection: Connection, arrival: Arrival, duplicates: Duplicates, found: Any, folder: Folder | None
) -> Admission:
    row, digest, file, _, size, series_row = found
    header = arrival.header
    if _place(connection, series_row) != (header.study_instance_uid, header.series_instance_uid):
        raise InvalidRequest("the SOP Instance UID is held under another study or series", offending=(0x00080018,))
    if file == arrival.file:
        # The file that was held is gone, so the new one could take its name.
        return _replaced(connection, arrival, found, Fate.RESTORED)
    if digest == arrival.digest:
        whole = folder is None or folder.is_whole(file, size)
        return Admission(Fate.IDENTICAL, row) if whole else _replaced(connection, arrival, found, Fate.RESTORED)
    if duplicates is Duplicates.KEEP:
        return Admission(Fate.KEPT, row)
    if duplicates is Duplicates.REJECT:
        raise ServiceError("the SOP Instance UID is held with other content", Status.DUPLICATE_SOP_INSTANCE)
    return _replaced(connection, arrival, found, Fate.REPLACED)


def _replaced(connection: Connection, arrival: Arrival, found: Any, fate: Fate) -> Admission:
    """It keeps the place of the old one in the order of arrival, a nanosecond later."""
    row, _, file, stored_at, *_ = found
    arrival = evolve(arrival, stored_at=stored_at + 1)
    _replace(connection, arrival, row, stored_at)
    obsolete = "" if file == arrival.file else file
    if obsolete:
        connection.execute(insert(removals).values(file=obsolete))
    return Admission(fate, row, obsolete, arrival.stored_at)


def _place(connection: Connection, series_row: int | None) -> tuple[str, str]:
    if series_row is None:
        return "", ""
    chosen = select(studies.c.study_instance_uid, series.c.series_instance_uid)
    joined = chosen.join_from(series, studies, series.c.study_row == studies.c.id)
    study, one = connection.execute(joined.where(series.c.id == series_row)).one()
    return study, one


def _replace(connection: Connection, arrival: Arrival, row: int, before: int) -> None:
    """Let the arrival take the place of the instance in `row`, stored at `before`; what was prepared of that is dropped.

    Where the old one gave the attributes of its study or series, the new one gives them now.
    """
    values = {name: value for name, value in arrival.values.items() if name in instances.c}
    connection.execute(update(instances).where(instances.c.id == row).values(values))
    connection.execute(delete(prepared).where(prepared.c.instance_row == row))
    header = arrival.header
    if header.is_non_patient:
        return
    study, one = _make_above(connection, arrival)
    hierarchy.note(connection, study, one, header, arrival.stored_at)
    for table, above, names in ((studies, study, hierarchy.STUDY), (series, one, hierarchy.SERIES)):
        if above.source_at == before:
            changes = {name: value for name in names if (value := header.values[name]) not in ("", None)}
            hierarchy.revise(connection, table, above.row, changes, arrival.stored_at)
    hierarchy.recount(connection, study.row)
    known(connection).clear()


def holds(connection: Connection, folder: Folder, sop_instance_uid: str, digest: bytes) -> bool:
    """Whether this very content is held, in a whole file."""
    found = _held(connection, sop_instance_uid)
    if found is None:
        return False
    _, held, file, _, size, _ = found
    return bool(held == digest) and folder.is_whole(file, size)


def forget_removals(connection: Connection, files: Sequence[str]) -> None:
    """Obsolete files are gone."""
    connection.execute(delete(removals).where(removals.c.file.in_(files)))


def key_of(header: Header) -> InstanceKey:
    """The three UIDs of a header; study and series empty for a non-patient instance."""
    return header.key
