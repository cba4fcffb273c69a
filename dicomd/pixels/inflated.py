"""A deflated data set (PS3.5 A.5) read in place: as if the file were there with its data set inflated."""

import zlib

from attrs import define, field

from ..model.status import Undecodable
from .frames import ReadAt

_STEP = 256 * 1024


@define(eq=False)
class Inflated:
    """Reads the inflated data set, offsets counting from its first byte. Reading forward is cheap, backward begins anew."""

    read: ReadAt
    dataset_offset: int
    _machine: "zlib._Decompress" = field(init=False)
    _source: int = field(init=False)
    _position: int = field(init=False)
    _pending: bytes = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._machine = zlib.decompressobj(-zlib.MAX_WBITS)
        self._source, self._position, self._pending = self.dataset_offset, 0, b""

    def __call__(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`, fewer at the end."""
        if offset < self._position:
            self._begin()
        while self._position < offset:
            if not self._take(min(_STEP, offset - self._position)):
                return b""
        found: list[bytes] = []
        while size > 0 and (piece := self._take(min(_STEP, size))):
            found.append(piece)
            size -= len(piece)
        return b"".join(found)

    def _take(self, most: int) -> bytes:
        """The next bytes, at most `most` of them; empty at the end."""
        while not self._machine.eof:
            if not self._pending:
                self._pending = self.read(self._source, _STEP)
                self._source += len(self._pending)
                if not self._pending:
                    break
            try:
                piece = self._machine.decompress(self._pending, most)
            except zlib.error:
                raise Undecodable("the deflated data set is corrupt") from None
            self._pending = self._machine.unconsumed_tail
            if piece:
                self._position += len(piece)
                return piece
        return b""
