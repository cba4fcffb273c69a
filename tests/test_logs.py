"""What the core says reaches Twisted's log."""

import logging
from typing import Any

from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from dicomd import logs


class JoinTests(SynchronousTestCase):
    def setUp(self) -> None:
        ours = logging.getLogger("dicomd")
        before = (list(ours.handlers), ours.level, ours.propagate)
        self.addCleanup(self.restore, ours, *before)
        self.events: list[dict[str, Any]] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)
        logs.join()
        logs.join()

    def restore(self, ours: logging.Logger, handlers: list[logging.Handler], level: int, propagate: bool) -> None:
        ours.handlers, ours.propagate = handlers, propagate
        ours.setLevel(level)

    def told(self) -> list[tuple[str, Any, str]]:
        return [(event["log_namespace"], event["log_level"], event["text"]) for event in self.events if "text" in event]

    def test_information(self) -> None:
        """Once, with the name of the logger, braces and all; on one line."""
        logging.getLogger("dicomd.services.storage").info("instance %s {refused}\nby %s", "1.2.3", "X")
        self.assertEqual(self.told(), [("dicomd.services.storage", LogLevel.info, "instance 1.2.3 {refused} by X")])

    def test_levels(self) -> None:
        """Warnings and errors stay what they are; debugging is left out."""
        ours = logging.getLogger("dicomd.model")
        ours.debug("d")
        ours.warning("w")
        ours.error("e")
        self.assertEqual([level for _, level, _ in self.told()], [LogLevel.warn, LogLevel.error])
        self.flushLoggedErrors()

    def test_exception(self) -> None:
        """A traceback goes with its text."""
        try:
            raise ValueError("x")
        except ValueError:
            logging.getLogger("dicomd.services.hub").exception("a subscriber failed")
        self.assertEqual(self.told(), [("dicomd.services.hub", LogLevel.critical, "a subscriber failed")])
        self.assertEqual([type(failure.value) for failure in self.flushLoggedErrors()], [ValueError])
