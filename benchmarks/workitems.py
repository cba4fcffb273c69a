"""Work items: durable creations and changes of state a second with subscribers connected, and searches over many items.

python benchmarks/workitems.py [--subscribers 100] [--seconds 10] [--connections 16] [--items 100000]

Every subscriber has a WebSocket open and a global subscription; at the end each must have got every event report.
"""

import argparse
import http.client
import json
import multiprocessing
import re
import selectors
import socket
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from server import DicomServer

from dicomd.model.attributes import attribute
from dicomd.model.workitem_attributes import GLOBAL_SUBSCRIPTION
from dicomd.model.workitem_checks import complete_new
from dicomd.services import workitem_changes
from dicomd.store.index import Index
from tests.workitems import KEY, code, new_item, sequence

ROOT, JSON = "/dicom-web", "application/dicom+json"
HANDSHAKE = (
    "GET {root}/subscribers/{title} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)")
QUERIES = {
    "state": "ProcedureStepState=SCHEDULED",
    "state and station": "ProcedureStepState=SCHEDULED&ScheduledStationNameCodeSequence.CodeValue=ST7",
    "station, day and priority": "ScheduledStationNameCodeSequence.CodeValue=ST7"
    "&ScheduledProcedureStepStartDateTime=20260401-20260407&ScheduledProcedureStepPriority=HIGH",
    "patient ID": "PatientID=P4711",
    "patient name": "PatientName=SMITH47*",
    "accession number": "ReferencedRequestSequence.AccessionNumber=ACC815",
    "all, first page": "",
}


class Subscribers:
    """WebSocket clients in a process of their own: they answer Pings and count text frames."""

    def __init__(self, port: int, count: int) -> None:
        self.frames = multiprocessing.Array("q", count)
        self._ready = multiprocessing.Event()
        self._process = multiprocessing.Process(target=self._run, args=(port, count), daemon=True)
        self._process.start()
        self._ready.wait()

    def _run(self, port: int, count: int) -> None:
        selector = selectors.DefaultSelector()
        rest = [b""] * count
        for number in range(count):
            client = socket.create_connection(("127.0.0.1", port))
            client.sendall(HANDSHAKE.format(root=ROOT, title=f"SUB{number}").encode())
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += client.recv(4096)
            rest[number] = answer.partition(b"\r\n\r\n")[2]
            selector.register(client, selectors.EVENT_READ, number)
        self._ready.set()
        while True:
            for ready, _ in selector.select():
                client, number = ready.fileobj, ready.data
                rest[number] = self._read(client, number, rest[number] + client.recv(1 << 18))

    def _read(self, client: Any, number: int, data: bytes) -> bytes:
        at, texts = 0, 0
        while len(data) - at >= 2:
            size, start = data[at + 1], at + 2
            if size == 126:
                size, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            if len(data) < start + size or size == 127:
                break
            if data[at] == 0x89:
                client.sendall(bytes((0x8A, 0x80 | size, 0, 0, 0, 0)) + data[start : start + size])
            texts += data[at] == 0x81
            at = start + size
        self.frames[number] += texts
        return data[at:]

    def stop(self) -> None:
        self._process.terminate()


def items(count: int) -> Any:
    """Items that differ where searches look."""
    for number in range(count):
        yield new_item(
            t00404025=sequence(code(f"ST{number % 40}", "99B", "Station")),
            t00100020=attribute("LO", f"P{number % 30000}"),
            t00100010=attribute("PN", f"{('SMITH', 'DOE', 'KIM')[number % 3]}{number % 5000}^JANE"),
            t00404005=attribute("DT", f"2026{1 + number % 12:02}{1 + number % 28:02}{number % 24:02}{number % 60:02}00"),
            t00741200=attribute("CS", ("HIGH", "MEDIUM", "LOW")[number % 3]),
            t0040A370=sequence({"0020000D": attribute("UI", f"1.2.{number}"), "00080050": attribute("SH", f"ACC{number}")}),
        )


class Nobody:
    """Takes event reports on and forgets them."""

    def announce(self, reports: Any) -> None: ...

    def meet(self, number: int, ae_title: str) -> None: ...


def fill(folder: str, count: int) -> None:
    """Items written straight into the index, before the server starts."""
    index = Index(Path(folder) / "store" / "index.sqlite")
    index.open()
    moment = workitem_changes.Moment(time.time(), Nobody())
    batch: list[Any] = []
    for number, item in enumerate(items(count)):
        batch.append((f"1.2.826.9.{number}", complete_new(item)[0]))
        if len(batch) == 500 or number == count - 1:
            with index.batch() as connection:
                for uid, attributes in batch:
                    workitem_changes.create(connection, uid, attributes, moment)
            batch = []
    index.close()


class Client:
    """A connection that sends a request as soon as the last one is answered."""

    def __init__(self, port: int, number: int) -> None:
        self.number, self.count, self.began = number, 0, 0.0
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answer = b""

    def ask(self, method: str, path: str, body: bytes) -> None:
        head = (
            f"{method} {ROOT}{path} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: identity\r\n"
            f"Content-Length: {len(body)}\r\nContent-Type: {JSON}\r\n\r\n"
        )
        self.began = time.perf_counter()
        self.socket.sendall(head.encode() + body)

    def is_answered(self) -> bool:
        """Read what there is; whether that completes the answer, which must be 200 or 201."""
        self._answer += self.socket.recv(65536)
        head, end, body = self._answer.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not end or length is None or len(body) < int(length[1]):
            return False
        assert head[9:12] in (b"200", b"201"), self._answer
        self._answer = b""
        self.count += 1
        return True


def hammer(server: DicomServer, connections: int, seconds: float, requests: Any) -> tuple[int, float, list[float]]:
    """Send what `requests(worker, number)` gives over so many connections; how many were done, in what time.

    One thread serves all connections, so that the client costs little beside the server on the same processors.
    """
    took: list[float] = []
    selector = selectors.DefaultSelector()

    def go_on(client: Client) -> None:
        request = requests(client.number, client.count) if time.perf_counter() < stop else None
        if request is None:
            selector.unregister(client.socket)
            client.socket.close()
        else:
            client.ask(*request)

    clients = [Client(server.ports["http"], number) for number in range(connections)]
    began = time.perf_counter()
    stop = began + seconds
    for client in clients:
        selector.register(client.socket, selectors.EVENT_READ, client)
        go_on(client)
    while selector.get_map():
        for ready, _ in selector.select():
            if ready.data.is_answered():
                took.append(time.perf_counter() - ready.data.began)
                go_on(ready.data)
    return len(took), time.perf_counter() - began, took


def tell(name: str, server: DicomServer, cpu: float, result: tuple[int, float, list[float]]) -> int:
    done, elapsed, took = result
    spent = (server.cpu_seconds() - cpu) / done * 1000
    p99 = sorted(took)[int(len(took) * 0.99)] * 1000
    median = statistics.median(took) * 1000
    print(f"{name:28} {done / elapsed:8.0f} /s   median {median:6.1f} ms  p99 {p99:6.1f} ms   {spent:5.2f} ms server CPU each")
    return done


def changes(server: DicomServer, arguments: argparse.Namespace, subscribers: Subscribers) -> None:
    body = json.dumps([new_item(t00404025={"vr": "SQ"})]).encode()
    claim = {"00741000": attribute("CS", "IN PROGRESS"), "00081195": attribute("UI", KEY)}
    claiming = json.dumps([claim]).encode()
    done = [0] * arguments.connections

    def create(worker: int, number: int) -> Any:
        done[worker] = number + 1
        return "POST", f"/workitems?workitem=1.2.3.{worker}.{number}", body

    def change(worker: int, number: int) -> Any:
        return ("PUT", f"/workitems/1.2.3.{worker}.{number}/state", claiming) if number < done[worker] else None

    cpu = server.cpu_seconds()
    expected = tell("creations", server, cpu, hammer(server, arguments.connections, arguments.seconds, create))
    cpu = server.cpu_seconds()
    expected += tell("changes of state", server, cpu, hammer(server, arguments.connections, 600, change))
    began = time.perf_counter()
    while any(count < expected for count in subscribers.frames) and time.perf_counter() - began < 30:
        time.sleep(0.05)
    counts = set(subscribers.frames)
    print(f"every subscriber got {counts} event reports of {expected}, {time.perf_counter() - began:.1f} s after the last answer")


def search(server: DicomServer, seconds: float) -> None:
    connection = server.connect()
    for name, text in QUERIES.items():
        took, until, size = [], time.perf_counter() + seconds / len(QUERIES), 0
        while time.perf_counter() < until:
            began = time.perf_counter()
            connection.request("GET", f"{ROOT}/workitems?{text}", headers={"Accept": JSON})
            response = connection.getresponse()
            size = len(response.read())
            took.append(time.perf_counter() - began)
            assert response.status in (200, 206), response.status
        print(f"search {name:28} median {statistics.median(took) * 1000:6.2f} ms  best {min(took) * 1000:6.2f} ms  {size} bytes")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--subscribers", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--items", type=int, default=100000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, DicomServer(folder) as server:
        subscribers = Subscribers(server.ports["http"], arguments.subscribers)
        connection = http.client.HTTPConnection("127.0.0.1", server.ports["http"])
        for number in range(arguments.subscribers):
            connection.request("POST", f"{ROOT}/workitems/{GLOBAL_SUBSCRIPTION}/subscribers/SUB{number}")
            assert connection.getresponse().read() == b""
        changes(server, arguments, subscribers)
        subscribers.stop()
    if arguments.items:
        with tempfile.TemporaryDirectory() as folder:
            fill(folder, arguments.items)
            with DicomServer(folder) as server:
                search(server, arguments.seconds)


if __name__ == "__main__":
    main()
