"""The index: engine, opening and upgrading it, and the transactions that the worker pools ask for.

Store functions take a connection first and never commit. One thread writes; each reading thread has a connection of its own.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlalchemy import Connection, Engine, insert, select, update
from sqlalchemy.exc import DBAPIError

from ..model.status import ServiceError
from . import dialect, schema

log = logging.getLogger(__name__)

FILE_NAME = "index.sqlite"


class IndexUnusable(Exception):
    """The index file cannot be used by this version: one line that says why."""


class Index:
    """The index file at `path`, made when it is not there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writers: Engine | None = None
        self._readers: Engine | None = None
        self._writer: Connection | None = None
        self._local = threading.local()
        self._open: list[Connection] = []
        self._lock = threading.Lock()

    def open(self) -> None:
        """Create or upgrade the tables; raises `IndexUnusable` for the file of a newer version."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._writers, self._readers = dialect.create(self.path), dialect.create(self.path, read_only=True)
        try:
            self._writer = self._writers.connect()
            with self.batch() as connection:
                _upgrade(connection, self.path)
            dialect.reserve_log(self.path)
        except (ServiceError, DBAPIError) as error:
            cause = error.__cause__ or error
            hint = "if it is damaged, make it anew from the files: python -m dicomd reindex"
            raise IndexUnusable(f"{self.path}: cannot be used ({cause}); {hint}") from None

    def open_for_reading(self) -> None:
        """Open an index that another process may be using; raises `IndexUnusable` when there is none of this version."""
        if not self.path.exists():
            raise IndexUnusable(f"{self.path}: there is no index; make it from the files: python -m dicomd reindex")
        self._readers = dialect.create(self.path, read_only=True)
        try:
            with self.reader() as connection:
                version = _version(connection)
        except DBAPIError as error:
            raise IndexUnusable(f"{self.path}: cannot be read ({error.orig})") from None
        if version != schema.VERSION:
            raise IndexUnusable(f"{self.path}: has schema version {version} in place of {schema.VERSION}")

    def close(self) -> None:
        """Close every connection; the worker pools must have stopped before."""
        for connection in [*self._open, self._writer]:
            if connection is not None:
                connection.close()
        self._open, self._writer = [], None
        self._local = threading.local()

    def reader(self) -> "Reading":
        """A read-only connection of this thread; the block sees one state of the index."""
        return Reading(self._reading_connection())

    def _reading_connection(self) -> Connection:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            assert self._readers is not None, "the index is not open"
            connection = self._local.connection = self._readers.connect()
            with self._lock:
                self._open.append(connection)
        return connection

    def batch(self) -> "Batch":
        """The writing connection in one transaction, durable when the block ends without error.

        After the commit, and before anybody hears of it, the functions given to `after_commit` run.
        """
        assert self._writer is not None, "the index is not open"
        return Batch(self._writer)

    @contextmanager
    def savepoint(self, connection: Connection) -> Iterator[None]:
        """Undo what the block did, and forget what it wanted done after the commit, when it raises."""
        afterwards = len(connection.info["after_commit"])
        try:
            with dialect.savepoint(connection):
                yield
        except BaseException as error:
            del connection.info["after_commit"][afterwards:]
            connection.info.pop("known", None)
            raise dialect.failure(error) from error


class Reading:
    """A transaction that only reads, thousands of times a second."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __enter__(self) -> Connection:
        dialect.begin(self._connection)
        return self._connection

    def __exit__(self, *raised: object) -> None:
        dialect.rollback(self._connection)


class Batch:
    """A transaction that writes, hundreds of times a second."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __enter__(self) -> Connection:
        self._connection.info["after_commit"] = []
        try:
            dialect.begin_writing(self._connection)
        except BaseException as error:
            raise self._undone(error) from error
        return self._connection

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            raise self._undone(error) from error
        try:
            dialect.commit(self._connection)
        except BaseException as failed:
            raise self._undone(failed) from failed
        for function, arguments in self._connection.info.pop("after_commit"):
            try:
                function(*arguments)
            except Exception as failed:  # noqa: BLE001 - what is durable did not fail
                log.error("%s failed after a commit: %s", getattr(function, "__qualname__", "a function"), type(failed).__name__)

    def _undone(self, error: BaseException) -> BaseException:
        """Undo the transaction; the error to raise for the one that made it necessary."""
        self._connection.info.pop("known", None)
        dialect.rollback(self._connection)
        return dialect.failure(error)


def after_commit(connection: Connection, function: Callable[..., None], *arguments: Any) -> None:
    """Run `function(*arguments)` in the writing thread as soon as the present transaction is durable; it must not raise."""
    connection.info["after_commit"].append((function, arguments))


def known(connection: Connection) -> dict[str, Any]:
    """What the writer remembers of rows it wrote: emptied whenever something is undone."""
    remembered: dict[str, Any] = connection.info.setdefault("known", {})
    return remembered


def _version(connection: Connection) -> int | None:
    found = connection.scalar(select(schema.about.c.value).where(schema.about.c.name == "schema_version"))
    return None if found is None else int(found)


def _upgrade(connection: Connection, path: Path) -> None:
    schema.metadata.create_all(connection)
    dialect.create_extras(connection)
    version = _version(connection)
    if version is None:
        connection.execute(insert(schema.about).values(name="schema_version", value=str(schema.VERSION)))
        return
    if version > schema.VERSION:
        raise IndexUnusable(f"{path}: schema version {version} is newer than this server's {schema.VERSION}")
    for number in range(version, schema.VERSION):
        schema.UPGRADES[number](connection)
    connection.execute(
        update(schema.about).where(schema.about.c.name == "schema_version").values(value=str(schema.VERSION)),
    )
