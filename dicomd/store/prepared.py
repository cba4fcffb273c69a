"""What is prepared of a stored instance, so that no request parses its file: metadata, where bulk data and frames lie.

`describe` reads a file; the other functions are the table `prepared`. Nothing of it is needed to trust the archive: it can be
made again from the files at any time.
"""

import mmap
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing

import orjson
from attrs import evolve, frozen
from sqlalchemy import Connection, Integer, bindparam, select

from ..model.attributes import Attributes
from ..model.non_patient import BY_STORAGE
from ..model.status import MalformedDataset
from ..wire import metadata
from ..wire.decoding import PIXEL_DATA, BulkData
from ..wire.elements import DEFLATED, EXPLICIT_LITTLE, UNDEFINED, actual_layout, element_at, layout_of, scan
from .aside import inflated
from .dialect import Statement, insert
from .retrieval import StoredInstance
from .schema import instances, prepared

__all__ = [
    "BulkData",
    "Description",
    "Prepared",
    "describe",
    "load",
    "load_frames",
    "load_json",
    "load_packed",
    "load_same",
    "pack",
    "save",
    "unpacked",
    "unprepared",
]

# Files up to this size are read at once; of larger ones the pixel data are stepped over.
_SMALL = 4 << 20
_STEP = 256 << 10
_FIRST_PIXEL_ELEMENT = 0x7FE00000
_DELIMITER = b"\xfe\xff\xdd\xe0\0\0\0\0"


@frozen
class Description:
    """A data set in the JSON model and where its bulk data lie; offsets in the file, or in the inflated data set."""

    attributes: Attributes
    bulk: dict[str, BulkData]
    inflated: bool = False


@frozen
class Prepared:
    """A row of the table: what was made of the instance in `row`. `problem`: why nothing could be."""

    row: int
    metadata: bytes = b""
    bulk_data: bytes = b""
    frames: bytes = b""
    problem: str = ""

    @property
    def json(self) -> bytes:
        """The metadata: one DICOM JSON object with the placeholder for the service's URL."""
        return zlib.decompress(self.metadata)

    @property
    def bulk(self) -> dict[str, BulkData]:
        """Path of an element -> where its value lies."""
        return {path: BulkData(*place) for path, place in orjson.loads(zlib.decompress(self.bulk_data)).items()}


def describe(found: StoredInstance, *, inline_threshold: int = 1024, small: int = _SMALL) -> Description:
    """Read the file of an instance; raises `MalformedDataset` or `OSError`. Memory grows with its header, not its pixels."""
    key = found.key
    if found.sop_class_uid in BY_STORAGE:
        resource = metadata.resource_of_non_patient(BY_STORAGE[found.sop_class_uid].resource, key.sop_instance_uid)
    else:
        resource = metadata.resource_of(key.study_instance_uid, key.series_instance_uid, key.sop_instance_uid)
    syntax = found.transfer_syntax_uid
    if syntax == DEFLATED:
        return _read_deflated(found, resource, inline_threshold)
    with open(found.path, "rb") as file:
        if found.size <= small:
            return _read(file.read(), found.dataset_offset, syntax, resource, inline_threshold)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
            return _read_large(file.fileno(), view, found.dataset_offset, syntax, resource, inline_threshold)


def _read_deflated(found: StoredInstance, resource: str, threshold: int) -> Description:
    """The inflated data set lies in a file meanwhile: it may be a thousand times as large as the deflated one."""
    with closing(inflated(found.path, found.dataset_offset)) as file:
        if not file.tell():
            raise MalformedDataset("the deflated data set is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
            described = _read_large(file.fileno(), view, 0, EXPLICIT_LITTLE, resource, threshold)
    described.attributes["00083002"]["Value"] = [found.transfer_syntax_uid]
    return evolve(described, inflated=True)


def _read(data: bytes | memoryview, offset: int, syntax: str, resource: str, threshold: int) -> Description:
    try:
        attributes, bulk, _ = metadata.read(data, offset, syntax, resource, inline_threshold=threshold)
    except MalformedDataset:
        # What follows the pixel data may be garbage: the data set is complete without it.
        end = _end_of_pixels(data, offset, syntax)
        if end is None:
            raise
        attributes, bulk, _ = metadata.read(data[:end], offset, syntax, resource, inline_threshold=threshold)
    attributes["00083002"] = {"vr": "UI", "Value": [syntax]}
    return Description(dict(sorted(attributes.items())), bulk)


def _end_of_pixels(data: bytes | memoryview, offset: int, syntax: str) -> int | None:
    """Where the element behind the pixel data would begin; None when there are no sound pixel data."""
    form = actual_layout(data, offset, layout_of(syntax))
    try:
        for tag, _vr, start, length in scan(data, offset, explicit=form.explicit, little=form.little):
            if tag in PIXEL_DATA:
                end = start + length
                return end + 8 if bytes(data[end : end + 8]) == _DELIMITER else end
    except MalformedDataset:
        pass
    return None


def _read_large(file: int, view: memoryview, offset: int, syntax: str, resource: str, threshold: int) -> Description:
    """As `_read`, but encapsulated pixel data are not walked through: that would bring all of the file into memory."""
    pixels = _encapsulated(view, offset, syntax)
    if pixels is None:
        return _read(view, offset, syntax, resource, threshold)
    position, tag, start = pixels
    end = _end_of_fragments(file, start, len(view))
    with view[:position] as head:
        described = _read(head, offset, syntax, resource, threshold)
    path = f"{tag:08X}"
    described.attributes[path] = {"vr": "OB", "BulkDataURI": f"{resource}/bulkdata/{path}"}
    described.bulk[path] = BulkData("OB", start, end - start, encapsulated=True)
    if end + 8 < len(view):
        with view[end + 8 :] as rest:
            trailing = metadata.read(rest, 0, syntax, resource, inline_threshold=threshold)
        described.attributes.update(trailing[0])
        moved = {name: evolve(bulk, offset=bulk.offset + end + 8) for name, bulk in trailing[1].items()}
        described.bulk.update(moved)
    return described


def _encapsulated(view: memoryview, offset: int, syntax: str) -> tuple[int, int, int] | None:
    """Where the encapsulated pixel element begins, its tag, and where its value begins; None when there is none."""
    form = actual_layout(view, offset, layout_of(syntax))
    position = offset
    for tag, _vr, start, length in scan(view, offset, explicit=form.explicit, little=form.little, stop=_FIRST_PIXEL_ELEMENT):
        if tag >= _FIRST_PIXEL_ELEMENT:
            return None
        position = start + length
        if bytes(view[position : position + 8]) == _DELIMITER:
            position += 8
    previous = 0
    while position < len(view):
        tag, _vr, start, length = element_at(view, position, len(view), form)
        if length == UNDEFINED:
            return (position, tag, start) if tag in PIXEL_DATA else None
        if tag <= previous:
            return None
        position, previous = start + length, tag
    return None


def _end_of_fragments(file: int, position: int, size: int) -> int:
    """Where the delimiter of the fragments is; usually it is the last thing in the file."""
    if os.pread(file, 8, size - 8) == _DELIMITER:
        return size - 8
    while True:
        header = os.pread(file, 8, position)
        if len(header) < 8:
            raise MalformedDataset("(7FE0,0010) is not closed by a delimiter", offending=(0x7FE00010,))
        if header == _DELIMITER:
            return position
        if header[:4] != b"\xfe\xff\x00\xe0":
            raise MalformedDataset("(7FE0,0010) holds something else in place of an item", offending=(0x7FE00010,))
        position += 8 + int.from_bytes(header[4:], "little")


def pack(row: int, described: Description, frames: bytes) -> Prepared:
    """As it is kept."""
    places = {path: (bulk.vr, bulk.offset, bulk.length, bulk.encapsulated) for path, bulk in described.bulk.items()}
    return Prepared(
        row,
        zlib.compress(orjson.dumps(described.attributes), 1),
        zlib.compress(orjson.dumps(places), 1),
        frames,
    )


_VALUES = ("metadata", "bulk_data", "frames", "problem")
_NEW = insert(prepared).values(instance_row=bindparam("row"), **{name: bindparam(name) for name in _VALUES})
_SAVE = Statement(
    _NEW.on_conflict_do_update(index_elements=["instance_row"], set_={name: _NEW.excluded[name] for name in _VALUES})
)
_DIGEST = Statement(select(instances.c.digest).where(instances.c.id == bindparam("row")))
_LOAD = Statement(select(*(prepared.c[name] for name in _VALUES)).where(prepared.c.instance_row == bindparam("row")))
_LOAD_SAME = Statement(
    select(*(prepared.c[name] for name in _VALUES))
    .join_from(prepared, instances, prepared.c.instance_row == instances.c.id)
    .where(instances.c.id == bindparam("row"), instances.c.digest == bindparam("digest"))
)
_LOAD_FRAMES = Statement(select(prepared.c.frames, prepared.c.problem).where(prepared.c.instance_row == bindparam("row")))
_LOAD_METADATA = Statement(select(prepared.c.metadata, prepared.c.problem).where(prepared.c.instance_row == bindparam("row")))
_MISSING = Statement(
    select(instances.c.id)
    .outerjoin(prepared, prepared.c.instance_row == instances.c.id)
    .where(instances.c.id > bindparam("after"), prepared.c.instance_row.is_(None), instances.c.series_row.is_not(None))
    .order_by(instances.c.id)
    .limit(bindparam("most", type_=Integer))
    .offset(bindparam("skipped", type_=Integer))
)


def save(connection: Connection, rows: Iterable[tuple[Prepared, bytes]]) -> None:
    """Keep what was prepared of instances whose digest is still the given one; others were replaced or deleted meanwhile."""
    for made, digest in rows:
        now = _DIGEST.run(connection, {"row": made.row}).fetchone()
        if now is not None and now[0] == digest:
            values = {name: getattr(made, name) for name in _VALUES}
            _SAVE.run(connection, {"row": made.row, **values})


def load(connection: Connection, row: int) -> Prepared | None:
    """What was prepared of one instance, if it has been."""
    found = _LOAD.run(connection, {"row": row}).fetchone()
    return None if found is None else Prepared(row, *found)


def load_same(connection: Connection, found: StoredInstance) -> Prepared | None:
    """The same of just this instance, and not of one that has replaced it meanwhile."""
    row = _LOAD_SAME.run(connection, {"row": found.row, "digest": found.digest}).fetchone()
    return None if row is None else Prepared(found.row, *row)


def load_frames(connection: Connection, row: int) -> Prepared | None:
    """The same with nothing but the frame table: the metadata of a slide are large."""
    found = _LOAD_FRAMES.run(connection, {"row": row}).fetchone()
    return None if found is None else Prepared(row, frames=found[0], problem=found[1])


def load_json(connection: Connection, rows: Sequence[int]) -> list[bytes | None]:
    """The metadata of several instances; None where nothing was prepared yet, empty where nothing could be."""
    return [zlib.decompress(packed) if packed else packed for packed in load_packed(connection, rows)]


def load_packed(connection: Connection, rows: Sequence[int]) -> list[bytes | None]:
    """The same as it is kept."""
    made: list[bytes | None] = []
    for row in rows:
        found = _LOAD_METADATA.run(connection, {"row": row}).fetchone()
        made.append(None if found is None else b"" if found[1] else found[0])
    return made


def unpacked(packed: bytes) -> Iterator[bytes]:
    """Metadata piece by piece: those of many frames are large."""
    machine, rest = zlib.decompressobj(), packed
    while piece := machine.decompress(rest, _STEP):
        rest = machine.unconsumed_tail
        yield piece


def unprepared(connection: Connection, after: int, most: int) -> list[int]:
    """Rows of patients' instances behind `after` of which nothing was prepared yet."""
    return [row for (row,) in _MISSING.run(connection, {"after": after, "most": most, "skipped": 0}).fetchall()]
