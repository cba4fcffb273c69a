"""The access log: a line for every request, without its query, written soon and together."""

from typing import Any

from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from dicomd.web.access_log import FLUSH_SECONDS, LARGEST_EVENT, LONGEST_PATH, MOST_LINES
from dicomd.web.responses import Response
from dicomd.web.routes import Route
from tests.web.harness import ask, make_door


class AccessLogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.door = make_door([Route("/x", ("GET",), self.answer, "Answers")], self.clock)
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event: dict[str, Any]) -> None:
        self.lines += str(event.get("lines", "")).splitlines()
        self.assertLess(len(str(event.get("lines", ""))), LARGEST_EVENT)

    async def answer(self, request: Any) -> Response:
        return Response(200, b"x", "text/plain")

    def test_one_line_each(self) -> None:
        """With the id that the answer carries, and without the query, which may hold a name."""
        ids = [ask(self.door, "GET", "/dicom-web/x?PatientName=DOE").headers["x-request-id"] for _ in range(3)]
        self.assertEqual(self.lines, [])
        self.clock.advance(FLUSH_SECONDS)
        self.assertEqual([line.split(":")[0] for line in self.lines], [f"request {each}" for each in ids])
        self.assertTrue(all("GET /dicom-web/x from" in line and ": 200 in " in line for line in self.lines))
        self.assertFalse(any("DOE" in line for line in self.lines))

    def test_refusals_too(self) -> None:
        answer = ask(self.door, "GET", "/nowhere")
        self.clock.advance(FLUSH_SECONDS)
        self.assertIn(f"request {answer.headers['x-request-id']}: GET /nowhere", self.lines[0])

    def test_many_do_not_wait(self) -> None:
        for _ in range(MOST_LINES):
            ask(self.door, "GET", "/dicom-web/x")
        self.assertEqual(len(self.lines), MOST_LINES)

    def test_long_paths(self) -> None:
        """No event outgrows what observers take, and nothing is lost."""
        for _ in range(100):
            ask(self.door, "GET", "/" + "x" * 5000)
        self.clock.advance(FLUSH_SECONDS)
        self.assertEqual(len(self.lines), 100)
        self.assertTrue(all("x" * (LONGEST_PATH - 1) + " from" in line for line in self.lines))
