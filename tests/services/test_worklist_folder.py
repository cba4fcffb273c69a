"""The watched folder: files of every kind come in, change, and leave; bad ones harm nobody."""

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.attributes import attribute, text
from dicomd.model.query import from_parameters
from dicomd.model.status import Busy
from dicomd.services.worklist import Worklist
from dicomd.services.worklist_folder import POLL_SECONDS, WatchedFolder
from dicomd.wire import datasets, elements, json_model
from tests.data import shared
from tests.services.test_worklist import order
from tests.workers import ImmediateWorkers, new_index

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"


log = logging.getLogger("dicomd.services.worklist_folder")


def refuse(*work: Any) -> Any:
    raise Busy("the write queue is full, try again later")


class FolderTests(SynchronousTestCase):
    def setUp(self) -> None:
        index = new_index(self.mktemp())
        self.addCleanup(index.close)
        self.path = Path(self.mktemp())
        self.path.mkdir()
        self.clock, self.workers = Clock(), ImmediateWorkers(index)
        self.worklist = Worklist(self.workers, self.clock)
        self.folder = self.watch()

    def watch(self) -> WatchedFolder:
        folder = WatchedFolder(str(self.path), self.worklist, self.workers, self.clock, ensureDeferred)  # type: ignore[arg-type]
        folder.start()
        self.addCleanup(folder.stop)
        return folder

    def listed(self) -> list[str]:
        self.clock.advance(POLL_SECONDS)
        answer: Any = self.successResultOf(Deferred.fromCoroutine(self.worklist.find(from_parameters([]), 100)))
        return sorted(text(json.loads(entry), "00080050") for entry in answer.matches)

    def put(self, name: str, content: bytes) -> None:
        (self.path / name).parent.mkdir(exist_ok=True)
        (self.path / name).write_bytes(content)

    def test_kinds_of_files(self) -> None:
        """DICOM JSON, Part 10, a bare data set; also in sub-folders. Other files are nobody's business."""
        head = elements.file_meta_bytes("1.2.3", "1.2.3.4", IMPLICIT)
        self.put("a.json", json_model.to_json([order(1), order(2)]))
        self.put("CT/b.wl", head + datasets.encode(order(3), IMPLICIT))
        self.put("c.dcm", datasets.encode(order(4), EXPLICIT))
        self.put("lockfile", b"")
        self.assertEqual(self.listed(), ["ACC1", "ACC2", "ACC3", "ACC4"])

    def test_changes_and_leaves(self) -> None:
        self.put("a.json", json_model.to_json([order(1), order(2)]))
        self.assertEqual(self.listed(), ["ACC1", "ACC2"])
        self.put("a.json", json_model.to_json([order(2), order(33)]))
        self.assertEqual(self.listed(), ["ACC2", "ACC33"])
        (self.path / "a.json").unlink()
        self.assertEqual(self.listed(), [])

    def test_left_while_the_server_was_down(self) -> None:
        self.put("a.json", json_model.to_json([order(1)]))
        self.put("b.json", json_model.to_json([order(2)]))
        self.assertEqual(self.listed(), ["ACC1", "ACC2"])
        self.folder.stop()
        (self.path / "a.json").unlink()
        self.watch()
        self.assertEqual(self.listed(), ["ACC2"])

    def test_bad_files(self) -> None:
        self.put("bad.json", b"[{")
        self.put("bad.wl", os.urandom(200))
        self.put("large.json", b" " * (1 << 20) + b"{}")
        self.put("poor.json", json_model.to_json([{"00100010": attribute("PN", "A")}]))
        self.put("good.json", json_model.to_json([order(1)]))
        self.assertEqual(self.listed(), ["ACC1"])
        self.put("bad.json", json_model.to_json([order(2)]))
        self.assertEqual(self.listed(), ["ACC1", "ACC2"])

    def test_one_that_may_not_be_read(self) -> None:
        """It harms no other file, is told once, and is entered as soon as it can be read."""
        self.put("b.json", json_model.to_json([order(2)]))
        (self.path / "a.json").mkdir()
        (self.path / "a.json" / "c.json").write_bytes(json_model.to_json([order(1)]))
        os.symlink(self.path / "d.json", self.path / "d.json")
        with self.assertLogs("dicomd.services.worklist_folder", "WARNING") as logs:
            self.assertEqual(self.listed(), ["ACC1", "ACC2"])
            self.assertEqual(self.listed(), ["ACC1", "ACC2"])
            log.warning("end")
        self.assertEqual(len(logs.records), 1)

    def test_names_of_files_are_not_logged(self) -> None:
        """They may be patients' names."""
        self.put("DOE^JANE.json", b"[{")
        with self.assertLogs("dicomd.services.worklist_folder", "WARNING") as logs:
            self.listed()
        self.assertNotIn("DOE", "".join(logs.output))

    def test_busy(self) -> None:
        """What could not be entered for lack of room is entered at the next look."""
        self.put("a.json", json_model.to_json([order(1)]))
        write, self.workers.write = self.workers.write, refuse  # type: ignore[method-assign]
        with self.assertLogs("dicomd.services.worklist_folder", "WARNING"):
            self.assertEqual(self.listed(), [])
        self.workers.write = write  # type: ignore[method-assign]
        self.assertEqual(self.listed(), ["ACC1"])

    def test_many_files_share_a_transaction(self) -> None:
        for number in range(250):
            self.put(f"{number}.json", json_model.to_json([order(number)]))
        written = []
        write, self.workers.write = self.workers.write, lambda *work: (written.append(work), write(*work))[1]  # type: ignore
        self.assertEqual(len(self.listed()), 100)
        self.assertLess(len(written), 5)

    def test_old_entries_do_not_come_back(self) -> None:
        """A file that was last changed before `keep_days`, with a step of that time, is not entered at a restart either."""
        self.put("old.json", json_model.to_json([order(1, date="19700101")]))
        self.put("future.json", json_model.to_json([order(2, date="20991231")]))
        os.utime(self.path / "old.json", (5, 5))
        os.utime(self.path / "future.json", (5, 5))
        self.assertEqual(self.listed(), ["ACC1", "ACC2"])
        self.clock.advance(100 * 86400)
        self.successResultOf(Deferred.fromCoroutine(self.worklist.expire()))
        self.assertEqual(self.listed(), ["ACC2"])
        self.folder.stop()
        self.watch()
        self.assertEqual(self.listed(), ["ACC2"])

    def test_later_word_of_another_outdoes_an_old_file(self) -> None:
        """An order that came by HL7 after the file was written is not undone when the server starts again."""
        self.put("a.json", json_model.to_json([order(1, date="20260601")]))
        os.utime(self.path / "a.json", (5, 5))
        self.clock.advance(100)
        self.assertEqual(self.listed(), ["ACC1"])
        self.successResultOf(Deferred.fromCoroutine(self.worklist.enter([order(1, date="20260707")])))
        self.folder.stop()
        self.watch()
        answer: Any = self.successResultOf(Deferred.fromCoroutine(self.worklist.find(from_parameters([]), 100)))
        self.assertIn(b"20260707", answer.matches[0])

    def test_folder_vanishes(self) -> None:
        shutil.rmtree(self.path)
        self.assertEqual(self.listed(), [])

    def test_real_entries(self) -> None:
        """The sample worklist: as Part 10 and as JSON the same entries."""
        for path in shared("worklists").glob("*.json"):
            shutil.copy(path, self.path)
        from_json = self.listed()
        self.assertGreater(len(from_json), 12)
        for path in self.path.glob("*.json"):
            path.unlink()
        self.assertEqual(self.listed(), [])
        for path in shared("worklists").glob("*.wl"):
            shutil.copy(path, self.path)
        self.assertEqual(self.listed(), from_json)
