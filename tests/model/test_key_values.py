"""From the text of a key to the kind of matching."""

from twisted.trial.unittest import SynchronousTestCase

from dicomd.model import kinds
from dicomd.model.key_values import read_match
from dicomd.model.kinds import Dates, Empty, Every, Match, Number, OneOf, Single, Times, UidList, Universal, Wildcard
from dicomd.model.status import InvalidRequest


def read(vr: str, *given: str, fuzzy: bool = False, empty: bool = False, multiple: bool = False) -> Match:
    return read_match(vr, given, "Key", fuzzy=fuzzy, empty=empty, multiple=multiple)


def accepts(vr: str, key: str, *stored: object) -> list[bool]:
    match = read(vr, key)
    return [match.accepts(value) for value in stored]


class KindTests(SynchronousTestCase):
    def test_universal(self) -> None:
        """Nothing, or an asterisk alone, for every VR."""
        for vr in ("LO", "UI", "DA", "IS", "SQ", "OB"):
            self.assertEqual(read(vr), Universal())
            self.assertEqual(read(vr, " ", ""), Universal())
            self.assertEqual(read(vr, "*"), Universal())
            self.assertEqual(read(vr, "*", "***"), Universal())
        for name in ("^^", "=", "=*", "*==*", "**"):
            self.assertEqual(read("PN", name), Universal())
            self.assertEqual(read("PN", name, fuzzy=True), Universal())

    def test_by_vr(self) -> None:
        """Each VR has its kinds."""
        self.assertEqual(read("LO", "A B "), Single("A B"))
        self.assertEqual(read("LO", "A**?"), Wildcard("A*?"))
        self.assertEqual(read("UI", "1.2"), Single("1.2"))
        self.assertEqual(read("UI", "1.2", "1.3"), UidList(frozenset({"1.2", "1.3"})))
        self.assertEqual(read("DA", "20240101"), Dates("20240101", "20240101"))
        self.assertEqual(read("DA", "-20240101"), Dates(high="20240101"))
        self.assertEqual(read("TM", "10-"), Times("100000.000000"))
        self.assertEqual(read("IS", "+01"), Number(1))
        self.assertEqual(read("AT", "(0010,0010)"), Single("00100010"))
        self.assertEqual(read("AS", "42Y"), Single("042Y"))
        self.assertEqual(read("CS", "CT", "MR"), OneOf((Single("CT"), Single("MR"))))

    def test_options(self) -> None:
        """Empty and multiple value matching only where they were asked for."""
        self.assertEqual(read("LO", '""', empty=True), Empty())
        self.assertEqual(read("LO", '""'), Single('""'))
        self.assertEqual(read("CS", "A", "B*", multiple=True), Every((Single("A"), Single("B*"))))
        self.assertEqual(read("UI", "1.2", "1.3", multiple=True), UidList(frozenset({"1.2", "1.3"})))

    def test_malformed_values_are_named(self) -> None:
        """The error names the key and what it said."""
        for vr, value in (
            ("UI", "1.2.x"),
            ("UI", "1*"),
            ("DA", "2024"),
            ("DA", "-"),
            ("DA", "2024*"),
            ("TM", "2500"),
            ("DT", "x"),
            ("DT", "2024-2023"),
            ("IS", "1x"),
            ("IS", "1_0"),
            ("DS", "nan"),
            ("AT", "0010"),
            ("AS", "Y"),
            ("SQ", "x"),
            ("OB", "x"),
        ):
            error = self.assertRaises(InvalidRequest, read, vr, value)
            self.assertIn("Key", error.comment)
            self.assertIn(value, error.comment)

    def test_too_many_wildcards(self) -> None:
        """What would only keep a server busy is refused; runs of asterisks count once."""
        self.assertRaises(InvalidRequest, read, "LO", "*a" * 1000)
        self.assertRaises(InvalidRequest, read, "PN", "?" * 1000)
        self.assertRaises(InvalidRequest, read, "LO", "a" * 5000 + "*")
        self.assertEqual(read("LO", "a" + "*" * 1000), Wildcard("a*"))


class AcceptTests(SynchronousTestCase):
    def test_text_is_exact(self) -> None:
        """Case counts, surrounding spaces do not, and nothing but `*` and `?` is special."""
        self.assertEqual(accepts("LO", "Ab", "Ab", " Ab ", "ab", "Abc", None), [True, True, False, False, False])
        self.assertEqual(accepts("LO", "A%_[b", "A%_[b", "Axxxb"), [True, False])

    def test_wildcards(self) -> None:
        """Any run, one character; the whole value."""
        self.assertEqual(accepts("LO", "A*c?", "Acc", "Abcd", "Ac", "xAbcd", "A[c].c\\"), [True, True, False, False, True])
        self.assertEqual(accepts("LO", "*b*", "b", "abc", "ac"), [True, True, False])
        self.assertEqual(accepts("LO", "a.*", "a.b", "ab", "a.\nb"), [True, False, True])
        self.assertEqual(accepts("LO", "*ab*ab", "abab", "ab", "xabyabab", "abxabx"), [True, False, True, False])

    def test_wildcards_take_no_exponential_time(self) -> None:
        """A pattern made to keep a matcher busy is answered at once."""
        self.assertFalse(kinds.fits("*a" * 30 + "*b", "a" * 20000))

    def test_numbers(self) -> None:
        """Numbers are compared as numbers, in whatever form they are stored."""
        self.assertEqual(accepts("IS", "1", 1, "1", "01 ", "+1", 2, "x"), [True, True, True, True, False, False])
        self.assertEqual(accepts("DS", "1.50", 1.5, "1.5", "15e-1", "1.51"), [True, True, True, False])
        self.assertEqual(accepts("FL", "0.1", 0.10000000149011612, 0.1, 0.11), [True, True, False])

    def test_dates(self) -> None:
        """Both ends belong to a range; what is no date matches none."""
        self.assertEqual(
            accepts("DA", "20240101-20240131", "20240101", "20240131", "20240201", "2024.01.05"), [True, True, False, True]
        )
        self.assertEqual(accepts("DA", "20240101-", "20991231", "UNKNOWN"), [True, False])

    def test_times(self) -> None:
        """By meaning, not by text."""
        self.assertEqual(accepts("TM", "2230", "223000", "223000.000", "2230", "223001"), [True, True, True, False])
        self.assertEqual(accepts("TM", "10-1130", "095959", "10", "113059.9", "1131"), [False, True, True, False])
        self.assertEqual(accepts("TM", "-10", "0000", "1100"), [True, False])

    def test_date_times(self) -> None:
        """Ranges of any precision; a single value with a negative offset is no range."""
        self.assertEqual(accepts("DT", "2023-2024", "20241231235959", "2025", "202301"), [True, False, True])
        self.assertEqual(accepts("DT", "20240101120000-0500", "20240101120000-0500", "20240101170000+0000"), [True, True])
        self.assertEqual(
            accepts("DT", "20240101-0500-20240102-0500", "20240102200000-0500", "20240102210000-1000"), [True, False]
        )
        self.assertEqual(accepts("DT", "-2023", "20231231", "2024"), [True, False])

    def test_names(self) -> None:
        """Case-insensitive, in whichever group; several groups each in their place."""
        stored = {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}
        for key, found in (
            ("yamada^tarou", True),
            ("YAMADA*", True),
            ("Yamada^", False),
            ("山田^太郎", True),
            ("やまだ*", True),
            ("Yamada^Tarou=山田*", True),
            ("=山田^太郎=", True),
            ("=やまだ^たろう", False),
            ("Yamada^Tarou=山田^太郎=やまだ^たろう^^", True),
            ("tarou", False),
            ("*tarou", True),
        ):
            self.assertEqual(accepts("PN", key, stored), [found], key)

    def test_fuzzy_names(self) -> None:
        """Order, parts, diacritics and sound; and whatever matches literally."""
        for key, stored, found in (
            ("john smith", "Smith^John", True),
            ("smi", "Smith^John", True),
            ("Smyth", "Smith^John", True),
            ("jerome", "Buc^Jérôme", True),
            ("Jerôme^Buc", "Buc^Jérôme", True),
            ("S*^JOHN", "Smith^John", True),
            ("s*jo?n", "Smith^John", True),
            ("*mit*", "Smith^John", True),
            ("john jones", "Smith^John", False),
            ("ohn", "Smith^John", False),
            ("田", {"Alphabetic": "Yamada", "Ideographic": "山田"}, True),
            ("ヤマダ", {"Alphabetic": "X", "Phonetic": "やまだ"}, True),
        ):
            match = read("PN", key, fuzzy=True)
            self.assertEqual(match.accepts(stored), found, (key, stored))

    def test_every_value(self) -> None:
        """Multiple value matching is a logical and, in any order."""
        match = read("CS", "B", "A", multiple=True)
        assert isinstance(match, Every)
        self.assertTrue(match.accepts_all(["A", "X", "B"]))
        self.assertFalse(match.accepts_all(["A", "X"]))

    def test_private(self) -> None:
        """A VR that is known only from the stored value: text or number."""
        self.assertEqual(accepts("UN", "5", "5", 5, 5.0, "x"), [True, True, True, False])
        self.assertEqual(accepts("UN", "a*", "abc", 5), [True, False])
