"""A-ASSOCIATE PDUs: against another implementation, and what bad peers send."""

import struct

from attrs import evolve
from pynetdicom import build_context
from pynetdicom import pdu as theirs
from pynetdicom import pdu_primitives as primitives
from twisted.trial.unittest import SynchronousTestCase

from dicomd.wire import pdu

VERIFICATION = "1.2.840.10008.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
FULL = pdu.AssociateRequest(
    "SRV",
    "CLI",
    (
        pdu.ProposedContext(1, VERIFICATION, ("1.2.840.10008.1.2",)),
        pdu.ProposedContext(3, CT, ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")),
    ),
    pdu.UserInformation(
        16384,
        "1.2.3",
        "PEER_1",
        (3, 4),
        (pdu.Role(CT, True, True),),
        (pdu.ExtendedNegotiation("1.2.840.10008.5.1.4.1.2.1.1", b"\1\0\1"),),
        (pdu.CommonExtendedNegotiation("1.2.3.4", "1.2.840.10008.4.2", (CT, VERIFICATION)),),
        pdu.UserIdentity(2, True, "Zoë".encode(), b"secret"),
    ),
)


class RequestTests(SynchronousTestCase):
    def test_round_trip(self) -> None:
        """Every item that is written is read."""
        read = pdu.decode_request(pdu.encode_request(FULL)[6:])
        self.assertEqual(read, evolve(FULL, titles=read.titles))
        self.assertEqual(read.titles[:32], b"SRV".ljust(16) + b"CLI".ljust(16))

    def test_another_implementation_reads_ours(self) -> None:
        """And re-encodes the same bytes; common extended negotiation apart, it sorts items differently."""
        request = evolve(FULL, user=evolve(FULL.user, identity=None, common_extended=()))
        other = theirs.A_ASSOCIATE_RQ()
        other.decode(pdu.encode_request(request))
        primitive = other.to_primitive()
        self.assertEqual(primitive.calling_ae_title, "CLI")
        self.assertEqual(primitive.maximum_length_received, 16384)
        self.assertEqual([c.abstract_syntax for c in primitive.presentation_context_definition_list], [VERIFICATION, CT])

    def test_we_read_another_implementations(self) -> None:
        """With roles and user identity."""
        primitive = primitives.A_ASSOCIATE()
        primitive.application_context_name = pdu.APPLICATION_CONTEXT
        primitive.calling_ae_title, primitive.called_ae_title = "CLI", "SRV"
        primitive.presentation_context_definition_list = [build_context(CT)]
        primitive.presentation_context_definition_list[0].context_id = 5
        length, implementation = primitives.MaximumLengthNotification(), primitives.ImplementationClassUIDNotification()
        length.maximum_length_received, implementation.implementation_class_uid = 0, "1.2.3"
        role = primitives.SCP_SCU_RoleSelectionNegotiation()
        role.sop_class_uid, role.scu_role, role.scp_role = CT, False, True
        primitive.user_information = [length, implementation, role]
        read = pdu.decode_request(theirs.A_ASSOCIATE_RQ(primitive).encode()[6:])
        self.assertEqual((read.user.maximum_length, read.user.roles), (0, (pdu.Role(CT, False, True),)))
        self.assertEqual(read.contexts[0].id, 5)

    def test_unknown_items_are_skipped(self) -> None:
        """PS3.8 9.3.1: unrecognised items are ignored, so are sub-items."""
        body = pdu.encode_request(FULL)[6:]
        unknown = struct.pack(">BBH", 0x77, 0, 3) + b"abc"
        self.assertEqual(pdu.decode_request(body + unknown), pdu.decode_request(body))

    def test_titles_of_bad_peers(self) -> None:
        """NUL padded, surrounded by spaces, blank."""
        body = pdu.encode_request(FULL)[6:]
        for raw, title in ((b"AE\0\0", "AE"), (b"  AE  ", "AE"), (b"", ""), (b"AE\0rest", "AE"), (b"\0" * 16, "")):
            read = pdu.decode_request(body[:4] + raw.ljust(16) + body[20:])
            self.assertEqual(read.called_ae_title, title)

    def test_padded_uids(self) -> None:
        """A trailing NUL is not part of a UID."""
        request = pdu.AssociateRequest("A", "B", (pdu.ProposedContext(1, VERIFICATION + "\0", ("1.2.840.10008.1.2 ",)),))
        read = pdu.decode_request(pdu.encode_request(request)[6:])
        self.assertEqual(read.contexts[0], pdu.ProposedContext(1, VERIFICATION, ("1.2.840.10008.1.2",)))

    def test_refused(self) -> None:
        """Even and repeated context IDs, a context without syntaxes, items past their end."""
        for contexts in (
            (pdu.ProposedContext(2, VERIFICATION, ("1.2",)),),
            (pdu.ProposedContext(1, VERIFICATION, ("1.2",)), pdu.ProposedContext(1, CT, ("1.2",))),
            (pdu.ProposedContext(1, VERIFICATION, ()),),
        ):
            body = pdu.encode_request(pdu.AssociateRequest("A", "B", contexts))[6:]
            self.assertRaises(pdu.InvalidPdu, pdu.decode_request, body)
        self.assertRaises(pdu.InvalidPdu, pdu.decode_request, pdu.encode_request(FULL)[6:-1])

    def test_identity_stays_out_of_logs(self) -> None:
        """A passcode is never part of a representation."""
        self.assertNotIn("secret", repr(FULL))


class AcceptTests(SynchronousTestCase):
    def test_round_trip(self) -> None:
        """Results, window, roles, answered identity."""
        user = pdu.UserInformation(65536, "1.2.3", "X", (1, 1), (pdu.Role(CT, True, False),), identity_response=b"")
        accept = pdu.AssociateAccept((pdu.ContextResult(1, 0, "1.2"), pdu.ContextResult(3, 4, "1.2")), user, b"A".ljust(64))
        self.assertEqual(pdu.decode_accept(pdu.encode_accept(accept)[6:]), accept)

    def test_bytes(self) -> None:
        """As another implementation was seen to write it (from byte 75)."""
        user = pdu.UserInformation(65536, "1.2.3.4", "")
        accept = pdu.AssociateAccept((pdu.ContextResult(1, 0, "1.2.840.10008.1.2"),), user)
        expected = (
            "10000015"
            + b"1.2.840.10008.3.1.1.1".hex()
            + "210000190100000040000011"
            + b"1.2.840.10008.1.2".hex()
            + "50000013510000040001000052000007"
            + b"1.2.3.4".hex()
        )
        self.assertEqual(pdu.encode_accept(accept)[74:].hex(), expected)

    def test_identity_response(self) -> None:
        """An empty server response (PS3.7 Table D.3-15)."""
        user = pdu.UserInformation(identity_response=b"")
        self.assertTrue(pdu.encode_accept(pdu.AssociateAccept((), user)).endswith(bytes.fromhex("590000020000")))
