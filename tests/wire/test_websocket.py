"""WebSocket frames out, and the watch over what comes in, held against wsproto."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from wsproto import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from dicomd.wire.websocket import PING, TEXT, Watch, frame, lone_pong

MESSAGES = st.one_of(
    st.text(max_size=300).map(lambda text: TextMessage(text)),
    st.binary(max_size=70000).map(lambda data: BytesMessage(data)),
    st.binary(max_size=125).map(lambda data: Ping(data)),
)


class FrameTests(SynchronousTestCase):
    @given(st.text(max_size=100000))
    def test_text(self, text: str) -> None:
        """A client reads what was sent."""
        client = Connection(ConnectionType.CLIENT)
        client.receive_data(frame(TEXT, text.encode()) + frame(PING, b"7"))
        events = list(client.events())
        self.assertEqual("".join(e.data for e in events if isinstance(e, TextMessage)), text)
        self.assertEqual(events[-1], Ping(b"7"))


class PongTests(SynchronousTestCase):
    @given(st.binary(max_size=125))
    def test_payload(self, payload: bytes) -> None:
        """What a client answers to a Ping is read; nothing else is taken for that."""
        client = Connection(ConnectionType.CLIENT)
        data = client.send(Pong(payload))
        self.assertEqual(lone_pong(data), payload)
        for other in (data[:-1], data + b"\x8a", client.send(Ping(payload)), frame(0xA, payload), b""):
            self.assertIsNone(lone_pong(other))


class WatchTests(SynchronousTestCase):
    @given(st.lists(MESSAGES, max_size=5), st.booleans(), st.integers(1, 5000))
    def test_follows(self, messages: list[object], closes: bool, step: int) -> None:
        """Whatever the pieces are that bytes arrive in, the Close is seen, and it alone."""
        client, watch = Connection(ConnectionType.CLIENT), Watch(1 << 20)
        data = b"".join(client.send(message) for message in messages)
        data += client.send(CloseConnection(1000, "bye")) if closes else b""
        for begin in range(0, len(data), step):
            watch.feed(data[begin : begin + step])
        self.assertEqual((watch.is_closing, watch.is_too_big), (closes, False))

    def test_too_big(self) -> None:
        """Known from the header alone; fragments count together; control frames have their own bound."""
        for data in (
            b"\x82\xff" + (1 << 40).to_bytes(8, "big"),
            b"\x81\xfe\x04\x01" + bytes(4),
            b"\x01\xfe\x03\x00" + bytes(4 + 0x300) + b"\x80\xfe\x03\x00" + bytes(4),
            b"\x89\xfe\x00\x7e" + bytes(4),
        ):
            watch = Watch(1024)
            watch.feed(data + bytes(4))
            self.assertTrue(watch.is_too_big)
        watch = Watch(1024)
        watch.feed((b"\x81\xfe\x03\x00" + bytes(4 + 0x300)) * 5)
        self.assertFalse(watch.is_too_big)
