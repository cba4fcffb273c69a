"""Single frames of stored instances (PS3.18 10.4.1.1.6): read in place where they are stored so, else made in a worker."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from attrs import define, field, frozen

from ..model.content import FileRange, Piece, size
from ..model.status import Damaged, NoSuchInstance
from ..model.transfer_syntaxes import EXPLICIT_LITTLE
from ..pixels import codecs, transcode
from ..pixels.frames import FrameTable, ReadAt
from ..pixels.image import ImagePixel
from ..pixels.inflated import Inflated
from ..store import aside, prepared, retrieval
from ..store.files import Folder
from ..store.prepared import Prepared
from ..store.retrieval import StoredInstance
from ..workers import Workers
from .cache import StudyCache
from .hub import EventHub
from .preparation import Preparation
from .transcoding import table_of


@frozen
class Framed:
    """An instance and where its frames are."""

    found: StoredInstance
    table: FrameTable
    # All transfer syntaxes in which frames can be had.
    possible: frozenset[str] = field(init=False)

    @property
    def image(self) -> ImagePixel:
        return self.table.image

    @property
    def stored(self) -> str:
        """The transfer syntax of stored frames: native ones are given as Explicit VR Little Endian."""
        return self.image.transfer_syntax_uid if self.table.encapsulated else EXPLICIT_LITTLE

    @possible.default
    def _possible(self) -> frozenset[str]:
        one, stored = self.image.but(number_of_frames=1), self.image.transfer_syntax_uid
        made = (uid for uid in (EXPLICIT_LITTLE, *codecs.ENCODED) if transcode.possible(one, stored, uid))
        return frozenset((self.stored, *made))

    @property
    def is_byte_aligned(self) -> bool:
        """Whether decoded frames fill whole bytes."""
        return self.image.rows * self.image.columns * self.image.samples_per_pixel * self.image.bits_allocated % 8 == 0

    def lies_ready(self, target: str) -> bool:
        """Whether the bytes of a frame are those in the file."""
        if target != self.stored or self.image.syntax.deflated:
            return False
        return self.table.encapsulated or (self.image.syntax.little and self.table.aligned)

    def ranges(self, number: int) -> list[FileRange]:
        """Where the bytes of a frame are that lies ready."""
        return [FileRange(self.found.path, offset, length) for offset, length in self.table.ranges(number)]


@define(eq=False)
class Frames:
    """The frames of the archive. Frame tables in use are kept, and frames that had to be made."""

    _workers: Workers
    _folder: Folder
    _preparation: Preparation
    _tables: StudyCache[Framed] = field(factory=lambda: StudyCache(16 << 20))
    _made: StudyCache[Piece] = field(factory=lambda: StudyCache(24 << 20))

    def subscribe(self, hub: EventHub) -> None:
        """Keep what is kept true."""
        self._tables.subscribe(hub)
        self._made.subscribe(hub)

    async def locate(self, study: str, series: str, instance: str) -> Framed:
        """The frames of an instance; raises `NoSuchInstance`, also when it has none, or `Damaged`."""
        framed = self._tables.get(study, (series, instance))
        if framed is not None:
            return framed
        since = self._tables.now
        found, made = await self._workers.read(self._find, study, series, instance)
        if found is None:
            raise await self._workers.read(retrieval.absent, study, series, instance)
        table = table_of(made if made is not None else await self._preparation.one(found))
        if table is None:
            raise NoSuchInstance("the instance has no frames")
        framed = Framed(found, table)
        self._tables.put(study, (series, instance), framed, table.nbytes, since)
        return framed

    def _find(self, connection: Any, study: str, series: str, instance: str) -> tuple[StoredInstance | None, Prepared | None]:
        found = retrieval.find(connection, self._folder, study, series, instance)
        return found, prepared.load_frames(connection, found.row) if found is not None else None

    async def get(self, framed: Framed, number: int, target: str) -> list[Piece]:
        """One frame, in memory only if it is small; raises `Undecodable` or `NotAcceptable` when it cannot be had so."""
        if framed.lies_ready(target):
            return await self._workers.disk(_read, framed, number)
        study, key = framed.found.key.study_instance_uid, (framed.found.row, framed.found.digest, number, target)
        kept = self._made.get(study, key)
        if kept is not None:
            return [kept]
        since = self._made.now
        pool = self._workers.disk if target == framed.stored else self._workers.pixels
        made = await pool(_make, framed, number, target)
        self._made.put(study, key, made, size(made), since)
        return [made]


def _read(framed: Framed, number: int) -> list[Piece]:
    ranges = framed.ranges(number)
    if sum(piece.length for piece in ranges) > aside.LARGE:
        if not framed.found.is_whole:
            raise Damaged("the stored file is missing or damaged")
        return list(ranges)
    with _open(framed) as read:
        pieces = [read(piece.offset, piece.length) for piece in ranges]
    if any(len(data) != piece.length for data, piece in zip(pieces, ranges, strict=True)):
        raise Damaged("the stored file is cut off")
    return list(pieces)


def _make(framed: Framed, number: int, target: str) -> Piece:
    return aside.aside(_made(framed, number, target), framed.found.path)


def _made(framed: Framed, number: int, target: str) -> bytes:
    with _open(framed) as read:
        source = Inflated(read, framed.found.dataset_offset) if framed.image.syntax.deflated else read
        if target == framed.stored:
            return transcode.stored_frame(framed.table, source, number)
        return transcode.frame(framed.table, source, number, target)


@contextmanager
def _open(framed: Framed) -> Iterator[ReadAt]:
    try:
        descriptor = os.open(framed.found.path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        raise Damaged("the stored file cannot be read") from None
    try:
        yield lambda offset, size: os.pread(descriptor, size, offset)
    except OSError:
        raise Damaged("the stored file cannot be read") from None
    finally:
        os.close(descriptor)
