"""The state table of the Unified Procedure Steps, walked cell by cell."""

from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from dicomd.model.status import Status
from dicomd.model.steps import COLUMNS, Key, Request, State, decide

# PS3.4 Table CC.1.1-2 once more, as the hexadecimal codes of the standard; a name is the state reached, "-" changes nothing
PUBLISHED = """
CREATE          any      SCHEDULED  0111      0111       0111  0111
TO_IN_PROGRESS  right    C307       PROGRESS  C302       C300  C300
TO_IN_PROGRESS  bad      C307       C301      C301       C301  C301
TO_SCHEDULED    any      C307       C303      C303       C303  C303
TO_COMPLETED    right    C307       C310      COMPLETED  B306  C300
TO_COMPLETED    bad      C307       C301      C301       C301  C301
TO_CANCELED     right    C307       C310      CANCELED   C300  B304
TO_CANCELED     bad      C307       C301      C301       C301  C301
REQUEST_CANCEL  any      C307       CANCELED  -          C311  B304
UPDATE          missing  C307       -         C301       C300  C300
UPDATE          wrong    C307       C310      C301       C300  C300
UPDATE          right    C307       C310      -          C300  C300
"""
KEYS = {
    "any": list(Key),
    "bad": [Key.MISSING, Key.WRONG],
    "right": [Key.RIGHT],
    "wrong": [Key.WRONG],
    "missing": [Key.MISSING],
}
NAMES = {"SCHEDULED": State.SCHEDULED, "PROGRESS": State.IN_PROGRESS, "COMPLETED": State.COMPLETED, "CANCELED": State.CANCELED}


class StateTableTests(SynchronousTestCase):
    def test_every_cell(self) -> None:
        """Each request, with each kind of Transaction UID, does in each state what the table says."""
        seen = set()
        for line in PUBLISHED.split("\n")[1:-1]:
            request, keys, *cells = line.split()
            for key, (state, cell) in product(KEYS[keys], zip(COLUMNS, cells, strict=True)):
                verdict = decide(Request[request], key, state)
                seen.add((request, key, state))
                with self.subTest(request=request, key=key, state=state):
                    if cell in NAMES:
                        self.assertEqual((verdict.states[-1], verdict.status), (NAMES[cell], Status.SUCCESS))
                    else:
                        code = 0 if cell == "-" else int(cell, 16)
                        self.assertEqual((verdict.states, verdict.status), ((), code))
        self.assertEqual(len(seen), len(Request) * len(Key) * len(COLUMNS))

    def test_cancel_of_scheduled_passes_through_in_progress(self) -> None:
        """The server itself claims and cancels a step that nobody performs: two state reports."""
        verdict = decide(Request.REQUEST_CANCEL, Key.MISSING, State.SCHEDULED)
        self.assertEqual(verdict.states, (State.IN_PROGRESS, State.CANCELED))

    def test_final(self) -> None:
        """Nothing leads out of COMPLETED and CANCELED."""
        for request, key, state in product(Request, Key, (State.COMPLETED, State.CANCELED)):
            self.assertTrue(state.is_final)
            self.assertEqual(decide(request, key, state).states, ())


class KeyTests(SynchronousTestCase):
    def test_held_against_the_recorded_one(self) -> None:
        """Only the recorded UID is right; while none is recorded, every well-formed UID."""
        self.assertIs(Key.of("", "1.2.3"), Key.MISSING)
        self.assertIs(Key.of("1.2.3", "1.2.3"), Key.RIGHT)
        self.assertIs(Key.of("1.2.4", "1.2.3"), Key.WRONG)
        self.assertIs(Key.of("1.2.4", ""), Key.RIGHT)
        self.assertIs(Key.of("not a UID", ""), Key.WRONG)
