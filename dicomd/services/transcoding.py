"""Instances in another transfer syntax than the stored one, made piece by piece in the pixel pool."""

import contextlib
import io
import logging
import mmap
import os
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Sequence
from contextlib import closing

from attrs import define, field

from ..model.status import Damaged, ServiceError, Undecodable
from ..model.transfer_syntaxes import DEFLATED, EXPLICIT_LITTLE, IMPLICIT_LITTLE, transfer_syntax
from ..pixels import codecs, frames, transcode
from ..pixels.frames import FrameTable
from ..store import aside
from ..store.prepared import Prepared
from ..store.retrieval import StoredInstance
from ..workers import Workers
from .cache import StudyCache
from .hub import EventHub
from .preparation import Preparation

log = logging.getLogger(__name__)

# Files up to this size are read at once, and kept until all is made.
_SMALL = 256 << 10
# So much is made in one job of the pool: of what will be small everything, else less, as clients may be slow.
_WHOLE, _PIECE = 1 << 20, 256 << 10
# For a receiver that takes no stored syntax: native ones are understood by all.
_TARGETS = (EXPLICIT_LITTLE, IMPLICIT_LITTLE, *sorted(codecs.ENCODED), DEFLATED)


def conceivable(stored: str, target: str) -> bool:
    """Whether the one transfer syntax may become the other, as far as can be told without looking at an instance."""
    if stored == target:
        return True
    syntax = transfer_syntax(stored)
    if not syntax.known or syntax.stream or syntax.referenced:
        return False
    return target in (EXPLICIT_LITTLE, IMPLICIT_LITTLE, DEFLATED) or target in codecs.ENCODED


@define(eq=False)
class Conversion:
    """A Part 10 file (or only its data set) on its way into another transfer syntax.

    Frames that are large wait in a file for their turn: of as many as there are receivers, memory holds none.
    """

    found: StoredInstance
    table: FrameTable | None
    target: str
    bare: bool = False
    _chunks: Generator[bytes, None, None] | None = field(init=False, default=None)
    _taking: bool = field(init=False, default=False)
    _ended: bool = field(init=False, default=False)

    def take(self) -> tuple[bytes, bool]:
        """The next piece of about `_PIECE` bytes, and whether it was the last; in a worker."""
        most = _PIECE
        if self._chunks is None:
            self._chunks, most = (
                _small(_made(self.found, self.table, self.target, self.bare), self.found.path),
                _WHOLE if self._expected <= _WHOLE else _PIECE,
            )
        self._taking = True
        try:
            return self._take(self._chunks, most)
        finally:
            self._taking = False
            if self._ended:
                self._chunks.close()

    def _take(self, chunks: Iterator[bytes], most: int) -> tuple[bytes, bool]:
        piece: list[bytes] = []
        size = 0
        for chunk in chunks:
            piece.append(chunk)
            size += len(chunk)
            if size >= most or self._ended:
                return b"".join(piece), False
        return b"".join(piece), True

    @property
    def _expected(self) -> int:
        """About how many bytes it will have, at most."""
        native = self.table.image.frame_bits * self.table.count // 8 if self.table is not None else 0
        return max(self.found.size, native)

    def close(self) -> None:
        """Give up the file; nothing more is made. A piece under way is finished first, by its worker."""
        self._ended = True
        if self._chunks is not None and not self._taking:
            with contextlib.suppress(ValueError):  # a worker has just begun
                self._chunks.close()


# What a conversion is made by knows nothing of it, so that it is given up with the conversion, at once.


def _small(chunks: Generator[bytes, None, None], beside: str) -> Generator[bytes, None, None]:
    with closing(chunks):
        for piece in (aside.aside(chunk, beside) for chunk in chunks):
            if isinstance(piece, bytes):
                yield piece
                continue
            for start in range(0, piece.length, _PIECE):
                yield os.pread(piece.held.fileno(), min(_PIECE, piece.length - start), start)


def _made(found: StoredInstance, table: FrameTable | None, target: str, bare: bool) -> Generator[bytes, None, None]:
    deflated = transfer_syntax(found.transfer_syntax_uid).deflated
    start = 0 if deflated else found.dataset_offset

    def converted(data: bytes | mmap.mmap, read: frames.ReadAt) -> Iterator[bytes]:
        sop = found.key.sop_instance_uid
        source = transcode.Source(data, read, start, len(data), found.sop_class_uid, sop, found.transfer_syntax_uid, table)
        return (transcode.data_set if bare else transcode.part_10)(source, target)

    with closing(aside.inflated(found.path, found.dataset_offset) if deflated else io.FileIO(found.path)) as file:
        descriptor = file.fileno()
        size = os.fstat(descriptor).st_size
        if size <= _SMALL:
            data = os.pread(descriptor, size, 0)
            yield from converted(data, lambda offset, size: data[offset : offset + size])
            return
        with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as mapped:
            yield from converted(mapped, lambda offset, size: os.pread(descriptor, size, offset))


@define
class Transcoded:
    """An instance in another transfer syntax: its beginning, and where the rest comes from. `whole`: there is no more."""

    transfer_syntax_uid: str
    beginning: bytes
    whole: bool
    rest: AsyncIterator[bytes]

    async def pieces(self) -> AsyncIterator[bytes]:
        """All of it, once."""
        beginning, self.beginning = self.beginning, b""
        yield beginning
        del beginning
        async for piece in self.rest:
            yield piece


@define(eq=False)
class Transcoder:
    """Makes instances available in other transfer syntaxes. What is small is kept for a while."""

    _workers: Workers
    _preparation: Preparation
    _cache: StudyCache[bytes] = field(factory=lambda: StudyCache(24 << 20))
    _tables: StudyCache[FrameTable] = field(factory=lambda: StudyCache(16 << 20))

    def subscribe(self, hub: EventHub) -> None:
        """Keep the caches true."""
        self._cache.subscribe(hub)
        self._tables.subscribe(hub)

    def targets(self, transfer_syntax_uid: str) -> Sequence[str]:
        """What instances that are stored in this transfer syntax may become, best first."""
        return _TARGETS if conceivable(transfer_syntax_uid, EXPLICIT_LITTLE) else ()

    async def transcode(self, found: StoredInstance, transfer_syntax_uid: str) -> AsyncGenerator[bytes, None]:
        """The data set in chunks of even length; raises `ServiceError` when it cannot be had so."""
        made = await self.begin(found, transfer_syntax_uid, bare=True)
        return _even(made)

    async def begin(self, found: StoredInstance, target: str, *, bare: bool = False) -> Transcoded:
        """Begin to make it: raises `NotAcceptable` or `Undecodable` when it cannot be had so, `Damaged` when it is broken.

        The first frame has been made when this returns, so that what cannot be decoded shows before anything was sent.
        """
        study, key = found.key.study_instance_uid, (found.row, found.digest, target, bare)
        kept = self._cache.get(study, key)
        if kept is not None:
            return Transcoded(target, kept, True, _nothing())
        since = self._cache.now
        conversion = Conversion(found, await self._table(found, target), target, bare)
        try:
            beginning, whole = await self._take(conversion)
        except ServiceError as error:
            log.info("instance %s cannot become %s: %s", found.key.sop_instance_uid, target, error.comment)
            raise
        if whole:
            self._cache.put(study, key, beginning, len(beginning), since)
        return Transcoded(target, beginning, whole, self._rest(conversion) if not whole else _nothing())

    async def _table(self, found: StoredInstance, target: str) -> FrameTable | None:
        """The frames, where they must be known: native pixel data only change their place."""
        if not transfer_syntax(found.transfer_syntax_uid).encapsulated and target not in codecs.ENCODED:
            return None
        table = await self._table_of(found)
        image = table.image if table is not None else None
        if not transcode.possible(image, found.transfer_syntax_uid, target):
            raise Undecodable(f"transfer syntax {found.transfer_syntax_uid} cannot become {target} here")
        return table

    async def _table_of(self, found: StoredInstance) -> FrameTable | None:
        """One for all who want the instance: that of a whole slide is large."""
        study, key = found.key.study_instance_uid, (found.row, found.digest)
        table = self._tables.get(study, key)
        if table is None:
            since = self._tables.now
            table = table_of(await self._preparation.one(found))
            if table is not None:
                self._tables.put(study, key, table, table.nbytes, since)
        return table

    async def _rest(self, conversion: Conversion) -> AsyncIterator[bytes]:
        try:
            whole = False
            while not whole:
                piece, whole = await self._take(conversion)
                yield piece
        finally:
            conversion.close()

    async def _take(self, conversion: Conversion) -> tuple[bytes, bool]:
        try:
            return await self._workers.pixels(conversion.take)
        except OSError:
            raise Damaged("the stored file cannot be read") from None


async def _even(made: Transcoded) -> AsyncGenerator[bytes, None]:
    """The pieces cut at even places."""
    odd = b""
    async for piece in made.pieces():
        piece = odd + piece if odd else piece
        whole = len(piece) // 2 * 2
        odd = piece[whole:]
        if whole:
            yield piece[:whole]
    yield odd


def table_of(made: Prepared) -> FrameTable | None:
    """The frame table of an instance; None when it has no frames. Raises `Damaged` when its file could not be understood."""
    if made.problem:
        raise Damaged(f"the stored instance cannot be understood: {made.problem}")
    return frames.unpack(made.frames) if made.frames else None


async def _nothing() -> AsyncIterator[bytes]:
    if False:
        yield b""
