"""Identifiers of the standard: UIDs, AE titles, the key of an instance. Nothing here touches a disk or a socket."""

import re
from enum import Enum

from attrs import frozen

# PS3.5 9.1: components of digits without leading zeros, joined by dots, at most 64 characters.
_UID = re.compile(r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))+", re.ASCII)
# What old equipment writes: components with leading zeros. Safe as a file name all the same.
_LENIENT_UID = re.compile(r"[0-9]+(?:\.[0-9]+)*", re.ASCII)
# PS3.5 Table 6.2-1, AE: 16 characters of the default repertoire without backslash and control characters.
_AE_TITLE = re.compile(r"[ -\[\]-~]{1,16}")

IMPLEMENTATION_CLASS_UID = "2.25.101794464403858786205580214931844659771"
IMPLEMENTATION_VERSION_NAME = "DICOMD_0_1"


def is_uid(text: str, *, strict: bool = False) -> bool:
    """Whether `text` is a UID (PS3.5 9.1); leniently, leading zeros in a component are let pass."""
    return len(text) <= 64 and (_UID if strict else _LENIENT_UID).fullmatch(text) is not None


def is_ae_title(text: str) -> bool:
    """Whether `text` is an AE title (PS3.5 6.2): 1 to 16 characters, not only spaces, no backslash."""
    return _AE_TITLE.fullmatch(text) is not None and bool(text.strip())


class Collection(Enum):
    """Where an instance lives: with a patient's studies, or among the non-patient instances (PS3.4 GG)."""

    STUDIES = "studies"
    NON_PATIENT = "non-patient"


@frozen
class InstanceKey:
    """The UIDs that name one instance; study and series are empty for a non-patient instance."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str

    @property
    def collection(self) -> Collection:
        """A non-patient instance has no study."""
        return Collection.STUDIES if self.study_instance_uid else Collection.NON_PATIENT


@frozen
class Peer:
    """A remote application entity that this server may call."""

    ae_title: str
    host: str
    port: int
