"""Retrieve metadata (PS3.18 10.4.1.1.2) of a study, a series or an instance: DICOM JSON, or a part of XML for each instance."""

import zlib
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

from attrs import define

from ..model.status import NotAcceptable
from ..services.metadata import Assemble, Assembled, Metadata
from ..wire import media, multipart
from ..wire.json_model import from_json
from ..wire.metadata import BASE
from ..wire.native_model import to_xml
from . import transfer
from .responses import Response, warning
from .routes import Route
from .wado import ACCEPT, LEVELS, REVALIDATED

_BASE = BASE.encode()
_OFFERS = (media.JSON, media.MULTIPART_XML)


@define(eq=False)
class WadoMetadata:
    """The metadata resources."""

    _metadata: Metadata
    _disk: transfer.Disk

    def routes(self) -> list[Route]:
        return [
            Route(
                f"{path}/metadata",
                ("GET",),
                self.get,
                f"Retrieve the metadata of {what}",
                service="retrieve",
                section="PS3.18 10.4.1.1.2",
                parameters=(ACCEPT,),
                produces=_OFFERS,
                statuses=(200, 206, 304, 400, 404, 406, 410, 500),
            )
            for path, what in LEVELS
        ]

    async def get(self, request: Any, study: str, series: str = "", instance: str = "") -> Response:
        """The metadata, as they were prepared when the instances were stored."""
        chosen = transfer.accept(request).choose(_OFFERS)
        if chosen is None:
            raise NotAcceptable(f"metadata can be had as {' or '.join(_OFFERS)}")
        base = request.door.urls.base(request)
        if chosen == media.JSON:
            return await self._json(request, base, study, series, instance)
        return await self._xml(request, base, study, series, instance)

    async def _json(self, request: Any, base: str, study: str, series: str, instance: str) -> Response:
        squeeze = transfer.takes_gzip(request)
        assemble = partial(_array, base.encode(), squeeze)
        found = await self._metadata.get(study, series, instance, assemble, (base, squeeze))
        headers = [("Vary", "Accept, Accept-Encoding"), REVALIDATED]
        if squeeze:
            headers.append(("Content-Encoding", "gzip"))
        etag = f'"{found.tag}-gzip"' if squeeze else f'"{found.tag}"'
        return self._respond(request, base, found, assemble, etag, headers, media.JSON, squeeze)

    async def _xml(self, request: Any, base: str, study: str, series: str, instance: str) -> Response:
        boundary = multipart.boundary()
        assemble = partial(_parts, base.encode(), boundary)
        found = await self._metadata.get(study, series, instance, assemble)
        headers, content_type = [("Vary", "Accept"), REVALIDATED], multipart.content_type(media.XML, boundary)
        return self._respond(request, base, found, assemble, f'W/"{found.tag}-xml"', headers, content_type, False)

    def _respond(
        self,
        request: Any,
        base: str,
        found: Assembled,
        assemble: Assemble,
        etag: str,
        headers: list[tuple[str, str]],
        content_type: str,
        squeeze: bool,
    ) -> Response:
        headers.append(("ETag", etag))
        if not found.left_out and transfer.not_modified(request, etag):
            return Response(304, headers=headers)
        status = 200
        if found.left_out:
            headers.append(warning(base, f"the metadata of {found.left_out} instances cannot be told and are left out"))
            status = 206
        if found.following:
            return Response(status, transfer.Streamed(self._stream(found, assemble, squeeze)), content_type, headers)
        return Response(status, found.content, content_type, headers)

    async def _stream(self, found: Assembled, assemble: Assemble, squeeze: bool) -> AsyncIterator[bytes]:
        """An answer of any length, compressed as one stream."""
        machine = zlib.compressobj(1, wbits=31) if squeeze else None
        yield await self._disk(machine.compress, found.content) if machine else found.content
        async for piece in self._metadata.rest(found, assemble):
            yield await self._disk(machine.compress, piece) if machine else piece
        if machine:
            yield machine.flush()


def _array(base: bytes, squeeze: bool, objects: Sequence[bytes], first: bool, last: bool) -> bytes:
    """A piece of a JSON array; a whole one is compressed here."""
    content = b"".join((b"[" if first else b"," if objects else b"", b",".join(objects), b"]" if last else b""))
    content = content.replace(_BASE, base)
    return transfer.gzipped(content) if squeeze and first and last else content


def _parts(base: bytes, boundary: str, objects: Sequence[bytes], first: bool, last: bool) -> bytes:
    """Some parts of a multipart body, one for each instance."""
    pieces: list[bytes] = []
    for number, item in enumerate(objects):
        document = to_xml(from_json(item.replace(_BASE, base))[0])
        head = {"Content-Type": media.XML, "Content-Length": str(len(document))}
        pieces += (multipart.part_head(boundary, head, first=first and not number), document)
    return b"".join((*pieces, multipart.closing(boundary) if last else b""))
