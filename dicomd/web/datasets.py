"""Data sets as bodies, for the worklist services: DICOM JSON or Native DICOM Model in, either out (PS3.18 8.7.3, 8.7.4).

In: one representation by Content-Type, alone or as parts of multipart/related. Out: an array in JSON, or one XML document a
part. What stores instances has its own way in (`stow`).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import orjson
from attrs import define, field

from ..model.attributes import Attributes
from ..model.status import InvalidRequest
from ..wire import json_model, media, multipart, native_model
from . import transfer
from .problems import HttpError
from .responses import Response, json

CONSUMES = (media.JSON, media.XML, 'multipart/related; type="application/dicom+json"', media.MULTIPART_XML)
PRODUCES = (media.JSON, media.MULTIPART_XML)
_XML_NAMES = (media.XML, "application/xml", "text/xml")
_XML_HEAD = {"Content-Type": media.XML}


async def read(request: Any) -> list[Attributes]:
    """The data sets of the body. 415 for another type, 400 (`MalformedDataset` names the attribute) for a bad body."""
    header = (request.header(b"Content-Type") or b"").decode("latin-1")
    try:
        kind = media.media_type(header)
    except ValueError:
        raise _unsupported() from None
    data = await transfer.body(request)
    if kind.name != "multipart/related":
        return list(_parse(kind.name, data))
    try:
        return [item for name, content in _parts(kind, data) for item in _parse(name, content)]
    except multipart.MalformedMultipart as error:
        raise HttpError(400, str(error)) from None


async def read_one(request: Any) -> Attributes:
    """The one data set of the body."""
    found = await read(request)
    if len(found) != 1:
        raise InvalidRequest(f"expected one data set in the body, found {len(found)}")
    return found[0]


def answer(
    request: Any, data_sets: Sequence[Attributes], *, status: int = 200, headers: list[tuple[str, str]] | None = None
) -> Response:
    """The data sets as the client takes them; 406 when it takes neither JSON nor XML."""
    chosen = _choose(request, len(data_sets))
    if chosen == media.JSON:
        return json(json_model.to_json(data_sets), status=status, headers=headers)
    return _xml(data_sets, chosen, status, headers or [])


def answer_ready(request: Any, objects: Sequence[bytes], *, headers: list[tuple[str, str]] | None = None) -> Response:
    """The same for data sets that are DICOM JSON objects already."""
    chosen = _choose(request, len(objects))
    if chosen == media.JSON:
        return json(b"[" + b",".join(objects) + b"]", headers=headers)
    return _xml([orjson.loads(item) for item in objects], chosen, 200, headers or [])


def _choose(request: Any, count: int) -> str:
    single = (media.XML,) if count == 1 else ()
    chosen = transfer.accept(request).choose((*PRODUCES, *single))
    if chosen is None:
        raise HttpError(406, "this can be had as " + ", ".join(PRODUCES))
    return chosen


def _xml(data_sets: Sequence[Attributes], chosen: str, status: int, headers: list[tuple[str, str]]) -> Response:
    written = [native_model.to_xml(item) for item in data_sets]
    if chosen == media.XML:
        return Response(status, written[0], media.XML, headers)
    return documents(written, headers, status=status)


def documents(written: Sequence[bytes], headers: list[tuple[str, str]], *, status: int = 200) -> Response:
    """Native DICOM Model documents, one a part."""
    boundary, pieces = transfer.multipart_response((_XML_HEAD, [document]) for document in written)
    body = b"".join(piece for piece in pieces if isinstance(piece, bytes))
    return Response(status, body, multipart.content_type(media.XML, boundary), headers)


def _parse(name: str, data: bytes) -> Iterator[Attributes]:
    if name in (media.JSON, "application/json"):
        yield from json_model.from_json(data)
    elif name in _XML_NAMES:
        yield native_model.from_xml(data)
    else:
        raise _unsupported()


def _unsupported() -> HttpError:
    return HttpError(415, "expected one of " + ", ".join(CONSUMES))


@define
class _Part:
    name: str
    content: bytearray = field(factory=bytearray)

    def write(self, data: bytes | memoryview) -> None:
        self.content += data

    def end(self) -> None:
        """Nothing more to do."""


def _parts(kind: media.MediaType, data: bytes) -> list[tuple[str, bytes]]:
    parts: list[_Part] = []

    def begin(headers: dict[str, str]) -> _Part:
        try:
            name = media.media_type(headers.get("content-type", "")).name
        except ValueError:
            name = kind.part_type or media.JSON
        parts.append(_Part(name))
        return parts[-1]

    reader = multipart.Reader(kind.parameter("boundary") or "", begin)
    reader.write(data)
    reader.end()
    return [(part.name, bytes(part.content)) for part in parts]
