"""Reception of one instance: its bytes to a synchronised spool file, its header read and checked, its file put in place.

Blocking; run in the disk pool. Small instances are handled at once from memory; large ones pass through `Spool.write` piece by
piece, so that memory stays bounded whatever their size.
"""

import contextlib
import errno
import mmap
import os
import time
from collections.abc import Sequence

from attrs import define, field, frozen

from ..model.identifiers import is_uid
from ..model.non_patient import MEDIA_STORAGE_DIRECTORY
from ..model.status import InvalidRequest, MalformedDataset, ServiceError, Status, StorageFull
from ..model.value_checks import findings
from ..wire import metadata
from ..wire.elements import DEFLATED, Buffer, FileMeta, file_meta, file_meta_bytes, layout_of
from ..wire.header import Wanted, read_values
from ..wire.sop_classes import is_storage
from . import header as headers
from .digests import Digester
from .file_header import header_of_file
from .files import Folder, Placed
from .header import Header
from .instances import Arrival, key_of

# What was already written is sent to the disk in steps of this size, so that the last synchronisation is short.
_SYNC_STEP = 16 << 20
_MOST_BUFFERS = 512
_MOST_TOLD = 3
_PREAMBLE = bytes(128)
_IDENTITY = Wanted({(0x00080016,): "UI", (0x00080018,): "UI"})
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@frozen
class Rules:
    """What the store takes: empty `sop_classes` means every class, 0 no limit; `strict`: nothing odd either."""

    sop_classes: frozenset[str] = frozenset()
    max_instance_bytes: int = 0
    min_free_bytes: int = 0
    strict: bool = False


@frozen
class Claim:
    """What the sender says of an instance. Without UIDs a whole Part 10 file arrives, else the bare data set."""

    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    transfer_syntax_uid: str = ""
    calling_ae_title: str = ""
    sent_by: str = ""

    @property
    def is_bare(self) -> bool:
        return bool(self.transfer_syntax_uid)

    def meta_bytes(self) -> bytes:
        return file_meta_bytes(
            self.sop_class_uid, self.sop_instance_uid, self.transfer_syntax_uid, source_ae_title=self.calling_ae_title
        )


@frozen
class Target:
    """Where an instance is to belong: a study, the SOP classes of a resource, a UID; empty is any."""

    study_instance_uid: str = ""
    sop_class_uids: frozenset[str] = frozenset()
    sop_instance_uid: str = ""

    def check(self, header: Header) -> None:
        """Raises what refuses an instance that belongs elsewhere."""
        if self.study_instance_uid and self.study_instance_uid != header.study_instance_uid:
            raise InvalidRequest("(0020,000D) StudyInstanceUID is not that of the target study", offending=(0x0020000D,))
        if self.sop_class_uids and header.sop_class_uid not in self.sop_class_uids:
            raise ElsewhereClass("(0008,0016) SOPClassUID does not belong to this resource", offending=(0x00080016,))
        if self.sop_instance_uid and self.sop_instance_uid != header.sop_instance_uid:
            raise InvalidRequest("(0008,0018) SOPInstanceUID is not that of the target", offending=(0x00080018,))


ANYWHERE = Target()


class ElsewhereClass(ServiceError):
    """The SOP class is kept under another resource."""

    status = Status.SOP_CLASS_NOT_SUPPORTED


@define(eq=False)
class Spool:
    """One instance on its way: the spool file that is written, and the digest of its data set."""

    folder: Folder
    rules: Rules
    claim: Claim
    path: str = field(init=False, default="")
    target: Target = field(init=False, default=ANYWHERE)
    size: int = field(init=False, default=0)
    # Known as soon as it was read, also when the instance is refused then.
    header: Header | None = field(init=False, default=None)
    stored_at: int = field(init=False, factory=time.time_ns)
    # Whether a file is in place, of which nobody has decided yet that it stays.
    is_placed: bool = field(init=False, default=False)
    _descriptor: int = field(init=False, default=-1)
    _unsynchronised: int = field(init=False, default=0)
    _digester: Digester | None = field(init=False, default=None)
    _meta: FileMeta | None = field(init=False, default=None)

    def write(self, chunks: Sequence[bytes | memoryview]) -> None:
        """Append; the first call decides where the data set begins, so it must hold the whole File Meta Information."""
        if self._digester is None:
            chunks = self._begin(chunks)
            self._digester = Digester(self.folder.digests)
        self._digester.update(chunks)
        self._append(chunks)

    def _begin(self, chunks: Sequence[bytes | memoryview]) -> Sequence[bytes | memoryview]:
        """Open the spool file and write the head of the Part 10 file; the rest of the chunks is data set."""
        check_room(self.folder, self.rules)
        data = b"".join(chunks)
        meta, rest = split(data, self.claim)
        uids = ("", "") if self.claim.is_bare else identity(rest, meta)
        self._meta, head = head_of(data, meta, self.claim, uids)
        self.path, self._descriptor = self.folder.take_spool()
        self._append([head])
        return [rest]

    def _append(self, buffers: Sequence[bytes | memoryview]) -> None:
        for start in range(0, len(buffers), _MOST_BUFFERS):
            group = buffers[start : start + _MOST_BUFFERS]
            total = sum(map(len, group))
            written = os.writev(self._descriptor, group)
            if written != total:
                write_rest(self._descriptor, b"".join(group)[written:])
            self.size += total
            self._unsynchronised += total
        if self._unsynchronised >= _SYNC_STEP:
            os.fdatasync(self._descriptor)
            self._unsynchronised = 0

    def finish(self) -> Arrival:
        """Synchronise, read the header from the file, check it and put the file in place."""
        if self._meta is None or self._digester is None:
            raise MalformedDataset("there is no data set")
        os.utime(self._descriptor, ns=(self.stored_at, self.stored_at))
        os.fsync(self._descriptor)
        meta, descriptor = self._meta, os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            header = self.header = header_of_file(descriptor, self.size, meta)
        finally:
            os.close(descriptor)
        self._check(header, meta)
        if self.rules.strict:
            with open(self.path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                check_strictly(mapped, meta.dataset_offset, header, meta)
        return self._place(header, meta, self._digester.digest())

    def take(self, chunks: Sequence[bytes | memoryview]) -> Arrival:
        """A small instance in one go; nothing touches the disk before the header has been checked."""
        check_room(self.folder, self.rules)
        header, meta, head, dataset = self._read(chunks)
        digester = Digester(self.folder.digests)
        digester.update(dataset)
        self.path, self._descriptor = self.folder.take_spool()
        self.size = write_through(self._descriptor, [head, *dataset])
        os.utime(self._descriptor, ns=(self.stored_at, self.stored_at))
        return self._place(header, meta, digester.digest())

    def _read(self, chunks: Sequence[bytes | memoryview]) -> tuple[Header, FileMeta, bytes, list[bytes | memoryview]]:
        """Header, head and data set of a small instance, checked. Mostly the first chunk tells all; nothing is copied then."""
        if len(chunks) > 1 and not self.rules.strict:
            with contextlib.suppress(MalformedDataset):
                return self._read_beginning(chunks[0], chunks[1:])
        header, meta, head, whole = self._read_beginning(chunks[0] if len(chunks) == 1 else b"".join(chunks), ())
        if self.rules.strict:
            check_strictly(memoryview(whole[0]), 0, header, meta)
        return header, meta, head, whole

    def _read_beginning(
        self, data: bytes | memoryview, rest: Sequence[bytes | memoryview]
    ) -> tuple[Header, FileMeta, bytes, list[bytes | memoryview]]:
        """The same when the first chunk tells all; `MalformedDataset` may mean that it does not."""
        meta, dataset = split(data, self.claim)
        size = len(dataset) + sum(map(len, rest))
        header = self.header = headers.read(dataset, 0, meta.transfer_syntax_uid, end=size)
        meta, head = head_of(data, meta, self.claim, _named(header.sop_class_uid, header.sop_instance_uid, meta))
        self._check(header, meta)
        return header, meta, head, [dataset, *rest]

    def _check(self, header: Header, meta: FileMeta) -> None:
        check(header, meta, self.claim, self.rules)
        self.target.check(header)

    def _place(self, header: Header, meta: FileMeta, digest: bytes) -> Arrival:
        self._close()
        placed = self.folder.place(self.path, key_of(header))
        self.is_placed = True
        return Arrival(
            header,
            meta.transfer_syntax_uid,
            placed.file,
            meta.dataset_offset,
            self.size,
            digest,
            self.stored_at,
            self.claim.sent_by,
        )

    def withdraw(self, placed: Placed) -> None:
        """Leave nothing of an instance that is in place."""
        self.folder.withdraw(placed)
        self.is_placed = False

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def discard(self) -> None:
        """Leave nothing of what was written; for an instance that was not placed."""
        if self.path:
            self._close()
            self.folder.discard(self.path)


def write_through(descriptor: int, buffers: Sequence[Buffer]) -> int:
    """Write and synchronise a new file, mostly in one call of the system; how many bytes there are."""
    total = sum(map(len, buffers))
    if len(buffers) > _MOST_BUFFERS:
        buffers = [b"".join(buffers)]
    written = os.pwritev(descriptor, buffers, 0, os.RWF_DSYNC)
    if written != total:
        os.lseek(descriptor, written, os.SEEK_SET)
        write_rest(descriptor, b"".join(buffers)[written:])
        os.fsync(descriptor)
    return total


def write_rest(descriptor: int, rest: bytes) -> None:
    """Write all of it, however little the system takes at a time."""
    view = memoryview(rest)
    while view:
        view = view[os.write(descriptor, view) :]


def check_room(folder: Folder, rules: Rules) -> None:
    """Refuse before anything is written when too little space is left."""
    if rules.min_free_bytes and folder.free_bytes() < rules.min_free_bytes:
        raise StorageFull("the storage is full")


def split(data: bytes | memoryview, claim: Claim) -> tuple[FileMeta, memoryview]:
    """What the File Meta Information says, or the sender in its place, and the beginning of the data set."""
    if claim.is_bare:
        return FileMeta(claim.sop_class_uid, claim.sop_instance_uid, claim.transfer_syntax_uid, 0), memoryview(data)
    meta = file_meta(data)
    return meta, memoryview(data)[meta.dataset_offset :]


def head_of(data: bytes | memoryview, meta: FileMeta, claim: Claim, uids: tuple[str, str]) -> tuple[FileMeta, bytes]:
    """The head of the file to write before a data set with these SOP Class and SOP Instance UIDs, and what it says.

    A sound head is kept but for its preamble, which could make the file something else as well (PS3.10 7.1). Where there is
    none, one with parts missing, or one that names another instance than is known of the data set, a new one is made.
    """
    if claim.is_bare:
        head = claim.meta_bytes()
        return FileMeta(claim.sop_class_uid, claim.sop_instance_uid, claim.transfer_syntax_uid, len(head)), head
    if meta.sound and uids == (meta.sop_class_uid, meta.sop_instance_uid):
        return meta, _PREAMBLE + data[128 : meta.dataset_offset]
    sop_class_uid, sop_instance_uid = uids
    head = file_meta_bytes(
        sop_class_uid,
        sop_instance_uid,
        meta.transfer_syntax_uid,
        implementation_class_uid=meta.implementation_class_uid,
        implementation_version_name=meta.implementation_version_name,
        source_ae_title=meta.source_ae_title,
    )
    return FileMeta(sop_class_uid, sop_instance_uid, meta.transfer_syntax_uid, len(head)), head


def identity(dataset: memoryview, meta: FileMeta) -> tuple[str, str]:
    """SOP Class and SOP Instance UID of the data set; what its beginning does not tell is taken from the head."""
    found: dict[tuple[int, ...], str] = {}
    if meta.transfer_syntax_uid != DEFLATED:
        form = layout_of(meta.transfer_syntax_uid)
        with contextlib.suppress(MalformedDataset):
            found = read_values(dataset, _IDENTITY, 0, explicit=form.explicit, little=form.little)
    return _named(found.get((0x00080016,), ""), found.get((0x00080018,), ""), meta)


def _named(sop_class_uid: str, sop_instance_uid: str, meta: FileMeta) -> tuple[str, str]:
    """What the data set does not tell is taken from the head. Longer ones are refused later, by the header."""
    return (sop_class_uid or meta.sop_class_uid)[:64], (sop_instance_uid or meta.sop_instance_uid)[:64]


def check(header: Header, meta: FileMeta, claim: Claim, rules: Rules) -> None:
    """Raise the refusal that the header deserves (PS3.4 B.2.3)."""
    if claim.sop_instance_uid and not is_uid(claim.sop_instance_uid):
        raise ServiceError("Affected SOP Instance UID is not a UID", Status.INVALID_SOP_INSTANCE, offending=(0x00001000,))
    if MEDIA_STORAGE_DIRECTORY in (header.sop_class_uid, meta.sop_class_uid):
        raise ServiceError("a media storage directory is not an instance to keep", Status.SOP_CLASS_NOT_SUPPORTED)
    headers.check_identity(header)
    if claim.is_bare and claim.sop_class_uid != header.sop_class_uid:
        raise InvalidRequest("(0008,0016) SOPClassUID is not Affected SOP Class UID", offending=(0x00080016,))
    if claim.is_bare and claim.sop_instance_uid != header.sop_instance_uid:
        raise InvalidRequest("(0008,0018) SOPInstanceUID is not Affected SOP Instance UID", offending=(0x00080018,))
    if rules.sop_classes and header.sop_class_uid not in rules.sop_classes:
        raise ServiceError("the SOP class is not taken here", Status.SOP_CLASS_NOT_SUPPORTED)


def check_strictly(data: Buffer, offset: int, header: Header, meta: FileMeta) -> None:
    """Refuse what `[store] validation = "strict"` does not take: an unknown SOP class, a value against its VR (PS3.5 6.2)."""
    if not is_storage(header.sop_class_uid):
        raise ServiceError("(0008,0016) SOPClassUID is no known storage class", Status.SOP_CLASS_NOT_SUPPORTED)
    attributes, *_ = metadata.read(data, offset, meta.transfer_syntax_uid, "")
    odd = findings(attributes)
    if odd:
        raise InvalidRequest(", ".join(map(str, odd[:_MOST_TOLD])), offending=tuple(finding.tag for finding in odd))


def refusal(error: BaseException) -> ServiceError:
    """What the sender is told of an error: a refusal as it is, a full disk as such, all else as a processing failure."""
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, OSError) and error.errno in _FULL:
        return StorageFull("the storage is full")
    return ServiceError("the instance could not be stored", Status.PROCESSING_FAILURE)


def placed(spool: Spool, arrival: Arrival) -> Placed:
    """The arrival's file with the spool name that it still has."""
    return Placed(spool.path, arrival.file)
