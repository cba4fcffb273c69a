"""What the answer to a query holds, and where it comes from: ready JSON, a row and those above it, or the stored metadata."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from attrs import evolve, frozen

from ..model.attributes import Attributes
from ..model.keys import COLUMNS, Level
from ..model.levels import level_of
from ..model.projection import project
from ..model.query import UNIQUE, Fields, Query
from .plans import ANATOMIC_REGIONS, PATIENT_COUNTS

REQUESTS = "00400275"
_IN_REQUESTS = {"00400009", "00401001"}
REGIONS, REGION = ANATOMIC_REGIONS, "00082218"
# Made for each entity, whatever its level: availability, URL, AE title
_URL = "00081190"
_OF_ENTITY = {"00080056", _URL, "00080054"}
_COMPUTED = {*_OF_ENTITY, *PATIENT_COUNTS, REGIONS}
_IN_ROWS = {f"{column.path[0]:08X}" for column in COLUMNS} | _COMPUTED
_NOT_READY = ("00080062", REGIONS, *PATIENT_COUNTS)
# Text, and numbers that are written as text
_COLUMNS = {f"{column.path[0]:08X}" for column in COLUMNS if len(column.path) == 1 and column.vr != "US"}
# The UIDs that lead to an entity are in its row
_UIDS = {tag for level, tag in UNIQUE.items() if level is not Level.PATIENT}
_UIDS_OF = {level: {UNIQUE[above]: None for above in Level if Level.STUDY <= above <= level} for level in Level}


@frozen
class Needs:
    """What must be read to answer. `is_wide`: rows of the levels above. `is_default`: nothing but what rows of the levels in
    `always` have; `is_ready`: nothing but the ready JSON of the row. `left_out`: fields of lower levels. `columns`: the tags of
    an answer to C-FIND whose values columns hold as they are; None where that is not all.
    """

    is_wide: bool
    metadata: bool
    is_default: bool
    is_ready: bool
    left_out: tuple[str, ...]
    columns: tuple[str, ...] | None


@frozen
class Returns:
    """What each answer holds.

    `always`: levels whose default attributes are in each answer (the web's tables), from the top. `empty`: what is asked for and
    absent is returned without value (C-FIND).
    """

    query: Query
    level: Level
    always: tuple[Level, ...]
    empty: bool
    needs: Needs

    def wants(self, *tags: str) -> bool:
        """Whether one of these is asked for."""
        return any(tag in self.query.fields for tag in tags)

    def answer(self, rows: Mapping[Level, Attributes], metadata: Attributes | None) -> Attributes:
        """One answer, from the attributes of its rows by level, from the top, and the stored metadata of an instance."""
        if self.needs.is_default:
            return dict(sorted(self._default(rows).items()))
        source: Attributes = {}
        if metadata:
            source.update((tag, content) for tag, content in metadata.items() if _level_of(tag) <= self.level)
        for attributes in rows.values():
            source.update(attributes)
        if metadata and REQUESTS in metadata and REQUESTS in source:
            source[REQUESTS] = metadata[REQUESTS]
        always: dict[str, Any] = dict.fromkeys(self._default(rows))
        if self.query.timezone is not None:
            always["00080201"] = None
        if self.empty:
            always |= _UIDS_OF[self.level]
        return project(self.query, source, always, empty=self.empty)

    def _default(self, rows: Mapping[Level, Attributes]) -> Attributes:
        found: Attributes = {}
        for level in self.always:
            found.update(rows[level])
        for tag in _NOT_READY:
            found.pop(tag, None)
        return found


def returns(query: Query, *, always: tuple[Level, ...] = (), empty: bool = False) -> Returns:
    """What is returned for a query on the index; fields of lower levels are left out (PS3.18 10.6.3.3)."""
    assert query.level is not None
    whole = REQUESTS in query.fields and _is_whole(query.fields[REQUESTS])
    needs = _needs(query.level, always, empty, query.timezone is not None, query.all_fields, whole, tuple(query.fields))
    if needs.left_out:
        query = evolve(query, fields={tag: inner for tag, inner in query.fields.items() if tag not in needs.left_out})
    assert query.level is not None
    return Returns(query, query.level, always, empty, needs)


def _is_whole(inner: "Fields | None") -> bool:
    """Rows have two attributes of the Request Attributes Sequence; who names the sequence wants all of it."""
    return inner is None or not set(inner) <= _IN_REQUESTS


@lru_cache(2048)
def _needs(
    level: Level, always: tuple[Level, ...], empty: bool, moved: bool, everything: bool, whole: bool, fields: tuple[str, ...]
) -> Needs:
    """URLs are for the web alone, which knows what they begin with."""
    kept = [tag for tag in fields if _level_of(tag) <= level and not (empty and tag == _URL)]
    metadata = everything or whole or any(tag not in _IN_ROWS for tag in kept)
    above = [level_of(tag) for tag in kept if tag not in _COMPUTED | _UIDS and max(level_of(tag), Level.STUDY) < level]
    wide = everything or len(always) > 1 or bool(above)
    top = min(always, default=Level.IMAGE)
    within = top <= Level.STUDY or all(one >= top for one in above)
    default = bool(always) and within and not (empty or moved or metadata or any(tag in kept for tag in _NOT_READY))
    ready = default and always == (level,) and not wide
    columns = sorted({*kept, *_UIDS_OF[level]} - _OF_ENTITY)
    alone = empty and not (moved or everything or always) and all(tag in _COLUMNS for tag in columns)
    left_out = tuple(tag for tag in fields if tag not in kept)
    return Needs(wide, metadata, default, ready, left_out, tuple(columns) if alone else None)


def _level_of(tag: str) -> Level:
    return Level.PATIENT if tag in _OF_ENTITY else level_of(tag)
