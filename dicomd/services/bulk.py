"""Bulk data that come apart from their metadata (PS3.18 10.5.2).

Kept until instances are made of them: in memory while small, else in the spool folder.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, TypeVar

from attrs import define, evolve, field

from ..model.attributes import Attributes
from ..model.content import FileRange, Piece, size
from ..model.status import TooLarge
from ..pixels import pictures
from ..store.files import Folder
from ..store.incoming import Rules
from ..store.scratch import Scratch
from ..workers import Workers
from .storage import SMALL, Reception

T = TypeVar("T")

# The largest picture that is decoded, as it comes.
_LARGEST_PICTURE = 64 << 20


@define(eq=False)
class Bulk(Reception):
    """All bulk data of one request, one after another; `mark()` tells where the next part begins."""

    _workers: Workers
    _spool: Scratch  # type: ignore[assignment]
    _data: bytes = field(init=False, default=b"")
    _settled: bool = field(init=False, default=False)

    def mark(self) -> int:
        """How much has arrived."""
        return self._received

    async def settle(self) -> None:
        """Everything has arrived; raises what went wrong."""
        while self._writing:
            await self._written.wait()
        if self._error is not None:
            raise self._error
        chunks, self._chunks = self._chunks, []
        if self._spooled:
            await self._workers.disk(self._spool.write, chunks)
        else:
            self._data = b"".join(chunks)
        self._settled = True

    def content(self, start: int, stop: int) -> tuple[Piece, ...]:
        """What arrived between two marks."""
        if start == stop:
            return ()
        return (FileRange(self._spool.path, start, stop - start),) if self._spooled else (self._data[start:stop],)

    def read(self, piece: Piece, offset: int, count: int) -> bytes:
        """Bytes of a piece; blocks, so only for functions given to `work`."""
        return self._spool.read(piece, offset, count)

    def work(self, function: Callable[..., T], *arguments: Any) -> Awaitable[T]:
        """Run a function that may `read`."""
        return self._workers.disk(function, *arguments)

    async def chunks(self, pieces: Iterable[Piece]) -> AsyncIterator[bytes]:
        """The bytes of pieces, a megabyte at a time."""
        for piece in pieces:
            if not isinstance(piece, FileRange):
                yield piece
                continue
            for offset in range(0, piece.length, SMALL):
                yield await self._workers.disk(self._spool.read, piece, offset, SMALL)

    async def picture(self, pieces: Iterable[Piece]) -> tuple[Attributes, bytes]:
        """A PNG or GIF as description and native pixels (PS3.18 10.5.2: to be transformed)."""
        pieces = list(pieces)
        if sum(map(size, pieces)) > _LARGEST_PICTURE:
            raise TooLarge(f"a picture has more than {_LARGEST_PICTURE} bytes")
        data = b"".join([chunk async for chunk in self.chunks(pieces)])
        return await self._workers.pixels(pictures.native, data)

    def discard(self) -> None:
        """Leave nothing; harmless when done twice."""
        self._data = b""
        self.abandon()


@define(eq=False)
class BulkStore:
    """Begins to receive bulk data, under the same rules of free space as instances."""

    _workers: Workers
    _folder: Folder
    _rules: Rules = field(factory=Rules)

    def begin(self) -> Bulk:
        """For one request."""
        return Bulk(self._workers, Scratch(self._folder, evolve(self._rules, max_instance_bytes=0)))
