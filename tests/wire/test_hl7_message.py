"""HL7 v2 messages: headers of every kind, escape sequences, acknowledgements that the sender recognises."""

import logging

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.status import ServiceError, Status
from dicomd.wire.hl7_message import acknowledgement, read_header, resolve, segments

HEADER = b"MSH|^~\\&|RIS|H|PACS|W|20260101||ORM^O01^ORM_O01|42|T|2.3.1||||||8859/1\r"


def answer(message: bytes, code: str = "AA", comment: str = "") -> list[str]:
    """The segments of the acknowledgement."""
    return acknowledgement(read_header(message), code, "20260102", comment).decode("latin-1").split("\r")


class HeaderTests(SynchronousTestCase):
    def test_separators(self) -> None:
        """Those of the message itself, whatever they are; a truncation character (HL7 v2.7) is let pass."""
        for separators in ("|^~\\&", "|^~\\&#", "#:;!,", "|^~"):
            header = read_header(f"MSH{separators}{separators[0]}RIS{separators[0]}A{separators[1]}B\r".encode())
            self.assertEqual((header.component(4, 1), header.component(4, 2)), ("A", "B"), separators)

    def test_no_header(self) -> None:
        for data in (b"", b"MSH", b"MSH|", b"MSH||||", b"MSH|^^^^|", b"MSHabcde|", b"PID|||1", b"\xff" * 20):
            self.assertEqual(read_header(data).fields, (), data)
            error = self.assertRaises(ServiceError, segments, data)
            self.assertEqual(error.status, Status.CANNOT_UNDERSTAND)

    def test_character_set(self) -> None:
        for name, codec in ((b"8859/1", "iso8859-1"), (b"", "utf-8"), (b"ASCII~ISO IR87", "iso2022_jp"), (b"EBCDIC", None)):
            self.assertEqual(read_header(HEADER.replace(b"8859/1", name)).codec, codec, name)

    def test_text_that_does_not_fit(self) -> None:
        message = HEADER.replace(b"8859/1", b"UNICODE UTF-8") + b"PID|||1||M\xfcller\r"
        self.assertIn("MSH-18", self.assertRaises(ServiceError, segments, message).comment)

    @given(st.binary(max_size=60))
    @example(b"MSH|^~\\&|\r|")
    def test_any_bytes(self, data: bytes) -> None:
        """Whatever comes is answered by two segments."""
        for message in (data, b"MSH" + data, HEADER[:9] + data, HEADER + data):
            self.assertTrue(answer(message, "AE", "why")[1].startswith("MSA"), message)


class AcknowledgementTests(SynchronousTestCase):
    def test_names_the_message(self) -> None:
        first, second, end = answer(HEADER, "AE", "needs a value")
        self.assertEqual(first, "MSH|^~\\&|PACS|W|RIS|H|20260102||ACK^O01|42|T|2.3.1||||||8859/1")
        self.assertEqual((second, end), ("MSA|AE|42|needs a value", ""))

    def test_short_header(self) -> None:
        """What the message does not say, the answer leaves out."""
        self.assertEqual(answer(b"MSH|^~\\&|a", "AR", "no")[:2], ["MSH|^~\\&|||a||20260102||ACK||P|2.5.1", "MSA|AR||no"])

    def test_to_no_message(self) -> None:
        self.assertEqual(answer(b"garbage", "AR", "no")[:2], ["MSH|^~\\&|||||20260102||ACK||P|2.5.1", "MSA|AR||no"])

    def test_comment_is_text(self) -> None:
        """Separators in it are escaped, lines joined."""
        self.assertEqual(answer(HEADER, "AE", "A^B|C\r\nD\\")[1], "MSA|AE|42|A\\S\\B\\F\\C D\\E\\")

    def test_names_come_back_as_they_were(self) -> None:
        message = HEADER.replace(b"RIS", "Röntgen".encode("latin-1"))
        self.assertIn("Röntgen".encode("latin-1"), acknowledgement(read_header(message), "AA", ""))


class EscapeTests(SynchronousTestCase):
    def test_sequences(self) -> None:
        for text, resolved in (
            ("plain", "plain"),
            ("a\\F\\b\\S\\c\\R\\d\\E\\e\\T\\f", "a|b^c~d\\e&f"),
            ("one\\.br\\two\\.sp+3\\three", "one two three"),
            ("\\H\\bold\\N\\", "bold"),
            ("\\X4D\\\\XC3BC\\ller", "Müller"),
            ("\\X0D\\\\X00\\", "  "),
            ("\\XZZ\\\\C2842\\\\M2424AA\\\\Zown\\", ""),
            ("not\\closed", "notclosed"),
            ("\\", ""),
        ):
            self.assertEqual(resolve(text), resolved, text)

    def test_nothing_is_logged(self) -> None:
        """What cannot be resolved may be a patient's name."""
        records: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
        logging.getLogger().addHandler(handler)
        self.addCleanup(logging.getLogger().removeHandler, handler)
        [_, patient] = segments(HEADER + b"PID|||1||Doe\\XZZ\\\\C1\\\\Q\\^\\.sp99999999999\\Jo\r")
        self.assertEqual((patient.get(5), patient.get(5, 2)), ("Doe", "Jo"))
        self.assertEqual(records, [])
