"""Large bodies over a real socket: every byte in order, also for clients that read slowly, leave, or find a damaged file."""

import os
import socket
from itertools import pairwise
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from dicomd.config import HttpConfig
from dicomd.model.content import FileRange, Piece
from dicomd.web import sendfile
from dicomd.web.app import Door
from dicomd.web.responses import Response
from dicomd.web.routes import Route
from dicomd.web.transfer import Pieces

REQUEST = b"GET /file HTTP/1.1\r\nHost: test\r\n\r\n"


class SendfileTests(TestCase):
    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.content = os.urandom(sendfile.LEAST * 3)
        self.path = folder / "file"
        self.path.write_bytes(self.content)
        self.jobs = 0
        row = Route("/file", ("GET",), self.answer, "A large body", rooted=False)
        self.door = Door(HttpConfig(), [row], reactor)
        self.port: Any = reactor.listenTCP(0, self.door.site, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(self.close)
        self.pieces: list[Piece] = self.cut(0, 1, 70_000, sendfile.LEAST, len(self.content))

    async def close(self) -> None:
        await self.port.stopListening()
        await self.door.drain(1.0)

    def cut(self, *places: int) -> list[Piece]:
        """The file in ranges, with bytes before, between and behind them."""
        pieces: list[Piece] = [b"first\r\n"]
        for start, end in pairwise(places):
            pieces += [FileRange(str(self.path), start, end - start), b"\r\n--between\r\n"]
        return pieces

    def whole(self) -> bytes:
        return b"".join(
            piece if isinstance(piece, bytes) else self.content[piece.offset : piece.offset + piece.length]
            for piece in self.pieces
        )

    def disk(self, function: Any, *arguments: Any) -> "Deferred[Any]":
        self.jobs += 1
        return deferToThread(function, *arguments)

    async def answer(self, request: Any) -> Response:
        return Response(200, Pieces(self.pieces, self.disk), "application/octet-stream")

    def connect(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port.getHost().port), timeout=20)
        client.sendall(REQUEST)
        return client

    def read(self, client: socket.socket, *, small: int = 0) -> bytes:
        """One response's body; the first `small` reads take little at a time."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += client.recv(10)
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
        received = bytearray(body)
        while len(received) < length:
            piece = client.recv(1000 if small else 1 << 20)
            if not piece:
                break
            received += piece
            small = max(0, small - 1)
        return bytes(received)

    async def test_every_byte_in_order(self) -> None:
        client = await deferToThread(self.connect)
        self.assertEqual(await deferToThread(self.read, client), self.whole())
        client.sendall(REQUEST)
        self.assertEqual(await deferToThread(self.read, client), self.whole(), "the connection serves the next request")
        client.close()

    async def test_slow_client(self) -> None:
        """The sockets' buffers fill up; more than one job was needed, and none waited for the client."""
        self.content *= 8
        self.path.write_bytes(self.content)
        self.pieces = self.cut(0, len(self.content))
        client = await deferToThread(self.connect)
        self.assertEqual(await deferToThread(self.read, client, small=200), self.whole())
        self.assertGreater(self.jobs, 1)
        client.close()

    async def test_client_leaves(self) -> None:
        """Nothing is kept open for a client that has gone."""
        self.content *= 8
        self.path.write_bytes(self.content)
        self.pieces = self.cut(0, len(self.content))
        client = await deferToThread(self.connect)
        await deferToThread(client.recv, 1000)
        client.close()
        other = await deferToThread(self.connect)
        self.assertEqual(await deferToThread(self.read, other), self.whole())
        other.close()

    async def test_file_too_short(self) -> None:
        """The connection ends before the promised length, so that the client can tell."""
        self.path.write_bytes(self.content[: sendfile.LEAST])
        client = await deferToThread(self.connect)
        try:
            received = await deferToThread(self.read, client)
        except ConnectionResetError:
            received = b""
        self.assertLess(len(received), len(self.whole()))
        client.close()
        self.flushLoggedErrors(EOFError)
