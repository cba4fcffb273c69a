"""The UPS SOP classes as SCP: Push, Watch, Pull, Query and Event (PS3.4 CC).

All N-services name UPS Push, whichever class was negotiated; which operations and actions belong to a class is a table here.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from twisted.internet.defer import ensureDeferred

from ..model.attributes import Attributes, text
from ..model.query import Options, from_identifier
from ..model.status import InvalidRequest, MalformedDataset, ServiceError, Status
from ..model.workitem_attributes import (
    FILTERED_SUBSCRIPTION,
    GLOBAL_SUBSCRIPTION,
    REQUIREMENTS,
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    STATE,
    TRANSACTION_UID,
    UPS_EVENT,
    UPS_PULL,
    UPS_PUSH,
    UPS_QUERY,
    UPS_WATCH,
)
from ..model.workitem_events import Report
from ..model.workitem_filters import from_identifier as new_filter
from ..services.event_delivery import Delivery, Link
from ..services.workitems import Workitems
from ..wire import datasets
from ..wire.messages import CommandField
from .association import Association, AssociationEnded
from .modality import CHARACTER_SET, negotiated
from .normalized import Invocation, Outcome, normalized, report
from .service import Message, Service

RECEIVING_AE, DELETION_LOCK = "00741234", "00741230"
# How many matches are read at a time.
PAGE = 200

# PS3.4 Table CC.2-1: the actions of each class
CHANGE_STATE, REQUEST_CANCEL, SUBSCRIBE, UNSUBSCRIBE, SUSPEND = 1, 2, 3, 4, 5
ACTIONS = {
    UPS_PUSH: frozenset({REQUEST_CANCEL}),
    UPS_WATCH: frozenset({REQUEST_CANCEL, SUBSCRIBE, UNSUBSCRIBE, SUSPEND}),
    UPS_PULL: frozenset({CHANGE_STATE}),
}


class UpsProvider:
    """The five classes. Events go to a subscriber's configured AE, else on its own association if it takes UPS Event there."""

    def __init__(self, workitems: Workitems, delivery: Delivery, is_configured: Callable[[str], bool]) -> None:
        self._workitems, self._delivery, self._is_configured = workitems, delivery, is_configured
        self._channels: dict[Association, AssociationChannel] = {}
        self._actions: dict[int, Callable[[Invocation], Awaitable[Outcome]]] = {
            CHANGE_STATE: self._change_state,
            REQUEST_CANCEL: self._request_cancel,
            SUBSCRIBE: self._subscribe,
            UNSUBSCRIBE: self._unsubscribe,
            SUSPEND: self._suspend,
        }

    def services(self) -> list[Service]:
        """PS3.4 Table CC.2-1, a row a class."""
        create, get = {CommandField.N_CREATE: self.create}, {CommandField.N_GET: self.get}
        change, act = {CommandField.N_SET: self.set}, {CommandField.N_ACTION: self.act}
        find = {int(CommandField.C_FIND): self.find}
        named: dict[str, Any] = {"command_classes": (UPS_PUSH,), "name": "workitems"}
        return [
            Service((UPS_PUSH,), normalized(create | act | get), **named),
            Service((UPS_WATCH,), normalized(act | get) | find, extended=negotiated, **named),
            Service((UPS_PULL,), normalized(get | change | act) | find, extended=negotiated, **named),
            Service((UPS_QUERY,), find, extended=negotiated, **named),
            Service((UPS_EVENT,), {}, **named),
        ]

    # ---- items

    async def create(self, invocation: Invocation) -> Outcome:
        """N-CREATE (PS3.4 CC.2.5)."""
        uid, status = await self._workitems.create(invocation.sop_instance_uid, invocation.attributes)
        return Outcome(status, sop_instance_uid=uid)

    async def set(self, invocation: Invocation) -> Outcome:
        """N-SET (PS3.4 CC.2.6); the Transaction UID is in the Modification List."""
        return Outcome(await self._workitems.update(invocation.sop_instance_uid, "", invocation.attributes))

    async def get(self, invocation: Invocation) -> Outcome:
        """N-GET (PS3.4 CC.2.7): 0001 tells that some of the attributes asked for are not kept."""
        item: Attributes = orjson.loads(await self._workitems.retrieve(invocation.sop_instance_uid))
        if not invocation.names:
            return Outcome(attributes=item)
        found: Attributes = {}
        unsupported = []
        for number in invocation.names:
            tag = f"{number:08X}"
            if tag in item:
                found[tag] = item[tag]
            elif tag in REQUIREMENTS and tag != TRANSACTION_UID:
                found[tag] = {"vr": REQUIREMENTS[tag].vr}
            else:
                unsupported.append(number)
        status = Status.OPTIONAL_UNSUPPORTED if unsupported else Status.SUCCESS
        return Outcome(status, found, unsupported=tuple(unsupported))

    async def find(self, association: Association, message: Message) -> None:
        """C-FIND (PS3.4 CC.2.8): one Pending for each match; C-CANCEL is looked for between them."""
        syntax, model = message.context.transfer_syntax, message.context.abstract_syntax
        try:
            identifier = datasets.decode(message.dataset, syntax)
        except MalformedDataset as error:
            raise ServiceError(error.comment, Status.CANNOT_UNDERSTAND, offending=error.offending) from None
        extended = association.extended.get(model, b"")
        options = Options(relational=True, combined=True, fuzzy=extended[2:3] == b"\1", timezone=extended[3:4] == b"\1")
        query = from_identifier(identifier, options=options, strip=(TRANSACTION_UID,))
        pending = Status.PENDING_WITH_UNSUPPORTED_KEYS if TRANSACTION_UID in identifier else Status.PENDING
        declared, place = datasets.declared_set(identifier), None
        while not association.is_cancelled(message):
            page = await self._workitems.find(query, PAGE, place, (SOP_CLASS_UID, SOP_INSTANCE_UID))
            for match in page.matches:
                if association.is_cancelled(message):
                    break
                match.pop(CHARACTER_SET, None)
                await association.respond(message, pending, dataset=datasets.encode(match, syntax, declared))
            place = page.last
            if place is None or len(page.matches) < PAGE:
                break
        await association.respond(message, Status.CANCEL if association.is_cancelled(message) else Status.SUCCESS)

    # ---- actions

    async def act(self, invocation: Invocation) -> Outcome:
        """N-ACTION, by its type; those of the other classes are none here."""
        type_id = invocation.type_id or 0
        if type_id not in ACTIONS.get(invocation.context.abstract_syntax, ()):
            raise ServiceError("this action does not belong to the SOP class", Status.NO_SUCH_ACTION_TYPE)
        try:
            return await self._actions[type_id](invocation)
        except InvalidRequest as error:
            raise ServiceError(error.comment, Status.INVALID_ARGUMENT_VALUE, offending=error.offending) from None

    async def _change_state(self, invocation: Invocation) -> Outcome:
        """PS3.4 CC.2.1."""
        asked = invocation.attributes
        target = _argument(asked, STATE, "Procedure Step State")
        return Outcome(await self._workitems.change_state(invocation.sop_instance_uid, text(asked, TRANSACTION_UID), target))

    async def _request_cancel(self, invocation: Invocation) -> Outcome:
        """PS3.4 CC.2.2."""
        asks = invocation.peer_ae_title
        return Outcome(await self._workitems.request_cancel(invocation.sop_instance_uid, asks, invocation.attributes))

    async def _subscribe(self, invocation: Invocation) -> Outcome:
        """PS3.4 CC.2.3: the keys of a filtered subscription are what is left of the Action Information."""
        asked, uid = invocation.attributes, invocation.sop_instance_uid
        ae_title = _argument(asked, RECEIVING_AE, "Receiving AE")
        lock = _argument(asked, DELETION_LOCK, "Deletion Lock")
        if lock not in ("TRUE", "FALSE"):
            raise InvalidRequest("Deletion Lock: expected TRUE or FALSE", offending=(int(DELETION_LOCK, 16),))
        keys = {tag: element for tag, element in asked.items() if tag not in (RECEIVING_AE, DELETION_LOCK, CHARACTER_SET)}
        filter_text = new_filter(keys) if uid == FILTERED_SUBSCRIPTION else ""
        own = self._own_way(invocation.association, ae_title)
        await self._workitems.subscribe(uid, ae_title, lock == "TRUE", filter_text, must_be_known=own is None)
        return Outcome(then=own)

    async def _unsubscribe(self, invocation: Invocation) -> Outcome:
        """PS3.4 CC.2.3."""
        ae_title = _argument(invocation.attributes, RECEIVING_AE, "Receiving AE")
        await self._workitems.unsubscribe(invocation.sop_instance_uid, ae_title)
        return Outcome()

    async def _suspend(self, invocation: Invocation) -> Outcome:
        """PS3.4 CC.2.3."""
        ae_title = _argument(invocation.attributes, RECEIVING_AE, "Receiving AE")
        await self._workitems.suspend(invocation.sop_instance_uid, ae_title)
        return Outcome()

    def _own_way(self, association: Association, ae_title: str) -> Callable[[], None] | None:
        """What opens the subscriber's own association for its events; None when they go elsewhere, or cannot."""
        is_own = ae_title == association.peer_ae_title and not self._is_configured(ae_title)
        if not is_own or association.context_for(UPS_EVENT, as_scu=False) is None:
            return None
        return lambda: self._open(association, ae_title)

    def _open(self, association: Association, ae_title: str) -> None:
        if association in self._channels or association.ended:
            return
        self._channels[association] = channel = AssociationChannel(association)
        self._delivery.link(ae_title, channel)
        association.when_ended(lambda: self._channels.pop(association).close())


def _argument(asked: Attributes, tag: str, name: str) -> str:
    value = text(asked, tag)
    if not value:
        raise InvalidRequest(f"{name} is missing", offending=(int(tag, 16),))
    return value


class AssociationChannel:
    """A channel (see `services.event_delivery.Channel`) on an association that the subscriber opened, with UPS Event in it."""

    def __init__(self, association: Association) -> None:
        self._association = association
        self._link: Link | None = None
        self._busy = False

    def linked(self, link: Link) -> None:
        """The reports of this subscriber go out here."""
        self._link = link

    @property
    def ready(self) -> bool:
        """Whether the last ones are answered."""
        return not self._busy and not self._association.ended

    def send(self, reports: Any) -> None:
        """Send these, in this order."""
        self._busy = True
        ensureDeferred(self._deliver(reports))

    async def _deliver(self, reports: list[Report]) -> None:
        """PS3.7 10.1.1; whatever the subscriber answers, it has it."""
        context = self._association.context_for(UPS_EVENT, as_scu=False)
        assert context is not None and self._link is not None
        try:
            for one in reports:
                event, uid = one.event, one.event.sop_instance_uid or GLOBAL_SUBSCRIPTION
                await report(self._association, context, UPS_PUSH, uid, int(event.type), event.information)
                self._link.delivered(one.id)
        except AssociationEnded:
            return
        self._busy = False
        self._link.resume()

    def close(self) -> None:
        """The association has ended; what was not answered goes on waiting."""
        if self._link is not None:
            self._link.closed()
