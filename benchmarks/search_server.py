"""Searches of a whole server, in a small index and a large one: `python benchmarks/search_server.py [--keep FOLDER]`.

One client asks over HTTP and one connection; the servers of all sizes run side by side and are asked in turns, so that what the
machine does meanwhile is the same for each. Printed are matches, p50 and p99 as the client sees them, the server's CPU time, and
how many times its value in the first index the p50 is. Rows marked = find the same number in each index.
Where a row repeats a query, the number of all matches is remembered after the first time, as nothing is committed meanwhile.
"""

import argparse
import http.client
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from attrs import define, field
from search import LARGE, MARKED, PER_STUDY, fill, name
from server import DicomServer

from dicomd.store.index import FILE_NAME, Index

# Pages of 100, but 500 instances of a series where it asks for them
_SETTINGS = "max_results = 500\naccess_log = false"
_FIRST = "/studies/1.2.826.0.1.0"
_BLOCK = 20

# Each makes the path and query of the nth request in an index of so many studies
Ask = Callable[[int, int], str]
REQUESTS: dict[str, Ask] = {
    "= studies?PatientID=": lambda n, studies: f"/studies?PatientID=P{n * 37 % (studies // 2):07d}",
    "= studies?PatientName=SMI*": lambda n, studies: "/studies?PatientName=SMI*&limit=100",
    "= studies?StudyDate=a-b&limit=100": lambda n, studies: f"/studies?StudyDate=202401{1 + n % 2:02d}-20241231&limit=100",
    "= studies/{uid}/series": lambda n, studies: f"{_FIRST}/series",
    "= series/{uid}/instances": lambda n, studies: f"{_FIRST}/series/1.2.826.0.1.0.1/instances?limit=100&offset={n % 5 * 100}",
    "= series/{uid}/instances?limit=500": lambda n, studies: f"{_FIRST}/series/1.2.826.0.1.0.1/instances?limit=500",
    "studies?PatientName=BACE*": lambda n, studies: f"/studies?PatientName={name(MARKED + n * 37 % studies)[:4]}*&limit=100",
    "studies?StudyDate=year&limit=100": lambda n, studies: (
        f"/studies?StudyDate={2010 + n % 13}0101-{2010 + n % 13}1231&limit=100"
    ),
    "studies?ModalitiesInStudy=": lambda n, studies: f"/studies?ModalitiesInStudy={('CT', 'MR', 'CR', 'US')[n % 4]}&limit=100",
    "studies?Modality=": lambda n, studies: f"/studies?Modality={('CT', 'MR', 'CR', 'US')[n % 4]}&limit=100",
    "studies?limit=100&offset=": lambda n, studies: f"/studies?limit=100&offset={min(5000, studies // 2) + n}",
    "studies?orderby=-PatientID": lambda n, studies: f"/studies?orderby=-PatientID&limit=100&offset={n % 10}",
    "studies?orderby=PatientName": lambda n, studies: f"/studies?orderby=PatientName&limit=100&offset={n % 10}",
}


@define
class Size:
    """An index of one size, and what was measured in it."""

    instances: int
    server: DicomServer
    connection: http.client.HTTPConnection
    walls: list[float] = field(factory=list)
    cpu: float = 0.0
    matches: int = 0

    @property
    def studies(self) -> int:
        return max(2, (self.instances - LARGE) // PER_STUDY)

    def ask(self, path: str) -> bytes:
        self.connection.request("GET", "/dicom-web" + path)
        answer = self.connection.getresponse()
        body = answer.read()
        if answer.status not in (200, 204):
            raise RuntimeError(f"{path}: {answer.status} {body[:200]!r}")
        return body

    def block(self, ask: Ask, start: int) -> None:
        before = self.server.cpu_seconds()
        for number in range(start, start + _BLOCK):
            path = ask(number, self.studies)
            began = time.perf_counter()
            body = self.ask(path)
            self.walls.append(time.perf_counter() - began)
            self.matches += body.count(b'"00081190"')
        self.cpu += self.server.cpu_seconds() - before

    def forget(self) -> None:
        self.walls, self.cpu, self.matches = [], 0.0, 0


def prepare(folder: Path, instances: int) -> None:
    """An index in the server's store, unless it is there."""
    path = folder / "store" / FILE_NAME
    if not path.exists():
        path.parent.mkdir(parents=True)
        index = Index(path)
        index.open()
        fill(index, instances)
        index.close()


def measure(label: str, ask: Ask, sizes: list[Size], rounds: int) -> None:
    """Ask in turns, the first block of each unmeasured."""
    for size in sizes:
        size.block(ask, 0)
        size.forget()
    for number in range(rounds):
        for size in sizes if number % 2 else reversed(sizes):
            size.block(ask, (1 + number) * _BLOCK)
    first = statistics.median(sizes[0].walls)
    for size in sizes:
        walls, count = sorted(size.walls), len(size.walls)
        middle = statistics.median(walls)
        print(
            f"{label:36}{size.instances:9}{size.matches / count:8.1f} matches{middle * 1e3:8.2f} ms p50"
            f"{walls[int(count * 0.99)] * 1e3:8.2f} ms p99{size.cpu / count * 1e3:8.2f} ms CPU{middle / first:7.2f}x"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, nargs="+", default=[1000, 200_000])
    parser.add_argument("--rounds", type=int, default=10, help=f"blocks of {_BLOCK} requests")
    parser.add_argument("--keep", help="folder for the indexes, made when it is not there and kept")
    options = parser.parse_args()
    with ExitStack() as stack:
        root = Path(options.keep or stack.enter_context(tempfile.TemporaryDirectory()))
        sizes = []
        for instances in options.instances:
            folder = root / str(instances)
            prepare(folder, instances)
            server = stack.enter_context(DicomServer(str(folder), http=_SETTINGS))
            sizes.append(Size(instances, server, server.connect()))
        for label, ask in REQUESTS.items():
            measure(label, ask, sizes, options.rounds)


if __name__ == "__main__":
    main()
