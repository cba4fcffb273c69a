"""What the index and the files tell of instances, for settling what a crash left."""

import os

from attrs import frozen
from sqlalchemy import Connection, select

from ..model.identifiers import InstanceKey
from ..model.status import ServiceError
from . import digests
from .file_header import read_file
from .files import Folder, sop_instance_uid_of
from .header import check_identity
from .schema import instances


@frozen
class IndexRecords:
    """The rows that a connection sees."""

    connection: Connection

    def key_in(self, path: str) -> InstanceKey | None:
        """The UIDs in a file; None when it is no whole instance. Raises `OSError` when it cannot be read."""
        try:
            _, header = read_file(path)
            check_identity(header)
        except ServiceError:
            return None
        return header.key

    def file_of(self, key: InstanceKey) -> str | None:
        """The file that the row of an instance names; None when it has no row."""
        return self._file(key.sop_instance_uid)

    def names(self, file: str) -> bool:
        """Whether the row of an instance names this file."""
        return self._file(sop_instance_uid_of(file)) == file

    def _file(self, sop_instance_uid: str) -> str | None:
        return self.connection.scalar(select(instances.c.file).where(instances.c.sop_instance_uid == sop_instance_uid))

    def is_content(self, key: InstanceKey, path: str) -> bool:
        """Whether a file is what the row of an instance says was stored."""
        chosen = select(instances.c.file_size, instances.c.dataset_offset, instances.c.digest)
        row = self.connection.execute(chosen.where(instances.c.sop_instance_uid == key.sop_instance_uid)).first()
        if row is None:
            return False
        size, offset, digest = row
        return bool(os.stat(path).st_size == size) and digests.is_of(digest, path, offset)


def resolve(connection: Connection, folder: Folder, spool: str) -> None:
    """The commit of a spooled instance failed: leave nothing of it, unless the index names it after all."""
    if os.path.exists(spool):
        folder.resolve(spool, IndexRecords(connection))
