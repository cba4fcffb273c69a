"""From rows of the index to DICOM JSON: the attributes that a search returns (PS3.18 Tables 10.6.3-3 to 10.6.3-5).

A row holds its own attributes as ready JSON; what is computed (counts, lists, availability, URLs) is put in its place among
them, so that the usual answer is made without parsing anything.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import orjson

from ..model.attributes import Attributes, attribute
from ..model.keys import Level
from .plans import PATIENT_COUNTS

Row = tuple[Any, ...]

# Stands where the web door writes the service's base URL
BASE = "@@BASE@@"
_ONLINE = '"00080056":{"vr":"CS","Value":["ONLINE"]}'
_URL = '"00081190":{"vr":"UR","Value":["' + BASE + "/studies/"


@lru_cache(1024)
def _listed(vr: str, joined: str) -> str:
    """A list column as an attribute."""
    values = [value for value in joined.split("\\") if value]
    return orjson.dumps(attribute(vr, *values)).decode()


@lru_cache(64)
def _offset(offset: str) -> str:
    return ',"00080201":' + orjson.dumps(attribute("SH", offset)).decode() if offset else ""


def study(row: Row) -> str:
    """A study as a JSON object, with its patient's attributes."""
    _, uid, attributes, modalities, _, series, instances = row[:7]
    start, _, rest = attributes.partition(',"00080090":')
    middle, _, end = rest.partition(',"00100010":')
    return (
        f'{{{start},{_ONLINE},"00080061":{_listed("CS", modalities)},"00080090":{middle},{_URL}{uid}"]}},"00100010":{end}'
        f',"00201206":{{"vr":"IS","Value":[{series}]}},"00201208":{{"vr":"IS","Value":[{instances}]}}}}'
    )


def series(row: Row) -> str:
    """A series as a JSON object, with the UID of its study."""
    _, study_uid, uid, offset, attributes, instances = row[:6]
    start, _, rest = attributes.partition(',"0020000E":')
    first, mark, others = start.partition(',"00180015":')
    head, described, description = first.partition(',"0008103E":')
    at = rest.find(',"0040')
    number, end = (rest, "") if at < 0 else (rest[:at], rest[at:])
    return (
        f'{{{head}{_offset(offset)}{described}{description},{_URL}{study_uid}/series/{uid}"]}}{mark}{others}'
        f',"0020000D":{{"vr":"UI","Value":["{study_uid}"]}},"0020000E":{number}'
        f',"00201209":{{"vr":"IS","Value":[{instances}]}}{end}}}'
    )


def instance(row: Row) -> str:
    """An instance as a JSON object, with the UIDs of its study and series."""
    _, study_uid, series_uid, uid, offset, attributes = row[:6]
    start, _, end = attributes.partition(',"00200013":')
    head, mark, syntax = start.partition(',"00083002":')
    return (
        f'{{{head},{_ONLINE}{_offset(offset)},{_URL}{study_uid}/series/{series_uid}/instances/{uid}"]}}{mark}{syntax}'
        f',"0020000D":{{"vr":"UI","Value":["{study_uid}"]}},"0020000E":{{"vr":"UI","Value":["{series_uid}"]}},"00200013":{end}}}'
    )


def patient(row: Row) -> Attributes:
    """A patient's attributes."""
    _, name, patient_id, issuer, birth_date, sex, studies, series, instances = row[:9]
    given = [("00100020", "LO", patient_id), ("00100030", "DA", birth_date), ("00100040", "CS", sex)]
    if issuer:
        given.append(("00100021", "LO", issuer))
    return {
        "00080056": attribute("CS", "ONLINE"),
        "00100010": attribute("PN", name) if name else attribute("PN"),
        **{tag: attribute(vr, *filter(None, value.split("\\"))) for tag, vr, value in given},
        **{tag: attribute("IS", n) for tag, n in zip(PATIENT_COUNTS, (studies, series, instances), strict=True)},
    }


# How many columns the row of each level has
WIDTHS: dict[Level, int] = {Level.STUDY: 7, Level.SERIES: 6, Level.IMAGE: 6}
READY: dict[Level, Callable[[Row], str]] = {Level.STUDY: study, Level.SERIES: series, Level.IMAGE: instance}


class Reader:
    """Reads rows into attributes; a row above that several rows have in common is parsed once."""

    def __init__(self) -> None:
        self._above: dict[tuple[Level, int], Attributes] = {}

    def attributes_of(self, level: Level, row: Row) -> dict[Level, Attributes]:
        """The attributes that a row (a wide one for all of them) holds, from the top, by the level whose row they are of."""
        if level is Level.PATIENT:
            return {level: patient(row)}
        found: dict[Level, Attributes] = {level: orjson.loads(READY[level](row))}
        if level is Level.STUDY:
            found[level]["00080062"] = orjson.loads(_listed("UI", row[4]))
        at: Level = level
        while len(row) > WIDTHS[at]:
            row, at = row[WIDTHS[at] :], Level(at - 1)
            found[at] = self._shared(at, row)
        return dict(reversed(found.items()))

    def _shared(self, level: Level, row: Row) -> Attributes:
        known = self._above.get((level, row[0]))
        if known is None:
            (known,) = self.attributes_of(level, row[: WIDTHS[level]]).values()
            self._above[level, row[0]] = known
        return known
