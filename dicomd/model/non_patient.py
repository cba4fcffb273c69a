"""The SOP classes of non-patient objects and the resources they are kept under (PS3.4 GG, PS3.18 Table 12.1.2-1)."""

_STORAGE = "1.2.840.10008.5.1.4."

# PS3.18 12.1: resource name -> storage SOP classes. Protocol Approval has no name in the standard; this one is ours.
RESOURCES: dict[str, tuple[str, ...]] = {
    "color-palettes": (_STORAGE + "39.1",),
    "hanging-protocols": (_STORAGE + "38.1",),
    "implant-templates": (_STORAGE + "43.1", _STORAGE + "44.1", _STORAGE + "45.1"),
    "defined-procedure-protocols": (_STORAGE + "1.1.200.1", _STORAGE + "1.1.200.7"),
    "inventories": (_STORAGE + "1.1.201.1",),
    "protocol-approvals": (_STORAGE + "1.1.200.3",),
}
SOP_CLASSES = frozenset(uid for uids in RESOURCES.values() for uid in uids)
MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
