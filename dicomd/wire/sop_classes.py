"""What the UID registry (PS3.6 Annex A) says about SOP classes."""

from functools import lru_cache

from pydicom._uid_dict import UID_dictionary
from pydicom.config import IGNORE
from pydicom.uid import UID

from ..model.identifiers import is_uid
from .pdu import UserInformation

VERIFICATION = "1.2.840.10008.1.1"
STORAGE_SERVICE_CLASS = "1.2.840.10008.4.2"
_REGISTERED = "1.2.840.10008."
# PS3.6 gives new storage SOP classes UIDs below this root; those that this registry does not know yet are taken for such.
_STORAGE_ROOT = "1.2.840.10008.5.1.4.1.1."
# Named "... Storage ..." in the registry, but not of the Storage Service Class
_NOT_STORAGE = ("Media Storage Directory", "Storage Commitment", "Inventory Creation")


@lru_cache(4096)
def is_storage(uid: str) -> bool:
    """Whether `uid` is a storage SOP class: by the registry, retired ones included, or by its root when it is newer."""
    entry = UID(uid, validation_mode=IGNORE)
    if not is_uid(uid) or entry.is_private:
        return False
    if entry.name == uid:
        return uid.startswith(_STORAGE_ROOT)
    return entry.type == "SOP Class" and "Storage" in entry.name and not entry.name.startswith(_NOT_STORAGE)


def storage_classes() -> list[str]:
    """The storage SOP classes of the registry."""
    return [uid for uid in UID_dictionary if is_storage(uid)]


def may_be_storage(uid: str) -> bool:
    """Whether a SOP class that nobody knows may be one of storage: a private one."""
    return is_uid(uid) and not uid.startswith(_REGISTERED)


def is_said_to_be_storage(uid: str, user: UserInformation) -> bool:
    """Whether the peer declares `uid` by common extended negotiation to belong to storage (PS3.7 D.3.3.6)."""
    for item in user.common_extended:
        if item.sop_class_uid == uid:
            related = item.related_general_sop_class_uids
            return item.service_class_uid == STORAGE_SERVICE_CLASS or any(map(is_storage, related))
    return False
