"""Store (PS3.18 10.5): instances arrive as parts of a body that is cut while it comes in.

Every part goes straight into a `Reception`; a few of one request are stored at the same time, the response keeps their order.
A form of request body is a class here that makes `Reception`s of it and hands them to `Receipt`; `FORMS` names them by
media type.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson
from attrs import define, field, frozen
from twisted.internet.defer import Deferred, gatherResults

from ..model.attributes import Attributes, attribute
from ..model.status import NotAcceptable, ServiceError, Status, Undecodable
from ..services.storage import Reception, Source, Storage, StoreOutcome
from ..wire import media, multipart, native_model
from ..wire.multipart import MalformedMultipart
from . import transfer
from .problems import HttpError
from .responses import Response, warning
from .routes import Route

# Instances of one request that are stored at the same time; the transport pauses while there are more.
AT_ONCE = 8
_TOLD = 5


@frozen
class Failure:
    """A part that never became an instance with a name."""

    status: Status
    comment: str


Result = StoreOutcome | Failure


@define(eq=False)
class Receipt:
    """What one request brings: receptions in order, of which `AT_ONCE` are being stored."""

    storage: Storage
    request: Any
    study: str = ""
    error: str = ""
    results: list["Deferred[Result]"] = field(factory=list)
    _waiting: deque[tuple[Reception, "Deferred[Result]"]] = field(factory=deque)
    _storing: int = 0
    _holds: int = 0

    def begin(self) -> Reception | None:
        """Begin an instance; None when the store has no room for it, which is noted."""
        try:
            return self.storage.begin(Source("HTTP", peer=self.request.peer))
        except ServiceError as error:
            self.fail(error)
            return None

    def write(self, reception: Reception, data: bytes) -> None:
        """Bytes of an instance, with back-pressure on the client."""
        if not reception.write(data):
            self._hold(Deferred.fromCoroutine(_settled(reception.ready())))

    def store(self, reception: Reception) -> None:
        """The instance is complete."""
        done: Deferred[Result] = Deferred()
        self.results.append(done)
        self._waiting.append((reception, done))
        if self._storing >= AT_ONCE:
            full: Deferred[None] = Deferred()
            done.addBoth(lambda result: (full.callback(None), result)[1])
            self._hold(full)
        self._next()

    def fail(self, error: ServiceError) -> None:
        """A part is not an instance."""
        done: Deferred[Result] = Deferred()
        done.callback(Failure(error.status, error.comment))
        self.results.append(done)

    def abandon(self) -> None:
        """The client has gone: what has not begun to be stored is dropped."""
        while self._waiting:
            reception, done = self._waiting.popleft()
            reception.abandon()
            done.callback(Failure(Status.PROCESSING_FAILURE, "the client left"))

    def _next(self) -> None:
        while self._waiting and self._storing < AT_ONCE:
            reception, done = self._waiting.popleft()
            self._storing += 1
            outcome = Deferred.fromCoroutine(self.storage.store(reception, study_instance_uid=self.study))
            outcome.addBoth(self._stored, done)

    def _stored(self, result: Any, done: "Deferred[Result]") -> None:
        self._storing -= 1
        done.callback(result)
        self._next()

    def _hold(self, until: "Deferred[None]") -> None:
        """Read no more of the body until `until`."""
        if until.called:
            return
        self._holds += 1
        if self._holds == 1:
            self.request.pause()
        until.addBoth(self._release)

    def _release(self, _: Any) -> None:
        self._holds -= 1
        if not self._holds:
            self.request.resume()


async def _settled(waiting: Awaitable[None]) -> None:
    await waiting


@define(eq=False)
class _Instance:
    """One Part 10 file of a body; without a reception its bytes are dropped."""

    receipt: Receipt
    reception: Reception | None = field(init=False)
    open: bool = True

    def __attrs_post_init__(self) -> None:
        self.reception = self.receipt.begin()

    def write(self, data: bytes) -> None:
        if self.reception is not None:
            self.receipt.write(self.reception, data)

    def end(self) -> None:
        self.open = False
        if self.reception is not None:
            self.receipt.store(self.reception)

    def abandon(self) -> None:
        """Drop it, unless it is complete."""
        if self.open and self.reception is not None:
            self.reception.abandon()


@define(eq=False)
class SinglePart:
    """Receives `application/dicom`: the body is one instance."""

    receipt: Receipt
    _instance: _Instance = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._instance = _Instance(self.receipt)

    def write(self, data: bytes) -> None:
        self._instance.write(data)

    def end(self) -> None:
        self._instance.end()

    def abandon(self) -> None:
        self._instance.abandon()
        self.receipt.abandon()


@define(eq=False)
class Instances:
    """Receives `multipart/related; type="application/dicom"`: each part is one instance.

    What a part says of itself is not asked: its bytes decide. When the body breaks off or is malformed, the complete parts
    before are stored all the same.
    """

    receipt: Receipt
    boundary: str
    _reader: multipart.Reader = field(init=False)
    _part: _Instance | None = None

    def __attrs_post_init__(self) -> None:
        self._reader = multipart.Reader(self.boundary, self._begin)

    def _begin(self, headers: dict[str, str]) -> _Instance:
        self._part = _Instance(self.receipt)
        return self._part

    def write(self, data: bytes) -> None:
        """The next piece of the body."""
        if self.receipt.error:
            return
        try:
            self._reader.write(data)
        except MalformedMultipart as error:
            self._broken(str(error))

    def end(self) -> None:
        """The body is over."""
        if self.receipt.error:
            return
        try:
            self._reader.end()
        except MalformedMultipart as error:
            self._broken(str(error))

    def abandon(self) -> None:
        self.abandon_part()
        self.receipt.abandon()

    def abandon_part(self) -> None:
        """Drop the part that is arriving."""
        if self._part is not None:
            self._part.abandon()

    def _broken(self, why: str) -> None:
        """The part that is not complete is a failure of its own; a body with no part at all is a bad request."""
        self.receipt.error = why
        is_open = self._part is not None and self._part.open
        self.abandon_part()
        if is_open or self.receipt.results:
            self.receipt.fail(Undecodable(why))


Form = Callable[[Receipt, media.MediaType], Any]


def _instances(receipt: Receipt, content_type: media.MediaType) -> Any:
    boundary = content_type.parameter("boundary")
    if not boundary:
        raise HttpError(400, "Content-Type multipart/related: the boundary parameter is missing")
    try:
        return Instances(receipt, boundary)
    except MalformedMultipart as error:
        raise HttpError(400, f"Content-Type multipart/related: {error}") from None


# The request bodies of PS3.18 Table 10.5.2-1, by the type of the body or of its root part.
FORMS: dict[str, Form] = {
    media.MULTIPART_DICOM: _instances,
    media.DICOM: lambda receipt, _: SinglePart(receipt),
}


class Stow:
    """The Store resources."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def routes(self) -> list[Route]:
        return [
            Route(
                path,
                ("POST",),
                self.store,
                summary,
                service="store",
                section="PS3.18 10.5",
                consumes=tuple(FORMS),
                produces=(media.JSON, media.XML),
                statuses=(200, 202, 400, 409, 413, 415, 503),
                receiver=self.receive,
            )
            for path, summary in (
                ("/studies", "Store instances of any study"),
                ("/studies/{study}", "Store instances of one study"),
            )
        ]

    def receive(self, request: Any, length: int | None, study: str = "") -> Any:
        """The body's form, chosen by its Content-Type; refused before it is read when the answer could not be given."""
        form, content_type = _form(request)
        _response_type(request)
        return form(Receipt(self._storage, request, study), content_type)

    async def store(self, request: Any, study: str = "") -> Response:
        """Store Instances Response Module for what arrived (PS3.18 10.5.3)."""
        receipt = request.receiver.receipt if request.receiver is not None else Receipt(self._storage, request, study)
        results: list[Result] = await gatherResults(receipt.results, consumeErrors=True)
        if not results:
            raise HttpError(400, receipt.error or "the request holds no instance")
        return respond(results, request, study)


def _form(request: Any) -> tuple[Form, media.MediaType]:
    supported = ", ".join(FORMS)
    try:
        content_type = media.media_type((request.header(b"Content-Type") or b"").decode("latin-1"))
    except ValueError:
        raise HttpError(415, f"Content-Type: expected one of {supported}", [("Accept", supported)]) from None
    name = content_type.name
    if name == "multipart/related":
        name = f'multipart/related; type="{content_type.part_type or media.DICOM}"'
    if name not in FORMS:
        raise HttpError(415, f"Content-Type {name}: expected one of {supported}", [("Accept", supported)])
    return FORMS[name], content_type


def _response_type(request: Any) -> str:
    accept = transfer.accept(request)
    chosen = accept.choose((media.JSON, media.XML, media.MULTIPART_XML))
    if chosen is None:
        raise NotAcceptable(f"the response can be {media.JSON} or {media.XML}")
    return media.JSON if chosen == media.JSON else media.XML


def respond(results: Sequence[Result], request: Any, study: str) -> Response:
    """Status, headers and body follow from the outcomes alone."""
    base = request.door.urls.base(request)
    stored = [outcome for outcome in results if isinstance(outcome, StoreOutcome) and not outcome.status.is_failure]
    url = _study_url(stored, base, study)
    headers = [warning(base, text) for text in _warnings(results)]
    if stored and url:
        headers += [("Content-Location", url), ("Location", url)]
    status = _status(results, len(stored))
    if status in (503, 507):
        headers.append(("Retry-After", "2"))
    content_type = _response_type(request)
    module = _module(results, base, url)
    body = orjson.dumps(module) if content_type == media.JSON else native_model.to_xml(module)
    return Response(status, body, content_type, headers)


def _status(results: Sequence[Result], stored: int) -> int:
    """PS3.18 Table 10.5.3-1; with nothing stored for lack of resources, what the client should do then."""
    if stored == len(results) and not any(isinstance(outcome, StoreOutcome) and _reason(outcome) for outcome in results):
        return 200
    if stored:
        return 202
    if all(outcome.status == Status.OUT_OF_RESOURCES for outcome in results):
        return 503
    return 409


def _study_url(stored: Sequence[StoreOutcome], base: str, study: str) -> str:
    """The URL of the study that everything belongs to; empty when there are several or none."""
    studies = {outcome.key.study_instance_uid for outcome in stored if outcome.key is not None} or {study}
    only = studies.pop() if len(studies) == 1 else ""
    return f"{base}/studies/{only}" if only else ""


def _warnings(results: Sequence[Result]) -> list[str]:
    """Why instances were refused or changed: each comment once, with how many it concerns."""
    counts: dict[str, int] = {}
    for outcome in results:
        if outcome.comment:
            counts[outcome.comment] = counts.get(outcome.comment, 0) + 1
    return [f"{comment} ({count} of {len(results)})" for comment, count in list(counts.items())[:_TOLD]]


def _module(results: Sequence[Result], base: str, url: str) -> Attributes:
    """The Store Instances Response Module (PS3.18 Table I.1-1, PS3.3 C.12.1.1)."""
    failed, stored, other = [], [], []
    for outcome in results:
        if isinstance(outcome, Failure) or not outcome.sop_instance_uid:
            other.append({"00081197": attribute("US", int(outcome.status))})
        elif outcome.status.is_failure:
            failed.append(_reference(outcome) | {"00081197": attribute("US", int(outcome.status))})
        else:
            stored.append(_stored(outcome, base))
    module = {"00081190": attribute("UR", *([url] if url else []))}
    for tag, sequence in (("00081198", failed), ("00081199", stored), ("0008119A", other)):
        if sequence:
            module[tag] = attribute("SQ", *sequence)
    return module


def _reference(outcome: StoreOutcome) -> Attributes:
    return {
        "00081150": attribute("UI", *([outcome.sop_class_uid] if outcome.sop_class_uid else [])),
        "00081155": attribute("UI", outcome.sop_instance_uid),
    }


def _stored(outcome: StoreOutcome, base: str) -> Attributes:
    item = _reference(outcome)
    key = outcome.key
    if key is not None and key.study_instance_uid:
        path = f"studies/{key.study_instance_uid}/series/{key.series_instance_uid}/instances/{key.sop_instance_uid}"
        item = item | {"00081190": attribute("UR", f"{base}/{path}")}
    else:
        item = item | {"00081190": attribute("UR")}
    reason = _reason(outcome)
    return item | {"00081196": attribute("US", int(reason))} if reason else item


def _reason(outcome: StoreOutcome) -> Status | None:
    """The Warning Reason of a stored instance, if there is one."""
    return outcome.warning or (outcome.status if outcome.status.is_warning else None)
