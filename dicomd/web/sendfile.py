"""Large bodies straight from the page cache to the socket (sendfile), for plain TCP connections.

A disk worker sends until the socket takes no more; it never waits for the client longer than `PATIENCE_MS`. Then the reactor
says when the socket is writable again. The transport's own buffer is empty meanwhile: we are its pull producer.
"""

import io
import os
import select
import socket
from collections.abc import Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.tcp import Connection

from ..model.content import FileRange, Piece

# Below this the two more turns of the reactor cost more than copying does.
LEAST = 1 << 20
# The most one job sends before others have their turn, and how long it waits for a client that is nearly as fast.
BATCH, PATIENCE_MS = 16 << 20, 2


def possible(request: Any, length: int) -> bool:
    """Whether the body is worth it and the connection is a plain socket."""
    return length >= LEAST and isinstance(request.channel.transport, Connection)


@define(eq=False)
class Direct:
    """Sends pieces over a channel's socket: `disk` runs a job in a worker, `stall_seconds` bounds each wait for the client."""

    channel: Any
    pieces: Sequence[Piece]
    disk: Any
    stall_seconds: float
    _writable: "Deferred[None] | None" = field(default=None, init=False)
    _gone: bool = field(default=False, init=False)

    async def send(self) -> None:
        """Everything, in order; raises `ConnectionLost` when the client leaves, EOFError when a file is too short."""
        transport = self.channel.transport
        transport.unregisterProducer()
        job = _Job(os.dup(transport.fileno()), self.pieces)
        try:
            transport.registerProducer(self, False)
            await self._turn(transport)
            while not await self.disk(job.run):
                await self._turn(transport)
        finally:
            job.close()
            self.pieces = ()
            if not self._gone:
                transport.unregisterProducer()
                transport.registerProducer(self.channel, True)

    async def _turn(self, transport: Any) -> None:
        """Wait until the transport has nothing to write and the socket takes more."""
        if not self._gone:
            self._writable = Deferred()
            transport.startWriting()
            overdue = self.channel.callLater(self.stall_seconds, transport.abortConnection)
            try:
                await self._writable
            finally:
                self._writable = None
                if overdue.active():
                    overdue.cancel()
        if self._gone:
            raise ConnectionLost()

    def resumeProducing(self) -> None:
        """The transport's buffer is empty and its socket writable (or we have just been registered, and do not wait yet)."""
        if self._writable is not None:
            self._writable.callback(None)

    def stopProducing(self) -> None:
        """The connection is lost."""
        self._gone = True
        self.resumeProducing()


class _Job:
    """What remains to be sent; `run` in a disk worker, one call at a time. The socket is a duplicate: its number stays ours."""

    def __init__(self, number: int, pieces: Sequence[Piece]) -> None:
        self._socket = socket.socket(fileno=number)
        self._pieces, self._begun = pieces, 0
        self._file: io.FileIO | None = None
        self._rest: memoryview | FileRange | None = None
        self._running = self._closed = False

    def run(self) -> bool:
        """Whether everything has been sent; False when the client has to read first, or it is the turn of others."""
        self._running = True
        try:
            return self._send()
        finally:
            self._running = False
            if self._closed:
                self._release()

    def _send(self) -> bool:
        sent = 0
        while sent < BATCH and not self._closed:
            if self._rest is None and not self._next():
                return True
            try:
                sent += self._some()
            except BlockingIOError:
                if not self._patient():
                    return False
        return False

    def _next(self) -> bool:
        if self._begun == len(self._pieces):
            return False
        piece = self._pieces[self._begun]
        self._begun += 1
        if isinstance(piece, FileRange):
            self._file, self._rest = io.FileIO(piece.path), piece
        else:
            self._rest = memoryview(piece)
        return True

    def _some(self) -> int:
        rest = self._rest
        if isinstance(rest, FileRange):
            return self._from_file(rest)
        assert rest is not None
        more = socket.MSG_MORE if self._begun < len(self._pieces) else 0
        sent = self._socket.send(rest, more)
        self._rest = rest[sent:] if sent < len(rest) else None
        return sent

    def _from_file(self, rest: FileRange) -> int:
        assert self._file is not None
        sent = os.sendfile(self._socket.fileno(), self._file.fileno(), rest.offset, rest.length) if rest.length else 0
        if not sent and rest.length:
            raise EOFError("a stored file is shorter than the index says")
        self._rest = rest.part(sent, rest.length - sent) if sent < rest.length else None
        if self._rest is None:
            self._file.close()
            self._file = None
        return sent

    def _patient(self) -> bool:
        waiting = select.poll()
        waiting.register(self._socket, select.POLLOUT)
        return bool(waiting.poll(PATIENCE_MS))

    def close(self) -> None:
        """Nothing more is to be sent; a job under way releases what it holds itself."""
        self._closed = True
        if not self._running:
            self._release()

    def _release(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()
        self._pieces, self._rest = (), None
        self._socket.close()
