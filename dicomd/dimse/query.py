"""C-FIND of the Query/Retrieve information models as SCP (PS3.4 C.4.1)."""

from ..model.attributes import Attributes, attribute
from ..model.keys import Level
from ..model.query import Options, Query, from_identifier
from ..model.status import MalformedDataset, ServiceError, Status
from ..services.query import Search
from ..wire import datasets
from ..wire.messages import CommandField
from ..wire.negotiation import echo_bits
from .association import Association
from .service import Message, Service

# PS3.4 C.6: the levels of the information models
_BELOW_PATIENT = (Level.STUDY, Level.SERIES, Level.IMAGE)
MODELS: dict[str, tuple[Level, ...]] = {
    "1.2.840.10008.5.1.4.1.2.1.1": (Level.PATIENT, *_BELOW_PATIENT),
    "1.2.840.10008.5.1.4.1.2.2.1": _BELOW_PATIENT,
    "1.2.840.10008.5.1.4.1.2.3.1": (Level.PATIENT, Level.STUDY),
}
# PS3.4 C.5.1.1: relational, combined date-time, fuzzy, time zone; no enhanced multi-frame view; empty and multiple values
_ABILITIES = bytes((1, 1, 1, 1, 0, 1, 1))
_LEVELS = {Level.PATIENT: "PATIENT", Level.STUDY: "STUDY", Level.SERIES: "SERIES", Level.IMAGE: "IMAGE"}
_CHARACTER_SET = "00080005"


def options_of(accepted: bytes) -> Options:
    """What an association negotiated."""
    agreed = [byte == 1 for byte in accepted.ljust(7, b"\0")]
    return Options(
        relational=agreed[0], combined=agreed[1], fuzzy=agreed[2], timezone=agreed[3], empty=agreed[5], multiple=agreed[6]
    )


class QueryProvider:
    """C-FIND on patients, studies, series and instances. `ae_title`: where they can be retrieved."""

    def __init__(self, search: Search, ae_title: str) -> None:
        self._search, self._ae_title = search, ae_title

    def services(self) -> list[Service]:
        """One row for all models."""
        return [Service(tuple(MODELS), {CommandField.C_FIND: self.find}, extended=echo_bits(_ABILITIES), name="find")]

    async def find(self, association: Association, message: Message) -> None:
        """PS3.4 C.4.1.3: one Pending for each match, then the end; C-CANCEL is looked for between them."""
        syntax, model = message.context.transfer_syntax, message.context.abstract_syntax
        identifier = identifier_of(message, syntax)
        options = options_of(association.extended.get(model, b""))
        query = from_identifier(identifier, levels=MODELS[model], options=options)
        pending = Status.PENDING_WITH_UNSUPPORTED_KEYS if self._search.unsupported(query) else Status.PENDING
        declared, common = datasets.declared_set(identifier), self._common(query)
        async for page in self._search.stream(query):
            for match in page:
                if association.is_cancelled(message):
                    await association.respond(message, Status.CANCEL)
                    return
                match.update(common)
                match.pop(_CHARACTER_SET, None)
                await association.respond(message, pending, dataset=datasets.encode(match, syntax, declared))
        await association.respond(message, Status.CANCEL if association.is_cancelled(message) else Status.SUCCESS)

    def _common(self, query: Query) -> Attributes:
        """What every response says of the entity: its level, and where it can be retrieved (PS3.4 C.4.1.1.3.2)."""
        assert query.level is not None
        return {
            "00080052": attribute("CS", _LEVELS[query.level]),
            "00080054": attribute("AE", self._ae_title),
            "00080056": attribute("CS", "ONLINE"),
        }


def identifier_of(message: Message, transfer_syntax: str) -> Attributes:
    """The decoded Identifier of a C-FIND; C000 when it cannot be read."""
    try:
        return datasets.decode(message.dataset, transfer_syntax)
    except MalformedDataset as error:
        raise ServiceError(error.comment, Status.CANNOT_UNDERSTAND, offending=error.offending) from None
