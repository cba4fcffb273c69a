"""Negotiation: which contexts, syntaxes, roles and extensions are agreed on."""

from collections.abc import Callable

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from dicomd.wire import pdu
from dicomd.wire.negotiation import (
    DEFLATED_LE,
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    NATIVE,
    Agreement,
    Context,
    agreed,
    choose,
    echo_bits,
    negotiate,
)

CT, FIND = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.2.1.1"
JPEG = "1.2.840.10008.1.2.4.70"


@frozen
class Ability:
    transfer_syntaxes: tuple[str, ...] | None = None
    requestor_scu: bool = True
    requestor_scp: bool = False
    extended: Callable[[bytes], bytes | None] | None = None


ABILITIES = {CT: Ability(requestor_scp=True), FIND: Ability(NATIVE, extended=echo_bits(b"\1\1\0"))}


def propose(uid: str, *syntaxes: str, **user: object) -> pdu.AssociateRequest:
    return pdu.AssociateRequest("A", "B", (pdu.ProposedContext(1, uid, syntaxes),), pdu.UserInformation(**user))


def answer(request: pdu.AssociateRequest) -> Agreement:
    return negotiate(request, lambda uid, user: ABILITIES.get(uid), pdu.UserInformation(131072))


class ChoiceTests(SynchronousTestCase):
    def test_requestors_first(self) -> None:
        """The requestor knows what it has."""
        self.assertEqual(choose((JPEG, EXPLICIT_LE), None), JPEG)
        self.assertEqual(choose((DEFLATED_LE, EXPLICIT_LE), None), DEFLATED_LE)
        self.assertEqual(choose((JPEG, IMPLICIT_LE), NATIVE), IMPLICIT_LE)

    def test_explicit_little_endian_before_other_native_ones(self) -> None:
        """Implicit and big endian give way to it, where it is offered."""
        self.assertEqual(choose((IMPLICIT_LE, EXPLICIT_LE), None), EXPLICIT_LE)
        self.assertEqual(choose((EXPLICIT_BE, JPEG, EXPLICIT_LE), None), EXPLICIT_LE)
        self.assertEqual(choose((IMPLICIT_LE, JPEG), None), IMPLICIT_LE)

    def test_receiver_of_c_get(self) -> None:
        """Native, because nearly everything can be sent in it."""
        self.assertEqual(choose((JPEG, IMPLICIT_LE), None, receive_only=True), IMPLICIT_LE)
        self.assertEqual(choose((JPEG,), None, receive_only=True), JPEG)

    def test_none(self) -> None:
        """Nothing in common."""
        self.assertIsNone(choose((JPEG,), NATIVE))
        self.assertIsNone(choose(("no UID", ""), None))


class NegotiationTests(SynchronousTestCase):
    def test_results(self) -> None:
        """PS3.8 Table 9-18: 3 and 4."""
        self.assertEqual(answer(propose("1.2.3", IMPLICIT_LE)).accept.results[0].result, 3)
        self.assertEqual(answer(propose(FIND, JPEG)).accept.results[0].result, 4)
        agreement = answer(propose(FIND, IMPLICIT_LE))
        self.assertEqual(agreement.contexts, (Context(1, FIND, IMPLICIT_LE),))

    def test_each_proposal_is_answered(self) -> None:
        """The same SOP class in several contexts, one for each syntax."""
        contexts = tuple(pdu.ProposedContext(i, CT, (s,)) for i, s in ((1, JPEG), (3, IMPLICIT_LE), (5, "1.2.3.4")))
        results = answer(pdu.AssociateRequest("A", "B", contexts)).accept.results
        self.assertEqual(
            [(r.id, r.result, r.transfer_syntax) for r in results], [(c.id, 0, c.transfer_syntaxes[0]) for c in contexts]
        )

    def test_roles(self) -> None:
        """PS3.7 D.3.3.4: granted where proposed and possible; nobody in any role: rejected."""
        for uid, proposed, granted in (
            (CT, (True, True), (True, True)),
            (CT, (False, True), (False, True)),
            (CT, (True, False), (True, False)),
            (FIND, (True, True), (True, False)),
        ):
            agreement = answer(propose(uid, EXPLICIT_LE, roles=(pdu.Role(uid, *proposed),)))
            self.assertEqual(agreement.accept.user.roles, (pdu.Role(uid, *granted),))
            self.assertEqual((agreement.contexts[0].requestor_scu, agreement.contexts[0].requestor_scp), granted)
        nothing = answer(propose(FIND, EXPLICIT_LE, roles=(pdu.Role(FIND, False, True),)))
        self.assertEqual((nothing.accept.results[0].result, nothing.accept.user.roles), (1, ()))
        self.assertEqual(answer(propose(CT, EXPLICIT_LE)).accept.user.roles, ())

    def test_asynchronous_window(self) -> None:
        """Answered 1,1 when offered, else not at all."""
        self.assertEqual(answer(propose(CT, JPEG, asynchronous_window=(0, 8))).accept.user.asynchronous_window, (1, 1))
        self.assertIsNone(answer(propose(CT, JPEG)).accept.user.asynchronous_window)

    def test_extended(self) -> None:
        """Byte by byte, never longer than the offer, never unasked."""
        for offered, accepted in ((b"\1", b"\1"), (b"\1\0\1\1", b"\1\0\0\0"), (b"\0\1", b"\0\1")):
            extended = (pdu.ExtendedNegotiation(FIND, offered),)
            user = answer(propose(FIND, IMPLICIT_LE, extended=extended)).accept.user
            self.assertEqual(user.extended, (pdu.ExtendedNegotiation(FIND, accepted),))
        self.assertEqual(answer(propose(FIND, IMPLICIT_LE)).accept.user.extended, ())

    def test_as_requestor(self) -> None:
        """Roles hold only where both sides named them; answers to what was not asked are ignored."""
        request = propose(CT, JPEG, EXPLICIT_LE, roles=(pdu.Role(CT, False, True),))
        self.assertEqual(agreed(request, answer(request).accept), (Context(1, CT, EXPLICIT_LE, False, True),))
        odd = pdu.AssociateAccept((pdu.ContextResult(1, 0, "1.2.9"), pdu.ContextResult(7, 0, JPEG)))
        self.assertEqual(agreed(request, odd), ())
        plain = pdu.AssociateAccept((pdu.ContextResult(1, 0, JPEG),))
        self.assertEqual(agreed(request, plain), (Context(1, CT, JPEG, True, False),))
