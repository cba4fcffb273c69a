"""What is particular to the database: SQLite's pragmas and transactions, statements compiled once and run by the driver.

Everything else in `store` is SQLAlchemy Core or plain SQL that PostgreSQL understands as well.
"""

import math
import os
import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, func, literal_column, select, text
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement

from ..model.status import Busy, ServiceError, Status, StorageFull

__all__ = ["Statement", "begin", "commit", "create", "cursor", "failure", "insert", "rollback", "savepoint", "version"]

# So many pages of the log make a checkpoint due, after which it is written from its beginning again; the transaction that
# brings it there may be a large one.
_LOG_PAGES, _LARGE_TRANSACTION = 2000, 500
# Where less than so many logs would find room, none is made beforehand.
_MANY_LOGS = 20
_LOG_BYTES = 32 + (_LOG_PAGES + _LARGE_TRANSACTION) * (24 + 4096)
# Acknowledged means durable: with synchronous=FULL each commit is on the disk before it returns, in WAL mode too.
_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA cache_size=-16000",
    "PRAGMA busy_timeout=10000",
    f"PRAGMA wal_autocheckpoint={_LOG_PAGES}",
)


def create(path: Path, *, read_only: bool = False) -> Engine:
    """An engine on the index file at `path`, whose connections leave transactions to the functions below."""

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512)
        for pragma in (*_PRAGMAS, "PRAGMA query_only=ON") if read_only else _PRAGMAS:
            connection.execute(pragma).close()
        return connection

    return create_engine("sqlite+pysqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)


def reserve_log(path: Path) -> None:
    """Give the log of an open database the size that it usually has: making it longer costs a commit two more writes and waits.

    Whatever is behind the last frame means nothing to SQLite (https://www.sqlite.org/fileformat2.html, 4.4). Where space is
    scarce, nothing is done.
    """
    log = f"{os.path.realpath(path)}-wal"
    with suppress(OSError):
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            missing = _LOG_BYTES - os.fstat(descriptor).st_size
            if missing > 0 and shutil.disk_usage(log).free > _MANY_LOGS * _LOG_BYTES:
                os.write(descriptor, bytes(missing))
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def copy(old: Path, new: Path) -> str:
    """Copy a database that nobody uses, and bring the old one into a single file; why not, when it cannot be read."""
    try:
        with closing(sqlite3.connect(old)) as source, closing(sqlite3.connect(new)) as target:
            source.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            source.backup(target)
            ((verdict,), *_) = target.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.Error as error:
        return str(error)
    return "" if verdict == "ok" else str(verdict)


def damage(connection: Connection) -> list[str]:
    """What the database finds wrong with its own file."""
    found = [str(line) for (line,) in cursor(connection).execute("PRAGMA quick_check(10)").fetchall()]
    return [] if found == ["ok"] else found


def settle(path: Path) -> None:
    """Bring a database that nobody uses into a single durable file."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def failure(error: BaseException) -> BaseException:
    """An error of the database as the refusal that a client is told; anything else as it is."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(cause, sqlite3.Error):
        return error
    if getattr(cause, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL:
        return StorageFull("the storage is full")
    return ServiceError("the index could not be written", Status.PROCESSING_FAILURE)


def cursor(connection: Connection) -> Any:
    """A cursor of the database driver itself, for statements that run thousands of times a second."""
    driver = connection.connection.driver_connection
    assert driver is not None
    return driver.cursor()


# Every three characters of the names in a study, for wildcard keys that begin with an asterisk; names go with their owner; an
# instance more in a series, and so in its study, is counted in the step that inserts it.
_EXTRAS = (
    "CREATE VIRTUAL TABLE IF NOT EXISTS name_trigrams USING fts5(study, referring, tokenize='trigram case_sensitive 1')",
    "CREATE TRIGGER IF NOT EXISTS names_of_study AFTER DELETE ON studies BEGIN"
    " DELETE FROM names WHERE owner IN (1, 2) AND row = old.id; DELETE FROM name_trigrams WHERE rowid = old.id; END",
    "CREATE TRIGGER IF NOT EXISTS names_of_patient AFTER DELETE ON patients BEGIN"
    " DELETE FROM names WHERE owner = 0 AND row = old.id; END",
    "CREATE TRIGGER IF NOT EXISTS counts AFTER INSERT ON instances WHEN new.series_row IS NOT NULL BEGIN"
    " UPDATE series SET instances_in_series = instances_in_series + 1 WHERE id = new.series_row;"
    " UPDATE studies SET instances_in_study = instances_in_study + 1 WHERE id = new.study_row; END",
)
_TRIGRAMS = {
    "study": (
        "UPDATE name_trigrams SET study = ?2 WHERE rowid = ?1",
        "INSERT INTO name_trigrams(rowid, study) VALUES (?1, ?2)",
    ),
    "referring": (
        "UPDATE name_trigrams SET referring = ?2 WHERE rowid = ?1",
        "INSERT INTO name_trigrams(rowid, referring) VALUES (?1, ?2)",
    ),
}


def create_extras(connection: Connection) -> None:
    """What the schema needs beyond its tables."""
    for statement in _EXTRAS:
        cursor(connection).execute(statement)


def index_trigrams(connection: Connection, column: str, row: int, text: str) -> None:
    """Remember what a study's names contain, so that `containing` finds it."""
    run = cursor(connection).execute
    update, insertion = _TRIGRAMS[column]
    if not run(update, (row, text)).rowcount:
        run(insertion, (row, text))


# ---- expressions that databases spell differently


def glob(pattern: str) -> str:
    """The pattern for `globs`, from one of `*` and `?` in which nothing else is special."""
    return pattern.replace("[", "[[]")


def globs(column: Any, pattern: Any) -> Any:
    """Whether a text matches a `glob` pattern; case-sensitive."""
    return column.op("GLOB", is_comparison=True)(pattern)


def contains(column: Any, part: Any) -> Any:
    """Whether a text contains another."""
    return func.instr(column, part) > literal_column("0")


def values_of(listed: Any) -> Any:
    """A query of the values in a JSON array: a list of any length is one parameter."""
    each = func.json_each(listed).table_valued("value")
    return select(each.c.value)


def pairs_of(listed: Any) -> Any:
    """The rows of a JSON array of pairs: many rows are one parameter, and one step of the database."""
    each = func.json_each(listed).table_valued("value")
    first, second = (func.json_extract(each.c.value, literal_column(f"'$[{place}]'")) for place in (0, 1))
    return select(first.label("first"), second.label("second")).subquery()


def trigrams(column: str, part: Any) -> Any:
    """A query of the rows of studies with a name that contains `part`, which has three characters at least."""
    quote: Any = literal_column("'\"'")
    quotes: Any = literal_column("'\"\"'")
    table: Any = literal_column("name_trigrams")
    phrase = literal_column(f"'{column} : '").op("||")(quote).op("||")(func.replace(part, quote, quotes)).op("||")(quote)
    return select(literal_column("rowid")).select_from(text("name_trigrams")).where(table.op("MATCH", is_comparison=True)(phrase))


def last_number(connection: Connection, table: str) -> int:
    """The last row number that an autoincrementing table has given, whether or not the row is still there."""
    found = cursor(connection).execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return int(found[0]) if found else 0


# ---- time limits

_STEPS = 20_000


class _Limit:
    """When the statements of a connection have to end; asked every so many steps of the database's machine."""

    end = math.inf

    def is_over(self) -> bool:
        return time.monotonic() > self.end


class deadline:
    """Statements in the block end with `Busy` when they take longer than so many seconds together."""

    def __init__(self, connection: Connection, seconds: float) -> None:
        limit = connection.info.get("limit")
        if limit is None:
            limit = connection.info["limit"] = _Limit()
            raw = connection.connection.driver_connection
            assert raw is not None
            raw.set_progress_handler(limit.is_over, _STEPS)
        self._limit: _Limit = limit
        self._seconds = seconds

    def __enter__(self) -> None:
        self._limit.end = time.monotonic() + self._seconds

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._limit.end = math.inf
        if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            raise Busy("the search took too long") from None


# ---- transactions


def begin(connection: Connection) -> None:
    """Begin a transaction that sees one state of the database."""
    _begin(connection, "BEGIN")


def begin_writing(connection: Connection) -> None:
    """Begin a transaction that may write."""
    connection.info.pop("undone", None)
    _begin(connection, "BEGIN IMMEDIATE")


def _begin(connection: Connection, statement: str) -> None:
    """The driver gives up the interpreter's lock four times for a statement, but once for a script; that would end an open
    transaction, though."""
    if _is_open(connection):
        raise sqlite3.OperationalError("a transaction is open already")
    cursor(connection).executescript(statement)


def commit(connection: Connection) -> None:
    """Make the transaction durable.

    An error such as a full disk can make SQLite end the transaction by itself, however that was taken. Then nothing of it is
    durable, and that error is raised here.
    """
    _check_open(connection)
    connection.connection.commit()
    if connection.in_transaction():
        connection.commit()


def rollback(connection: Connection) -> None:
    """End the transaction, undoing what it did."""
    connection.connection.rollback()
    if connection.in_transaction():
        connection.rollback()


def version(connection: Connection) -> int:
    """A number that is another one for this connection whenever somebody else has committed."""
    return int(cursor(connection).execute("PRAGMA data_version").fetchone()[0])


@contextmanager
def savepoint(connection: Connection) -> Iterator[None]:
    """Undo what the block did when it raises. Outside a transaction nothing is run: it would be committed at once."""
    _check_open(connection)
    run = cursor(connection).execute
    run("SAVEPOINT job")
    try:
        yield
    except BaseException as error:
        if not _is_open(connection):
            connection.info["undone"] = error
            raise
        run("ROLLBACK TO job")
        run("RELEASE job")
        raise
    run("RELEASE job")


def _is_open(connection: Connection) -> bool:
    raw = connection.connection.driver_connection
    return raw is not None and raw.in_transaction


def _check_open(connection: Connection) -> None:
    if not _is_open(connection):
        raise connection.info.get("undone") or sqlite3.OperationalError("the transaction was undone")


class Statement:
    """A Core statement compiled once; run by the driver's cursor without SQLAlchemy's work for each execution.

    `as_joined`: tables are read in the order in which they are joined, whatever the planner thinks.
    """

    def __init__(self, statement: ClauseElement, *, as_joined: bool = False) -> None:
        self._statement = statement
        self._as_joined = as_joined
        self._dialect: Dialect | None = None
        self._text = ""
        self._names: Sequence[str] = ()

    def run(self, connection: Connection, values: Mapping[str, Any]) -> Any:
        """Execute with the named `values`; a cursor to fetch rows (plain tuples) from."""
        if self._dialect is not connection.dialect:
            self._compile(connection.dialect)
        return cursor(connection).execute(self._text, [values[name] for name in self._names])

    def first(self, connection: Connection, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """The first row for the named `values`, by column name."""
        found = self.run(connection, values)
        row = found.fetchone()
        return None if row is None else {name: value for (name, *_), value in zip(found.description, row, strict=True)}

    def insert(self, connection: Connection, values: Mapping[str, Any]) -> int | None:
        """Insert one row with the named `values`: its number, or None where a conflict lets nothing be done."""
        done = self.run(connection, values)
        return done.lastrowid if done.rowcount else None

    def run_many(self, connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
        """Execute once for each of the named values."""
        if self._dialect is not connection.dialect:
            self._compile(connection.dialect)
        cursor(connection).executemany(self._text, [[values[name] for name in self._names] for values in rows])

    def _compile(self, dialect: Dialect) -> None:
        compiled = self._statement.compile(dialect=dialect)
        assert isinstance(compiled, SQLCompiler)
        sql = str(compiled)
        self._text = sql.replace(" JOIN ", " CROSS JOIN ") if self._as_joined else sql
        self._names = tuple(compiled.positiontup or ())
        self._dialect = dialect
