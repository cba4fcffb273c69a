"""Which instances a C-GET or C-MOVE Identifier means (PS3.4 C.4.2.1.4, C.4.3.1.3).

The unique keys of the Query/Retrieve Level must be there, those of higher levels narrow the choice when they are (which is
both the hierarchical and the relational behaviour); other keys are not allowed by the standard and are ignored here.
"""

from collections.abc import Sequence

from attrs import frozen

from .attributes import Attributes, texts
from .dictionary import keyword_of
from .identifiers import Collection, is_uid
from .keys import Level
from .query import UNIQUE, level_in
from .status import InvalidRequest


@frozen
class Wanted:
    """The instances below these unique keys; an empty tuple (or no Patient ID) means any."""

    level: Level | None
    patient_id: str | None = None
    study_instance_uids: tuple[str, ...] = ()
    series_instance_uids: tuple[str, ...] = ()
    sop_instance_uids: tuple[str, ...] = ()
    # Of a model of non-patient instances
    sop_class_uids: tuple[str, ...] = ()

    @property
    def collection(self) -> Collection:
        """Without levels it is non-patient instances."""
        return Collection.NON_PATIENT if self.level is None else Collection.STUDIES


def wanted(identifier: Attributes, levels: Sequence[Level]) -> Wanted:
    """Read an Identifier; `levels` are those of the information model, none for non-patient instances."""
    level = level_in(identifier, levels) if levels else None
    unique = UNIQUE[Level.IMAGE if level is None else level]
    if not any(texts(identifier, unique)):
        raise InvalidRequest(f"{keyword_of(unique)}: a value is required at this level", offending=(int(unique, 16),))
    patient_ids = [value for value in texts(identifier, UNIQUE[Level.PATIENT]) if value] if Level.PATIENT in levels else []
    if len(patient_ids) > 1:
        raise InvalidRequest("PatientID: more than one value", offending=(int(UNIQUE[Level.PATIENT], 16),))
    return Wanted(level, patient_ids[0] if patient_ids else None, *_uids(identifier, level))


def _uids(identifier: Attributes, level: Level | None) -> list[tuple[str, ...]]:
    """Of study, series and instance, down to the level; keys of lower levels have no meaning."""
    found = []
    for each in (Level.STUDY, Level.SERIES, Level.IMAGE):
        tag = UNIQUE[each]
        applies = each is Level.IMAGE if level is None else each <= level
        given = tuple(dict.fromkeys(value for value in texts(identifier, tag) if value)) if applies else ()
        if wrong := [value for value in given if not is_uid(value)]:
            raise InvalidRequest(f"{keyword_of(tag)}: {wrong[0][:64]!r} is not a UID", offending=(int(tag, 16),))
        found.append(given)
    return found
