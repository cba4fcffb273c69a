"""Options and makeService: the only place where the parts are joined.

Start: index and recovery, workers, services, then the doors. Stop, in the reverse order and within five seconds: no new
connections, stores in flight finish, associations are released or aborted, queued work is done, the index is closed.
"""

import atexit
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from uuid import uuid4

from attrs import define, field, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall, deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.python import usage

from . import __version__, logs
from . import config as configuration
from .config import Config
from .dimse import description
from .dimse import modality as dimse_modality
from .dimse.commitment import CommitmentProvider
from .dimse.composite import StorageProvider, Verification
from .dimse.listener import Listener, timeouts_of
from .dimse.non_patient import NonPatientQuery
from .dimse.outbound import Connector, DimseSender
from .dimse.query import QueryProvider
from .dimse.retrieve import Retrieval
from .dimse.service import Service as DimseService
from .dimse.service import Services, offered
from .dimse.workitems import UpsProvider
from .mllp import listener as mllp
from .model.identifiers import Peer
from .model.scheduled_steps import ScheduledState
from .services.bulk import BulkStore
from .services.bulkdata import Bulk
from .services.commitment import StorageCommitment
from .services.event_delivery import Delivery
from .services.frames import Frames
from .services.hub import EventHub, KnownPeers
from .services.metadata import Metadata
from .services.non_patient import NonPatientInstances
from .services.outbox import Outbox
from .services.performed_steps import PerformedSteps
from .services.preparation import Preparation
from .services.query import Search
from .services.remote_subscriber import RemoteSubscriber
from .services.removal import Removal
from .services.rendering import Rendering
from .services.retrieve import Retrieve
from .services.storage import Duplicates, Rules, Storage
from .services.thumbnails import Thumbnails
from .services.transcoding import Transcoder
from .services.transfers import Transfers
from .services.workitems import Workitems
from .services.worklist import Worklist
from .services.worklist_folder import WatchedFolder
from .store.archive import Archive
from .store.files import StoreInUse
from .store.index import IndexUnusable
from .store.thumbnail_files import ThumbnailFiles
from .web import app
from .web import commitment as web_commitment
from .web import modality as web_modality
from .web.capabilities import Capabilities
from .web.conformance import Table
from .web.delete import Delete
from .web.event_channel import EventChannels
from .web.health import Health
from .web.non_patient import NonPatient
from .web.qido import Qido
from .web.rendered import Rendered
from .web.routes import Route
from .web.stow import Stow
from .web.wado import Wado
from .web.wado_bulk import WadoBulk
from .web.wado_frames import WadoFrames
from .web.wado_metadata import WadoMetadata
from .web.wado_uri import WadoUri
from .web.workitems import UpsRs
from .workers import Workers, spawn

log = Logger()

# Of the five seconds that a stop may take: for the doors, for event channels, and for all until the last thread has ended.
DRAIN_SECONDS = 2.5
CHANNEL_DRAIN_SECONDS = 0.5
STOP_SECONDS = 4.5
EXPIRY_SECONDS = 3600.0


class Options(usage.Options):
    """Command line of `twistd dicomd`."""

    optParameters = [["config", "c", None, "TOML file; see etc/dicomd.toml for every key"]]

    def postOptions(self) -> None:
        try:
            self.config = configuration.load(self["config"])
            _check_endpoints(self.config, self["config"])
        except configuration.ConfigError as error:
            raise SystemExit(f"dicomd: {error}") from None


def _check_endpoints(config: Config, path: str) -> None:
    """Twisted can read every endpoint string; raises `ConfigError`. Nothing is opened."""
    endpoints = {
        "http.endpoint": config.http.endpoint,
        "dimse.endpoint": config.dimse.endpoint,
        "worklist.mllp_endpoint": config.worklist.mllp_endpoint,
    }
    for key, endpoint in endpoints.items():
        try:
            if endpoint:
                serverFromString(None, endpoint)
        except Exception as error:  # noqa: BLE001 - each kind of endpoint has exceptions of its own
            reason = str(error) or type(error).__name__
            raise configuration.ConfigError(f"{path}: {key}: expected a Twisted server endpoint string: {reason}") from None


@frozen
class Door:
    """One listening endpoint; `drain(seconds)` finishes or ends what is connected after the port has closed."""

    name: str
    endpoint: str
    factory: Factory
    drain: Callable[[float], Awaitable[None]]


@define(eq=False, slots=False)
class Server(Service):
    """The whole server as one Twisted service. `ports` holds the open doors by name ("http", "dimse")."""

    config: Config
    reactor: Any
    ports: dict[str, IListeningPort] = field(factory=dict, init=False)
    opened: "Deferred[None]" = field(factory=Deferred, init=False)

    def __attrs_post_init__(self) -> None:
        """Join the parts; nothing is opened yet."""
        store = self.config.store
        self.hub = EventHub()
        self.archive = Archive(store.path)
        self.workers = Workers(self.archive.index, self.reactor.callFromThread)
        rules = Rules(frozenset(store.sop_classes), store.max_instance_bytes, store.min_free_bytes, store.validation == "strict")
        self.storage = Storage(self.workers, self.archive.folder, self.hub, rules, Duplicates(store.duplicates))
        self.bulk = BulkStore(self.workers, self.archive.folder, rules)
        self.removal = Removal(self.workers, self.archive.folder, self.hub)
        self.peers = KnownPeers(Peer(remote.ae_title, remote.host, remote.port) for remote in self.config.remote_aes)
        self.connector = Connector(self.config.dimse.ae_title, self.reactor, timeouts_of(self.config.dimse))
        self.sender = DimseSender(self.connector)
        self._join_modality()
        self._join_commitment()
        self._join_workitems()
        self.preparation = Preparation(self.workers, self.archive.folder, self.reactor, store.inline_threshold)
        self.preparation.subscribe(self.hub)
        self.non_patient = NonPatientInstances(self.workers, self.archive.folder, self.preparation)
        self.search = Search(self.workers, self.archive.folder, self.reactor, self.config.http.max_results, store.query_timeout)
        self.retrieve = Retrieve(self.workers, self.archive.folder)
        self.metadata = Metadata(self.workers, self.archive.folder, self.preparation)
        self.metadata.subscribe(self.hub)
        self.transcoder = Transcoder(self.workers, self.preparation)
        self.transcoder.subscribe(self.hub)
        self.frames = Frames(self.workers, self.archive.folder, self.preparation)
        self.frames.subscribe(self.hub)
        self._join_rendering()
        self.transfers = Transfers(self.workers, self.archive.folder, self.transcoder)
        self.capabilities = Capabilities(__version__, self._dimse_tables)
        self.web = app.Door(self.config.http, self._rows(), self.reactor, self.capabilities)
        self.dimse = Listener(self.config.dimse, Services(self._dimse_services()), self.reactor)

    def _join_modality(self) -> None:
        """Worklist and performed steps, the watched folder and HL7."""
        worklist, mpps = self.config.worklist, self.config.mpps
        leave = tuple(ScheduledState(state) for state in worklist.leave_when)
        self.worklist = Worklist(self.workers, self.reactor, leave, worklist.keep_days)
        self.outbox = Outbox(self.workers, self.peers, self.sender, self.reactor, ensureDeferred)
        lenient, keep = mpps.validation == "lenient", mpps.keep_hours * 3600
        self.performed = PerformedSteps(
            self.workers, self.hub, self.reactor, self.outbox.wake, lenient, mpps.forward_to, mpps.notify, keep
        )
        self.mllp = mllp.Listener(self.worklist, self.workers.disk, self.reactor)
        self.expiry = LoopingCall(self._expire)
        self.expiry.clock = self.reactor
        self.folder = WatchedFolder(worklist.path, self.worklist, self.workers, self.reactor, ensureDeferred)

    def _join_commitment(self) -> None:
        kept, classes = self.config.commitment, frozenset(self.config.store.sop_classes)
        self.commitment = StorageCommitment(
            self.workers, self.archive.folder, self.reactor, self.outbox.wake, classes, kept.keep_days, kept.report_hours
        )

    def _expire(self) -> None:
        spawn(self.worklist.expire())
        spawn(self.commitment.expire())

    def _join_workitems(self) -> None:
        """Unified procedure steps, and the ways to their subscribers."""
        ups = self.config.ups
        self.delivery = Delivery(self.workers, self.reactor, self.reactor.callFromThread, spawn, bound=ups.event_backlog)
        self.delivery.open_remote = self._remote_subscriber
        self.workitems = Workitems(self.workers, self.delivery, self.reactor, self.peers, _new_uid, spawn, ups)
        self.event_channels = EventChannels(self.delivery, self.reactor)

    def _remote_subscriber(self, ae_title: str) -> RemoteSubscriber | None:
        peer = self.peers.find(ae_title)
        return RemoteSubscriber(peer, self.sender, self.reactor, spawn) if peer is not None else None

    def _join_rendering(self) -> None:
        """Pictures of instances, and where they are kept."""
        rendering, folder = self.config.rendering, self.archive.folder
        files = ThumbnailFiles(f"{folder.root}/thumbnails", rendering.thumbnail_bytes)
        self.rendering = Rendering(self.workers, folder, rendering.max_samples, rendering.cache_bytes)
        self.thumbnails = Thumbnails(self.workers, folder, files, rendering.max_samples, rendering.cache_bytes // 4)
        self.rendering.subscribe(self.hub)
        self.thumbnails.subscribe(self.hub)

    def _rows(self) -> list[Route]:
        """The resources of the HTTP door."""
        bulk = WadoBulk(self.retrieve, Bulk(self.workers, self.archive.folder, self.preparation), self.frames, self.workers.disk)
        wado = Wado(self.retrieve, self.transcoder, self.workers.disk, bulk.bulkdata)
        rendered = Rendered(self.rendering, self.thumbnails, self.workers.disk)
        stow, http = Stow(self.storage, self.bulk, self.config.store.max_request_bytes), self.config.http
        ups = UpsRs(self.workitems, self.event_channels, http.max_results, self.config.dimse.ae_title)
        return [
            *Health(__version__, self._open_doors, self.outbox.waiting).routes(),
            *self.capabilities.routes(),
            *stow.routes(),
            *NonPatient(self.non_patient, stow, wado, bulk, self.workers.disk, self.config.http.max_results).routes(),
            *web_modality.ModalityWorklist(self.worklist, self.config.http.max_results).routes(),
            *web_modality.PerformedProcedureSteps(self.performed).routes(),
            *web_commitment.Commitment(self.commitment).routes(),
            *ups.routes(),
            *Qido(self.search).routes(),
            *wado.routes(),
            *WadoUri(wado, rendered.uri, None if "workitems" in http.off else ups.open_channel).routes(),
            *(Delete(self.removal).routes() if self.config.http.allow_delete else ()),
            *bulk.routes(),
            *WadoMetadata(self.metadata, self.workers.disk).routes(),
            *WadoFrames(self.frames, self.workers.disk).routes(),
            *rendered.routes(),
        ]

    def _dimse_services(self) -> list[DimseService]:
        """The SOP classes of the DIMSE door."""
        dimse = self.config.dimse
        storage = StorageProvider(self.storage, accept_unknown=dimse.accept_unknown_storage)
        most = dimse.move_associations
        retrieval = Retrieval(self.transfers, self.connector, self.peers, self.reactor, most_associations=most)
        rows = [
            *storage.services(),
            *retrieval.services(),
            *QueryProvider(self.search, self.config.dimse.ae_title).services(),
            *NonPatientQuery(self.non_patient, self.config.dimse.ae_title).services(),
            *dimse_modality.ModalityWorklist(self.worklist).services(),
            *dimse_modality.PerformedProcedureSteps(self.performed).services(),
            *CommitmentProvider(self.commitment).services(),
            *UpsProvider(self.workitems, self.delivery, lambda title: self.peers.find(title) is not None).services(),
        ]
        return [*Verification().services(), *offered(rows, dimse.off)]

    def _dimse_tables(self) -> list[Table]:
        return [Table("SOP classes of the DIMSE door", description.COLUMNS, description.rows(self._dimse_services()))]

    def _doors(self) -> list[Door]:
        doors = [
            Door("http", self.config.http.endpoint, self.web.site, self.web.drain),
            Door("dimse", self.config.dimse.endpoint, self.dimse, self.dimse.drain),
        ]
        if self.config.worklist.mllp_endpoint:
            doors.append(Door("mllp", self.config.worklist.mllp_endpoint, self.mllp, self.mllp.drain))
        return doors

    def _open_doors(self) -> dict[str, bool]:
        return {door.name: door.name in self.ports for door in self._doors()}

    def startService(self) -> None:
        super().startService()
        self._start_parts()
        ensureDeferred(self._open()).addErrback(self._could_not_open)

    async def _open(self) -> None:
        await self.workitems.start()
        for door in self._doors():
            port = await serverFromString(self.reactor, door.endpoint).listen(door.factory)
            self.ports[door.name] = port
            log.info("{door} door open on {address}", door=door.name, address=port.getHost())
        self._begin_to_watch()
        _settle_memory()
        self.opened.callback(None)

    def _begin_to_watch(self) -> None:
        """What happens without a request: preparation, messages that wait for peers, the watched folder, expiry."""
        self.preparation.start()
        self.commitment.start()
        self.outbox.wake()
        if self.config.worklist.path:
            self.folder.start()
        self.expiry.start(EXPIRY_SECONDS)

    def _start_parts(self) -> None:
        """Blocking, before anything listens: the archive opens and recovers, the workers start."""
        try:
            self.archive.open()
        except (StoreInUse, IndexUnusable, OSError) as error:
            log.critical("the server could not start: store.path: {error}", error=error)
            raise SystemExit(1) from None
        if self.archive.taken_back:
            log.info("{count} instances that were never acknowledged were taken back", count=self.archive.taken_back)
        if self.archive.not_indexed:
            log.warn("the store holds files but its index is new: make it from them with python -m dicomd reindex")
        self.workers.start()

    def _could_not_open(self, failure: Any) -> None:
        """One line for what the operator can mend; `opened` tells whoever waits for it."""
        if failure.check(CannotListenError, OSError, OverflowError):
            log.critical("the server could not start: {error}", error=failure.value)
        else:
            log.failure("the server could not start", failure)
        self.reactor.callWhenRunning(self.reactor.stop)
        self.opened.errback(failure)

    def stopService(self) -> "Deferred[None]":
        super().stopService()
        return ensureDeferred(self._close())

    async def _close(self) -> None:
        began = self.reactor.seconds()
        doors = [door for door in self._doors() if door.name in self.ports]
        self.preparation.stop()
        self.outbox.stop()
        self.folder.stop()
        if self.expiry.running:
            self.expiry.stop()
        await DeferredList([self.ports[door.name].stopListening() for door in doors])
        if doors:
            await self._tell_subscribers()
        await DeferredList([ensureDeferred(door.drain(DRAIN_SECONDS)) for door in doors])
        await self.workitems.stop()
        self.connector.abort_all()
        await deferToThread(self._stop_parts, STOP_SECONDS - (self.reactor.seconds() - began))

    async def _tell_subscribers(self) -> None:
        """Of the stop, as far as they can be reached in a moment; then close their channels."""
        told = ensureDeferred(self.workitems.announce_stop()).addTimeout(CHANNEL_DRAIN_SECONDS, self.reactor)
        await told.addErrback(lambda failure: log.warn("the subscribers are not told of the stop: {why}", why=failure.value))
        await self.event_channels.drain(CHANNEL_DRAIN_SECONDS)
        until = self.reactor.seconds() + CHANNEL_DRAIN_SECONDS
        while self.delivery.is_calling and self.reactor.seconds() < until:
            await deferLater(self.reactor, 0.02)

    def _stop_parts(self, seconds: float) -> None:
        """Blocking, in a thread: the workers finish, or are left at what takes them longer, and the index closes."""
        self.workers.stop(max(seconds, 0.5))
        self.archive.close()


def _new_uid() -> str:
    """PS3.5 B.2: a UID derived from a UUID."""
    return f"2.25.{uuid4().int}"


def _settle_memory() -> None:
    """What start-up made stays: the garbage collector need not look through it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(5000, 20, 50)


def makeService(options: Options) -> Server:
    """The whole server as one service; twistd starts and stops it."""
    from twisted.internet import reactor

    logs.join()
    reactor.callWhenRunning(_end_in_order, reactor)
    server = Server(options.config, reactor)
    server.opened.addErrback(lambda _: _fail_at_exit())
    return server


def _fail_at_exit() -> None:
    """twistd ends with status 0 whatever happened; a supervisor must learn that the start has failed."""

    def fail() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)

    atexit.register(fail)


def _end_in_order(reactor: Any) -> None:
    """These signals ask for the end that the service has; twistd by itself would exit as if the signal had killed it."""

    def stop() -> None:
        with suppress(ReactorNotRunning):
            reactor.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: reactor.callFromThread(stop))
