"""Worklist service UPS-RS (PS3.18 chapter 11): resources of the work items, their subscribers and the event channels."""

from typing import Any
from urllib.parse import quote, unquote

from ..model.attributes import Attributes, text
from ..model.identifiers import is_uid
from ..model.query import from_parameters
from ..model.status import InvalidRequest, ServiceError, Status
from ..model.steps import Key
from ..model.workitem_attributes import FILTERED_SUBSCRIPTION, STATE, TRANSACTION_UID
from ..model.workitem_filters import from_parameters as new_filter
from ..services.workitems import Workitems
from . import datasets
from .event_channel import EventChannels
from .problems import HttpError, status_of
from .qido import PARAMETERS
from .responses import Response, warning
from .routes import Parameter, Route

ITEMS = "/workitems"
ITEM = ITEMS + "/{workitem}"
SUBSCRIBER = ITEM + "/subscribers/{aet}"
CHANNEL = "/subscribers/{aet}"
LARGEST_BODY = 4 << 20

UID = Parameter("workitem", "SOP Instance UID of the new work item; otherwise the payload has it, or the server makes it")
KEY = Parameter("transaction-uid", "Transaction UID of the work item's performer")
REQUESTER = Parameter("requester", "AE title of who asks")
LOCK = Parameter("deletionlock", "Keep the work item until its subscriber has let go of it", "boolean")
FILTER = Parameter("filter", "For the filtered worklist: attribute=value, separated by commas, percent-encoded")

_CREATE_UID = ("workitem", "affectedsopinstanceuid")
_UPDATE_UID = ("transaction-uid", "transaction", "transactionuid")
_MODIFIED = "The Workitem was {} with modifications."
_INCONSISTENT_UPDATE = "The submitted request is inconsistent with the current state of the Workitem."
_INCONSISTENT_STATE = "The submitted request is inconsistent with the state of the UPS Instance."
_MISSING, _INCORRECT = "The Transaction UID is missing.", "The Transaction UID is incorrect."
_ALREADY = "The UPS is already in the requested state of {}."

# Statuses of each transaction -> text of the Warning (PS3.18 11.4.3 to 11.8.3)
_CREATED = {Status.UPS_CREATED_WITH_MODIFICATIONS: _MODIFIED.format("created")}
_UPDATED = {
    Status.UPS_COERCED: _MODIFIED.format("updated"),
    Status.OPTIONAL_UNSUPPORTED: "Requested optional Attributes are not supported.",
    Status.UPS_NOT_IN_PROGRESS: "The target URI did not reference a claimed Workitem.",
    Status.UPS_MAY_NO_LONGER_BE_UPDATED: _INCONSISTENT_UPDATE,
}
_CHANGED = {
    Status.UPS_ALREADY_CANCELED: _ALREADY.format("CANCELED"),
    Status.UPS_ALREADY_COMPLETED: _ALREADY.format("COMPLETED"),
    Status.UPS_MAY_NO_LONGER_BE_UPDATED: _INCONSISTENT_STATE,
    Status.UPS_ALREADY_IN_PROGRESS: _INCONSISTENT_STATE,
    Status.UPS_MAY_NOT_BECOME_SCHEDULED: _INCONSISTENT_STATE,
    Status.UPS_FINAL_STATE_NOT_MET: _INCONSISTENT_STATE,
    Status.UPS_NOT_IN_PROGRESS: _INCONSISTENT_STATE,
}
_CANCELED = {
    Status.UPS_ALREADY_CANCELED: _ALREADY.format("CANCELED"),
    Status.UPS_COMPLETED: "The UPS is already COMPLETED.",
    Status.UPS_PERFORMER_REFUSES: "Performer chooses not to cancel.",
    Status.UPS_PERFORMER_UNREACHABLE: "The performer cannot be contacted.",
}


class UpsRs:
    """The resources; `ae_title` asks for cancellations of clients that do not say who they are."""

    def __init__(self, workitems: Workitems, channels: EventChannels, max_results: int, ae_title: str) -> None:
        self._workitems, self._channels = workitems, channels
        self._max_results, self._ae_title = max_results, ae_title

    def routes(self) -> list[Route]:
        """One row a transaction, and more where it has several spellings."""
        return [*self._item_rows(), *self._state_rows(), *self._subscriber_rows()]

    def _item_rows(self) -> list[Route]:
        common: dict[str, Any] = {"service": "workitems", "largest_body": LARGEST_BODY}
        body: dict[str, Any] = {"consumes": datasets.CONSUMES}
        answer: dict[str, Any] = {"produces": datasets.PRODUCES}
        return [
            Route(
                ITEMS,
                ("POST",),
                self.create,
                "Create a work item",
                section="11.4",
                parameters=(UID,),
                statuses=(201, 400, 409, 415, 503),
                **body,
                **common,
            ),
            Route(
                ITEMS,
                ("GET",),
                self.search,
                "Search work items",
                section="11.9",
                parameters=PARAMETERS,
                statuses=(200, 204, 206, 400, 406, 503),
                **answer,
                **common,
            ),
            Route(
                ITEM,
                ("GET",),
                self.retrieve,
                "Retrieve a work item",
                section="11.5",
                statuses=(200, 404, 406, 410),
                **answer,
                **common,
            ),
            Route(
                ITEM,
                ("POST",),
                self.update,
                "Update a work item",
                section="11.6",
                parameters=(KEY,),
                statuses=(200, 400, 404, 409, 410, 415, 503),
                **body,
                **common,
            ),
        ]

    def _state_rows(self) -> list[Route]:
        common: dict[str, Any] = {"service": "workitems", "largest_body": LARGEST_BODY, "consumes": datasets.CONSUMES}
        return [
            row
            for suffix in ("", "/{aet}")
            for row in (
                Route(
                    ITEM + "/state" + suffix,
                    ("PUT",),
                    self.change_state,
                    "Change the state of a work item",
                    section="11.7",
                    statuses=(200, 400, 404, 409, 410, 415, 503),
                    **common,
                ),
                Route(
                    ITEM + "/cancelrequest" + suffix,
                    ("POST",),
                    self.request_cancel,
                    "Request the cancellation of a work item",
                    section="11.8",
                    parameters=(REQUESTER,),
                    statuses=(202, 400, 404, 409, 410, 415, 503),
                    **common,
                ),
            )
        ]

    def _subscriber_rows(self) -> list[Route]:
        common: dict[str, Any] = {"service": "workitems", "largest_body": 0}
        ended = (200, 400, 404, 410)
        return [
            Route(
                SUBSCRIBER,
                ("POST",),
                self.subscribe,
                "Subscribe to a work item or to a worklist",
                section="11.10",
                parameters=(LOCK, FILTER),
                statuses=(201, 400, 403, 404, 410),
                **common,
            ),
            Route(SUBSCRIBER, ("DELETE",), self.unsubscribe, "Unsubscribe", section="11.11", statuses=ended, **common),
            Route(
                SUBSCRIBER + "/suspend",
                ("POST",),
                self.suspend,
                "Suspend a global subscription",
                section="11.12",
                statuses=ended,
                **common,
            ),
            *(
                Route(
                    path,
                    ("GET",),
                    self.open_channel,
                    "Event channel (WebSocket)",
                    section="8.10",
                    statuses=(101, 400, 403),
                    **common,
                )
                for path in (CHANNEL, "/ws" + CHANNEL)
            ),
        ]

    # ---- items

    async def create(self, request: Any) -> Response:
        """Create Workitem (PS3.18 11.4)."""
        attributes = await datasets.read_one(request)
        uid, status = await self._workitems.create(_uid_parameter(request, _CREATE_UID), attributes)
        service = request.door.urls.base(request)
        location = ("Location", f"{service}{ITEMS}/{uid}")
        return Response(201, headers=[location, *_warnings(service, status, _CREATED)])

    async def retrieve(self, request: Any, workitem: str) -> Response:
        """Retrieve Workitem (PS3.18 11.5)."""
        content = await self._workitems.retrieve(workitem)
        location = ("Content-Location", f"{request.door.urls.base(request)}{ITEMS}/{workitem}")
        return datasets.answer_ready(request, [content], headers=[location])

    async def update(self, request: Any, workitem: str) -> Response:
        """Update Workitem (PS3.18 11.6)."""
        changes = await datasets.read_one(request)
        given = _uid_parameter(request, _UPDATE_UID)
        return await _told(request, self._workitems.update(workitem, given, changes), _UPDATED, 200)

    async def search(self, request: Any) -> Response:
        """Search for Workitems (PS3.18 11.9); 206 when there are more that can be asked for."""
        pairs = [pair for pair in request.pairs if pair[0] not in ("TransactionUID", TRANSACTION_UID)]
        query = from_parameters(pairs)
        service = request.door.urls.base(request)
        headers = [warning(service, words) for words in query.warnings]
        limit = self._max_results if query.limit is None else min(query.limit, self._max_results)
        page = await self._workitems.search(query, limit)
        if not page.matches:
            return Response(204, headers=headers)
        if page.remaining:
            headers.append(warning(service, f"There are {page.remaining} additional results that can be requested"))
        answer = datasets.answer_ready(request, page.matches, headers=headers)
        answer.status = 206 if page.remaining else 200
        return answer

    async def change_state(self, request: Any, workitem: str, aet: str = "") -> Response:
        """Change Workitem State (PS3.18 11.7)."""
        change = await datasets.read_one(request)
        target = text(change, STATE)
        if not target:
            raise InvalidRequest("(0074,1000) Procedure Step State is missing", offending=(int(STATE, 16),))
        return await _told(request, self._workitems.change_state(workitem, text(change, TRANSACTION_UID), target), _CHANGED, 200)

    async def request_cancel(self, request: Any, workitem: str, aet: str = "") -> Response:
        """Request Cancellation (PS3.18 11.8)."""
        named = next((value for name, value in request.pairs if name == "requester"), "")
        reason: Attributes = await datasets.read_one(request) if request.receiver is not None else {}
        asked = self._workitems.request_cancel(workitem, aet or named or self._ae_title, reason)
        return await _told(request, asked, _CANCELED, 202)

    # ---- subscribers

    async def subscribe(self, request: Any, workitem: str, aet: str) -> Response:
        """Subscribe (PS3.18 11.10)."""
        parameters = dict(request.pairs)
        lock = parameters.get("deletionlock", "false").lower()
        if lock not in ("true", "false"):
            raise InvalidRequest("deletionlock: expected true or false")
        pairs = _filter_pairs(request.pairs)
        if workitem == FILTERED_SUBSCRIPTION and not pairs:
            raise InvalidRequest("filter: the filtered worklist needs one")
        filter_text = new_filter(pairs) if pairs else ""
        await self._workitems.subscribe(workitem, aet.strip(), lock == "true", filter_text)
        service = request.door.urls.base(request)
        channel = "ws" + service.removeprefix("http") + CHANNEL.format(aet=quote(aet.strip(), safe=""))
        return Response(201, headers=[("Content-Location", channel)])

    async def unsubscribe(self, request: Any, workitem: str, aet: str) -> Response:
        """Unsubscribe (PS3.18 11.11)."""
        await self._workitems.unsubscribe(workitem, aet.strip())
        return Response(200)

    async def suspend(self, request: Any, workitem: str, aet: str) -> Response:
        """Suspend Global Subscription (PS3.18 11.12)."""
        await self._workitems.suspend(workitem, aet.strip())
        return Response(200)

    async def open_channel(self, request: Any, aet: str) -> Any:
        """Open Notification Connection (PS3.18 8.10.4)."""
        self._workitems.check_ae_title(aet.strip())
        return self._channels.resource(request, aet.strip())


def _uid_parameter(request: Any, names: tuple[str, ...]) -> str:
    """A UID given as one of these parameters, whatever its spelling, or as a bare `?{uid}`."""
    for name, value in request.pairs:
        uid = value if name.lower() in names else name if not value and is_uid(name) and "." in name else ""
        if uid and not is_uid(uid):
            raise InvalidRequest(f"{names[0]}: expected a UID")
        if uid:
            return uid
    return ""


def _filter_pairs(parameters: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The attributes and values of `filter` (PS3.18 11.10.1.2); what was encoded twice is decoded here the second time."""
    parts = [part for name, value in parameters if name == "filter" for part in value.split(",") if part]
    pairs = [part.partition("=") for part in parts]
    return [(unquote(name), unquote(value)) for name, _, value in pairs]


def _warnings(service: str, status: Status, texts: dict[Status, str]) -> list[tuple[str, str]]:
    return [warning(service, texts[status])] if status in texts else []


async def _told(request: Any, work: Any, texts: dict[Status, str], success: int) -> Response:
    """The answer to a change, refused or not, with the Warning that the standard words for its status."""
    service = request.door.urls.base(request)
    try:
        status = await work
    except ServiceError as error:
        if headers := _refusal(service, error, texts):
            raise HttpError(_status(error, texts), error.comment, headers) from None
        raise
    return Response(success, headers=_warnings(service, status, texts))


def _status(error: ServiceError, texts: dict[Status, str]) -> int:
    """An item in a final state: 400 for an update, 409 for a change of state (PS3.18 Tables 11.6.3-1, 11.7.3-1)."""
    if error.status is Status.UPS_MAY_NO_LONGER_BE_UPDATED and texts is not _UPDATED:
        return 409
    return status_of(error)


def _refusal(service: str, error: ServiceError, texts: dict[Status, str]) -> list[tuple[str, str]]:
    if error.status is Status.UPS_TRANSACTION_UID_MISSING_OR_WRONG:
        return [warning(service, _MISSING if error.detail.get("key") is Key.MISSING else _INCORRECT)]
    return _warnings(service, error.status, texts)
