"""C-FIND of the Query/Retrieve models: levels, statuses, cancellation, character sets (PS3.4 C.4.1)."""

from typing import Any

from dicomd.dimse.query import QueryProvider, options_of
from dicomd.model.attributes import Attributes, attribute, text
from dicomd.model.query import Options
from dicomd.services.query import Search
from dicomd.wire import datasets
from dicomd.wire.messages import Command, CommandField, CommandReceived, DataSetChunk
from tests.dimse.finding import EXPLICIT, PATIENT_ROOT, STUDY_ROOT, ask, find, find_peer, heard
from tests.dimse.peer import Peer, listening
from tests.searched import ArchiveCase, made


class QueryCase(ArchiveCase):
    def setUp(self) -> None:
        super().setUp()
        self.provider = QueryProvider(Search(self.workers, self.archive.folder, self.clock), "DICOMD")
        self.listener, _ = listening(*self.provider.services())

    def peer(self, model: str = STUDY_ROOT, **wanted: bool) -> Peer:
        return find_peer(self.listener, model, **wanted)

    def find(
        self, level: str, *, model: str = STUDY_ROOT, wanted: dict[str, bool] | None = None, **keys: Any
    ) -> list[Attributes]:
        identifier = {"00080052": attribute("CS", level), **{tag[1:]: content for tag, content in keys.items()}}
        matches, status = find(self.peer(model, **(wanted or {})), identifier, model=model)
        self.assertEqual(status, 0x0000)
        return matches


class MatchTests(QueryCase):
    def setUp(self) -> None:
        super().setUp()
        self.store(made("1"), made("1", "2", Modality="MR"), made("2", PatientID="P1"))

    def test_response(self) -> None:
        """What was asked for, the level, where it can be had, the unique keys."""
        (match, _) = self.find("STUDY", _00100010=attribute("PN", "NAME*"), _00080050=attribute("SH"))
        self.assertEqual(text(match, "00080052"), "STUDY")
        self.assertEqual((text(match, "00080054"), text(match, "00080056")), ("DICOMD", "ONLINE"))
        self.assertEqual((text(match, "00100010"), text(match, "00080050")), ("Name^1", "A1"))
        self.assertEqual(text(match, "0020000D"), "1.2.1")
        self.assertNotIn("00080020", match)

    def test_levels_of_the_models(self) -> None:
        """Patient Root has four, Study Root three."""
        unique = attribute("LO", "P1")
        self.assertEqual(len(self.find("PATIENT", model=PATIENT_ROOT, _00100020=attribute("LO"))), 1)
        self.assertEqual(len(self.find("STUDY", model=PATIENT_ROOT, _00100020=unique)), 2)
        self.assertEqual(len(self.find("SERIES", _0020000D=attribute("UI", "1.2.1"), _0020000E=attribute("UI"))), 2)
        image = {"_0020000D": attribute("UI", "1.2.1"), "_0020000E": attribute("UI", "1.2.1.2"), "_00080018": attribute("UI")}
        self.assertEqual([text(match, "00080018") for match in self.find("IMAGE", **image)], ["1.2.1.2.1"])

    def test_the_id_of_a_patient_is_unique_below_it(self) -> None:
        """An unknown Patient ID matches any where it is a required key, but not where it is the unique one."""
        self.store(made("3", PatientID=None))
        unique = attribute("LO", "P1")
        self.assertEqual(len(self.find("STUDY", _00100020=unique)), 3)
        self.assertEqual(len(self.find("STUDY", model=PATIENT_ROOT, _00100020=unique)), 2)

    def test_list_of_uids(self) -> None:
        """Also for the unique key of the level."""
        self.assertEqual(len(self.find("STUDY", _0020000D=attribute("UI", "1.2.1", "1.2.2", "1.2.3"))), 2)

    def test_unsupported_optional_keys(self) -> None:
        """Attributes of lower levels are left out, and the status says so."""
        peer = self.peer()
        ask(peer, {"00080052": attribute("CS", "STUDY"), "00080060": attribute("CS"), "0020000D": attribute("UI")})
        self.assertNotIn("00080060", heard(peer)[0][0])
        statuses = [output.command.status for output in peer.heard if isinstance(output, CommandReceived)]
        self.assertEqual(statuses, [0xFF01, 0xFF01, 0x0000])

    def test_urls_are_for_the_web(self) -> None:
        """Retrieve URL is not an attribute of this door."""
        self.assertNotIn("00081190", self.find("STUDY", _00081190=attribute("UR"))[0])

    def test_supported_keys_without_value_are_empty(self) -> None:
        """PS3.4 C.4.1.1.3.2."""
        match = self.find("STUDY", _00081030=attribute("LO"), _00104000=attribute("LT"))[0]
        self.assertEqual((match["00081030"], match["00104000"]), ({"vr": "LO"}, {"vr": "LT"}))


class NegotiationTests(QueryCase):
    def test_relational(self) -> None:
        """Only when it was negotiated may higher unique keys be missing."""
        self.store(made("1"), made("2"))
        keys = {"_0020000E": attribute("UI"), "_00100020": attribute("LO", "P2")}
        found = self.find("SERIES", wanted={"relational": True}, **keys)
        self.assertEqual([text(match, "0020000E") for match in found], ["1.2.2.1"])
        identifier = {"00080052": attribute("CS", "SERIES"), "0020000E": attribute("UI")}
        self.assertEqual(find(self.peer(), identifier), ([], 0xA900))

    def test_combined_ranges(self) -> None:
        """One interval when negotiated; otherwise two."""
        self.store(made("1", StudyDate="20240102", StudyTime="0100"))
        keys = {"_00080020": attribute("DA", "20240101-20240103"), "_00080030": attribute("TM", "1200-1300")}
        self.assertEqual(len(self.find("STUDY", **keys)), 0)
        self.assertEqual(len(self.find("STUDY", wanted={"combined": True}, **keys)), 1)

    def test_fuzzy(self) -> None:
        """Names that sound alike, when negotiated."""
        self.store(made("1", PatientName="Smith^John"))
        self.assertEqual(len(self.find("STUDY", _00100010=attribute("PN", "Smyth"))), 0)
        self.assertEqual(len(self.find("STUDY", wanted={"fuzzy": True}, _00100010=attribute("PN", "Smyth"))), 1)

    def test_empty_and_multiple_values(self) -> None:
        """Two quotation marks, and all of several values."""
        self.store(made("1"), made("1", "2", Modality="SR"), made("2", AccessionNumber=None))
        wanted = {"empty": True, "multiple": True}
        self.assertEqual(len(self.find("STUDY", wanted=wanted, _00080050=attribute("SH", '""'))), 1)
        self.assertEqual(len(self.find("STUDY", wanted=wanted, _00080061=attribute("CS", "SR", "CT"))), 1)
        self.assertEqual(len(self.find("STUDY", _00080061=attribute("CS", "SR", "CT"))), 2)

    def test_timezone(self) -> None:
        """Times on the clock of the query, when negotiated."""
        self.store(made("1", StudyDate="20240101", StudyTime="2330", TimezoneOffsetFromUTC="+0000"))
        keys = {"_00080020": attribute("DA", "20240102"), "_00080030": attribute("TM"), "_00080201": attribute("SH", "+0100")}
        (match,) = self.find("STUDY", wanted={"timezone": True}, **keys)
        self.assertEqual((text(match, "00080030"), text(match, "00080201")), ("0030", "+0100"))
        self.assertEqual(self.find("STUDY", **keys), [])

    def test_answer(self) -> None:
        """No byte more than was offered; what is not supported is denied."""
        self.assertEqual(options_of(b""), Options())
        self.assertEqual(options_of(b"\1"), Options(relational=True))
        (row,) = self.provider.services()
        assert row.extended is not None
        self.assertEqual(row.extended(b"\1"), b"\1")
        self.assertEqual(row.extended(b"\1\1\1\1\1\1\1\1"), b"\1\1\1\1\0\1\1\0")


class RefusalTests(QueryCase):
    def status(self, identifier: Attributes, model: str = STUDY_ROOT) -> int:
        matches, status = find(self.peer(model), identifier, model=model)
        self.assertEqual(matches, [])
        return status

    def test_identifier_does_not_match(self) -> None:
        """A900: level, unique keys, malformed values."""
        for identifier in (
            {},
            {"00080052": attribute("CS", "FRAME")},
            {"00080052": attribute("CS", "PATIENT")},
            {"00080052": attribute("CS", "SERIES"), "0020000D": attribute("UI", "1.2", "1.3")},
            {"00080052": attribute("CS", "STUDY"), "0020000D": attribute("UI", "1.2.x")},
            {"00080052": attribute("CS", "STUDY"), "00080020": attribute("DA", "yesterday")},
        ):
            self.assertEqual(self.status(identifier), 0xA900, identifier)
        self.assertEqual(self.status({"00080052": attribute("CS", "STUDY")}, PATIENT_ROOT), 0xA900)

    def test_identifier_cannot_be_read(self) -> None:
        """C000."""
        peer = self.peer()
        command = Command(CommandField.C_FIND, affected_sop_class_uid=STUDY_ROOT, message_id=7, priority=0)
        peer.request(1, command, b"\x08\x00\x52\x00CS\xff\xff")
        self.assertEqual(heard(peer), ([], 0xC000))

    def test_time_limit(self) -> None:
        """A700."""
        self.store(made("1"))
        self.provider = QueryProvider(Search(self.workers, self.archive.folder, self.clock, timeout=0.0), "DICOMD")
        self.listener, _ = listening(*self.provider.services())
        self.assertEqual(self.status({"00080052": attribute("CS", "STUDY"), "0020000D": attribute("UI")}), 0xA700)


class CancelTests(QueryCase):
    def test_in_the_midst(self) -> None:
        """A C-CANCEL that arrives between two portions of the matches ends the answer with FE00."""
        self.admit("1", range(50))
        peer = self.peer(relational=True)
        cancel = peer.writer.message(1, Command(CommandField.C_CANCEL, message_id_being_responded_to=7))
        written = peer.transport.write

        def write(data: bytes) -> None:
            """The peer cancels as soon as it sees a match."""
            written(data)
            peer.transport.write = written
            peer.protocol.dataReceived(cancel)

        peer.transport.write = write
        ask(peer, {"00080052": attribute("CS", "IMAGE"), "00080018": attribute("UI")})
        matches, status = heard(peer)
        self.assertEqual(status, 0xFE00)
        self.assertLess(len(matches), 50)

    def test_when_it_is_over(self) -> None:
        """A late C-CANCEL is no error, and has no answer."""
        self.store(made("1"))
        peer = self.peer()
        find(peer, {"00080052": attribute("CS", "STUDY"), "0020000D": attribute("UI")})
        peer.heard.clear()
        peer.send(peer.writer.message(1, Command(CommandField.C_CANCEL, message_id_being_responded_to=7)))
        self.assertEqual(peer.hear(), [])


class CharacterSetTests(QueryCase):
    def answer(self, name: str, declared: str) -> tuple[Attributes, bytes]:
        peer = self.peer()
        ask(peer, {"00080052": attribute("CS", "STUDY"), "00100010": attribute("PN", name)}, declared=declared)
        (data,) = [output.data for output in peer.hear() if isinstance(output, DataSetChunk) and output.data]
        return datasets.decode(data, EXPLICIT), data

    def test_keys_in_any_character_set(self) -> None:
        """Keys are decoded, compared, and answered in their set where it can hold the answer; in UTF-8 otherwise."""
        self.store(
            made("1", PatientName="Müller^Jörg"),
            made("2", PatientName="Yamada^Tarou=山田^太郎"),
            made("3", PatientName="Люкceмбypг"),
        )
        for name, declared, expected in (
            ("Müller*", "ISO_IR 100", "ISO_IR 100"),
            ("=山田*", "\\ISO 2022 IR 87", "\\ISO 2022 IR 87"),
            ("=山田*", "GB18030", "GB18030"),
            ("Лю*", "ISO_IR 144", "ISO_IR 144"),
            ("M?ller*", "", "ISO_IR 192"),
        ):
            match, _ = self.answer(name, declared)
            self.assertEqual("\\".join(value or "" for value in match["00080005"]["Value"]), expected, name)
            self.assertIn(text(match, "00100010").split("^")[0], ("Müller", "Yamada", "Люкceмбypг"))
