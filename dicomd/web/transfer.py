"""Bodies: small ones collected within a bound, and answers sent piece by piece no faster than the client reads.

The bytes of stored files are read in the disk pool, in batches of at most about `BATCH` bytes (several small files are one
batch; less for a slow client), one batch ahead of what is being sent.
"""

import gzip
import io
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost

from ..model.content import FileRange, Piece, size
from ..model.status import Damaged, InvalidRequest, TooLarge
from ..services.pace import Pace
from ..wire import media, multipart
from . import sendfile

BATCH = 256 * 1024
# A client that does not read for so long is not served any longer.
STALL_SECONDS = 60.0
GZIP_FROM = 2048

Disk = Callable[..., Awaitable[Any]]


class Collected:
    """Receives a body into memory, up to `limit` bytes."""

    def __init__(self, limit: int, length: int | None) -> None:
        if length is not None and length > limit:
            raise TooLarge(f"the body has more than the {limit} bytes allowed here")
        self._limit, self._size = limit, 0
        self._chunks: list[bytes] = []

    def write(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._limit:
            raise TooLarge(f"the body has more than the {self._limit} bytes allowed here")
        self._chunks.append(data)

    def end(self) -> None:
        """Nothing more to do."""

    def abandon(self) -> None:
        self._chunks.clear()

    @property
    def content(self) -> bytes:
        """The whole body."""
        return b"".join(self._chunks)


async def body(request: Any, limit: int | None = None) -> bytes:
    """The body of a request whose row has no receiver of its own."""
    receiver = request.receiver
    content = receiver.content if isinstance(receiver, Collected) else b""
    if limit is not None and len(content) > limit:
        raise TooLarge(f"the body has more than the {limit} bytes allowed here")
    return content


def accept(request: Any) -> media.Accept:
    """What the client takes: its Accept header and the `accept` query parameter."""
    if request.accepted is None:
        header = request.header(b"Accept")
        parameters = tuple(value for name, value in request.pairs if name == "accept") if b"accept=" in request.query else ()
        request.accepted = media.accept(header.decode("latin-1") if header is not None else None, parameters)
    accepted: media.Accept = request.accepted
    return accepted


class _Gate:
    """A push producer that only opens and closes; `open()` waits while the client is behind, but not for ever."""

    def __init__(self, request: Any) -> None:
        self._request = request
        self._waiting: Deferred[None] | None = None
        self._closed = self._gone = False
        self._overdue: Any = None

    def pauseProducing(self) -> None:
        self._closed = True

    def resumeProducing(self) -> None:
        self._closed = False
        self._wake()

    def stopProducing(self) -> None:
        self._gone, self._closed = True, False
        self._wake()

    def _wake(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.callback(None)

    async def open(self) -> None:
        """Wait until the client has taken what was written."""
        if self._closed and not self._gone:
            self._waiting = Deferred()
            self._overdue = self._request.channel.callLater(STALL_SECONDS, self._stalled)
            await self._waiting
        if self._gone or self._request._disconnected:
            raise ConnectionLost()

    def _stalled(self) -> None:
        self._overdue = None
        self._request.transport.abortConnection()

    def close(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None


@define(eq=False)
class Pieces:
    """A body made of bytes and file ranges, whose length is known."""

    pieces: Sequence[Piece]
    disk: Disk
    length: int | None = field(init=False)
    _files: "_Files" = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.length = sum(map(size, self.pieces))
        self._files = _Files(self.pieces)

    async def send(self, request: Any) -> None:
        if sendfile.possible(request, self.length or 0):
            await sendfile.Direct(request.channel, self.pieces, self.disk, STALL_SECONDS).send()
        else:
            await self._copy(request)

    async def _copy(self, request: Any) -> None:
        gate = _Gate(request)
        request.registerProducer(gate, True)
        ahead: Awaitable[Any] | None = self.disk(self._files.read)
        try:
            while ahead is not None:
                batch, more = await ahead
                ahead = self.disk(self._files.read) if more else None
                request.channel.writeSequence(batch)
                await gate.open()
        finally:
            _forget(ahead)
            gate.close()
            if not request._disconnected:
                request.unregisterProducer()

    def close(self) -> None:
        """Give up the files; those without a name are gone with the last who refers to them."""
        self._files.close()
        self.pieces = ()


@define(eq=False)
class Pages:
    """A body of many pieces that are told a page at a time; how long all of them are together is known beforehand."""

    pages: AsyncIterator[Sequence[Piece]]
    length: int | None
    disk: Disk

    async def send(self, request: Any) -> None:
        """Raises `Damaged` when there is less, at its end, so that it shows; or more."""
        left = self.length or 0
        async for pieces in self.pages:
            body = Pieces(pieces, self.disk)
            left -= body.length or 0
            if left < 0:
                break
            try:
                await body.send(request)
            finally:
                body.close()
        if left:
            raise Damaged("what the answer consists of has changed meanwhile")

    def close(self) -> None:
        """Each page is given up when it has been sent."""


@define(eq=False)
class Streamed:
    """A body whose pieces come into being while it is sent; its length is not known beforehand."""

    chunks: AsyncIterator[bytes]
    length: int | None = None

    async def send(self, request: Any) -> None:
        gate = _Gate(request)
        request.registerProducer(gate, True)
        try:
            async for chunk in self.chunks:
                for piece in _cut_up(chunk):
                    request.channel.writeSequence([b"%x\r\n" % len(piece), piece, b"\r\n"] if request.chunked else [piece])
                    await gate.open()
        finally:
            gate.close()
            if not request._disconnected:
                request.unregisterProducer()

    def close(self) -> None:
        """What the iterator holds is its own."""


def _cut_up(chunk: bytes) -> Iterator[bytes]:
    """What is longer is not given to the transport at once, which may copy it."""
    if 0 < len(chunk) <= BATCH:
        return iter((chunk,))
    return (chunk[start : start + BATCH] for start in range(0, len(chunk), BATCH))


async def chunks(pieces: Sequence[Piece], disk: Disk, pace: Pace | None = None) -> AsyncIterator[bytes]:
    """The bytes of the pieces, for a body whose length is not known; `pace` is that of its receiver."""
    if all(isinstance(piece, bytes) for piece in pieces):
        for piece in pieces:
            assert isinstance(piece, bytes)
            yield piece
        return
    files, more = _Files(pieces, pace), True
    try:
        while more:
            batch, more = await disk(files.read)
            for data in batch:
                yield data
    finally:
        files.close()


async def chunks_of(contents: AsyncIterator[Sequence[Piece]], disk: Disk) -> AsyncIterator[bytes]:
    """The same of one content after the other."""
    async for pieces in contents:
        async for chunk in chunks(pieces, disk):
            yield chunk


class _Files:
    """Reads pieces in order, a batch a call. One call at a time, each in a disk worker; a file stays open while it is read."""

    def __init__(self, pieces: Sequence[Piece], pace: Pace | None = None) -> None:
        self._todo: Iterator[Piece] = iter(pieces)
        self._unread = sum(map(size, pieces))
        self._file: io.FileIO | None = None
        self._offset = self._left = 0
        self._reading = self._ended = False
        self._pace = pace

    def read(self) -> tuple[list[bytes], bool]:
        """The next batch, and whether there is more."""
        self._reading = True
        try:
            batch: list[bytes] = []
            self._pace = self._pace or Pace(BATCH)
            wanted = self._pace.next()
            if self._unread < wanted + wanted // 4:  # a small rest is not worth another job
                wanted = self._unread
            while wanted > 0 and self._unread and not self._ended:
                batch.append(self._next(wanted))
                wanted -= len(batch[-1])
                self._unread -= len(batch[-1])
            return batch, bool(self._unread)
        finally:
            self._reading = False
            if self._ended:
                self._release()

    def _next(self, wanted: int) -> bytes:
        while not self._left:
            piece = next(self._todo)
            if isinstance(piece, bytes):
                return piece
            self._release()
            self._file = io.FileIO(piece.path)
            self._offset, self._left = piece.offset, piece.length
        assert self._file is not None
        data = os.pread(self._file.fileno(), min(self._left, wanted), self._offset)
        if not data:
            raise EOFError("a stored file is shorter than the index says")
        self._offset += len(data)
        self._left -= len(data)
        if not self._left:
            self._release()
        return data

    def _release(self) -> None:
        """Close the open file; harmless when done twice, even by two threads at once."""
        file, self._file = self._file, None
        if file is not None:
            file.close()
        if self._ended:
            self._todo = iter(())

    def close(self) -> None:
        """No more will be read; a read under way releases its file itself."""
        self._ended = True
        if not self._reading:
            self._release()


def _forget(ahead: Any) -> None:
    """Nobody waits for this read any longer; its failure is of no interest."""
    if isinstance(ahead, Deferred):
        ahead.addErrback(lambda _: None)


def multipart_response(parts: Iterable[tuple[dict[str, str], Sequence[Piece]]], boundary: str = "") -> tuple[str, list[Piece]]:
    """The boundary and all pieces of a multipart/related body of `parts`: headers (without Content-Length) and content.

    Ranges of the body can be asked for when `boundary` is the same every time; it must not occur in the content.
    """
    boundary = boundary or multipart.boundary()
    return boundary, [*multipart_pieces(parts, boundary), multipart.closing(boundary)]


def multipart_pieces(
    parts: Iterable[tuple[dict[str, str], Sequence[Piece]]], boundary: str, *, first: bool = True
) -> list[Piece]:
    """The pieces of some parts of such a body, from the first part of it or a later one."""
    pieces: list[Piece] = []
    for headers, content in parts:
        length = {"Content-Length": str(sum(map(size, content)))}
        pieces.append(multipart.part_head(boundary, headers | length, first=first))
        pieces.extend(content)
        first = False
    return pieces


def byte_range(header: bytes | None, length: int) -> tuple[int, int] | None:
    """The one range asked for (RFC 9110 14.2) as offset and length; None: send everything.

    Several ranges or another unit are as none. A range outside raises `RangeOutside`.
    """
    unit, _, spec = (header or b"").partition(b"=")
    first, dash, last = spec.strip().partition(b"-")
    if unit.strip().lower() != b"bytes" or not dash or b"," in spec:
        return None
    if not (first.isdigit() or (not first and last.isdigit())) or (last and not last.isdigit()):
        return None
    start, stop = (int(first), int(last) + 1 if last else length) if first else (max(0, length - int(last)), length)
    stop = min(stop, length)
    if first and last and int(last) < int(first):
        return None
    if start >= stop:
        raise RangeOutside(length)
    return start, stop - start


class RangeOutside(InvalidRequest):
    """No byte of the range exists (416)."""

    def __init__(self, length: int) -> None:
        super().__init__(f"the range lies outside the {length} bytes there are")
        self.length = length


def cut(pieces: Iterable[Piece], offset: int, length: int) -> list[Piece]:
    """`length` bytes of the pieces from `offset`."""
    found: list[Piece] = []
    for piece in pieces:
        if length <= 0:
            break
        whole = size(piece)
        if offset >= whole:
            offset -= whole
            continue
        taken = min(whole - offset, length)
        if isinstance(piece, FileRange):
            found.append(piece.part(offset, taken))
        else:
            found.append(piece[offset : offset + taken])
        offset, length = 0, length - taken
    return found


def not_modified(request: Any, etag: str) -> bool:
    """Whether If-None-Match names `etag` (weak comparison, RFC 9110 13.1.2)."""
    header = request.header(b"If-None-Match")
    if header is None:
        return False
    listed = [item.strip().removeprefix("W/") for item in header.decode("latin-1").split(",")]
    return "*" in listed or etag.removeprefix("W/") in listed


def takes_gzip(request: Any) -> bool:
    """Whether the client takes Content-Encoding gzip."""
    header = request.header(b"Accept-Encoding")
    if header is None or b"gzip" not in header:
        return False
    for item in header.decode("latin-1").lower().split(","):
        name, _, parameters = item.partition(";")
        if name.strip() == "gzip":
            return parameters.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def gzipped(content: bytes) -> bytes:
    """Compress fast; run in a worker when large."""
    return gzip.compress(content, compresslevel=1, mtime=0)
