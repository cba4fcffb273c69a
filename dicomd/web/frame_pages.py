"""Many stored frames as parts of one body: their places are told a page at a time, how long the body is beforehand."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence

from ..model.content import Piece, size
from ..services.frames import Framed
from ..wire import multipart
from . import transfer

# More frames than this are told in pages of so many.
MANY = 500

Head = Callable[[int], dict[str, str]]


async def pages(framed: Framed, numbers: Sequence[int], head: Head, boundary: str, disk: transfer.Disk) -> transfer.Pages:
    """The frames with these numbers, which lie ready; `head` gives the header of a part."""
    length = await disk(_length, framed, numbers, head, boundary)
    return transfer.Pages(_asynchronous(_pages(framed, numbers, head, boundary)), length, disk)


def _pages(framed: Framed, numbers: Sequence[int], head: Head, boundary: str) -> Iterator[list[Piece]]:
    for start in range(0, len(numbers), MANY):
        parts = ((head(number), framed.ranges(number)) for number in numbers[start : start + MANY])
        yield transfer.multipart_pieces(parts, boundary, first=not start)
    yield [multipart.closing(boundary)]


def _length(framed: Framed, numbers: Sequence[int], head: Head, boundary: str) -> int:
    return sum(sum(map(size, pieces)) for pieces in _pages(framed, numbers, head, boundary))


async def _asynchronous(found: Iterator[list[Piece]]) -> AsyncIterator[list[Piece]]:
    for pieces in found:
        yield pieces
