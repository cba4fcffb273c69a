"""A peer for tests: the requestor's side of the protocol over a transport in memory."""

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from dicomd.config import DimseConfig
from dicomd.dimse.listener import Listener
from dicomd.dimse.service import Service, Services
from dicomd.wire import pdu
from dicomd.wire.indications import AssociateAccepted, Order, Output, Send
from dicomd.wire.messages import Command, CommandReceived, DataSetChunk, MessageWriter
from dicomd.wire.pdu import AssociateRequest, ProposedContext, UserInformation
from dicomd.wire.upper_layer import UpperLayer

VERIFICATION = "1.2.840.10008.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
IMPLICIT = "1.2.840.10008.1.2"


class Transport(StringTransport):
    """In memory; says how it was closed."""

    bufferSize = 65536
    aborted = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.no_delay = enabled

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()


def proposal(*abstract_syntaxes: str, syntax: str = IMPLICIT, called: str = "DICOMD", **user: Any) -> AssociateRequest:
    contexts = tuple(ProposedContext(2 * i + 1, uid, (syntax,)) for i, uid in enumerate(abstract_syntaxes))
    return AssociateRequest(called, "PEER", contexts, UserInformation(16384, **user))


class Peer:
    """One connection to a listener."""

    def __init__(self, listener: Listener) -> None:
        self.transport = Transport()
        self.protocol = listener.buildProtocol(IPv4Address("TCP", "192.0.2.1", 4000))
        assert self.protocol is not None
        self.protocol.makeConnection(self.transport)
        self.machine = UpperLayer(131072)
        self.writer = MessageWriter(131072)
        self.heard: list[Output] = []

    def associate(self, request: AssociateRequest) -> "Peer":
        self.machine.associate(request)
        self._perform(self.machine.transport_connected())
        return self

    def send(self, data: bytes) -> None:
        """Bytes to the server, then whatever it says."""
        self.protocol.dataReceived(data)
        self.hear()

    def hear(self) -> list[Output]:
        """What the server has said meanwhile."""
        data = self.transport.value()
        self.transport.clear()
        if data:
            self._perform(self.machine.receive_data(data))
        return self.heard

    def request(self, context_id: int, command: Command, data: bytes | None = None) -> None:
        command.has_data_set = data is not None
        self._perform(self.machine.send(self.writer.message(context_id, command, data)))

    def release(self) -> None:
        self._perform(self.machine.release())

    def lose(self, reason: Any = None) -> None:
        self.protocol.connectionLost(reason)

    @property
    def responses(self) -> list[Command]:
        return [output.command for output in self.hear() if isinstance(output, CommandReceived)]

    @property
    def data(self) -> bytes:
        return b"".join(output.data for output in self.hear() if isinstance(output, DataSetChunk))

    @property
    def accept(self) -> pdu.AssociateAccept:
        (found,) = [output.accept for output in self.heard if isinstance(output, AssociateAccepted)]
        return found

    def _perform(self, outputs: list[Output]) -> None:
        for output in outputs:
            if isinstance(output, Send):
                self.send(output.data)
            elif not isinstance(output, Order):
                self.heard.append(output)


def listening(*services: Service, **settings: Any) -> tuple[Listener, Clock]:
    """A listener with these services and settings, and its clock."""
    clock = Clock()
    return Listener(DimseConfig(**settings), Services(services), clock), clock
