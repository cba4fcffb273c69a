"""Jobs and their results: what is handed to a thread, and how the reactor thread hears of it."""

import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from attrs import define
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

T = TypeVar("T")
log = Logger()


@define(eq=False)
class Job:
    """`then` hears of a good result in the reactor thread, even when whoever awaited `done` has left.

    `repeatable`: what it did is undone with the transaction, and it may be run again in another one.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    done: "Deferred[Any]"
    then: Callable[[Any], None] | None = None
    repeatable: bool = False


def ignore_cancel(done: "Deferred[Any]") -> None:
    """The thread's job goes on; only the waiting ends."""


class Gate:
    """A place to wait in the reactor thread until somebody opens it; everybody who waits goes on."""

    def __init__(self) -> None:
        self._waiting: list[Deferred[None]] = []

    def wait(self) -> Awaitable[None]:
        """Resolves at the next `open()`."""
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def open(self) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.called:
                one.callback(None)


def start(work: Coroutine[Any, Any, T]) -> Awaitable[T]:
    """Begin a coroutine now and await it later, beside others."""
    return ensureDeferred(work)


def spawn(work: Coroutine[Any, Any, Any]) -> None:
    """Run a coroutine that nobody awaits; an error is logged."""
    ensureDeferred(work).addErrback(lambda failure: log.failure("background work failed", failure))


class Completions:
    """Brings results from worker threads to the reactor thread, many at a wake-up."""

    def __init__(self, call_from_thread: Callable[..., None]) -> None:
        self._call_from_thread = call_from_thread
        self._finished: deque[tuple[Job, Any]] = deque()
        self._scheduled = False
        self._lock = threading.Lock()

    def add(self, results: Iterable[tuple[Job, Any]]) -> None:
        """Called in a worker thread."""
        with self._lock:
            self._finished.extend(results)
            wake, self._scheduled = not self._scheduled, True
        if wake:
            self._call_from_thread(self._deliver)

    def _deliver(self) -> None:
        with self._lock:
            finished, self._finished, self._scheduled = self._finished, deque(), False
        for job, result in finished:
            if job.then is not None and not isinstance(result, Failure):
                _tell(job.then, result)
            if not job.done.called:
                job.done.callback(result)


def _tell(then: Callable[[Any], None], result: Any) -> None:
    try:
        then(result)
    except Exception:  # noqa: BLE001 - the next result must be delivered all the same
        log.failure("what follows a job failed")
