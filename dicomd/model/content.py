"""What an answer's bytes are made of: ranges of stored files, and bytes between them."""

from typing import Any

from attrs import field, frozen


@frozen
class FileRange:
    """`length` bytes of the file at `path`, from `offset`. `held` keeps a file there that has no other name."""

    path: str
    offset: int
    length: int
    held: Any = field(default=None, eq=False, repr=False)

    def part(self, start: int, length: int) -> "FileRange":
        """`length` bytes from `start` on."""
        return FileRange(self.path, self.offset + start, length, self.held)


Piece = bytes | FileRange


def size(piece: Piece) -> int:
    """How many bytes the piece has."""
    return piece.length if isinstance(piece, FileRange) else len(piece)
