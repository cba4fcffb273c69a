"""What is made of a stored file and too large to be kept in memory until somebody has taken it all: files without a name.

They lie on the file system of the store and are gone when they are closed, and with the process.
"""

import io
import os
import tempfile
import zlib
from collections.abc import Iterable

from ..model.content import FileRange, Piece
from ..model.status import MalformedDataset, TooLarge

# Up to this size content stays in memory.
LARGE = 1 << 20
# No deflated data set becomes larger than this.
LARGEST_INFLATED = 256 << 20
_STEP = 256 << 10


def aside(data: bytes, beside: str) -> Piece:
    """Large bytes as a range of a file beside the file `beside`, small ones as they are; where there can be no file, memory
    must do."""
    if len(data) <= LARGE:
        return data
    try:
        file = _nameless(beside)
        _write(file, data)
    except OSError:
        return data
    return FileRange(f"/proc/self/fd/{file.fileno()}", 0, len(data), file)


def collected(chunks: Iterable[bytes], beside: str) -> Piece:
    """All chunks, in memory while they are few and then as `aside`."""
    held: list[bytes] = []
    size, file = 0, None
    for chunk in chunks:
        held.append(chunk)
        size += len(chunk)
        if size > LARGE and file is None:
            file = _nameless(beside)
        if file is not None:
            _write(file, b"".join(held))
            held.clear()
    return b"".join(held) if file is None else FileRange(f"/proc/self/fd/{file.fileno()}", 0, size, file)


def inflated(path: str, dataset_offset: int, limit: int = LARGEST_INFLATED) -> io.FileIO:
    """The data set of a Part 10 file that is deflated (PS3.5 A.5), in a file; raises `ServiceError` or OSError."""
    machine, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    made = _nameless(path)
    try:
        with open(path, "rb", buffering=0) as stored:
            stored.seek(dataset_offset)
            while not machine.eof:
                data = machine.unconsumed_tail or stored.read(_STEP)
                if not data:
                    raise MalformedDataset("a deflated data set is cut off")
                piece = machine.decompress(data, _STEP)
                _write(made, piece)
                size += len(piece)
                if size > limit:
                    raise TooLarge(f"a deflated data set holds more than {limit} bytes")
    except zlib.error as error:
        made.close()
        raise MalformedDataset(f"a deflated data set cannot be inflated: {error}") from None
    except BaseException:
        made.close()
        raise
    return made


def _write(file: io.FileIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _nameless(beside: str) -> io.FileIO:
    try:
        flags = os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC
        return io.FileIO(os.open(os.path.dirname(beside), flags, 0o600), "r+")
    except OSError:
        return tempfile.TemporaryFile(buffering=0)
