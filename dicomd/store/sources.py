"""Where instances are imported from: files in folders, and members of zip files. Blocking."""

import os
import zipfile
from collections.abc import Iterable, Iterator
from typing import IO

from attrs import frozen

from ..model.status import ServiceError
from ..wire.elements import file_meta
from .digests import Digester, Kind
from .incoming import identity

_ZIP = ".zip"
_DIRECTORY = "DICOMDIR"
_STEP = 1 << 20


class NoSuchSource(Exception):
    """What is to be imported is not there or cannot be read: one line."""


@frozen
class SourceFile:
    """A file, or a member of a zip file."""

    path: str
    archive: zipfile.ZipFile | None = None

    def __str__(self) -> str:
        return f"{self.archive.filename}: {self.path}" if self.archive else self.path

    def open(self) -> IO[bytes]:
        """Its bytes, from the beginning."""
        return self.archive.open(self.path) if self.archive else open(self.path, "rb")


@frozen
class Probe:
    """What a file is, before it is imported: the instance's UID and digest."""

    sop_instance_uid: str
    digest: bytes


def find(paths: Iterable[str]) -> Iterator[SourceFile]:
    """Every file below the folders and in the zip files, media directories left out; raises `NoSuchSource`."""
    for path in paths:
        if os.path.isdir(path):
            for folder, folders, names in os.walk(path):
                folders.sort()
                for name in sorted(names):
                    yield from _of(os.path.join(folder, name))
        elif os.path.exists(path):
            yield from _of(path)
        else:
            raise NoSuchSource(f"{path}: there is no such file or folder")


def _of(path: str) -> Iterator[SourceFile]:
    if os.path.basename(path).upper() == _DIRECTORY or not os.path.isfile(path):
        return
    if not path.lower().endswith(_ZIP):
        yield SourceFile(path)
        return
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise NoSuchSource(f"{path}: {error}") from None
    for info in archive.infolist():
        if not info.is_dir() and os.path.basename(info.filename).upper() != _DIRECTORY:
            yield SourceFile(info.filename, archive)


def probe(source: SourceFile, kind: Kind) -> Probe | None:
    """Read a file through, for a digest of that kind; None when it is not DICOM. Raises `OSError`."""
    with source.open() as file:
        head = file.read(_STEP)
        try:
            meta = file_meta(head)
            _, sop_instance_uid = identity(memoryview(head)[meta.dataset_offset :], meta)
        except (ServiceError, IndexError):
            return None
        digester = Digester(kind)
        digester.update((head[meta.dataset_offset :],))
        while chunk := file.read(_STEP):
            digester.update((chunk,))
    return Probe(sop_instance_uid, digester.digest())


def read(file: IO[bytes]) -> bytes:
    """The next bytes; none at the end."""
    return file.read(_STEP)
