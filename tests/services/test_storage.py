"""Storage: outcomes, duplicates, large instances."""

import hashlib
import io
from pathlib import Path
from typing import Any

import pydicom
from sqlalchemy import select, update
from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.status import Status
from dicomd.services.hub import EventHub, InstanceStored
from dicomd.services.storage import Duplicates, Fate, Rules, Source, Storage, StoreOutcome, Target
from dicomd.store import rebuild, schema
from dicomd.store.archive import Archive
from dicomd.store.files import Folder
from tests.archive import spooled
from tests.data import pydicom_file
from tests.workers import ImmediateWorkers

SOURCE = Source("HTTP", "192.0.2.1")


def edited(name: str = "MR_small.dcm", **changes: Any) -> bytes:
    """One of pydicom's files with other values; None removes an attribute."""
    dataset = pydicom.dcmread(pydicom_file(name))
    for keyword, value in changes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    if "SOPInstanceUID" in changes:
        dataset.file_meta.MediaStorageSOPInstanceUID = changes["SOPInstanceUID"]
    if "SOPClassUID" in changes:
        dataset.file_meta.MediaStorageSOPClassUID = changes["SOPClassUID"]
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


class Crash(BaseException):
    """The power went."""


class StorageCase(SynchronousTestCase):
    duplicates = Duplicates.REPLACE

    def setUp(self) -> None:
        self.root = Path(self.mktemp()).absolute()
        self.events: list[InstanceStored] = []
        self.start()
        self.addCleanup(lambda: self.archive.close())

    def start(self) -> None:
        self.archive = Archive(str(self.root))
        self.archive.open()
        self.hub = EventHub()
        self.hub.subscribe(InstanceStored, self.events.append)
        self.workers: Any = ImmediateWorkers(self.archive.index)
        self.storage = Storage(self.workers, self.archive.folder, self.hub, Rules(), self.duplicates)

    def restart(self) -> None:
        """As after a crash: nothing of the earlier run was said goodbye to."""
        patched = self.patch(Folder, "tidy", lambda folder: None)
        self.archive.close()
        patched.restore()
        self.start()

    def store(self, data: bytes, step: int = 1 << 20, **keywords: Any) -> StoreOutcome:
        reception = self.storage.begin(SOURCE)
        for start in range(0, len(data), step):
            reception.write(data[start : start + step])
        return self.successResultOf(ensureDeferred(self.storage.store(reception, **keywords)))

    def rows(self, table: Any) -> list[Any]:
        with self.archive.index.reader() as connection:
            return list(connection.execute(select(table).order_by(table.c.id)).mappings())

    def files(self) -> list[str]:
        return sorted(self.archive.folder.files())

    def spooled(self) -> list[Path]:
        return spooled(self.archive.folder)

    def check_consistent(self) -> None:
        """Every row has its file and every file its row; counts are right; the spool is empty once all names are durable."""
        self.archive.folder.tidy()
        self.assertEqual(sorted(row["file"] for row in self.rows(schema.instances)), self.files())
        self.assertEqual(self.spooled(), [])
        self.assertEqual(
            sum(row["instances_in_study"] for row in self.rows(schema.studies)),
            sum(row["study_row"] is not None for row in self.rows(schema.instances)),
        )


class StoreTests(StorageCase):
    def test_stored(self) -> None:
        """Success, the file, its rows, an event."""
        outcome = self.store(edited())
        self.assertEqual((outcome.status, outcome.fate), (Status.SUCCESS, Fate.STORED))
        self.check_consistent()
        (study,), (series,) = self.rows(schema.studies), self.rows(schema.series)
        self.assertEqual((study["patient_id"], study["modalities_in_study"]), ("4MR1", "\\MR\\"))
        self.assertEqual((study["series_in_study"], study["instances_in_study"]), (1, 1))
        self.assertEqual((series["modality"], series["instances_in_series"]), ("MR", 1))
        (event,) = self.events
        self.assertEqual((event.key, event.row), (outcome.key, 1))

    def test_a_large_instance(self) -> None:
        """More than fits the memory limit passes through the spool file and ends as the same."""
        data = edited(PixelData=bytes(5 << 20), Rows=1024, Columns=2560)
        outcome = self.store(data, 100_000)
        self.assertEqual(outcome.fate, Fate.STORED)
        self.check_consistent()
        self.assertEqual((self.root / self.files()[0]).read_bytes()[128:], data[128:])

    def test_counts(self) -> None:
        """Series, instances, modalities and classes of a study are kept on write."""
        self.store(edited(SOPInstanceUID="1.1"))
        self.store(edited(SOPInstanceUID="1.2"))
        self.store(edited(SOPInstanceUID="1.3", SeriesInstanceUID="1.9", Modality="SR", SOPClassUID="1.2.3"))
        (study,) = self.rows(schema.studies)
        self.assertEqual((study["series_in_study"], study["instances_in_study"]), (2, 3))
        self.assertEqual(study["modalities_in_study"], "\\MR\\SR\\")
        self.assertEqual(study["sop_classes_in_study"], "\\1.2.3\\1.2.840.10008.5.1.4.1.1.4\\")
        self.check_consistent()

    def test_later_instances_fill_what_is_empty(self) -> None:
        """The first instance gives a study its attributes; a later one only what was missing."""
        self.store(edited(SOPInstanceUID="1.1", StudyDescription="", AccessionNumber="A1"))
        self.store(edited(SOPInstanceUID="1.2", StudyDescription="Brain", AccessionNumber="A2"))
        (study,) = self.rows(schema.studies)
        self.assertEqual((study["study_description"], study["accession_number"]), ("Brain", "A1"))
        self.assertIn('"00081030":{"vr":"LO","Value":["Brain"]}', study["attributes"])

    def test_another_study_is_refused(self) -> None:
        """POST /studies/{study} takes only instances of that study; the outcome still names the instance."""
        outcome = self.store(edited(), target=Target("1.2.3"))
        self.assertEqual(outcome.status, Status.IDENTIFIER_MISMATCH)
        self.assertEqual(outcome.sop_class_uid, "1.2.840.10008.5.1.4.1.1.4")
        self.check_consistent()

    def test_non_patient(self) -> None:
        """A colour palette has neither study nor series."""
        outcome = self.store(edited(SOPClassUID="1.2.840.10008.5.1.4.39.1"))
        self.assertEqual((outcome.status, outcome.key.study_instance_uid), (Status.SUCCESS, ""))
        self.assertEqual(self.rows(schema.studies), [])
        self.assertEqual(self.files(), [f"non-patient/{outcome.sop_instance_uid}.dcm"])
        self.check_consistent()

    def test_patients_are_told_apart_by_issuer(self) -> None:
        """The same ID from two issuers is two patients; without an ID the name counts."""
        self.store(edited(SOPInstanceUID="1.1", StudyInstanceUID="1", IssuerOfPatientID="A"))
        self.store(edited(SOPInstanceUID="1.2", StudyInstanceUID="2", IssuerOfPatientID="B"))
        self.store(edited(SOPInstanceUID="1.3", StudyInstanceUID="3", PatientID=""))
        self.store(edited(SOPInstanceUID="1.4", StudyInstanceUID="4", PatientID="", PatientName="Other"))
        self.store(edited(SOPInstanceUID="1.5", StudyInstanceUID="5", IssuerOfPatientID="B"))
        self.assertEqual(len(self.rows(schema.patients)), 4)

    def test_too_large(self) -> None:
        """What exceeds the limit is refused, and nothing of it stays."""
        self.storage = Storage(self.workers, self.archive.folder, EventHub(), Rules(max_instance_bytes=2 << 20))
        data = edited(PixelData=bytes(5 << 20), Rows=1024, Columns=2560)
        self.assertEqual(self.store(data, 100_000).status, Status.OUT_OF_RESOURCES)
        self.check_consistent()

    def test_deflated(self) -> None:
        """A deflated data set of which only the beginning is inflated to be looked at (PS3.5 A.5)."""
        dataset = pydicom.dcmread(pydicom_file("MR_small.dcm"))
        dataset.Rows, dataset.Columns, dataset.PixelData = 5000, 4000, bytes(40_000_000)
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
        buffer = io.BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        self.assertEqual(self.store(buffer.getvalue()).fate, Fate.STORED)
        self.check_consistent()

    def test_no_room_in_the_queue(self) -> None:
        """A full queue of the disk leaves nothing either: not of an abandoned instance, and not of one that is refused for it."""
        for end in ("abandoned", "refused"):
            reception = self.storage.begin(SOURCE)
            reception.write(edited() + bytes(3 << 20))
            self.assertEqual(len(self.spooled()), 1)
            self.workers.busy.add("disk")
            if end == "abandoned":
                reception.abandon()
            else:
                outcome = self.successResultOf(ensureDeferred(self.storage.store(reception)))
                self.assertEqual((outcome.fate, outcome.status), (None, Status.OUT_OF_RESOURCES))
            self.workers.busy.clear()
            self.assertEqual(self.spooled(), [], end)

    def test_abandoned(self) -> None:
        """A sender that vanishes leaves nothing."""
        for size in (1000, 3 << 20):
            reception = self.storage.begin(SOURCE)
            reception.write(edited() + bytes(size))
            reception.abandon()
        self.check_consistent()


class DuplicateTests(StorageCase):
    def test_identical(self) -> None:
        """The same data set again, whatever its file head: success, nothing written, no event."""
        self.store(edited())
        again = self.store(b"II*\0" + edited()[4:])
        self.assertEqual((again.status, again.fate, len(self.events)), (Status.SUCCESS, Fate.IDENTICAL, 1))
        self.check_consistent()

    def sha_256(self, row: Any) -> bytes:
        return hashlib.sha256((self.root / row["file"]).read_bytes()[row["dataset_offset"] :]).digest()

    def test_index_of_an_earlier_release(self) -> None:
        """It has SHA-256 digests, and goes on with them: content is recognised, large and small, and files are found sound."""
        large = edited(SOPInstanceUID="1.2", PixelData=bytes(3 << 20), Rows=1024, Columns=1536)
        for data in (edited(), large):
            self.store(data)
        with self.archive.index.batch() as connection:
            for row in list(connection.execute(select(schema.instances)).mappings()):
                one = update(schema.instances).where(schema.instances.c.id == row["id"])
                connection.execute(one.values(digest=self.sha_256(row)))
            connection.execute(update(schema.about).values(value="3"))
        self.restart()
        self.assertEqual([self.store(data).fate for data in (edited(), large)], [Fate.IDENTICAL] * 2)
        self.assertEqual(self.store(edited(InstanceNumber=2)).fate, Fate.REPLACED)
        self.restart()
        self.store(edited(SOPInstanceUID="1.3"))
        self.check_consistent()
        self.assertEqual(
            [row["digest"] for row in self.rows(schema.instances)], list(map(self.sha_256, self.rows(schema.instances)))
        )
        with self.archive.index.reader() as connection:
            held = rebuild.held(connection, 0, 9)
        self.assertEqual([rebuild.problem_of(self.archive.folder, each) for each in held], [""] * 3)

    def test_replaced(self) -> None:
        """Other content takes the place of the old, in the file, the row and the study's attributes."""
        self.store(edited(SOPInstanceUID="1.1", PatientName="Wrong"))
        self.store(edited(SOPInstanceUID="1.2", PatientName="Wrong"))
        again = self.store(edited(SOPInstanceUID="1.1", PatientName="Right", InstanceNumber=7))
        self.assertEqual((again.status, again.fate, again.warning), (Status.SUCCESS, Fate.REPLACED, Status.COERCED))
        self.check_consistent()
        self.assertEqual(self.rows(schema.instances)[0]["instance_number"], 7)
        self.assertEqual(self.rows(schema.studies)[0]["patient_name"], "Right")
        self.assertEqual(self.rows(schema.studies)[0]["instances_in_study"], 2)

    def test_restored(self) -> None:
        """The same content again, but its file is missing or short: the file is restored, whatever the policy."""
        self.storage = Storage(self.workers, self.archive.folder, EventHub(), Rules(), Duplicates.KEEP)
        self.store(edited())
        (self.root / self.files()[0]).unlink()
        self.assertEqual(self.store(edited()).fate, Fate.RESTORED)
        self.check_consistent()
        (self.root / self.files()[0]).write_bytes(b"short")
        self.assertEqual(self.store(edited()).fate, Fate.RESTORED)
        self.check_consistent()

    def test_replaced_twice(self) -> None:
        """File names alternate."""
        for number in range(4):
            self.store(edited(InstanceNumber=number))
            self.check_consistent()

    def test_kept(self) -> None:
        """`duplicates = "keep"`: success, the first content stays."""
        self.storage = Storage(self.workers, self.archive.folder, EventHub(), Rules(), Duplicates.KEEP)
        self.store(edited(InstanceNumber=1))
        self.assertEqual(self.store(edited(InstanceNumber=2)).fate, Fate.KEPT)
        self.assertEqual(self.rows(schema.instances)[0]["instance_number"], 1)
        self.check_consistent()

    def test_rejected(self) -> None:
        """`duplicates = "reject"`: 0111, the first content stays."""
        self.storage = Storage(self.workers, self.archive.folder, EventHub(), Rules(), Duplicates.REJECT)
        self.store(edited(InstanceNumber=1))
        self.assertEqual(self.store(edited(InstanceNumber=2)).status, Status.DUPLICATE_SOP_INSTANCE)
        self.check_consistent()

    def test_under_another_study(self) -> None:
        """A SOP Instance UID held elsewhere is never moved."""
        self.store(edited())
        for changes in ({"StudyInstanceUID": "1.2"}, {"SeriesInstanceUID": "1.2"}):
            self.assertEqual(self.store(edited(**changes)).status, Status.IDENTIFIER_MISMATCH)
            self.check_consistent()
