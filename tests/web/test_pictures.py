"""Pictures of a running server: as a browser shows them, and while the pixel workers have more to do than they can."""

import io
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest

from dicomd.model.identifiers import Peer
from tests.daemon import run
from tests.data import pydicom_file, shared
from tests.pixels import subjects
from tests.web.test_rendered import file_bytes
from tests.web.test_server import RunningServerTestCase, multipart

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
CELL = 220


class BrowserTests(RunningServerTestCase):
    timeout = 120

    def screenshot(self, page: str) -> "Deferred[Any]":
        """The page (a URL, or HTML) as a headless browser shows it, as an array of RGB."""
        browser = next((path for path in map(shutil.which, BROWSERS) if path), None)
        if browser is None:
            raise SkipTest("no browser is installed")
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        if not page.startswith("http"):
            (folder / "page.html").write_text(page)
            page = (folder / "page.html").as_uri()
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=900,700"]
        files = [f"--user-data-dir={folder}/profile", f"--screenshot={folder}/page.png"]
        command = [browser, *options, *files, "--virtual-time-budget=20000", page]

        def shown() -> Any:
            done = subprocess.run(command, capture_output=True, timeout=100, env={**os.environ, "HOME": str(folder)}, check=False)
            if not (folder / "page.png").exists():
                raise SkipTest(f"the browser does not work here: {done.stderr[-200:]!r}")
            return np.asarray(Image.open(folder / "page.png").convert("RGB")).astype(int)

        return deferToThread(shown)

    async def put(self, *files: bytes) -> list[str]:
        code, module = await self.post(multipart(*files))
        self.assertEqual(code, 200, module)
        return [item["00081190"]["Value"][0] for item in module["00081199"]["Value"]]

    def test_pictures_on_a_page(self) -> "Deferred[None]":
        """Grayscale, colour, a moving picture, a segmentation, a report's thumbnail: each is seen where it stands."""
        files = ["CT_small", "examples_rgb_color", "MR_small", "liver_1frame", "SC_rgb_rle_2frame", "reportsi"]

        async def work() -> None:
            urls = await self.put(*(pydicom_file(f"{name}.dcm").read_bytes() for name in files))
            window, small = "rendered?window=600,1600,sigmoid", "rendered?viewport=200,200"
            kinds = ["rendered", small, window, "rendered", "rendered", "thumbnail"]
            image = "<div style='width:{0}px;height:{0}px;float:left'><img style='width:200px' src='{1}/{2}'></div>"
            body = "".join(image.format(CELL, url, kind) for url, kind in zip(urls, kinds, strict=True))
            seen = await self.screenshot(f"<body style='margin:0;background:#ff00ff;width:{3 * CELL}px'>{body}")
            for number in range(6):
                top, left = number // 3 * CELL, number % 3 * CELL
                cell = seen[top : top + 120, left : left + 190]
                magenta = (np.abs(cell - (255, 0, 255)).sum(axis=2) < 30).mean()
                self.assertLess(magenta, 0.5, (files[number], "is not shown"))
            self.assertGreater(int(seen[0:120, 0:190].std()), 10)
            liver = seen[CELL : CELL + 190, 0:190]
            self.assertTrue(((liver[:, :, 0] > 180) & (liver[:, :, 1] < 160) & (liver[:, :, 2] < 150)).any())

        return run(work())

    def test_report_page(self) -> "Deferred[None]":
        """A report is a page of dark text on a light ground, its key image beside it."""

        async def work() -> None:
            (url,) = await self.put(shared("non-image/sr_document.dcm").read_bytes())
            seen = await self.screenshot(f"{url}/rendered")
            self.assertGreater(float((seen.min(axis=2) > 240).mean()), 0.6)
            self.assertGreater(float((seen.max(axis=2) < 90).mean()), 0.002)

        return run(work())


class SaturationTests(RunningServerTestCase):
    timeout = 120

    def test_echo_while_pixels_are_busy(self) -> "Deferred[None]":
        """C-ECHO is answered at once while many large pictures are being made."""
        pixels = np.random.default_rng(1).integers(0, 4096, (1500, 1500)).astype(np.uint16)
        dataset = subjects.image(pixels, BitsStored=12, PatientID="X")

        async def ask(url: str, number: int) -> int:
            response = await self.daemon.http.get(f"{url}/rendered?quality={10 + number}", headers={"Accept": "image/jpeg"})
            await response.content()
            return int(response.code)

        async def echoes() -> list[float]:
            peer, times = Peer("DICOMD", "127.0.0.1", self.daemon.port), []
            for _ in range(30):
                began = time.monotonic()
                self.assertEqual(await self.daemon.server.sender.echo(peer), 0)
                times.append(time.monotonic() - began)
            return sorted(times)

        async def work() -> None:
            _, module = await self.post(multipart(file_bytes(dataset)))
            url = module["00081199"]["Value"][0]["00081190"]["Value"][0]
            busy = gatherResults([Deferred.fromCoroutine(ask(url, number)) for number in range(40)])
            times = await echoes()
            # An echo of 50 ms is what counts, on a machine that does nothing else. These open and close associations, too.
            self.assertLess(times[len(times) // 2], 0.3)
            self.assertLess(times[-1], 2.0)
            self.assertEqual(set(await busy), {200})

        return run(work())


class UriTests(RunningServerTestCase):
    def test_wado_uri(self) -> "Deferred[None]":
        """A picture by WADO-URI at both roots, as old viewers ask for it."""

        async def work() -> None:
            _, module = await self.post(multipart(pydicom_file("CT_small.dcm").read_bytes()))
            parts = module["00081199"]["Value"][0]["00081190"]["Value"][0].split("/")
            query = f"requestType=WADO&studyUID={parts[-5]}&seriesUID={parts[-3]}&objectUID={parts[-1]}"
            for root in (self.daemon.url, self.daemon.url.rpartition("/")[0] + "/wado"):
                for more, size in (("", (128, 128)), ("&contentType=image/jpeg&rows=64&imageQuality=80", (64, 64))):
                    response = await self.daemon.http.get(f"{root}?{query}{more}")
                    picture = Image.open(io.BytesIO(await response.content()))
                    self.assertEqual((response.code, picture.format, picture.size), (200, "JPEG", size))
            response = await self.daemon.http.get(f"{self.daemon.url}?{query}&windowCenter=5")
            self.assertEqual(response.code, 400)
            self.assertIn("windowWidth", (await response.json())["detail"])

        return run(work())
