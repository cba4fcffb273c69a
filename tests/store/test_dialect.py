"""What is particular to the database."""

from sqlalchemy import text
from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.status import Busy, Status
from dicomd.store import dialect
from tests.workers import new_index

ENDLESS = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers) SELECT count(*) FROM numbers"


class DeadlineTests(SynchronousTestCase):
    def test_a_statement_that_takes_too_long_is_ended(self) -> None:
        """With a refusal (A700); the connection goes on."""
        index = new_index(self.mktemp())
        self.addCleanup(index.close)
        with index.reader() as connection:
            with self.assertRaises(Busy) as caught, dialect.deadline(connection, 0.01):
                dialect.cursor(connection).execute(ENDLESS).fetchall()
            self.assertEqual(caught.exception.status, Status.OUT_OF_RESOURCES)
            self.assertEqual(connection.scalar(text("SELECT 1")), 1)


class PatternTests(SynchronousTestCase):
    def test_only_wildcards_are_special(self) -> None:
        """What GLOB knows besides is data."""
        self.assertEqual(dialect.glob("a*[b]?"), "a*[[]b]?")
