"""C-ECHO and C-STORE as SCP: what a peer sends is kept byte for byte, what cannot be kept is refused with its status."""

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dicomd.dimse.composite import StorageProvider, Verification
from dicomd.model.status import Status
from dicomd.services.hub import EventHub
from dicomd.services.storage import Rules, Storage
from dicomd.store.archive import Archive
from dicomd.wire.elements import file_meta
from dicomd.wire.messages import Command, CommandField
from dicomd.wire.pdu import CommonExtendedNegotiation, ExtendedNegotiation
from tests.archive import spooled
from tests.data import pydicom_file
from tests.workers import ImmediateWorkers

from .peer import CT, VERIFICATION, Peer, listening, proposal

MR = "1.2.840.10008.5.1.4.1.1.4"
STORED_BEFORE_2004 = "1.2.840.10008.5.1.1.29"  # Hardcopy Grayscale Image Storage, retired


class VerificationTests(SynchronousTestCase):
    def test_echo(self) -> None:
        """Success, always."""
        listener, _ = listening(*Verification().services())
        peer = Peer(listener).associate(proposal(VERIFICATION))
        peer.request(1, Command(CommandField.C_ECHO, message_id=3, affected_sop_class_uid=VERIFICATION))
        (response,) = peer.responses
        self.assertEqual((response.command_field, response.status, response.has_data_set), (0x8030, 0, False))


class StoreTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.root = Path(self.mktemp()).absolute()
        self.archive = Archive(str(self.root))
        self.archive.open()
        self.addCleanup(self.archive.close)
        workers: Any = ImmediateWorkers(self.archive.index)
        self.provider = StorageProvider(Storage(workers, self.archive.folder, EventHub(), Rules()))
        self.file = pydicom_file("MR_small.dcm").read_bytes()
        self.meta = file_meta(self.file)

    def peer(self, *classes: str, accept_unknown: bool = True, **user: Any) -> Peer:
        self.provider._accept_unknown = accept_unknown
        listener, _ = listening(*self.provider.services())
        return Peer(listener).associate(proposal(*classes, syntax=self.meta.transfer_syntax_uid, **user))

    def store(self, peer: Peer, data: bytes | None, **elements: Any) -> Command:
        elements = {"affected_sop_class_uid": MR, "affected_sop_instance_uid": self.meta.sop_instance_uid} | elements
        peer.request(1, Command(CommandField.C_STORE, message_id=1, **elements), data)
        return peer.responses[-1]

    def stored(self) -> list[Path]:
        return list(self.root.glob("studies/**/*.dcm"))

    def test_kept_byte_for_byte(self) -> None:
        """The data set is the one sent; the file meta information is made from the command."""
        data = self.file[self.meta.dataset_offset :]
        self.assertEqual(self.store(self.peer(MR), data).status, Status.SUCCESS)
        kept = self.stored()[0].read_bytes()
        meta = file_meta(kept)
        self.assertEqual(kept[meta.dataset_offset :], data)
        self.assertEqual(
            (meta.sop_class_uid, meta.sop_instance_uid, meta.transfer_syntax_uid),
            (MR, self.meta.sop_instance_uid, self.meta.transfer_syntax_uid),
        )

    def test_refusals(self) -> None:
        """Nothing of a refused instance stays."""
        data = self.file[self.meta.dataset_offset :]
        for sent, elements, status in (
            (data, {"affected_sop_instance_uid": "../../etc/passwd"}, Status.INVALID_SOP_INSTANCE),
            (data, {"affected_sop_instance_uid": ""}, Status.INVALID_SOP_INSTANCE),
            (data, {"affected_sop_instance_uid": "1.2.3"}, Status.IDENTIFIER_MISMATCH),
            (b"garbage" * 10, {}, Status.CANNOT_UNDERSTAND),
            (b"", {}, Status.IDENTIFIER_MISMATCH),
            (None, {}, Status.CANNOT_UNDERSTAND),
        ):
            response = self.store(self.peer(MR), sent, **elements)
            self.assertEqual(response.status, status, (elements, response.error_comment))
            self.assertNotEqual(response.error_comment, "")
        self.assertEqual((self.stored(), spooled(self.archive.folder)), ([], []))

    def test_which_classes(self) -> None:
        """Every storage class, retired ones too; what is not storage never; private ones as configured or declared."""
        find, private = "1.2.840.10008.5.1.4.1.2.1.1", "1.2.826.0.1.3680043.2.1"
        for uid, accept_unknown, expected in (
            (CT, False, 0),
            (STORED_BEFORE_2004, False, 0),
            ("1.2.840.10008.5.1.4.1.1.99999", False, 0),
            (find, True, 3),
            ("1.2.840.10008.1.3.10", True, 3),
            ("1.2.840.10008.1.20.1", True, 3),
            (private, True, 0),
            (private, False, 3),
            ("not a UID", True, 3),
        ):
            results = self.peer(uid, accept_unknown=accept_unknown).accept.results
            self.assertEqual(results[0].result, expected, (uid, accept_unknown))
        declared = (CommonExtendedNegotiation(private, "1.2.840.10008.4.2"),)
        results = self.peer(private, accept_unknown=False, common_extended=declared).accept.results
        self.assertEqual(results[0].result, 0)

    def test_abilities(self) -> None:
        """PS3.4 B.3.1: level 2, no coercion."""
        offer = (ExtendedNegotiation(MR, bytes((2, 0, 3, 0, 1, 0))),)
        answer = self.peer(MR, extended=offer).accept.user.extended
        self.assertEqual(answer, (ExtendedNegotiation(MR, bytes((2, 0, 3, 0, 0, 0))),))
