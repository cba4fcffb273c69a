"""Associations that this server opens: the connector, and what the core sends to other application entities.

The same protocol machine and the same `Association` as on the listener's side; only the roles differ (PS3.8 7.1.1).
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from ..model.attributes import Attributes
from ..model.identifiers import Peer
from ..model.status import ServiceError, Status
from ..wire.indications import AssociateAccepted, AssociateRejected
from ..wire.messages import Command, CommandField, MessageWriter
from ..wire.negotiation import NATIVE, Context, agreed
from ..wire.pdu import AssociateRequest, ProposedContext, Role, UserInformation
from ..wire.transitions import State
from ..wire.upper_layer import UpperLayer
from .association import Association, AssociationEnded
from .connection import Connection, Timeouts
from .normalized import invoke, report
from .service import Service

log = Logger()

# PS3.4 CC.3.1: events of unified procedure steps are negotiated as UPS Event, and name UPS Push.
_UPS_PUSH, _UPS_EVENT = "1.2.840.10008.5.1.4.34.6.1", "1.2.840.10008.5.1.4.34.6.4"
_EVENT_CONTEXTS = {_UPS_PUSH: _UPS_EVENT}
_NOTHING = Service((), {})

_SOURCES = {1: "service user", 2: "provider (ACSE)", 3: "provider (presentation)"}


class PeerUnavailable(ServiceError):
    """No association with a peer: it cannot be reached, refuses, or does not support what is asked for."""


class Requested(Connection):
    """A connection that we opened, for one association."""

    def __init__(self, request: AssociateRequest, peer: Peer, clock: Any, timeouts: Timeouts) -> None:
        super().__init__(UpperLayer(request.user.maximum_length), clock, timeouts)
        self.established: Deferred[Association] = Deferred()
        self._request = request
        self._peer = peer
        self._patience: Any = None

    def connectionMade(self) -> None:
        self._patience = self._clock.callLater(self._timeouts.artim, self.abort, "no answer to the association request")
        self.perform(self.upper_layer.associate(self._request))
        super().connectionMade()

    def associate_accepted(self, output: AssociateAccepted) -> None:
        """The association is there; its services are none, for this side only asks."""
        accept = output.accept
        contexts = {context.id: context for context in agreed(self._request, accept)}
        self._patience.cancel()
        self.association = Association(
            link=self,
            contexts=contexts,
            services=dict.fromkeys(contexts, _NOTHING),
            writer=MessageWriter(accept.user.maximum_length),
            peer_ae_title=self._peer.ae_title,
            own_ae_title=self._request.calling_ae_title,
            peer_host=self._peer.host,
            is_requestor=True,
            extended={item.sop_class_uid: item.information for item in accept.user.extended},
        )
        self.established.callback(self.association)

    def associate_rejected(self, output: AssociateRejected) -> None:
        """Tell who waits."""
        source = _SOURCES.get(output.source, "nobody")
        self._fail(f"rejected the association: {source}, reason {output.reason}")

    def end(self, how: str) -> None:
        """Before the association is there, its end is a failure."""
        self._fail(how)
        super().end(how)

    def _fail(self, why: str) -> None:
        if self._patience is not None and self._patience.active():
            self._patience.cancel()
        if not self.established.called:
            self.established.errback(PeerUnavailable(f"{self._peer.ae_title}: {why}"))

    def release(self) -> "Deferred[None]":
        """Ended as soon as the peer has agreed; one that does not agree is aborted after a while."""
        released = super().release()
        if self.upper_layer.state is State.STA7:
            timer = self._clock.callLater(self._timeouts.artim, self.abort, "no answer to the release")
            self.released.insert(0, Deferred().addCallback(lambda _: timer.cancel() if timer.active() else None))
        return released


class _Factory(Factory):
    """Builds the one protocol there is."""

    noisy = False

    def __init__(self, protocol: Requested) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: object) -> Requested:
        return self._protocol


@define(eq=False)
class Connector:
    """Opens associations to peers, at most `limit` at a time; more wait for their turn.

    `endpoint` gives the way to a peer (plain TCP here; TLS is another function).
    """

    ae_title: str
    reactor: Any
    timeouts: Timeouts = field(factory=Timeouts)
    maximum_length: int = 131072
    limit: int = 16
    endpoint: Callable[[Peer], IStreamClientEndpoint] | None = None
    _turns: DeferredSemaphore = field(init=False)
    _open: set[Association] = field(factory=set, init=False)

    def __attrs_post_init__(self) -> None:
        self._turns = DeferredSemaphore(self.limit)

    async def connect(
        self, peer: Peer, contexts: Iterable[tuple[str, tuple[str, ...]]], roles: Iterable[Role] = ()
    ) -> Association:
        """An association with `peer` for these abstract syntaxes and their transfer syntaxes; raises `PeerUnavailable`.

        Who gets it ends it, by `release` or `abort`.
        """
        proposed = tuple(ProposedContext(2 * i + 1, uid, syntaxes) for i, (uid, syntaxes) in enumerate(contexts))
        user = UserInformation(self.maximum_length, roles=tuple(roles))
        protocol = Requested(AssociateRequest(peer.ae_title, self.ae_title, proposed, user), peer, self.reactor, self.timeouts)
        association = None
        await self._turns.acquire()
        try:
            await self._way_to(peer).connect(_Factory(protocol))
            association = await protocol.established
        except (ConnectError, DNSLookupError) as error:
            raise PeerUnavailable(f"{peer.ae_title} cannot be reached: {type(error).__name__}") from None
        finally:
            if association is None:
                self._turns.release()
        self._open.add(association)
        association.when_ended(lambda: self._closed(association))
        return association

    def _closed(self, association: Association) -> None:
        self._open.discard(association)
        self._turns.release()

    def abort_all(self) -> None:
        """The server is stopping."""
        for association in tuple(self._open):
            association.abort("the server is stopping")

    def _way_to(self, peer: Peer) -> IStreamClientEndpoint:
        if self.endpoint is not None:
            return self.endpoint(peer)
        return HostnameEndpoint(
            self.reactor, peer.host.encode().decode("ascii", "replace"), peer.port, timeout=self.timeouts.artim
        )


@define(eq=False)
class DimseSender:
    """`services.hub.Messenger` over associations, one for each call; several event reports can go over one."""

    connector: Connector

    async def echo(self, peer: Peer) -> Status:
        """C-ECHO (PS3.4 A)."""
        return await self._once(
            peer, "1.2.840.10008.1.1", Command(CommandField.C_ECHO, affected_sop_class_uid="1.2.840.10008.1.1"), None
        )

    async def event_report(
        self, peer: Peer, sop_class_uid: str, sop_instance_uid: str, event_type_id: int, information: Attributes
    ) -> Status:
        """N-EVENT-REPORT on an association of its own."""
        async with self.reporting(peer, sop_class_uid) as send:
            return await send(sop_instance_uid, event_type_id, information)

    @asynccontextmanager
    async def reporting(
        self, peer: Peer, sop_class_uid: str
    ) -> AsyncIterator[Callable[[str, int, Attributes], Awaitable[Status]]]:
        """An association for N-EVENT-REPORTs, with the SCP role proposed for this side (PS3.7 D.3.3.4)."""
        abstract_syntax = _EVENT_CONTEXTS.get(sop_class_uid, sop_class_uid)
        association = await self.connector.connect(peer, [(abstract_syntax, NATIVE)], [Role(abstract_syntax, False, True)])

        async def send(sop_instance_uid: str, event_type_id: int, information: Attributes) -> Status:
            try:
                status, _ = await report(association, context, sop_class_uid, sop_instance_uid, event_type_id, information)
            except AssociationEnded:
                raise PeerUnavailable(f"{peer.ae_title}: the association ended before the answer") from None
            return known_status(status)

        try:
            context = _context(association, abstract_syntax, peer)
            yield send
        finally:
            association.release()

    async def n_create(self, peer: Peer, sop_class_uid: str, sop_instance_uid: str, attributes: Attributes) -> Status:
        """N-CREATE (PS3.7 10.1.5)."""
        command = Command(CommandField.N_CREATE, affected_sop_class_uid=sop_class_uid, affected_sop_instance_uid=sop_instance_uid)
        return await self._once(peer, sop_class_uid, command, attributes)

    async def n_set(self, peer: Peer, sop_class_uid: str, sop_instance_uid: str, attributes: Attributes) -> Status:
        """N-SET (PS3.7 10.1.3)."""
        command = Command(CommandField.N_SET, requested_sop_class_uid=sop_class_uid, requested_sop_instance_uid=sop_instance_uid)
        return await self._once(peer, sop_class_uid, command, attributes)

    async def _once(self, peer: Peer, sop_class_uid: str, command: Command, attributes: Attributes | None) -> Status:
        association = await self.connector.connect(peer, [(sop_class_uid, NATIVE)])
        try:
            status, _ = await invoke(association, _context(association, sop_class_uid, peer), command, attributes)
        except AssociationEnded:
            raise PeerUnavailable(f"{peer.ae_title}: the association ended before the answer") from None
        finally:
            association.release()
        return known_status(status)


def _context(association: Association, abstract_syntax: str, peer: Peer) -> Context:
    """An accepted context; a peer that does not answer the proposed role is given the benefit of the doubt."""
    for context in association.contexts.values():
        if context.abstract_syntax == abstract_syntax:
            return context
    raise PeerUnavailable(f"{peer.ae_title} does not support {abstract_syntax}")


def known_status(code: int) -> Status:
    """A status of the peer; what the standard does not name is taken for the warning or the failure that it is."""
    try:
        return Status(code)
    except ValueError:
        return Status.COERCED if code >> 12 == 0xB else Status.PROCESSING_FAILURE
