"""What the data dictionary (PS3.6) says of a tag: its VR and keyword; and which VRs are which kind of value (PS3.5 6.2)."""

from functools import lru_cache

from pydicom.datadict import DicomDictionary, RepeatersDictionary, mask_match, private_dictionary_VR

BINARY = frozenset("OB OD OF OL OV OW UN".split())
# PS3.18 F.2.2: these may be replaced by a reference; here the text and number ones are so only when very large.
REFERABLE = frozenset("DS FD FL IS LT OB OD OF OL OV OW SL SS ST SV UC UL UN US UT UV".split())
# Text in the Specific Character Set (PS3.5 6.1.2.3)
TEXT = frozenset("LO LT PN SH ST UC UT".split())
# A backslash is part of the value (PS3.5 6.2)
SINGLE = frozenset("LT ST UR UT".split())
NUMBERS = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}
# Bytes of the words that are swapped for the other byte order
WORDS = {
    "OW": 2,
    "OF": 4,
    "OL": 4,
    "OD": 8,
    "OV": 8,
    "AT": 2,
    "US": 2,
    "SS": 2,
    "UL": 4,
    "SL": 4,
    "FL": 4,
    "FD": 8,
    "UV": 8,
    "SV": 8,
}
KNOWN = BINARY | TEXT | SINGLE | frozenset(NUMBERS) | frozenset("AE AS AT CS DA DS DT IS SQ TM UI".split())

# LUT descriptors: the first value is unsigned whatever the VR says (PS3.3 C.11.1.1.1)
LUT_DESCRIPTORS = frozenset((0x00281101, 0x00281102, 0x00281103, 0x00283002))

# tag -> (key in the JSON model, VR as the dictionary says, possibly two)
STANDARD: dict[int, tuple[str, str]] = {tag: (f"{tag:08X}", entry[0]) for tag, entry in DicomDictionary.items()}
_KEYWORDS: dict[int, str] = {tag: entry[4] for tag, entry in DicomDictionary.items()}


def dictionary_vr(tag: int, creator: str = "") -> str:
    """The VR of a tag ("US or SS" and the like where it depends), "UN" when it is unknown; `creator` for private tags."""
    entry = STANDARD.get(tag)
    return entry[1] if entry else _other_vr(tag, creator)


@lru_cache(maxsize=4096)
def _other_vr(tag: int, creator: str) -> str:
    if tag >> 16 & 1:
        return _private_vr(tag, creator)
    if tag & 0xFFFF == 0:
        return "UL"
    mask = mask_match(tag)
    return RepeatersDictionary[mask][0] if mask else "UN"


def _private_vr(tag: int, creator: str) -> str:
    if 0x10 <= tag & 0xFFFF <= 0xFF:
        return "LO"
    try:
        return str(private_dictionary_VR(tag, creator)) if creator else "UN"
    except KeyError:
        return "UN"


@lru_cache(maxsize=4096)
def keyword_of(tag: int) -> str:
    """The keyword of a standard tag, else empty."""
    if tag in _KEYWORDS:
        return _KEYWORDS[tag]
    mask = mask_match(tag)
    return RepeatersDictionary[mask][4] if mask else ""


def settled_vr(vr: str) -> str:
    """One VR where the dictionary leaves a choice that nothing in the data set decides."""
    if " " not in vr:
        return vr if vr in KNOWN else "UN"
    return "OW" if "OW" in vr else "US"
