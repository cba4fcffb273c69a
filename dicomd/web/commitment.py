"""Storage commitment (PS3.18 chapter 13): request, and result check."""

from typing import Any

import orjson

from ..model.attributes import Attributes
from ..services.commitment import StorageCommitment
from ..wire import media, native_model
from . import datasets, transfer
from .problems import HttpError
from .responses import Response
from .routes import Route

REQUESTS = "/commitment-requests/{transaction}"
# What is checked within this time is answered at once.
PATIENCE_SECONDS = 1.0
RETRY_SECONDS = "5"
# A hundred thousand references, in XML.
LARGEST_BODY = 64 << 20


class Commitment:
    """The resource of one request."""

    def __init__(self, commitment: StorageCommitment) -> None:
        self._commitment = commitment

    def routes(self) -> list[Route]:
        common: dict[str, Any] = {"service": "commitment", "section": "13", "produces": datasets.PRODUCES}
        return [
            Route(
                REQUESTS,
                ("POST",),
                self.request,
                "Request storage commitment",
                consumes=datasets.CONSUMES,
                statuses=(200, 202, 400, 406, 409, 415, 503),
                largest_body=LARGEST_BODY,
                **common,
            ),
            Route(
                REQUESTS,
                ("GET",),
                self.result,
                "Result of a storage commitment request",
                statuses=(200, 202, 404, 406, 410, 503),
                **common,
            ),
        ]

    async def request(self, request: Any, transaction: str) -> Response:
        """13.4: 200 with the result when it is there at once, else 202."""
        chosen = _form(request)
        remembered = await self._commitment.remember(transaction, await datasets.read(request))
        self._commitment.begin(remembered)
        return _answer(await self._commitment.result(transaction, PATIENCE_SECONDS), chosen)

    async def result(self, request: Any, transaction: str) -> Response:
        """13.5."""
        chosen = _form(request)
        return _answer(await self._commitment.result(transaction), chosen)


def _form(request: Any) -> str:
    chosen = transfer.accept(request).choose((media.JSON, media.XML, media.MULTIPART_XML))
    if chosen is None:
        raise HttpError(406, f"the result can be had as {media.JSON} or {media.XML}")
    return chosen


def _answer(result: Attributes | None, chosen: str) -> Response:
    """One object; nothing while the result is pending."""
    if result is None:
        return Response(202, headers=[("Retry-After", RETRY_SECONDS)])
    if chosen == media.JSON:
        return Response(200, orjson.dumps(result), media.JSON)
    document = native_model.to_xml(result)
    return Response(200, document, media.XML) if chosen == media.XML else datasets.documents([document], [])
