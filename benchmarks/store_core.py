"""The store path alone: instances a second, CPU and latency an instance, without a network.

    python benchmarks/store_core.py [--instances 1000] [--senders 1] [--bytes 165000] [--batch]

`--batch`: all senders begin together, as the parts of one STOW request do.
"""

import argparse
import shutil
import tempfile
import time
from typing import Any

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from twisted.internet.defer import DeferredList, ensureDeferred
from twisted.internet.task import react

from dicomd.services.hub import EventHub
from dicomd.services.storage import Source, Storage
from dicomd.store.archive import Archive
from dicomd.wire.elements import EXPLICIT_LITTLE
from dicomd.workers import Workers

MR = "1.2.840.10008.5.1.4.1.1.4"
SOURCE = Source("DIMSE", "127.0.0.1", "BENCH", "DICOMD")
STAND_IN = "9.9.9.9.99999999"


def template(size: int) -> bytes:
    """An MR data set of about `size` bytes; its SOP Instance UID is a stand-in of fixed length."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.SOPClassUID, dataset.SOPInstanceUID = MR, STAND_IN
    dataset.StudyDate, dataset.StudyTime, dataset.Modality = "20260101", "101112", "MR"
    dataset.AccessionNumber, dataset.ReferringPhysicianName = "ACC1", "Doe^John"
    dataset.PatientName, dataset.PatientID, dataset.PatientSex = "Bench^Mark", "PID1", "O"
    for number in range(60):
        dataset.add_new(0x00181000 + 2 * number, "LO", f"value {number}")
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3.1", "1.2.3.1.1"
    dataset.SeriesNumber, dataset.InstanceNumber = 1, 1
    dataset.Rows = dataset.Columns = 256
    dataset.BitsAllocated = 16
    dataset.add_new(0x7FE00010, "OW", bytes(size))
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, False
    write_dataset(file, dataset)
    return file.getvalue()


class Run:
    """Some senders, each storing one instance after the other."""

    def __init__(self, reactor: Any, arguments: argparse.Namespace, folder: str) -> None:
        self.arguments = arguments
        self.archive = Archive(folder)
        self.archive.open()
        self.workers = Workers(self.archive.index, reactor.callFromThread)
        self.workers.start()
        self.storage = Storage(self.workers, self.archive.folder, EventHub())
        self.data = template(arguments.bytes)
        self.latencies: list[float] = []
        self.numbers = iter(range(10_000_000, 20_000_000))

    async def sender(self, count: int) -> None:
        for _ in range(count):
            await self.one()

    async def one(self) -> None:
        uid = f"9.9.9.9.{next(self.numbers)}"
        data = self.data.replace(STAND_IN.encode(), uid.encode(), 1)
        begun = time.perf_counter()
        reception = self.storage.begin(SOURCE, sop_class_uid=MR, sop_instance_uid=uid, transfer_syntax_uid=EXPLICIT_LITTLE)
        for start in range(0, len(data), 131072):
            reception.write(data[start : start + 131072])
        outcome = await self.storage.store(reception)
        assert outcome.status == 0, outcome
        self.latencies.append(time.perf_counter() - begun)

    async def measure(self) -> None:
        senders, count = self.arguments.senders, self.arguments.instances
        await self.sender(20)
        self.latencies.clear()
        begun, cpu = time.perf_counter(), time.process_time()
        await DeferredList([ensureDeferred(self.sender(count // senders)) for _ in range(senders)])
        wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
        done = sorted(self.latencies)
        print(
            f"{len(done) / wall:.0f}/s  {cpu / len(done) * 1000:.3f} ms CPU each  "
            f"latency p50 {done[len(done) // 2] * 1000:.2f} ms, p99 {done[len(done) * 99 // 100] * 1000:.2f} ms"
        )

    def close(self) -> None:
        self.workers.stop()
        self.archive.close()


def main(reactor: Any, *argv: str) -> Any:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=1000)
    parser.add_argument("--senders", type=int, default=1)
    parser.add_argument("--bytes", type=int, default=165_000)
    parser.add_argument("--folder", help="where to put the temporary store")
    folder = tempfile.mkdtemp(dir=(arguments := parser.parse_args(argv)).folder)
    run = Run(reactor, arguments, folder)

    def finish(result: Any) -> Any:
        run.close()
        shutil.rmtree(folder)
        return result

    return ensureDeferred(run.measure()).addBoth(finish)


if __name__ == "__main__":
    import sys

    react(main, sys.argv[1:])
