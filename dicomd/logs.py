"""Logs of the core, which knows no Twisted and logs through the standard library, go where those of the doors go."""

import logging

from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

_LEVELS = (
    (logging.CRITICAL, LogLevel.critical),
    (logging.ERROR, LogLevel.error),
    (logging.WARNING, LogLevel.warn),
    (logging.INFO, LogLevel.info),
)


class ToTwisted(logging.Handler):
    """Hands each record to a Twisted logger of the same name; also from worker threads."""

    def emit(self, record: logging.LogRecord) -> None:
        logger, text = Logger(namespace=record.name), self.format_text(record)
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            logger.failure("{text}", Failure(error, type(error), record.exc_info[2]), text=text)
            return
        level = next((level for least, level in _LEVELS if record.levelno >= least), LogLevel.debug)
        logger.emit(level, "{text}", text=text)

    def format_text(self, record: logging.LogRecord) -> str:
        """One line, whatever the values hold."""
        return " ".join(record.getMessage().split("\n"))


def join() -> None:
    """Let `dicomd`'s own records, from information upwards, go to Twisted's log; calling it again changes nothing."""
    ours = logging.getLogger("dicomd")
    if not any(isinstance(handler, ToTwisted) for handler in ours.handlers):
        ours.addHandler(ToTwisted())
    ours.setLevel(logging.INFO)
    ours.propagate = False
