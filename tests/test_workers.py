"""Workers: bounded pools, group commit, what is passed from thread to thread, and the end."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase

from dicomd.model.status import Busy
from dicomd.workers import Gate, Workers, Writer


class Transactions:
    """Remembers what was committed together; a batch waits while `closed`."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.open = threading.Event()
        self.open.set()
        self.fail = False

    @contextmanager
    def reader(self) -> Iterator[str]:
        yield "reader"

    @contextmanager
    def batch(self) -> Iterator[list[str]]:
        self.open.wait(10)
        group: list[str] = []
        yield group
        if self.fail:
            raise OSError("the disk is gone")
        self.groups.append(group)

    @contextmanager
    def savepoint(self, connection: list[str]) -> Iterator[None]:
        before = list(connection)
        try:
            yield
        except BaseException:
            connection[:] = before
            raise


def note(connection: list[str], what: str) -> str:
    connection.append(what)
    return what


def refuse(connection: list[str], what: str) -> None:
    connection.append(what)
    raise ValueError(what)


class WorkersTests(TestCase):
    def setUp(self) -> None:
        self.transactions = Transactions()
        self.workers = Workers(self.transactions, reactor.callFromThread, queue=20)
        self.workers.start()
        self.addCleanup(self.workers.stop)

    async def test_results_and_errors(self) -> None:
        """Come back to whoever awaits them, in the reactor thread."""
        self.assertEqual(await self.workers.disk(lambda a, b: a + b, 1, 2), 3)
        self.assertEqual(await self.workers.read(lambda connection: connection), "reader")
        with self.assertRaises(ZeroDivisionError):
            await self.workers.pixels(lambda: 1 // 0)

    async def test_a_group_commit(self) -> None:
        """What waits while a commit is under way shares the next one; a job that raises is undone alone."""
        self.transactions.open.clear()
        first = self.workers.write(note, "first")
        others = [self.workers.write(note, "a"), self.workers.write(note, "b")]
        refused = self.workers.write(refuse, "c")
        chained = self.workers.disk_then_write(lambda: lambda connection: note(connection, "d"))
        await self.workers.disk(lambda: None)
        self.transactions.open.set()
        self.assertEqual([await first, *[await one for one in others], await chained], ["first", "a", "b", "d"])
        with self.assertRaises(ValueError):
            await refused
        self.assertEqual(sorted(what for group in self.transactions.groups for what in group), ["a", "b", "d", "first"])
        self.assertLess(len(self.transactions.groups), 5)

    async def test_a_group_of_chains(self) -> None:
        """They share a transaction without savepoints; where one raises they are run again, and it is undone alone."""
        for third, count in ((note, 4), (refuse, 3)):
            self.transactions.open.clear()
            self.transactions.groups.clear()
            first = self.workers.write(note, "first")
            jobs = [
                self.workers.disk_then_write(lambda what=what, job=job: lambda connection: job(connection, what))
                for what, job in (("a", note), ("b", third), ("c", note))
            ]
            await self.workers.disk(lambda: None)
            self.transactions.open.set()
            self.assertEqual([await first, await jobs[0], await jobs[2]], ["first", "a", "c"])
            if third is refuse:
                with self.assertRaises(ValueError):
                    await jobs[1]
            self.assertEqual(len([what for group in self.transactions.groups for what in group]), count)

    def chained(self, what: str, go_on: threading.Event, begun: threading.Event) -> Any:
        """A chain whose first part tells that it has begun, and ends when it may."""

        def first() -> Any:
            begun.set()
            go_on.wait(10)
            return lambda connection: note(connection, what)

        return self.workers.disk_then_write(first)

    async def test_those_on_their_way(self) -> None:
        """A commit waits for them, and takes them along; one whose first part fails is not waited for."""
        self.patch(Writer, "HOLD_SECONDS", 600)
        late, early, begun = threading.Event(), threading.Event(), threading.Event()
        jobs = [self.chained("late", late, begun), self.chained("early", early, threading.Event())]
        failing = self.workers.disk_then_write(lambda: (begun.wait(10) and early.set()) or 1 // 0)
        with self.assertRaises(ZeroDivisionError):
            await failing
        self.assertEqual(self.transactions.groups, [])
        late.set()
        self.assertEqual([await job for job in jobs], ["late", "early"])
        self.assertEqual([sorted(group) for group in self.transactions.groups], [["early", "late"]])

    test_those_on_their_way.timeout = 20  # type: ignore[attr-defined]

    async def test_those_that_take_long(self) -> None:
        """Are not waited for, and no second time at all."""
        late, early, begun = threading.Event(), threading.Event(), threading.Event()
        self.addCleanup(late.set)
        job = self.chained("late", late, begun)
        await self.workers.read(lambda connection: begun.wait(10))
        early.set()
        self.assertEqual(await self.chained("early", early, threading.Event()), "early")
        self.patch(Writer, "HOLD_SECONDS", 600)
        self.assertEqual(await self.chained("second", early, threading.Event()), "second")
        late.set()
        self.assertEqual(await job, "late")
        self.assertEqual(self.transactions.groups, [["early"], ["second"], ["late"]])

    test_those_that_take_long.timeout = 20  # type: ignore[attr-defined]

    async def test_a_commit_that_fails(self) -> None:
        """Nothing of the group is durable: everybody hears it."""
        self.transactions.fail = True
        jobs = [self.workers.write(note, str(number)) for number in range(3)]
        for job in jobs:
            with self.assertRaises(OSError):
                await job

    async def test_a_chain_that_fails_early(self) -> None:
        """An error of the first part is the result; the writer never hears of it."""
        with self.assertRaises(ZeroDivisionError):
            await self.workers.disk_then_write(lambda: 1 // 0)
        self.assertEqual(self.transactions.groups, [])

    async def test_after_the_commit(self) -> None:
        """`then` hears of a durable result even when whoever asked has left."""
        heard: Deferred[str] = Deferred()
        job: Any = self.workers.disk_then_write(lambda: lambda connection: note(connection, "a"), then=heard.callback)
        job.cancel()
        with self.assertRaises(CancelledError):
            await job
        self.assertEqual(await heard, "a")

    async def test_busy(self) -> None:
        """A full queue refuses at once."""
        hold = threading.Event()
        self.addCleanup(hold.set)
        jobs = [self.workers.prepare(hold.wait, 10)]
        with self.assertRaises(Busy):
            for _ in range(30):
                jobs.append(self.workers.prepare(hold.wait, 10))
        hold.set()
        for job in jobs:
            await job

    async def test_every_job_is_done_once(self) -> None:
        """However many come at a time, from one thread and through two pools."""
        done: list[int] = []
        jobs = []
        for number in range(500):
            if number % 15 == 0 and jobs:
                await jobs[-1]
            jobs.append(self.workers.disk_then_write(lambda n=number: lambda connection: done.append(n)))
        for job in jobs:
            await job
        self.assertEqual(sorted(done), list(range(500)))

    async def test_stop_finishes_what_is_queued(self) -> None:
        """Also what one pool passes to the writer."""
        done: list[str] = []
        for number in range(10):
            self.workers.disk_then_write(lambda n=number: lambda connection: done.append(str(n)))
        self.workers.stop()
        self.assertEqual(len(done), 10)

    def test_gate(self) -> None:
        """Everybody who waits goes on when it opens; later ones wait for the next time."""
        gate, passed = Gate(), []
        first: Any = gate.wait()
        first.addCallback(lambda _: passed.append(1))
        gate.open()
        later: Any = gate.wait()
        self.assertEqual(passed, [1])
        self.assertNoResult(later)
