"""An archive with real instances in it, for tests of the DIMSE door."""

import io
from pathlib import Path
from typing import Any

import pydicom
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.status import Status
from dicomd.services.hub import EventHub
from dicomd.services.storage import Rules, Source, Storage
from dicomd.services.transfers import Transfers
from dicomd.store.archive import Archive
from tests.data import pydicom_file
from tests.workers import ImmediateWorkers


class ArchiveCase(SynchronousTestCase):
    """Stores files; every job of the workers runs at once."""

    def setUp(self) -> None:
        self.root = Path(self.mktemp()).absolute()
        self.archive = Archive(str(self.root))
        self.archive.open()
        self.addCleanup(self.archive.close)
        self.workers: Any = ImmediateWorkers(self.archive.index)
        self.storage = Storage(self.workers, self.archive.folder, EventHub(), Rules())
        self.transfers = Transfers(self.workers, self.archive.folder)

    def now(self, work: Any) -> Any:
        return self.successResultOf(work if isinstance(work, Deferred) else ensureDeferred(work))

    def keep(self, name: str = "MR_small.dcm", **changes: Any) -> pydicom.Dataset:
        """Store one of pydicom's files with other values; the data set that was stored."""
        dataset = pydicom.dcmread(pydicom_file(name))
        for keyword, value in changes.items():
            setattr(dataset, keyword, value)
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        buffer = io.BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        reception = self.storage.begin(Source("HTTP", "192.0.2.1"))
        reception.write(buffer.getvalue())
        self.assertEqual(self.now(self.storage.store(reception)).status, Status.SUCCESS)
        return dataset
