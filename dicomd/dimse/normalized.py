"""The frame of the N-services (PS3.7 section 10): requests decoded, outcomes and refusals encoded.

A service maps operations to `async def operation(invocation) -> Outcome`, which may raise `ServiceError`:

    Service((MPPS,), normalized({CommandField.N_CREATE: self.create, CommandField.N_SET: self.set}))

As invoker, `report` sends an N-EVENT-REPORT on an association that exists; `outbound` does so on one of its own.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import field, frozen

from ..model.attributes import Attributes
from ..model.identifiers import is_uid
from ..model.status import ServiceError, Status
from ..wire import datasets
from ..wire.messages import Command, CommandField
from ..wire.negotiation import Context
from .association import Association, as_comment
from .service import Handler, Message

# PS3.7 C.5: these statuses name attributes in the Attribute Identifier List, the others in Offending Element.
_LIST_ATTRIBUTES = frozenset({Status.NO_SUCH_ATTRIBUTE, Status.ATTRIBUTE_LIST_ERROR, Status.MISSING_ATTRIBUTE})
# ... and these tell the type of the event or action.
_TELL_TYPE = frozenset(
    {Status.NO_SUCH_EVENT_TYPE, Status.NO_SUCH_ACTION_TYPE, Status.NO_SUCH_ARGUMENT, Status.INVALID_ARGUMENT_VALUE}
)
# What the core says of composite services, in the words of N-services (PS3.7 10.1: general statuses only).
_GENERAL = {
    Status.OUT_OF_RESOURCES: Status.RESOURCE_LIMITATION,
    Status.IDENTIFIER_MISMATCH: Status.INVALID_ATTRIBUTE_VALUE,
    Status.CANNOT_UNDERSTAND: Status.PROCESSING_FAILURE,
}
_TYPE_FIELDS = {CommandField.N_ACTION: "action_type_id", CommandField.N_EVENT_REPORT: "event_type_id"}
_WITH_REQUESTED_INSTANCE = frozenset(
    {CommandField.N_GET, CommandField.N_SET, CommandField.N_ACTION, CommandField.N_DELETE, CommandField.N_EVENT_REPORT}
)


@frozen
class Invocation:
    """A request of an N-service. `type_id`: of the action or event; `names`: the attributes that an N-GET asks for."""

    operation: CommandField
    sop_class_uid: str
    sop_instance_uid: str
    attributes: Attributes = field(repr=False)
    association: Association = field(repr=False)
    context: Context
    type_id: int | None = None
    names: tuple[int, ...] = ()

    @property
    def peer_ae_title(self) -> str:
        """The calling AE title of who asks."""
        return self.association.peer_ae_title


@frozen
class Outcome:
    """What an operation answers, success or warning. `unsupported`: attributes for the Attribute Identifier List.

    `then` is called after the response has been sent: for what may not come before it.
    """

    status: Status = Status.SUCCESS
    attributes: Attributes | None = field(default=None, repr=False)
    sop_instance_uid: str = ""
    comment: str = ""
    unsupported: tuple[int, ...] = ()
    then: Callable[[], None] | None = None


Operation = Callable[[Invocation], Awaitable[Outcome]]


def normalized(operations: Mapping[CommandField, Operation]) -> dict[int, Handler]:
    """The handlers for a `Service` row."""
    return {int(field): _handler(field, operation) for field, operation in operations.items()}


def _handler(field: CommandField, operation: Operation) -> Handler:
    async def handle(association: Association, message: Message) -> None:
        try:
            outcome = await operation(_invocation(field, association, message))
        except ServiceError as error:
            await _refuse(association, message, error)
            return
        await _answer(association, message, outcome)
        if outcome.then is not None:
            outcome.then()

    return handle


def _invocation(operation: CommandField, association: Association, message: Message) -> Invocation:
    command, context = message.command, message.context
    instance, type_field = command.sop_instance_uid, _TYPE_FIELDS.get(operation)
    type_id = getattr(command, type_field) if type_field else None
    if (operation in _WITH_REQUESTED_INSTANCE and not instance) or (type_field and type_id is None):
        raise ServiceError("a mandatory element of the command set is missing", Status.MISTYPED_ARGUMENT)
    if instance and not is_uid(instance):
        raise ServiceError("the SOP Instance UID is not a UID", Status.INVALID_SOP_INSTANCE)
    return Invocation(
        operation,
        command.sop_class_uid or context.abstract_syntax,
        instance,
        datasets.decode(message.dataset, context.transfer_syntax) if message.dataset else {},
        association,
        context,
        type_id,
        command.attribute_identifier_list,
    )


def _answer(association: Association, message: Message, outcome: Outcome) -> Awaitable[None]:
    elements: dict[str, Any] = {}
    if outcome.sop_instance_uid:
        elements["affected_sop_instance_uid"] = outcome.sop_instance_uid
    if outcome.unsupported:
        elements["attribute_identifier_list"] = outcome.unsupported
    if outcome.comment and outcome.status:
        elements["error_comment"] = as_comment(outcome.comment)
    if outcome.attributes is not None:
        elements |= _type(message)
    return _respond(association, message, outcome.status, outcome.attributes, elements)


def _refuse(association: Association, message: Message, error: ServiceError) -> Awaitable[None]:
    """PS3.7 C.5: which elements go with which status."""
    status = _GENERAL.get(error.status, error.status)
    elements: dict[str, Any] = {"error_comment": as_comment(error.comment)}
    if error.offending:
        name = "attribute_identifier_list" if status in _LIST_ATTRIBUTES else "offending_elements"
        elements[name] = error.offending
    if "error_id" in error.detail:
        elements["error_id"] = error.detail["error_id"]
    if status in _TELL_TYPE:
        elements |= _type(message)
    return _respond(association, message, status, error.detail.get("attributes") or None, elements)


def _type(message: Message) -> dict[str, Any]:
    """PS3.7 Tables 10.1-1 and 10.1-7: required when there is a data set."""
    name = _TYPE_FIELDS.get(CommandField(message.command.command_field))
    return {name: getattr(message.command, name)} if name else {}


def _respond(
    association: Association, message: Message, status: Status, attributes: Attributes | None, elements: dict[str, Any]
) -> Awaitable[None]:
    data = None if attributes is None else datasets.encode(attributes, message.context.transfer_syntax)
    return association.respond(message, status, dataset=data or None, **elements)


async def invoke(
    association: Association, context: Context, command: Command, attributes: Attributes | None = None
) -> tuple[int, Attributes]:
    """Invoke an N-service of the peer on an association that exists: the status and the attributes it answers."""
    data = datasets.encode(attributes, context.transfer_syntax) if attributes else None
    response, answered = await association.request(context, command, data)
    return response.status or 0, datasets.decode(answered, context.transfer_syntax) if answered else {}


async def report(
    association: Association,
    context: Context,
    sop_class_uid: str,
    sop_instance_uid: str,
    event_type_id: int,
    information: Attributes | None,
) -> tuple[int, Attributes]:
    """N-EVENT-REPORT (PS3.7 10.1.1) on an association that exists, where this side is SCP."""
    command = Command(
        CommandField.N_EVENT_REPORT,
        affected_sop_class_uid=sop_class_uid,
        affected_sop_instance_uid=sop_instance_uid,
        event_type_id=event_type_id,
    )
    return await invoke(association, context, command, information)
