"""One archive under both doors: what comes in through one is found and comes out through the other, byte for byte."""

import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
from dicomweb_client.api import DICOMwebClient
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest, TestCase

from dicomd.wire.elements import file_meta
from tests.daemon import Daemon, run
from tests.data import pydicom_file, shared
from tests.dimse.test_door import tool, uids


def series() -> list[Path]:
    """A real series, or what pydicom ships of one."""
    try:
        return sorted(path for path in shared("series/ct-head-93").rglob("*") if path.is_file())[:40]
    except SkipTest:
        return [pydicom_file("CT_small.dcm")]


class BothDoorsTests(TestCase):
    timeout = 120

    def setUp(self) -> "Deferred[Any]":
        self.daemon = Daemon(tempfile.mkdtemp(dir="."))
        self.addCleanup(lambda: run(self.daemon.stop()))
        self.files = series()
        self.first = pydicom.dcmread(self.files[0], stop_before_pixels=True)
        return run(self.daemon.start())

    def client(self) -> DICOMwebClient:
        return DICOMwebClient(self.daemon.url)

    def kept(self) -> dict[str, bytes]:
        return uids(path for path in self.daemon.files() if path.suffix == ".dcm")

    def test_in_by_dimse_out_by_web(self) -> "Deferred[None]":
        """storescu; QIDO-RS and WADO-RS by dicomweb-client."""

        async def scenario() -> None:
            await tool("storescu", "127.0.0.1", self.daemon.port, *self.files)
            kept = self.kept()
            self.assertEqual(set(kept), set(uids(self.files)))
            client = self.client()
            found = await deferToThread(client.search_for_studies, search_filters={"PatientID": str(self.first.PatientID)})
            self.assertEqual([one["0020000D"]["Value"][0] for one in found], [self.first.StudyInstanceUID])
            self.assertEqual(found[0]["00201208"]["Value"], [len(kept)])
            study, one = str(self.first.StudyInstanceUID), str(self.first.SeriesInstanceUID)
            instances = await deferToThread(client.search_for_instances, study, one, get_remaining=True)
            self.assertEqual({one["00080018"]["Value"][0] for one in instances}, set(kept))
            retrieved = await deferToThread(client.retrieve_series, study, one)
            originals = {str(one.SOPInstanceUID): one.PixelData for one in map(pydicom.dcmread, self.files)}
            self.assertEqual({str(one.SOPInstanceUID): one.PixelData for one in retrieved}, originals)
            for uid, content in kept.items():
                url = f"{self.daemon.url}/studies/{study}/series/{one}/instances/{uid}"
                accept = {"Accept": "application/dicom; transfer-syntax=*"}
                response = await self.daemon.http.get(url, headers=accept)
                self.assertTrue((await response.content()).endswith(content))

        return run(scenario())

    def test_in_by_web_out_by_dimse(self) -> "Deferred[None]":
        """STOW-RS by dicomweb-client; findscu and getscu."""

        async def scenario() -> None:
            datasets = [pydicom.dcmread(path) for path in self.files]
            response = await deferToThread(self.client().store_instances, datasets)
            self.assertEqual(len(response.ReferencedSOPSequence), len(datasets))
            kept = self.kept()
            for dataset in datasets:
                self.assertEqual(kept[str(dataset.SOPInstanceUID)], _written(dataset))
            study = f"StudyInstanceUID={self.first.StudyInstanceUID}"
            said = await tool(
                *("findscu", "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", study, "-k", "PatientID"),
                *("-k", "NumberOfStudyRelatedInstances", "127.0.0.1", self.daemon.port),
            )
            self.assertIn(f"[{len(datasets)}", said)
            folder = Path(tempfile.mkdtemp(dir="."))
            keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", study)
            await tool("getscu", "-S", "+B", *keys, "-od", folder, "127.0.0.1", self.daemon.port)
            self.assertEqual(uids(folder.iterdir()), kept)

        return run(scenario())


def _written(dataset: pydicom.Dataset) -> bytes:
    """The data set as dicomweb-client sends it."""
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, dataset)
    content = buffer.getvalue()
    return content[file_meta(content).dataset_offset :]
