"""A door without ports: bytes in, parsed responses out."""

import json
from collections.abc import Callable, Iterable
from typing import Any

from attrs import define, evolve, field
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.python.failure import Failure

from dicomd.config import HttpConfig
from dicomd.web.app import Door
from dicomd.web.capabilities import Capabilities
from dicomd.web.channel import DoorChannel
from dicomd.web.routes import Route


def at_once(function: Callable[..., Any], *arguments: Any) -> "Deferred[Any]":
    """Workers' `disk` that runs the job in the caller."""
    return maybeDeferred(function, *arguments)


@define
class Answer:
    """One response as it went over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@define
class Stepped:
    """Workers' `disk` whose jobs run when the test says so."""

    jobs: list[Callable[[], None]] = field(factory=list)

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> "Deferred[Any]":
        done: Deferred[Any] = Deferred()
        self.jobs.append(lambda: maybeDeferred(function, *arguments).chainDeferred(done))
        return done

    def step(self) -> None:
        self.jobs.pop(0)()


class Connection:
    """One client's connection to a door."""

    def __init__(self, door: Door) -> None:
        self.transport = StringTransportWithDisconnection(hostAddress=IPv4Address("TCP", "192.0.2.1", 80))
        channel = door.site.buildProtocol(None)
        assert isinstance(channel, DoorChannel)
        self.channel = channel
        self.transport.protocol = channel
        channel.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        if self.transport.connected:
            self.channel.dataReceived(data)

    def lose(self) -> None:
        self.channel.connectionLost(Failure(ConnectionDone()))

    def raw(self) -> bytes:
        return self.transport.value()

    def answers(self, *, head: bool = False) -> list[Answer]:
        """All complete responses so far."""
        data, found = self.transport.value(), []
        while data:
            answer, data = _parse(data, head)
            if answer.status != 100:
                found.append(answer)
        return found

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        self.send(encode(method, path, body, headers))


def encode(method: str, path: str, body: bytes | None = None, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: dicom.test", *(f"{name}: {value}" for name, value in headers)]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


def _parse(data: bytes, head: bool) -> tuple[Answer, bytes]:
    top, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = top.decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        headers[name.lower()] = f"{headers[name.lower()]}, {value}" if name.lower() in headers else value
    status = int(first.split()[1])
    if headers.get("transfer-encoding") == "chunked" and not head:
        body = b""
        while True:
            size, _, rest = rest.partition(b"\r\n")
            length = int(size, 16)
            body, rest = body + rest[:length], rest[length + 2 :]
            if not length:
                return Answer(status, headers, body), rest
    length = 0 if head else int(headers.get("content-length", "0"))
    return Answer(status, headers, rest[:length]), rest[length:]


def make_door(
    rows: Iterable[Route], clock: Clock | None = None, *, capabilities: Capabilities | None = None, **settings: Any
) -> Door:
    return Door(evolve(HttpConfig(), **settings), rows, clock or Clock(), capabilities)


def ask(
    door: Door,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Iterable[tuple[str, str]] = (),
) -> Answer:
    """One request on a connection of its own; its answer must be there at once."""
    connection = Connection(door)
    connection.request(method, path, body, headers)
    answer = connection.answers(head=method == "HEAD")[0]
    if connection.transport.connected:
        connection.lose()
    return answer
