"""Clients for benchmarks that hold nothing of what they receive: HTTP, C-GET, a destination of C-MOVE, and slow ones."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from attrs import frozen
from server import DicomServer

from dicomd.wire.datasets import encode
from dicomd.wire.indications import AssociateAccepted, AssociateRequested, ReleaseRequested, Send
from dicomd.wire.messages import RESPONSE, Command, CommandField, CommandReceived, DataSetChunk, MessageWriter
from dicomd.wire.negotiation import EXPLICIT_LE, negotiate
from dicomd.wire.pdu import AssociateRequest, ProposedContext, Role, UserInformation
from dicomd.wire.upper_layer import UpperLayer

GET, MOVE, ECHO = "1.2.840.10008.5.1.4.1.2.2.3", "1.2.840.10008.5.1.4.1.2.2.2", "1.2.840.10008.1.1"
_RECEIVE = 1 << 20
_SMALL_WINDOW = 32 << 10
_MAXIMUM_LENGTH = 131072


def download(server: DicomServer, path: str, accept: str, *, seconds: float = 1e9) -> int:
    """GET a resource to its end, or for so long; how many bytes came."""
    connection = server.connect()
    connection.request("GET", f"/dicom-web{path}", headers={"Accept": accept})
    response = connection.getresponse()
    assert response.status == 200, (response.status, response.read(300))
    buffer, received, end = bytearray(_RECEIVE), 0, time.perf_counter() + seconds
    while count := response.readinto(buffer):
        received += count
        if time.perf_counter() > end:
            break
    connection.close()
    return received


class Machine:
    """One association over a socket, blocking."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.layer = UpperLayer(_MAXIMUM_LENGTH)
        self.writer = MessageWriter(_MAXIMUM_LENGTH)
        self.received = 0

    def perform(self, outputs: list[object]) -> Iterator[object]:
        """Send what is to be sent; what is left are indications."""
        for output in outputs:
            if isinstance(output, Send):
                self.socket.sendall(output.data)
            elif isinstance(output, DataSetChunk):
                self.received += len(output.data)
                if output.last:
                    yield output
            else:
                yield output

    def hear(self) -> Iterator[object]:
        """Indications, as they come, to the end of the connection."""
        while data := self.socket.recv(_RECEIVE):
            yield from self.perform(self.layer.receive_data(data))

    def send(self, context_id: int, command: Command, data_set: bytes | None = None) -> None:
        command.has_data_set = data_set is not None
        self.socket.sendall(self.writer.message(context_id, command, data_set))

    def stored(self, context_id: int, command: Command) -> None:
        """Answer a C-STORE whose data set has come."""
        answer = Command(
            CommandField.C_STORE | RESPONSE,
            message_id_being_responded_to=command.message_id,
            affected_sop_class_uid=command.affected_sop_class_uid,
            affected_sop_instance_uid=command.affected_sop_instance_uid,
            status=0,
        )
        self.send(context_id, answer)


class Requestor(Machine):
    """An association to the server: C-ECHO, C-GET, C-MOVE, C-STORE. `kinds`: pairs of storage class and transfer syntax."""

    def __init__(self, server: DicomServer, kinds: tuple[tuple[str, str], ...] = (), *, window: int = 0) -> None:
        connection = socket.socket()
        if window:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        connection.connect(("127.0.0.1", server.ports["dimse"]))
        super().__init__(connection)
        offers = [(ECHO, EXPLICIT_LE), (GET, EXPLICIT_LE), (MOVE, EXPLICIT_LE), *kinds]
        contexts = tuple(ProposedContext(2 * n + 1, uid, (syntax,)) for n, (uid, syntax) in enumerate(offers))
        roles = tuple(Role(uid, True, True) for uid in dict(kinds))
        self.layer.associate(AssociateRequest("DICOMD", "BENCH", contexts, UserInformation(_MAXIMUM_LENGTH, roles=roles)))
        list(self.perform(self.layer.transport_connected()))
        next(output for output in self.hear() if isinstance(output, AssociateAccepted))
        self._indications = self.hear()

    def echo(self) -> None:
        self.send(1, Command(CommandField.C_ECHO, message_id=1, affected_sop_class_uid=ECHO))
        next(output for output in self._indications if isinstance(output, CommandReceived))

    def begin(self, study: str, destination: str = "") -> None:
        """Ask for a study by C-GET, or by C-MOVE to a destination."""
        keys = {"00080052": {"vr": "CS", "Value": ["STUDY"]}, "0020000D": {"vr": "UI", "Value": [study]}}
        field, uid, context_id = (CommandField.C_MOVE, MOVE, 5) if destination else (CommandField.C_GET, GET, 3)
        command = Command(field, message_id=1, priority=0, affected_sop_class_uid=uid, move_destination=destination)
        self.send(context_id, command, encode(keys, EXPLICIT_LE))

    def retrieve(self, study: str, destination: str = "") -> int:
        """The same to its end; how many bytes came on this association."""
        self.begin(study, destination)
        pending: CommandReceived | None = None
        for output in self._indications:
            if isinstance(output, CommandReceived) and output.command.command_field == CommandField.C_STORE:
                pending = output
            elif isinstance(output, DataSetChunk) and pending is not None:
                self.stored(pending.context_id, pending.command)
            elif isinstance(output, CommandReceived) and output.command.status not in (None, 0xFF00, 0xFF01):
                assert output.command.status == 0, output.command
                return self.received
        raise AssertionError("the association ended")

    def store(self, sop_class_uid: str, uid: str, pieces: Iterator[bytes]) -> None:
        """C-STORE on the first storage context."""
        command = Command(
            CommandField.C_STORE, message_id=1, priority=0, affected_sop_class_uid=sop_class_uid, affected_sop_instance_uid=uid
        )
        command.has_data_set = True
        self.socket.sendall(self.writer.command(7, command))
        held = next(pieces)
        for piece in pieces:
            self.socket.sendall(self.writer.data_set(7, held, False))
            held = piece
        self.socket.sendall(self.writer.data_set(7, held, True))
        response = next(output for output in self._indications if isinstance(output, CommandReceived))
        assert response.command.status == 0, response.command


@frozen
class _Anything:
    """Takes whatever it is sent."""

    transfer_syntaxes: tuple[str, ...] | None = None
    requestor_scu: bool = True
    requestor_scp: bool = False
    extended: Callable[[bytes], bytes | None] | None = None


class Destination:
    """A storage SCP that throws away what it gets; `toml` makes it known to a server."""

    ae_title = "SINK"

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.received = 0
        self.toml = (
            f'[[remote_aes]]\nae_title = "{self.ae_title}"\nhost = "127.0.0.1"\nport = {self._listening.getsockname()[1]}\n'
        )
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            threading.Thread(target=self._serve, args=(Machine(connection),), daemon=True).start()

    def _serve(self, machine: Machine) -> None:
        list(machine.perform(machine.layer.transport_connected()))
        pending: CommandReceived | None = None
        for output in machine.hear():
            if isinstance(output, AssociateRequested):
                mine = UserInformation(_MAXIMUM_LENGTH)
                agreement = negotiate(output.request, lambda _uid, _user: _Anything(), mine)
                list(machine.perform(machine.layer.accept(agreement.accept)))
            elif isinstance(output, CommandReceived):
                pending = output
            elif isinstance(output, DataSetChunk) and pending is not None:
                machine.stored(pending.context_id, pending.command)
            elif isinstance(output, ReleaseRequested):
                list(machine.perform(machine.layer.release_response()))
        self.received += machine.received


class Crowd:
    """Clients that have asked and read so many bytes a second each, or nothing at all."""

    def __init__(self, rate: int) -> None:
        self._connections: list[socket.socket] = []
        self._rate = rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self.received = 0

    def _read(self) -> None:
        while not self._stop.wait(0.25):
            for connection in self._connections:
                with suppress(BlockingIOError, ConnectionError):
                    self.received += len(connection.recv(self._rate // 4))

    def of(self, ask: Callable[[], socket.socket], count: int) -> "Crowd":
        """So many that have asked."""
        self._connections = [ask() for _ in range(count)]
        return self

    def __enter__(self) -> "Crowd":
        for connection in self._connections:
            connection.setblocking(False)
        if self._rate:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._rate:
            self._thread.join()
        for connection in self._connections:
            connection.close()


def asking(server: DicomServer, path: str, accept: str) -> socket.socket:
    """A connection that has asked for a resource and reads through a small window."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_WINDOW)
    connection.connect(("127.0.0.1", server.ports["http"]))
    connection.sendall(f"GET /dicom-web{path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n".encode())
    return connection


def getting(server: DicomServer, study: str, kinds: tuple[tuple[str, str], ...]) -> socket.socket:
    """The same by C-GET."""
    requestor = Requestor(server, kinds, window=_SMALL_WINDOW)
    requestor.begin(study)
    return requestor.socket
