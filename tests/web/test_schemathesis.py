"""The OpenAPI description drives the server: whatever it allows, and much that it does not, brings no 5xx."""

import contextlib
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.daemon import Daemon, run
from tests.data import pydicom_file

EXAMPLES = 3


@schemathesis.serializer("application/dicom", "application/dicom+xml", "multipart/related", "text/plain")
def _octets(context: Any, value: Any) -> bytes:
    """What is not JSON is sent as it is made up."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


def drive(url: str) -> list[str]:
    """Blocking: every operation a few times, with good and with bad data; the requests that brought a 5xx."""
    wrong: list[str] = []
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    for result in schema.get_all_operations():
        operation = result.ok()
        for mode in schemathesis.GenerationMode:
            _operation(operation, mode, wrong)
    return wrong


def _operation(operation: Any, mode: Any, wrong: list[str]) -> None:
    @seed(1)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def once(case: Any) -> None:
        response = case.call(timeout=10, allow_redirects=False)
        if response.status_code >= 500:
            wrong.append(f"{response.status_code} {case.method} {response.request.url}")

    with contextlib.suppress(Unsatisfiable):  # nothing about it can be wrong
        once()


class DescriptionTests(TestCase):
    def test_no_server_error(self) -> "Deferred[None]":
        """An archive that holds an instance answers everything with less than 500."""

        async def work() -> None:
            daemon = await Daemon(self.mktemp()).start()
            self.addCleanup(lambda: run(daemon.stop()))
            body = pydicom_file("CT_small.dcm").read_bytes()
            await daemon.http.post(f"{daemon.url}/studies", data=body, headers={"Content-Type": "application/dicom"})
            self.assertEqual(await deferToThread(drive, daemon.url), [])

        return run(work())

    test_no_server_error.timeout = 300  # type: ignore[attr-defined]
