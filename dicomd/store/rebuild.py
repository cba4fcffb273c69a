"""Checking the archive against its files, and making the index anew from them.

The files are the truth for instances. What no file holds (work items, worklist entries, performed steps, subscriptions, what
waits to be sent) is carried over from the old index; only when that cannot be read is it lost.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import define, field, frozen
from sqlalchemy import Connection, delete, func, select

from ..model.status import ServiceError
from . import dialect, digests
from .file_header import read_file
from .files import Folder, sop_instance_uid_of
from .index import FILE_NAME, Index
from .instances import Arrival, Duplicates, Fate, admit, key_of
from .recovery import IndexRecords
from .schema import instances, names, patients, prepared, removals, series, studies

# Rows that are made from files, those that refer to others first.
_FROM_FILES = (prepared, names, instances, series, studies, patients, removals)


def arrival_of(folder: Folder, file: str) -> Arrival:
    """An instance as its file tells it; raises `ServiceError` or `OSError`."""
    path = folder.path(file)
    meta, header = read_file(path)
    found = os.stat(path)
    return Arrival(
        header,
        meta.transfer_syntax_uid,
        file,
        meta.dataset_offset,
        found.st_size,
        digests.of_file(path, meta.dataset_offset),
        found.st_mtime_ns,
        meta.source_ae_title,
    )


# Verify --------------------------------------------------------------------------------------------------------------------


@frozen
class Held:
    """What the index says of one file."""

    row: int
    file: str
    dataset_offset: int
    file_size: int
    digest: bytes
    sop_instance_uid: str


def held(connection: Connection, after: int, most: int) -> list[Held]:
    """The instances in the index behind row `after`, in the order of their rows."""
    columns = (instances.c.id, instances.c.file, instances.c.dataset_offset, instances.c.file_size)
    chosen = select(*columns, instances.c.digest, instances.c.sop_instance_uid).where(instances.c.id > after)
    return [Held(*row) for row in connection.execute(chosen.order_by(instances.c.id).limit(most))]


def is_held(connection: Connection, file: str) -> bool:
    """Whether a row names this file, or it is noted for removal."""
    by_uid = select(instances.c.file).where(instances.c.sop_instance_uid == sop_instance_uid_of(file))
    noted = select(removals.c.file).where(removals.c.file == file)
    return file in (connection.scalar(by_uid), connection.scalar(noted))


def problem_of(folder: Folder, one: Held) -> str:
    """What is wrong with the file of a row; "" when it is what was stored."""
    path = folder.path(one.file)
    try:
        size = os.stat(path).st_size
        if size != one.file_size:
            return f"has {size} bytes instead of {one.file_size}"
        if not digests.is_of(one.digest, path, one.dataset_offset):
            return "is not what was stored: its digest differs"
        if key_of(read_file(path)[1]).sop_instance_uid != one.sop_instance_uid:
            return "holds another instance"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except ServiceError as error:
        return f"cannot be understood: {error.comment}"
    return ""


def contradictions(connection: Connection) -> list[str]:
    """What the index says against itself: counts that are not those of its rows, and damage of its file."""
    counted = select(func.count()).select_from(series).join(instances, instances.c.series_row == series.c.id)
    counted = counted.where(series.c.study_row == studies.c.id)
    wrong = select(studies.c.study_instance_uid).where(studies.c.instances_in_study != counted.scalar_subquery())
    found = [f"study {uid}: the number of its instances is wrong in the index" for uid in connection.scalars(wrong)]
    return found + [f"index: {line}" for line in dialect.damage(connection)]


# Reindex -------------------------------------------------------------------------------------------------------------------


def in_order_of_arrival(folder: Folder) -> list[str]:
    """All instance files, the first stored one first."""
    found = [(os.stat(folder.path(file)).st_mtime_ns, file) for file in folder.files()]
    return [file for _, file in sorted(found)]


@define(eq=False)
class Rebuild:
    """An index made beside the old one, which it replaces at the end in one step. The folder's lock must be held."""

    folder: Folder
    # Why the old index could not be read; "" when it could, or there was none.
    lost: str = field(init=False, default="")
    index: Index = field(init=False)

    @property
    def _old(self) -> Path:
        return Path(self.folder.root) / FILE_NAME

    @property
    def _new(self) -> Path:
        return Path(self.folder.root) / (FILE_NAME + ".new")

    def begin(self) -> None:
        """Carry over what is not made from files."""
        _unlink(self._new)
        if self._old.exists():
            self.lost = dialect.copy(self._old, self._new)
            if self.lost:
                _unlink(self._new)
        self.index = Index(self._new)
        self.index.open()
        with self.index.batch() as connection:
            # The files are the truth: what the old index does not know of is kept as well.
            self.folder.keep_spooled(IndexRecords(connection))
            for table in _FROM_FILES:
                connection.execute(delete(table))
            digests.begin_anew(connection)

    def add(self, connection: Connection, arrivals: Sequence[Arrival]) -> list[str]:
        """Write rows; what could not be, in a line each. Of two files of one instance the later one counts."""
        problems = []
        for arrival in arrivals:
            try:
                admission = admit(connection, arrival, Duplicates.REPLACE)
            except ServiceError as error:
                problems.append(f"{arrival.file}: {error.comment}")
                continue
            if admission.fate is not Fate.STORED:
                other = admission.obsolete or arrival.file
                problems.append(f"{other}: another file of the same instance is used")
        connection.execute(delete(removals))
        return problems

    def finish(self) -> None:
        """Let the new index take the place of the old one, which was settled when it was copied."""
        self.index.close()
        dialect.settle(self._new)
        if self.lost:
            _unlink(self._old)
        os.replace(self._new, self._old)
        self.folder.synchronise()


def _unlink(path: Path) -> None:
    for name in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{path}{name}")


def pages(files: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """The files, `size` at a time."""
    for start in range(0, len(files), size):
        yield files[start : start + size]
