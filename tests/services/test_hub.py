"""The hub: publish and subscribe."""

from twisted.trial.unittest import SynchronousTestCase

from dicomd.services.hub import EventHub


class EventHubTests(SynchronousTestCase):
    def test_by_class_and_in_order(self) -> None:
        """A subscriber hears only what it asked for."""
        hub, heard = EventHub(), []
        hub.subscribe(str, lambda event: heard.append(("first", event)))
        end = hub.subscribe(str, lambda event: heard.append(("second", event)))
        hub.publish("a")
        hub.publish(1)
        end()
        hub.publish("b")
        self.assertEqual(heard, [("first", "a"), ("second", "a"), ("first", "b")])

    def test_a_failing_subscriber_harms_nobody(self) -> None:
        """It is logged; the next one is told all the same."""
        hub, heard = EventHub(), []
        hub.subscribe(str, lambda event: [][1])
        hub.subscribe(str, heard.append)
        with self.assertLogs("dicomd.services.hub", "ERROR"):
            hub.publish("a")
        self.assertEqual(heard, ["a"])
