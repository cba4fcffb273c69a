"""C-ECHO and C-STORE as SCP (PS3.4 Annexes A and B; PS3.7 9.1.5 and 9.1.1)."""

from ..model.identifiers import is_uid
from ..model.status import ServiceError, Status
from ..services.storage import Reception, Source, Storage
from ..wire import sop_classes
from ..wire.messages import CommandField
from ..wire.pdu import UserInformation
from .association import Association, as_comment
from .service import ANY, Message, Service

# PS3.4 B.3.1: level 2 (full), signature level 3 (bit preserving), no coercion
_STORAGE_ABILITIES = bytes((2, 0, 3, 0, 0, 0))


class Verification:
    """C-ECHO."""

    def services(self) -> list[Service]:
        """One row."""
        return [Service((sop_classes.VERIFICATION,), {CommandField.C_ECHO: self.echo})]

    async def echo(self, association: Association, message: Message) -> None:
        """PS3.4 A.4: always success."""
        await association.respond(message, Status.SUCCESS)


class StorageProvider:
    """C-STORE of every storage SOP class in every transfer syntax; the requestor may also be SCP, for C-GET."""

    def __init__(self, storage: Storage, *, accept_unknown: bool = True) -> None:
        self._storage = storage
        self._accept_unknown = accept_unknown

    def services(self) -> list[Service]:
        """One row that claims SOP classes by what they are."""
        return [
            Service(
                (),
                {CommandField.C_STORE: self.store},
                transfer_syntaxes=ANY,
                requestor_scp=True,
                extended=lambda offered: _STORAGE_ABILITIES,
                claims=self._claims,
                sinks={CommandField.C_STORE: self.begin},
                name="store",
            )
        ]

    def _claims(self, sop_class_uid: str, user: UserInformation) -> bool:
        if sop_classes.is_storage(sop_class_uid) or sop_classes.is_said_to_be_storage(sop_class_uid, user):
            return True
        return self._accept_unknown and sop_classes.may_be_storage(sop_class_uid)

    def begin(self, association: Association, message: Message) -> Reception:
        """The data set begins to arrive; a refusal now spares nobody the bytes, but the disk."""
        sop_instance_uid = message.command.affected_sop_instance_uid
        if not is_uid(sop_instance_uid):
            raise ServiceError("Affected SOP Instance UID is not a UID", Status.INVALID_SOP_INSTANCE)
        return self._storage.begin(
            Source("DIMSE", association.peer_host, association.peer_ae_title, association.own_ae_title),
            sop_class_uid=message.context.abstract_syntax,
            sop_instance_uid=sop_instance_uid,
            transfer_syntax_uid=message.context.transfer_syntax,
        )

    async def store(self, association: Association, message: Message) -> None:
        """PS3.7 9.1.1: answered when the instance is durable and can be found."""
        if message.sink is None:
            raise ServiceError("C-STORE without a data set", Status.CANNOT_UNDERSTAND)
        outcome = await self._storage.store(message.sink)
        if outcome.status is Status.SUCCESS:
            await association.respond(message, Status.SUCCESS)
        else:
            comment = as_comment(outcome.comment)
            await association.respond(message, outcome.status, error_comment=comment, offending_elements=outcome.offending)
