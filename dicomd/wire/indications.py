"""What an `upper_layer.UpperLayer` says: orders to the owner of the transport, indications to the user of the association."""

from enum import Enum
from typing import NamedTuple

from .messages import CommandReceived, DataSetChunk
from .pdu import AssociateAccept, AssociateRequest

# Orders to the owner of the transport


class Order(Enum):
    """What the owner of the transport and of the clock has to do."""

    CONNECT = "open the transport"
    START_ARTIM = "start or restart the ARTIM timer"
    STOP_ARTIM = "stop the ARTIM timer"
    CLOSE = "close the transport"


class Send(NamedTuple):
    """Write these bytes."""

    data: bytes


# Indications to the user of the association


class AssociateRequested(NamedTuple):
    """Answer with `accept` or `reject`."""

    request: AssociateRequest


class AssociateAccepted(NamedTuple):
    """The peer accepted ours."""

    accept: AssociateAccept


class AssociateRejected(NamedTuple):
    """The peer rejected ours (PS3.8 9.3.4)."""

    result: int
    source: int
    reason: int


class ReleaseRequested(NamedTuple):
    """Answer with `release_response`."""


class ReleaseConfirmed(NamedTuple):
    """The association ended in order; after a release collision the acceptor still has to answer by `release_response`."""


class Aborted(NamedTuple):
    """The association ended at once. `by_peer`: an A-ABORT came; otherwise `cause` says what happened here."""

    source: int
    reason: int
    by_peer: bool
    cause: str


Output = (
    Order
    | Send
    | AssociateRequested
    | AssociateAccepted
    | AssociateRejected
    | ReleaseRequested
    | ReleaseConfirmed
    | Aborted
    | CommandReceived
    | DataSetChunk
)
