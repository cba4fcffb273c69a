"""Person names (PS3.5 6.2): the form in which they are compared without regard to case and accents (PS3.4 C.2.2.2.1)."""

import unicodedata


def name_key(name: str) -> str:
    """`name` casefolded and without accents; component and group delimiters stay."""
    if name.isascii():
        return name.casefold()
    decomposed = unicodedata.normalize("NFKD", name)
    return "".join(char for char in decomposed if not unicodedata.combining(char)).casefold()
