"""Data sets that are kept to be sent later must be such that both doors can write them."""

from ..model.attributes import Attributes
from ..model.status import MalformedDataset, ServiceError, Status
from ..wire import datasets

_IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"


def refuse_unwritable(attributes: Attributes) -> None:
    """Raises `ServiceError` (0106) that names an attribute whose value its VR cannot hold, as letters outside ASCII in a code."""
    try:
        datasets.encode(attributes, _IMPLICIT_VR_LITTLE_ENDIAN)
    except MalformedDataset as error:
        raise ServiceError(error.comment, Status.INVALID_ATTRIBUTE_VALUE, offending=error.offending) from None
