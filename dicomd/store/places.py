"""Where the index keeps a key: which table and column, and how it is compared there."""

from enum import Enum
from typing import Any

from attrs import frozen
from sqlalchemy import Table

from ..model.keys import COLUMNS, Level
from .name_index import Owner
from .schema import instances, is_number, patients, series, studies

TABLES: dict[Level, Table] = {Level.PATIENT: patients, Level.STUDY: studies, Level.SERIES: series, Level.IMAGE: instances}


class Form(Enum):
    """How values stand in a column: one text, several as `\\A\\B\\`, a number, or a name with rows in `names`."""

    TEXT = "text"
    LIST = "list"
    NUMBER = "number"
    NAME = "name"


@frozen
class Place:
    """A column of the index. `unique`: few rows have the same value, and there is an index."""

    level: Level
    name: str
    form: Form
    unique: bool
    vr: str

    def column(self, table: Table) -> Any:
        """The column in a table that has it: patient attributes are kept with the patient and with each study."""
        return table.c[self.name]


_UNIQUE = {"study_instance_uid", "series_instance_uid", "sop_instance_uid", "patient_id", "accession_number"}


def _form(vr: str, multiple: bool, number: bool) -> Form:
    if number:
        return Form.NUMBER
    if vr == "PN":
        return Form.NAME
    return Form.LIST if multiple else Form.TEXT


PLACES: dict[tuple[str, ...], Place] = {
    tuple(f"{tag:08X}" for tag in column.path): Place(
        column.level,
        column.name,
        _form(column.vr, column.multiple, is_number(column)),
        column.name in _UNIQUE,
        column.vr,
    )
    for column in COLUMNS
}
TIMES_OF_DATES = {"study_date": "study_time", "performed_start_date": "performed_start_time"}


def owner_of(place: Place, table: Table) -> Owner:
    """Whose names these are in `names`."""
    if place.name == "referring_physician_name":
        return Owner.REFERRING
    return Owner.PATIENT if table is patients else Owner.STUDY
