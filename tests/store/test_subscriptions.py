"""Subscriptions in the index: who is subscribed to an item, by itself or by ranges of items."""

from twisted.trial.unittest import SynchronousTestCase

from dicomd.store import subscriptions, workitems
from dicomd.store.subscriptions import Kind
from tests.workers import new_index
from tests.workitems import UID, new_item


class KindTests(SynchronousTestCase):
    def test_ranges_and_exceptions(self) -> None:
        """Global subscriptions begin and end between items, single ones come on top; each item has its own subscribers."""
        index = new_index(self.mktemp())
        self.addCleanup(index.close)
        with index.batch() as connection:
            a, b, c = (subscriptions.add_subscriber(connection, title) for title in "ABC")

            def add() -> int:
                number = workitems.add(connection, f"{UID}.{subscriptions.last_workitem(connection)}", new_item()).id
                subscriptions.recipients(connection, number)
                return number

            before = add()
            subscriptions.subscribe_all(connection, b, Kind.WITH_LOCK)
            between = add()
            subscriptions.subscribe_all(connection, a, Kind.WITHOUT_LOCK)
            subscriptions.suspend_all(connection, b)
            after = add()
            subscriptions.subscribe(connection, after, c, Kind.WITH_LOCK)
            subscriptions.unsubscribe(connection, between, a)
            self.assertEqual(subscriptions.recipients(connection, before), (a, b))
            self.assertEqual(subscriptions.kinds(connection, between), {b: Kind.WITH_LOCK})
            self.assertEqual(subscriptions.kinds(connection, after), {a: Kind.WITHOUT_LOCK, c: Kind.WITH_LOCK})
            subscriptions.unsubscribe_all(connection, a)
            self.assertEqual(subscriptions.recipients(connection, after), (c,))
