"""C-FIND of the non-patient information models as SCP (PS3.4 U, X, BB, GG, HH, II, JJ): like Query/Retrieve, without levels."""

from ..model.attributes import attribute
from ..model.non_patient import BY_FIND
from ..model.query import Options, from_identifier
from ..model.status import Status
from ..services.non_patient import NonPatientInstances
from ..wire import datasets
from ..wire.messages import CommandField
from .association import Association
from .query import identifier_of
from .service import Message, Service

_CHARACTER_SET = "00080005"


class NonPatientQuery:
    """C-FIND on palettes, protocols, templates and inventories. `ae_title`: where they can be retrieved."""

    def __init__(self, instances: NonPatientInstances, ae_title: str) -> None:
        self._instances, self._ae_title = instances, ae_title

    def services(self) -> list[Service]:
        """One row for all models."""
        return [Service(tuple(BY_FIND), {CommandField.C_FIND: self.find}, name="non-patient")]

    async def find(self, association: Association, message: Message) -> None:
        """One Pending for each match; C-CANCEL is looked for between them."""
        syntax, model = message.context.transfer_syntax, BY_FIND[message.context.abstract_syntax]
        identifier = identifier_of(message, syntax)
        query = from_identifier(identifier, options=Options(relational=True, combined=True))
        declared = datasets.declared_set(identifier)
        fields = {uid: {"00080016": None, "00080018": None} for uid in model.storage}
        async for page in self._instances.stream(fields, query, empty=True):
            for match in page:
                if association.is_cancelled(message):
                    await association.respond(message, Status.CANCEL)
                    return
                match.pop(_CHARACTER_SET, None)
                match |= {"00080054": attribute("AE", self._ae_title), "00080056": attribute("CS", "ONLINE")}
                await association.respond(message, Status.PENDING, dataset=datasets.encode(match, syntax, declared))
        await association.respond(message, Status.CANCEL if association.is_cancelled(message) else Status.SUCCESS)
