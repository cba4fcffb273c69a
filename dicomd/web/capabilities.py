"""Retrieve Capabilities (PS3.18 8.9): what OPTIONS tells, OpenAPI, and the page for people, all made of the route table."""

import hashlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import orjson

from . import conformance, openapi, transfer, wadl
from .conformance import Table
from .problems import HttpError
from .responses import Response
from .routes import Match, Route, RouteTable

HTML = "text/html"
_OPENAPI = "application/vnd.oai.openapi+json"
# What OPTIONS answers with; the first is the default (PS3.18 Table 8.9.4-1).
_OFFERS = (wadl.XML, wadl.JSON, _OPENAPI, HTML)


class Capabilities:
    """Describes the rows of the table that it is given with `describe`. `further()`: tables of the other door."""

    def __init__(self, version: str, further: Callable[[], Iterable[Table]] = tuple) -> None:
        self._version, self._further = version, further
        self._rows: tuple[Route, ...] = ()
        self._cached = lru_cache(maxsize=64)(self._document)

    def describe(self, table: RouteTable) -> None:
        """The table that is served."""
        self._rows = table.rows

    def routes(self) -> list[Route]:
        def row(path: str, handler: Any, summary: str, produces: str, statuses: tuple[int, ...] = (200, 304)) -> Route:
            return Route(
                path,
                ("GET",),
                handler,
                summary,
                service="capabilities",
                section="PS3.18 8.9",
                produces=(produces,) if produces else (),
                statuses=statuses,
                rooted=path != "/",
            )

        return [
            Route(
                "/",
                ("OPTIONS",),
                self.capabilities,
                "Retrieve Capabilities",
                service="capabilities",
                section="PS3.18 8.9",
                produces=_OFFERS,
                statuses=(200, 304, 406),
            ),
            row("/", self.welcome, "The way to the page for people", "", (303,)),
            row("/conformance", self.conformance, "What the server does, for people", HTML),
            row("/openapi.json", self.openapi, "OpenAPI 3.1 description of all resources", _OPENAPI),
            row("/capabilities", self.capabilities, "Capabilities description (WADL) of all resources", wadl.XML),
        ]

    async def welcome(self, request: Any) -> Response:
        """A person who only knows host and port."""
        return Response(303, headers=[("Location", f"{request.door.urls.base(request)}/conformance")])

    async def conformance(self, request: Any) -> Response:
        return self._answer(request, HTML, "")

    async def openapi(self, request: Any) -> Response:
        return self._answer(request, _OPENAPI, "")

    async def capabilities(self, request: Any) -> Response:
        return self._answer(request, wadl.XML, "")

    def options(self, request: Any, match: Match) -> Response:
        """The description of one resource, or of all at the root; in a form that the client takes, else none."""
        chosen = transfer.accept(request).choose(_OFFERS)
        if chosen is None:
            raise HttpError(406, f"a description can be {', '.join(_OFFERS)}")
        return self._answer(request, chosen, "" if match.path == "/" else match.path)

    def _answer(self, request: Any, form: str, path: str) -> Response:
        body = self._cached(request.door.urls.base(request), form, path)
        etag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
        if transfer.not_modified(request, etag):
            return Response(304, headers=[("ETag", etag)])
        content_type = {HTML: "text/html; charset=utf-8", _OPENAPI: openapi.MEDIA_TYPE}.get(form, form)
        return Response(200, body, content_type, [("ETag", etag), ("Vary", "Accept")])

    def _document(self, base: str, form: str, path: str) -> bytes:
        """`path`: only the rows of this path; all when empty."""
        rows = [row for row in self._rows if not path or row.path == path]
        if form == _OPENAPI:
            return orjson.dumps(openapi.document(rows, base, self._version))
        if form == HTML:
            return conformance.page(rows, base, self._version, () if path else self._further())
        document = wadl.document(rows, base)
        return wadl.to_xml(document) if form == wadl.XML else orjson.dumps(wadl.to_json(document))
