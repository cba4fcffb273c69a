"""The rendered half of WADO-URI (PS3.18 9.5), behind a row of the test's own."""

from typing import Any

import numpy as np

from dicomd.web import transfer
from dicomd.web.rendered import Rendered
from dicomd.web.responses import Response
from dicomd.web.routes import Route

from .test_rendered import RenderedCase, opened


class UriTests(RenderedCase):
    def rows(self) -> list[Route]:
        rendered = Rendered(self.rendering, self.thumbnails, self.workers.disk)

        async def handler(request: Any, study: str, series: str, instance: str) -> Response:
            return await rendered.uri(request, study, series, instance, transfer.accept(request))

        path = "/studies/{study}/series/{series}/instances/{instance}"
        return [Route(path, ("GET",), handler, "WADO-URI"), *rendered.routes()]

    def setUp(self) -> None:
        super().setUp()
        self.pixels = np.zeros((3, 40, 60), np.uint8)
        for number in range(3):
            self.pixels[number, :10, :20] = 80 * (number + 1)
        self.path = self.made(self.pixels, NumberOfFrames=3)

    def test_default(self) -> None:
        """One JPEG, of several frames the middle one; other types when asked for."""
        answer = self.get(self.path, "*/*")
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "image/jpeg"))
        self.assertAlmostEqual(opened(answer).getpixel((5, 5)), 160, delta=4)
        self.assertEqual(getattr(opened(self.get(self.path, "image/gif")), "n_frames", 1), 3)
        self.refused(self.path, 406, "image/jpeg", "application/dicom")

    def test_parameters(self) -> None:
        """Frame, size, region, window, quality."""
        frame = opened(self.get(f"{self.path}?frameNumber=3", "image/png"))
        self.assertEqual((frame.size, frame.getpixel((5, 5))), ((60, 40), 240))
        self.assertEqual(opened(self.get(f"{self.path}?rows=20")).size, (30, 20))
        self.assertEqual(opened(self.get(f"{self.path}?rows=100&columns=30")).size, (30, 20))
        region = opened(self.get(f"{self.path}?frameNumber=1&region=0,0,0.25,0.25", "image/png"))
        self.assertEqual((region.size, region.getextrema()), ((15, 10), (80, 80)))
        dark = opened(self.get(f"{self.path}?windowCenter=5000&windowWidth=10", "image/png"))
        self.assertEqual(dark.getextrema(), (0, 0))
        self.assertEqual(self.get(f"{self.path}?imageAnnotation=patient&imageQuality=50").status, 200)

    def test_refused(self) -> None:
        """400 names the parameter; a frame that does not exist is one of them here."""
        for query in ("frameNumber=0", "rows=x", "region=1,1,0,0", "windowCenter=1", "imageQuality=500", "frameNumber=4"):
            self.refused(f"{self.path}?{query}", 400, query.partition("=")[0][:6])
