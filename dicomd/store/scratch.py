"""What a request brings besides instances: bulk data kept in the spool folder until an instance has been made of it.

Blocking; run in the disk pool. A crash leaves at most a spool file that the sweep at the next start drops.
"""

import os
from collections.abc import Sequence

from attrs import define, field

from ..model.content import FileRange, Piece
from .files import Folder
from .incoming import Rules, check_room, write_rest


@define(eq=False)
class Scratch:
    """One spool file that is written, and read in ranges, then removed."""

    folder: Folder
    rules: Rules
    path: str = field(init=False)
    _descriptor: int = field(init=False, default=-1)

    def __attrs_post_init__(self) -> None:
        self.path = self.folder.new_spool()

    def write(self, chunks: Sequence[bytes]) -> None:
        """Append."""
        if self._descriptor < 0:
            check_room(self.folder, self.rules)
            self._descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        for chunk in chunks:
            write_rest(self._descriptor, chunk)

    def read(self, piece: Piece, offset: int, count: int) -> bytes:
        """Bytes of a piece, which may be a range of this file."""
        if isinstance(piece, FileRange):
            return os.pread(self._descriptor, min(count, piece.length - offset), piece.offset + offset)
        return piece[offset : offset + count]

    def discard(self) -> None:
        """Remove the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            self.folder.discard(self.path)
