"""Work items for tests: one that keeps every requirement, and what completes or cancels it."""

from typing import Any

from dicomd.model.attributes import Attributes, attribute


def code(value: str = "121726", scheme: str = "DCM", meaning: str = "Get images") -> Attributes:
    """An item of a code sequence."""
    return {
        "00080100": attribute("SH", value),
        "00080102": attribute("SH", scheme),
        "00080104": attribute("LO", meaning),
    }


def sequence(*items: Attributes) -> dict[str, Any]:
    return attribute("SQ", *items)


def new_item(**changes: Any) -> Attributes:
    """A complete N-CREATE data set: everything of type 1 with a value, everything of type 2 present.

    `changes` replace elements by tag with a leading `t`; None removes one.
    """
    empty = {
        "LO": ("00100021", "00380010", "00081080"),
        "SQ": ("00741210 00404026 00404027 00404021 00100024 00101002 00380014 00081084 0040A370 00741002 00741216".split()),
        "LT": ("00400400",),
        "CS": ("00100040",),
    }
    item: Attributes = {tag: {"vr": vr} for vr, tags in empty.items() for tag in tags}
    item |= {
        "00081195": {"vr": "UI"},
        "00741000": attribute("CS", "SCHEDULED"),
        "00741200": attribute("CS", "MEDIUM"),
        "00741204": attribute("LO", "Segment the liver"),
        "00741202": attribute("LO", "SEGMENTATION"),
        "00404005": attribute("DT", "20260101120000"),
        "00404041": attribute("CS", "READY"),
        "00404025": sequence(code("STATION1", "99TEST", "Station one")),
        "00404018": sequence(code()),
        "0020000D": attribute("UI", "1.2.3.4"),
        "00100010": attribute("PN", "Doe^Jane"),
        "00100020": attribute("LO", "P-1"),
        "00100030": attribute("DA", "19700101"),
    }
    for tag, value in changes.items():
        if value is None:
            item.pop(tag[1:], None)
        else:
            item[tag[1:]] = value
    return item


def performed() -> Attributes:
    """What must be set before COMPLETED."""
    return {
        "00741216": sequence(
            {
                "00404028": sequence(code("STATION1", "99TEST", "Station one")),
                "00404050": attribute("DT", "20260101121000"),
                "00404051": attribute("DT", "20260101121500"),
                "00404019": sequence(code()),
                "00404033": {"vr": "SQ"},
            }
        )
    }


def discontinued() -> Attributes:
    """What must be set before CANCELED."""
    return {"00741002": sequence({"0074100E": sequence(code("110513", "DCM", "Discontinued for unspecified reason"))})}
