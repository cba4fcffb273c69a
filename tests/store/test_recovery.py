"""What a crash at any line leaves: acknowledged instances are whole, nothing else is there."""

import os
from typing import Any

from sqlalchemy import delete
from twisted.internet.defer import Deferred, ensureDeferred

from dicomd.model.status import ServiceError, Status
from dicomd.services.storage import Duplicates, Fate, Rules, Storage
from dicomd.store import instances, recovery, schema
from dicomd.store.files import MANY_UNSETTLED, Folder
from dicomd.store.incoming import Spool
from dicomd.store.rebuild import Rebuild
from tests.services.test_storage import SOURCE, Crash, StorageCase, edited


class CrashTests(StorageCase):
    """Stop after each step and start again: acknowledged instances are whole, nothing else is left."""

    def crash_in(self, owner: Any, name: str, *, after: bool) -> None:
        original = getattr(owner, name)

        def crashing(*arguments: Any, **keywords: Any) -> Any:
            if after:
                original(*arguments, **keywords)
            raise Crash

        self.patch(owner, name, crashing)

    def lose(self, data: bytes) -> None:
        """Store, crash on the way and start again."""
        reception = self.storage.begin(SOURCE)
        reception.write(data)
        done: Deferred[Any] = ensureDeferred(self.storage.store(reception))
        self.failureResultOf(done, Crash)
        self.restart()

    def test_after_the_spool_was_written(self) -> None:
        """The spool file goes."""
        self.crash_in(type(self.archive.folder), "place", after=False)
        self.crash_in(Spool, "discard", after=False)
        self.lose(edited())
        self.assertEqual(self.files(), [])
        self.check_consistent()

    def test_after_the_link(self) -> None:
        """The file is taken back."""
        self.crash_in(instances, "admit", after=False)
        self.lose(edited())
        self.assertEqual((self.files(), self.archive.taken_back), ([], 1))
        self.check_consistent()

    def test_before_the_commit(self) -> None:
        """The row was written but not committed: as if it had never been."""
        self.crash_in(instances, "admit", after=True)
        self.lose(edited())
        self.assertEqual((self.files(), self.archive.taken_back), ([], 1))
        self.check_consistent()

    def test_after_the_commit(self) -> None:
        """Durable but not yet acknowledged: it stays, whole."""
        self.crash_in(type(self.archive.folder), "committed", after=False)
        self.lose(edited())
        self.assertEqual((len(self.files()), self.archive.taken_back), (1, 0))
        self.check_consistent()

    def test_the_time_of_arrival_is_that_of_the_file(self) -> None:
        """So that the order of arrival survives the index, also where a crash came between."""
        for end in (lambda: None, lambda: self.archive.folder.tidy(), self.restart):
            self.store(edited(SOPInstanceUID="1.1", InstanceNumber=1))
            self.store(edited(SOPInstanceUID="1.2"))
            self.store(edited(SOPInstanceUID="1.1", InstanceNumber=2))
            end()
            for row in self.rows(schema.instances):
                self.assertEqual((self.root / row["file"]).stat().st_mtime_ns, row["stored_at"])

    def test_names_that_were_not_durable(self) -> None:
        """A power cut may take every name but that in the spool: what was acknowledged is put in place again."""
        self.store(edited(SOPInstanceUID="1.1"))
        self.store(edited(SOPInstanceUID="1.2", StudyInstanceUID="1.9"))
        contents = [(self.root / file).read_bytes() for file in self.files()]
        for file in self.files():
            self.archive.folder.remove(file)
        self.restart()
        self.assertEqual([(self.root / file).read_bytes() for file in self.files()], contents)
        self.assertEqual((self.archive.taken_back, self.spooled()), (0, []))
        self.check_consistent()
        self.assertEqual(self.store(edited(SOPInstanceUID="1.1")).fate, Fate.IDENTICAL)

    def test_the_name_of_a_replacement_was_not_durable(self) -> None:
        """The old file went, the name of the new one as well: the new one is put in place again."""
        self.store(edited(InstanceNumber=1))
        self.store(edited(InstanceNumber=2))
        (file,) = self.files()
        content = (self.root / file).read_bytes()
        self.archive.folder.remove(file)
        self.restart()
        self.assertEqual((self.files(), (self.root / file).read_bytes()), ([file], content))
        self.check_consistent()

    def test_other_content_in_the_spool(self) -> None:
        """Only what the row says is put in place: a file that was lost is not made up of something else."""
        self.store(edited(InstanceNumber=1))
        self.archive.folder.tidy()
        (self.root / self.files()[0]).unlink()
        (self.root / "spool" / "other").write_bytes(edited(InstanceNumber=2))
        (self.root / "spool" / "part").write_bytes(edited(InstanceNumber=1)[:-1000])
        self.restart()
        self.assertEqual((self.files(), self.spooled(), len(self.rows(schema.instances))), ([], [], 1))

    def test_without_index(self) -> None:
        """Nothing tells then what was acknowledged: every whole instance in the spool is kept."""
        self.store(edited(SOPInstanceUID="1.1"))
        self.store(edited(SOPInstanceUID="1.2"))
        before = self.files()
        self.archive.folder.remove(before[0])
        (self.root / "spool" / "part").write_bytes(edited(SOPInstanceUID="1.3")[:-1000])
        for name in ("index.sqlite", "index.sqlite-wal", "index.sqlite-shm"):
            (self.root / name).unlink()
        self.restart()
        self.assertEqual((self.files(), self.spooled(), self.archive.not_indexed), (before, [], True))

    def test_without_index_and_without_uid(self) -> None:
        """What was never checked is not put in place: its UID would become a file name."""
        content = edited().replace(b"1.3.6.1.4.1.5962.1.1.4.1.1.", b"../../../../evil-instance.x")
        (self.root / "spool" / "evil").write_bytes(content)
        for name in ("index.sqlite", "index.sqlite-wal", "index.sqlite-shm"):
            (self.root / name).unlink(missing_ok=True)
        before = sorted(self.root.parent.rglob("*.dcm"))
        self.restart()
        self.assertEqual((sorted(self.root.parent.rglob("*.dcm")), self.spooled()), (before, []))

    def test_a_spool_file_that_cannot_be_read(self) -> None:
        """It stays, as it may be the only name of what was acknowledged; the next start settles it."""
        self.store(edited())
        file = self.files()[0]
        self.archive.folder.remove(file)

        def fail(path: str) -> None:
            raise OSError(5, "Input/output error")

        patched = self.patch(recovery, "read_file", fail)
        self.restart()
        self.assertEqual((self.files(), len(self.spooled())), ([], 1))
        patched.restore()
        self.restart()
        self.assertEqual((self.files(), self.spooled()), ([file], []))
        self.check_consistent()

    def test_a_folder_that_cannot_be_synchronised(self) -> None:
        """The spool names stay until it can be."""
        self.store(edited())

        def fail(descriptor: int) -> None:
            raise OSError(5, "Input/output error")

        patched = self.patch(os, "fsync", fail)
        self.archive.folder.tidy()
        self.assertEqual(len(self.spooled()), 1)
        patched.restore()
        self.check_consistent()

    def test_many_names_are_made_durable_together(self) -> None:
        """However long the stores go on, the spool is bounded."""
        for number in range(MANY_UNSETTLED):
            self.assertEqual(len(self.spooled()), number)
            self.store(edited(SOPInstanceUID=f"1.2.{number}"))
        self.assertEqual(self.spooled(), [])
        self.check_consistent()

    def test_between_replacing_and_removing(self) -> None:
        """The new content counts; the old file goes at the next start."""
        self.store(edited(InstanceNumber=1))
        self.crash_in(type(self.archive.folder), "supersede", after=False)
        self.lose(edited(InstanceNumber=2))
        self.assertEqual(self.rows(schema.instances)[0]["instance_number"], 2)
        self.check_consistent()

    def test_replaced_twice_and_not_forgotten(self) -> None:
        """The second replacement takes the name of the first file, which is noted as obsolete: it is not removed for that."""

        async def forget(storage: Storage, file: str) -> None:
            """Crash before."""

        self.patch(Storage, "_forget", forget)
        self.store(edited(InstanceNumber=1))
        before = self.files()
        self.store(edited(InstanceNumber=2))
        self.assertNotEqual(self.files(), before)
        self.store(edited(InstanceNumber=3))
        self.archive.folder.tidy()
        self.assertEqual(self.files(), before)
        self.restart()
        self.assertEqual((self.files(), self.rows(schema.instances)[0]["instance_number"]), (before, 3))
        self.check_consistent()

    def test_a_refused_file_that_stays(self) -> None:
        """It is refused as what it is, also when it cannot be removed; the next start removes it."""
        self.store(edited(InstanceNumber=1))
        before = self.files()

        def fail(folder: Folder, file: str) -> None:
            raise OSError(5, "Input/output error")

        patched = self.patch(Folder, "remove", fail)
        self.storage = Storage(self.workers, self.archive.folder, self.hub, Rules(), Duplicates.REJECT)
        self.assertEqual(self.store(edited(InstanceNumber=2)).status, Status.DUPLICATE_SOP_INSTANCE)
        patched.restore()
        self.assertNotEqual(self.files(), before)
        self.restart()
        self.assertEqual(self.files(), before)
        self.check_consistent()

    def test_a_commit_that_fails(self) -> None:
        """As on a full disk: refused, and nothing is left, without waiting for the next start."""
        self.store(edited())
        self.archive.folder.tidy()
        before = self.files()
        self.workers.failing = ServiceError("the storage is full", Status.OUT_OF_RESOURCES)
        outcome = self.store(edited(SOPInstanceUID="1.2.3"))
        self.assertEqual((outcome.status, outcome.comment), (Status.OUT_OF_RESOURCES, "the storage is full"))
        self.assertEqual((self.files(), self.spooled()), (before, []))
        self.workers.failing = OSError(5, "Input/output error")
        self.assertEqual(self.store(edited(SOPInstanceUID="1.2.3")).status, Status.PROCESSING_FAILURE)
        self.assertEqual((self.files(), self.spooled()), (before, []))
        self.check_consistent()

    def test_a_refusal_undoes_its_file(self) -> None:
        """An error inside the writer is a refusal of that instance alone."""

        def refuse(*arguments: Any) -> None:
            raise ServiceError("no")

        self.patch(instances, "admit", refuse)
        self.assertEqual(self.store(edited()).status, Status.PROCESSING_FAILURE)
        self.check_consistent()

    def test_reindex_takes_nothing_back(self) -> None:
        """An index may be older than the files: what it does not know of, though the spool still names it, is kept."""
        self.store(edited())
        before = self.files()
        with self.archive.index.batch() as connection:
            connection.execute(delete(schema.instances))
        patched = self.patch(Folder, "tidy", lambda folder: None)
        self.archive.close()
        patched.restore()
        self.archive.folder.open()
        work = Rebuild(self.archive.folder)
        work.begin()
        work.index.close()
        self.assertEqual((self.files(), self.spooled()), (before, []))
        self.archive.folder.close()
