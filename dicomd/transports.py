"""What both doors do with a Twisted transport beyond its interface."""

from typing import Any

from twisted.internet.tcp import Connection

# As much is given to the system in one call; more would keep the reactor from other connections.
AT_ONCE = 512 * 1024


def send(transport: Any, *parts: bytes) -> None:
    """Write, at once where nothing waits before it: that saves turns of the reactor, and making one of the parts.

    What the system does not take, and what is too much for one call, goes the transport's usual way.
    """
    sent = 0
    if isinstance(transport, Connection) and sum(map(len, parts)) <= AT_ONCE and _is_open_and_empty(transport):
        sent = _taken(transport, parts)
    for part in parts:
        if sent < len(part):
            transport.write(part[sent:])
        sent = max(0, sent - len(part))


def _taken(transport: Any, parts: tuple[bytes, ...]) -> int:
    """How many bytes the system took. An error is left to the transport, which meets it again when it writes the rest."""
    try:
        return int(transport.socket.sendmsg(parts))
    except OSError:
        return 0


def _is_open_and_empty(transport: Any) -> bool:
    gone = transport.TLS or transport.disconnecting or not transport.connected
    return not (gone or transport.dataBuffer or transport._tempDataBuffer)
