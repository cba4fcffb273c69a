"""Store (PS3.18 10.5): the resources, the forms of a request body, and the response.

A form of request body is a class of its own that makes instances of what arrives (`stow_instances`, `stow_metadata`); `FORMS`
names them by media type.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import orjson

from ..model import non_patient
from ..model.attributes import Attributes, attribute
from ..model.status import NotAcceptable, Status, TooLarge
from ..model.transfer_syntaxes import DEFAULT_OF_MEDIA_TYPE
from ..services.storage import ANYWHERE, Storage, StoreOutcome, Target
from ..wire import media, native_model
from ..wire.multipart import MalformedMultipart
from . import transfer
from .problems import HttpError, status_of
from .receipt import Failure, Receipt, Result
from .responses import Response, warning
from .routes import Route
from .stow_instances import Instances, SinglePart
from .stow_metadata import BulkSource, Metadata

_TOLD = 5


Form = Callable[["Stow", Receipt, media.MediaType], Any]


def _boundary(content_type: media.MediaType) -> str:
    boundary = content_type.parameter("boundary")
    if not boundary:
        raise HttpError(400, "Content-Type multipart/related: the boundary parameter is missing")
    return boundary


def _metadata(stow: "Stow", receipt: Receipt, content_type: media.MediaType) -> Any:
    if content_type.name == "multipart/related":
        _boundary(content_type)
    return Metadata(receipt, stow.bulk.begin(), receipt.request.door.settings.max_body, content_type)


# The request bodies of PS3.18 Table 10.5.2-1, by the type of the body or of its root part. Bulk data as the type of the whole
# are metadata with bulk data all the same: each part says what it is.
FORMS: dict[str, Form] = {
    media.MULTIPART_DICOM: lambda stow, receipt, kind: Instances(receipt, _boundary(kind)),
    media.DICOM: lambda stow, receipt, kind: SinglePart(receipt),
    **{f'multipart/related; type="{name}"': _metadata for name in (media.JSON, media.XML, *DEFAULT_OF_MEDIA_TYPE)},
    media.JSON: _metadata,
    media.XML: _metadata,
}


class Stow:
    """The Store resources. `most`: the largest request body in bytes, 0 for no limit."""

    def __init__(self, storage: Storage, bulk: BulkSource, most: int = 0) -> None:
        self._storage, self.bulk, self._most = storage, bulk, most

    def routes(self) -> list[Route]:
        return [
            Route(
                path,
                ("POST", "PUT"),
                self.store,
                summary,
                service="store",
                section="PS3.18 10.5",
                consumes=tuple(FORMS),
                produces=(media.JSON, media.XML),
                statuses=(200, 202, 400, 409, 413, 415, 503, 507),
                receiver=self.receive,
            )
            for path, summary in (
                ("/studies", "Store instances of any study"),
                ("/studies/{study}", "Store instances of one study"),
            )
        ]

    def receive(self, request: Any, length: int | None, study: str = "", *, target: Target = ANYWHERE) -> Any:
        """The body's form, chosen by its Content-Type; refused before it is read when the answer could not be given."""
        form, content_type = _form(request.header(b"Content-Type"))
        _response_type(request)
        if self._most and length is not None and length > self._most:
            raise TooLarge(f"the request has more than {self._most} bytes")
        try:
            return form(self, Receipt(self._storage, request, Target(study) if study else target, self._most), content_type)
        except MalformedMultipart as error:
            raise HttpError(400, f"Content-Type multipart/related: {error}") from None

    async def store(self, request: Any, study: str = "") -> Response:
        """Store Instances Response Module for what arrived (PS3.18 10.5.3)."""
        response, _ = await self.take(request, study)
        return response

    async def take(self, request: Any, study: str = "") -> tuple[Response, list[Result]]:
        """The same, with what became of each instance."""
        if request.receiver is None:
            raise HttpError(400, "the request holds no instance")
        await request.receiver.complete()
        receipt: Receipt = request.receiver.receipt
        results = [await result for result in receipt.results]
        if not results:
            raise HttpError(400, receipt.error or "the request holds no instance")
        return respond(results, request, study), results


@lru_cache(maxsize=256)
def _form(header: bytes | None) -> tuple[Form, media.MediaType]:
    supported = ", ".join(FORMS)
    try:
        content_type = media.media_type((header or b"").decode("latin-1"))
    except ValueError:
        raise HttpError(415, f"Content-Type: expected one of {supported}", [("Accept", supported)]) from None
    name = content_type.name
    if name == "multipart/related":
        name = f'multipart/related; type="{content_type.part_type or media.DICOM}"'
    if name not in FORMS:
        raise HttpError(415, f"Content-Type {name}: expected one of {supported}", [("Accept", supported)])
    return FORMS[name], content_type


def _response_type(request: Any) -> str:
    chosen = _choose(transfer.accept(request))
    if chosen is None:
        raise NotAcceptable(f"the response can be {media.JSON} or {media.XML}")
    return media.JSON if chosen == media.JSON else media.XML


@lru_cache(maxsize=256)
def _choose(accept: media.Accept) -> str | None:
    return accept.choose((media.JSON, media.XML, media.MULTIPART_XML))


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
    reasons = {status_of(outcome.error) if outcome.error is not None else 503 for outcome in results}
    if all(outcome.status == Status.OUT_OF_RESOURCES for outcome in results):
        return reasons.pop() if len(reasons) == 1 else 503
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


# PS3.18 12.1: a non-patient instance is a resource of its own, outside every study.
_NAMES = {uid: name for name, uids in non_patient.RESOURCES.items() for uid in uids}


def _reference(outcome: StoreOutcome) -> Attributes:
    return {
        "00081150": attribute("UI", *([outcome.sop_class_uid] if outcome.sop_class_uid else [])),
        "00081155": attribute("UI", outcome.sop_instance_uid),
    }


def _stored(outcome: StoreOutcome, base: str) -> Attributes:
    item = _reference(outcome)
    key = outcome.key
    name = _NAMES.get(outcome.sop_class_uid)
    if key is not None and name is not None:
        item = item | {"00081190": attribute("UR", f"{base}/{name}/{key.sop_instance_uid}")}
    elif key is not None and key.study_instance_uid:
        path = f"studies/{key.study_instance_uid}/series/{key.series_instance_uid}/instances/{key.sop_instance_uid}"
        item = item | {"00081190": attribute("UR", f"{base}/{path}")}
    else:
        item = item | {"00081190": attribute("UR")}
    reason = _reason(outcome)
    return item | {"00081196": attribute("US", int(reason))} if reason else item


def _reason(outcome: StoreOutcome) -> Status | None:
    """The Warning Reason of a stored instance, if there is one."""
    return outcome.warning or (outcome.status if outcome.status.is_warning else None)
