"""Search: what QIDO-RS and C-FIND ask of the index (PS3.4 C, PS3.18 10.6).

What columns answer is found in SQL alone. Other keys are answered by the reference matcher on the stored metadata of what SQL
leaves, slice by slice, so that other work goes on in between; no search works longer than the time limit.
"""

from array import array
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

import orjson
from attrs import frozen

from ..model.attributes import Attributes
from ..model.dictionary import keyword_of
from ..model.keys import Level
from ..model.query import Query
from ..model.status import Busy
from ..store import finding
from ..store.files import Folder
from ..store.plans import Plan, plan
from ..store.returns import Returns, returns
from ..workers import Workers
from .hub import Clock

T = TypeVar("T")

# Candidates that the matcher looks at, and answers that are made, in one go
_SLICE = 200
_PAGE = 200
# To answer what was found when the time is over
_LEAST = 2.0


@frozen
class Answer:
    """One page: matches in order as JSON objects (URLs begin with the marker for the base), how many follow, what to tell."""

    matches: list[str]
    remaining: int
    warnings: tuple[str, ...]


@frozen
class Search:
    """`max_results`: the most matches of one page. `timeout`: seconds that a search may work."""

    workers: Workers
    folder: Folder
    clock: Clock
    max_results: int = 100
    timeout: float = 30.0

    async def find(self, query: Query, *, always: tuple[Level, ...] = ()) -> Answer:
        """One page. `always`: the levels whose default attributes are returned."""
        planned, wanted = plan(query), returns(query, always=always)
        limit = self.max_results if query.limit is None else min(query.limit, self.max_results)
        if planned.residual:
            found = await self._find_by_matching(planned, wanted, limit)
        else:
            read = self.workers.read
            found = await read(finding.page, self.folder, planned, wanted, limit, query.offset, self.timeout)
        return Answer(found.matches, found.remaining, (*query.warnings, *_warnings(wanted)))

    async def _find_by_matching(self, planned: Plan, wanted: Returns, limit: int) -> finding.Page:
        """When the time is over, a page that is complete is answered with the number counted so far."""
        work, query = Work(self, planned, wanted), wanted.query
        found: list[int] = []
        end = query.offset + limit
        try:
            async for matched in work.matches():
                found += matched
        except Busy:
            if len(found) <= end:
                raise
        attributes = await work.answers(found[query.offset : end])
        return finding.Page([orjson.dumps(one).decode() for one in attributes], max(0, len(found) - end))

    async def stream(self, query: Query) -> AsyncIterator[list[Attributes]]:
        """All matches in pages, each with what was asked for; what an entity does not have is there without value."""
        work = Work(self, plan(query), returns(query, empty=True))
        if work.plan.residual:
            async for found in work.matches():
                yield await work.answers(found)
            return
        limit = -1 if query.limit is None else query.limit
        matches, rest = await work.first(limit)
        yield matches
        for start in range(0, len(rest), _PAGE):
            yield await work.answers(rest[start : start + _PAGE])

    def unsupported(self, query: Query) -> tuple[str, ...]:
        """Tags that were asked for, and which an entity of the level does not have (FF01)."""
        return returns(query).needs.left_out


class Work:
    """One search in its steps in the reading threads, within the time limit; waiting does not count as work."""

    def __init__(self, search: Search, planned: Plan, wanted: Returns) -> None:
        self.plan = planned
        self._search, self._returns = search, wanted
        self._left = search.timeout

    async def _read(self, function: Callable[..., T], *arguments: Any) -> T:
        if self._left <= 0:
            raise Busy("the search took too long")
        began = self._search.clock.seconds()
        try:
            return await self._search.workers.read(function, *arguments, self._left)
        finally:
            self._left -= self._search.clock.seconds() - began

    async def first(self, limit: int) -> "tuple[list[Attributes], array[int]]":
        """The first answers, and the rows of the others."""
        search, offset = self._search, self._returns.query.offset
        return await self._read(finding.first, search.folder, self.plan, self._returns, limit, offset, _PAGE)

    async def matches(self) -> AsyncIterator[list[int]]:
        """The rows that satisfy the residual keys, slice by slice."""
        folder, last = self._search.folder, 0
        everything = await self._read(finding.candidates, self.plan)
        for start in range(0, len(everything), _SLICE):
            chosen = everything.part(start, _SLICE)
            found = await self._read(finding.select, folder, self.plan, self._returns, chosen)
            yield found[1:] if found and found[0] == last else found
            last = found[-1] if found else last

    async def answers(self, rows: "Sequence[int]") -> list[Attributes]:
        """What is returned for these rows."""
        if not rows:
            return []
        self._left = max(self._left, _LEAST)
        return await self._read(finding.answers, self._search.folder, self._returns, rows)


_NAMES = {Level.PATIENT: "patients", Level.STUDY: "studies", Level.SERIES: "series", Level.IMAGE: "instances"}


def _warnings(wanted: Returns) -> list[str]:
    return [
        f"{keyword_of(tag)} is not an attribute of {_NAMES[wanted.level]} and is not returned." for tag in wanted.needs.left_out
    ]
