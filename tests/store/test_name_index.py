"""Names in the index."""

from sqlalchemy import delete, insert, select, text
from twisted.trial.unittest import SynchronousTestCase

from dicomd.store import name_index
from dicomd.store.name_index import Owner
from dicomd.store.schema import names, patients, studies
from tests.workers import new_index


class NameIndexTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.index = new_index(self.mktemp())
        self.addCleanup(self.index.close)

    def rows(self, owner: Owner) -> list[tuple[int, str]]:
        with self.index.reader() as connection:
            found = select(names.c.kind, names.c.text).where(names.c.owner == owner).order_by(names.c.kind, names.c.text)
            return [tuple(row) for row in connection.execute(found)]

    def containing(self, part: str) -> list[int]:
        with self.index.reader() as connection:
            return list(
                connection.scalars(text("SELECT rowid FROM name_trigrams WHERE name_trigrams MATCH :part"), {"part": part})
            )

    def test_groups_and_words(self) -> None:
        """Each group in normal form, each word folded."""
        with self.index.batch() as connection:
            name_index.write(connection, Owner.STUDY, 1, "Müller^Äneas^^=山田^太郎")
        expected = [(0, "müller^äneas"), (1, "山田^太郎"), (3, "aneas"), (3, "muller"), (3, "太郎"), (3, "山田")]
        self.assertEqual(self.rows(Owner.STUDY), expected)
        self.assertEqual(self.containing("ller"), [1])

    def test_a_changed_name_replaces_the_old(self) -> None:
        """Nothing is left of it."""
        with self.index.batch() as connection:
            name_index.write(connection, Owner.STUDY, 1, "Smith^John")
            name_index.write(connection, Owner.REFERRING, 1, "Welby^Marcus")
            name_index.write(connection, Owner.STUDY, 1, "Jones", before="Smith^John")
        self.assertEqual(self.rows(Owner.STUDY), [(0, "jones"), (3, "jones")])
        self.assertEqual((self.containing("smith"), self.containing("jones"), self.containing("welby")), ([], [1], [1]))

    def test_names_go_with_their_owner(self) -> None:
        """A deleted study or patient leaves none."""
        with self.index.batch() as connection:
            connection.execute(insert(patients).values(id=1, key="1\\", patient_id="1", source_at=1))
            connection.execute(insert(studies).values(id=1, patient_row=1, study_instance_uid="1.2", source_at=1))
            for owner in Owner:
                name_index.write(connection, owner, 1, "Smith^John")
            connection.execute(delete(studies))
            connection.execute(delete(patients))
        self.assertEqual([self.rows(owner) for owner in Owner], [[], [], []])
        self.assertEqual(self.containing("smith"), [])
