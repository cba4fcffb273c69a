"""C-FIND, C-GET and C-MOVE of every non-patient information model (PS3.4 GG); stored by C-STORE."""

from typing import Any

from twisted.internet.task import Clock

from dicomd.dimse.composite import StorageProvider
from dicomd.dimse.non_patient import NonPatientQuery
from dicomd.dimse.outbound import Connector
from dicomd.dimse.retrieve import Retrieval
from dicomd.model.attributes import Attributes, attribute, text
from dicomd.model.non_patient import MODELS, Model
from dicomd.services.hub import KnownPeers
from dicomd.services.non_patient import NonPatientInstances
from dicomd.services.preparation import Preparation
from dicomd.wire import datasets
from dicomd.wire.elements import file_meta
from dicomd.wire.messages import Command, CommandField
from dicomd.wire.pdu import AssociateRequest, ProposedContext, Role, UserInformation
from tests.non_patient import NAMES, instance, palettes, read, uid_of

from .archive import ArchiveCase
from .peer import IMPLICIT, Peer, listening, proposal
from .test_retrieve import EXPLICIT, Receiver


class NonPatientCase(ArchiveCase):
    def setUp(self) -> None:
        super().setUp()
        preparation = Preparation(self.workers, self.archive.folder, Clock())
        instances = NonPatientInstances(self.workers, self.archive.folder, preparation)
        connector = Connector("DICOMD", Clock())
        retrieval = Retrieval(self.transfers, connector, KnownPeers([]), Clock())
        self.listener, _ = listening(
            *StorageProvider(self.storage, accept_unknown=False).services(),
            *NonPatientQuery(instances, "DICOMD").services(),
            *retrieval.services(),
        )

    def store(self, data: bytes) -> int | None:
        """The status of a C-STORE."""
        meta = file_meta(data)
        peer = Peer(self.listener).associate(proposal(meta.sop_class_uid, syntax=meta.transfer_syntax_uid))
        command = Command(
            CommandField.C_STORE,
            message_id=1,
            priority=0,
            affected_sop_class_uid=meta.sop_class_uid,
            affected_sop_instance_uid=meta.sop_instance_uid,
        )
        peer.request(1, command, data[meta.dataset_offset :])
        return peer.responses[-1].status

    def find(self, model: Model, identifier: Attributes) -> tuple[list[int | None], bytes]:
        peer = Peer(self.listener).associate(proposal(model.find))
        command = Command(CommandField.C_FIND, message_id=1, priority=0, affected_sop_class_uid=model.find)
        peer.request(1, command, datasets.encode(identifier, IMPLICIT))
        return [response.status for response in peer.responses], peer.data

    def receiver(self, model: Model, sop_class: str) -> Receiver:
        peer = Receiver(self.listener)
        contexts = (ProposedContext(1, model.get, (IMPLICIT,)), ProposedContext(3, sop_class, (EXPLICIT,)))
        user = UserInformation(16384, roles=(Role(sop_class, False, True),))
        peer.associate(AssociateRequest("DICOMD", "PEER", contexts, user))
        return peer


class ModelTests(NonPatientCase):
    def test_each_model(self) -> None:
        """Stored by C-STORE, found by name, got back byte for byte."""
        for model in MODELS:
            data = instance(model)
            self.assertEqual(self.store(data), 0, model.name)
            keyword, value = NAMES[model.name]
            element = read(data)[keyword]
            key = {f"{element.tag:08X}": attribute(element.VR, value), "00080018": {"vr": "UI"}}
            statuses, answered = self.find(model, key)
            self.assertEqual(statuses, [0xFF00, 0], model.name)
            match = datasets.decode(answered, IMPLICIT)
            self.assertEqual((text(match, "00080018"), text(match, "00080054")), (uid_of(model), "DICOMD"))
            self.assertNotIn("00080052", match)
            self.check_get(model, data)

    def check_get(self, model: Model, data: bytes) -> None:
        peer = self.receiver(model, model.storage[0])
        identifier = datasets.encode({"00080018": attribute("UI", uid_of(model))}, IMPLICIT)
        peer.request(1, Command(CommandField.C_GET, message_id=1, affected_sop_class_uid=model.get), identifier)
        self.assertEqual(peer.finals[-1].status, 0)
        self.assertEqual(peer.received, {uid_of(model): data[file_meta(data).dataset_offset :]})

    def test_only_its_own_classes(self) -> None:
        """A palette is nothing that the Hanging Protocol model could find or send."""
        palette, hanging = MODELS[0], MODELS[1]
        self.store(palettes()[0].read_bytes())
        self.assertEqual(self.find(hanging, {"00080018": {"vr": "UI"}})[0], [0])
        uid = str(read(palettes()[0].read_bytes()).SOPInstanceUID)
        peer = self.receiver(hanging, palette.storage[0])
        identifier = datasets.encode({"00080018": attribute("UI", uid)}, IMPLICIT)
        peer.request(1, Command(CommandField.C_GET, message_id=1, affected_sop_class_uid=hanging.get), identifier)
        self.assertEqual((peer.finals[-1].status, peer.received), (0, {}))

    def test_palettes(self) -> None:
        for path in palettes():
            self.assertEqual(self.store(path.read_bytes()), 0)
        statuses, _ = self.find(MODELS[0], {"00700080": attribute("CS", "*OT*"), "00080018": {"vr": "UI"}})
        self.assertEqual(statuses, [0xFF00, 0xFF00, 0])

    def test_unknown_destination(self) -> None:
        model = MODELS[0]
        peer = Peer(self.listener).associate(proposal(model.move))
        command: Any = Command(
            CommandField.C_MOVE, message_id=1, priority=0, affected_sop_class_uid=model.move, move_destination="NOBODY"
        )
        peer.request(1, command, datasets.encode({"00080018": attribute("UI", "1.2.3")}, IMPLICIT))
        self.assertEqual(peer.responses[-1].status, 0xA801)
