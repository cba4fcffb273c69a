"""The archive on disk: store folder and index together, opened and recovered as one."""

import os
from functools import partial
from pathlib import Path

from attrs import define, field
from sqlalchemy import Connection, delete, select

from ..model.identifiers import InstanceKey
from ..model.status import ServiceError
from .files import Folder
from .incoming import read_file
from .index import FILE_NAME, Index
from .instances import key_of
from .schema import instances, removals


@define(eq=False)
class Archive:
    """The store folder at `path` with its index. Opening and closing block."""

    path: str
    folder: Folder = field(init=False)
    index: Index = field(init=False)
    # How many unfinished instances of an earlier run were taken back.
    taken_back: int = field(init=False, default=0)
    # The index was not there, but files are.
    not_indexed: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        root = os.path.abspath(self.path)
        self.folder, self.index = Folder(root), Index(Path(root) / FILE_NAME)

    def open(self) -> None:
        """Take the folder's lock, open the index, settle what a crash left. Raises `StoreInUse` or `IndexUnusable`."""
        self.folder.open()
        try:
            lost = not self.index.path.exists()
            self.index.open()
            if lost:
                # Nothing tells what had been acknowledged, so every file in place stays.
                self.folder.drop_spool()
                self.not_indexed = next(self.folder.files(), "") != ""
            else:
                with self.index.batch() as connection:
                    self._recover(connection)
        except BaseException:
            self.close()
            raise

    def open_for_reading(self) -> None:
        """Look at an archive without its lock, beside a server or not; raises `IndexUnusable` when there is none."""
        self.index.open_for_reading()

    def _recover(self, connection: Connection) -> None:
        for file in connection.scalars(select(removals.c.file)).all():
            self.folder.remove(file)
        connection.execute(delete(removals))
        self.taken_back = self.folder.sweep(_key_in, partial(_file_in_index, connection))

    def close(self) -> None:
        """Close the index, then give the lock back; the workers must have stopped."""
        self.index.close()
        self.folder.close()


def resolve(connection: Connection, folder: Folder, spool: str) -> None:
    """The commit of a spooled instance failed: leave nothing of it, unless the index names it after all."""
    if os.path.exists(spool):
        folder.resolve(spool, _key_in, partial(_file_in_index, connection))


def _file_in_index(connection: Connection, key: InstanceKey) -> str | None:
    return connection.scalar(select(instances.c.file).where(instances.c.sop_instance_uid == key.sop_instance_uid))


def _key_in(path: str) -> InstanceKey | None:
    try:
        return key_of(read_file(path)[1])
    except (ServiceError, OSError):
        return None
