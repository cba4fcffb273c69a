"""Metadata of stored instances, put together from what was prepared (PS3.18 10.4.1.1.2)."""

from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from typing import Any

from attrs import define, field, frozen

from ..model.status import Damaged
from ..store import prepared, retrieval
from ..store.files import Folder
from ..store.retrieval import Selection, StoredInstance
from ..workers import Workers
from .cache import StudyCache
from .hub import EventHub
from .preparation import Preparation
from .retrieve import PAGE, damage

# What turns the JSON objects of instances into a piece of an answer, run in a worker: (objects, first piece, last piece).
Assemble = Callable[[Sequence[bytes], bool, bool], bytes]


@frozen
class Assembled:
    """The metadata of a resource, or of its first instances when `following` are more.

    `left_out`: of so many instances nothing can be told. `tag` changes when an instance does.
    """

    content: bytes
    tag: str
    left_out: int = 0
    following: Sequence[int] = ()


@define(eq=False)
class Metadata:
    """Metadata of studies, series and instances. The JSON objects hold a placeholder for the service's URL."""

    _workers: Workers
    _folder: Folder
    _preparation: Preparation
    _cache: StudyCache[Assembled] = field(factory=lambda: StudyCache(16 << 20))
    page: int = PAGE

    def subscribe(self, hub: EventHub) -> None:
        """Keep the cache true."""
        self._cache.subscribe(hub)

    async def get(self, study: str, series: str, instance: str, assemble: Assemble, form: Hashable = None) -> Assembled:
        """The metadata; raises `NoSuchInstance` or `Damaged`. `form` names what `assemble` makes; with None it is not kept."""
        key = (series, instance, form)
        cached = self._cache.get(study, key) if form is not None else None
        if cached is not None:
            return cached
        since = self._cache.now
        selection, made, content = await self._workers.read(self._read, study, series, instance, assemble)
        if content is None:
            made = await self._complete(selection.page, made)
            content = await self._workers.disk(assemble, [each for each in made if each], True, not selection.following)
        left_out = made.count(b"")
        if left_out == len(made):
            raise damage() if selection.page else await self._workers.read(retrieval.absent, study, series, instance)
        assembled = Assembled(content, selection.tag, left_out, selection.following)
        if form is not None and not left_out and not selection.following:
            self._cache.put(study, key, assembled, len(content), since)
        return assembled

    def _read(
        self, connection: Any, study: str, series: str, instance: str, assemble: Assemble
    ) -> tuple[Selection, list[bytes | None], bytes | None]:
        """The selection and its objects as far as they are prepared; put together when they all are."""
        selection = retrieval.choose(connection, self._folder, study, series, instance, most=self.page)
        made = prepared.load_json(connection, [found.row for found in selection.page])
        complete = bool(made) and None not in made
        content = assemble([each for each in made if each], True, not selection.following) if complete else None
        return selection, made, content

    async def _complete(self, found: Sequence[StoredInstance], made: list[bytes | None]) -> list[bytes | None]:
        missing = [each for each, json in zip(found, made, strict=True) if json is None]
        new = iter(await self._preparation.several(missing) if missing else ())
        return [(made_now.json if not (made_now := next(new)).problem else b"") if json is None else json for json in made]

    async def rest(self, assembled: Assembled, assemble: Assemble) -> AsyncIterator[bytes]:
        """What follows, a page at a time; raises `Damaged` at the end when something had to be left out."""
        left_out, most = assembled.left_out, len(assembled.following)
        for start in range(0, most, self.page):
            rows = assembled.following[start : start + self.page]
            selection, made = await self._workers.read(self._read_rows, rows)
            made = await self._complete(selection.page, made)
            left_out += made.count(b"")
            last = start + self.page >= most and not left_out
            yield await self._workers.disk(assemble, [each for each in made if each], False, last)
        if left_out:
            raise Damaged(f"the metadata of {left_out} instances are left out")

    def _read_rows(self, connection: Any, rows: Sequence[int]) -> tuple[Selection, list[bytes | None]]:
        selection = retrieval.pages(connection, self._folder, rows)
        return selection, prepared.load_json(connection, [found.row for found in selection.page])
