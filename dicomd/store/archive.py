"""The archive on disk: store folder and index together, opened and recovered as one."""

import os
from pathlib import Path

from attrs import define, field
from sqlalchemy import Connection, delete, select

from . import digests
from .files import Folder
from .index import FILE_NAME, Index
from .recovery import IndexRecords
from .schema import removals


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
                # Nothing tells what had been acknowledged, so every file stays.
                with self.index.batch() as connection:
                    self.folder.keep_spooled(IndexRecords(connection))
                self.not_indexed = next(self.folder.files(), "") != ""
            else:
                with self.index.batch() as connection:
                    self.folder.digests = digests.kind_in(connection)
                    self._recover(connection)
        except BaseException:
            self.close()
            raise

    def open_for_reading(self) -> None:
        """Look at an archive without its lock, beside a server or not; raises `IndexUnusable` when there is none."""
        self.index.open_for_reading()

    def _recover(self, connection: Connection) -> None:
        records = IndexRecords(connection)
        for file in connection.scalars(select(removals.c.file)).all():
            # What was obsolete may have made room, under its name, for what is not.
            if not records.names(file):
                self.folder.remove(file)
        connection.execute(delete(removals))
        self.taken_back = self.folder.sweep(records)

    def close(self) -> None:
        """Close the index, then give the lock back; the workers must have stopped."""
        self.index.close()
        self.folder.close()
