"""Retrieve metadata (PS3.18 10.4.1.1.2) of a study, a series or an instance: DICOM JSON, or a part of XML for each instance."""

import zlib
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any

from attrs import define, frozen

from ..model.status import NotAcceptable
from ..services.metadata import Assemble, Assembled, Metadata
from ..wire import media, multipart
from ..wire.json_model import from_json
from ..wire.metadata import BASE
from ..wire.native_model import to_xml
from . import transfer
from .responses import Response, warning
from .routes import Route
from .transfer import Pieces
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
        assemble = _Array(base.encode(), squeeze)
        found = await self._metadata.get(study, series, instance, assemble, (base, squeeze))
        headers = [("Vary", "Accept, Accept-Encoding"), REVALIDATED]
        if squeeze:
            headers.append(("Content-Encoding", "gzip"))
        etag = f'"{found.tag}-gzip"' if squeeze else f'"{found.tag}"'
        return self._respond(request, base, found, assemble, etag, headers, media.JSON, squeeze)

    async def _xml(self, request: Any, base: str, study: str, series: str, instance: str) -> Response:
        boundary = multipart.boundary()
        assemble = _Parts(base.encode(), boundary)
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
        content = found.content
        return Response(status, content if isinstance(content, bytes) else Pieces([content], self._disk), content_type, headers)

    async def _stream(self, found: Assembled, assemble: Assemble, squeeze: bool) -> AsyncIterator[bytes]:
        """An answer of any length, compressed as one stream."""
        machine = zlib.compressobj(1, wbits=31) if squeeze else None
        assert isinstance(found.content, bytes)
        yield await self._disk(machine.compress, found.content) if machine else found.content
        async for piece in self._metadata.rest(found, assemble):
            yield await self._disk(machine.compress, piece) if machine else piece
        if machine:
            yield machine.flush()


@frozen
class _Array:
    """A JSON array."""

    base: bytes
    squeeze: bool

    def __call__(self, objects: Sequence[bytes], first: bool, last: bool) -> bytes:
        """A piece of it; a whole one is compressed here."""
        content = b"".join((b"[" if first else b"," if objects else b"", b",".join(objects), b"]" if last else b""))
        content = content.replace(_BASE, self.base)
        return transfer.gzipped(content) if self.squeeze and first and last else content

    def large(self, objects: Iterable[Iterable[bytes]]) -> Iterator[bytes]:
        """The whole."""
        machine = zlib.compressobj(1, wbits=31) if self.squeeze else None
        for piece in replaced(self._pieces(objects), self.base):
            yield machine.compress(piece) if machine else piece
        if machine:
            yield machine.flush()

    def _pieces(self, objects: Iterable[Iterable[bytes]]) -> Iterator[bytes]:
        before = b"["
        for pieces in objects:
            yield before
            yield from pieces
            before = b","
        yield b"]"


def replaced(pieces: Iterable[bytes], base: bytes) -> Iterator[bytes]:
    """The pieces with the service's URL in place of what stands for it, wherever they are cut."""
    rest = b""
    for piece in pieces:
        text = rest + piece
        cut = max(0, len(text) - len(_BASE) + 1)
        straddling = text.find(_BASE, max(0, cut - len(_BASE) + 1))
        if 0 <= straddling < cut:
            cut = straddling + len(_BASE)
        yield text[:cut].replace(_BASE, base)
        rest = text[cut:]
    yield rest


@frozen
class _Parts:
    """A part of a multipart body for each instance."""

    base: bytes
    boundary: str

    def __call__(self, objects: Sequence[bytes], first: bool, last: bool) -> bytes:
        """Some of them."""
        pieces: list[bytes] = []
        for number, item in enumerate(objects):
            document = to_xml(from_json(item.replace(_BASE, self.base))[0])
            head = {"Content-Type": media.XML, "Content-Length": str(len(document))}
            pieces += (multipart.part_head(self.boundary, head, first=first and not number), document)
        return b"".join((*pieces, multipart.closing(self.boundary) if last else b""))

    def large(self, objects: Iterable[Iterable[bytes]]) -> Iterator[bytes]:
        """All of them, one in memory at a time."""
        first = True
        for pieces in objects:
            yield self([b"".join(pieces)], first, False)
            first = False
        yield multipart.closing(self.boundary)
