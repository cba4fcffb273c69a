"""Heads read in one step: whatever comes whole is answered as when it comes byte by byte, which Twisted's parser reads."""

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dicomd.web import heads, transfer
from dicomd.web.channel import LARGEST_HEAD
from dicomd.web.responses import Response
from dicomd.web.routes import Route

from .harness import Connection, encode, make_door

POST = b"POST /dicom-web/echo HTTP/1.1\r\nHost: a\r\n"
BODIES = (
    encode("GET", "/dicom-web/echo?a=b%20c"),
    encode("GET", "/dicom-web/echo") * 3,
    encode("POST", "/dicom-web/echo", b"body"),
    encode("POST", "/dicom-web/echo", b"one") + encode("POST", "/dicom-web/echo", b"two") + encode("GET", "/dicom-web/none"),
    encode("POST", "/dicom-web/echo", b"body", [("X-Twice", "1"), ("x-twice", " 2\t"), ("Empty", "")]),
    encode("POST", "/dicom-web/echo", b"body", [("Connection", "close"), ("Cookie", "a=b")]) + encode("GET", "/dicom-web/echo"),
    encode("POST", "/dicom-web/echo", b"body", [("Connection", "keep-alive")]) + encode("GET", "/dicom-web/echo"),
    encode("HEAD", "/dicom-web/echo"),
    encode("PATCH", "/dicom-web/echo", b"body"),
    POST + b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    POST + b"Content-Length: 0\r\n\r\n",
    POST + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nbody",
    POST + b"Content-Length: 4, 4\r\n\r\nbody",
    POST + b"Content-Length: +4\r\n\r\nbody",
    POST + b"Content-Length: -4\r\n\r\nbody",
    POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nbody",
    POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\nbody",
    POST + b"Folded: a\r\n b\r\nContent-Length: 4\r\n\r\nbody",
    POST + b"Bad Name: a\r\n\r\n",
    POST + b"No-Colon\r\n\r\n",
    POST + b"Nul: a\0b\r\n\r\n",
    POST + b"Bare: a\rb\r\n\r\n",
    b"\r\n" + encode("GET", "/dicom-web/echo"),
    b"GET /dicom-web/echo HTTP/1.0\r\nHost: a\r\n\r\n",
    b"GET /dicom-web/echo HTTP/2.0\r\nHost: a\r\n\r\n",
    b"GET /dicom-web/echo\r\n\r\n",
    b"GET  /dicom-web/echo HTTP/1.1\r\n\r\n",
    b"GET /dicom-web/\xc3\xa4 HTTP/1.1\r\n\r\n",
    b"nonsense\r\n\r\n",
)


async def echo(request: Any) -> Response:
    """What the handler sees of a request."""
    body = await transfer.body(request)
    fields = sorted((name, tuple(values)) for name, values in request.requestHeaders.getAllRawHeaders())
    return Response(200, repr((request.method, request.uri, fields, body)).encode(), "text/plain")


class ParityTests(SynchronousTestCase):
    def answers(self, *pieces: bytes) -> tuple[list[tuple[int, bytes]], bool]:
        door = make_door([Route("/echo", ("GET", "POST"), echo, "echo")], Clock())
        connection = Connection(door)
        for piece in pieces:
            connection.send(piece)
        told = [(one.status, one.body if one.status == 200 else b"") for one in connection.answers(head=pieces[0][:1] == b"H")]
        return told, connection.transport.connected and not connection.transport.disconnecting

    def test_whole_or_in_pieces(self) -> None:
        """The same answers, and the connection ends or not, however the bytes arrive."""
        for data in BODIES:
            whole = self.answers(data)
            self.assertNotEqual(whole[0], [], data)
            self.assertEqual(self.answers(*(data[at : at + 1] for at in range(len(data)))), whole, data)
            middle = data.index(b"\r\n") + 2
            self.assertEqual(self.answers(data[:middle], data[middle:]), whole, data)

    def test_in_one_step(self) -> None:
        """Plain heads are read so, and nothing else."""
        plain = [data for data in BODIES if heads.read(data, LARGEST_HEAD) is not None]
        self.assertEqual(plain, [*BODIES[:5], *BODIES[7:9], BODIES[10]])

    def test_fields_are_shared(self) -> None:
        """Of equal heads the fields are made once."""
        first, second = (heads.read(encode("GET", f"/{name}"), LARGEST_HEAD) for name in "ab")
        assert first is not None and second is not None
        self.assertEqual((first.target, second.target), (b"/a", b"/b"))
        self.assertIs(first.fields, second.fields)
