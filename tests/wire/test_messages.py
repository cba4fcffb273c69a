"""Command sets and message fragments, against another implementation's."""

import struct
from io import BytesIO

from pynetdicom import dimse_messages, dimse_primitives
from pynetdicom import pdu as theirs
from twisted.trial.unittest import SynchronousTestCase

from dicomd.wire.messages import Command, CommandField, MessageError, MessageReader, MessageWriter, decode_command, encode_command

FULL = Command(
    0x8021,
    message_id_being_responded_to=7,
    affected_sop_class_uid="1.2.840.10008.5.1.4.1.2.1.2",
    has_data_set=True,
    status=0xB000,
    error_comment="odd",
    error_id=3,
    offending_elements=(0x00100010, 0x0020000D),
    attribute_identifier_list=(0x00080005,),
    event_type_id=1,
    action_type_id=2,
    move_destination="DEST",
    move_originator_ae_title="ORIG",
    move_originator_message_id=9,
    remaining_suboperations=0,
    completed_suboperations=1,
    failed_suboperations=2,
    warning_suboperations=3,
)
ECHO_RQ = bytes.fromhex(
    "00000000 04000000 38000000"  # group length
    "00000200 12000000 312e322e3834302e31303030382e312e3100"  # Affected SOP Class UID, padded with NUL
    "00000001 02000000 3000"  # Command Field
    "00001001 02000000 0700"  # Message ID
    "00000008 02000000 0101"  # no data set
)


class CommandTests(SynchronousTestCase):
    def test_bytes(self) -> None:
        """C-ECHO-RQ, byte for byte."""
        echo = Command(CommandField.C_ECHO, message_id=7, affected_sop_class_uid="1.2.840.10008.1.1")
        self.assertEqual(encode_command(echo), ECHO_RQ)
        self.assertEqual(decode_command(ECHO_RQ), echo)

    def test_round_trip(self) -> None:
        """Every element."""
        self.assertEqual(decode_command(encode_command(FULL)), FULL)

    def test_another_implementation_reads_ours(self) -> None:
        """A C-STORE request with all it may hold, through their reassembly."""
        command = Command(
            CommandField.C_STORE,
            message_id=5,
            affected_sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
            affected_sop_instance_uid="1.2.3",
            priority=2,
            move_originator_ae_title="ORIG",
            move_originator_message_id=4,
            has_data_set=True,
        )
        message = dimse_messages.DIMSEMessage()
        stream = MessageWriter(50).message(1, command, b"0123456789" * 20)
        done = [message.decode_msg(part.to_primitive()) for part in self._pdus(stream)]
        self.assertEqual(done, [False] * (len(done) - 1) + [True])
        primitive = message.message_to_primitive()
        self.assertEqual(primitive.DataSet.getvalue(), b"0123456789" * 20)
        self.assertEqual((primitive.MessageID, primitive.Priority, primitive.AffectedSOPInstanceUID), (5, 2, "1.2.3"))
        self.assertEqual(primitive.MoveOriginatorApplicationEntityTitle, "ORIG")

    def _pdus(self, stream: bytes) -> list[theirs.P_DATA_TF]:
        found, position = [], 0
        while position < len(stream):
            (length,) = struct.unpack_from(">L", stream, position + 2)
            self.assertLessEqual(length, 50)
            part = theirs.P_DATA_TF()
            part.decode(stream[position : position + 6 + length])
            found.append(part)
            position += 6 + length
        return found

    def test_we_read_another_implementations(self) -> None:
        """A C-MOVE response with its failed list."""
        primitive = dimse_primitives.C_MOVE()
        primitive.MessageIDBeingRespondedTo, primitive.AffectedSOPClassUID = 1, "1.2.840.10008.5.1.4.1.2.1.2"
        primitive.Status, primitive.Identifier = 0xB000, BytesIO(b"abcd")
        primitive.NumberOfCompletedSuboperations = 4
        message = dimse_messages.C_MOVE_RSP()
        message.primitive_to_message(primitive)
        reader, seen = MessageReader(), []
        for part in message.encode_msg(3, 40):
            for context_id, value in part.presentation_data_value_list:
                seen.append(reader.fragment(context_id, bool(value[0] & 1), value[1:], bool(value[0] & 2)))
        command, chunk = [item for item in seen if item is not None]
        self.assertEqual(command.context_id, 3)
        self.assertEqual((command.command.status, command.command.completed_suboperations), (0xB000, 4))
        self.assertEqual((chunk.data, chunk.last), (b"abcd", True))

    def test_unknown_elements_are_skipped(self) -> None:
        """Retired elements of group 0000 come from old peers."""
        retired = struct.pack("<HHL", 0, 0x0200, 4) + b"OLD "
        self.assertEqual(decode_command(ECHO_RQ + retired), decode_command(ECHO_RQ))

    def test_refused(self) -> None:
        """Every truncation; other groups; no Command Field; no Data Set Type; no value where one must be."""
        for cut in range(len(ECHO_RQ)):
            self.assertRaises(MessageError, decode_command, ECHO_RQ[:cut])
        self.assertRaises(MessageError, decode_command, ECHO_RQ + bytes.fromhex("08000500 00000000"))
        self.assertRaises(MessageError, decode_command, ECHO_RQ.replace(bytes.fromhex("00000001 02000000 3000"), b""))
        self.assertRaises(MessageError, decode_command, struct.pack("<HHLB", 0, 0x0100, 1, 1))
        self.assertRaises(MessageError, decode_command, struct.pack("<HHL6s", 0, 0x0901, 6, bytes(6)))


class MessageWriterTests(SynchronousTestCase):
    def test_no_pdu_is_longer_than_the_peer_allows(self) -> None:
        """Fragments are even but for the last; the smallest maxima still work."""
        for maximum in (8, 9, 16, 17, 128, 0):
            stream, position, data = MessageWriter(maximum).data_set(1, bytes(range(101)), True), 0, b""
            while position < len(stream):
                (length,) = struct.unpack_from(">L", stream, position + 2)
                self.assertLessEqual(length, maximum or 131072)
                piece = stream[position + 12 : position + 6 + length]
                data, position = data + piece, position + 6 + length
                self.assertEqual(stream[position - len(piece) - 1] & 2, 2 if position == len(stream) else 0)
                self.assertTrue(len(piece) % 2 == 0 or position == len(stream))
            self.assertEqual(data, bytes(range(101)))

    def test_empty_data_set(self) -> None:
        """One empty last fragment rather than a message that never ends."""
        self.assertEqual(MessageWriter(0).data_set(1, b"", True).hex(), "040000000006000000020102")
