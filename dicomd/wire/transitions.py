"""PS3.8 section 9.2 as data: states, events, and the action for each pair (Table 9-10)."""

from enum import IntEnum
from typing import Final


class State(IntEnum):
    """PS3.8 Table 9-1 to 9-5."""

    STA1 = 1  # idle
    STA2 = 2  # transport open, awaiting A-ASSOCIATE-RQ
    STA3 = 3  # awaiting the local answer to it
    STA4 = 4  # awaiting the transport
    STA5 = 5  # awaiting A-ASSOCIATE-AC or -RJ
    STA6 = 6  # established
    STA7 = 7  # awaiting A-RELEASE-RP
    STA8 = 8  # awaiting the local answer to A-RELEASE-RQ
    STA9 = 9  # release collision, requestor, awaiting the local answer
    STA10 = 10  # release collision, acceptor, awaiting A-RELEASE-RP
    STA11 = 11  # release collision, requestor, awaiting A-RELEASE-RP
    STA12 = 12  # release collision, acceptor, awaiting the local answer
    STA13 = 13  # awaiting the close of the transport


class Event(IntEnum):
    """PS3.8 Table 9-10, first column."""

    ASSOCIATE_REQUEST = 1
    TRANSPORT_CONFIRM = 2
    AC_PDU = 3
    RJ_PDU = 4
    TRANSPORT_INDICATION = 5
    RQ_PDU = 6
    ACCEPT = 7
    REJECT = 8
    P_DATA_REQUEST = 9
    P_DATA_PDU = 10
    RELEASE_REQUEST = 11
    RELEASE_RQ_PDU = 12
    RELEASE_RP_PDU = 13
    RELEASE_RESPONSE = 14
    ABORT_REQUEST = 15
    ABORT_PDU = 16
    TRANSPORT_CLOSED = 17
    ARTIM_EXPIRED = 18
    INVALID_PDU = 19


def _transitions() -> dict[tuple[Event, State], str]:
    """PS3.8 Table 9-10, row by row: the action for an event in a state."""
    rows: dict[Event, dict[str, tuple[int, ...]]] = {
        Event.ASSOCIATE_REQUEST: {"AE-1": (1,)},
        Event.TRANSPORT_CONFIRM: {"AE-2": (4,)},
        Event.AC_PDU: {"AA-1": (2,), "AA-8": (3, 6, 7, 8, 9, 10, 11, 12), "AE-3": (5,), "AA-6": (13,)},
        Event.RJ_PDU: {"AA-1": (2,), "AA-8": (3, 6, 7, 8, 9, 10, 11, 12), "AE-4": (5,), "AA-6": (13,)},
        Event.TRANSPORT_INDICATION: {"AE-5": (1,)},
        Event.RQ_PDU: {"AE-6": (2,), "AA-8": (3, 5, 6, 7, 8, 9, 10, 11, 12), "AA-7": (13,)},
        Event.ACCEPT: {"AE-7": (3,)},
        Event.REJECT: {"AE-8": (3,)},
        Event.P_DATA_REQUEST: {"DT-1": (6,), "AR-7": (8,)},
        Event.P_DATA_PDU: {"AA-1": (2,), "AA-8": (3, 5, 8, 9, 10, 11, 12), "DT-2": (6,), "AR-6": (7,), "AA-6": (13,)},
        Event.RELEASE_REQUEST: {"AR-1": (6,)},
        Event.RELEASE_RQ_PDU: {"AA-1": (2,), "AA-8": (3, 5, 8, 9, 10, 11, 12), "AR-2": (6,), "AR-8": (7,), "AA-6": (13,)},
        Event.RELEASE_RP_PDU: {"AA-1": (2,), "AA-8": (3, 5, 6, 8, 9, 12), "AR-3": (7, 11), "AR-10": (10,), "AA-6": (13,)},
        Event.RELEASE_RESPONSE: {"AR-4": (8, 12), "AR-9": (9,)},
        Event.ABORT_REQUEST: {"AA-1": (3, 5, 6, 7, 8, 9, 10, 11, 12), "AA-2": (4,)},
        Event.ABORT_PDU: {"AA-2": (2, 13), "AA-3": (3, 5, 6, 7, 8, 9, 10, 11, 12)},
        Event.TRANSPORT_CLOSED: {"AA-5": (2,), "AA-4": (3, 4, 5, 6, 7, 8, 9, 10, 11, 12), "AR-5": (13,)},
        Event.ARTIM_EXPIRED: {"AA-2": (2, 13)},
        Event.INVALID_PDU: {"AA-1": (2,), "AA-8": (3, 5, 6, 7, 8, 9, 10, 11, 12), "AA-7": (13,)},
    }
    return {
        (event, State(state)): action for event, actions in rows.items() for action, states in actions.items() for state in states
    }


TRANSITIONS: Final = _transitions()
