"""Preparation: of everything that is stored, after a while; again after a replacement; now when it is asked for."""

from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from dicomd.pixels.frames import unpack
from dicomd.services.hub import InstanceStored
from dicomd.services.preparation import PATIENCE_SECONDS, QUIET_SECONDS, Preparation
from dicomd.services.retrieve import StoredInstance
from dicomd.store import prepared, retrieval
from dicomd.store.prepared import Prepared
from tests import data
from tests.archive import ArchiveCase, edited

STUDY, SERIES = "1.2.3", "1.2.3.4"


class PreparationCase(ArchiveCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.start()

    def start(self) -> None:
        self.preparation = Preparation(self.workers, self.archive.folder, self.clock)
        self.preparation.subscribe(self.hub)
        self.preparation.start()

    def put(self, number: int, **changes: object) -> None:
        sop = f"1.2.3.4.{number}"
        self.store(edited(SOPInstanceUID=sop, StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES, **changes))

    def found(self, number: int) -> StoredInstance:
        with self.archive.index.reader() as connection:
            found = retrieval.find(connection, self.archive.folder, STUDY, SERIES, f"1.2.3.4.{number}")
        assert found is not None
        return found

    def prepared(self, number: int) -> Prepared | None:
        row = self.found(number).row
        with self.archive.index.reader() as connection:
            return prepared.load(connection, row)


class PreparationTests(PreparationCase):
    def test_after_a_quiet_moment(self) -> None:
        """What was stored is prepared when nothing has arrived for a while, all of it at once."""
        self.put(1)
        self.clock.advance(QUIET_SECONDS / 2)
        self.put(2)
        self.clock.advance(QUIET_SECONDS * 0.75)
        self.assertIsNone(self.prepared(1))
        self.clock.advance(QUIET_SECONDS)
        self.assertIsNotNone(self.prepared(1))
        self.assertIsNotNone(self.prepared(2))

    def test_patience_ends(self) -> None:
        """A stream of instances that never pauses does not put it off for ever."""
        for number in range(1, int(PATIENCE_SECONDS / QUIET_SECONDS * 2) + 4):
            self.put(number)
            self.clock.advance(QUIET_SECONDS / 2)
        self.assertIsNotNone(self.prepared(1))

    def test_gives_way(self) -> None:
        """When instances arrive again while it is working, the rest waits for the next quiet moment."""
        for number in range(1, 41):
            self.put(number)
        found, original = self.found(1), prepared.save

        def save(*arguments: Any) -> None:
            original(*arguments)
            self.hub.publish(InstanceStored(found.key, found.sop_class_uid, found.transfer_syntax_uid, found.row))

        patched = self.patch(prepared, "save", save)
        self.clock.advance(QUIET_SECONDS)
        self.assertEqual(sum(self.prepared(number) is not None for number in range(1, 41)), 32)
        patched.restore()
        self.clock.advance(QUIET_SECONDS / 2)
        self.assertIsNone(self.prepared(40))
        self.clock.advance(QUIET_SECONDS)
        self.assertIsNotNone(self.prepared(40))

    def test_earlier_run(self) -> None:
        """What an earlier run left is prepared at the start."""
        self.put(1)
        self.preparation.stop()
        self.clock = Clock()
        self.start()
        self.clock.advance(QUIET_SECONDS)
        self.assertIsNotNone(self.prepared(1))

    def test_replaced(self) -> None:
        """A replaced instance is prepared again."""
        self.put(1, InstanceNumber=7)
        self.clock.advance(QUIET_SECONDS)
        self.put(1, InstanceNumber=8)
        self.clock.advance(QUIET_SECONDS)
        found = self.prepared(1)
        assert found is not None
        self.assertIn(b'"00200013":{"vr":"IS","Value":[8]}', found.json)

    def test_outdated(self) -> None:
        """What was made of a file that has been replaced meanwhile is not kept."""
        self.put(1, InstanceNumber=7)
        before = self.found(1)
        self.put(1, InstanceNumber=8)
        with self.archive.index.batch() as connection:
            prepared.save(connection, [(Prepared(before.row, problem="outdated"), before.digest)])
        self.assertIsNone(self.prepared(1))

    def test_asked_for(self) -> None:
        """Asked for earlier it is made at once, and kept."""
        self.put(1)
        made = self.successResultOf(ensureDeferred(self.preparation.one(self.found(1))))
        self.assertEqual(self.prepared(1), made)
        self.assertEqual(self.successResultOf(ensureDeferred(self.preparation.one(self.found(1)))), made)

    def test_frames(self) -> None:
        """The frame table is that of the file."""
        self.put(1)
        made = self.successResultOf(ensureDeferred(self.preparation.one(self.found(1))))
        table = unpack(made.frames)
        self.assertEqual((table.count, table.image.rows), (1, 64))
        self.assertEqual(table.ranges(1), [(made.bulk["7FE00010"].offset, 8192)])

    def test_damaged(self) -> None:
        """What cannot be read is kept as a problem and not tried again and again."""
        self.put(1)
        file = next(self.root.glob("studies/*/*/1.2.3.4.1.dcm"))
        content = file.read_bytes()
        file.write_bytes(content[:600] + b"\xff" * (len(content) - 600))
        self.clock.advance(QUIET_SECONDS)
        found = self.prepared(1)
        assert found is not None
        self.assertTrue(found.problem)


class DescribeTests(ArchiveCase):
    def test_large_files(self) -> None:
        """Stepping over the pixel data tells the same as reading all."""
        names = [
            "MR_small.dcm",
            "MR_small_RLE.dcm",
            "JPEG2000.dcm",
            "SC_rgb_rle_2frame.dcm",
            "examples_ybr_color.dcm",
            "test-SR.dcm",
        ]
        for name in names:
            outcome = self.store(edited(name))
            assert outcome.key is not None
            key = outcome.key
            with self.archive.index.reader() as connection:
                found = retrieval.find(
                    connection, self.archive.folder, key.study_instance_uid, key.series_instance_uid, key.sop_instance_uid
                )
            assert found is not None
            small, large = prepared.describe(found), prepared.describe(found, small=0)
            self.assertEqual((small.attributes, small.bulk), (large.attributes, large.bulk), name)

    def test_garbage_behind_the_pixels(self) -> None:
        """What is no element behind the pixel data does not keep the rest from being understood."""
        outcome = self.store(edited("MR_small.dcm") + b"garbage that is no element" * 9)
        assert outcome.key is not None
        key = outcome.key
        with self.archive.index.reader() as connection:
            found = retrieval.find(
                connection, self.archive.folder, key.study_instance_uid, key.series_instance_uid, key.sop_instance_uid
            )
        assert found is not None
        self.assertEqual(prepared.describe(found).bulk["7FE00010"].length, 8192)

    def test_behind_the_pixels(self) -> None:
        """Elements behind encapsulated pixel data are found as well."""
        dataset = data.pydicom_file("MR_small_RLE.dcm")
        changed = edited(dataset.name, DataSetTrailingPadding=bytes(4000))
        outcome = self.store(changed)
        assert outcome.key is not None
        with self.archive.index.reader() as connection:
            found = retrieval.find(
                connection,
                self.archive.folder,
                outcome.key.study_instance_uid,
                outcome.key.series_instance_uid,
                outcome.key.sop_instance_uid,
            )
        assert found is not None
        small, large = prepared.describe(found), prepared.describe(found, small=0)
        self.assertIn("FFFCFFFC", small.bulk)
        self.assertEqual((small.attributes, small.bulk), (large.attributes, large.bulk))
