"""What the archive tells of a stored instance: its whole data set in the JSON model with references for bulk data (PS3.18 F.2.6).

Made once when an instance is stored, straight from the bytes of its file; pixel data are stepped over, never read.
"""

import orjson
from attrs import frozen

from ..model.attributes import Attributes
from .datasets import inflate
from .decoding import BulkData, Decoder, References
from .elements import DEFLATED, Buffer, actual_layout, layout_of
from .json_model import declared_utf_8

# Stands in prepared metadata where the web door writes the service's base URL.
BASE = "@@BASE@@"


@frozen
class Prepared:
    """`json`: one JSON object. `bulk`: path of an element -> where its value lies in the file.

    `inflated`: the file's data set is deflated, and the offsets are those in the inflated data set, from its first byte.
    """

    json: bytes
    bulk: dict[str, BulkData]
    inflated: bool = False


def resource_of(study_instance_uid: str, series_instance_uid: str, sop_instance_uid: str) -> str:
    """The URL of an instance in prepared metadata (PS3.18 10.1)."""
    return f"{BASE}/studies/{study_instance_uid}/series/{series_instance_uid}/instances/{sop_instance_uid}"


def resource_of_non_patient(resource: str, sop_instance_uid: str) -> str:
    """The URL of a non-patient instance in prepared metadata (PS3.18 12.1)."""
    return f"{BASE}/{resource}/{sop_instance_uid}"


def metadata(data: Buffer, dataset_offset: int, transfer_syntax: str, resource: str, *, inline_threshold: int = 1024) -> Prepared:
    """Prepare the metadata of a Part 10 file of any size, `data` being the whole file (mapped into memory when large)."""
    attributes, bulk, inflated = read(data, dataset_offset, transfer_syntax, resource, inline_threshold=inline_threshold)
    return Prepared(orjson.dumps(attributes), bulk, inflated)


def read(
    data: Buffer, dataset_offset: int, transfer_syntax: str, resource: str, *, inline_threshold: int = 1024
) -> tuple[Attributes, dict[str, BulkData], bool]:
    """The attributes that `metadata` serialises (items of very long sequences already are), and the rest of it."""
    inflated = transfer_syntax == DEFLATED
    if inflated:
        data, dataset_offset = inflate(memoryview(data)[dataset_offset:]), 0
    references = References(resource, inline_threshold)
    form = actual_layout(data, dataset_offset, layout_of(transfer_syntax))
    attributes = Decoder(data, form, references).decode(dataset_offset, len(data))
    return declared_utf_8(attributes), references.found, inflated
