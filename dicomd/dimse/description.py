"""What the DIMSE door offers, as rows for people (PS3.2), made of the dispatch table."""

from collections.abc import Sequence

from pydicom.config import IGNORE
from pydicom.uid import UID

from ..wire import sop_classes
from ..wire.messages import CommandField
from ..wire.pdu import UserInformation
from .service import Service

COLUMNS = ("SOP Class", "UID", "Operations", "Roles of the peer", "Transfer syntaxes")


def rows(services: Sequence[Service]) -> list[tuple[str, ...]]:
    """One row for each SOP class, sorted by name."""
    found = [(uid, service) for service in services for uid in service.sop_class_uids]
    for service in services:
        if service.claims is not None:
            found += ((uid, service) for uid in sop_classes.storage_classes() if service.claims(uid, UserInformation()))
    return sorted(_row(uid, service) for uid, service in found)


def _row(uid: str, service: Service) -> tuple[str, ...]:
    operations = ", ".join(CommandField(command).name.replace("_", "-") for command in service.commands)
    roles = ", ".join(name for name, may in (("SCU", service.requestor_scu), ("SCP", service.requestor_scp)) if may)
    syntaxes = "all, kept as received" if service.transfer_syntaxes is None else ", ".join(map(_name, service.transfer_syntaxes))
    return _name(uid), uid, operations, roles, syntaxes


def _name(uid: str) -> str:
    return str(UID(uid, validation_mode=IGNORE).name)
