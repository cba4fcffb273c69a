"""What was acknowledged survives SIGKILL, and SIGTERM loses nothing; through both doors, by stock clients."""

import threading
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pydicom
from pydicom.uid import generate_uid
from pynetdicom import AE
from twisted.trial.unittest import SynchronousTestCase

from tests.archive import edited
from tests.data import pydicom_file
from tests.process import Process

MR = "1.2.840.10008.5.1.4.1.1.4"


class Senders:
    """Some STOW and some C-STORE clients that send new instances until the server is gone."""

    def __init__(self, server: Process, stow: int = 2, associations: int = 2) -> None:
        self.server = server
        self.acknowledged: dict[str, str] = {}
        self.threads = [threading.Thread(target=self.run, args=(self.stow,)) for _ in range(stow)]
        self.threads += [threading.Thread(target=self.run, args=(self.associate,)) for _ in range(associations)]
        for thread in self.threads:
            thread.start()

    def run(self, send: "object") -> None:
        assert callable(send)
        try:
            send()
        except (OSError, HTTPException, RuntimeError, AttributeError, ValueError):
            return

    def stow(self) -> None:
        connection = HTTPConnection("127.0.0.1", self.server.ports["http"], timeout=20)
        connection.connect()
        study = generate_uid()
        while True:
            uid = generate_uid()
            headers = {"Content-Type": "application/dicom", "Accept": "application/dicom+json"}
            data = edited(SOPInstanceUID=uid, StudyInstanceUID=study, SeriesInstanceUID=study[:60] + ".1")
            connection.request("POST", "/dicom-web/studies", data, headers)
            response = connection.getresponse()
            response.read()
            if response.status != 200:
                break
            self.acknowledged[uid] = study

    def associate(self) -> None:
        entity = AE("TEST")
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 3
        entity.add_requested_context(MR, "1.2.840.10008.1.2.1")
        association = entity.associate("127.0.0.1", self.server.ports["dimse"], ae_title="DICOMD")
        dataset = pydicom.dcmread(pydicom_file("MR_small.dcm"))
        dataset.StudyInstanceUID = generate_uid()
        try:
            while association.is_established:
                dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
                if association.send_c_store(dataset).get("Status") == 0:
                    self.acknowledged[dataset.SOPInstanceUID] = dataset.StudyInstanceUID
        finally:
            if association.is_established:
                association.abort()

    def wait_for(self, count: int) -> None:
        deadline = time.monotonic() + 60
        while len(self.acknowledged) < count and time.monotonic() < deadline and any(t.is_alive() for t in self.threads):
            time.sleep(0.01)
        assert len(self.acknowledged) >= count, len(self.acknowledged)

    def join(self) -> dict[str, str]:
        for thread in self.threads:
            thread.join(60)
        return dict(self.acknowledged)


class DurabilityTests(SynchronousTestCase):
    def setUp(self) -> None:
        pydicom_file("MR_small.dcm")
        self.server = Process(self.mktemp())
        self.server.start()
        self.addCleanup(lambda: self.server.process.poll() is None and self.server.kill())

    def get(self, path: str) -> tuple[int, bytes]:
        connection = HTTPConnection("127.0.0.1", self.server.ports["http"], timeout=20)
        connection.request("GET", f"/dicom-web{path}", headers={"Accept": "*/*"})
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response.status, body

    def check(self, acknowledged: dict[str, str]) -> None:
        """Everything acknowledged is found and whole; nothing is left in the spool; every file has its row."""
        held: set[str] = set()
        for study in set(acknowledged.values()):
            status, body = self.get(f"/studies/{study}/instances?limit=100000&includefield=00080018")
            self.assertEqual(status, 200)
            held |= {uid for uid in acknowledged if uid.encode() in body}
        self.assertEqual(set(acknowledged) - held, set())
        self.assertEqual(list((self.server.folder / "store" / "spool").iterdir()), [])
        for path in (self.server.folder / "store" / "studies").rglob("*.dcm"):
            pydicom.dcmread(path)

    def files(self) -> list[Path]:
        return list((self.server.folder / "store" / "studies").rglob("*.dcm"))

    def test_killed_while_storing(self) -> None:
        """Several times in a row, at whatever point that is."""
        acknowledged: dict[str, str] = {}
        for round_ in range(2):
            senders = Senders(self.server)
            senders.wait_for(20 + 7 * round_)
            self.server.kill()
            acknowledged |= senders.join()
            self.server.start()
            self.check(acknowledged)
        self.assertEqual(self.server.tracebacks, [])

    def test_terminated_while_storing(self) -> None:
        """SIGTERM: status 0 in five seconds; every file that stays is in the index."""
        senders = Senders(self.server)
        senders.wait_for(20)
        self.assertEqual(self.server.terminate(), 0)
        acknowledged = senders.join()
        files = len(self.files())
        self.assertEqual(list((self.server.folder / "store" / "spool").iterdir()), [])
        self.server.start()
        self.check(acknowledged)
        self.assertEqual(len(self.files()), files)
        self.assertEqual(self.server.tracebacks, [])
