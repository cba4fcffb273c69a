"""Thumbnails on disk: a cache of bounded size that may be deleted at any time, and survives restarts.

Each file begins with a checksum of the rest, so that what a crash left half written is not taken for a picture.
"""

import os
import zlib
from collections import OrderedDict
from threading import Lock

from attrs import define, field

_HEAD = 4


@define(eq=False)
class ThumbnailFiles:
    """Files in the folder `path`, together at most `limit` bytes; those not used longest go first. Methods block."""

    path: str
    limit: int
    _sizes: "OrderedDict[str, int]" = field(init=False, factory=OrderedDict)
    _total: int = field(init=False, default=0)
    _lock: Lock = field(init=False, factory=Lock)
    _known: bool = field(init=False, default=False)

    def get(self, name: str) -> bytes | None:
        """The thumbnail kept under `name` (hexadecimal digits), or None."""
        try:
            with open(self._file(name), "rb") as file:
                content = file.read()
        except OSError:
            return None
        data = content[_HEAD:]
        if not data or content[:_HEAD] != _checksum(data):
            self._forget(name)
            return None
        with self._lock:
            if name in self._sizes:
                self._sizes.move_to_end(name)
        return data

    def put(self, name: str, data: bytes) -> None:
        """Keep a thumbnail, and drop old ones for it; a disk that is full or read-only is no error here."""
        content = _checksum(data) + data
        file = self._file(name)
        try:
            os.makedirs(os.path.dirname(file), exist_ok=True)
            unfinished = f"{file}.{os.getpid()}"
            with open(unfinished, "wb") as out:
                out.write(content)
            os.replace(unfinished, file)
        except OSError:
            return
        self._remember(name, len(content))

    def _file(self, name: str) -> str:
        return f"{self.path}/{name[:2]}/{name[2:]}"

    def _remember(self, name: str, size: int) -> None:
        with self._lock:
            self._learn()
            self._total += size - self._sizes.pop(name, 0)
            self._sizes[name] = size
            excess = []
            while self._total > self.limit and self._sizes:
                oldest, freed = self._sizes.popitem(last=False)
                self._total -= freed
                excess.append(oldest)
        for oldest in excess:
            _remove(self._file(oldest))

    def _learn(self) -> None:
        """What earlier runs left, oldest first; once."""
        if self._known:
            return
        self._known = True
        found = []
        for folder in _entries(self.path):
            for entry in _entries(folder.path):
                if "." in entry.name:
                    _remove(entry.path)
                else:
                    found.append((entry.stat().st_mtime_ns, folder.name + entry.name, entry.stat().st_size))
        for _, name, size in sorted(found):
            self._sizes[name] = size
            self._total += size

    def _forget(self, name: str) -> None:
        with self._lock:
            self._total -= self._sizes.pop(name, 0)
        _remove(self._file(name))


def _checksum(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(_HEAD, "little")


def _remove(file: str) -> None:
    try:
        os.unlink(file)
    except OSError:
        return


def _entries(path: str) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(path) as found:
            return list(found)
    except OSError:
        return []
