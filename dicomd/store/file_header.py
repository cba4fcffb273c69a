"""Head and header of a Part 10 file on the disk, however large: read through a map that touches few of its pages."""

import contextlib
import mmap
import os
from collections.abc import Iterator
from itertools import islice

from ..model.status import MalformedDataset
from ..wire.elements import (
    DEFLATED,
    PIXEL_DATA,
    UNDEFINED,
    FileMeta,
    actual_layout,
    element_at,
    file_meta,
    layout_of,
    scan,
)
from . import header as headers
from .header import Header

# No instance needs this many top-level elements; more of them only cost time whenever the instance is read.
_MOST_ELEMENTS = 1 << 17

Element = tuple[int, str, int, int]


def header_of_file(descriptor: int, size: int, meta: FileMeta) -> Header:
    """The header of an open file of so many bytes; raises `MalformedDataset` for one that is not complete."""
    offset, syntax = meta.dataset_offset, meta.transfer_syntax_uid
    if size <= offset:
        raise MalformedDataset("there is no data set")
    with mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) as mapped:
        if syntax != DEFLATED:
            _check_complete(descriptor, mapped, offset, size, syntax)
        return headers.read(mapped, offset, syntax, whole=False)


def _check_complete(descriptor: int, mapped: mmap.mmap, offset: int, size: int, syntax: str) -> None:
    """Every element up to and including Pixel Data is complete, and there are not too many; fragments are not mapped."""
    form, position = actual_layout(mapped, offset, layout_of(syntax)), offset
    elements = scan(mapped, offset, explicit=form.explicit, little=form.little, stop=PIXEL_DATA)
    for _tag, _vr, start, length in _countable(elements):
        position = start + length
        if mapped[position : position + 8] == b"\xfe\xff\xdd\xe0\0\0\0\0":
            position += 8
    if position >= size:
        return
    tag, _vr, start, length = element_at(mapped, position, size, form)
    if tag == PIXEL_DATA and length == UNDEFINED:
        position = _end_of_fragments(descriptor, start, size)
    elif length != UNDEFINED:
        position = start + length
    following = scan(mapped, position, explicit=form.explicit, little=form.little)
    if _count_sound(following) > _MOST_ELEMENTS:
        raise _too_many()


def _countable(elements: Iterator[Element]) -> Iterator[Element]:
    """As many as a small instance could hold; each costs time whenever the instance is read."""
    for count, element in enumerate(elements):
        if count == _MOST_ELEMENTS:
            raise _too_many()
        yield element


def _count_sound(elements: Iterator[Element]) -> int:
    """How many there are until one is malformed, which does not matter behind the pixels."""
    count = 0
    with contextlib.suppress(MalformedDataset):
        for _ in islice(elements, _MOST_ELEMENTS + 1):
            count += 1
    return count


def _too_many() -> MalformedDataset:
    return MalformedDataset(f"the data set has more than {_MOST_ELEMENTS} elements")


def _end_of_fragments(descriptor: int, position: int, size: int) -> int:
    while True:
        mark = os.pread(descriptor, 8, position)
        length = int.from_bytes(mark[4:], "little")
        position += 8 + length
        if mark[:4] == b"\xfe\xff\xdd\xe0":
            return position
        if mark[:4] != b"\xfe\xff\x00\xe0" or position > size:
            raise MalformedDataset("(7FE0,0010) is not closed by a delimiter", offending=(PIXEL_DATA,))


def read_file(path: str) -> tuple[FileMeta, Header]:
    """The head and the header of a Part 10 file that is in the store."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        meta = file_meta(os.pread(descriptor, 65536, 0))
        return meta, header_of_file(descriptor, os.fstat(descriptor).st_size, meta)
    finally:
        os.close(descriptor)
