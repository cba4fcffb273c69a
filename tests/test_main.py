"""Maintenance commands: import, verify, reindex; what they say and their exit status."""

import hashlib
import io
import os
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select, update
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import SynchronousTestCase, TestCase

from dicomd.__main__ import Bar, run
from dicomd.model.non_patient import MODELS
from dicomd.store import schema
from dicomd.store.archive import Archive
from tests.archive import edited
from tests.data import pydicom_files, shared_files
from tests.non_patient import palettes
from tests.process import ROOT


class CommandCase(TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.store = self.folder / "store"
        (self.folder / "dicomd.toml").write_text(f'[store]\npath = "{self.store}"\nmin_free_bytes = 0\n')
        self.source = self.folder / "source"
        self.source.mkdir()
        self.out = io.StringIO()

    def run_command(self, *argv: str) -> "Deferred[int]":
        self.out = io.StringIO()
        return Deferred.fromCoroutine(run(reactor, ["--config", str(self.folder / "dicomd.toml"), *argv], self.out))

    def put(self, count: int = 3, folder: str = "") -> None:
        for number in range(count):
            path = self.source / folder / f"{number}.dcm"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(edited(SOPInstanceUID=f"1.{number}", InstanceNumber=number))

    def rows(self, table: Any) -> list[dict[str, Any]]:
        archive = Archive(str(self.store))
        archive.open_for_reading()
        with archive.index.reader() as connection:
            rows = [dict(row) for row in connection.execute(select(table)).mappings()]
        archive.close()
        return rows

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """The index in one transaction, as the server has it."""
        archive = Archive(str(self.store))
        archive.open()
        with archive.index.batch() as connection:
            yield connection
        archive.close()

    def held(self) -> list[Path]:
        return sorted((self.store / "studies").rglob("*.dcm"))


class ImportTests(CommandCase):
    async def test_folders_and_zip_files(self) -> None:
        """All instances below, directly or packed; what is no DICOM is passed over and no error."""
        self.put(2, "a")
        (self.source / "a" / "notes.txt").write_text("hello")
        (self.source / "a" / "DICOMDIR").write_bytes(b"anything")
        with zipfile.ZipFile(self.source / "b.zip", "w") as archive:
            archive.writestr("deep/c.dcm", edited(SOPInstanceUID="1.9"))
        self.assertEqual(await self.run_command("import", str(self.source)), 0)
        self.assertEqual(len(self.held()), 3)
        self.assertIn("1 not DICOM, 3 stored", self.out.getvalue())

    async def test_skips_what_is_held(self) -> None:
        """A second run stores nothing."""
        self.put(3)
        await self.run_command("import", str(self.source))
        before = [path.stat().st_mtime_ns for path in self.held()]
        self.assertEqual(await self.run_command("import", str(self.source)), 0)
        self.assertIn("3 held already", self.out.getvalue())
        self.assertEqual([path.stat().st_mtime_ns for path in self.held()], before)

    async def test_index_of_an_earlier_release(self) -> None:
        """Its SHA-256 digests tell what is held and what is sound; made anew, it has the newer kind."""
        self.put(3)
        await self.run_command("import", str(self.source))
        with self.writing() as connection:
            for row in list(connection.execute(select(schema.instances)).mappings()):
                content = (self.store / row["file"]).read_bytes()[row["dataset_offset"] :]
                one = update(schema.instances).where(schema.instances.c.id == row["id"])
                connection.execute(one.values(digest=hashlib.sha256(content).digest()))
            connection.execute(update(schema.about).values(value="3"))
        for command, sizes in (("import", {32}), ("verify", {32}), ("reindex", {33}), ("import", {33}), ("verify", {33})):
            arguments = [str(self.source)] if command == "import" else []
            self.assertEqual(await self.run_command(command, *arguments), 0)
            if command != "reindex":
                self.assertIn("3 held already" if command == "import" else "3 sound", self.out.getvalue())
            self.assertEqual({len(row["digest"]) for row in self.rows(schema.instances)}, sizes, command)

    async def test_refused(self) -> None:
        """What is refused is named, the rest is stored, the exit status tells."""
        self.put(1)
        (self.source / "cut.dcm").write_bytes(edited(SOPInstanceUID="1.7")[:-3000])
        self.assertEqual(await self.run_command("import", str(self.source)), 1)
        self.assertIn("cut.dcm: ", self.out.getvalue())
        self.assertEqual(len(self.held()), 1)

    async def test_no_such_source(self) -> None:
        """Status 2 and a line."""
        self.assertEqual(await self.run_command("import", str(self.source / "nothing")), 2)
        self.assertIn("there is no such file or folder", self.out.getvalue())

    async def test_a_store_in_use(self) -> None:
        """A server holds the store: refused with a line."""
        archive = Archive(str(self.store))
        archive.open()
        self.addCleanup(archive.close)
        for command in (["import", str(self.source)], ["reindex"]):
            self.assertEqual(await self.run_command(*command), 2)
            self.assertIn("in use by another process", self.out.getvalue())


class PalettesTests(CommandCase):
    async def test_once_and_again(self) -> None:
        """All well-known palettes are stored by one command, and by a second one no more; verify and reindex know them."""
        self.assertEqual(await self.run_command("palettes"), 0)
        rows = self.rows(schema.instances)
        self.assertEqual(len(rows), len(palettes()))
        self.assertEqual({(row["sop_class_uid"], row["study_row"]) for row in rows}, {(MODELS[0].storage[0], None)})
        self.assertEqual(await self.run_command("palettes"), 0)
        self.assertIn(f"{len(palettes())} held already", self.out.getvalue())
        self.assertEqual(await self.run_command("verify"), 0)
        self.assertEqual(await self.run_command("reindex"), 0)
        self.assertEqual(len(self.rows(schema.instances)), len(palettes()))


class VerifyTests(CommandCase):
    async def test_sound(self) -> None:
        """Also beside a server."""
        self.put(3)
        await self.run_command("import", str(self.source))
        archive = Archive(str(self.store))
        archive.open()
        self.addCleanup(archive.close)
        self.assertEqual(await self.run_command("verify"), 0)
        self.assertIn("3 sound", self.out.getvalue())

    async def test_each_damage(self) -> None:
        """A missing, a shorter, a changed and an unknown file are each told."""
        self.put(4)
        await self.run_command("import", str(self.source))
        missing, short, changed, _ = self.held()
        missing.unlink()
        os.truncate(short, 500)
        data = bytearray(changed.read_bytes())
        data[-5] ^= 1
        changed.write_bytes(data)
        (changed.parent / "9.9.dcm").write_bytes(b"what")
        self.assertEqual(await self.run_command("verify"), 1)
        said = self.out.getvalue()
        for words in ("is missing", "has 500 bytes", "digest differs", "9.9.dcm: is not in the index"):
            self.assertIn(words, said)

    async def test_wrong_counts(self) -> None:
        """What the index says of itself is checked too."""
        self.put(2)
        await self.run_command("import", str(self.source))
        with self.writing() as connection:
            connection.execute(update(schema.studies).values(instances_in_study=7))
        self.assertEqual(await self.run_command("verify"), 1)
        self.assertIn("number of its instances", self.out.getvalue())

    async def test_no_index(self) -> None:
        """There is nothing to compare with."""
        self.assertEqual(await self.run_command("verify"), 2)


class ReindexTests(CommandCase):
    COLUMNS_OF_ROWS = ("id", "patient_row", "study_row", "series_row")

    def content(self) -> dict[str, list[Any]]:
        """Everything that searches read, without the numbers of rows and who sent it."""
        found = {}
        for table in (schema.patients, schema.studies, schema.series, schema.instances):
            left_out = {*self.COLUMNS_OF_ROWS, "sent_by", "source_at"}
            rows = [{name: value for name, value in row.items() if name not in left_out} for row in self.rows(table)]
            found[table.name] = sorted(rows, key=repr)
        return found

    async def test_the_same_answers(self) -> None:
        """The index made from the files alone equals the one that was kept on write; replaced instances too."""
        for number, path in enumerate([*pydicom_files(), *shared_files("series"), *shared_files("non-image")]):
            (self.source / f"{number}.dcm").write_bytes(path.read_bytes())
        await self.run_command("import", str(self.source))
        self.put(3, "again")
        await self.run_command("import", str(self.source / "again"))
        before = self.content()
        self.assertGreater(len(before["instances"]), 100)
        for name in ("index.sqlite", "index.sqlite-wal", "index.sqlite-shm"):
            (self.store / name).unlink(missing_ok=True)
        self.assertEqual(await self.run_command("reindex"), 0, self.out.getvalue())
        self.assertEqual(self.content(), before)
        self.assertEqual(await self.run_command("verify"), 0, self.out.getvalue())

    async def test_keeps_what_is_in_no_file(self) -> None:
        """Work items and the like are carried over."""
        self.put(2)
        await self.run_command("import", str(self.source))
        with self.writing() as connection:
            connection.execute(insert(schema.deleted_workitems).values(self.filled(schema.deleted_workitems)))
        self.assertEqual(await self.run_command("reindex"), 0)
        self.assertEqual(len(self.rows(schema.deleted_workitems)), 1)
        self.assertEqual(len(self.rows(schema.instances)), 2)

    def filled(self, table: Any) -> dict[str, Any]:
        return {column.name: 1 if column.type.python_type in (int, float) else "1.2.3" for column in table.c}

    async def test_a_damaged_index(self) -> None:
        """The server says what to do; reindex does it and tells what was lost."""
        self.put(2)
        await self.run_command("import", str(self.source))
        (self.store / "index.sqlite").write_bytes(b"no database" * 1000)
        self.assertEqual(await self.run_command("import", str(self.source)), 2)
        self.assertIn("python -m dicomd reindex", self.out.getvalue())
        self.assertEqual(await self.run_command("reindex"), 1)
        self.assertIn("are lost", self.out.getvalue())
        self.assertEqual(len(self.rows(schema.instances)), 2)

    async def test_an_unreadable_file(self) -> None:
        """It is named and left where it is."""
        self.put(2)
        await self.run_command("import", str(self.source))
        os.truncate(self.held()[0], 100)
        self.assertEqual(await self.run_command("reindex"), 1)
        self.assertEqual((len(self.rows(schema.instances)), len(self.held())), (1, 2))


class ProcessTests(CommandCase):
    """The command as its users run it."""

    async def test_exit_status(self) -> None:
        """0 when all is well, 1 when something is wrong with files, 2 when the work could not be done."""
        self.put(2)
        arguments = ["-m", "dicomd", "--config", str(self.folder / "dicomd.toml")]
        (self.source / "torn.dcm").write_bytes(edited()[:2000])
        for status, *command in (
            (2, "import", str(self.folder / "absent")),
            (1, "import", str(self.source)),
            (0, "import", str(self.source / "0.dcm")),
            (0, "verify"),
        ):
            process = getProcessOutputAndValue(sys.executable, [*arguments, *command], os.environ | {"PYTHONPATH": str(ROOT)})
            _, said, actual = await process
            self.assertEqual(actual, status, said)


class BarTests(SynchronousTestCase):
    def test_on_a_terminal(self) -> None:
        """One line that is drawn again; problems above it."""

        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        clock, out = Clock(), Terminal()
        bar = Bar(out, clock=clock.seconds)
        bar.begin(2)
        clock.advance(1)
        bar.count("stored")
        bar.problem("a.dcm: no")
        clock.advance(1)
        bar.count("failed")
        bar.finish()
        lines = out.getvalue().replace("\x1b[K", "").split("\r")
        self.assertIn("[###############...............] 1/2 (1/s): 1 stored", lines)
        self.assertIn("a.dcm: no\n", lines)
        self.assertEqual(lines[-1], "[##############################] 2/2 (1/s): 1 failed, 1 stored\n")

    def test_quiet(self) -> None:
        """Only problems."""
        out = io.StringIO()
        bar = Bar(out, quiet=True)
        bar.begin(1)
        bar.count("stored")
        bar.problem("a: b")
        bar.finish()
        self.assertEqual(out.getvalue(), "a: b\n")
