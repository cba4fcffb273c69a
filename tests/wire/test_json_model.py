"""What clients send as DICOM JSON: PS3.18 Annex F."""

import orjson
import pydicom
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.attributes import attribute
from dicomd.model.status import MalformedDataset
from dicomd.wire.datasets import encode, from_json, object_json, to_json
from dicomd.wire.elements import EXPLICIT_LITTLE, file_meta
from dicomd.wire.metadata import metadata
from tests.data import pydicom_files, shared_files
from tests.wire.test_datasets import EVERY_VR


def given(**attributes: object) -> bytes:
    """JSON of one data set, keys written with a leading underscore."""
    return orjson.dumps({key[1:]: value for key, value in attributes.items()})


class FromJsonTests(SynchronousTestCase):
    def test_round_trip(self) -> None:
        """Every VR, as object and as array."""
        self.assertEqual(from_json(to_json([EVERY_VR, {}])), [EVERY_VR, {}])
        self.assertEqual(from_json(object_json(EVERY_VR)), [EVERY_VR])

    def test_real_metadata(self) -> None:
        """What this server tells of real files is what it understands."""
        for path in [*pydicom_files(), *shared_files()][::2]:
            data = path.read_bytes()
            try:
                meta = file_meta(data)
                prepared = metadata(data, meta.dataset_offset, meta.transfer_syntax_uid, "x")
            except MalformedDataset:
                continue
            with self.subTest(path=path.name):
                self.assertEqual(from_json(prepared.json), [orjson.loads(prepared.json)])

    def test_pydicom_reads_what_is_written(self) -> None:
        """pydicom takes it for the same data set as the bytes."""
        theirs = pydicom.Dataset.from_json(object_json(EVERY_VR).decode())
        self.assertEqual(str(theirs.PatientName[0]), "Yamada^Tarou=山田^太郎=やまだ^たろう")
        self.assertEqual(theirs.FrameIncrementPointer, [0x00181063, 0x7FE00010])
        self.assertEqual(theirs.RequestAttributesSequence[0].ScheduledProcedureStepID, "Ä")

    def test_missing_vr(self) -> None:
        """From the dictionary; US or SS by Pixel Representation."""
        data = given(
            _00100010={"Value": [{"Alphabetic": "A"}]}, _00280103={"Value": [1]}, _00280106={"Value": [-1]}, _00281201={}
        )
        self.assertEqual(
            from_json(data)[0],
            {
                "00100010": attribute("PN", "A"),
                "00280103": attribute("US", 1),
                "00280106": attribute("SS", -1),
                "00281201": {"vr": "OW"},
            },
        )

    def test_lenient(self) -> None:
        """Lower case keys, plain names, single values, numbers as strings, empty strings, a byte order mark, bare NaN."""
        data = given(
            _0008103e={"vr": "LO", "Value": "x"},
            _00100010={"vr": "pn", "Value": ["A^B=C"]},
            _00280010={"vr": "US", "Value": ["512"]},
            _00100020={"vr": "LO", "Value": [""]},
            _00100030={"vr": "DA", "Value": None},
            _00200013={"vr": "IS", "Value": ["7"]},
            _00081110={"vr": "SQ", "Value": [None]},
        )
        self.assertEqual(
            from_json(b"\xef\xbb\xbf" + data)[0],
            {
                "00081110": {"vr": "SQ", "Value": [{}]},
                "0008103E": attribute("LO", "x"),
                "00100010": attribute("PN", "A^B=C"),
                "00100020": {"vr": "LO"},
                "00100030": {"vr": "DA"},
                "00200013": attribute("IS", 7),
                "00280010": attribute("US", 512),
            },
        )
        (found,) = from_json(b'{"00189073": {"vr": "FD", "Value": [NaN, -Infinity, "NaN"]}}')
        self.assertEqual(repr(found["00189073"]["Value"]), "[nan, -inf, nan]")

    def test_refused(self) -> None:
        """Each names the attribute and what is wrong."""
        for data, problem in (
            (b"{", "not JSON"),
            (b"[1]", "is not an object"),
            (b"7", "is not an object"),
            (given(_PatientName={"vr": "PN"}), "'PatientName' is not a tag"),
            (given(_00100010="x"), "(0010,0010) is not an object"),
            (given(_00100010={"vr": "XX"}), "(0010,0010) has an unknown vr"),
            (given(_00110010={"Value": ["x"]}, _00111001={"Value": ["x"]}), "(0011,1001) has no vr"),
            (given(_00100020={"vr": "LO", "Value": [True]}), "(0010,0020) has a value that is not a string"),
            (given(_00100020={"vr": "LO", "Value": [{}]}), "(0010,0020) has a value that is not a string"),
            (given(_00100010={"vr": "PN", "Value": [{"Given": "x"}]}), "unknown component group"),
            (given(_00280010={"vr": "US", "Value": [70000]}), "(0028,0010) has a value out of range"),
            (given(_00280010={"vr": "US", "Value": [1.5]}), "not a whole number"),
            (given(_00280010={"vr": "US", "Value": ["a"]}), "not a number"),
            (given(_00280009={"vr": "AT", "Value": ["x"]}), "not a tag"),
            (given(_00420011={"vr": "OB", "Value": [1]}), "cannot have Value"),
            (given(_00420011={"vr": "OB", "InlineBinary": "??"}), "not base64"),
            (given(_00420011={"vr": "OB", "InlineBinary": "AA==", "BulkDataURI": "x"}), "has both"),
            (given(_00100020={"vr": "LO", "InlineBinary": "AA=="}), "cannot have InlineBinary"),
            (given(_00081110={"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": [[]]}}]}), "00081110/0/(0008,1155)"),
            (given(_00081110={"vr": "SQ", "Value": ["x"]}), "00081110/0/"),
        ):
            with self.subTest(problem=problem, data=data):
                self.assertIn(problem, str(self.assertRaises(MalformedDataset, from_json, data)))

    def test_depth(self) -> None:
        """Nesting is bounded."""
        for depth in (100, 5000):
            data = b'{"00400275":{"vr":"SQ","Value":[' * depth + b"{}" + b"]}}" * depth
            self.assertRaises(MalformedDataset, from_json, data)

    def test_groups_of_files_and_commands(self) -> None:
        """Group lengths are dropped; groups 0000 and 0002 are not part of an encoded data set."""
        (found,) = from_json(
            given(_00020010={"vr": "UI", "Value": ["1.2"]}, _00080000={"vr": "UL", "Value": [1]}, _00080060=attribute("CS", "CT"))
        )
        self.assertEqual(list(found), ["00020010", "00080060"])
        self.assertEqual(encode(found, EXPLICIT_LITTLE), b"\x08\0\x60\0CS\2\0CT")
