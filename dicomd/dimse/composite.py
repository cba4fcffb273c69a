"""C-ECHO as SCP (PS3.4 Annex A, PS3.7 9.1.5)."""

from ..model.status import Status
from ..wire import sop_classes
from ..wire.messages import CommandField
from .association import Association
from .service import Message, Service


class Verification:
    """C-ECHO."""

    def services(self) -> list[Service]:
        """One row."""
        return [Service((sop_classes.VERIFICATION,), {CommandField.C_ECHO: self.echo})]

    async def echo(self, association: Association, message: Message) -> None:
        """PS3.4 A.4: always success."""
        await association.respond(message, Status.SUCCESS)
