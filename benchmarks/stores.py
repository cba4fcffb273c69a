"""Storing through both doors: rate, server CPU an instance, latency of others meanwhile, memory for one large instance.

    python benchmarks/stores.py [--instances 400] [--bytes 165000] [--large 1000]

`--large`: megabytes of the large instance; 0 leaves it out. Everything is acknowledged durably; a fresh store each time.
"""

import argparse
import http.client
import itertools
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

from clients import Requestor
from server import DicomServer
from store_core import MR, STAND_IN, template

from dicomd.wire.elements import EXPLICIT_LITTLE, file_meta_bytes

_NUMBERS = itertools.count(10_000_000)
_BOUNDARY = "benchmark"
_CHUNK = 1 << 20
_HEALTH_SECONDS = 0.02


# Stores an instance of this UID from the pieces of its data set; must succeed.
Store = Callable[[str, Iterator[bytes]], None]


def new_uid() -> str:
    """Of the length of the stand-in."""
    return f"9.9.9.9.{next(_NUMBERS)}"


class Post:
    """One HTTP connection that stores, one or more instances a request."""

    def __init__(self, server: DicomServer) -> None:
        self.connection = server.connect()

    def store(self, uid: str, chunks: Iterator[bytes]) -> None:
        """One multipart request; must succeed."""
        self.connection.putrequest("POST", "/dicom-web/studies")
        self.connection.putheader("Content-Type", f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}')
        self.connection.putheader("Accept", "application/dicom+json")
        self.connection.putheader("Transfer-Encoding", "chunked")
        self.connection.endheaders()
        head = f"\r\n--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        body = itertools.chain([head + file_meta_bytes(MR, uid, EXPLICIT_LITTLE)], chunks, [f"\r\n--{_BOUNDARY}--".encode()])
        for chunk in body:
            self.connection.send(b"%x\r\n" % len(chunk) + chunk + b"\r\n")
        self.connection.send(b"0\r\n\r\n")
        self.check(1)

    def check(self, count: int) -> None:
        response = self.connection.getresponse()
        answer = response.read()
        assert response.status == 200, (response.status, answer[:300])
        assert answer.count(b"00081155") == count, answer[:300]

    def store_many(self, data: bytes, count: int) -> None:
        """One request with several instances, encoded beforehand."""
        parts = []
        for _ in range(count):
            uid = new_uid()
            head = f"\r\n--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
            parts += [head, file_meta_bytes(MR, uid, EXPLICIT_LITTLE), data.replace(STAND_IN.encode(), uid.encode(), 1)]
        body = b"".join([*parts, f"\r\n--{_BOUNDARY}--".encode()])
        kind = f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}'
        self.connection.request("POST", "/dicom-web/studies", body, {"Content-Type": kind, "Accept": "application/dicom+json"})
        self.check(count)


class Health:
    """How long `GET /health` takes while other things go on."""

    def __init__(self, server: DicomServer) -> None:
        self.seconds: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(server,))

    def _run(self, server: DicomServer) -> None:
        connection: http.client.HTTPConnection = server.connect()
        while not self._stop.wait(_HEALTH_SECONDS):
            begun = time.perf_counter()
            connection.request("GET", "/health")
            connection.getresponse().read()
            self.seconds.append(time.perf_counter() - begun)

    def __enter__(self) -> "Health":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def measure(server: DicomServer, name: str, senders: list[Callable[[], int]], count: int) -> None:
    """Let senders, each of which stores some instances a call, store `count` of them together."""
    for send in senders:
        send()
    left, taken = count, threading.Lock()
    latencies: list[float] = []

    def run(send: Callable[[], int]) -> None:
        nonlocal left
        while True:
            with taken:
                if left <= 0:
                    return
                left -= 1
            begun = time.perf_counter()
            stored = send()
            latencies.append(time.perf_counter() - begun)
            with taken:
                left -= stored - 1

    cpu, begun = server.cpu_seconds(), time.perf_counter()
    with Health(server) as health:
        threads = [threading.Thread(target=run, args=(send,)) for send in senders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    wall, cpu = time.perf_counter() - begun, server.cpu_seconds() - cpu
    done = count - left
    waits = sorted(health.seconds)
    print(
        f"{name:28s} {done / wall:6.0f}/s  CPU {cpu / done * 1000:5.2f} ms  p50 {statistics.median(latencies) * 1000:6.1f} ms  "
        f"health p99 {waits[len(waits) * 99 // 100] * 1000:5.1f} ms  RSS {server.rss_mb():.0f} MB"
    )


def by_dimse(server: DicomServer) -> Store:
    """C-STORE on an association of its own."""
    return partial(Requestor(server, ((MR, EXPLICIT_LITTLE),)).store, MR)


def one_by_one(store: Store, data: bytes) -> Callable[[], int]:
    """Stores a new instance a call."""

    def send() -> int:
        uid = new_uid()
        store(uid, iter([data.replace(STAND_IN.encode(), uid.encode(), 1)]))
        return 1

    return send


def batches(sender: Post, data: bytes, size: int) -> Callable[[], int]:
    """Stores so many a call."""

    def send() -> int:
        sender.store_many(data, size)
        return size

    return send


def large(server: DicomServer, name: str, store: Store, megabytes: int) -> None:
    """One instance of so many megabytes."""
    uid, size = new_uid(), megabytes * _CHUNK
    head = template(0).replace(STAND_IN.encode(), uid.encode(), 1)[:-12]
    pixels = b"\xe0\x7f\x10\x00OW\x00\x00" + size.to_bytes(4, "little")
    before = server.rss_mb()
    server.forget_peak()
    begun = time.perf_counter()
    store(uid, itertools.chain([head + pixels], itertools.repeat(bytes(_CHUNK), megabytes)))
    seconds = time.perf_counter() - begun
    print(f"{name:28s} {megabytes / seconds:6.0f} MB/s  peak RSS +{server.rss_mb(peak=True) - before:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=400)
    parser.add_argument("--bytes", type=int, default=165_000)
    parser.add_argument("--large", type=int, default=1000, metavar="MB")
    arguments = parser.parse_args()
    data, count = template(arguments.bytes), arguments.instances
    with tempfile.TemporaryDirectory() as folder, DicomServer(folder) as server:
        for number in (1, 4):
            associations = [one_by_one(by_dimse(server), data) for _ in range(number)]
            measure(server, f"C-STORE, {number} associations", associations, count)
        for number in (1, 4):
            posts = [one_by_one(Post(server).store, data) for _ in range(number)]
            measure(server, f"STOW, {number} connections", posts, count)
        measure(server, "STOW, 100 a request", [batches(Post(server), data, 100)], count)
        if arguments.large:
            large(server, "C-STORE, large", by_dimse(server), arguments.large)
            large(server, "STOW, large", Post(server).store, arguments.large)


if __name__ == "__main__":
    main()
