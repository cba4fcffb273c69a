"""Workers: named, bounded thread pools. Nothing else starts threads.

The reactor thread never touches disk, SQLite, pydicom parsing or pixels; it hands a *function* to one of these pools and
awaits its result. Every queue is bounded: when it is full the caller gets `Busy` at once. Results come back to the reactor
in batches, so that one wake-up of the reactor serves all jobs that finished meanwhile.
"""

import os
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from .jobs import Completions, Gate, spawn, start
from .pool import Pool
from .writer import Chain, Transactions, Writer

__all__ = ["Gate", "Workers", "Writer", "spawn", "start"]

T = TypeVar("T")


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
