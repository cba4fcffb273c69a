"""Modality worklist (PS3.4 K; PS3.18 chapter 14): entries come in, are found, change their state and leave.

One core under HTTP, DIMSE, the watched folder and HL7.
"""

import datetime
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Protocol

import orjson
from attrs import define, field, frozen

from ..model.attributes import Attributes
from ..model.matching import Items
from ..model.projection import project
from ..model.query import Query
from ..model.scheduled_steps import ALWAYS_RETURNED, SEQUENCE, STEP_STATUS, ScheduledState, entries, identity
from ..model.status import NoSuchInstance
from ..store import performed_steps, scheduled_steps, worklist_search
from ..store.scheduled_steps import Entry
from ..store.worklist_search import Page
from .hub import Clock

log = logging.getLogger(__name__)

SOP_CLASS_UID = "1.2.840.10008.5.1.4.31"
DAY = 86400


@frozen
class Entered:
    """An entry that came in: its row, and whether it is new."""

    row: int
    created: bool


@frozen
class Answer:
    """Matches, and how many more there are: DICOM JSON objects with what was asked for."""

    matches: tuple[bytes, ...]
    remaining: int


class _Workers(Protocol):
    def write(self, function: Callable[..., Any], *arguments: Any) -> Awaitable[Any]: ...

    def read(self, function: Callable[..., Any], *arguments: Any) -> Awaitable[Any]: ...


@define(eq=False)
class Worklist:
    """`hidden`: states in which a step has left the worklist; `keep_days`: after its start, 0 keeps for ever."""

    _workers: _Workers
    _clock: Clock
    _hidden: tuple[ScheduledState, ...] = (ScheduledState.COMPLETED, ScheduledState.DISCONTINUED)
    _keep_days: int = field(default=30)

    async def enter(self, data_sets: Sequence[Attributes], origin: str = "") -> list[Entered]:
        """Enter or update the steps of these data sets, all or none. Raises `ServiceError` that names the attribute."""
        steps = [entry for data_set in data_sets for entry in entries(data_set)]
        rows = await self._workers.write(scheduled_steps.put, steps, origin, self._now())
        return [Entered(row, created) for row, created in rows]

    async def replace_file(self, origin: str, data_sets: Sequence[Attributes]) -> None:
        """What a file of the watched folder holds now; steps that it no longer holds leave."""
        steps = [entry for data_set in data_sets for entry in entries(data_set)]
        await self._workers.write(_replace_file, origin, steps, self._now())

    async def remove_file(self, origin: str) -> None:
        """A file of the watched folder has gone, and its steps with it."""
        await self._workers.write(scheduled_steps.remove_origin, origin)

    async def files(self) -> set[str]:
        """The files of the watched folder that have entries."""
        found: set[str] = await self._workers.read(scheduled_steps.origins)
        return found

    async def retrieve(self, row: int) -> Attributes:
        """One entry; raises `NoSuchInstance`."""
        entry: Entry | None = await self._workers.read(scheduled_steps.get, row)
        if entry is None:
            raise NoSuchInstance("there is no such worklist entry")
        return entry.attributes

    async def remove(self, row: int) -> None:
        """Take an entry from the worklist; raises `NoSuchInstance`."""
        if not await self._workers.write(scheduled_steps.remove, row):
            raise NoSuchInstance("there is no such worklist entry")

    async def cancel(self, step: tuple[str, str]) -> None:
        """Take a step from the worklist by Accession Number and Step ID; raises `NoSuchInstance`."""
        if not await self._workers.write(scheduled_steps.remove_identity, step):
            raise NoSuchInstance("there is no such scheduled procedure step")

    async def performed(self, row: int) -> list[str]:
        """The SOP Instance UIDs of the performed steps of an entry."""
        step = identity(await self.retrieve(row))
        found: list[str] = await self._workers.read(performed_steps.fulfilled_by, step)
        return found

    async def find(self, query: Query, limit: int) -> Answer:
        """The matches from `query.offset`, at most `limit`, and the number of those that follow."""
        answer: Answer | None = await self._workers.read(_find_in_sql, query, self._hidden_from(query), limit)
        if answer is not None:
            return answer
        matches: list[bytes] = []
        passed = 0
        async for page in self.stream(query):
            for entry in page:
                if passed >= query.offset and len(matches) < limit:
                    matches.append(orjson.dumps(project(query, entry, ALWAYS_RETURNED)))
                passed += 1
        return Answer(tuple(matches), max(0, passed - query.offset - len(matches)))

    async def stream(self, query: Query) -> AsyncIterator[tuple[Attributes, ...]]:
        """All matches, page by page, ordered by start date and time."""
        hidden, after, more = self._hidden_from(query), None, True
        while more:
            page: Page = await self._workers.read(worklist_search.search, query, hidden, after)
            yield page.entries
            after, more = page.following, page.following is not None

    def _hidden_from(self, query: Query) -> tuple[ScheduledState, ...]:
        """Steps that were performed are shown to those who ask for their status."""
        steps = [key.match for key in query.keys if key.tag == SEQUENCE and isinstance(key.match, Items)]
        asked = any(inner.tag == STEP_STATUS for step in steps for inner in step.keys)
        return () if asked else self._hidden

    async def expire(self) -> None:
        """Take out steps that were to start more than `keep_days` ago and have not changed since."""
        if self._keep_days:
            before = self._clock.seconds() - self._keep_days * DAY
            day = datetime.datetime.fromtimestamp(before, datetime.UTC).strftime("%Y%m%d")
            gone = await self._workers.write(scheduled_steps.expire, day, int(before))
            if gone:
                log.info("%d worklist entries expired", gone)

    def _now(self) -> int:
        return int(self._clock.seconds())


def _find_in_sql(connection: Any, query: Query, hidden: tuple[ScheduledState, ...], limit: int) -> Answer | None:
    page = worklist_search.page_at(connection, query, hidden, query.offset, limit)
    if page is None:
        return None
    texts, ready = page
    following = 0
    if len(texts) == limit:
        following = worklist_search.count(connection, query, hidden) - query.offset - limit
    if ready:
        return Answer(tuple(text.encode() for text in texts), following)
    entries = (project(query, orjson.loads(text), ALWAYS_RETURNED) for text in texts)
    return Answer(tuple(orjson.dumps(entry) for entry in entries), following)


def _replace_file(connection: Any, origin: str, steps: list[Attributes], now: int) -> None:
    scheduled_steps.put(connection, steps, origin, now)
    scheduled_steps.remove_origin(connection, origin, [identity(step) for step in steps])
