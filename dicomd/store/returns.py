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
from .answers import PATIENT_COUNTS

REQUESTS = "00400275"
_IN_REQUESTS = {"00400009", "00401001"}
REGIONS, REGION = "00080063", "00082218"
_COMPUTED = {"00080056", "00081190", "00080054", *PATIENT_COUNTS, REGIONS}
_IN_ROWS = {f"{column.path[0]:08X}" for column in COLUMNS} | _COMPUTED
_LEVEL_OF_COMPUTED = {"00080056": Level.PATIENT, "00081190": Level.PATIENT, "00080054": Level.PATIENT}
_NOT_READY = {"00080062", REGIONS, *PATIENT_COUNTS}


def _level_of(tag: str) -> Level:
    return _LEVEL_OF_COMPUTED[tag] if tag in _LEVEL_OF_COMPUTED else level_of(tag)


@frozen
class Returns:
    """What each answer holds.

    `always`: levels whose default attributes are in each answer (the web's tables). `left_out`: fields of lower levels, which
    an entity of the query's level does not have. `empty`: what is asked for and absent is returned without value (C-FIND).
    """

    query: Query
    always: tuple[Level, ...]
    empty: bool
    left_out: tuple[str, ...]

    @property
    def level(self) -> Level:
        assert self.query.level is not None
        return self.query.level

    @property
    def is_ready(self) -> bool:
        """Whether the ready JSON of the row is the whole answer."""
        query = self.query
        return (
            not self.empty
            and self.always == (self.level,)
            and query.timezone is None
            and not self.is_wide
            and not self.needs_metadata
            and not _NOT_READY.intersection(query.fields)
        )

    @property
    def is_wide(self) -> bool:
        """Whether rows of the levels above are needed."""
        fields = self.query.fields
        return len(self.always) > 1 or self.query.all_fields or _reach_above(self.level, tuple(fields))

    @property
    def needs_metadata(self) -> bool:
        """Whether something is asked for that no row has."""
        return self.query.all_fields or any(self.from_metadata(tag, inner) for tag, inner in self.query.fields.items())

    def from_metadata(self, tag: str, inner: "Fields | None") -> bool:
        """Rows have two attributes of the Request Attributes Sequence; who names the sequence wants all of it."""
        if tag == REQUESTS:
            return inner is None or not set(inner) <= _IN_REQUESTS
        return tag not in _IN_ROWS

    def wants(self, *tags: str) -> bool:
        """Whether one of these is asked for."""
        return any(tag in self.query.fields for tag in tags)

    def answer(self, rows: Mapping[Level, Attributes], metadata: Attributes | None) -> Attributes:
        """One answer, from the attributes of its rows by level and the stored metadata of an instance."""
        source: Attributes = {}
        if metadata:
            source.update((tag, content) for tag, content in metadata.items() if _level_of(tag) <= self.level)
        for level in sorted(rows):
            source.update(rows[level])
        if metadata and REQUESTS in metadata and REQUESTS in source:
            source[REQUESTS] = metadata[REQUESTS]
        always: dict[str, Any] = {}
        for level in self.always:
            always.update(dict.fromkeys(tag for tag in rows[level] if tag not in _NOT_READY))
        if self.query.timezone is not None:
            always["00080201"] = None
        if self.empty:
            always |= {UNIQUE[level]: None for level in Level if Level.STUDY <= level <= self.level}
        return project(self.query, source, always, empty=self.empty)


@lru_cache(1024)
def _reach_above(level: Level, tags: tuple[str, ...]) -> bool:
    """The UIDs of the levels above are in each row, and what is computed is there for each level."""
    there = {*_COMPUTED, *(UNIQUE[each] for each in Level if each is not Level.PATIENT)}
    return any(tag not in there and max(level_of(tag), Level.STUDY) < level for tag in tags)


@lru_cache(1024)
def _divided(level: Level, tags: tuple[str, ...]) -> tuple[str, ...]:
    """Those that an entity of the level does not have."""
    return tuple(tag for tag in tags if _level_of(tag) > level)


def returns(query: Query, *, always: tuple[Level, ...] = (), empty: bool = False) -> Returns:
    """What is returned for a query on the index; fields of lower levels are left out (PS3.18 10.6.3.3)."""
    assert query.level is not None
    level = query.level
    left_out = _divided(level, tuple(query.fields))
    if left_out:
        kept = {tag: inner for tag, inner in query.fields.items() if tag not in left_out}
        query = evolve(query, fields=kept)
    return Returns(query, always, empty, left_out)
