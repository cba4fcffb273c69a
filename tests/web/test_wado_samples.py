"""Every sample file stored and retrieved in every way, compared with pydicom. Large ones only with DICOMD_TEST_ALL set."""

import io
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames
from pydicom.pixels import get_decoder
from pydicom.uid import UID
from twisted.internet.defer import ensureDeferred

from dicomd.model.transfer_syntaxes import EXPLICIT_LITTLE, transfer_syntax
from dicomd.services.storage import Source
from dicomd.web.routes import Route
from dicomd.web.wado import Wado
from dicomd.web.wado_bulk import WadoBulk
from dicomd.web.wado_frames import WadoFrames
from dicomd.web.wado_metadata import WadoMetadata
from tests.archive import ArchiveCase, parts
from tests.pixels import samples

ALL = bool(os.environ.get("DICOMD_TEST_ALL"))
_LARGEST, _MOST_FRAMES = (1 << 30, 1000) if ALL else (30_000, 6)
OCTETS = 'multipart/related; type="application/octet-stream"'
ANY = f"{OCTETS}; transfer-syntax=*"


class SampleTests(ArchiveCase):
    def rows(self) -> list[Route]:
        bulk = WadoBulk(self.retrieve, self.bulk, self.frames, self.workers.disk)
        wado = Wado(self.retrieve, self.transcoder, self.workers.disk, bulk.bulkdata)
        metadata, frames = WadoMetadata(self.metadata, self.workers.disk), WadoFrames(self.frames, self.workers.disk)
        return [*wado.routes(), *bulk.routes(), *metadata.routes(), *frames.routes()]

    def stored(self) -> Iterator[tuple[Path, str, Dataset]]:
        """Each sample that the archive takes: its path below the service, and the data set as pydicom reads it."""
        for path in samples.files():
            if path.stat().st_size > _LARGEST:
                continue
            reception = self.storage.begin(Source("HTTP"))
            reception.write(path.read_bytes())
            outcome = self.successResultOf(ensureDeferred(self.storage.store(reception)))
            if outcome.status.is_failure or outcome.key is None or not outcome.key.study_instance_uid:
                continue
            key = outcome.key
            where = f"/studies/{key.study_instance_uid}/series/{key.series_instance_uid}/instances/{key.sop_instance_uid}"
            yield path, where, read(self.file_of(outcome).read_bytes())

    def test_everything(self) -> None:
        """As stored byte for byte; frames one by one as stored and decoded; metadata with every reference."""
        count = 0
        with self.assertNoLogs("dicomd", "ERROR"):
            for path, where, dataset in self.stored():
                count += 1
                self.check_instance(path, where)
                self.check_metadata(path, where, dataset)
                if "PixelData" in dataset and "Rows" in dataset and path.name != "badVR.dcm":  # which has "1A" frames
                    self.check_frames(path, where, dataset)
        self.assertGreater(count, 60)

    def check_instance(self, path: Path, where: str) -> None:
        file = next(self.root.glob(f"studies/*/*/{where.rpartition('/')[2]}*.dcm"))
        answer = self.get(where, "application/dicom; transfer-syntax=*")
        self.assertEqual((answer.status, answer.body), (200, file.read_bytes()), path)
        default = self.get(where, 'multipart/related; type="application/dicom"')
        self.assertEqual(default.status, 200, path)
        self.assertEqual(len(parts(default)), 1)

    def check_metadata(self, path: Path, where: str, dataset: Dataset) -> None:
        answer = self.get(f"{where}/metadata", "application/dicom+json")
        self.assertEqual(answer.status, 200, path)
        (found,) = answer.json
        wanted = {f"{element.tag:08X}" for element in dataset if element.tag.element} - {"00080005"}
        self.assertEqual(set(found) - {"00083002", "00080005"}, wanted, path)
        self.check_references(path, found, dataset)

    def check_references(self, path: Path, attributes: dict[str, Any], dataset: Dataset) -> None:
        for tag, attribute in attributes.items():
            if "BulkDataURI" in attribute:
                url = attribute["BulkDataURI"].removeprefix("http://dicom.test/dicom-web")
                answer = self.get(url, f"{ANY}, */*;q=0.1")
                self.assertEqual(answer.status, 200, (path, tag))
                element = dataset[int(tag, 16)]
                native = isinstance(element.value, bytes) and not element.is_undefined_length
                if native and dataset.original_encoding[1]:
                    content = parts(answer)[0][1] if "multipart" in answer.headers["content-type"] else answer.body
                    self.assertEqual(content, element.value, (path, tag))
            elif attribute["vr"] == "SQ":
                for item, inner in zip(attribute.get("Value", ()), dataset[int(tag, 16)].value, strict=True):
                    self.check_references(path, item, inner)

    def check_frames(self, path: Path, where: str, dataset: Dataset) -> None:
        syntax = transfer_syntax(dataset.file_meta.TransferSyntaxUID)
        first = self.get(f"{where}/frames/1", ANY)
        if syntax.encapsulated:
            number = 1 if syntax.stream else int(dataset.get("NumberOfFrames", 1) or 1)
            for index, code in enumerate(generate_frames(dataset.PixelData, number_of_frames=number)):
                if index < _MOST_FRAMES:
                    ((head, content),) = parts(self.get(f"{where}/frames/{index + 1}", ANY))
                    self.assertEqual(content, code, (path, index))
                    self.assertEqual(head["content-type"], f"{syntax.media_type}; transfer-syntax={syntax.uid}")
        self.assertEqual(first.status, 200, path)
        self.check_decoded(path, where, dataset, syntax.uid)

    def check_decoded(self, path: Path, where: str, dataset: Dataset, uid: str) -> None:
        encapsulated = transfer_syntax(uid).encapsulated
        for index in range(min(_MOST_FRAMES, int(dataset.get("NumberOfFrames", 1) or 1))):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    wanted, _ = get_decoder(UID(uid)).as_array(dataset, index=index, raw=not encapsulated)
            except (RuntimeError, NotImplementedError, ValueError, AttributeError):
                return
            answer = self.get(f"{where}/frames/{index + 1}", OCTETS)
            self.assertEqual(answer.status, 200, (path, answer.body[:200]))
            ((head, content),) = parts(answer)
            self.assertIn(EXPLICIT_LITTLE, head["content-type"])
            self.compare(path, dataset, content, wanted, encapsulated)

    def compare(self, path: Path, dataset: Dataset, content: bytes, wanted: np.ndarray, encapsulated: bool) -> None:
        if dataset.BitsAllocated == 1:
            found = np.unpackbits(np.frombuffer(content, "u1"), count=wanted.size, bitorder="little").reshape(wanted.shape)
        elif dataset.PhotometricInterpretation == "YBR_FULL_422" and not encapsulated:
            return
        else:
            found = np.frombuffer(content, wanted.dtype.newbyteorder("<"), wanted.size)
            if dataset.get("PlanarConfiguration") == 1 and not encapsulated and wanted.ndim == 3:
                found = found.reshape(wanted.shape[2], *wanted.shape[:2]).transpose(1, 2, 0)
            found = found.reshape(wanted.shape)
        if not encapsulated and dataset.BitsStored < dataset.BitsAllocated:  # pydicom leaves out what lies above Bits Stored
            mask = (1 << dataset.BitsStored) - 1
            found, wanted = found & mask, wanted & mask
        lossy = encapsulated and "JPEG Baseline" in dataset.file_meta.TransferSyntaxUID.name
        self.assertLessEqual(np.abs(found.astype(np.int64) - wanted.astype(np.int64)).max(), int(lossy), path)


def read(content: bytes) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dcmread(io.BytesIO(content))
