"""Persons' names: how they are compared, literally and fuzzily (PS3.4 C.2.2.2.1, PS3.5 6.2.1).

Literal: case-insensitive (Unicode case folding, NFC); spaces around components and trailing `^` and `=` do not count. A key
of one component group is compared with each group of the stored name; a key of several groups with the group in the same place.

Fuzzy: a name is a set of words (of all groups, split at `^`, spaces and hyphens). Words lose case, diacritics and width, and
katakana become hiragana. Each word of the key must meet a word of the stored name, in any order: begin it, sound like it (the
Metaphone codes are equal), match it as a wildcard pattern, or, in scripts without such codes, be contained in it.
What matches literally matches fuzzily too.
"""

import re
import unicodedata
from functools import lru_cache
from typing import Any

import jellyfish
from attrs import frozen

Groups = tuple[str, str, str]

_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_APART = re.compile(r"[\s^=,;.\-‐‑–・]+")
_SILENT = re.compile(r"['’`´ʹʼ]")
_ACCENTS = dict.fromkeys(range(768, 880))
# Letters that Unicode does not decompose, and katakana (30A1..30F6), whose hiragana stand 96 places lower
_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i"})
_KATAKANA = {code: code - 0x60 for code in range(0x30A1, 0x30F7)}


def groups(value: Any) -> Groups:
    """The three component groups of a stored value, normalised for literal comparison."""
    if isinstance(value, dict):
        alphabetic, ideographic, phonetic = (normal(str(value.get(group) or "")) for group in _GROUPS)
        return alphabetic, ideographic, phonetic
    return split(str(value or ""))


def split(text: str) -> Groups:
    """The same from text with `=` between the groups."""
    parts = [normal(part) for part in text.split("=", 3)[:3]]
    parts += [""] * (3 - len(parts))
    return parts[0], parts[1], parts[2]


@lru_cache(4096)
def normal(group: str) -> str:
    """One component group for literal comparison."""
    text = unicodedata.normalize("NFC", group).casefold()
    if " " in text or "\0" in text:
        text = "^".join(part.strip(" \0") for part in text.split("^"))
    return text.rstrip("^")


@lru_cache(4096)
def fold(word: str) -> str:
    """A word for fuzzy comparison: without case, diacritics, width and the difference of kana."""
    plain = unicodedata.normalize("NFKD", word.casefold()).translate(_ACCENTS)
    return unicodedata.normalize("NFC", plain).translate(_LETTERS).translate(_KATAKANA)


def sound(word: str) -> str:
    """The Metaphone code of a folded word; inside a word `y` counts as the vowel `i`. Empty in other scripts than Latin."""
    if not word.isascii():
        return ""
    return jellyfish.metaphone(word[:1] + word[1:].replace("y", "i")) if word.isalpha() else ""


def words(text: str) -> list[str]:
    """The folded words of a name or of a fuzzy key, each once."""
    return list(dict.fromkeys(word for word in _APART.split(fold(_SILENT.sub("", text))) if word))


def words_of(value: Any) -> list[str]:
    """The folded words of a stored value."""
    return words("^".join(str(value.get(group) or "") for group in _GROUPS) if isinstance(value, dict) else str(value or ""))


@frozen
class FuzzyWord:
    """One word of a fuzzy key: a folded word with its sound, or a wildcard pattern."""

    text: str
    sound: str

    @property
    def is_pattern(self) -> bool:
        """Whether it holds wildcards."""
        return "*" in self.text or "?" in self.text

    @property
    def anywhere(self) -> bool:
        """Whether it may be in the midst of a stored word: scripts that write words without spaces."""
        return not self.is_pattern and not self.sound and not self.text.isascii()


def fuzzy_words(text: str) -> tuple[FuzzyWord, ...]:
    """The words of a fuzzy key. A lone `*` says nothing and is left out."""
    found = [word for word in words(text) if word.strip("*")]
    return tuple(FuzzyWord(word, "" if "*" in word or "?" in word else sound(word)) for word in found)


def name_key(name: str) -> str:
    """The alphabetic group of a stored name (groups joined by `=`) in the form that literal comparison uses."""
    return split(name)[0]
