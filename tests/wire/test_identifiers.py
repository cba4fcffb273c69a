"""Identifiers written from columns are those written from attributes."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.attributes import Attributes, attribute, text
from dicomd.wire import datasets
from dicomd.wire.elements import DEFLATED, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from dicomd.wire.identifiers import IdentifierWriter

SYNTAXES = (IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED)
CONSTANTS = (("00080052", "CS", "STUDY"), ("00080054", "AE", "DICOMD"))
# Tag, what the column holds, what the attribute is
VALUES: tuple[tuple[str, Any, dict[str, Any]], ...] = (
    ("00080020", "20240101", attribute("DA", "20240101")),
    ("00080030", "", attribute("TM")),
    ("00080061", "\\CT\\MR\\", attribute("CS", "CT", "MR")),
    ("00100010", "A^B", attribute("PN", {"Alphabetic": "A^B"})),
    ("00100020", "P1", attribute("LO", "P1")),
    ("0020000D", "1.2.3", attribute("UI", "1.2.3")),
    ("00201206", 12, attribute("IS", 12)),
    ("00200011", None, attribute("IS")),
)


class ColumnTests(SynchronousTestCase):
    def check(self, declared: str, *others: tuple[str, Any, dict[str, Any]]) -> Attributes:
        given = {tag: (column, content) for tag, column, content in (*VALUES, *others)}
        tags = tuple(sorted(given))
        for syntax in SYNTAXES:
            writer = IdentifierWriter(syntax, declared, CONSTANTS)
            written = writer.of_columns(tags)([given[tag][0] for tag in tags])
            self.assertEqual(written, writer.whole({tag: given[tag][1] for tag in tags}), syntax)
        return datasets.decode(written, syntax)

    def test_plain(self) -> None:
        """Text, names, lists and numbers in every layout, with and without a character set."""
        self.assertNotIn("00080005", self.check(""))
        found = self.check("ISO_IR 100")
        self.assertEqual((text(found, "00080005"), text(found, "00080052")), ("ISO_IR 100", "STUDY"))

    def test_beyond_ascii(self) -> None:
        """In the set of the request where it can hold the text, else in UTF-8."""
        name = ("00100010", "Müller^Jörg", attribute("PN", {"Alphabetic": "Müller^Jörg"}))
        self.assertEqual(text(self.check("ISO_IR 100", name), "00080005"), "ISO_IR 100")
        self.assertEqual(text(self.check("ISO_IR 144", name), "00080005"), "ISO_IR 192")

    def test_several_groups_and_values(self) -> None:
        """Names lose empty groups at their end; several values stay several."""
        self.check("", ("00100010", "A^B==", attribute("PN", {"Alphabetic": "A^B"})))
        groups = {"Alphabetic": "A^B", "Ideographic": "C"}
        self.check("", ("00100010", "A^B=C", attribute("PN", groups)))
        self.check("", ("00100020", "P1\\P2", attribute("LO", "P1", "P2")))
