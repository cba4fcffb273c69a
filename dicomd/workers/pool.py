"""A pool of threads with one bounded queue."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ..model.status import Busy
from .jobs import Completions, Job, ignore_cancel

T = TypeVar("T")
PASSED_ON = object()
_STOP = Job(lambda: None, (), Deferred())


class _Thread:
    """A thread of a pool while it waits: it is handed its next job."""

    def __init__(self) -> None:
        self.job = _STOP
        self.wake = threading.Lock()
        self.wake.acquire()


@define(eq=False)
class Pool:
    """`size` threads that take jobs from one bounded queue; `context` may wrap each job and give it a first argument.

    The thread that was idle last gets the next job: its memory is still in the processor's caches, and no other is woken.
    """

    name: str
    size: int
    bound: int
    completions: Completions
    context: Callable[[], AbstractContextManager[Any]] | None = None
    _jobs: deque[Job] = field(init=False, factory=deque)
    _idle: list[_Thread] = field(init=False, factory=list)
    _mutex: Any = field(init=False, factory=threading.Lock)
    _threads: list[threading.Thread] = field(init=False, factory=list)

    def start(self) -> None:
        for number in range(self.size):
            thread = threading.Thread(target=self._work, name=f"{self.name}-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def submit(self, function: Callable[..., T], *arguments: Any) -> "Deferred[T]":
        """Run `function(*arguments)` in the pool; raises `Busy` when the queue is full."""
        return self.put(Job(function, arguments, Deferred(ignore_cancel)))

    def insist(self, function: Callable[..., T], *arguments: Any) -> "Deferred[T]":
        """The same however long the queue is: for what must be tidied up."""
        job = Job(function, arguments, Deferred(ignore_cancel))
        self._hand_over(job)
        return job.done

    def put(self, job: Job) -> "Deferred[Any]":
        """Queue a job; raises `Busy` when the queue is full."""
        if len(self._jobs) >= self.bound:
            raise Busy(f"the {self.name} queue is full, try again later")
        self._hand_over(job)
        return job.done

    def _hand_over(self, job: Job) -> None:
        with self._mutex:
            if not self._idle:
                self._jobs.append(job)
                return
            thread = self._idle.pop()
        thread.job = job
        thread.wake.release()

    def _next(self, thread: _Thread) -> Job:
        with self._mutex:
            if self._jobs:
                return self._jobs.popleft()
            self._idle.append(thread)
        thread.wake.acquire()
        return thread.job

    def _work(self) -> None:
        thread = _Thread()
        while (job := self._next(thread)) is not _STOP:
            result = self._run(job)
            if result is not PASSED_ON:
                self.completions.add([(job, result)])

    def _run(self, job: Job) -> Any:
        try:
            if self.context is None:
                return job.function(*job.arguments)
            with self.context() as first:
                return job.function(first, *job.arguments)
        except BaseException:  # noqa: BLE001 - handed to whoever awaits the job
            return Failure()

    def stop(self, deadline: float) -> None:
        """Finish what is queued, then end the threads; blocks until then, or until `deadline` (monotonic seconds)."""
        for _ in self._threads:
            self._hand_over(_STOP)
        join(self._threads, deadline)


def join(threads: Iterable[threading.Thread], deadline: float) -> None:
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
