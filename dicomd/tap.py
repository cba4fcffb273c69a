"""Options and makeService: the only place where the parts are joined."""

from twisted.application.service import MultiService
from twisted.python import usage

from . import config


class Options(usage.Options):
    """Command line of `twistd dicomd`."""

    optParameters = [["config", "c", None, "TOML file; see etc/dicomd.toml for every key"]]

    def postOptions(self) -> None:
        try:
            self.config = config.load(self["config"])
        except config.ConfigError as error:
            raise usage.UsageError(str(error)) from None


def makeService(options: Options) -> MultiService:
    """The whole server as one service; twistd starts and stops it."""
    return MultiService()
