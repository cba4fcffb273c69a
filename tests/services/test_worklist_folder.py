"""The watched folder: files of every kind come in, change, and leave; bad ones harm nobody."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.attributes import attribute, text
from dicomd.model.query import from_parameters
from dicomd.services.worklist import Worklist
from dicomd.services.worklist_folder import POLL_SECONDS, WatchedFolder
from dicomd.wire import datasets, elements, json_model
from tests.data import shared
from tests.services.test_worklist import order
from tests.workers import ImmediateWorkers, new_index

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"


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
