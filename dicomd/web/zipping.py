"""A ZIP archive written while it is sent: nothing is compressed, sizes follow each file (APPNOTE 4.3.9, with ZIP64)."""

import struct
import zlib

from attrs import define, field

_LOCAL = struct.Struct("<IHHHHHIIIHH")
_DESCRIPTOR = struct.Struct("<IIQQ")
_CENTRAL = struct.Struct("<IHHHHHHIIIHHHHHII")
_EXTRA = struct.Struct("<HHQQQ")
_END_64 = struct.Struct("<IQHHIIQQQQ")
_LOCATOR = struct.Struct("<IIQI")
_END = struct.Struct("<IHHHHIIH")
# The file sizes follow the data (bit 3), names are UTF-8 (bit 11); ZIP64 needs version 4.5.
_FLAGS, _VERSION = 0x0808, 45
_DATE = (2000 - 1980) << 9 | 1 << 5 | 1
_LATER, _LATER_16 = 0xFFFFFFFF, 0xFFFF


@define(eq=False)
class ZipWriter:
    """Makes the bytes of an archive: `begin`, `add` and `end` for each file, `close` at last."""

    _position: int = 0
    _entries: list[tuple[bytes, int, int, int]] = field(factory=list)
    _name: bytes = b""
    _began: int = 0
    _size: int = 0
    _sum: int = 0

    def begin(self, name: str) -> bytes:
        """The head of a file."""
        self._name, self._began, self._size, self._sum = name.encode(), self._position, 0, 0
        extra = struct.pack("<HHQQ", 1, 16, 0, 0)
        head = _LOCAL.pack(0x04034B50, _VERSION, _FLAGS, 0, 0, _DATE, 0, _LATER, _LATER, len(self._name), len(extra))
        return self._moved(head + self._name + extra)

    def add(self, data: bytes) -> bytes:
        """The next bytes of the file."""
        self._sum, self._size = zlib.crc32(data, self._sum), self._size + len(data)
        return self._moved(data)

    def end(self) -> bytes:
        """What stands behind the file."""
        self._entries.append((self._name, self._began, self._size, self._sum))
        return self._moved(_DESCRIPTOR.pack(0x08074B50, self._sum, self._size, self._size))

    def close(self) -> bytes:
        """The directory."""
        start = self._position
        directory = b"".join(_entry(*entry) for entry in self._entries)
        count, size = len(self._entries), len(directory)
        return b"".join(
            (
                directory,
                _END_64.pack(0x06064B50, 44, _VERSION, _VERSION, 0, 0, count, count, size, start),
                _LOCATOR.pack(0x07064B50, 0, start + size, 1),
                _END.pack(0x06054B50, 0, 0, *(min(count, _LATER_16),) * 2, min(size, _LATER), min(start, _LATER), 0),
            )
        )

    def _moved(self, data: bytes) -> bytes:
        self._position += len(data)
        return data


def _entry(name: bytes, began: int, size: int, checksum: int) -> bytes:
    extra = _EXTRA.pack(1, 24, size, size, began)
    head = (
        0x02014B50,
        _VERSION,
        _VERSION,
        _FLAGS,
        0,
        0,
        _DATE,
        checksum,
        _LATER,
        _LATER,
        len(name),
        len(extra),
        0,
        0,
        0,
        0,
        _LATER,
    )
    return _CENTRAL.pack(*head) + name + extra
