"""MLLP: HL7 v2 messages in blocks of <VT> message <FS> <CR>; each is answered by one ACK on the same connection.

AA: done. AE: the content was refused, MSA-3 says why. AR: not a message this server takes, or it is too busy.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure

from ..model.status import Busy, ServiceError, Status
from ..services.worklist import Worklist
from ..wire import hl7
from ..wire.hl7_message import acknowledgement, read_header

log = Logger()

START, END = b"\x0b", b"\x1c\r"
LARGEST_MESSAGE = 1 << 20
IDLE_SECONDS = 600


@define(eq=False, slots=False)
class Listener(Factory):
    """`run` runs a function in a worker thread."""

    worklist: Worklist
    run: Callable[..., Awaitable[Any]]
    clock: IReactorTime
    connections: set["Connection"] = field(factory=set, init=False)
    noisy = False

    def buildProtocol(self, address: Any) -> "Connection":
        return Connection(self)

    async def drain(self, seconds: float) -> None:
        """Let the messages at hand be answered, then close."""
        busy = [connection.working for connection in self.connections if connection.working is not None]
        timer = self.clock.callLater(seconds, lambda: [waiting.cancel() for waiting in busy])
        await DeferredList(busy, consumeErrors=True)
        if timer.active():
            timer.cancel()
        for connection in tuple(self.connections):
            connection.transport.loseConnection()

    async def take(self, data: bytes) -> bytes:
        """The acknowledgement of one message, after it was done."""
        code, comment = "AA", ""
        try:
            unknown = await self.worklist.carry_out(await self.run(hl7.orders, data))
            if unknown:
                log.info("{count} cancelled steps were not on the worklist", count=unknown)
        except ServiceError as error:
            log.info("an HL7 message was refused: {comment}", comment=error.comment)
            rejected = isinstance(error, Busy) or error.status in (Status.SOP_CLASS_NOT_SUPPORTED, Status.CANNOT_UNDERSTAND)
            code, comment = "AR" if rejected else "AE", error.comment
        at = datetime.fromtimestamp(self.clock.seconds(), UTC).strftime("%Y%m%d%H%M%S+0000")
        return acknowledgement(read_header(data), code, at, comment)


class Connection(Protocol, TimeoutMixin):
    """One sender. A message is answered before the next is read."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._buffer = bytearray()
        self.working: Deferred[None] | None = None

    def callLater(self, seconds: float, function: Callable[[], None]) -> Any:
        return self._listener.clock.callLater(seconds, function)

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self._listener.connections.add(self)
        self.setTimeout(IDLE_SECONDS)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.setTimeout(None)
        self._listener.connections.discard(self)

    def dataReceived(self, data: bytes) -> None:
        self.resetTimeout()
        self._buffer += data
        self._next()

    def _next(self) -> None:
        if self.working is not None:
            self.transport.pauseProducing()
            return
        start = self._buffer.find(START)
        if start < 0:
            self._buffer.clear()
            return
        end = self._buffer.find(END, start)
        if end < 0:
            if len(self._buffer) > LARGEST_MESSAGE:
                log.warn("an HL7 message is longer than {limit} bytes", limit=LARGEST_MESSAGE)
                self.transport.abortConnection()
            return
        message = bytes(self._buffer[start + 1 : end])
        del self._buffer[: end + len(END)]
        self.working = ensureDeferred(self._answer(message))
        self.working.addBoth(self._answered)

    async def _answer(self, message: bytes) -> None:
        self.transport.write(START + await self._listener.take(message) + END)

    def _answered(self, result: Any) -> None:
        self.working = None
        if isinstance(result, Failure):
            log.failure("an HL7 message could not be handled", result)
            self.transport.abortConnection()
            return
        self.transport.resumeProducing()
        self._next()

    def timeoutConnection(self) -> None:
        self.transport.loseConnection()
