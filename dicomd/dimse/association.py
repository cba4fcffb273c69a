"""Association: DIMSE messages on an established association, ours or a peer's (PS3.7).

Requests of the peer are served one after the other (asynchronous window 1,1); C-CANCEL and responses to our own requests
are taken at any time. Knows PDUs and sockets only through `Link`.
"""

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..model.status import ServiceError, Status
from ..wire.messages import REQUESTS, RESPONSE, Command, CommandField, MessageWriter, encode_response
from ..wire.negotiation import Context
from .link import AssociationEnded, Collected, Link
from .service import LARGEST_DATASET, Message, Service

__all__ = ["Association", "AssociationEnded", "as_comment"]

log = Logger()

# A peer at window 1,1 has one operation outstanding; some pipeline all the same. Each may hold some megabytes.
LONGEST_QUEUE = 8


@define(eq=False)
class Answer:
    """A response to our own request, in the making."""

    deferred: "Deferred[tuple[Command, bytes]]" = field(factory=Deferred)
    command: Command | None = None
    chunks: list[bytes] = field(factory=list)
    size: int = 0


@define(eq=False, slots=False)
class Association:
    """One association. `contexts` are the accepted ones by ID; `extended` what was accepted of extended negotiation."""

    link: Link
    contexts: dict[int, Context]
    services: dict[int, Service]
    writer: MessageWriter
    peer_ae_title: str
    own_ae_title: str
    peer_host: str
    is_requestor: bool = False
    extended: dict[str, bytes] = field(factory=dict)
    user_name: str = ""
    ended: bool = field(default=False, init=False)
    is_draining: bool = field(default=False, init=False)
    served: int = field(default=0, init=False)
    is_streaming: bool = field(default=False, init=False)  # a data set is on its way to the peer, as fast as it is made
    _receiving: Message | Answer | None = field(default=None, init=False)
    _discarding: bool = field(default=False, init=False)
    _running: Message | None = field(default=None, init=False)
    _queue: deque[Message] = field(factory=deque, init=False)
    _answers: dict[int, Answer] = field(factory=dict, init=False)
    _last_id: int = field(default=0, init=False)
    _when_ended: list[Callable[[], object]] = field(factory=list, init=False)

    @property
    def is_busy(self) -> bool:
        """Whether an operation of the peer is being served."""
        return self._running is not None

    @property
    def awaits_peer(self) -> bool:
        """Whether the peer owes a response, or the rest of a message."""
        return bool(self._answers) or self._receiving is not None

    # What services use

    def context_for(self, sop_class_uid: str, transfer_syntax_uid: str = "", *, as_scu: bool = True) -> Context | None:
        """An accepted context on which this side may be SCU (or SCP) of the class; with that transfer syntax, if given."""
        for context in self.contexts_for(sop_class_uid, as_scu=as_scu):
            if transfer_syntax_uid in ("", context.transfer_syntax):
                return context
        return None

    def contexts_for(self, sop_class_uid: str, *, as_scu: bool = True) -> Iterator[Context]:
        """All accepted contexts of the class on which this side has the role."""
        for context in self.contexts.values():
            requestors_role = context.requestor_scu if as_scu == self.is_requestor else context.requestor_scp
            if context.abstract_syntax == sop_class_uid and requestors_role:
                yield context

    def respond(self, message: Message, status: int, *, dataset: bytes | None = None, **elements: Any) -> Awaitable[None]:
        """Send a response; `elements` are further attributes of `Command`. Await it for back-pressure."""
        if self.ended:
            raise AssociationEnded
        message.is_answered = status & 0xFF00 != 0xFF00
        command = self._response(message, status, dataset is not None, elements)
        self.link.send(self.writer.message(message.context.id, command, dataset))
        return self.link.writable()

    def respond_to_all(
        self, message: Message, status: int, datasets: Sequence[bytes], final: int | None = None
    ) -> Awaitable[None]:
        """Send one response with each data set, and the final one, if given, in one go; see `respond`."""
        if self.ended:
            raise AssociationEnded
        message.is_answered = final is not None
        context, command = message.context.id, self._response(message, status, True, {})
        sent = self.writer.messages(context, command, datasets)
        if final is not None:
            sent += self.writer.message(context, self._response(message, final, False, {}))
        self.link.send(sent)
        return self.link.writable()

    def _response(self, message: Message, status: int, has_data_set: bool, elements: dict[str, Any]) -> Command | bytes:
        request = message.command
        if not elements and not request.sop_instance_uid:
            return encode_response(request.command_field | RESPONSE, message.id, request.sop_class_uid, has_data_set, status)
        return Command(
            request.command_field | RESPONSE,
            message_id_being_responded_to=message.id,
            affected_sop_class_uid=elements.pop("affected_sop_class_uid", request.sop_class_uid),
            affected_sop_instance_uid=elements.pop("affected_sop_instance_uid", request.sop_instance_uid),
            has_data_set=has_data_set,
            status=status,
            **elements,
        )

    def fail(self, message: Message, error: ServiceError, **elements: Any) -> Awaitable[None]:
        """The response that a refusal by the core becomes."""
        return self.respond(
            message, error.status, error_comment=as_comment(error.comment), offending_elements=error.offending, **elements
        )

    def is_cancelled(self, message: Message) -> bool:
        """Whether the peer has cancelled the operation, or has gone."""
        return message.is_cancelled or self.ended

    async def request(
        self, context: Context, command: Command, dataset: bytes | AsyncGenerator[bytes, None] | None = None
    ) -> tuple[Command, bytes]:
        """Invoke an operation on the peer; the response and its data set. The Message ID is given here.

        Chunks of a streamed `dataset` have even lengths, but for the last one.
        """
        if self.ended:
            raise AssociationEnded
        command.message_id, command.has_data_set = self._next_id(), dataset is not None
        answer = self._answers[command.message_id] = Answer()
        if dataset is None or isinstance(dataset, bytes):
            self.link.send(self.writer.message(context.id, command, dataset))
        else:
            await self._stream(context, command, dataset)
        return await answer.deferred

    async def _stream(self, context: Context, command: Command, chunks: AsyncGenerator[bytes, None]) -> None:
        """One chunk is held back, because only the last fragment may be marked as the last."""
        self.link.send(self.writer.command(context.id, command))
        held, self.is_streaming = b"", True
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    if held:
                        self._still_here().link.send(self.writer.data_set(context.id, held, False))
                    held = chunk
                    await self.link.writable()
        except ServiceError:
            self.link.abort("a data set broke off while it was sent")
            raise
        finally:
            self.is_streaming = False
        self._still_here().link.send(self.writer.data_set(context.id, held, True))

    def _still_here(self) -> "Association":
        if self.ended:
            raise AssociationEnded
        return self

    def _next_id(self) -> int:
        self._last_id = self._last_id % 65535 + 1
        return self._last_id if self._last_id not in self._answers else self._next_id()

    def release(self) -> "Deferred[None]":
        """End in order; resolves when it has ended."""
        return succeed(None) if self.ended else self.link.release()

    def abort(self, cause: str) -> None:
        """End at once."""
        if not self.ended:
            self.link.abort(cause)

    def when_ended(self, call: Callable[[], object]) -> None:
        """Call when the association has ended, however it did."""
        if self.ended:
            call()
        else:
            self._when_ended.append(call)

    # What comes from the link

    def command_received(self, context_id: int, command: Command) -> None:
        """A command set is complete; its data set follows if it says so."""
        if command.command_field == CommandField.C_CANCEL:
            self._cancel(command.message_id_being_responded_to)
        elif command.is_response:
            self._responded(command)
        else:
            self._request(self.contexts[context_id], command)

    def data_set_received(self, data: bytes, last: bool) -> None:
        """Some bytes of the data set of the message that is being received."""
        receiving = self._receiving
        if isinstance(receiving, Answer):
            self._collect_answer(receiving, data, last)
        elif receiving is not None:
            if data and receiving.refusal is None:
                self._take(receiving, data)
            if last:
                self._receiving = None
                self._arrived(receiving)

    def connection_ended(self) -> None:
        """Nothing will come or go any more."""
        self.ended = True
        waiting = [message for message in (self._receiving, *self._queue) if isinstance(message, Message)]
        for message in waiting:
            if message.sink is not None:
                message.sink.abandon()
        self._receiving = None
        self._queue.clear()
        answers, self._answers = self._answers, {}
        for answer in answers.values():
            answer.deferred.errback(Failure(AssociationEnded()))
        for call in self._when_ended:
            call()

    # Requests of the peer

    def _cancel(self, message_id: int | None) -> None:
        """PS3.7 9.3.2.3: an operation that is finished or unknown is not an error."""
        for message in self._outstanding():
            if message.id == message_id:
                message.is_cancelled = True

    def _outstanding(self) -> tuple[Message, ...]:
        return tuple(self._queue) if self._running is None else (self._running, *self._queue)

    def _request(self, context: Context, command: Command) -> None:
        message = Message(command, context, self.services[context.id])
        message.refusal = self._refusal(message)
        if command.has_data_set:
            self._receiving = message
            if message.refusal is None:
                self._open_sink(message)
        else:
            self._arrived(message)

    def _refusal(self, message: Message) -> ServiceError | None:
        """PS3.7 9.1 and 10.1, the statuses that hold for every service."""
        command, context, service = message.command, message.context, message.service
        normalized = command.command_field >= CommandField.N_EVENT_REPORT
        named = command.sop_class_uid
        role = self._may_invoke(context, command.command_field)
        if command.command_field not in service.commands or (normalized and not role):
            return ServiceError("this operation is not defined for the SOP class", Status.UNRECOGNISED_OPERATION)
        if not role or (named and named != context.abstract_syntax and named not in service.command_classes):
            status = Status.NO_SUCH_SOP_CLASS if normalized else Status.SOP_CLASS_NOT_SUPPORTED
            return ServiceError("the SOP class is not the one negotiated for the context", status)
        if any(message.id == other.id and not other.is_answered for other in self._outstanding()):
            return ServiceError("this Message ID is already in use", Status.DUPLICATE_INVOCATION)
        return None

    def _may_invoke(self, context: Context, command_field: int) -> bool:
        """Whether the peer has the role for it: events are invoked by the SCP, all else by the SCU (PS3.7 10.1)."""
        needs_scu = command_field != CommandField.N_EVENT_REPORT
        return context.requestor_scu if needs_scu is not self.is_requestor else context.requestor_scp

    def _open_sink(self, message: Message) -> None:
        factory = message.service.sinks.get(message.command.command_field)
        if factory is None:
            message.sink = Collected(message.service.largest_dataset)
            return
        try:
            message.sink = factory(self, message)
        except ServiceError as error:
            message.refusal = error

    def _take(self, message: Message, data: bytes) -> None:
        sink = message.sink
        try:
            if sink.write(data):
                return
        except ServiceError as error:
            self._refuse(message, error)
            return
        if not self.link.is_paused:
            self.link.pause()
            ensureDeferred(self._wait(message))

    async def _wait(self, message: Message) -> None:
        try:
            await message.sink.ready()
        except ServiceError as error:
            self._refuse(message, error)
        finally:
            self.link.resume()

    def _refuse(self, message: Message, error: ServiceError) -> None:
        """The rest of the data set is read and dropped; the response follows its end, where every peer expects it."""
        message.refusal = error
        message.sink.abandon()

    def _arrived(self, message: Message) -> None:
        if isinstance(message.sink, Collected):
            message.dataset, message.sink = message.sink.value(), None
        if len(self._queue) >= LONGEST_QUEUE:
            self.abort("too many requests at a time")
        elif self._running is None:
            self._serve(message)
        else:
            self._queue.append(message)

    def _serve(self, message: Message) -> None:
        self._running = message
        ensureDeferred(self._handle(message)).addErrback(self._failed, message).addBoth(self._served)

    async def _handle(self, message: Message) -> None:
        if message.refusal is not None:
            await self._refuse_unhandled(message, message.refusal)
            return
        try:
            await message.service.commands[message.command.command_field](self, message)
        except ServiceError as error:
            await self.fail(message, error)
        except AssociationEnded:
            pass

    async def _refuse_unhandled(self, message: Message, refusal: ServiceError) -> None:
        if message.command.command_field in REQUESTS:
            await self.fail(message, refusal)
        else:
            self.abort("an unknown command field")

    def _failed(self, failure: Failure, message: Message) -> None:
        """A bug of ours: the peer gets an answer, the log the traceback."""
        if failure.check(AssociationEnded):
            return
        log.failure("serving command {field:04X} failed", failure, field=message.command.command_field)
        if not self.ended:
            normalized = message.command.command_field >= CommandField.N_EVENT_REPORT
            status = Status.PROCESSING_FAILURE if normalized else Status.CANNOT_UNDERSTAND
            self.respond(message, status, error_comment="internal error")

    def _served(self, _: object) -> None:
        self._running = None
        self.served += 1
        if self.is_draining:
            self.abort("the server is stopping")
        elif self._queue:
            self._serve(self._queue.popleft())

    def drain(self) -> None:
        """Finish what is being served or received, then end."""
        self.is_draining = True
        if not self.is_busy and not self.awaits_peer:
            self.abort("the server is stopping")

    # Responses of the peer

    def _responded(self, command: Command) -> None:
        answer = self._answers.get(command.message_id_being_responded_to or 0)
        if answer is None or command.status is None:
            self.abort("a response to a request that was never made, or without a status")
            return
        answer.command = command
        if command.has_data_set:
            self._receiving = answer
        else:
            self._answered(answer)

    def _collect_answer(self, answer: Answer, data: bytes, last: bool) -> None:
        answer.chunks.append(data)
        answer.size += len(data)
        if answer.size > LARGEST_DATASET:
            self.abort("the data set of a response is too long")
        elif last:
            self._receiving = None
            self._answered(answer)

    def _answered(self, answer: Answer) -> None:
        if answer.command is not None:
            self._answers.pop(answer.command.message_id_being_responded_to or 0, None)
            answer.deferred.callback((answer.command, b"".join(answer.chunks)))


def as_comment(text: str) -> str:
    """Error Comment (0000,0902): VR LO of one value in the default repertoire."""
    return text.encode("ascii", "replace").decode().replace("\\", "/")[:64]
