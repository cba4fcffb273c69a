"""Modality worklist C-FIND (PS3.4 K) and the performed procedure step SOP classes (PS3.4 F) as SCP."""

from ..model.attributes import Attributes, text
from ..model.projection import project
from ..model.query import Options, from_identifier
from ..model.scheduled_steps import ALWAYS_RETURNED
from ..model.status import InvalidRequest, MalformedDataset, ServiceError, Status
from ..services.performed_steps import RETRIEVE_SOP_CLASS_UID, SOP_CLASS_UID, PerformedSteps
from ..services.worklist import SOP_CLASS_UID as WORKLIST
from ..services.worklist import Worklist
from ..wire import datasets
from ..wire.messages import CommandField
from .association import Association
from .normalized import Invocation, Outcome, normalized
from .service import Message, Service

CHARACTER_SET = "00080005"


def negotiated(offer: bytes) -> bytes:
    """PS3.4 K.5.1.1: relational and combined date-time are always on; fuzzy names and time zone adjustment can be had."""
    return bytes((1, 1, *(bool(byte) for byte in offer[2:4])))[: len(offer)]


class ModalityWorklist:
    """Modality Worklist Information Model - FIND."""

    def __init__(self, worklist: Worklist) -> None:
        self._worklist = worklist

    def services(self) -> list[Service]:
        """One row."""
        return [Service((WORKLIST,), {CommandField.C_FIND: self.find}, extended=negotiated, name="worklist")]

    async def find(self, association: Association, message: Message) -> None:
        """One Pending for each scheduled step; C-CANCEL is looked for between them."""
        try:
            identifier = datasets.decode(message.dataset, message.context.transfer_syntax)
        except MalformedDataset as error:
            raise ServiceError(error.comment, Status.CANNOT_UNDERSTAND, offending=error.offending) from None
        extended = association.extended.get(WORKLIST, b"")
        options = Options(relational=True, combined=True, fuzzy=extended[2:3] == b"\1", timezone=extended[3:4] == b"\1")
        query = from_identifier(identifier, options=options)
        declared = datasets.declared_set(identifier)
        async for page in self._worklist.stream(query):
            for entry in page:
                if association.is_cancelled(message):
                    await association.respond(message, Status.CANCEL)
                    return
                match = datasets.encode(
                    _answer(project(query, entry, ALWAYS_RETURNED, empty=True)), message.context.transfer_syntax, declared
                )
                await association.respond(message, Status.PENDING, dataset=match)
        await association.respond(message, Status.CANCEL if association.is_cancelled(message) else Status.SUCCESS)


def _answer(match: Attributes) -> Attributes:
    """Specific Character Set is the encoder's to say."""
    match.pop(CHARACTER_SET, None)
    return match


class PerformedProcedureSteps:
    """MPPS, its Retrieve and its Notification SOP Class; all name the same instances (PS3.4 F.6.1)."""

    def __init__(self, steps: PerformedSteps) -> None:
        self._steps = steps

    def services(self) -> list[Service]:
        """PS3.4 F.7 and F.8; the events of F.9 go out on associations of their own."""
        changes = {CommandField.N_CREATE: self.create, CommandField.N_SET: self.set}
        return [
            Service((SOP_CLASS_UID,), normalized(changes), name="performed-steps"),
            Service((RETRIEVE_SOP_CLASS_UID,), normalized({CommandField.N_GET: self.get}), name="performed-steps"),
        ]

    async def create(self, invocation: Invocation) -> Outcome:
        """N-CREATE (PS3.4 F.7.2.1)."""
        uid = invocation.sop_instance_uid or text(invocation.attributes, "00080018")
        return Outcome(sop_instance_uid=await self._steps.create(uid, invocation.attributes))

    async def set(self, invocation: Invocation) -> Outcome:
        """N-SET (PS3.4 F.7.2.2)."""
        if not invocation.attributes:
            raise InvalidRequest("expected a Modification List", Status.MISTYPED_ARGUMENT)
        await self._steps.update(invocation.sop_instance_uid, invocation.attributes)
        return Outcome()

    async def get(self, invocation: Invocation) -> Outcome:
        """N-GET (PS3.4 F.8.2.1): 0001 tells that some of the attributes asked for are not there."""
        tags = [f"{tag:08X}" for tag in invocation.names]
        step = await self._steps.retrieve(invocation.sop_instance_uid, tags or None)
        missing = tuple(tag for tag, name in zip(invocation.names, tags, strict=True) if name not in step)
        return Outcome(Status.OPTIONAL_UNSUPPORTED if missing else Status.SUCCESS, step, unsupported=missing)
