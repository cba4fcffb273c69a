"""Storage Commitment Push Model SOP Class as SCP (PS3.4 J): N-ACTION, and the N-EVENT-REPORT that answers it."""

from ..model.attributes import Attributes, text
from ..model.commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE, REQUEST, TRANSACTION_UID
from ..model.status import ServiceError, Status
from ..services.commitment import StorageCommitment
from ..wire.messages import CommandField
from .association import AssociationEnded
from .normalized import Invocation, Outcome, normalized, report
from .service import Service

# PS3.7 C.3: Bxxx are warnings.
_WARNING = 0xB


class CommitmentProvider:
    """Takes commitment requests."""

    def __init__(self, commitment: StorageCommitment) -> None:
        self._commitment = commitment

    def services(self) -> list[Service]:
        """One row; the SCU may also offer the SCP role, which it does not need here."""
        return [Service((PUSH_MODEL,), normalized({CommandField.N_ACTION: self.request}), name="commitment")]

    async def request(self, invocation: Invocation) -> Outcome:
        """Request Storage Commitment (PS3.4 J.3.2): the report follows the response, on this association while it lasts."""
        if invocation.sop_instance_uid != PUSH_MODEL_INSTANCE:
            raise ServiceError("not the well-known instance of storage commitment", Status.NO_SUCH_SOP_INSTANCE)
        if invocation.type_id != REQUEST:
            raise ServiceError("the only action is type 1", Status.NO_SUCH_ACTION_TYPE)
        asked = invocation.attributes
        remembered = await self._commitment.remember(text(asked, TRANSACTION_UID), [asked], invocation.peer_ae_title)

        async def on_this_association(event_type: int, information: Attributes) -> bool:
            association = invocation.association
            if association.ended:
                return False
            try:
                status, _ = await report(
                    association, invocation.context, PUSH_MODEL, PUSH_MODEL_INSTANCE, event_type, information
                )
            except AssociationEnded:
                return False
            return status == Status.SUCCESS or status >> 12 == _WARNING

        return Outcome(then=lambda: self._commitment.begin(remembered, on_this_association))
