"""Request bodies that hold instances as Part 10 files (PS3.18 10.5.2): each part goes straight into a `Reception`."""

from attrs import define, field

from ..model.status import Undecodable
from ..services.storage import Reception
from ..wire import multipart
from ..wire.multipart import MalformedMultipart
from .receipt import Receipt


@define(eq=False)
class _Instance:
    """One Part 10 file of a body; without a reception its bytes are dropped."""

    receipt: Receipt
    reception: Reception | None = field(init=False)
    open: bool = True

    def __attrs_post_init__(self) -> None:
        self.reception = self.receipt.begin()

    def write(self, data: bytes | memoryview) -> None:
        if self.reception is not None:
            self.receipt.write(self.reception, data)

    def end(self) -> None:
        self.open = False
        if self.reception is not None:
            self.receipt.store(self.reception)

    def abandon(self) -> None:
        """Drop it, unless it is complete."""
        if self.open and self.reception is not None:
            self.reception.abandon()


@define(eq=False)
class SinglePart:
    """Receives `application/dicom`: the body is one instance."""

    receipt: Receipt
    _instance: _Instance = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._instance = _Instance(self.receipt)

    def write(self, data: bytes) -> None:
        self.receipt.count(data)
        self._instance.write(data)

    def end(self) -> None:
        self._instance.end()

    def abandon(self) -> None:
        self._instance.abandon()
        self.receipt.abandon()

    async def complete(self) -> None:
        """Everything is on its way already."""


@define(eq=False)
class Instances:
    """Receives `multipart/related; type="application/dicom"`: each part is one instance.

    What a part says of itself is not asked: its bytes decide. When the body breaks off or is malformed, the complete parts
    before are stored all the same.
    """

    receipt: Receipt
    boundary: str
    _reader: multipart.Reader = field(init=False)
    _part: _Instance | None = None

    def __attrs_post_init__(self) -> None:
        self._reader = multipart.Reader(self.boundary, self._begin)

    def _begin(self, headers: dict[str, str]) -> _Instance:
        self._part = _Instance(self.receipt)
        return self._part

    def write(self, data: bytes) -> None:
        """The next piece of the body."""
        self.receipt.count(data)
        if self.receipt.error:
            return
        try:
            self._reader.write(data)
        except MalformedMultipart as error:
            self._broken(str(error))

    def end(self) -> None:
        """The body is over."""
        if self.receipt.error:
            return
        try:
            self._reader.end()
        except MalformedMultipart as error:
            self._broken(str(error))

    def abandon(self) -> None:
        self.abandon_part()
        self.receipt.abandon()

    async def complete(self) -> None:
        """Everything is on its way already."""

    def abandon_part(self) -> None:
        """Drop the part that is arriving."""
        if self._part is not None:
            self._part.abandon()

    def _broken(self, why: str) -> None:
        """The part that is not complete is a failure of its own; a body with no part at all is a bad request."""
        self.receipt.error = why
        is_open = self._part is not None and self._part.open
        self.abandon_part()
        if is_open or self.receipt.results:
            self.receipt.fail(Undecodable(why))
