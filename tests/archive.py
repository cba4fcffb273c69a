"""An archive with instances in it, and doors without ports over it, for tests of what is read."""

import io
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import pydicom
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dicomd.services.bulkdata import Bulk
from dicomd.services.frames import Frames
from dicomd.services.hub import EventHub
from dicomd.services.metadata import Metadata
from dicomd.services.preparation import Preparation
from dicomd.services.retrieve import Retrieve
from dicomd.services.storage import Source, Storage, StoreOutcome
from dicomd.services.transcoding import Transcoder
from dicomd.store.archive import Archive
from dicomd.store.files import Folder
from dicomd.web.app import Door
from dicomd.web.routes import Route
from tests.data import pydicom_file
from tests.web.harness import Answer, ask, make_door
from tests.workers import ImmediateWorkers


def edited(name: str = "MR_small.dcm", **changes: Any) -> bytes:
    """One of pydicom's files with other values; None removes an attribute."""
    dataset = pydicom.dcmread(pydicom_file(name))
    for keyword, value in changes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.preamble = bytes(128)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def spooled(folder: Folder) -> list[Path]:
    """What the spool holds, without the files that were made ready for what may come."""
    ready = {path for path, _ in folder._ready}
    return [path for path in Path(folder.root, "spool").iterdir() if str(path) not in ready]


class ArchiveCase(SynchronousTestCase):
    """A fresh archive; jobs of workers run at once."""

    def setUp(self) -> None:
        self.root = Path(self.mktemp()).absolute()
        self.archive = Archive(str(self.root))
        self.archive.open()
        self.addCleanup(self.archive.close)
        self.hub = EventHub()
        self.workers: Any = ImmediateWorkers(self.archive.index)
        self.storage = Storage(self.workers, self.archive.folder, self.hub)
        self.retrieve = Retrieve(self.workers, self.archive.folder)
        self.preparation = Preparation(self.workers, self.archive.folder, Clock())
        self.metadata = Metadata(self.workers, self.archive.folder, self.preparation)
        self.metadata.subscribe(self.hub)
        self.frames = Frames(self.workers, self.archive.folder, self.preparation)
        self.frames.subscribe(self.hub)
        self.bulk = Bulk(self.workers, self.archive.folder, self.preparation)
        self.transcoder = Transcoder(self.workers, self.preparation)
        self.transcoder.subscribe(self.hub)

    def store(self, data: bytes) -> StoreOutcome:
        """Store a Part 10 file; it must be taken."""
        reception = self.storage.begin(Source("HTTP"))
        reception.write(data)
        outcome = self.successResultOf(ensureDeferred(self.storage.store(reception)))
        self.assertEqual(int(outcome.status), 0, outcome.comment)
        return outcome

    def file_of(self, outcome: StoreOutcome) -> Path:
        """Where the instance lies in the store folder."""
        assert outcome.key is not None
        return next(self.root.glob(f"studies/*/*/{outcome.key.sop_instance_uid}*.dcm"))

    def rows(self) -> list[Route]:
        """The rows of the door that `get` asks."""
        raise NotImplementedError

    @cached_property
    def door(self) -> Door:
        """The door with its rows, made when it is first asked for."""
        return make_door(self.rows())

    def get(self, path: str, accept: str = "", headers: Iterable[tuple[str, str]] = (), method: str = "GET") -> Answer:
        """Ask for a resource under the service's root."""
        given = [("Accept", accept)] if accept else []
        return ask(self.door, method, f"/dicom-web{path}", None, [*given, *headers])


def parts(answer: Answer) -> list[tuple[dict[str, str], bytes]]:
    """Headers (names in lower case) and contents of a multipart answer."""
    boundary = answer.headers["content-type"].partition("boundary=")[2].strip('"').encode()
    pieces = answer.body.split(b"--" + boundary)
    assert pieces[0] in (b"", b"\r\n"), pieces[0][:50]
    assert pieces[-1].strip() == b"--", pieces[-1][:50]
    found = []
    for piece in pieces[1:-1]:
        head, _, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        lines = [line.partition(": ") for line in head.decode().split("\r\n")]
        found.append(({name.lower(): value for name, _, value in lines}, content.removesuffix(b"\r\n")))
    return found
