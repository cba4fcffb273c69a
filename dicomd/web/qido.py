"""Search of studies, series and instances: QIDO-RS (PS3.18 10.6)."""

from typing import Any

import orjson

from ..model.keys import Level
from ..model.order import PARAMETER as ORDER
from ..model.query import from_parameters
from ..services.query import Answer, Search
from ..wire import media, native_model
from . import datasets, transfer
from .problems import HttpError
from .responses import Response, json, warning
from .routes import Parameter, Route

_BASE = "@@BASE@@"
_STUDY, _SERIES, _INSTANCE = Level.STUDY, Level.SERIES, Level.IMAGE
_UID_TAGS = {"study": "0020000D", "series": "0020000E"}

PARAMETERS = (
    Parameter("limit", "The most matches to return", "integer"),
    Parameter("offset", "How many matches to pass over", "integer"),
    Parameter("includefield", "Attributes to return: tags, keywords or paths, separated by commas; or all"),
    Parameter("fuzzymatching", "Match persons' names fuzzily", "boolean"),
    Parameter("emptyvaluematching", 'Let "" match absent and empty attributes', "boolean"),
    Parameter("multiplevaluematching", "Let a list of values match attributes that have all of them", "boolean"),
    Parameter("TimezoneOffsetFromUTC", "The clock of dates and times in keys and answers, such as +0100"),
)
_ORDER = Parameter(ORDER, "Own extension: attributes to order by, separated by commas, - for descending")
# PS3.18 Table 10.6.1-2: resource, level, and the levels whose attributes are returned
_RESOURCES = (
    ("/studies", _STUDY, (_STUDY,), "Search studies"),
    ("/studies/{study}/series", _SERIES, (_SERIES,), "Search the series of a study"),
    ("/studies/{study}/instances", _INSTANCE, (_SERIES, _INSTANCE), "Search the instances of a study"),
    ("/studies/{study}/series/{series}/instances", _INSTANCE, (_INSTANCE,), "Search the instances of a series"),
    ("/series", _SERIES, (_STUDY, _SERIES), "Search series"),
    ("/instances", _INSTANCE, (_STUDY, _SERIES, _INSTANCE), "Search instances"),
)


class Qido:
    """The six resources of the search transaction."""

    def __init__(self, search: Search) -> None:
        self._search = search

    def routes(self) -> list[Route]:
        """One row a resource."""
        return [
            Route(
                path,
                ("GET",),
                self._handler(level, always),
                summary,
                service="search",
                section="10.6",
                parameters=(*PARAMETERS, _ORDER),
                produces=datasets.PRODUCES,
                statuses=(200, 204, 400, 406, 503),
            )
            for path, level, always, summary in _RESOURCES
        ]

    def _handler(self, level: Level, always: tuple[Level, ...]) -> Any:
        async def handle(request: Any, **uids: str) -> Response:
            """Search (PS3.18 10.6.3); an unknown study or series in the path has no series or instances."""
            wanted = transfer.accept(request).choose(datasets.PRODUCES)
            if wanted is None:
                raise HttpError(406, "this can be had as " + ", ".join(datasets.PRODUCES))
            fixed = {_UID_TAGS[name]: uid for name, uid in uids.items()}
            query = from_parameters(request.pairs, level=level, fixed=fixed)
            return _response(request, wanted, await self._search.find(query, always=always))

        return handle


def _response(request: Any, wanted: str, answer: Answer) -> Response:
    base = request.door.urls.base(request)
    headers = [warning(base, text) for text in answer.warnings]
    if not answer.matches:
        return Response(204, headers=headers)
    if answer.remaining:
        headers.append(warning(base, f"There are {answer.remaining} additional results that can be requested"))
    text = f"[{','.join(answer.matches)}]".replace(_BASE, base)
    if wanted == media.JSON:
        return json(text.encode(), headers=headers)
    documents = [native_model.to_xml(attributes) for attributes in orjson.loads(text)]
    return datasets.documents(documents, headers)
