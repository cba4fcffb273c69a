"""Writing instances into the index: rows of patient, study, series and instance, the derived counts, duplicates.

Every function takes the writing connection first and never commits. The attributes of a study (series, patient) are those of
its first stored instance; what is empty there is filled from later ones.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any

from attrs import define, evolve, frozen
from sqlalchemy import Connection, Table, bindparam, delete, func, insert, literal_column, select, update

from ..model.identifiers import InstanceKey
from ..model.keys import COLUMNS, Level
from ..model.status import InvalidRequest, ServiceError, Status
from . import fragments, name_index
from .dialect import Statement
from .files import Folder
from .header import Header
from .index import known
from .name_index import Owner
from .schema import instances, patients, prepared, removals, series, studies

_REMEMBERED = 500


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


@frozen
class Admission:
    """What became of an arrival: its row; the file that it made obsolete, and its time of arrival in that one's place."""

    fate: Fate
    row: int
    obsolete: str = ""
    stored_at: int = 0


@define
class _Series:
    row: int
    source_at: int
    empty: tuple[str, ...]


@define
class _Study:
    row: int
    source_at: int
    empty: tuple[str, ...]
    modalities: set[str]
    sop_classes: set[str]
    series: dict[str, _Series]


def _names(*levels: Level) -> tuple[str, ...]:
    return tuple(column.name for column in COLUMNS if column.level in levels and not column.computed)


_PATIENT, _STUDY, _SERIES = _names(Level.PATIENT), _names(Level.PATIENT, Level.STUDY), _names(Level.SERIES)
_IMAGE = (*_names(Level.IMAGE), "transfer_syntax_uid")
_PLACE = ("file", "dataset_offset", "file_size", "digest", "stored_at", "sent_by")


def _inserting(table: Table, *names: str) -> Statement:
    return Statement(insert(table).values({name: bindparam(name) for name in names}).returning(table.c.id))


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
_INSERT_INSTANCE = _inserting(instances, "study_row", "series_row", *_IMAGE, "attributes", *_PLACE)
_INSERT_SERIES = _inserting(series, "study_row", *_SERIES, "attributes", "source_at")
_INSERT_STUDY = _inserting(studies, "patient_row", *_STUDY, "attributes", "source_at")
_INSERT_PATIENT = _inserting(patients, "key", *_PATIENT, "source_at")
_COUNT_IN_SERIES = Statement(
    update(series)
    .where(series.c.id == bindparam("series_row"))
    .values(instances_in_series=series.c.instances_in_series + literal_column("1"))
)
_COUNT_IN_STUDY = Statement(
    update(studies)
    .where(studies.c.id == bindparam("study_row"))
    .values(instances_in_study=studies.c.instances_in_study + literal_column("1"))
)


def _trusted(file: str, size: int) -> bool:
    return True


def admit(
    connection: Connection, arrival: Arrival, duplicates: Duplicates, is_whole: Callable[[str, int], bool] = _trusted
) -> Admission:
    """Write the rows of an arrival; raises `ServiceError` when it is refused. What it replaces is noted for removal.

    `is_whole` tells whether a file that is held is there and has its size; if not, the same content restores it.
    """
    header = arrival.header
    found = _FIND_INSTANCE.run(connection, {"sop_instance_uid": header.sop_instance_uid}).fetchone()
    if found is not None:
        return _admit_again(connection, arrival, duplicates, found, is_whole)
    if header.is_non_patient:
        return Admission(Fate.STORED, _insert_instance(connection, arrival, None, None))
    study = _study(connection, arrival)
    one = _series(connection, arrival, study)
    row = _insert_instance(connection, arrival, study.row, one.row)
    _COUNT_IN_SERIES.run(connection, {"series_row": one.row})
    _COUNT_IN_STUDY.run(connection, {"study_row": study.row})
    if header.sop_class_uid not in study.sop_classes:
        study.sop_classes.add(header.sop_class_uid)
        _set_list(connection, study.row, "sop_classes_in_study", study.sop_classes)
    return Admission(Fate.STORED, row)


def _insert_instance(connection: Connection, arrival: Arrival, study_row: int | None, series_row: int | None) -> int:
    values = _instance_values(arrival)
    values["study_row"], values["series_row"] = study_row, series_row
    (row,) = _INSERT_INSTANCE.run(connection, values).fetchone()
    return int(row)


def _instance_values(arrival: Arrival) -> dict[str, Any]:
    values: dict[str, Any] = dict(arrival.header.values)
    values["transfer_syntax_uid"] = arrival.transfer_syntax_uid
    values["attributes"] = fragments.instance(values)
    for name in _PLACE:
        values[name] = getattr(arrival, name)
    return values


def _set_list(connection: Connection, study_row: int, column: str, members: Iterable[str]) -> None:
    joined = "\\".join(sorted(member for member in members if member))
    connection.execute(update(studies).where(studies.c.id == study_row).values({column: f"\\{joined}\\" if joined else ""}))


# The rows above an instance ------------------------------------------------------------------------------------------------


def _study(connection: Connection, arrival: Arrival) -> _Study:
    uid = arrival.header.study_instance_uid
    remembered: dict[str, _Study] = known(connection)
    study = remembered.get(uid)
    if study is None:
        if len(remembered) >= _REMEMBERED:
            remembered.clear()
        study = remembered[uid] = _load_study(connection, uid) or _insert_study(connection, arrival)
    _fill(connection, studies, study, arrival, _STUDY)
    return study


def _load_study(connection: Connection, uid: str) -> _Study | None:
    row = connection.execute(select(studies).where(studies.c.study_instance_uid == uid)).mappings().first()
    if row is None:
        return None
    modalities, classes = row["modalities_in_study"].strip("\\"), row["sop_classes_in_study"].strip("\\")
    return _Study(
        row["id"],
        row["source_at"],
        _empty(row, _STUDY),
        set(modalities.split("\\")) - {""},
        set(classes.split("\\")) - {""},
        {},
    )


def _empty(values: Any, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if values[name] is None or values[name] == "")


def _insert_study(connection: Connection, arrival: Arrival) -> _Study:
    values = {**arrival.header.values, "source_at": arrival.stored_at}
    values["attributes"] = fragments.study(values)
    values["patient_row"] = _patient(connection, arrival.header.values, arrival.stored_at)
    (row,) = _INSERT_STUDY.run(connection, values).fetchone()
    name_index.write(connection, Owner.STUDY, row, str(values["patient_name"]))
    name_index.write(connection, Owner.REFERRING, row, str(values["referring_physician_name"]))
    return _Study(row, arrival.stored_at, _empty(values, _STUDY), set(), set(), {})


def _series(connection: Connection, arrival: Arrival, study: _Study) -> _Series:
    uid = arrival.header.series_instance_uid
    one = study.series.get(uid)
    if one is None:
        one = study.series[uid] = _load_series(connection, study, uid) or _insert_series(connection, arrival, study)
    _fill(connection, series, one, arrival, _SERIES)
    return one


def _load_series(connection: Connection, study: _Study, uid: str) -> _Series | None:
    chosen = select(series).where(series.c.study_row == study.row, series.c.series_instance_uid == uid)
    row = connection.execute(chosen).mappings().first()
    return None if row is None else _Series(row["id"], row["source_at"], _empty(row, _SERIES))


def _insert_series(connection: Connection, arrival: Arrival, study: _Study) -> _Series:
    values = {**arrival.header.values, "study_row": study.row, "source_at": arrival.stored_at}
    values["attributes"] = fragments.series(values)
    (row,) = _INSERT_SERIES.run(connection, values).fetchone()
    one = update(studies).where(studies.c.id == study.row)
    connection.execute(one.values(series_in_study=studies.c.series_in_study + 1))
    _note_modality(connection, study, str(values["modality"]))
    return _Series(row, arrival.stored_at, _empty(values, _SERIES))


def _note_modality(connection: Connection, study: _Study, modality: str) -> None:
    if modality and modality not in study.modalities:
        study.modalities.add(modality)
        _set_list(connection, study.row, "modalities_in_study", study.modalities)


def _fill(connection: Connection, table: Table, above: _Study | _Series, arrival: Arrival, names: tuple[str, ...]) -> None:
    """Take from the arrival what the row above has no value for; everything when the arrival is the older one."""
    values = arrival.header.values
    if arrival.stored_at < above.source_at:
        changes = {name: values[name] for name in names if values[name] not in ("", None)}
    else:
        changes = {name: values[name] for name in above.empty if values[name] not in ("", None)}
    above.source_at = min(above.source_at, arrival.stored_at)
    if changes:
        merged = _revise(connection, table, above.row, changes, above.source_at)
        above.empty = _empty(merged, names)


def _revise(connection: Connection, table: Table, row: int, changes: Mapping[str, Any], source_at: int) -> dict[str, Any]:
    """Change attributes of a study or series row, and what is derived from them; the whole row afterwards."""
    found = connection.execute(select(table).where(table.c.id == row)).mappings().one()
    merged: dict[str, Any] = {**found, **changes, "source_at": source_at}
    if table is studies:
        merged["attributes"] = fragments.study(merged)
        merged["patient_row"] = _patient(connection, merged, source_at)
        for owner, name in ((Owner.STUDY, "patient_name"), (Owner.REFERRING, "referring_physician_name")):
            name_index.write(connection, owner, row, merged[name], before=found[name])
    else:
        merged["attributes"] = fragments.series(merged)
    different = {name: value for name, value in merged.items() if value != found[name]}
    if different:
        connection.execute(update(table).where(table.c.id == row).values(different))
    if table is studies and merged["patient_row"] != found["patient_row"]:
        forget_patients(connection)
    return merged


def patient_key(values: Any) -> str:
    """What makes two studies belong to one patient: ID and issuer; without an ID, the name and the birth date."""
    if values["patient_id"]:
        return f"{values['patient_id']}\\{values['issuer_of_patient_id']}"
    return f"\\\\{values['patient_name']}\\{values['patient_birth_date']}"


def _patient(connection: Connection, values: Any, at: int) -> int:
    key = patient_key(values)
    row = connection.execute(select(patients).where(patients.c.key == key)).mappings().first()
    if row is None:
        given = {name: values[name] for name in _PATIENT}
        (new,) = _INSERT_PATIENT.run(connection, {**given, "key": key, "source_at": at}).fetchone()
        name_index.write(connection, Owner.PATIENT, new, values["patient_name"])
        return int(new)
    changes = {name: values[name] for name in _PATIENT if values[name] and (at < row["source_at"] or not row[name])}
    if changes:
        merged = {**row, **changes}
        name_index.write(connection, Owner.PATIENT, row["id"], merged["patient_name"], before=row["patient_name"])
        changes |= {"source_at": min(at, row["source_at"])}
        connection.execute(update(patients).where(patients.c.id == row["id"]).values(changes))
    return int(row["id"])


def forget_patients(connection: Connection) -> None:
    """Remove patients without studies."""
    connection.execute(delete(patients).where(~select(studies.c.id).where(studies.c.patient_row == patients.c.id).exists()))


# The same SOP Instance UID again --------------------------------------------------------------------------------------------


def _admit_again(
    connection: Connection, arrival: Arrival, duplicates: Duplicates, found: Any, is_whole: Callable[[str, int], bool]
) -> Admission:
    row, digest, file, _, size, series_row = found
    header = arrival.header
    if _place(connection, series_row) != (header.study_instance_uid, header.series_instance_uid):
        raise InvalidRequest("the SOP Instance UID is held under another study or series", offending=(0x00080018,))
    if file == arrival.file:
        # The file that was held is gone, so the new one could take its name.
        return _replaced(connection, arrival, found, Fate.RESTORED)
    if digest == arrival.digest:
        whole = is_whole(file, size)
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
    values = {name: value for name, value in _instance_values(arrival).items() if name in instances.c}
    connection.execute(update(instances).where(instances.c.id == row).values(values))
    connection.execute(delete(prepared).where(prepared.c.instance_row == row))
    if arrival.header.is_non_patient:
        return
    study = _study(connection, arrival)
    one = _series(connection, arrival, study)
    for table, above, names in ((studies, study, _STUDY), (series, one, _SERIES)):
        if above.source_at == before:
            changes = {name: value for name in names if (value := arrival.header.values[name]) not in ("", None)}
            _revise(connection, table, above.row, changes, arrival.stored_at)
    recount(connection, study.row)
    known(connection).clear()


def holds(connection: Connection, folder: Folder, sop_instance_uid: str, digest: bytes) -> bool:
    """Whether this very content is held, in a whole file."""
    found = _FIND_INSTANCE.run(connection, {"sop_instance_uid": sop_instance_uid}).fetchone()
    if found is None:
        return False
    _, held, file, _, size, _ = found
    return bool(held == digest) and folder.is_whole(file, size)


def forget_removals(connection: Connection, files: Sequence[str]) -> None:
    """Obsolete files are gone."""
    connection.execute(delete(removals).where(removals.c.file.in_(files)))


def set_attributes(connection: Connection, table: Table, row: int, values: Mapping[str, Any]) -> None:
    """Give a study or series row these attributes, empty ones too."""
    names = _STUDY if table is studies else _SERIES
    source_at = connection.execute(select(table.c.source_at).where(table.c.id == row)).scalar_one()
    _revise(connection, table, row, {name: values[name] for name in names}, source_at)


def recount(connection: Connection, study_row: int) -> None:
    """Set the counts and lists of a study and its series from their rows."""
    of_series = select(instances.c.series_row, func.count()).join(series, instances.c.series_row == series.c.id)
    of_series = of_series.where(series.c.study_row == study_row).group_by(instances.c.series_row)
    counts = {row: count for row, count in connection.execute(of_series)}  # noqa: C416 - rows are no tuples
    for row, count in counts.items():
        connection.execute(update(series).where(series.c.id == row).values(instances_in_series=count))
    total = connection.scalar(select(func.count()).select_from(series).where(series.c.study_row == study_row))
    totals = {"series_in_study": total, "instances_in_study": sum(counts.values())}
    connection.execute(update(studies).where(studies.c.id == study_row).values(totals))
    modalities = select(series.c.modality).distinct().where(series.c.study_row == study_row)
    _set_list(connection, study_row, "modalities_in_study", connection.scalars(modalities))
    classes = select(instances.c.sop_class_uid).distinct().join(series, instances.c.series_row == series.c.id)
    classes = classes.where(series.c.study_row == study_row)
    _set_list(connection, study_row, "sop_classes_in_study", connection.scalars(classes))


def key_of(header: Header) -> InstanceKey:
    """The three UIDs of a header; study and series empty for a non-patient instance."""
    return header.key
