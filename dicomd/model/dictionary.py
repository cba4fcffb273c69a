"""The data dictionary (PS3.6) as the search needs it: names of attributes to tags, tags to VR, dates to their times."""

import re
from functools import lru_cache

from pydicom.datadict import DicomDictionary, dictionary_VR, keyword_for_tag, private_dictionary_VR, tag_for_keyword

_TAG = re.compile(r"[0-9A-Fa-f]{8}", re.ASCII)


@lru_cache(4096)
def tag_of(name: str) -> str | None:
    """The tag (8 uppercase hex digits) that a keyword or 8 hex digits name; None when it is no attribute."""
    if _TAG.fullmatch(name):
        tag = name.upper()
        return tag if is_private(tag) or _is_standard(int(tag, 16)) else None
    number = tag_for_keyword(name)
    return None if number is None else f"{number:08X}"


def _is_standard(number: int) -> bool:
    """Whether the dictionary has it; repeating groups (60xx) too."""
    try:
        dictionary_VR(number)
    except KeyError:
        return False
    return True


@lru_cache(4096)
def vr_of(tag: str, creator: str = "") -> str:
    """The VR of a tag; of several possible ones the first; UN for an unknown private attribute."""
    number = int(tag, 16)
    try:
        if is_private(tag):
            return "LO" if is_creator(tag) else str(private_dictionary_VR(number, creator))
        return dictionary_VR(number).split(" or ")[0]
    except KeyError:
        return "UN"


@lru_cache(4096)
def possible_vrs(tag: str) -> tuple[str, ...]:
    """Every VR that a standard tag may have; empty when the dictionary does not have it."""
    try:
        return tuple(dictionary_VR(int(tag, 16)).split(" or "))
    except KeyError:
        return ("UL",) if tag.endswith("0000") else ()


@lru_cache(4096)
def keyword_of(tag: str) -> str:
    """The keyword of a tag, or the tag itself."""
    return str(keyword_for_tag(int(tag, 16)) or tag)


def is_private(tag: str) -> bool:
    """Odd groups are private (PS3.5 7.8)."""
    return tag[3] in "13579BDF"


def is_creator(tag: str) -> bool:
    """(gggg,0010-00FF) reserve blocks of private elements."""
    return is_private(tag) and tag[4:6] == "00" and tag[6:] >= "10"


def creator_tag(tag: str) -> str:
    """The private creator element of a private attribute's block."""
    return f"{tag[:4]}00{tag[4:6]}"


def _pairs() -> dict[str, str]:
    by_keyword = {entry[4]: (tag, entry[0]) for tag, entry in DicomDictionary.items()}
    found = {}
    for keyword, (tag, vr) in by_keyword.items():
        partner, partner_vr = by_keyword.get(keyword.replace("Date", "Time"), (0, ""))
        if vr == "DA" and partner_vr == "TM":
            found[f"{tag:08X}"] = f"{partner:08X}"
    return found


# StudyDate to StudyTime and so on: the attributes that together are one date and time (PS3.4 C.2.2.2.5.4)
TIME_OF_DATE: dict[str, str] = _pairs()
DATE_OF_TIME: dict[str, str] = {time: day for day, time in TIME_OF_DATE.items()}
