"""The rows above an instance: patient, study and series, their attributes, derived counts and lists.

Every function takes the writing connection first and never commits. The attributes of a study (series, patient) are those of
its first stored instance; what is empty there is filled from later ones.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import define
from sqlalchemy import Connection, Table, bindparam, delete, func, literal_column, select, update

from ..model.keys import COLUMNS, Level
from . import fragments, name_index
from .dialect import Statement, insert
from .header import Header
from .index import known
from .name_index import Owner
from .schema import instances, patients, series, studies

_REMEMBERED = 500


@define
class Series:
    """What the writer remembers of a row: when its attributes came, and which are empty."""

    row: int
    source_at: int
    empty: tuple[str, ...]


@define
class Study:
    """As `Series`, with the lists that are kept on write."""

    row: int
    source_at: int
    empty: tuple[str, ...]
    modalities: set[str]
    sop_classes: set[str]
    series: dict[str, Series]


def names_of(*levels: Level) -> tuple[str, ...]:
    return tuple(column.name for column in COLUMNS if column.level in levels and not column.computed)


_PATIENT, STUDY, SERIES = names_of(Level.PATIENT), names_of(Level.PATIENT, Level.STUDY), names_of(Level.SERIES)


def inserting(table: Table, *names: str) -> Statement:
    """Insert a row with these columns, unless its UID is there."""
    return Statement(insert(table).values({name: bindparam(name) for name in names}).on_conflict_do_nothing())


_INSERT_SERIES = inserting(series, "study_row", *SERIES, "attributes", "source_at")
_INSERT_STUDY = inserting(studies, "patient_row", *STUDY, "attributes", "source_at")
_INSERT_PATIENT = inserting(patients, "key", *_PATIENT, "source_at")
_FIND_STUDY = Statement(select(studies).where(studies.c.study_instance_uid == bindparam("study_instance_uid")))
_FIND_SERIES = Statement(
    select(series).where(
        series.c.study_row == bindparam("study_row"), series.c.series_instance_uid == bindparam("series_instance_uid")
    )
)
_FIND_PATIENT = Statement(select(patients).where(patients.c.key == bindparam("key")))
_OF_STUDY = studies.c.id == bindparam("row")
_COUNT_SERIES = Statement(
    update(studies).where(_OF_STUDY).values(series_in_study=studies.c.series_in_study + literal_column("1"))
)
_SET_LIST = {
    name: Statement(update(studies).where(_OF_STUDY).values({name: bindparam("members")}))
    for name in ("modalities_in_study", "sop_classes_in_study")
}


def remembered(connection: Connection, header: Header) -> tuple[Study, Series] | None:
    """Study and series of an instance, when the writer knows both."""
    study: Study | None = known(connection).get(header.study_instance_uid)
    one = study and study.series.get(header.series_instance_uid)
    return (study, one) if study and one else None


def note(connection: Connection, study: Study, one: Series, header: Header, at: int) -> None:
    """An instance that was stored `at` (ns) is there now: its class, and values that study and series had none for."""
    if header.sop_class_uid not in study.sop_classes:
        study.sop_classes.add(header.sop_class_uid)
        _set_list(connection, study.row, "sop_classes_in_study", study.sop_classes)
    _fill(connection, studies, study, header, at, STUDY)
    _fill(connection, series, one, header, at, SERIES)


def study_of(connection: Connection, header: Header, at: int) -> Study:
    """The study of an instance that was stored `at` (ns), made if there is none."""
    uid = header.study_instance_uid
    remembered: dict[str, Study] = known(connection)
    study = remembered.get(uid)
    if study is None:
        if len(remembered) >= _REMEMBERED:
            remembered.clear()
        study = remembered[uid] = _load_study(connection, uid) or _insert_study(connection, header, at)
    return study


def _load_study(connection: Connection, uid: str) -> Study | None:
    row = _FIND_STUDY.first(connection, {"study_instance_uid": uid})
    if row is None:
        return None
    modalities, classes = row["modalities_in_study"].strip("\\"), row["sop_classes_in_study"].strip("\\")
    return Study(
        row["id"],
        row["source_at"],
        _empty(row, STUDY),
        set(modalities.split("\\")) - {""},
        set(classes.split("\\")) - {""},
        {},
    )


def _empty(values: Any, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if values[name] is None or values[name] == "")


def _insert_study(connection: Connection, header: Header, at: int) -> Study:
    values = {**header.values, "source_at": at}
    values["attributes"] = fragments.study(values)
    values["patient_row"] = _patient(connection, header.values, at)
    row = _INSERT_STUDY.insert(connection, values)
    assert row is not None
    name_index.write(connection, Owner.STUDY, row, str(values["patient_name"]))
    name_index.write(connection, Owner.REFERRING, row, str(values["referring_physician_name"]))
    return Study(row, at, _empty(values, STUDY), set(), set(), {})


def series_of(connection: Connection, header: Header, at: int, study: Study) -> Series:
    """The series of an instance in its study, made if there is none."""
    uid = header.series_instance_uid
    one = study.series.get(uid)
    if one is None:
        one = study.series[uid] = _load_series(connection, study, uid) or _insert_series(connection, header, at, study)
    return one


def _load_series(connection: Connection, study: Study, uid: str) -> Series | None:
    row = _FIND_SERIES.first(connection, {"study_row": study.row, "series_instance_uid": uid})
    return None if row is None else Series(row["id"], row["source_at"], _empty(row, SERIES))


def _insert_series(connection: Connection, header: Header, at: int, study: Study) -> Series:
    values = {**header.values, "study_row": study.row, "source_at": at}
    values["attributes"] = fragments.series(values)
    row = _INSERT_SERIES.insert(connection, values)
    assert row is not None
    _COUNT_SERIES.run(connection, {"row": study.row})
    _note_modality(connection, study, str(values["modality"]))
    return Series(row, at, _empty(values, SERIES))


def _note_modality(connection: Connection, study: Study, modality: str) -> None:
    if modality and modality not in study.modalities:
        study.modalities.add(modality)
        _set_list(connection, study.row, "modalities_in_study", study.modalities)


def _set_list(connection: Connection, study_row: int, column: str, members: Iterable[str]) -> None:
    joined = "\\".join(sorted(member for member in members if member))
    _SET_LIST[column].run(connection, {"row": study_row, "members": f"\\{joined}\\" if joined else ""})


def _fill(connection: Connection, table: Table, above: Study | Series, header: Header, at: int, names: tuple[str, ...]) -> None:
    """Take from the arrival what the row above has no value for; everything when the arrival is the older one."""
    values = header.values
    if at < above.source_at:
        changes = {name: values[name] for name in names if values[name] not in ("", None)}
    else:
        changes = {name: values[name] for name in above.empty if values[name] not in ("", None)}
    above.source_at = min(above.source_at, at)
    if changes:
        merged = revise(connection, table, above.row, changes, above.source_at)
        above.empty = _empty(merged, names)


def revise(connection: Connection, table: Table, row: int, changes: Mapping[str, Any], source_at: int) -> dict[str, Any]:
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
    row = _FIND_PATIENT.first(connection, {"key": key})
    if row is None:
        given = {name: values[name] for name in _PATIENT}
        new = _INSERT_PATIENT.insert(connection, {**given, "key": key, "source_at": at})
        assert new is not None
        name_index.write(connection, Owner.PATIENT, new, values["patient_name"])
        return new
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


def set_attributes(connection: Connection, table: Table, row: int, values: Mapping[str, Any]) -> None:
    """Give a study or series row these attributes, empty ones too."""
    names = STUDY if table is studies else SERIES
    source_at = connection.execute(select(table.c.source_at).where(table.c.id == row)).scalar_one()
    revise(connection, table, row, {name: values[name] for name in names}, source_at)


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
