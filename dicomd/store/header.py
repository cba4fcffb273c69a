"""The identifying header of an instance: the values of the index's columns, read from the data set without its pixels."""

import zlib

from attrs import frozen

from ..model.identifiers import InstanceKey, is_uid
from ..model.keys import COLUMNS, Column
from ..model.non_patient import SOP_CLASSES as NON_PATIENT
from ..model.status import InvalidRequest, MalformedDataset
from ..wire.elements import DEFLATED, Buffer, layout_of
from ..wire.header import Wanted, read_values
from .schema import is_number

Values = dict[str, str | int | None]

_READ: tuple[Column, ...] = tuple(column for column in COLUMNS if not column.computed)
_WANTED = Wanted({column.path: column.vr for column in _READ})
_NUMBERS = tuple((column.path, column.name) for column in _READ if is_number(column))
_LISTS = tuple((column.path, column.name) for column in _READ if column.multiple)
_TEXTS = tuple((column.path, column.name) for column in _READ if not is_number(column) and not column.multiple)
# Dates and times of old equipment, 1994.01.30 and 11:25:01 (PS3.5 Table 6.2-1, notes), are kept as they are written today.
_OLD_FORMS = tuple((column.path, column.name, {"DA": ".", "TM": ":"}[column.vr]) for column in _READ if column.vr in ("DA", "TM"))
# A deflated data set is inflated this far to find its header, and no further.
_INFLATE_LIMIT = 32 << 20
_INFLATE_STEP = 1 << 20


@frozen
class Header:
    """What the index holds of an instance, by column name; absent text is "", absent numbers are None."""

    values: Values
    sop_class_uid: str
    is_non_patient: bool
    # Study and series are empty for a non-patient instance.
    key: InstanceKey

    @property
    def sop_instance_uid(self) -> str:
        return self.key.sop_instance_uid

    @property
    def study_instance_uid(self) -> str:
        return self.key.study_instance_uid

    @property
    def series_instance_uid(self) -> str:
        return self.key.series_instance_uid


def header_of(values: Values) -> Header:
    """The header with these values."""
    sop_class_uid, sop_instance_uid = str(values["sop_class_uid"]), str(values["sop_instance_uid"])
    if sop_class_uid in NON_PATIENT:
        return Header(values, sop_class_uid, True, InstanceKey("", "", sop_instance_uid))
    study, series = str(values["study_instance_uid"]), str(values["series_instance_uid"])
    return Header(values, sop_class_uid, False, InstanceKey(study, series, sop_instance_uid))


def read(data: Buffer, offset: int, transfer_syntax_uid: str, *, whole: bool = True, end: int | None = None) -> Header:
    """The header of the data set at `offset`; raises `MalformedDataset`.

    `whole`: also see that every element up to and including Pixel Data is complete. `end`: where the data set ends when only
    its beginning is there; `MalformedDataset` then means too that this does not suffice.
    """
    if transfer_syntax_uid == DEFLATED:
        if end not in (None, len(data)):
            raise MalformedDataset("a deflated data set is read as a whole")
        return _read_deflated(data, offset)
    form = layout_of(transfer_syntax_uid)
    return _header(read_values(data, _WANTED, offset, explicit=form.explicit, little=form.little, whole=whole, end=end))


def _header(found: dict[tuple[int, ...], str]) -> Header:
    get = found.get
    values: Values = {name: get(path, "") for path, name in _TEXTS}
    for path, name, mark in _OLD_FORMS:
        if mark in (text := get(path, "")):
            values[name] = text.replace(mark, "")
    for path, name in _NUMBERS:
        values[name] = _number(get(path, ""))
    for path, name in _LISTS:
        text = get(path, "")
        values[name] = f"\\{text}\\" if text else ""
    return header_of(values)


def _number(text: str) -> int | None:
    """A whole number that a database holds; anything else is taken as absent."""
    if not text:
        return None
    try:
        number = int(float(text.partition("\\")[0]))
    except (ValueError, OverflowError):
        return None
    return number if -(1 << 31) <= number < 1 << 32 else None


def _read_deflated(data: Buffer, position: int) -> Header:
    """PS3.5 A.5: the data set is Explicit VR Little Endian behind a raw deflate stream; the whole stream is checked."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated, rest, size = bytearray(), b"", 0
    try:
        while not inflater.eof and (rest or position < len(data)):
            if not rest:
                rest = bytes(data[position : position + _INFLATE_STEP])
                position += len(rest)
            piece = inflater.decompress(rest, _INFLATE_STEP)
            rest, size = inflater.unconsumed_tail, size + len(piece)
            if len(inflated) < _INFLATE_LIMIT:
                inflated += piece
    except zlib.error:
        raise MalformedDataset("the deflated data set is damaged") from None
    if not inflater.eof:
        raise MalformedDataset("the deflated data set is truncated")
    found = read_values(inflated, _WANTED, 0, explicit=True, whole=size <= len(inflated), end=size)
    return _header(found)


_UIDS = (("sop_class_uid", 0x00080016), ("sop_instance_uid", 0x00080018))
_UIDS_OF_PATIENT = (*_UIDS, ("study_instance_uid", 0x0020000D), ("series_instance_uid", 0x0020000E))


def check_identity(header: Header) -> None:
    """Refuse an instance that lacks UIDs, or whose UIDs are none: they become file names (PS3.5 9.1, PS3.4 B.2.3)."""
    for name, tag in _UIDS if header.is_non_patient else _UIDS_OF_PATIENT:
        uid = str(header.values[name])
        if not is_uid(uid):
            what = "is not a UID" if uid else "is missing"
            raise InvalidRequest(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) {_keyword(name)} {what}", offending=(tag,))


def _keyword(name: str) -> str:
    return "".join({"sop": "SOP", "uid": "UID"}.get(word, word.capitalize()) for word in name.split("_"))
