"""Accept and Content-Type, as the standard has them and as clients write them."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dicomd.wire import media
from dicomd.wire.media import DICOM, JSON, MULTIPART_DICOM, MULTIPART_OCTETS, MULTIPART_XML

METADATA = (JSON, MULTIPART_XML)
INSTANCE = (MULTIPART_DICOM, MULTIPART_OCTETS, DICOM)


class AcceptTests(SynchronousTestCase):
    def choose(self, header: str | None, offers: tuple[str, ...], *parameters: str) -> str | None:
        return media.accept(header, parameters).choose(offers)

    def test_absent(self) -> None:
        """No header is as */*: the default type."""
        self.assertEqual(self.choose(None, METADATA), JSON)
        self.assertEqual(self.choose("", METADATA), JSON)

    def test_wildcards(self) -> None:
        """A wildcard stands for the first offer that it covers."""
        for header, offers, chosen in (
            ("*/*", INSTANCE, MULTIPART_DICOM),
            ("application/*", INSTANCE, DICOM),
            ("multipart/*", METADATA, MULTIPART_XML),
            ("image/*", METADATA, None),
        ):
            self.assertEqual(self.choose(header, offers), chosen, header)

    def test_quality(self) -> None:
        """The highest q wins, q=0 refuses, the most specific range decides (RFC 9110 12.5.1)."""
        self.assertEqual(
            self.choose("application/dicom+json;q=0.2, multipart/related;type=application/dicom+xml", METADATA), MULTIPART_XML
        )
        self.assertEqual(self.choose("*/*, application/dicom+json;q=0", METADATA), MULTIPART_XML)
        self.assertIsNone(self.choose("application/dicom+json;q=0", METADATA))
        self.assertEqual(self.choose("*/*;q=0.1, application/dicom;q=0.9, multipart/*;q=0.5", INSTANCE), DICOM)

    def test_quoting(self) -> None:
        """`type` quoted, bare, in other case, without spaces."""
        for header in (
            'multipart/related; type="application/dicom"',
            "multipart/related;type=application/dicom",
            "Multipart/Related; Type=Application/DICOM ; foo=bar",
            'multipart/related;type="application/dicom";transfer-syntax=*',
        ):
            self.assertEqual(self.choose(header, INSTANCE), MULTIPART_DICOM, header)

    def test_percent_encoded(self) -> None:
        """As if it were part of a URL; a boundary is left alone."""
        header = "multipart%2Frelated%3B%20type%3D%22application%2Fdicom%22%3B%20transfer-syntax=*"
        for found in (media.accept(header), media.accept(None, (header,))):
            ((offer, kind),) = found.candidates((MULTIPART_DICOM,))[:1]
            self.assertEqual((offer, kind.transfer_syntaxes), (MULTIPART_DICOM, ("*",)))
        self.assertEqual(self.choose("multipart/related; type=%22application/dicom%22", INSTANCE), MULTIPART_DICOM)
        self.assertEqual(media.media_type("multipart/related; boundary=%41").parameter("boundary"), "%41")

    def test_missing_type(self) -> None:
        """multipart/related without `type` is the resource's default part."""
        self.assertEqual(self.choose("multipart/related", INSTANCE), MULTIPART_DICOM)
        self.assertEqual(
            self.choose("multipart/related; type=image/*", (MULTIPART_OCTETS, 'multipart/related; type="image/jpeg"')),
            'multipart/related; type="image/jpeg"',
        )

    def test_mixtures(self) -> None:
        """A mixture of families is no error: each range on its own merits (what OHIF sends)."""
        header = "application/dicom+json, multipart/related; type=application/octet-stream; transfer-syntax=*"
        self.assertEqual(self.choose(header, METADATA), JSON)
        self.assertEqual(self.choose("image/jpeg, */*;q=0.1", METADATA), JSON)
        self.assertEqual(self.choose("application/dicom+json, application/json", METADATA), JSON)

    def test_malformed_ranges_are_skipped(self) -> None:
        """What cannot be understood does not hide what can."""
        self.assertEqual(self.choose("nonsense, ;;;, a/b c, application/dicom+json", METADATA), JSON)
        self.assertIsNone(self.choose("nonsense", METADATA))

    def test_query_parameter(self) -> None:
        """The `accept` parameter comes before the header."""
        self.assertEqual(self.choose("text/html", METADATA, f"multipart/related;type={media.XML}"), MULTIPART_XML)
        self.assertEqual(self.choose("*/*", METADATA, "image/png"), JSON)

    def test_transfer_syntaxes(self) -> None:
        """Several transfer-syntax parameters are alternatives in order."""
        header = 'multipart/related; type=application/octet-stream; transfer-syntax="1.2.840.10008.1.2.4.80"; transfer-syntax=*'
        (kind,) = media.accept(header).ranges
        self.assertEqual(kind.transfer_syntaxes, ("1.2.840.10008.1.2.4.80", "*"))

    def test_old_names(self) -> None:
        """Former names of types mean the present ones."""
        self.assertEqual(self.choose("application/json", METADATA), JSON)
        self.assertEqual(media.media_type('multipart/related; type="image/x-jls"').part_type, "image/jls")

    @given(st.text(alphabet='abc/*;,="\\ q=0.5\r\n', max_size=60))
    def test_anything(self, header: str) -> None:
        """No header breaks the parser."""
        media.accept(header).choose(INSTANCE)


class ContentTypeTests(SynchronousTestCase):
    def test_boundary(self) -> None:
        """The boundary quoted or bare, with every character that it may have."""
        for value in ('"a b(c):d/e=f?"', "abc-_.1"):
            kind = media.media_type(f"multipart/related; boundary={value}; type=application/dicom")
            self.assertEqual((kind.parameter("boundary"), kind.part_type), (value.strip('"'), DICOM))

    def test_malformed(self) -> None:
        """What is no media type raises."""
        for text in ("", "application", "a/b/c; x"):
            self.assertRaises(ValueError, media.media_type, text)
