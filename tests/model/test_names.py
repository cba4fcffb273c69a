"""Comparison of persons' names."""

from twisted.trial.unittest import SynchronousTestCase

from dicomd.model import names


class LiteralTests(SynchronousTestCase):
    def test_groups(self) -> None:
        """Trailing delimiters, case and spaces around components do not count."""
        self.assertEqual(names.groups({"Alphabetic": "Buc^JÉRÔME^^"}), ("buc^jérôme", "", ""))
        self.assertEqual(names.groups("Yamada ^ Tarou=山田^太郎="), ("yamada^tarou", "山田^太郎", ""))
        self.assertEqual(names.groups(None), ("", "", ""))

    def test_composed_and_decomposed_are_the_same(self) -> None:
        """Two ways to write one letter."""
        self.assertEqual(names.normal("Je\u0301ro\u0302me"), names.normal("Jérôme"))


class FuzzyTests(SynchronousTestCase):
    def test_fold(self) -> None:
        """Case, diacritics, width and kana."""
        for text, folded in (
            ("Äneas", "aneas"),
            ("ŁØæß", "loaess"),
            ("ＳＭＩＴＨ", "smith"),
            ("ヤマダ", "やまだ"),
            ("ガ", "が"),
            ("김", "김"),
            ("Ё", "е"),
        ):
            self.assertEqual(names.fold(text), folded)

    def test_words(self) -> None:
        """All groups, split at every delimiter; apostrophes are silent."""
        self.assertEqual(names.words("O'Brien-Müller^Jean Luc"), ["obrien", "muller", "jean", "luc"])
        self.assertEqual(
            names.words_of({"Alphabetic": "Hong^Gildong", "Ideographic": "洪^吉洞"}), ["hong", "gildong", "洪", "吉洞"]
        )

    def test_sounds(self) -> None:
        """Spellings of one name have one code; other scripts have none."""
        for one, other in (
            ("smith", "smyth"),
            ("meier", "mayer"),
            ("muller", "mueller"),
            ("catherine", "kathryn"),
            ("stephen", "steven"),
            ("philip", "filip"),
        ):
            self.assertEqual(names.sound(one), names.sound(other))
        self.assertNotEqual(names.sound("smith"), names.sound("jones"))
        self.assertEqual(names.sound("山田"), "")

    def test_key_words(self) -> None:
        """Wildcards make a pattern; a lone asterisk is nothing."""
        word, pattern = names.fuzzy_words("Smith^* J?n*")
        self.assertFalse(word.is_pattern)
        self.assertEqual((pattern.text, pattern.is_pattern), ("j?n*", True))
        self.assertTrue(names.fuzzy_words("田")[0].anywhere)

    def test_key_of_the_index(self) -> None:
        """The alphabetic group in normal form."""
        self.assertEqual(names.name_key("YAMADA^Tarou^^=山田^太郎"), "yamada^tarou")
