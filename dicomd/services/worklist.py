"""Modality worklist (PS3.4 K; PS3.18 chapter 14): entries come in, are found, change their state and leave.

One core under HTTP, DIMSE, the watched folder and HL7.
"""

import datetime
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson
from attrs import define, field, frozen

from ..model.attributes import Attributes
from ..model.matching import Items
from ..model.projection import project
from ..model.query import Query
from ..model.scheduled_steps import (
    ALWAYS_RETURNED,
    SEQUENCE,
    STEP_STATUS,
    Order,
    ScheduledState,
    check_removal,
    entries,
    identity,
    named,
    start_date,
)
from ..model.status import Gone, NoSuchInstance
from ..store import performed_steps, scheduled_steps, worklist_search
from ..store.scheduled_steps import Entry
from ..store.worklist_search import Page
from .hub import Clock, Workers

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


@define(eq=False)
class Worklist:
    """`hidden`: states in which a step has left the worklist; `keep_days`: after its start, 0 keeps for ever."""

    _workers: Workers
    _clock: Clock
    _hidden: tuple[ScheduledState, ...] = (ScheduledState.COMPLETED, ScheduledState.DISCONTINUED)
    _keep_days: int = field(default=30)

    async def enter(self, data_sets: Sequence[Attributes], origin: str = "") -> list[Entered]:
        """Enter or update the steps of these data sets, all or none. Raises `ServiceError` that names the attribute."""
        steps = self.steps(data_sets)
        rows = await self._workers.write(scheduled_steps.put, steps, origin, self._now())
        return [Entered(row, created) for row, created in rows]

    async def carry_out(self, orders: Sequence[Order]) -> int:
        """Enter and remove what one message orders, all of it or nothing; the number of steps to remove that were not there."""
        steps = self.steps([order.attributes for order in orders if not order.remove])
        for order in orders:
            check_removal(order)
        unknown: int = await self._workers.write(scheduled_steps.carry_out, orders, steps, self._now())
        return unknown

    @staticmethod
    def steps(data_sets: Sequence[Attributes]) -> list[Attributes]:
        """The entries in these data sets; raises `ServiceError` that names the attribute."""
        return [entry for data_set in data_sets for entry in entries(data_set)]

    async def replace_files(self, files: Sequence[tuple[str, Sequence[Attributes], int]]) -> None:
        """What files of the watched folder hold, and since when. What they held before leaves; what is too old is not entered."""
        day, before = self._oldest()
        now = self._now()
        current = [
            (origin, [step for step in steps if since >= before or start_date(step) >= day], min(since, now))
            for origin, steps, since in files
        ]
        await self._workers.write(_replace_files, current)

    async def remove_file(self, origin: str) -> None:
        """A file of the watched folder has gone, and its steps with it."""
        await self._workers.write(scheduled_steps.remove_origin, origin)

    async def files(self) -> set[str]:
        """The files of the watched folder that have entries."""
        found: set[str] = await self._workers.read(scheduled_steps.origins)
        return found

    async def retrieve(self, row: int) -> Attributes:
        """One entry; raises `NoSuchInstance`, or `Gone` for one that has left."""
        entry: Entry | None = await self._workers.read(scheduled_steps.get, row)
        if entry is None:
            raise await self._unknown(row)
        return entry.attributes

    async def remove(self, row: int) -> None:
        """Take an entry from the worklist; raises `NoSuchInstance`, or `Gone` for one that has left."""
        if not await self._workers.write(scheduled_steps.remove, row):
            raise await self._unknown(row)

    async def _unknown(self, row: int) -> NoSuchInstance:
        if await self._workers.read(scheduled_steps.was_held, row):
            return Gone("this worklist entry has left the worklist")
        return NoSuchInstance("there is no such worklist entry")

    async def performed(self, row: int) -> list[str]:
        """The SOP Instance UIDs of the performed steps of an entry."""
        step = named(await self.retrieve(row))
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
            gone = await self._workers.write(scheduled_steps.expire, *self._oldest())
            if gone:
                log.info("%d worklist entries expired", gone)

    def _oldest(self) -> tuple[str, int]:
        """Steps that were to start before this date (YYYYMMDD), and have not changed since, are no longer kept."""
        if not self._keep_days:
            return "", 0
        before = self._clock.seconds() - self._keep_days * DAY
        return datetime.datetime.fromtimestamp(before, datetime.UTC).strftime("%Y%m%d"), int(before)

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


def _replace_files(connection: Any, files: Sequence[tuple[str, Sequence[Attributes], int]]) -> None:
    for origin, steps, changed_at in files:
        scheduled_steps.put(connection, steps, origin, changed_at)
        scheduled_steps.remove_origin(connection, origin, [identity(step) for step in steps])
