"""Worklist queries over 10,000 scheduled steps, and durable MPPS creations a second, against a server of its own.

python benchmarks/modality.py [--steps 10000] [--seconds 5]
"""

import argparse
import http.client
import json
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

from server import DicomServer

from dicomd.services.performed_steps import SOP_CLASS_UID
from dicomd.wire import datasets
from dicomd.wire.messages import Command, CommandField, CommandReceived, MessageWriter
from dicomd.wire.pdu import AssociateRequest, ProposedContext, UserInformation
from dicomd.wire.upper_layer import AssociateAccepted, Send, UpperLayer
from tests.model.test_performed_steps import creation
from tests.services.test_worklist import order

IMPLICIT = "1.2.840.10008.1.2"
STEPS, PERFORMED = "/dicom-web/modality-scheduled-procedure-steps", "/dicom-web/modality-performed-procedure-steps"
JSON = {"Content-Type": "application/dicom+json", "Accept": "application/dicom+json"}
SEQUENCE = "ScheduledProcedureStepSequence"
QUERIES = {
    "station and day": f"{SEQUENCE}.ScheduledStationAETitle=CT_7&{SEQUENCE}.ScheduledProcedureStepStartDate=20260608",
    "modality and days": f"{SEQUENCE}.Modality=MR&{SEQUENCE}.ScheduledProcedureStepStartDate=20260610-20260612&limit=100",
    "patient ID": "PatientID=P4711",
    "accession number": "AccessionNumber=ACC815",
    "all, first page": "limit=100",
}


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
    connection.request(method, path, json.dumps(body) if body is not None else None, JSON)
    response = connection.getresponse()
    return response.status, response.read()


def enter(connection: http.client.HTTPConnection, count: int) -> None:
    for start in range(1, count + 1, 500):
        steps = [
            order(
                number,
                modality="CT" if number % 2 else "MR",
                station=f"{'CT' if number % 2 else 'MR'}_{number % 20}",
                date=f"202606{1 + number % 30:02}",
                time=f"{7 + number % 12:02}{number % 60:02}",
            )
            for number in range(start, min(start + 500, count + 1))
        ]
        assert ask(connection, "POST", STEPS, steps)[0] == 201


def query(connection: http.client.HTTPConnection, seconds: float) -> None:
    for name, text in QUERIES.items():
        took, until = [], time.perf_counter() + seconds / len(QUERIES)
        while time.perf_counter() < until:
            began = time.perf_counter()
            status, body = ask(connection, "GET", f"{STEPS}?{text}")
            took.append(time.perf_counter() - began)
            assert status == 200, (status, body)
        print(f"worklist, {name:20} {len(json.loads(body)):4} matches, p50 {statistics.median(took) * 1000:6.2f} ms")


def together(server: DicomServer, work: Callable[[int], None], count: int) -> float:
    """Run `work(number)` in so many threads; the server's CPU seconds meanwhile."""
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    cpu = server.cpu_seconds()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return server.cpu_seconds() - cpu


def create(server: DicomServer, connections: int, seconds: float) -> None:
    until, counts = time.perf_counter() + seconds, [0] * connections

    def work(number: int) -> None:
        connection = server.connect()
        while time.perf_counter() < until:
            status, body = ask(connection, "POST", f"{PERFORMED}/1.2.{connections}.{number}.{counts[number]}", creation())
            assert status == 201, (status, body)
            counts[number] += 1

    cost = together(server, work, connections) / sum(counts) * 1000
    print(f"MPPS creations, {connections} connections: {sum(counts) / seconds:7.0f}/s, server CPU {cost:.2f} ms each")


class Modality:
    """One association, over a blocking socket, that creates performed steps one after the other."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._machine, self._writer = UpperLayer(16384), MessageWriter(16384)
        contexts = (ProposedContext(1, SOP_CLASS_UID, (IMPLICIT,)),)
        self._machine.associate(AssociateRequest("DICOMD", "BENCH", contexts, UserInformation(16384)))
        self._until(self._machine.transport_connected(), AssociateAccepted)
        self._data = datasets.encode(creation(), IMPLICIT)

    def create(self, uid: str) -> None:
        command = Command(
            CommandField.N_CREATE, message_id=1, affected_sop_class_uid=SOP_CLASS_UID, affected_sop_instance_uid=uid
        )
        command.has_data_set = True
        answer = self._until(self._machine.send(self._writer.message(1, command, self._data)), CommandReceived)
        assert answer.command.status == 0, answer.command

    def _until(self, outputs: list[Any], wanted: type[Any]) -> Any:
        while True:
            for output in outputs:
                if isinstance(output, Send):
                    self._socket.sendall(output.data)
                elif isinstance(output, wanted):
                    return output
            outputs = self._machine.receive_data(self._socket.recv(65536))


def create_by_dimse(server: DicomServer, associations: int, seconds: float) -> None:
    until, counts = time.perf_counter() + seconds, [0] * associations

    def work(number: int) -> None:
        modality = Modality(server.ports["dimse"])
        while time.perf_counter() < until:
            modality.create(f"1.3.{associations}.{number}.{counts[number]}")
            counts[number] += 1

    cost = together(server, work, associations) / sum(counts) * 1000
    print(f"MPPS N-CREATE, {associations} associations: {sum(counts) / seconds:6.0f}/s, server CPU {cost:.2f} ms each")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10000)
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, DicomServer(folder) as server:
        connection = server.connect()
        enter(connection, arguments.steps)
        query(connection, arguments.seconds)
        for connections in (1, 4):
            create(server, connections, arguments.seconds)
            create_by_dimse(server, connections, arguments.seconds)


if __name__ == "__main__":
    main()
