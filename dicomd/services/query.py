"""Search: what QIDO-RS and C-FIND ask of the index (PS3.4 C, PS3.18 10.6).

What columns answer is found in SQL alone. Other keys are answered by the reference matcher on the stored metadata of what SQL
leaves, slice by slice, so that other work goes on in between; no search works longer than the time limit.
"""

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
# Reads what a client asks, and says how the answers are to be written
Ask = Callable[[], tuple[Query, finding.Writer]]

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
        work, query = Work(Allowance(self), self.folder, planned, wanted), wanted.query
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

    async def begin(self, ask: Ask) -> "Stream":
        """All matches, to be sent as they are found; what an entity does not have is there without value.

        The query is read, answered and written as far as the first page goes in one visit to a reading thread.
        """
        allowance = Allowance(self)
        begun: Begun = await allowance.read(_begin, self.folder, ask)
        return Stream(allowance, self.folder, begun)


@frozen
class Begun:
    """What a search is, once it was read: `answers` are the first ones, or None where the matcher has to find them."""

    plan: Plan
    returns: Returns
    writer: finding.Writer
    answers: list[bytes] | None
    rest: Sequence[int]


def _begin(connection: Any, folder: Folder, ask: Ask, seconds: float) -> Begun:
    query, writer = ask()
    planned, wanted = plan(query), returns(query, empty=True)
    if planned.residual:
        return Begun(planned, wanted, writer, None, ())
    answers, rest = finding.first(connection, folder, planned, wanted, writer, _PAGE, seconds)
    return Begun(planned, wanted, writer, answers, rest)


@frozen
class Stream:
    """The answers of a search, ready to be sent. `first`: those that are there; `is_all`: no others follow."""

    _allowance: "Allowance"
    _folder: Folder
    _begun: Begun

    @property
    def first(self) -> list[bytes]:
        """The first page, if it is there."""
        return self._begun.answers or []

    @property
    def is_all(self) -> bool:
        """Whether the first page is the last."""
        return self._begun.answers is not None and not self._begun.rest

    @property
    def unsupported(self) -> tuple[str, ...]:
        """Tags that were asked for, and which an entity of the level does not have (FF01)."""
        return self._begun.returns.needs.left_out

    async def others(self) -> AsyncIterator[list[bytes]]:
        """The pages that follow the first."""
        begun = self._begun
        work = Work(self._allowance, self._folder, begun.plan, begun.returns)
        if begun.answers is None:
            async for found in work.matches():
                yield await work.written(begun.writer, found)
        for start in range(0, len(begun.rest), _PAGE):
            yield await work.written(begun.writer, begun.rest[start : start + _PAGE])


class Allowance:
    """Visits to the reading threads, within the time limit of one search; waiting does not count as work."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._left = search.timeout

    async def read(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run `function(connection, *arguments, seconds)`; raises `Busy` when the time is over."""
        if self._left <= 0:
            raise Busy("the search took too long")
        began = self._search.clock.seconds()
        try:
            return await self._search.workers.read(function, *arguments, self._left)
        finally:
            self._left -= self._search.clock.seconds() - began

    def at_least(self, seconds: float) -> None:
        """Whatever was used, so much is left."""
        self._left = max(self._left, seconds)


@frozen
class Work:
    """One search in its steps."""

    allowance: Allowance
    folder: Folder
    plan: Plan
    returns: Returns

    async def matches(self) -> AsyncIterator[list[int]]:
        """The rows that satisfy the residual keys, slice by slice."""
        last, read = 0, self.allowance.read
        everything = await read(finding.candidates, self.plan)
        for start in range(0, len(everything), _SLICE):
            chosen = everything.part(start, _SLICE)
            found = await read(finding.select, self.folder, self.plan, self.returns, chosen)
            yield found[1:] if found and found[0] == last else found
            last = found[-1] if found else last

    async def answers(self, rows: Sequence[int]) -> list[Attributes]:
        """What is returned for these rows."""
        if not rows:
            return []
        self.allowance.at_least(_LEAST)
        return await self.allowance.read(finding.answers, self.folder, self.returns, rows)

    async def written(self, writer: finding.Writer, rows: Sequence[int]) -> list[bytes]:
        """What is returned for these rows, as it is sent."""
        if not rows:
            return []
        self.allowance.at_least(_LEAST)
        return await self.allowance.read(finding.written, self.folder, self.returns, writer, rows)


_NAMES = {Level.PATIENT: "patients", Level.STUDY: "studies", Level.SERIES: "series", Level.IMAGE: "instances"}


def _warnings(wanted: Returns) -> list[str]:
    return [
        f"{keyword_of(tag)} is not an attribute of {_NAMES[wanted.level]} and is not returned." for tag in wanted.needs.left_out
    ]
