"""HL7 v2 orders become worklist entries by the documented mapping; garbage becomes a clear refusal."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.attributes import Attributes, attribute, items, text
from dicomd.model.scheduled_steps import Order, entries
from dicomd.model.status import ServiceError, Status
from dicomd.wire import hl7

OMI = (
    "MSH|^~\\&|RIS|H|PACS|H|20260101||OMI^O23^OMI_O23|42|P|2.5.1||||||UNICODE UTF-8\r"
    "PID|||P1^^^ISS||Müller^Eva^M^Jr^Dr||19700203101500|F\r"
    "PV1||O|W1|||||77^Ref^Doc|||||||B6||||V9\r"
    "AL1|1||^Latex\r"
    "ORC|NW|PL1|FI1||||^^^202601021015^^S|||||99^Req^Doc^^^Dr|||||^Cardiology\r"
    "TQ1|||||||202601021030||R\r"
    "OBR|1|||CT1^CT Head \\T\\ Neck^LOCAL^P1^Protocol^L2||||||||^Wheelchair|^Pacemaker|||||||||||||||||||||34^Perf^Phys\r"
    "IPC|ACC1|RP1|1.2.3|SPS1|CT||ROOM1|LOC1|CT_AE\r"
)
ORM = (
    "MSH|^~\\&|RIS|H|PACS|H|20260101||ORM^O01|43|P|2.3\r"
    "PID|||P2||Doe^John||19800101|M\r"
    "ORC|{control}|PL1|FI1||||^^^20260102^^A\r"
    "OBR|1|||MR1^MR Knee^LOCAL||||||||||||||ACC2|RP2|SPS2|MR_AE|||MR\r"
    "ZDS|1.2.9^RIS^Application^DICOM\r"
)


def orders(message: str) -> tuple[Order, ...]:
    return hl7.orders(message.encode())


def both(attributes: Attributes) -> dict[str, Any]:
    """Tag to text, of the entry and of its step."""
    [step] = items(attributes, "00400100")
    return {tag: text(part, tag) for part in (attributes, step) for tag in part if part[tag]["vr"] != "SQ"}


class MappingTests(SynchronousTestCase):
    def test_omi(self) -> None:
        [order] = orders(OMI)
        self.assertFalse(order.remove)
        self.assertEqual(
            both(order.attributes),
            {
                "00080050": "ACC1",
                "00080060": "CT",
                "00080090": "Ref^Doc",
                "00100010": "Müller^Eva^M^Dr^Jr",
                "00100020": "P1",
                "00100021": "ISS",
                "00100030": "19700203",
                "00100040": "F",
                "00102000": "Pacemaker",
                "00102110": "Latex",
                "001021C0": "3",
                "0020000D": "1.2.3",
                "00321032": "Req^Doc^^Dr",
                "00321033": "Cardiology",
                "00321060": "CT Head & Neck",
                "00380010": "V9",
                "00380050": "Wheelchair",
                "00380300": "W1",
                "00400001": "CT_AE",
                "00400002": "20260102",
                "00400003": "103000",
                "00400006": "Perf^Phys",
                "00400007": "Protocol",
                "00400009": "SPS1",
                "00400010": "ROOM1",
                "00400011": "LOC1",
                "00401001": "RP1",
                "00401003": "ROUTINE",
                "00402016": "PL1",
                "00402017": "FI1",
            },
        )
        [code] = items(order.attributes, "00321064")
        self.assertEqual((text(code, "00080100"), text(code, "00080102")), ("CT1", "LOCAL"))
        [protocol] = items(items(order.attributes, "00400100")[0], "00400008")
        self.assertEqual((text(protocol, "00080100"), text(protocol, "00080104")), ("P1", "Protocol"))
        self.assertEqual(len(list(entries(order.attributes))), 1)

    def test_orm(self) -> None:
        [order] = orders(ORM.format(control="NW"))
        found = both(order.attributes)
        wanted = {"00080050": "ACC2", "00401001": "RP2", "00400009": "SPS2", "00400001": "MR_AE", "00080060": "MR"}
        wanted |= {"0020000D": "1.2.9", "00400002": "20260102", "00400003": "000000", "00401003": "HIGH", "00400007": "MR Knee"}
        self.assertEqual({tag: found[tag] for tag in wanted}, wanted)

    def test_order_control(self) -> None:
        for control, remove in (("NW", False), ("XO", False), ("SC", False), ("CA", True), ("DC", True), ("OC", True)):
            self.assertEqual(orders(ORM.format(control=control))[0].remove, remove, control)

    def test_several_orders(self) -> None:
        second = ORM.format(control="NW").replace("SPS2", "SPS3").split("\r", 2)[2]
        self.assertEqual(
            [both(order.attributes)["00400009"] for order in orders(ORM.format(control="NW") + second)], ["SPS2", "SPS3"]
        )

    def test_line_ends(self) -> None:
        self.assertEqual(orders(OMI.replace("\r", "\r\n")), orders(OMI))

    def test_character_sets(self) -> None:
        for name, codec, patient in (
            ("8859/1", "iso8859-1", "Müller^Eva"),
            ("8859/9", "iso8859-9", "Müller^Eva"),
            ("8859/7", "iso8859-7", "Παπαδόπουλος^Ελένη"),
            ("GB 18030-2000", "gb18030", "王^小东"),
            ("ISO IR87", "iso2022_jp", "山田^太郎"),
            ("ASCII~ISO IR87", "iso2022_jp", "山田^太郎"),
            ("~ISO IR87", "iso2022_jp", "山田^太郎"),
            ("", "iso8859-1", "Müller^Eva"),
            ("", "utf-8", "山田^太郎"),
        ):
            data = OMI.replace("UNICODE UTF-8", name).replace("Müller^Eva^M^Jr^Dr", patient).encode(codec)
            self.assertEqual(both(hl7.orders(data)[0].attributes)["00100010"], patient, name)

    def test_every_ipc_is_a_step(self) -> None:
        """OMI^O23: one procedure, performed in two steps."""
        found = [both(order.attributes) for order in orders(OMI + "IPC|ACC1|RP1|1.2.3|SPS2|CT||ROOM2||CT_AE2\r")]
        self.assertEqual([step["00400009"] for step in found], ["SPS1", "SPS2"])
        self.assertEqual([step["00400001"] for step in found], ["CT_AE", "CT_AE2"])
        self.assertEqual({step["00321060"] for step in found}, {"CT Head & Neck"})

    def test_status_changed(self) -> None:
        """ORC-1 SC with ORC-5: in progress, completed, or removed."""
        for status, remove, step in (
            ("IP", False, "STARTED"),
            ("CM", False, "COMPLETED"),
            ("CA", True, None),
            ("DC", True, None),
        ):
            [order] = orders(ORM.format(control="SC").replace("FI1||||", f"FI1||{status}||"))
            self.assertEqual((order.remove, both(order.attributes).get("00400020")), (remove, step), status)


class RefusalTests(SynchronousTestCase):
    def refusal(self, message: str) -> ServiceError:
        error: ServiceError = self.assertRaises(ServiceError, orders, message)
        return error

    def test_other_messages(self) -> None:
        self.assertEqual(self.refusal(OMI.replace("OMI^O23", "ADT^A08")).status, Status.SOP_CLASS_NOT_SUPPORTED)

    def test_no_message(self) -> None:
        for garbage in ("", "hello", "MSH", "\x00\x01", "PID|||1"):
            self.assertEqual(self.refusal(garbage).status, Status.CANNOT_UNDERSTAND)

    def test_no_order(self) -> None:
        self.assertEqual(self.refusal("\r".join(OMI.split("\r")[:3])).status, Status.MISSING_ATTRIBUTE)

    def test_bad_fields(self) -> None:
        self.assertIn("ORC-1", self.refusal(ORM.format(control="ZZ")).comment)
        self.assertIn("time stamp", self.refusal(OMI.replace("202601021030", "tomorrow")).comment)
        self.assertIn("MSH-18", self.refusal(OMI.replace("UNICODE UTF-8", "EBCDIC")).comment)

    @given(st.binary(max_size=300))
    def test_any_bytes(self, data: bytes) -> None:
        """Whatever comes, it is a message or a ServiceError."""
        for prefix in (b"", b"MSH|^~\\&|", OMI.encode()[:200]):
            try:
                hl7.orders(prefix + data)
            except ServiceError as error:
                self.assertTrue(error.comment)


class ExampleTests(SynchronousTestCase):
    def test_entry_is_complete(self) -> None:
        [entry] = entries(orders(ORM.format(control="NW"))[0].attributes)
        self.assertEqual(entry["00380010"], {"vr": "LO"})
        self.assertEqual(entry["00100010"], attribute("PN", "Doe^John"))
