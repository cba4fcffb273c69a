"""The frame of the HTTP door: resolution, refusals, connections."""

from collections.abc import AsyncIterator
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.status import Busy, Gone, InvalidRequest, NoSuchInstance, NotAcceptable, ServiceError, Status, TooLarge
from dicomd.web import transfer
from dicomd.web.channel import LARGEST_DISCARD
from dicomd.web.responses import Response
from dicomd.web.routes import Route

from .harness import Answer, Connection, ask, encode, make_door

UID = "1.2.840.10008.1"


class Handlers:
    """A few resources that tell what they were given."""

    def __init__(self) -> None:
        self.waiting: Deferred[None] = Deferred()
        self.outcome = ""
        self.error: Exception = RuntimeError("secret of the patient")

    async def echo(self, request: Any, **arguments: str) -> Response:
        body = await transfer.body(request)
        told = "|".join(f"{name}={value}" for name, value in arguments.items())
        return Response(200, f"{told}?{request.pairs}".encode() + body, "text/plain")

    async def wait(self, request: Any, **_: str) -> Response:
        try:
            await self.waiting
            self.outcome = "done"
        except CancelledError:
            self.outcome = "cancelled"
            raise
        return Response(200, b"waited")

    async def fail(self, request: Any) -> Response:
        raise self.error

    async def stream(self, request: Any) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"one"
            yield b"two"

        return Response(200, transfer.Streamed(chunks()))

    def rows(self) -> list[Route]:
        return [
            Route("/studies", ("GET", "POST"), self.echo, "a"),
            Route("/studies/{study}", ("GET",), self.echo, "b"),
            Route("/studies/{study}/bulkdata/{path...}", ("GET",), self.echo, "c"),
            Route("/studies/{study}/metadata", ("GET",), self.echo, "d"),
            Route("/things/{thing}", ("GET", "PUT"), self.wait, "e"),
            Route("/fail", ("GET",), self.fail, "f"),
            Route("/stream", ("GET",), self.stream, "g"),
            Route("/", ("GET",), self.echo, "h"),
            Route("/top", ("GET",), self.echo, "i", rooted=False),
            Route("/small", ("POST",), self.echo, "j", largest_body=10),
        ]


class DoorTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.handlers, self.clock = Handlers(), Clock()
        self.door = make_door(self.handlers.rows(), self.clock)

    def ask(self, *arguments: Any) -> Answer:
        return ask(self.door, *arguments)


class ResolutionTests(DoorTestCase):
    def test_roots(self) -> None:
        """Every root carries the same tree; what is not rooted stands at the top only."""
        for root in ("/dicom-web", "/stow", "/qido", "/wado"):
            self.assertEqual(self.ask("GET", f"{root}/studies").status, 200)
        self.assertEqual(self.ask("GET", "/studies").status, 404)
        self.assertEqual(self.ask("GET", "/top").status, 200)
        self.assertEqual(self.ask("GET", "/qido/top").status, 404)

    def test_forms_of_the_target(self) -> None:
        """A whole URL names the same resource as its path, `*` the root (RFC 9112 3.2)."""
        self.assertIn(b"[('a', 'b')]", self.ask("GET", "http://dicom.test:80/dicom-web/studies?a=b").body)
        self.assertEqual(self.ask("OPTIONS", "*").status, 204)
        for target in ("dicom-web/studies", "http:", "http://x"):
            self.assertEqual(self.ask("GET", target).status, 404, target)

    def test_trailing_slash(self) -> None:
        """A trailing slash names the same resource; the root itself included."""
        for path in ("/dicom-web/studies/", "/dicom-web", "/dicom-web/", f"/dicom-web/studies/{UID}/metadata/"):
            self.assertEqual(self.ask("GET", path).status, 200, path)

    def test_arguments(self) -> None:
        """Path arguments are decoded; the rest of a path keeps its slashes."""
        self.assertIn(f"study={UID}?", self.ask("GET", f"/dicom-web/%73tudies/{UID.replace('.', '%2E')}").body.decode())
        answer = self.ask("GET", f"/dicom-web/studies/{UID}/bulkdata/00540016/0/00189999")
        self.assertIn("path=00540016/0/00189999", answer.body.decode())

    def test_invalid_uid(self) -> None:
        """A path argument that must be a UID and is none is refused by name."""
        answer = self.ask("GET", "/dicom-web/studies/..%2F..%2Fetc")
        self.assertEqual((answer.status, answer.json["detail"]), (400, "study in the path: expected a UID"))

    def test_unknown(self) -> None:
        """404 is a problem body, whatever the path."""
        for path in ("/", "/nothing", "/dicom-web/nothing", "/dicom-web//studies", "/dicom-webber/studies"):
            answer = self.ask("GET", path)
            self.assertEqual((answer.status, answer.headers["content-type"]), (404, "application/problem+json"), path)

    def test_method_not_allowed(self) -> None:
        """405 tells what would be allowed."""
        answer = self.ask("DELETE", "/dicom-web/studies")
        self.assertEqual((answer.status, answer.headers["allow"]), (405, "GET, POST, HEAD, OPTIONS"))

    def test_options(self) -> None:
        """OPTIONS tells the methods of every resource, unknown ones excepted."""
        self.assertEqual(self.ask("OPTIONS", "/dicom-web/things/x").headers["allow"], "GET, PUT, HEAD, OPTIONS")
        self.assertEqual(self.ask("OPTIONS", "/dicom-web/nothing").status, 404)

    def test_head(self) -> None:
        """HEAD has the header of GET and no body, and the connection goes on."""
        connection = Connection(self.door)
        connection.request("HEAD", "/dicom-web/studies")
        connection.request("HEAD", "/dicom-web/stream")
        first, second = connection.answers(head=True)
        self.assertEqual((first.status, first.headers["content-length"]), (200, "3"))
        self.assertEqual(second.status, 200)

    def test_query(self) -> None:
        """`;` does not separate, `+` is no space, a bare name is legal (PS3.18 8.3)."""
        answer = self.ask("GET", "/dicom-web/studies?a=b;c+d&update&e=%C3%A4%26")
        self.assertIn("[('a', 'b;c+d'), ('update', ''), ('e', 'ä&')]", answer.body.decode())
        self.assertEqual(self.ask("GET", "/dicom-web/%ff").status, 400)

    def test_klein_knows_the_rows(self) -> None:
        """The Klein application resolves every row by itself."""
        adapter = self.door.app.url_map.bind("dicom.test")
        endpoint, arguments = adapter.match(f"/dicom-web/studies/{UID}/bulkdata/a/b")
        self.assertEqual((endpoint, arguments), ("2", {"study": UID, "path": "a/b"}))

    def test_two_rows_for_one_resource(self) -> None:
        """A table that contradicts itself is refused at start."""
        self.assertRaises(ValueError, make_door, [*self.handlers.rows(), Route("/fail", ("GET",), self.handlers.fail, "")])


class RefusalTests(DoorTestCase):
    def refused(self, error: Exception) -> Answer:
        self.handlers.error = error
        return self.ask("GET", "/dicom-web/fail")

    def test_service_errors(self) -> None:
        """The core's refusals by class, then by status."""
        for error, status in (
            (NoSuchInstance("gone"), 404),
            (Gone("gone"), 410),
            (Busy("full"), 503),
            (TooLarge("big"), 413),
            (InvalidRequest("bad"), 400),
            (NotAcceptable("no"), 406),
            (ServiceError("twice", Status.DUPLICATE_SOP_INSTANCE), 409),
            (ServiceError("who", Status.UPS_RECEIVING_AE_UNKNOWN), 404),
            (ServiceError("lock", Status.UPS_TRANSACTION_UID_MISSING_OR_WRONG), 400),
        ):
            answer = self.refused(error)
            self.assertEqual((answer.status, answer.json["detail"]), (status, str(error)))
        self.assertEqual(self.refused(Busy("full")).headers["retry-after"], "2")

    def test_defect(self) -> None:
        """A defect of ours is logged with the request's id and told without any detail."""
        answer = self.refused(RuntimeError("secret of the patient"))
        self.assertEqual(answer.status, 500)
        self.assertNotIn(b"secret", answer.body)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(answer.json["requestId"], answer.headers["x-request-id"])

    def test_request_id(self) -> None:
        """A client's own request id is kept when it is harmless."""
        self.assertEqual(self.ask("GET", "/health", None, [("X-Request-ID", "a-1")]).headers["x-request-id"], "a-1")
        self.assertNotEqual(self.ask("GET", "/health", None, [("X-Request-ID", "a b")]).headers["x-request-id"], "a b")

    def test_not_http(self) -> None:
        """What is not HTTP gets a problem body as well, and the connection ends."""
        for data in (b"hello\r\n\r\n", b"GET / HTTP/1.1\r\nHost dicom\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"):
            connection = Connection(self.door)
            connection.send(data)
            answer = connection.answers()[0]
            self.assertEqual((answer.status, answer.headers["content-type"]), (400, "application/problem+json"))
            self.assertTrue(connection.transport.disconnecting or not connection.transport.connected)

    def test_long_lines(self) -> None:
        """A request line or header beyond the limit is refused: 414, 431."""
        connection = Connection(self.door)
        connection.send(b"GET /" + b"a" * 70000)
        self.assertEqual(connection.answers()[0].status, 414)
        for header in (b"X: " + b"a" * 70000, b"".join(b"X: %d\r\n" % i for i in range(200))):
            connection = Connection(self.door)
            connection.send(b"GET / HTTP/1.1\r\n" + header + b"\r\n\r\n")
            self.assertEqual(connection.answers()[0].status, 431)


class BodyTests(DoorTestCase):
    def test_collected(self) -> None:
        """A body arrives whole, with a length or chunked."""
        self.assertTrue(self.ask("POST", "/dicom-web/studies", b"content").body.endswith(b"content"))
        connection = Connection(self.door)
        head = encode("POST", "/dicom-web/studies", None, [("Transfer-Encoding", "chunked")])
        for byte in head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n":
            connection.send(bytes([byte]))
        self.assertTrue(connection.answers()[0].body.endswith(b"abcde"))

    def test_too_large(self) -> None:
        """413 without reading more; a small rest is read so that the connection lives on."""
        connection = Connection(self.door)
        connection.request("POST", "/dicom-web/small", b"x" * 11)
        connection.request("POST", "/dicom-web/small", b"x" * 10)
        self.assertEqual([answer.status for answer in connection.answers()], [413, 200])

    def test_too_large_is_told_early(self) -> None:
        """A large refused body is not waited for."""
        connection = Connection(self.door)
        connection.send(encode("POST", "/dicom-web/small", None, [("Content-Length", str(LARGEST_DISCARD + 1))]))
        self.assertEqual(connection.answers()[0].status, 413)
        connection.send(b"x" * 100)
        self.assertEqual(len(connection.answers()), 1)

    def test_endless_chunks(self) -> None:
        """A chunked body that does not end is cut off."""
        connection = Connection(self.door)
        connection.send(encode("POST", "/dicom-web/small", None, [("Transfer-Encoding", "chunked")]))
        for _ in range(40):
            connection.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        self.assertEqual([answer.status for answer in connection.answers()], [413])

    def test_expect(self) -> None:
        """100 Continue for a body that is wanted, the final answer at once for one that is not."""
        wanted, unwanted = Connection(self.door), Connection(self.door)
        expect = [("Expect", "100-continue"), ("Content-Length", "5")]
        wanted.send(encode("POST", "/dicom-web/small", None, expect))
        unwanted.send(encode("POST", "/dicom-web/nothing", None, expect))
        self.assertEqual(wanted.raw(), b"HTTP/1.1 100 Continue\r\n\r\n")
        wanted.send(b"12345")
        self.assertEqual(wanted.answers()[0].status, 200)
        self.assertEqual(unwanted.answers()[0].status, 404)

    def test_encoded_body(self) -> None:
        """Content-Encoding of a request is refused: 415."""
        self.assertEqual(self.ask("POST", "/dicom-web/studies", b"x", [("Content-Encoding", "gzip")]).status, 415)


class ConnectionTests(DoorTestCase):
    def test_pipelined(self) -> None:
        """Pipelined requests are answered in order, one at a time."""
        connection = Connection(self.door)
        connection.send(encode("GET", "/dicom-web/things/x") + encode("GET", "/dicom-web/studies"))
        self.assertEqual(connection.answers(), [])
        self.handlers.waiting.callback(None)
        self.assertEqual([answer.body[:6] for answer in connection.answers()], [b"waited", b"?[]"])

    def test_leaving_cancels_reads(self) -> None:
        """A read whose client leaves is cancelled; a write goes on."""
        for method, outcome in (("GET", "cancelled"), ("PUT", "done")):
            self.handlers.waiting, self.handlers.outcome = Deferred(), ""
            connection = Connection(self.door)
            connection.request(method, "/dicom-web/things/x")
            connection.lose()
            if method == "PUT":
                self.handlers.waiting.callback(None)
            self.assertEqual(self.handlers.outcome, outcome)

    def test_slow_header(self) -> None:
        """A header that trickles does not hold a connection."""
        connection = Connection(self.door)
        for _ in range(7):
            connection.send(b"G")
            self.clock.advance(10)
        self.assertFalse(connection.transport.connected)

    def test_slow_body(self) -> None:
        """A body that trickles does not hold a connection; one that makes progress does."""
        for step, alive in ((100, False), (20000, True)):
            connection = Connection(self.door)
            connection.send(encode("POST", "/dicom-web/studies", None, [("Content-Length", "1000000")]))
            for _ in range(12):
                connection.send(b"x" * step)
                self.clock.advance(10)
            self.assertEqual(connection.transport.connected, alive)

    def test_drain(self) -> None:
        """At the end idle connections close at once, the others after their answer."""
        idle, busy = Connection(self.door), Connection(self.door)
        busy.request("PUT", "/dicom-web/things/x")
        done = Deferred.fromCoroutine(self.door.drain(3))
        self.assertFalse(idle.transport.connected)
        self.assertTrue(busy.transport.connected)
        self.handlers.waiting.callback(None)
        self.assertEqual(busy.answers()[0].status, 200)
        self.assertIsNone(self.successResultOf(done))

    def test_too_many(self) -> None:
        """A connection beyond the limit is told so; when another ends there is room again."""
        door = make_door(self.handlers.rows(), self.clock, max_connections=1)
        first, second = Connection(door), Connection(door)
        answer = second.answers()[0]
        self.assertEqual((answer.status, answer.headers["retry-after"]), (503, "2"))
        first.lose()
        self.assertEqual(ask(door, "GET", "/dicom-web/studies").status, 200)

    def test_connection_close(self) -> None:
        """`Connection: close` is kept and repeated."""
        connection = Connection(self.door)
        connection.request("GET", "/dicom-web/studies", None, [("Connection", "close")])
        self.assertEqual(connection.answers()[0].headers["connection"], "close")
        self.assertFalse(connection.transport.connected)


class CorsTests(DoorTestCase):
    def test_preflight(self) -> None:
        """A preflight from an allowed origin is told methods and headers; from another nothing."""
        asked = [("Access-Control-Request-Method", "GET"), ("Access-Control-Request-Headers", "authorization,range")]
        answer = self.ask("OPTIONS", "/dicom-web/studies", None, [("Origin", "http://localhost:3000"), *asked])
        self.assertEqual(answer.headers["access-control-allow-origin"], "http://localhost:3000")
        self.assertEqual(answer.headers["access-control-allow-headers"], "authorization,range")
        self.assertIn("POST", answer.headers["access-control-allow-methods"])
        answer = self.ask("OPTIONS", "/dicom-web/studies", None, [("Origin", "http://evil.test"), *asked])
        self.assertNotIn("access-control-allow-origin", answer.headers)

    def test_errors_carry_it(self) -> None:
        """A page must be able to read why it was refused."""
        answer = self.ask("GET", "/dicom-web/nothing", None, [("Origin", "http://127.0.0.1:8042")])
        self.assertEqual(answer.headers["access-control-allow-origin"], "http://127.0.0.1:8042")
