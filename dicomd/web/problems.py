"""Refusals: the one map from exceptions to HTTP statuses, and the problem body (RFC 9457) that tells why.

No traceback and no HTML ever; an exception that is not foreseen is logged with the request's id and answered 500.
"""

import orjson
from attrs import define, field

from ..model.status import (
    Busy,
    Damaged,
    Gone,
    InvalidRequest,
    NoSuchInstance,
    NotAcceptable,
    ServiceError,
    Status,
    StorageFull,
    TooLarge,
    Undecodable,
)
from .responses import Response

TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    408: "Request Timeout",
    409: "Conflict",
    410: "Gone",
    411: "Length Required",
    412: "Precondition Failed",
    413: "Content Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    416: "Range Not Satisfiable",
    426: "Upgrade Required",
    428: "Precondition Required",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
    507: "Insufficient Storage",
}

_BY_CLASS: tuple[tuple[type[ServiceError], int], ...] = (
    (Gone, 410),
    (NoSuchInstance, 404),
    (StorageFull, 507),
    (Busy, 503),
    (TooLarge, 413),
    (NotAcceptable, 406),
    (InvalidRequest, 400),
    (Undecodable, 400),
    (Damaged, 500),
)

# PS3.18 11.5-11.12 tables of status codes for the UPS statuses; PS3.7 C.4 for the others.
_BY_STATUS = {
    Status.NO_SUCH_SOP_INSTANCE: 404,
    Status.UPS_UNKNOWN: 404,
    Status.UPS_RECEIVING_AE_UNKNOWN: 404,
    Status.NO_SUCH_SOP_CLASS: 404,
    Status.NOT_AUTHORISED: 403,
    Status.UPS_EVENTS_UNSUPPORTED: 403,
    Status.OUT_OF_RESOURCES: 503,
    Status.RESOURCE_LIMITATION: 503,
    Status.DUPLICATE_SOP_INSTANCE: 409,
    Status.DUPLICATE_TRANSACTION_UID: 409,
    Status.SOP_CLASS_NOT_SUPPORTED: 409,
    Status.DOES_NOT_MATCH_SOP_CLASS: 409,
    Status.MAY_NO_LONGER_BE_UPDATED: 409,
    Status.UPS_ALREADY_IN_PROGRESS: 409,
    Status.UPS_FINAL_STATE_NOT_MET: 409,
    Status.UPS_NOT_IN_PROGRESS: 409,
    Status.UPS_COMPLETED: 409,
    Status.UPS_PERFORMER_UNREACHABLE: 409,
    Status.UPS_PERFORMER_REFUSES: 409,
    Status.PROCESSING_FAILURE: 409,
    Status.UNRECOGNISED_OPERATION: 501,
}


@define
class HttpError(Exception):
    """A refusal that only this door knows: method, media type, size of a header."""

    status: int
    detail: str
    headers: list[tuple[str, str]] = field(factory=list)

    def __str__(self) -> str:
        return f"{self.status}: {self.detail}"


def status_of(error: ServiceError) -> int:
    """The HTTP status of a refusal by the core: by its class, else by its DIMSE status, else 400."""
    for kind, status in _BY_CLASS:
        if isinstance(error, kind):
            return status
    return _BY_STATUS.get(error.status, 400)


def response(error: HttpError | ServiceError, request_id: str) -> Response:
    """The answer that tells the client why."""
    if isinstance(error, HttpError):
        return problem(error.status, error.detail, request_id, list(error.headers))
    status = status_of(error)
    return problem(status, error.comment, request_id, [("Retry-After", "2")] if status == 503 else [])


def problem(status: int, detail: str, request_id: str, headers: list[tuple[str, str]] | None = None) -> Response:
    """A problem body that names what was wrong."""
    title = TITLES.get(status, "Error")
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "requestId": request_id}
    return Response(status, orjson.dumps(body), "application/problem+json", headers or [])
