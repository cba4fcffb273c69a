"""WebSocket frames (RFC 6455 5.2), as far as Twisted leaves them to the server.

Frames made once for many connections, and a watch over what a client sends: it knows that a message grows too large before that
is held in memory.
"""

import struct

from attrs import define, field

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
GOING_AWAY, PROTOCOL_ERROR, TOO_BIG = 1001, 1002, 1009


def frame(opcode: int, payload: bytes) -> bytes:
    """A whole message of a server in one frame, unmasked."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 65536:
        return struct.pack(">BBH", 0x80 | opcode, 126, size) + payload
    return struct.pack(">BBQ", 0x80 | opcode, 127, size) + payload


def lone_pong(data: bytes) -> bytes | None:
    """The payload of the Pong that a client sent in one piece, as nearly all do; None for anything else."""
    size = len(data) - 6
    if size < 0 or data[0] != 0x80 | PONG or data[1] != 0x80 | size or size > 125:
        return None
    mask = (data[2:6] * (size // 4 + 1))[:size]
    return (int.from_bytes(data[6:], "big") ^ int.from_bytes(mask, "big")).to_bytes(size, "big")


@define
class Watch:
    """Follows a client's frames without keeping them. `largest` bounds the payload of a message, all its frames together."""

    largest: int
    is_closing: bool = field(init=False, default=False)
    is_too_big: bool = field(init=False, default=False)
    _head: bytes = field(init=False, default=b"")
    _unread: int = field(init=False, default=0)
    _message: int = field(init=False, default=0)

    @property
    def is_between_frames(self) -> bool:
        """Whether the next byte begins a frame."""
        return not self._unread and not self._head

    def feed(self, data: bytes) -> None:
        """More bytes from the client; sets `is_closing` after a Close frame has begun, `is_too_big` as soon as that is known."""
        while data and not self.is_too_big:
            passed = min(self._unread, len(data))
            self._unread -= passed
            data = self._head + data[passed:]
            start = self._begin(data) if data else None
            self._head, data = (data, b"") if start is None else (b"", data[start:])

    def _begin(self, head: bytes) -> int | None:
        """Where the payload begins of the frame with this header; None while the header is not complete."""
        if len(head) < 2:
            return None
        size, start = head[1] & 0x7F, 2
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(head[2:start], "big")
        start += 4 if head[1] & 0x80 else 0
        if len(head) < start:
            return None
        self._count(head[0], size)
        self._unread = size
        return start

    def _count(self, first: int, size: int) -> None:
        opcode = first & 0x0F
        if opcode & 0x8:
            self.is_closing |= opcode == CLOSE
            self.is_too_big |= size > 125
            return
        self._message = size if opcode else self._message + size
        self.is_too_big |= self._message > self.largest
