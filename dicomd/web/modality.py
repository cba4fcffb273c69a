"""Modality worklist (PS3.18 chapter 14) and performed procedure steps (chapter 15).

Extensions, beside the standard's transactions: entries are entered, read and removed; the performed steps of an entry, and the
instances of a performed step, can be listed.
"""

from typing import Any

import orjson

from ..model.query import from_parameters, read_path
from ..model.status import InvalidRequest
from ..services.performed_steps import PerformedSteps
from ..services.worklist import Worklist
from . import datasets
from .problems import HttpError
from .responses import Response, warning
from .routes import Parameter, Route

STEPS = "/modality-scheduled-procedure-steps"
PERFORMED = "/modality-performed-procedure-steps"
# A worklist entry is small; an order of a thousand of them is still less.
LARGEST_BODY = 4 << 20

SEARCH = (
    Parameter("limit", "The most matches to return", "integer"),
    Parameter("offset", "How many matches to pass over", "integer"),
    Parameter("includefield", "Attributes to return: tags, keywords or paths, separated by commas; or all"),
    Parameter("fuzzymatching", "Match persons' names fuzzily", "boolean"),
)


class ModalityWorklist:
    """Search, and the ways in and out of the worklist."""

    def __init__(self, worklist: Worklist, max_results: int) -> None:
        self._worklist, self._max_results = worklist, max_results

    def routes(self) -> list[Route]:
        common: dict[str, Any] = {"service": "worklist", "section": "14"}
        listed: dict[str, Any] = {"consumes": datasets.CONSUMES, "largest_body": LARGEST_BODY, **common}
        return [
            Route(
                STEPS,
                ("GET",),
                self.search,
                "Search scheduled procedure steps",
                parameters=SEARCH,
                produces=datasets.PRODUCES,
                statuses=(200, 204, 400, 406, 503),
                **common,
            ),
            Route(
                STEPS,
                ("POST",),
                self.enter,
                "Enter or update scheduled procedure steps (extension)",
                statuses=(200, 201, 400, 415),
                **listed,
            ),
            Route(
                STEPS + "/{step}",
                ("GET",),
                self.retrieve,
                "Read one entry (extension)",
                produces=datasets.PRODUCES,
                statuses=(200, 404, 406, 410),
                **common,
            ),
            Route(
                STEPS + "/{step}",
                ("DELETE",),
                self.remove,
                "Take one entry from the worklist (extension)",
                statuses=(204, 404, 410),
                **common,
            ),
            Route(
                STEPS + "/{step}/performed",
                ("GET",),
                self.performed,
                "The performed steps of an entry (extension)",
                produces=("application/json",),
                statuses=(200, 404),
                **common,
            ),
        ]

    async def search(self, request: Any) -> Response:
        """Search (PS3.18 14.4): one match a scheduled procedure step, ordered by start."""
        query = from_parameters([pair for pair in request.pairs if pair[0] not in ("accept", "charset")])
        limit = self._max_results if query.limit is None else min(query.limit, self._max_results)
        found = await self._worklist.find(query, limit)
        service = request.door.urls.base(request)
        headers = [warning(service, text) for text in query.warnings]
        if found.remaining and found.matches:
            text = f"There are {found.remaining} additional results that can be requested"
            headers.append(warning(service, text))
        if not found.matches:
            return Response(204, headers=headers)
        return datasets.answer_ready(request, found.matches, headers=headers)

    async def enter(self, request: Any) -> Response:
        """201 with Location when there is a new entry, else 200; the rows' URLs in the body."""
        entered = await self._worklist.enter(await datasets.read(request))
        if not entered:
            raise InvalidRequest("expected at least one data set in the body")
        urls = [f"{request.door.urls.base(request)}{STEPS}/{entry.row}" for entry in entered]
        created = any(entry.created for entry in entered)
        body = orjson.dumps([{"url": url, "created": entry.created} for url, entry in zip(urls, entered, strict=True)])
        return Response(201 if created else 200, body, "application/json", [("Location", urls[0])])

    async def retrieve(self, request: Any, step: str) -> Response:
        return datasets.answer(request, [await self._worklist.retrieve(_row(step))])

    async def remove(self, request: Any, step: str) -> Response:
        await self._worklist.remove(_row(step))
        return Response(204)

    async def performed(self, request: Any, step: str) -> Response:
        base = request.door.urls.base(request)
        found = await self._worklist.performed(_row(step))
        return Response(200, orjson.dumps([f"{base}{PERFORMED}/{uid}" for uid in found]), "application/json")


def _row(step: str) -> int:
    if not step.isascii() or not step.isdecimal() or len(step) > 18:
        raise HttpError(404, "there is no such worklist entry")
    return int(step)


class PerformedProcedureSteps:
    """Create, update, retrieve (PS3.18 15.4 to 15.6)."""

    def __init__(self, steps: PerformedSteps) -> None:
        self._steps = steps

    def routes(self) -> list[Route]:
        common: dict[str, Any] = {"service": "performed-steps", "section": "15"}
        one = PERFORMED + "/{uid}"
        return [
            Route(
                one,
                ("POST",),
                self.create_or_update,
                "Create a performed procedure step, or with ?update change it",
                parameters=(Parameter("update", "Change the step instead of creating it; has no value"),),
                consumes=datasets.CONSUMES,
                statuses=(200, 201, 400, 404, 409, 415, 503),
                largest_body=LARGEST_BODY,
                **common,
            ),
            Route(
                one,
                ("GET",),
                self.retrieve,
                "Read a performed procedure step",
                parameters=(Parameter("includefield", "Attributes to return: tags or keywords; or all"),),
                produces=datasets.PRODUCES,
                statuses=(200, 400, 404, 406),
                **common,
            ),
            Route(
                one + "/links",
                ("GET",),
                self.links,
                "Its scheduled steps, and the instances it names (extension)",
                produces=("application/json",),
                statuses=(200, 404),
                **common,
            ),
        ]

    async def create_or_update(self, request: Any, uid: str) -> Response:
        """15.4 Create, 15.5 Update."""
        data_set = await datasets.read_one(request)
        named = data_set.get("00080018", {}).get("Value", [uid])
        if named != [uid]:
            raise InvalidRequest("(0008,0018) is not the UID of the path", offending=(0x00080018,))
        if any(name == "update" for name, _ in request.pairs):
            await self._steps.update(uid, data_set)
            return Response(200)
        await self._steps.create(uid, data_set)
        return Response(201, headers=[("Location", f"{request.door.urls.base(request)}{PERFORMED}/{uid}")])

    async def retrieve(self, request: Any, uid: str) -> Response:
        """15.6 Retrieve."""
        return datasets.answer(request, [await self._steps.retrieve(uid, _included(request.pairs))])

    async def links(self, request: Any, uid: str) -> Response:
        found = await self._steps.links(uid)
        base = request.door.urls.base(request)
        body: dict[str, Any] = {
            "scheduled": [
                {
                    "AccessionNumber": step.accession_number,
                    "StudyInstanceUID": step.study_instance_uid,
                    "ScheduledProcedureStepID": step.step_id,
                    "url": None if row is None else f"{base}{STEPS}/{row}",
                }
                for step, row in found.scheduled
            ],
            "instances": [{"SOPInstanceUID": instance, "stored": stored} for instance, stored in found.instances],
        }
        return Response(200, orjson.dumps(body), "application/json")


def _included(pairs: list[tuple[str, str]]) -> list[str] | None:
    """The tags that `includefield` names; None for all."""
    names = [name for key, value in pairs if key == "includefield" for name in value.split(",") if name]
    if not names or names == ["all"]:
        return None
    if "all" in names:
        raise InvalidRequest("includefield: all excludes other names")
    paths = {name: read_path(name) for name in names}
    if unknown := [name for name, path in paths.items() if path is None]:
        raise InvalidRequest(f"includefield: {unknown[0][:64]} is no attribute")
    return [path[0] for path in paths.values() if path]
