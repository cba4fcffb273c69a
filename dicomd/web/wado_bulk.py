"""Retrieve bulk data and pixel data (PS3.18 10.4.1.1.4, 10.4.1.1.5): a value by its URL, or all of a resource."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeVar

from attrs import define, frozen

from ..model.content import Piece, size
from ..model.status import Damaged, NoSuchInstance, NotAcceptable, ServiceError, Undecodable
from ..model.transfer_syntaxes import EXPLICIT_LITTLE, transfer_syntax
from ..services.bulkdata import Bulk, Item
from ..services.frames import Framed, Frames
from ..services.pace import Pace
from ..services.retrieve import Retrieve, Selection, StoredInstance
from ..wire import media, multipart
from . import frame_pages, syntaxes, transfer
from .responses import Response
from .routes import Route
from .wado import ACCEPT, CACHED, LEVELS, REVALIDATED, VARY, instance_url, ranged, url

T = TypeVar("T")
Headers = list[tuple[str, str]]
_PRODUCES = (media.MULTIPART_OCTETS, media.OCTETS)
_ITEM = "/studies/{study}/series/{series}/instances/{instance}/bulkdata/{path...}"
_STATUSES = (200, 206, 304, 400, 404, 406, 410, 416, 500)


@frozen
class Part:
    """A part of a body that is sent piece by piece."""

    head: dict[str, str]
    length: int | None
    chunks: AsyncIterator[bytes]


Parts = AsyncIterator[Part]


@define(eq=False)
class WadoBulk:
    """The bulk data and pixel data resources."""

    _retrieve: Retrieve
    _bulk: Bulk
    _frames: Frames
    _disk: transfer.Disk

    def routes(self) -> list[Route]:
        item = self._row(_ITEM, self.item, "Retrieve one bulk data value", "PS3.18 10.4.1.1.4")
        sets = [
            self._row(f"{path}/{name}", handler, f"Retrieve the {title} of {what}", section)
            for name, title, handler, section in (
                ("bulkdata", "bulk data", self.bulkdata, "PS3.18 10.4.1.1.4"),
                ("pixeldata", "pixel data", self.pixeldata, "PS3.18 10.4.1.1.5"),
            )
            for path, what in LEVELS
        ]
        return [item, *sets]

    def _row(self, path: str, handler: Any, summary: str, section: str) -> Route:
        return Route(
            path,
            ("GET",),
            handler,
            summary,
            service="retrieve",
            section=section,
            parameters=(ACCEPT,),
            produces=_PRODUCES,
            statuses=_STATUSES,
        )

    # One value

    async def item(self, request: Any, study: str, series: str, instance: str, path: str) -> Response:
        """The value that a BulkDataURI names; of pixel data that are compressed, what is negotiated."""
        return await self._value(request, await self._bulk.item(study, series, instance, path))

    async def of(self, request: Any, found: StoredInstance, path: str) -> Response:
        """A value of an instance that was found some other way."""
        return await self._value(request, await self._bulk.of(found, path))

    async def _value(self, request: Any, item: Item) -> Response:
        headers = [VARY, CACHED, ("Content-Location", f"{url(request, item.found)}/bulkdata/{item.path}")]
        if item.place.encapsulated and item.is_pixels:
            return await self._pixels(request, item, headers)
        if item.place.encapsulated:
            return await self._icon(request, item, headers)
        kinds = tuple(dict.fromkeys(kind for kind in (item.media_type, media.OCTETS) if kind))
        chosen = transfer.accept(request).choose((*kinds, *map(syntaxes.multipart, kinds)))
        if chosen is None:
            raise NotAcceptable(f"this value can be had as {' or '.join(kinds)}")
        etag = f'"{item.found.digest[:16].hex()}"'
        headers.append(("ETag", etag))
        if transfer.not_modified(request, etag):
            return Response(304, headers=headers)
        return self._answer(request, item, chosen, headers)

    def _answer(self, request: Any, item: Item, chosen: str, headers: Headers) -> Response:
        kind = media.media_type(chosen)
        location = dict(headers)["Content-Location"]
        if not kind.is_multipart and not item.lies_ready:
            return Response(200, transfer.Streamed(self._bulk.chunks(item), item.place.length), kind.name, headers)
        if not kind.is_multipart:
            return ranged(request, [item.file_range], kind.name, headers, self._disk)
        head = {"Content-Type": kind.part_type, "Content-Location": location}
        if item.lies_ready:
            return self._pieces(request, [(head, [item.file_range])], item.found, kind.part_type, headers)
        boundary = multipart.boundary()
        body = transfer.Streamed(_body(boundary, _only(Part(head, item.place.length, self._bulk.chunks(item)))))
        return Response(200, body, multipart.content_type(kind.part_type, boundary), headers)

    def _pieces(
        self,
        request: Any,
        parts: list[tuple[dict[str, str], list[Piece]]],
        found: StoredInstance,
        kind: str,
        headers: Headers,
    ) -> Response:
        """Parts that lie in the file, of which ranges can be asked for."""
        boundary, pieces = transfer.multipart_response(parts, found.digest[:16].hex())
        return ranged(request, pieces, multipart.content_type(kind, boundary), headers, self._disk)

    async def _icon(self, request: Any, item: Item, headers: Headers) -> Response:
        """Compressed pixels in a sequence: the code stream as it is."""
        uid = item.found.transfer_syntax_uid
        kind = transfer_syntax(uid).media_type
        offers = (kind, media.OCTETS, syntaxes.multipart(kind), media.MULTIPART_OCTETS)
        chosen = transfer.accept(request).choose(offers)
        if chosen is None:
            raise NotAcceptable(f"this value can be had as {syntaxes.label(uid)}")
        pieces: list[Piece] = list(await self._bulk.fragments(item))
        if not media.media_type(chosen).is_multipart:
            return ranged(request, pieces, syntaxes.label(uid), headers, self._disk)
        head = {"Content-Type": syntaxes.label(uid), "Content-Location": dict(headers)["Content-Location"]}
        return self._pieces(request, [(head, pieces)], item.found, kind, headers)

    async def _pixels(self, request: Any, item: Item, headers: Headers) -> Response:
        """Compressed pixel data: one value of decoded pixels, or a part for each frame as it is (PS3.18 8.7.3.3)."""
        key = item.found.key
        framed = await self._frames.locate(key.study_instance_uid, key.series_instance_uid, key.sop_instance_uid)
        accept = transfer.accept(request)
        for is_multipart, uid in syntaxes.of_pixels(accept, framed.stored, framed.possible, single=True, single_first=True):
            if not is_multipart and uid != EXPLICIT_LITTLE and framed.table.count > 1:
                continue
            try:
                return await self._negotiated(request, item, framed, is_multipart, uid, headers)
            except (Undecodable, NotAcceptable):
                continue
        raise NotAcceptable(f"these pixel data can be had as {syntaxes.available(framed.stored, framed.possible)}")

    async def _negotiated(
        self, request: Any, item: Item, framed: Framed, is_multipart: bool, uid: str, headers: Headers
    ) -> Response:
        kind = transfer_syntax(uid).media_type
        headers = [*headers, ("ETag", f'"{framed.found.digest[:16].hex()}-{uid}"')]
        if transfer.not_modified(request, headers[-1][1]):
            return Response(304, headers=headers)
        location = dict(headers)["Content-Location"]
        if framed.lies_ready(uid) and not is_multipart:
            return ranged(request, list(framed.ranges(1)), syntaxes.label(uid), headers, self._disk)
        if framed.lies_ready(uid):
            head = {"Content-Type": syntaxes.label(uid), "Content-Location": location}
            numbers = range(1, framed.table.count + 1)
            if len(numbers) > frame_pages.MANY:
                boundary = framed.found.digest[:16].hex()
                body = await frame_pages.pages(framed, numbers, lambda _: head, boundary, self._disk)
                return Response(200, body, multipart.content_type(kind, boundary), headers)
            return self._pieces(request, [(head, list(framed.ranges(n))) for n in numbers], framed.found, kind, headers)
        length = await self._first(framed, uid)
        parts = self._made(framed, uid, location, length)
        if not is_multipart:
            part = await anext(parts)
            return Response(200, transfer.Streamed(part.chunks, part.length), syntaxes.label(uid), headers)
        boundary = multipart.boundary()
        return Response(200, transfer.Streamed(_body(boundary, parts)), multipart.content_type(kind, boundary), headers)

    async def _first(self, framed: Framed, uid: str) -> int:
        """The length of the first frame: that it can be had shows whether the others can be hoped for."""
        if framed.table.count != framed.image.number_of_frames:
            raise Undecodable(f"of {framed.image.number_of_frames} frames only {framed.table.count} are there")
        if uid == EXPLICIT_LITTLE and not framed.is_byte_aligned:
            raise NotAcceptable("frames of single bits are given one by one, or as they are stored")
        return sum(map(size, await self._frames.get(framed, 1, uid)))

    async def _made(self, framed: Framed, uid: str, location: str, length: int) -> Parts:
        """Decoded pixels as one part, encoded ones as a part for each frame."""
        head = {"Content-Type": syntaxes.label(uid), "Content-Location": location}
        frames = self._each(framed, uid)
        if uid == EXPLICIT_LITTLE:
            chunks = transfer.chunks_of(frames, self._disk)
            yield Part(head, length * framed.table.count, chunks)
            return
        pace = Pace(transfer.BATCH)
        async for content in frames:
            yield Part(head, sum(map(size, content)), transfer.chunks(content, self._disk, pace))

    async def _each(self, framed: Framed, uid: str) -> AsyncIterator[Sequence[Piece]]:
        for number in range(1, framed.table.count + 1):
            yield framed.ranges(number) if framed.lies_ready(uid) else await self._frames.get(framed, number, uid)

    # All values of a resource

    async def bulkdata(self, request: Any, study: str, series: str = "", instance: str = "") -> Response:
        """Every value that the metadata of the resource refer to."""
        return await self._set(request, study, series, instance, only_pixels=False)

    async def pixeldata(self, request: Any, study: str, series: str = "", instance: str = "") -> Response:
        """The pixel data of the resource: those of icons and private ones are not among them."""
        return await self._set(request, study, series, instance, only_pixels=True)

    async def _set(self, request: Any, study: str, series: str, instance: str, *, only_pixels: bool) -> Response:
        accept = transfer.accept(request)
        if not any(kind.is_multipart or kind.name == "*/*" for kind in accept.ranges if kind.quality > 0):
            raise NotAcceptable("a set of values can be had as multipart/related only")
        selection = await self._retrieve.select(study, series, instance)
        boundary, base = multipart.boundary(), request.door.urls.base(request)
        body = _body(boundary, self._of_selection(accept, base, selection, only_pixels))
        first = await anext(body)
        if first == multipart.closing(boundary):
            raise NoSuchInstance(f"there are no {'pixel' if only_pixels else 'bulk'} data in it")
        headers = [VARY, REVALIDATED]
        return Response(200, transfer.Streamed(_again(first, body)), multipart.content_type(media.OCTETS, boundary), headers)

    async def _of_selection(self, accept: media.Accept, base: str, selection: Selection, only_pixels: bool) -> Parts:
        """The parts of every instance; what cannot be had is left out, and the body broken off at its end."""
        left_out = len(selection.damaged)
        async for found in self._instances(selection):
            try:
                for item in await self._bulk.items(found, only_pixels=only_pixels):
                    async for part in self._of_item(accept, f"{instance_url(base, found)}/bulkdata/{item.path}", item):
                        yield part
            except ServiceError:
                left_out += 1
        if left_out:
            raise Damaged(f"the values of {left_out} instances were left out")

    async def _instances(self, selection: Selection) -> AsyncIterator[StoredInstance]:
        for found in selection.page:
            yield found
        async for page in self._retrieve.following(selection):
            for found in page.page:
                yield found

    async def _of_item(self, accept: media.Accept, location: str, item: Item) -> Parts:
        kind = item.media_type or media.OCTETS
        if not item.place.encapsulated:
            chunks = transfer.chunks([item.file_range], self._disk) if item.lies_ready else self._bulk.chunks(item)
            yield Part({"Content-Type": kind, "Content-Location": location}, item.place.length, chunks)
        elif item.is_pixels:
            async for part in self._of_pixels(accept, location, item):
                yield part
        else:
            fragments = await self._bulk.fragments(item)
            head = {"Content-Type": syntaxes.label(item.found.transfer_syntax_uid), "Content-Location": location}
            yield Part(head, sum(map(size, fragments)), transfer.chunks(fragments, self._disk))

    async def _of_pixels(self, accept: media.Accept, location: str, item: Item) -> Parts:
        key = item.found.key
        framed = await self._frames.locate(key.study_instance_uid, key.series_instance_uid, key.sop_instance_uid)
        for is_multipart, uid in syntaxes.of_pixels(accept, framed.stored, framed.possible, single=False):
            try:
                length = framed.ranges(1)[0].length if framed.lies_ready(uid) else await self._first(framed, uid)
            except (Undecodable, NotAcceptable):
                continue
            assert is_multipart
            async for part in self._made(framed, uid, location, length):
                yield part
            return
        raise NotAcceptable("the pixel data cannot be had in what is acceptable")


async def _body(boundary: str, parts: Parts) -> AsyncIterator[bytes]:
    """A multipart body; at least its closing delimiter."""
    first = True
    async for part in parts:
        head = part.head if part.length is None else part.head | {"Content-Length": str(part.length)}
        yield multipart.part_head(boundary, head, first=first)
        first = False
        async for chunk in part.chunks:
            yield chunk
    yield multipart.closing(boundary)


async def _only(value: T) -> AsyncIterator[T]:
    yield value


async def _again(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk
