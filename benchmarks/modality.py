"""Worklist queries over 10,000 scheduled steps, and durable MPPS creations a second, against a server of its own.

python benchmarks/modality.py [--steps 10000] [--seconds 5]
"""

import argparse
import http.client
import json
import statistics
import tempfile
import threading
import time
from typing import Any

from server import DicomServer

from tests.model.test_performed_steps import creation
from tests.services.test_worklist import order

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


def create(server: DicomServer, connections: int, seconds: float) -> None:
    until, counts = time.perf_counter() + seconds, [0] * connections

    def work(number: int) -> None:
        connection = server.connect()
        while time.perf_counter() < until:
            status, body = ask(connection, "POST", f"{PERFORMED}/1.2.{connections}.{number}.{counts[number]}", creation())
            assert status == 201, (status, body)
            counts[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(connections)]
    cpu = server.cpu_seconds()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cost = (server.cpu_seconds() - cpu) / sum(counts) * 1000
    print(f"MPPS creations, {connections} connections: {sum(counts) / seconds:7.0f}/s, server CPU {cost:.2f} ms each")


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


if __name__ == "__main__":
    main()
