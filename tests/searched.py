"""Archives to search: small ones made for a test, and one with all real files, beside a second engine with the same files."""

import atexit
import contextlib
import functools
import io
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Iterable
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from sqlalchemy import Connection, select
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.keys import COLUMNS
from dicomd.model.status import Status
from dicomd.services.hub import EventHub
from dicomd.services.query import Search
from dicomd.services.storage import Rules, Source, Storage
from dicomd.store import prepared, retrieval
from dicomd.store.archive import Archive
from dicomd.store.header import header_of
from dicomd.store.instances import Arrival, Duplicates, admit
from dicomd.store.schema import instances, is_number
from tests.brute_force import BruteForce, listed
from tests.data import SkipTest, pydicom_files, shared_files
from tests.workers import ImmediateWorkers

CT = "1.2.840.10008.5.1.4.1.1.2"


def part10(dataset: Dataset) -> bytes:
    """A data set as a file."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    dataset.file_meta = meta
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def made(study: str, series: str = "1", instance: str = "1", **values: Any) -> Dataset:
    """A small instance; UIDs follow from its place. None leaves an attribute out."""
    dataset = Dataset()
    uid = f"1.2.{study}"
    given: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 192",
        "SOPClassUID": CT,
        "StudyInstanceUID": uid,
        "SeriesInstanceUID": f"{uid}.{series}",
        "SOPInstanceUID": f"{uid}.{series}.{instance}",
        "PatientID": f"P{study}",
        "PatientName": f"Name^{study}",
        "StudyDate": "20240101",
        "StudyTime": "120000",
        "AccessionNumber": f"A{study}",
        "Modality": "CT",
        "SeriesNumber": series,
        "InstanceNumber": instance,
        **values,
    }
    for keyword, value in given.items():
        if value is not None:
            setattr(dataset, keyword, value)
    return dataset


def admit_rows(connection: Connection, study: str, instances: Iterable[int], **values: Any) -> None:
    """Instances of one series in the index alone, where their files do not matter; `values` by column."""
    for number in instances:
        row: dict[str, Any] = {column.name: None if is_number(column) else "" for column in COLUMNS}
        uid = f"1.2.{study}"
        row |= {"study_instance_uid": uid, "series_instance_uid": f"{uid}.1", "sop_instance_uid": f"{uid}.1.{number}"}
        row |= {"sop_class_uid": CT, "instance_number": number, **values}
        arrival = Arrival(header_of(row), ExplicitVRLittleEndian, f"{uid}.{number}.dcm", 0, 0, b"", number)
        admit(connection, arrival, Duplicates.REPLACE)


class WaitingCase(SynchronousTestCase):
    """A test of coroutines whose every step runs at once."""

    def wait(self, work: Awaitable[Any]) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(_awaited(work)))

    def gather(self, pages: AsyncIterator[list[Any]]) -> list[Any]:
        async def all_of() -> list[Any]:
            return [item async for page in pages for item in page]

        return self.wait(all_of())


class ArchiveCase(WaitingCase):
    """A test with an archive, `self.storage` and `self.search`."""

    def setUp(self) -> None:
        self.archive = Archive(str(Path(self.mktemp()).absolute()))
        self.archive.open()
        self.addCleanup(self.archive.close)
        self.clock = Clock()
        self.workers: Any = ImmediateWorkers(self.archive.index)
        self.storage = Storage(self.workers, self.archive.folder, EventHub(), Rules())
        self.search = Search(self.workers, self.archive.folder, self.clock)

    def store(self, *datasets: Dataset) -> None:
        for dataset in datasets:
            self.store_file(part10(dataset))

    def admit(self, study: str, instances: Iterable[int], **values: Any) -> None:
        """See `admit_rows`."""
        with self.archive.index.batch() as connection:
            admit_rows(connection, study, instances, **values)

    def store_file(self, data: bytes) -> Status:
        return self.wait(stored(self.storage, data))


async def stored(storage: Storage, data: bytes) -> Status:
    """What became of a Part 10 file."""
    reception = storage.begin(Source("IMPORT"))
    reception.write(data)
    return (await storage.store(reception)).status


FOLDERS = ("series", "charsets", "images", "legal-oddities", "multiframe", "non-image")
found_by = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}


def tag(keyword: str) -> str:
    """Its tag as the model writes it."""
    return f"{tag_for_keyword(keyword) or 0:08X}"


class RealFiles:
    """Real files in an archive and in `brute`; made once for all tests."""

    class Case(WaitingCase):
        """A test with all of them as `self.files`."""

        def setUp(self) -> None:
            self.files = RealFiles.get()

    def __init__(self) -> None:
        root = tempfile.mkdtemp()
        archive = self.archive = Archive(root)
        archive.open()
        atexit.register(shutil.rmtree, root, ignore_errors=True)
        atexit.register(archive.close)
        self.folder, self.clock = archive.folder, Clock()
        self.workers: Any = ImmediateWorkers(archive.index)
        self.brute = BruteForce()
        self._fill(Storage(self.workers, archive.folder, EventHub(), Rules()))

    @classmethod
    @functools.cache
    def get(cls) -> "RealFiles":
        """The one."""
        return cls()

    def _fill(self, storage: Storage) -> None:
        seen = set()
        for path in _real_files():
            data = path.read_bytes()
            dataset = dcmread(io.BytesIO(data), stop_before_pixels=True, force=True)
            uid = str(dataset.get("SOPInstanceUID"))
            if uid in seen or "SeriesInstanceUID" not in dataset or not dataset.get("StudyInstanceUID"):
                continue
            seen.add(uid)
            if Deferred.fromCoroutine(stored(storage, data)).result is Status.SUCCESS:
                self.brute.add(dataset)
        self._prepare_half()

    def _prepare_half(self) -> None:
        """Metadata of some are read from the index, those of the others from their files."""
        with self.archive.index.batch() as connection:
            rows = list(connection.scalars(select(instances.c.id).where(instances.c.id % 2 == 0)))
            for found in retrieval.pages(connection, self.folder, rows).page:
                packed = prepared.pack(found.row, prepared.describe(found), b"")
                prepared.save(connection, [(packed, found.digest)])

    @functools.cache  # noqa: B019 - there is only one
    def values(self, keyword: str) -> list[str]:
        """The values that the files have for an attribute, or for one of the items of a sequence."""
        sequence, _, inner = keyword.rpartition(".")
        found: set[str] = set()
        for file in self.brute.files:
            if sequence:
                found.update(str(value) for item in file.values(sequence) for value in listed(item.get(inner)))
            else:
                found.update(str(value) for value in file.values(keyword))
        return sorted(value.strip(" \0") for value in found)


def _real_files() -> list[Path]:
    """Those of pydicom, and of the shared collection where there is one; large ones take too long."""
    paths = pydicom_files()
    with contextlib.suppress(SkipTest):
        paths += [path for folder in FOLDERS for path in shared_files(folder)]
    return [path for path in paths if path.stat().st_size < 1 << 20]


async def _awaited(work: Awaitable[Any]) -> Any:
    return await work
