"""Bulk data of stored instances (PS3.18 10.4.1.1.4): the values that metadata refer to, in place in their files."""

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
from attrs import define, evolve, frozen

from ..model.content import FileRange
from ..model.status import Damaged, NoSuchInstance
from ..model.transfer_syntaxes import transfer_syntax
from ..pixels.frames import ReadAt, frame_table
from ..pixels.image import PIXEL_ELEMENTS, ImagePixel
from ..pixels.inflated import Inflated
from ..pixels.transcode import turned, word_of
from ..store import retrieval
from ..store.files import Folder
from ..store.prepared import BulkData, Prepared
from ..store.retrieval import StoredInstance
from ..workers import Workers
from .pace import Pace
from .preparation import Preparation

_STEP = 256 * 1024
_ENCAPSULATED_DOCUMENT, _MIME_TYPE = "00420011", "00420012"
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9.+\-]+/[A-Za-z0-9.+\-]+")
_UNDEFINED = 0xFFFFFFFF
_PIXELS = frozenset(f"{tag:08X}" for tag in PIXEL_ELEMENTS)


@frozen
class Item:
    """One value: `path` is the end of its URL (nested: sequence/item/element). `media_type` is empty for plain bytes."""

    found: StoredInstance
    path: str
    place: BulkData
    media_type: str = ""

    @property
    def is_pixels(self) -> bool:
        """Whether it is the pixel data of the instance, not of an icon in it."""
        return self.path in _PIXELS

    @property
    def lies_ready(self) -> bool:
        """Whether its bytes, little endian, are those in the file."""
        syntax = transfer_syntax(self.found.transfer_syntax_uid)
        return not syntax.deflated and (syntax.little or word_of(self.place.vr) == 1)

    @property
    def file_range(self) -> FileRange:
        """Where the bytes are of one that lies ready."""
        return FileRange(self.found.path, self.place.offset, self.place.length)


@define(eq=False)
class Bulk:
    """The bulk data of the archive."""

    _workers: Workers
    _folder: Folder
    _preparation: Preparation

    async def item(self, study: str, series: str, instance: str, path: str) -> Item:
        """The value that a URL names; raises `NoSuchInstance` or `Damaged`."""
        found = await self._workers.read(retrieval.find, self._folder, study, series, instance)
        if found is None:
            raise await self._workers.read(retrieval.absent, study, series, instance)
        return await self.of(found, path)

    async def of(self, found: StoredInstance, path: str) -> Item:
        """A value of this instance."""
        made = await self._preparation.one(found)
        place = _places(made).get(path.upper())
        if place is None:
            raise NoSuchInstance("the instance holds no such bulk data")
        return _typed(Item(found, path.upper(), place), made)

    async def items(self, found: StoredInstance, *, only_pixels: bool = False) -> list[Item]:
        """All values of an instance that metadata refer to, or only its pixel data."""
        made = await self._preparation.one(found)
        items = [_typed(Item(found, path, place), made) for path, place in _places(made).items()]
        return [item for item in items if item.is_pixels] if only_pixels else items

    async def fragments(self, item: Item) -> list[FileRange]:
        """Where the code stream is of a value that is encapsulated inside a sequence (an icon)."""
        return await self._workers.disk(_fragments, item)

    async def chunks(self, item: Item) -> AsyncIterator[bytes]:
        """The bytes of a value, little endian, piece by piece."""
        source, pace = _Source(item), Pace(_STEP)
        position = 0
        while position < item.place.length:
            piece = await self._workers.disk(source.read, position, pace.next())
            yield piece
            position += len(piece)


@define(eq=False)
class _Source:
    """Reads a value from a deflated or big endian data set."""

    item: Item
    _inflated: Inflated | None = None

    def read(self, position: int, most: int) -> bytes:
        """The next piece, in a worker; the file is open only meanwhile."""
        item = self.item
        size = min(most, item.place.length - position)
        try:
            with Path(item.found.path).open("rb", buffering=0) as file:
                descriptor = file.fileno()

                def read(offset: int, length: int) -> bytes:
                    return os.pread(descriptor, length, offset)

                data = self._take(read, item.place.offset + position, size)
        except OSError:
            raise Damaged("the stored file cannot be read") from None
        if len(data) != size:
            raise Damaged("the stored file is cut off")
        return data

    def _take(self, read: ReadAt, offset: int, size: int) -> bytes:
        syntax = transfer_syntax(self.item.found.transfer_syntax_uid)
        if not syntax.deflated:
            return turned(read(offset, size), word_of(self.item.place.vr))
        if self._inflated is None:
            self._inflated = Inflated(read, self.item.found.dataset_offset)
        self._inflated.read = read
        return self._inflated(offset, size)


def _fragments(item: Item) -> list[FileRange]:
    image = ImagePixel(item.found.transfer_syntax_uid, 1, 1)
    try:
        with Path(item.found.path).open("rb", buffering=0) as file:
            descriptor = file.fileno()
            table = frame_table(
                lambda offset, size: os.pread(descriptor, size, offset), image, start=item.place.offset, length=_UNDEFINED
            )
    except OSError:
        raise Damaged("the stored file cannot be read") from None
    return [FileRange(item.found.path, offset, length) for offset, length in table.ranges(1)]


def _places(made: Prepared) -> dict[str, BulkData]:
    if made.problem:
        raise Damaged(f"the stored instance cannot be understood: {made.problem}")
    return made.bulk


def _typed(item: Item, made: Prepared) -> Item:
    """An encapsulated document has the type that its data set states (PS3.18 8.7.3.3)."""
    if item.path != _ENCAPSULATED_DOCUMENT:
        return item
    stated = orjson.loads(made.json).get(_MIME_TYPE, {}).get("Value") or [""]
    return evolve(item, media_type=stated[0].lower()) if _MEDIA_TYPE.fullmatch(str(stated[0])) else item
