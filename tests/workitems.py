"""Work items for tests: one that keeps every requirement, and what completes or cancels it."""

from collections.abc import Sequence
from itertools import count
from typing import Any

from attrs import define, field, frozen
from twisted.internet.task import Clock

from dicomd.model.attributes import Attributes, attribute, text
from dicomd.model.identifiers import Peer
from dicomd.model.workitem_events import Report
from dicomd.services.event_delivery import Delivery
from dicomd.services.workitems import Workitems
from dicomd.store.index import Index
from dicomd.workers import spawn
from tests.workers import ImmediateWorkers


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


UID = "1.2.826.0.1.3680043.9.1"
KEY = "2.25.1"


@define(eq=False)
class Inbox:
    """A channel that takes everything at once, or `most` portions; `acknowledge` off: nothing is delivered until told."""

    open: bool = True
    acknowledge: bool = True
    most: int = 1 << 30
    portions: int = 0
    reports: list[Report] = field(factory=list)
    link: Any = None

    def linked(self, link: Any) -> None:
        self.link = link

    @property
    def ready(self) -> bool:
        return self.open and self.portions < self.most

    def send(self, reports: Sequence[Report]) -> None:
        self.portions += 1
        self.reports += reports
        if self.acknowledge:
            self.link.delivered(reports[-1].id)

    def take(self) -> list[tuple[int, str, str]]:
        """Type, item and state (where told) of what came since the last look."""
        taken, self.reports = self.reports, []
        return [(r.event.type, r.event.sop_instance_uid, text(r.event.information, "00741000")) for r in taken]


@frozen
class Settings:
    """The part of the configuration that the service asks."""

    retention: float = 3600
    remember_deleted: float = 86400
    status_change_ae_titles: tuple[str, ...] = ()
    known_subscribers_only: bool = False


@define
class KnownPeers:
    """The application entities that can be called."""

    titles: tuple[str, ...] = ("PEER",)

    def find(self, ae_title: str) -> Peer | None:
        return Peer(ae_title, "127.0.0.1", 104) if ae_title in self.titles else None


@define(eq=False)
class Core:
    """The UPS service on an index of its own; `restart` is a stop and start of the server."""

    index: Index
    clock: Clock
    settings: Settings = Settings()
    bound: int = 1000
    open_remote: Any = None
    workers: ImmediateWorkers = field(init=False)
    delivery: Delivery = field(init=False)
    service: Workitems = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.workers = ImmediateWorkers(self.index)
        self._build()

    def _build(self) -> None:
        numbers = count(1)
        self.delivery = Delivery(self.workers, self.clock, call_now, spawn, bound=self.bound, gather=0)
        if self.open_remote is not None:
            self.delivery.open_remote = self.open_remote
        peers = KnownPeers()
        self.service = Workitems(
            self.workers, self.delivery, self.clock, peers, lambda: f"2.25.9{next(numbers)}", spawn, self.settings
        )

    def start(self) -> None:
        spawn(self.service.start())
        self.clock.advance(0)

    def restart(self) -> None:
        spawn(self.service.stop())
        self._build()
        self.start()

    def open(self, ae_title: str, **options: Any) -> Inbox:
        """An open channel of this application entity."""
        inbox = Inbox(**options)
        self.delivery.link(ae_title, inbox)
        return inbox


def call_now(function: Any, *arguments: Any) -> None:
    function(*arguments)
