"""The store folder: spool, files in place, removal, and the sweep at start that settles what a crash left.

    lock                                     held while a process uses the store
    index.sqlite                             the index
    spool/<name>                             what is arriving, or in place but not yet durably there
    studies/<study>/<series>/<sop>.dcm       Part 10 files as received
    non-patient/<sop>.dcm

Spool files are made many at a time, and the spool folder is synchronised before the first of them is used. An instance is
written to one and synchronised, then *linked* into place, then the row is committed: now it is durable, and acknowledged. The
names in the other folders are made durable for many instances together, and only then the spool names go. So after a crash every
file in question is named by the spool: where its row was committed it is linked into place (again), else it is taken back.
"""

import contextlib
import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from attrs import define, field, frozen

from ..model.identifiers import InstanceKey
from .allocation import move_elsewhere
from .digests import Kind

log = logging.getLogger(__name__)

_REMEMBERED = 5000
_FREE_SECONDS = 0.5
# With so many committed files whose names are not durable in their folders yet, it is time to make them so; with the higher
# number, whoever commits the next one does it.
MANY_UNSETTLED, MOST_UNSETTLED = 64, 256
# So many spool files are made at a time, when fewer than the lower number are left.
_FEW_READY, _READY = 16, 32


class StoreInUse(Exception):
    """Another process holds the store folder."""


@frozen
class Placed:
    """A file in place, still named by the spool too; `file` is relative to the store folder."""

    spool: str
    file: str


class Records(Protocol):
    """What is known of instances, for settling what a crash left."""

    def key_in(self, path: str) -> InstanceKey | None:
        """The UIDs in a file; None when it is no whole instance. Raises `OSError` when it cannot be read."""

    def file_of(self, key: InstanceKey) -> str | None:
        """The file that the row of an instance names; None when it has no row."""

    def is_content(self, key: InstanceKey, path: str) -> bool:
        """Whether a file is what the row of an instance says was stored."""


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
    # The kind of digests that the index has.
    digests: Kind = field(init=False, default=Kind.BLAKE3)
    _numbers: Iterator[int] = field(init=False, factory=count)
    # Folders known to be durable in their parents.
    _durable: set[str] = field(init=False, factory=set)
    # Folder -> spool names of the committed files in it whose names there are not durable yet.
    _unsettled: dict[str, list[str]] = field(init=False, factory=dict)
    _count: int = field(init=False, default=0)
    _mutex: Any = field(init=False, factory=threading.Lock)
    # Spool files to come, whose names are durable: paths, and descriptors to write to.
    _ready: list[tuple[str, int]] = field(init=False, factory=list)
    _taking: Any = field(init=False, factory=threading.Lock)
    _lock: int = field(init=False, default=-1)
    _spool: int = field(init=False, default=-1)
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
        move_elsewhere(os.path.join(self.root, "spool"))
        self._spool = os.open(os.path.join(self.root, "spool"), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        _sync(self.root)

    def close(self) -> None:
        """Make durable what is not yet, and give the lock back."""
        if self._lock >= 0:
            self.tidy()
            with self._taking:
                ready, self._ready = self._ready, []
                lock, self._lock = self._lock, -1
            self._drop(ready)
            os.close(self._spool)
            os.close(lock)

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

    def take_spool(self) -> tuple[str, int]:
        """A new spool file whose name is durable: its path, and a descriptor to write to."""
        with self._taking:
            if not self._ready:
                self._ready = self._make_ready()
            return self._ready.pop()

    @property
    def wants_upkeep(self) -> bool:
        """Whether it is time for `keep_up`."""
        return self._count >= MANY_UNSETTLED or len(self._ready) < _FEW_READY

    def keep_up(self) -> None:
        """Do at leisure what else a store would have to do: make spool files ready, and `tidy`. Not in two threads at once."""
        if len(self._ready) < _FEW_READY:
            made = self._make_ready()
            with self._taking:
                if self._lock >= 0:
                    self._ready, made = self._ready + made, []
            self._drop(made)
        if self._count >= MANY_UNSETTLED:
            self.tidy()

    def _make_ready(self) -> list[tuple[str, int]]:
        made: list[tuple[str, int]] = []
        for _ in range(_READY):
            spool = self.new_spool()
            try:
                made.append((spool, os.open(spool, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o640)))
            except OSError:
                if not made:
                    raise
                break
        try:
            os.fsync(self._spool)
        except OSError:
            self._drop(made)
            raise
        return made

    def _drop(self, unused: list[tuple[str, int]]) -> None:
        for spool, descriptor in unused:
            os.close(descriptor)
            self.discard(spool)

    def place(self, spool: str, key: InstanceKey) -> Placed:
        """Link a synchronised spool file into place; a file of the same instance stays beside it."""
        for version in count(1):
            file = file_name(key, version)
            try:
                self._link(spool, file)
            except FileExistsError:
                continue
            return Placed(spool, file)
        raise AssertionError

    def _link(self, spool: str, file: str) -> None:
        """A folder that is not there, or was just removed, is made."""
        path = self.path(file)
        while True:
            try:
                os.link(spool, path)
                return
            except FileNotFoundError:
                if not os.path.exists(spool):
                    raise
                folder = os.path.dirname(path)
                os.makedirs(folder, exist_ok=True)
                self._durable.discard(folder)

    def committed(self, placed: Placed) -> None:
        """The row is durable: the spool name may go as soon as the name in place is durable too."""
        folder = os.path.dirname(self.path(placed.file))
        with self._mutex:
            self._unsettled.setdefault(folder, []).append(placed.spool)
            self._count += 1
        if self._count >= MOST_UNSETTLED:
            self.tidy()

    def tidy(self) -> None:
        """Make the names of committed files durable in their folders, and the folders in theirs; drop the spool names."""
        with self._mutex:
            unsettled, self._unsettled, self._count = self._unsettled, {}, 0
        for folder, spooled in unsettled.items():
            try:
                self._synchronise(folder)
            except OSError as error:
                log.error("a folder of the store could not be synchronised: %s", error.strerror)
                with self._mutex:
                    self._unsettled.setdefault(folder, []).extend(spooled)
                    self._count += len(spooled)
                continue
            for spool in spooled:
                self.discard(spool)

    def _synchronise(self, folder: str) -> None:
        """The names in a folder, and the folder itself in its parents if it is new; one that was removed has none."""
        with contextlib.suppress(FileNotFoundError):
            _sync(folder)
            if folder not in self._durable:
                for parent in _parents(folder, self.root):
                    _sync(parent)
                if len(self._durable) >= _REMEMBERED:
                    self._durable.clear()
                self._durable.add(folder)

    def withdraw(self, placed: Placed) -> None:
        """The instance was not taken: remove its file and its spool name; never raises, the next start tries again."""
        try:
            self.remove(placed.file)
        except OSError as error:
            log.error("a file that was not taken could not be removed: %s", error.strerror)
            return
        self.discard(placed.spool)

    def supersede(self, obsolete: str, file: str, stored_at: int) -> None:
        """The row names `file` in place of `obsolete`: remove that; the new file keeps its place in the order of arrival."""
        with contextlib.suppress(OSError):
            os.utime(self.path(file), ns=(stored_at, stored_at))
            self.remove(obsolete)

    def discard(self, spool: str) -> None:
        """Remove a spool name."""
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
        self.tidy()
        folders = set()
        for file in files:
            self.remove(file)
            folders.add(os.path.dirname(self.path(file)))
        for folder in folders:
            while not os.path.isdir(folder):
                folder = os.path.dirname(folder)
            _sync(folder)

    def sweep(self, records: Records) -> int:
        """Settle what a crash left in the spool; answers how many instances were taken back."""
        return sum(self._each_spooled(lambda spool: self.resolve(spool, records)))

    def _each_spooled(self, settle: Callable[[str], bool]) -> list[bool]:
        """What cannot be read now stays in the spool: it may be the only name of something acknowledged."""
        settled = []
        for spool in self._spooled():
            try:
                settled.append(settle(spool))
            except OSError as error:
                log.error("a file of the spool could not be settled and stays: %s", error.strerror)
        return settled

    def _spooled(self) -> list[str]:
        return [entry.path for entry in os.scandir(os.path.join(self.root, "spool"))]

    def resolve(self, spool: str, records: Records) -> bool:
        """Settle one spool file whose commit is in doubt; whether its instance was taken back.

        The file that the row names stays, or is linked into place again; any other is dropped, with its name in place.
        """
        key = records.key_in(spool)
        file = self._linked_to(spool, key) if key and os.stat(spool).st_nlink > 1 else None
        held = records.file_of(key) if key else None
        if key and held and file is None and not os.path.exists(self.path(held)) and records.is_content(key, spool):
            self._link(spool, held)
            file = held
        dropped = file is not None and file != held
        if file and dropped:
            self.remove(file)
        elif file:
            self._synchronise(os.path.dirname(self.path(file)))
        os.unlink(spool)
        return dropped

    def keep_spooled(self, records: Records) -> None:
        """Nothing tells what was committed: every whole instance in the spool is put in place, unless it is there already."""
        self._each_spooled(lambda spool: self._keep(spool, records))

    def _keep(self, spool: str, records: Records) -> bool:
        if key := records.key_in(spool):
            file = self._linked_to(spool, key) or self.place(spool, key).file
            self._synchronise(os.path.dirname(self.path(file)))
        os.unlink(spool)
        return key is not None

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
