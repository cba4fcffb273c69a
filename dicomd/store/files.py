"""The store folder: spool, files in place, removal, and the sweep at start that settles what a crash left.

    lock                                     held while a process uses the store
    index.sqlite                             the index
    spool/<name>                             what is arriving; each file in place keeps its spool name until it is committed
    studies/<study>/<series>/<sop>.dcm       Part 10 files as received
    non-patient/<sop>.dcm

An instance is written to the spool and synchronised, then *linked* into place, then its row is committed, and only then its
spool name goes. So after a crash every file in question is named by the spool: linked and committed, or it is taken back.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path

from attrs import define, field, frozen

from ..model.identifiers import InstanceKey

_REMEMBERED = 5000
_FREE_SECONDS = 0.5


class StoreInUse(Exception):
    """Another process holds the store folder."""


@frozen
class Placed:
    """A file in place, still named by the spool too; `file` is relative to the store folder."""

    spool: str
    file: str


def file_name(key: InstanceKey, version: int = 1) -> str:
    """Where an instance's file is, relative to the store folder; UIDs have been validated."""
    name = f"{key.sop_instance_uid}.dcm" if version == 1 else f"{key.sop_instance_uid}~{version}.dcm"
    if not key.study_instance_uid:
        return f"non-patient/{name}"
    return f"studies/{key.study_instance_uid}/{key.series_instance_uid}/{name}"


@define(eq=False)
class Folder:
    """The store folder at `root`. Its methods block and may be called from several threads at once."""

    root: str
    _numbers: Iterator[int] = field(init=False, factory=count)
    # Folders known to be durable in their parents.
    _durable: set[str] = field(init=False, factory=set)
    _lock: int = field(init=False, default=-1)
    _free: tuple[float, int] = field(init=False, default=(-1e9, 0))
    _run: str = field(init=False, factory=lambda: os.urandom(4).hex())

    def open(self) -> None:
        """Make the folder and take its lock; raises `StoreInUse`."""
        for name in ("", "spool", "studies", "non-patient"):
            os.makedirs(os.path.join(self.root, name), exist_ok=True)
        self._lock = os.open(os.path.join(self.root, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            self._lock = -1
            raise StoreInUse(f"{self.root}: the store is in use by another process") from None
        _sync(self.root)

    def close(self) -> None:
        """Give the lock back."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def path(self, file: str) -> str:
        """The path of a file whose name is relative to the folder."""
        return f"{self.root}/{file}"

    def is_whole(self, file: str, size: int) -> bool:
        """Whether a file is there and has its size."""
        try:
            return os.stat(self.path(file)).st_size == size
        except OSError:
            return False

    def free_bytes(self) -> int:
        """What an unprivileged process may still write on this file system, looked at every half second."""
        now = time.monotonic()
        looked_at, free = self._free
        if now - looked_at > _FREE_SECONDS:
            found = os.statvfs(self.root)
            free = found.f_bavail * found.f_frsize
            self._free = now, free
        return free

    def new_spool(self) -> str:
        """The path of a new spool file."""
        return f"{self.root}/spool/{self._run}-{next(self._numbers)}"

    def place(self, spool: str, key: InstanceKey) -> Placed:
        """Link a synchronised spool file into place; a file of the same instance stays beside it.

        The link is durable after `settle`, which serves all files that came into a folder meanwhile.
        """
        for version in count(1):
            file = file_name(key, version)
            try:
                self._link(spool, file)
            except FileExistsError:
                continue
            return Placed(spool, file)
        raise AssertionError

    def _link(self, spool: str, file: str) -> None:
        """A folder that was just removed is made again."""
        path = self.path(file)
        folder = os.path.dirname(path)
        while True:
            try:
                if folder not in self._durable:
                    os.makedirs(folder, exist_ok=True)
                os.link(spool, path)
                break
            except FileNotFoundError:
                self._durable.discard(folder)

    def folder_of(self, file: str) -> str:
        """What must be settled before a file counts as being in place."""
        return os.path.dirname(self.path(file))

    def settle(self, folder: str) -> None:
        """Make the names in a folder durable, and the folder itself in its parents if it is new."""
        _sync(folder)
        if folder not in self._durable:
            for parent in _parents(folder, self.root):
                _sync(parent)
            if len(self._durable) >= _REMEMBERED:
                self._durable.clear()
            self._durable.add(folder)

    def unspool(self, placed: Placed) -> None:
        """The row is committed: the file needs its spool name no longer."""
        with contextlib.suppress(OSError):
            os.unlink(placed.spool)

    def withdraw(self, placed: Placed) -> None:
        """The instance was not taken: remove its file and its spool name."""
        self.remove(placed.file)
        self.unspool(placed)

    def supersede(self, obsolete: str, file: str, stored_at: int) -> None:
        """The row names `file` in place of `obsolete`: remove that; the new file keeps its place in the order of arrival."""
        with contextlib.suppress(OSError):
            os.utime(self.path(file), ns=(stored_at, stored_at))
            self.remove(obsolete)

    def discard(self, spool: str) -> None:
        """Remove what was spooled but never placed."""
        with contextlib.suppress(OSError):
            os.unlink(spool)

    def remove(self, file: str) -> None:
        """Remove a file, and the folders that it leaves empty."""
        path = self.path(file)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        for folder in (os.path.dirname(path), *_parents(os.path.dirname(path), self.root)):
            if os.path.dirname(folder) == self.root:
                break
            self._durable.discard(folder)
            try:
                os.rmdir(folder)
            except OSError:
                break

    def remove_all(self, files: Iterable[str]) -> None:
        """Remove files for good: also after a power cut they are gone."""
        folders = set()
        for file in files:
            self.remove(file)
            folders.add(os.path.dirname(self.path(file)))
        for folder in folders:
            while not os.path.isdir(folder):
                folder = os.path.dirname(folder)
            _sync(folder)

    def sweep(self, key_in: Callable[[str], InstanceKey | None], file_in_index: Callable[[InstanceKey], str | None]) -> int:
        """Settle what a crash left in the spool; answers how many instances were taken back.

        `key_in` reads the UIDs in a file; `file_in_index` tells the file that the row of an instance names. A spool file that
        is linked nowhere is dropped; one whose file is committed loses its spool name; else it is taken back with its file.
        """
        spooled = [entry.path for entry in os.scandir(os.path.join(self.root, "spool"))]
        return sum(self.resolve(path, key_in, file_in_index) for path in spooled)

    def resolve(
        self, spool: str, key_in: Callable[[str], InstanceKey | None], file_in_index: Callable[[InstanceKey], str | None]
    ) -> bool:
        """Settle one spool file whose commit is in doubt, as `sweep` does; whether its instance was taken back."""
        key = key_in(spool) if os.stat(spool).st_nlink > 1 else None
        file = self._linked_to(spool, key) if key else None
        dropped = bool(key and file and file_in_index(key) != file)
        if file and dropped:
            self.remove(file)
        os.unlink(spool)
        return dropped

    def drop_spool(self) -> None:
        """Forget what was arriving: files in place stay, whatever the index knew of them."""
        for entry in list(os.scandir(os.path.join(self.root, "spool"))):
            os.unlink(entry.path)

    def synchronise(self) -> None:
        """Make the names in the folder itself durable."""
        _sync(self.root)

    def _linked_to(self, spool: str, key: InstanceKey) -> str | None:
        """Which of the files of this instance is the same as the spool file."""
        folder = os.path.dirname(file_name(key))
        for name in os.listdir(self.path(folder)) if os.path.isdir(self.path(folder)) else ():
            if sop_instance_uid_of(name) == key.sop_instance_uid and os.path.samefile(spool, self.path(f"{folder}/{name}")):
                return f"{folder}/{name}"
        return None

    def files(self) -> Iterator[str]:
        """The names of all instance files, relative to the folder."""
        for top in ("studies", "non-patient"):
            for folder, _folders, names in os.walk(os.path.join(self.root, top)):
                inside = os.path.relpath(folder, self.root)
                for name in names:
                    if name.endswith(".dcm"):
                        yield f"{inside}/{name}"


def sop_instance_uid_of(file: str) -> str:
    """The SOP Instance UID in the name of an instance file."""
    return Path(file).name.removesuffix(".dcm").partition("~")[0]


def _parents(folder: str, root: str) -> list[str]:
    """The folders above, up to the one below `root`."""
    parents = []
    while (folder := os.path.dirname(folder)) != root and folder != "/":
        parents.append(folder)
    return parents


def _sync(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
