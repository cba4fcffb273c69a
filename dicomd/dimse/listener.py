"""Listener: accepts transport connections, decides on association requests, keeps within limits, ends in order."""

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from ..model.identifiers import is_ae_title
from ..wire.indications import Aborted, AssociateRequested
from ..wire.messages import MessageWriter
from ..wire.negotiation import Agreement, negotiate
from ..wire.pdu import APPLICATION_CONTEXT, AssociateRequest, UserInformation
from ..wire.upper_layer import UpperLayer
from .association import Association
from .connection import Connection, Timeouts
from .service import Services

log = Logger()


class Rejected(Exception):
    """A-ASSOCIATE-RJ: result, source and reason (PS3.8 9.3.4), and what the log says."""

    def __init__(self, result: int, source: int, reason: int, why: str) -> None:
        super().__init__(why)
        self.code = (result, source, reason)


class Refusal(Enum):
    """PS3.8 Table 9-21: the combinations in use."""

    APPLICATION_CONTEXT = (1, 1, 2, "application context not supported")
    CALLING_AE_TITLE = (1, 1, 3, "calling AE title not recognised")
    CALLED_AE_TITLE = (1, 1, 7, "called AE title not recognised")
    STOPPING = (2, 3, 1, "the server is stopping")
    TOO_MANY = (2, 3, 2, "too many associations")
    IDENTITY = (1, 2, 1, "user identity refused")  # PS3.7 D.3.3.7.3

    @property
    def error(self) -> Rejected:
        """To be raised."""
        return Rejected(*self.value)


# Decides on a request from a host: the user's name ("" for nobody in particular), or raises `Rejected`.
Admission = Callable[[AssociateRequest, str], str]


def admit_everyone(request: AssociateRequest, host: str) -> str:
    """User identity is accepted unseen."""
    return ""


class Settings(Protocol):
    """The part of the configuration that the listener asks."""

    @property
    def ae_title(self) -> str: ...

    @property
    def require_called_ae_title(self) -> bool: ...

    @property
    def max_pdu(self) -> int: ...

    @property
    def max_associations(self) -> int: ...

    @property
    def artim_timeout(self) -> float: ...

    @property
    def idle_timeout(self) -> float: ...

    @property
    def response_timeout(self) -> float: ...


def timeouts_of(settings: Settings) -> Timeouts:
    """The timeouts that the configuration gives."""
    return Timeouts(settings.artim_timeout, settings.idle_timeout, settings.response_timeout)


class Accepted(Connection):
    """A connection that a peer opened."""

    def __init__(self, listener: "Listener", host: str) -> None:
        super().__init__(UpperLayer(listener.settings.max_pdu), listener.clock, timeouts_of(listener.settings))
        self.host = host
        self._listener = listener

    def connectionMade(self) -> None:
        self._listener.connections.add(self)
        super().connectionMade()

    def connectionLost(self, reason: Any = None) -> None:
        super().connectionLost(reason)
        self._listener.closed(self)

    def end(self, how: str) -> None:
        """While the server stops, nobody waits for the peer to close."""
        super().end(how)
        if self._listener.is_draining:
            self.close()

    def associate_requested(self, output: AssociateRequested) -> None:
        """Accept or reject, at once."""
        request = output.request
        try:
            agreement, user_name = self._listener.decide(request, self)
        except Rejected as rejection:
            log.info(
                "association of {peer} from {host} rejected: {why}",
                peer=request.calling_ae_title,
                host=self.host,
                why=str(rejection),
            )
            self.perform(self.upper_layer.reject(*rejection.code))
            return
        services = self._listener.services
        self.association = Association(
            link=self,
            contexts={context.id: context for context in agreement.contexts},
            services={
                context.id: service
                for context in agreement.contexts
                if (service := services.find(context.abstract_syntax, request.user)) is not None
            },
            writer=MessageWriter(request.user.maximum_length),
            peer_ae_title=request.calling_ae_title,
            own_ae_title=request.called_ae_title,
            peer_host=self.host,
            extended={item.sop_class_uid: item.information for item in agreement.accept.user.extended},
            user_name=user_name,
        )
        self.perform(self.upper_layer.accept(agreement.accept))
        log.info(
            "association of {peer} from {host} accepted: {accepted} of {proposed} contexts",
            peer=request.calling_ae_title,
            host=self.host,
            accepted=len(agreement.contexts),
            proposed=len(request.contexts),
        )

    def aborted(self, output: Aborted) -> None:
        """Before there is an association, the connection is what the log names."""
        if self.association is None:
            log.info("connection from {host} aborted: {cause}", host=self.host, cause=output.cause or "by the peer")
        super().aborted(output)


@define(eq=False, slots=False)
class Listener(Factory):
    """The factory of accepted connections."""

    settings: Settings
    services: Services
    clock: Any
    admit: Admission = admit_everyone
    connections: set[Accepted] = field(factory=set, init=False)
    noisy = False
    _draining: "Deferred[None] | None" = field(default=None, init=False)

    def buildProtocol(self, addr: IAddress) -> Accepted | None:
        """Connections far over the limit are not even heard."""
        if len(self.connections) >= 2 * self.settings.max_associations:
            return None
        return Accepted(self, getattr(addr, "host", "local"))

    @property
    def is_draining(self) -> bool:
        """Whether the server is stopping."""
        return self._draining is not None

    def decide(self, request: AssociateRequest, connection: Accepted) -> tuple[Agreement, str]:
        """The agreement with a peer and its user's name; raises `Rejected`."""
        if request.application_context != APPLICATION_CONTEXT:
            raise Refusal.APPLICATION_CONTEXT.error
        if self.is_draining:
            raise Refusal.STOPPING.error
        if not is_ae_title(request.calling_ae_title):
            raise Refusal.CALLING_AE_TITLE.error
        if self.settings.require_called_ae_title and request.called_ae_title != self.settings.ae_title:
            raise Refusal.CALLED_AE_TITLE.error
        if sum(other.association is not None for other in self.connections) >= self.settings.max_associations:
            raise Refusal.TOO_MANY.error
        user_name = self.admit(request, connection.host)
        identity = request.user.identity
        mine = UserInformation(self.settings.max_pdu, identity_response=b"" if identity and identity.response_requested else None)
        return negotiate(request, self.services.find, mine), user_name

    def closed(self, connection: Accepted) -> None:
        """A connection is gone."""
        self.connections.discard(connection)
        if self._draining is not None and not self.connections and not self._draining.called:
            self._draining.callback(None)

    def drain(self, seconds: float) -> Awaitable[None]:
        """Finish the operations in flight, then end all associations; after `seconds` end them anyway."""
        if not self.connections:
            return succeed(None)
        self._draining = Deferred()
        hard = self.clock.callLater(seconds, self._end_all)
        for connection in tuple(self.connections):
            if connection.association is None:
                connection.transport.abortConnection()
            else:
                connection.association.drain()
        return self._draining.addCallback(lambda _: hard.cancel() if hard.active() else None)

    def _end_all(self) -> None:
        for connection in tuple(self.connections):
            connection.abort("the server is stopping")
            connection.transport.loseConnection()
        self.clock.callLater(0.5, self._cut_all)

    def _cut_all(self) -> None:
        for connection in tuple(self.connections):
            connection.transport.abortConnection()
