"""Non-patient instances over HTTP (PS3.18 12): store, retrieve and search, one set of resources for each kind."""

from functools import partial
from typing import Any

import orjson
from attrs import define

from ..model import non_patient
from ..model.attributes import Attributes
from ..model.content import Piece
from ..model.query import from_parameters
from ..model.status import NotAcceptable
from ..services.non_patient import NonPatientInstances
from ..services.retrieve import StoredInstance
from ..services.storage import StoreOutcome, Target
from ..wire import media, multipart, native_model
from . import datasets, transfer
from .problems import HttpError
from .qido import PARAMETERS
from .responses import Response, json, warning
from .routes import Route
from .stow import FORMS, Stow
from .wado import ACCEPT, VARY, Wado, instance_url, ranged
from .wado_bulk import WadoBulk

_BASE = b"@@BASE@@"
# PS3.18 Table 12.1.2-1: JSON is the default.
_RETRIEVED = (media.JSON, media.DICOM, media.MULTIPART_XML, media.XML, media.MULTIPART_DICOM)
_FILES = (media.DICOM, media.MULTIPART_DICOM)


@define(eq=False)
class NonPatient:
    """All resources of PS3.18 Table 12.1-1."""

    _instances: NonPatientInstances
    _stow: Stow
    _wado: Wado
    _bulk: WadoBulk
    _disk: transfer.Disk
    _max_results: int

    def routes(self) -> list[Route]:
        """Four rows a resource."""
        return [row for resource in non_patient.RESOURCES for row in self._rows(resource)]

    def _rows(self, resource: str) -> list[Route]:
        what = resource.replace("-", " ")
        common: dict[str, Any] = {"service": "non-patient", "section": "PS3.18 12"}
        storing: dict[str, Any] = {
            "handler": partial(self.store, resource),
            "receiver": partial(self.receive, resource),
            "consumes": tuple(FORMS),
            "produces": (media.JSON, media.XML),
            "statuses": (200, 202, 400, 404, 409, 413, 415, 503, 507),
        }
        return [
            Route(f"/{resource}", ("POST",), summary=f"Store {what}", **storing, **common),
            Route(f"/{resource}/{{uid}}", ("POST",), summary=f"Store one of the {what}", **storing, **common),
            Route(
                f"/{resource}",
                ("GET",),
                partial(self.search, resource),
                f"Search {what}",
                parameters=PARAMETERS,
                produces=datasets.PRODUCES,
                statuses=(200, 204, 400, 406),
                **common,
            ),
            Route(
                f"/{resource}/{{uid}}",
                ("GET",),
                partial(self.retrieve, resource),
                f"Retrieve one of the {what}",
                parameters=(ACCEPT,),
                produces=_RETRIEVED,
                statuses=(200, 206, 304, 400, 404, 406, 416),
                **common,
            ),
            Route(
                f"/{resource}/{{uid}}/bulkdata/{{path...}}",
                ("GET",),
                partial(self.bulk_data, resource),
                f"Retrieve bulk data that the metadata of {what} refer to",
                parameters=(ACCEPT,),
                produces=(media.OCTETS, media.MULTIPART_OCTETS),
                statuses=(200, 206, 304, 400, 404, 406, 416),
                **common,
            ),
        ]

    def receive(self, resource: str, request: Any, length: int | None, uid: str = "") -> Any:
        """The body of a Store request; only SOP classes of the resource belong there."""
        target = Target(sop_class_uids=frozenset(non_patient.RESOURCES[resource]), sop_instance_uid=uid)
        return self._stow.receive(request, length, target=target)

    async def store(self, resource: str, request: Any, uid: str = "") -> Response:
        """Store (PS3.18 12.5.3): 200 when at least one instance was stored, 404 when none is of a class that belongs here."""
        response, results = await self._stow.take(request)
        outcomes = [outcome for outcome in results if isinstance(outcome, StoreOutcome)]
        stored = [outcome for outcome in outcomes if not outcome.status.is_failure]
        if response.status == 202:
            response.status = 200
        elif outcomes and all(outcome.refused_class for outcome in outcomes):
            response.status = 404
        if len(stored) == 1:
            url = f"{request.door.urls.base(request)}/{resource}/{stored[0].sop_instance_uid}"
            response.headers += [("Content-Location", url), ("Location", url)]
        return response

    async def search(self, resource: str, request: Any) -> Response:
        """Search (PS3.18 12.6.3), in order of SOP Instance UIDs."""
        wanted = transfer.accept(request).choose(datasets.PRODUCES)
        if wanted is None:
            raise HttpError(406, "this can be had as " + ", ".join(datasets.PRODUCES))
        query = from_parameters(request.pairs)
        limit = self._max_results if query.limit is None else min(query.limit, self._max_results)
        found = await self._instances.find(non_patient.fields_of(resource), query, limit)
        base = request.door.urls.base(request)
        headers = [warning(base, text) for text in query.warnings]
        if not found.matches:
            return Response(204, headers=headers)
        if found.remaining:
            headers.append(warning(base, f"There are {found.remaining} additional results that can be requested"))
        return datasets.answer(request, [_based(match, base) for match in found.matches], headers=headers)

    async def retrieve(self, resource: str, request: Any, uid: str) -> Response:
        """Retrieve (PS3.18 12.4.3): the data set as JSON or XML, or the file in a transfer syntax that the client takes."""
        found = await self._instances.select(non_patient.RESOURCES[resource], uid)
        for offer, wanted in transfer.accept(request).candidates(_RETRIEVED):
            if offer not in _FILES:
                return await self._data_set(request, found, offer)
            try:
                return await self._wado.planned(request, found, offer, wanted)
            except NotAcceptable:
                continue
        raise NotAcceptable("this can be had as " + ", ".join(_RETRIEVED))

    async def _data_set(self, request: Any, found: StoredInstance, form: str) -> Response:
        base = request.door.urls.base(request)
        url = instance_url(base, found)
        headers = [("Content-Location", url), VARY]
        written = (await self._instances.metadata(found)).replace(_BASE, base.encode())
        if form == media.JSON:
            return json(b"[" + written + b"]", headers=headers)
        document = native_model.to_xml(orjson.loads(written))
        if form == media.XML:
            return Response(200, document, media.XML, headers)
        parts: list[tuple[dict[str, str], list[Piece]]] = [({"Content-Type": media.XML, "Content-Location": url}, [document])]
        boundary, pieces = transfer.multipart_response(parts, found.digest[:16].hex())
        return ranged(request, pieces, multipart.content_type(media.XML, boundary), [VARY], self._disk)

    async def bulk_data(self, resource: str, request: Any, uid: str, path: str) -> Response:
        """One value that the metadata refer to."""
        found = await self._instances.select(non_patient.RESOURCES[resource], uid)
        return await self._bulk.of(request, found, path)


def _based(attributes: Attributes, base: str) -> Attributes:
    """With the service's URL where prepared metadata hold a placeholder."""
    text = orjson.dumps(attributes)
    if _BASE not in text:
        return attributes
    based: Attributes = orjson.loads(text.replace(_BASE, base.encode()))
    return based
