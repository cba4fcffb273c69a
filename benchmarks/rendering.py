"""Pictures that no cache helps with: rate and server CPU of JPEG; and how long C-ECHO takes while every pixel worker is busy.

    python benchmarks/rendering.py [--seconds 5] [--clients 1,4] [--echo]

A 512 x 512 CT of 16 bits and a 2500 x 2000 CR of 12 bits. `first`: each instance is asked for once, after a restart of the
server. `window`: each request has a window of its own. `--echo` compares C-ECHO at rest and under each kind of load instead.
"""

import argparse
import itertools
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Event
from typing import Any

import numpy as np
from attrs import frozen
from clients import Requestor
from server import DicomServer

from dicomd.model.transfer_syntaxes import EXPLICIT_LITTLE, JPEG_2000_LOSSLESS, JPEG_LS_LOSSLESS, RLE_LOSSLESS
from dicomd.wire.datasets import encode
from dicomd.wire.elements import file_meta_bytes

_BOUNDARY = "benchmark"
_BETWEEN_ECHOES = 0.01
_ANY = "*/*"
_TRANSCODED = 'multipart/related; type="application/dicom"; transfer-syntax='


@frozen
class Kind:
    """Images of one kind: so many, rows x columns, with values around a level."""

    name: str
    sop_class_uid: str
    count: int
    rows: int
    columns: int
    bits: int
    intercept: int

    @property
    def study(self) -> str:
        return f"1.2.3.{self.sop_class_uid.rpartition('.')[2]}"

    def path(self, number: int) -> str:
        return f"/studies/{self.study}/series/{self.study}.1/instances/{self.study}.1.{number}"

    def pixels(self, number: int) -> bytes:
        """Something round, structures of several sizes and noise, as in pictures of a body."""
        random = np.random.default_rng(number)
        y, x = np.mgrid[-1 : 1 : self.rows * 1j, -1 : 1 : self.columns * 1j]
        body = np.exp(-((x**4 + y**4) * 3))
        shapes = sum(np.sin(x * f + number) * np.cos(y * f) / f for f in (5, 17, 43, 101))
        values = 400 + body * (900 + 700 * shapes) + random.normal(size=body.shape) * 14
        return bytes(np.clip(values, 0, (1 << self.bits) - 1).astype("<u2").tobytes())

    def file(self, number: int) -> bytes:
        uid = f"{self.study}.1.{number}"
        values = {
            "00080016": ("UI", self.sop_class_uid),
            "00080018": ("UI", uid),
            "00080060": ("CS", self.name),
            "00100020": ("LO", "BENCH"),
            "0020000D": ("UI", self.study),
            "0020000E": ("UI", f"{self.study}.1"),
            "00200013": ("IS", number),
            "00280002": ("US", 1),
            "00280004": ("CS", "MONOCHROME2"),
            "00280010": ("US", self.rows),
            "00280011": ("US", self.columns),
            "00280100": ("US", 16),
            "00280101": ("US", self.bits),
            "00280102": ("US", self.bits - 1),
            "00280103": ("US", 0),
            "00281050": ("DS", 1000 + self.intercept),
            "00281051": ("DS", 1800),
            "00281052": ("DS", self.intercept),
            "00281053": ("DS", 1),
        }
        head = encode({tag: {"vr": vr, "Value": [value]} for tag, (vr, value) in values.items()}, EXPLICIT_LITTLE)
        pixels = self.pixels(number)
        meta = file_meta_bytes(self.sop_class_uid, uid, EXPLICIT_LITTLE)
        return meta + head + b"\xe0\x7f\x10\x00OW\x00\x00" + len(pixels).to_bytes(4, "little") + pixels


CT = Kind("CT", "1.2.840.10008.5.1.4.1.1.2", 100, 512, 512, 16, -1024)
CR = Kind("CR", "1.2.840.10008.5.1.4.1.1.1", 12, 2500, 2000, 12, 0)


def store(server: DicomServer) -> None:
    """All images; what is made ready of them behind the scenes is waited for."""
    connection = server.connect()
    for kind in (CT, CR):
        for number in range(1, kind.count + 1):
            head, end = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n", f"\r\n--{_BOUNDARY}--\r\n"
            body = head.encode() + kind.file(number) + end.encode()
            multipart = f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}'
            connection.request("POST", "/dicom-web/studies", body, {"Content-Type": multipart})
            response = connection.getresponse()
            assert response.status == 200, (response.status, response.read(300))
            response.read()
    time.sleep(3)


def first(kind: Kind) -> Iterator[str]:
    return (f"{kind.path(number)}/rendered" for number in range(1, kind.count + 1))


def windowed(kind: Kind) -> Iterator[str]:
    for turn in itertools.count():
        for number in range(1, kind.count + 1):
            yield f"{kind.path(number)}/rendered?window={1000 + kind.intercept}.{turn % 1000:03},1{number:03},linear"


def ask(server: DicomServer, paths: Iterator[str], clients: int, seconds: float, accept: str = _ANY) -> list[float]:
    """Seconds that each request took."""
    lock, took, end = threading.Lock(), list[float](), time.perf_counter() + seconds

    def run() -> None:
        connection = server.connect()
        while time.perf_counter() < end:
            with lock:
                path = next(paths, None)
            if path is None:
                return
            begun = time.perf_counter()
            connection.request("GET", f"/dicom-web{path}", headers={"Accept": accept})
            response = connection.getresponse()
            assert response.read() and response.status == 200, response.status
            took.append(time.perf_counter() - begun)

    threads = [threading.Thread(target=run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took


def percentiles(took: list[float]) -> str:
    ordered = sorted(took)
    p50, p99, most = (ordered[min(len(ordered) - 1, len(ordered) * part // 1000)] * 1000 for part in (500, 990, 1000))
    return f"p50 {p50:6.1f} ms  p99 {p99:6.1f} ms  most {most:6.1f} ms"


def measure(server: DicomServer, name: str, paths: Iterator[str], clients: int, seconds: float) -> None:
    cpu, begun = server.cpu_seconds(), time.perf_counter()
    took = ask(server, paths, clients, seconds)
    wall, cpu = time.perf_counter() - begun, server.cpu_seconds() - cpu
    print(f"{name:24s} {len(took) / wall:6.1f}/s  CPU {cpu / len(took) * 1000:6.2f} ms  {percentiles(took)}", flush=True)


def _load(server: Any, kind: Kind, accept: str, stop: Event) -> None:
    """In a process of its own: more clients than there are workers, until it is told to stop."""
    paths = windowed(kind) if accept == _ANY or accept.startswith("image") else itertools.cycle(map(kind.path, range(1, 9)))
    while not stop.is_set():
        ask(server, paths, 8, 0.3, accept)


def echoes(server: DicomServer, name: str, seconds: float) -> None:
    requestor, took, end = Requestor(server), list[float](), time.perf_counter() + seconds
    while time.perf_counter() < end:
        begun = time.perf_counter()
        requestor.echo()
        took.append(time.perf_counter() - begun)
        time.sleep(_BETWEEN_ECHOES)
    print(f"C-ECHO, {name:22s} {len(took):5d} times  {percentiles(took)}", flush=True)


def under_load(server: DicomServer, seconds: float) -> None:
    """C-ECHO at rest, and while the pixel workers are busy with one kind of work after the other."""
    echoes(server, "at rest", seconds)
    loads = ((CT, "JPEG", _ANY), (CR, "JPEG", _ANY), (CR, "PNG", "image/png"), (CR, "JP2", "image/jp2"))
    syntaxes = (("JPEG 2000", JPEG_2000_LOSSLESS), ("JPEG-LS", JPEG_LS_LOSSLESS), ("RLE", RLE_LOSSLESS))
    for kind, what, accept in (*loads, *((CR, name, _TRANSCODED + uid) for name, uid in syntaxes)):
        stop = multiprocessing.Event()
        load = multiprocessing.Process(target=_load, args=(server, kind, accept, stop))
        load.start()
        time.sleep(1)
        echoes(server, f"{kind.name} to {what}", seconds)
        stop.set()
        load.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--clients", default="1,4")
    parser.add_argument("--echo", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        with DicomServer(folder) as server:
            store(server)
            if arguments.echo:
                under_load(server, arguments.seconds)
                return
        for clients in map(int, arguments.clients.split(",")):
            for kind in (CT, CR):
                with DicomServer(folder) as server:
                    measure(server, f"{kind.name} first, {clients} clients", first(kind), clients, arguments.seconds)
                    measure(server, f"{kind.name} window, {clients} clients", windowed(kind), clients, arguments.seconds)


if __name__ == "__main__":
    main()
