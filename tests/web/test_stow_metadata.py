"""Store with metadata and bulk data apart: every form of PS3.18 10.5.2, over a real archive."""

import io
import warnings
from pathlib import Path
from typing import Any

import orjson
import pydicom
from attrs import evolve
from PIL import Image
from pydicom.encaps import generate_frames

from dicomd.model.attributes import Attributes, attribute
from dicomd.model.status import MalformedDataset
from dicomd.model.transfer_syntaxes import transfer_syntax
from dicomd.services.bulk import BulkStore
from dicomd.store.incoming import Rules
from dicomd.web.routes import Route
from dicomd.web.stow import Stow
from dicomd.wire.datasets import from_json, to_json, to_xml
from dicomd.wire.elements import file_meta
from dicomd.wire.metadata import metadata
from dicomd.wire.values import swapped
from dicomd.wire.vrs import WORDS
from tests.archive import ArchiveCase, spooled
from tests.data import pydicom_files, shared_files
from tests.web.harness import Answer, Connection, ask, encode
from tests.wire.parity import differences

JSON, XML, OCTETS = "application/dicom+json", "application/dicom+xml", "application/octet-stream"
Part = tuple[dict[str, str], bytes]
IDENTITY: Attributes = {
    "00080016": attribute("UI", "1.2.840.10008.5.1.4.1.1.7"),
    "00080018": attribute("UI", "1.2.3.4.5"),
    "0020000D": attribute("UI", "1.2.3"),
    "0020000E": attribute("UI", "1.2.3.4"),
    "00100020": attribute("LO", "P1"),
}
NEEDED = set(IDENTITY) - {"00100020"}
IMAGE: Attributes = {
    **IDENTITY,
    "00280002": attribute("US", 1),
    "00280004": attribute("CS", "MONOCHROME2"),
    "00280010": attribute("US", 2),
    "00280011": attribute("US", 3),
    "00280100": attribute("US", 8),
    "7FE00010": {"vr": "OW", "BulkDataURI": "bulk/1"},
}


def related(parts: list[Part], closing: bytes = b"\r\n--b1--\r\n") -> bytes:
    """The body of multipart/related."""
    heads = ["\r\n--b1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n" for headers, _ in parts]
    return b"".join(head.encode() + content for head, (_, content) in zip(heads, parts, strict=True)) + closing


def bulk(location: str, content: bytes, media_type: str = OCTETS) -> Part:
    return {"Content-Type": media_type, "Content-Location": location}, content


class MetadataCase(ArchiveCase):
    most_request = 0

    def setUp(self) -> None:
        super().setUp()
        self.bulk = BulkStore(self.workers, self.archive.folder)

    def rows(self) -> list[Route]:
        return Stow(self.storage, self.bulk, self.most_request).routes()

    def post(self, body: bytes, content_type: str, path: str = "/studies", method: str = "POST") -> Answer:
        return ask(self.door, method, f"/dicom-web{path}", body, [("Content-Type", content_type)])

    def send(self, attributes: Attributes | list[Attributes], *parts: Part, kind: str = JSON, **options: Any) -> Answer:
        """Metadata in one part (one for each instance in XML), then bulk data."""
        items = attributes if isinstance(attributes, list) else [attributes]
        documents = [to_json(items)] if kind == JSON else [to_xml(item) for item in items]
        root: list[Part] = [({"Content-Type": kind}, document) for document in documents]
        return self.post(related([*root, *parts]), f'multipart/related; type="{kind}"; boundary=b1', **options)

    def stored(self) -> list[Path]:
        return sorted(path for path in self.root.rglob("*.dcm"))

    def dataset(self) -> pydicom.Dataset:
        (path,) = self.stored()
        return pydicom.dcmread(path)

    def assertNothingLeft(self) -> None:
        self.archive.folder.tidy()
        self.assertEqual(spooled(self.archive.folder), [])

    def reason(self, answer: Answer) -> int:
        (item,) = answer.json["00081198"]["Value"]
        return int(item["00081197"]["Value"][0])


class FormTests(MetadataCase):
    def test_json_with_bulk_data(self) -> None:
        """One JSON part, one bulk data part: a Part 10 file in Explicit VR Little Endian."""
        answer = self.send(IMAGE, bulk("bulk/1", b"abcdef"))
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual(answer.json["00081199"]["Value"][0]["00081155"]["Value"], ["1.2.3.4.5"])
        found = self.dataset()
        self.assertEqual((found.PixelData, found.file_meta.TransferSyntaxUID), (b"abcdef", "1.2.840.10008.1.2.1"))
        self.assertNothingLeft()

    def test_xml_with_bulk_data(self) -> None:
        """One XML part for each instance."""
        second = IMAGE | {"00080018": attribute("UI", "1.2.3.4.6")}
        self.assertEqual(self.send([IMAGE, second], bulk("bulk/1", b"abcdef"), kind=XML).status, 200)
        self.assertEqual(len(self.stored()), 2)

    def test_several_instances(self) -> None:
        """An array of data sets, each outcome in order."""
        items = [IMAGE | {"00080018": attribute("UI", f"1.2.9.{number}")} for number in range(20)]
        items[3] = items[3] | {"00280010": attribute("US", 7)}
        answer = self.send(items, bulk("bulk/1", b"abcdef"))
        self.assertEqual(answer.status, 202)
        names = [item["00081155"]["Value"][0] for item in answer.json["00081199"]["Value"]]
        self.assertEqual(names, [f"1.2.9.{number}" for number in range(20) if number != 3])
        self.assertEqual(answer.json["00081198"]["Value"][0]["00081155"]["Value"], ["1.2.9.3"])
        self.assertIn("(7FE0,0010) has 6 bytes", answer.headers["warning"])

    def test_metadata_alone(self) -> None:
        """Single part, as array, as object, under the old name, as XML."""
        for body, kind in (
            (to_json([IDENTITY]), JSON),
            (orjson.dumps(IDENTITY), "application/json"),
            (to_xml(IDENTITY), XML),
        ):
            answer = self.post(body, kind)
            self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual(self.dataset().PatientID, "P1")

    def test_put(self) -> None:
        """PUT is as good as POST."""
        self.assertEqual(self.post(to_json([IDENTITY]), JSON, method="PUT").status, 200)

    def test_other_types_of_the_whole(self) -> None:
        """The type of bulk data as that of the whole: each part says what it is."""
        for kind in (OCTETS, "image/jpeg"):
            body = related([({"Content-Type": JSON}, to_json([IMAGE])), bulk("bulk/1", b"abcdef")])
            self.assertEqual(self.post(body, f'multipart/related; type="{kind}"; boundary=b1').status, 200)

    def test_locations(self) -> None:
        """Relative and absolute names of the same part, a Content-ID, and no name at all for the only part."""
        url = "http://dicom.test/dicom-web/bulk/1"
        for uri, part in (
            ("bulk/1", bulk("bulk/1", b"abcdef")),
            ("/dicom-web/bulk/1", bulk("bulk/1", b"abcdef")),
            (url, bulk(url, b"abcdef")),
            ("cid:x@y", ({"Content-Type": OCTETS, "Content-ID": "<x@y>"}, b"abcdef")),
            ("anything", ({"Content-Type": OCTETS}, b"abcdef")),
        ):
            with self.subTest(uri=uri):
                answer = self.send(IMAGE | {"7FE00010": {"vr": "OW", "BulkDataURI": uri}}, part)
                self.assertEqual(answer.status, 200, answer.body)

    def test_frames(self) -> None:
        """A part a frame: the same location again and again, or a location with the number of the frame."""
        frames = [jpeg(number) for number in range(3)]
        attributes = IDENTITY | {"7FE00010": {"vr": "OB", "BulkDataURI": "pixels"}}
        for locations in (["pixels"] * 3, ["pixels/frames/1", "pixels/frames/2", "pixels/frames/3"]):
            parts = [bulk(location, frame, "image/jpeg") for location, frame in zip(locations, frames, strict=True)]
            self.assertEqual(self.send(attributes, *parts).status, 200)
            found = list(generate_frames(self.dataset().PixelData, number_of_frames=3))
            self.assertEqual([item[: len(frame)] for item, frame in zip(found, frames, strict=True)], frames)

    def test_pictures(self) -> None:
        """PNG and GIF become native pixels, with their description (PS3.18 10.5.2)."""
        attributes = IDENTITY | {"7FE00010": {"vr": "OB", "BulkDataURI": "pixels"}}
        for mode, form, expected in (
            ("L", "PNG", (1, 8, "MONOCHROME2")),
            ("I;16", "PNG", (1, 16, "MONOCHROME2")),
            ("RGB", "PNG", (3, 8, "RGB")),
            ("RGBA", "PNG", (3, 8, "RGB")),
            ("P", "PNG", (3, 8, "RGB")),
            ("L", "GIF", (1, 8, "MONOCHROME2")),
        ):
            out = io.BytesIO()
            Image.new(mode, (5, 3), 1).save(out, form)
            answer = self.send(attributes, bulk("pixels", out.getvalue(), f"image/{form.lower()}"))
            self.assertEqual(answer.status // 100, 2, answer.body)
            found = self.dataset()
            with self.subTest(mode=mode, form=form):
                self.assertEqual((found.SamplesPerPixel, found.BitsAllocated, found.PhotometricInterpretation), expected)
                self.assertEqual(found.pixel_array.shape[:2], (3, 5))

    def test_animated(self) -> None:
        """An animated GIF is a multi-frame image."""
        out = io.BytesIO()
        frames = [Image.new("RGB", (4, 4), (40 * number, 0, 0)) for number in range(3)]
        frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
        attributes = IDENTITY | {"7FE00010": {"vr": "OB", "BulkDataURI": "pixels"}}
        self.assertEqual(self.send(attributes, bulk("pixels", out.getvalue(), "image/gif")).status, 200)
        self.assertEqual(self.dataset().NumberOfFrames, 3)
        self.assertEqual([int(frame[0, 0, 0]) for frame in self.dataset().pixel_array], [0, 40, 80])

    def test_large(self) -> None:
        """Bulk data that do not fit in memory go through the spool folder."""
        content = bytes(range(256)) * 3 * 4096
        attributes = IMAGE | {"00280010": attribute("US", 3 * 1024), "00280011": attribute("US", 1024)}
        self.assertEqual(self.send(attributes, bulk("bulk/1", content)).status, 200)
        self.assertEqual(self.dataset().PixelData, content)
        self.assertNothingLeft()

    def test_study(self) -> None:
        """Instances of another study than that of the path are refused one by one."""
        items = [IDENTITY, IDENTITY | {"00080018": attribute("UI", "1.2.3.4.6"), "0020000D": attribute("UI", "1.9")}]
        answer = self.send(items, path="/studies/1.2.3")
        self.assertEqual((answer.status, self.reason(answer)), (202, 0xA900))


class RefusalTests(MetadataCase):
    def test_not_metadata(self) -> None:
        """400 names what is wrong; nothing is left."""
        for body, kind, problem in (
            (b"{", JSON, "not JSON"),
            (b"<x/>", XML, "NativeDicomModel"),
            (b'[{"x": 1}]', JSON, "is not a tag"),
            (b"[]", JSON, "no instance"),
        ):
            answer = self.post(body, kind)
            self.assertEqual(answer.status, 400)
            self.assertIn(problem, answer.body.decode())
        self.assertNothingLeft()

    def test_bulk_data_missing(self) -> None:
        """The instance fails, named, with the tag in the warning."""
        answer = self.send(IMAGE)
        self.assertEqual((answer.status, self.reason(answer)), (409, 0xC000))
        self.assertIn("(7FE0,0010) refers to bulk data", answer.headers["warning"])

    def test_without_uids(self) -> None:
        """An instance without a name is among the other failures."""
        answer = self.send({key: value for key, value in IDENTITY.items() if key != "00080018"})
        self.assertEqual((answer.status, answer.json["0008119A"]["Value"]), (409, [{"00081197": attribute("US", 0xC000)}]))

    def test_cut_off(self) -> None:
        """A body that ends half-way is a bad request and leaves nothing."""
        root = ({"Content-Type": JSON}, to_json([IMAGE]))
        for closing in (b"", b"\r\n--b1"):
            body = related([root, bulk("bulk/1", b"abcdef" * 500_000)], closing=closing)
            answer = self.post(body, f'multipart/related; type="{JSON}"; boundary=b1')
            self.assertEqual(answer.status, 400)
            self.assertNothingLeft()

    def test_client_leaves(self) -> None:
        """Nothing is left of bulk data that were spooled."""
        root = ({"Content-Type": JSON}, to_json([IMAGE]))
        body = related([root, bulk("bulk/1", bytes(3_000_000))], closing=b"")
        connection = Connection(self.door)
        kind = ("Content-Type", f'multipart/related; type="{JSON}"; boundary=b1')
        head = encode("POST", "/dicom-web/studies", None, [kind, ("Content-Length", "9000000")])
        connection.send(head + body)
        connection.lose()
        self.assertNothingLeft()
        self.assertEqual(self.stored(), [])

    def test_too_large(self) -> None:
        """413 before and while the body arrives; metadata have their own bound."""
        self.most_request = 2000
        self.assertEqual(self.send(IMAGE, bulk("bulk/1", bytes(3000))).status, 413)
        self.most_request = 0
        door = self.door
        door.settings = evolve(door.settings, max_body=1024)
        body = to_json([IDENTITY | {"00104000": attribute("LT", "x" * 2000)}])
        self.assertEqual(ask(door, "POST", "/dicom-web/studies", body, [("Content-Type", JSON)]).status, 413)

    def test_no_space(self) -> None:
        """Refused before anything is damaged."""
        self.bulk = BulkStore(self.workers, self.archive.folder, Rules(min_free_bytes=1 << 62))
        answer = self.send(IMAGE, bulk("bulk/1", bytes(3_000_000)))
        self.assertIn(answer.status, (503, 507))
        self.assertNothingLeft()

    def test_size_of_picture(self) -> None:
        """What the metadata say of the size must agree with the picture."""
        out = io.BytesIO()
        Image.new("L", (5, 3)).save(out, "PNG")
        attributes = IDENTITY | {"7FE00010": {"vr": "OB", "BulkDataURI": "pixels"}, "00280010": attribute("US", 4)}
        answer = self.send(attributes, bulk("pixels", out.getvalue(), "image/png"))
        self.assertIn("(0028,0010) is not that of the picture", answer.headers["warning"])

    def test_broken_picture(self) -> None:
        """A picture that is none fails its instance."""
        attributes = IDENTITY | {"7FE00010": {"vr": "OB", "BulkDataURI": "pixels"}}
        answer = self.send(attributes, bulk("pixels", b"\x89PNG\r\n\x1a\nxx", "image/png"))
        self.assertEqual((answer.status, self.reason(answer)), (409, 0xC000))


def jpeg(number: int) -> bytes:
    out = io.BytesIO()
    Image.new("L", (8, 6), 20 * number).save(out, "JPEG")
    return out.getvalue()


class RealFileTests(MetadataCase):
    """Every real file taken apart, stored in each form and compared with what it was."""

    def apart(self, path: Path) -> tuple[Attributes, list[Part]] | None:
        data = path.read_bytes()
        try:
            meta = file_meta(data)
            prepared = metadata(data, meta.dataset_offset, meta.transfer_syntax_uid, "x")
        except MalformedDataset:
            return None
        (attributes,) = from_json(prepared.json)
        if (
            prepared.inflated
            or not meta.sound
            or any(tag not in attributes for tag in IDENTITY if tag < "00100000" or tag > "002")
        ):
            return None
        parts: list[Part] = []
        syntax = transfer_syntax(meta.transfer_syntax_uid)
        for name, found in prepared.bulk.items():
            value = data[found.offset : found.offset + found.length]
            if found.encapsulated and "/" in name:
                return None
            if found.encapsulated:
                frames = 1 if syntax.stream else int(attributes.get("00280008", {}).get("Value", [1])[0])
                kind = f"{syntax.media_type}; transfer-syntax={syntax.uid}"
                parts += [bulk(f"x/bulkdata/{name}", frame, kind) for frame in generate_frames(value, number_of_frames=frames)]
            else:
                swap = not syntax.little and found.vr in WORDS
                parts.append(bulk(f"x/bulkdata/{name}", swapped(value, WORDS[found.vr]) if swap else value))
        return attributes, parts

    def check(self, path: Path, kind: str, uid: str) -> bool:
        taken = self.apart(path)
        if taken is None:
            return False
        attributes, parts = taken
        attributes = attributes | {"00080018": attribute("UI", uid)}
        answer = self.send(attributes, *parts, kind=kind)
        if answer.status == 409 and path.name in REFUSED:
            return False
        self.assertIn(answer.status, (200, 202), answer.body)
        study, series = attributes["0020000D"]["Value"][0], attributes["0020000E"]["Value"][0]
        file = self.root / "studies" / study / series / f"{uid}.dcm"
        again = self.apart(file)
        assert again is not None
        self.assertEqual(list(differences(comparable(again[0]), comparable(attributes))), [])
        ours = [content.rstrip(b"\0") for headers, content in again[1]]
        sent = [content[content.find(b"jp2c") + 4 :] if content[4:6] == b"jP" else content for headers, content in parts]
        self.assertEqual(ours, [content.rstrip(b"\0") for content in sent])
        return True

    def run_all(self, kind: str, step: int) -> None:
        checked = 0
        for number, path in enumerate([*pydicom_files(), *shared_files()][::step]):
            with self.subTest(path=path.name), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                checked += self.check(path, kind, f"2.25.{number}")
        self.assertGreater(checked, 20)

    def test_json(self) -> None:
        """With JSON metadata."""
        self.run_all(JSON, 4)

    def test_xml(self) -> None:
        """With XML metadata."""
        self.run_all(XML, 9)


# Pixel data of another size than the description asks for.
REFUSED = ("MR_small_padded.dcm", "badVR.dcm", "JPEG2000-embedded-sequence-delimiter.dcm")


def comparable(attributes: Attributes) -> Attributes:
    """Without the VR of pixel data, which the transfer syntax decides, and without offset tables."""
    return {
        key: {"vr": "OW", "BulkDataURI": "x"} if key == "7FE00010" and len(value) > 1 else value
        for key, value in attributes.items()
        if key not in ("7FE00001", "7FE00002")
    }
