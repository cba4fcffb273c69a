"""C-FIND of the Query/Retrieve information models as SCP (PS3.4 C.4.1)."""

from functools import lru_cache, partial

from ..model.attributes import Attributes
from ..model.keys import Level
from ..model.query import Options, Query, from_identifier
from ..model.status import MalformedDataset, ServiceError, Status
from ..services.query import Search
from ..wire import datasets
from ..wire.identifiers import IdentifierWriter
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
# Responses that are sent in one go
_AT_ONCE = 32


@lru_cache(256)
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
        """PS3.4 C.4.1.3: one Pending for each match, then the end; C-CANCEL is looked for between portions of them."""
        model = message.context.abstract_syntax
        options = options_of(association.extended.get(model, b""))
        found = await self._search.begin(partial(self._ask, message, MODELS[model], options))
        pending = Status.PENDING_WITH_UNSUPPORTED_KEYS if found.unsupported else Status.PENDING
        if found.is_all and len(found.first) <= _AT_ONCE and not association.is_cancelled(message):
            await association.respond_to_all(message, pending, found.first, Status.SUCCESS)
            return
        if await _send(association, message, pending, found.first):
            async for page in found.others():
                if not await _send(association, message, pending, page):
                    break
        await association.respond(message, Status.CANCEL if association.is_cancelled(message) else Status.SUCCESS)

    def _ask(self, message: Message, levels: tuple[Level, ...], options: Options) -> tuple[Query, IdentifierWriter]:
        """Read the Identifier. Every response tells its level, and where the entity can be had (PS3.4 C.4.1.1.3.2)."""
        syntax = message.context.transfer_syntax
        identifier = identifier_of(message, syntax)
        query = from_identifier(identifier, levels=levels, options=options)
        assert query.level is not None
        constants = (
            ("00080052", "CS", _LEVELS[query.level]),
            ("00080054", "AE", self._ae_title),
            ("00080056", "CS", "ONLINE"),
        )
        return query, IdentifierWriter(syntax, datasets.declared_set(identifier), constants)


async def _send(association: Association, message: Message, pending: int, answers: list[bytes]) -> bool:
    """Send answers in portions; False when the operation was cancelled."""
    for start in range(0, len(answers), _AT_ONCE):
        if association.is_cancelled(message):
            return False
        await association.respond_to_all(message, pending, answers[start : start + _AT_ONCE])
    return not association.is_cancelled(message)


def identifier_of(message: Message, transfer_syntax: str) -> Attributes:
    """The decoded Identifier of a C-FIND; C000 when it cannot be read."""
    try:
        return datasets.decode(message.dataset, transfer_syntax)
    except MalformedDataset as error:
        raise ServiceError(error.comment, Status.CANNOT_UNDERSTAND, offending=error.offending) from None
