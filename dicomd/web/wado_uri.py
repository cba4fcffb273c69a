"""WADO-URI (PS3.18 chapter 9): one instance named by query parameters, as a DICOM file or rendered. It answers at every root."""

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define

from ..model.identifiers import is_uid
from ..model.status import InvalidRequest
from ..wire import media
from . import transfer
from .problems import HttpError
from .responses import Response
from .routes import Parameter, Route
from .wado import Wado

_UIDS = ("studyUID", "seriesUID", "objectUID")
_ONCE = ("requestType", *_UIDS, "contentType", "transferSyntax", "anonymize")
# What says how to render has no meaning for a file (PS3.18 9.4.1.2).
_RENDERING = ("windowCenter", "windowWidth")
_PARAMETERS = (
    Parameter("requestType", "WADO", required=True, choices=("WADO",)),
    Parameter("studyUID", "Study Instance UID", required=True),
    Parameter("seriesUID", "Series Instance UID", required=True),
    Parameter("objectUID", "SOP Instance UID", required=True),
    Parameter("contentType", "application/dicom, or rendered media types"),
    Parameter("transferSyntax", "transfer syntax of the file"),
    Parameter("frameNumber", "frame to render, from 1", "integer"),
    Parameter("imageQuality", "of lossy compression, 1 to 100", "integer"),
    Parameter("rows", "largest height", "integer"),
    Parameter("columns", "largest width", "integer"),
    Parameter("region", "xmin,ymin,xmax,ymax as fractions"),
    Parameter("windowCenter", "centre of the window", "number"),
    Parameter("windowWidth", "width of the window", "number"),
    Parameter("imageAnnotation", "patient, technique"),
    Parameter("presentationUID", "SOP Instance UID of a presentation state"),
    Parameter("presentationSeriesUID", "Series Instance UID of that presentation state"),
    Parameter("requester", "with a WebSocket handshake: whose event channel to open"),
)

Render = Callable[[Any, str, str, str, media.Accept], Awaitable[Response]]


@define(eq=False)
class WadoUri:
    """The resource at the root of the service."""

    _wado: Wado
    # Answers with the instance rendered as one of the given media types.
    _render: Render
    # Opens the event channel of the worklist service, which PS3.18 8.10.4 puts at the root as well: `?requester={aet}`.
    _open_channel: Callable[..., Awaitable[Any]] | None = None

    def routes(self) -> list[Route]:
        return [
            Route(
                "/",
                ("GET",),
                self.get,
                "Retrieve one instance, as a file or rendered",
                service="uri",
                section="PS3.18 9",
                parameters=_PARAMETERS,
                produces=(media.DICOM, "image/jpeg", "image/png", "image/gif", "text/html", "text/plain"),
                statuses=(200, 206, 303, 304, 400, 404, 406, 410, 416, 500, 501),
            )
        ]

    async def get(self, request: Any) -> Any:
        """What the query names; without a query the way to the page for people. A WebSocket is an event channel."""
        if self._open_channel is not None and request.header(b"Upgrade") is not None:
            return await self._open_channel(request, next((value for name, value in request.pairs if name == "requester"), ""))
        if not request.pairs:
            return Response(303, headers=[("Location", f"{request.door.urls.base(request)}/conformance")])
        given = _given(request)
        study, series, instance = (_uid(given, name) for name in _UIDS)
        content_type = given.get("contentType")
        accept = media.accept(content_type) if content_type is not None else _header(request)
        if content_type is not None:
            _check(accept)
        if accept.ranges and accept.ranges[0].name == media.DICOM:
            return await self._file(request, given, study, series, instance)
        return await self._render(request, study, series, instance, accept)

    async def _file(self, request: Any, given: dict[str, str], study: str, series: str, instance: str) -> Response:
        names = {name for name, _ in request.pairs}
        for name in _RENDERING:
            if name in names:
                raise InvalidRequest(f"{name}: not allowed together with contentType={media.DICOM}")
        if "anonymize" in given and given["anonymize"] != "yes":
            raise InvalidRequest("anonymize: expected yes")
        if "anonymize" in given:
            raise HttpError(501, "anonymize is not supported")
        if "transferSyntax" in given and not is_uid(given["transferSyntax"]):
            raise InvalidRequest("transferSyntax: expected a UID")
        return await self._wado.by_uri(request, study, series, instance, given.get("transferSyntax", ""))


def _given(request: Any) -> dict[str, str]:
    """The parameters that may be there only once (PS3.18 9.1.2)."""
    given: dict[str, str] = {}
    for name, value in request.pairs:
        if name in given:
            raise InvalidRequest(f"{name}: given more than once")
        if name in _ONCE:
            given[name] = value
    if given.get("requestType") != "WADO":
        raise InvalidRequest("requestType: expected WADO")
    return given


def _uid(given: dict[str, str], name: str) -> str:
    if not is_uid(given.get(name, "")):
        raise InvalidRequest(f"{name}: expected a UID")
    return given[name]


def _header(request: Any) -> media.Accept:
    """What a browser or an old client takes; without an Accept header anything."""
    return transfer.accept(request)


def _check(accept: media.Accept) -> None:
    """PS3.18 9.1.2.1: media types without parameters of DICOM; DICOM files are not mixed with rendered types."""
    if not accept.ranges:
        raise InvalidRequest("contentType: expected a media type")
    for kind in accept.ranges:
        if kind.parameter("transfer-syntax") is not None or kind.parameter("charset") is not None:
            raise InvalidRequest("contentType: transfer-syntax and charset are parameters of their own")
    if len({kind.name == media.DICOM for kind in accept.ranges if kind.name != "*/*"}) > 1:
        raise InvalidRequest(f"contentType: {media.DICOM} is not mixed with rendered media types")
