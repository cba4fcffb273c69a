"""Functional groups: the macros of a frame, per frame or shared (PS3.3 C.7.6.16), and the top level for classic objects."""

from .header import Header

SHARED = "52009229"
PER_FRAME = "52009230"
PIXEL_VALUE_TRANSFORMATION = "00289145"
FRAME_VOI_LUT = "00289132"
PIXEL_MEASURES = "00289110"
FRAME_CONTENT = "00209111"
PLANE_POSITION = "00209113"
PLANE_POSITION_VOLUME = "0020930E"
FRAME_DISPLAY_SHUTTER = "00189472"
SEGMENT_IDENTIFICATION = "0062000A"
REAL_WORLD_VALUE_MAPPING = "00409096"


def macro(header: Header, index: int, tag: str) -> Header | None:
    """The item of a macro that counts for a frame (0-based): its own, else the shared one (C.7.6.16.1.1)."""
    for group in (header.item(PER_FRAME, index), header.item(SHARED)):
        found = group.item(tag) if group is not None else None
        if found is not None:
            return found
    return None


def place(header: Header, index: int, tag: str) -> Header:
    """Where the attributes of a macro stand for a frame: its item, else the data set itself."""
    return macro(header, index, tag) or header


def frame_count(header: Header) -> int:
    """Number of Frames (0028,0008); 1 when absent or nonsense."""
    return max(1, header.integer("00280008", 1))
