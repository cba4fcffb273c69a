"""An archive in a temporary folder with the core around it, for tests of what it holds."""

import io
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.status import Status
from dicomd.services.hub import EventHub
from dicomd.services.query import Search
from dicomd.services.storage import Rules, Source, Storage
from dicomd.store.archive import Archive
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


class ArchiveCase(SynchronousTestCase):
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

    def store_file(self, data: bytes) -> Status:
        reception = self.storage.begin(Source("IMPORT"))
        reception.write(data)
        return self.wait(self.storage.store(reception)).status

    def wait(self, work: Awaitable[Any]) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(_awaited(work)))

    def gather(self, pages: AsyncIterator[list[Any]]) -> list[Any]:
        async def all_of() -> list[Any]:
            return [item async for page in pages for item in page]

        return self.wait(all_of())


async def _awaited(work: Awaitable[Any]) -> Any:
    return await work
