"""C-GET and C-MOVE: which instances are sent, byte for byte, with which counts and statuses."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from twisted.internet.defer import succeed
from twisted.internet.task import Clock

from dicomd.dimse.composite import StorageProvider
from dicomd.dimse.listener import Listener
from dicomd.dimse.outbound import Connector
from dicomd.dimse.retrieve import Retrieval
from dicomd.model.identifiers import Peer as KnownPeer
from dicomd.model.keys import Level
from dicomd.model.retrieval import Wanted
from dicomd.model.status import Status
from dicomd.services.hub import KnownPeers
from dicomd.services.transfers import StoredInstance, Transfers
from dicomd.wire import datasets
from dicomd.wire.elements import file_meta
from dicomd.wire.indications import Output
from dicomd.wire.messages import Command, CommandField, CommandReceived, DataSetChunk
from dicomd.wire.pdu import AssociateRequest, ProposedContext, Role, UserInformation

from .archive import ArchiveCase
from .peer import IMPLICIT, Peer, listening
from .wire import Endpoint

MR, CT = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
ROOT = "1.2.840.10008.5.1.4.1.2"
_TAGS = {"level": "00080052", "patient": "00100020", "study": "0020000D", "series": "0020000E", "sop": "00080018"}
_VRS = {"level": "CS", "patient": "LO"}


def identifier(**keys: Any) -> bytes:
    attributes = {
        _TAGS[name]: {"vr": _VRS.get(name, "UI"), "Value": value if isinstance(value, list) else [value]}
        for name, value in keys.items()
    }
    return datasets.encode(attributes, IMPLICIT)


class Receiver(Peer):
    """Retrieves into itself by C-GET. `statuses`: what it answers to the next instances, then success."""

    def __init__(self, listener: Listener) -> None:
        super().__init__(listener)
        self.received: dict[str, bytes] = {}
        self.statuses: list[int | None] = []
        self.finals: list[Command] = []
        self.pending: list[Command] = []
        self.commands: list[Command] = []
        self.failed_list: list[str] = []
        self._context, self._command, self._data = 0, Command(0), b""

    def get(self, data: bytes, model: int = 2, storage: Sequence[tuple[str, str]] = ((MR, EXPLICIT), (CT, EXPLICIT))) -> None:
        contexts = [ProposedContext(1, f"{ROOT}.{model}.3", (IMPLICIT,))]
        contexts += [ProposedContext(3 + 2 * i, uid, (syntax,)) for i, (uid, syntax) in enumerate(storage)]
        roles = tuple(Role(uid, False, True) for uid, _ in storage)
        self.associate(AssociateRequest("DICOMD", "PEER", tuple(contexts), UserInformation(16384, roles=roles)))
        self.request(1, Command(CommandField.C_GET, message_id=1, affected_sop_class_uid=f"{ROOT}.{model}.3"), data)

    def _perform(self, outputs: list[Output]) -> None:
        super()._perform(outputs)
        for output in outputs:
            if isinstance(output, CommandReceived):
                self._context, self._command, self._data = output.context_id, output.command, b""
                if not output.command.has_data_set:
                    self.got()
            elif isinstance(output, DataSetChunk):
                self._data += output.data
                if output.last:
                    self.got()

    def got(self) -> None:
        command = self._command
        if command.command_field != CommandField.C_STORE:
            (self.pending if command.status == 0xFF00 else self.finals).append(command)
            if self._data:
                self.failed_list = datasets.decode(self._data, IMPLICIT)["00080058"]["Value"]
            return
        self.commands.append(command)
        self.received[command.affected_sop_instance_uid] = self._data
        status = self.statuses.pop(0) if self.statuses else 0
        if status is not None:
            self.answer(command, status)

    def answer(self, command: Command, status: int) -> None:
        response = Command(0x8001, message_id_being_responded_to=command.message_id, status=status)
        self.request(self._context, response)


class RetrieveCase(ArchiveCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.destination, _ = listening(*StorageProvider(self.storage).services(), ae_title="DEST")
        self.endpoint = Endpoint(self.destination)
        self.connector = Connector("DICOMD", self.clock, endpoint=lambda peer: self.endpoint)
        peers = KnownPeers([KnownPeer("DEST", "192.0.2.9", 104)])
        self.retrieval = Retrieval(self.transfers, self.connector, peers, self.clock)
        provider = StorageProvider(self.storage)
        self.listener, _ = listening(*self.retrieval.services(), *provider.services())
        self.first = self.keep(StudyInstanceUID="1.2.1", SeriesInstanceUID="1.2.1.1", SOPInstanceUID="1.2.1.1.1", PatientID="P")
        self.keep(StudyInstanceUID="1.2.1", SeriesInstanceUID="1.2.1.1", SOPInstanceUID="1.2.1.1.2", PatientID="P")
        self.keep(
            "CT_small.dcm", StudyInstanceUID="1.2.1", SeriesInstanceUID="1.2.1.2", SOPInstanceUID="1.2.1.2.1", PatientID="P"
        )
        self.keep(StudyInstanceUID="1.2.2", SeriesInstanceUID="1.2.2.1", SOPInstanceUID="1.2.2.1.1", PatientID="Q")

    def stored(self, uid: str) -> bytes:
        (path,) = self.root.glob(f"studies/**/{uid}.dcm")
        content = path.read_bytes()
        return content[file_meta(content).dataset_offset :]


class GetTests(RetrieveCase):
    def get(self, data: bytes, **keywords: Any) -> Receiver:
        receiver = Receiver(self.listener)
        receiver.get(data, **keywords)
        return receiver

    def test_levels_and_models(self) -> None:
        """Patient, study, series, image; lists of UIDs; both models."""
        study = ["1.2.1.1.1", "1.2.1.1.2", "1.2.1.2.1"]
        for model, keys, expected in (
            (1, {"level": "PATIENT", "patient": "P"}, study),
            (1, {"level": "STUDY", "patient": "P", "study": "1.2.1"}, study),
            (1, {"level": "STUDY", "patient": "Q", "study": "1.2.1"}, []),
            (2, {"level": "STUDY", "study": ["1.2.1", "1.2.2"]}, [*study, "1.2.2.1.1"]),
            (2, {"level": "SERIES", "study": "1.2.1", "series": "1.2.1.1"}, study[:2]),
            (2, {"level": "SERIES", "series": ["1.2.1.2", "1.2.2.1"]}, ["1.2.1.2.1", "1.2.2.1.1"]),
            (2, {"level": "IMAGE", "study": "1.2.1", "series": "1.2.1.1", "sop": "1.2.1.1.2"}, ["1.2.1.1.2"]),
            (3, {"level": "PATIENT", "patient": "Q"}, ["1.2.2.1.1"]),
        ):
            receiver = self.get(identifier(**keys), model=model)
            self.assertEqual(sorted(receiver.received), sorted(expected), keys)
            (final,) = receiver.finals
            self.assertEqual((final.status, final.completed_suboperations), (0, len(expected)), keys)
            self.assertEqual((final.remaining_suboperations, final.has_data_set), (None, False))

    def test_bytes(self) -> None:
        """As stored; Move Originator is for C-MOVE only."""
        receiver = self.get(identifier(level="STUDY", study="1.2.1"))
        for uid, data in receiver.received.items():
            self.assertEqual(data, self.stored(uid))
        self.assertEqual({command.move_originator_ae_title for command in receiver.commands}, {""})

    def test_pending(self) -> None:
        """At once, with all four counts."""
        pending = self.get(identifier(level="STUDY", study="1.2.1")).pending[0]
        counts = (pending.remaining_suboperations, pending.completed_suboperations)
        self.assertEqual((*counts, pending.failed_suboperations, pending.warning_suboperations), (3, 0, 0, 0))

    def test_receiver_refuses_some(self) -> None:
        """Warning, with the list of what failed."""
        receiver = Receiver(self.listener)
        receiver.statuses = [0, 0xA700, 0xB000]
        receiver.get(identifier(level="STUDY", study="1.2.1"))
        (final,) = receiver.finals
        self.assertEqual(final.status, Status.COERCED)
        counts = (final.completed_suboperations, final.failed_suboperations, final.warning_suboperations)
        self.assertEqual(counts, (1, 1, 1))
        self.assertEqual(receiver.failed_list, [list(receiver.received)[1]])

    def test_no_context_for_some(self) -> None:
        """A class or syntax the receiver did not propose fails, the rest is sent; all failed is A702."""
        receiver = self.get(identifier(level="STUDY", study="1.2.1"), storage=((MR, EXPLICIT), (CT, IMPLICIT)))
        self.assertEqual((receiver.finals[0].status, receiver.failed_list), (Status.COERCED, ["1.2.1.2.1"]))
        receiver = self.get(identifier(level="STUDY", study="1.2.2"), storage=((CT, EXPLICIT),))
        self.assertEqual(receiver.finals[0].status, Status.CANNOT_PERFORM_SUB_OPERATIONS)
        self.assertIn("transfer syntax", receiver.finals[0].error_comment)
        self.assertEqual(receiver.finals[0].failed_suboperations, 1)

    def test_receiver_that_took_no_role(self) -> None:
        """Without the SCP role nothing may be sent to it."""
        receiver = Receiver(self.listener)
        contexts = (ProposedContext(1, f"{ROOT}.2.3", (IMPLICIT,)), ProposedContext(3, MR, (EXPLICIT,)))
        receiver.associate(AssociateRequest("DICOMD", "PEER", contexts))
        command = Command(CommandField.C_GET, message_id=1, affected_sop_class_uid=f"{ROOT}.2.3")
        receiver.request(1, command, identifier(level="STUDY", study="1.2.2"))
        self.assertEqual(receiver.finals[0].status, Status.CANNOT_PERFORM_SUB_OPERATIONS)

    def test_cancel(self) -> None:
        """Between two sub-operations; the counts tell how many were not tried."""
        receiver = Receiver(self.listener)
        receiver.statuses = [None]
        receiver.get(identifier(level="STUDY", study="1.2.1"))
        receiver.request(1, Command(CommandField.C_CANCEL, message_id_being_responded_to=1))
        receiver.answer(receiver.commands[0], 0)
        (final,) = receiver.finals
        self.assertEqual((final.status, final.remaining_suboperations, final.completed_suboperations), (0xFE00, 2, 1))
        self.assertEqual(len(receiver.received), 1)

    def test_damaged_file(self) -> None:
        """Fails for that instance only."""
        (path,) = self.root.glob("studies/**/1.2.1.1.2.dcm")
        path.write_bytes(path.read_bytes()[:-10])
        (other,) = self.root.glob("studies/**/1.2.1.2.1.dcm")
        other.unlink()
        receiver = self.get(identifier(level="STUDY", study="1.2.1"))
        self.assertEqual(sorted(receiver.failed_list), ["1.2.1.1.2", "1.2.1.2.1"])
        self.assertEqual(list(receiver.received), ["1.2.1.1.1"])

    def test_identifiers_that_mean_nothing(self) -> None:
        """A900; not even decodable: C000."""
        for data, status in (
            (identifier(level="STUDY"), Status.IDENTIFIER_MISMATCH),
            (identifier(level="PATIENT", patient="P"), Status.IDENTIFIER_MISMATCH),
            (b"\x08\x00\x52\x00\xff\xff\x00\x00", Status.CANNOT_UNDERSTAND),
        ):
            self.assertEqual(self.get(data).finals[0].status, status)

    def test_peer_vanishes(self) -> None:
        """Nothing is left running."""
        receiver = Receiver(self.listener)
        receiver.statuses = [None]
        receiver.get(identifier(level="STUDY", study="1.2.1"))
        receiver.lose()
        self.assertEqual((self.flushLoggedErrors(), self.listener.connections), ([], set()))

    def test_large_instances_are_streamed(self) -> None:
        """In steps, the same bytes."""
        rows = self.keep(SOPInstanceUID="1.2.9", StudyInstanceUID="1.2.9", PixelData=bytes(3_000_000), Rows=1000, Columns=1500)
        receiver = self.get(identifier(level="STUDY", study=str(rows.StudyInstanceUID)))
        self.assertEqual(receiver.received["1.2.9"], self.stored("1.2.9"))

    def test_transcoding(self) -> None:
        """What can be made in a syntax that was accepted is made."""

        class Transcoder:
            def targets(self, transfer_syntax_uid: str) -> Sequence[str]:
                return (IMPLICIT,) if transfer_syntax_uid == EXPLICIT else ()

            def transcode(self, instance: StoredInstance, transfer_syntax_uid: str) -> Any:
                async def chunks() -> AsyncGenerator[bytes, None]:
                    yield transfer_syntax_uid.encode()[:8]
                    yield b"made"

                return succeed(chunks())

        self.transfers.transcoder = Transcoder()
        receiver = self.get(identifier(level="STUDY", study="1.2.2"), storage=((MR, IMPLICIT),))
        self.assertEqual(receiver.received, {"1.2.2.1.1": b"1.2.840.made"})


class MoveTests(RetrieveCase):
    def setUp(self) -> None:
        super().setUp()
        other = type(self)("keep")
        ArchiveCase.setUp(other)
        self.addCleanup(other.archive.close)
        self.other = other
        self.destination, self.far_clock = listening(*StorageProvider(other.storage).services(), ae_title="DEST")
        self.endpoint.listener = self.destination

    def move(self, data: bytes, to: str = "DEST") -> Receiver:
        receiver = Receiver(self.listener)
        contexts = (ProposedContext(1, f"{ROOT}.2.2", (IMPLICIT,)),)
        receiver.associate(AssociateRequest("DICOMD", "PEER", contexts))
        command = Command(CommandField.C_MOVE, message_id=5, affected_sop_class_uid=f"{ROOT}.2.2", move_destination=to)
        receiver.request(1, command, data)
        return receiver

    def test_moved(self) -> None:
        """Kept by the destination byte for byte; our association to it is released."""
        receiver = self.move(identifier(level="STUDY", study="1.2.1"))
        (final,) = receiver.finals
        self.assertEqual((final.status, final.completed_suboperations), (0, 3))
        for uid in ("1.2.1.1.1", "1.2.1.1.2", "1.2.1.2.1"):
            self.assertEqual(self.other.stored(uid), self.stored(uid))
        self.assertEqual(self.destination.connections, set())

    def test_destination_unknown(self) -> None:
        """A801."""
        receiver = self.move(identifier(level="STUDY", study="1.2.1"), to="ELSEWHERE")
        self.assertEqual(receiver.finals[0].status, Status.MOVE_DESTINATION_UNKNOWN)

    def test_nothing_to_move(self) -> None:
        """Success with counts of zero, and no association."""
        self.endpoint.listener = None
        final = self.move(identifier(level="STUDY", study="1.2.77")).finals[0]
        self.assertEqual((final.status, final.completed_suboperations, final.failed_suboperations), (0, 0, 0))

    def test_unreachable(self) -> None:
        """All failed: A702 with the list."""
        self.endpoint.listener = None
        receiver = self.move(identifier(level="STUDY", study="1.2.1"))
        (final,) = receiver.finals
        self.assertEqual((final.status, final.failed_suboperations), (Status.CANNOT_PERFORM_SUB_OPERATIONS, 3))
        self.assertEqual((len(receiver.failed_list), "DEST" in final.error_comment), (3, True))

    def test_destination_dies(self) -> None:
        """What could not be sent is told, nothing hangs."""
        sent: list[int] = []
        original = StorageProvider.begin

        def begin(provider: StorageProvider, association: Any, message: Any) -> Any:
            sent.append(1)
            if len(sent) == 2:
                association.abort("test")
            return original(provider, association, message)

        (row,) = StorageProvider(self.other.storage).services()
        row.sinks[CommandField.C_STORE] = lambda *arguments: begin(StorageProvider(self.other.storage), *arguments)
        self.destination, _ = listening(row, ae_title="DEST")
        self.endpoint.listener = self.destination
        final = self.move(identifier(level="STUDY", study="1.2.1")).finals[0]
        self.assertEqual((final.status, final.completed_suboperations, final.failed_suboperations), (0xB000, 1, 2))

    def test_several_associations(self) -> None:
        """When there is enough to do for them."""
        for number in range(52):
            self.keep(StudyInstanceUID="1.2.5", SeriesInstanceUID="1.2.5.1", SOPInstanceUID=f"1.2.5.1.{number + 1}")
        final = self.move(identifier(level="STUDY", study="1.2.5")).finals[0]
        self.assertEqual((final.status, final.completed_suboperations), (0, 52))
        self.assertEqual(len(self.endpoint.ends), 4)
        self.assertEqual(len(list(self.other.root.glob("studies/1.2.5/**/*.dcm"))), 52)


class TransfersTests(ArchiveCase):
    def test_long_lists(self) -> None:
        """More UIDs than one statement takes."""
        dataset = self.keep()
        uids = (*(f"1.2.{number}" for number in range(1200)), str(dataset.SOPInstanceUID))
        plan = self.now(Transfers(self.workers, self.archive.folder).plan(Wanted(Level.IMAGE, sop_instance_uids=uids)))
        self.assertEqual(len(plan.rows), 1)
