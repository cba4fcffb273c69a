"""What one Store request brings (PS3.18 10.5): instances on their way into the storage, and what became of each, in order."""

from collections import deque
from collections.abc import Awaitable, Sequence
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, succeed

from ..model.status import ServiceError, Status, TooLarge
from ..services.storage import ANYWHERE, Reception, Source, Storage, StoreOutcome, Target

# Instances of one request that are stored at the same time; the transport pauses while there are more.
AT_ONCE = 8


@frozen
class Failure:
    """A part that never became an instance with a name."""

    status: Status
    comment: str
    error: ServiceError | None = None


Result = StoreOutcome | Failure


@define(eq=False)
class Receipt:
    """What one request brings: receptions in order, of which `AT_ONCE` are being stored."""

    storage: Storage
    request: Any
    target: Target = ANYWHERE
    # The most bytes that the body may have; 0 means no limit.
    limit: int = 0
    error: str = ""
    received: int = 0
    results: list["Deferred[Result]"] = field(factory=list)
    _waiting: deque[tuple[Reception, "Deferred[Result]"]] = field(factory=deque)
    _storing: int = 0
    _holds: int = 0

    def count(self, data: bytes) -> None:
        """The next piece of the body; raises `TooLarge`."""
        self.received += len(data)
        if self.limit and self.received > self.limit:
            raise TooLarge(f"the request has more than {self.limit} bytes")

    @property
    def source(self) -> Source:
        """Who sends."""
        return Source("HTTP", peer=self.request.peer)

    def begin(self) -> Reception | None:
        """Begin an instance; None when the store has no room for it, which is noted."""
        try:
            return self.storage.begin(self.source)
        except ServiceError as error:
            self.fail(error)
            return None

    def write(self, reception: Reception, data: bytes | memoryview) -> None:
        """Bytes of an instance, with back-pressure on the client."""
        if not reception.write(data):
            self._hold(Deferred.fromCoroutine(_settled(reception.ready())))

    def store(self, reception: Reception) -> None:
        """The instance is complete."""
        if self._storing < AT_ONCE:
            self.results.append(self._start(reception))
            return
        done: Deferred[Result] = Deferred()
        self.results.append(done)
        self._waiting.append((reception, done))
        full: Deferred[None] = Deferred()
        done.addBoth(lambda result: (full.callback(None), result)[1])
        self._hold(full)

    def fail(self, error: ServiceError) -> None:
        """A part is not an instance."""
        done: Deferred[Result] = Deferred()
        done.callback(Failure(error.status, error.comment, error))
        self.results.append(done)

    def add(self, results: Sequence[Result]) -> None:
        """What became of instances that did not come as receptions."""
        self.results.extend(succeed(result) for result in results)

    def abandon(self) -> None:
        """The client has gone: what has not begun to be stored is dropped."""
        while self._waiting:
            reception, done = self._waiting.popleft()
            reception.abandon()
            done.callback(Failure(Status.PROCESSING_FAILURE, "the client left"))

    def _start(self, reception: Reception) -> "Deferred[Result]":
        self._storing += 1
        stored: Deferred[Result] = Deferred.fromCoroutine(self.storage.store(reception, self.target))
        return stored.addBoth(self._stored)

    def _stored(self, result: Any) -> Any:
        self._storing -= 1
        if self._waiting:
            reception, done = self._waiting.popleft()
            self._start(reception).addBoth(done.callback)
        return result

    def _hold(self, until: "Deferred[None]") -> None:
        """Read no more of the body until `until`."""
        if until.called:
            return
        self._holds += 1
        if self._holds == 1:
            self.request.pause()
        until.addBoth(self._release)

    def _release(self, _: Any) -> None:
        self._holds -= 1
        if not self._holds:
            self.request.resume()


async def _settled(waiting: Awaitable[None]) -> None:
    await waiting
