"""Retrieve instances (PS3.18 10.4.1.1.1): of a study, of a series, or one; multipart, a single part, or an archive of files.

What to answer with is negotiated here; where the bytes are, `services.retrieve` knows. Metadata, frames and bulk data are
resources of their own modules.
"""

from collections.abc import AsyncIterator, Iterable
from typing import Any

from attrs import define

from ..model.content import FileRange, Piece, size
from ..model.status import Damaged, NotAcceptable
from ..services.retrieve import Retrieve, Selection, StoredInstance, whole_file
from ..wire import media, multipart
from . import transfer
from .problems import HttpError
from .responses import Response, warning
from .routes import Parameter, Route

LEVELS = (
    ("/studies/{study}", "a study"),
    ("/studies/{study}/series/{series}", "a series"),
    ("/studies/{study}/series/{series}/instances/{instance}", "an instance"),
)
ACCEPT = Parameter("accept", "media types, instead of the Accept header")
# An instance does not change unless it is replaced, which the archive's owner may allow.
CACHED = ("Cache-Control", "private, max-age=3600")
REVALIDATED = ("Cache-Control", "private, no-cache")
VARY = ("Vary", "Accept")


@define(eq=False)
class Wado:
    """The resources that answer with whole instances."""

    _retrieve: Retrieve
    _disk: transfer.Disk

    def routes(self) -> list[Route]:
        return [
            Route(
                path,
                ("GET",),
                self.get,
                f"Retrieve the instances of {what}" if "instances/" not in path else f"Retrieve {what}",
                service="retrieve",
                section="PS3.18 10.4.1.1.1",
                parameters=(ACCEPT,),
                produces=(media.MULTIPART_DICOM, media.DICOM) if "instances/" in path else (media.MULTIPART_DICOM,),
                statuses=(200, 206, 304, 400, 404, 406, 410, 416, 500),
            )
            for path, what in LEVELS
        ]

    async def get(self, request: Any, study: str, series: str = "", instance: str = "") -> Response:
        """The instances, each in the transfer syntax that the client asked for (PS3.18 8.7.3)."""
        offers = (media.MULTIPART_DICOM, media.DICOM) if instance else (media.MULTIPART_DICOM,)
        chosen = next(iter(transfer.accept(request).candidates(offers)), None)
        if chosen is None:
            raise NotAcceptable(f"this resource can be had as {' or '.join(offers)}")
        selection = await self._retrieve.select(study, series, instance)
        etag = f'"{selection.tag}"'
        headers = [("ETag", etag), VARY, CACHED if instance else REVALIDATED]
        if not selection.damaged and transfer.not_modified(request, etag):
            return Response(304, headers=headers)
        if chosen[0] == media.DICOM:
            return self._single(request, selection, headers)
        return self._multipart(request, selection, headers)

    def _single(self, request: Any, selection: Selection, headers: list[tuple[str, str]]) -> Response:
        found = selection.page[0]
        content_type = f"{media.DICOM}; transfer-syntax={found.transfer_syntax_uid}"
        headers.append(("Content-Location", url(request, found)))
        return ranged(request, _content(selection), content_type, headers, self._disk)

    def _multipart(self, request: Any, selection: Selection, headers: list[tuple[str, str]]) -> Response:
        base = request.door.urls.base(request)
        status = 200
        if selection.damaged:
            headers.append(warning(base, f"{len(selection.damaged)} instances cannot be read and are left out"))
            status = 206
        boundary = multipart.boundary() if selection.damaged else selection.tag
        content_type = multipart.content_type(media.DICOM, boundary)
        if selection.following:
            body = transfer.Streamed(self._stream(selection, base, boundary))
            return Response(status, body, content_type, headers)
        content = _content(selection)
        parts = ((_head(base, found), content or [whole_file(found)]) for found in selection.page)
        _, pieces = transfer.multipart_response(parts, boundary)
        if status == 206:
            return Response(status, transfer.Pieces(pieces, self._disk), content_type, headers)
        return ranged(request, pieces, content_type, headers, self._disk)

    async def _stream(self, selection: Selection, base: str, boundary: str) -> AsyncIterator[bytes]:
        """A body of any length. What cannot be read is left out, and the body broken off at its end, so that it shows."""
        damaged, first = bool(selection.damaged), True
        async for page in self._pages(selection):
            damaged = damaged or bool(page.damaged)
            pieces: list[Piece] = []
            for found in page.page:
                head = {**_head(base, found), "Content-Length": str(found.size)}
                pieces += (multipart.part_head(boundary, head, first=first), whole_file(found))
                first = False
            async for chunk in transfer.chunks(pieces, self._disk):
                yield chunk
        if damaged:
            raise Damaged("instances that cannot be read were left out")
        yield multipart.closing(boundary)

    async def _pages(self, selection: Selection) -> AsyncIterator[Selection]:
        yield selection
        async for page in self._retrieve.following(selection):
            yield page


def url(request: Any, found: StoredInstance) -> str:
    """The URL of an instance."""
    return _url(request.door.urls.base(request), found)


def _url(base: str, found: StoredInstance) -> str:
    key = found.key
    return f"{base}/studies/{key.study_instance_uid}/series/{key.series_instance_uid}/instances/{key.sop_instance_uid}"


def _head(base: str, found: StoredInstance) -> dict[str, str]:
    return {
        "Content-Type": f"{media.DICOM}; transfer-syntax={found.transfer_syntax_uid}",
        "Content-Location": _url(base, found),
    }


def _content(selection: Selection) -> list[Piece]:
    """The bytes of the only instance: read already, or where they are."""
    if len(selection.page) != 1:
        return []
    return [selection.content or whole_file(selection.page[0])]


def ranged(
    request: Any, pieces: list[Piece], content_type: str, headers: Iterable[tuple[str, str]], disk: transfer.Disk
) -> Response:
    """An answer of known length, of which the client may have asked for a part (RFC 9110 14.2)."""
    status, found = 200, list(headers)
    header = request.header(b"Range")
    found.append(("Accept-Ranges", "bytes"))
    if header is not None and request.header(b"If-Range") in (None, dict(found).get("ETag", "").encode()):
        length = sum(map(size, pieces))
        try:
            part = transfer.byte_range(header, length)
        except transfer.RangeOutside as error:
            raise HttpError(416, error.comment, [("Content-Range", f"bytes */{length}")]) from None
        if part is not None:
            status, pieces = 206, transfer.cut(pieces, *part)
            found.append(("Content-Range", f"bytes {part[0]}-{part[0] + part[1] - 1}/{length}"))
    if any(isinstance(piece, FileRange) for piece in pieces):
        return Response(status, transfer.Pieces(pieces, disk), content_type, found)
    return Response(status, b"".join(piece for piece in pieces if isinstance(piece, bytes)), content_type, found)
