"""Workers: named, bounded thread pools. The only module that starts threads.

The reactor thread never touches disk, SQLite, pydicom parsing or pixels; it hands a *function* to one of these pools and
awaits its result. Every queue is bounded: when it is full the caller gets `Busy` at once. Results come back to the reactor
in batches, so that one wake-up of the reactor serves all jobs that finished meanwhile.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from .model.status import Busy

T = TypeVar("T")
log = Logger()


class Transactions(Protocol):
    """What the writer needs of the index: connections, and a savepoint around each job of a mixed group."""

    def reader(self) -> AbstractContextManager[Any]:
        """A connection for one read job."""

    def batch(self) -> AbstractContextManager[Any]:
        """A connection in one transaction, committed durably when the block ends without error."""

    def savepoint(self, connection: Any) -> AbstractContextManager[Any]:
        """Undo what happened inside the block when it raises."""


@define(eq=False)
class _Job:
    """`then` hears of a good result in the reactor thread, even when whoever awaited `done` has left.

    `repeatable`: what it did is undone with the transaction, and it may be run again in another one.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    done: "Deferred[Any]"
    then: Callable[[Any], None] | None = None
    repeatable: bool = False


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
        self._finished: deque[tuple[_Job, Any]] = deque()
        self._scheduled = False
        self._lock = threading.Lock()

    def add(self, results: Iterable[tuple[_Job, Any]]) -> None:
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


PASSED_ON = object()
_STOP = _Job(lambda: None, (), Deferred())


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
    _jobs: deque[_Job] = field(init=False, factory=deque)
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
        return self.put(_Job(function, arguments, Deferred(_ignore_cancel)))

    def insist(self, function: Callable[..., T], *arguments: Any) -> "Deferred[T]":
        """The same however long the queue is: for what must be tidied up."""
        job = _Job(function, arguments, Deferred(_ignore_cancel))
        self._hand_over(job)
        return job.done

    def put(self, job: _Job) -> "Deferred[Any]":
        """Queue a job; raises `Busy` when the queue is full."""
        if len(self._jobs) >= self.bound:
            raise Busy(f"the {self.name} queue is full, try again later")
        self._hand_over(job)
        return job.done

    def _hand_over(self, job: _Job) -> None:
        with self._mutex:
            if not self._idle:
                self._jobs.append(job)
                return
            thread = self._idle.pop()
        thread.job = job
        thread.wake.release()

    def _next(self, thread: _Thread) -> _Job:
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

    def _run(self, job: _Job) -> Any:
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
        _join(self._threads, deadline)


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
        self._jobs: deque[_Job] = deque()
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
        job = _Job(function, arguments, Deferred(_ignore_cancel))
        self._jobs.append(job)
        self._bell.put(True)
        return job.done

    def pass_on(self, job: _Job, first: Callable[[], Callable[[Any], Any]]) -> None:
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
        group: list[_Job] = []
        while self._jobs and len(group) < self.LARGEST_GROUP:
            group.append(self._jobs.popleft())
        if group:
            self._completions.add(self._commit(group))

    def _commit(self, jobs: list[_Job]) -> list[tuple[_Job, Any]]:
        if len(jobs) == 1:
            return [(jobs[0], self._commit_one(jobs[0]))]
        if all(job.repeatable for job in jobs):
            with suppress(BaseException), self._transactions.batch() as connection:
                return [(job, job.function(connection, *job.arguments)) for job in jobs]
        return self._commit_apart(jobs)

    def _commit_apart(self, jobs: list[_Job]) -> list[tuple[_Job, Any]]:
        """One transaction, in which a job that fails takes no other with it."""
        results: list[tuple[_Job, Any]] = []
        try:
            with self._transactions.batch() as connection:
                for job in jobs:
                    results.append((job, self._attempt(connection, job)))
        except BaseException:  # noqa: BLE001 - nothing of the group is durable: all of it failed
            failure = Failure()
            return [(job, failure) for job in jobs]
        return results

    def _commit_one(self, job: _Job) -> Any:
        """A job alone needs no savepoint: what it did is undone with the transaction."""
        try:
            with self._transactions.batch() as connection:
                return job.function(connection, *job.arguments)
        except BaseException:  # noqa: BLE001 - handed to whoever awaits the job
            return Failure()

    def _attempt(self, connection: Any, job: _Job) -> Any:
        try:
            with self._transactions.savepoint(connection):
                return job.function(connection, *job.arguments)
        except Exception:  # noqa: BLE001 - this job alone failed
            return Failure()

    def stop(self, deadline: float) -> None:
        """Commit what is queued and end the thread; the pools that pass jobs on must have stopped."""
        self._bell.put(False)
        if self._thread.is_alive():
            _join([self._thread], deadline)
        self._serve()


def _join(threads: Iterable[threading.Thread], deadline: float) -> None:
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


class Chain:
    """A job of one pool whose result, a function of a connection, is run by the writer: from thread to thread."""

    def __init__(self, first: Pool, writer: Writer) -> None:
        self._first, self._writer = first, writer

    def submit(self, function: Callable[..., Any], arguments: tuple[Any, ...], then: Callable[[Any], None] | None) -> Any:
        last = _Job(_nothing, (), Deferred(_ignore_cancel), then, repeatable=True)
        self._first.put(_Job(self._run, (last, function, arguments), last.done))
        return last.done

    def _run(self, last: _Job, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        self._writer.pass_on(last, partial(function, *arguments))
        return PASSED_ON


def _nothing(connection: Any) -> None:
    """Stands for the writer's part until the first part is done."""


def _ignore_cancel(done: "Deferred[Any]") -> None:
    """The thread's job goes on; only the waiting ends."""


class Workers:
    """The pools of the server.

    `write` (one thread, group commit: functions take the transaction's connection first and never commit), `read` (functions
    take a read-only connection first), `disk`, `prepare` (work behind the acknowledged path), `pixels` (CPU).
    """

    def __init__(self, transactions: Transactions, call_from_thread: Callable[..., None], *, queue: int = 1000) -> None:
        completions = Completions(call_from_thread)
        cpus = os.cpu_count() or 1
        self._write = Writer("write", queue, completions, transactions)
        self._read = Pool("read", 4, queue, completions, transactions.reader)
        self._disk = Pool("disk", 8, queue, completions)
        self._prepare = Pool("prepare", 1, queue, completions)
        self._pixels = Pool("pixels", cpus, queue, completions)
        self._chain = Chain(self._disk, self._write)

    @property
    def _pools(self) -> tuple[Pool | Writer, ...]:
        return (self._pixels, self._prepare, self._disk, self._read, self._write)

    def start(self) -> None:
        for pool in self._pools:
            pool.start()

    def stop(self, timeout: float = 3.0) -> None:
        """Finish queued jobs, doors first closed by the caller; the writer last. Blocks up to `timeout` seconds."""
        deadline = time.monotonic() + timeout
        for pool in self._pools:
            pool.stop(deadline)

    def write(self, function: Callable[..., T], *arguments: Any) -> Awaitable[T]:
        """Run `function(connection, *arguments)` in the next group commit; resolves when it is durable."""
        return self._write.submit(function, *arguments)

    def read(self, function: Callable[..., T], *arguments: Any) -> Awaitable[T]:
        """Run `function(connection, *arguments)` on a read-only connection."""
        return self._read.submit(function, *arguments)

    def disk(self, function: Callable[..., T], *arguments: Any) -> Awaitable[T]:
        """Run `function(*arguments)`, which may touch files."""
        return self._disk.submit(function, *arguments)

    def tidy(self, function: Callable[..., T], *arguments: Any) -> Awaitable[T]:
        """Run `function(*arguments)` in the disk pool; never `Busy`, so that nothing is left lying about for want of room."""
        return self._disk.insist(function, *arguments)

    def disk_then_write(
        self, function: Callable[..., Callable[[Any], T]], *arguments: Any, then: Callable[[T], None] | None = None
    ) -> Awaitable[T]:
        """Run `function(*arguments)` in the disk pool and what it returns, a function of a connection, in the next group commit.

        The latter may be run again in another transaction when another one of the group failed. `then(result)` is called in the
        reactor thread after the commit, also when nobody awaits the result any more.
        """
        awaited: Awaitable[T] = self._chain.submit(function, arguments, then)
        return awaited

    def prepare(self, function: Callable[..., T], *arguments: Any) -> Awaitable[T]:
        """Run `function(*arguments)` behind the acknowledged path."""
        return self._prepare.submit(function, *arguments)

    def pixels(self, function: Callable[..., T], *arguments: Any) -> Awaitable[T]:
        """Run `function(*arguments)`, which decodes, encodes or renders."""
        return self._pixels.submit(function, *arguments)
