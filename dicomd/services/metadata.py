"""Metadata of stored instances, put together from what was prepared (PS3.18 10.4.1.1.2)."""

import zlib
from collections.abc import AsyncIterator, Hashable, Iterable, Sequence
from typing import Any, Protocol

from attrs import define, field, frozen

from ..model.content import Piece, size
from ..model.status import Damaged
from ..store import aside, prepared, retrieval
from ..store.files import Folder
from ..store.retrieval import Selection, StoredInstance
from ..workers import Workers
from .cache import StudyCache
from .hub import EventHub
from .preparation import Preparation
from .retrieve import PAGE, damage

# Metadata that are larger, packed, are put together without ever being in memory as a whole.
_LARGE = 512 << 10
# Up to so many instances are one answer, which is kept: long series are asked for again and again.
_MOST = 4 * PAGE


class Assemble(Protocol):
    """Turns the JSON objects of instances into an answer; used in workers."""

    def __call__(self, objects: Sequence[bytes], first: bool, last: bool) -> bytes:
        """A piece of an answer, perhaps its first or its last."""

    def large(self, objects: Iterable[Iterable[bytes]]) -> Iterable[bytes]:
        """A whole answer, each object in pieces."""


@frozen
class Assembled:
    """The metadata of a resource, or of its first instances when `following` are more.

    `left_out`: of so many instances nothing can be told. `tag` changes when an instance does.
    """

    content: Piece
    tag: str
    left_out: int = 0
    following: Sequence[int] = ()


@define(eq=False)
class Metadata:
    """Metadata of studies, series and instances. The JSON objects hold a placeholder for the service's URL."""

    _workers: Workers
    _folder: Folder
    _preparation: Preparation
    _cache: StudyCache[Assembled] = field(factory=lambda: StudyCache(32 << 20))
    most: int = _MOST
    page: int = PAGE
    large: int = _LARGE

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
            content = await self._workers.disk(self._put_together, assemble, selection, made)
        left_out = made.count(b"")
        if left_out == len(made):
            raise damage() if selection.page else await self._workers.read(retrieval.absent, study, series, instance)
        assembled = Assembled(content, selection.tag, left_out, selection.following)
        if form is not None and not left_out and not selection.following:
            self._cache.put(study, key, assembled, size(content), since)
        return assembled

    def _read(
        self, connection: Any, study: str, series: str, instance: str, assemble: Assemble
    ) -> tuple[Selection, list[bytes | None], Piece | None]:
        """The selection and its objects as far as they are prepared; put together when they all are."""
        selection = retrieval.choose(connection, self._folder, study, series, instance, most=self.most)
        if selection.following:
            selection = selection.cut(self.page)
        made = prepared.load_packed(connection, [found.row for found in selection.page])
        complete = bool(made) and None not in made
        content = self._put_together(assemble, selection, made) if complete else None
        return selection, made, content

    def _put_together(self, assemble: Assemble, selection: Selection, made: Sequence[bytes | None]) -> Piece:
        """The answer, or its first piece when more instances follow; in a file, if it is large."""
        if not selection.following and sum(len(each or b"") for each in made) > self.large:
            objects = (prepared.unpacked(each) for each in made if each)
            return aside.collected(assemble.large(objects), selection.page[0].path)
        return _next_piece(assemble, made, True, not selection.following)

    async def _complete(self, found: Sequence[StoredInstance], made: list[bytes | None]) -> list[bytes | None]:
        missing = [each for each, packed in zip(found, made, strict=True) if packed is None]
        new = iter(await self._preparation.several(missing) if missing else ())
        return [(now.metadata if not (now := next(new)).problem else b"") if packed is None else packed for packed in made]

    async def rest(self, assembled: Assembled, assemble: Assemble) -> AsyncIterator[bytes]:
        """What follows, a page at a time; raises `Damaged` at the end when something had to be left out."""
        left_out, most = assembled.left_out, len(assembled.following)
        for start in range(0, most, self.page):
            rows = assembled.following[start : start + self.page]
            selection, made = await self._workers.read(self._read_rows, rows)
            made = await self._complete(selection.page, made)
            left_out += made.count(b"")
            last = start + self.page >= most and not left_out
            yield await self._workers.disk(_next_piece, assemble, made, False, last)
        if left_out:
            raise Damaged(f"the metadata of {left_out} instances are left out")

    def _read_rows(self, connection: Any, rows: Sequence[int]) -> tuple[Selection, list[bytes | None]]:
        selection = retrieval.pages(connection, self._folder, rows)
        return selection, prepared.load_packed(connection, [found.row for found in selection.page])


def _next_piece(assemble: Assemble, made: Sequence[bytes | None], first: bool, last: bool) -> bytes:
    return assemble([zlib.decompress(each) for each in made if each], first, last)
