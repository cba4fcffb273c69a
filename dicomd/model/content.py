"""What an answer's bytes are made of: ranges of stored files, and bytes between them."""

from attrs import frozen


@frozen
class FileRange:
    """`length` bytes of the file at `path`, from `offset`."""

    path: str
    offset: int
    length: int


Piece = bytes | FileRange


def size(piece: Piece) -> int:
    """How many bytes the piece has."""
    return piece.length if isinstance(piece, FileRange) else len(piece)
