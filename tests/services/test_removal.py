"""Removal: rows, counts, files and events; and a crash between rows and files."""

from typing import Any

from twisted.internet.defer import ensureDeferred

from dicomd.model.status import NoSuchInstance
from dicomd.services.hub import InstanceRemoved
from dicomd.services.removal import Removal
from dicomd.store import schema
from tests.services.test_storage import Crash, StorageCase, edited


class RemovalTests(StorageCase):
    def start(self) -> None:
        super().start()
        self.removed: list[InstanceRemoved] = []
        self.hub.subscribe(InstanceRemoved, self.removed.append)
        self.removal = Removal(self.workers, self.archive.folder, self.hub)

    def setUp(self) -> None:
        super().setUp()
        self.store(edited(SOPInstanceUID="1.1", StudyInstanceUID="1", SeriesInstanceUID="1.8", StudyDescription="First"))
        self.store(edited(SOPInstanceUID="1.2", StudyInstanceUID="1", SeriesInstanceUID="1.8", StudyDescription="Second"))
        self.store(edited(SOPInstanceUID="1.3", StudyInstanceUID="1", SeriesInstanceUID="1.9", Modality="OT"))
        self.store(edited(SOPInstanceUID="2.1", StudyInstanceUID="2", PatientID="Other"))

    def delete(self, *uids: str) -> int:
        return self.successResultOf(ensureDeferred(self.removal.delete(*uids)))

    def test_an_instance(self) -> None:
        """Counts follow, and the study takes its attributes from what is left."""
        self.assertEqual(self.delete("1", "1.8", "1.1"), 1)
        study = self.rows(schema.studies)[0]
        self.assertEqual((study["instances_in_study"], study["series_in_study"]), (2, 2))
        self.assertEqual(study["study_description"], "Second")
        self.assertEqual(self.removed[0].key.sop_instance_uid, "1.1")
        self.check_consistent()

    def test_a_series(self) -> None:
        """The modalities of the study follow."""
        self.assertEqual(self.delete("1", "1.9"), 1)
        study = self.rows(schema.studies)[0]
        self.assertEqual((study["series_in_study"], study["modalities_in_study"]), (1, "\\MR\\"))
        self.check_consistent()

    def test_a_study(self) -> None:
        """Nothing of it stays, nor of a patient without studies; folders go with their files."""
        self.assertEqual(self.delete("1"), 3)
        self.assertEqual([row["study_instance_uid"] for row in self.rows(schema.studies)], ["2"])
        self.assertEqual([row["patient_id"] for row in self.rows(schema.patients)], ["Other"])
        self.assertEqual([path.name for path in (self.root / "studies").iterdir()], ["2"])
        self.check_consistent()

    def test_the_last_instance_takes_its_series_and_study(self) -> None:
        """An empty series or study is none."""
        self.delete("1", "1.9", "1.3")
        self.assertEqual(len(self.rows(schema.series)), 2)
        self.delete("1", "1.8", "1.1")
        self.delete("1", "1.8", "1.2")
        self.assertEqual(len(self.rows(schema.studies)), 1)
        self.check_consistent()

    def test_unknown(self) -> None:
        """Nothing to delete is told."""
        self.failureResultOf(ensureDeferred(self.removal.delete("3")), NoSuchInstance)
        self.failureResultOf(ensureDeferred(self.removal.delete("1", "1.8", "1.3")), NoSuchInstance)

    def test_stored_again(self) -> None:
        """What was deleted may come again."""
        self.delete("1")
        self.store(edited(SOPInstanceUID="1.1", StudyInstanceUID="1", SeriesInstanceUID="1.8"))
        self.check_consistent()

    def test_a_crash_before_the_files_are_gone(self) -> None:
        """The rows are gone, so the files go at the next start."""

        def crash(*arguments: Any) -> None:
            raise Crash

        self.patch(type(self.archive.folder), "remove_all", crash)
        self.delete("1")
        self.assertEqual(len(self.flushLoggedErrors(Crash)), 1)
        self.assertEqual(len(self.files()), 4)
        self.restart()
        self.check_consistent()
        self.assertEqual(len(self.files()), 1)
