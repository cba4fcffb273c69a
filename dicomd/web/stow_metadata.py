"""Request bodies that hold metadata and bulk data apart (PS3.18 10.5.2, 8.6.1.2): instances are made of them when all is there.

Metadata parts are collected in memory, within `[http] max_body`; bulk data parts go to the spool folder. Which is which, each
part's Content-Type says. A body that breaks off leaves nothing.
"""

from collections.abc import Sequence
from typing import Any, Protocol
from urllib.parse import urljoin

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred, gatherResults

from ..model.attributes import Attributes, number, text
from ..model.content import Piece
from ..model.status import MalformedDataset, ServiceError, TooLarge
from ..services.bulk import Bulk
from ..services.storage import StoreOutcome
from ..wire import json_model, media, multipart, native_model
from ..wire.assembly import Assembled, BulkData, assemble
from ..wire.multipart import MalformedMultipart
from .problems import HttpError
from .receipt import AT_ONCE, Receipt

_XML_NAMES = (media.XML, "application/xml", "text/xml")
_NAMES = (media.JSON, *_XML_NAMES)
_PICTURES = ("image/png", "image/gif")
_PIXEL_DATA = "7FE00010"
# So many bulk data parts one request may have: a frame each, of a very long multi-frame image.
_MOST_PARTS = 1 << 18


class BulkSource(Protocol):
    """Where bulk data are kept meanwhile."""

    def begin(self) -> Bulk: ...


@frozen
class _Located:
    """A bulk data part: what it is, where it says it is from, and between which marks of the spool."""

    location: str
    media_type: str
    transfer_syntax_uid: str
    start: int
    stop: int


@define(eq=False)
class _Document:
    """A metadata part."""

    form: "Metadata"
    name: str
    chunks: list[bytes] = field(factory=list)

    def write(self, data: bytes | memoryview) -> None:
        self.form.collect(data)
        self.chunks.append(bytes(data))

    def end(self) -> None:
        self.form.documents.append((self.name, b"".join(self.chunks)))


@define(eq=False)
class _BulkPart:
    """A bulk data part."""

    form: "Metadata"
    headers: dict[str, str]
    kind: media.MediaType
    start: int

    def write(self, data: bytes | memoryview) -> None:
        self.form.receipt.write(self.form.bulk, data)

    def end(self) -> None:
        location = self.headers.get("content-location", "").strip()
        identifier = self.headers.get("content-id", "").strip().strip("<>")
        syntaxes = self.kind.transfer_syntaxes
        self.form.located.append(
            _Located(
                location or (f"cid:{identifier}" if identifier else ""),
                self.kind.name,
                syntaxes[0] if syntaxes else "",
                self.start,
                self.form.bulk.mark(),
            )
        )


@define(eq=False)
class Metadata:
    """Receives metadata as a body of its own, or as parts of multipart/related followed by their bulk data."""

    receipt: Receipt
    bulk: Bulk
    # The most bytes of all metadata together.
    most: int
    content_type: media.MediaType
    documents: list[tuple[str, bytes]] = field(factory=list)
    located: list[_Located] = field(factory=list)
    _collected: int = 0
    _sink: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        if self.content_type.name == "multipart/related":
            self._sink = multipart.Reader(self.content_type.parameter("boundary") or "", self._begin)
        else:
            self._sink = _Document(self, self.content_type.name)

    def _begin(self, headers: dict[str, str]) -> _Document | _BulkPart:
        try:
            kind = media.media_type(headers.get("content-type") or media.OCTETS)
        except ValueError:
            raise HttpError(400, "a part has a Content-Type that is none") from None
        if kind.name in _NAMES:
            return _Document(self, kind.name)
        if len(self.located) >= _MOST_PARTS:
            raise TooLarge(f"the request has more than {_MOST_PARTS} parts")
        return _BulkPart(self, headers, kind, self.bulk.mark())

    def collect(self, data: bytes | memoryview) -> None:
        """Metadata arrive."""
        self._collected += len(data)
        if self._collected > self.most:
            raise TooLarge(
                f"the metadata have more than the {self.most} bytes allowed here; send bulk data in parts of their own"
            )

    def write(self, data: bytes) -> None:
        """The next piece of the body."""
        self.receipt.count(data)
        if not self.receipt.error:
            self._guarded(self._sink.write, data)

    def end(self) -> None:
        """The body is over."""
        if not self.receipt.error:
            self._guarded(self._sink.end)

    def _guarded(self, function: Any, *arguments: bytes) -> None:
        try:
            function(*arguments)
        except MalformedMultipart as error:
            self.receipt.error = str(error)

    def abandon(self) -> None:
        self.bulk.discard()

    async def complete(self) -> None:
        """Make and store the instances, a few at a time."""
        try:
            if self.receipt.error:
                return
            await self.bulk.settle()
            found = [item for name, data in self.documents for item in await self.bulk.work(_parse, name, data)]
            self.documents.clear()
            parts = Parts(self.located, self.bulk, self.receipt.request.uri.decode("latin-1"))
            for start in range(0, len(found), AT_ONCE):
                batch = [Deferred.fromCoroutine(self._store(item, parts)) for item in found[start : start + AT_ONCE]]
                self.receipt.add(await gatherResults(batch, consumeErrors=True))
        finally:
            self.bulk.discard()

    async def _store(self, attributes: Attributes, parts: "Parts") -> StoreOutcome:
        """One instance; what is wrong with it is its outcome."""
        try:
            attributes, parts = await _transformed(attributes, parts)
            made: Assembled = await self.bulk.work(assemble, attributes, parts.find, self.bulk.read)
        except ServiceError as error:
            uids = text(attributes, "00080016"), text(attributes, "00080018")
            return StoreOutcome(None, *uids, error.status, error.comment, offending=error.offending, error=error)
        reception = self.receipt.storage.begin(
            self.receipt.source,
            sop_class_uid=made.sop_class_uid,
            sop_instance_uid=made.sop_instance_uid,
            transfer_syntax_uid=made.transfer_syntax_uid,
        )
        async for chunk in self.bulk.chunks(made.pieces):
            if not reception.write(chunk):
                await reception.ready()
        return await self.receipt.storage.store(reception, self.receipt.target)


def _parse(name: str, data: bytes) -> list[Attributes]:
    if name == media.JSON:
        return json_model.from_json(data)
    return [native_model.from_xml(data)]


@frozen
class Parts:
    """The bulk data of a request by Content-Location: as written, else as an absolute URL, else the only part there is."""

    located: Sequence[_Located]
    bulk: Bulk
    url: str
    replaced: dict[str, list[BulkData]] = field(factory=dict)
    _named: dict[str, list[_Located]] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        for part in self.located:
            for name in {part.location, urljoin(self.url, part.location)} if part.location else ():
                self._named.setdefault(name, []).append(part)
                whole, _, frame = name.rpartition("/frames/")
                if whole and frame.isdigit():
                    self._named.setdefault(f"{whole}/frames", []).append(evolve(part, location=frame))

    def find(self, uri: str) -> list[BulkData]:
        """The parts that a BulkDataURI refers to; those of single frames in the order of their numbers."""
        if uri in self.replaced:
            return self.replaced[uri]
        named = self._named.get(uri) or self._named.get(urljoin(self.url, uri)) or self._frames(uri)
        if not named and len(self.located) == 1 and not self.located[0].location:
            named = list(self.located)
        return [
            BulkData(part.media_type, part.transfer_syntax_uid, self.bulk.content(part.start, part.stop)) for part in named or ()
        ]

    def _frames(self, uri: str) -> list[_Located]:
        found = self._named.get(f"{uri}/frames") or self._named.get(urljoin(self.url, f"{uri}/frames")) or ()
        return sorted(found, key=lambda part: int(part.location))


async def _transformed(attributes: Attributes, parts: Parts) -> tuple[Attributes, Parts]:
    """PNG and GIF have no place in DICOM: made native pixels, whose size must agree (PS3.18 10.5.2)."""
    uri: str = attributes.get(_PIXEL_DATA, {}).get("BulkDataURI", "")
    found = parts.find(uri) if uri else []
    if not found or found[0].media_type not in _PICTURES:
        return attributes, parts
    described: Attributes = {}
    pieces: list[Piece] = []
    for part in found:
        description, pixels = await parts.bulk.picture(part.pieces)
        if described and description != described:
            raise MalformedDataset("(7FE0,0010) has pictures of different kinds", offending=(0x7FE00010,))
        described = description
        pieces.append(pixels)
    if len(found) > 1:
        frames = len(found) * (number(described, "00280008") or 1)
        described = described | {"00280008": {"vr": "IS", "Value": [frames]}}
    for tag in ("00280010", "00280011", "00280008"):
        stated = number(attributes, tag)
        if stated is not None and stated != (number(described, tag) or 1):
            raise MalformedDataset(f"({tag[:4]},{tag[4:]}) is not that of the picture", offending=(int(tag, 16),))
    kept = {tag: value for tag, value in attributes.items() if tag not in ("00280006", "00280008")}
    return kept | described, evolve(parts, replaced={uri: [BulkData(media.OCTETS, "", tuple(pieces))]})
