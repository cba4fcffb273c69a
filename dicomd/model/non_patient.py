"""Non-patient instances: resources, SOP classes, information models and their keys (PS3.4 U, X, BB, GG, HH, II, JJ; PS3.18 12).

Matching is that of worklists: a stored empty value matches no key that has one (PS3.4 K.2.2).
"""

from attrs import frozen

from .dictionary import vr_of
from .query import Fields

_STORAGE = "1.2.840.10008.5.1.4."
MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"


@frozen
class Model:
    """One information model: the resource it belongs to, its storage SOP classes, the classes of FIND, MOVE and GET.

    `keys`: required matching keys, which are always returned; `returned`: what else is. Both besides SOP Class and Instance UID.
    """

    name: str
    resource: str
    storage: tuple[str, ...]
    find: str
    move: str
    get: str
    keys: tuple[str, ...] = ()
    returned: tuple[str, ...] = ()

    @property
    def fields(self) -> Fields:
        """What every answer holds."""
        return dict.fromkeys(sorted(("00080016", "00080018", *self.keys, *self.returned)))


def _model(name: str, resource: str, root: str, keys: str, returned: str = "", *, storage: str = "", first: int = 2) -> Model:
    """The UIDs of an information model follow one another: FIND, MOVE, GET."""
    find, move, get = (f"{_STORAGE}{root}.{number}" for number in range(first, first + 3))
    classes = tuple(_STORAGE + uid for uid in (storage or f"{root}.1").split())
    return Model(name, resource, classes, find, move, get, tuple(keys.split()), tuple(returned.split()))


# PS3.18 12.1 names the resources; Protocol Approval has no name there, this one is ours.
MODELS: tuple[Model, ...] = (
    _model("Color Palette", "color-palettes", "39", "00700080", "00700081 00700084 00700087"),
    _model(
        "Hanging Protocol",
        "hanging-protocols",
        "38",
        "00720002 00720006 0072000C 0072000E 00720010 00720014 00720100",
        "00720004 00720008 0072000A 00720102",
    ),
    _model(
        "Generic Implant Template",
        "implant-templates",
        "43",
        "00080070 00221095 00221097 00686210 00686222 00686224 00686225 00686226 00686230 006862A0 006863A0 006863A4",
    ),
    _model(
        "Implant Assembly Template",
        "implant-templates",
        "44",
        "00080070 00760001 00760008 0076000C 0076000E 00760020 00760030",
    ),
    _model("Implant Template Group", "implant-templates", "45", "00686226 00780001 00780020 00780026", "00780010"),
    _model(
        "Defined Procedure Protocol",
        "defined-procedure-protocols",
        "20",
        "00080012 00080013 00080220 00080221 00082218 00082228 00120010 00120020 00181030 00189906 00189907 00189909 0018990E "
        "00189912 0040A07C 00700084",
        "00189908 0018990A",
        storage="1.1.200.1 1.1.200.7",
        first=1,
    ),
    _model(
        "Protocol Approval",
        "protocol-approvals",
        "1.1.200",
        "00080012 00080013 00440100 00440107 00440109",
        storage="1.1.200.3",
        first=4,
    ),
    _model(
        "Inventory",
        "inventories",
        "1.1.201",
        "00080023 00080033 00080400 00080401 00080403 00080426 00080427 00080428",
    ),
)
# Resource name -> storage SOP classes
RESOURCES: dict[str, tuple[str, ...]] = {
    resource: tuple(uid for model in MODELS if model.resource == resource for uid in model.storage)
    for resource in dict.fromkeys(model.resource for model in MODELS)
}
SOP_CLASSES = frozenset(uid for uids in RESOURCES.values() for uid in uids)
BY_FIND = {model.find: model for model in MODELS}
BY_STORAGE = {uid: model for model in MODELS for uid in model.storage}


def fields_of(resource: str) -> dict[str, Fields]:
    """Storage SOP class -> what every answer holds of its instances."""
    return {uid: BY_STORAGE[uid].fields for uid in RESOURCES[resource]}


def keys_of(resource: str) -> tuple[tuple[str, str], ...]:
    """(tag, VR) of the required matching keys of a resource."""
    tags = dict.fromkeys(tag for model in MODELS if model.resource == resource for tag in ("00080016", "00080018", *model.keys))
    return tuple((tag, vr_of(tag)) for tag in tags)
