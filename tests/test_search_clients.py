"""Searches by stock clients against the whole server: DCMTK's findscu and dicomweb-client."""

import re
from typing import Any

from dicomweb_client.api import DICOMwebClient
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from tests.daemon import Daemon, run
from tests.dimse.test_door import DoorCase, tool
from tests.searched import admit_rows, made, part10, stored

NAMES = ("Smith^John", "Smithers^Ann", "Müller^Jörg", "Yamada^Tarou=山田^太郎=やまだ^たろう")


class ClientTests(DoorCase):
    timeout = 120

    async def filled(self) -> Daemon:
        """A server with four studies, the first with three instances."""
        daemon = await self.daemon()
        for study, name in enumerate(NAMES, 1):
            for number in range(1, 4 if study == 1 else 2):
                dataset = made(str(study), "1", str(number), PatientName=name, StudyDate=f"2024010{study}", SliceThickness="2.5")
                await stored(daemon.server.storage, part10(dataset))
        return daemon

    async def findscu(self, daemon: Daemon, level: str, *keys: str, root: str = "-S", options: tuple[str, ...] = ()) -> str:
        wanted = [argument for key in keys for argument in ("-k", key)]
        return await tool("findscu", "-v", *options, root, "-k", f"QueryRetrieveLevel={level}", *wanted, "127.0.0.1", daemon.port)

    def test_findscu(self) -> "Deferred[None]":
        """Names, dates, lists of UIDs; each level; refusals."""

        async def scenario() -> None:
            daemon = await self.filled()
            for level, keys, root, expected in (
                ("STUDY", ["PatientName=SMITH*"], "-S", 2),
                ("STUDY", ["PatientName=Smith^John"], "-S", 1),
                ("STUDY", ["StudyDate=20240102-20240103"], "-S", 2),
                ("STUDY", ["StudyInstanceUID=1.2.1\\1.2.4"], "-S", 2),
                ("PATIENT", ["PatientID"], "-P", 4),
                ("SERIES", ["StudyInstanceUID=1.2.1", "SeriesInstanceUID"], "-S", 1),
                ("IMAGE", ["StudyInstanceUID=1.2.1", "SeriesInstanceUID=1.2.1.1", "SOPInstanceUID"], "-S", 3),
            ):
                told = await self.findscu(daemon, level, *keys, root=root)
                self.assertEqual(len(re.findall(r"Find Response: \d+ \(Pending", told)), expected, (keys, told))
                self.assertIn("Success", told)
            told = await self.findscu(daemon, "SERIES", "SeriesInstanceUID")
            self.assertIn("DataSetDoesNotMatchSOPClass", told)

        return run(scenario())

    def test_findscu_cancels(self) -> "Deferred[None]":
        """In the midst of a long answer."""

        async def scenario() -> None:
            daemon = await self.daemon()
            await daemon.server.workers.write(admit_rows, "1", range(5000))
            keys = ("StudyInstanceUID=1.2.1", "SeriesInstanceUID=1.2.1.1", "SOPInstanceUID")
            told = await self.findscu(daemon, "IMAGE", *keys, options=("--cancel", "2"))
            self.assertIn("Cancel", told.rsplit("Received Final", 1)[-1])

        return run(scenario())

    def test_dicomweb_client(self) -> "Deferred[None]":
        """Filters, fields, pages until nothing is left, fuzzy matching."""

        async def scenario() -> None:
            daemon = await self.filled()
            client = DICOMwebClient(daemon.url)

            async def studies(**options: Any) -> list[str]:
                found = await deferToThread(client.search_for_studies, **options)
                return [one["0020000D"]["Value"][0] for one in found]

            self.assertEqual(await studies(search_filters={"PatientName": "smith*"}), ["1.2.2", "1.2.1"])
            self.assertEqual(await studies(search_filters={"PatientName": "山田*"}), ["1.2.4"])
            self.assertEqual(await studies(search_filters={"PatientName": "mueller"}, fuzzymatching=True), ["1.2.3"])
            self.assertEqual(await studies(search_filters={"StudyDate": "20240103-"}), ["1.2.4", "1.2.3"])
            self.assertEqual(await studies(limit=1, get_remaining=True), ["1.2.4", "1.2.3", "1.2.2", "1.2.1"])
            self.assertEqual(await studies(search_filters={"PatientID": "nobody"}), [])
            series = await deferToThread(client.search_for_series, search_filters={"Modality": "CT"}, limit=2)
            self.assertEqual(len(series), 2)
            instances = await deferToThread(
                client.search_for_instances,
                "1.2.1",
                "1.2.1.1",
                fields=["SliceThickness"],
                search_filters={"SliceThickness": "2.50"},
            )
            self.assertEqual([one["00180050"]["Value"] for one in instances], [[2.5]] * 3)

        return run(scenario())
