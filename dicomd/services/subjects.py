"""What a stored instance is to rendering: an image, a video, a report, a document; loaded from its file in a worker."""

import re
from enum import Enum

from attrs import field, frozen

from ..model.content import FileRange
from ..model.status import Undecodable
from ..model.transfer_syntaxes import transfer_syntax
from ..pixels import documents, frames
from ..pixels.functional_groups import frame_count
from ..pixels.header import Header
from ..pixels.image import image_pixel
from ..pixels.instance import Instance, aligned
from ..pixels.presentation import is_presentation_state
from ..store.opened import OpenedInstance, open_instance
from ..store.prepared import BulkData, Prepared
from ..store.retrieval import StoredInstance

PIXELS = ("7FE00010", "7FE00008", "7FE00009")
ENCAPSULATED_DOCUMENT = "00420011"
_EXTENDED_OFFSET_TABLE = "7FE00001"
_UNDEFINED = 0xFFFFFFFF
_MEDIA_TYPE = re.compile(r"[a-z0-9.+-]{1,60}/[a-z0-9.+-]{1,60}")
# Attributes in memory take about this many times their size in the file.
_IN_MEMORY = 4
# The most bytes that one deflated byte stands for (RFC 1951: 258 bytes take two bits).
_MOST_DEFLATED = 1032


class Kind(Enum):
    """The resource categories of PS3.18 8.7.2, as far as they differ in how they are rendered."""

    IMAGE = "image"
    VIDEO = "video"
    REPORT = "report"
    DOCUMENT = "document"
    PRESENTATION = "presentation state"
    OTHER = "object without pictures"


@frozen(eq=False)
class Subject:
    """A stored instance that is to be rendered; kept for a while, since the next request is often about it, too."""

    opened: OpenedInstance
    header: Header
    kind: Kind
    instance: Instance
    size: int = field(init=False)

    @size.default
    def _size(self) -> int:
        return 10_000 + _IN_MEMORY * self.opened.header_size + self.opened.inflated_size

    @property
    def stored(self) -> StoredInstance:
        return self.opened.stored

    @property
    def frames(self) -> int:
        """Number of frames; a video counts as one. Raises `Undecodable` when the file cannot hold them."""
        if self.kind is Kind.VIDEO:
            return 1
        count = frame_count(self.header)
        if count > most_frames(self.stored):
            raise Undecodable("Number of Frames is more than the file can hold", offending=(0x00280008,))
        return count

    def stream(self) -> tuple[str, list[FileRange]]:
        """Media type and file ranges of a video stream, as stored."""
        value = self.opened.values.get(PIXELS[0])
        if value is None or self.opened.inflated is not None:
            raise Undecodable("the instance has no video stream")
        table = _table(self.opened, self.header, value)
        ranges = [FileRange(self.stored.path, offset, length) for offset, length in table.ranges(1)]
        return transfer_syntax(self.stored.transfer_syntax_uid).media_type, ranges

    def document(self) -> tuple[str, bytes]:
        """Media type and content of an encapsulated document (PS3.3 C.24.2), without the padding."""
        content = self.header.data(ENCAPSULATED_DOCUMENT)
        length = self.header.integer("00420015", len(content))
        if 0 < length < len(content):
            content = content[:length]
        media_type = self.header.text("00420012").lower()
        return media_type if _MEDIA_TYPE.fullmatch(media_type) else "application/octet-stream", content


def most_frames(stored: StoredInstance) -> int:
    """More frames than these no file of its size can hold: one needs a bit at least, and that is what deflating makes of it."""
    return 8 * stored.size * (_MOST_DEFLATED if transfer_syntax(stored.transfer_syntax_uid).deflated else 1)


def load(stored: StoredInstance, sample_limit: int, made: Prepared | None = None) -> Subject:
    """Open a stored instance for rendering, with what was `made` of it, if that is at hand; for a worker."""
    opened = open_instance(stored, made)
    header = Header(opened.attributes, opened.bulk)
    tables = [frames.unpack(made.frames)] if made is not None and made.frames else []

    def frame(index: int) -> bytes:
        if not tables:
            value = next((opened.values[tag] for tag in PIXELS if tag in opened.values), None)
            if value is None:
                raise Undecodable("the instance has no pixel data")
            tables.append(_table(opened, header, value))
        return read_frame(opened, tables[0], index)

    return Subject(opened, header, _kind(stored, header), Instance(header, stored.transfer_syntax_uid, frame, sample_limit))


def _kind(stored: StoredInstance, header: Header) -> Kind:
    if any(tag in header.attributes for tag in PIXELS):
        return Kind.VIDEO if transfer_syntax(stored.transfer_syntax_uid).stream else Kind.IMAGE
    if ENCAPSULATED_DOCUMENT in header:
        return Kind.DOCUMENT
    if is_presentation_state(stored.sop_class_uid):
        return Kind.PRESENTATION
    return Kind.REPORT if documents.is_structured_report(header) else Kind.OTHER


def _table(opened: OpenedInstance, header: Header, value: BulkData) -> frames.FrameTable:
    image = image_pixel(opened.attributes, opened.stored.transfer_syntax_uid)
    if image is None:
        raise Undecodable("the instance has no Rows and Columns, or they are zero", offending=(0x00280010, 0x00280011))
    image.check()
    return frames.frame_table(
        opened.read_at,
        image,
        vr=value.vr,
        start=value.offset,
        length=_UNDEFINED if value.encapsulated else value.length,
        extended_offset_table=header.data(_EXTENDED_OFFSET_TABLE),
    )


def read_frame(opened: OpenedInstance, table: frames.FrameTable, index: int) -> bytes:
    """The encoded bytes of a frame, numbered from 0; single bits begin at bit 0."""
    data = b"".join(opened.read_at(offset, length) for offset, length in table.ranges(index + 1))
    return data if table.aligned else aligned(data, index * table.image.frame_bits % 8, table.image.frame_bits)
