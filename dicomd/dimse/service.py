"""What a DIMSE service registers with the listener, and what its handlers are given.

Each service of the door has a class with `services() -> list[Service]`; the listener knows nothing else of it. A handler is
`async def handler(association, message)`: it answers by `association.respond(message, status, ...)`, or raises `ServiceError`,
whose status, comment and offending elements then are the response.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from attrs import define, field, frozen

from ..model.offerings import DIMSE_SERVICES
from ..model.status import ServiceError
from ..wire.messages import Command
from ..wire.negotiation import NATIVE, Context
from ..wire.pdu import UserInformation

if TYPE_CHECKING:
    from .association import Association

# The largest data set that is collected in memory for a handler without a sink.
LARGEST_DATASET = 16 << 20


class Sink(Protocol):
    """Takes a data set while it arrives (`services.storage.Reception`)."""

    def write(self, data: bytes) -> bool:
        """False: too much is unwritten, wait for `ready`."""

    def ready(self) -> Awaitable[None]:
        """Resolves when there is room again."""

    def abandon(self) -> None:
        """The rest will never come: leave nothing behind."""


@define(eq=False)
class Message:
    """A request. `dataset` holds the collected data set, unless the service takes it in by a `sink`."""

    command: Command
    context: Context
    service: "Service"
    dataset: bytes = b""
    sink: Any = None
    refusal: ServiceError | None = None
    is_cancelled: bool = False
    is_answered: bool = False

    @property
    def id(self) -> int:
        """Message ID; a peer that sends none has 0."""
        return self.command.message_id or 0


Handler = Callable[["Association", Message], Awaitable[None]]
SinkFactory = Callable[["Association", Message], Sink]
ANY = None


@frozen
class Service:
    """A row of the dispatch table: SOP classes and the operations on them.

    `transfer_syntaxes`: those accepted, `ANY` for all. `requestor_scu` and `requestor_scp`: the roles a peer may take
    (PS3.7 D.3.3.4). `extended`: extended negotiation, see `negotiation.Capability`. `command_classes`: what commands may name
    besides the negotiated SOP class (UPS, meta SOP classes). `name`, of `model.offerings.DIMSE_SERVICES`, is what `[dimse] off`
    switches off. `claims`: takes further SOP classes that no row names.
    `sinks`: for these commands the data set is not collected but flows into what the factory gives.
    """

    sop_class_uids: tuple[str, ...]
    commands: Mapping[int, Handler]
    transfer_syntaxes: tuple[str, ...] | None = NATIVE
    requestor_scu: bool = True
    requestor_scp: bool = False
    extended: Callable[[bytes], bytes | None] | None = None
    command_classes: tuple[str, ...] = ()
    claims: Callable[[str, UserInformation], bool] | None = None
    sinks: Mapping[int, SinkFactory] = field(factory=dict)
    largest_dataset: int = LARGEST_DATASET
    name: str = ""


def offered(rows: Iterable[Service], off: Collection[str]) -> list[Service]:
    """The rows of the services that are not off; ValueError for one that cannot be switched off."""
    found = list(rows)
    for row in found:
        if row.name not in DIMSE_SERVICES:
            raise ValueError(f"the service of {', '.join(row.sop_class_uids)} has no name of model.offerings.DIMSE_SERVICES")
    return [row for row in found if row.name not in off]


class Services:
    """All rows, by SOP class."""

    def __init__(self, services: Iterable[Service] = ()) -> None:
        self._by_class: dict[str, Service] = {}
        self._claimants: list[Service] = []
        self.register(services)

    def register(self, services: Iterable[Service]) -> None:
        """Add the rows of one service of the door; two rows of one SOP class must be one row."""
        for service in services:
            for uid in service.sop_class_uids:
                if uid in self._by_class:
                    raise ValueError(f"two services for SOP class {uid}")
                self._by_class[uid] = service
            if service.claims is not None:
                self._claimants.append(service)

    def find(self, sop_class_uid: str, user: UserInformation) -> Service | None:
        """Who serves this abstract syntax for a peer that says this of itself."""
        service = self._by_class.get(sop_class_uid)
        if service is not None:
            return service
        return next((row for row in self._claimants if row.claims and row.claims(sop_class_uid, user)), None)
