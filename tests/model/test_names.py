"""Person names for matching."""

from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.names import name_key


class NameKeyTests(SynchronousTestCase):
    def test_case_and_accents(self) -> None:
        """Neither case nor accents distinguish names; delimiters stay."""
        self.assertEqual(name_key("MÜLLER^Åsa"), name_key("muller^ASA"))
        self.assertEqual(name_key("Wang^X=王^小東"), "wang^x=王^小東")
