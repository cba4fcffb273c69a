"""The HTTP door of a running server, with real files and a stock client."""

import hashlib
from io import BytesIO
from typing import Any

import pydicom
from dicomweb_client.api import DICOMwebClient
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientCreator, Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.daemon import Daemon, run
from tests.data import pydicom_file, shared, shared_files

MULTIPART = 'multipart/related; type="application/dicom"; boundary=b1'


def multipart(*contents: bytes) -> bytes:
    return b"".join(b"\r\n--b1\r\nContent-Type: application/dicom\r\n\r\n" + content for content in contents) + b"\r\n--b1--"


class RunningServerTestCase(TestCase):
    def setUp(self) -> "Deferred[Any]":
        self.daemon = Daemon(self.mktemp())
        self.addCleanup(lambda: run(self.daemon.stop()))
        return run(self.daemon.start())

    async def post(self, body: bytes, content_type: str = MULTIPART) -> Any:
        response = await self.daemon.http.post(f"{self.daemon.url}/studies", data=body, headers={"Content-Type": content_type})
        return response.code, await response.json()


class StoreTests(RunningServerTestCase):
    def test_real_files(self) -> "Deferred[None]":
        """Every file of a series is on disk as it was sent, preamble aside."""
        files = shared_files("series")[:30]

        async def work() -> None:
            contents = [path.read_bytes() for path in files]
            code, module = await self.post(multipart(*contents))
            self.assertEqual(code, 200, module)
            held = sorted(hashlib.sha256(path.read_bytes()[128:]).hexdigest() for path in self.daemon.files())
            self.assertEqual(held, sorted(hashlib.sha256(content[128:]).hexdigest() for content in contents))

        return run(work())

    def test_stock_client(self) -> "Deferred[None]":
        """dicomweb-client stores and reads the response."""
        dataset = pydicom.dcmread(pydicom_file("CT_small.dcm"))

        async def work() -> None:
            client = DICOMwebClient(self.daemon.url)
            response = await deferToThread(client.store_instances, [dataset])
            self.assertEqual(response.ReferencedSOPSequence[0].ReferencedSOPInstanceUID, dataset.SOPInstanceUID)

        return run(work())

    def test_garbage_among_good(self) -> "Deferred[None]":
        """What is no instance is told, the others are stored, nothing else is left."""
        good = pydicom_file("MR_small.dcm").read_bytes()

        async def work() -> None:
            code, module = await self.post(multipart(b"garbage", good, good[:2000], b""))
            self.assertEqual(code, 202)
            self.assertEqual(len(module["00081199"]["Value"]), 1)
            self.assertEqual(len(module.get("00081198", {}).get("Value", [])) + len(module["0008119A"]["Value"]), 3)
            self.assertEqual(len(self.daemon.files()), 1)
            self.flushLoggedErrors()

        return run(work())

    def test_malformed_files(self) -> "Deferred[None]":
        """Whatever is sent, alone and all together, is answered; each part has its place in the response."""
        files = sorted(path for path in shared("malformed").rglob("*") if path.is_file() and path.stat().st_size < 1 << 20)

        async def work() -> None:
            contents = [path.read_bytes() for path in files]
            for content in contents:
                code, _ = await self.post(content, "application/dicom")
                self.assertIn(code, (200, 202, 409) if content else (400,))
            code, module = await self.post(multipart(*contents))
            told = sum(len(module.get(tag, {}).get("Value", [])) for tag in ("00081198", "00081199", "0008119A"))
            self.assertEqual((code, told), (202, len(contents)))
            self.assertEqual([path for path in self.daemon.files() if "spool" in path.parts], [])

        return run(work())

    def test_chunked_and_large(self) -> "Deferred[None]":
        """A body without a length, larger than what is kept in memory."""
        dataset = pydicom.dcmread(pydicom_file("MR_small.dcm"))
        dataset.Rows = dataset.Columns = 2000
        dataset.PixelData = bytes(8_000_000)
        buffer = BytesIO()
        dataset.save_as(buffer)

        async def work() -> None:
            client = await ClientCreator(reactor, Client).connectTCP("127.0.0.1", self.daemon.server.ports["http"].getHost().port)
            client.write(
                b"POST /stow/studies HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/dicom\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n"
            )
            content = buffer.getvalue()
            for start in range(0, len(content), 100_000):
                chunk = content[start : start + 100_000]
                client.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            client.write(b"0\r\n\r\n")
            await client.done
            self.assertIn(b"HTTP/1.1 200 OK", client.received)
            (path,) = self.daemon.files()
            self.assertEqual(path.read_bytes()[128:], content[128:])

        return run(work())

    def test_aborted(self) -> "Deferred[None]":
        """A client that leaves in the middle leaves nothing."""

        async def work() -> None:
            client = await ClientCreator(reactor, Client).connectTCP("127.0.0.1", self.daemon.server.ports["http"].getHost().port)
            client.write(
                b"POST /stow/studies HTTP/1.1\r\nHost: h\r\nContent-Type: application/dicom\r\nContent-Length: 99999999\r\n\r\n"
            )
            client.write(bytes(3_000_000))
            await deferLater(reactor, 0.05, lambda: None)
            client.leave()
            await client.done
            for _ in range(50):
                if not self.daemon.files() and not self.daemon.server.web.site.channels:
                    break
                await deferLater(reactor, 0.02, lambda: None)
            self.assertEqual(self.daemon.files(), [])

        return run(work())


class Client(Protocol):
    """A connection that sends what it is told."""

    def __init__(self) -> None:
        self.received = b""
        self.done: Deferred[None] = Deferred()

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def leave(self) -> None:
        self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Any) -> None:
        self.done.callback(None)


class HealthTests(RunningServerTestCase):
    def test_health(self) -> "Deferred[None]":
        """200 once both doors are open."""

        async def work() -> None:
            response = await self.daemon.http.get(self.daemon.url.replace("/dicom-web", "/health"))
            body = await response.json()
            self.assertEqual((response.code, body["doors"]), (200, {"http": "open", "dimse": "open"}))

        return run(work())
