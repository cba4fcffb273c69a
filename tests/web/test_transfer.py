"""Answers that are sent piece by piece, ranges and conditions."""

import os
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.content import FileRange, Piece
from dicomd.web import transfer
from dicomd.web.responses import Response
from dicomd.web.routes import Route
from dicomd.web.transfer import BATCH, Pieces, RangeOutside, byte_range, cut

from .harness import Connection, Stepped, at_once, make_door


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


class HeldTests(SynchronousTestCase):
    def test_given_up(self) -> None:
        """A body that is over does not keep files without a name, whoever still knows the body."""
        held = {"a file"}
        known = weakref.ref(held)
        body = Pieces([FileRange(str(self), 0, 1, held)], at_once)
        del held
        body.close()
        self.assertIsNone(known())


class PiecesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.content = os.urandom(3 * BATCH + 1000)
        self.path.write_bytes(self.content)
        self.pieces: list[Piece] = [b"head", FileRange(str(self.path), 10, len(self.content) - 10), b"tail"]
        self.disk: Any = at_once
        self.clock = Clock()
        self.door = make_door([Route("/x", ("GET",), self.handler, "")], self.clock)
        self.before = open_files()

    async def handler(self, request: Any) -> Response:
        return Response(200, Pieces(self.pieces, self.disk), "application/dicom")

    def get(self, method: str = "GET") -> Connection:
        connection = Connection(self.door)
        connection.request(method, "/dicom-web/x")
        return connection

    def test_content(self) -> None:
        """Bytes and file ranges in order, with the length of all."""
        answer = self.get().answers()[0]
        self.assertEqual(answer.body, b"head" + self.content[10:] + b"tail")
        self.assertEqual(open_files(), self.before)

    def test_small_files_share_a_batch(self) -> None:
        """Many small files cost few jobs."""
        self.disk = Stepped()
        self.pieces = [FileRange(str(self.path), index, 1000) for index in range(100)]
        connection = self.get()
        self.disk.step()
        self.assertEqual(self.disk.jobs, [])
        self.assertEqual(connection.answers()[0].body, b"".join(self.content[i : i + 1000] for i in range(100)))

    def test_head(self) -> None:
        """HEAD opens nothing."""
        answer = self.get("HEAD").answers(head=True)[0]
        self.assertEqual(int(answer.headers["content-length"]), len(self.content) - 2)

    def test_back_pressure(self) -> None:
        """While the client does not read, one batch is read ahead and no more."""
        self.disk = Stepped()
        connection = self.get()
        connection.channel.pauseProducing()
        self.disk.step()
        self.disk.step()
        self.assertEqual(self.disk.jobs, [])
        connection.channel.resumeProducing()
        while self.disk.jobs:
            self.disk.step()
        self.assertEqual(len(connection.answers()[0].body), len(self.content) - 2)

    def test_stalled_client(self) -> None:
        """A client that never reads loses its connection, and the file is closed."""
        connection = self.get_paused()
        self.clock.advance(transfer.STALL_SECONDS + 1)
        self.assertFalse(connection.transport.connected)
        connection.lose()
        self.assertEqual(open_files(), self.before)

    def get_paused(self) -> Connection:
        self.disk = Stepped()
        connection = self.get()
        connection.channel.pauseProducing()
        self.disk.step()
        self.disk.step()
        return connection

    def test_client_leaves(self) -> None:
        """A client that leaves leaves no open file, whether a job is under way or not."""
        connection = self.get_paused()
        connection.lose()
        self.assertEqual(open_files(), self.before)
        self.disk = Stepped()
        connection = self.get()
        connection.lose()
        self.disk.step()
        self.assertEqual(open_files(), self.before)

    def test_file_too_short(self) -> None:
        """A file that is shorter than it should be breaks the connection, so that the client sees it."""
        self.pieces = [FileRange(str(self.path), len(self.content) - 5, 10)]
        connection = self.get()
        self.assertFalse(connection.transport.connected)
        self.assertEqual(len(self.flushLoggedErrors(EOFError)), 1)


class StreamedTests(SynchronousTestCase):
    def test_chunks(self) -> None:
        """A body of unknown length is chunked; the next piece is made when the client has taken the last."""
        made: list[int] = []

        async def chunks() -> AsyncIterator[bytes]:
            for number in range(3):
                made.append(number)
                yield b"%d" % number

        async def handler(request: Any) -> Response:
            return Response(200, transfer.Streamed(chunks()))

        connection = Connection(make_door([Route("/x", ("GET",), handler, "")]))
        connection.channel.pauseProducing()
        connection.channel.registerProducer, register = None, connection.channel.registerProducer
        connection.channel.registerProducer = lambda producer, streaming: (
            register(producer, streaming),
            producer.pauseProducing(),
        )
        connection.request("GET", "/dicom-web/x")
        self.assertEqual(made, [0])
        connection.channel.resumeProducing()
        self.assertEqual(made, [0, 1, 2])
        self.assertEqual(connection.answers()[0].body, b"012")


class RangeTests(SynchronousTestCase):
    def test_ranges(self) -> None:
        """RFC 9110 14.1.2."""
        for header, expected in (
            (b"bytes=0-9", (0, 10)),
            (b"bytes=90-", (90, 10)),
            (b"bytes=-10", (90, 10)),
            (b"bytes=95-200", (95, 5)),
            (b"bytes=-200", (0, 100)),
            (b"bytes=0-0", (0, 1)),
            (None, None),
            (b"bytes=5-4", None),
            (b"bytes=0-1,3-4", None),
            (b"lines=0-1", None),
            (b"bytes=a-b", None),
            (b"bytes=-", None),
        ):
            self.assertEqual(byte_range(header, 100), expected, header)
        for header in (b"bytes=100-", b"bytes=-0"):
            self.assertRaises(RangeOutside, byte_range, header, 100)

    def test_cut(self) -> None:
        """Every window over the pieces."""
        pieces: list[Piece] = [b"abc", FileRange("f", 5, 4), b"hij"]
        text = "abcdefghij"
        for start in range(len(text) + 1):
            for length in range(len(text) - start + 1):
                found = "".join(self.read(piece) for piece in cut(pieces, start, length))
                self.assertEqual(found, text[start : start + length])

    def read(self, piece: Piece) -> str:
        return "defg"[piece.offset - 5 :][: piece.length] if isinstance(piece, FileRange) else piece.decode()


class ConditionTests(SynchronousTestCase):
    def request(self, name: bytes, value: bytes) -> Any:
        class Request:
            def header(self, wanted: bytes) -> bytes | None:
                return value if wanted == name else None

        return Request()

    def test_if_none_match(self) -> None:
        """Weak comparison, lists and the asterisk."""
        for header, same in ((b'"a"', True), (b'W/"a"', True), (b'"b", "a"', True), (b"*", True), (b'"b"', False)):
            self.assertEqual(transfer.not_modified(self.request(b"If-None-Match", header), '"a"'), same)

    def test_gzip(self) -> None:
        """gzip is taken when named and not refused."""
        for header, takes in ((b"gzip", True), (b"br, gzip;q=0.5", True), (b"gzip;q=0", False), (b"br", False), (b"", False)):
            self.assertEqual(transfer.takes_gzip(self.request(b"Accept-Encoding", header)), takes)


class DeferredTests(SynchronousTestCase):
    def test_body_of_a_request_without_one(self) -> None:
        """No body is an empty body."""

        class Request:
            receiver = None

        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(transfer.body(Request()))), b"")
