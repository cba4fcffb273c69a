"""Statuses of PS3.7 Annex C and of the service classes of PS3.4, and the errors that carry them.

A status is chosen once, in the core; the doors only translate it (PS3.18 tables of status codes; DIMSE Status element).
"""

from enum import IntEnum
from typing import Any


class Status(IntEnum):
    """A DIMSE status code; in STOW responses the same number is the Failure or Warning Reason (PS3.3 C.12.1.1)."""

    SUCCESS = 0x0000
    # PS3.7 C.4 and C.5, general
    OPTIONAL_UNSUPPORTED = 0x0001
    NO_SUCH_ATTRIBUTE = 0x0105
    INVALID_ATTRIBUTE_VALUE = 0x0106
    ATTRIBUTE_LIST_ERROR = 0x0107
    PROCESSING_FAILURE = 0x0110
    DUPLICATE_SOP_INSTANCE = 0x0111
    NO_SUCH_SOP_INSTANCE = 0x0112
    NO_SUCH_EVENT_TYPE = 0x0113
    NO_SUCH_ARGUMENT = 0x0114
    INVALID_ARGUMENT_VALUE = 0x0115
    ATTRIBUTE_VALUE_OUT_OF_RANGE = 0x0116
    INVALID_SOP_INSTANCE = 0x0117
    NO_SUCH_SOP_CLASS = 0x0118
    CLASS_INSTANCE_CONFLICT = 0x0119
    MISSING_ATTRIBUTE = 0x0120
    MISSING_ATTRIBUTE_VALUE = 0x0121
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    NO_SUCH_ACTION_TYPE = 0x0123
    NOT_AUTHORISED = 0x0124
    DUPLICATE_TRANSACTION_UID = 0x0131
    DUPLICATE_INVOCATION = 0x0210
    UNRECOGNISED_OPERATION = 0x0211
    MISTYPED_ARGUMENT = 0x0212
    RESOURCE_LIMITATION = 0x0213
    # PS3.4 B.2.3 storage; PS3.4 C.4 query and retrieve
    OUT_OF_RESOURCES = 0xA700
    CANNOT_COUNT_MATCHES = 0xA701
    CANNOT_PERFORM_SUB_OPERATIONS = 0xA702
    MAY_NO_LONGER_BE_UPDATED = 0xA710
    MOVE_DESTINATION_UNKNOWN = 0xA801
    IDENTIFIER_MISMATCH = 0xA900
    COERCED = 0xB000
    ELEMENTS_DISCARDED = 0xB006
    DOES_NOT_MATCH_SOP_CLASS = 0xB007
    CANNOT_UNDERSTAND = 0xC000
    TRANSFER_SYNTAX_NOT_SUPPORTED = 0xC122
    # PS3.4 Table CC.2.1-2 and its neighbours, UPS
    UPS_CREATED_WITH_MODIFICATIONS = 0xB300
    UPS_LOCK_NOT_GRANTED = 0xB301
    UPS_ALREADY_CANCELED = 0xB304
    UPS_COERCED = 0xB305
    UPS_ALREADY_COMPLETED = 0xB306
    UPS_MAY_NO_LONGER_BE_UPDATED = 0xC300
    UPS_TRANSACTION_UID_MISSING_OR_WRONG = 0xC301
    UPS_ALREADY_IN_PROGRESS = 0xC302
    UPS_MAY_NOT_BECOME_SCHEDULED = 0xC303
    UPS_FINAL_STATE_NOT_MET = 0xC304
    UPS_UNKNOWN = 0xC307
    UPS_RECEIVING_AE_UNKNOWN = 0xC308
    UPS_NOT_CREATED_SCHEDULED = 0xC309
    UPS_NOT_IN_PROGRESS = 0xC310
    UPS_COMPLETED = 0xC311
    UPS_PERFORMER_UNREACHABLE = 0xC312
    UPS_PERFORMER_REFUSES = 0xC313
    UPS_ACTION_INAPPROPRIATE = 0xC314
    UPS_EVENTS_UNSUPPORTED = 0xC315
    CANCEL = 0xFE00
    PENDING = 0xFF00
    PENDING_WITH_UNSUPPORTED_KEYS = 0xFF01

    @property
    def is_warning(self) -> bool:
        """PS3.7 C.3: 0001, Bxxx, 0107 and 0116 are warnings."""
        return self >> 12 == 0xB or self in (0x0001, 0x0107, 0x0116)

    @property
    def is_failure(self) -> bool:
        """Neither success, warning, pending nor cancel."""
        return not (self.is_warning or self in (0, 0xFE00, 0xFF00, 0xFF01))


class ServiceError(Exception):
    """A refusal by the core. `comment` is safe to show (never patient data); `offending` are the tags concerned.

    Comments are sent as Error Comment (0000,0902), which holds 64 characters: the DIMSE door cuts them.
    The response fields of PS3.7 C.5 follow from these: `offending` become the Attribute Identifier List (0000,1005) of 0105,
    0107 and 0120, and Offending Element (0000,0901) otherwise; `detail["error_id"]` is the Error ID (0000,0903) and
    `detail["attributes"]` the data set of the response (Attributes).
    """

    status = Status.PROCESSING_FAILURE

    def __init__(
        self,
        comment: str,
        status: Status | None = None,
        *,
        offending: tuple[int, ...] = (),
        detail: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(comment)
        self.comment = comment
        self.status = self.status if status is None else status
        self.offending = offending
        self.detail = detail or {}


class NoSuchInstance(ServiceError):
    """The named instance, series, study or item is not held."""

    status = Status.NO_SUCH_SOP_INSTANCE


class Gone(NoSuchInstance):
    """It was held once and has been deleted (HTTP 410)."""


class Busy(ServiceError):
    """A bounded queue is full or a resource is exhausted: try again later (A700, HTTP 503)."""

    status = Status.OUT_OF_RESOURCES


class StorageFull(Busy):
    """Less than the configured free space is left (A700, HTTP 507)."""


class TooLarge(ServiceError):
    """A configured size limit is exceeded (A700, HTTP 413)."""

    status = Status.OUT_OF_RESOURCES


class InvalidRequest(ServiceError):
    """A malformed or contradictory request: names the parameter or tag and what was expected (A900, HTTP 400)."""

    status = Status.IDENTIFIER_MISMATCH


class NotAcceptable(ServiceError):
    """Nothing that can be produced is acceptable to the client (HTTP 406)."""

    status = Status.CANNOT_PERFORM_SUB_OPERATIONS


class Damaged(ServiceError):
    """A stored file is missing, cut off or corrupt (0110, HTTP 500)."""


class Undecodable(ServiceError):
    """A data set or its pixels cannot be understood (C000)."""

    status = Status.CANNOT_UNDERSTAND


class MalformedDataset(InvalidRequest):
    """The bytes (or the JSON, or the XML) of a data set break the rules of PS3.5; `offending` names the tag (C000, HTTP 400)."""

    status = Status.CANNOT_UNDERSTAND
