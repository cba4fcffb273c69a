"""A data set inside the core: the DICOM JSON Model (PS3.18 Annex F) as plain dictionaries.

Keys are tags of 8 uppercase hexadecimal digits; every attribute is `{"vr": …}` with at most one of `Value`, `BulkDataURI`
and `InlineBinary`. Text is Unicode. The accessors read it; nothing here knows how data sets are encoded.
"""

from typing import Any

Attributes = dict[str, dict[str, Any]]


def values(attributes: Attributes, tag: str) -> list[Any]:
    """The values of an attribute as the model holds them; empty when it is absent or empty."""
    attribute = attributes.get(tag)
    return attribute.get("Value") or [] if attribute else []


def text(attributes: Attributes, tag: str) -> str:
    """The first value as text without surrounding spaces; a person's name with its component groups joined by `=`."""
    for value in values(attributes, tag):
        return plain(value)
    return ""


def texts(attributes: Attributes, tag: str) -> list[str]:
    """All values as text, see `text`."""
    return [plain(value) for value in values(attributes, tag)]


def number(attributes: Attributes, tag: str) -> int | None:
    """The first value as a whole number; None when it is absent, empty or something else."""
    try:
        return int(text(attributes, tag))
    except ValueError:
        return None


def items(attributes: Attributes, tag: str) -> list[Attributes]:
    """The items of a sequence; empty when it is absent, empty or not a sequence."""
    attribute = attributes.get(tag)
    if not attribute or attribute.get("vr") != "SQ":
        return []
    return [item or {} for item in attribute.get("Value") or []]


def plain(value: Any) -> str:
    """One value as text; null is empty."""
    if value is None:
        return ""
    if isinstance(value, dict):
        groups = [str(value.get(group) or "") for group in ("Alphabetic", "Ideographic", "Phonetic")]
        return "=".join(groups).rstrip("=")
    return str(value).strip(" \0")


def attribute(vr: str, *content: Any) -> dict[str, Any]:
    """An attribute with these values; a PN given as text becomes its component groups; no values: an empty one."""
    if not content:
        return {"vr": vr}
    if vr == "PN":
        return {"vr": vr, "Value": [person_name(value) if isinstance(value, str) else value for value in content]}
    return {"vr": vr, "Value": list(content)}


def person_name(value: str) -> dict[str, str] | None:
    """The component groups of a name (PS3.5 6.2.1, PS3.18 F.2.2); absent groups are left out, an empty name is null."""
    groups = zip(("Alphabetic", "Ideographic", "Phonetic"), value.split("="), strict=False)
    return {group: part for group, part in groups if part} or None


def tag_key(tag: int) -> str:
    """The key of a tag in the model."""
    return f"{tag:08X}"
