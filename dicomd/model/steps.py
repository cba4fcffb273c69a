"""Procedure step states and what each request does in each of them; tables of the standard as data, nothing else.

Unified Procedure Steps: PS3.4 Tables CC.1.1-1 to CC.1.1-3.
"""

from collections.abc import Iterator
from enum import Enum, StrEnum

from attrs import frozen

from .identifiers import is_uid
from .status import Status


class State(StrEnum):
    """Procedure Step State (0074,1000) of a Unified Procedure Step."""

    SCHEDULED = "SCHEDULED"
    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    CANCELED = "CANCELED"

    @property
    def is_final(self) -> bool:
        """COMPLETED and CANCELED are never left again."""
        return self in (State.COMPLETED, State.CANCELED)


class Request(Enum):
    """The rows of Table CC.1.1-2: what is asked of a Unified Procedure Step."""

    CREATE = "N-CREATE"
    TO_SCHEDULED = "change state to SCHEDULED"
    TO_IN_PROGRESS = "change state to IN PROGRESS"
    TO_COMPLETED = "change state to COMPLETED"
    TO_CANCELED = "change state to CANCELED"
    REQUEST_CANCEL = "request cancel"
    UPDATE = "N-SET"


CHANGE_STATE = {
    State.SCHEDULED: Request.TO_SCHEDULED,
    State.IN_PROGRESS: Request.TO_IN_PROGRESS,
    State.COMPLETED: Request.TO_COMPLETED,
    State.CANCELED: Request.TO_CANCELED,
}


class Key(Enum):
    """The Transaction UID (0008,1195) that came with a request, held against the recorded one."""

    MISSING = "missing"
    WRONG = "wrong"
    RIGHT = "right"

    @classmethod
    def of(cls, given: str, recorded: str) -> "Key":
        """While nothing is recorded (SCHEDULED) any UID fits: it is the one that will be recorded by a claim."""
        if not given:
            return cls.MISSING
        fits = given == recorded if recorded else is_uid(given)
        return cls.RIGHT if fits else cls.WRONG


@frozen
class Verdict:
    """What a request does: the states passed through in order, and the status of the answer."""

    states: tuple[State, ...] = ()
    status: Status = Status.SUCCESS

    @property
    def accepted(self) -> bool:
        """Carried out; a warning that the state is reached already carries out nothing."""
        return self.status is Status.SUCCESS


Cell = Status | tuple[State, ...]

_ANY = (Key.MISSING, Key.WRONG, Key.RIGHT)
_BAD = (Key.MISSING, Key.WRONG)
_OK = (Key.RIGHT,)
_NOTHING_CHANGES: tuple[State, ...] = ()
_DUPLICATE = Status.DUPLICATE_SOP_INSTANCE
_UNKNOWN = Status.UPS_UNKNOWN
_BAD_KEY = Status.UPS_TRANSACTION_UID_MISSING_OR_WRONG
_CLOSED = Status.UPS_MAY_NO_LONGER_BE_UPDATED
_NOT_CLAIMED = Status.UPS_NOT_IN_PROGRESS
_NEVER = Status.UPS_MAY_NOT_BECOME_SCHEDULED

COLUMNS: tuple[State | None, ...] = (None, State.SCHEDULED, State.IN_PROGRESS, State.COMPLETED, State.CANCELED)

# PS3.4 Table CC.1.1-2, columns as in COLUMNS (None: no such instance)
_TABLE: tuple[tuple[Request, tuple[Key, ...], tuple[Cell, ...]], ...] = (
    (Request.CREATE, _ANY, ((State.SCHEDULED,), _DUPLICATE, _DUPLICATE, _DUPLICATE, _DUPLICATE)),
    (Request.TO_SCHEDULED, _ANY, (_UNKNOWN, _NEVER, _NEVER, _NEVER, _NEVER)),
    (Request.TO_IN_PROGRESS, _OK, (_UNKNOWN, (State.IN_PROGRESS,), Status.UPS_ALREADY_IN_PROGRESS, _CLOSED, _CLOSED)),
    (Request.TO_IN_PROGRESS, _BAD, (_UNKNOWN, _BAD_KEY, _BAD_KEY, _BAD_KEY, _BAD_KEY)),
    (Request.TO_COMPLETED, _OK, (_UNKNOWN, _NOT_CLAIMED, (State.COMPLETED,), Status.UPS_ALREADY_COMPLETED, _CLOSED)),
    (Request.TO_COMPLETED, _BAD, (_UNKNOWN, _BAD_KEY, _BAD_KEY, _BAD_KEY, _BAD_KEY)),
    (Request.TO_CANCELED, _OK, (_UNKNOWN, _NOT_CLAIMED, (State.CANCELED,), _CLOSED, Status.UPS_ALREADY_CANCELED)),
    (Request.TO_CANCELED, _BAD, (_UNKNOWN, _BAD_KEY, _BAD_KEY, _BAD_KEY, _BAD_KEY)),
    (
        Request.REQUEST_CANCEL,
        _ANY,
        (
            _UNKNOWN,
            (State.IN_PROGRESS, State.CANCELED),
            _NOTHING_CHANGES,
            Status.UPS_COMPLETED,
            Status.UPS_ALREADY_CANCELED,
        ),
    ),
    (Request.UPDATE, (Key.MISSING,), (_UNKNOWN, _NOTHING_CHANGES, _BAD_KEY, _CLOSED, _CLOSED)),
    (Request.UPDATE, (Key.WRONG,), (_UNKNOWN, _NOT_CLAIMED, _BAD_KEY, _CLOSED, _CLOSED)),
    (Request.UPDATE, _OK, (_UNKNOWN, _NOT_CLAIMED, _NOTHING_CHANGES, _CLOSED, _CLOSED)),
)


def _cells() -> Iterator[tuple[tuple[Request, Key, State | None], Verdict]]:
    for request, keys, row in _TABLE:
        for key in keys:
            for state, cell in zip(COLUMNS, row, strict=True):
                yield (request, key, state), Verdict(status=cell) if isinstance(cell, Status) else Verdict(cell)


VERDICTS: dict[tuple[Request, Key, State | None], Verdict] = dict(_cells())


def decide(request: Request, key: Key, state: State | None) -> Verdict:
    """What `request` with this key does to a Unified Procedure Step in `state` (PS3.4 CC.1.1)."""
    return VERDICTS[request, key, state]
