"""C-FIND on an association in memory."""

from dicomd.dimse.listener import Listener
from dicomd.model.attributes import Attributes
from dicomd.wire import datasets
from dicomd.wire.messages import Command, CommandField, CommandReceived, DataSetChunk
from dicomd.wire.pdu import ExtendedNegotiation
from tests.dimse.peer import Peer, proposal

PATIENT_ROOT = "1.2.840.10008.5.1.4.1.2.1.1"
STUDY_ROOT = "1.2.840.10008.5.1.4.1.2.2.1"
EXPLICIT = "1.2.840.10008.1.2.1"


def find_peer(listener: Listener, model: str = STUDY_ROOT, **wanted: bool) -> Peer:
    """A peer that may query; `wanted` is what it asks for by extended negotiation."""
    order = ("relational", "combined", "fuzzy", "timezone", "view", "empty", "multiple")
    offer = ExtendedNegotiation(model, bytes(wanted.get(name, False) for name in order))
    return Peer(listener).associate(proposal(model, syntax=EXPLICIT, extended=(offer,) if wanted else ()))


def ask(peer: Peer, identifier: Attributes, *, model: str = STUDY_ROOT, declared: str = "ISO_IR 192") -> None:
    """Send the request."""
    peer.heard.clear()
    command = Command(CommandField.C_FIND, affected_sop_class_uid=model, message_id=7, priority=0)
    peer.request(1, command, datasets.encode(identifier, EXPLICIT, declared))


def find(peer: Peer, identifier: Attributes, *, model: str = STUDY_ROOT) -> tuple[list[Attributes], int]:
    """The matches, and the status of the final response."""
    ask(peer, identifier, model=model)
    return heard(peer)


def heard(peer: Peer) -> tuple[list[Attributes], int]:
    """What has been answered so far."""
    matches, status, data = [], -1, b""
    for output in peer.hear():
        if isinstance(output, CommandReceived):
            status, data = output.command.status or 0, b""
        elif isinstance(output, DataSetChunk):
            data += output.data
            if output.last:
                matches.append(datasets.decode(data, EXPLICIT))
    return matches, status
