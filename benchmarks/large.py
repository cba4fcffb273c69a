"""What is very large: time to store it, one random frame of it, memory and speed of retrieving it, slow and vanished clients.

    python benchmarks/large.py [--case none] [--gigabytes 10] [--folder /var/tmp] [--only frames,retrieve,crowd]

Cases: `native`, `basic`, `extended` and `none` are one multi-frame instance: native, or compressed with that kind of offset
table; `study` is a study of ten instances, `many` one of a hundred, `small` one of two thousand of a frame each. A native
instance has at most 4 GB, and a Basic Offset Table reaches no farther. `--groups`: an item of functional groups for every
frame. The peaks of memory need root.
"""

import argparse
import itertools
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

from attrs import define
from clients import Crowd, Destination, Requestor, asking, download, getting
from giants import KINDS, SIDE, SLIDE, Giant, giant
from server import ROOT, DicomServer
from stores import Health

from dicomd.model.transfer_syntaxes import EXPLICIT_LITTLE, JPEG_LS_LOSSLESS, RLE_LOSSLESS
from dicomd.wire.elements import file_meta_bytes

GB = 1 << 30
LONGEST = {"native": 4 * GB - (1 << 20), "basic": 4 * GB - (1 << 20)}
INSTANCES = {"study": 10, "many": 100, "small": 2000}
AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
KINDS_OF_STORAGE = ((SLIDE, EXPLICIT_LITTLE), (SLIDE, RLE_LOSSLESS))
CROWD, SLOW = 50, 64 << 10


@define
class Bench:
    """A server over a store with the giants of one case."""

    server: DicomServer
    destination: Destination
    giants: list[Giant]
    arguments: argparse.Namespace

    @property
    def study(self) -> str:
        return f"/studies/{self.giants[0].study}"

    @property
    def instance(self) -> str:
        one = self.giants[0]
        return f"{self.study}/series/{one.series}/instances/{one.uid}"

    @property
    def is_study(self) -> bool:
        return len(self.giants) > 1

    @contextmanager
    def watched(self, name: str, size: Callable[[], int]) -> Iterator[None]:
        """Say how fast something was, what it cost, how much memory it took, and how others fared meanwhile."""
        server = self.server
        before, cpu, begun = server.rss_mb(), server.cpu_seconds(), time.perf_counter()
        server.forget_peak()
        with Health(server) as health:
            yield
        seconds, cpu = time.perf_counter() - begun, server.cpu_seconds() - cpu
        gigabytes, peak = size() / GB, server.rss_mb(peak=True)
        print(
            f"{name:42s} {gigabytes:6.2f} GB {gigabytes * 1024 / seconds:6.0f} MB/s  CPU {cpu:6.2f} s  "
            f"peak RSS {before:.0f} +{peak - before:3.0f} MB  health p99 {high(health.seconds):6.1f} ms",
            flush=True,
        )

    def run(self, name: str, work: Callable[[], int]) -> None:
        """Retrieve something to its end."""
        received = 0
        with self.watched(name, lambda: received):
            received = work()

    # What is measured

    def frames(self) -> None:
        """One random frame at a time, on one connection; each is compared."""
        one, connection, waits = self.giants[0], self.server.connect(), []
        headers = {"Accept": "application/octet-stream; transfer-syntax=*"}
        begun, cpu = time.perf_counter(), self.server.cpu_seconds()
        numbers = [random.randint(1, one.frames) for _ in range(self.arguments.frames)]
        for number in [1, *numbers]:
            begun = time.perf_counter()
            connection.request("GET", f"/dicom-web{self.instance}/frames/{number}", headers=headers)
            response = connection.getresponse()
            content = response.read()
            waits.append(time.perf_counter() - begun)
            assert response.status == 200 and content == one.content(number), (response.status, number)
        first, *waits = waits
        cpu = (self.server.cpu_seconds() - cpu) / len(waits)
        print(
            f"{f'random frame of {one.frames}':42s} first {first * 1000:5.1f} ms  p50 {statistics.median(waits) * 1000:5.2f} ms  "
            f"p99 {high(waits):5.2f} ms  CPU {cpu * 1000:4.2f} ms",
            flush=True,
        )

    def retrieve(self) -> None:
        """The whole of it by every way."""
        path, server, limit = self.study if self.is_study else self.instance, self.server, self.arguments.seconds
        self.run("WADO-RS multipart", lambda: download(server, path, AS_STORED))
        if not self.is_study:
            self.run("WADO-RS application/dicom", lambda: download(server, path, "application/dicom; transfer-syntax=*"))
        self.run("WADO-RS application/zip", lambda: download(server, self.study, "application/zip; transfer-syntax=*"))
        everything = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
        self.run("bulk data", lambda: download(server, f"{path}/bulkdata", everything))
        if not self.is_study:
            self.run("bulk data, pixel data alone", lambda: download(server, f"{path}/bulkdata/7FE00010", everything))
        self.run("metadata", lambda: download(server, f"{path}/metadata", "application/dicom+json"))
        made = f'multipart/related; type="application/dicom"; transfer-syntax={JPEG_LS_LOSSLESS}'
        self.run(f"WADO-RS as JPEG-LS, {limit:.0f} s of it", lambda: download(server, path, made, seconds=limit))
        made = f'multipart/related; type="image/jls"; transfer-syntax={JPEG_LS_LOSSLESS}'
        self.run(f"bulk data as JPEG-LS, {limit:.0f} s of it", lambda: download(server, f"{path}/bulkdata", made, seconds=limit))
        self.run("C-GET", lambda: Requestor(server, KINDS_OF_STORAGE).retrieve(self.giants[0].study))
        self.run("C-MOVE", self.move)

    def move(self) -> int:
        before = self.destination.received
        Requestor(self.server).retrieve(self.giants[0].study, self.destination.ae_title)
        time.sleep(0.5)
        return self.destination.received - before

    def crowd(self) -> None:
        """Fifty clients that read slowly, or not at all, of each kind; each time a server that has done next to nothing yet."""
        server, path, study = self.server, self.study if self.is_study else self.instance, self.giants[0].study
        made = f'multipart/related; type="application/dicom"; transfer-syntax={JPEG_LS_LOSSLESS}'
        ways: dict[str, Callable[[], object]] = {
            "multipart": lambda: asking(server, path, AS_STORED),
            "zip": lambda: asking(server, self.study, "application/zip; transfer-syntax=*"),
            "JPEG-LS": lambda: asking(server, path, made),
            "bulk data": lambda: asking(server, f"{path}/bulkdata", AS_STORED.replace("dicom", "octet-stream")),
            "C-GET": lambda: getting(server, study, KINDS_OF_STORAGE),
        }
        wanted = {name: ask for name, ask in ways.items() if name in (self.arguments.ways or name).split(",")}
        for (name, ask), rate in itertools.product(wanted.items(), (SLOW, 0)):
            crowd = Crowd(rate)
            title = f"{CROWD} {'slow' if rate else 'vanished'}, {name}"
            with server:
                self.everything_serves()
                with self.watched(title, partial(getattr, crowd, "received")), crowd.of(ask, CROWD), Echo(server) as echo:
                    time.sleep(self.arguments.seconds)
                    self.everything_serves()
            print(f"{'':42s} C-ECHO p99 {high(echo.seconds):5.1f} ms; all pools still serve", flush=True)

    def everything_serves(self) -> None:
        """A search, a frame that must be read, one that must be made, and a store: each pool has a thread free."""
        number = random.randint(1, self.giants[0].frames)
        download(self.server, "/studies", "application/dicom+json")
        download(self.server, f"{self.instance}/frames/{number}", "application/octet-stream; transfer-syntax=*")
        download(self.server, f"{self.instance}/frames/{number}", f"image/jls; transfer-syntax={JPEG_LS_LOSSLESS}")
        small = Giant("native", 1, "1.2.3.2", "1.2.3.2.1", side=16)
        Requestor(self.server, KINDS_OF_STORAGE).store(SLIDE, small.uid, small.pieces())


def high(seconds: list[float]) -> float:
    """The 99th percentile in milliseconds."""
    return sorted(seconds)[len(seconds) * 99 // 100] * 1000 if seconds else 0.0


class Echo(threading.Thread):
    """How long C-ECHO takes while other things go on."""

    def __init__(self, server: DicomServer) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._requestor, self._stopped = Requestor(server), threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(0.02):
            begun = time.perf_counter()
            self._requestor.echo()
            self.seconds.append(time.perf_counter() - begun)

    def __enter__(self) -> "Echo":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self.join()


def made(arguments: argparse.Namespace) -> list[Giant]:
    """The instances of a case."""
    size = int(arguments.gigabytes * GB)
    if arguments.case in INSTANCES:
        count = INSTANCES[arguments.case]
        return [giant("none", size // count if arguments.case != "small" else 0) for _ in range(count)]
    return [giant(arguments.case, min(size, LONGEST.get(arguments.case, size)), side=arguments.side, groups=arguments.groups)]


def write(giants: list[Giant], folder: Path) -> int:
    """Their files; how many bytes they have."""
    size = 0
    for one in giants:
        with (folder / f"{one.uid}.dcm").open("wb") as file:
            file.write(file_meta_bytes(SLIDE, one.uid, one.transfer_syntax_uid))
            for piece in one.pieces():
                file.write(piece)
            size += file.tell()
            os.fsync(file.fileno())
    return size


def load(giants: list[Giant], folder: Path, server: DicomServer) -> None:
    """Import them with the command line, before the server runs."""
    source = folder / "source"
    source.mkdir()
    size = write(giants, source)
    begun = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    (folder / "dicomd.toml").write_text(server.configuration)
    command = [sys.executable, "-m", "dicomd", "--quiet", "--config", "dicomd.toml", "import", "source"]
    subprocess.run(command, cwd=folder, env=environment, check=True)
    seconds = time.perf_counter() - begun
    print(f"{'import':42s} {size / GB:6.2f} GB {size / seconds / (1 << 20):6.0f} MB/s  {seconds:.1f} s")
    shutil.rmtree(source)


def run(folder: Path, arguments: argparse.Namespace) -> None:
    """Load the store, unless that has been done, and measure."""
    destination, giants = Destination(), made(arguments)
    folder.mkdir(exist_ok=True)
    server = DicomServer(str(folder), toml=destination.toml)
    if not (folder / "store").exists():
        load(giants, folder, server)
    bench = Bench(server, destination, giants, arguments)
    for name in filter(None, arguments.only.split(",")):
        if name == "crowd":
            bench.crowd()
            continue
        with server:
            {"frames": bench.frames, "retrieve": bench.retrieve}[name]()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=(*KINDS, *INSTANCES), default="none")
    parser.add_argument("--gigabytes", type=float, default=10)
    parser.add_argument("--side", type=int, default=SIDE, help="rows and columns of a frame")
    parser.add_argument("--groups", action="store_true")
    parser.add_argument("--folder", help="where to put the store; it is removed afterwards")
    parser.add_argument("--keep", metavar="FOLDER", help="a folder for the store that is used again and not removed")
    parser.add_argument("--frames", type=int, default=2000, help="how many random frames")
    parser.add_argument("--ways", help="of the crowd, as in zip,C-GET")
    parser.add_argument("--seconds", type=float, default=15, help="how long what has no end is looked at")
    parser.add_argument("--only", default="frames,retrieve,crowd")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) if not arguments.keep else nullcontext(arguments.keep) as folder:
        run(Path(folder), arguments)


if __name__ == "__main__":
    main()
