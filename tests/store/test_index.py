"""The index: transactions, savepoints, versions."""

import contextlib
import shutil
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import func, insert, select, text
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.status import ServiceError
from dicomd.store import index as index_module
from dicomd.store import schema
from dicomd.store.dialect import Statement
from dicomd.store.index import Index, IndexUnusable

PATIENT = {"key": "1\\", "patient_id": "1", "patient_name": "A^B", "source_at": 1}


class IndexTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.index = Index(Path(self.mktemp()) / "index.sqlite")
        self.index.open()
        self.addCleanup(self.index.close)

    def patients(self) -> int:
        with self.index.reader() as connection:
            return connection.scalar(select(func.count()).select_from(schema.patients))

    def test_a_batch_is_durable_when_it_ends(self) -> None:
        """WAL with synchronous=FULL: the commit is on the disk."""
        with self.index.batch() as connection:
            connection.execute(insert(schema.patients).values(PATIENT))
            self.assertEqual(connection.scalar(text("PRAGMA synchronous")), 2)
            self.assertEqual(connection.scalar(text("PRAGMA journal_mode")), "wal")
            self.assertEqual(self.patients(), 0)
        self.assertEqual(self.patients(), 1)

    def test_the_log_has_its_usual_size(self) -> None:
        """Commits do not make it longer; what a crash leaves of it is read by SQLite as ever, however often it began anew."""
        log = Path(f"{self.index.path}-wal")
        size, salts, rows = log.stat().st_size, set[bytes](), 0
        self.assertGreater(size, 4 << 20)
        while len(salts) < 3:
            with self.index.batch() as connection:
                many = [{**PATIENT, "key": str(rows + one), "patient_name": "N" * 64} for one in range(10 + rows % 2000)]
                connection.execute(insert(schema.patients), many)
            rows += len(many)
            self.assertEqual(log.stat().st_size, size)
            self.assertLess(rows, 500_000)
            with log.open("rb") as file:
                salt = file.read(24)[16:]
            if salt not in salts:
                salts.add(salt)
                self.assertEqual(self.left_by_a_crash(log), ([(rows,)], [("ok",)]))

    def left_by_a_crash(self, log: Path) -> tuple[list[Any], list[Any]]:
        """How many patients plain SQLite finds in a copy, and whether it finds that sound."""
        copy = Path(self.mktemp())
        copy.mkdir()
        for file in (self.index.path, log):
            shutil.copy(file, copy)
        with contextlib.closing(sqlite3.connect(copy / self.index.path.name)) as left:
            counted = left.execute("SELECT count(*) FROM patients").fetchall()
            return counted, left.execute("PRAGMA integrity_check").fetchall()

    def test_the_log_is_elsewhere(self) -> None:
        """SQLite keeps it beside the file that a link names; none is made beside the link."""
        path = self.index.path.with_name("link.sqlite")
        path.symlink_to(self.index.path.name)
        self.index.close()
        linked = Index(path)
        self.addCleanup(linked.close)
        linked.open()
        self.assertFalse(Path(f"{path}-wal").exists())
        self.assertGreater(Path(f"{self.index.path}-wal").stat().st_size, 4 << 20)

    def test_a_batch_that_raises_leaves_nothing(self) -> None:
        """Neither rows nor what was to happen after the commit."""
        done: list[int] = []
        with self.assertRaises(ZeroDivisionError), self.index.batch() as connection:
            connection.execute(insert(schema.patients).values(PATIENT))
            index_module.after_commit(connection, done.append, 1)
            index_module.known(connection)["a"] = 1
            raise ZeroDivisionError
        self.assertEqual((self.patients(), done), (0, []))
        with self.index.batch() as connection:
            self.assertEqual(index_module.known(connection), {})

    def test_what_follows_fails(self) -> None:
        """The commit did not: the batch ends without error, and the rest follows."""
        done: list[int] = []
        with self.index.batch() as connection:
            connection.execute(insert(schema.patients).values(PATIENT))
            index_module.after_commit(connection, lambda: 1 // 0)
            index_module.after_commit(connection, done.append, 1)
        self.assertEqual((self.patients(), done), (1, [1]))

    def test_a_transaction_that_the_database_ended(self) -> None:
        """A full disk, say, undoes the whole group: the neighbours fail too, and nothing runs outside a transaction."""
        done: list[int] = []
        insertion = Statement(insert(schema.patients).values(PATIENT))
        outside: list[BaseException] = []

        def group() -> None:
            with self.index.batch() as connection:
                with self.index.savepoint(connection):
                    insertion.run(connection, PATIENT)
                    index_module.after_commit(connection, done.append, 1)
                try:
                    with self.index.savepoint(connection):
                        # Ends the transaction, as SQLite does for SQLITE_FULL and SQLITE_IOERR.
                        connection.execute(insert(schema.patients).values(PATIENT).prefix_with("OR ROLLBACK"))
                except Exception as error:
                    outside.append(error)
                try:
                    with self.index.savepoint(connection):
                        insertion.run(connection, {**PATIENT, "key": "2\\"})
                except Exception as error:
                    outside.append(error)

        self.assertRaises(ServiceError, group)
        self.assertEqual((self.patients(), done, len(outside)), (0, [], 2))
        with self.index.batch() as connection, self.index.savepoint(connection):
            insertion.run(connection, PATIENT)
        self.assertEqual(self.patients(), 1)

    def test_a_savepoint_undoes_its_job_alone(self) -> None:
        """One refused job does not harm its neighbours in the group."""
        done: list[int] = []
        insertion = Statement(insert(schema.patients).values(PATIENT))
        with self.index.batch() as connection:
            with self.index.savepoint(connection):
                insertion.run(connection, PATIENT)
                index_module.after_commit(connection, done.append, 1)
            with self.assertRaises(ZeroDivisionError), self.index.savepoint(connection):
                insertion.run(connection, {**PATIENT, "key": "2\\"})
                index_module.after_commit(connection, done.append, 2)
                raise ZeroDivisionError
        self.assertEqual((self.patients(), done), (1, [1]))

    def test_reader_cannot_write(self) -> None:
        """The connections of read jobs are read-only."""
        with self.index.reader() as connection, self.assertRaises(Exception):  # noqa: B017 - the driver's own
            connection.execute(insert(schema.patients).values(PATIENT))

    def test_opens_again(self) -> None:
        """The same version is opened as it is."""
        self.index.close()
        self.index.open()
        self.assertEqual(self.patients(), 0)

    def test_an_older_version_is_upgraded(self) -> None:
        """The file of version 1 becomes what a new one is."""
        made = self.definitions()
        with self.index.batch() as connection:
            for statement in (
                "DROP INDEX studies_by_patient_name",
                "DROP INDEX series_by_modality",
                "DROP TRIGGER counts",
                "CREATE INDEX series_by_modality ON series (modality)",
                "UPDATE about SET value = '1'",
            ):
                connection.execute(text(statement))
        self.assertNotEqual(self.definitions(), made)
        self.index.close()
        self.index.open()
        self.assertEqual(self.definitions(), made)
        with self.index.reader() as connection:
            self.assertEqual(connection.scalar(select(schema.about.c.value)), str(schema.VERSION))

    def definitions(self) -> list[str]:
        """Every table and index of the file, as SQL."""
        with self.index.reader() as connection:
            return sorted(connection.scalars(text("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")))

    def test_newer_version_is_refused(self) -> None:
        """An index of a newer server is not touched."""
        with self.index.batch() as connection:
            connection.execute(schema.about.update().values(value=str(schema.VERSION + 1)))
        self.index.close()
        error = self.assertRaises(IndexUnusable, self.index.open)
        self.assertIn("newer", str(error))
