"""The folder of new files gets another block group at every start."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import TestCase

from dicomd.store.allocation import move_elsewhere


class MoveElsewhere(TestCase):
    """Only an empty folder moves, and only where that means something."""

    def setUp(self) -> None:
        self.parent = Path(self.mktemp())
        self.folder = self.parent / "spool"
        self.folder.mkdir(parents=True)
        self.descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        self.addCleanup(os.close, self.descriptor)

    def flags(self) -> str:
        """As e2fsprogs reads them."""
        if not shutil.which("lsattr"):
            raise SkipTest("lsattr is not there")
        listed = subprocess.run(["lsattr", "-d", str(self.parent)], capture_output=True, text=True, check=False)
        if listed.returncode or "e" not in listed.stdout.split()[0]:
            raise SkipTest("not an ext4 file system")
        return listed.stdout.split()[0]

    def test_empty(self) -> None:
        """Another folder has the name then, and nothing else is left."""
        before = self.flags()
        move_elsewhere(str(self.folder))
        self.assertEqual((os.fstat(self.descriptor).st_nlink, list(self.parent.iterdir())), (0, [self.folder]))
        self.assertEqual(("T" in before, "T" in self.flags()), (False, True))
        self.assertEqual(before.replace("-", ""), self.flags().replace("-", "").replace("T", ""))

    def test_permissions(self) -> None:
        """What an administrator has set is kept."""
        self.flags()
        self.folder.chmod(0o2700)
        move_elsewhere(str(self.folder))
        self.assertTrue(os.path.samestat(os.fstat(self.descriptor), self.folder.stat()))
        self.assertEqual((self.folder.stat().st_mode & 0o7777, list(self.parent.iterdir())), (0o2700, [self.folder]))

    def test_not_empty(self) -> None:
        """What is inside may be the only name of something acknowledged."""
        self.flags()
        (self.folder / "one").touch()
        move_elsewhere(str(self.folder))
        self.assertEqual(([*self.parent.iterdir()], [*self.folder.iterdir()]), ([self.folder], [self.folder / "one"]))
        self.assertTrue(os.path.samestat(os.fstat(self.descriptor), self.folder.stat()))

    def test_after_a_crash_on_the_way(self) -> None:
        """The folder that was made goes; others stay, and are in nobody's way."""
        self.flags()
        others = [self.parent / name for name in ("spool-12345678", "spool-old")]
        for folder in (self.parent / "spool-00000000", *others):
            folder.mkdir()
        (others[0] / "used").touch()
        move_elsewhere(str(self.folder))
        self.assertEqual(sorted(self.parent.iterdir()), [self.folder, *others])
        self.assertEqual(os.fstat(self.descriptor).st_nlink, 0)

    def test_file_system_that_knows_no_flags(self) -> None:
        """Nothing happens."""
        self.patch(os, "mkdir", lambda path: self.fail("no folder is made"))
        self.patch(fcntl, "ioctl", _unknown)
        move_elsewhere(str(self.folder))
        self.assertTrue(os.path.samestat(os.fstat(self.descriptor), self.folder.stat()))


def _unknown(*_: object) -> None:
    raise OSError(25, "Inappropriate ioctl for device")
