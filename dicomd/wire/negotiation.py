"""Association negotiation (PS3.8 7.1.1, PS3.7 Annex D.3.3): what is answered to a request, and what an answer means.

Choice of a transfer syntax where a context offers several that are supported: the requestor's first, except that

- Explicit VR Little Endian is preferred to the other native syntaxes (implicit loses the VR of private elements, big endian is
  retired), when one of those stands first;
- where the requestor will only receive (SCP role of a C-GET), a native syntax is preferred, because every stored
  instance that can be decoded at all can be sent in it.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

from attrs import frozen

from ..model.identifiers import is_uid
from .pdu import (
    ABSTRACT_SYNTAX_NOT_SUPPORTED,
    ACCEPTANCE,
    TRANSFER_SYNTAXES_NOT_SUPPORTED,
    USER_REJECTION,
    AssociateAccept,
    AssociateRequest,
    ContextResult,
    ExtendedNegotiation,
    ProposedContext,
    Role,
    UserInformation,
)

IMPLICIT_LE = "1.2.840.10008.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
DEFLATED_LE = "1.2.840.10008.1.2.1.99"
EXPLICIT_BE = "1.2.840.10008.1.2.2"
# For identifiers and the data sets of N-services
NATIVE = (EXPLICIT_LE, IMPLICIT_LE, DEFLATED_LE, EXPLICIT_BE)
_GIVE_WAY = frozenset({IMPLICIT_LE, EXPLICIT_BE})


class Capability(Protocol):
    """What this side can do for an abstract syntax."""

    @property
    def transfer_syntaxes(self) -> tuple[str, ...] | None:
        """Those supported; `None`: any."""

    @property
    def requestor_scu(self) -> bool:
        """Whether the requestor may be SCU."""

    @property
    def requestor_scp(self) -> bool:
        """Whether the requestor may be SCP."""

    @property
    def extended(self) -> Callable[[bytes], bytes | None] | None:
        """Service-class-application-information: offered -> accepted, `None` for no answer (PS3.7 D.3.3.5)."""


@frozen
class Context:
    """An accepted presentation context, with the roles that the association *requestor* may take."""

    id: int
    abstract_syntax: str
    transfer_syntax: str
    requestor_scu: bool = True
    requestor_scp: bool = False


Lookup = Callable[[str, UserInformation], Capability | None]


@frozen
class Agreement:
    """The answer to a request, and what it agreed on."""

    accept: AssociateAccept
    contexts: tuple[Context, ...]


def negotiate(request: AssociateRequest, lookup: Lookup, mine: UserInformation) -> Agreement:
    """Answer `request` as acceptor; `mine` has our own maximum length, names and identity response."""
    proposed = {role.sop_class_uid: role for role in request.user.roles}
    results: list[ContextResult] = []
    contexts: list[Context] = []
    capabilities: dict[str, Capability] = {}
    for offer in request.contexts:
        capability = lookup(offer.abstract_syntax, request.user)
        result, context = _answer(offer, capability, proposed.get(offer.abstract_syntax))
        results.append(result)
        if context is not None and capability is not None:
            contexts.append(context)
            capabilities[context.abstract_syntax] = capability
    user = UserInformation(
        mine.maximum_length,
        mine.implementation_class_uid,
        mine.implementation_version_name,
        None if request.user.asynchronous_window is None else (1, 1),
        tuple(_role(role, capabilities[uid]) for uid, role in proposed.items() if uid in capabilities),
        tuple(_extended(request.user.extended, capabilities)),
        identity_response=mine.identity_response,
    )
    return Agreement(AssociateAccept(tuple(results), user, request.titles), tuple(contexts))


def _answer(offer: ProposedContext, capability: Capability | None, role: Role | None) -> tuple[ContextResult, Context | None]:
    first = offer.transfer_syntaxes[0]
    if capability is None:
        return ContextResult(offer.id, ABSTRACT_SYNTAX_NOT_SUPPORTED, first), None
    granted = _role(role or Role(offer.abstract_syntax, True, False), capability)
    if not (granted.scu or granted.scp):
        return ContextResult(offer.id, USER_REJECTION, first), None
    syntax = choose(offer.transfer_syntaxes, capability.transfer_syntaxes, receive_only=not granted.scu)
    if syntax is None:
        return ContextResult(offer.id, TRANSFER_SYNTAXES_NOT_SUPPORTED, first), None
    context = Context(offer.id, offer.abstract_syntax, syntax, granted.scu, granted.scp)
    return ContextResult(offer.id, ACCEPTANCE, syntax), context


def choose(offered: tuple[str, ...], supported: tuple[str, ...] | None, *, receive_only: bool = False) -> str | None:
    """The transfer syntax for a context; the rule stands at the top of this module."""
    usable = [syntax for syntax in offered if (is_uid(syntax) if supported is None else syntax in supported)]
    if receive_only:
        usable.sort(key=lambda syntax: syntax not in (EXPLICIT_LE, IMPLICIT_LE))
    if not usable:
        return None
    return EXPLICIT_LE if usable[0] in _GIVE_WAY and EXPLICIT_LE in usable else usable[0]


def _role(proposed: Role, capability: Capability) -> Role:
    """PS3.7 D.3.3.4: a role is granted only where it was proposed."""
    scu, scp = proposed.scu and capability.requestor_scu, proposed.scp and capability.requestor_scp
    return Role(proposed.sop_class_uid, scu, scp)


def _extended(offers: Iterable[ExtendedNegotiation], capabilities: dict[str, Capability]) -> Iterable[ExtendedNegotiation]:
    for offer in offers:
        capability = capabilities.get(offer.sop_class_uid)
        answer = capability.extended(offer.information) if capability is not None and capability.extended else None
        if answer is not None:
            yield ExtendedNegotiation(offer.sop_class_uid, answer[: len(offer.information)])


def agreed(request: AssociateRequest, accept: AssociateAccept) -> tuple[Context, ...]:
    """What the acceptor of our own `request` agreed to."""
    offers = {offer.id: offer for offer in request.contexts}
    proposed = {role.sop_class_uid: role for role in request.user.roles}
    granted = {role.sop_class_uid: role for role in accept.user.roles}
    contexts = []
    for result in accept.results:
        offer = offers.get(result.id)
        if offer is None or result.result != ACCEPTANCE or result.transfer_syntax not in offer.transfer_syntaxes:
            continue
        uid = offer.abstract_syntax
        asked, given = proposed.get(uid), granted.get(uid)
        scu = asked.scu and given.scu if asked and given else True
        scp = asked.scp and given.scp if asked and given else False
        contexts.append(Context(offer.id, uid, result.transfer_syntax, scu, scp))
    return tuple(contexts)


def echo_bits(supported: bytes) -> Callable[[bytes], bytes | None]:
    """Extended negotiation where each byte is a yes or no: what is offered and supported is accepted (PS3.4 C.5)."""

    def answer(offered: bytes) -> bytes:
        known = supported.ljust(len(offered), b"\0")
        return bytes(1 if wanted == 1 and can == 1 else 0 for wanted, can in zip(offered, known, strict=False))

    return answer
