"""The tables of the index, in SQLAlchemy Core; the numbered upgrades of older index files.

The search columns come from `model.keys`. Text columns are never NULL (an absent or empty attribute is ""), numbers may be.
Each study row repeats the attributes of its patient, so that a study search reads one table. What only the maintenance
commands and the store path write is here; queries on it are in the modules named after what they ask for.
"""

from collections.abc import Callable

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    desc,
    false,
    select,
)

from ..model.keys import COLUMNS, Level
from ..model.keys import Column as Key

VERSION = 4

metadata = MetaData()

# One row a fact about the index itself: schema_version.
about = Table(
    "about",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", String, nullable=False),
)


def is_number(key: Key) -> bool:
    """Whether the key is compared as a number (IS, US)."""
    return key.vr in ("IS", "US")


def _search_columns(level: Level) -> list["Column[str] | Column[int]"]:
    return [_search_column(key) for key in COLUMNS if key.level is level]


def _search_column(key: Key) -> "Column[str] | Column[int]":
    if is_number(key):
        computed = key.computed
        return Column(key.name, Integer, nullable=not computed, server_default="0" if computed else None)
    return Column(key.name, String, nullable=False, server_default="")


def _text(name: str) -> "Column[str]":
    return Column(name, String, nullable=False, server_default="")


# A patient is Patient ID and its issuer; without an ID, name and birth date. `key` joins them.
patients = Table(
    "patients",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", String, nullable=False, unique=True),
    *_search_columns(Level.PATIENT),
    # When the instance was stored that gave the attributes: the first stored one does, later ones fill what is empty.
    Column("source_at", Integer, nullable=False),
)

studies = Table(
    "studies",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("patient_row", Integer, ForeignKey("patients.id"), nullable=False),
    *_search_columns(Level.PATIENT),
    *_search_columns(Level.STUDY),
    # The members of the ready DICOM JSON object, without braces: patient and study attributes.
    _text("attributes"),
    Column("source_at", Integer, nullable=False),
)

series = Table(
    "series",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_row", Integer, ForeignKey("studies.id"), nullable=False),
    *_search_columns(Level.SERIES),
    _text("attributes"),
    Column("source_at", Integer, nullable=False),
    UniqueConstraint("study_row", "series_instance_uid"),
)

# Patient instances and, with NULL in `series_row` and `study_row`, non-patient instances.
instances = Table(
    "instances",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_row", Integer, ForeignKey("studies.id")),
    Column("series_row", Integer, ForeignKey("series.id")),
    *_search_columns(Level.IMAGE),
    _text("attributes"),
    # The Part 10 file, relative to the store folder; where its data set begins; the digest of its bytes (`digests`).
    Column("file", String, nullable=False),
    Column("dataset_offset", Integer, nullable=False),
    Column("file_size", Integer, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    # Nanoseconds since 1970, also the modification time of the file: the order of arrival survives without the index.
    Column("stored_at", Integer, nullable=False),
    # Who sent it: calling AE title or HTTP peer.
    _text("sent_by"),
)

# What is prepared after an instance was stored, so that no request parses a file.
prepared = Table(
    "prepared",
    metadata,
    Column("instance_row", Integer, ForeignKey("instances.id"), primary_key=True, autoincrement=False),
    # Compressed DICOM JSON; NULL when the data set could not be converted, with the reason in `problem`.
    Column("metadata", LargeBinary),
    # Compressed JSON of the bulk data elements: path -> [offset in the file, length].
    Column("bulk_data", LargeBinary),
    # Offset and length of each frame in the file, for encapsulated pixel data.
    Column("frames", LargeBinary),
    _text("problem"),
)

# Names in the forms in which they are compared (`name_index`): component groups and words. `row`: of the patient or study.
names = Table(
    "names",
    metadata,
    Column("owner", Integer, primary_key=True, autoincrement=False),
    Column("row", Integer, primary_key=True, autoincrement=False),
    Column("kind", Integer, primary_key=True, autoincrement=False),
    Column("text", String, primary_key=True),
    _text("sound"),
    sqlite_with_rowid=False,
)

# Files that no row refers to any more, noted in the transaction that made them obsolete, until they are gone.
removals = Table("removals", metadata, Column("file", String, primary_key=True))

# UIDs of studies, series and instances that were deleted as such: they are gone, not unknown (PS3.18 8.5.1, 410).
deleted = Table("deleted", metadata, Column("uid", String, primary_key=True))

# The order in which searches answer: newest study first.
Index(
    "studies_newest_first",
    desc(studies.c.study_date),
    desc(studies.c.study_time),
    studies.c.study_instance_uid,
)
Index("studies_by_uid", studies.c.study_instance_uid, unique=True)
Index("studies_by_patient_id", studies.c.patient_id)
Index("studies_by_accession_number", studies.c.accession_number)
Index("studies_by_modalities", studies.c.modalities_in_study)
Index("studies_by_description", studies.c.study_description)
_BY_NAME = Index("studies_by_patient_name", studies.c.patient_name)
Index("studies_of_patient", studies.c.patient_row)
Index("patients_by_id", patients.c.patient_id)
Index("names_by_text", names.c.owner, names.c.kind, names.c.text, names.c.row)
Index("names_by_sound", names.c.owner, names.c.sound, names.c.row, sqlite_where=names.c.sound != "")
Index("series_by_uid", series.c.series_instance_uid)
_BY_MODALITY = Index("series_by_modality", series.c.modality, series.c.study_row)
Index("instances_by_uid", instances.c.sop_instance_uid, unique=True)
_NON_PATIENT = instances.c.study_row.is_(None)
Index("instances_non_patient", instances.c.sop_class_uid, sqlite_where=_NON_PATIENT, postgresql_where=_NON_PATIENT)
Index("instances_of_series", instances.c.series_row)

# ---- Modality worklist and performed procedure steps (PS3.4 K, F)


def _name_columns(name: str) -> list["Column[str]"]:
    """A name: component groups for literal matching; each word, and each sound, between line feeds for fuzzy matching."""
    return [_text(f"{name}_{part}") for part in ("alphabetic", "ideographic", "phonetic", "words", "sounds")]


# One row a scheduled procedure step; narrow, so that a search may look at every row. `order_id`: Accession Number, else Study
# Instance UID. Rows are named in URLs: the number of a step that has left is never given to another.
scheduled_steps = Table(
    "scheduled_steps",
    metadata,
    Column("id", Integer, primary_key=True),
    _text("order_id"),
    _text("step_id"),
    _text("accession_number"),
    _text("requested_procedure_id"),
    _text("study_instance_uid"),
    _text("patient_id"),
    _text("modality"),
    # As \A\B\, and the start as YYYYMMDD and time of day: what modalities ask for.
    _text("station_ae_titles"),
    _text("start_date"),
    _text("start_time"),
    _text("state"),
    *_name_columns("patient"),
    *_name_columns("performer"),
    # The file of the watched folder it came from, "" for the other ways in.
    _text("origin"),
    Column("changed_at", Integer, nullable=False),
    UniqueConstraint("order_id", "step_id"),
    sqlite_autoincrement=True,
)

# The whole entry, and what every answer holds of it, as DICOM JSON objects.
scheduled_step_contents = Table(
    "scheduled_step_contents",
    metadata,
    Column("step", Integer, ForeignKey("scheduled_steps.id"), primary_key=True, autoincrement=False),
    Column("attributes", String, nullable=False),
    Column("answer", String, nullable=False),
)

# Modality performed procedure steps (PS3.4 F).
performed_steps = Table(
    "performed_steps",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sop_instance_uid", String, nullable=False, unique=True),
    _text("state"),
    Column("attributes", String, nullable=False),
    Column("changed_at", Integer, nullable=False),
)

# Which scheduled steps a performed step fulfils, by what it calls them: the worklist entry may be gone, or come later.
fulfilments = Table(
    "fulfilments",
    metadata,
    Column("performed_row", Integer, ForeignKey("performed_steps.id"), primary_key=True),
    Column("step_id", String, primary_key=True),
    Column("accession_number", String, primary_key=True),
    Column("study_instance_uid", String, primary_key=True),
)

# Messages to other application entities, delivered in order for each of them, kept until delivered or expired.
outbox = Table(
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("ae_title", String, nullable=False),
    # N-CREATE, N-SET or N-EVENT-REPORT
    Column("operation", String, nullable=False),
    Column("sop_class_uid", String, nullable=False),
    Column("sop_instance_uid", String, nullable=False),
    Column("event_type_id", Integer, nullable=False, server_default="0"),
    Column("attributes", String, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    # Seconds since 1970
    Column("due_at", Integer, nullable=False),
    Column("expires_at", Integer, nullable=False),
)

# Covers what modalities ask for, so that counting reads no entry.
Index(
    "scheduled_steps_by_start",
    *(scheduled_steps.c[name] for name in ("start_date", "start_time", "id", "state", "modality", "station_ae_titles")),
    *(scheduled_steps.c[f"patient_{group}"] for group in ("alphabetic", "ideographic", "phonetic")),
)
Index("scheduled_steps_by_patient_id", scheduled_steps.c.patient_id)
Index("scheduled_steps_by_origin", scheduled_steps.c.origin)
Index("scheduled_steps_by_accession_number", scheduled_steps.c.accession_number, scheduled_steps.c.step_id)
Index("scheduled_steps_by_study", scheduled_steps.c.study_instance_uid, scheduled_steps.c.step_id)
Index("fulfilments_by_accession_number", fulfilments.c.accession_number, fulfilments.c.step_id)
Index("fulfilments_by_study", fulfilments.c.study_instance_uid, fulfilments.c.step_id)
Index("outbox_by_peer", outbox.c.ae_title, outbox.c.sop_class_uid, outbox.c.id)
# Storage commitment requests; `requested` holds the references, `result` the response module once it is there (JSON).
commitments = Table(
    "commitments",
    metadata,
    Column("transaction_uid", String, primary_key=True),
    _text("ae_title"),
    Column("requested", String, nullable=False),
    Column("requested_at", Integer, nullable=False),
    Column("result", String),
    Column("reported", Boolean, nullable=False, server_default=false()),
    Column("discarded", Boolean, nullable=False, server_default=false()),
)

# ---- Unified Procedure Steps (PS3.4 CC)

# What is searched and sorted by; narrow rows. `start` is ScheduledProcedureStepStartDateTime in comparable form.
# A Transaction UID is kept here only, never among the attributes. `final_at`: seconds since 1970 when the last state was reached.
workitems = Table(
    "workitems",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sop_instance_uid", String, nullable=False, unique=True),
    Column("state", String, nullable=False),
    Column("start", String, nullable=False),
    _text("transaction_uid"),
    Column("final_at", Integer),
    # A later item never gets the number of one that was deleted: subscriptions to all items are kept as ranges of numbers.
    sqlite_autoincrement=True,
)
Index("workitems_by_start", workitems.c.start, workitems.c.id)
Index("workitems_by_state", workitems.c.state, workitems.c.start, workitems.c.id)
Index("workitems_to_expire", workitems.c.final_at, sqlite_where=workitems.c.final_at.is_not(None))

# The DICOM JSON object of each item.
workitem_attributes = Table(
    "workitem_attributes",
    metadata,
    Column("workitem", Integer, ForeignKey("workitems.id"), primary_key=True, autoincrement=False),
    Column("attributes", LargeBinary, nullable=False),
)

# One row for each value of each key of `model.workitem_keys`; state and start repeated, so that one range of it answers a search.
workitem_keys = Table(
    "workitem_keys",
    metadata,
    Column("path", String, primary_key=True),
    Column("value", String, primary_key=True),
    Column("start", String, primary_key=True),
    Column("workitem", Integer, ForeignKey("workitems.id"), primary_key=True, autoincrement=False),
    Column("state", String, nullable=False),
    sqlite_with_rowid=False,
)

# Items that were held once, so that asking for them is answered with "gone".
deleted_workitems = Table(
    "deleted_workitems",
    metadata,
    Column("sop_instance_uid", String, primary_key=True),
    Column("deleted_at", Integer, nullable=False),
    sqlite_with_rowid=False,
)

# Application entities that subscribe, or did. `delivered`: the last event report that reached it.
subscribers = Table(
    "subscribers",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("ae_title", String, nullable=False, unique=True),
    Column("delivered", Integer, nullable=False),
)

# Subscriptions to single items, and exceptions from those to all: `kind` as in `store.subscriptions.Kind`.
subscriptions = Table(
    "subscriptions",
    metadata,
    Column("workitem", Integer, ForeignKey("workitems.id"), primary_key=True, autoincrement=False),
    Column("subscriber", Integer, ForeignKey("subscribers.id"), primary_key=True, autoincrement=False),
    Column("kind", Integer, nullable=False),
    sqlite_with_rowid=False,
)
Index("subscriptions_of", subscriptions.c.subscriber, subscriptions.c.workitem)

# Global subscriptions: all items from `first` to `last`, NULL while later ones are included. The oldest row that covers an item
# decides. Initial events go out in portions: up to item `announce_to`, `announced` being the last one done.
global_subscriptions = Table(
    "global_subscriptions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("subscriber", Integer, ForeignKey("subscribers.id"), nullable=False),
    Column("kind", Integer, nullable=False),
    Column("first", Integer, nullable=False),
    Column("last", Integer),
    Column("announced", Integer, nullable=False),
    Column("announce_to", Integer, nullable=False),
)

# Filtered global subscriptions: `filter` is the JSON of the matching keys; items that matched have rows of their own.
filtered_subscriptions = Table(
    "filtered_subscriptions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("subscriber", Integer, ForeignKey("subscribers.id"), nullable=False),
    Column("kind", Integer, nullable=False),
    Column("filter", String, nullable=False),
    Column("announced", Integer, nullable=False),
    Column("announce_to", Integer, nullable=False),
    UniqueConstraint("subscriber", "filter"),
)

# Event reports not yet delivered to all `recipients` (numbers of subscribers, joined by commas).
event_reports = Table(
    "event_reports",
    metadata,
    Column("id", Integer, primary_key=True),
    _text("sop_instance_uid"),
    Column("type", Integer, nullable=False),
    Column("information", LargeBinary, nullable=False),
    Column("recipients", String, nullable=False),
    sqlite_autoincrement=True,
)


# ---- Index files of earlier releases


def _to_2(connection: Connection) -> None:
    """Studies are ordered by name and found by modality in an index alone."""
    _BY_MODALITY.drop(connection)
    _BY_MODALITY.create(connection)
    _BY_NAME.create(connection, checkfirst=True)


def _to_3(connection: Connection) -> None:
    """A trigger counts instances, which is there by now; an earlier release would count them twice."""


def _to_4(connection: Connection) -> None:
    """Where instances have SHA-256 digests, those to come have them too; an earlier release does not know any other."""
    if connection.scalar(select(instances.c.id).limit(1)) is not None:
        connection.execute(about.insert().values(name="digests", value="SHA-256"))


# From schema version N to N + 1.
UPGRADES: dict[int, Callable[[Connection], None]] = {1: _to_2, 2: _to_3, 3: _to_4}
