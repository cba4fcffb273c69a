"""Workers for tests: each job runs at once, in the test's own thread, each write in a transaction of its own."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.python.failure import Failure

from dicomd.model.status import Busy
from dicomd.store.index import Index


class ImmediateWorkers:
    """Has the methods of `dicomd.workers.Workers`; results are there when the call returns.

    `busy` pools refuse; `failing` is raised by the next commit, which then is none.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self.busy: set[str] = set()
        self.failing: Exception | None = None

    def _admit(self, pool: str) -> None:
        if pool in self.busy:
            raise Busy(f"the {pool} queue is full")

    def write(self, function: Callable[..., Any], *arguments: Any) -> Awaitable[Any]:
        self._admit("write")
        try:
            with self._index.batch() as connection:
                result = succeed(self._attempt(connection, function, *arguments))
                if self.failing is not None:
                    failing, self.failing = self.failing, None
                    raise failing
        except Exception:
            return fail(Failure())
        return result

    def _attempt(self, connection: Any, function: Callable[..., Any], *arguments: Any) -> Any:
        with self._index.savepoint(connection):
            return function(connection, *arguments)

    def read(self, function: Callable[..., Any], *arguments: Any) -> Awaitable[Any]:
        self._admit("read")
        with self._index.reader() as connection:
            return maybeDeferred(function, connection, *arguments)

    def disk(self, function: Callable[..., Any], *arguments: Any) -> "Deferred[Any]":
        self._admit("disk")
        return maybeDeferred(function, *arguments)

    def tidy(self, function: Callable[..., Any], *arguments: Any) -> "Deferred[Any]":
        return maybeDeferred(function, *arguments)

    def disk_then_write(self, function: Callable[..., Any], *arguments: Any, then: Any = None) -> "Deferred[Any]":
        self._admit("disk")
        try:
            done = self.write(function(*arguments))
        except Exception:
            return fail(Failure())
        if then is not None:
            done.addCallback(lambda result: (then(result), result)[1])
        return done

    prepare = disk
    pixels = disk


def new_index(path: str) -> Index:
    """An open index in the folder `path` (a test's mktemp); close it when done."""
    index = Index(Path(path) / "index.sqlite")
    index.open()
    return index
