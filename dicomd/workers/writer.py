"""The writer: one connection, and commits that jobs share."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ..model.status import Busy
from .jobs import Completions, Job, ignore_cancel
from .pool import PASSED_ON, Pool, join

T = TypeVar("T")


class Transactions(Protocol):
    """What the writer needs of the index: connections, and a savepoint around each job of a mixed group."""

    def reader(self) -> AbstractContextManager[Any]:
        """A connection for one read job."""

    def batch(self) -> AbstractContextManager[Any]:
        """A connection in one transaction, committed durably when the block ends without error."""

    def savepoint(self, connection: Any) -> AbstractContextManager[Any]:
        """Undo what happened inside the block when it raises."""


class _Expected:
    """How many jobs are on their way to the writer in threads of another pool. Those once waited for in vain are slow."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._count = self._slow = 0

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """One is on its way during the block, which ends when it is queued, or will not come."""
        with self._changed:
            self._count += 1
        try:
            yield
        finally:
            with self._changed:
                self._count -= 1
                self._slow = min(self._slow, self._count)
                if self._count == self._slow:
                    self._changed.notify()

    def wait(self, seconds: float) -> None:
        """Wait until none is on its way but slow ones, or the time is over. For one thread at a time."""
        if self._count > self._slow:
            with self._changed:
                if not self._changed.wait_for(lambda: self._count == self._slow, seconds):
                    self._slow = self._count


class Writer:
    """One connection: all jobs waiting at that moment share a transaction. What one that fails did is undone alone.

    It has a thread of its own for jobs from the reactor. A job that another pool passes on is committed by that pool's thread,
    unless a commit is under way: whoever does that takes it along with the next group. So a lone instance needs one hop
    less, and many share a commit. For those that are on their way a commit waits a little: one for all costs less than two.
    """

    LARGEST_GROUP = 256
    HOLD_SECONDS = 0.0015

    def __init__(self, name: str, bound: int, completions: Completions, transactions: Transactions) -> None:
        self.name, self._bound = name, bound
        self._completions, self._transactions = completions, transactions
        self._jobs: deque[Job] = deque()
        self._turn = threading.Lock()
        self._expected = _Expected()
        self._bell: SimpleQueue[bool] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, function: Callable[..., T], *arguments: Any) -> "Deferred[T]":
        """Run `function(connection, *arguments)`; raises `Busy` when the queue is full."""
        if len(self._jobs) >= self._bound:
            raise Busy(f"the {self.name} queue is full, try again later")
        job = Job(function, arguments, Deferred(ignore_cancel))
        self._jobs.append(job)
        self._bell.put(True)
        return job.done

    def pass_on(self, job: Job, first: Callable[[], Callable[[Any], Any]]) -> None:
        """Run `first` in the calling thread, one of another pool, and take the function that it returns as that of the job.

        That thread commits it, too, unless somebody is at it, and waits if too much is queued.
        """
        with self._expected.one_more():
            job.function = first()
            self._jobs.append(job)
        if len(self._jobs) > self._bound:
            with self._turn:
                self._commit_next()
        self._serve()

    def _work(self) -> None:
        while self._bell.get():
            self._serve()

    def _serve(self) -> None:
        """Commit what is queued. Nothing is left behind: whoever holds the turn looks again after giving it up."""
        while self._jobs and self._turn.acquire(blocking=False):
            try:
                if len(self._jobs) < self.LARGEST_GROUP:
                    self._expected.wait(self.HOLD_SECONDS)
                self._commit_next()
            finally:
                self._turn.release()

    def _commit_next(self) -> None:
        group: list[Job] = []
        while self._jobs and len(group) < self.LARGEST_GROUP:
            group.append(self._jobs.popleft())
        if group:
            self._completions.add(self._commit(group))

    def _commit(self, jobs: list[Job]) -> list[tuple[Job, Any]]:
        if len(jobs) == 1:
            return [(jobs[0], self._commit_one(jobs[0]))]
        if all(job.repeatable for job in jobs):
            with suppress(BaseException), self._transactions.batch() as connection:
                return [(job, job.function(connection, *job.arguments)) for job in jobs]
        return self._commit_apart(jobs)

    def _commit_apart(self, jobs: list[Job]) -> list[tuple[Job, Any]]:
        """One transaction, in which a job that fails takes no other with it."""
        results: list[tuple[Job, Any]] = []
        try:
            with self._transactions.batch() as connection:
                for job in jobs:
                    results.append((job, self._attempt(connection, job)))
        except BaseException:  # noqa: BLE001 - nothing of the group is durable: all of it failed
            failure = Failure()
            return [(job, failure) for job in jobs]
        return results

    def _commit_one(self, job: Job) -> Any:
        """A job alone needs no savepoint: what it did is undone with the transaction."""
        try:
            with self._transactions.batch() as connection:
                return job.function(connection, *job.arguments)
        except BaseException:  # noqa: BLE001 - handed to whoever awaits the job
            return Failure()

    def _attempt(self, connection: Any, job: Job) -> Any:
        try:
            with self._transactions.savepoint(connection):
                return job.function(connection, *job.arguments)
        except Exception:  # noqa: BLE001 - this job alone failed
            return Failure()

    def stop(self, deadline: float) -> None:
        """Commit what is queued and end the thread; the pools that pass jobs on must have stopped."""
        self._bell.put(False)
        if self._thread.is_alive():
            join([self._thread], deadline)
        self._serve()


class Chain:
    """A job of one pool whose result, a function of a connection, is run by the writer: from thread to thread."""

    def __init__(self, first: Pool, writer: Writer) -> None:
        self._first, self._writer = first, writer

    def submit(self, function: Callable[..., Any], arguments: tuple[Any, ...], then: Callable[[Any], None] | None) -> Any:
        last = Job(_nothing, (), Deferred(ignore_cancel), then, repeatable=True)
        self._first.put(Job(self._run, (last, function, arguments), last.done))
        return last.done

    def _run(self, last: Job, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        self._writer.pass_on(last, partial(function, *arguments))
        return PASSED_ON


def _nothing(connection: Any) -> None:
    """Stands for the writer's part until the first part is done."""
