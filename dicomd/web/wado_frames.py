"""Retrieve frames (PS3.18 10.4.1.1.6): listed frames of an instance, each a part, or one as it is."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from attrs import define

from ..model.content import Piece, size
from ..model.status import InvalidRequest, NoSuchInstance, NotAcceptable, Undecodable
from ..model.transfer_syntaxes import transfer_syntax
from ..services.frames import Framed, Frames
from ..wire import media, multipart
from . import frame_pages, syntaxes, transfer
from .responses import Producer, Response, warning
from .routes import Route
from .wado import ACCEPT, CACHED, VARY, ranged, url

PRODUCES = (
    media.MULTIPART_OCTETS,
    media.OCTETS,
    *(syntaxes.multipart(kind) for kind in ("image/jpeg", "image/jls", "image/jp2", "image/jphc", "image/dicom-rle")),
)
_MOST_DIGITS = 10


@define(eq=False)
class WadoFrames:
    """The frames resource."""

    _frames: Frames
    _disk: transfer.Disk

    def routes(self) -> list[Route]:
        return [
            Route(
                "/studies/{study}/series/{series}/instances/{instance}/frames/{frames}",
                ("GET",),
                self.get,
                "Retrieve frames of an instance",
                service="retrieve",
                section="PS3.18 10.4.1.1.6",
                parameters=(ACCEPT,),
                produces=PRODUCES,
                statuses=(200, 206, 304, 400, 404, 406, 410, 416, 500),
            )
        ]

    async def get(self, request: Any, study: str, series: str, instance: str, frames: str) -> Response:
        """The frames as stored when that is acceptable, else made; what cannot be decoded is not made up."""
        listed = numbers(frames)
        framed = await self._frames.locate(study, series, instance)
        present = [number for number in listed if number <= framed.table.count]
        if not present:
            raise NoSuchInstance(f"the instance has {framed.table.count} frames")
        accept = transfer.accept(request)
        for is_multipart, uid in syntaxes.of_pixels(accept, framed.stored, framed.possible, single=len(listed) == 1):
            try:
                return await self._answer(request, framed, listed, present, is_multipart, uid)
            except (Undecodable, NotAcceptable):
                continue
        raise NotAcceptable(f"these frames can be had as {syntaxes.available(framed.stored, framed.possible)}")

    async def _answer(
        self, request: Any, framed: Framed, listed: Sequence[int], present: Sequence[int], is_multipart: bool, uid: str
    ) -> Response:
        tag = f"{framed.found.digest[:16].hex()}{'' if uid == framed.stored else f'-{uid}'}"
        headers = [("ETag", f'"{tag}"'), VARY, CACHED]
        if transfer.not_modified(request, headers[0][1]):
            return Response(304, headers=headers)
        base = url(request, framed.found)
        if not is_multipart:
            content = await self._frames.get(framed, present[0], uid)
            headers.append(("Content-Location", f"{base}/frames/{present[0]}"))
            return ranged(request, content, syntaxes.label(uid), headers, self._disk)
        boundary = tag.partition("-")[0]
        content_type = multipart.content_type(transfer_syntax(uid).media_type, boundary)
        if len(present) < len(listed):
            headers.append(warning(request.door.urls.base(request), f"the instance has only {framed.table.count} frames"))
        if len(present) > frame_pages.MANY and framed.lies_ready(uid):
            body: Producer = await frame_pages.pages(framed, present, lambda n: _head(base, n, uid), boundary, self._disk)
            response = Response(200, body, content_type, headers)
        elif len(present) == 1 or framed.lies_ready(uid):
            pieces = await self._pieces(framed, present, uid, base, boundary)
            response = ranged(request, pieces, content_type, headers, self._disk)
        else:
            first = await self._frames.get(framed, present[0], uid)
            body = transfer.Streamed(self._stream(framed, present, uid, base, boundary, first))
            response = Response(200, body, content_type, headers)
        if len(present) < len(listed):
            response.status = 206
        return response

    async def _pieces(self, framed: Framed, present: Sequence[int], uid: str, base: str, boundary: str) -> list[Piece]:
        if len(present) == 1:
            contents: list[list[Piece]] = [await self._frames.get(framed, present[0], uid)]
        else:
            contents = [list[Piece](framed.ranges(number)) for number in present]
        parts = ((_head(base, number, uid), content) for number, content in zip(present, contents, strict=True))
        return transfer.multipart_response(parts, boundary)[1]

    async def _stream(
        self, framed: Framed, present: Sequence[int], uid: str, base: str, boundary: str, first: list[Piece]
    ) -> AsyncIterator[bytes]:
        """Frames that are made one by one; one that cannot be breaks the body off."""
        for position, number in enumerate(present):
            content = await self._frames.get(framed, number, uid) if position else first
            head = _head(base, number, uid) | {"Content-Length": str(sum(map(size, content)))}
            yield multipart.part_head(boundary, head, first=not position)
            async for chunk in transfer.chunks(content, self._disk):
                yield chunk
        yield multipart.closing(boundary)


def _head(base: str, number: int, uid: str) -> dict[str, str]:
    return {"Content-Type": syntaxes.label(uid), "Content-Location": f"{base}/frames/{number}"}


def numbers(listed: str) -> list[int]:
    """The frame numbers in the path (PS3.18 10.4.1.1.6): from 1 on, separated by commas."""
    found = []
    for text in listed.split(","):
        if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS) or int(text) < 1:
            raise InvalidRequest("frames: expected numbers from 1 on, separated by commas")
        found.append(int(text))
    return found
