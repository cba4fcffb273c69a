"""Rendered resources and thumbnails (PS3.18 10.4.1.1.3, 10.4.1.1.5), and the rendered half of WADO-URI (9.5)."""

from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

from attrs import define, frozen
from twisted.internet.defer import Deferred

from ..model import rendering as parameters_of
from ..model.content import Piece, size
from ..model.rendering import RenderingParameters
from ..model.status import InvalidRequest, NoSuchInstance, NotAcceptable
from ..services.rendering import Item, Parts, Picture, Rendering, Wanted, tag
from ..services.renditions import Rendition
from ..services.retrieve import StoredInstance
from ..services.thumbnails import Thumbnail, Thumbnails
from ..wire import media, multipart
from . import transfer
from .responses import Response, warning
from .routes import Parameter, Route
from .wado import ACCEPT, CACHED, REVALIDATED, VARY, ranged
from .wado_frames import numbers

BASE = b"@@BASE@@"
# So many parts of a long answer are made while earlier ones are being sent.
_AHEAD = 2
_INSTANCE = "/studies/{study}/series/{series}/instances/{instance}"
_LEVELS = ("/studies/{study}", "/studies/{study}/series/{series}")
_MEDIA = ("image/jpeg", "image/png", "image/gif", "image/jp2", "image/webp", "image/jxl")
_PAGES = ("text/html", "text/plain", "application/pdf", "video/mp4", "video/mpeg")
_PARTS = ('multipart/related; type="image/jpeg"',)
_RENDERED_PARAMETERS = (
    ACCEPT,
    Parameter("annotation", "text burned in: patient, technique, overlay; joined by commas"),
    Parameter("quality", "quality of lossy media types, 1 to 100", "integer"),
    Parameter("viewport", "vw,vh[,sx,sy,sw,sh]: largest size, and the part of the image"),
    Parameter("window", "center,width,function with linear, linear-exact or sigmoid"),
    Parameter("iccprofile", "colour profile to embed", choices=parameters_of.ICC_PROFILES),
    Parameter("presentationUID", "SOP Instance UID of a presentation state to show the image under"),
    Parameter("presentationSeriesUID", "Series Instance UID of that presentation state"),
)
_THUMBNAIL_PARAMETERS = (ACCEPT, Parameter("viewport", "vw,vh: largest size"))
_STATUSES = (200, 304, 400, 404, 406, 410, 413, 500, 503)
# Pages made from stored texts run no scripts and load nothing from elsewhere, but pictures of this server.
_PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' {origin}"
_DOCUMENT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"


@frozen
class SinglePart:
    """A client of WADO-URI: it takes one part, and of several pictures one in JPEG by default (PS3.18 9.5.3)."""

    accept: media.Accept

    def choose(self, offers: Sequence[str]) -> str | None:
        """The best single part."""
        single = [offer for offer in offers if not offer.startswith("multipart/")]
        return self.accept.choose(sorted(single, key=lambda offer: offer != "image/jpeg"))


@define(eq=False)
class Rendered:
    """The resources that are looked at by people."""

    _rendering: Rendering
    _thumbnails: Thumbnails
    _disk: transfer.Disk

    def routes(self) -> list[Route]:
        rows = [self._rendered(f"{level}/rendered", self.many, _MEDIA) for level in _LEVELS]
        rows += [self._thumbnail(f"{level}/thumbnail", self.thumbnail) for level in _LEVELS]
        for tail in ("", "/frames/{frames}"):
            kinds = _MEDIA if tail else (*_MEDIA, *_PAGES)
            rows.append(self._rendered(f"{_INSTANCE}{tail}/rendered", self.instance, kinds))
            rows.append(self._thumbnail(f"{_INSTANCE}{tail}/thumbnail", self.thumbnail))
        return rows

    def _rendered(self, path: str, handler: Any, produces: Sequence[str]) -> Route:
        return Route(
            path,
            ("GET",),
            handler,
            "Retrieve what a person can look at",
            service="rendered",
            section="PS3.18 10.4.1.1.3",
            parameters=_RENDERED_PARAMETERS,
            produces=(*produces, *_PARTS),
            statuses=_STATUSES,
        )

    def _thumbnail(self, path: str, handler: Any) -> Route:
        return Route(
            path,
            ("GET",),
            handler,
            "Retrieve one small picture that stands for the resource",
            service="rendered",
            section="PS3.18 10.4.1.1.5",
            parameters=_THUMBNAIL_PARAMETERS,
            produces=_MEDIA,
            statuses=_STATUSES,
        )

    async def instance(self, request: Any, study: str, series: str, instance: str, frames: str = "") -> Response:
        """An instance, or frames of it."""
        parameters = parameters_of.from_query(request.pairs)
        wanted = Wanted(parameters, transfer.accept(request), tuple(numbers(frames)) if frames else ())
        return await self._instance(request, study, series, instance, wanted)

    async def uri(self, request: Any, study: str, series: str, instance: str, accept: media.Accept) -> Response:
        """Retrieve Rendered Instance by WADO-URI (PS3.18 9.5); `accept`: of contentType, else of the header."""
        parameters, frame = parameters_of.from_uri_query(request.pairs)
        wanted = Wanted(parameters, SinglePart(accept), (frame,) if frame else ())
        await self._rendering.find(study, series, instance)
        try:
            return await self._instance(request, study, series, instance, wanted)
        except NoSuchInstance as error:
            raise InvalidRequest(f"frameNumber: {error.comment}") from None

    async def _instance(self, request: Any, study: str, series: str, instance: str, wanted: Wanted) -> Response:
        stored = await self._rendering.find(study, series, instance)
        state = await self._rendering.find_state(wanted.parameters)
        etag = tag(stored.digest, wanted, state and state.digest)
        headers = [("ETag", f'"{etag}"'), VARY, CACHED]
        if transfer.not_modified(request, headers[0][1]):
            return Response(304, headers=headers)
        made = await self._rendering.instance(stored, wanted, state)
        return await self._response(request, made, wanted.parameters, headers, etag, framed=bool(wanted.frames))

    async def many(self, request: Any, study: str, series: str = "") -> Response:
        """All pictures of a study or series."""
        parameters = parameters_of.from_query(request.pairs)
        if parameters.presentation_uid:
            raise InvalidRequest("presentationUID: allowed for an instance or frame only")
        wanted = Wanted(parameters, transfer.accept(request))
        collection = await self._rendering.collection(study, series)
        etag = tag(study, series, collection.tag, wanted)
        headers = [("ETag", f'"{etag}"'), VARY, REVALIDATED]
        if transfer.not_modified(request, headers[0][1]):
            return Response(304, headers=headers)
        made = await self._rendering.many(collection, wanted)
        return await self._response(request, made, parameters, headers, etag)

    async def _response(
        self,
        request: Any,
        made: Picture | Parts,
        parameters: RenderingParameters,
        headers: list[tuple[str, str]],
        boundary: str,
        *,
        framed: bool = False,
    ) -> Response:
        base = request.door.urls.base(request)
        if parameters.unsupported:
            values = ",".join(parameters.unsupported)
            headers.append(warning(base, f"The following annotation values are not supported: {values}"))
        if isinstance(made, Parts):
            return await self._multipart(made, parameters, base, headers, boundary)
        rendition = made.rendition
        if rendition.warning:
            headers.append(warning(base, rendition.warning))
        headers.append(("Content-Location", _location(base, made.stored, rendition.frame if framed or rendition.warning else 0)))
        headers += _policy(rendition, base)
        return ranged(request, _pieces(rendition, base), _content_type(rendition.media_type), headers, self._disk)

    async def _multipart(
        self, made: Parts, parameters: RenderingParameters, base: str, headers: list[tuple[str, str]], boundary: str
    ) -> Response:
        """Parts are made while earlier ones are sent; the first decides whether there is an answer at all.

        The boundary is the entity tag: who knows the one could not yet know the other when the content was stored.
        """
        parts = self._made(made, parameters)
        first = await anext(parts, None)
        if first is None:
            raise NotAcceptable(f"nothing here can be had as {made.media_type}")
        body = transfer.Streamed(self._stream(first, parts, base, boundary))
        return Response(200, body, multipart.content_type(made.media_type, boundary), headers)

    async def _made(self, parts: Parts, parameters: RenderingParameters) -> AsyncIterator[tuple[Item, Rendition]]:
        pending: deque[tuple[Item, Deferred[Rendition | None]]] = deque()
        try:
            async for item in parts.items:
                making = Deferred.fromCoroutine(self._rendering.part(item, parameters, parts.media_type))
                pending.append((item, making))
                if len(pending) > _AHEAD and (found := await _first(pending)) is not None:
                    yield found
            while pending:
                if (found := await _first(pending)) is not None:
                    yield found
        finally:
            for _, making in pending:
                making.addErrback(lambda _: None)

    async def _stream(
        self, first: tuple[Item, Rendition], others: AsyncIterator[tuple[Item, Rendition]], base: str, boundary: str
    ) -> AsyncIterator[bytes]:
        is_first = True
        part: tuple[Item, Rendition] | None = first
        while part is not None:
            item, rendition = part
            pieces = _pieces(rendition, base)
            head = {
                "Content-Type": _content_type(rendition.media_type),
                "Content-Length": str(sum(map(size, pieces))),
                "Content-Location": _location(base, item.stored, item.frame),
            }
            pieces.insert(0, multipart.part_head(boundary, head, first=is_first))
            async for chunk in transfer.chunks(pieces, self._disk):
                yield chunk
            is_first, part = False, await anext(others, None)
        yield multipart.closing(boundary)

    async def thumbnail(self, request: Any, study: str, series: str = "", instance: str = "", frames: str = "") -> Response:
        """One small picture that stands for the resource."""
        parameters = parameters_of.thumbnail_from_query(request.pairs)
        wanted = numbers(frames) if frames else ()
        found = await self._thumbnails.get(study, series, instance, wanted, parameters, transfer.accept(request))
        return _small(request, found, CACHED if instance else REVALIDATED)


async def _first(pending: "deque[tuple[Item, Deferred[Rendition | None]]]") -> tuple[Item, Rendition] | None:
    item, making = pending.popleft()
    made = await making
    return None if made is None else (item, made)


def _small(request: Any, found: Thumbnail, freshness: tuple[str, str]) -> Response:
    etag = f'"{found.tag}"'
    headers = [("ETag", etag), VARY, freshness]
    if transfer.not_modified(request, etag):
        return Response(304, headers=headers)
    if found.is_part:
        head = {"Content-Type": found.media_type, "Content-Location": request.uri.decode("latin-1").partition("?")[0]}
        boundary, pieces = transfer.multipart_response([(head, [found.data])], found.tag)
        body = b"".join(piece for piece in pieces if isinstance(piece, bytes))
        return Response(200, body, multipart.content_type(found.media_type, boundary), headers)
    return Response(200, found.data, found.media_type, headers)


def _location(base: str, stored: StoredInstance, frame: int) -> str:
    key = stored.key
    frames = f"/frames/{frame}" if frame else ""
    study = f"{base}/studies/{key.study_instance_uid}/series/{key.series_instance_uid}"
    return f"{study}/instances/{key.sop_instance_uid}{frames}/rendered"


def _content_type(media_type: str) -> str:
    return f"{media_type}; charset=utf-8" if media_type in ("text/html", "text/plain") else media_type


def _pieces(rendition: Rendition, base: str) -> list[Piece]:
    content = rendition.content
    if not isinstance(content, bytes):
        return list(content)
    return [content.replace(BASE, base.encode()) if rendition.is_page else content]


def _policy(rendition: Rendition, base: str) -> Iterable[tuple[str, str]]:
    """Stored documents and texts must not act in the name of this server in somebody's browser."""
    yield "X-Content-Type-Options", "nosniff"
    if rendition.is_page:
        parts = urlsplit(base)
        yield "Content-Security-Policy", _PAGE_POLICY.format(origin=f"{parts.scheme}://{parts.netloc}")
    elif not rendition.media_type.startswith(("image/", "video/")) and rendition.media_type != "application/pdf":
        yield "Content-Security-Policy", _DOCUMENT_POLICY
