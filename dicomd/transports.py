"""What both doors do with a Twisted transport beyond its interface."""

from typing import Any

from twisted.internet.tcp import Connection


def send(transport: Any, data: bytes) -> None:
    """Write, at once where nothing waits before it: that saves a turn of the reactor and the watch for writability.

    What the system does not take, and what is too much for one call, goes the transport's usual way.
    """
    if isinstance(transport, Connection) and len(data) <= transport.SEND_LIMIT and _is_open_and_empty(transport):
        sent = transport.writeSomeData(data)
        if sent == len(data):
            return
        if isinstance(sent, int):
            data = data[sent:]
    transport.write(data)


def _is_open_and_empty(transport: Any) -> bool:
    gone = transport.TLS or transport.disconnecting or not transport.connected
    return not (gone or transport.dataBuffer or transport._tempDataBuffer)
