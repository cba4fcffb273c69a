"""The store folder: spool files that are made ready, and their durable names."""

import os
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.identifiers import InstanceKey
from dicomd.store.files import MOST_UNSETTLED, Folder
from tests.archive import spooled


class ReadyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Folder(self.mktemp())
        self.folder.open()
        self.addCleanup(self.folder.close)
        self.spool = Path(self.folder.root) / "spool"

    def take(self) -> str:
        path, descriptor = self.folder.take_spool()
        self.addCleanup(os.close, descriptor)
        return path

    def test_names_are_durable_before_they_are_used(self) -> None:
        """Whatever is taken, the spool folder was synchronised since it was made; not once for each."""
        synchronised: list[set[str]] = []
        original = os.fsync

        def fsync(descriptor: int) -> None:
            original(descriptor)
            if os.path.samestat(os.fstat(descriptor), self.spool.stat()):
                synchronised.append({str(path) for path in self.spool.iterdir()})

        self.patch(os, "fsync", fsync)
        taken = []
        for _ in range(100):
            taken.append(self.take())
            self.assertIn(taken[-1], synchronised[-1])
        self.assertEqual(len(set(taken)), 100)
        self.assertLess(len(synchronised), 10)

    def test_upkeep(self) -> None:
        """Done in time, no store waits for the spool folder; never are more made ready than are wanted."""
        self.take()
        while not self.folder.wants_upkeep:
            self.take()
        self.folder.keep_up()
        ready = len(list(self.spool.iterdir()))
        self.assertFalse(self.folder.wants_upkeep)
        self.folder.keep_up()
        self.assertEqual(len(list(self.spool.iterdir())), ready)

        def fail(descriptor: int) -> None:
            self.fail("a store waited")

        self.patch(os, "fsync", fail)
        while not self.folder.wants_upkeep:
            self.take()

    def test_without_upkeep(self) -> None:
        """However long nobody has time for it, the spool is bounded."""
        for number in range(1, 2 * MOST_UNSETTLED):
            spool = self.take()
            Path(spool).write_bytes(b"content")
            key = InstanceKey("1.1", f"1.2.{number % 3}", f"1.3.{number}")
            self.folder.committed(self.folder.place(spool, key))
            self.assertEqual(len(spooled(self.folder)), number % MOST_UNSETTLED)
        self.assertTrue(self.folder.wants_upkeep)
        self.folder.keep_up()
        self.assertEqual(spooled(self.folder), [])
        self.assertEqual(len(list(self.folder.files())), 2 * MOST_UNSETTLED - 1)

    def test_few_descriptors(self) -> None:
        """Where the system gives no more of them, those that it gave are used."""
        original, given = os.open, []

        def few(path: Any, *arguments: Any) -> int:
            if len(given) == 3:
                raise OSError(24, "Too many open files")
            given.append(path)
            return original(path, *arguments)

        self.patch(os, "open", few)
        self.assertEqual(sorted(self.take() for _ in range(3)), sorted(given))
        self.assertRaises(OSError, self.folder.take_spool)

    def test_upkeep_that_comes_too_late(self) -> None:
        """Nothing is made ready in a folder that was closed meanwhile."""
        original = os.fsync

        def fsync(descriptor: int) -> None:
            original(descriptor)
            patched.restore()
            self.folder.close()

        patched = self.patch(os, "fsync", fsync)
        opened = len(os.listdir("/proc/self/fd"))
        self.folder.keep_up()
        self.assertEqual((list(self.spool.iterdir()), len(os.listdir("/proc/self/fd"))), ([], opened - 2))

    def test_nothing_is_left(self) -> None:
        """What was made ready and not used goes at the end; after a crash, at the next start."""
        taken = self.take()
        left = Folder(self.mktemp())
        left.open()
        left.take_spool()
        self.folder.close()
        self.assertEqual([str(path) for path in self.spool.iterdir()], [taken])
        records: Any = Nothing()
        self.assertEqual(left.sweep(records), 0)
        self.assertEqual(list((Path(left.root) / "spool").iterdir()), [])
        left.close()

    def test_names_that_cannot_be_made_durable(self) -> None:
        """An error for whoever wants one; nothing of it is left, and the next one may have more luck."""

        def fail(descriptor: int) -> None:
            raise OSError(5, "Input/output error")

        patched = self.patch(os, "fsync", fail)
        opened = len(os.listdir("/proc/self/fd"))
        self.assertRaises(OSError, self.folder.take_spool)
        self.assertEqual((list(self.spool.iterdir()), len(os.listdir("/proc/self/fd"))), ([], opened))
        patched.restore()
        self.assertEqual(os.stat(self.take()).st_size, 0)


class Nothing:
    """Records of no instance."""

    def key_in(self, path: str) -> None:
        """No whole instance."""
