"""The search keys that the index keeps in columns of their own (PS3.4 C.6.1, C.6.2; PS3.18 Tables 10.6.1-5, 10.6.3-3..5).

One table feeds the schema (columns), the store path (what is read from a header) and the search (what can be matched in SQL).
Every other attribute is matched and returned from the stored metadata.
"""

from collections.abc import Iterator
from enum import IntEnum

from attrs import frozen


class Level(IntEnum):
    """Query/Retrieve Level (0008,0052), from the root down."""

    PATIENT = 0
    STUDY = 1
    SERIES = 2
    IMAGE = 3


@frozen
class Column:
    """One key: its tag (path for an element inside a sequence), VR, the level it belongs to and its column's name.

    `multiple`: the stored attribute may have several values; the column holds them as `\\A\\B\\` so that one value can be
    matched exactly. `computed`: kept up to date by the store path, not read from a header.
    """

    path: tuple[int, ...]
    vr: str
    level: Level
    name: str
    multiple: bool = False
    computed: bool = False


def _columns() -> Iterator[Column]:
    p, s, e, i = Level.PATIENT, Level.STUDY, Level.SERIES, Level.IMAGE
    yield Column((0x00100010,), "PN", p, "patient_name")
    yield Column((0x00100020,), "LO", p, "patient_id")
    yield Column((0x00100021,), "LO", p, "issuer_of_patient_id")
    yield Column((0x00100030,), "DA", p, "patient_birth_date")
    yield Column((0x00100040,), "CS", p, "patient_sex")
    yield Column((0x0020000D,), "UI", s, "study_instance_uid")
    yield Column((0x00080020,), "DA", s, "study_date")
    yield Column((0x00080030,), "TM", s, "study_time")
    yield Column((0x00080050,), "SH", s, "accession_number")
    yield Column((0x00200010,), "SH", s, "study_id")
    yield Column((0x00080090,), "PN", s, "referring_physician_name")
    yield Column((0x00081030,), "LO", s, "study_description")
    yield Column((0x00080201,), "SH", s, "timezone_offset")
    yield Column((0x00080061,), "CS", s, "modalities_in_study", multiple=True, computed=True)
    yield Column((0x00080062,), "UI", s, "sop_classes_in_study", multiple=True, computed=True)
    yield Column((0x00201206,), "IS", s, "series_in_study", computed=True)
    yield Column((0x00201208,), "IS", s, "instances_in_study", computed=True)
    yield Column((0x0020000E,), "UI", e, "series_instance_uid")
    yield Column((0x00080060,), "CS", e, "modality")
    yield Column((0x00200011,), "IS", e, "series_number")
    yield Column((0x0008103E,), "LO", e, "series_description")
    yield Column((0x00180015,), "CS", e, "body_part_examined")
    yield Column((0x00400244,), "DA", e, "performed_start_date")
    yield Column((0x00400245,), "TM", e, "performed_start_time")
    yield Column((0x00400275, 0x00400009), "SH", e, "scheduled_step_id", multiple=True)
    yield Column((0x00400275, 0x00401001), "SH", e, "requested_procedure_id", multiple=True)
    yield Column((0x00201209,), "IS", e, "instances_in_series", computed=True)
    yield Column((0x00080018,), "UI", i, "sop_instance_uid")
    yield Column((0x00080016,), "UI", i, "sop_class_uid")
    yield Column((0x00200013,), "IS", i, "instance_number")
    yield Column((0x00280010,), "US", i, "rows")
    yield Column((0x00280011,), "US", i, "columns")
    yield Column((0x00280100,), "US", i, "bits_allocated")
    yield Column((0x00280008,), "IS", i, "number_of_frames")
    yield Column((0x00083002,), "UI", i, "transfer_syntax_uid", computed=True)


COLUMNS: tuple[Column, ...] = tuple(_columns())
BY_PATH: dict[tuple[int, ...], Column] = {column.path: column for column in COLUMNS}
