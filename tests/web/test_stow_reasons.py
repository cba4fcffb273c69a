"""Every status and reason of a Store response (PS3.18 Tables 10.5.3-1, I.2-1, I.2-2), over a real archive."""

from dicomd.services.storage import Duplicates, Rules, Storage
from dicomd.web.routes import Route
from dicomd.web.stow import Stow
from tests.archive import ArchiveCase, edited
from tests.data import pydicom_file
from tests.web.harness import Answer, ask

MULTIPART = 'multipart/related; type="application/dicom"; boundary=b1'


class ReasonTests(ArchiveCase):
    def configure(self, duplicates: Duplicates = Duplicates.REPLACE, **rules: object) -> None:
        self.storage = Storage(self.workers, self.archive.folder, self.hub, Rules(**rules), duplicates)  # type: ignore[arg-type]

    def rows(self) -> list[Route]:
        return Stow(self.storage, None).routes()  # type: ignore[arg-type]

    def post(self, *contents: bytes, path: str = "/studies") -> Answer:
        body = b"".join(b"\r\n--b1\r\nContent-Type: application/dicom\r\n\r\n" + content for content in contents)
        return ask(self.door, "POST", f"/dicom-web{path}", body + b"\r\n--b1--", [("Content-Type", MULTIPART)])

    def failed(self, answer: Answer) -> int:
        (item,) = answer.json["00081198"]["Value"]
        return int(item["00081197"]["Value"][0])

    def warned(self, answer: Answer) -> int:
        (item,) = answer.json["00081199"]["Value"]
        return int(item["00081196"]["Value"][0])

    def test_stored(self) -> None:
        """200, and again for the same bytes."""
        data = edited()
        for _ in range(2):
            answer = self.post(data)
            self.assertEqual(answer.status, 200)
            self.assertNotIn("00081196", answer.json["00081199"]["Value"][0])

    def test_replaced(self) -> None:
        """202, B000: other content under the same UID took its place."""
        self.post(edited())
        answer = self.post(edited(PatientID="other"))
        self.assertEqual((answer.status, self.warned(answer)), (202, 0xB000))

    def test_duplicate(self) -> None:
        """409, 0111: other content under the same UID is refused where so configured."""
        self.configure(Duplicates.REJECT)
        self.post(edited())
        answer = self.post(edited(PatientID="other"))
        self.assertEqual((answer.status, self.failed(answer)), (409, 0x0111))

    def test_study(self) -> None:
        """409, A900: not the study of the path."""
        answer = self.post(edited(), path="/studies/1.2.3")
        self.assertEqual((answer.status, self.failed(answer)), (409, 0xA900))

    def test_class(self) -> None:
        """409, 0122: a SOP class that is not taken."""
        self.configure(sop_classes=frozenset({"1.2.3"}))
        answer = self.post(edited())
        self.assertEqual((answer.status, self.failed(answer)), (409, 0x0122))

    def test_not_understood(self) -> None:
        """409, C000 among the other failures: it has no name."""
        answer = self.post(b"garbage")
        self.assertEqual(answer.status, 409)
        self.assertEqual(answer.json["0008119A"]["Value"], [{"00081197": {"vr": "US", "Value": [0xC000]}}])

    def test_too_large(self) -> None:
        """413, A700: larger than an instance may be; 202 when others were stored."""
        self.configure(max_instance_bytes=9000)
        large = pydicom_file("CT_small.dcm").read_bytes()
        answer = self.post(large)
        self.assertEqual((answer.status, answer.json["0008119A"]["Value"][0]["00081197"]["Value"]), (413, [0xA700]))
        self.assertEqual(self.post(large, edited(PixelData=None)).status, 202)

    def test_full(self) -> None:
        """507, A700: less space than configured."""
        self.configure(min_free_bytes=1 << 62)
        answer = self.post(edited())
        self.assertEqual((answer.status, "retry-after" in answer.headers), (507, True))

    def test_strict(self) -> None:
        """409, A900 with the tag in the warning."""
        self.configure(strict=True)
        answer = self.post(edited(SeriesInstanceUID="1.02"))
        self.assertEqual((answer.status, self.failed(answer)), (409, 0xA900))
        self.assertIn("(0020,000E) has a value that is no UI", answer.headers["warning"])

    def test_non_patient(self) -> None:
        """The URL of a non-patient instance stands outside every study (PS3.18 12)."""
        answer = self.post(edited(SOPClassUID="1.2.840.10008.5.1.4.38.1"))
        url = answer.json["00081199"]["Value"][0]["00081190"]["Value"][0]
        self.assertIn("/dicom-web/hanging-protocols/1.", url)
