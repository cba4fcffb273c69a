"""A stored instance opened for looking at it: its header in the JSON model, and any part of its values by reference.

No file stays open: each read opens, reads and closes, so that many instances can be kept at hand.
"""

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import frozen

from ..model.attributes import Attributes
from ..model.status import Damaged, Undecodable
from ..wire import metadata
from ..wire.datasets import inflate
from ..wire.elements import Buffer
from .retrieval import StoredInstance

_FRAGMENTS = "/bulkdata/"
# Values above this size are read from the file when they are wanted.
INLINE = 1024
# Files up to this size are read, larger ones mapped into memory, while their header is decoded.
_READ = 1 << 20


@frozen
class Value:
    """Where the value of an element lies; `encapsulated`: fragments, from the Basic Offset Table on (PS3.5 A.4)."""

    vr: str
    offset: int
    length: int
    encapsulated: bool


@frozen(eq=False)
class OpenedInstance:
    """Header and values of a stored instance. `values` are those of bulk elements by path (`7FE00010`, `…/0/…`)."""

    stored: StoredInstance
    attributes: Attributes
    values: dict[str, Value]
    inflated: bytes | None = None

    def read_at(self, offset: int, size: int) -> bytes:
        """Bytes of the file, or of the data set when it is stored deflated; fewer at the end."""
        if self.inflated is not None:
            return self.inflated[offset : offset + size]
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
        value = self.values.get(uri.partition(_FRAGMENTS)[2])
        if value is None:
            raise Undecodable("a bulk value cannot be found")
        return self.read_at(value.offset, value.length)

    @property
    def header_size(self) -> int:
        """Bytes of the file that are not bulk values: about a quarter of what `attributes` take in memory."""
        return max(0, self.stored.size - sum(value.length for value in self.values.values()))


def open_instance(stored: StoredInstance) -> OpenedInstance:
    """Read the header of a stored instance."""
    with _content(stored) as data:
        attributes, bulk, inflated = metadata.read(
            data, stored.dataset_offset, stored.transfer_syntax_uid, "", inline_threshold=INLINE
        )
        values = {path: Value(found.vr, found.offset, found.length, found.encapsulated) for path, found in bulk.items()}
        whole = bytes(inflate(memoryview(data)[stored.dataset_offset :])) if inflated else None
    return OpenedInstance(stored, attributes, values, whole)


@contextmanager
def _content(stored: StoredInstance) -> Iterator[Buffer]:
    try:
        descriptor = os.open(stored.path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        raise Damaged("the stored file is missing or damaged") from None
    try:
        if os.fstat(descriptor).st_size != stored.size:
            raise Damaged("the stored file is missing or damaged")
        if stored.size <= _READ:
            yield os.read(descriptor, stored.size)
            return
        with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as mapped:
            yield mapped
    finally:
        os.close(descriptor)
