"""Base URLs behind proxies, and queries."""

from collections.abc import Collection, Iterable
from typing import Any

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from dicomd.web.problems import HttpError
from dicomd.web.urls import Urls, pairs


@define
class Request:
    """The questions that `Urls` asks."""

    headers: dict[bytes, bytes] = field(factory=dict)
    peer: str = "10.0.0.1"
    local: str = "127.0.0.1:8989"
    secure: bool = False

    def header(self, name: bytes) -> bytes | None:
        return self.headers.get(name)

    @property
    def header_names(self) -> Collection[bytes]:
        return self.headers.keys()


class BaseTests(SynchronousTestCase):
    def base(self, headers: dict[bytes, bytes], trusted: Iterable[str] = ("10.0.0.0/8",), **more: Any) -> str:
        return Urls("/dicom-web", "", trusted).base(Request({b"Host": b"pacs:8989", **headers}, **more))

    def test_host(self) -> None:
        """The client's own Host, the scheme of its connection."""
        self.assertEqual(self.base({}), "http://pacs:8989/dicom-web")
        self.assertEqual(self.base({}, secure=True), "https://pacs:8989/dicom-web")
        self.assertEqual(Urls("/r").base(Request()), "http://127.0.0.1:8989/r")
        self.assertEqual(self.base({b"Host": b"[::1]:80"}), "http://[::1]:80/dicom-web")

    def test_port_left_out(self) -> None:
        """The port of the connection, where the client leaves it out and no proxy stands between; dicomweb-client does so."""
        urls = Urls("/r")
        self.assertEqual(urls.base(Request({b"Host": b"pacs"})), "http://pacs:8989/r")
        self.assertEqual(urls.base(Request({b"Host": b"[::1]"})), "http://[::1]:8989/r")
        self.assertEqual(urls.base(Request({b"Host": b"pacs"}, local="10.0.0.9:80")), "http://pacs/r")
        self.assertEqual(urls.base(Request({b"Host": b"pacs"}, local="10.0.0.9:443", secure=True)), "https://pacs/r")
        self.assertEqual(urls.base(Request({b"Host": b"pacs", b"X-Forwarded-For": b"1.2.3.4"})), "http://pacs/r")

    def test_malformed_host(self) -> None:
        """A Host that could smuggle something into an answer is refused."""
        for host in (b"a b", b"a/b", b'a"', b"a@b", b"a:b"):
            self.assertRaises(HttpError, self.base, {b"Host": host})

    def test_public_url(self) -> None:
        """The configured URL overrides everything."""
        self.assertEqual(Urls("/r", "https://p.example/x/").base(Request({b"Host": b"h"})), "https://p.example/x")

    def test_forwarded(self) -> None:
        """What a trusted proxy says, in the new and in the old way."""
        for headers, base in (
            ({b"Forwarded": b'for=1.2.3.4; proto=https; host="p.example:444", for=x;host=y'}, "https://p.example:444/dicom-web"),
            ({b"X-Forwarded-Proto": b"https", b"X-Forwarded-Host": b"p.example, inner"}, "https://p.example/dicom-web"),
            ({b"X-Forwarded-Host": b"p", b"X-Forwarded-Port": b"8080"}, "http://p:8080/dicom-web"),
            ({b"X-Forwarded-Proto": b"https", b"X-Forwarded-Host": b"p", b"X-Forwarded-Port": b"443"}, "https://p/dicom-web"),
            ({b"X-Forwarded-Proto": b"https", b"X-Forwarded-Prefix": b"/pacs/"}, "https://pacs:8989/pacs/dicom-web"),
        ):
            self.assertEqual(self.base(headers), base)

    def test_untrusted(self) -> None:
        """What anybody else says is not believed."""
        headers = {b"X-Forwarded-Host": b"evil.test", b"Forwarded": b"host=evil.test"}
        self.assertEqual(self.base(headers, peer="192.168.0.1"), "http://pacs:8989/dicom-web")
        self.assertEqual(self.base(headers, ()), "http://pacs:8989/dicom-web")

    def test_malformed_forwarding(self) -> None:
        """A proxy's nonsense is refused."""
        for headers in ({b"X-Forwarded-Proto": b"gopher"}, {b"X-Forwarded-Prefix": b"no slash"}, {b"Forwarded": b'host="a b"'}):
            self.assertRaises(HttpError, self.base, headers)


class QueryTests(SynchronousTestCase):
    def test_pairs(self) -> None:
        """Order, repetition, bare names, and an equals sign in a value are kept."""
        self.assertEqual(pairs(b"a=1&b&a=2&&c=x=y&=z"), [("a", "1"), ("b", ""), ("a", "2"), ("c", "x=y"), ("", "z")])

    def test_not_utf8(self) -> None:
        """Every text is UTF-8."""
        for query in (b"a=%ff", b"\xff=1"):
            self.assertRaises(HttpError, pairs, query)
