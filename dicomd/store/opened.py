"""A stored instance opened for looking at it: its header in the JSON model, and any part of its values by reference.

No file stays open: each read opens, reads and closes, so that many instances can be kept at hand.
"""

import io
import os
from contextlib import closing

import orjson
from attrs import frozen

from ..model.attributes import Attributes
from ..model.status import Damaged, MalformedDataset, Undecodable
from ..model.transfer_syntaxes import transfer_syntax
from . import aside
from .prepared import BulkData, Prepared, describe
from .retrieval import StoredInstance

_BULK_DATA = "/bulkdata/"
# Prepared metadata above this size (compressed) are left alone: of a file long sequences can be kept as text.
_MOST_PREPARED = 256 << 10


@frozen(eq=False)
class OpenedInstance:
    """Header and values of a stored instance. `values` are those of bulk elements by path (`7FE00010`, `…/0/…`).

    `inflated`: the data set, when it is stored deflated, or a file with it; offsets are those in it then.
    """

    stored: StoredInstance
    attributes: Attributes
    values: dict[str, BulkData]
    inflated: bytes | io.FileIO | None = None

    def read_at(self, offset: int, size: int) -> bytes:
        """Bytes of the file or of the inflated data set; fewer at the end."""
        if isinstance(self.inflated, bytes):
            return self.inflated[offset : offset + size]
        if self.inflated is not None:
            return os.pread(self.inflated.fileno(), size, offset)
        try:
            descriptor = os.open(self.stored.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            raise Damaged("the stored file is missing or damaged") from None
        try:
            return os.pread(descriptor, size, offset)
        finally:
            os.close(descriptor)

    def bulk(self, uri: str) -> bytes:
        """The value that a reference in `attributes` stands for."""
        value = self.values.get(uri.partition(_BULK_DATA)[2])
        if value is None:
            raise Undecodable("a bulk value cannot be found")
        return self.read_at(value.offset, value.length)

    @property
    def inflated_size(self) -> int:
        """Bytes that are kept of a deflated data set."""
        if isinstance(self.inflated, io.FileIO):
            return os.fstat(self.inflated.fileno()).st_size
        return len(self.inflated or b"")

    @property
    def header_size(self) -> int:
        """Bytes of the file that are not bulk values: about a quarter of what `attributes` take in memory."""
        return max(0, self.stored.size - sum(value.length for value in self.values.values()))


def open_instance(stored: StoredInstance, made: Prepared | None = None) -> OpenedInstance:
    """The header of a stored instance, from what was `made` of it or from its file; raises `Damaged` or `Undecodable`."""
    if not stored.is_whole:
        raise Damaged("the stored file is missing or damaged")
    if made is not None and _is_enough(stored, made):
        return OpenedInstance(stored, orjson.loads(made.json), made.bulk)
    try:
        described = describe(stored)
        inflated = _inflated(stored) if described.inflated else None
    except OSError:
        raise Damaged("the stored file is missing or damaged") from None
    except MalformedDataset as error:
        raise Undecodable(error.comment, offending=error.offending) from None
    return OpenedInstance(stored, described.attributes, described.bulk, inflated)


def _is_enough(stored: StoredInstance, made: Prepared) -> bool:
    return not made.problem and len(made.metadata) <= _MOST_PREPARED and not transfer_syntax(stored.transfer_syntax_uid).deflated


def _inflated(stored: StoredInstance) -> bytes | io.FileIO:
    file = aside.inflated(stored.path, stored.dataset_offset)
    if (size := file.tell()) > aside.LARGE:
        return file
    with closing(file):
        return os.pread(file.fileno(), size, 0)
